"""Stage 4: every measure against trec_eval's own expected outputs, mteb, and formulas written anew here."""

from __future__ import annotations

import csv
import gzip
import itertools
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from harness.errors import HarnessError
from harness.measures.measure import measure_run, missing_queries, oracle, require_finite, tie_rate
from harness.types import Measure, Measurement, Qrels, Run, cut

RANKING_MEASURES = ("nDCG", "nDCG@1", "nDCG@3", "nDCG@10", "MAP", "MAP@2", "MAP@1000", "R@1", "R@7", "R@100")
RANKING_MEASURES += ("RR", "RR@1", "RR@2", "RR@10", "P@1", "P@7", "P@50", "Success@1", "Success@3", "Judged@3")
RANKING_MEASURES += ("Judged@10",)


def measured(run: Run, qrels: Qrels, name: str, relevance_level: int = 1) -> Measurement:
    measure = Measure.parse(name)
    return measure_run(run, qrels, [measure], relevance_level)[measure]


def random_run(rng: random.Random, queries: int = 12, documents: int = 15) -> tuple[Run, Qrels]:
    """Few distinct scores, so ties abound; some queries missing, empty, unjudged or without a relevant document."""
    doc_ids = [f"d{i}" for i in range(documents)]
    run: Run = {}
    qrels: Qrels = {}
    for i in range(queries):
        judged = rng.sample(doc_ids, rng.randrange(documents))
        qrels[f"q{i}"] = {doc_id: rng.choice([-1, 0, 0, 1, 1, 2, 3]) for doc_id in judged}
        ranked_ids = rng.sample(doc_ids, rng.randrange(documents))
        if rng.random() < 0.9:
            run[f"q{i}"] = {doc_id: rng.randrange(5) / 4 for doc_id in ranked_ids}
    run["unjudged"] = {"d1": 1.0}
    return run, qrels


# The formulas once more, from their definitions and without any code of the harness.


def plain_ranking(scores: dict[str, float]) -> list[str]:
    return [doc_id for _, doc_id in sorted(((np.float32(s), d) for d, s in scores.items()), reverse=True)]


