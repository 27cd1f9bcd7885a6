"""Late interaction as a first stage: every document compared, with the scores that the reranker has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from exactness import both
from tiny_models import colbert, pylate

from harness.data.collection import prepare
from harness.data.task import folder_task
from harness.engine.options import Options
from harness.errors import HarnessError
from harness.retrievers import late
from harness.retrievers.retrieve import candidates_of, open_first_stage
from harness.text import join_document, join_query


@pytest.mark.parametrize("layout", [colbert, pylate])
def test_candidates_are_those_of_sentence_transformers(
    tmp_path: Path, collection_folder: Path, monkeypatch: pytest.MonkeyPatch, layout
):
    encoders = pytest.importorskip("sentence_transformers", minversion="6.0")
    monkeypatch.setattr(late, "_BLOCK", 5)
    layout(tmp_path / "model")
    task = folder_task(collection_folder, tmp_path / "cache")
    collection = prepare(task, task.subsets[0], tmp_path / "cache")
    stage = open_first_stage(str(tmp_path / "model"), Options(), tmp_path / "cache")
    found = candidates_of(stage, collection, task, task.subsets[0], 10, tmp_path / "cache").run
    oracle = encoders.MultiVectorEncoder(str(tmp_path / "model"), device="cpu")
    texts = [join_document(document) for document in collection.iterate_texts()]
    asked = [join_query(query) for query in collection.queries.values()]

    def similarity(oracle: Any) -> np.ndarray:
        return oracle.similarity(oracle.encode_query(asked), oracle.encode_document(texts)).numpy()

    doc_ids = list(collection.doc_ids_at(range(collection.size)))
    both(similarity, oracle).check_best(found, list(collection.queries), doc_ids, 10)


def test_as_first_stage_and_as_reranker_it_gives_one_ranking(cli: Cli, collection_folder: Path, tmp_path: Path):
    colbert(tmp_path / "model")
    words = ["run", collection_folder, "--retriever", tmp_path / "model", "--reranker", tmp_path / "model"]
    (result,) = cli(*words, "--top-k", "10", "--format", "json").results()
    figures = result["measures"]["nDCG@10"]
    assert figures["first_stage"] == figures["reranked"]


def test_a_corpus_too_large_for_it_is_one_line_with_the_way_out(
    tmp_path: Path, collection_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(late, "MOST_DOCUMENTS", 10)
    colbert(tmp_path / "model")
    task = folder_task(collection_folder, tmp_path / "cache")
    collection = prepare(task, task.subsets[0], tmp_path / "cache")
    stage = open_first_stage(str(tmp_path / "model"), Options(), tmp_path / "cache")
    with pytest.raises(HarnessError, match="24 documents, which is meant for 10 at most: take --retriever bm25"):
        candidates_of(stage, collection, task, task.subsets[0], 10, tmp_path / "cache")
