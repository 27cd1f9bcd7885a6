"""What a leaderboard shows, as `leaderboards/NAME.yaml` says it: every key checked, none guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data.mteb_suites import benchmark
from ..data.task import Cards
from ..errors import HarnessError, did_you_mean, spelt
from ..files.yaml_file import read_yaml
from ..types import Aggregate, Measure, Task
from .facts import Facts, facts_from
from .stated import Stated, stated_figures

__all__ = ["COLUMNS", "Board", "board_of", "leaderboard_names", "read_board"]

COLUMNS = (
    "mean",
    "suites",
    "tasks",
    "trained",
    "parameters",
    "licence",
    "languages",
    "pairs_per_second",
    "latency",
    "request",
    "cost",
)
"""What `columns` may choose; rank, reranker and first stage are always there."""

_KEYS = {
    "title", "description", "tasks", "suites", "measure", "columns", "first_stages", "rerankers", "results", "oracle",
    "published", "imported", "models", "figures", "baseline",
}  # fmt: skip
_LISTS = ("tasks", "suites", "columns", "first_stages", "rerankers", "results", "imported", "figures")


@dataclass(frozen=True)
class Board:
    """One leaderboard."""

    name: str
    title: str
    tasks: tuple[Task, ...]
    results: tuple[Path, ...]
    words: tuple[str, ...] = ()
    """The tasks, aggregates and suites as the YAML names them."""
    aggregates: tuple[Aggregate, ...] = ()
    """Every aggregate card and suite that is named, and those inside them, the inner ones first."""
    suites: frozenset[str] = frozenset()
    """Which of the aggregates are suites: their tasks count one by one in the board's own mean."""
    description: str = ""
    measure: str | None = None
    """Instead of each task's headline, as results print it (`nDCG@10`, `MAP@1000 og`)."""
    columns: tuple[str, ...] | None = None
    """Some of COLUMNS; None for all that hold something."""
    first_stages: tuple[str, ...] = ()
    """Only these (`bm25`, `bm25 top 100`, `given lists`); empty for all."""
    rerankers: tuple[str, ...] = ()
    """Only these, as shell patterns (`BAAI/*`); empty for all."""
    oracle: bool = True
    published: bool = False
    baseline: str = ""
    """The row that the daggers of the paper's table are over; empty for each row's own first stage."""
    imported: tuple[Path, ...] = ()
    """Tables that `import` wrote."""
    models: Mapping[str, Facts] = field(default_factory=dict)
    """What the YAML says of models; it goes before what the harness knows."""
    figures: tuple[Stated, ...] = ()
    """Figures that the YAML states, of whatever source."""


def leaderboard_names(folder: Path) -> list[str]:
    """The leaderboards that `folder` describes, sorted. Raises HarnessError where there is none."""
    names = sorted(path.stem for path in folder.glob("*.yaml") if path.is_file())
    if not names:
        raise HarnessError(
            f"{folder} holds no leaderboard: one is a file NAME.yaml there, and --folder names another folder"
        )
    return names


def read_board(name: str, folder: Path, cards: Cards, cache: Path) -> Board:
    """The leaderboard `folder/name.yaml`. Raises HarnessError for an unknown name, key, value or task."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = leaderboard_names(folder)
        if (other := spelt(name, known)) != name:
            return read_board(other, folder, cards, cache)
        raise HarnessError(
            f'no leaderboard "{name}" in {folder}; there is {", ".join(known)}.{did_you_mean(name, known)}'
        )
    entry = read_yaml(path)
    if not isinstance(entry, dict):
        raise HarnessError(f'{path} holds no "key: value" lines; it needs at least tasks or suites')
    return board_of(name, entry, cards, cache, str(path))


def board_of(name: str, entry: Mapping[str, Any], cards: Cards, cache: Path, where: str = "the board") -> Board:
    """The board that the YAML's entry describes; `where` is what errors name."""
    _check(entry, where)
    words = tuple(str(word) for key in ("tasks", "suites") for word in entry.get(key) or [])
    if not words:
        raise HarnessError(f'{where}: name tasks or suites, as in "tasks: [SciFact, NFCorpus]"')
    suites = cards.suites()
    for word in map(str, entry.get("suites") or []):
        if cards.spelt(word, cache) not in suites and benchmark(word, cache) is None:
            raise HarnessError(f'{where}: "{word}" is no suite.{did_you_mean(word, suites)}')
    tasks = tuple(cards.resolve(words, cache, only_texts=False))
    aggregates = tuple(cards.aggregates(words, cache))
    names = [task.name for task in tasks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise HarnessError(f"{where}: two of its benchmarks take different parts of {twice}, which need a board each")
    return Board(
        name=name,
        title=str(entry.get("title") or name),
        tasks=tasks,
        results=tuple(Path(str(word)) for word in entry.get("results", ["results"])),
        words=tuple(cards.spelt(word, cache) for word in words),
        aggregates=aggregates,
        suites=frozenset(suites) | {each.name for each in aggregates if benchmark(each.name, cache, remembered=True)},
        description=str(entry.get("description") or ""),
        measure=_measure(entry.get("measure"), where),
        columns=_columns(entry.get("columns"), where),
        first_stages=tuple(str(word) for word in entry.get("first_stages") or []),
        rerankers=tuple(str(word) for word in entry.get("rerankers") or []),
        oracle=entry.get("oracle", True),
        published=entry.get("published", False),
        baseline=str(entry.get("baseline") or ""),
        imported=tuple(Path(str(word)) for word in entry.get("imported") or []),
        models=facts_from(entry.get("models") or {}, where),
        figures=stated_figures(entry.get("figures") or [], tasks, where),
    )


def _check(entry: Mapping[str, Any], where: str) -> None:
    for key, value in entry.items():
        if key not in _KEYS:
            raise HarnessError(
                f'{where}: unknown key "{key}"; known: {", ".join(sorted(_KEYS))}.{did_you_mean(str(key), _KEYS)}'
            )
        if key in _LISTS and not isinstance(value, list):
            raise HarnessError(f'{where}: "{key}" is a list, as in "{key}: [one, two]"')
        if key in ("title", "description", "baseline") and not isinstance(value, str | None):
            raise HarnessError(f'{where}: "{key}" is a text, as in "{key}: Rerankers over BM25"')
        if key in ("oracle", "published") and not isinstance(value, bool):
            raise HarnessError(f'{where}: "{key}" is yes or no, not "{value}"')


def _measure(given: object, where: str) -> str | None:
    """The measure by the name that results give it, the side of an instruction included."""
    if given is None:
        return None
    name, _, side = str(given).partition(" ")
    if side not in ("", "og", "changed"):
        raise HarnessError(f'{where}: after a measure stands og, changed or nothing, not "{side}"')
    try:
        return f"{Measure.parse(name)} {side}".strip()
    except ValueError as error:
        raise HarnessError(f"{where}: {error}") from None


def _columns(given: Sequence[object] | None, where: str) -> tuple[str, ...] | None:
    for word in given or ():
        if word not in COLUMNS:
            raise HarnessError(
                f'{where}: unknown column "{word}"; known: {", ".join(COLUMNS)}.{did_you_mean(str(word), COLUMNS)}'
            )
    return None if given is None else tuple(str(word) for word in given)