def plain_dcg(gains: list[int]) -> float:
    return sum(max(gain, 0) / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def plain_value(name: str, ranking: list[str], judged: dict[str, int], level: int) -> float:
    kind, _, cutoff = name.partition("@")
    top = ranking[: int(cutoff)] if cutoff else ranking
    hits = [judged.get(doc_id, 0) >= level for doc_id in top]
    relevant = sum(relevance >= level for relevance in judged.values())
    if kind == "nDCG":
        ideal = plain_dcg(sorted(judged.values(), reverse=True)[: int(cutoff) if cutoff else None])
        return plain_dcg([judged.get(doc_id, 0) for doc_id in top]) / ideal if ideal else 0.0
    if kind == "MAP":
        return sum(sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit) / relevant if relevant else 0.0
    if kind == "R":
        return sum(hits) / relevant if relevant else 0.0
    if kind == "RR":
        return 1 / (hits.index(True) + 1) if any(hits) else 0.0
    if kind == "P":
        return sum(hits) / int(cutoff)
    if kind == "Success":
        return float(any(hits))
    return sum(doc_id in judged for doc_id in top) / len(top) if top else 0.0


@pytest.mark.parametrize("name", RANKING_MEASURES)
@pytest.mark.parametrize("level", [1, 2])
def test_every_measure_equals_its_formula_on_random_runs(name, level):
    rng = random.Random(f"{name} {level}")
    for _ in range(20):
        run, qrels = random_run(rng)
        expected = {
            query_id: plain_value(name, plain_ranking(run.get(query_id, {})), judged, level)
            for query_id, judged in qrels.items()
            if judged
        }
        found = measured(run, qrels, name, level)
        assert found.measure == Measure.parse(name)
        assert dict(found.values) == pytest.approx(expected, abs=1e-12)
        assert list(found.values) == list(expected)
        assert found.mean == pytest.approx(sum(expected.values()) / len(expected), abs=1e-12)


def test_measures_asked_for_together_equal_those_asked_for_alone():
    run, qrels = random_run(random.Random(7))
    together = measure_run(run, qrels, [Measure.parse(name) for name in RANKING_MEASURES])
    assert [str(measure) for measure in together] == list(RANKING_MEASURES)
    for name in RANKING_MEASURES:
        assert together[Measure.parse(name)] == measured(run, qrels, name)


def test_a_ranking_worked_by_hand():
    run = {"q": {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}}
    qrels = {"q": {"b": 2, "d": 1, "e": 3, "c": 0}}
    dcg, ideal = 2 / math.log2(3) + 1 / math.log2(5), 3 + 2 / math.log2(3) + 1 / 2
    expected = {"nDCG": dcg / ideal, "MAP": (1 / 2 + 2 / 4) / 3, "MAP@3": 1 / 2 / 3, "R@2": 1 / 3, "RR": 1 / 2}
    expected |= {"RR@1": 0, "P@10": 2 / 10, "P@2": 1 / 2, "Success@1": 0, "Success@2": 1, "Judged@2": 1 / 2}
    expected |= {"Judged@100": 3 / 4}
    assert {name: measured(run, qrels, name).mean for name in expected} == pytest.approx(expected, abs=1e-15)


# Missing queries.


def test_a_query_missing_from_the_run_counts_as_zero():
    qrels = {"found": {"a": 1}, "absent": {"b": 1}}
    for run in ({"found": {"a": 1.0}}, {"found": {"a": 1.0}, "absent": {}}):
        for name in RANKING_MEASURES:
            found = measured(run, qrels, name)
            assert found.values["absent"] == 0.0, name
            assert found.mean == found.values["found"] / 2, name
        assert measured(run, qrels, "nDCG@10").mean == 0.5
        assert missing_queries(run, qrels) == ["absent"]


def test_a_run_that_misses_every_query_has_the_value_zero():
    for name in RANKING_MEASURES:
        assert measured({}, {"q": {"a": 1}}, name).values == {"q": 0.0}
        assert measured({"other": {"a": 1.0}}, {"q": {"a": 1}}, name).values == {"q": 0.0}


def test_a_query_without_judgements_is_left_out():
    run, qrels = {"q": {"a": 1.0}, "unjudged": {"a": 1.0}, "empty": {"a": 1.0}}, {"q": {"a": 1}, "empty": {}}
    assert measured(run, qrels, "nDCG@10").values == {"q": 1.0}
    assert missing_queries({}, qrels) == ["q"]


def test_a_judged_query_without_a_relevant_document_counts_as_zero():
    run, qrels = {"q": {"a": 1.0}, "none": {"a": 1.0}}, {"q": {"a": 1}, "none": {"a": 0, "b": -1}}
    for name in ("nDCG", "nDCG@10", "MAP", "MAP@10", "R@10", "RR@10", "P@1", "Success@10"):
        assert measured(run, qrels, name).values == {"q": 1.0, "none": 0.0}, name


# Ties.


def test_a_constant_scorer_is_ranked_by_document_id_descending():
    relevant_last = {"q": {"d1": 1}}
    assert measured({"q": dict.fromkeys(["d1", "d2", "d3", "d4"], 0.5)}, relevant_last, "RR").mean == 1 / 4
    assert measured({"q": dict.fromkeys(["d4", "d3", "d2", "d1"], 0.5)}, relevant_last, "RR").mean == 1 / 4


def test_scores_that_differ_only_in_double_precision_tie():
    run, qrels = {"q": {"a": 1 + 1e-9, "b": 1.0}}, {"q": {"a": 1}}
    assert measured(run, qrels, "RR").mean == 1 / 2
    assert tie_rate(run) == 1.0


def test_the_order_in_which_a_run_stores_its_documents_does_not_matter():
    rng = random.Random(5)
    run, qrels = random_run(rng)
    shuffled = {query_id: dict(rng.sample(list(s.items()), len(s))) for query_id, s in reversed(run.items())}
    for name in RANKING_MEASURES:
        assert measured(run, qrels, name) == measured(shuffled, qrels, name)


def test_the_tie_rate_is_the_share_of_documents_that_share_their_score_within_their_query():
    assert tie_rate({"q": {"a": 1.0, "b": 1.0, "c": 0.5}, "p": {"a": 1.0}}) == 2 / 4
    assert tie_rate({"q": {"a": 0.0, "b": -0.0}}) == 1.0
    assert tie_rate({"q": {"a": 1.0, "b": 0.5}}) == 0.0
    assert tie_rate({"q": {}}) == 0.0
    assert tie_rate({}) == 0.0


# Scores that are no numbers, and other mistakes.


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e39, np.float32("nan")])
def test_a_score_that_is_not_finite_is_an_error_that_names_the_pair(score):
    run = {"fine": {"a": 1.0}, "q17": {"a": 1.0, "d42": score}}
    with pytest.raises(HarnessError, match='"q17" and document "d42"'):
        measured(run, {"fine": {"a": 1}}, "nDCG@10")
    with pytest.raises(HarnessError, match='"q17" and document "d42"'):
        require_finite(run)


