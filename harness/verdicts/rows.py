"""The rows of comparisons and gates: a sample's figures, their test, and p corrected over all rows shown together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..measures.family import Family
from ..measures.significance import Units, Verdict, detectable_drop, judged
from ..results.figures import ALPHA
from .samples import Sample

__all__ = ["ALPHA", "Answer", "Row", "moved_units", "rows_of"]


@dataclass(frozen=True)
class Answer:
    """What the gate says of a row."""

    verdict: str
    """`failed`, `passed` or `not decided`."""
    p_drop: float
    """One-sided, against a drop within the tolerance; corrected over all rows of the gate."""
    p_within: float
    """One-sided, against a drop of the tolerance or more; each row for itself, as all of them must pass."""
    more_queries: int | None
    """How many more would decide, 4 times in 5, if the figures stay as they are; None where it is decided, or none would."""
    can_fail: bool
    """False where no values at all could have been significant among so many rows."""


@dataclass(frozen=True)
class Row:
    """One line of a comparison, in the measure's own unit (p-MRR in [-1, 1])."""

    name: str
    reranker: str
    first_stage: str
    measure: str
    mean_of: int
    """How many tasks or subsets a mean is taken over; 0 for a task or subset itself."""
    queries: int
    first: float
    second: float
    difference: float
    low: float | None
    """None, with `high`, where there are too few queries for any interval."""
    high: float | None
    p: float
    p_corrected: float
    """p corrected over all rows shown together; see `measures.family`."""
    wins: int
    """Queries with a higher value on the second side."""
    ties: int
    losses: int
    detectable: float | None
    """The smallest true drop that 4 such comparisons in 5 would find, tested beside the other rows;
    None where the data cannot say (one query, no spread, too few queries for any p to be small enough)."""
    assumed: bool = False
    """Whether `detectable` takes queries to move as reranking moved them: equal results show no spread."""
    units: int | None = None
    """How many clusters the queries form; None where each stands alone."""
    low_by_query: float | None = None
    """What low, high and p would be if queries were independent; None where they are taken to be."""
    high_by_query: float | None = None
    p_by_query: float | None = None
    answer: Answer | None = None
    """The gate's; None in a comparison."""

    def record(self) -> dict[str, Any]:
        """The row as JSON takes it; `p_holm` is the corrected p under its earlier name."""
        return {**asdict(self), "p_holm": self.p_corrected}


def rows_of(samples: Sequence[Sample], alpha: float = ALPHA) -> list[Row]:
    """A row for each sample, with p corrected over all of them."""
    family = Family([sample.units for sample in samples])
    rows = []
    for number, (sample, corrected) in enumerate(zip(samples, family.p_values(), strict=True)):
        units, assumed = moved_units(sample)
        level = family.level(number, alpha) / 2
        detectable = None if units is None else detectable_drop(units, level)
        rows.append(_row(sample, corrected, detectable, assumed=assumed and detectable is not None))
    return rows


def _row(sample: Sample, corrected: float, detectable: float | None, *, assumed: bool) -> Row:
    found = judged(sample.units)
    alone = Verdict(0.0, None, None, 1.0) if sample.by_query is None else judged(sample.by_query)
    parts = sample.members or (sample,)
    signs = np.concatenate([np.sign(part.second - part.first) for part in parts])
    clustered = sample.by_query is not None
    return Row(
        name=sample.name,
        reranker=sample.reranker,
        first_stage=sample.first_stage,
        measure=sample.measure,
        mean_of=len(sample.members),
        queries=len(signs),
        first=float(sample.first.mean()),
        second=float(sample.second.mean()),
        difference=float((sample.second - sample.first).mean()),
        low=found.low,
        high=found.high,
        p=found.p,
        p_corrected=max(corrected, found.p),
        wins=int((signs > 0).sum()),
        ties=int((signs == 0).sum()),
        losses=int((signs < 0).sum()),
        detectable=detectable,
        assumed=assumed,
        units=sample.units.sums.size if clustered else None,
        low_by_query=alone.low,
        high_by_query=alone.high,
        p_by_query=alone.p if clustered else None,
    )


def moved_units(sample: Sample) -> tuple[Units | None, bool]:
    """The units whose spread says what could be seen, and whether they had to be taken from reranking itself."""
    if any(part.first.size == 1 for part in sample.members or (sample,)):
        return None, False
    equal = bool((sample.first == sample.second).all())
    return (sample.reference, True) if equal else (sample.units, False)
