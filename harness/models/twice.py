"""Two separate loads of a model must score alike: what they do not share is memory, and chance.

The first load is dropped before the second, so that there is never room needed for two.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError

__all__ = ["PROBES", "TOLERANCE", "LoadsDifferError", "compare_loads"]


class LoadsDifferError(HarnessError):
    """Two loads of a model score the same inputs differently."""


PROBES = 3
"""Pairs, or texts, that are computed in both loads."""
TOLERANCE = {"float32": 1e-4, "bfloat16": 0.2, "float16": 0.05}
"""How far rounding may move a margin; half precision rounds each sum anew."""


def compare_loads(name: str, dtype: str, once: Callable[[], Any], again: Callable[[], Any]) -> float:
    """The largest difference between what two loads compute. `once` loads a model of its own, and lets it go.

    Raises HarnessError where the difference is more than rounding. Equal values that are not finite are the caller's.
    """
    with _room_for_another():
        first: NDArray[np.float32] = np.asarray(once(), np.float32)
    second: NDArray[np.float32] = np.asarray(again(), np.float32)
    if np.array_equal(first, second, equal_nan=True):
        return 0.0
    with np.errstate(invalid="ignore"):
        moved = float(np.abs(first - second).max(initial=0.0))
    scale = max(1.0, float(np.abs(second).max(initial=0.0)))
    if not moved <= TOLERANCE.get(dtype, 1e-4) * scale:
        raise LoadsDifferError(
            f"{name} was loaded twice, and the two score the same {len(first)} inputs differently (by up to {moved:.3g}): "
            f"a part of it is random, or memory that nothing was written to. Its scores would be chance"
        )
    return moved


@contextmanager
def _room_for_another() -> Iterator[None]:
    """What a model that was loaded inside the block held is free after it.

    Only objects made inside the block are looked at: a collection of all that large packages made costs .3 s.
    What the caller's program has frozen stays so.
    """
    frozen = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
        gc.collect()
    finally:
        if not frozen:
            gc.unfreeze()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
