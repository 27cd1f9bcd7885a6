"""The verb `fetch`: data and models into a bundle, for machines without network.

What is missing is listed with its size before any of it is downloaded. Only the small files that
say what is needed (data cards, models' configurations) are read first.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError
from .shared import Say, json_document

if TYPE_CHECKING:
    from ..files.hub import Kind
    from ..models.source import ModelSource
    from ..types import Task

__all__ = ["Wanted", "add_options", "bytes_to_fetch", "command", "fetch", "readable_size", "wanted"]


@dataclass(frozen=True)
class Wanted:
    """Files of one repository at one commit, and how much of them the bundle lacks."""

    kind: Kind
    name: str
    commit: str
    what_for: str
    files: tuple[str, ...]
    size: int
    """Bytes of all the files."""
    missing: tuple[str, ...]
    missing_size: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `fetch` takes."""
    several: dict[str, Any] = {"action": "append", "default": [], "metavar": "NAME"}
    parser.add_argument(
        "tasks", nargs="*", metavar="TASK", help="tasks, suites, hub data sets (ORG/NAME), tasks of mteb"
    )
    parser.add_argument("--reranker", **several, help="a hub model to bring along; several may be given")
    parser.add_argument("--retriever", **several, help="a first stage's hub model; bm25 needs none")
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="the bundle; one that is there is completed"
    )
    parser.add_argument("--languages", default="", metavar="CODES", help="only these of multilingual tasks, as zh,sw")
    parser.add_argument("--split", metavar="NAME", help="another split than the card's")
    parser.add_argument("--language", metavar="CODE", help="the language of a hub data set without a card")
    parser.add_argument("--tasks", type=Path, dest="cards", metavar="DIR", help="a folder with cards of your own")
    parser.add_argument("--dry-run", action="store_true", help="list what is missing; download nothing of it")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the list on stdout")


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """List what the bundle lacks, then bring it; with --dry-run, only the list."""
    from ..data.task import Cards, select_languages
    from ..files.bundle import fill

    if not (given.tasks or given.reranker or given.retriever):
        raise HarnessError('name a task, a suite or a --reranker, as in "fetch SciFact --reranker ORG/NAME --to DIR"')
    cache = fill(given.to)
    tasks = Cards(given.cards).resolve(given.tasks, cache, given.split, given.language) if given.tasks else []
    for aggregate in Cards(given.cards).aggregates(given.tasks, cache):
        if aggregate.note:
            say(f"{aggregate.name}: {aggregate.note}")
    if given.languages:
        tasks = select_languages(tasks, [word.strip() for word in given.languages.split(",") if word.strip()])
    models = [name for name in (*given.reranker, *given.retriever) if name != "bm25"]
    plan = list(wanted(tasks, models, cache, say))
    answer(_as_json(plan) if given.format == "json" else _as_table(plan, given.to))
    if given.dry_run:
        return 0
    fetch(plan, tasks, models, given.to, say)
    say(f"{given.to} is whole: run … --offline {given.to} needs no network")
    return 0


def wanted(tasks: Sequence[Task], models: Sequence[str], cache: Path, say: Say) -> Iterator[Wanted]:
    """What tasks and models need, one entry a repository, in order; reads the small files that say so.

    Raises HarnessError for a task or model that is not there, and a hub that cannot be reached.
    """
    found: dict[tuple[Kind, str, str], tuple[dict[str, None], dict[str, None]]] = {}
    for kind, name, commit, what_for, files in [*_of_tasks(tasks, cache, say), *_of_models(models, cache, say)]:
        uses, all_files = found.setdefault((kind, name, commit), ({}, {}))
        uses[what_for] = None
        all_files |= dict.fromkeys(files)
    for (kind, name, commit), (uses, all_files) in found.items():
        yield _sized(kind, name, commit, ", ".join(uses), tuple(all_files))


def _of_tasks(tasks: Sequence[Task], cache: Path, say: Say) -> Iterator[tuple[Kind, str, str, str, list[str]]]:
    from ..data.collection import data_files
    from ..data.irds import PREFIX as IRDS
    from ..files.hub import repository_files

    for task in tasks:
        if task.folder:
            say(f"{task.name} is a folder on this machine: take it along yourself")
            continue
        if task.loader.startswith(IRDS):
            continue
        files = repository_files("dataset", task.path, task.revision, cache)
        if not task.loader:  # else mteb's class may read any of them: at most all
            needed = {name for subset in task.subsets for name in data_files(task, subset, cache)}
            files = [name for name in files if name in needed or name == "README.md"]
        yield "dataset", task.path, task.revision, task.name, files


