"""Dense search with a device's help is the search without it, to the bit: whatever the device's last digits are.

Here torch's CPU stands for the device; RERANK_HARNESS_CARD=cuda takes a card, as `make gpu` does.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from harness.retrievers import dense, on_a_device
from harness.retrievers.dense import search_exactly
from harness.retrievers.on_a_device import search_on, usable

DEVICE = os.environ.get("RERANK_HARNESS_CARD", "cpu")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dense, "DOCUMENTS", 512)
    monkeypatch.setattr(dense, "QUERIES", 100)


def near_each_other(rows: int, features: int, seed: int) -> np.ndarray:
    """Vectors of one length, many of which differ in their last digits alone: every order of adding ranks them anew."""
    numbers = np.random.default_rng(seed)
    centres = numbers.standard_normal((7, features))
    drawn = centres[numbers.integers(0, 7, rows)] + 3e-7 * numbers.standard_normal((rows, features))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def random(rows: int, features: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, features)).astype(np.float32)


def of_few_values(rows: int, features: int, seed: int) -> np.ndarray:
    """Most scores are shared by several documents."""
    return np.random.default_rng(seed).integers(-1, 2, (rows, features)).astype(np.float32)


def assert_the_same(queries: np.ndarray, documents: np.ndarray, k: int) -> None:
    tie_order = np.random.default_rng(9).permutation(len(documents))
    expected = list(search_exactly(queries, documents, k, tie_order))
    found = list(search_on(DEVICE, queries, documents, k, tie_order))
    assert len(found) == len(expected) == len(queries)
    for (rows, scores), (other_rows, other_scores) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(rows, other_rows)
        np.testing.assert_array_equal(scores.view(np.int32), other_scores.view(np.int32))


@pytest.mark.parametrize("drawn", [random, near_each_other, of_few_values], ids=lambda drawn: drawn.__name__)
@pytest.mark.parametrize(
    ("asked", "held", "features", "k"),
    [(1, 700, 24, 1), (7, 512, 24, 10), (130, 2500, 33, 10), (230, 2048, 100, 100), (100, 90, 24, 100), (3, 0, 24, 5)],
)
def test_the_result_is_that_of_this_processor_alone_to_the_bit(drawn, asked, held, features, k):
    assert_the_same(drawn(asked, features, 1), drawn(held, features, 2), k)


def test_a_device_may_be_off_by_all_that_float32_allows(monkeypatch: pytest.MonkeyPatch):
    """It scores in float64 and is then moved, at random, to the ends of what any order of adding can give."""
    numbers = torch.Generator().manual_seed(4)
    features = 64

    def off(asked, documents):
        exact = asked.double() @ documents.double().T
        reach = torch.linalg.vector_norm(asked.double(), dim=1)[:, None] * torch.linalg.vector_norm(
            documents.double(), dim=1
        )
        ends = torch.randint(0, 2, exact.shape, generator=numbers).to(exact) * 2 - 1
        return (exact + ends * reach * features * 2.0**-24).float()

    monkeypatch.setattr(on_a_device, "_scores", off)
    assert_the_same(near_each_other(150, features, 1), near_each_other(3000, features, 2), 20)


def test_without_the_bound_documents_would_be_lost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(on_a_device._Near, "_reachable", lambda self: self._least + np.float32(3e-7))
    with pytest.raises(AssertionError):
        assert_the_same(near_each_other(150, 64, 1), near_each_other(3000, 64, 2), 20)


def test_few_documents_are_scored_again(monkeypatch: pytest.MonkeyPatch):
    """Else nothing would be won: k of each query and the few that stand as near."""
    again: list[int] = []
    exactly = on_a_device._exactly
    monkeypatch.setattr(
        on_a_device,
        "_exactly",
        lambda part, documents, rows, *more: again.append(len(rows)) or exactly(part, documents, rows, *more),
    )
    assert_the_same(random(10, 64, 1), random(20_000, 64, 2), 10)
    assert again[0] <= 110


def test_a_program_that_chose_tf32_finds_its_choice_again():
    torch.set_float32_matmul_precision("high")
    try:
        assert_the_same(random(4, 16, 1), random(600, 16, 2), 5)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_where_the_device_has_no_room_this_processor_searches(monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(on_a_device, "_scores", full)
    assert_the_same(random(4, 16, 1), random(600, 16, 2), 5)


def test_only_a_card_that_is_there_is_used():
    assert not usable("cpu")
    assert not usable("mps")
    assert usable("cuda") == torch.cuda.is_available()
