"""Rows that were not measured here, and are marked so: published figures, and those imported from mteb's files.

They come without values of queries, so they have neither interval nor rank; their source, and the
data they were measured on where the source says so, stand beside them. What its authors superseded
is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet

from ..errors import HarnessError
from ..results.imported import ImportedRow, read, version_key
from ..results.published import GIVEN as GIVEN_LISTS
from ..results.published import Figure as Published
from ..results.published import beside, figures
from ..results.result import Result
from ..types import Task
from .board import Board
from .columns import Part
from .facts import Facts, facts_of
from .systems import GIVEN, IMPORTED, Figure, System, is_wanted

__all__ = ["imported_systems", "left_out_of", "own_figures", "published_systems"]


_MARKS = {"OK": "=", "near": "≈", "differs": "≠"}


def published_systems(board: Board, results: Iterable[Result] = ()) -> list[System]:
    """A row for each published system that has a figure of one of the board's tasks, aggregates or suites.

    Figures that `results` measured too are marked so.
    """
    here = {id(found.figure): _MARKS[found.mark] for result in results for found in beside(result)}
    found: dict[tuple[str, str, str, str], System] = {}
    for task in board.tasks:
        for subset in task.subsets:
            for figure in figures().get((task.name, "" if subset.name == "default" else subset.name), ()):
                if figure.split == subset.split and _in_force(figure):
                    part = (task.name, subset.name, figure.measure)
                    _system(found, figure).figures.setdefault(part, _figure(figure, here.get(id(figure), "")))
        if len(task.subsets) > 1:
            _means(found, task.name, "mean", {subset.split for subset in task.subsets})
    splits = {subset.split for task in board.tasks for subset in task.subsets} | {"test"}
    for aggregate in board.aggregates:
        _means(found, aggregate.name, "", splits)
    measures = {measure for task in board.tasks for measure in _measures(task, board)}
    rows = [system for system in found.values() if _shown(system, measures)]
    return [system for system in rows if is_wanted(system, board)]


def _means(found: dict[tuple[str, str, str, str], System], name: str, subset: str, splits: set[str]) -> None:
    for figure in figures().get((name, subset), ()):
        if figure.split in splits and _in_force(figure):
            _system(found, figure).means.setdefault((name, figure.measure), _figure(figure))


def _in_force(figure: Published) -> bool:
    return not figure.note.startswith("superseded")


def _figure(figure: Published, here: str = "") -> Figure:
    said = (figure.data or "data revision not stated", figure.note)
    return Figure(figure.value, data="; ".join(word for word in said if word), here=here)


def own_figures(board: Board) -> list[System]:
    """A row for each system and source of the figures that the board's YAML states."""
    found: dict[tuple[str, str, str], System] = {}
    splits = {task.name: task.subsets for task in board.tasks}
    for one in board.figures:
        source = f"{one.source}, {one.date}" if one.date else one.source
        key = (one.reranker, one.first_stage, source)
        system = found.setdefault(key, System("published", one.reranker, one.first_stage, source=source))
        figure = Figure(one.value, data=one.data)
        if one.subset or len(splits[one.task]) == 1:
            system.figures[one.task, one.subset or splits[one.task][0].name, one.measure] = figure
        else:
            system.means[one.task, one.measure] = figure
    return [system for system in found.values() if is_wanted(system, board)]


def _system(found: dict[tuple[str, str, str, str], System], figure: Published) -> System:
    called = figure.system or figure.model
    name = (figure.model or called) if figure.reranks else ""
    if not figure.reranks:
        stage = figure.model or called
    elif figure.stage == GIVEN_LISTS:
        stage = GIVEN
    else:
        stage = f"{figure.stage} top {figure.depth}"
    note = called if called not in (name, stage, name.rpartition("/")[2], stage.rpartition("/")[2]) else ""
    key = (name, stage, note, figure.source)
    return found.setdefault(key, System("published", name, stage, source=figure.source, note=note))


def _measures(task: Task, board: Board) -> list[str]:
    return [board.measure] if board.measure else [str(measure) for measure in task.measures]


def _shown(system: System, measures: set[str]) -> bool:
    """Whether it has a figure under any measure that the board may show."""
    known = {measure for _, _, measure in system.figures} | {measure for _, measure in system.means}
    return any(measure.partition(" ")[0] in measures or measure == "score" for measure in known)