def test_the_largest_float32_is_a_score():
    largest = float(np.finfo(np.float32).max)
    assert measured({"q": {"a": -largest, "b": largest}}, {"q": {"a": 1}}, "RR").mean == 1 / 2


@pytest.mark.parametrize(
    "measure", [Measure("p-MRR"), Measure("robustness", 10), Measure("P"), Measure("utility"), Measure("bpref", 5)]
)
def test_a_measure_that_one_run_does_not_decide_is_refused(measure):
    with pytest.raises(HarnessError, match=str(measure)):
        measure_run({"q": {"a": 1.0}}, {"q": {"a": 1}}, [measure])


@pytest.mark.parametrize("qrels", [{}, {"q": {}}])
def test_qrels_without_a_judgement_are_refused(qrels):
    with pytest.raises(HarnessError, match="no judgement"):
        measured({"q": {"a": 1.0}}, qrels, "nDCG@10")


def test_a_relevance_level_below_one_is_refused():
    with pytest.raises(HarnessError, match="relevance level 0"):
        measured({"q": {"a": 1.0}}, {"q": {"a": 1}}, "nDCG@10", relevance_level=0)


def test_ids_of_any_characters_are_kept_apart():
    names = ["a\0b", "a\0c", "\ud800", "spa ce", "文書", "unranked 0", "0", ""]
    run = {name: {doc_id: -float(i) for i, doc_id in enumerate(names)} for name in names}
    qrels = {name: {name: 1} for name in names}
    assert measured(run, qrels, "RR").values == {name: 1 / (i + 1) for i, name in enumerate(names)}


@pytest.mark.parametrize("doc_id", ["0", "1", "unranked 0"])
def test_a_judged_document_that_is_not_ranked_is_not_taken_for_a_ranked_one(doc_id):
    assert measured({"q": {"a": 2.0, "b": 1.0}}, {"q": {doc_id: 1}}, "RR").mean == 0.0


# Judged@k.


def test_a_document_judged_for_another_query_is_not_judged():
    run = {"q": {"a": 2.0, "b": 1.0}, "p": {"a": 1.0, "b": 2.0}}
    qrels = {"q": {"a": 0}, "p": {"b": 1}}
    assert measured(run, qrels, "Judged@10").values == {"q": 1 / 2, "p": 1 / 2}
    assert measured(run, qrels, "Judged@1").values == {"q": 1.0, "p": 1.0}


# The oracle.


