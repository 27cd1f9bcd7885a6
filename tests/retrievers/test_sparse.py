"""Learned sparse encoders as first stages: equal to the whole product of sentence-transformers' own vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from exactness import both
from tiny_splade import KINDS, splade

from harness.data.collection import prepare
from harness.data.task import folder_task
from harness.engine.options import Options
from harness.errors import HarnessError
from harness.files.cache import hash_of
from harness.models.source import open_model
from harness.retrievers import sparse_encoder as encoders
from harness.retrievers.retrieve import candidates_of, open_first_stage
from harness.retrievers.sparse import build_postings, open_postings, search_postings
from harness.retrievers.sparse_encoder import SparseEncoder, SparseRows, sparse_spec
from harness.text import join_document, join_query


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_are_those_of_the_whole_product(tmp_path: Path, collection_folder: Path, kind: str):
    oracle, cache = KINDS[kind](tmp_path / "model"), tmp_path / "cache"
    task = folder_task(collection_folder, cache)
    collection = prepare(task, task.subsets[0], cache)
    stage = open_first_stage(str(tmp_path / "model"), Options(), cache)
    found = candidates_of(stage, collection, task, task.subsets[0], 10, cache).run
    texts = dict(
        zip(collection.doc_ids_at(range(collection.size)), map(join_document, collection.iterate_texts()), strict=True)
    )
    queries = {key: join_query(query) for key, query in collection.queries.items()}

    def similarity(oracle: Any) -> np.ndarray:
        asked, held = oracle.encode_query(list(queries.values())), oracle.encode_document(list(texts.values()))
        return oracle.similarity(asked, held).numpy()

    both(similarity, oracle).check_best(found, list(queries), list(texts), 10)


def rows_of(dense: np.ndarray) -> SparseRows:
    rows, terms = np.nonzero(dense)
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))])
    return SparseRows(starts.astype(np.int64), terms.astype(np.int32), dense[rows, terms])


def test_an_index_of_blocks_answers_as_the_matrix_does(tmp_path: Path):
    numbers = np.random.default_rng(1)
    held = numbers.integers(-2, 3, (40, 12)).astype(np.float32) * (numbers.random((40, 12)) < 0.4)
    asked = numbers.integers(-1, 3, (7, 15)).astype(np.float32)  # terms that no document has among them
    build_postings([rows_of(held[:9]), rows_of(held[9:9]), rows_of(held[9:])], tmp_path / "index")
    order = np.arange(40)[::-1]
    found = list(search_postings(open_postings(tmp_path / "index"), rows_of(asked), 6, order))
    for query, (rows, scores) in zip(asked[:, :12], found, strict=True):
        whole = held @ query
        sharing = np.flatnonzero(((held != 0) & (query != 0)).any(1))
        best = sharing[np.lexsort((order[sharing], -whole[sharing]))][:6]
        assert rows.tolist() == best.tolist()
        assert scores.tolist() == whole[best].tolist()


def test_an_index_is_searched_inside_each_query_s_scope(tmp_path: Path):
    held = np.random.default_rng(1).integers(0, 3, (40, 12)).astype(np.float32)
    asked, scope = held[:2], [np.arange(5, 40, 3), np.array([], np.int64)]
    build_postings([rows_of(held)], tmp_path / "index")
    (rows, scores), (none, _) = search_postings(
        open_postings(tmp_path / "index"), rows_of(asked), 4, np.arange(40), scope
    )
    whole = (held @ asked[0])[scope[0]]
    best = np.lexsort((scope[0], -whole))[:4]
    assert (rows.tolist(), scores.tolist()) == (scope[0][best].tolist(), whole[best].tolist())
    assert none.tolist() == []


def test_a_half_written_index_is_none_and_is_built_again(tmp_path: Path):
    held = rows_of(np.eye(5, dtype=np.float32))
    build_postings([held], tmp_path / "index")
    (tmp_path / "index" / "weights.npy").write_bytes(b"")
    assert open_postings(tmp_path / "index") is None
    build_postings([held], tmp_path / "index")
    assert open_postings(tmp_path / "index").documents == 5
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


@pytest.mark.parametrize("name", ["starts", "docs", "weights"])
def test_an_index_that_is_damaged_at_equal_size_is_none(tmp_path: Path, name: str):
    build_postings([rows_of(np.eye(5, dtype=np.float32))], tmp_path / "index")
    assert open_postings(tmp_path / "index", hash_of).documents == 5
    path = tmp_path / "index" / f"{name}.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert open_postings(tmp_path / "index", hash_of) is None


def test_what_was_encoded_is_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    splade(tmp_path / "model")
    monkeypatch.setattr(encoders, "_BLOCK", 4)
    source = open_model(str(tmp_path / "model"), tmp_path / "cache")

    def encoder() -> SparseEncoder:
        return SparseEncoder(source, sparse_spec(source, Options()), Options(), tmp_path / "cache")

    texts = [f"water {number} stone" for number in range(10)]
    first = list(encoder().documents(texts, 10))
    again = encoder()
    monkeypatch.setattr(again, "_encode", None)  # a call would fail
    for one, other in zip(first, again.documents(texts, 10), strict=True):
        for name in SparseRows._fields:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    damaged = next((tmp_path / "cache" / "sparse").rglob("*.npz"))
    damaged.write_bytes(damaged.read_bytes()[:-30])
    assert [block.texts for block in encoder().documents(texts, 10)] == [4, 4, 2]


def test_memory_that_runs_out_halves_the_batches_of_a_sparse_encoder(tmp_path: Path):
    splade(tmp_path / "model")
    source = open_model(str(tmp_path / "model"), tmp_path / "cache")
    encoder = SparseEncoder(source, sparse_spec(source, Options()), Options(), tmp_path / "cache")
    sizes: list[int] = []

    def small(texts: list[str], *, batch_size: int, **more: Any) -> Any:
        sizes.append(batch_size)
        if batch_size > 8:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return encoder._model.encode_document(texts, batch_size=batch_size, **more)

    texts = [f"water {number} stone" for number in range(10)]
    found = encoder._encode(small, texts)
    assert sizes == [32, 16, 8]
    of_eight = encoder._encode(lambda texts, **more: small(texts, **more | {"batch_size": 8}), texts)
    for name in SparseRows._fields:
        np.testing.assert_array_equal(getattr(found, name), getattr(of_eight, name))


def test_settings_that_move_vectors_move_the_key(tmp_path: Path):
    splade(tmp_path / "model")
    source = open_model(str(tmp_path / "model"), tmp_path / "cache")
    settings = [Options(), Options(settings=(("max_length", "16"),)), Options(dtype="bfloat16")]
    assert len({sparse_spec(source, options).fingerprint for options in settings}) == 3
    with pytest.raises(HarnessError, match='has no setting "length"'):
        sparse_spec(source, Options(settings=(("length", "16"),)))


def test_the_command_line_takes_one_as_first_stage(cli: Cli, collection_folder: Path, tmp_path: Path):
    splade(tmp_path / "mine")
    answer = cli("run", collection_folder, "--retriever", tmp_path / "mine", "--top-k", "5", "--format", "json")
    assert answer.results()[0]["retriever"] == "mine"
    assert "no dense vector" not in answer.err


def test_what_a_sparse_encoder_raises_is_one_line(tmp_path: Path):
    from safetensors.torch import load_file, save_file
    from saved_rerankers import edited

    folder = tmp_path / "model"
    splade(folder)
    weights = load_file(folder / "model.safetensors")
    size = len(weights["bert.embeddings.word_embeddings.weight"])
    kept = {name: weight[:100].clone() if len(weight) == size else weight for name, weight in weights.items()}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    edited(folder, "config.json", vocab_size=100)
    source = open_model(str(folder), tmp_path / "cache")
    encoder = SparseEncoder(source, sparse_spec(source, Options()), Options(), tmp_path / "cache")
    with pytest.raises(HarnessError, match=r"model fails in its forward pass: \w*Error: ") as found:
        encoder.queries(["zebra ! stone"])
    assert "\n" not in str(found.value)
    (folder / "1_SpladePooling" / "config.json").write_text("{")
    broken = SparseEncoder(source, sparse_spec(source, Options()), Options(), tmp_path / "cache")
    with pytest.raises(HarnessError, match="model fails in loading: "):
        broken.queries(["stone"])
