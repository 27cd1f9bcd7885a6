"""Sign flips: how far would a mean of differences lie from where it is, were each one's sign a coin's?

The test is Fisher's: under the null hypothesis that nothing differs, a difference is as likely to
have the other sign. Its inversion is the interval: every value that the test does not reject. With
a difference d and a weight w for each unit (a query, or a cluster of queries), and S the units that
are flipped, the flipped sum reaches the one seen exactly where the null value is at or above
sum(d in S) / sum(w in S): the ends are order statistics of these subset means (Hartigan, Using
subsample values as typical values, JASA 64, 1969). One pass over the patterns serves p and interval.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Interval

__all__ = [
    "LEAST_MOVED",
    "PATTERNS",
    "SEED",
    "SignFlips",
    "bit_chunks",
    "farthest",
    "folded",
    "rounding_of",
    "subset_sums",
]

Array = NDArray[np.float64]

SEED = 20_261_101
PATTERNS = 10_000
MOST_UNITS = 1_280
"""Of more units, neighbours are flipped together: flips of fixed blocks are as exact a test (a subgroup of
all flips: Hemerik and Goeman, TEST 27, 2018), and as many blocks leave the spread as well known."""

LEAST_MOVED = 6
"""With fewer units that moved, no p can reach .05, whatever they show: there is no 95 % interval."""

_CHUNK = 1 << 20
_EVERY = 16
_FIGURES = 128
"""So many figures' patterns are held at once: 10 MB."""
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.float64)
"""Shape [256, 8]: the bits of every byte, the highest first."""


def folded(sums: Array, weights: Array) -> tuple[Array, Array]:
    """At most MOST_UNITS units (rows of `sums`): neighbours added up where there are more."""
    if weights.size <= MOST_UNITS:
        return sums, weights
    starts = np.linspace(0, weights.size, MOST_UNITS, endpoint=False).astype(np.int64)
    return np.add.reduceat(sums, starts, axis=0), np.add.reduceat(weights, starts)


def rounding_of(scale: float) -> float:
    """By how much sums that are equal on paper may differ, of values whose magnitudes add up to `scale`."""
    return 50 * float(np.finfo(np.float64).eps) * scale


def farthest(sums: Array, weights: Array, rounding: float) -> float:
    """How far the farthest unit lies from the mean, times its weight; where all lie on it, one that did not move would."""
    total = float(sums.sum())
    seen = float(np.abs(sums - total * weights).max())
    # Rounding alone is no distance.
    return seen if seen > rounding else abs(total) * float(weights.max())


