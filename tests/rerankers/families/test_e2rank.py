"""E2Rank on a tiny random Qwen3 beside transformers with the prompt of the authors' evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from golden_cases import model_folder, opened
from saved_rerankers import edited
from tiny_e2rank import documents, expected, write_e2rank

from harness.errors import HarnessError
from harness.rerankers.known import known_models
from harness.rerankers.score import listed, margins_of
from harness.types import DocumentText, QueryText


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_e2rank(tmp_path_factory.mktemp("models") / "e2rank")


@pytest.mark.parametrize("shown", [20, 3])
def test_scores_are_cosines_with_the_vector_of_the_prompt(tiny: Path, tmp_path: Path, shown: int):
    (reranker,) = opened(tiny, tmp_path, "e2rank", shown=shown)
    assert reranker.spec.context == "list"
    found = documents(24)
    scores = reranker.load().score_list(QueryText("cold river", "in the north"), found)
    texts = [" ".join(document.text.split()) for document in found]
    expected(tiny, "cold river in the north", texts, shown).check(scores)
    assert np.ptp(scores) > 1e-3


def test_documents_are_cut_to_words_and_counted(tiny: Path, tmp_path: Path):
    (reranker,) = opened(tiny, tmp_path, "e2rank", document_words=2)
    model = reranker.load()
    scores = model.score_list(QueryText("ice"), [DocumentText("river", "water ice"), DocumentText("", "wind stone")])
    assert model.tallies == {"passages_shortened": 1}
    expected(tiny, "ice", ["river water", "wind stone"], 20).check(scores)


def test_what_does_not_fit_or_is_another_model_is_told(tiny: Path, tmp_path: Path):
    (reranker,) = opened(tiny, tmp_path, "e2rank")
    with pytest.raises(HarnessError, match=r"takes 4096 tokens, and an input has \d+: set document_words"):
        reranker.load().score_list(QueryText("ice"), [DocumentText("", "q " * 1024)] * 9)
    with pytest.raises(HarnessError, match="is no E2Rank model"):
        opened(model_folder("cross-encoder"), tmp_path, "e2rank")


def test_the_published_models_are_scored_by_it():
    assert {known_models()[f"Alibaba-NLP/E2Rank-{size}"]["family"] for size in ("0.6B", "4B", "8B")} == {"e2rank"}


def test_what_a_list_model_raises_in_its_forward_pass_is_one_line(tiny: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny, tmp_path / "short")
    weights = load_file(folder / "model.safetensors")
    rows = weights["model.embed_tokens.weight"]
    kept = {
        name: weight[:100].clone() if weight.shape[0] == rows.shape[0] else weight for name, weight in weights.items()
    }
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    edited(folder, "config.json", vocab_size=100)
    (reranker,) = opened(folder, tmp_path / "cache", "e2rank")
    with pytest.raises(HarnessError, match=r"short fails in a list of 2 documents: \w*Error: ") as found:
        margins_of(reranker, [(QueryText("ice"), document) for document in documents(2)])
    assert "\n" not in str(found.value)


def test_a_list_that_fills_the_memory_is_told_with_the_ways_out(tiny: Path, tmp_path: Path):
    (reranker,) = opened(tiny, tmp_path, "e2rank")
    model = reranker.load()

    def full(*_: object) -> None:
        raise MemoryError

    model.vectors = full
    with pytest.raises(HarnessError, match="runs out of memory in a list of 2 documents: take a smaller --top-k"):
        listed(reranker, QueryText("ice"), documents(2))
