"""How models are run: device, dtype, batch budget, settings. Resolved here, never `auto` further on."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HarnessError, did_you_mean, spelt
from ..types import DEFAULT_BATCH_TOKENS

if TYPE_CHECKING:
    from .scale_out import Workers

__all__ = ["DTYPES", "Options", "resolve_batch_tokens", "resolve_device", "resolve_dtype"]

_BATCH_TOKENS_OF_A_GPU = 32_768
"""A small batch leaves a GPU waiting for its next kernel."""
DTYPES = ("float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu", "hpu", "npu", "mlu", "musa")
"""Kinds of device; torch knows the first ones by itself, and others with the package of their makers."""


@dataclass(frozen=True)
class Options:
    """How the user wants models run. Device and dtype are resolved: never `auto`."""

    device: str = "cpu"
    dtype: str = "float32"
    batch_tokens: int = DEFAULT_BATCH_TOKENS
    """The token budget of a batch: its rows times its longest row."""
    trust_remote_code: bool = False
    rehash: bool = False
    """Whether to read large files again instead of trusting their remembered digests."""
    settings: tuple[tuple[str, str], ...] = ()
    """`--set key=value`, as typed; each family knows its own keys."""
    workers: Workers | None = field(default=None, compare=False, repr=False)
    """Who computes batches instead of this process; it moves no score."""
    cores: int | None = field(default=None, compare=False)
    """How many cores of this machine BM25 indexes and searches with; None: all of them. It moves no score."""

    @property
    def precision(self) -> dict[str, object]:
        """What a fingerprint holds of how numbers are rounded: dtype, and in half precision the kind of device."""
        half = {"device": self.device.partition(":")[0]} if self.dtype != "float32" else {}
        return {"dtype": self.dtype, **half}


def resolve_device(asked: str) -> str:
    """`auto` is the GPU where an NVIDIA driver and a torch that can use it are found, else the CPU.

    Decided from files and package metadata, so that a run whose results exist need not import
    torch. A GPU that then cannot be used is an error when the model is loaded, never a silent CPU
    run under another key. Raises HarnessError for what is no name of a device.
    """
    kind, colon, place = asked.partition(":")
    kind = spelt(kind, DEVICES)
    if kind not in DEVICES or (colon and not (kind != "auto" and place.isdigit())):
        near = ' Did you mean "cuda"?' if kind.casefold() in ("gpu", "nvidia") else did_you_mean(asked, DEVICES[:4])
        raise HarnessError(f'unknown device "{asked}"; it is auto, cpu, cuda, cuda:1 (the second one) or mps.{near}')
    if kind != "auto":
        return kind + colon + place
    try:
        cpu_only = importlib.metadata.version("torch").endswith("+cpu")
    except importlib.metadata.PackageNotFoundError:
        cpu_only = True
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return "cuda" if Path("/dev/nvidiactl").exists() and not cpu_only and not hidden else "cpu"


def resolve_dtype(asked: str, device: str) -> str:
    """`auto` is float32 on the CPU and bfloat16 on a GPU. Raises HarnessError for an unknown name."""
    asked = spelt(asked, ("auto", *DTYPES))
    if asked == "auto":
        return "bfloat16" if device.startswith("cuda") else "float32"
    if asked not in DTYPES:
        raise HarnessError(f'unknown dtype "{asked}"; it is auto, {", ".join(DTYPES)}.{did_you_mean(asked, DTYPES)}')
    return asked


def resolve_batch_tokens(asked: int | None, device: str) -> int:
    """The token budget of a batch; without one asked for, that of the kind of device."""
    return asked or (DEFAULT_BATCH_TOKENS if device == "cpu" else _BATCH_TOKENS_OF_A_GPU)
