"""Reranking over a store: what a run ranks is what the next one reads back, to the bit, in every context and family."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_kalm
import tiny_listwise
import tiny_rankllama
import tiny_t5
from commands.test_bad_input import one_line
from conftest import Cli, write_collection, write_lines
from golden_cases import model_folder, opened
from tiny_models import colbert, pylate, sentence_transformer

from harness.data.collection import Collection, prepare
from harness.data.task import folder_task
from harness.data.trec import read_run
from harness.engine.options import Options
from harness.engine.plan import plan_of
from harness.engine.store import ScoreStore
from harness.errors import HarnessError
from harness.rerankers import score
from harness.rerankers.base import Reranker
from harness.rerankers.plugin import wrap
from harness.rerankers.rerank import Reranked, rerank
from harness.retrievers.retrieve import digest_of_run
from harness.types import Candidates, DocumentText, QueryText, ranked
from tests.rerankers.families.test_remote import Call, Server, key, serve
from tests.rerankers.families.test_remote import opened as opened_remote

__all__ = ["key", "serve"]

Opened = Callable[[Path, Callable[..., Server]], list[Reranker]]

QUERIES = {"q1": "amber birch", "q2": "amber birch", "q3": "what is the river"}
"""Two of them have one text."""
TEXTS = [
    "the river is old",
    "amber and birch",
    "the river is old",
    "",
    "amber and birch",
    "one two three",
    "the river is old",
]


def of_asset(name: str, family: str | None = None, **settings: Any) -> Opened:
    return lambda home, _: opened(model_folder(name), home / "cache", family, **settings)


def of_made(make: Callable[[Path], object], family: str | None = None, **settings: Any) -> Opened:
    def open_made(home: Path, _: object) -> list[Reranker]:
        make(home / "made" / "model")
        return opened(home / "made" / "model", home / "cache", family, **settings)

    return open_made


def by_place(query: str, documents: list[str]) -> list[float]:
    """The first of the list is the best: equal texts differ."""
    return [float(len(documents) - place) for place in range(len(documents))]


def by_place_marked(query: str, documents: list[str]) -> list[float]:
    return by_place(query, documents)


by_place_marked.context = "pair"  # type: ignore[attr-defined]


class Predicting:
    """As a library whose batch moves the score a little."""

    def predict(self, pairs: list[tuple[str, str]]) -> list[float]:
        return [len(document) + place / 1000 for place, (_, document) in enumerate(pairs)]


FAMILIES: dict[str, Opened] = {
    "sequence-classification": of_asset("cross-encoder"),
    "rankllama": of_made(tiny_rankllama.write_model, template="rankllama"),
    "bge": of_asset("bge-reranker", "bge"),
    "layerwise": of_asset("bge-reranker-layerwise", cutoff_layers="2,3"),
    "lightweight": of_asset("bge-reranker-lightweight"),
    "enct5": of_asset("tart"),
    "causal": of_asset("mxbai-rerank-v2", template="mxbai-rerank-v2"),
    "selfrag": of_asset("selfrag", template="selfrag", score="full", max_new_tokens=4),
    "seq2seq": of_made(tiny_t5.write_t5, template="monot5"),
    "kalm": of_made(tiny_kalm.write_kalm, "kalm"),
    "listwise": of_made(tiny_listwise.write_model, "listwise", window=4, stride=2),
    "bi-encoder": lambda home, _: (
        sentence_transformer(home / "made") and opened(home / "made" / "model", home / "cache", "bi-encoder")
    ),
    "colbert": of_made(colbert),
    "pylate": of_made(pylate),
    "plug-in list": lambda *_: [wrap(by_place, "plugin")],
    "plug-in marked": lambda *_: [wrap(by_place_marked, "plugin")],
    "plug-in pairs": lambda *_: [wrap(Predicting(), "plugin")],
    "remote": lambda _, serve: [opened_remote("remote:tei/m", url=serve().url)],
    "remote list": lambda _, serve: [opened_remote("remote:jina/jina-reranker-v3", url=serve(placed).url)],
}


def placed(call: Call) -> None:
    """A listwise service: the earlier a document stands, the better."""
    call.answer([{"index": place, "relevance_score": -place} for place in range(len(call.documents))])


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """Seven documents of three texts, one of them blank; three queries."""
    folder = tmp_path / "data"
    corpus = [{"_id": f"d{place}", "title": "", "text": text or " \n\t\u3000"} for place, text in enumerate(TEXTS)]
    write_lines(folder / "corpus.jsonl", [json.dumps(row) for row in corpus])
    write_lines(folder / "queries.jsonl", [json.dumps({"_id": name, "text": text}) for name, text in QUERIES.items()])
    write_lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *(f"{name}\td0\t1" for name in QUERIES)])
    task = folder_task(folder, tmp_path / "cache")
    return prepare(task, task.subsets[0], tmp_path / "cache")


@pytest.fixture
def candidates() -> Candidates:
    """Every document in another order for each query; the second query lacks one."""
    orders = {"q1": [2, 6, 0, 3, 1, 4, 5], "q2": [6, 1, 2, 4, 0, 3], "q3": [4, 5, 1, 0, 3, 2, 6]}
    run = {name: {f"d{row}": float(-place) for place, row in enumerate(order)} for name, order in orders.items()}
    return Candidates(run, "bm25", digest_of_run(run))


def ranked_by(reranker: Reranker, candidates: Candidates, collection: Collection, home: Path) -> Reranked:
    """One run, with a store of its own opening."""
    with ScoreStore(home / "scores.sqlite") as store:
        return rerank(reranker, candidates, collection, store, Options(batch_tokens=64), "skip")


def bits(run: dict[str, dict[str, float]]) -> dict[str, list[tuple[str, str]]]:
    return {name: [(doc_id, value.hex()) for doc_id, value in scores.items()] for name, scores in run.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_result_and_the_one_read_back_are_the_same_to_the_bit(
    family: str, tmp_path: Path, serve: Any, collection: Collection, candidates: Candidates
):
    for reranker in FAMILIES[family](tmp_path, serve):
        fresh, again = (ranked_by(reranker, candidates, collection, tmp_path) for _ in range(2))
        assert bits(again.run) == bits(fresh.run)
        assert again.stored == again.pairs == fresh.pairs == 17
        np.testing.assert_array_equal(again.margins, fresh.margins)
        assert fresh.skipped == 3


def test_equal_texts_of_a_list_keep_their_places_when_they_are_read_back(
    tmp_path: Path, collection: Collection, candidates: Candidates
):
    reranker = wrap(by_place, "plugin")
    for _ in range(2):
        run = ranked_by(reranker, candidates, collection, tmp_path).run
        assert run["q1"] == {"d2": 6, "d6": 5, "d0": 4, "d1": 3, "d4": 2, "d5": 1, "d3": pytest.approx(1)}
        assert run["q2"] == {"d6": 5, "d1": 4, "d2": 3, "d4": 2, "d0": 1, "d3": pytest.approx(1)}


def test_queries_of_one_text_with_other_candidates_are_two_lists(
    tmp_path: Path, collection: Collection, candidates: Candidates
):
    seen = []

    def rank(query: str, documents: list[str]) -> list[float]:
        seen.append((query, documents))
        return by_place(query, documents)

    for _ in range(2):
        ranked_by(wrap(rank, "plugin"), candidates, collection, tmp_path)
    assert [query for query, _ in seen] == list(QUERIES.values())
    assert len(seen[0][1]) == 6
    assert len(seen[1][1]) == 5


# -- nothing to score


@pytest.mark.parametrize("family", [name for name in FAMILIES if "list" not in name and "marked" not in name])
def test_an_empty_request_is_prepared_and_planned_without_a_batch(family: str, tmp_path: Path, serve: Any):
    for reranker in FAMILIES[family](tmp_path, serve):
        prepared = reranker.load().prepare([], [], np.empty((0, 2), np.int64))
        assert len(prepared.lengths) == len(prepared.lost) == 0
        assert plan_of(prepared, 64) == []


def test_no_pair_at_all_is_one_line(tmp_path: Path):
    (reranker,) = opened(model_folder("cross-encoder"), tmp_path)
    for ask in (score.margins_of, score.score_pairs, lambda given, pairs: score.prepare(given.load(), pairs)):
        with pytest.raises(HarnessError, match="there is no pair to score"):
            ask(reranker, [])


@pytest.mark.parametrize("blank", ["", " ", "\t\r\n", "\u3000\u00a0\u2028"])
def test_a_document_without_text_is_never_sent(blank: str, tmp_path: Path, serve: Any, cli: Cli):
    """The service answers 400 to blanks, as some do."""

    def refuse_blanks(call: Call) -> None:
        if any(not text.strip() for text in call.documents):
            call.reply(400, {"error": "blank"})
        else:
            call.answer()

    server = serve(refuse_blanks)
    folder = write_collection(tmp_path / "birds", documents=6, queries=2)
    lines = (folder / "corpus.jsonl").read_text().splitlines()
    lines[1] = json.dumps({"_id": "d01", "title": blank and "\n", "text": blank})
    write_lines(folder / "corpus.jsonl", lines)
    (tmp_path / "run.trec").write_text("".join(f"q0 Q0 d0{row} {row} {9 - row} x\n" for row in range(6)))
    words = ("run", folder, "--candidates", "run.trec", "--reranker", "remote:tei/m", "--set", f"url={server.url}")
    one_line(cli(*words), "1 candidates", '"d01"', "--missing-text skip")
    assert cli(*words, "--missing-text", "skip", "--save-runs", "runs").code == 0
    assert not any(text for call in server.calls for text in call.documents if not text.strip())
    (run,) = [read_run(path)["q0"] for path in Path("runs").rglob("*.trec") if "remote" in str(path)]
    assert run.keys() == {f"d0{row}" for row in range(6)}
    assert ranked(run)[-1] == "d01"


def test_a_blank_document_is_no_pair_of_a_file(tmp_path: Path, cli: Cli):
    write_lines(tmp_path / "pairs.jsonl", [json.dumps({"query": "river", "title": " ", "text": " \n"})])
    one_line(cli("score", model_folder("cross-encoder"), tmp_path / "pairs.jsonl"), "line 1", "no text")


def test_candidates_without_any_text_are_one_line(tmp_path: Path, collection: Collection, candidates: Candidates):
    blank = replace(candidates, run={"q1": {"d3": 1.0}})
    with pytest.raises(HarnessError, match="no candidate of bm25 has a text"):
        ranked_by(wrap(by_place, "plugin"), blank, collection, tmp_path)


@pytest.mark.parametrize(
    ("family", "too_few"), [("cross-encoder", 3), ("rankllama", 2), ("seq2seq", 1), ("colbert", 3), ("bi-encoder", 2)]
)
def test_a_length_that_holds_special_tokens_alone_is_refused(family: str, too_few: int, tmp_path: Path):
    for length in (too_few + 1, too_few):
        name = "document_length" if family == "colbert" else "max_length"
        home = tmp_path / str(length)
        open_one = {
            "cross-encoder": of_asset("cross-encoder", **{name: length}),
            "rankllama": of_made(tiny_rankllama.write_model, template="rankllama", **{name: length}),
            "seq2seq": of_made(tiny_t5.write_t5, template="monot5", **{name: length}),
            "colbert": of_made(colbert, **{name: length}),
            "bi-encoder": lambda home, _, length=length: (
                sentence_transformer(home / "made")
                and opened(home / "made" / "model", home / "cache", "bi-encoder", max_length=length)
            ),
        }[family]
        (reranker,) = open_one(home, None)
        pair = [(QueryText("river"), DocumentText("", "the river"))]
        if length > too_few:
            assert np.isfinite(score.margins_of(reranker, pair)).all()
        else:
            with pytest.raises(HarnessError, match="special tokens"):
                score.margins_of(reranker, pair)


# -- half a character


@pytest.mark.parametrize("where", ["query", "instruction", "title", "text"])
def test_half_of_a_surrogate_pair_is_one_line_that_names_the_pair(where: str, tmp_path: Path):
    (reranker,) = opened(model_folder("cross-encoder"), tmp_path)
    given = {"query": "river", "instruction": "", "title": "", "text": "the river", where: "half \ud83d of one"}
    pair = QueryText(given["query"], given["instruction"]), DocumentText(given["title"], given["text"])
    whole = QueryText("river"), DocumentText("", "the river \U0001f600")
    with pytest.raises(HarnessError, match="pair 2 holds half of a surrogate pair"):
        score.score_pairs(reranker, [whole, pair])
    assert len(score.score_pairs(reranker, [whole])) == 1


def test_a_pair_that_holds_no_text_is_one_line():
    reranker = wrap(lambda _, documents: [0.0] * len(documents), "mine")
    pairs: Any = [(QueryText("river"), DocumentText("", text)) for text in ("the river", None)]
    with pytest.raises(HarnessError, match="pair 2 holds NoneType where a text is needed"):
        score.score_pairs(reranker, pairs)


def test_half_of_a_surrogate_pair_among_queries_is_one_line(
    tmp_path: Path, collection: Collection, candidates: Candidates
):
    broken = replace(collection, queries={**collection.queries, "q3": QueryText("\udc00")})
    with pytest.raises(HarnessError, match='query "q3" holds half of a surrogate pair'):
        ranked_by(wrap(by_place, "plugin"), candidates, broken, tmp_path)


# -- a store that goes


REMOVING = '''
import os, pathlib

calls = pathlib.Path(os.environ["CALLS"])


class Removing:
    """Removes the store, or what belongs to it, at the third batch it is asked for."""

    fingerprint = "removing 1"

    def predict(self, pairs):
        with calls.open("a") as log:
            log.writelines(f"{query}\\t{document}\\n" for query, document in pairs)
        if len(calls.read_text().splitlines()) > 20 and not calls.with_suffix(".done").exists():
            calls.with_suffix(".done").touch()
            for path in pathlib.Path(os.environ["RERANK_HARNESS_CACHE"]).glob(os.environ["DOOMED"]):
                path.unlink()
        return [len(document) for _, document in pairs]


removing = Removing()
'''


@pytest.mark.parametrize("doomed", ["scores.sqlite", "scores.sqlite*"])
def test_a_store_removed_in_mid_run_is_named_and_no_score_is_lost(
    doomed: str, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    log = tmp_path / "calls.tsv"
    monkeypatch.setenv("CALLS", str(log))
    monkeypatch.setenv("DOOMED", doomed)
    (tmp_path / "removing.py").write_text(REMOVING)
    words = ("run", write_collection(tmp_path / "birds"), "--reranker", "removing.py:removing", "--batch-tokens", 8)
    one_line(cli(*words), "scores.sqlite was removed or replaced", "run the command again")
    asked = log.read_text().splitlines()
    assert len(asked) > 20
    answer = cli(*words, "--format", "json")
    assert answer.code == 0
    assert log.read_text().splitlines() == asked
    assert (
        cli(*words, "--format", "json", "--results", "again").results()[0]["measures"]
        == answer.results()[0]["measures"]
    )
