"""Leaderboard tables from results: `leaderboards/NAME.yaml` → NAME.md and NAME.csv.

    title: Demo suite
    tasks: [demo]              # tasks or suites
    results: [results]         # folders, relative to the working folder

A row is a reranker over a first stage, or a first stage alone; a column is a task's headline
measure, a multilingual task the unweighted mean of its subsets. A cell that no result fills is
shown as missing, never as zero. The mean is over the tasks whose measure is the first task's (p-MRR
and nDCG are never mixed), and only a row with every one of them has it. Cells hold the 95 %
bootstrap interval over queries. Rows that cannot be told apart from the best of their group
(paired randomisation over those queries, Holm-corrected over the board) share a rank.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from .errors import HarnessError, did_you_mean
from .result import Result, load_result, result_files
from .task import Cards
from .types import Task

__all__ = ["Board", "Cell", "Row", "build_board", "leaderboard_names", "read_board", "render", "write_board"]

ALPHA = 0.05
MISSING = "–"
GIVEN = "given lists"
_KEYS = {"title", "tasks", "results"}


Systems = dict[tuple[str, str | None], dict[str, dict[str, Result]]]
"""(first stage, reranker) → task → subset → its result."""


@dataclass(frozen=True)
class Board:
    """What a leaderboard shows, as its YAML says."""

    name: str
    title: str
    tasks: tuple[Task, ...]
    results: tuple[Path, ...]
    counted_once: tuple[frozenset[str], ...] = ()
    """Tasks that are one in the mean: the members of an aggregate card, CQADupStack's forums."""


@dataclass(frozen=True)
class Cell:
    """A task's mean for one row, its 95 % interval, and the values behind it."""

    mean: float
    low: float
    high: float
    measure: str
    values: Mapping[tuple[str, str], float]
    """(subset, query_id) → value."""


@dataclass(frozen=True)
class Row:
    """One system: a reranker over a first stage, or a first stage alone."""

    reranker: str | None
    first_stage: str
    cells: tuple[Cell | None, ...]
    rank: int | None = None

    mean: float | None = None