def _of_models(models: Sequence[str], cache: Path, say: Say) -> Iterator[tuple[Kind, str, str, str, list[str]]]:
    for name in dict.fromkeys(models):
        for source in _sources(name, cache, say):
            yield "model", source.name, source.revision, source.name, source.needed_files()


def _sources(name: str, cache: Path, say: Say) -> list[ModelSource]:
    """The hub repositories that a model consists of: none for a plug-in, a folder, a package or a provider."""
    from ..models.source import PACKAGE, open_model
    from ..rerankers.families.remote import is_remote
    from ..rerankers.plugin import is_plugin

    if name.startswith(PACKAGE) or is_plugin(name) or is_remote(name):
        say(f"{name} is not on the hub: it must be there, or within reach, where the bundle is used")
        return []
    source = open_model(name, cache)
    for part in _parts(source):
        if part.folder is not None:
            say(f"{part.name} is a folder on this machine: take it along yourself")
    return [part for part in _parts(source) if part.folder is None]


def _parts(source: ModelSource) -> list[ModelSource]:
    return [part for part in (source.base, source.adapter) if part is not None] or [source]


def bytes_to_fetch(source: ModelSource) -> int:
    """Bytes of the model's files that are not on this machine yet; asks the hub for their sizes."""
    from ..files.hub import file_sizes, path_here

    total = 0
    for part in _parts(source):
        if part.folder is None:
            missing = [file for file in part.needed_files() if not path_here("model", part.name, part.revision, file)]
            total += sum(file_sizes("model", part.name, part.revision, missing).values()) if missing else 0
    return total


def _sized(kind: Kind, name: str, commit: str, what_for: str, files: tuple[str, ...]) -> Wanted:
    from ..files.hub import file_sizes, path_here

    sizes = file_sizes(kind, name, commit, files)
    missing = tuple(file for file in files if not path_here(kind, name, commit, file))
    total, lacking = (sum(sizes[file] for file in names) for names in (files, missing))
    return Wanted(kind, name, commit, what_for, files, total, missing, lacking)


def fetch(plan: Sequence[Wanted], tasks: Sequence[Task], models: Sequence[str], folder: Path, say: Say) -> None:
    """Brings what is missing into the bundle, checks that it is whole, and writes its manifest last.

    Raises HarnessError where the disk has no room for it, or a download fails for good.
    """
    from ..files.bundle import MANIFEST
    from ..files.cache import write_atomically
    from ..files.hub import fetch_files
    from ..results.environment import harness_version

    _require_room(folder, sum(entry.missing_size for entry in plan))
    of_classes = {task.path for task in tasks if task.loader}
    for entry in plan:
        if entry.missing and entry.name not in of_classes:
            say(f"{entry.name}: {len(entry.missing)} files, {readable_size(entry.missing_size)}")
            fetch_files(entry.kind, entry.name, entry.commit, entry.missing)
    _prepare_what_mteb_reads(tasks, folder / "cache", say)
    known = _known(folder / MANIFEST)
    manifest = {
        "rerank-harness": harness_version(),
        "tasks": sorted({*known.get("tasks", []), *(task.name for task in tasks)}),
        "models": sorted({*known.get("models", []), *models}),
    }
    try:
        write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1))
    except OSError as error:
        raise HarnessError(f"cannot write {folder / MANIFEST}: {error.strerror or error}") from None


def _prepare_what_mteb_reads(tasks: Iterable[Task], cache: Path, say: Say) -> None:
    from ..data.collection import prepare

    for task in tasks:
        for subset in task.subsets if task.loader else ():
            say(f"{task.name} {subset.name}: read by {task.loader.partition(':')[0]}'s own code and prepared")
            prepare(task, subset, cache)


def _known(manifest: Path) -> dict[str, Any]:
    try:
        known = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise HarnessError(
            f"{readable_size(size)} are to be fetched and the disk of {folder} has {readable_size(free)} left: make room there, or "
            "fetch fewer tasks at a time"
        )


def _as_table(plan: Sequence[Wanted], folder: Path) -> str:
    from ..results.layout import align

    head = ["repository", "commit", "for", "files", "size", "missing", "to fetch"]
    rows = [
        [
            entry.name, entry.commit[:8], entry.what_for, str(len(entry.files)), readable_size(entry.size),
            str(len(entry.missing)), readable_size(entry.missing_size),
        ]
        for entry in plan
    ]  # fmt: skip
    total = readable_size(sum(entry.missing_size for entry in plan))
    return f"{align([head, *rows])}\n{total} to fetch into {folder}"


def _as_json(plan: Sequence[Wanted]) -> str:
    return json_document({"wanted": [asdict(entry) for entry in plan]})


def readable_size(size: int) -> str:
    """Bytes as people read them: 1.2 GB."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"
