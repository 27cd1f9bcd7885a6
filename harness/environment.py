"""Where a result was made: versions, machine, device. Read without importing what it names."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

__all__ = ["describe", "harness_version"]

_PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "pytrec-eval-terrier", "PyStemmer", "huggingface_hub")


def harness_version() -> str:
    """The installed version of the distribution; `source` in a checkout that was not installed."""
    try:
        return importlib.metadata.version("rerank-harness")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def describe(device: str, dtype: str) -> dict[str, object]:
    """Versions, processor and device, as a result stores them."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "harness": harness_version(),
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": device,
        "dtype": dtype,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
