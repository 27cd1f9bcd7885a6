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
from harness.engine.plan import plan_batches
from harness.errors import HarnessError
from harness.models.late.encoder import TokenEncoder
from harness.models.late.layouts import read_layout
from harness.models.source import open_model
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


def test_memory_that_runs_out_halves_the_batches_of_a_late_interaction_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import torch

    colbert(tmp_path / "model")
    source = open_model(str(tmp_path / "model"), tmp_path / "cache")
    encoder = TokenEncoder(source, Options(), read_layout(source))
    rows = encoder.document_rows([f"water {number} stone" for number in range(7)])
    real, sizes = encoder.token_vectors, []
    (batch,) = plan_batches(rows.lengths, Options().batch_tokens)
    in_four = dict(zip(batch.tolist(), encoder._in_parts(rows, batch, 4), strict=True))

    def small(rows: Any) -> Any:
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(rows)

    monkeypatch.setattr(encoder, "token_vectors", small)
    found = encoder.in_batches(rows)
    assert sizes == [7, 4, 2, 2, 2, 1]
    assert all(torch.equal(vectors, in_four[place]) for place, vectors in enumerate(found))


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
