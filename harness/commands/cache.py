"""The verb `cache`: show, verify or prune the cache. Everything in it can be made again."""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import HarnessError, did_you_mean
from ..types import Finding
from .shared import Options, Say, add_options_of, show

__all__ = ["CachePart", "add_options", "cache_parts", "cache_table", "command", "prune", "verify"]

PARTS = {
    "collections": "prepared data sets",
    "bm25": "BM25 indexes",
    "candidates": "first stages' candidates",
    "rankings": "rankings of results, for compare and report",
    "embeddings": "vectors",
    "scores": "the score store",
    "models": "models' small files",
    "hub": "what the hub said",
    "mteb": "what mteb said of tasks without a card",
    "digests": "digests of large files",
}

_OPTIONS: Options = {
    "action": {"choices": ("show", "verify", "prune"), "help": "what to do"},
    "parts": {"nargs": "*", "metavar": "PART", "help": "parts to prune, as show names them; none: what damage and kills left behind"},
    "--older-than": {"type": float, "metavar": "DAYS", "help": "prune only what was not used for so many days"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `cache` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Show the size of each part, read all of it, or remove parts; returns 0, whatever `verify` found to be damaged."""
    from ..files.cache import cache_folder

    folder = cache_folder()
    if given.action == "verify":
        return show(verify(folder), answer)
    if given.action == "prune":
        freed = prune(folder, given.parts, given.older_than)
        answer(f"{freed / 2**20:.1f} MiB removed from {folder}")
        return 0
    answer(cache_table(folder))
    return 0


@dataclass(frozen=True)
class CachePart:
    """One part of the cache: what it holds, its files and their size in bytes."""

    name: str
    holds: str
    files: tuple[Path, ...]
    size: int


def cache_parts(cache: Path) -> list[CachePart]:
    """Every part of the cache, also those that are empty. Raises HarnessError where its place is no folder."""
    if cache.exists() and not cache.is_dir():
        raise HarnessError(f"the cache {cache} is not a folder: set RERANK_HARNESS_CACHE to one")
    return [_part(cache, name, holds) for name, holds in PARTS.items()]


def cache_table(cache: Path) -> str:
    """The cache's place, and a line for each of its parts."""
    from ..results.tables import align

    rows = [[part.name, str(len(part.files)), f"{part.size / 2**20:.1f}", part.holds] for part in cache_parts(cache)]
    return f"{cache}\n{align([['part', 'files', 'MiB', 'holds'], *rows])}"


def _part(cache: Path, name: str, holds: str) -> CachePart:
    found = cache.glob("scores.sqlite*") if name == "scores" else (cache / name).rglob("*")
    files = tuple(sorted(path for path in found if path.is_file()))
    return CachePart(name, holds, files, sum(path.stat().st_size for path in files))


def verify(cache: Path) -> Iterator[Finding]:
    """Read what can be checked against its own digest: candidates, vectors, prepared data, scores."""
    yield _each("candidates", (cache / "candidates").glob("*/manifest.json"), _candidates_are_whole)
    yield _each("embeddings", (cache / "embeddings").glob("*.keys"), _vectors_are_whole)
    yield _each("collections", (cache / "collections").rglob("manifest.json"), _collection_is_there)
    store = cache / "scores.sqlite"
    if not store.exists():
        yield Finding("scores", "ok", "no store yet")
        return
    from ..engine.store import ScoreStore

    said: list[str] = []
    with ScoreStore(store, report=said.append) as opened:
        count = opened.count()
    yield Finding("scores", "warning" if said else "ok", said[0] if said else f"{count:,} scores")


def _each(name: str, found: Iterator[Path], is_whole: Callable[[Path], bool]) -> Finding:
    paths = sorted(found)
    bad = [path for path in paths if not is_whole(path)]
    if bad:
        return Finding(
            name, "warning", f"{len(bad)} of {len(paths)} are damaged and will be made again, first {bad[0]}"
        )
    return Finding(name, "ok", f"{len(paths)} are whole")


def _candidates_are_whole(manifest: Path) -> bool:
    from ..retrievers.retrieve import digest_of_run

    try:
        lists = json.loads(gzip.decompress((manifest.parent / "candidates.json.gz").read_bytes()))
        run = {query_id: dict(zip(*documents, strict=True)) for query_id, documents in lists.items()}
        return bool(digest_of_run(run) == json.loads(manifest.read_text())["digest"])
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return False


def _vectors_are_whole(path: Path) -> bool:
    from ..models.embedding_store import EmbeddingStore

    return EmbeddingStore(path.with_suffix("")).damaged() == 0


def _collection_is_there(manifest: Path) -> bool:
    try:
        json.loads(manifest.read_text())
    except (OSError, ValueError):
        return False
    return (manifest.parent / "corpus.arrow").is_file()


def prune(cache: Path, parts: list[str], older_than_days: float | None) -> int:
    """Remove the files of `parts` (none: only what damage and kills left behind); returns the bytes freed.

    `older_than_days` keeps what was used since. Raises HarnessError for a part that does not exist, and for
    days that are no number, or below 0.
    """
    if older_than_days is not None and not 0 <= older_than_days < math.inf:
        raise HarnessError(f"--older-than {older_than_days:g} is not a number of days: 0 or more")
    for name in parts:
        if name not in PARTS:
            raise HarnessError(f'the cache has no part "{name}"; it has {", ".join(PARTS)}.{did_you_mean(name, PARTS)}')
    doomed = [path for part in cache_parts(cache) if part.name in parts for path in part.files]
    doomed += [path for path in cache.rglob("*") if path.is_file() and _is_left_over(path, cache)]
    before = time.time() - (older_than_days or 0) * 86_400
    freed = 0
    for path in dict.fromkeys(doomed):
        status = path.stat()
        if older_than_days is None or max(status.st_atime, status.st_mtime) < before:
            freed += status.st_size
            path.unlink()
    for folder in sorted((path for path in cache.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return freed


def _is_left_over(path: Path, cache: Path) -> bool:
    """A damaged store that was set aside, or the unfinished work of a process that was killed an hour ago."""
    inside = path.relative_to(cache).parts
    unfinished = any(part.startswith(".") for part in inside) and time.time() - path.stat().st_mtime > 3600
    return ".damaged-" in path.name or unfinished