@dataclass(frozen=True)
class SignFlips:
    """The flips of one figure: its p, its interval, and p against any other null value.

    Which signs are flipped depends on the number of units alone, so the same values always give the
    same answer. All patterns are counted where there are at most PATTERNS of them; then p is exact.
    """

    figure: float
    """The sum of all units' differences: the mean difference itself."""
    sums: Array
    """Of each pattern, the sum of the differences that it flips; shape [patterns]. With each pattern goes
    the opposite one, so the two-sided test is both one-sided ones at half the level."""
    weights: Array
    """Likewise, of the weights; all weights add up to 1."""
    farthest: float
    """How far the farthest unit lies from the mean, times its weight."""
    heaviest: float
    """The largest weight of a unit."""
    rounding: float
    """Sums that are equal on paper differ by no more."""
    moved: int
    """How many units have a difference at all."""

    @classmethod
    def of(cls, sums: Array, weights: Array, scale: float, moved: int | None = None) -> SignFlips:
        """From each unit's weighted difference and weight; `scale` is the sum of the values' magnitudes.

        Units without a difference are the same under both signs: they drop out of p and stay in the interval.
        `moved` is how many have one, where `sums` are not the differences themselves.
        """
        if moved is None:
            moved = int(np.count_nonzero(np.abs(sums) > rounding_of(scale)))
        sums, weights = folded(sums, weights)
        return cls._from(sums, weights, _flipped(sums, weights, sums != 0), scale, moved)

    @classmethod
    def of_each(
        cls, sums: Array, weights: Array, scales: Array, moved: NDArray[np.int64]
    ) -> Iterator[tuple[int, SignFlips]]:
        """As `of`, for each column of `sums` of shape [units, figures] and each of `scales` and `moved`: (its place, it).

        One drawing serves all figures in which as many units moved, and a matrix product adds up what it flips:
        equal to `of` but for the order of adding.
        """
        sums, weights = folded(sums, weights)
        counts = np.count_nonzero(sums, axis=0)
        for count in np.unique(counts):
            places = np.flatnonzero(counts == count)
            for some in np.split(places, range(_FIGURES, places.size, _FIGURES)):
                for place, drawn in zip(some, _flipped_together(sums[:, some], weights, int(count)), strict=True):
                    scale, of = float(scales[place]), int(moved[place])
                    yield int(place), cls._from(sums[:, place], weights, drawn, scale, of)

    @classmethod
    def _from(cls, sums: Array, weights: Array, drawn: tuple[Array, Array], scale: float, moved: int) -> SignFlips:
        total, whole = float(sums.sum()), float(weights.sum())
        flipped, shares = drawn
        own = np.concatenate([flipped, total - flipped])
        rounding = rounding_of(scale)
        own[np.abs(own) <= rounding] = 0.0
        ends = farthest(sums, weights, rounding), float(weights.max())
        return cls(total, own, np.concatenate([shares, whole - shares]), *ends, rounding, moved)

    @property
    def p(self) -> float:
        """The two-sided p of no difference: never below that of as many units, all of which moved alike."""
        if abs(self.figure) <= self.rounding:
            return 1.0
        reached = self.sums <= 0 if self.figure > 0 else self.sums >= 0
        return min(1.0, max(2 * int(np.count_nonzero(reached)) / self.sums.size, 2.0 ** (1 - self.moved)))

    def p_against(self, null: float, *, above: bool) -> float:
        """The one-sided p of the null value, against a figure above it (or below).

        At 0 it is the plain test. Elsewhere nothing makes a unit's difference symmetric about the null
        value, so two units more are flipped that nobody saw, as far from the mean as the farthest seen; p is
        the larger of the two.
        """
        apart = self.sums - null * self.weights
        side = apart if above else -apart
        plain = int(np.count_nonzero(side <= self.rounding)) / side.size
        if null == 0:
            return plain
        reached = sum(int(np.count_nonzero(side <= unseen + self.rounding)) for unseen in self._unseen)
        return max(plain, reached / (4 * side.size))

    @property
    def _unseen(self) -> tuple[float, ...]:
        return (-self.farthest, 0.0, 0.0, self.farthest)

    def interval(self, level: float = 0.95) -> Interval | None:
        """Every null value that is not rejected; it excludes 0 exactly when p <= 1 - level.

        At 0 the plain test decides. Elsewhere `p_against` does: inverted alone, the plain test covers too
        little where differences are skewed or many of them are 0 (benchmarks/aa.py has the rates). None where
        too few units moved for the test to reject anything: fewer than LEAST_MOVED at 0.95.
        """
        if 2.0 ** (1 - self.moved) > 1 - level + 1e-12:
            return None
        plain = self._ends([(0.0, 0.0)], 1 - level)
        unseen = self._ends([(extra, 0.0) for extra in self._unseen], 1 - level)
        # What moved can be the lesser part of a figure's weight.
        if plain is None or unseen is None:
            return None
        low, high = min(plain[0], unseen[0], self.figure), max(plain[1], unseen[1], self.figure)
        nothing = 1e-9 * abs(self.figure)
        if self.p > 1 - level + 1e-12:
            low, high = min(low, 0.0), max(high, 0.0)
        elif low <= nothing and high >= -nothing:
            # Who rejects 0 rejects what lies beyond it. One unit more that did not move leaves p as it is.
            nearer = self._ends([(0.0, 0.0), (0.0, self.heaviest)], 1 - level) or plain
            low, high = (min(plain[0], nearer[0]), high) if self.figure > 0 else (low, max(plain[1], nearer[1]))
        return Interval(low, high)

    def _ends(self, unseen: Sequence[tuple[float, float]], alpha: float) -> tuple[float, float] | None:
        """Order statistics of the subset means, each unseen unit's sum and weight added to all.

        None where the test can reject nothing.
        """
        low = high = int(alpha * self.sums.size * len(unseen) / 2 + 1e-9)
        times = Counter(unseen)
        columns = []
        for (extra, weight), count in times.items():
            sums, weights = self.sums + extra, self.weights + weight
            empty = np.flatnonzero(weights <= 1e-12)
            low -= count * int(np.count_nonzero(sums[empty] <= 0))
            high -= count * int(np.count_nonzero(sums[empty] >= 0))
            # Nothing has no mean: NaN is sorted last, from either end.
            weights[empty] = np.nan
            columns.append(np.divide(sums, weights, out=sums))
        if low < 0 or high < 0:
            return None
        counts = list(times.values())
        return _smallest(columns, counts, low), -_smallest([-column for column in columns], counts, high)


