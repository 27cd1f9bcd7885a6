"""Is one reranker better than another, and is it to be believed? Two results, query by query.

The unit is the query: both results have a value for each, and everything here is of their paired
differences. Beside each task and subset stand means: a task's over its subsets, a suite's over its
tasks, all unweighted. In a mean, a query_id that several subsets of a task share (the same question
in twelve languages) is one draw, so that translations do not count as independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import HarnessError, did_you_mean
from .pairing import Entry, entries_in, first_stage_label, match, title_of
from .result import Result, load_result, slug
from .significance import detectable_drop, holm, paired_bootstrap, paired_randomisation

__all__ = ["Comparison", "Row", "Sample", "System", "compare", "open_system", "rows_of", "samples_of"]

ALPHA = 0.05

Suites = Mapping[str, Sequence[str]]
"""suite → its tasks' names."""


@dataclass(frozen=True)
class System:
    """One side of a comparison: its name in the tables, and its results."""

    label: str
    entries: list[Entry]


@dataclass(frozen=True)
class Sample:
    """The paired values behind one row; their plain mean is the row's figure on each side."""

    name: str
    """`XQuADRetrieval de`, or what a mean is taken over."""
    first_stage: str
    measure: str
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    strata: NDArray[np.int64]
    """The group of each value: values of one group are drawn together; see `significance.bootstrap_mean`."""
    members: tuple[Sample, ...] = ()
    """For a mean: the samples it is taken over."""
    query_ids: tuple[str, ...] = ()
    pair: tuple[Result, Result] | None = None
    """The results; None for a mean."""


@dataclass(frozen=True)
class Row:
    """One line of a comparison, in the measure's own unit (p-MRR in [-1, 1])."""

    name: str
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
    """The smallest drop that 4 such comparisons in 5 would find at alpha over the number of rows;
    None where the data cannot say (one query, no spread, too few queries for any p to be small enough)."""


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
        entries = _entries_named(path.name if path.is_dir() else word, results)
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
    first: System, second: System, *, measure: str | None = None, allow_different: bool = False, suites: Suites
) -> Comparison:
    """Everything that both systems have, paired by task and subset.

    `measure` is one as the tables print it, instead of each task's headline. Raises HarnessError,
    exit code 3, where data, depths or candidates differ and `allow_different` is not set, where
    nothing is shared, and where the measure was not measured.
    """
    matched = match(first.entries, second.entries, lambda result: (result.identity.task, result.identity.subset))
    told = [f"{title_of(a.result)}: {', '.join(differences)}" for a, _, differences in matched.differing]
    if told and not allow_different:
        raise HarnessError(
            f"{first.label} and {second.label} do not compare: {'; '.join(told)}. --allow-different compares the "
            f"queries that both have",
            exit_code=3,
        )
    pairs = matched.pairs + [(a, b) for a, b, _ in matched.differing]
    if not pairs:
        raise HarnessError(f"{first.label} and {second.label} have no task in common", exit_code=3)
    samples = samples_of([(a.whole(), b.whole()) for a, b in pairs], measure)
    samples += means_of(samples, suites)
    alone = [(first.label, matched.only_first), (second.label, matched.only_second)]
    notes = [f"different, and compared all the same: {line}" for line in told]
    notes += [f"only {label} has {title_of(e.result)} over {first_stage_label(e.result)}" for label, es in alone for e in es]
    return Comparison(first.label, second.label, rows_of(samples), samples, notes)


def headlines(result: Result, measure: str | None) -> list[str]:
    """The measures to compare on: the one asked for (on both sides of an instruction), else the headline.

    With p-MRR go its companions on the original and the changed instruction: a reranker that reads
    nothing at all has a p-MRR of 0, which can be a gain.
    """
    names = list(result.measures)
    if measure is not None:
        return [name for name in names if name in (measure, f"{measure} og", f"{measure} changed")]
    sides = [next((name for name in names if name.endswith(f" {side}")), "") for side in ("og", "changed")]
    return [names[0], *(name for name in sides if name and names[0] == "p-MRR")]


def samples_of(pairs: Sequence[tuple[Result, Result]], measure: str | None) -> list[Sample]:
    """A sample for each pair of results (with their values) and measure.

    Raises HarnessError, exit code 3, for a measure that one of them lacks, and for no query in common.
    """
    samples = []
    for first, second in pairs:
        for name in headlines(first, measure) or [measure or ""]:
            before, after = _values(first, name), _values(second, name)
            query_ids = tuple(query_id for query_id in before if query_id in after)
            if not query_ids:
                raise HarnessError(f"{title_of(first)}: the results have no query in common for {name}", exit_code=3)
            one, two = (np.array([side[query_id] for query_id in query_ids]) for side in (before, after))
            strata = np.zeros(len(query_ids), np.int64)
            label = first_stage_label(first)
            samples.append(Sample(title_of(first), label, name, one, two, strata, (), query_ids, (first, second)))
    return samples


