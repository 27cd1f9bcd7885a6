"""What the columns of a board are: tasks, languages, suites and means, each a weighted sum of parts.

A part is one subset of one task under one measure. A multilingual task is the unweighted mean of its
subsets, a suite's mean follows the suite's own convention (`tasks/suites.yaml`), and the board's mean
is over the tasks of one measure, those of an aggregate card as one: p-MRR and nDCG are never mixed.
A view is a column to rank by and the columns that belong beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..types import Aggregate, Subset, Task
from .board import Board

__all__ = ["Column", "Part", "View", "views_of"]

Part = tuple[str, str, str]
"""task, subset, measure as results print it."""

Shares = Mapping[Part, float]


@dataclass(frozen=True)
class Column:
    """One figure of every row: its name, and the parts that it sums with their weights."""

    name: str
    kind: str
    """`task`, `subset` (one language or part of a task), `aggregate` (a card of several tasks), or `mean`."""
    measure: str
    shares: Shares = field(hash=False)
    tasks: tuple[str, ...] = ()
    of: int = 1
    """For a mean: over how many tasks, languages or parts."""
    subset: str = ""
    languages: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.name} {self.measure}"


@dataclass(frozen=True)
class View:
    """What is looked at together: everything, a suite, or a language."""

    name: str
    kind: str
    """`all`, `suite` or `language`."""
    key: Column
    """What its rows are ranked by."""
    columns: tuple[Column, ...]


def views_of(board: Board) -> list[View]:
    """The whole board, then each aggregate and suite inside it, then each language where there are several."""
    own = [column for task in board.tasks for column in _of_task(task, board.measure)]
    means = _of_aggregates(board, own)
    overall = _overall(board, own, means)
    of_suites = tuple(
        column
        for named in means.values()
        for column in named
        if column.kind == "mean" and column.shares != overall.shares
    )
    views = [View("All tasks", "all", overall, (*of_suites, *_folded(own, means)))]
    for aggregate in board.aggregates:
        tasks = _inside(aggregate, board.aggregates)
        if tasks < {task.name for task in board.tasks}:
            inner = {name: named for name, named in means.items() if set(named[0].tasks) < tasks}
            members = _folded([column for column in own if column.name in tasks], inner)
            key, *more = [*means.get(aggregate.name, []), *members]
            views.append(View(aggregate.name, "suite", key, tuple(more) if key.of > 1 else tuple(members)))
    return views + _of_languages(board, overall.measure)


def _folded(columns: Sequence[Column], means: Mapping[str, Sequence[Column]]) -> list[Column]:
    """The columns, with that of an aggregate card in the place of its tasks': CQADupStack in that of its forums."""
    there = {task for column in columns for task in column.tasks}
    folds = [named[0] for named in means.values() if named[0].kind == "aggregate" and set(named[0].tasks) < there]
    found: dict[Column, None] = {}
    for column in columns:
        fold = next((each for each in folds if column.name in each.tasks and column.measure == each.measure), column)
        found[fold] = None
    return list(found)


def subset_columns(task: Task, measure: str | None) -> list[Column]:
    """A column for each subset of a task of several, under the measure that its own column shows."""
    shown = _measures(task, measure)[0]
    return [
        Column(
            f"{task.name} {subset.name}", "subset", shown, {(task.name, subset.name, shown): 1.0}, (task.name,),
            subset=subset.name, languages=codes(subset),
        )
        for subset in task.subsets
        if len(task.subsets) > 1
    ]  # fmt: skip


def codes(subset: Subset) -> tuple[str, ...]:
    """The subset's languages without their scripts: `zho` for zho-Hans."""
    return tuple(dict.fromkeys(language.partition("-")[0] for language in subset.languages))


def _measures(task: Task, wanted: str | None) -> list[str]:
    """What is shown of a task: the measure asked for or its headline, and beside p-MRR its companion."""
    instructions = task.headline.name == "p-MRR"
    if wanted is not None:
        return [_sided(wanted, task)]
    # p-MRR alone says nothing of how good a ranking is, so its companion stands beside it.
    return [_sided(str(measure), task) for measure in task.measures[: 2 if instructions else 1]]


def _sided(measure: str, task: Task) -> str:
    """The measure as results print it: where instructions change, that of the original side."""
    plain = task.headline.name != "p-MRR" or measure == "p-MRR" or " " in measure
    return measure if plain else f"{measure} og"


def _of_task(task: Task, wanted: str | None) -> list[Column]:
    languages = tuple(dict.fromkeys(code for subset in task.subsets for code in codes(subset)))
    return [
        Column(task.name, "task", measure, _shares(task, task.subsets, measure), (task.name,), languages=languages)
        for measure in _measures(task, wanted)
    ]


