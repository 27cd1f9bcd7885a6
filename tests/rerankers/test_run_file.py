"""A ranking that is there already as first stage and reranker, held against others by the same tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Answer, Cli
from data_forms import FIRST, SECOND, beir, file, lines, logged, scored

from harness.data.trec import read_run

LOG = lines(logged("retrieval_score", "rerank_score"))
LONGER = "def longer(query, documents):\n    return [len(document) for document in documents]\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder of data, and the log of a search in production over it."""
    folder = tmp_path / "shop"
    folder.mkdir()
    beir(folder)
    file("prod.jsonl", LOG)(tmp_path)
    return folder


def rows(done: Answer) -> list[dict]:
    assert done.code == 0, done.err
    return done.results()


def test_a_log_is_both_stages_and_new_rerankers_rank_its_candidates(cli: Cli, shop, tmp_path):
    (tmp_path / "mine.py").write_text(LONGER)
    done = cli(
        "run",
        shop,
        "--reranker",
        "run:prod.jsonl",
        "--reranker",
        "mine.py:longer",
        "--save-runs",
        "runs",
        "--format",
        "json",
    )
    production, mine = rows(done)
    assert production["reranker"] == "run:prod"
    assert {row["retriever"] for row in (production, mine)} == {"prod"}
    # 2 has one relevant document: first in the search, second after the reranker.
    assert (production["measures"]["RR@10"]["first_stage"], production["measures"]["RR@10"]["reranked"]) == (1.0, 0.75)
    assert mine["measures"]["RR@10"]["first_stage"] == 1.0
    saved = {path.relative_to("runs").parts[0]: read_run(path) for path in Path("runs").rglob("*.trec")}
    assert saved["first-stage"] == FIRST
    assert saved["run-prod"] == SECOND


def test_its_result_is_kept_and_compared_with_others(cli: Cli, shop, tmp_path):
    (tmp_path / "mine.py").write_text(LONGER)
    words = ("run", shop, "--reranker", "run:prod.jsonl", "--reranker", "mine.py:longer")
    rows(cli(*words, "--format", "json"))
    again = cli("run", shop, "--reranker", "run:prod.jsonl")
    assert "changed" not in again.err
    assert "every score is that of the file" in again.out
    found = sorted(path for path in (tmp_path / "results").iterdir() if path.name != "first-stage")
    compared = cli("compare", *found)
    assert compared.code == 0, compared.err
    assert "run:prod" in compared.out
    (tmp_path / "prod.jsonl").write_text(LOG.replace("0.125", "0.875"))
    changed = cli("run", shop, "--reranker", "run:prod.jsonl", "--format", "json")
    assert rows(changed)[0]["measures"]["RR@10"]["reranked"] == 1.0


def test_a_ranking_with_one_score_is_its_own_first_stage(cli: Cli, shop, tmp_path):
    file("own.jsonl", lines(scored()))(tmp_path)
    (row,) = rows(cli("run", shop, "--reranker", "run:own.jsonl", "--format", "json"))
    assert row["measures"]["nDCG@10"]["difference"] == 0.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--reranker", "run:prod.jsonl", "--retriever", "all"), "run:prod has no score for 1 of the 6 candidates (such as query"),
        (("--reranker", "run:gone.jsonl"), "run:gone.jsonl: there is no file gone.jsonl; --reranker run:FILE is a ranking"),
        (("--reranker", "run:prod.jsonl", "--reranker", "run:other.jsonl"), "whose documents are the candidates: those of prod.jsonl, other.jsonl?"),
    ],
)  # fmt: skip
def test_what_it_cannot_rank_is_one_line_with_the_way_out(cli: Cli, shop, tmp_path, words, said):
    file("other.jsonl", LOG)(tmp_path)
    everything = [*scored(), {"query_id": "2", "doc_id": "007", "score": 0.1}]
    file("all.jsonl", lines(everything))(tmp_path)
    words = ["--candidates" if word == "--retriever" else "all.jsonl" if word == "all" else word for word in words]
    done = cli("run", shop, *words)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_it_scores_no_other_text(cli: Cli, shop, tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"query": "a", "text": "b"}\n')
    for words in (("check", "run:prod.jsonl"), ("score", "run:prod.jsonl", "pairs.jsonl")):
        done = cli(*words)
        assert done.code == 2
        assert "is a ranking of its own queries and documents: it has no score for another text" in done.err


def test_what_it_would_take_is_told_without_doing_it(cli: Cli, shop):
    done = cli("run", shop, "--reranker", "run:prod.jsonl", "--dry-run")
    assert done.code == 0, done.err
    assert "run:prod" in done.out
    assert not Path("results").exists()


def test_doubles_that_single_precision_makes_equal_are_told(cli: Cli, shop, tmp_path):
    file("own.json", json.dumps({"q-1": {"007": 1 - 1e-9, "1.0": 1 - 2e-9}, "2": {"1e5": 1.0}}))(tmp_path)
    (row,) = rows(cli("run", shop, "--reranker", "run:own.json", "--format", "json"))
    assert "RH030" in [each["code"] for each in row["diagnostics"]["cautions"]]