def _smallest(columns: Sequence[Array], counts: Sequence[int], place: int) -> float:
    """The value at `place` of all columns' values sorted, each column counted so many times.

    A sample tells which few are worth sorting.
    """
    sample = _repeated([column[::_EVERY] for column in columns], counts)
    guess = place * 5 // (4 * _EVERY) + 32
    if guess < sample.size:
        most = np.partition(sample, guess)[guess]
        few = _repeated([column[column <= most] for column in columns], counts)
        if few.size > place:
            return float(np.partition(few, place)[place])
    return float(np.partition(_repeated(columns, counts), place)[place])


def _repeated(columns: Sequence[Array], counts: Sequence[int]) -> Array:
    return np.concatenate([column for column, count in zip(columns, counts, strict=True) for _ in range(count)])


def _flipped(sums: Array, weights: Array, moved: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Of each pattern, the sums of the differences and of the weights that it flips."""
    count = int(moved.sum())
    if 2**sums.size <= PATTERNS:
        return _every_pattern(sums), _every_pattern(weights)
    if 2**count <= PATTERNS:
        again = -(-PATTERNS // 2**count)
        flipped, shares = (np.tile(_every_pattern(column[moved]), again) for column in (sums, weights))
    else:
        drawn = subset_sums([sums[moved], weights[moved]], PATTERNS, SEED)
        flipped, shares = (np.insert(column, 0, 0.0) for column in drawn)
    if count < sums.size:
        # The first pattern flips nothing at all: what was seen is one of the patterns.
        shares[1:] += subset_sums([weights[~moved]], flipped.size - 1, SEED + 1)[0]
    return flipped, shares


def _flipped_together(sums: Array, weights: Array, count: int) -> Iterable[tuple[Array, Array]]:
    """As `_flipped`, of each column of `sums`, of each of which `count` units moved."""
    moved = sums != 0
    if 2 ** len(weights) <= PATTERNS or 2**count <= PATTERNS:
        return (_flipped(column, weights, of) for column, of in zip(sums.T, moved.T, strict=True))
    # Where all weights are one, it does not matter whose they are.
    whose = moved.T[:1] if np.ptp(weights) == 0 else moved.T
    everyone = np.broadcast_to(weights, whose.shape)
    own = np.column_stack([sums.T[moved.T].reshape(-1, count).T, everyone[whose].reshape(-1, count).T])
    found = _products(own, SEED)
    flipped, shares = found[: sums.shape[1]], found[sums.shape[1] :]
    if count < len(weights):
        shares += _products(everyone[~whose].reshape(len(whose), -1).T, SEED + 1)
    return zip(flipped, np.broadcast_to(shares, flipped.shape), strict=True)


def _products(columns: Array, seed: int) -> Array:
    """What random patterns pick of each of the columns, and before them the empty pattern; shape [columns, patterns]."""
    found = np.zeros((columns.shape[1], PATTERNS + 1))
    for rows, drawn in bit_chunks(len(columns), PATTERNS, seed):
        bits = np.unpackbits(drawn, axis=1, count=len(columns)).astype(np.float64)
        found[:, rows.start + 1 : rows.stop + 1] = (bits @ columns).T
    return found


def _every_pattern(column: Array) -> Array:
    """The sum of every subset once; shape [2**units], the empty one first."""
    found = np.zeros(1)
    for value in column:
        found = np.concatenate([found, found + value])
    return found


def subset_sums(columns: list[Array], patterns: int, seed: int) -> list[Array]:
    """Of each of `patterns` random subsets, the sum of what is in it, for each column of equal length."""
    width = columns[0].size
    tables = [_tables(column) for column in columns]
    found = [np.empty(patterns) for _ in columns]
    # A figure of one task in a family of many has nothing in most bytes.
    used = [np.flatnonzero(table.any(axis=1)) for table in tables]
    places = np.arange(tables[0].shape[0]) * 256
    for rows, drawn in bit_chunks(width, patterns, seed):
        index = drawn.astype(np.int64) + places
        for table, there, sums in zip(tables, used, found, strict=True):
            chosen = index if there.size == places.size else index[:, there]
            sums[rows] = table.ravel()[chosen].sum(axis=1)
    return found


def _tables(column: Array) -> Array:
    """For each eight units the sum that every byte picks; shape [bytes, 256]."""
    padded = np.zeros(-(-column.size // 8) * 8)
    padded[: column.size] = column
    tables: Array = padded.reshape(-1, 8) @ _BITS.T
    return tables


def bit_chunks(width: int, patterns: int, seed: int | Sequence[int]) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
    """Random bits for `width` units, eight to a byte, in chunks of patterns; the same for the same numbers."""
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(1, width))
    for start in range(0, patterns, step):
        rows = min(step, patterns - start)
        yield slice(start, start + rows), generator.integers(0, 256, (rows, -(-width // 8)), dtype=np.uint8)
