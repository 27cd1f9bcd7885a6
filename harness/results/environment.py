"""Where a result was made: versions, machine, device. Read without importing what it names."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["checkout_commit", "cores", "describe", "harness_version"]

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pytrec-eval-terrier", "PyStemmer", "huggingface_hub")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def harness_version() -> str:
    """The installed version of the distribution; `source` in a checkout that was not installed."""
    try:
        return importlib.metadata.version("rerank-harness")
    except importlib.metadata.PackageNotFoundError:
        return "source"


@cache
def checkout_commit() -> str | None:
    """The commit of the checkout that this code runs from, with `+changes` where files differ from it.

    None outside a checkout, and where git is not installed.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no", "--", "harness"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+changes" if changes else commit


def describe(device: str, dtype: str) -> dict[str, object]:
    """Versions, processor and device, as a result stores them."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "harness": harness_version(),
        **({"commit": commit} if (commit := checkout_commit()) else {}),
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": cores(),
        "device": device,
        **({"accelerator": accelerator} if (accelerator := _accelerator(device)) else {}),
        "dtype": dtype,
    }


def _accelerator(device: str) -> str | None:
    """The name of the GPU that scored: rates of two kinds of GPU do not compare."""
    torch: Any = sys.modules.get("torch")
    return str(torch.cuda.get_device_name(device)) if torch and device.startswith("cuda") else None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
