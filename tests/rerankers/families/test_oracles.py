"""Packages of the field as oracles: their scores of our tiny models, computed here and now, equal ours.

Goldens hold what the authors' code gave once; these tests run code of today's packages beside ours.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import oracles
import pytest
from conftest import ROOT
from exactness import alone, beside
from golden_cases import cases, model_folder, opened, score

PAIRS = [tuple(pair) for pair in cases("bge-reranker")[0]["pairs"]]


def tokenizer_of(folder: Path, **more: int) -> Any:
    """The tokenizer that the model's file describes, as transformers 4 loaded it; 5 leaves out XLM-R's normalizer."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder, **more)


@pytest.mark.parametrize("normalize", [False, True], ids=["raw logit", "sigmoid"])
@pytest.mark.parametrize("max_length", [512, 64])
@pytest.mark.parametrize("system", ["cross-encoder", "bge-reranker"])
def test_classifiers_score_as_sentence_transformers_cross_encoder(tmp_path: Path, system, max_length, normalize):
    import torch
    from sentence_transformers import CrossEncoder

    raw, activation = torch.nn.Identity(), torch.nn.Sigmoid() if normalize else torch.nn.Identity()
    oracle = CrossEncoder(str(model_folder(system)), device="cpu", max_length=max_length)
    if system == "bge-reranker":
        oracle[0].processor = tokenizer_of(model_folder(system), model_max_length=max_length)
    logits, expected = (oracle.predict(PAIRS, activation_fn=each, batch_size=3) for each in (raw, activation))
    how = (PAIRS, model_folder(system), tmp_path, "sequence-classification")
    found = score(*opened(*how[1:], max_length=max_length, normalize=normalize), PAIRS)
    yard = beside(logits, *how, max_length=max_length).through(found.model.activate)
    yard.check(expected)
    yard.check(found.published)


@pytest.fixture(scope="module")
def flag_embedding() -> dict[str, dict[str, list[float]]]:
    """FlagEmbedding's scores: it cannot be imported beside our transformers, so an environment of its own wrote them."""
    file = Path(os.environ.get("RERANK_HARNESS_ORACLES", ROOT / "build" / "oracles.json"))
    if not file.exists():
        pytest.skip(f"needs FlagEmbedding's scores: `make {file.relative_to(ROOT)}` writes them")
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("max_length", oracles.LENGTHS["bge-reranker"])
def test_bge_classifiers_score_as_flag_embedding(tmp_path: Path, max_length, flag_embedding):
    folder, pairs, theirs = model_folder("bge-reranker"), oracles.pairs("bge-reranker"), flag_embedding["bge-reranker"]
    yard = alone(pairs, folder, tmp_path, "bge", max_length=max_length)
    for normalize in (False, True):
        (ours,) = opened(folder, tmp_path, "bge", max_length=max_length, normalize=normalize)
        published = yard.through(ours.load().activate)
        published.check(theirs[f"{max_length} {normalize}"])
        published.check(score(ours, pairs).published)


@pytest.mark.parametrize("max_length", oracles.LENGTHS["bge-reranker-gemma"])
def test_bge_gemma_scores_as_flag_embedding(tmp_path: Path, max_length, flag_embedding):
    folder, pairs = model_folder("bge-reranker-gemma"), oracles.pairs("bge-reranker-gemma")
    settings = {"rule": "class", "max_length": max_length}
    yard = alone(pairs, folder, tmp_path, "bge-reranker-gemma", **settings)
    yard.check(flag_embedding["bge-reranker-gemma"][str(max_length)])
    (ours,) = opened(folder, tmp_path, "bge-reranker-gemma", **settings)
    yard.check(score(ours, pairs).margins)
