"""Exact dense search with a device's help: it says which documents may be among a query's best, this processor which are.

A device adds up in its own order, so its scores differ from those of `search_exactly` in their last digits. By
how much they can differ is known (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1): for sums of d
products of float32, each within d·u / (1 − d·u) · |query| · |document| of the true one, u = 2⁻²⁴. What comes within
that of a query's k-th best is kept, and scored again here. The result is `search_exactly`'s to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.plan import is_out_of_memory
from . import dense
from .dense import Best, Vectors, read_ahead, search_exactly

__all__ = ["search_on", "usable"]

_PROBED = 64
"""So many sums tell one order of adding from another."""

Found = Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]


def usable(device: str) -> bool:
    """Whether a search is worth the way there: a card that torch can use here, whose float32 is float32."""
    if not device.startswith("cuda"):
        return False
    import torch

    return torch.cuda.is_available()


def search_on(device: str, queries: Vectors, documents: Vectors, k: int, tie_order: NDArray[np.int64]) -> Found:
    """As `search_exactly`, of all documents; that is what does it where the device has too little memory."""
    try:
        near = _near(device, queries, documents, k)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        near = None
    if near is None:
        yield from search_exactly(queries, documents, k, tie_order)
        return
    kinds: dict[int, NDArray[np.int64]] = {}
    for part, rows in near:
        if len(part) not in kinds:
            kinds[len(part)] = _kinds(len(part), part.shape[1])
        yield from _exactly(part, documents, rows, kinds[len(part)], k, tie_order)


def _near(
    device: str, queries: Vectors, documents: Vectors, k: int
) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Each block of queries, and the rows, ascending, of all documents that may be among the best of any of them."""
    import torch

    starts = range(0, len(queries), dense.QUERIES)
    parts = [np.ascontiguousarray(queries[start : start + dense.QUERIES]) for start in starts]
    with torch.inference_mode(), _whole_float32():
        found = [_Near(part, k, device) for part in parts]
        largest = 0.0
        for first, block in read_ahead(documents):
            there = torch.from_numpy(block).to(device)
            largest = max(largest, float(torch.linalg.vector_norm(there, dim=1).max()))
            for near in found:
                near.take(_scores(near.asked, there), first, largest)
        return [(part, near.rows()) for part, near in zip(parts, found, strict=True)]


def _scores(asked: Any, documents: Any) -> Any:
    return asked @ documents.T


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Products of float32 without TF32 and its ten bits, whatever the program has chosen."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Near:
    """The documents so far that may be among the best `k` of a block of queries, by the device's scores."""

    def __init__(self, part: NDArray[np.float32], k: int, device: str) -> None:
        import torch

        self.asked = torch.from_numpy(part).to(device)
        self._k, self._device = k, device
        u = part.shape[1] * 2.0**-24
        apart = 2 * u / (1 - u) * np.linalg.norm(part.astype(np.float64), axis=1)
        # Both the k-th best and what is held against it may be off; the norms are rounded too.
        self._slack = (2.02 * apart + 1e-30).astype(np.float32)
        self._least = np.full(len(part), -np.inf, np.float32)
        """The k-th best of the device's scores so far."""
        self._largest = 0.0
        self._kept: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._waiting = 0

    def take(self, scores: Any, first: int, largest: float) -> None:
        """The device's scores of a block of documents, shape (queries, documents); none so far is longer than `largest`."""
        import torch

        self._largest = largest
        if scores.shape[1] >= self._k and not np.isfinite(self._least).all():
            self._least = np.maximum(self._least, torch.topk(scores, self._k).values[:, -1].cpu().numpy())
        wanted = scores >= torch.from_numpy(self._reachable()).to(self._device)[:, None]
        query, place = wanted.nonzero(as_tuple=True)
        score = scores[query, place].cpu().numpy()
        self._kept.append((query.cpu().numpy(), place.cpu().numpy() + first, score))
        self._waiting += len(score)
        if self._waiting > 4 * self._k * len(self._least):
            self._settle()

    def _reachable(self) -> NDArray[np.float32]:
        """What a score must be to be among a query's best: of the device's, for what this processor will say."""
        found: NDArray[np.float32] = self._least - self._slack * np.float32(self._largest)
        return found

    def _settle(self) -> None:
        query, row, score = (np.concatenate(column) for column in zip(*self._kept, strict=True))
        order = np.lexsort((-score, query))
        query, row, score = query[order], row[order], score[order]
        last = np.searchsorted(query, np.arange(len(self._least))) + self._k - 1
        full = np.flatnonzero(np.bincount(query, minlength=len(self._least)) >= self._k)
        self._least[full] = np.maximum(self._least[full], score[last[full]])
        near = score >= self._reachable()[query]
        self._kept, self._waiting = [(query[near], row[near], score[near])], 0

    def rows(self) -> NDArray[np.int64]:
        """The rows of any query, ascending."""
        if not self._kept:
            return np.empty(0, np.int64)
        self._settle()
        return np.unique(self._kept[0][1])


