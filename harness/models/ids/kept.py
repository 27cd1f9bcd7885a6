"""Token ids on disk, keyed by tokenizer and by content: a text is tokenized once, whoever asks for it next.

The ids of one tokenizer lie in segments, files that are written whole, named by their content and never changed: so
two processes may add at once, and a kill or a full disk leaves every segment as it was. A segment is mapped into
memory: the sorted digests of its texts, where the ids of each stand, a check value of each, and the ids themselves,
two bytes an id where all of them fit. Ids are whole: any cut is made of them afterwards.

Nothing is taken for granted: every row is held against its check value whenever it is read, and a segment in which
one does not fit is removed, its texts tokenized again. Where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...files.cache import cache_folder, write_atomically
from .flat import Row, chunks

__all__ = ["FEW_CHARACTERS", "FEW_TEXTS", "KeptIds", "kept_rows", "key_of", "segment_is_whole"]

T = TypeVar("T")

FEW_TEXTS, FEW_CHARACTERS = 64, 65_536
"""A request of fewer texts and characters is tokenized in less time than its ids are looked up."""

_MAGIC = b"RHTOKEN1"
_HEADER = np.dtype([("magic", "S8"), ("texts", "<u8"), ("ids", "<u8"), ("width", "<u4"), ("check", "<u4")])
_COLUMNS = (("high", "<u8"), ("low", "<u8"), ("start", "<u8"), ("length", "<u4"), ("check", "<u4"))
"""A segment behind its header, column by column, a value a text: both halves of its digest, the first id's place, how
many there are, and a CRC-32 of them begun with its digest. Then the ids."""
_MOST_TEXTS, _MOST_IDS = 1 << 18, 1 << 24
"""A segment holds no more: what is not written yet fills 64 MiB at most."""
_SMALL_TEXTS, _SMALL_IDS, _SMALL_SEGMENTS = 1 << 16, 1 << 21, 8
"""More than so many segments of fewer texts and ids become one."""

Halves = NDArray[np.uint64]
"""Digests of texts, shape (texts, 2)."""


class _DamagedError(Exception):
    """A segment does not say what was written."""


def key_of(text: str) -> bytes:
    """16 bytes: blake2b over the text's UTF-8."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def kept_rows(
    items: Iterable[T],
    rules: Callable[[], str | None],
    fresh: Callable[[list[T]], Iterable[Row]],
    text_of: Callable[[Any], str] = str,
    key: Callable[[Any], bytes] = key_of,
) -> Iterator[Row]:
    """The ids of each text (of `text_of` each item), kept ones where there are any; `fresh` tokenizes the others.

    `rules` gives the digest (32 hex digits) of everything that decides the ids beside the item's `key`, None where they
    cannot be kept; it is asked for requests alone that are worth a look at the disk.
    """
    ahead = chunks(items, text_of)
    for chunk in ahead:
        few = len(chunk) < FEW_TEXTS and sum(len(text_of(item)) for item in chunk) < FEW_CHARACTERS
        cache = cache_folder()
        # Who has no cache yet only looks at a model: a run makes the folder.
        owner = None if few or not cache.is_dir() else rules()
        if owner is None:
            for some in chain([chunk], ahead):
                yield from fresh(some)
            return
        kept = KeptIds(cache, owner)
        for some in chain([chunk], ahead):
            yield from kept.rows(some, [key(item) for item in some], fresh)
        kept.close()