def leaderboard_names(folder: Path) -> list[str]:
    """The leaderboards that `folder` describes, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_board(name: str, folder: Path, cards: Cards, cache: Path) -> Board:
    """The leaderboard `folder/name.yaml`. Raises HarnessError for an unknown name, key or task."""
    import yaml

    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = leaderboard_names(folder)
        raise HarnessError(
            f'no leaderboard "{name}" in {folder}; there is {", ".join(known) or "none"}.{did_you_mean(name, known)}'
        )
    try:
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise HarnessError(f"{path} is not valid YAML: {error}") from None
    for key in entry if isinstance(entry, dict) else {"": None}:
        if key not in _KEYS:
            raise HarnessError(
                f'{path}: unknown key "{key}"; known: {", ".join(sorted(_KEYS))}.{did_you_mean(str(key), _KEYS)}'
            )
    words = [str(word) for word in entry.get("tasks", [])]
    tasks = tuple(cards.resolve(words, cache))
    folders = tuple(Path(str(word)) for word in entry.get("results", ["results"]))
    suites = cards.suites()
    once = tuple(frozenset(found.members) for found in cards.aggregates(words, cache) if found.name not in suites)
    return Board(name, str(entry.get("title", name)), tasks, folders, once)


def build_board(board: Board) -> list[Row]:
    """Every row that the results fill, best first; rows without a mean come last.

    Only complete runs on the cards' own data revisions count. Raises HarnessError where there are none.
    """
    found: Systems = {}
    for folder in board.results:
        for path in result_files(folder):
            result = load_result(path, with_values=True)
            if _belongs(result, board):
                _place(found, result)
    if not found:
        raise HarnessError(f"no result of {board.name}'s tasks in {', '.join(map(str, board.results))}: run them first")
    rows = [_row(board, stage, reranker, results) for (stage, reranker), results in _with_given_lists(found).items()]
    rows.sort(key=lambda row: (row.mean is None, -(row.mean or 0.0), row.first_stage, row.reranker or ""))
    return _ranked(board, rows)


def _belongs(result: Result, board: Board) -> bool:
    identity = result.identity
    known = {(task.name, task.revision) for task in board.tasks}
    plain = identity.limit is None and identity.relevance_level == 1 and identity.missing_text == "error"
    return plain and (identity.task, identity.dataset_revision) in known


def _place(found: Systems, result: Result) -> None:
    """A result under its system, and under its first stage alone, whose figures it holds too."""
    identity = result.identity
    stage = GIVEN if identity.top_k is None else f"{identity.retriever} top {identity.top_k}"
    for reranker in {identity.reranker, None}:
        found.setdefault((stage, reranker), {}).setdefault(identity.task, {})[identity.subset] = result


def _with_given_lists(found: Systems) -> Systems:
    """A task with lists of its own belongs to every row of its reranker, whatever the first stage elsewhere."""
    searched = {system: dict(results) for system, results in found.items() if system[0] != GIVEN}
    for (stage, reranker), results in found.items():
        rows = [own for (_, name), own in searched.items() if name == reranker]
        if stage == GIVEN and reranker is not None:
            for own in rows or [searched.setdefault((GIVEN, reranker), {})]:
                own |= {task: subsets for task, subsets in results.items() if task not in own}
    return searched


def _row(board: Board, stage: str, reranker: str | None, results: Mapping[str, Mapping[str, Result]]) -> Row:
    cells = tuple(_cell(task, results.get(task.name, {}), reranker) for task in board.tasks)
    return Row(reranker, stage, cells, mean=_mean_of(board, cells))


def _mean_of(board: Board, cells: Sequence[Cell | None]) -> float | None:
    """The mean over the tasks of one measure, those of an aggregate as one; None where a cell is missing."""
    if None in _of_one_measure(board, cells):
        return None
    units: dict[object, list[float]] = {}
    for task, cell in zip(board.tasks, cells, strict=True):
        if cell is not None and task.headline == board.tasks[0].headline:
            unit = next((members for members in board.counted_once if task.name in members), task.name)
            units.setdefault(unit, []).append(cell.mean)
    means = [sum(unit) / len(unit) for unit in units.values()]
    return sum(means) / len(means)


def _of_one_measure(board: Board, cells: Sequence[Cell | None]) -> list[Cell | None]:
    """The cells of the tasks whose headline is the first task's: what a mean may be taken over."""
    first = board.tasks[0].headline
    return [cell for task, cell in zip(board.tasks, cells, strict=True) if task.headline == first]


def _cell(task: Task, subsets: Mapping[str, Result], reranker: str | None) -> Cell | None:
    """The unweighted mean over the task's subsets; None where one of them is missing."""
    from .significance import bootstrap_mean

    stage = "reranked" if reranker else "first_stage"
    parts: list[list[float]] = []
    values: dict[tuple[str, str], float] = {}
    for subset in task.subsets:
        result = subsets.get(subset.name)
        measure = _headline(task, result) if result else None
        row = result.measures.get(measure, {}) if result and measure else {}
        if result is None or measure is None or row.get(stage) is None:
            return None
        column = result.values[measure][stage]
        paired = [(q, v) for q, v in zip(result.query_ids, column, strict=True) if v is not None]
        values |= {(subset.name, query_id): value for query_id, value in paired}
        parts.append([value for _, value in paired])
    means = [sum(part) / len(part) for part in parts]
    interval = bootstrap_mean([value for part in parts for value in part])
    return Cell(sum(means) / len(means), interval.low, interval.high, str(task.headline), values)


def _headline(task: Task, result: Result) -> str | None:
    name = str(task.headline)
    return next((measure for measure in result.measures if measure in (name, f"{name} og")), None)