def _values(result: Result, measure: str) -> dict[str, float]:
    """query_id → value of what the result is about: the reranker, or the first stage where there is none."""
    stage = "reranked" if result.identity.reranker else "first_stage"
    column = result.values.get(measure, {}).get(stage)
    if column is None:
        who = result.identity.reranker or result.identity.retriever
        raise HarnessError(
            f"{title_of(result)}: {measure} was not measured for {who}; it has {', '.join(result.measures)}", exit_code=3
        )
    return {query_id: value for query_id, value in zip(result.query_ids, column, strict=True) if value is not None}


def means_of(samples: Sequence[Sample], suites: Suites) -> list[Sample]:
    """A task's mean over its subsets, and the mean of each suite that is there in full, or of all tasks.

    Only samples of one measure and one first stage are averaged.
    """
    means = []
    present = {_task(sample) for sample in samples}
    for stage, measure in dict.fromkeys((sample.first_stage, sample.measure) for sample in samples):
        tasks: dict[str, list[Sample]] = {}
        for sample in samples:
            if (sample.first_stage, sample.measure) == (stage, measure):
                tasks.setdefault(_task(sample), []).append(sample)
        groups = {f"{task}, mean of {len(parts)}": {task: parts} for task, parts in tasks.items() if len(parts) > 1}
        inside = {name: {t: tasks[t] for t in names if t in tasks} for name, names in suites.items() if present.issuperset(names)}
        whole = {f"suite {name}, mean of {len(parts)}": parts for name, parts in inside.items() if len(parts) > 1}
        if len(tasks) > 1 and tasks not in whole.values():
            whole[f"mean of {len(tasks)} tasks"] = tasks
        means += [_mean(name, list(parts.values())) for name, parts in {**groups, **whole}.items()]
    return means


def _task(sample: Sample) -> str:
    return sample.pair[0].identity.task if sample.pair else ""


def _mean(name: str, tasks: Sequence[Sequence[Sample]]) -> Sample:
    """The unweighted mean over tasks of the unweighted mean over their subsets, as one value a draw."""
    sums: dict[tuple[str, str], NDArray[np.float64]] = {}
    seen: dict[tuple[str, str], list[int]] = {}
    members = [(len(parts), part) for parts in tasks for part in parts]
    for number, (subsets, part) in enumerate(members):
        weight = 1 / (len(tasks) * subsets * len(part.query_ids))
        for query_id, before, after in zip(part.query_ids, part.first, part.second, strict=True):
            key = (_task(part), query_id)
            sums[key] = sums.get(key, np.zeros(2)) + weight * np.array([before, after])
            seen.setdefault(key, []).append(number)
    values = np.array(list(sums.values())) * len(sums)
    numbers = {where: place for place, where in enumerate(dict.fromkeys(map(tuple, seen.values())))}
    strata = np.array([numbers[tuple(where)] for where in seen.values()])
    parts = tuple(part for _, part in members)
    return Sample(name, parts[0].first_stage, parts[0].measure, values[:, 0], values[:, 1], strata, parts)


def rows_of(samples: Sequence[Sample], alpha: float = ALPHA) -> list[Row]:
    """A row for each sample, with Holm's correction over all of them."""
    rows = [_row(sample, alpha / len(samples)) for sample in samples]
    corrected = holm([row.p for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]


def _row(sample: Sample, alpha: float) -> Row:
    first, second, strata = sample.first, sample.second, sample.strata
    interval = paired_bootstrap(first, second, strata=strata)
    parts = sample.members or (sample,)
    signs = np.concatenate([np.sign(part.second - part.first) for part in parts])
    return Row(
        name=sample.name,
        first_stage=sample.first_stage,
        measure=sample.measure,
        mean_of=len(sample.members),
        queries=len(signs),
        first=float(first.mean()),
        second=float(second.mean()),
        difference=float((second - first).mean()),
        low=interval.low,
        high=interval.high,
        p=paired_randomisation(first, second),
        p_holm=1.0,
        wins=int((signs > 0).sum()),
        ties=int((signs == 0).sum()),
        losses=int((signs < 0).sum()),
        detectable=_detectable(sample, alpha),
    )


def _detectable(sample: Sample, alpha: float) -> float | None:
    smallest_p = 2.0 ** (1 - min(sample.first.size, 60))
    found = detectable_drop(sample.first, sample.second, alpha, strata=sample.strata)
    return found if 0 < found < np.inf and smallest_p <= alpha else None
