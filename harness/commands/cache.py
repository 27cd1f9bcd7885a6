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

from ..errors import HarnessError, did_you_mean, spelt
from ..files.cache import hash_of
from ..files.units import PARTS, TAG, Unit, is_marked, remove, units
from ..types import Finding
from .shared import Options, Say, add_options_of, show

__all__ = ["CachePart", "add_options", "cache_parts", "cache_table", "command", "prunable", "verify"]

_OPTIONS: Options = {
    "action": {"choices": ("show", "verify", "prune"), "help": "what to do"},
    "parts": {"nargs": "*", "metavar": "PART", "help": "parts to prune, as show names them; none: what damage and kills left behind"},
    "--older-than": {"type": float, "metavar": "DAYS", "help": "prune only what was not used for so many days"},
    "--yes": {"action": "store_true", "help": "remove what prune lists; without it nothing goes"},
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
        return _prune(folder, given, answer)
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
    _refuse_no_folder(cache)
    found = units(cache)
    return [_part(found, name, holds) for name, holds in PARTS.items()]


def cache_table(cache: Path) -> str:
    """The cache's place, and a line for each of its parts."""
    from ..results.layout import align

    rows = [[part.name, str(len(part.files)), f"{part.size / 2**20:.1f}", part.holds] for part in cache_parts(cache)]
    return f"{cache}\n{align([['part', 'files', 'MiB', 'holds'], *rows])}"


def _part(found: list[Unit], name: str, holds: str) -> CachePart:
    mine = [unit for unit in found if unit.part == name]
    files = tuple(sorted(path for unit in mine for path in unit.files()))
    return CachePart(name, holds, files, sum(unit.size() for unit in mine))


def verify(cache: Path) -> Iterator[Finding]:
    """Read what can be checked against its own digest: candidates, token ids, vectors, prepared data, indexes, scores."""
    from ..models.ids.kept import segment_is_whole

    yield _each("candidates", (cache / "candidates").glob("*/manifest.json"), _candidates_are_whole)
    yield _each("tokens", (cache / "tokens").glob("[!.]*.ids"), segment_is_whole)
    yield _each("embeddings", (cache / "embeddings").glob("*.keys"), _vectors_are_whole)
    prepared = (cache / "collections").glob("*/*/manifest.json")
    yield _each("collections", prepared, lambda manifest: _collection_is_whole(manifest, cache))
    yield _each("bm25", (cache / "bm25").glob("[!.]*"), _bm25_is_whole)
    yield _each("sparse", (cache / "sparse").glob("[!.]*"), _sparse_is_whole)
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


def _collection_is_whole(manifest: Path, cache: Path) -> bool:
    from ..data.collection import is_whole

    return is_whole(manifest.parent, cache, rehash=True)


def _bm25_is_whole(folder: Path) -> bool:
    from ..retrievers.bm25 import DamagedIndexError, open_index

    try:
        open_index(folder, digest=hash_of)
    except DamagedIndexError:
        return False
    return True


def _sparse_is_whole(folder: Path) -> bool:
    from ..retrievers.sparse import open_postings
    from ..retrievers.sparse_encoder import block_is_whole

    blocks = sorted(folder.glob("[!.]*.npz"))
    return all(map(block_is_whole, blocks)) if blocks else open_postings(folder, hash_of) is not None


def _prune(cache: Path, given: argparse.Namespace, answer: Say) -> int:
    doomed = prunable(cache, given.parts, given.older_than)
    for unit in doomed:
        answer(f"{unit.size() / 2**20:.1f} MiB  {', '.join(path.relative_to(cache).as_posix() for path in unit.paths)}")
    freed = sum(unit.size() for unit in doomed)
    if doomed and not given.yes:
        answer(f"{freed / 2**20:.1f} MiB would be removed from {cache}: say --yes to do it")
        return 0
    for unit in doomed:
        remove(unit, cache)
    answer(f"{freed / 2**20:.1f} MiB removed from {cache}")
    return 0


def prunable(cache: Path, parts: list[str], older_than_days: float | None) -> list[Unit]:
    """The units of `parts` (none: only what damage and kills left behind) that are not kept for their age.

    `older_than_days` keeps what was used since, whole units at a time. Raises HarnessError for a part that does
    not exist, for days that are no number or below 0, and for a folder that no tag says is our own.
    """
    if older_than_days is not None and not 0 <= older_than_days < math.inf:
        raise HarnessError(f"--older-than {older_than_days:g} is not a number of days: 0 or more")
    parts = [spelt(name, PARTS) for name in parts]
    for name in parts:
        if name not in PARTS:
            raise HarnessError(f'the cache has no part "{name}"; it has {", ".join(PARTS)}.{did_you_mean(name, PARTS)}')
    _refuse_no_folder(cache)
    if not cache.exists():
        return []
    if not is_marked(cache):
        raise HarnessError(
            f"{cache} has no {TAG} that says it is a cache of the harness alone, so nothing is removed: a run puts one "
            f"into a folder that holds nothing else; set RERANK_HARNESS_CACHE to such a folder"
        )
    before = time.time() - (older_than_days or 0) * 86_400
    return [
        unit
        for unit in units(cache)
        if (unit.part in parts or unit.left_over) and (older_than_days is None or unit.used() < before)
    ]


def _refuse_no_folder(cache: Path) -> None:
    if cache.exists() and not cache.is_dir():
        raise HarnessError(f"the cache {cache} is not a folder: set RERANK_HARNESS_CACHE to one")
