"""Is a difference over queries to be believed? Intervals, paired tests, and what could be seen at all.

The unit is the query: `first` and `second` hold one value for each query, in the same order. Every
resampling has a fixed seed, so the same values always give the same interval and the same p; it
runs in chunks of about a million draws, so memory stays at tens of megabytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import HarnessError
from ..types import Interval

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
    differences: ArrayLike,
    alpha: float = 0.05,
    power: float = 0.8,
    least: float = 0.0,
    *,
    strata: ArrayLike | None = None,
) -> float | None:
    """The smallest true drop of the mean that would be found with `power`, in the measure's own unit.

    `differences` (shape [queries]) show the spread. Found means significant at `alpha` by
    `paired_randomisation`, two-sided, and larger than `least`: with e = s / sqrt(n), s the standard
    deviation (n - 1), t Student's quantile with n - 1 degrees of freedom f and c = t(1 - alpha/2),

        max(c * e, least) + t(power) * e * sqrt(1 + c**2 / (2 * f))

    The root is for s being an estimate itself (Julious and Owen, Statistical Methods in Medical
    Research 15, 2006, by the normal approximation of the noncentral t). p of few queries comes in steps
    of 2 / 2**n, so alpha is the largest step within it; where that is the first, all signs must agree.
    With `strata` (as in `bootstrap_mean`) e**2 is the sum of n_g s_g**2 / n**2 over the groups, and f
    are Satterthwaite's (Biometrics Bulletin 2, 1946). On differences as nDCG@10 has them, a power of
    0.8 is 0.75 to 0.82 from 50 queries on, 0.7 to 0.8 from 15, and less below.

    None where the data cannot say: no spread, a group of one query, or too few queries for any p to
    be small enough. Raises HarnessError for no query, ValueError for values not finite.
    """
    sample = _checked(differences)
    groups = _groups(sample, strata)
    reachable = _largest_step(alpha, sample.size)
    if reachable is None or any(group.size == 1 for group in groups):
        return None
    squares = [group.size * float(group.var(ddof=1)) / sample.size**2 for group in groups]
    total = math.fsum(squares)
    if not total:
        return None
    freedom = total**2 / sum(e**2 / (group.size - 1) for e, group in zip(squares, groups, strict=True))
    error = math.sqrt(total)
    critical = _student(1 - reachable / 2, freedom)
    unsure = math.sqrt(1 + critical**2 / (2 * freedom))
    drop = max(critical * error, least) + _student(power, freedom) * error * unsure
    if reachable * 2**sample.size > 2:
        return drop
    return max(drop, NormalDist().inv_cdf(power ** (1 / sample.size)) * error * math.sqrt(sample.size))


def _largest_step(alpha: float, queries: int) -> float | None:
    """The largest p within `alpha` that the randomisation test of so many queries can have; None for none."""
    if 2**queries > RESAMPLES:
        return alpha if alpha * (RESAMPLES + 1) >= 1 else None
    steps = int(alpha * 2 ** (queries - 1) + 1e-9)
    return steps / 2 ** (queries - 1) if steps else None


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
