"""BM25: scores against a plain loop, the ranking's rules, the index on disk, and Lucene's own figures."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.retrievers import analysis, bm25
from harness.retrievers.analyzers import analyzer
from harness.text import join_document
from harness.types import DocumentText

TEXTS = [
    "The cat sat on the mat.",
    "A dog and a cat, a cat and a dog.",
    "",
    "Dogs chase cats; cats chase mice; mice chase nothing at all, and that is the whole story of the chase.",
    "the of and",
    "mat " * 40 + "cat",
    "Nothing here.",
]


def index_of(texts, folder: Path, language: str = "en", **options) -> bm25.Index:
    bm25.build(texts, language, folder / "index", **options)
    return bm25.open_index(folder / "index")


def found(index: bm25.Index, query: str, k: int = 10, **options) -> list[tuple[int, float]]:
    ((rows, scores),) = index.search([query], k, **options)
    assert rows.dtype == np.int32
    assert scores.dtype == np.float32
    return list(zip(rows.tolist(), scores.tolist(), strict=True))


def one_byte(length: int) -> int:
    """Lucene's length of one byte, worked out digit by digit: four significant bits above 24."""
    if length < 24:
        return length
    rest, shift = length - 24, 0
    while rest >> shift >= 16:
        shift += 1
    return 24 + (rest >> shift << shift)


def by_hand(texts: list[str], query: str, k1: float = 0.9, b: float = 0.4) -> dict[int, float]:
    """BM25 in a double loop, each step rounded to single precision where Lucene does so."""
    single = np.float32
    documents = [Counter(analyzer("en")(text)) for text in texts]
    filled = [document for document in documents if document]
    mean = single(sum(document.total() for document in filled) / len(filled))
    scores = {}
    for row, document in enumerate(documents):
        total, matched = 0.0, False
        for term, repetitions in Counter(analyzer("en")(query)).items():
            if term in document:
                holding = sum(term in other for other in filled)
                idf = single(math.log(1 + (len(filled) - holding + 0.5) / (holding + 0.5)))
                length = single(one_byte(document.total()))
                inverse = single(1) / (single(k1) * ((single(1) - single(b)) + single(b) * length / mean))
                weight = single(repetitions) * idf
                total += float(weight - weight / (single(1) + single(document[term]) * inverse))
                matched = True
        if matched:
            scores[row] = float(single(total))
    return scores


@pytest.mark.parametrize("query", ["cat", "cats and dogs", "mat mat mat cat", "chase the mice story nothing"])
@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.2, 0.75)])
def test_scores_are_those_of_a_plain_double_loop(tmp_path, query, k1, b):
    bm25.build(TEXTS, "en", tmp_path / "index")
    assert dict(found(bm25.open_index(tmp_path / "index", k1=k1, b=b), query)) == by_hand(TEXTS, query, k1, b)


def test_a_length_is_stored_in_one_byte_as_in_lucene():
    lengths = bm25.lengths_of_bytes()
    assert lengths[:41].tolist() == list(range(41))
    assert lengths[41:49].tolist() == [42, 44, 46, 48, 50, 52, 54, 56]
    assert lengths[-1] == 2_013_265_944
    assert bm25.length_bytes(lengths).tolist() == list(range(256))
    some = np.array([*range(3000), 12_345, 1_000_000, 2**31 - 1])
    assert lengths[bm25.length_bytes(some)].tolist() == [one_byte(length) for length in some.tolist()]


def test_a_term_repeated_in_the_query_counts_each_time(tmp_path):
    index = index_of(TEXTS, tmp_path)
    ((_, once),) = found(index, "dog", 1)
    ((_, twice),) = found(index, "dog dog", 1)
    assert twice == pytest.approx(2 * once, rel=1e-6)


def test_equal_scores_follow_the_tie_order_also_at_the_cut(tmp_path):
    index = index_of(["same words"] * 50 + ["same words here"], tmp_path)
    order = np.arange(51)[::-1].copy()
    rows = [row for row, _ in found(index, "same", 5, tie_order=order)]
    assert rows == [49, 48, 47, 46, 45]
    assert [row for row, _ in found(index, "same", 5)] == [0, 1, 2, 3, 4]
    shuffled = np.random.default_rng(3).permutation(51)
    assert [row for row, _ in found(index, "words", 50, tie_order=shuffled)] == sorted(
        range(50), key=lambda row: shuffled[row]
    )


