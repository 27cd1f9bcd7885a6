"""The bytes of a file, whatever packs them: gzip, bzip2, Zstandard, xz, or a member of a zip archive.

A member is named by a path through its archive, `scifact.zip/scifact/corpus.jsonl`, so that whoever lists
files, opens them or names them in an error need not know that they lie in one.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import IO

from ..errors import HarnessError

__all__ = ["PACKED", "ZIP", "is_plain", "members", "opened", "unpacked_name"]

ZIP = ".zip"
_NAMES = {".gz": "gzip", ".bz2": "bzip2", ".zst": "Zstandard", ".xz": "xz"}
PACKED = tuple(_NAMES)
"""Endings of files that are packed one by one."""
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)
"""What the unpackers raise for bytes that are not whole; RuntimeError is zipfile's for a password."""


def unpacked_name(name: str) -> str:
    """The name without the ending of what packs it: `corpus.jsonl` for `corpus.jsonl.GZ` and `corpus.jsonl.zip`."""
    ending = _ending(name)
    return name[: -len(ending)] if ending in (*_NAMES, ZIP) else name


def is_plain(path: Path) -> bool:
    """Whether the file lies on disk as it is read: neither packed nor inside an archive."""
    return _ending(path.name) not in _NAMES and _archive_of(path) is None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a file, to be read once.

    Raises HarnessError where it is not there, cannot be read, or is not whole, also while it is read.
    """
    ending = _ending(path.name)
    archive = _archive_of(path)
    try:
        with contextlib.ExitStack() as stack:
            if archive is None:
                stream: IO[bytes] = stack.enter_context(path.open("rb"))
            else:
                stream = stack.enter_context(_member(stack, archive, path))
            yield stack.enter_context(_unpacking(stream, ending))
    except FileNotFoundError as error:
        raise HarnessError(f"there is no file {path}") from error
    except _BROKEN as error:
        raise HarnessError(_not_whole(path, ending, archive, error)) from error
    except OSError as error:
        # gzip, bzip2 and Zstandard report damage as an OSError without a number.
        if error.errno is None and ending in _NAMES:
            raise HarnessError(_not_whole(path, ending, archive, error)) from error
        raise HarnessError(f"cannot read {path}: {error.strerror or error}") from error


def members(archive: Path) -> list[Path]:
    """The files in a zip archive, as paths through it, sorted; what file managers add to archives is left out.

    Raises HarnessError where it cannot be read, and for a name that stands in it twice.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            names = [entry.filename for entry in packed.infolist() if not entry.is_dir()]
    except FileNotFoundError as error:
        raise HarnessError(f"there is no file {archive}") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise HarnessError(f"{archive} is not a whole zip archive ({error}): fetch or pack it again") from error
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise HarnessError(f'{archive} holds "{twice}" twice: which of the two is meant cannot be told')
    return sorted(archive / name for name in names if not _is_clutter(PurePath(name)))


def _is_clutter(name: PurePath) -> bool:
    return "__MACOSX" in name.parts or name.name.startswith(".")


def _ending(name: str) -> str:
    return PurePath(name).suffix.lower()


def _archive_of(path: Path) -> Path | None:
    """The zip archive that a path leads through; None for a file of its own."""
    return next((above for above in path.parents if _ending(above.name) == ZIP and above.is_file()), None)


def _member(stack: contextlib.ExitStack, archive: Path, path: Path) -> IO[bytes]:
    packed = stack.enter_context(zipfile.ZipFile(archive))
    try:
        return packed.open(path.relative_to(archive).as_posix())
    except KeyError:
        raise FileNotFoundError from None


def _unpacking(stream: IO[bytes], ending: str) -> IO[bytes]:
    if ending == ".gz":
        return gzip.open(stream, "rb")  # type: ignore[return-value]
    if ending == ".bz2":
        return bz2.open(stream, "rb")
    if ending == ".xz":
        return lzma.open(stream, "rb")
    if ending == ".zst":
        import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd"))
    return stream


def _not_whole(path: Path, ending: str, archive: Path | None, error: Exception) -> str:
    if archive is not None and ending not in _NAMES:
        return f"{path}: its archive is not a whole zip archive without a password ({error}): fetch or pack it again"
    return f"{path} is not a whole {_NAMES.get(ending, 'packed')} file ({error}): fetch or pack it again"
