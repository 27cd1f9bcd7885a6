"""The verb `list`: every task and suite that can be run, or those that a word finds, and how large each is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import HarnessError, did_you_mean
from ..results.figures import MISSING
from ..results.layout import Column, fitted, wrapped
from ..results.terminal import width
from .shared import Options, Say, add_options_of, json_document

if TYPE_CHECKING:
    from ..data.task import Cards
    from ..engine.rate import Rate
    from ..types import Task

__all__ = ["add_options", "command"]

_SMALL_CORPUS, _SHORT_RUN, _DEPTH = 100_000, 3600.0, 100
_SHOWN = 20
"""So many names of mteb are shown; a longer word finds fewer."""

_OPTIONS: Options = {
    "words": {"nargs": "*", "metavar": "WORD", "help": "only those whose name, language, data set or suite has every word, in any case"},
    "--tasks": {"type": Path, "dest": "cards", "metavar": "DIR", "help": "a folder with cards of your own"},
    "--small": {"action": "store_true", "help": f"only what can be run here and now: at most {_SMALL_CORPUS:,} documents, and an hour by the last probe or run"},
    "--mteb": {"action": "store_true", "help": "also mteb's benchmarks, which are suites by name"},
    "--format": {"choices": ("text", "json"), "default": "text", "help": "of the answer on stdout"},
}  # fmt: skip


@dataclass(frozen=True)
class _Size:
    """Of a task or a suite; None for what no card says."""

    tasks: int
    documents: int | None
    queries: int | None
    pairs: int | None
    """At depth 100; None where the data set brings its own lists."""

    def seconds(self, rate: Rate | None) -> float | None:
        return None if rate is None or self.pairs is None else self.pairs / rate.pairs_per_second

    def is_small(self, rate: Rate | None) -> bool:
        if self.documents is None or self.documents > _SMALL_CORPUS:
            return False
        seconds = self.seconds(rate)
        return seconds is None or seconds <= _SHORT_RUN


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `list` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Show the suites and the tasks, each with its size and the time that it would take."""
    from ..data.task import Cards
    from ..engine.rate import last_rate
    from ..files.cache import cache_folder

    cards, rate, words = Cards(given.cards), last_rate(cache_folder()), [word.casefold() for word in given.words]
    tasks = _of_tasks(cards)
    suites = _of_suites(cards, tasks)
    benchmarks = _of_mteb(cache_folder()) if given.mteb else {}
    if words:
        known = [*suites, *tasks, *benchmarks]
        suites, benchmarks = _named(words, suites), _named(words, benchmarks)
        tasks = {name: size for name, size in tasks.items() if _fits(words, _said_of(cards.task(name), cards))}
        others = _names_of_mteb(words, known, cache_folder(), needed=not (suites or tasks or benchmarks))
        if not (suites or tasks or benchmarks or others):
            hint = did_you_mean(" ".join(given.words), known)
            raise HarnessError(f'no task, suite, language or data set has "{" ".join(given.words)}" in its name.{hint}')
    if given.small:
        tasks, suites = ({name: size for name, size in all_.items() if size.is_small(rate)} for all_ in (tasks, suites))
    if given.format == "json":
        answer(_as_json(suites, tasks, benchmarks, rate))
        return 0
    for what, sizes in (("suite", suites), ("task", tasks)):
        if sizes:
            answer(_table(what, sizes, rate, cards))
            answer("")
    if benchmarks:
        answer("benchmarks of mteb (tasks that are taken):")
        answer("\n".join(f"  {name} ({count})" for name, count in benchmarks.items()) + "\n")
    if words and others:
        answer(wrapped(f"of mteb, without a card here: {', '.join(others)}", width()) + "\n")
    answer(_foot(rate, mteb=given.mteb))
    return 0


Word = TypeVar("Word")


def _named(words: Sequence[str], found: Mapping[str, Word]) -> dict[str, Word]:
    return {name: of for name, of in found.items() if _fits(words, [name])}


def _fits(words: Sequence[str], said: Sequence[str]) -> bool:
    """Whether every word stands somewhere in what is said."""
    return all(any(word in each.casefold() for each in said) for word in words)


def _said_of(task: Task, cards: Cards) -> list[str]:
    """What a word can find of a task: its name and data set, its subsets and their languages, the suites that hold it."""
    suites = [suite for suite, members in cards.suites().items() if task.name in members]
    return [
        task.name,
        task.path,
        *suites,
        *(word for subset in task.subsets for word in (subset.name, *subset.languages)),
    ]