def test_documents_of_the_same_words_tie_whatever_their_order_or_the_query_s(tmp_path):
    index = index_of(["alpha beta gamma delta", "delta gamma beta alpha"] * 10, tmp_path)
    order = np.arange(20)[::-1].copy()
    assert [row for row, _ in found(index, "delta beta gamma alpha", 20, tie_order=order)] == list(range(19, -1, -1))


def test_excluded_rows_leave_before_the_cut(tmp_path):
    index = index_of(["cat"] * 5, tmp_path)
    ((first, _), (second, _)) = index.search(["cat", "cat"], 3, exclude=[[0, 2], []])
    assert first.tolist() == [1, 3, 4]
    assert second.tolist() == [0, 1, 2]


def test_a_query_of_unknown_words_or_none_returns_nothing(tmp_path):
    index = index_of(TEXTS, tmp_path)
    for query in ("zebra unicorn", "", "the of and", "?!", "\ud800"):
        assert found(index, query) == []


def test_documents_without_the_query_s_terms_are_never_returned(tmp_path):
    index = index_of(TEXTS, tmp_path)
    assert {row for row, _ in found(index, "dog mice", 100)} == {1, 3}


def test_documents_without_terms_do_not_count_in_the_mean_or_in_idf(tmp_path):
    few = index_of(["cat mat", "dog"], tmp_path / "few")
    more = index_of(["cat mat", "", "dog", "the", "..."], tmp_path / "more")
    assert more.documents == 5
    assert found(few, "cat")[0][1] == found(more, "cat")[0][1]


@pytest.mark.parametrize("texts", [[], ["", ""], ["the", "of and"]], ids=["none", "empty", "stop words"])
def test_a_corpus_without_terms_answers_every_query_with_nothing(tmp_path, texts):
    index = index_of(texts, tmp_path)
    assert index.documents == len(texts)
    assert found(index, "cat") == []


def test_a_corpus_of_one_character_tokens_is_searched(tmp_path):
    index = index_of(["x", "y", "x y", "中"], tmp_path)
    assert [row for row, _ in found(index, "x")] == [0, 2]
    chinese = index_of(["中", "文", "中 文"], tmp_path / "zh", "zh")
    assert [row for row, _ in found(chinese, "中")] == [0, 2]


def test_a_query_longer_than_any_document_is_searched(tmp_path):
    index = index_of(TEXTS, tmp_path)
    query = " ".join(f"word{number} cat" for number in range(5000))
    assert dict(found(index, query)) == by_hand(TEXTS, query)


def test_a_frequency_above_255_is_kept(tmp_path):
    texts = ["cat " * 300 + "dog", "cat " * 70_000, "cat dog"]
    assert dict(found(index_of(texts, tmp_path), "cat dog")) == by_hand(texts, "cat dog")


def random_texts(seed: int, count: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [
        " ".join(f"w{word}é" for word in random.zipf(1.3, random.integers(0, 30)) if word < 500) for _ in range(count)
    ]


def test_blocks_merged_from_disk_give_the_index_of_one_block(tmp_path):
    texts = random_texts(1, 400)
    bm25.build(iter(texts), "en", tmp_path / "one")
    bm25.build(iter(texts), "en", tmp_path / "many", block_tokens=150)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "many").iterdir())
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes(), name


def test_random_corpora_score_as_the_plain_loop(tmp_path):
    texts = random_texts(2, 120)
    index = index_of(texts, tmp_path, block_tokens=200)
    for query in ("w1é w2é w3é", "w7é w7é w40é", "w1é w100é nothing"):
        scores = by_hand(texts, query)
        best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
        assert found(index, query, 200) == best
        assert found(index, query, 7) == best[:7]


def test_terms_of_every_script_and_lone_surrogates_are_found(tmp_path):
    texts = ["Привет мир", "γειά", "𠀀𠀁", "\ud800 cat", "zebra", "éclair Éclair"]
    index = index_of(texts, tmp_path, "xx")
    for row, query in enumerate(["мир", "ΓΕΙΆ", "𠀁", "cat", "ZEBRA", "Éclair"]):
        assert [found_row for found_row, _ in found(index, query)] == [row]


