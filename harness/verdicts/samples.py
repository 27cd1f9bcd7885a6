"""The paired values behind a comparison: of each task and subset, and of the means over them.

The unit is the query: both results have a value for it. A mean is unweighted at every level (a
task's over its subsets, a suite's over its tasks), and it is kept as values whose plain mean it is,
so that the same tests and intervals serve all rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError
from ..results.result import Result
from ..types import Aggregate
from .pairing import first_stage_label, title_of

__all__ = ["Sample", "headlines", "means_of_samples", "paired_by_query", "samples_of", "values_of"]


@dataclass(frozen=True, eq=False)
class Sample:
    """The paired values behind one row; their plain mean is the row's figure on each side."""

    name: str
    """`XQuADRetrieval de`, or what a mean is taken over."""
    reranker: str
    """The one that both sides have, or `one → other`."""
    first_stage: str
    measure: str
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    drawn: NDArray[np.float64]
    """What the bootstrap draws from: second - first; of a mean, see `_mean`."""
    strata: NDArray[np.int64]
    """The group of each value, within which it is drawn; see `significance.bootstrap_mean`."""
    reference: NDArray[np.float64] | None
    """As `drawn`, of reranked - first stage on the first side: how far a change can move these queries."""
    members: tuple[Sample, ...] = ()
    """For a mean: the samples it is taken over."""
    query_ids: tuple[str, ...] = ()
    pair: tuple[Result, Result] | None = None
    """The results; None for a mean."""

    @property
    def task(self) -> str:
        return self.pair[0].identity.task if self.pair else ""


Weighted = list[tuple[float, Sample]]
"""Samples and their shares in a mean; the shares sum to 1."""


def headlines(result: Result, measure: str | None) -> list[str]:
    """The measures to compare on: the one asked for (on both sides of an instruction), else the headline.

    With p-MRR go its companions on the original and the changed instruction: a reranker that reads
    nothing at all has a p-MRR of 0, which can be a gain.
    """
    names = list(result.measures)
    if measure is not None:
        return [name for name in names if name in (measure, f"{measure} og", f"{measure} changed")] or [measure]
    sides = [next((name for name in names if name.endswith(f" {side}")), "") for side in ("og", "changed")]
    return [names[0], *(name for name in sides if name and names[0] == "p-MRR")]


def values_of(result: Result, measure: str, stage: str | None = None) -> dict[str, float]:
    """query_id → value, of `stage`, or of what the result is about: the reranker, or the first stage where there is none.

    Raises HarnessError, exit code 3, where it was not measured.
    """
    stage = stage or ("reranked" if result.identity.reranker else "first_stage")
    column = result.values.get(measure, {}).get(stage)
    if column is None:
        who = result.identity.reranker or result.identity.retriever
        there = ", ".join(result.measures)
        raise HarnessError(f"{title_of(result)}: {measure} was not measured for {who}; it has {there}", exit_code=3)
    return {query_id: value for query_id, value in zip(result.query_ids, column, strict=True) if value is not None}


def samples_of(pairs: Sequence[tuple[Result, Result]], measure: str | None) -> list[Sample]:
    """A sample for each pair of results (with their values) and measure.

    Raises HarnessError, exit code 3, for a measure that one of them lacks, and for no query in common.
    """
    samples = []
    for first, second in pairs:
        for name in headlines(first, measure):
            before, after = values_of(first, name), values_of(second, name)
            query_ids = tuple(query_id for query_id in before if query_id in after)
            if not query_ids:
                raise HarnessError(f"{title_of(first)}: the results have no query in common for {name}", exit_code=3)
            one, two = (np.array([side[query_id] for query_id in query_ids]) for side in (before, after))
            strata = np.zeros(len(query_ids), np.int64)
            labels = (title_of(first), _both(first, second), first_stage_label(first))
            reference = _reference(first, name, query_ids)
            both = (first, second)
            samples.append(Sample(*labels, name, one, two, two - one, strata, reference, (), query_ids, both))
    return samples


def _reference(result: Result, measure: str, query_ids: Sequence[str]) -> NDArray[np.float64] | None:
    columns = result.values.get(measure, {})
    if not {"first_stage", "reranked"} <= set(columns):
        return None
    before, after = (values_of(result, measure, stage) for stage in ("first_stage", "reranked"))
    return np.array([after[query_id] - before[query_id] for query_id in query_ids])


def _both(first: Result, second: Result) -> str:
    names = [result.identity.reranker or f"{result.identity.retriever} alone" for result in (first, second)]
    return " → ".join(dict.fromkeys(names))


