"""The very figures that a board shows, under sign flips: intervals and pairwise p for all systems at once.

A figure is a weighted sum of the means of its parts (a task's subsets, a suite's tasks), so what is
flipped is that very sum, and every system sees the same signs. A query_id that several subsets of a
task share (one question in twelve languages) is one unit, and so are the queries of a cluster; an
interval goes by the departures of units from their subset's mean, as in `samples`. Tasks are
independent of each other.

Sign flips are linear in a system's values. One matrix product a task therefore serves all systems, and the flipped sum of a difference is the difference of two flipped
sums: a hundred systems cost one pass, not five thousand tests.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..measures.flips import PATTERNS as RESAMPLES
from ..measures.flips import SEED, SignFlips, bit_chunks
from ..measures.significance import paired_randomisation
from ..types import Interval

__all__ = ["RESAMPLES", "Part", "Sums", "resample"]

Array = NDArray[np.float64]

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
    """One figure of every system: what its intervals and tests are read from."""

    systems: int
    resamples: int
    ranked: bool = True
    """Whether its systems are tested against each other; else it is there for its intervals alone."""
    contributions: list[Array] = field(default_factory=list)
    """Each of shape [units, systems]: their sum over all units is the figure."""
    departed: list[Array] = field(default_factory=list)
    """Likewise, by how much each unit departs from the means of its parts."""
    weights: list[Array] = field(default_factory=list)
    """Each of shape [units]: the share of every unit in the figure."""
    freed: list[Array] = field(default_factory=list)
    """By how much each departure is to be stretched where there are several groups."""
    groups: int = 0
    flipped: Array = field(init=False)
    """The figure under each random pattern of signs, shape [resamples, systems]."""

    def __post_init__(self) -> None:
        self.flipped = np.zeros((self.resamples if self.ranked else 0, self.systems))

    def intervals(self, level: float = 0.95) -> list[Interval | None]:
        """The interval of each system's figure, by the inverted sign flips that differences have.

        None without values of queries, and where too few of them are above 0 for any interval.
        """
        found: list[Interval | None] = [None] * self.systems
        tested = [system for system in range(self.systems) if self.tested(system)]
        if not tested:
            return found
        weights = np.concatenate(self.weights)
        values, apart = (
            np.concatenate([each[:, tested] for each in parts]) for parts in (self.contributions, self.departed)
        )
        apart *= np.concatenate(self.freed)[:, None] if self.groups > 1 else 1.0
        apart += values.sum(axis=0) * weights[:, None]
        each_one = SignFlips.of_each(apart, weights, np.abs(values).sum(axis=0), np.count_nonzero(values, axis=0))
        for place, flips in each_one:
            own = flips.interval(level)
            # Machines add in their own order; a board must read the same on all of them.
            found[tested[place]] = None if own is None else Interval(round(own.low, 12), round(own.high, 12))
        return found

    def tested(self, system: int) -> bool:
        """Whether the system has values of queries throughout."""
        return bool(self.contributions) and not np.isnan(self.contributions[0][0, system])

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
    groups = _groups(places, len(position))
    for number, sums in figures.items():
        own = [
            (each[number], where, rows)
            for each, where, rows in zip(shares, places, scaled, strict=True)
            if number in each
        ]
        if own:
            _contribute(sums, own, groups)
    ranked = {number for number, sums in figures.items() if sums.ranked}
    if not any(number in of for of in shares for number in ranked):
        return
    resamples = next(iter(figures.values())).resamples
    for chunk, signs in _draws(task, len(position), resamples):
        for where, rows, of in zip(places, scaled, shares, strict=True):
            turned = signs[:, where] @ rows
            for number in ranked & set(of):
                figures[number].flipped[chunk] += of[number] * turned


def _contribute(sums: Sums, own: Sequence[tuple[float, NDArray[np.int64], Array]], groups: NDArray[np.int64]) -> None:
    """Add a task's units to a figure, from (share, unit of each query, value over the number of queries) of its parts."""
    whole, departed, weights = (np.zeros((len(groups), sums.systems)) for _ in range(3))
    for share, where, rows in own:
        np.add.at(whole, where, share * rows)
        np.add.at(departed, where, share * (rows - rows.sum(axis=0) / len(rows)))
        np.add.at(weights, where, share / len(rows))
    used = weights[:, 0] > 0
    # Each group's own mean was taken away: as for a variance, n - 1 of n departures are free.
    sizes = np.bincount(groups[used], minlength=groups.max() + 1)[groups].astype(np.float64)
    sums.freed.append(np.sqrt(sizes / np.maximum(sizes - 1, 1))[used])
    sums.groups += np.unique(groups[used]).size
    sums.contributions.append(whole[used])
    sums.departed.append(departed[used])
    sums.weights.append(weights[used, 0])


def _groups(places: Sequence[NDArray[np.int64]], units: int) -> NDArray[np.int64]:
    """A number for each unit; parts that share any are one group."""
    group = np.full(units, -1)
    for number, where in enumerate(places):
        met = [joined for joined in np.unique(group[where]) if joined >= 0]
        group[where] = number
        group[np.isin(group, met)] = number
    return group


def _draws(task: str, units: int, resamples: int) -> Iterator[tuple[slice, Array]]:
    """Chunks of patterns: the sign of each unit, of shape [chunk, units]."""
    for chunk, drawn in bit_chunks(units, resamples, (SEED, zlib.crc32(task.encode()))):
        signs: Array = 1.0 - 2.0 * np.unpackbits(drawn, axis=1, count=units).astype(np.float64)
        yield chunk, signs