def _names_of_mteb(words: Sequence[str], ours: Sequence[str], cache: Path, *, needed: bool) -> list[str]:
    """Names of mteb with every word; mteb itself, which takes seconds, is opened only where nothing else comes near."""
    from ..data.mteb_task import memory_of, mteb_names
    from ..engine.progress import stage

    try:
        near = did_you_mean(" ".join(words), ours)
        if not memory_of(cache, "").is_file() and (not needed or near):
            return []
        with stage("reading the names of mteb"):
            names = mteb_names(cache)
    except HarnessError:
        return []
    return [name for name in names if name not in ours and _fits(words, [name])][:_SHOWN]


def _of_tasks(cards: Cards) -> dict[str, _Size]:
    return {name: _size(cards.task(name)) for name in cards.names() if cards.aggregate(name) is None}


def _size(task: Task) -> _Size:
    documents = [subset.documents for subset in task.subsets]
    queries = [subset.queries for subset in task.subsets]
    pairs = [
        None if task.given_lists or subset.queries is None else subset.queries * min(_DEPTH, subset.documents or _DEPTH)
        for subset in task.subsets
    ]
    return _Size(1, _sum(documents), _sum(queries), _sum(pairs))


def _sum(numbers: list[int | None]) -> int | None:
    there = [number for number in numbers if number is not None]
    return sum(there) if len(there) == len(numbers) else None


def _of_suites(cards: Cards, tasks: Mapping[str, _Size]) -> dict[str, _Size]:
    """Suites and aggregate cards; what a member without a card holds is not known."""

    def size(name: str) -> _Size:
        aggregate = cards.aggregate(name)
        if aggregate is None:
            return tasks.get(name, _Size(1, None, None, None))
        parts = [size(member) for member in aggregate.members]
        sums = (_sum([getattr(part, field) for part in parts]) for field in ("documents", "queries", "pairs"))
        return _Size(sum(part.tasks for part in parts), *sums)

    names = [*cards.suites(), *(name for name in cards.names() if name not in tasks)]
    return {name: size(name) for name in names}


def _of_mteb(cache: Path) -> dict[str, int]:
    from ..data.mteb_suites import benchmark_names

    return benchmark_names(cache)


def _table(what: str, sizes: Mapping[str, _Size], rate: Rate | None, cards: Cards) -> str:
    """The tasks with language and measure, or the suites with their counts, as wide as the terminal where names allow."""
    from .dry_run import duration

    own, all_ = list(sizes), list(sizes.values())
    # Where room is short, pairs leave first, and a time that is not known before them; languages stay longest.
    last = 5 if rate is None else 2
    columns = [Column(what, own)]
    if what == "suite":
        columns.append(Column("tasks", [str(size.tasks) for size in all_]))
    else:
        columns.append(Column("language", [_languages(cards.task(name)) for name in own], spare=1))
    columns.append(Column("documents", [_rounded(size.documents) for size in all_], "docs"))
    columns.append(Column("queries", [_rounded(size.queries) for size in all_]))
    if what == "task":
        columns.append(Column("measure", [str(cards.task(name).headline) for name in own], spare=3))
    columns.append(Column(f"pairs at {_DEPTH}", [_rounded(size.pairs) for size in all_], "pairs", spare=4))
    columns.append(Column("time", [duration(size.seconds(rate)) for size in all_], spare=last))
    return fitted(columns, width())


def _languages(task: Task) -> str:
    """`eng`, or `arb +11`."""
    codes = list(dict.fromkeys(code.partition("-")[0] for subset in task.subsets for code in subset.languages))
    return codes[0] + (f" +{len(codes) - 1}" if len(codes) > 1 else "") if codes else MISSING


def _rounded(number: int | None) -> str:
    """`5,183`; `8.84M` for millions."""
    if number is None:
        return MISSING
    return f"{number:,}" if number < 1_000_000 else f"{number / 1e6:.2f}M"


def _foot(rate: Rate | None, *, mteb: bool) -> str:
    if rate is None:
        said = "time: not known yet; run … --dry-run probes a reranker"
    else:
        said = f"time: of scoring alone, by the last probe or run ({rate.reranker}, {rate.pairs_per_second:.4g} pairs a second)"
    lists = "a dash: no card says it, or the data set brings its own lists"
    more = [] if mteb else ["list --mteb shows mteb's benchmarks, list --small what is small"]
    return "\n".join(wrapped(line, width()) for line in (said, lists, *more))


def _as_json(
    suites: Mapping[str, _Size], tasks: Mapping[str, _Size], benchmarks: Mapping[str, int], rate: Rate | None
) -> str:
    def entries(sizes: Mapping[str, _Size]) -> list[dict[str, object]]:
        return [{"name": name, **vars(size), "seconds": size.seconds(rate)} for name, size in sizes.items()]

    found: dict[str, object] = {"suites": entries(suites), "tasks": entries(tasks)}
    found |= {"benchmarks": benchmarks} if benchmarks else {}
    return json_document({**found, "rate": rate._asdict() if rate else None})
