"""Means over results: a multilingual task's over its languages, an aggregate's or a suite's over its tasks.

All are unweighted: a language, or a task, counts once however many queries it has. A mean stands
only where every part has the figure, and is never a result of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..types import Aggregate, Part, Task
from .result import Result

__all__ = ["Mean", "means_of"]

_COLUMNS = ("first_stage", "reranked", "oracle", "difference")

Row = Mapping[str, float | None]
Rows = dict[str, Row]
"""measure, as printed → first_stage, reranked, oracle, difference."""
Known = dict[tuple[str, Part | None], Rows]
"""A task or an aggregate, and the part of it that a benchmark takes → its figures."""


@dataclass(frozen=True)
class Mean:
    """The unweighted mean of one system's figures over languages, other parts, or tasks."""

    name: str
    """The task, aggregate or suite."""
    over: str
    """`languages`, `parts` or `tasks`."""
    parts: int
    of: int
    """How many languages, parts or tasks there are; more than `parts` where only some were chosen."""
    retriever: str
    top_k: int | None
    reranker: str | None
    measures: Rows
    """A suite's own name for a mean (`score`) stands where it has one."""
    whole: bool
    """Whether it is over everything: all queries of all languages of all tasks."""
    headline: tuple[str, ...] = field(compare=False)
    """The measures that a table shows."""

    def entry(self) -> dict[str, Any]:
        """The entry of `run --format json`."""
        return {key: value for key, value in vars(self).items() if key != "headline"}


@dataclass(frozen=True)
class _System:
    """A first stage cut at one depth, and a reranker or none."""

    retriever: str
    top_k: int | None
    reranker: str | None
    version: tuple[str | None, str | None]


def means_of(results: Sequence[Result], tasks: Sequence[Task], aggregates: Sequence[Aggregate]) -> list[Mean]:
    """Every mean that the results fill: tasks of several subsets, then `aggregates` (inner ones first).

    A task with lists of its own belongs to every system with its reranker, whatever the first stage
    elsewhere.
    """
    by_system: dict[_System, dict[str, dict[str, Rows]]] = {}
    for result in results:
        subsets = by_system.setdefault(_system(result), {}).setdefault(result.identity.task, {})
        subsets[result.identity.subset] = dict(result.measures)
    found: list[Mean] = []
    figures: dict[_System, Known] = {}
    for system, by_task in by_system.items():
        figures[system] = {}
        for task in tasks:
            rows = _over([by_task.get(task.name, {}).get(subset.name, {}) for subset in task.subsets])
            if rows:
                figures[system][task.name, task.part] = rows
                if len(task.subsets) > 1:
                    found.append(_of_task(task, system, rows))
    whole = not any(task.left_out and task.part is None for task in tasks)
    whole = whole and not any(result.identity.partial for result in results)
    for system, own in figures.items():
        known = {**_with_own_lists(system, figures), **own}
        found += _of_aggregates(aggregates, system, known)
    return found if whole else [replace(mean, whole=False) for mean in found]


def _system(result: Result) -> _System:
    identity = result.identity
    version = (identity.reranker_revision, identity.reranker_fingerprint)
    return _System(identity.retriever, identity.top_k, result.reranker, version)


def _with_own_lists(system: _System, figures: Mapping[_System, Known]) -> Known:
    of_lists = [known for known in figures if known.top_k is None and known.reranker and known != system]
    same = [known for known in of_lists if (known.reranker, known.version) == (system.reranker, system.version)]
    return {name: rows for known in same for name, rows in figures[known].items()}


def _of_task(task: Task, system: _System, rows: Rows) -> Mean:
    languages = {subset.languages for subset in task.subsets}
    over = "languages" if len(languages) > 1 else "parts"
    # p-MRR alone says nothing of how good a ranking is, so its companion stands beside it.
    wanted = task.measures[: 2 if task.headline.name == "p-MRR" else 1]
    shown = tuple(name for name in (_printed(str(measure), rows) for measure in wanted) if name)
    parts = len(task.subsets)
    return _mean(task.name, over, (parts, parts + task.left_out), system, rows, shown)


def _mean(name: str, over: str, parts: tuple[int, int], system: _System, rows: Rows, shown: tuple[str, ...]) -> Mean:
    return Mean(name, over, *parts, system.retriever, system.top_k, system.reranker, rows, whole=True, headline=shown)


def _of_aggregates(aggregates: Sequence[Aggregate], system: _System, known: Known) -> Iterator[Mean]:
    for aggregate in aggregates:
        parts = dict(aggregate.parts)
        members = [known.get((member, parts.get(member)), {}) for member in aggregate.members]
        rows: Rows = {}
        for label, measures in aggregate.means:
            chosen = [_printed(measure, member) for measure, member in zip(measures, members, strict=True)]
            if all(chosen):
                rows[label] = _averaged([member[name or ""] for member, name in zip(members, chosen, strict=True)])
        if rows:
            known[aggregate.name, None] = rows
            shown = tuple(rows) if aggregate.means[0][0] == "p-MRR" else tuple(rows)[:1]
            yield _mean(aggregate.name, "tasks", (len(members),) * 2, system, rows, shown)


def _printed(measure: str, rows: Mapping[str, Row]) -> str | None:
    """The measure's name in the rows: where instructions change, that of the original side."""
    return next((name for name in (measure, f"{measure} og") if name in rows), None)


def _over(parts: Sequence[Rows]) -> Rows:
    """The means of the measures that all parts have."""
    return {name: _averaged([part[name] for part in parts]) for name in parts[0] if all(name in part for part in parts)}


def _averaged(rows: Sequence[Row]) -> Row:
    columns = {column: [row.get(column) for row in rows] for column in _COLUMNS}
    return {column: _average(values) for column, values in columns.items()}


def _average(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if len(there) == len(values) else None
