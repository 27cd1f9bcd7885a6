"""Measures of queries that are one in several forms: by hand, equal to mteb's functions, and refused elsewhere."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, write_lines

from harness.data.mteb_task import look_up
from harness.errors import HarnessError
from harness.interchange.names import mteb_key
from harness.measures.groups import measure_groups, robustness
from harness.types import Measure, Qrels, Run


def ranking(*doc_ids: str) -> dict[str, float]:
    return {doc_id: -float(place) for place, doc_id in enumerate(doc_ids)}


def test_robustness_is_the_mean_of_each_groups_worst_ndcg():
    qrels = {query_id: {"x": 1} for query_id in ("a_1", "a_2", "b_1")}
    run = {"a_1": ranking("x", "y"), "a_2": ranking("y", "x"), "b_1": ranking("x")}
    found = robustness(run, qrels, {"a": ["a_1", "a_2"], "b": ["b_1"]}, 10)
    assert str(found.measure) == "robustness@10"
    assert found.values == pytest.approx({"a": 1 / math.log2(3), "b": 1.0})
    assert robustness(run, qrels, {"a": ["a_1", "a_2"], "b": ["b_1"]}, 1).values == {"a": 0.0, "b": 1.0}


def test_a_judged_query_that_the_run_misses_decides_its_group():
    qrels = {"a_1": {"x": 1}, "a_2": {"x": 1}}
    assert robustness({"a_1": ranking("x")}, qrels, {"a": ["a_1", "a_2"]}, 10).values == {"a": 0.0}


@pytest.mark.parametrize(
    ("groups", "message"),
    [({}, "there is none"), ({"a": []}, '"a" of robustness@10 holds no query'), ({"a": ["a_2"]}, '"a_2" of group "a"')],
)
def test_groups_without_judged_queries_are_an_error(groups, message):
    with pytest.raises(HarnessError, match=message):
        robustness({"a_1": ranking("x")}, {"a_1": {"x": 1}}, groups, 10)


def test_robustness_equals_mteb():
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, robustness_at_10

    rng = random.Random(4)
    doc_ids = [f"d{i}" for i in range(40)]
    query_ids = [f"{group}_{i}" for group in range(9) for i in range(rng.randrange(1, 6))]
    qrels = {q: {d: rng.choice([0, 1, 2]) for d in rng.sample(doc_ids, 12)} for q in query_ids}
    run = {q: {d: float(np.float32(rng.randrange(9) / 7)) for d in rng.sample(doc_ids, 30)} for q in query_ids}
    groups: dict[str, list[str]] = defaultdict(list)
    for query_id in query_ids:
        groups[query_id.split("_")[0]].append(query_id)
    scores = calculate_retrieval_scores(run, qrels, [1, 10]).all_scores
    assert robustness(run, qrels, groups, 10).mean == pytest.approx(robustness_at_10(qrels, run, scores), abs=1e-12)


# Paired accuracy, and the best over several queries.


def made_up(rng: random.Random, groups: dict[str, list[str]]) -> tuple[Run, Qrels]:
    """Runs with many ties over forty documents; the queries of a group are judged alike."""
    doc_ids = [f"d{i}" for i in range(40)]
    judged = {name: {d: rng.choice([0, 1, 2]) for d in rng.sample(doc_ids, 12)} for name in groups}
    qrels = {query_id: judged[name] for name, query_ids in groups.items() for query_id in query_ids}
    run = {q: {d: float(np.float32(rng.randrange(9) / 7)) for d in rng.sample(doc_ids, 30)} for q in qrels}
    return run, qrels


def test_both_queries_of_a_pair_must_find_their_document_first():
    qrels = {"a_q1": {"x": 1}, "a_q2": {"y": 1}, "b_q1": {"x": 1}, "b_q2": {"y": 1}}
    run = {"a_q1": ranking("x", "y"), "a_q2": ranking("y", "x"), "b_q1": ranking("x", "y"), "b_q2": ranking("x", "y")}
    groups = {"a": ["a_q1", "a_q2"], "b": ["b_q1", "b_q2"]}
    pairs = Measure.parse("paired-accuracy")
    assert measure_groups(pairs, run, qrels, groups).values == {"a": 1.0, "b": 0.0}
    assert measure_groups(pairs, run, qrels, groups, best=True).values == {"a": 1.0, "b": 1.0}


def test_paired_accuracy_equals_mteb():
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, paired_accuracy

    rng = random.Random(5)
    groups = {str(i): [f"{i}_q1", f"{i}_q2"] for i in range(40)}
    qrels = {q: {f"{q[:-3]}-{side}": int(q.endswith(side)) for side in "12"} for ids in groups.values() for q in ids}
    run = {q: {d: float(rng.randrange(3)) for d in judged} for q, judged in qrels.items()}
    scores = calculate_retrieval_scores(run, qrels, [1, 10]).all_scores
    found = measure_groups(Measure.parse("paired-accuracy"), run, qrels, groups)
    assert 0 < found.mean < 1
    assert found.mean == pytest.approx(paired_accuracy(qrels, run, scores), abs=1e-12)
    for name, ids in groups.items():
        one = paired_accuracy({q: qrels[q] for q in ids}, run, scores)
        assert found.values[name] == one


@pytest.mark.parametrize(("ours", "theirs"), [
    ("MAP@1000", "map_cut_1000"), ("nDCG@10", "ndcg_cut_10"), ("R@10", "recall_10"), ("P@3", "P_3"),
])  # fmt: skip
def test_the_best_over_several_queries_equals_mteb_query_by_query(monkeypatch, ours, theirs):
    """mteb rounds its means to five digits: what it measured of each merged query is looked at before."""
    from mteb._evaluators import retrieval_metrics

    rng = random.Random(6)
    groups = {f"u_{i}": [f"u_{i}_{j}" for j in range(rng.randrange(1, 6))] for i in range(15)}
    run, qrels = made_up(rng, groups)
    seen = []
    measured = retrieval_metrics.calculate_retrieval_scores
    monkeypatch.setattr(
        retrieval_metrics,
        "calculate_retrieval_scores",
        lambda *words, **named: seen.append(measured(*words, **named)) or seen[-1],
    )
    mean = retrieval_metrics.max_over_subqueries(qrels, run, [1, 3, 10, 1000])
    (values,) = (each.all_scores for each in seen)
    name, _, cutoff = ours.partition("@")
    found = measure_groups(Measure.parse(f"max-over-subqueries({name})@{cutoff}"), run, qrels, groups)
    assert found.values == pytest.approx({group: value[theirs] for group, value in values.items()}, abs=1e-12)
    assert found.mean == pytest.approx(mean[f"max_over_subqueries_{mteb_key(ours)[1]}"], abs=5.1e-6)


def test_no_order_of_the_same_documents_is_better_than_the_best():
    rng = random.Random(7)
    groups = {f"u{i}": [f"u{i}_{j}" for j in range(3)] for i in range(9)}
    run, qrels = made_up(rng, groups)
    run["u0_1"] = {}
    for text in ("max-over-subqueries(MAP)@1000", "max-over-subqueries(nDCG)@10", "robustness@10"):
        measure = Measure.parse(text)
        usual = measure_groups(measure, run, qrels, groups).values
        best = measure_groups(measure, run, qrels, groups, best=True).values
        assert all(best[name] >= value for name, value in usual.items())
        assert sum(best.values()) > sum(usual.values())


def test_queries_of_one_group_that_are_judged_differently_have_no_best():
    qrels = {"a_1": {"x": 1}, "a_2": {"y": 1}}
    with pytest.raises(HarnessError, match='"a_1" and "a_2" of one group are judged differently'):
        measure_groups(Measure.parse("max-over-subqueries(MAP)@10"), {}, qrels, {"a": ["a_1", "a_2"]})


@pytest.mark.parametrize(("text", "hint"), [
    ("paired_accuracy", "paired-accuracy"), ("max_over_subqueries_map_at_1000", "max-over-subqueries(MAP)@1000"),
    ("ndcg_at_10", "nDCG@10"), ("max-over-subqueries@10", "max-over-subqueries(MAP)@1000"),
])  # fmt: skip
def test_mtebs_names_are_led_to_ours(text, hint):
    with pytest.raises(ValueError, match=f"{hint[:6]}") as error:
        Measure.parse(text)
    assert hint in str(error.value)
    assert str(Measure.parse(hint)) == hint


@pytest.mark.parametrize(("name", "headline", "rule"), [
    ("NevIR", "paired-accuracy", "prefix:_"), ("MindSmallReranking", "max-over-subqueries(MAP)@1000", "stem:_"),
])  # fmt: skip
def test_tasks_of_mteb_with_such_a_main_score_have_it_as_headline(tmp_path, name, headline, rule):
    task = look_up(name, tmp_path)
    assert (str(task.headline), task.clusters, task.note) == (headline, rule, "")
    assert look_up(name, tmp_path, remembered=True) == task


# On real data: a card says which queries are one.


def folder_of(folder: Path, names: list[str], card: str = "", grade: int = 1) -> Path:
    """A query for each name, about the one document that it finds first but for every third."""
    documents = [{"_id": f"d{i}", "text": f"word{i} " * 2 + "amber"} for i in range(len(names))]
    write_lines(folder / "corpus.jsonl", [json.dumps(row) for row in documents])
    asked = [{"_id": name, "text": f"word{i + (i % 3 == 2)}"} for i, name in enumerate(names)]
    write_lines(folder / "queries.jsonl", [json.dumps(row) for row in asked])
    judged = [f"{name}\td{i}\t{grade}" for i, name in enumerate(names)]
    write_lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *judged])
    if card:
        write_lines(folder / "task.yaml", ["languages: [eng-Latn]", *card.split("; ")])
    return folder


@pytest.mark.parametrize("card", ["", "clusters: none", "clusters: shared relevant"])
@pytest.mark.parametrize("measure", ["robustness@10", "paired-accuracy", "max-over-subqueries(MAP)@10"])
def test_where_no_card_says_which_queries_are_one_the_measure_is_refused(cli: Cli, tmp_path, card, measure):
    folder = folder_of(tmp_path / "data", [f"test_query_{i}" for i in range(10)], card)
    answer = cli("run", folder, "--measures", measure)
    assert answer.code == 2
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error")]
    assert f"data cannot be measured by {measure}: it has one value for the queries that are one" in line
    assert 'clusters: {prefix: "_"}' in line
    assert "measures that it has: nDCG@10" in line


def test_robustness_is_the_worst_of_the_groups_of_the_card(cli: Cli, tmp_path):
    names = [f"{group}_{i}" for group in "abcd" for i in range(3)]
    folder = folder_of(tmp_path / "data", names, 'clusters: {prefix: "_"}; measures: [robustness@10, nDCG@10]')
    (result,) = cli("run", folder, "--format", "json").results()
    assert list(result["measures"])[:2] == ["robustness@10", "nDCG@10"]
    assert result["measures"]["robustness@10"]["first_stage"] == 0.0
    (limited,) = cli("run", folder, "--limit", 2, "--format", "json").results()
    assert limited["queries"] == 6  # two groups, whole


@pytest.mark.parametrize("rule", ['{prefix: "_"}', '{stem: "_"}'])
def test_a_stem_is_what_stands_before_the_last_sign_and_a_prefix_what_stands_before_the_first(cli, tmp_path, rule):
    names = [f"u_{pair}_{side}" for pair in range(6) for side in "ab"]
    card = f"clusters: {rule}; measures: [paired-accuracy]"
    (result,) = cli("run", folder_of(tmp_path / "data", names, card), "--format", "json").results()
    wanted = 0.0 if "prefix" in rule else 2 / 6
    assert result["measures"]["paired-accuracy"]["first_stage"] == pytest.approx(wanted)


@pytest.mark.parametrize(("measure", "told"), [
    ("p-MRR", "cannot be measured by p-MRR: it compares the rankings of a query under two instructions"),
    ("ERR@10", "cannot be measured by ERR@10: it is defined for grades from 0 to 4, and the judgements go up to 7"),
])  # fmt: skip
def test_a_measure_that_the_task_cannot_have_is_an_error_before_anything_is_scored(cli: Cli, tmp_path, measure, told):
    scored = tmp_path / "scored"
    write_lines(tmp_path / "mine.py", [
        "def rank(query, documents):", f"    open({str(scored)!r}, 'a').close()", "    return [1.0] * len(documents)",
        "rank.fingerprint = 'mine'",
    ])  # fmt: skip
    good = folder_of(tmp_path / "good", [f"q{i}" for i in range(10)])
    bad = folder_of(tmp_path / "bad", [f"q{i}" for i in range(10)], grade=7)
    tasks = [good, bad] if measure == "ERR@10" else [bad]
    answer = cli("run", *tasks, "--reranker", f"{tmp_path}/mine.py:rank", "--measures", f"nDCG@10,{measure}")
    assert (answer.code, f"bad {told}" in answer.err) == (2, True)
    assert not scored.exists()
    assert answer.out == ""


def test_pairs_need_two_queries(cli: Cli, tmp_path):
    names = ["a_q1", "a_q2", "b_q1"]
    answer = cli("run", folder_of(tmp_path / "data", names, 'clusters: {prefix: "_"}'), "--measures", "paired-accuracy")
    assert (answer.code, 'query "b_q1" has no other one in its group' in answer.err) == (2, True)
