"""The paired values behind a comparison: of each task and subset, and of the means over them.

Both results have a value for each query. What moves is a unit: a query, or a cluster of queries that
share something. A mean is unweighted at every level (a task's over its subsets, a suite's over its
tasks), and it is kept as units too, so that the same test and interval serve all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError, spelt
from ..measures.significance import Units, units_of
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
    units: Units
    """Of second - first: what the test flips; of a mean, see `_mean`."""
    by_query: Units | None
    """The same as if queries were independent; None where no query has a cluster."""
    reference: Units | None
    """As `units`, of reranked - first stage on the first side: how far a change can move these queries."""
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
        measure = spelt(measure, names)
        return [name for name in names if name in (measure, f"{measure} og", f"{measure} changed")] or [measure]
    sides = [next((name for name in names if name.endswith(f" {side}")), "") for side in ("og", "changed")]
    return [names[0], *(name for name in sides if name and names[0] == "p-MRR")]


def values_of(result: Result, measure: str, stage: str | None = None) -> dict[str, float]:
    """query_id → value, of `stage`, or of what the result is about: the reranker, or the first stage where there is none.

    Raises HarnessError, exit code 3, where it was not measured.
    """
    stage = stage or result.stage
    column = result.values.get(measure, {}).get(stage)
    if column is None:
        who = result.reranker or result.identity.retriever
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
            labels = (title_of(first), _both(first, second), first_stage_label(first), name)
            clusters = clusters_of(first, query_ids) or clusters_of(second, query_ids)
            task = first.identity.task
            alone = units_of(one, two, query_ids, task)
            together = units_of(one, two, clusters, task) if clusters else alone
            reference = _reference(first, name, query_ids, clusters)
            both = (first, second)
            by_query = alone if clusters else None
            samples.append(Sample(*labels, one, two, together, by_query, reference, (), query_ids, both))
    return samples


def clusters_of(result: Result, query_ids: Sequence[str]) -> list[str] | None:
    """The cluster of each of these queries; None where the result knows of none."""
    if not result.clusters:
        return None
    known = dict(zip(result.query_ids, result.clusters, strict=True))
    found = [known[query_id] for query_id in query_ids]
    return found if len(set(found)) < len(found) else None


def _reference(result: Result, measure: str, query_ids: Sequence[str], clusters: Sequence[str] | None) -> Units | None:
    columns = result.values.get(measure, {})
    if not {"first_stage", "reranked"} <= set(columns):
        return None
    before, after = (values_of(result, measure, stage) for stage in ("first_stage", "reranked"))
    first, second = ([side[query_id] for query_id in query_ids] for side in (before, after))
    return units_of(first, second, clusters or query_ids, result.identity.task)


def _both(first: Result, second: Result) -> str:
    names = [result.reranker or f"{result.identity.retriever} alone" for result in (first, second)]
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
    """The mean of means, as one sample.

    Values are one for each query_id of a task, weighted so that their plain mean is the figure.
    """
    values: dict[tuple[str, str], NDArray[np.float64]] = {}
    for share, part in parts:
        weight = share / part.first.size
        for query_id, *row in zip(part.query_ids, part.first, part.second, strict=True):
            key = (part.task, query_id)
            values[key] = values.get(key, np.zeros(2)) + weight * np.array(row)
    first, second = (np.array(list(values.values())) * len(values)).T
    samples = tuple(sample for _, sample in parts)
    labels = (name, samples[0].reranker, stage, measure)
    by_query = _joined(parts, lambda part: part.by_query or part.units)
    known = all(sample.reference is not None for sample in samples)
    return Sample(
        *labels, first, second,
        units=_joined(parts, lambda part: part.units) or samples[0].units,
        by_query=by_query if any(sample.by_query for sample in samples) else None,
        reference=_joined(parts, lambda part: part.reference) if known else None,
        members=samples,
    )  # fmt: skip


def _joined(parts: Weighted, choose: Callable[[Sample], Units | None]) -> Units | None:
    """The units of a mean of means: parts share a unit where its key is the same.

    A query_id that several subsets of a task share (the same question in twelve languages) is one unit:
    translations of a query are not independent of each other. Tasks are given, not drawn, so what a unit
    adds is by how much it departs from the mean of its part (the influence of the unit on the mean of
    means: Davison and Hinkley, Bootstrap Methods, 2.7), beside its share in the whole difference. Where all
    parts share all units that is the difference itself.
    """
    chosen = [(share, units) for share, part in parts if (units := choose(part)) is not None]
    place = {key: number for number, key in enumerate(dict.fromkeys(key for _, units in chosen for key in units.keys))}
    departed, weights, moved = np.zeros(len(place)), np.zeros(len(place)), np.zeros(len(place), bool)
    numbers = [np.array([place[key] for key in units.keys]) for _, units in chosen]
    for (share, units), where in zip(chosen, numbers, strict=True):
        departed[where] += share * (units.sums - units.sums.sum() * units.weights)
        weights[where] += share * units.weights
        moved[where] |= units.sums != 0
    seen: dict[int, list[int]] = {}
    for number, where in enumerate(numbers):
        for unit in where.tolist():
            seen.setdefault(unit, []).append(number)
    groups = _linked(seen.values(), len(chosen))
    strata = np.array([groups[seen[unit][0]] for unit in range(len(place))])
    figure = sum(share * float(units.sums.sum()) for share, units in chosen)
    if len(set(groups)) > 1:
        # Each group's own mean was taken away: as for a variance, n - 1 of n departures are free.
        sizes = np.bincount(strata)[strata]
        departed *= np.sqrt(sizes / np.maximum(sizes - 1, 1))
    scale = sum(share * units.scale for share, units in chosen)
    return Units(departed + figure * weights, weights, scale, strata, tuple(place), int(moved.sum()))


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
