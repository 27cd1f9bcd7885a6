"""What lies in the cache, unit by unit: each is removed whole or not at all, and nothing else ever is.

A unit is what one piece of work left: a BM25 index is a folder, a text's vectors two files. Its name
must be one that the harness gives, in a part folder of the harness, in a folder that a tag of ours marks
(bford.info/cachedir). Links are never followed. What is not known is not ours.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import HarnessError
from .cache import write_atomically

__all__ = ["PARTS", "TAG", "Unit", "is_marked", "mark", "remove", "units"]

PARTS = {
    "collections": "prepared data sets",
    "made": "data sets made in memory",
    "bm25": "BM25 indexes",
    "sparse": "sparse vectors and their indexes",
    "candidates": "first stages' candidates",
    "rankings": "rankings of results, for compare and report",
    "tokens": "token ids of texts",
    "embeddings": "vectors",
    "scores": "the score store",
    "models": "models' small files",
    "adapters": "adapters put on their base models",
    "sent": "models that came from another machine of the cluster",
    "hub": "what the hub said",
    "mteb": "what mteb said of tasks without a card",
    "digests": "digests of large files",
}

TAG = "CACHEDIR.TAG"
_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55"
_OURS = "# The cache of rerank-harness: all of it can be made again."

_HEX = "[0-9a-f]"
_NAMES = {
    "collections": [rf"[A-Za-z0-9._-]{{1,80}}/{_HEX}{{32}}"],
    "made": [rf"{_HEX}{{32,40}}"],
    "bm25": [rf"{_HEX}{{32}}"],
    "sparse": [rf"{_HEX}{{32}}"],
    "candidates": [rf"{_HEX}{{32}}"],
    "rankings": [rf"{_HEX}{{32}}\.json\.gz"],
    "tokens": [rf"({_HEX}{{32}})-{_HEX}{{16}}\.ids"],
    "embeddings": [rf"({_HEX}{{32}})\.(?:keys|vectors)"],
    "models": [rf"{_HEX}{{32}}\.json"],
    "adapters": [rf"{_HEX}{{40}}", rf"{_HEX}{{40}}\.head\.json"],
    "sent": [rf"{_HEX}{{40}}"],
    "hub": [rf"[a-z]+/[A-Za-z0-9._-]+-{_HEX}{{16}}\.json"],
    "mteb": [r"[0-9][0-9A-Za-z.+-]*/[A-Za-z0-9._-]+\.json"],
    "digests": [rf"{_HEX}{{32}}\.json"],
}
"""part → the names of its units below its folder; a group is what the files of one unit share."""
_STORE = re.compile(r"scores\.sqlite(?:-journal|-wal|-shm)?\Z")
_STORE_LEFT_OVER = re.compile(r"(scores\.sqlite\.(?:new|damaged-[0-9T.]+Z))(?:-journal|-wal|-shm)?\Z")
_TEMPORARY = re.compile(
    rf"\.(?:.+\.{_HEX}{{12}}\.(?:part|half|gone)|{_HEX}{{32}}\.[a-z0-9_]{{8}}(?:\.part)?|mteb-[a-z0-9_]{{8}})\Z",
    re.DOTALL,
)
"""What `write_atomically`, the builders of collections and indexes, bundles and `remove` call unfinished work."""
_ABANDONED = 3600
"""Seconds after which unfinished work is taken for that of a process that was killed."""


@dataclass(frozen=True)
class Unit:
    """Files and folders that belong together."""

    part: str
    paths: tuple[Path, ...]
    left_over: bool
    """Whether damage or a kill left it behind, so that nothing reads it."""

    def files(self) -> Iterator[Path]:
        """Every file of it, links among them."""
        for path in self.paths:
            if path.is_dir() and not path.is_symlink():
                for folder, _, names in os.walk(path):
                    yield from (Path(folder, name) for name in names)
            else:
                yield path

    def size(self) -> int:
        """Bytes; of a link, its own."""
        return sum(status.st_size for status in self._statuses())

    def used(self) -> float:
        """When a file of it was last read or written, or a folder changed, in seconds since 1970."""
        folders = [path.lstat().st_mtime for path in self.paths if path.exists()]
        return max([*(max(status.st_mtime, status.st_atime) for status in self._statuses()), *folders], default=0)

    def _statuses(self) -> Iterator[os.stat_result]:
        for path in self.files():
            with contextlib.suppress(FileNotFoundError):
                yield path.lstat()


def mark(cache: Path) -> None:
    """Puts the tag into a cache folder that is new or holds nothing but ours; elsewhere the tag would lie."""
    with contextlib.suppress(OSError):
        if not (cache / TAG).exists() and all(_is_ours(path.name) for path in cache.glob("*")):
            write_atomically(cache / TAG, f"{_SIGNATURE}\n{_OURS}\n")


def is_marked(cache: Path) -> bool:
    """Whether the tag of ours is there; that of another program marks another cache."""
    try:
        lines = (cache / TAG).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return not (cache / TAG).is_symlink() and lines[:1] == [_SIGNATURE] and _OURS in lines


def _is_ours(name: str) -> bool:
    return name in PARTS or name.startswith("scores.sqlite")


def units(cache: Path) -> list[Unit]:
    """Everything in the cache that is known to be ours, part by part; what lies behind links is left out."""
    found: list[Unit] = []
    for part in PARTS:
        found += _of_the_store(cache) if part == "scores" else _of_a_folder(cache / part, part)
    return found


def _of_the_store(cache: Path) -> Iterator[Unit]:
    names = sorted(path for path in cache.glob("scores.sqlite*") if path.is_file() and not path.is_symlink())
    # The lock stays: another process may hold it, and a second one beside it would keep nobody out.
    if store := tuple(path for path in names if _STORE.match(path.name)):
        yield Unit("scores", store, left_over=False)
    groups: dict[str, list[Path]] = {}
    for path in names:
        if left := _STORE_LEFT_OVER.match(path.name):
            groups.setdefault(left[1], []).append(path)
    yield from (Unit("scores", tuple(paths), left_over=True) for paths in groups.values())


def _of_a_folder(folder: Path, part: str) -> Iterator[Unit]:
    groups: dict[str, list[Path]] = {}
    for path in _entries(folder):
        deeper = [path] if part not in ("collections", "hub", "mteb") or path.name.startswith(".") else _entries(path)
        for inner in deeper:
            name = inner.relative_to(folder).as_posix()
            known = next((match for rule in _NAMES[part] if (match := re.fullmatch(rule, name))), None)
            if _TEMPORARY.match(inner.name):
                unit = Unit(part, (inner,), left_over=True)
                if time.time() - unit.used() > _ABANDONED:
                    yield unit
            elif known is not None:
                groups.setdefault(next(iter(known.groups()), name), []).append(inner)
    yield from (Unit(part, tuple(paths), left_over=False) for paths in groups.values())


def _entries(folder: Path) -> list[Path]:
    """What stands in a folder, by name, links left out; nothing of what is no folder, or a link to one."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.is_symlink())


def remove(unit: Unit, cache: Path) -> None:
    """Removes a unit: out of its name first, so that a kill leaves nothing half; then folders that it leaves empty.

    Raises HarnessError for what cannot be removed.
    """
    try:
        for path in unit.paths:
            if path.is_dir():
                gone = path.with_name(f".{path.name.lstrip('.')[:100]}.{secrets.token_hex(6)}.gone")
                path.rename(gone)
                shutil.rmtree(gone)
            else:
                path.unlink(missing_ok=True)
        folder = unit.paths[0].parent
        while folder != cache and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
    except OSError as error:
        raise HarnessError(f"cannot remove {error.filename or unit.paths[0]}: {error.strerror or error}") from error
