"""Is a difference over queries to be believed? One paired test, its interval, and what could be seen at all.

`first` and `second` hold one value for each query, in the same order. What is flipped is a unit: a
query, or the queries of a cluster together (`clusters`). Every drawing has a fixed seed, so the same
values always give the same interval and the same p. The test itself is in `flips`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import HarnessError
from .flips import LEAST_MOVED, PATTERNS, SignFlips, farthest, folded, rounding_of

__all__ = [
    "INTERVAL_METHOD",
    "Units",
    "Verdict",
    "detectable_drop",
    "holm",
    "judged",
    "paired_randomisation",
    "units_of",
]

Array = NDArray[np.float64]

INTERVAL_METHOD = f"sign flips, inverted, of {LEAST_MOVED} that moved or more"
"""What results and comparisons call their intervals' method in JSON."""


class Verdict(NamedTuple):
    """A mean difference, its 95 % interval (None where too few units moved for one) and its p."""

    difference: float
    low: float | None
    high: float | None
    p: float


@dataclass(frozen=True, eq=False)
class Units:
    """What is flipped for one figure: each unit's part of the difference, and its weight; weights sum to 1."""

    sums: Array
    weights: Array
    scale: float
    """The sum of the magnitudes behind the differences: how large rounding can be."""
    strata: NDArray[np.int64] | None = None
    """The task or group of tasks of each unit, for the degrees of freedom; None for one."""
    keys: tuple[Hashable, ...] = field(default=(), repr=False)
    """What each unit is: units of equal keys move together in a family of figures."""
    moved: int | None = None
    """How many units have a difference at all, where `sums` does not say so."""

    def flips(self) -> SignFlips:
        """The test of these units."""
        return SignFlips.of(self.sums, self.weights, self.scale, self.moved)


def units_of(first: ArrayLike, second: ArrayLike, clusters: Sequence[Hashable] | None = None, task: str = "") -> Units:
    """The units of one task's paired values: the queries, or `clusters` (the cluster of each query).

    Raises HarnessError for no query, ValueError for lengths that differ or values not finite.
    """
    before, after = _checked(first), _checked(second)
    if before.size != after.size:
        raise ValueError(f"{before.size} and {after.size} values: a paired comparison needs the same queries in both")
    size = before.size
    scale = float(np.abs(before).sum() + np.abs(after).sum()) / size
    names = range(size) if clusters is None else clusters
    place = {name: number for number, name in enumerate(dict.fromkeys(names))}
    where = np.array([place[name] for name in names])
    sums: Array = np.bincount(where, (after - before) / size).astype(np.float64)
    weights: Array = np.bincount(where, np.full(size, 1 / size)).astype(np.float64)
    return Units(sums, weights, scale, keys=tuple((task, name) for name in place))


def judged(units: Units) -> Verdict:
    """The difference, its interval and its p, from one pass of sign flips."""
    flips = units.flips()
    interval = flips.interval()
    low, high = (None, None) if interval is None else (round(interval.low, 12), round(interval.high, 12))
    return Verdict(flips.figure, low, high, flips.p)


def paired_randomisation(first: ArrayLike, second: ArrayLike, clusters: Sequence[Hashable] | None = None) -> float:
    """The two-sided p of Fisher's sign-flip test on the mean of second - first.

    Queries (or clusters) with equal values are the same under both signs and drop out. When those that
    remain have at most 10,000 patterns of signs, all are counted and p is exact; otherwise that many are
    drawn and p = (count + 1) / (drawn + 1), which is never 0 (Phipson and Smyth, 2010). With no difference
    at all p is 1. Sums that are equal on paper count as equal.

    Raises as `units_of` does.
    """
    return units_of(first, second, clusters).flips().p


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given (Scandinavian J. Statistics 6, 1979).

    Rejecting what is at or below alpha here keeps the chance of any false rejection within alpha.
    Raises ValueError for a p outside [0, 1].
    """
    outside = [p for p in p_values if not 0 <= p <= 1]
    if outside:
        raise ValueError(f"{outside[0]} is no p value: it must lie in [0, 1]")
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def detectable_drop(units: Units, alpha: float = 0.05, power: float = 0.8, least: float = 0.0) -> float | None:
    """The smallest true drop that would be shown to be larger than `least`, one-sided at `alpha`, with `power`.

    With e the standard error of the figure (the two unseen units of `flips` in it), t Student's quantile with f
    degrees of freedom (units - 1; over several tasks Satterthwaite's, Biometrics Bulletin 2, 1946) and
    c = t(1 - alpha),

        least + c * e + t(power) * e * sqrt(1 + c**2 / (2 * f))

    The root is for e being an estimate itself (Julious and Owen, Statistical Methods in Medical Research 15,
    2006, by the normal approximation of the noncentral t). Where only the pattern seen is rare enough, all
    units must drop. benchmarks/aa.py measures how often such a drop is found.

    None where the data cannot say: no spread, a task of one unit, or too few units for any p to be small enough.
    """
    sums, weights = folded(units.sums, units.weights)
    count = sums.size
    if 2.0**-count > alpha or alpha * (PATTERNS + 1) < 1:
        return None
    apart = units.sums - units.sums.sum() * units.weights
    strata = np.zeros(units.sums.size, np.int64) if units.strata is None else units.strata
    groups = [apart[strata == number] for number in np.unique(strata)]
    if any(group.size == 1 for group in groups):
        return None
    squares = [float(group @ group) * group.size / (group.size - 1) for group in groups]
    total = math.fsum(squares)
    if total <= (1e-12 * (units.scale or 1.0)) ** 2:
        return None
    freedom = total**2 / sum(square**2 / (group.size - 1) for square, group in zip(squares, groups, strict=True))
    unseen = farthest(sums, weights, rounding_of(units.scale)) if least else 0.0
    error = math.sqrt(total + 2 * unseen**2)
    critical = _student(1 - alpha, freedom)
    drop = least + error * (critical + _student(power, freedom) * math.sqrt(1 + critical**2 / (2 * freedom)))
    if 2.0 ** (1 - count) <= alpha:
        return drop
    return max(drop, least + NormalDist().inv_cdf(power ** (1 / count)) * error * math.sqrt(count))


def _student(p: float, freedom: float) -> float:
    """Student's t quantile, by Abramowitz and Stegun 26.7.5; within 0.2 % from 5 degrees of freedom on."""
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def _checked(values: ArrayLike) -> Array:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1:
        raise ValueError(f"values of shape {sample.shape}: one value for each query is needed")
    if not sample.size:
        raise HarnessError("there is no query to compare: an interval or a test needs at least one")
    if not np.isfinite(sample).all():
        position = int(np.flatnonzero(~np.isfinite(sample))[0])
        raise ValueError(f"value {position} is {sample[position]}: a query's value must be finite")
    return sample
