"""Dense first stages: exact search over every document's vector, in blocks.

Scores are float32 dot products (cosines where the model normalises). Blocks have a fixed size, so
the sums, and thus the scores, do not depend on the machine's memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["search_exactly"]


class Vectors(Protocol):
    """Vectors that are read part by part: an array of shape (n, d), or rows of a file."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]: ...


_DOCUMENTS, _QUERIES = 16_384, 256


def search_exactly(
    queries: Vectors, documents: Vectors, k: int, tie_order: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """For each query the rows and scores of its best `k` documents, best first.

    Shapes (queries, d) and (documents, d). Equal scores are ordered by `tie_order`, smaller first,
    also at the cut, so the candidates never depend on how a library breaks ties.
    """
    for start in range(0, len(queries), _QUERIES):
        block = queries[start : start + _QUERIES]
        parts: list[list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = [[] for _ in block]
        for first in range(0, len(documents), _DOCUMENTS):
            scores = block @ documents[first : first + _DOCUMENTS].T
            for place, row in enumerate(scores):
                best = _at_least_the_kth(row, k)
                parts[place].append((best + first, row[best]))
        for found in parts:
            rows = np.concatenate([rows for rows, _ in found])
            values = np.concatenate([values for _, values in found])
            order = np.lexsort((tie_order[rows], -values))[:k]
            yield rows[order], values[order]


def _at_least_the_kth(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Every place whose score is at least the k-th best, ties included."""
    if len(scores) <= k:
        return np.arange(len(scores))
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= threshold)
