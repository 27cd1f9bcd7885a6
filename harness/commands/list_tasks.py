"""The verb `list`: every task and suite that can be run, and how large each is."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .shared import Options, Say, add_options_of

if TYPE_CHECKING:
    from ..data.task import Cards
    from ..engine.rate import Rate
    from ..types import Task

__all__ = ["add_options", "command"]

_SMALL_CORPUS, _SHORT_RUN, _DEPTH = 100_000, 3600.0, 100

_OPTIONS: Options = {
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

    cards, rate = Cards(given.cards), last_rate(cache_folder())
    tasks = _of_tasks(cards)
    suites = _of_suites(cards, tasks)
    benchmarks = _of_mteb(cache_folder()) if given.mteb else {}
    if given.small:
        tasks, suites = ({name: size for name, size in all_.items() if size.is_small(rate)} for all_ in (tasks, suites))
    if given.format == "json":
        answer(_as_json(suites, tasks, benchmarks, rate))
        return 0
    for what, sizes in (("suite", suites), ("task", tasks)):
        answer(_table(what, sizes, rate))
        answer("")
    if benchmarks:
        answer("benchmarks of mteb (tasks that are taken):")
        answer("\n".join(f"  {name} ({count})" for name, count in benchmarks.items()) + "\n")
    answer(_foot(rate, mteb=given.mteb))
    return 0


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


def _table(what: str, sizes: Mapping[str, _Size], rate: Rate | None) -> str:
    from ..results.layout import align
    from .dry_run import count, duration

    head = [what, *(["tasks"] if what == "suite" else []), "documents", "queries", f"pairs at {_DEPTH}", "time"]
    rows = [
        [
            name,
            *([str(size.tasks)] if what == "suite" else []),
            count(size.documents),
            count(size.queries),
            count(size.pairs),
            duration(size.seconds(rate)),
        ]
        for name, size in sizes.items()
    ]
    return align([head, *rows])


def _foot(rate: Rate | None, *, mteb: bool) -> str:
    if rate is None:
        said = "time: not known yet; run … --dry-run probes a reranker"
    else:
        said = f"time: of scoring alone, by the last probe or run ({rate.reranker}, {rate.pairs_per_second:.4g} pairs a second)"
    lists = "a dash: no card says it, or the data set brings its own lists"
    return "\n".join(
        [said, lists, *([] if mteb else ["list --mteb shows mteb's benchmarks, list --small what is small"])]
    )


def _as_json(
    suites: Mapping[str, _Size], tasks: Mapping[str, _Size], benchmarks: Mapping[str, int], rate: Rate | None
) -> str:
    def entries(sizes: Mapping[str, _Size]) -> list[dict[str, object]]:
        return [{"name": name, **vars(size), "seconds": size.seconds(rate)} for name, size in sizes.items()]

    found: dict[str, object] = {"suites": entries(suites), "tasks": entries(tasks)}
    found |= {"benchmarks": benchmarks} if benchmarks else {}
    return json.dumps({**found, "rate": rate._asdict() if rate else None}, ensure_ascii=False)