def test_positives_that_the_first_stage_missed_count_as_missed():
    run, qrels = {"q": {"a": 0.1, "x": 0.9}}, {"q": {"a": 1, "b": 1}}
    best = oracle(run, qrels)
    assert best == {"q": {"a": 1.0, "x": 0.0}}
    assert measured(best, qrels, "R@100").mean == 0.5
    assert measured(best, qrels, "MAP@100").mean == 0.5
    assert measured(best, qrels, "nDCG@10").mean == pytest.approx(1 / (1 + 1 / math.log2(3)))


@pytest.mark.parametrize("level", [1, 2])
def test_no_order_of_the_candidates_beats_the_oracle(level):
    rng = random.Random(level)
    doc_ids = ["a", "b", "c", "d", "e"]
    names = [name for name in RANKING_MEASURES if not name.startswith("Judged")]
    measures = [Measure.parse(name) for name in names]
    for _ in range(4):
        qrels = {"q": {doc_id: rng.choice([-1, 0, 1, 2, 3]) for doc_id in rng.sample([*doc_ids, "missed"], 4)}}
        best = measure_run(oracle({"q": dict.fromkeys(doc_ids, 0.0)}, qrels), qrels, measures, level)
        orders = [
            measure_run({"q": {d: -float(i) for i, d in enumerate(order)}}, qrels, measures, level)
            for order in itertools.permutations(doc_ids)
        ]
        for measure in measures:
            assert best[measure].mean == pytest.approx(max(order[measure].mean for order in orders), abs=1e-12)


def test_the_oracle_adds_no_pair_and_drops_none():
    run, qrels = random_run(random.Random(3))
    best = oracle(run, qrels)
    assert {query_id: list(scores) for query_id, scores in best.items()} == {q: list(s) for q, s in run.items()}


# mteb.


def test_equal_to_mteb_per_query_and_in_the_mean_on_complete_runs_with_ties():
    from mteb._evaluators import retrieval_metrics as metrics

    rng = random.Random(11)
    doc_ids = [f"d{i}" for i in range(120)]
    qrels = {f"q{i}": {d: rng.choice([0, 1, 2]) for d in rng.sample(doc_ids, 30)} for i in range(40)}
    run = {q: {d: float(np.float32(rng.randrange(25) / 7)) for d in rng.sample(doc_ids, 100)} for q in qrels}
    assert tie_rate(run) > 0.5
    cutoffs = [1, 3, 5, 10, 20, 100, 1000]
    theirs = metrics.calculate_retrieval_scores(run, qrels, cutoffs)
    means = {"nDCG": theirs.ndcg, "MAP": theirs.map, "R": theirs.recall, "P": theirs.precision, "RR": theirs.mrr}
    labels = {"nDCG": "NDCG", "R": "Recall", "RR": "MRR", "MAP": "MAP", "P": "P"}
    per_query = {"nDCG": "ndcg_cut", "MAP": "map_cut", "R": "recall", "P": "P", "Success": "success"}
    reciprocal_ranks = metrics.mrr(qrels, run, cutoffs)
    for k in cutoffs:
        for name, key in per_query.items():
            expected = {query_id: theirs.all_scores[query_id][f"{key}_{k}"] for query_id in qrels}
            assert dict(measured(run, qrels, f"{name}@{k}").values) == pytest.approx(expected, abs=1e-6)
        expected = dict(zip(qrels, reciprocal_ranks[f"MRR@{k}"], strict=True))
        assert dict(measured(run, qrels, f"RR@{k}").values) == pytest.approx(expected, abs=1e-6)
        for name, mean in means.items():
            found = measured(run, qrels, f"{name}@{k}").mean
            # mteb rounds all means but MRR's to five decimals
            assert (found if name == "RR" else round(found, 5)) == pytest.approx(mean[f"{labels[name]}@{k}"], abs=1e-9)


# trec_eval's own expected outputs: the commands are those of its Makefile, `make quicktest`.