def _shares(task: Task, subsets: Sequence[Subset], measure: str) -> Shares:
    return {(task.name, subset.name, measure): 1 / len(subsets) for subset in subsets}


def _averaged(columns: Sequence[Shares]) -> Shares:
    merged: dict[Part, float] = {}
    for shares in columns:
        for part, share in shares.items():
            merged[part] = merged.get(part, 0.0) + share / len(columns)
    return merged


def _of_aggregates(board: Board, own: Sequence[Column]) -> dict[str, list[Column]]:
    """aggregate or suite → the means of its own convention."""
    tasks = {task.name: task for task in board.tasks}
    known: dict[tuple[str, str], Shares] = {}
    found: dict[str, list[Column]] = {}
    for aggregate in board.aggregates:
        for label, measures in _means(aggregate, board.measure):
            parts = []
            for member, measure in zip(aggregate.members, measures, strict=True):
                if member in tasks:
                    parts.append(_shares(tasks[member], tasks[member].subsets, _sided(measure, tasks[member])))
                elif (member, measure) in known:
                    parts.append(known[member, measure])
            if len(parts) == len(aggregate.members):
                shares = known[aggregate.name, label] = _averaged(parts)
                names = tuple(dict.fromkeys(task for task, _, _ in shares))
                kind = "mean" if aggregate.name in board.suites else "aggregate"
                column = Column(aggregate.name, kind, label, shares, names, len(parts))
                found.setdefault(aggregate.name, []).append(column)
    return found


def _means(aggregate: Aggregate, wanted: str | None) -> Sequence[tuple[str, tuple[str, ...]]]:
    """An aggregate card gives a mean for each of its measures: the first is its headline's."""
    if wanted is not None and aggregate.means:
        return [(wanted, (wanted,) * len(aggregate.members))]
    own_names = any(label not in measures for label, measures in aggregate.means)
    return aggregate.means if own_names else aggregate.means[:1]


def _overall(board: Board, own: Sequence[Column], means: Mapping[str, Sequence[Column]]) -> Column:
    """What the board ranks by: its mean, or where a suite forbids one, the first of its suites or tasks."""
    first = own[0]
    forbidden = any(not each.means and each.name in board.words for each in board.aggregates)
    if forbidden:
        return next((named[0] for named in means.values()), first)
    units: dict[object, list[Shares]] = {}
    once = [frozenset(each.members) for each in board.aggregates if each.name not in board.suites]
    for column in own:
        if column.measure == first.measure:
            unit = next((members for members in once if column.name in members), column.name)
            units.setdefault(unit, []).append(column.shares)
    if len(units) == 1 and len(next(iter(units.values()))) == 1:
        return first
    shares = _averaged([_averaged(unit) for unit in units.values()])
    same = [column for named in means.values() for column in named if column.shares == shares]
    names = tuple(dict.fromkeys(task for task, _, _ in shares))
    return same[0] if same else Column("mean", "mean", first.measure, shares, names, len(units))


def _inside(aggregate: Aggregate, known: Sequence[Aggregate]) -> set[str]:
    """The names of the tasks that an aggregate stands for, those of the aggregates inside it included."""
    inner = {each.name: each for each in known}
    found: set[str] = set()
    for member in aggregate.members:
        found |= _inside(inner[member], known) if member in inner else {member}
    return found


def _of_languages(board: Board, measure: str) -> list[View]:
    """A view for each language: the parts of every task in it, and their mean over the tasks of one measure."""
    by_language: dict[str, list[Column]] = {}
    for task in board.tasks:
        for code in dict.fromkeys(code for subset in task.subsets for code in codes(subset)):
            subsets = [subset for subset in task.subsets if code in codes(subset)]
            whole = len(subsets) == len(task.subsets)
            name = task.name if whole else f"{task.name} {code}"
            for of in _measures(task, board.measure):
                shares = _shares(task, subsets, of)
                column = Column(name, "task" if whole else "subset", of, shares, (task.name,), languages=(code,))
                by_language.setdefault(code, []).append(column)
    if len(by_language) < 2:
        return []
    views = []
    for code, columns in sorted(by_language.items()):
        alike = [column for column in columns if column.measure == measure]
        alike = alike or [column for column in columns if column.measure == columns[0].measure]
        names = tuple(dict.fromkeys(task for column in alike for task in column.tasks))
        averaged = Column(code, "mean", alike[0].measure, _averaged([c.shares for c in alike]), names, len(alike))
        views.append(View(code, "language", averaged if len(alike) > 1 else alike[0], tuple(columns)))
    return views