def _exactly(
    part: NDArray[np.float32], documents: Vectors, rows: NDArray[np.int64], kinds: NDArray[np.int64], k: int,
    tie_order: NDArray[np.int64],
) -> Found:  # fmt: skip
    """The best `k` of `rows` for each query of `part`, each scored as it is among all documents.

    A library for matrix products does not add up all its columns in one order (those at the edges of its tiles
    differ), but the same in every product of a shape. So a document is put into a column of the kind that it has
    among its neighbours in `search_exactly`; those of the last block, which is shorter, stay among them.
    """
    size = dense.DOCUMENTS
    rest = len(documents) // size * size
    before = rows[rows < rest]
    dealt = _dealt(before, kinds)
    listed = np.concatenate([*(some for _, some in dealt), np.arange(rest, len(documents))])
    best, first = Best(len(part), k, tie_order[listed]), 0
    for columns, some in dealt:
        block = np.zeros((size, part.shape[1]), np.float32)
        block[columns] = documents[some]
        best.take((part @ block.T)[:, columns], first)
        first += len(some)
    if rest < len(documents):
        best.take(part @ np.array(documents[rest : len(documents)], np.float32, order="C").T, first)
    for found, scores in best.finish():
        yield listed[found], scores


def _dealt(rows: NDArray[np.int64], kinds: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each block that is made up: its columns that are used, and the rows that go there, each to one of its own kind."""
    own = kinds[rows % len(kinds)]
    queues = [(np.flatnonzero(kinds == kind), rows[own == kind]) for kind in np.unique(own)]
    blocks = max((-(-len(some) // len(columns)) for columns, some in queues), default=0)
    found = []
    for number in range(blocks):
        parts = [(columns, some[number * len(columns) :][: len(columns)]) for columns, some in queues]
        columns = np.concatenate([columns[: len(some)] for columns, some in parts])
        found.append((columns, np.concatenate([some for _, some in parts])))
    return found


def _kinds(queries: int, features: int) -> NDArray[np.int64]:
    """A number for each column of a product with a whole block of documents: equal where sums are added in one order.

    Seen by products in which all documents are one.
    """
    numbers, size = np.random.default_rng(0), dense.DOCUMENTS
    kinds = np.zeros(size, np.int64)
    for _ in range(max(2, -(-_PROBED // queries))):
        asked, document = (
            numbers.standard_normal((queries, features), np.float32),
            numbers.standard_normal(features, np.float32),
        )
        sums = asked @ np.tile(document, (size, 1)).T
        known: dict[tuple[int, bytes], int] = {}
        columns = np.ascontiguousarray(sums.T)
        kinds = np.array(
            [
                known.setdefault((kind, column.tobytes()), len(known))
                for kind, column in zip(kinds.tolist(), columns, strict=True)
            ]
        )
    return kinds
