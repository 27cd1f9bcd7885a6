"""Which systems a board's results hold, and each one's figures: nothing of another system, data or depth among them.

A system is a first stage at a depth and a reranker or none; its settings and its model's version are a
part of it, so two versions of a model are two rows. Two results that could both fill one cell and do
not agree are an error that names the files.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import HarnessError
from ..results.naming import known_of, names_of, tails
from ..results.result import Identity, Result, load_result, result_files
from ..verdicts.meant import content_at
from .board import Board
from .facts import Facts

__all__ = ["GIVEN", "IMPORTED", "Figure", "System", "is_wanted", "stage_label", "systems_in"]

GIVEN = "given lists"
IMPORTED = "as mteb ran it"
"""What stands in the column of the first stage of imported rows: mteb's files say nothing of one."""
_BY_LANGUAGE = {"analyzer", "language", "parts"}
"""Settings of a first stage that differ from task to task by its language."""
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Figure:
    """A system's figure for one part: its mean, and where they are kept the values behind it."""

    mean: float
    query_ids: tuple[str, ...] = ()
    values: Sequence[float] = ()
    """The value of each query; empty where they are not known, or nothing is drawn from them."""
    clusters: tuple[str, ...] = ()
    """The cluster of each query; empty where none is known."""
    data: str = ""
    """For a published figure: the data that it was measured on, where its source says so."""
    here: str = ""
    """For a published figure that was measured here too: `=` within .0005, `≈` within .005, else `≠`."""


@dataclass
class System:
    """One row: a reranker over a first stage, a first stage alone, the best order of its candidates, or a publication."""

    kind: str
    """`reranker`, `first stage`, `oracle`, `published` or `imported`."""
    name: str
    """The reranker; empty for a first stage alone."""
    stage: str
    """`bm25 top 100`, or `given lists`."""
    settings: Mapping[str, object] = field(default_factory=dict)
    """What tells it from others of its name."""
    figures: dict[tuple[str, str, str], Figure] = field(default_factory=dict)
    """(task, subset, measure) → its figure."""
    results: dict[tuple[str, str], Result] = field(default_factory=dict)
    """(task, subset) → the result behind the figures, without its queries' values; empty for published rows."""
    source: str = ""
    """Where a published or imported row comes from."""
    note: str = ""
    """What tells it apart in a table: a version, a setting."""
    means: dict[tuple[str, str], Figure] = field(default_factory=dict)
    """(task or suite, measure) → a mean that was published as such."""
    declared: Facts | None = None
    """What an imported row's own files say of its model."""

    @property
    def model(self) -> str:
        """Whose facts stand beside the row: the reranker's, or the first stage's where there is none."""
        return self.name or self.stage.rpartition(" top ")[0] or self.stage


Key = tuple[str, str, str, str]
"""kind, reranker, first stage, and everything else that must be the same."""


def systems_in(board: Board, drawn: Collection[tuple[str, str, str]]) -> list[System]:
    """Every system that the board's results hold, in the order of their files.

    The values of queries are kept of the parts (task, subset, measure) in `drawn` alone.
    Only complete runs on the cards' own data revisions and splits count. Raises HarnessError where
    there are none, for a damaged result, and for results that contradict each other.
    """
    found: dict[Key, System] = {}
    contents = {content_at(word) for word in board.rerankers} - {""}
    seen: dict[tuple[str, str], tuple[Result, Path]] = {}
    for folder in board.results:
        for path in result_files(folder):
            if not _named_like(path, board):
                continue
            result = load_result(path, with_values=True)
            if _belongs(result.identity, board) and _asked_for(result, board, contents):
                _one_question(result, path, seen)
                result = _slim(result, seen, drawn)
                for kind in ("first stage", "oracle", "reranker"):
                    _place(found, kind, result, path)
    for system in found.values():
        system.results = {part: replace(result, values={}, query_ids=()) for part, result in system.results.items()}
    systems = [system for system in _with_given_lists(found.values()) if system.figures]
    if not (systems or board.published or board.imported or board.figures):
        raise HarnessError(f"no result of {board.name}'s tasks in {', '.join(map(str, board.results))}: run them first")
    _name_by_path(systems)
    _tell_apart(systems)
    return [system for system in systems if is_wanted(system, board)]


