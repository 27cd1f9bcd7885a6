"""Building a BM25 index in parts: whoever read which part of the corpus, the files are those of a plain loop."""

from __future__ import annotations

import errno
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from harness.data import corpus as corpora
from harness.data.corpus import Corpus, write_corpus
from harness.errors import HarnessError
from harness.retrievers import analysis, bm25
from harness.retrievers.analysis import Numbers, Worker
from harness.retrievers.analyzers import analyzer
from harness.retrievers.crew import Answer, alone, in_order, together

BATCH = 16


def random_texts(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return ["", *(" ".join(f"w{word}é" for word in row if word < 400) for row in random.zipf(1.3, (count, 12)))]


@pytest.fixture
def corpus(tmp_path, monkeypatch) -> Corpus:
    """Some hundred documents in batches of sixteen; every third has a title."""
    monkeypatch.setattr(corpora, "_BATCH_ROWS", BATCH)
    rows = [
        {"_id": f"{number:04}", "title": f"title {number}" if number % 3 else "", "text": text}
        for number, text in enumerate(random_texts(300))
    ]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_corpus(tmp_path / "corpus.arrow", [tmp_path / "corpus.jsonl"])
    return Corpus(tmp_path / "corpus.arrow")


def joined(corpus: Corpus) -> list[str]:
    return [f"{document.title} {document.text}".strip() for document in corpus.iterate_texts()]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_files_are_those_of_a_plain_loop(tmp_path):
    texts = random_texts(200)
    bm25.build(texts, "en", tmp_path / "index", block_tokens=100)
    numbers: dict[str, int] = {}
    postings: list[list[tuple[int, int]]] = []
    lengths = []
    for row, text in enumerate(texts):
        terms = analyzer("en")(text)
        lengths.append(len(terms))
        for term, frequency in Counter(terms).items():
            if term not in numbers:
                numbers[term] = len(numbers)
                postings.append([])
            postings[numbers[term]].append((row, frequency))
    found = {name: np.load(tmp_path / "index" / f"{name}.npy") for name in bm25._ARRAYS}
    assert found["docs"].tolist() == [row for term in postings for row, _ in term]
    assert found["freqs"].tolist() == [frequency for term in postings for _, frequency in term]
    assert found["starts"].tolist() == np.cumsum([0, *map(len, postings)]).tolist()
    assert found["norms"].tolist() == bm25.length_bytes(np.array(lengths)).tolist()
    assert bytes(found["terms"]).decode() == "".join(sorted(numbers))
    assert found["term_ids"].tolist() == [numbers[term] for term in sorted(numbers)]
    assert {name: values.dtype.name for name, values in found.items()} == {
        "docs": "int32", "freqs": "uint8", "starts": "int64", "norms": "uint8", "terms": "uint8", "term_starts": "int64",
        "term_ids": "int32",
    }  # fmt: skip


def test_a_prepared_corpus_gives_the_index_of_its_joined_texts(tmp_path, corpus):
    bm25.build(joined(corpus), "en", tmp_path / "texts")
    bm25.build(corpus, "en", tmp_path / "corpus")
    bm25.build(corpus, "en", tmp_path / "blocks", block_tokens=500)
    assert files(tmp_path / "texts") == files(tmp_path / "corpus") == files(tmp_path / "blocks")


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_of_terms_do_not_depend_on_which_process_read_what(tmp_path, corpus, seed):
    bm25.build(corpus, "en", tmp_path / "index")
    random = np.random.default_rng(seed)
    workers = []
    for number in range(3):
        (tmp_path / f"scratch{number}").mkdir()
        workers.append(Worker("en", tmp_path / f"scratch{number}", 200))
    numbers = Numbers()
    for stretch in corpus.stretches(3):
        process = int(random.integers(3))
        numbers.add(Answer(process, workers[process].invert(stretch)))
    (tmp_path / "parts").mkdir()
    bm25._write_index(numbers, "en", tmp_path / "parts", 400, alone(workers[0]))
    assert files(tmp_path / "parts") == files(tmp_path / "index")


def test_processes_that_read_a_corpus_for_themselves_write_the_index_of_one(tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(analysis, "ALONE", BATCH)
    bm25.build(corpus, "en", tmp_path / "one", workers=1)
    bm25.build(corpus, "en", tmp_path / "two", workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


@pytest.mark.parametrize("processes", [1, 2, 3, 64])
def test_stretches_hold_every_document_once_in_order_and_end_short(corpus, processes):
    stretches = list(corpus.stretches(processes))
    assert [text for stretch in stretches for text in stretch.texts()] == list(corpus.iterate_texts())
    assert stretches[-1].last - stretches[-1].first == 1
    assert len(stretches) >= min(2 * processes, len(corpus) // BATCH)


def test_a_block_has_no_more_tokens_than_are_held_and_one_text(tmp_path):
    texts = random_texts(100)
    longest = max(len(analyzer("en")(text)) for text in texts)
    found = Worker("en", tmp_path, 60).invert(texts)
    assert sum(len(block.lengths) for block in found) == len(texts)
    assert all(block.lengths.sum() < 60 + longest for block in found)
    assert all(block.lengths.sum() >= 60 for block in found[:-1])


def test_lists_of_texts_are_cut_by_their_characters_too(monkeypatch):
    monkeypatch.setattr(analysis, "_CHUNK", 4)
    monkeypatch.setattr(analysis, "_CHUNK_CHARACTERS", 10)
    _, parts = analysis.in_parts(["a", "b", "c", "d", "e", "long" * 9, "f", "g"], 1)
    assert list(parts) == [["a", "b", "c", "d"], ["e", "long" * 9], ["f", "g"]]


def test_a_full_disk_in_another_process_is_its_error_here(tmp_path):
    with together(1, Worker, "indexes", "en", tmp_path / "absent", 10) as ask, pytest.raises(OSError) as caught:
        next(in_order([ask("invert", ["some words"])], 1))
    assert caught.value.errno == errno.ENOENT


def test_a_process_that_cannot_go_on_is_one_line(tmp_path):
    with together(1, Worker, "indexes", "en", tmp_path, 10) as ask, pytest.raises(HarnessError) as caught:
        ask("invert", 3).result()
    assert str(caught.value).startswith("a process that indexes ended with status 1 before its work did")


def test_with_workers_of_one_core_each_bm25_takes_as_many(monkeypatch):
    from harness.engine import scale_out
    from harness.engine.options import Options
    from harness.python import asking

    monkeypatch.setattr(scale_out, "Workers", lambda *_, **__: None)
    asked = asking.Asking(tasks=[], workers=3)
    assert asking._with_workers(asked, Options(device="cpu"), print).cores == 3
    assert asking._with_workers(asked, Options(device="cuda"), print).cores is None


def test_no_more_processes_start_than_a_corpus_is_worth(corpus, monkeypatch):
    assert analysis.in_parts(corpus, 8)[0] == 1
    assert analysis.in_parts(["text"] * 100, 8)[0] == 1
    monkeypatch.setattr(analysis, "ALONE", 50)
    assert analysis.in_parts(corpus, 8)[0] == 8
    assert analysis.in_parts(["text"] * 100, 8)[0] == 8
