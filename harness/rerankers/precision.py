"""Scores in double precision → the single precision that is stored and ranked; what gets lost on the way is told.

A plug-in or a provider may give scores in double precision. trec_eval ranks in single precision, and
so does this house (`types.ranked`): scores that differ only beyond its seven digits become equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import LARGEST_FLOAT32

__all__ = ["as_single", "beyond_single", "made_equal", "places_below"]

Doubles = NDArray[np.float64]


def as_single(values: NDArray[Any]) -> NDArray[np.float32]:
    """The values in single precision; what lies beyond it becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def beyond_single(value: float) -> bool:
    """Whether a finite number has no place in single precision."""
    return LARGEST_FLOAT32 < abs(value) < float("inf")


def made_equal(lists: Iterable[Doubles]) -> int:
    """How many scores differ from another of their list, and are equal to it in single precision.

    NaN stands for a score that is not known in double precision, and is left out.
    """
    return sum(_made_equal(scores[~np.isnan(scores)]) for scores in lists)


def _made_equal(scores: Doubles) -> int:
    distinct = np.unique(scores)
    single = as_single(distinct)
    if len(distinct) == len(np.unique(single)):
        return 0
    values, counts = np.unique(single, return_counts=True)
    return int(np.isin(as_single(scores), values[counts > 1]).sum())


def places_below(scores: Sequence[float], count: int) -> tuple[list[float], list[float]]:
    """`count` numbers of single precision below all `scores`, descending; and the scores, lifted where there is no room.

    Only a score within `count` steps of the lowest number there is moves, by as many steps as are
    needed: order and ties stay as they are.
    """
    least = -np.float32(LARGEST_FLOAT32)
    for _ in range(count):
        least = np.nextafter(least, np.float32(np.inf))
    lifted: dict[float, float] = {}
    for value in sorted(set(scores)):
        lifted[value] = max(value, float(least))
        least = np.nextafter(np.float32(lifted[value]), np.float32(np.inf))
    below = np.float32(min(lifted.values(), default=0.0))
    places = []
    for _ in range(count):
        below = np.nextafter(below, np.float32(-np.inf))
        places.append(float(below))
    return [lifted[value] for value in scores], places
