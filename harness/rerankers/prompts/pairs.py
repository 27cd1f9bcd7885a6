"""Pairs as a tokenizer joins them, in the form of prompts: for models whose files hold no template."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...models.ids.flat import Texts
from ...models.ids.joining import JoinedPairs, PairJoiner
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
        self._joiner = PairJoiner(tokenizer, max_length, side)

    def encode(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> PairPrompts:
        """The inputs of all pairs; `pairs` has shape (n, 2): a query's and a document's index."""
        left = Texts(queries, lambda query: self.prefix + join_query(query))
        joined = self._joiner.encode(left, Texts(documents, join_document), pairs)
        self.tokenizer.backend.enable_truncation(self.room, strategy="longest_first", direction=self._side)
        return PairPrompts(joined)


class PairPrompts:
    """The inputs of one request; a pair's ids are joined when they are asked for."""

    def __init__(self, joined: JoinedPairs) -> None:
        self._joined = joined
        self.queries: NDArray[np.int64] = joined.pairs[:, 0]
        self.lengths, self.lost = joined.lengths, joined.lost
        self.taken = Taken.nothing(len(joined.pairs))

    def ids(self, row: int) -> NDArray[np.int32]:
        """The ids of one pair."""
        return self._joined[row].ids
