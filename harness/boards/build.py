"""Results → the rows of a board: figures with their intervals, ranks that are believed, what is missing left out.

Ranks go down each view's key column. Its best row is tested against every row below it (paired sign
flips of the very figure that is shown, corrected over all pairs of rows); the rows until the
first that differs are its group and share its rank, and that first row leads the next group. Oracles
and published figures have no rank: the one is a ceiling, the others come without values of queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import HarnessError, did_you_mean
from ..types import Interval, Task
from .board import Board
from .columns import Column, Part, View, subset_columns, views_of
from .facts import Facts, facts_of, trained_on
from .pairs import Pairs
from .references import imported_systems, left_out_of, own_figures, published_systems
from .resampling import RESAMPLES, Sums, resample
from .resampling import Part as Sampled
from .speed import Speed, speed_of
from .systems import Figure, System, systems_in

__all__ = ["ALPHA", "Cell", "Row", "Table", "build_table"]

ALPHA = 0.05
_MATRIX = 40
"""More rows than these are not looked at pair by pair."""
_PLACES = {"reranker": 0, "first stage": 0, "imported": 1, "published": 1, "oracle": 2}
"""What was measured here stands first, a ceiling last."""


@dataclass(frozen=True)
class Cell:
    """A figure of one row; the interval is None where the values of the queries are not known."""

    mean: float
    interval: Interval | None = None
    data: str = ""
    """For a published figure: the data that it was measured on, where its source says so."""
    here: str = ""
    """As `Figure.here`."""


@dataclass
class Row:
    """One system with what is known of it."""

    system: System
    facts: Facts
    trained: tuple[str, ...] | None
    """The board's tasks that the model was trained on; None where that is unknown."""
    speed: Speed | None
    cells: dict[Column, Cell] = field(default_factory=dict)
    """Only the cells that there are."""
    ranks: dict[int, int] = field(default_factory=dict)
    """The number of a view → rank; a view is missing where the row has no rank in it."""
    beats: dict[int, list[Row]] = field(default_factory=dict, repr=False)
    """The number of a view → rows that it is ahead of beyond chance: its own first stage, and among the best _MATRIX rows each."""
    marks: dict[Column, str] = field(default_factory=dict, repr=False)
    """† or ‡ where the figure is higher or lower beyond chance than that of the board's baseline; only where it names one."""


@dataclass(frozen=True)
class Table:
    """A board and its rows, best first; those without the key figure come last."""

    board: Board
    views: tuple[View, ...]
    languages: tuple[Column, ...]
    """A column for each language or part of a task of several."""
    rows: tuple[Row, ...]
    baseline: Row | None = None
    """The row that the board names as its baseline."""

    @property
    def key(self) -> Column:
        return self.views[0].key

    @property
    def columns(self) -> tuple[Column, ...]:
        """Every column of any view, each once."""
        return _every(self.views, self.languages)


def _every(views: Sequence[View], languages: Sequence[Column]) -> tuple[Column, ...]:
    of_views = [column for view in views for column in (view.key, *view.columns)]
    return tuple(dict.fromkeys((*of_views, *languages)))


def build_table(board: Board) -> Table:
    """The board from its results. Raises HarnessError where there are none, or they contradict each other."""
    views = tuple(views_of(board))
    languages = tuple(column for task in board.tasks for column in subset_columns(task, board.measure))
    drawn = {part for column in _every(views, languages) for part in column.shares}
    measured = systems_in(board, drawn)
    results = [result for system in measured for result in system.results.values()]
    others = published_systems(board, results) if board.published else []
    systems = [*measured, *imported_systems(board), *others, *own_figures(board)]
    if not systems:
        told = left_out_of(board)
        raise HarnessError(
            "; ".join(told) or f"{board.name}: no row is left by first_stages, rerankers and oracle; widen them"
        )
    views = tuple(_with_figures(view, systems) for view in views)
    rows = tuple(_row(board, system) for system in systems)
    table = Table(board, views, languages, rows, _baseline(board, rows))
    _fill(table)
    here = any(table.key in row.cells for row in rows if _PLACES[row.system.kind] == 0)
    return replace(table, rows=tuple(sorted(rows, key=lambda row: _order(row, table.key, apart=here))))


def _with_figures(view: View, systems: Sequence[System]) -> View:
    """The view, ranked by the first of its columns that any row has, where none has its mean."""
    there = [column for column in (view.key, *view.columns) if any(_cell(each, column, None) for each in systems)]
    return replace(view, key=there[0]) if there else view


