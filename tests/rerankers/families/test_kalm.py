"""KaLM-Reranker on a tiny random T5Gemma 2 beside mteb's wrapper, which follows the code on its card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_kalm
from exactness import alone
from golden_cases import model_folder, opened, score

from harness.errors import HarnessError
from harness.rerankers.known import known_models

PAIRS = tiny_kalm.PAIRS


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_kalm.write_kalm(tmp_path_factory.mktemp("models") / "kalm")


@pytest.mark.parametrize("instruction", ["", "Prefer the north."])
@pytest.mark.parametrize(
    "settings", [{}, {"max_length": 24, "query_length": 3}, {"chunk_size": 0}, {"chunk_size": 7}], ids=str
)
def test_scores_and_ids_are_those_of_mtebs_wrapper(tiny: Path, tmp_path: Path, settings: dict, instruction: str):
    (reranker,) = opened(tiny, tmp_path, "kalm", **settings)
    found = score(reranker, PAIRS, instruction)
    expected, ids = tiny_kalm.mteb_scores(tiny, PAIRS, instruction, **settings)
    expected.check(found.published)
    assert found.ids == ids
    assert np.ptp(found.published) > 1e-3


def test_a_pair_scores_alone_as_beside_others(tiny: Path, tmp_path: Path):
    (reranker,) = opened(tiny, tmp_path, "kalm")
    alone(PAIRS, tiny, tmp_path, "kalm").check(score(reranker, PAIRS).margins)


def test_what_was_cut_is_counted_on_either_side(tiny: Path, tmp_path: Path):
    (reranker,) = opened(tiny, tmp_path, "kalm", max_length=24, query_length=3)
    prepared = score(reranker, PAIRS).prepared
    whole = score(opened(tiny, tmp_path, "kalm")[0], PAIRS).prepared
    assert not whole.shortened.any()
    assert prepared.shortened.any()
    np.testing.assert_array_equal(prepared.taken.without_question, prepared.shortened > 0)
    documents = np.maximum(whole.documents.counts - 24, 0)
    np.testing.assert_array_equal(prepared.lost, documents + prepared.shortened)


def test_half_precision_rounds_states_and_no_logits(tiny: Path, tmp_path: Path):
    pairs = [(PAIRS[0][0], f"water is {word} in the north") for word in tiny_kalm.WORDS]
    (half,) = opened(tiny, tmp_path, "kalm", dtype="bfloat16")
    assert len(np.unique(score(half, pairs).margins)) > 0.9 * len(pairs)


def test_another_model_is_refused_and_the_published_ones_are_known(tmp_path: Path):
    with pytest.raises(HarnessError, match="is no KaLM-Reranker: these are T5Gemma2ForConditionalGeneration"):
        opened(model_folder("tart"), tmp_path, "kalm")
    sizes: list[Any] = [
        known_models()[f"KaLM-Embedding/KaLM-Reranker-V1-{size}"] for size in ("Nano", "Small", "Large")
    ]
    assert {entry["family"] for entry in sizes} == {"kalm"}
