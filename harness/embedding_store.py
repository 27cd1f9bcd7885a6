"""Vectors on disk, keyed by the content of their text.

One file for each encoder: fixed-size records (digest of the text, check value, vector), appended
and flushed batch by batch. A kill can only leave a last record cut short, which the next opening
drops; a record whose check value does not fit is not used. Reading maps the file, so five million
vectors need no memory of their own.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import HarnessError

__all__ = ["EmbeddingStore"]

_MAGIC = b"RHEMBED1"
_HEADER = len(_MAGIC) + 8


class EmbeddingStore:
    """The vectors of one encoder; `path` names its fingerprint. Raises HarnessError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, keys: Sequence[bytes]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """(found, vectors) for 16-byte keys: shapes (n,) and (n, dimension); NaN where not found."""
        records = self._records()
        if records is None or not len(records):
            return np.zeros(len(keys), bool), np.zeros((len(keys), 0), np.float32)
        stored = np.ascontiguousarray(records["key"]).view("S16").ravel()
        order = np.argsort(stored, kind="stable")
        wanted = np.frombuffer(b"".join(keys), "S16")
        place = np.minimum(np.searchsorted(stored, wanted, sorter=order), len(stored) - 1)
        rows = order[place]
        found = stored[rows] == wanted
        vectors = np.full((len(keys), records["vector"].shape[1]), np.nan, np.float32)
        for index in np.flatnonzero(found):
            record = records[rows[index]]
            if record["check"] == _check(bytes(record["key"]), record["vector"]):
                vectors[index] = record["vector"]
            else:
                found[index] = False
        return found, vectors

    def add(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Append one record a key; on disk when this returns."""
        vectors = np.ascontiguousarray(vectors, np.float32)
        records = np.zeros(len(keys), _layout(vectors.shape[1]))
        records["key"] = np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16)
        records["vector"] = vectors
        records["check"] = [_check(key, vector) for key, vector in zip(keys, vectors, strict=True)]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise HarnessError(f"cannot write vectors to {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _append(descriptor, records, vectors.shape[1])
        except OSError as error:
            raise HarnessError(
                f"cannot write vectors to {self.path}: {error.strerror}; what was written before is kept"
            ) from None
        finally:
            os.close(descriptor)

    def _records(self) -> NDArray[np.void] | None:
        try:
            size = self.path.stat().st_size
            with self.path.open("rb") as file:
                header = file.read(_HEADER)
        except OSError:
            return None
        if len(header) < _HEADER or header[: len(_MAGIC)] != _MAGIC:
            return None
        layout = _layout(int.from_bytes(header[len(_MAGIC) :], "little"))
        count = (size - _HEADER) // layout.itemsize
        if not count:
            return None
        mapped: NDArray[np.void] = np.memmap(self.path, layout, "r", _HEADER, (count,))
        return mapped


def _append(descriptor: int, records: NDArray[np.void], dimension: int) -> None:
    header = _MAGIC + dimension.to_bytes(8, "little")
    size = os.fstat(descriptor).st_size
    if os.pread(descriptor, _HEADER, 0) != header:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, header, 0)
        size = _HEADER
    whole = _HEADER + (size - _HEADER) // records.itemsize * records.itemsize
    os.ftruncate(descriptor, whole)
    data = memoryview(records.tobytes())
    while data:
        written = os.pwrite(descriptor, data, whole)
        whole += written
        data = data[written:]
    os.fsync(descriptor)


def _layout(dimension: int) -> np.dtype[np.void]:
    return np.dtype([("key", np.uint8, (16,)), ("check", "<u4"), ("vector", "<f4", (dimension,))])


def _check(key: bytes, vector: NDArray[np.float32]) -> int:
    return zlib.crc32(vector.tobytes(), zlib.crc32(key))