def _baseline(board: Board, rows: Sequence[Row]) -> Row | None:
    """The row that the board names. Raises HarnessError where no measured row, or more than one, is called so."""
    if not board.baseline:
        return None
    measured = [row for row in rows if row.system.kind in ("reranker", "first stage")]
    found = [row for row in measured if board.baseline in _called(row)]
    if len(found) == 1:
        return found[0]
    names = [_called(row)[-1] for row in found or measured]
    if found:
        raise HarnessError(f'{board.name}: baseline "{board.baseline}" is {" and ".join(names)}: name one of them')
    raise HarnessError(
        f'{board.name}: no measured row is called "{board.baseline}", as baseline says; there is {", ".join(names)}.'
        f"{did_you_mean(board.baseline, [name for row in measured for name in _called(row)])}"
    )


def _called(row: Row) -> tuple[str, ...]:
    """What a board's `baseline` may call a row; the last is its alone."""
    system = row.system
    name = f"{system.name} ({system.note})" if system.note else system.name
    stage = system.stage.rpartition(" top ")[0] or system.stage
    return (system.name, name, f"{name} over {system.stage}") if system.name else (stage, system.stage)


def _order(row: Row, key: Column, *, apart: bool = True) -> tuple[object, ...]:
    """What was measured here stands first, where any of it has the figure; a ceiling stands last."""
    cell = row.cells.get(key)
    system = row.system
    place = _PLACES[system.kind] if apart or system.kind == "oracle" else 0
    return (place, cell is None, -(cell.mean if cell else 0.0), system.kind, system.stage, system.name, system.note)


def _row(board: Board, system: System) -> Row:
    if system.kind == "oracle":
        return Row(system, Facts(), None, None)
    own = board.models.get(system.model)
    # What is known of a name of the hub says nothing of a folder that is called so too.
    of_folder = any(result.place for result in system.results.values())
    facts = system.declared or (own or Facts() if of_folder else facts_of(system.model, board.models))
    said = system.declared is not None or (own is not None and own.trained_on is not None)
    return Row(system, facts, trained_on(facts, board.tasks, said), speed_of(system, board))


def _fill(table: Table) -> None:
    """Every cell and rank; a column is resampled task by task and given up when its last task is done."""
    measured = [row for row in table.rows if row.system.results]
    open_columns: dict[Column, Sums] = {}
    left = {column: {task for task, _, _ in column.shares} for column in table.columns}
    for task in table.board.tasks:
        of_it = [column for column in table.columns if task.name in left[column]]
        for column in of_it:
            if column not in open_columns:
                ranked = any(view.key == column for view in table.views) or _is_marked(table, column)
                open_columns[column] = Sums(len(measured), RESAMPLES, ranked=ranked)
        _resample(measured, task, of_it, open_columns)
        for column in of_it:
            left[column].discard(task.name)
            if not left[column]:
                _settle(table, measured, column, open_columns.pop(column))


def _resample(rows: Sequence[Row], task: Task, columns: Sequence[Column], sums: dict[Column, Sums]) -> None:
    wanted = dict.fromkeys(part for column in columns for part in column.shares if part[0] == task.name)
    numbers = {number: sums[column] for number, column in enumerate(columns)}
    parts, shares = [], []
    for part in wanted:
        sampled = _sampled(rows, part)
        if sampled is not None:
            parts.append(sampled)
            shares.append({n: column.shares[part] for n, column in enumerate(columns) if part in column.shares})
    if parts:
        resample(task.name, parts, numbers, shares)


def _sampled(rows: Sequence[Row], part: Part) -> Sampled | None:
    """The values of every row that has them. Raises HarnessError for rows measured on different queries."""
    figures = [row.system.figures.get(part) for row in rows]
    known = [(row, figure) for row, figure in zip(rows, figures, strict=True) if figure and figure.values]
    if not known:
        return None
    query_ids = known[0][1].query_ids
    place = {query_id: number for number, query_id in enumerate(query_ids)}
    values = np.full((len(query_ids), len(rows)), np.nan)
    for number, figure in enumerate(figures):
        if figure is None or not figure.values:
            continue
        if figure.query_ids != query_ids and set(figure.query_ids) != set(place):
            names = " and ".join(row.system.name or row.system.stage for row in (known[0][0], rows[number]))
            raise HarnessError(f"{' '.join(part)}: {names} were measured on different queries; run one again")
        values[[place[query_id] for query_id in figure.query_ids], number] = figure.values
    return Sampled(part[1], query_ids, values, _clusters([figure for _, figure in known], query_ids))