class KeptIds:
    """The ids of texts by one tokenizer, as they lie in the folder `cache`; `owner` is the digest of its rules."""

    def __init__(self, cache: Path, owner: str) -> None:
        self._folder, self._owner = cache / "tokens", owner
        self._segments = self._open()
        self._new = _New()

    def rows(self, items: list[T], keys: list[bytes], fresh: Callable[[list[T]], Iterable[Row]]) -> list[Row]:
        """The ids of items by their keys; those that `fresh` must give will be kept."""
        found = self._found(keys)
        missing = [place for place, row in enumerate(found) if row is None]
        if missing:
            for place, row in zip(missing, fresh([items[place] for place in missing]), strict=True):
                found[place] = row
                self._new.add(keys[place], row)
            if self._new.full:
                self._flush()
        return [row for row in found if row is not None]

    def close(self) -> None:
        """Write what is new."""
        self._flush()
        self._merge()

    def _found(self, keys: Sequence[bytes]) -> list[Row | None]:
        found: list[Row | None] = [None] * len(keys)
        halves, sought = _halves(keys), np.arange(len(keys))
        for segment in list(self._segments):
            if not len(sought):
                break
            places = segment.places(halves[sought])
            there = places >= 0
            try:
                rows = segment.rows(places[there])
            except _DamagedError:
                self._segments.remove(segment)
                segment.remove()
                continue
            for place, row in zip(sought[there].tolist(), rows, strict=True):
                found[place] = row
            sought = sought[~there]
        return found

    def _open(self) -> list[_Segment]:
        """All segments, the largest first; what is none is removed."""
        found = []
        for path in sorted(self._folder.glob(f"{self._owner}-*.ids")):
            segment = _Segment(path)
            try:
                found.append((segment.texts, segment))
            except OSError:
                continue  # it cannot be read, or another process made it a part of a larger one
            except _DamagedError:
                segment.remove()
        return [segment for _, segment in sorted(found, key=lambda each: -each[0])]

    def _flush(self) -> None:
        """Write what is new as a segment; a folder that cannot be written keeps nothing."""
        if len(self._new):
            written = self._write(self._new)
            self._segments += [written] if written else []
            self._new = _New()

    def _merge(self) -> None:
        """Make one of many small segments, so that a lookup does not go through hundreds."""
        small = [each for each in self._segments if each.texts < _SMALL_TEXTS and each.ids < _SMALL_IDS]
        if len(small) <= _SMALL_SEGMENTS:
            return
        new = _New()
        for segment in small:
            with contextlib.suppress(_DamagedError):
                every = np.arange(segment.texts)
                for key, row in zip(segment.keys(), segment.rows(every), strict=True):
                    new.add(key, row)
        written = self._write(new) if len(new) else None
        if written is not None:
            for segment in small:
                if segment.path != written.path:
                    segment.remove()

    def _write(self, new: _New) -> _Segment | None:
        data = new.packed()
        name = f"{self._owner}-{hashlib.blake2b(data, digest_size=8).hexdigest()}.ids"
        try:
            write_atomically(self._folder / name, data)
        except OSError:
            return None
        return _Segment(self._folder / name)


class _New:
    """Rows that are to become a segment."""

    def __init__(self) -> None:
        self._keys = bytearray()
        self._ids, self._lengths = array("i"), array("q")

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def full(self) -> bool:
        return len(self) >= _MOST_TEXTS or len(self._ids) >= _MOST_IDS

    def add(self, key: bytes, row: Row) -> None:
        self._keys += key
        self._lengths.append(len(row))
        if isinstance(row, np.ndarray):
            self._ids.frombytes(np.ascontiguousarray(row, np.int32).tobytes())
        else:
            self._ids.extend(row)

    def packed(self) -> bytes:
        """A segment's bytes, of each text once; its ids stand in the order in which they were added."""
        ids, lengths = np.asarray(self._ids, np.int32), np.asarray(self._lengths, np.int64)
        width = 2 if ids.max(initial=0) < 1 << 16 else 4
        ids = ids.astype(f"<u{width}")
        starts = np.cumsum(lengths) - lengths
        halves = _halves([bytes(self._keys)])
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        again = (halves[order][1:] == halves[order][:-1]).all(axis=1)
        order = order[np.concatenate([[True], ~again])]
        begun = _begun(halves[order, 0], halves[order, 1])
        rows = zip(begun, starts[order].tolist(), lengths[order].tolist(), strict=True)
        checks = [_check(begin, ids[start : start + length]) for begin, start, length in rows]
        values = (halves[order, 0], halves[order, 1], starts[order], lengths[order], checks)
        columns = [np.asarray(column, kind).tobytes() for column, (_, kind) in zip(values, _COLUMNS, strict=True)]
        return b"".join([_header(len(order), len(ids), width), *columns, ids.tobytes()])