def test_an_index_that_stands_there_is_replaced(tmp_path):
    bm25.build(["cat"], "en", tmp_path / "index")
    bm25.build(["dog", "dog"], "en", tmp_path / "index")
    index = bm25.open_index(tmp_path / "index")
    assert found(index, "cat") == []
    assert len(found(index, "dog")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_build_that_fails_leaves_nothing_and_the_old_index_whole(tmp_path):
    def broken():
        yield "cat"
        raise RuntimeError("the corpus ends here")

    for _ in range(2):
        with pytest.raises(RuntimeError):
            bm25.build(broken(), "en", tmp_path / "index", block_tokens=1)
    assert list(tmp_path.iterdir()) == []
    bm25.build(["cat"], "en", tmp_path / "index")
    with pytest.raises(RuntimeError):
        bm25.build(broken(), "en", tmp_path / "index")
    assert len(found(bm25.open_index(tmp_path / "index"), "cat")) == 1


def test_a_build_that_is_killed_leaves_no_half_index(tmp_path):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom harness.retrievers.bm25 import build\n"
        "def texts():\n    yield from ['cat dog'] * 1000\n    print('half', flush=True)\n    time.sleep(60)\n"
        "build(texts(), 'en', Path(sys.argv[1]), block_tokens=100)\n"
    )
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "index"], stdout=subprocess.PIPE, cwd=root
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"half\n"
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "index").exists()
    assert len(found(index_of(["cat"], tmp_path), "cat")) == 1


@pytest.mark.parametrize("name", ["index.json", "docs.npy", "freqs.npy", "starts.npy", "norms.npy", "terms.npy"])
def test_a_missing_or_shortened_file_is_an_error_with_the_way_out(tmp_path, name):
    bm25.build(TEXTS, "en", tmp_path / "index")
    path = tmp_path / "index" / name
    whole = path.read_bytes()
    for data in (whole[:-3], b""):
        path.write_bytes(data)
        with pytest.raises(HarnessError, match="build it again"):
            bm25.open_index(tmp_path / "index")
    path.unlink()
    with pytest.raises(HarnessError, match="build it again"):
        bm25.open_index(tmp_path / "index")


@pytest.mark.parametrize(("key", "value"), [("version", "0"), ("analyzer", ["EnglishAnalyzer", "0"])])
def test_an_index_of_another_version_is_refused(tmp_path, key, value):
    bm25.build(TEXTS, "en", tmp_path / "index")
    path = tmp_path / "index" / "index.json"
    meta = json.loads(path.read_text())
    assert meta[key] != value
    path.write_text(json.dumps(meta | {key: value}))
    with pytest.raises(HarnessError, match="another version"):
        bm25.open_index(tmp_path / "index")


def test_a_folder_that_is_no_index_is_refused(tmp_path):
    with pytest.raises(HarnessError, match="no whole BM25 index"):
        bm25.open_index(tmp_path)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def figures(folder: Path, qrels_file: Path, language: str, index_folder: Path) -> tuple[float, float]:
    """(nDCG@10, R@100) of BM25 over the judged queries, by pytrec_eval."""
    import pytrec_eval

    corpus = lines(folder / "corpus.jsonl")
    qrels: dict[str, dict[str, int]] = {}
    for row in lines(qrels_file):
        qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    queries = {row["_id"]: row["text"] for row in lines(folder / "queries.jsonl") if row["_id"] in qrels}
    bm25.build(
        (join_document(DocumentText(row.get("title", ""), row["text"])) for row in corpus), language, index_folder
    )
    doc_ids = [row["_id"] for row in corpus]
    tie_order = np.empty(len(doc_ids), np.int64)
    tie_order[sorted(range(len(doc_ids)), key=doc_ids.__getitem__, reverse=True)] = np.arange(len(doc_ids))
    results = bm25.open_index(index_folder).search(list(queries.values()), 100, tie_order=tie_order)
    run = {
        query_id: {doc_ids[row]: float(score) for row, score in zip(rows, scores, strict=True)}
        for query_id, (rows, scores) in zip(queries, results, strict=True)
    }
    values = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10", "recall_100"}).evaluate(run)
    return tuple(sum(value[name] for value in values.values()) / len(qrels) for name in ("ndcg_cut_10", "recall_100"))


