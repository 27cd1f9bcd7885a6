"""Which rows of a board differ, all pairs of rows corrected as one family: decisions for half a million pairs at once.

The test is `measures.family`'s: the step-down max-T test, whose corrected p of a pair is the share of sign
patterns in which the largest statistic among the pairs that moved no further reaches the pair's own. A p
for every pair is not needed, only the distance from which on all pairs are rejected. It is walked
to in steps, as Romano and Wolf do (JASA 100, 2005): what lies beyond the reach of all open pairs is
rejected, and what remains is tried again without it, until a step rejects nothing. The decisions are the
same as those of the p values one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..results.environment import cores
from .resampling import Sums

__all__ = ["Pairs"]

Array = NDArray[np.float64]

_PATTERNS = 128
"""So many patterns of all systems stay in a core's own cache."""
_SLACK = 1e-9
"""As in `measures.family.corrected`: statistics that are equal on paper differ by no more."""
_AGAIN = 4
"""A step looks again at so many times the patterns that may reach a rejected pair."""


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
        patterns = self._flipped.shape[1]
        # Of so many patterns a rejected pair may be reached: (count + 1) / (patterns + 1) <= alpha.
        most = int(self._alpha * (patterns + 1)) - 1
        seen = self._seen[np.triu_indices(len(self._place), 1)]
        least = np.inf
        if not seen.size or not 0 <= most < patterns:
            return least
        reach = self._reach(least, np.arange(patterns))
        while True:
            limit = np.partition(reach, -most - 1)[-most - 1]
            rejected = seen[(seen < least) & (seen > limit + _SLACK)]
            if not rejected.size:
                return least
            least = float(rejected.min())
            reach = self._lowered(reach, least, most)

    def _lowered(self, reach: Array, least: float, most: int) -> Array:
        """The reach of the pairs nearer than `least`, exact where it is among the `most` + 1 largest.

        Elsewhere it may be too high: fewer pairs reach no further than more did, so a pattern that fell short
        then need not be looked at.
        """
        order = np.argsort(-reach, kind="stable")
        for count in (_AGAIN * (most + 1), reach.size):
            some, others = order[:count], order[count:]
            lowered = reach.copy()
            lowered[some] = self._reach(least, some)
            if np.partition(lowered[some], -most - 1)[-most - 1] >= reach[others].max(initial=0.0):
                break
        return lowered

    def _reach(self, least: float, patterns: NDArray[np.int64]) -> Array:
        """The largest statistic under each of `patterns`, of the pairs whose own is below `least`."""
        found = np.empty(patterns.size)
        open_pairs = [np.flatnonzero(row[one + 1 :] < least) + one + 1 for one, row in enumerate(self._seen)]

        def fill(start: int) -> None:
            some = slice(start, start + _PATTERNS)
            found[some] = _reach_of(np.ascontiguousarray(self._flipped[:, patterns[some]]), self._inverse, open_pairs)

        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(fill, range(0, patterns.size, _PATTERNS)))
        return found


def _reach_of(flipped: Array, inverse: Array, open_pairs: Sequence[NDArray[np.int64]]) -> Array:
    """The largest statistic under each pattern of `flipped` [systems, patterns], of one system and those paired with it."""
    found, room = np.zeros(flipped.shape[1]), np.empty_like(flipped)
    for one, others in enumerate(open_pairs):
        if others.size:
            apart = np.take(flipped, others, axis=0, out=room[: others.size], mode="clip")
            apart -= flipped[one]
            np.abs(apart, out=apart)
            apart *= inverse[one, others, None]
            np.maximum(found, apart.max(axis=0), out=found)
    return found


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
