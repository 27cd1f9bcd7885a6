"""Measures beyond trec_eval's, against ir_measures' own providers, and the names that people type."""

from __future__ import annotations

import random

import pytest

from harness.errors import HarnessError
from harness.measures.measure import measure_run, oracle
from harness.types import Measure, ranked

MEASURES = [
    "ERR@5", "ERR@20", "RBP(p=0.8)", "RBP(p=0.5)", "Rprec", "bpref", "infAP", "nDCG(dcg='exp-log2')@10",
    "nDCG(dcg='exp-log2')@3",
]  # fmt: skip


def data(seed: int, highest: int = 4, lowest: int = 0) -> tuple[dict, dict]:
    """A run and qrels: ties of score none, judged documents that are not ranked, a query without anything relevant."""
    draw = random.Random(seed)
    qrels = {
        str(query): {f"d{doc}": draw.choice([*range(lowest, highest + 1), 0, 0]) for doc in draw.sample(range(60), 25)}
        for query in range(1, 9)
    }
    qrels["9"] = {"d1": 0, "d2": 0}
    run = {query: {f"d{doc}": draw.random() for doc in draw.sample(range(60), 30)} for query in qrels}
    return run, qrels


GRADED = [name for name in MEASURES if name.startswith(("ERR", "nDCG"))]


@pytest.mark.parametrize(
    ("name", "level"), [*((name, 1) for name in MEASURES), *((name, 2) for name in MEASURES if name not in GRADED)]
)
def test_every_value_is_that_of_ir_measures(name: str, level: int):
    import ir_measures

    written = {"RBP(p=0.8)": "RBP(p=0.8,rel={})", "RBP(p=0.5)": "RBP(p=0.5,rel={})", "bpref": "Bpref(rel={})"}
    theirs = written.get(name, name if name in GRADED else f"{name}(rel={{}})").format(level)
    run, qrels = data(level)
    run = {query: {doc: -float(rank) for rank, doc in enumerate(ranked(scores))} for query, scores in run.items()}
    expected = {
        metric.query_id: metric.value
        for metric in ir_measures.iter_calc([ir_measures.parse_measure(theirs)], qrels, run)
    }
    measure = Measure.parse(name)
    found = measure_run(run, qrels, [measure], level)[measure].values
    assert found == pytest.approx(expected, abs=1e-5 if name in GRADED else 1e-6)  # gdeval prints 5 digits


def test_infap_takes_a_grade_below_0_for_a_document_nobody_looked_at():
    import pytrec_eval

    run, qrels = data(5, lowest=-1)
    expected = pytrec_eval.RelevanceEvaluator(qrels, {"infAP"}).evaluate(run)
    measure = Measure.parse("infAP")
    found = measure_run(run, qrels, [measure])[measure].values
    assert found == pytest.approx({query: row["infAP"] for query, row in expected.items()}, abs=1e-9)


@pytest.mark.parametrize("seed", range(40))
def test_grades_far_below_0_are_those_of_documents_nobody_looked_at(seed: int):
    """trec_eval writes outside its memory for -2, which ends the process now and then."""
    run, qrels = data(seed, lowest=-4)
    clipped = {query: {doc: max(-1, grade) for doc, grade in judged.items()} for query, judged in qrels.items()}
    measures = [Measure.parse(name) for name in ("nDCG@10", "MAP", "infAP", "bpref", "Rprec")]
    found, expected = (measure_run(run, each, measures) for each in (qrels, clipped))
    assert {m: dict(v.values) for m, v in found.items()} == {m: dict(v.values) for m, v in expected.items()}


@pytest.mark.parametrize("name", MEASURES)
def test_no_order_of_the_candidates_beats_the_oracle(name: str):
    run, qrels = data(7)
    measure, draw = Measure.parse(name), random.Random(0)
    best = measure_run(oracle(run, qrels), qrels, [measure])[measure].values
    for _ in range(20):
        other = {query: {doc: draw.random() for doc in scores} for query, scores in run.items()}
        values = measure_run(other, qrels, [measure])[measure].values
        assert all(values[query] <= best[query] + 1e-12 for query in qrels)


def test_err_has_no_probability_for_higher_grades():
    with pytest.raises(HarnessError, match="grades from 0 to 4, and these judgements go up to 5"):
        measure_run({"q": {"d": 1.0}}, {"q": {"d": 5}}, [Measure("ERR", 10)])


@pytest.mark.parametrize("text", [*MEASURES, "nDCG@10", "RR", "MAP@1000"])
def test_a_measure_prints_as_it_is_written(text: str):
    assert str(Measure.parse(text)) == text


def test_what_is_usual_is_not_printed_and_what_is_not_is():
    assert str(Measure.parse("nDCG(dcg='log2')@10")) == "nDCG@10"
    assert str(Measure.parse('nDCG(dcg="exp-log2")@10')) == "nDCG(dcg='exp-log2')@10"
    assert str(Measure.parse("RBP")) == "RBP(p=0.8)"


@pytest.mark.parametrize(
    ("typed", "meant"),
    {
        "MRR@10": "RR@10", "mrr": "RR", "Recall@100": "R@100", "AP": "MAP", "ndcg_cut_10": "nDCG@10",
        "recip_rank": "RR", "Hit@1": "Success@1", "HitRate@5": "Success@5", "recall_100": "R@100",
        "P_5": "P@5", "map_cut_1000": "MAP@1000", "Precision@5": "P@5",
        "ndcg10": "nDCG@10", "Hit-Rate@1": "Success@1", "HR@5": "Success@5", "prec@5": "P@5", "nDCG@0": "nDCG@10",
        "αnDCG@10": "alpha-nDCG@10", "alpha_nDCG@5": "alpha-nDCG@5", "recall": "R@10", "nDGC": "nDCG", "RR10": "RR@10",
        "ndcg_exp@10": "nDCG(dcg='exp-log2')@10", "MAP @100": "MAP@100", "AP(rel=2)@10": "MAP@10",
        "success_1": "Success@1", "p_mrr": "p-MRR",
    }.items(),
)  # fmt: skip
def test_the_names_that_people_type_are_led_to_ours(typed: str, meant: str):
    with pytest.raises(ValueError, match="unknown measure") as raised:
        Measure.parse(typed)
    assert f'Did you mean "{meant}"?' in str(raised.value)
    Measure.parse(meant)


@pytest.mark.parametrize(
    ("typed", "meant"),
    {
        "map": "MAP",
        "ndcg@10": "nDCG@10",
        "NDCG@10": "nDCG@10",
        "err@20": "ERR@20",
        "Bpref": "bpref",
        "P-mrr": "p-MRR",
    }.items(),
)
def test_capitals_do_not_matter_where_one_measure_is_meant(typed: str, meant: str):
    assert Measure.parse(typed) == Measure.parse(meant)
    assert str(Measure.parse(typed)) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ERR", "needs a cutoff"), ("Rprec@5", "Rprec has no cutoff"), ("RBP(p=1)", "between 0 and 1"),
        ("RBP(p=x)", "between 0 and 1"), ("nDCG(dcg='e')@10", "no option"), ("MAP(rel=2)", "is --relevance-level 2"), ("MAP(x=2)", "no option"),
    ],
)  # fmt: skip
def test_a_measure_that_is_none_is_one_line(text: str, said: str):
    with pytest.raises(ValueError, match="measure") as raised:
        Measure.parse(text)
    assert said in str(raised.value)