@dataclass(frozen=True, eq=False)
class _Segment:
    """A file of ids, mapped into memory when it is first asked for something.

    Whatever reads it raises _DamagedError where the file is not what was written, and OSError where it cannot be read.
    """

    path: Path

    @property
    def texts(self) -> int:
        return len(self._columns["high"])

    @property
    def ids(self) -> int:
        return len(self._columns["ids"])

    def places(self, halves: Halves) -> NDArray[np.int64]:
        """Where each digest stands; −1 where it does not."""
        high, low = self._columns["high"], self._columns["low"]
        if not len(high):
            return np.full(len(halves), -1)
        places = np.searchsorted(high, halves[:, 0]).clip(max=len(high) - 1)
        return np.where((high[places] == halves[:, 0]) & (low[places] == halves[:, 1]), places, -1)

    def rows(self, places: NDArray[np.int64]) -> list[NDArray[np.int32]]:
        """The ids of the texts at `places`, each held against its check value."""
        high, low, *rest = (self._columns[name][places] for name, _ in _COLUMNS)
        return [self._row(*one) for one in zip(_begun(high, low), *(column.tolist() for column in rest), strict=True)]

    def keys(self) -> list[bytes]:
        """The digests of all texts, in their order."""
        both = np.stack([self._columns["high"], self._columns["low"]], axis=1)
        return [key.tobytes() for key in both]

    def remove(self) -> None:
        """Take the file away; a process that has mapped it reads on."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _row(self, begun: int, start: int, length: int, check: int) -> NDArray[np.int32]:
        ids = self._columns["ids"][start : start + length]
        if len(ids) != length or _check(begun, ids) != check:
            raise _DamagedError
        return ids.astype(np.int32)

    @cached_property
    def _columns(self) -> dict[str, NDArray[Any]]:
        try:
            data = np.asarray(np.memmap(self.path, np.uint8, "r"))
        except ValueError:
            raise _DamagedError from None  # the file is empty
        header = data[: _HEADER.itemsize]
        if len(header) < _HEADER.itemsize:
            raise _DamagedError
        stated = header.view(_HEADER)[0]
        texts, ids, width = (int(stated[name]) for name in ("texts", "ids", "width"))
        if header.tobytes() != _header(texts, ids, width) or len(data) != _HEADER.itemsize + 32 * texts + ids * width:
            raise _DamagedError
        found, at = {}, _HEADER.itemsize
        for name, kind in _COLUMNS:
            end = at + texts * np.dtype(kind).itemsize
            found[name], at = data[at:end].view(kind), end
        return found | {"ids": data[at:].view(f"<u{width}")}


def segment_is_whole(path: Path) -> bool:
    """Whether every row of a segment fits its check value, and its digests are in order."""
    segment = _Segment(path)
    try:
        every = np.arange(segment.texts)
        asked = _halves(segment.keys())
        return bool((segment.places(asked) == every).all()) and len(segment.rows(every)) == len(every)
    except (_DamagedError, OSError):
        return False


def _header(texts: int, ids: int, width: int) -> bytes:
    plain = np.array([(_MAGIC, texts, ids, width, 0)], _HEADER).tobytes()
    return np.array([(_MAGIC, texts, ids, width, zlib.crc32(plain))], _HEADER).tobytes()


def _halves(keys: Sequence[bytes]) -> Halves:
    return np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)


def _begun(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> list[int]:
    """32 bits for each digest that every bit of it moves: a row in another's place must not fit."""
    both = high ^ low
    begun: list[int] = ((both ^ (both >> np.uint64(32))) & np.uint64(0xFFFFFFFF)).tolist()
    return begun


def _check(begun: int, ids: NDArray[Any]) -> int:
    return zlib.crc32(ids.data, begun)
