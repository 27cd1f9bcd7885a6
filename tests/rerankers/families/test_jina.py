"""jina-reranker-v3 on a tiny random Qwen3, beside transformers' own class and the authors' formulas written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from exactness import both
from golden_cases import model_folder, opened
from saved_rerankers import edited
from tiny_jina import cosines, documents, joined, prompt, vectors, write_model

from harness.errors import HarnessError
from harness.types import DocumentText, QueryText


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny-jina")


def open_jina(folder: Path, cache: Path, **settings):
    (reranker,) = opened(folder, cache, **settings)
    return reranker


@pytest.mark.parametrize("instruction", ["", "prefer echo"])
def test_one_prompt_gives_the_cosines_of_the_authors_formula(tiny: Path, tmp_path: Path, instruction: str):
    model, found = open_jina(tiny, tmp_path).load(), documents(11)
    text = prompt("which birch", joined(found), instruction)
    assert model.ids(text) == vectors(tiny, text)[0]
    scores = model.score_list(QueryText("which birch", instruction), found)
    both(lambda: cosines(tiny, text)).check(scores)
    assert np.ptp(scores) > 1e-3
    assert model.tallies == {"prompts": 1, "queries_shortened": 0, "passages_shortened": 0}


def test_several_prompts_share_a_weighted_vector_of_the_query(tiny: Path, tmp_path: Path):
    found = documents(10)
    scores = open_jina(tiny, tmp_path, documents=4).load().score_list(QueryText("echo fjord"), found)

    def expected() -> np.ndarray:
        rows, queries, weights = [], [], []
        for start in (0, 4, 8):
            text = prompt("echo fjord", joined(found[start : start + 4]))
            _, block, query = vectors(tiny, text)
            rows.append(block.numpy())
            queries.append(query.numpy()[0])
            weights.append(max((1 + cosines(tiny, text)) / 2))
        every = np.concatenate(rows)
        mean = sum(weight * query for weight, query in zip(weights, queries, strict=True)) / sum(weights)
        return every @ mean / (np.linalg.norm(every, axis=1) * np.linalg.norm(mean))

    both(expected).check(scores)


def test_a_prompt_is_closed_where_the_next_document_might_not_fit(tiny: Path, tmp_path: Path):
    model = open_jina(tiny, tmp_path, document_length=1000).load()
    assert model.limit == 4096
    # Room after a query of 20 tokens: 4,056, which documents use up to 1,000.
    assert model.blocks(20, [900] * 7) == [(0, 4), (4, 7)]
    assert model.blocks(20, [3056, 10, 1000, 999]) == [(0, 1), (1, 4)]
    assert model.blocks(20, []) == []


def test_long_texts_are_cut_to_their_first_tokens_and_counted(tiny: Path, tmp_path: Path):
    model = open_jina(tiny, tmp_path, document_length=5, query_length=3).load()
    backend = model.tokenizer.backend
    long = "amber birch cedar delta echo fjord"
    scores = model.score_list(QueryText(long), [DocumentText("", long), DocumentText("", "echo")])
    assert model.tallies == {"prompts": 1, "queries_shortened": 1, "passages_shortened": 1}
    ids = backend.encode(long).ids
    text = prompt(backend.decode(ids[:3]), [backend.decode(ids[:5]), "echo"])
    both(lambda: cosines(tiny, text)).check(scores)


def test_marks_in_texts_are_left_out_so_that_each_document_has_one_vector(tiny: Path, tmp_path: Path):
    model = open_jina(tiny, tmp_path).load()
    bad = [DocumentText("", "amber<|embed_token|><|rerank_token|> birch"), DocumentText("", "cedar")]
    clean = [DocumentText("", "amber birch"), DocumentText("", "cedar")]
    query = QueryText("echo<|rerank_token|>", "fjord<|embed_token|>")
    scores = model.score_list(query, bad)
    np.testing.assert_array_equal(scores, model.score_list(QueryText("echo", "fjord"), clean))


def test_a_document_is_scored_beside_the_others(tiny: Path, tmp_path: Path):
    reranker = open_jina(tiny, tmp_path)
    assert reranker.spec.context == "list"
    model, found = reranker.load(), documents(5)
    alone = model.score_list(QueryText("echo"), found[:1])
    assert abs(alone[0] - model.score_list(QueryText("echo"), found)[0]) > 1e-5


def test_sliding_layers_are_read_from_config(tiny: Path, tmp_path: Path):
    import shutil

    folder = shutil.copytree(tiny, tmp_path / "sliding")
    edited(folder, "config.json", layer_types=["sliding_attention", "full_attention"], use_sliding_window=True,
           sliding_window=8, max_window_layers=0)  # fmt: skip
    found = documents(6)
    scores = open_jina(folder, tmp_path / "cache").load().score_list(QueryText("echo"), found)
    both(lambda: cosines(folder, prompt("echo", joined(found)))).check(scores)
    whole = open_jina(tiny, tmp_path / "cache").load().score_list(QueryText("echo"), found)
    assert np.abs(scores - whole).max() > 1e-4


def test_what_a_qwen3_does_not_have_is_refused(tiny: Path, tmp_path: Path):
    import shutil

    folder = shutil.copytree(tiny, tmp_path / "other")
    edited(folder, "config.json", hybrid_pattern="3L2G")
    with pytest.raises(HarnessError, match=r"config\.json says hybrid_pattern"):
        open_jina(folder, tmp_path / "cache").load().score_list(QueryText("echo"), documents(2))
    with pytest.raises(HarnessError, match="is no jina-reranker-v3"):
        opened(model_folder("cross-encoder"), tmp_path, "jina-list")
