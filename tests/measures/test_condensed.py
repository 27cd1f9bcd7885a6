"""Measures of condensed lists: what ir_measures says with judged_only, and asked for beside the usual ones."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from conftest import Cli

from harness.measures.measure import measure_run
from harness.types import Measure

PAIRS = {
    "nDCG(judged_only=True)@10": "nDCG(judged_only=True)@10",
    "MAP(judged_only=True)@100": "AP(judged_only=True)@100",
    "P(judged_only=True)@5": "P(judged_only=True)@5",
    "R(judged_only=True)@20": "R(judged_only=True)@20",
    "Success(judged_only=True)@1": "Success(judged_only=True)@1",
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_condensed_measure_is_that_of_ir_measures(name):
    numbers = np.random.default_rng(4)
    qrels = {f"q{q}": {f"d{d}": int(numbers.integers(0, 4)) for d in range(0, 60, 4)} for q in range(8)}
    run = {f"q{q}": {f"d{d}": float(numbers.random()) for d in range(60)} for q in range(7)}
    theirs = ir_measures.parse_measure(PAIRS[name])
    found = {value.query_id: value.value for value in ir_measures.iter_calc([theirs], qrels, run)}
    measure = Measure.parse(name)
    assert str(measure) == name
    ours = measure_run(run, qrels, [measure, Measure.parse("nDCG@10")])[measure].values
    assert {query_id: value for query_id, value in ours.items() if query_id in found} == pytest.approx(found, abs=1e-9)
    assert ours["q7"] == 0.0


def test_condensed_lists_are_measured_beside_the_usual_ones_where_asked(cli: Cli, collection_folder):
    plain = cli("run", collection_folder, "--format", "json").results()[0]
    both = cli("run", collection_folder, "--condensed", "--format", "json").results()[0]
    assert not any("judged_only" in name for name in plain["measures"])
    assert both["measures"]["nDCG@10"] == plain["measures"]["nDCG@10"]
    assert both["measures"]["nDCG(judged_only=True)@10"]["first_stage"] >= both["measures"]["nDCG@10"]["first_stage"]
    assert list(both["measures"])[:2] == ["nDCG@10", "nDCG(judged_only=True)@10"]
    assert cli("run", collection_folder, "--condensed", "--format", "json").results()[0]["reused"]


@pytest.mark.parametrize("text", ["Judged(judged_only=True)@10", "nDCG(judged_only=yes)@10", "bpref(judged_only=True)"])
def test_what_has_no_condensed_form_is_refused(text):
    with pytest.raises(ValueError, match="has no option"):
        Measure.parse(text)


def test_the_first_relevant_document_moves_up_over_those_that_nobody_judged():
    run, qrels = {"q": {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}}, {"q": {"c": 0, "d": 2, "e": 1}}
    measures = [
        Measure.parse("RR@10"),
        Measure.parse("RR(judged_only=True)@10"),
        Measure.parse("RR(judged_only=True)@1"),
    ]
    assert [found.mean for found in measure_run(run, qrels, measures).values()] == [0.25, 0.5, 0.0]