def _named_like(path: Path, board: Board) -> bool:
    """Whether the file can be of one of the board's revisions, told without opening it."""
    return any(f"@{task.revision[:8]}" in path.name for task in board.tasks)


def _belongs(one: Identity, board: Board) -> bool:
    whole = not one.partial and one.by_the_card
    known = {
        (task.name, task.revision, subset.name, subset.split) for task in board.tasks for subset in task.subsets
    }  # fmt: skip
    return whole and (one.task, one.dataset_revision, one.subset, one.split) in known


def _asked_for(result: Result, board: Board, contents: Collection[str]) -> bool:
    """Whether the board's filters let the result in; a task's own lists belong to rows of any first stage.

    `contents` are the revisions of what lies at the paths among the board's rerankers.
    """
    one = result.identity
    stage = stage_label(one)
    if not (stage == GIVEN or _at(stage, board)):
        return False
    if one.reranker is None or not board.rerankers or one.reranker_revision in contents:
        return True
    names = tails(result.place) if one.reranker in tails(result.place) else [one.reranker]
    return any(_named(name, board) or _named(f"{name}@{(one.reranker_revision or '')[:8]}", board) for name in names)


def _one_question(result: Result, path: Path, seen: dict[tuple[str, str], tuple[Result, Path]]) -> None:
    """All results of a subset have the same corpus, queries and judgements."""
    key = (result.identity.task, result.identity.subset)
    other, where = seen.setdefault(key, (result, path))
    if other.collection != result.collection:
        raise HarnessError(
            f"{where} and {path} were measured on different data, though both are {' '.join(key)}: a board cannot hold "
            f"them side by side; run one again, or leave its folder out of results"
        )


def _slim(
    result: Result, seen: Mapping[tuple[str, str], tuple[Result, Path]], drawn: Collection[tuple[str, str, str]]
) -> Result:
    """The result with the values that are drawn from, and the first result's own query_ids: boards hold thousands."""
    part = (result.identity.task, result.identity.subset)
    values = {measure: stages for measure, stages in result.values.items() if (*part, measure) in drawn}
    first = seen[part][0].query_ids
    return replace(result, values=values, query_ids=first if first == result.query_ids else result.query_ids)


def stage_label(identity: Identity) -> str:
    """`bm25 top 100`, or `given lists`."""
    return GIVEN if identity.top_k is None else f"{identity.retriever} top {identity.top_k}"


def _place(found: dict[Key, System], kind: str, result: Result, path: Path) -> None:
    """A result under its system, and under its first stage and oracle, whose figures it holds too."""
    identity = result.identity
    if kind == "reranker" and identity.reranker is None:
        return
    name = identity.reranker or "" if kind == "reranker" else ""
    settings = _settings(identity, kind)
    key = (kind, name, stage_label(identity), repr(sorted(settings.items(), key=lambda item: item[0])))
    system = found.setdefault(key, System(kind, name, stage_label(identity), settings))
    part = (identity.task, identity.subset)
    other = system.results.get(part)
    stage = {"reranker": "reranked", "oracle": "oracle"}.get(kind, "first_stage")
    for measure, row in result.measures.items():
        if (mean := row.get(stage)) is not None:
            if (*part, measure) not in system.figures:
                system.figures[*part, measure] = _figure(result, measure, stage, mean)
            known = system.figures[*part, measure]
            if abs(known.mean - mean) > _ROUNDING or (other and other.candidates != result.candidates):
                raise HarnessError(
                    f"{path} and another result of {name or stage_label(identity)} on {' '.join(part)} differ "
                    f"({known.mean:.4f} and {mean:.4f} {measure}) though nothing tells them apart: remove the older one"
                )
    system.results.setdefault(part, result)


