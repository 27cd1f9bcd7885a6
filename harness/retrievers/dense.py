"""Dense first stages: exact search over every document's vector, in one pass through them.

Scores are float32 dot products (cosines where the model normalises). Documents and queries meet in
blocks of fixed sizes, so the sums, and thus the scores, do not depend on the machine's memory or
on how many queries there are. Every query's best k are kept while the documents go by, and the
next block is read while this one is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .scope import Scope, inside

__all__ = ["Best", "Vectors", "read_ahead", "search_exactly"]

DOCUMENTS, QUERIES = 16_384, 256
"""The sizes of blocks: how many documents and queries meet at a time."""


class Vectors(Protocol):
    """Vectors that are read part by part: an array of shape (n, d), or rows of a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice | NDArray[np.int64], /) -> NDArray[np.float32]: ...


def search_exactly(
    queries: Vectors, documents: Vectors, k: int, tie_order: NDArray[np.int64], scope: Scope = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """For each query the rows and scores of its best `k` documents, best first.

    Shapes (queries, d) and (documents, d). Only rows of a query's `scope` are found. Equal scores are ordered by `tie_order`, smaller first,
    also at the cut, so the candidates never depend on how a library breaks ties. Holds the queries
    and a few times `k` rows for each of them; the documents are read once, in order.
    """
    starts = range(0, len(queries), QUERIES)
    asked = [np.ascontiguousarray(queries[start : start + QUERIES]) for start in starts]
    scopes = [None if scope is None else scope[start : start + QUERIES] for start in starts]
    found = [Best(len(block), k, tie_order) for block in asked]
    for first, block in read_ahead(documents):
        for part, of_part, best in zip(asked, scopes, found, strict=True):
            best.take(inside(part @ block.T, of_part, first), first)
    for best in found:
        yield from best.finish()


def read_ahead(documents: Vectors) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(first row, vectors) of each block; the next is read while its forerunner is used."""
    starts = list(range(0, len(documents), DOCUMENTS))
    with ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(_block, documents, start) for start in starts[:1]]
        for place, start in enumerate(starts):
            block = coming.pop().result()
            coming += [reader.submit(_block, documents, after) for after in starts[place + 1 : place + 2]]
            yield start, block


def _block(documents: Vectors, start: int) -> NDArray[np.float32]:
    # A mapped file's slice is a promise: ascontiguousarray alone would leave the reading to the product.
    return np.array(documents[start : start + DOCUMENTS], np.float32, order="C")


class Best:
    """The best `k` documents so far of a block of queries, and those that came since and may be among them."""

    def __init__(self, queries: int, k: int, tie_order: NDArray[np.int64]) -> None:
        self._k, self._tie_order = k, tie_order
        self._least = np.full(queries, -np.inf, np.float32)
        """Each query's k-th best score so far: less than that is out, as much may win its tie."""
        self._known = False
        """Whether every query has its `k`, so that `_least` says something of each."""
        self._query = np.empty(0, np.int64)
        self._row = np.empty(0, np.int64)
        self._score = np.empty(0, np.float32)
        self._coming: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._waiting = 0

    def take(self, scores: NDArray[np.float32], first: int) -> None:
        """The scores of a block of documents, shape (queries, documents), the first of them row `first`; −inf is never taken."""
        least = self._least
        if not self._known and scores.shape[1] > self._k:
            least = np.partition(scores, -self._k, axis=1)[:, -self._k]
        wanted = (scores >= least[:, None]) & (scores > -np.inf)
        query, place = np.divmod(np.flatnonzero(wanted), scores.shape[1])
        self._coming.append((query, place + first, scores[query, place]))
        self._waiting += len(query)
        if not self._known or self._waiting > 4 * self._k * len(least):
            self._settle()

    def _settle(self) -> None:
        """Keep each query's best `k` of what is kept and what came."""
        parts = [(self._query, self._row, self._score), *self._coming]
        query, row, score = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((self._tie_order[row], -score, query))
        query = query[order]
        place = np.arange(len(query)) - np.searchsorted(query, query)
        order, query = order[place < self._k], query[place < self._k]
        self._query, self._row, self._score = query, row[order], score[order]
        full = np.flatnonzero(np.bincount(query, minlength=len(self._least)) == self._k)
        self._least[full] = self._score[np.searchsorted(query, full, side="right") - 1]
        self._known = len(full) == len(self._least)
        self._coming, self._waiting = [], 0

    def finish(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Each query's rows and scores, best first."""
        self._settle()
        bounds = np.searchsorted(self._query, np.arange(len(self._least) + 1))
        for start, stop in pairwise(bounds.tolist()):
            yield self._row[start:stop], self._score[start:stop]