def means_of_samples(samples: Sequence[Sample], aggregates: Sequence[Aggregate]) -> list[Sample]:
    """A task's mean over its subsets, each aggregate's that is there in full, and that of all tasks of one measure.

    `aggregates` come with the inner ones first. Only samples of one reranker and one first stage are
    averaged; a task with lists of its own belongs to every first stage of its reranker.
    """
    means: list[Sample] = []
    for reranker, stage in dict.fromkeys((sample.reranker, sample.first_stage) for sample in samples):
        own = [sample for sample in samples if (sample.reranker, sample.first_stage) == (reranker, stage)]
        lists = [s for s in samples if s.reranker == reranker and s.first_stage != stage and _of_lists(s)]
        known = _by_task([*own, *lists])
        found = [*_of_tasks(_by_task(own)), *_of_aggregates(known, aggregates)]
        found = [(name, measure, parts) for name, measure, parts in found if any(part in own for _, part in parts)]
        found += _of_all(_by_task(own), {frozenset(_ids(parts)) for _, _, parts in found})
        means += [_mean(name, stage, measure, parts) for name, measure, parts in found]
    return means


def _of_lists(sample: Sample) -> bool:
    return sample.pair is not None and sample.pair[0].identity.top_k is None


Known = dict[tuple[str, str], Weighted]
"""(task or aggregate, measure) → its samples and their shares."""


def _by_task(samples: Sequence[Sample]) -> Known:
    grouped: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        grouped.setdefault((sample.task, sample.measure), []).append(sample)
    return {key: [(1 / len(parts), part) for part in parts] for key, parts in grouped.items()}


def _of_tasks(known: Known) -> Iterator[tuple[str, str, Weighted]]:
    for (task, measure), parts in known.items():
        if len(parts) > 1:
            yield f"{task}, mean of {len(parts)}", measure, parts


def _of_aggregates(known: Known, aggregates: Sequence[Aggregate]) -> Iterator[tuple[str, str, Weighted]]:
    for aggregate in aggregates:
        for label, measures in aggregate.means:
            asked = list(zip(aggregate.members, measures, strict=True))
            parts = [known.get((member, m)) or known.get((member, f"{m} og")) for member, m in asked]
            if all(parts):
                merged = [(share / len(parts), sample) for part in parts for share, sample in part or ()]
                known[aggregate.name, label] = merged
                yield f"{aggregate.name}, mean of {len(parts)}", label, merged


def _of_all(known: Known, seen: set[frozenset[int]]) -> Iterator[tuple[str, str, Weighted]]:
    """The mean of all tasks of a measure, where no aggregate is that very mean."""
    for measure in dict.fromkeys(measure for _, measure in known):
        tasks = [parts for (_, of), parts in known.items() if of == measure]
        merged = [(share / len(tasks), sample) for parts in tasks for share, sample in parts]
        if len(tasks) > 1 and frozenset(_ids(merged)) not in seen:
            yield f"mean of {len(tasks)} tasks", measure, merged


def _ids(parts: Weighted) -> list[int]:
    return [id(sample) for _, sample in parts]


def _mean(name: str, stage: str, measure: str, parts: Weighted) -> Sample:
    """One value for each query_id of a task, weighted so that the plain mean is the mean of means.

    A query_id that several subsets of a task share (the same question in twelve languages) is one
    value: translations of a query are not independent of each other. The bootstrap draws within each
    subset, or each group of subsets that share queries. What it draws is by how much a query's
    differences depart from the means of its subsets (the influence of the query on the mean of means:
    Davison and Hinkley, Bootstrap Methods, 2.7). Where subsets share all queries or none, that is the
    bootstrap of the differences themselves; where they share some, those would also count in how many
    subsets a query is.
    """
    values: dict[tuple[str, str], NDArray[np.float64]] = {}
    seen: dict[tuple[str, str], list[int]] = {}
    for number, (share, part) in enumerate(parts):
        weight = share / part.first.size
        reference = np.zeros(part.first.size) if part.reference is None else part.reference
        columns = (part.first, part.second, part.drawn - part.drawn.mean(), reference - reference.mean())
        for query_id, *row in zip(part.query_ids, *columns, strict=True):
            key = (part.task, query_id)
            values[key] = values.get(key, np.zeros(4)) + weight * np.array(row)
            seen.setdefault(key, []).append(number)
    first, second, departed, moved = (np.array(list(values.values())) * len(values)).T
    groups = _linked(seen.values(), len(parts))
    strata = np.array([groups[numbers[0]] for numbers in seen.values()])
    samples = tuple(sample for _, sample in parts)
    known = all(sample.reference is not None for sample in samples)
    drawn = departed + (second - first).mean()
    labels = (name, samples[0].reranker, stage, measure)
    return Sample(*labels, first, second, drawn, strata, moved if known else None, samples)


def _linked(together: Iterable[Sequence[int]], count: int) -> list[int]:
    """A group for each of `count` parts: parts that stand together anywhere have the same."""
    groups = list(range(count))
    for numbers in set(map(tuple, together)):
        joined = {groups[number] for number in numbers}
        if len(joined) > 1:
            groups = [min(joined) if group in joined else group for group in groups]
    return groups


def paired_by_query(sample: Sample) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """query_id → value, of each side of a task's sample."""
    first = dict(zip(sample.query_ids, sample.first.tolist(), strict=True))
    return first, dict(zip(sample.query_ids, sample.second.tolist(), strict=True))
