"""Is one reranker better than another, and is it to be believed? Two results, query by query.

The unit is the query: both results have a value for each, and everything here is of their paired
differences: their mean with a 95 % paired bootstrap interval, p by the paired randomisation test,
corrected by Holm over all rows, and how many queries won, tied and lost. No model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import HarnessError, did_you_mean
from ..measures.significance import bootstrap_mean, detectable_drop, holm, paired_randomisation
from ..results.result import Result, load_result, slug
from ..types import Aggregate
from .pairing import Entry, entries_in, first_stage_label, match, remarks_on, title_of
from .samples import Sample, means_of_samples, samples_of

__all__ = ["ALPHA", "Comparison", "Row", "System", "compare", "open_system", "rows_of"]

ALPHA = 0.05


@dataclass(frozen=True)
class System:
    """One side of a comparison: its name in the tables, and its results."""

    label: str
    entries: list[Entry]


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
    low: float
    high: float
    p: float
    p_holm: float
    """p corrected by Holm over all rows of the comparison."""
    wins: int
    """Queries with a higher value on the second side."""
    ties: int
    losses: int
    detectable: float | None
    """The smallest true drop that 4 such comparisons in 5 would find, at alpha over the number of rows;
    None where the data cannot say (one query, no spread, too few queries for any p to be small enough)."""
    assumed: bool = False
    """Whether `detectable` takes queries to move as reranking moved them: equal results show no spread."""


@dataclass(frozen=True)
class Comparison:
    """Two systems on everything they share."""

    first: str
    second: str
    rows: list[Row]
    samples: list[Sample]
    """Behind the rows, in their order."""
    notes: list[str]

    def record(self) -> dict[str, Any]:
        """The comparison as JSON takes it."""
        return {
            "first": self.first, "second": self.second, "rows": [asdict(row) for row in self.rows], "notes": self.notes,
        }  # fmt: skip


def open_system(word: str, results: Path) -> System:
    """The results that `word` names: a result file, a folder, or a reranker or first stage under `results`.

    Raises HarnessError, exit code 3, where there is none.
    """
    path = Path(word)
    if path.is_file():
        entries = [Entry(path, load_result(path))]
    elif not (path.is_dir() and (entries := entries_in(path))):
        # A model's folder, or path/to/file.py:attribute, as `run` takes it: results bear the last part.
        own = path.is_dir() or ".py:" in word
        entries = _entries_named(path.name if own else word, results)
    names = {entry.result.identity.reranker or entry.result.identity.retriever for entry in entries}
    return System(names.pop() if len(names) == 1 else word, entries)


def _entries_named(name: str, results: Path) -> list[Entry]:
    found = [entry for entry in entries_in(results / slug(name)) if entry.result.identity.reranker == name]
    if not found:
        alone = entries_in(results / "first-stage")
        found = [entry for entry in alone if entry.result.identity.retriever == name]
    if not found:
        known = {entry.result.identity.reranker or entry.result.identity.retriever for entry in entries_in(results)}
        there = f"it has {', '.join(sorted(known))}" if known else "it has no result at all"
        raise HarnessError(
            f'"{name}" is no result file, no folder with results, and no reranker with results in {results}: '
            f"{there}.{did_you_mean(name, known)}",
            exit_code=3,
        )
    return found


def compare(
    first: System,
    second: System,
    aggregates: Sequence[Aggregate] = (),
    *,
    measure: str | None = None,
    allow_different: bool = False,
) -> Comparison:
    """Everything that both systems have, paired by task and subset.

    `measure` is one as the tables print it, instead of each task's headline. Raises HarnessError,
    exit code 3, where data, depths or candidates differ and `allow_different` is not set, where
    nothing is shared, and where the measure was not measured.
    """
    # Folders with several rerankers each: a reranker is held against itself, not against all others.
    several = any(len({e.result.identity.reranker for e in side.entries}) > 1 for side in (first, second))
    matched = match(first.entries, second.entries, lambda result: _key(result, by_reranker=several))
    told = [f"{title_of(a.result)}: {', '.join(differences)}" for a, _, differences in matched.differing]
    if told and not allow_different:
        raise HarnessError(
            f"{first.label} and {second.label} do not compare: {'; '.join(told)}. --allow-different compares the "
            f"queries that both have",
            exit_code=3,
        )
    pairs = matched.pairs + [(a, b) for a, b, _ in matched.differing]
    if not pairs:
        raise HarnessError(
            f"{first.label} and {second.label} have no task{' and reranker' if several else ''} in common", exit_code=3
        )
    samples = samples_of([(a.whole(), b.whole()) for a, b in pairs], measure)
    samples += means_of_samples(samples, aggregates)
    alone = [(first.label, matched.only_first), (second.label, matched.only_second)]
    notes = [f"different, and compared all the same: {line}" for line in told]
    notes += [f"{title_of(a.result)}: {line}" for a, b in matched.pairs for line in remarks_on(a.result, b.result)]
    notes += [
        f"only {label} has {title_of(e.result)} over {first_stage_label(e.result)}" for label, es in alone for e in es
    ]
    return Comparison(first.label, second.label, rows_of(samples), samples, notes)


def _key(result: Result, *, by_reranker: bool) -> tuple[str | None, ...]:
    identity = result.identity
    return (identity.task, identity.subset, identity.reranker if by_reranker else None)


def rows_of(samples: Sequence[Sample], alpha: float = ALPHA, max_drop: float = 0.0) -> list[Row]:
    """A row for each sample, with Holm's correction over all of them.

    `alpha` and `max_drop` are the rule by which `detectable` is found, as the gate has it.
    """
    rows = [_row(sample, alpha / len(samples), max_drop) for sample in samples]
    corrected = holm([row.p for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]


def _row(sample: Sample, alpha: float, max_drop: float) -> Row:
    interval = bootstrap_mean(sample.drawn, strata=sample.strata)
    parts = sample.members or (sample,)
    signs = np.concatenate([np.sign(part.second - part.first) for part in parts])
    detectable, assumed = _detectable(sample, alpha, max_drop)
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
        low=interval.low,
        high=interval.high,
        p=paired_randomisation(sample.first, sample.second),
        p_holm=1.0,
        wins=int((signs > 0).sum()),
        ties=int((signs == 0).sum()),
        losses=int((signs < 0).sum()),
        detectable=detectable,
        assumed=assumed,
    )


def _detectable(sample: Sample, alpha: float, max_drop: float) -> tuple[float | None, bool]:
    if any(part.first.size == 1 for part in sample.members or (sample,)):
        return None, False
    equal = bool((sample.first == sample.second).all())
    if equal and sample.reference is None:
        return None, False
    moved = sample.reference if equal and sample.reference is not None else sample.drawn
    found = detectable_drop(moved, alpha, least=max_drop, strata=sample.strata)
    return found, equal and found is not None
