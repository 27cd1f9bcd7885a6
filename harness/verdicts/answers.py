"""The gate's rule: which of three answers each row gets, and what it would take to get another.

The null value is the tolerance itself, so a true drop within it fails no oftener than alpha. Failing is
corrected over all rows: one false alarm among them stops a build. Passing is not: every row must pass, and
the chance that all do by luck is that of the luckiest at most (Berger, Technometrics 24, 1982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

from ..measures.family import Family
from ..measures.significance import Units, detectable_drop
from .rows import Answer, Row, moved_units, rows_of
from .samples import Sample

__all__ = ["POWER", "answered"]

POWER = 0.8


def answered(samples: Sequence[Sample], max_drop: float, alpha: float) -> list[Row]:
    """The rows of a gate, each with its answer."""
    family = Family([sample.units for sample in samples], null=-max_drop, side="below")
    corrected = family.p_values()
    moved = [moved_units(sample)[0] or sample.units for sample in samples]
    equal = any(units is not sample.units for units, sample in zip(moved, samples, strict=True))
    levels = Family(moved, side="below") if equal else family
    rows = []
    for number, (sample, row) in enumerate(zip(samples, rows_of(samples, alpha), strict=True)):
        level = levels.level(number, alpha)
        units, assumed = moved_units(sample)
        drop = None if units is None else detectable_drop(units, level, POWER, max_drop)
        # With more queries the row's statistic is no longer as coarse as it may be now.
        fine = max(level, alpha / len(samples))
        answer = _answer(sample, corrected[number], max_drop, alpha, fine)
        answer = replace(answer, can_fail=_can_fail(family, number, sample, alpha))
        rows.append(replace(row, detectable=drop, assumed=assumed and drop is not None, answer=answer))
    return rows


def _answer(sample: Sample, corrected: float, max_drop: float, alpha: float, level: float) -> Answer:
    flips = sample.units.flips()
    drop = max(corrected, flips.p_against(-max_drop, above=False), 2.0**-flips.moved)
    within = flips.p_against(-max_drop, above=True)
    equal = bool((sample.first == sample.second).all())
    if drop <= alpha and flips.figure < -max_drop:
        verdict = "failed"
    else:
        # Where no query moved at all there is no drop to be shown.
        verdict = "passed" if equal or within <= alpha else "not decided"
    queries = sum(part.first.size for part in sample.members or (sample,))
    more = _more(sample.units, queries, flips.figure + max_drop, level if flips.figure < -max_drop else alpha)
    return Answer(verdict, drop, within, more if verdict == "not decided" else None, can_fail=True)


def _more(units: Units, queries: int, distance: float, level: float) -> int | None:
    """How many more queries like these would decide with POWER, by the normal approximation."""
    apart = units.sums - units.sums.sum() * units.weights
    variance = float(apart @ apart)
    if not variance or not 0 < level < 0.5 or abs(distance) < 1e-9:
        return None
    normal = NormalDist()
    times = ((normal.inv_cdf(1 - level) + normal.inv_cdf(POWER)) / distance) ** 2 * variance
    needed = math.ceil(queries * times)
    return max(1, needed - queries) if needed < 10_000_000 else None


def _can_fail(family: Family, number: int, sample: Sample, alpha: float) -> bool:
    return max(family.least(number), 2.0**-sample.units.sums.size) <= alpha