def opened(path: Path) -> list[str]:
    raw = path.read_bytes()
    lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def trec_run(path: Path) -> Run:
    run: Run = {}
    for query_id, _, doc_id, _, score, *_ in map(str.split, opened(path)):
        run.setdefault(query_id, {})[doc_id] = float(score)
    return run


def trec_qrels(path: Path) -> Qrels:
    qrels: Qrels = {}
    for query_id, _, doc_id, relevance, *_ in map(str.split, opened(path)):
        qrels.setdefault(query_id, {})[doc_id] = int(relevance)
    return qrels


TREC_NAMES = {"map": "MAP", "ndcg": "nDCG", "recip_rank": "RR"}
TREC_CUTS = {"map_cut": "MAP", "ndcg_cut": "nDCG", "P": "P", "recall": "R", "success": "Success"}


def expected_values(path: Path) -> Iterator[tuple[str, str, str]]:
    """(measure as we write it, query_id or `all`, printed value) for each measure that is ours too."""
    for line in opened(path):
        name, query_id, value = line.split("\t")
        family, _, cutoff = name.strip().rpartition("_")
        if name.strip() in TREC_NAMES:
            yield TREC_NAMES[name.strip()], query_id, value
        elif family in TREC_CUTS:
            yield f"{TREC_CUTS[family]}@{cutoff}", query_id, value


class Quicktest(NamedTuple):
    expected: str
    run: str = "results.test"
    qrels: str = "qrels.test"
    level: int = 1
    depth: int | None = None
    compared: int = 4 * 42  # values: three queries and `all`, times the measures of all_trec that are ours too


@pytest.mark.shared
@pytest.mark.parametrize(
    "case",
    [
        Quicktest("out.test", compared=11),
        Quicktest("out.test.a", compared=42),
        Quicktest("out.test.aq"),
        Quicktest("out.test.aqc", run="results.trunc"),
        Quicktest("out.test.aqcM", run="results.trunc", depth=100),
        Quicktest("out.test.aql", qrels="qrels.rel_level", level=2),
        Quicktest("out.test.meas_params", compared=4 * 11),
        Quicktest("out.comment.test", run="results.comment.test.gz", qrels="qrels.comment.test", compared=11),
    ],
    ids=lambda case: case.expected,
)
def test_every_printed_decimal_of_trec_eval_is_matched(shared, case):
    folder = shared / "data" / "trec_eval" / "test"
    run, qrels = trec_run(folder / case.run), trec_qrels(folder / case.qrels)
    if case.depth is not None:
        run = cut(run, case.depth)
    lines = list(expected_values(folder / case.expected))
    assert len(lines) == case.compared
    found = measure_run(run, qrels, [Measure.parse(name) for name, _, _ in lines], case.level)
    for name, query_id, printed in lines:
        measurement = found[Measure.parse(name)]
        value = measurement.mean if query_id == "all" else measurement.values[query_id]
        assert f"{value:.4f}" == printed, (name, query_id)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "ndcg", "recall", "average_precision"),
    [
        ("bm25.top100", 0.5058, 0.491, 0.2476),
        ("bm25_rm3.top100", 0.5216, 0.5259, 0.2807),
        ("openai_ada2.top100", 0.7035, 0.6235, 0.4151),
        ("repllama.top1000", 0.7384, 0.6602, 0.5298),
        ("splade_pp_ed.top100", 0.7308, 0.639, 0.4464),
        ("tasb.top100", 0.721, 0.6097, 0.405),
    ],
)
def test_the_figures_of_trec_dl19_runs_are_matched(shared, name, ndcg, recall, average_precision):
    folder = shared / "data" / "trec-dl19"
    qrels: Qrels = {}
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    run = trec_run(folder / "runs" / f"{name}.trec.gz")
    assert round(measured(run, qrels, "nDCG@10").mean, 4) == ndcg
    assert round(measured(run, qrels, "R@100", relevance_level=2).mean, 4) == recall
    assert round(measured(run, qrels, "MAP", relevance_level=2).mean, 4) == average_precision