def imported_systems(board: Board) -> list[System]:
    """A row for each imported model and revision with a figure of one of the board's tasks.

    Raises HarnessError for a table that cannot be read, and for two values of one figure.
    """
    parts = _parts(board)
    revisions = {task.name: task.revision for task in board.tasks}
    wholes = {aggregate.name for aggregate in board.aggregates} - revisions.keys()
    found: dict[tuple[str, str, str], list[ImportedRow]] = {}
    for row in _rows(board, revisions.keys() | wholes):
        if (row.task, row.subset, row.split) in parts or row.task in wholes:
            found.setdefault((row.model, row.revision, row.experiment), []).append(row)
    made = [_imported(rows, revisions, parts, board) for rows in found.values()]
    return [system for system in made if is_wanted(system, board)]


def left_out_of(board: Board) -> list[str]:
    """A line for each task whose imported rows have no place on the board: of other parts, or under other measures."""
    parts = _parts(board)
    tasks = {task.name for task in board.tasks}
    without = tasks - {row.task for row in _rows(board, tasks) if (row.task, row.subset, row.split) in parts}
    seen: dict[str, set[str]] = {}
    for path in board.imported if without else ():
        for row in read(path, without):
            there = (row.task, row.subset, row.split) in parts
            seen.setdefault(row.task, set()).add(row.measure if there else f"{row.split} {row.subset}")
    return [
        f"{board.name}: no imported row of {task} is of a part and a measure that the board has; the tables have "
        f"{', '.join(sorted(others)[:5])}"
        for task, others in seen.items()
    ]


def _parts(board: Board) -> dict[tuple[str, str, str], str]:
    """(task, mteb's name of the subset, split) → our name of the subset."""
    return {
        (task.name, task.hf_subset(subset), subset.split): subset.name
        for task in board.tasks
        for subset in task.subsets
    }


def _rows(board: Board, tasks: AbstractSet[str]) -> Iterator[ImportedRow]:
    measures = {measure for task in board.tasks for measure in _measures(task, board)}
    measures |= {measure for aggregate in board.aggregates for measure, _ in aggregate.means}
    sided = {f"{measure} {side}" for measure in measures for side in ("og", "changed")}
    for path in board.imported:
        yield from read(path, tasks, measures | sided)


def _other_rule(row: ImportedRow, board: Board) -> str:
    """mteb counts every grade above 0 as relevant, also where a card says another level; gains are the same."""
    level = max((task.relevance_level for task in board.tasks if task.name == row.task), default=1)
    return "" if level == 1 or row.measure.startswith("nDCG") else "other rule: relevant from grade 1 on"


def _imported(
    rows: list[ImportedRow], revisions: dict[str, str], parts: dict[tuple[str, str, str], str], board: Board
) -> System:
    first = rows[0]
    figures: dict[Part, Figure] = {}
    means: dict[tuple[str, str], Figure] = {}
    for row in rows:
        said = row.task_revision or "revision unknown"
        data = "" if row.task_revision == revisions.get(row.task) else f"other data: {said}"
        data = data or _other_rule(row, board)
        subset = parts.get((row.task, row.subset, row.split))
        if subset is None:
            figure = Figure(row.value)
            known = means.setdefault((row.task, row.measure), figure)
        else:
            figure = Figure(row.value, data=data)
            known = figures.setdefault((row.task, subset, row.measure), figure)
        if known != figure:
            raise HarnessError(
                f"{row.model} has two values of {row.measure} on {row.task} {row.subset} in the imported tables, one "
                f"of them from {row.source}: keep one table, or one of the files"
            )
    versions = sorted({row.mteb_version for row in rows if row.mteb_version}, key=version_key)
    source = f"mteb {' to '.join(dict.fromkeys((versions[0], versions[-1])))}" if versions else "mteb"
    note = ", ".join(word for word in (first.revision[:8], first.experiment) if word)
    return System(
        "imported", first.model, IMPORTED,
        figures=figures, source=source, note=note, means=means, declared=_declared(rows, board),
    )  # fmt: skip


def _declared(rows: list[ImportedRow], board: Board) -> Facts:
    """What the model's own files say, before what the harness knows."""
    first, known = rows[0], facts_of(rows[0].model, board.models)
    said = {row.task: row.trained for row in rows}
    trained = tuple(task for task, answer in said.items() if answer == "yes")
    # One task of which nothing is said leaves the list open, unless another was trained on.
    whole = all(answer in ("yes", "no") for answer in said.values())
    return Facts(
        parameters=first.parameters or known.parameters,
        licence=first.licence or known.licence,
        languages=known.languages,
        trained_on=trained if trained or whole else known.trained_on,
        source="its own model_meta.json",
    )
