"""What this machine can do: its processor, its load, and the rate of its matrix products."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TOKENS = 4096
_REPEATS = 5


def fix_threads(threads: int) -> None:
    """The number of threads of everything that computes; call it before torch is imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[name] = str(threads)
    import torch

    torch.set_num_threads(threads)


def turns(rounds: int, seconds: float) -> Iterator[int]:
    """Numbers of rounds, one at least: none begins after `seconds`, so that a slow chip takes fewer and not longer."""
    begun = time.perf_counter()
    for number in range(rounds):
        if number and time.perf_counter() - begun > seconds:
            return
        yield number


def processor() -> str:
    """The processor's own name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def load() -> float | None:
    """Processes that ran or waited to run in the last minute; None where the system does not say."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def matrix_rate(dtype: str, hidden: int, inner: int) -> float:
    """FLOP/s of a core's best matrix product at the model's own shapes: torch's kernel or oneDNN's, prepacked.

    The median of some repeats in CPU time, so that it meets the same neighbours as what is measured beside it.
    """
    return max(matrix_rates(dtype, hidden, inner))


def matrix_rates(dtype: str, hidden: int, inner: int) -> tuple[float, float]:
    """As `matrix_rate`: of the kernel that torch takes by itself, which the peers run on, and of the prepacked one.

    How far apart the two are is most of what a fast path can gain on a chip.
    """
    import torch

    from harness.engine.fast.linear import Linear, linear

    best = [0.0, 0.0]
    kind = getattr(torch, dtype)
    for width, height in ((hidden, inner), (inner, hidden)):
        x, weight, bias = torch.randn(_TOKENS, width), torch.randn(height, width), torch.randn(height)
        x, weight, bias = x.to(kind), weight.to(kind), bias.to(kind)
        for place, layer in enumerate((Linear(weight, bias), linear(weight, bias))):
            best[place] = max(best[place], 2 * _TOKENS * width * height / _seconds(layer, x))
    return best[0], best[1]


def _seconds(layer: Any, x: Any) -> float:
    import torch

    times = []
    with torch.inference_mode():
        layer(x)
        for _ in range(_REPEATS):
            started = time.process_time()
            layer(x)
            times.append(time.process_time() - started)
    return sorted(times)[_REPEATS // 2]
