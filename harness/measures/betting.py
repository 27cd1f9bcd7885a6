"""Is a task's figure worse than its baseline's by more than the tolerance? Told from a part of its queries, at any time.

Somebody who believes that it is not bets, before each draw, on what is drawn next. Under what they bet
against, their wealth is a supermartingale: it reaches 1 / alpha with a chance of alpha at most, however often one
looks (Ville; Waudby-Smith and Ramdas, JRSS B 86, 2024, for draws from a finite population too). So one may look after
every query and stop. What is drawn is a unit: a query, or the queries of a cluster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Population", "log_wealth", "verdict_so_far"]

Array = NDArray[np.float64]

_FAIL_AIMS = (0.02, 0.06)
"""By how much more than the tolerance the figure is taken to have dropped, half of the stake each."""
_LEAST_AIM = 0.005
_SPREAD = 0.02
"""The variance before anything was drawn."""
_STAKE = 0.95
"""The most of one's wealth that the worst draw may take."""
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Population:
    """All units of a task in the order in which they are drawn; their plain means are the task's figures.

    Shape (units,): `weights` is how many queries a unit has, over the mean; `least` and `most` are the smallest and
    the largest difference that its baseline's values leave room for, times its weight.
    """

    weights: Array
    least: Array
    most: Array

    @classmethod
    def of(cls, baseline: Sequence[Sequence[float]], low: float = 0.0, high: float = 1.0) -> Population:
        """From the baseline's values of each unit's queries, of a measure that lies between `low` and `high`."""
        count = sum(map(len, baseline)) / len(baseline)
        weights = np.array([len(values) / count for values in baseline])
        sums = np.array([math.fsum(values) / count for values in baseline])
        return cls(weights, low * weights - sums, high * weights - sums)

    def centred(self, parts: Array, max_drop: float, *, drop: bool) -> tuple[Array, Array]:
        """The units drawn, and the least that each unit can be: above 0 on average where the figure is no worse than
        the tolerance, or with `drop` where it is worse.
        """
        shift = max_drop * self.weights
        if drop:
            return -(parts + shift[: parts.size]), -(self.most + shift)
        return parts + shift[: parts.size], self.least + shift


def log_wealth(drawn: Array, floor: Array, aims: tuple[float, ...], *, whole: int | None) -> Array:
    """The log of the wealth after each draw, shape (drawn,), of bets against "the mean is 0 or less".

    `floor` holds, at each draw, the least that it could have been. With `whole`, the draws are without replacement
    from so many units whose mean is meant; with None they are independent, and the mean is that of units like these.
    A stake is aim / (variance + aim²), the best one in the long run if the mean is `aim`, shared among the aims, with
    the variance of what was drawn before. Wealth is infinite where what was drawn leaves no other way.
    """
    before = np.arange(drawn.size)
    total = np.concatenate([[0.0], np.cumsum(drawn)[:-1]])
    mean = total / np.maximum(before, 1)
    spread = np.concatenate([[0.0], np.cumsum((drawn - mean) ** 2)[:-1]])
    variance = (_SPREAD + spread) / (before + 1)
    expected = np.zeros(drawn.size) if whole is None else -total / (whole - before)
    room = expected - floor
    free = room > _ROUNDING
    most = np.where(free, _STAKE / np.where(free, room, 1.0), 0.0)
    logs = []
    for aim in aims:
        stake = np.minimum(aim / (variance + aim * aim), most)
        gained = np.log1p(stake * (drawn - expected))
        logs.append(np.cumsum(np.where(room < -_ROUNDING, np.inf, gained)))
    found: Array = np.logaddexp.reduce(logs, axis=0) - math.log(len(aims))
    return found


def verdict_so_far(population: Population, parts: Array, max_drop: float, alpha: float, rows: int = 1) -> str | None:
    """`failed`, `passed` or None (not yet), from the differences of the first units, current - baseline times weight.

    *Failed*: the figure of the whole task, and that of queries like these, is lower by more than `max_drop`; the
    chance that one of `rows` such verdicts is wrong is at most `alpha`. *Passed*: neither is lower by so much, each
    with a chance of `alpha`; where no unit that was drawn has moved, this is said of the whole task alone.
    """
    unmoved = not parts.any()
    if _all_say(population, parts, max_drop, math.log(rows / alpha), drop=True, only_whole=False):
        return "failed"
    if _all_say(population, parts, max_drop, math.log(1 / alpha), drop=False, only_whole=unmoved):
        return "passed"
    return None


def _all_say(
    population: Population, parts: Array, max_drop: float, needed: float, *, drop: bool, only_whole: bool
) -> bool:
    drawn, floors = population.centred(parts, max_drop, drop=drop)
    aims = _FAIL_AIMS if drop else (max(max_drop, _LEAST_AIM),)
    # What is left before each draw, its least.
    left = np.minimum.accumulate(floors[::-1])[::-1][: drawn.size]
    of_whole = log_wealth(drawn, left, aims, whole=population.weights.size)
    if of_whole.max(initial=0.0) < needed:
        return False
    if only_whole:
        return True
    # Units like these are taken to leave no more room than those of the task do.
    of_more = log_wealth(drawn, np.full(drawn.size, floors.min()), aims, whole=None)
    return float(of_more.max()) >= needed
