"""Query and document in one row of ids, as a tokenizer joins them, from ids that each text is kept as.

Which special tokens stand where is found once, by joining known texts, and compared with the tokenizer's own answer
for more of them. A tokenizer whose rows are not made of two runs of ids between fixed ones joins every pair itself,
from the texts again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import HarnessError
from ..tokenization import Tokenizer, uncut
from .flat import FlatIds

__all__ = ["JoinedPair", "JoinedPairs", "PairJoiner", "kept_longest_first"]

Counts = NDArray[np.int64]

_PROBES = ("a", "a river runs to the sea, 12 times: where?", "The bank of the river is wet. " * 8, "")


@dataclass(frozen=True)
class JoinedPair:
    """The ids that a model gets for a pair, and their token types."""

    ids: NDArray[np.int32]
    types: NDArray[np.int32]


@dataclass(frozen=True)
class _Part:
    """A run of a joined row: the ids of one side (0 or 1), or fixed ones."""

    side: int | None
    ids: NDArray[np.int32]
    types: NDArray[np.int32]
    """Of fixed ids one each; of a side the one that all of its ids have."""


def kept_longest_first(first: Counts, second: Counts, room: int) -> tuple[Counts, Counts]:
    """How many ids of each side `tokenizers` keeps when it cuts the longer side first.

    Where both are longer than half of an odd `room`, the one more is the longer side's, of equal ones the second's.
    Source: `truncate_encodings` of tokenizers 0.23.
    """
    short, long = np.minimum(first, second), np.maximum(first, second)
    rest = np.where(first + second <= room, long, np.maximum(short, room - short))
    both = (first + second > room) & (short + rest > room)
    short, rest = np.where(both, room // 2, short), np.where(both, room // 2 + room % 2, rest)
    return np.where(first > second, rest, short), np.where(first > second, short, rest)


class PairJoiner:
    """Joins ids of a query and a document within `room` tokens, special ones included.

    `side` is the end that a text is cut at. Raises HarnessError where special tokens leave no room for any other.
    """

    def __init__(self, tokenizer: Tokenizer, room: int, side: str = "right") -> None:
        self.tokenizer, self.room, self.side = tokenizer, room, side
        self.specials = tokenizer.specials_in(pair=True)
        if room <= self.specials:
            raise HarnessError(
                f"the tokenizer puts {self.specials} special tokens around a pair; max_length={room} leaves no room for "
                f"query and document: take more"
            )

    def encode(self, queries: Sequence[str], documents: Sequence[str], pairs: NDArray[np.int64]) -> JoinedPairs:
        """The pairs of a request, the longer side cut first; `pairs` has shape (n, 2): a query's and a document's index."""
        left, right = self.ids_of(queries, self.room), self.ids_of(documents, self.room)
        kept = kept_longest_first(left.whole[pairs[:, 0]], right.whole[pairs[:, 1]], self.room - self.specials)
        return self.pairs(left, right, pairs, kept, (queries, documents))

    def ids_of(self, texts: Iterable[str], most: int) -> FlatIds:
        """At most `most` ids of each text, of the end that is kept."""
        return self.tokenizer.encode_ids(texts, most, end=self.side == "left")

    def pairs(
        self,
        left: FlatIds,
        right: FlatIds,
        pairs: NDArray[np.int64],
        kept: tuple[Counts, Counts],
        texts: tuple[Sequence[str], Sequence[str]],
    ) -> JoinedPairs:
        """The pairs with so many ids `kept` of each side; the `texts` are held only where the tokenizer must join them."""
        return JoinedPairs(self, left, right, pairs, kept, None if self.parts else texts)

    @cached_property
    def parts(self) -> list[_Part] | None:
        """What a joined row is made of; None where that is not the ids of each side once between fixed ones."""
        with uncut(self.tokenizer.backend):
            parts = _parts(self.tokenizer.backend)
            return parts if parts and all(self._agrees(parts, *pair) for pair in _pairs_of_probes()) else None

    def _agrees(self, parts: list[_Part], query: str, document: str) -> bool:
        [left, right] = self.tokenizer.backend.encode_batch([query, document], add_special_tokens=False)
        most = [min(3, len(left.ids)), len(left.ids)]
        for first, second in zip(most, (len(right.ids), min(2, len(right.ids))), strict=True):
            own = self.by_tokenizer(query, document, first, second)
            ids = [
                _kept(np.array(entry.ids, np.int32), count, self.side)
                for entry, count in ((left, first), (right, second))
            ]
            found = join(parts, *ids)
            if found.ids.tolist() != own.ids.tolist() or found.types.tolist() != own.types.tolist():
                return False
        return True

    @cached_property
    def greatest_type(self) -> int:
        """The greatest token type of a joined pair."""
        return int(max(self.by_tokenizer(_PROBES[1], _PROBES[2], 1, 1).types))

    def by_tokenizer(self, query: str, document: str, first: int, second: int) -> JoinedPair:
        """The pair as the tokenizer joins it, with `first` ids of the query and `second` of the document."""
        backend = self.tokenizer.backend
        with uncut(backend):
            entries = backend.encode_batch([query, document], add_special_tokens=False)
            for entry, count in zip(entries, (first, second), strict=True):
                entry.truncate(count, direction=self.side)
            joined = backend.post_process(*entries, True)
        return JoinedPair(np.array(joined.ids, np.int32), np.array(joined.type_ids, np.int32))


@dataclass(frozen=True)
class JoinedPairs:
    """The pairs of one request; a pair's ids are joined when they are asked for, so memory holds each text once."""

    joiner: PairJoiner
    left: FlatIds
    right: FlatIds
    pairs: NDArray[np.int64]
    kept: tuple[Counts, Counts]
    texts: tuple[Sequence[str], Sequence[str]] | None

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each pair after truncation."""
        return self.kept[0] + self.kept[1] + self.joiner.specials

    @cached_property
    def lost(self) -> NDArray[np.int64]:
        """Tokens that truncation took from each pair."""
        whole = self.left.whole[self.pairs[:, 0]] + self.right.whole[self.pairs[:, 1]]
        lost: NDArray[np.int64] = whole - self.kept[0] - self.kept[1]
        return lost

    def __getitem__(self, row: int) -> JoinedPair:
        query, document = self.pairs[row].tolist()
        first, second = (int(counts[row]) for counts in self.kept)
        if self.texts is not None:
            return self.joiner.by_tokenizer(self.texts[0][query], self.texts[1][document], first, second)
        side = self.joiner.side
        sides = _kept(self.left[query], first, side), _kept(self.right[document], second, side)
        return join(self.joiner.parts or [], *sides)


def join(parts: Sequence[_Part], first: NDArray[np.int32], second: NDArray[np.int32]) -> JoinedPair:
    """A row of the parts, with the ids of the two sides in their places."""
    ids = [part.ids if part.side is None else (first, second)[part.side] for part in parts]
    types = [
        part.types if part.side is None else np.repeat(part.types, len(own))
        for part, own in zip(parts, ids, strict=True)
    ]
    return JoinedPair(np.concatenate(ids), np.concatenate(types))


def _parts(backend: Any) -> list[_Part] | None:
    entries = backend.encode_batch([_PROBES[1], _PROBES[2]], add_special_tokens=False)
    joined = backend.post_process(*entries, True)
    runs = [(_place(joined.ids, entry.ids), len(entry.ids), side) for side, entry in enumerate(entries)]
    found, at = [], 0
    for start, count, side in sorted(runs):
        types = joined.type_ids[start : start + count]
        if start < at or len(set(types)) != 1:
            return None
        found += [_fixed(joined, at, start), _Part(side, np.empty(0, np.int32), np.array(types[:1], np.int32))]
        at = start + count
    return [*found, _fixed(joined, at, len(joined.ids))]


def _fixed(joined: Any, start: int, stop: int) -> _Part:
    ids, types = joined.ids[start:stop], joined.type_ids[start:stop]
    return _Part(None, np.array(ids, np.int32), np.array(types, np.int32))


def _place(ids: list[int], run: list[int]) -> int:
    """Where `run` stands in `ids`; -1 where it does not."""
    places = range(len(ids) - len(run) + 1)
    return next((place for place in places if ids[place : place + len(run)] == run), -1)


def _pairs_of_probes() -> Iterator[tuple[str, str]]:
    for query in _PROBES:
        for document in _PROBES:
            yield query, document


def _kept(ids: NDArray[np.int32], count: int, side: str) -> NDArray[np.int32]:
    return ids[:count] if side == "right" else ids[len(ids) - count :]