def _settings(identity: Identity, kind: str) -> dict[str, object]:
    stage: dict[str, object] = {k: v for k, v in identity.retriever_settings.items() if k not in _BY_LANGUAGE}
    settings: dict[str, object] = {f"first stage's {key}": value for key, value in stage.items()}
    if kind == "reranker":
        settings |= {"revision": (identity.reranker_revision or "")[:8], **identity.reranker_settings}
        settings |= {"fingerprint": (identity.reranker_fingerprint or "")[:8], "batch_tokens": identity.batch_tokens}
    return settings


def _figure(result: Result, measure: str, stage: str, mean: float) -> Figure:
    if measure not in result.values:
        return Figure(mean)
    column = result.values[measure][stage]
    values = array("d", (value for value in column if value is not None))
    if len(values) == len(column):
        return Figure(mean, result.query_ids, values, result.clusters)
    there = [place for place, value in enumerate(column) if value is not None]
    query_ids = tuple(result.query_ids[place] for place in there)
    return Figure(mean, query_ids, values, tuple(result.clusters[place] for place in there) if result.clusters else ())


def _with_given_lists(found: Iterable[System]) -> list[System]:
    """A task with lists of its own belongs to every row of its reranker, whatever the first stage elsewhere.

    So it does to every oracle; a first stage alone has nothing to do with such lists.
    """
    systems = list(found)
    kept = [system for system in systems if system.stage != GIVEN]
    for lists in (system for system in systems if system.stage == GIVEN):
        same = [system for system in kept if _same_reranker(system, lists)] if lists.kind != "first stage" else []
        for system in same:
            system.figures |= {part: figure for part, figure in lists.figures.items() if part not in system.figures}
            system.results |= {part: result for part, result in lists.results.items() if part not in system.results}
        if not same:
            kept.append(lists)
    return kept


def _same_reranker(one: System, other: System) -> bool:
    def own(system: System) -> dict[str, object]:
        return {key: value for key, value in system.settings.items() if not key.startswith("first stage's")}

    return (one.kind, one.name, own(one)) == (other.kind, other.name, own(other))


def _name_by_path(systems: list[System]) -> None:
    """Rows of folders of one name, by as many parents as make them unique on the board."""
    known = {place: known_of(next(iter(s.results.values()))) for place, s in enumerate(systems) if s.kind == "reranker"}
    names = names_of(known.values())
    for place, one in known.items():
        systems[place] = replace(systems[place], name=names[one])


def _tell_apart(systems: list[System]) -> None:
    """Where rows would look the same, name the settings in which they differ."""
    for place, system in enumerate(systems):
        alike = [s for s in systems if (s.kind, s.name, s.stage) == (system.kind, system.name, system.stage)]
        if len(alike) > 1:
            keys = sorted({key for other in alike for key in other.settings})
            differing = [key for key in keys if len({repr(other.settings.get(key)) for other in alike}) > 1]
            shown = [key for key in differing if key != "fingerprint"] or differing
            note = ", ".join(f"{key} {system.settings.get(key, 'none')}" for key in shown)
            systems[place] = replace(system, note=note)


def is_wanted(system: System, board: Board) -> bool:
    """Whether the board's `first_stages`, `rerankers` and `oracle` let the system in."""
    at_stage = system.kind == "imported" or _at(system.stage, board)
    named = bool(system.results) or not system.name or _named(system.name, board)
    return at_stage and named and (board.oracle or system.kind != "oracle")


def _at(stage: str, board: Board) -> bool:
    wanted = {stage, stage.rpartition(" top ")[0]} | ({"given"} if stage == GIVEN else set())
    return not board.first_stages or bool(wanted & set(board.first_stages))


def _named(reranker: str, board: Board) -> bool:
    return not board.rerankers or any(fnmatchcase(reranker, pattern) for pattern in board.rerankers)
