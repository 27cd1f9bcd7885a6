"""Several figures tested at once: p values corrected so that a family of them raises a false alarm no oftener than one.

A language of a task, the task's mean and its suite's mean move together, and so do A - B and A - C. So
the family is flipped together: a unit (a query, or a cluster) has the same sign in every figure that it
is in, and a figure's corrected p is the share of patterns whose largest statistic reaches its own. That is
the step-down max-T test (Westfall and Young, Resampling-based multiple testing, 1993; Romano and Wolf, JASA
100, 2005), a closed test: figures that say the same thing count as one, whatever their number, and neither
a mean nor a part is tested before the other, so that a drop in one language is not lost in its task's mean.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .flips import PATTERNS, SEED, farthest, rounding_of, subset_sums
from .significance import Units

__all__ = ["Family", "corrected"]

Array = NDArray[np.float64]
Side = Literal["both", "below"]


def corrected(seen: Sequence[float], flipped: Callable[[int], Array]) -> list[float]:
    """Step-down corrected p of statistics; `flipped(i)` is the i-th under every pattern, large where it is extreme."""
    order = sorted(range(len(seen)), key=seen.__getitem__)
    found = [1.0] * len(seen)
    highest: Array | None = None
    for index in order:
        own = flipped(index)
        highest = own if highest is None else np.maximum(highest, own)
        reached = int(np.count_nonzero(highest >= seen[index] - 1e-9))
        found[index] = (reached + 1) / (highest.size + 1)
    largest = 0.0
    for index in reversed(order):
        largest = found[index] = max(found[index], largest)
    return found


class Family:
    """Figures flipped together, each against the null value `null`: two-sided, or for a figure `below` it."""

    def __init__(self, figures: Sequence[Units], null: float = 0.0, side: Side = "both") -> None:
        self._side = side
        place = {key: n for n, key in enumerate(dict.fromkeys(key for units in figures for key in units.keys))}
        columns = []
        for units in figures:
            where = np.array([place[key] for key in units.keys])
            apart, weights = np.zeros((2, len(place)))
            apart[where], weights[where] = units.sums - null * units.weights, units.weights
            columns += [apart, weights]
        drawn = subset_sums(columns, PATTERNS, SEED + 2)
        self.seen: list[float] = []
        self._rows, self._alike = np.empty((2, len(figures), PATTERNS))
        self._most: list[float] = []
        for number, units in enumerate(figures):
            apart, weights = columns[2 * number : 2 * number + 2]
            extra = farthest(units.sums, units.weights, rounding_of(units.scale)) if null else 0.0
            size = float(np.sqrt(apart @ apart + 2 * extra**2))
            size = size if size > units.scale * 1e-14 else np.inf
            self._rows[number] = self._sided(apart.sum() - 2 * drawn[2 * number] + extra * _unseen(units)) / size
            self.seen.append(float(self._sided(apart.sum())) / size)
            size = float(np.sqrt(weights @ weights))
            self._alike[number] = self._sided(weights.sum() - 2 * drawn[2 * number + 1]) / size
            self._most.append(float(weights.sum()) / size)

    def _sided(self, values: Any) -> Any:
        return np.abs(values) if self._side == "both" else -values

    def p_values(self) -> list[float]:
        """The corrected p of every figure."""
        return corrected(self.seen, self._rows.__getitem__)

    def critical(self, alpha: float) -> float:
        """What a statistic must reach to be significant, were all figures equal to the null value."""
        return float(np.quantile(self._rows.max(axis=0), 1 - alpha, method="higher"))

    def level(self, number: int, alpha: float) -> float:
        """At which level of its own the figure is tested, the others beside it."""
        return min(alpha, float((self._rows[number] >= self.critical(alpha) - 1e-9).mean()))

    def least(self, number: int) -> float:
        """The smallest corrected p that the figure could have had: all its units moved alike, and far."""
        others = np.delete(self._rows, number, axis=0)
        highest = np.maximum(others.max(axis=0), self._alike[number]) if len(others) else self._alike[number]
        return (int(np.count_nonzero(highest >= self._most[number] - 1e-9)) + 1) / (PATTERNS + 1)


def _unseen(units: Units) -> Array:
    """The signs of two units that nobody saw, added up: -2, 0 or 2; see `flips`. The same for figures that share one."""
    generator = np.random.default_rng([SEED, zlib.crc32(repr(units.keys[0]).encode())])
    signs: Array = 2.0 * generator.integers(0, 2, (PATTERNS, 2)).sum(axis=1) - 2.0
    return signs
