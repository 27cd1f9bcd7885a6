"""Is a difference over queries to be believed? Intervals, paired tests, and what could be seen at all.

The unit is the query: `first` and `second` hold one value for each query, in the same order. Every
resampling has a fixed seed, so the same values always give the same interval and the same p; it
runs in chunks of about a million draws, so memory stays at tens of megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import HarnessError
from .types import Interval

__all__ = [
    "RESAMPLES",
    "SEED",
    "bootstrap_mean",
    "detectable_drop",
    "holm",
    "paired_bootstrap",
    "paired_randomisation",
]

SEED = 20_261_101
RESAMPLES = 10_000

_CHUNK = 1 << 20


def paired_bootstrap(
    first: ArrayLike,
    second: ArrayLike,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = SEED,
    *,
    strata: ArrayLike | None = None,
) -> Interval:
    """The percentile bootstrap interval of the mean of second - first, queries drawn in pairs.

    Raises as `bootstrap_mean` does, and ValueError for lengths that differ.
    """
    return bootstrap_mean(_differences(first, second), resamples, level, seed, strata=strata)


def bootstrap_mean(
    values: ArrayLike,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = SEED,
    *,
    strata: ArrayLike | None = None,
) -> Interval:
    """The percentile bootstrap interval of the mean of `values` (shape [queries]).

    Efron and Tibshirani, An Introduction to the Bootstrap, chapter 13: the queries are drawn with
    replacement, and the interval runs between the (1 - level) / 2 and (1 + level) / 2 quantiles of
    the resampled means. The draws are those of `scipy.stats.bootstrap` with the same generator. One
    query gives the interval of that one point. `strata` (shape [queries], the number of each query's
    group) draws within each group alone, as the queries of several tasks were drawn.

    Raises HarnessError for no query and ValueError for a value that is not finite.
    """
    sample = _checked(values)
    generator = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for group in _groups(sample, strata):
        share = group.size / sample.size
        for rows in _chunks(resamples, group.size):
            draws = generator.integers(0, group.size, (rows.stop - rows.start, group.size))
            means[rows] += group[draws].mean(axis=1) * share
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def paired_randomisation(first: ArrayLike, second: ArrayLike, resamples: int = RESAMPLES, seed: int = SEED) -> float:
    """The two-sided p of Fisher's sign-flip test on the mean of second - first.

    Under the null hypothesis a query's difference is as likely to have the other sign; p is the
    share of sign patterns whose mean is at least as far from 0 as the one seen. Queries with equal
    values are the same under both signs and drop out. When the n that remain have at most
    `resamples` patterns (2**n), all are counted and p is exact; otherwise that many are drawn and
    p = (count + 1) / (resamples + 1), which is never 0 (Phipson and Smyth, 2010). With no
    difference at all p is 1.

    Means that are equal on paper differ by rounding, so one that falls short of the mean seen by no
    more than gamma counts: gamma = 100 * 2**-52 * mean(|first| + |second|), at most 4.5e-14 for
    values in [0, 1]. `scipy.stats.permutation_test` scales its gamma by the mean seen, which lets
    ties slip where the differences nearly cancel.

    Raises HarnessError for no query, ValueError for lengths that differ or values not finite.
    """
    differences = _differences(first, second)
    gamma = 100 * np.finfo(np.float64).eps * float(np.abs(first).sum() + np.abs(second).sum())
    differences = differences[differences != 0]
    exact = 2**differences.size <= resamples
    total = differences.sum()
    count = patterns = 0
    for flips in _all_flips(differences.size) if exact else _random_flips(differences.size, resamples, seed):
        count += int(np.count_nonzero(np.abs(total - 2 * (flips @ differences)) >= abs(total) - gamma))
        patterns += len(flips)
    return count / patterns if exact else (count + 1) / (patterns + 1)


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


def detectable_drop(
    first: ArrayLike,
    second: ArrayLike,
    alpha: float = 0.05,
    power: float = 0.8,
    *,
    strata: ArrayLike | None = None,
) -> float:
    """The smallest true drop of the mean that a two-sided test at `alpha` would find with `power`.

    In the measure's own unit, never negative: (z(1 - alpha/2) + z(power)) * s / sqrt(n), where s
    is the standard deviation (n - 1) of second - first over n queries and z the normal quantile.
    The normal approximation of the paired difference; the far tail is left out. With `strata` (as in
    `bootstrap_mean`) s² / n becomes Σ n_g s_g² / n² over the groups. One query, also as a group of its
    own, has no spread to estimate, so no drop is detectable: infinity.

    Raises HarnessError for no query, ValueError for lengths that differ or values not finite.
    """
    differences = _differences(first, second)
    groups = _groups(differences, strata)
    if any(group.size == 1 for group in groups):
        return float("inf")
    normal = NormalDist()
    reach = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    variance = sum(group.size * group.var(ddof=1) for group in groups)
    return float(reach * np.sqrt(variance) / differences.size)


def _checked(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1:
        raise ValueError(f"values of shape {sample.shape}: one value for each query is needed")
    if not sample.size:
        raise HarnessError("there is no query to compare: an interval or a test needs at least one")
    if not np.isfinite(sample).all():
        position = int(np.flatnonzero(~np.isfinite(sample))[0])
        raise ValueError(f"value {position} is {sample[position]}: a query's value must be finite")
    return sample


def _differences(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    before, after = _checked(first), _checked(second)
    if before.size != after.size:
        raise ValueError(f"{before.size} and {after.size} values: a paired comparison needs the same queries in both")
    return after - before


def _groups(sample: NDArray[np.float64], strata: ArrayLike | None) -> list[NDArray[np.float64]]:
    if strata is None:
        return [sample]
    numbers = np.asarray(strata)
    if numbers.shape != sample.shape:
        raise ValueError(f"strata of shape {numbers.shape} for {sample.size} queries: each query has one group")
    return [sample[numbers == number] for number in np.unique(numbers)]


def _chunks(rows: int, width: int) -> Iterator[slice]:
    """Slices of `rows` rows, each of at most `_CHUNK` cells of `width` (but at least one row)."""
    step = max(1, _CHUNK // max(1, width))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _all_flips(width: int) -> Iterator[NDArray[np.float64]]:
    """Every pattern of `width` signs once, in chunks; shape [patterns, width], 1 where flipped."""
    for rows in _chunks(2**width, width):
        yield (np.arange(rows.start, rows.stop)[:, None] >> np.arange(width) & 1).astype(np.float64)


def _random_flips(width: int, patterns: int, seed: int) -> Iterator[NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    for rows in _chunks(patterns, width):
        packed = generator.integers(0, 256, (rows.stop - rows.start, -(-width // 8)), dtype=np.uint8)
        yield np.unpackbits(packed, axis=1, count=width).astype(np.float64)
