"""Packages of the field as oracles: their scores of our tiny models, computed here and now, equal ours.

Goldens hold what the authors' code gave once; these tests run code of today's packages beside ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_cases import TOLERANCE, cases, model_folder, opened, score

PAIRS = [tuple(pair) for pair in cases("bge-reranker")[0]["pairs"]]
LONG = [("the sky is dark at night", "a line of sight is " * 90), ("a long line that goes on " * 60, "the sky is dark")]


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

    activation = torch.nn.Sigmoid() if normalize else torch.nn.Identity()
    oracle = CrossEncoder(str(model_folder(system)), device="cpu", max_length=max_length)
    if system == "bge-reranker":
        oracle[0].processor = tokenizer_of(model_folder(system), model_max_length=max_length)
    expected = oracle.predict(PAIRS, activation_fn=activation, batch_size=3)
    family = "sequence-classification"
    (ours,) = opened(model_folder(system), tmp_path, family, max_length=max_length, normalize=normalize)
    np.testing.assert_allclose(score(ours, PAIRS).published, expected, atol=1e-5, rtol=0)


def flag_embedding() -> Any:
    return pytest.importorskip("FlagEmbedding", reason="pip install FlagEmbedding, which `dev` brings")


def read_back(tokenizer: Any, text: str, length: int) -> bool:
    """Whether the first `length` ids of a text, written out, give the same ids again."""
    ids = tokenizer(text, add_special_tokens=False, max_length=length, truncation=True)["input_ids"]
    return tokenizer(tokenizer.decode(ids), add_special_tokens=False)["input_ids"] == ids


@pytest.mark.parametrize("normalize", [False, True], ids=["raw logit", "sigmoid"])
@pytest.mark.parametrize("max_length", [512, 64, 24])
def test_bge_classifiers_score_as_flag_embedding(tmp_path: Path, max_length, normalize):
    """On texts that it reads back as it wrote them: beside transformers 5 it decodes ids and tokenizes again."""
    oracle = flag_embedding().FlagReranker(str(model_folder("bge-reranker")), devices=["cpu"], use_fp16=False)
    oracle.tokenizer = tokenizer_of(model_folder("bge-reranker"))
    limits = (max_length * 3 // 4, max_length)
    pairs = [
        pair
        for pair in PAIRS + LONG
        if all(read_back(oracle.tokenizer, text, limit) for text, limit in zip(pair, limits, strict=True))
    ]
    assert len(pairs) >= 6
    expected = oracle.compute_score(pairs, max_length=max_length, normalize=normalize)
    (ours,) = opened(model_folder("bge-reranker"), tmp_path, "bge", max_length=max_length, normalize=normalize)
    np.testing.assert_allclose(score(ours, pairs).published, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("max_length", [512, 64, 32])
def test_bge_gemma_scores_as_flag_embedding(tmp_path: Path, max_length):
    folder = model_folder("bge-reranker-gemma")
    oracle = flag_embedding().FlagLLMReranker(str(folder), devices=["cpu"], use_fp16=False)
    expected = oracle.compute_score(PAIRS, max_length=max_length, batch_size=4)
    (ours,) = opened(folder, tmp_path, "bge-reranker-gemma", rule="class", max_length=max_length)
    np.testing.assert_allclose(score(ours, PAIRS).published, expected, atol=TOLERANCE, rtol=0)
