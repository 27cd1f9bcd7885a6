"""Intervals and pairwise p for all systems of a board at once: the figures a board shows, resampled as they are made.

A figure is a weighted sum of the means of its parts (a task's subsets, a suite's tasks), so what is
resampled is that very sum: queries are drawn within their subset, and every system sees the same
draws. A query_id that several subsets of a task share (one question in twelve languages) is one
draw, and subsets that share queries are drawn from together, by the departures of their queries from
the subset's mean, as in `samples`. Tasks are independent of each other.

Both the bootstrap and the sign flips are linear in a system's values. One matrix product a task
therefore serves all systems, and the flipped sum of a difference is the difference of two flipped
sums: a hundred systems cost one pass, not five thousand tests.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..measures.family import corrected
from ..measures.flips import PATTERNS as RESAMPLES
from ..measures.flips import SEED
from ..measures.significance import paired_randomisation
from ..types import Interval

__all__ = ["RESAMPLES", "Part", "Sums", "resample"]

Array = NDArray[np.float64]

_CHUNK = 1 << 21
_FEW = 13
"""2**13 sign patterns are fewer than RESAMPLES: below, all are counted, as `paired_randomisation` does."""


@dataclass(frozen=True)
class Part:
    """A task's subset under one measure: a value for each query and system."""

    subset: str
    query_ids: tuple[str, ...]
    values: Array
    """Shape [queries, systems]; NaN throughout a system's column where it has no value for each query."""
    clusters: tuple[str, ...] = ()
    """The cluster of each query, which is then what is drawn; empty where each query is."""

    @property
    def units(self) -> tuple[str, ...]:
        return self.clusters or self.query_ids


@dataclass
class Sums:
    """One figure of every system, resampled: what its intervals and tests are read from."""

    systems: int
    resamples: int
    ranked: bool = True
    """Whether its systems are tested against each other; else it is drawn for its intervals alone."""
    contributions: list[Array] = field(default_factory=list)
    """Each of shape [draws, systems]: their sum over all draws is the figure."""
    bootstrapped: Array = field(init=False)
    """The figure in each resample, shape [resamples, systems]."""
    flipped: Array = field(init=False)
    """The figure under each random pattern of signs, shape [resamples, systems]."""

    def __post_init__(self) -> None:
        self.bootstrapped = np.zeros((self.resamples, self.systems))
        self.flipped = np.zeros((self.resamples if self.ranked else 0, self.systems))

    def interval(self, system: int, level: float = 0.95) -> Interval | None:
        """The percentile bootstrap interval of a system's figure; None without values of queries."""
        column = self.bootstrapped[:, system]
        if not self.contributions or np.isnan(column[0]):
            return None
        low, high = np.quantile(column, [(1 - level) / 2, (1 + level) / 2])
        # Machines add in their own order; a board must read the same on all of them.
        return Interval(round(float(low), 12), round(float(high), 12))

    def tested(self, system: int) -> bool:
        """Whether the system has values of queries throughout."""
        return bool(self.contributions) and not np.isnan(self.flipped[0, system])

    def p(self, first: int, second: int) -> float:
        """The two-sided p of the paired randomisation test between two systems, as `paired_randomisation` has it.

        Exact where few draws differ, else over the patterns that all systems share.
        """
        one = np.concatenate([each[:, first] for each in self.contributions])
        two = np.concatenate([each[:, second] for each in self.contributions])
        if np.count_nonzero(one != two) <= _FEW:
            return paired_randomisation(one, two)
        gamma = 100 * np.finfo(np.float64).eps * float(np.abs(one).sum() + np.abs(two).sum())
        sums = np.abs(self.flipped[:, second] - self.flipped[:, first])
        count = int(np.count_nonzero(sums >= abs(float((two - one).sum())) - gamma))
        return (count + 1) / (self.resamples + 1)

    def p_values(self, pairs: Sequence[tuple[int, int]]) -> list[float]:
        """The p of each pair, corrected over all of them (`measures.family`)."""
        sizes = [self._size(*pair) for pair in pairs]

        def flipped(place: int) -> Array:
            first, second = pairs[place]
            return np.abs(self.flipped[:, second] - self.flipped[:, first]) / sizes[place]

        figures = sum(each.sum(axis=0) for each in self.contributions)
        seen = [abs(float(figures[b] - figures[a])) / size for (a, b), size in zip(pairs, sizes, strict=True)]
        found = corrected(seen, flipped)
        return [max(p, self.p(*pair)) if p <= _NEARLY else p for p, pair in zip(found, pairs, strict=True)]

    def _size(self, first: int, second: int) -> float:
        """The root of the sum of squares of what is flipped: how far flips alone carry the difference."""
        apart = np.concatenate([each[:, second] - each[:, first] for each in self.contributions])
        size = float(np.sqrt(apart @ apart))
        scale = max(float(np.abs(each[:, [first, second]]).sum()) for each in self.contributions)
        return size if size > 1e-14 * scale else np.inf


