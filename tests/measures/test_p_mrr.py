"""p-MRR: worked by hand, and equal to mteb's function on runs with ties and absent documents."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.measures.p_mrr import p_mrr
from harness.types import Measure, Qrels, Run


def ranking(*doc_ids: str) -> dict[str, float]:
    return {doc_id: -float(place) for place, doc_id in enumerate(doc_ids)}


def instruction_run(rng: random.Random, bases: list[str], depth: int, levels: int) -> Run:
    """Float32 scores with few levels (many ties); each query ranks its own part of the documents."""
    doc_ids = [f"d{i}" for i in range(2 * depth)]
    return {
        f"{base}-{side}": {d: float(np.float32(rng.randrange(levels) / 7)) for d in rng.sample(doc_ids, depth)}
        for base in bases
        for side in ("og", "changed")
    }


def split(run: Run) -> tuple[Run, Run]:
    return (
        {query_id: scores for query_id, scores in run.items() if query_id.endswith("-og")},
        {query_id: scores for query_id, scores in run.items() if query_id.endswith("-changed")},
    )


def test_a_document_that_falls_from_first_to_fourth_followed_the_instruction():
    found = p_mrr({"q-og": ranking("x", "a", "b", "c")}, {"q-changed": ranking("a", "b", "c", "x")}, {"q": ["x"]})
    assert found.measure == Measure("p-MRR")
    assert found.values == {"q": 1 - 1 / 4}


def test_a_document_that_rises_from_fourth_to_first_went_against_the_instruction():
    found = p_mrr({"q-og": ranking("a", "b", "c", "x")}, {"q-changed": ranking("x", "a", "b", "c")}, {"q": ["x"]})
    assert found.values == {"q": 1 / 4 - 1}


def test_a_ranking_that_does_not_move_has_the_value_zero():
    same = ranking("a", "x", "b")
    assert p_mrr({"q-og": same}, {"q-changed": same}, {"q": ["x", "a"]}).values == {"q": 0.0}


def test_the_mean_is_over_the_documents_of_a_query_and_then_over_queries():
    original = {"q-og": ranking("x", "y"), "p-og": ranking("x", "y")}
    changed = {"q-changed": ranking("y", "x"), "p-changed": ranking("y", "x")}
    found = p_mrr(original, changed, {"q": ["x", "y"], "p": ["x"]})
    assert found.values == {"q": 0.0, "p": 0.5}
    assert found.mean == 0.25


def test_an_absent_document_ranks_just_after_the_last():
    gone = p_mrr({"q-og": ranking("x", "a", "b")}, {"q-changed": ranking("a", "b")}, {"q": ["x"]})
    assert gone.values == {"q": 1 - 1 / 3}
    never = p_mrr({"q-og": ranking("a", "b", "c")}, {"q-changed": ranking("a")}, {"q": ["x"]})
    assert never.values == {"q": 2 / 4 - 1}
    nothing_ranked = p_mrr({"q-og": {}}, {"q-changed": {}}, {"q": ["x"]})
    assert nothing_ranked.values == {"q": 0.0}


def test_a_base_query_without_a_changed_document_has_no_value():
    runs = {"q-og": ranking("x", "a"), "p-og": ranking("x")}, {"q-changed": ranking("a", "x"), "p-changed": {}}
    found = p_mrr(*runs, {"q": ["x"], "p": [], "ranked nowhere": []})
    assert found.values == {"q": 0.5}
    assert found.mean == 0.5


def test_one_run_of_both_sides_may_be_given_twice():
    both = {"q-og": ranking("x", "a"), "q-changed": ranking("a", "x")}
    assert p_mrr(both, both, {"q": ["x"]}).values == {"q": 0.5}


@pytest.mark.parametrize("qrel_diff", [{"q": ["x"], "p": ["x"]}, {"q": ["x"], "p": []}, {"q": ["x"]}])
def test_a_query_without_its_twin_is_an_error_that_names_it(qrel_diff):
    whole, half = ranking("x", "a"), {"q-og": ranking("x"), "p-og": ranking("x")}
    with pytest.raises(HarnessError, match='"p-og" is ranked without its twin "p-changed"'):
        p_mrr(half, {"q-changed": whole}, qrel_diff)
    with pytest.raises(HarnessError, match='"p-changed" is ranked without its twin "p-og"'):
        p_mrr({"q-og": whole}, {"q-changed": whole, "p-changed": whole}, qrel_diff)


def test_a_base_query_in_neither_run_is_an_error_that_names_it():
    with pytest.raises(HarnessError, match='neither "p-og" nor "p-changed"'):
        p_mrr({"q-og": ranking("x")}, {"q-changed": ranking("x")}, {"q": ["x"], "p": ["x"]})


@pytest.mark.parametrize("qrel_diff", [{}, {"q": []}])
def test_a_qrel_diff_without_a_document_is_an_error(qrel_diff):
    with pytest.raises(HarnessError, match="names none"):
        p_mrr({"q-og": ranking("x")}, {"q-changed": ranking("x")}, qrel_diff)


@pytest.mark.parametrize("side", ["og", "changed"])
def test_a_score_that_is_no_number_is_an_error_that_names_the_pair(side):
    run = {"q-og": ranking("x", "y"), "q-changed": ranking("x", "y")}
    run[f"q-{side}"]["y"] = math.nan
    with pytest.raises(HarnessError, match=f'"q-{side}" and document "y"'):
        p_mrr(run, run, {"q": ["x"]})


@pytest.mark.parametrize("levels", [3, 40, 10**6])
def test_p_mrr_equals_mteb_with_ties_absent_documents_and_queries_without_a_changed_document(levels):
    from mteb._evaluators.retrieval_metrics import calculate_pmrr

    rng = random.Random(levels)
    bases = [f"{i}" for i in range(15)]
    run = instruction_run(rng, bases, depth=60, levels=levels)
    run["3-og"], run["4-changed"] = {}, {}
    qrel_diff = {base: [f"d{i}" for i in rng.sample(range(130), rng.randrange(1, 9))] for base in bases}
    qrel_diff |= {"5": [], "6": [], "7": ["d1", "d1", "d2"]}
    original, changed = split(run)
    found = p_mrr(original, changed, qrel_diff)
    assert found.mean == pytest.approx(calculate_pmrr(original, changed, qrel_diff), abs=1e-12)
    assert len(found.values) == 13
    for base, value in found.values.items():
        assert value == pytest.approx(calculate_pmrr(original, changed, {base: qrel_diff[base]}), abs=1e-12)
        assert -1 <= value <= 1


def test_p_mrr_differs_from_mteb_only_where_scores_are_equal_in_float32_and_not_in_double():
    from mteb._evaluators.retrieval_metrics import calculate_pmrr

    original, changed = {"q-og": {"a": 1 + 1e-9, "b": 1.0}}, {"q-changed": ranking("a", "b")}
    assert calculate_pmrr(original, changed, {"q": ["b"]}) == 0.0
    assert p_mrr(original, changed, {"q": ["b"]}).mean == 0.5
    single = {"q-og": {doc_id: float(np.float32(score)) for doc_id, score in original["q-og"].items()}}
    assert calculate_pmrr(single, changed, {"q": ["b"]}) == 0.5


def json_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def made_up_score(query_id: str, doc_id: str, levels: int) -> float:
    digest = hashlib.blake2b(f"{query_id} {doc_id}".encode(), digest_size=8).digest()
    return float(np.float32(int.from_bytes(digest, "little") % levels / 13))


@pytest.mark.shared
@pytest.mark.parametrize("levels", [20, 2**32])
def test_p_mrr_equals_mteb_on_the_csfcube_instructions(shared, levels):
    from mteb._evaluators.retrieval_metrics import evaluate_p_mrr_change

    folder = shared / "hub" / "datasets" / "standin" / "csfcube-instructions"
    qrel_diff = {row["query-id"]: row["corpus-ids"] for row in json_lines(folder / "qrel_diff.jsonl")}
    qrels: Qrels = defaultdict(dict)
    for row in json_lines(folder / "qrels.jsonl"):
        qrels[row["query-id"]][row["corpus-id"]] = row["score"]
    run = {
        row["query-id"]: {d: made_up_score(row["query-id"], d, levels) for d in row["corpus-ids"]}
        for row in json_lines(folder / "top_ranked.jsonl")
    }
    found = p_mrr(*split(run), qrel_diff)
    assert len(found.values) == 16
    assert found.mean == pytest.approx(evaluate_p_mrr_change(qrels, run, qrel_diff, [1, 10])["p-MRR"], abs=1e-12)
