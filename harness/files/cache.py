"""The cache folder: where it is, how files get into it whole, and what large files' digests are.

Everything in the cache can be made again; nothing in it is trusted when it looks damaged. A cache
that cannot be written is an error only where writing is essential.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import HarnessError
from .digest import Digest, digest_of

__all__ = ["cache_folder", "distrust_digests", "file_digest", "folder_digest", "hash_of", "write_atomically", "writing"]

_PIECE = 1 << 20
_SETTLED_NS = 2_000_000_000
"""A file changed less than this long ago may change again within one tick of its clock."""


def cache_folder() -> Path:
    """RERANK_HARNESS_CACHE, else `rerank-harness` in XDG_CACHE_HOME, else in ~/.cache; it may not exist yet."""
    chosen = os.environ.get("RERANK_HARNESS_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG specification: a relative path is invalid and is to be ignored.
    home = Path(base) if base and Path(base).is_absolute() else Path("~/.cache").expanduser()
    return home / "rerank-harness"


@contextlib.contextmanager
def writing(cache: Path) -> Iterator[None]:
    """Turns an OSError of the block, which must write under `cache`, into a HarnessError that says so."""
    try:
        yield
    except OSError as error:
        raise HarnessError(
            f"cannot write in the cache folder {cache} ({error.strerror or error}): make room there, "
            "or set RERANK_HARNESS_CACHE to a folder that can be written"
        ) from error


def write_atomically(path: Path, data: bytes | str) -> None:
    """Writes the whole file or nothing: temporary name in the same folder, fsync, rename.

    Makes the folder if it is missing. Text is written as UTF-8. A link stays one: what it leads to is
    written. Raises OSError as it comes, and for a path that is there and no file: the rename would put
    a file in the place of a device.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.exists() and not path.is_file():
        raise OSError(errno.EISDIR if path.is_dir() else errno.EINVAL, "it is there and not a file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.part")
    try:
        with temporary.open("xb") as stream:
            stream.write(data.encode("utf-8") if isinstance(data, str) else data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def file_digest(path: Path, cache: Path, *, rehash: bool = False) -> str:
    """32 hex digits: blake2b over the file's bytes.

    The digest is remembered in the cache by absolute path, size, mtime, ctime and inode, so that a large
    file is read once; `rehash` reads it again, and so does `distrust_digests` for what was remembered before. Without a cache that can be written nothing is
    remembered. Raises HarnessError for a file that cannot be read.
    """
    absolute = path.absolute()
    try:
        before = _identity(absolute)
        memory = cache / "digests" / f"{digest_of(str(absolute))}.json"
        known = None if rehash or _age(memory) <= _distrusted else _recall(memory)
        if known is not None and known.get("identity") == before and isinstance(known.get("digest"), str):
            return str(known["digest"])
        digest = hash_of(absolute)
        unchanged = _identity(absolute) == before
    except OSError as error:
        raise HarnessError(f"cannot read {path}: {error.strerror or error}") from error
    if unchanged and time.time_ns() - max(int(before[2]), int(before[3])) > _SETTLED_NS:
        with contextlib.suppress(OSError):
            write_atomically(memory, json.dumps({"identity": before, "digest": digest}))
    return digest


_distrusted = -1
"""Digests that were remembered up to this time (ns since 1970) are not believed."""


def distrust_digests() -> None:
    """From now on every file is read again, once, whatever is remembered of it: `--rehash`."""
    global _distrusted  # noqa: PLW0603
    _distrusted = time.time_ns()


def folder_digest(folder: Path, names: Iterable[str], cache: Path) -> str:
    """40 hex digits over the names, relative to `folder` and sorted, and their files' digests."""
    digest = Digest(size=20)
    for name in sorted(set(names)):
        digest.add(name, file_digest(folder / name, cache))
    return digest.hex()


def _identity(path: Path) -> list[str | int]:
    status = path.stat()
    # A program can set mtime back to what it was, ctime it cannot.
    return [str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _age(memory: Path) -> int:
    try:
        return memory.stat().st_mtime_ns
    except OSError:
        return 0


def _recall(memory: Path) -> dict[str, object] | None:
    """What was remembered, or None where there is nothing or nothing that can be believed."""
    try:
        known = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) else None


def hash_of(path: Path) -> str:
    """32 hex digits: blake2b over the file's bytes, read now."""
    running = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            running.update(piece)
    return running.hexdigest()
