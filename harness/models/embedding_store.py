"""Vectors on disk, keyed by the content of their text.

Two files for each encoder: `.keys` holds a digest of each text and a check value of its vector,
`.vectors` the vectors alone, row by row, in float32 or, on request, rounded to half as many bytes. A lookup reads the digests; vectors stay on disk
and are mapped, so five million of them need no memory of their own. Both files only grow: vectors
first, their keys last, and a record counts when it is whole in both. A kill can leave nothing worse than
a tail that the next writer cuts off. A vector whose check value does not fit (a disk that lied,
a machine that lost its power) is not used.

Vectors are checked when they are written, when either file is no longer as the last writer left it, and when
`cache verify` asks: reading every vector of five million before each search would cost more than the
search. A third file, `.checked`, says in which state of the two all were found good, and which were not.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError

__all__ = ["STORED", "EmbeddingStore", "Vectors", "rounded"]

_MAGIC = {"float32": b"RHEMBED2", "float16": b"RHEMBEH2", "bfloat16": b"RHEMBEB2"}
_TYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "float16": np.dtype("<f2"), "bfloat16": np.dtype("<u2")}
"""NumPy has no bfloat16: the upper half of a float32's bits stands for one."""
STORED = tuple(_TYPES)
"""The types in which vectors may lie on disk."""
_HEADER = 8 + 8
_RECORD = np.dtype([("key", "S16"), ("check", "<u4")])
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_BLOCK = 16_384
"""Vectors that are checked at a time."""


@dataclass(frozen=True)
class Vectors:
    """Some rows of a file of vectors, read from disk when they are asked for.

    `vectors[part]`, for a slice or an array of places, is a float32 array of shape (places, dimension), whatever
    the type on disk.
    """

    table: NDArray[Any]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.table.shape[1]

    def __getitem__(self, part: slice | NDArray[np.integer]) -> NDArray[np.float32]:
        return _widened(self.table[self.rows[part]])


