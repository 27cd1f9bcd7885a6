"""Exact dense search: the best k of every query, ties by the stated order, in one pass through the documents."""

from __future__ import annotations

import numpy as np
import pytest

from harness.retrievers import dense
from harness.retrievers.dense import search_exactly


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dense, "DOCUMENTS", 8)
    monkeypatch.setattr(dense, "QUERIES", 3)


def vectors(rows: int, seed: int, *, tied: bool) -> np.ndarray:
    """With `tied`, of so few values that most scores are shared by several documents."""
    numbers = np.random.default_rng(seed)
    drawn = numbers.integers(-1, 2, (rows, 4)) if tied else numbers.standard_normal((rows, 4))
    return drawn.astype(np.float32)


def by_sorting(queries: np.ndarray, documents: np.ndarray, k: int, tie_order: np.ndarray) -> list[list[int]]:
    """The same by sorting all documents of each query."""
    scores = (queries[:, None, :] * documents[None]).sum(-1, dtype=np.float64)
    return [np.lexsort((tie_order, -row))[:k].tolist() for row in scores]


@pytest.mark.parametrize("tied", [False, True], ids=["distinct", "tied"])
@pytest.mark.parametrize("k", [1, 5, 8, 9, 100])
@pytest.mark.parametrize(("asked", "held"), [(1, 1), (4, 8), (7, 41), (3, 200)])
def test_the_best_documents_are_those_of_a_full_sort(tied, k, asked, held):
    queries, documents = vectors(asked, 1, tied=tied), vectors(held, 2, tied=tied)
    tie_order = np.arange(held, dtype=np.int64)[::-1]
    found = list(search_exactly(queries, documents, k, tie_order))
    assert [rows.tolist() for rows, _ in found] == by_sorting(queries, documents, k, tie_order)
    for (rows, scores), query in zip(found, queries, strict=True):
        assert scores.dtype == np.float32
        # A rounding of float32 for each of the four dimensions, of the sum of their sizes.
        exact, sizes = documents[rows].astype(float) @ query, np.abs(documents[rows]) @ np.abs(query)
        assert (np.abs(scores - exact) <= 4 * 2.0**-24 * sizes).all()


def test_the_documents_are_read_once_in_order():
    documents, parts = vectors(41, 2, tied=False), []

    class Recorded:
        def __len__(self) -> int:
            return len(documents)

        def __getitem__(self, part: slice) -> np.ndarray:
            parts.append(part)
            return documents[part]

    assert len(list(search_exactly(vectors(20, 1, tied=False), Recorded(), 5, np.arange(41)))) == 20
    assert [place for part in parts for place in range(41)[part]] == list(range(41))


def test_what_is_kept_does_not_grow_with_the_corpus():
    queries, documents = np.ones((3, 4), np.float32), np.ones((4000, 4), np.float32)
    documents *= np.linspace(0.1, 1, 4000, dtype=np.float32)[:, None]  # each is better than all before it
    best = dense.Best(3, 5, np.arange(4000))
    for start in range(0, 4000, 8):
        best.take(queries @ documents[start : start + 8].T, start)
        assert best._waiting <= 4 * 5 * 3
    assert [rows.tolist() for rows, _ in best.finish()] == [[3999, 3998, 3997, 3996, 3995]] * 3


def test_no_documents_are_no_candidates():
    found = list(search_exactly(np.ones((2, 4), np.float32), np.empty((0, 4), np.float32), 5, np.empty(0, np.int64)))
    assert [len(rows) for rows, _ in found] == [0, 0]
