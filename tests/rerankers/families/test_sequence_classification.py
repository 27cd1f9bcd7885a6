"""Generic cross-encoders, against sentence-transformers' own scores; the live oracle is in test_oracles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exactness import alone, golden, published
from golden_cases import cases, model_folder, opened, read_cases, score
from tokenizers import Tokenizer

from harness.types import DocumentText, QueryText

FOLDER = model_folder("cross-encoder")
CASES = cases("cross-encoder")
PAIRS = CASES[0]["pairs"]


def check(folder: Path, cache: Path, case: dict) -> None:
    pairs, settings = case["pairs"], {"normalize": "sigmoid" in case["name"]}
    (reranker,) = opened(folder, cache, **settings)
    yard = golden(case["scores"], lambda wide: published(wide, pairs), folder, cache, **settings)
    yard.check(score(reranker, pairs).published)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_scores_equal_the_authors_own(tmp_path: Path, case: dict):
    check(FOLDER, tmp_path, case)


@pytest.mark.shared
def test_scores_equal_the_authors_own_on_the_other_texts(tmp_path: Path, shared: Path):
    for case in read_cases(shared / "goldens" / "cross-encoder.json"):
        check(shared / "hub" / "models" / "standin" / "cross-encoder", tmp_path, case)


@pytest.mark.parametrize("batch", [None, 3])
def test_a_pair_alone_scores_as_in_a_batch(tmp_path: Path, batch: int | None):
    (reranker,) = opened(FOLDER, tmp_path)
    alone(PAIRS, FOLDER, tmp_path).check(score(reranker, PAIRS, batch=batch).margins)


@pytest.mark.parametrize("max_length", [512, 32])
def test_the_input_is_the_tokenizers_pair_cut_at_the_longer_side(tmp_path: Path, max_length: int):
    (reranker,) = opened(FOLDER, tmp_path, max_length=max_length)
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length, strategy="longest_first")
    found = score(reranker, PAIRS)
    assert found.ids == [tokenizer.encode(query, document).ids for query, document in PAIRS]
    assert found.prepared.lost.any()


def test_instruction_and_title_stand_once_in_their_places(tmp_path: Path):
    (reranker,) = opened(FOLDER, tmp_path)
    prepared = reranker.load().prepare(
        [QueryText("bread", "Name the hour.")], [DocumentText("Dough", "Let it rest.")], np.array([[0, 0]])
    )
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    assert prepared.token_ids(0) == tokenizer.encode("bread Name the hour.", "Dough Let it rest.").ids