def _ranked(board: Board, rows: Sequence[Row]) -> list[Row]:
    """Ranks by groups: a row joins its group while it cannot be told apart from the group's best."""
    complete = [row for row in rows if row.mean is not None]
    p_of = _corrected(board, complete)
    ranked: list[Row] = []
    leader = 0
    for place, row in enumerate(complete):
        if place and p_of[leader, place] < ALPHA:
            leader = place
        ranked.append(replace(row, rank=leader + 1))
    return ranked + list(rows[len(complete) :])


def _corrected(board: Board, rows: Sequence[Row]) -> dict[tuple[int, int], float]:
    """The Holm-corrected p of every pair of rows."""
    from .significance import holm, paired_randomisation

    pairs = list(combinations(range(len(rows)), 2))
    p_values = [paired_randomisation(*_paired(board, rows[first], rows[second])) for first, second in pairs]
    return dict(zip(pairs, holm(p_values), strict=True)) if pairs else {}


def _paired(board: Board, first: Row, second: Row) -> tuple[list[float], list[float]]:
    """Both rows' values of the same queries, over the tasks that the mean is taken over."""
    left: list[float] = []
    right: list[float] = []
    for a, b in zip(_of_one_measure(board, first.cells), _of_one_measure(board, second.cells), strict=True):
        if a is not None and b is not None:
            shared = [key for key in a.values if key in b.values]
            left += [a.values[key] for key in shared]
            right += [b.values[key] for key in shared]
    return left, right


def render(board: Board, rows: Sequence[Row]) -> dict[str, str]:
    """File name → text, for every form of the board."""
    return {f"{board.name}.md": _markdown(board, rows), f"{board.name}.csv": _csv(board, rows)}


def write_board(board: Board, folder: Path, *, check: bool) -> list[str]:
    """Write the board's files into `folder`; with `check`, only name those that are out of date."""
    stale = []
    for name, text in render(board, build_board(board)).items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, encoding="utf-8")
    return stale


def _markdown(board: Board, rows: Sequence[Row]) -> str:
    head = [
        "rank",
        "reranker",
        "first stage",
        f"mean {board.tasks[0].headline}",
        *(f"{task.name} {task.headline}" for task in board.tasks),
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [str(row.rank or MISSING), _escaped(row.reranker or "none"), _escaped(row.first_stage), _mean(row)]
        lines.append("| " + " | ".join([*cells, *(_shown(cell) for cell in row.cells)]) + " |")
    note = (
        f"Cells: mean over queries [95 % bootstrap interval]; {MISSING} where there is no result. Multilingual tasks: the "
        "unweighted mean of their languages. p-MRR is shown times 100 and is not in the mean, which stands only where "
        "every task is there. Rows that cannot be told apart (p ≥ 0.05, paired randomisation, Holm) share a rank."
    )
    return f"# {board.title}\n\n" + "\n".join(lines) + f"\n\n{note}\n"


def _mean(row: Row) -> str:
    return MISSING if row.mean is None else f"{row.mean:.4f}"


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    if cell.measure == "p-MRR":
        return f"{cell.mean * 100:+.2f} [{cell.low * 100:+.2f}, {cell.high * 100:+.2f}]"
    return f"{cell.mean:.4f} [{cell.low:.4f}, {cell.high:.4f}]"


def _escaped(text: str) -> str:
    """A name from outside as Markdown text: neither a column's end nor markup."""
    for character in "\\|`*_<>[]":
        text = text.replace(character, f"\\{character}")
    return text.replace("\n", " ")


def _csv(board: Board, rows: Sequence[Row]) -> str:
    stream = io.StringIO()
    writer: Any = csv.writer(stream, lineterminator="\n")
    writer.writerow(["rank", "reranker", "first_stage", "task", "measure", "mean", "low", "high"])
    for row in rows:
        for task, cell in zip(board.tasks, row.cells, strict=True):
            figures = [f"{value:.6f}" for value in (cell.mean, cell.low, cell.high)] if cell else ["", "", ""]
            writer.writerow([row.rank or "", row.reranker or "", row.first_stage, task.name, task.headline, *figures])
    return stream.getvalue()
