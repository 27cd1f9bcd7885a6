"""Token ids of many texts in one array: four bytes a token, where a tokenizer's own answer takes about a hundred."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["FlatIds", "Row", "Texts", "chunks"]

T = TypeVar("T")
Row = list[int] | NDArray[np.int32]
"""Token ids of one text."""

_TEXTS_AT_ONCE = 1_024
_CHARACTERS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class FlatIds:
    """The ids of texts, end to end; text n has `ids[starts[n]:starts[n + 1]]`."""

    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    whole: NDArray[np.int64]
    """How many ids each text had before anything was cut, shape (texts,)."""

    @classmethod
    def of(cls, rows: Iterable[Row], most: int | None = None, *, end: bool = False) -> FlatIds:
        """The first `most` ids of every row, or with `end` its last; all of them where it is None."""
        ids, starts, whole = array("i"), array("q", [0]), array("q")
        for row in rows:
            whole.append(len(row))
            kept = row if most is None or len(row) <= most else row[len(row) - most :] if end else row[:most]
            if isinstance(kept, np.ndarray):
                ids.frombytes(np.ascontiguousarray(kept, np.int32).tobytes())
            else:
                ids.extend(kept)
            starts.append(len(ids))
        return cls(np.asarray(ids, np.int32), np.asarray(starts, np.int64), np.asarray(whole, np.int64))

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, row: int) -> NDArray[np.int32]:
        return self.ids[self.starts[row] : self.starts[row + 1]]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How many ids of each text there are, shape (texts,)."""
        return np.diff(self.starts)


class Texts(Sequence[str], Generic[T]):
    """What becomes of things as texts, made when asked for: a whole corpus with its prefix is not held twice."""

    def __init__(self, things: Sequence[T], text_of: Callable[[T], str]) -> None:
        self._things, self._text_of = things, text_of

    def __len__(self) -> int:
        return len(self._things)

    def __getitem__(self, place: Any) -> Any:
        found = self._things[place]
        return [self._text_of(one) for one in found] if isinstance(place, slice) else self._text_of(found)


def chunks(items: Iterable[T], text_of: Callable[[T], str] = str) -> Iterator[list[T]]:
    """The texts (or what has a text) in lists that may be tokenized at a time, bounded in number and in characters."""
    chunk: list[T] = []
    characters = 0
    for item in items:
        chunk.append(item)
        characters += len(text_of(item))
        if len(chunk) == _TEXTS_AT_ONCE or characters >= _CHARACTERS_AT_ONCE:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