def _clusters(figures: Sequence[Figure], query_ids: Sequence[str]) -> tuple[str, ...]:
    """The clusters of the queries, which the first result that knows them says: they are the data's."""
    figure = next((figure for figure in figures if figure.clusters), None)
    if figure is None:
        return ()
    known = dict(zip(figure.query_ids, figure.clusters, strict=True))
    return tuple(known[query_id] for query_id in query_ids)


def _settle(table: Table, measured: Sequence[Row], column: Column, sums: Sums) -> None:
    intervals = {id(row): _within(found, column) for row, found in zip(measured, sums.intervals(), strict=True)}
    for row in table.rows:
        cell = _cell(row.system, column, intervals.get(id(row)))
        if cell is not None:
            row.cells[column] = cell
    for place, view in enumerate(table.views):
        if view.key == column:
            _rank(measured, place, column, sums)
    if _is_marked(table, column):
        _mark(table, measured, column, sums)


def _is_marked(table: Table, column: Column) -> bool:
    view = table.views[0]
    return table.baseline is not None and column in (view.key, *view.columns)


def _mark(table: Table, rows: Sequence[Row], column: Column, sums: Sums) -> None:
    """Which figures of a column differ from the baseline's, corrected over all pairs of its rows."""
    numbers = _tested(rows, column, sums)
    base = next((number for number in numbers if rows[number] is table.baseline), None)
    if base is None:
        return
    pairs = Pairs(sums, numbers, ALPHA)
    for number in numbers:
        if number != base and pairs.differ(base, number):
            higher = rows[number].cells[column].mean > rows[base].cells[column].mean
            rows[number].marks[column] = "†" if higher else "‡"


def _tested(rows: Sequence[Row], column: Column, sums: Sums) -> list[int]:
    """The numbers of the rows that can be tested in this column."""
    return [
        number
        for number, row in enumerate(rows)
        if column in row.cells and row.system.kind in ("reranker", "first stage") and sums.tested(number)
    ]


def _within(interval: Interval | None, column: Column) -> Interval | None:
    """The part of an interval that the measure can reach."""
    least = -1.0 if column.measure.startswith("p-MRR") else 0.0
    return None if interval is None else Interval(max(least, interval.low), min(1.0, interval.high))


def _cell(system: System, column: Column, interval: Interval | None) -> Cell | None:
    """The figure, where each of its parts is there: a mean over fewer is never shown as the whole."""
    parts = [(system.figures.get(part), share) for part, share in column.shares.items()]
    if all(figure is not None for figure, _ in parts):
        mean = sum(figure.mean * share for figure, share in parts if figure)
        data = "; ".join(dict.fromkeys(figure.data for figure, _ in parts if figure and figure.data))
        marks = {figure.here for figure, _ in parts if figure}
        return Cell(mean, interval, data, marks.pop() if len(marks) == 1 else "")
    stated: Figure | None = system.means.get((column.name, column.measure))
    return Cell(stated.mean, None, stated.data) if stated else None


def _rank(rows: Sequence[Row], view: int, key: Column, sums: Sums) -> None:
    ranked = [(rows[number].cells[key].mean, number) for number in _tested(rows, key, sums)]
    order = [number for _, number in sorted(ranked, key=lambda entry: (-entry[0], _order(rows[entry[1]], key)))]
    if not order:
        return
    # Which row is the best is seen in the data too, so that every pair is in the family.
    pairs = Pairs(sums, order, ALPHA)
    start = 0
    while start < len(order):
        below = enumerate(order[start + 1 :], start + 1)
        end = next((place for place, number in below if pairs.differ(order[start], number)), len(order))
        for number in order[start:end]:
            rows[number].ranks[view] = start + 1
        start = end
    for one, other in _looked_at(rows, order):
        if pairs.differ(one, other):
            rows[one].beats.setdefault(view, []).append(rows[other])


def _looked_at(rows: Sequence[Row], order: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pairs of row numbers, the one with the higher figure first."""
    for place, one in enumerate(order):
        for below, other in enumerate(order[place + 1 :], place + 1):
            kinds = {rows[one].system.kind, rows[other].system.kind}
            own = len(kinds) == 2 and rows[one].system.stage == rows[other].system.stage
            if below < _MATRIX or own:
                yield one, other
