"""mteb's benchmarks as suites: what of each a reranker can be judged on, and what is left out.

A benchmark of several kinds of task is an aggregate of one aggregate a kind (`MTEB(eng, v2): Retrieval`),
because the kinds have measures of their own; its mean over a kind is that of the tasks' main measures, as on
mteb's boards. mteb is imported once for a version; then its benchmarks are remembered in the cache.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..types import Aggregate, Part, Task
from .mteb_task import KINDS, memory_of, open_mteb, quiet, shown_measures

__all__ = ["benchmark", "benchmark_names", "narrowed"]

_MEMORY = "benchmarks"
_RULE = "1"
"""Changed whenever the same registry would be read into something else."""

Entries = list[dict[str, Any]]
"""name, aliases, kinds (kind → tasks, each with its measure and its part), left_out (kind → how many), size."""


def benchmark(word: str, cache: Path, *, remembered: bool = False) -> Aggregate | None:
    """The benchmark of that name or alias, in whatever case, or one of its kinds (`CoREB(v1): Reranking`).

    None where mteb has none of that name. With `remembered` only the cache is asked. Raises HarnessError for a
    benchmark without a task of ours.
    """
    name, _, kind = word.partition(": ")
    entry = _called(name, _entries(cache, remembered=remembered))
    if entry is None:
        return None
    kinds = {found: tasks for found, tasks in entry["kinds"].items() if not kind or found.casefold() == kind.casefold()}
    if not kinds:
        if kind and entry["kinds"]:
            return None
        raise HarnessError(
            f"{entry['name']} has no retrieval, reranking or instruction task of texts: {_without(entry)}"
        )
    if len(kinds) == 1:
        ((found, tasks),) = kinds.items()
        return _of_kind(f"{entry['name']}: {found}" if kind else entry["name"], tasks, "" if kind else _note(entry))
    return Aggregate(entry["name"], tuple(f"{entry['name']}: {found}" for found in kinds), (), note=_note(entry))


def benchmark_names(cache: Path, *, remembered: bool = False) -> dict[str, int]:
    """Each benchmark's name → how many of its tasks are ours, where it has any."""
    sizes = {entry["name"]: sum(map(len, entry["kinds"].values())) for entry in _entries(cache, remembered=remembered)}
    return {name: size for name, size in sizes.items() if size}


def narrowed(task: Task, part: Part) -> Task:
    """The task with the subsets alone that a benchmark takes. Raises HarnessError where it has none of them."""
    from dataclasses import replace

    subsets = tuple(subset for subset in task.subsets if part.holds(task.hf_subset(subset), subset.split))
    if not subsets:
        raise HarnessError(f"{task.name} has none of the parts {', '.join(part.subsets)} that the benchmark takes")
    return replace(task, subsets=subsets, left_out=len(task.subsets) - len(subsets), part=part)


def _of_kind(name: str, tasks: Sequence[Mapping[str, Any]], note: str) -> Aggregate:
    measures = tuple(str(task["measure"]) for task in tasks)
    label = measures[0] if len(set(measures)) == 1 else "main measure"
    parts = tuple((str(task["name"]), Part(*map(tuple, task["part"]))) for task in tasks if task["part"])
    return Aggregate(name, tuple(str(task["name"]) for task in tasks), ((label, measures),), parts, note)


def _note(entry: Mapping[str, Any]) -> str:
    taken = sum(map(len, entry["kinds"].values()))
    said = ", ".join(f"{len(tasks)} {kind}" for kind, tasks in entry["kinds"].items())
    if taken == entry["size"]:
        return f"all of its {taken} tasks are taken ({said})"
    return (
        f"{taken} of its {entry['size']} tasks are taken ({said}); left out, for they rank no texts: {_without(entry)}"
    )


def _without(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(entry["left_out"].items())) or "it has no task"


def _called(name: str, entries: Entries) -> dict[str, Any] | None:
    plain = _plain(name)
    for entry in entries:
        if plain in map(_plain, (entry["name"], *entry["aliases"])):
            return entry
    return None


def _plain(name: str) -> str:
    return "".join(name.casefold().split())


def _entries(cache: Path, *, remembered: bool) -> Entries:
    memory = memory_of(cache, _MEMORY, _RULE)
    with contextlib.suppress(OSError, ValueError):
        return list(json.loads(memory.read_bytes()))
    if remembered:
        return []
    found = list(_registered())
    with contextlib.suppress(OSError):
        write_atomically(memory, json.dumps(found))
    return found


def _registered() -> Iterator[dict[str, Any]]:
    """What mteb's registry says. Raises MissingDependency where mteb is not installed."""
    mteb = open_mteb()
    with quiet():
        for one in mteb.get_benchmarks():
            kinds: dict[str, list[dict[str, Any]]] = {}
            left_out: Counter[str] = Counter()
            for task in one.tasks:
                metadata = task.metadata
                if metadata.type in KINDS and list(metadata.modalities) == ["text"]:
                    measure = shown_measures(metadata.main_score)[0][0]
                    entry = {"name": metadata.name, "measure": str(measure), "part": _part(task)}
                    kinds.setdefault(str(metadata.type), []).append(entry)
                else:
                    images = "" if list(metadata.modalities) == ["text"] else f" of {' and '.join(metadata.modalities)}"
                    left_out[f"{metadata.type}{images if metadata.type in KINDS else ''}"] += 1
            yield {
                "name": one.name,
                "aliases": list(one.aliases or ()),
                "kinds": kinds,
                "left_out": dict(left_out),
                "size": len(list(one.tasks)),
            }


def _part(task: Any) -> list[list[str]] | None:
    """The hub's subsets and the splits that the benchmark takes; None where these are all."""
    if getattr(task, "is_aggregate", False):
        return None
    metadata = task.metadata
    subsets, splits = list(map(str, task.hf_subsets)), list(map(str, task.eval_splits))
    whole = set(subsets) == set(metadata.hf_subsets) and set(splits) == set(metadata.eval_splits)
    return None if whole else [subsets, splits]
