"""First stages: given lists without an order are whole or not at all, and nothing is cut by document id."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, Cli, write_collection, write_lines

from harness.data.collection import prepare
from harness.data.task import Cards, folder_task
from harness.engine.options import Options
from harness.errors import HarnessError
from harness.retrievers.retrieve import candidates_of, given_stage, memory_stage, open_first_stage
from harness.types import ranked

LISTS = {f"q{i}": [f"d{number:02d}" for number in range(24)] for i in range(6)}


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Six queries whose relevant documents have the smallest of the 24 ids of their lists."""
    folder = write_collection(tmp_path / "lists")
    rows = [{"query-id": query_id, "corpus-ids": doc_ids} for query_id, doc_ids in LISTS.items()]
    write_lines(folder / "top_ranked.jsonl", [json.dumps(row) for row in rows])
    return folder


def oracle_of(answer) -> float:
    (result,) = answer.results()
    return result["measures"]["R@24"]["oracle"]


def test_a_given_list_without_scores_is_never_cut(cli: Cli, given: Path):
    answer = cli("run", given, "--top-k", "10")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].endswith(
        "--top-k 10: the candidate lists that lists brings have no scores, so there is no best 10 of them. Leave it out "
        "and they are taken whole, or name the first stage that ranks: --retriever bm25, --candidates run.trec"
    )
    whole = cli("run", given, "--format", "json")
    assert (whole.code, oracle_of(whole)) == (0, 1.0)


def test_the_file_of_a_run_cannot_cut_a_given_list_either(cli: Cli, given: Path, tmp_path: Path):
    write_lines(tmp_path / "rerank-harness.toml", [f'tasks = ["{given}"]', "top-k = 10"])
    answer = cli("run")
    assert answer.code == 2
    assert "there is no best 10 of them" in answer.err


def test_a_first_stage_that_is_named_takes_the_place_of_a_given_list(cli: Cli, given: Path):
    answer = cli("run", given, "--retriever", "bm25", "--top-k", "10", "--format", "json")
    (result,) = answer.results()
    assert (result["retriever"], result["top_k"]) == ("bm25", 10)


def test_beside_tasks_that_are_retrieved_given_lists_stay_whole_and_that_is_said(cli: Cli, given: Path, tmp_path: Path):
    birds = write_collection(tmp_path / "birds")
    answer = cli("run", birds, given, "--top-k", "10", "--format", "json")
    assert [(result["retriever"], result["top_k"]) for result in answer.results()] == [("bm25", 10), ("given", None)]
    assert "--top-k 10 cuts what is retrieved; the candidate lists of lists have no scores and stay whole" in answer.err


def test_a_dry_run_refuses_what_the_run_would(cli: Cli, given: Path):
    assert cli("run", given, "--top-k", "10", "--dry-run").code == 2


def test_no_caller_can_cut_a_list_without_an_order(given: Path, tmp_path: Path):
    task = folder_task(given, tmp_path / "cache")
    collection = prepare(task, task.subsets[0], tmp_path / "cache")
    with pytest.raises(HarnessError, match="have no scores, so there are no 10 best of them"):
        candidates_of(given_stage(), collection, task, task.subsets[0], 10, tmp_path / "cache")


def test_a_run_of_one_score_is_not_cut_by_document_id(cli: Cli, collection_folder: Path, tmp_path: Path):
    lines = [
        f"{query_id} Q0 {doc_id} {rank} 1.0 x" for query_id in LISTS for rank, doc_id in enumerate(LISTS[query_id], 1)
    ]
    write_lines(tmp_path / "flat.trec", lines)
    answer = cli("run", collection_folder, "--candidates", "flat.trec", "--top-k", "10")
    assert answer.code == 2
    assert 'the 24 documents of query "q0" have one and the same score, so there is no best 10 of them' in answer.err
    assert cli("run", collection_folder, "--candidates", "flat.trec", "--top-k", "24").code == 0


@pytest.mark.parametrize(
    ("run", "k", "said"),
    [
        ({"q0": {"d00": 1e39}}, 10, 'score 1e\\+39 of query "q0" and document "d00" is no finite number of single'),
        ({"Q0": {"d00": 1.0}, "q1": {"d00": 1.0}}, 10, 'has query "q0", and the run has "Q0"'),
        ({"q0": {"D00": 1.0}}, 10, 'names document "D00", and the corpus has "d00"'),
        (
            {"q0": {f"d{i:02d}": 1 - i * 1e-9 for i in range(24)}},
            10,
            "have one and the same score, so there is no best 10",
        ),
    ],
)
def test_a_run_in_memory_is_held_to_what_a_file_is(collection_folder: Path, tmp_path: Path, run, k, said):
    task = folder_task(collection_folder, tmp_path / "cache")
    collection = prepare(task, task.subsets[0], tmp_path / "cache")
    with pytest.raises(HarnessError, match=said):
        candidates_of(memory_stage(run, "mine"), collection, task, task.subsets[0], k, tmp_path / "cache")


def test_the_pages_agree_on_the_cut_of_given_lists():
    pages = [(ROOT / "docs" / name).read_text() for name in ("tasks.md", "two-stages.md")]
    assert not any("whole unless `--top-k`" in page for page in pages)
    assert all("is an error" in page for page in pages)


# -- a list that is the scope of the search


def test_what_is_out_of_a_querys_scope_is_never_a_candidate_and_the_list_is_not_reranked_whole(tmp_path: Path):
    folder, cache = write_collection(tmp_path / "data", documents=300, queries=5), tmp_path / "cache"
    plain = folder_task(folder, cache)
    bm25 = open_first_stage("bm25", Options(), cache).for_subset(plain.subsets[0])
    whole = candidates_of(bm25, prepare(plain, plain.subsets[0], cache), plain, plain.subsets[0], 100, cache)
    best = {query_id: ranked(scores)[:3] for query_id, scores in whole.run.items()}
    rows = [
        {"query-id": query_id, "corpus-ids": [f"d{i:02d}" for i in range(300) if f"d{i:02d}" not in best[query_id]]}
        for query_id in best
    ]
    write_lines(folder / "top_ranked.jsonl", [json.dumps(row) for row in rows])
    task = replace(folder_task(folder, cache), given_lists=False, scoped=True)
    found = candidates_of(bm25, prepare(task, task.subsets[0], cache), task, task.subsets[0], 40, cache)
    deep = candidates_of(bm25, prepare(plain, plain.subsets[0], cache), plain, plain.subsets[0], 43, cache)
    assert {query_id: ranked(scores) for query_id, scores in found.run.items()} == {
        query_id: ranked(scores)[3:] for query_id, scores in deep.run.items()
    }
    assert all(len(scores) == 40 for scores in found.run.values())


def test_a_retrieval_task_of_mteb_with_lists_has_a_scope_and_a_reranking_task_has_candidates(tmp_path: Path):
    for name, given, scoped in (("OBLIQBenchMathRetrieval", False, True), ("AskUbuntuDupQuestions", True, False)):
        (task,) = Cards().resolve([name], tmp_path)
        assert (task.given_lists, task.scoped) == (given, scoped)
        assert ("may be retrieved for each query" in task.note) is scoped