class EmbeddingStore:
    """The vectors of one encoder; `path` names its fingerprint, without a suffix.

    What is added is rounded to `stored`, one of STORED; what is read says itself what it is.
    """

    def __init__(self, path: Path, stored: str = "float32") -> None:
        self._stored = stored
        self._keys = path.with_name(f"{path.name}.keys")
        self._vectors = path.with_name(f"{path.name}.vectors")
        self._checked = path.with_name(f"{path.name}.checked")

    def find(self, keys: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """The row of each 16-byte key (an array of type S16); −1 where it is missing or its vector is damaged."""
        state = self._state()  # first: what is appended after it is not covered by it
        records, table = self._mapped()
        if not len(records) or not len(keys):
            return np.full(len(keys), -1)
        stored = records["key"]
        order = np.argsort(stored, kind="stable")
        # Keys are looked up in order too: at millions that is five times as fast as hopping about.
        asked_order = np.argsort(keys, kind="stable")
        place = np.empty(len(keys), np.int64)
        # The last record of a key counts: it was added where an earlier one was damaged.
        place[asked_order] = np.searchsorted(stored[order], keys[asked_order], side="right") - 1
        rows = order[np.maximum(place, 0)]
        rows[stored[rows] != keys] = -1
        rows[np.isin(rows, self._damaged(state, records, table))] = -1
        return rows

    def vectors(self, rows: NDArray[np.int64]) -> Vectors:
        """The vectors of rows that `find` gave."""
        return Vectors(self._mapped()[1], rows)

    def damaged(self) -> int:
        """How many of all the vectors do not fit their check value; reads them all."""
        state = self._state()
        bad = _unfitting(*self._mapped())
        self._remember(state, bad.tolist())
        return len(bad)

    def _damaged(self, state: list[object] | None, records: NDArray[np.void], table: NDArray[Any]) -> NDArray[np.int64]:
        """Rows that do not fit: as remembered where both files are as they were then, else looked for in all."""
        remembered = self._remembered()
        if remembered is not None and remembered[0] == state:
            return np.array(remembered[1], np.int64)
        bad = _unfitting(records, table)
        self._remember(state, bad.tolist())
        return bad

    def _state(self) -> list[object] | None:
        """What changes when either file is written to: size, times and inode of both, and the machine's last start.

        After a power cut a file may have its new size and not its content, so a new start is another
        state. None where the system does not tell its starts apart: then nothing is remembered.
        """
        try:
            stats = [path.stat() for path in (self._keys, self._vectors)]
            start = _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:
            return None
        return [start, *([stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino] for stat in stats)]

    def _remembered(self) -> tuple[list[object], list[int]] | None:
        """The state in which all vectors were last checked, and the rows that did not fit then."""
        try:
            found = json.loads(self._checked.read_bytes())
            return found["state"], found["damaged"]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remember(self, state: list[object] | None, damaged: Sequence[int]) -> None:
        # A note that is lost or torn costs another check and nothing else, so it is not worth a sync.
        if state is not None:
            with contextlib.suppress(OSError):
                self._checked.write_text(json.dumps({"state": state, "damaged": damaged}), encoding="ascii")

    def add(self, keys: Sequence[bytes] | NDArray[np.bytes_], vectors: NDArray[np.float32]) -> None:
        """Append one vector for each 16-byte key. A killed process loses nothing that was added.

        Several processes may add at once. Raises HarnessError where the files cannot be written, and
        for a number beyond the type that is stored.
        """
        vectors = _narrowed(np.ascontiguousarray(vectors, "<f4"), self._stored)
        records = np.empty(len(vectors), _RECORD)
        records["key"] = keys
        records["check"] = _checks(records["key"], vectors)
        try:
            self._keys.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self._keys) as descriptor:
                remembered, before = self._remembered(), self._state()
                new = not os.fstat(descriptor).st_size
                self._append(descriptor, records, vectors)
                if new:
                    self._remember(self._state(), [])
                elif remembered is not None and remembered[0] == before:
                    self._remember(self._state(), remembered[1])
        except OSError as error:
            raise HarnessError(
                f"cannot write vectors to {self._vectors}: {error.strerror}; what was written before is kept"
            ) from None

    def _append(self, descriptor: int, records: NDArray[np.void], vectors: NDArray[Any]) -> None:
        width = vectors.shape[1] * vectors.itemsize
        header = _MAGIC[self._stored] + vectors.shape[1].to_bytes(8, "little")
        if os.pread(descriptor, _HEADER, 0) != header:
            # Another process may still read the old vectors: they lose their name, not their content.
            self._vectors.unlink(missing_ok=True)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, header, 0)
        listed = (os.fstat(descriptor).st_size - _HEADER) // _RECORD.itemsize
        with self._vectors.open("ab") as stream:
            whole = min(listed, stream.tell() // width)
            stream.truncate(whole * width)
            stream.write(vectors.tobytes())
        end = _HEADER + whole * _RECORD.itemsize
        os.ftruncate(descriptor, end)
        data = memoryview(records.tobytes())
        while data:
            written = os.pwrite(descriptor, data, end)
            data, end = data[written:], end + written

    def _mapped(self) -> tuple[NDArray[np.void], NDArray[Any]]:
        """The records that are whole, and the vectors of all of them; none of either where there is no file."""
        nothing = np.empty(0, _RECORD), np.empty((0, 0), _TYPES[self._stored])
        try:
            data = self._keys.read_bytes()
            size = self._vectors.stat().st_size
        except OSError:
            return nothing
        dimension = int.from_bytes(data[8:_HEADER], "little")
        kind: np.dtype[Any] | None = next(
            (_TYPES[stored] for stored, magic in _MAGIC.items() if magic == data[:8]), None
        )
        if kind is None or not dimension:
            return nothing
        count = min((len(data) - _HEADER) // _RECORD.itemsize, size // (kind.itemsize * dimension))
        if not count:
            return nothing
        table: NDArray[Any] = np.memmap(self._vectors, kind, "r", shape=(count, dimension))
        return np.frombuffer(data, _RECORD, count, _HEADER), table


def _unfitting(records: NDArray[np.void], table: NDArray[Any]) -> NDArray[np.int64]:
    """The rows whose vector does not fit its check value; reads all vectors, some at a time."""
    found = [np.empty(0, np.int64)]
    for start in range(0, len(records), _BLOCK):
        part = records[start : start + _BLOCK]
        found.append(np.flatnonzero(_checks(part["key"], table[start : start + _BLOCK]) != part["check"]) + start)
    return np.concatenate(found)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file opened for reading and writing, made where it is missing, and this process alone in it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def rounded(vectors: NDArray[np.float32], stored: str) -> NDArray[np.float32]:
    """The vectors as they come back from a store of the type. Raises HarnessError as `EmbeddingStore.add` does."""
    return _widened(_narrowed(np.ascontiguousarray(vectors, "<f4"), stored))


def _narrowed(vectors: NDArray[np.float32], stored: str) -> NDArray[Any]:
    """Rounded to the nearest, ties to even. Raises HarnessError for a number beyond float16's."""
    if stored == "float16":
        with np.errstate(over="ignore"):
            narrow = vectors.astype("<f2")
        if not np.isfinite(narrow).all():
            raise HarnessError(
                f"a vector holds {np.abs(vectors).max():g}, and float16 ends at 65504: vectors=bfloat16 or float32 holds it"
            )
        return narrow
    if stored == "bfloat16":
        bits = vectors.view("<u4")
        halves: NDArray[Any] = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
        return halves
    return vectors


def _widened(rows: NDArray[Any]) -> NDArray[np.float32]:
    if rows.dtype == np.uint16:
        widened: NDArray[np.float32] = (rows.astype("<u4") << 16).view("<f4")
        return widened
    return np.asarray(rows, np.float32)


def _checks(keys: NDArray[np.bytes_], vectors: NDArray[Any]) -> NDArray[np.uint32]:
    """CRC-32 of each vector, begun with four bytes of its key, so that a vector in another's place is damaged too."""
    starts = np.ascontiguousarray(keys).view("<u4")[::4].tolist()
    values = (zlib.crc32(vector, start) for start, vector in zip(starts, vectors, strict=True))
    return np.fromiter(values, "<u4", len(vectors))
