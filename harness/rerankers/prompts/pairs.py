"""Pairs as a tokenizer joins them, in the form of prompts: for models whose files hold no template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.tokenization import Tokenizer
from ...text import join_document, join_query
from ...types import DocumentText, QueryText
from .truncation import Taken

__all__ = ["PairPrompter", "PairPrompts"]


class PairPrompter:
    """Joins query and document by the tokenizer's own rule, the longer side cut first; `prefix` stands before queries."""

    def __init__(self, tokenizer: Tokenizer, max_length: int, prefix: str = "", side: str = "right") -> None:
        self.tokenizer, self.room, self.prefix, self._side = tokenizer, max_length, prefix, side
        nothing: NDArray[np.int32] = np.empty(0, np.int32)
        self.before = self.after = nothing

    def encode(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> PairPrompts:
        """The inputs of all pairs; `pairs` has shape (n, 2): a query's and a document's index."""
        backend = self.tokenizer.backend
        backend.no_truncation()
        left = self.tokenizer.encode_plain([self.prefix + join_query(query) for query in queries])
        right = self.tokenizer.encode_plain([join_document(document) for document in documents])
        backend.enable_truncation(self.room, strategy="longest_first", direction=self._side)
        return PairPrompts(backend, left, right, pairs, self.room, self.tokenizer.specials_in(pair=True))


class PairPrompts:
    """The inputs of one request; a pair's ids are joined when they are asked for."""

    def __init__(
        self, backend: Any, left: list[Any], right: list[Any], pairs: NDArray[np.int64], room: int, specials: int
    ) -> None:
        self._backend, self._left, self._right, self._pairs = backend, left, right, pairs
        self.queries: NDArray[np.int64] = pairs[:, 0]
        whole = np.array([len(entry.ids) for entry in left], np.int64)[pairs[:, 0]]
        whole += np.array([len(entry.ids) for entry in right], np.int64)[pairs[:, 1]] + specials
        self.lengths: NDArray[np.int64] = np.minimum(whole, room)
        self.lost: NDArray[np.int64] = whole - self.lengths
        self.taken = Taken.nothing(len(pairs))

    def ids(self, row: int) -> NDArray[np.int32]:
        """The ids of one pair."""
        query, document = self._pairs[row]
        return np.array(self._backend.post_process(self._left[query], self._right[document], True).ids, np.int32)
