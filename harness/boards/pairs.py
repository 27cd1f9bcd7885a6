"""Which rows of a board differ, all pairs of rows corrected as one family: decisions for half a million pairs at once.

The test is `measures.family`'s: the step-down max-T test, whose corrected p of a pair is the share of sign
patterns in which the largest statistic among the pairs that moved no further reaches the pair's own. A p
for every pair is not needed, only the distance from which on all pairs are rejected. So the pairs are
put into classes by their statistic, one pass takes the largest of every class under every pattern, and
the classes are walked from the farthest down; only in the class where the walk ends does a pair have its
own step. The decisions are the same as those of the p values one by one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..measures.family import corrected
from .resampling import Sums

__all__ = ["Pairs"]

Array = NDArray[np.float64]

_CLASSES = 32
_PATTERNS = 256
"""So many patterns of all systems stay in a core's own cache."""
_SLACK = 1e-9
"""As in `corrected`: statistics that are equal on paper differ by no more."""


class Pairs:
    """All pairs of `systems` (their numbers in `sums`) as a family, each tested two-sided at `alpha`."""

    def __init__(self, sums: Sums, systems: Sequence[int], alpha: float) -> None:
        self._sums, self._alpha = sums, alpha
        self._place = {system: place for place, system in enumerate(systems)}
        self._flipped = np.ascontiguousarray(sums.flipped[:, list(systems)].T)
        values = np.concatenate([each[:, list(systems)] for each in sums.contributions])
        self._inverse = _inverse_sizes(values)
        figures = values.sum(axis=0)
        self._seen = np.abs(figures[:, None] - figures) * self._inverse
        self._least = self._rejected_from()

    def differ(self, first: int, second: int) -> bool:
        """Whether the two systems differ beyond chance, among all pairs and by themselves."""
        return bool(
            self._seen[self._place[first], self._place[second]] >= self._least
            and self._sums.p(first, second) <= self._alpha
        )

    def _rejected_from(self) -> float:
        """The statistic from which on every pair is rejected."""
        upper = np.triu_indices(len(self._place), 1)
        seen = self._seen[upper]
        if not seen.size:
            return np.inf
        bounds = np.unique(np.quantile(seen, np.linspace(0, 1, _CLASSES + 1)[1:-1], method="higher"))
        classes = np.searchsorted(bounds, self._seen, side="left")
        highest = np.maximum.accumulate(self._highest(classes, bounds.size + 1), axis=0)
        least, of = np.inf, classes[upper]
        for number in range(bounds.size, -1, -1):
            inside = np.flatnonzero(of == number)
            lowest = seen[inside].min(initial=np.inf)
            if not self._rejects(highest[number], lowest):
                below = highest[number - 1] if number else np.zeros(highest.shape[1])
                return min(least, self._inside(inside, upper, below))
            least = min(least, lowest)
        return least

    def _rejects(self, highest: Array, seen: float) -> bool:
        return bool((np.count_nonzero(highest >= seen - _SLACK) + 1) / (highest.size + 1) <= self._alpha)

    def _inside(self, pairs: NDArray[np.int64], upper: tuple[NDArray[np.int64], ...], below: Array) -> float:
        """As `_rejected_from`, of one class over those below it."""
        rows, columns = upper[0][pairs], upper[1][pairs]
        seen = self._seen[rows, columns]

        def flipped(place: int) -> Array:
            one, other = rows[place], columns[place]
            apart: Array = np.abs(self._flipped[other] - self._flipped[one]) * self._inverse[one, other]
            return np.maximum(apart, below)

        rejected = seen[np.array(corrected(seen.tolist(), flipped)) <= self._alpha]
        return float(rejected.min(initial=np.inf))

    def _highest(self, classes: NDArray[np.int64], count: int) -> Array:
        """The largest statistic of every class under every pattern, shape [classes, patterns]."""
        found = np.zeros((count, self._flipped.shape[1]))

        def fill(start: int) -> None:
            columns = slice(start, start + _PATTERNS)
            _highest_of(np.ascontiguousarray(self._flipped[:, columns]), self._inverse, classes, found[:, columns])

        with ThreadPoolExecutor(os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) as pool:
            list(pool.map(fill, range(0, found.shape[1], _PATTERNS)))
        return found


def _highest_of(flipped: Array, inverse: Array, classes: NDArray[np.int64], found: Array) -> None:
    """Raise `found` of shape [classes, patterns] to what the pairs of `flipped` [systems, patterns] reach."""
    for one in range(len(flipped) - 1):
        order = np.argsort(classes[one, one + 1 :], kind="stable") + one + 1
        own = classes[one, order]
        starts = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
        apart = flipped[order]
        apart -= flipped[one]
        np.abs(apart, out=apart)
        apart *= inverse[one, order, None]
        there = own[starts]
        found[there] = np.maximum(found[there], np.maximum.reduceat(apart, starts, axis=0))


def _inverse_sizes(values: Array) -> Array:
    """Of every pair of columns of [units, systems]: 1 over the root of the sum of squares that flips carry.

    0 where the two differ by rounding alone.
    """
    scale = np.abs(values).sum(axis=0)
    found = np.zeros((values.shape[1],) * 2)
    for one in range(values.shape[1]):
        apart = values - values[:, one : one + 1]
        size = np.sqrt(np.einsum("us,us->s", apart, apart))
        np.divide(1.0, size, out=found[one], where=size > 1e-14 * np.maximum(scale, scale[one]))
    return found