_NEARLY = 0.1
"""Above, a pair's own p changes nothing."""


def resample(
    task: str, parts: Sequence[Part], figures: Mapping[int, Sums], shares: Sequence[Mapping[int, float]]
) -> None:
    """Add a task's parts to the figures they are in: part i counts in figure f with the weight shares[i][f].

    The draws depend on the seed, the task's name and its query_ids alone, so a figure does not change
    with the other columns of its board.
    """
    position = {unit: place for place, unit in enumerate(dict.fromkeys(unit for part in parts for unit in part.units))}
    places = [np.array([position[unit] for unit in part.units]) for part in parts]
    scaled = [part.values / len(part.query_ids) for part in parts]
    for number, sums in figures.items():
        own = [
            (each[number], where, rows)
            for each, where, rows in zip(shares, places, scaled, strict=True)
            if number in each
        ]
        if own:
            whole = np.zeros((len(position), sums.systems))
            for share, where, rows in own:
                np.add.at(whole, where, share * rows)
            sums.contributions.append(whole)
    resamples = next(iter(figures.values())).resamples
    groups = _groups(places, len(position))
    for chunk, counts, signs in _draws(task, groups, resamples):
        for where, rows, of in zip(places, scaled, shares, strict=True):
            mean = rows.sum(axis=0)
            drawn = mean + counts[:, where] @ (rows - mean / len(rows))
            turned = signs[:, where] @ rows
            for number, share in of.items():
                figures[number].bootstrapped[chunk] += share * drawn
                if figures[number].ranked:
                    figures[number].flipped[chunk] += share * turned


def _groups(places: Sequence[NDArray[np.int64]], draws: int) -> list[NDArray[np.int64]]:
    """The draws of each part; parts that share any are one group."""
    group = np.full(draws, -1)
    for number, where in enumerate(places):
        met = [joined for joined in np.unique(group[where]) if joined >= 0]
        group[where] = number
        group[np.isin(group, met)] = number
    return [np.flatnonzero(group == number) for number in np.unique(group)]


def _draws(task: str, groups: Sequence[NDArray[np.int64]], resamples: int) -> Iterator[tuple[slice, Array, Array]]:
    """Chunks of resamples: how often each draw was drawn, and its sign; both of shape [chunk, draws]."""
    generator = np.random.default_rng([SEED, zlib.crc32(task.encode())])
    width = sum(group.size for group in groups)
    step = max(1, _CHUNK // width)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        counts = np.empty((rows, width))
        for group in groups:
            drawn = generator.integers(0, group.size, (rows, group.size), dtype=np.int32)
            flat = (drawn + (np.arange(rows) * group.size)[:, None]).ravel()
            counts[:, group] = np.bincount(flat, minlength=rows * group.size).reshape(rows, group.size)
        packed = generator.integers(0, 256, (rows, -(-width // 8)), dtype=np.uint8)
        signs: Array = 1.0 - 2.0 * np.unpackbits(packed, axis=1, count=width).astype(np.float64)
        yield slice(start, start + rows), counts, signs