@pytest.mark.shared
def test_scifact_has_lucenes_figures(shared: Path, tmp_path):
    folder = shared / "hub/datasets/mteb/scifact"
    ndcg, recall = figures(folder, folder / "qrels/test.jsonl", "eng-Latn", tmp_path / "index")
    assert ndcg == pytest.approx(0.6789, abs=0.0005)
    assert recall == pytest.approx(0.9253, abs=0.001)


@pytest.mark.shared
@pytest.mark.parametrize("language", ["ar", "de", "el", "en", "es", "hi", "ru", "tr", "zh"])
def test_xquad_has_lucenes_figures(shared: Path, tmp_path, language):
    folder = shared / "hub/datasets/mteb/XQuADRetrieval" / language
    ndcg, recall = figures(folder, folder / "qrels.jsonl", language, tmp_path / "index")
    assert ndcg == pytest.approx(reference(shared, "xquad", language)["nDCG@10"], abs=0.001)
    assert recall == pytest.approx(reference(shared, "xquad", language)["R@100"], abs=0.001)


@pytest.mark.shared
def test_cmrc_has_lucenes_figures(shared: Path, tmp_path):
    folder = shared / "hub/datasets/standin/cmrc2018-retrieval"
    ndcg, recall = figures(folder, folder / "qrels/dev.jsonl", "zho-Hans", tmp_path / "index")
    assert ndcg == pytest.approx(reference(shared, "cmrc2018", "zh")["nDCG@10"], abs=0.001)
    assert recall == pytest.approx(reference(shared, "cmrc2018", "zh")["R@100"], abs=0.001)


def reference(shared: Path, dataset: str, language: str) -> dict:
    rows = json.loads((shared / "reference/lucene_bm25.json").read_text())["rows"]
    (row,) = (row for row in rows if (row["dataset"], row["language"]) == (dataset, language))
    return row


@pytest.mark.shared
@pytest.mark.parametrize(("language", "least"), [("ro", 0.93), ("th", 0.96), ("th-x-threes", 0.96), ("vi", 0.93)])
def test_languages_without_a_reference_are_sensible(shared: Path, tmp_path, language, least):
    folder = shared / "hub/datasets/mteb/XQuADRetrieval" / language[:2]
    ndcg, _ = figures(folder, folder / "qrels.jsonl", language, tmp_path / "index")
    assert ndcg > least


@pytest.mark.slow
def test_fifty_thousand_documents_are_no_matter_of_minutes(tmp_path):
    """Generous: the aim is 15 s to index and 1 s for 1,000 queries on one idle core."""
    random = np.random.default_rng(0)
    words = np.array([f"word{number:x}ing" for number in range(60_000)])
    picks = np.minimum(random.zipf(1.15, (50_000, 60)), len(words)) - 1
    start = time.process_time()
    index = index_of((" ".join(words[row]) for row in picks), tmp_path)
    built = time.process_time()
    index.search([" ".join(words[row[:8]]) for row in picks[:1000]], 100)
    searched = time.process_time()
    assert built - start < 60
    assert searched - built < 20
    assert sum(os.path.getsize(path) for path in (tmp_path / "index").iterdir()) < 50_000 * 60 * 6


def test_the_index_is_the_same_to_the_byte_for_any_number_of_processes(tmp_path, monkeypatch):
    random = np.random.default_rng(1)
    texts = [" ".join(f"w{number}" for number in row) for row in random.zipf(1.3, (700, 20)) % 5000]
    monkeypatch.setattr(analysis, "_CHUNK", 64)
    monkeypatch.setattr(analysis, "ALONE", 128)
    bm25.build([*texts, "", "last"], "en", tmp_path / "one", workers=1, block_tokens=3000)
    bm25.build([*texts, "", "last"], "en", tmp_path / "many", workers=3)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "many" / path.name).read_bytes(), path.name


def test_an_analyzing_process_that_is_killed_is_one_line_and_no_index(tmp_path, monkeypatch):
    monkeypatch.setattr(analysis, "_CHUNK", 16)
    monkeypatch.setattr(analysis, "ALONE", 16)

    started, start = [], subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **more: started.append(start(*a, **more)) or started[-1])

    def texts():
        for number in range(10_000):
            if number == 600:
                for process in started:
                    process.kill()
            yield f"text {number}"

    with pytest.raises(HarnessError, match="ended with status -9 before its work did"):
        bm25.build(texts(), "en", tmp_path / "index", workers=2)
    assert list(tmp_path.iterdir()) == []
