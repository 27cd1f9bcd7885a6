"""alpha-nDCG against TREC's ndeval, and the forms in which judgements by aspect are read."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest
from conftest import Cli, write_lines

from harness.data.judgements import read_judgements, read_qrels
from harness.errors import HarnessError
from harness.measures.aspects import alpha_ndcg
from harness.types import Aspects, Measure, Run, ranked

Rows = list[tuple[str, str, str, int]]
"""query_id, aspect, doc_id, relevance: a line of TREC's diversity qrels each."""


def made_up(seed: int) -> tuple[Run, Aspects, Rows]:
    """Ties of score, unjudged and unranked documents, grades below 0, an empty list, a query without anything relevant."""
    draw = random.Random(seed)
    aspects: Aspects = {}
    for query in map(str, range(1, 7)):
        judged = {f"d{doc}": draw.sample("012345", draw.choice([1, 1, 2, 4])) for doc in draw.sample(range(40), 22)}
        aspects[query] = {d: {a: draw.choice([-2, 0, 0, 1, 1, 2]) for a in of} for d, of in judged.items()}
    aspects["7"] = {"d1": {"1": 0, "2": 0}}
    sizes = {query: draw.choice([3, 30]) for query in aspects} | {"6": 0}
    run = {q: {f"d{d}": float(draw.randrange(4)) for d in draw.sample(range(40), n)} for q, n in sizes.items()}
    rows = [(q, a, d, grade) for q, docs in aspects.items() for d, of in docs.items() for a, grade in of.items()]
    return run, aspects, sorted(rows, key=lambda row: row[1])


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("name", ["alpha-nDCG@1", "alpha-nDCG@5", "alpha-nDCG@20", "alpha-nDCG(alpha=0.3)@10"])
@pytest.mark.parametrize("seed", range(5))
def test_alpha_ndcg_is_that_of_ndeval(seed: int, name: str, level: int):
    pyndeval = pytest.importorskip("pyndeval")
    run, aspects, rows = made_up(seed)
    measure = Measure.parse(name)
    oracle = pyndeval.RelevanceEvaluator(rows, [f"alpha-nDCG@{measure.cutoff}"], level, measure.alpha)
    # The ranking is ours, so that its ties are broken by our rule.
    places = [(q, d, -float(i)) for q, scores in run.items() for i, d in enumerate(ranked(scores))]
    expected = {q: row[f"alpha-nDCG@{measure.cutoff}"] for q, row in oracle.evaluate(places).items()}
    found = alpha_ndcg(measure, run, {query: {} for query in aspects}, aspects, level).values
    assert found == pytest.approx({query: expected.get(query, 0.0) for query in aspects}, abs=1e-6)
    assert sum(found.values()) > 0 or measure.cutoff == 1


def test_ir_measures_says_the_same():
    ir_measures = pytest.importorskip("ir_measures")
    pytest.importorskip("pyndeval")
    run, aspects, rows = made_up(9)
    run = {query: {doc: -float(i) for i, doc in enumerate(ranked(scores))} for query, scores in run.items()}
    qrels = [ir_measures.Qrel(query, doc, grade, aspect) for query, aspect, doc, grade in rows]
    with warnings.catch_warnings(action="ignore"):
        seen = ir_measures.iter_calc([ir_measures.parse_measure("alpha_nDCG@10")], qrels, run)
        expected = {each.query_id: each.value for each in seen}
    found = alpha_ndcg(Measure.parse("alpha-nDCG@10"), run, {query: {} for query in aspects}, aspects).values
    assert found == pytest.approx(dict.fromkeys(aspects, 0.0) | expected, abs=1e-6)


# The forms of the qrels.

DIVERSE = ["q 1 a 2", "q 2 a 1", "q 2 b 1", "q 0 c 0"]
AS_ROWS = [dict(zip(("query-id", "aspect", "corpus-id", "score"), line.split(), strict=True)) for line in DIVERSE]
FORMS = {
    "test.txt": "\n".join(DIVERSE),
    "test.tsv": "query-id\tcorpus-id\tscore\tsubtopic\n" + "\n".join(
        f"{q}\t{d}\t{grade}\t{aspect}" for q, aspect, d, grade in map(str.split, DIVERSE)
    ),
    "test.jsonl": "\n".join(json.dumps({**row, "score": int(row["score"])}) for row in AS_ROWS),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_aspects_are_read_and_a_document_has_its_highest_relevance(tmp_path: Path, name: str):
    (tmp_path / name).write_text(FORMS[name] + "\n")
    qrels, aspects, *_ = read_judgements([tmp_path / name])
    assert qrels == {"q": {"a": 2, "b": 1, "c": 0}}
    assert aspects == {"q": {"a": {"1": 2, "2": 1}, "b": {"2": 1}, "c": {"0": 0}}}


@pytest.mark.parametrize("lines", [["q 0 a 1", "q Q0 b 1"], ["q 0 a 1", "p 1 b 1"]])
def test_a_second_column_that_says_nothing_is_no_aspect(tmp_path: Path, lines: list[str]):
    write_lines(tmp_path / "test.txt", lines)
    assert read_judgements([tmp_path / "test.txt"]).aspects is None


@pytest.mark.parametrize("lines", [["q 0 a 1", "q Q0 a 2"], ["q 3 a 1", "q 3 a 2", "q 1 b 1"]])
def test_one_pair_of_one_aspect_has_one_relevance(tmp_path: Path, lines: list[str]):
    write_lines(tmp_path / "test.txt", lines)
    with pytest.raises(HarnessError, match="a pair has one relevance"):
        read_qrels([tmp_path / "test.txt"])


# On the command line.


def folder_of(folder: Path, qrels: list[str], name: str = "test.txt") -> Path:
    """Two documents for each of three queries, and the two say nearly the same."""
    rows = [{"_id": f"d{i}{side}", "text": f"word{i} amber {side}"} for i in range(3) for side in "xy"]
    write_lines(folder / "corpus.jsonl", [json.dumps(row) for row in rows])
    write_lines(folder / "queries.jsonl", [json.dumps({"_id": f"q{i}", "text": f"word{i}"}) for i in range(3)])
    write_lines(folder / "qrels" / name, qrels)
    return folder


def test_a_run_over_diverse_judgements_has_alpha_ndcg_beside_the_usual_measures(cli: Cli, tmp_path: Path):
    lines = [f"q{i} {aspect} d{i}{side} 1" for i in range(3) for aspect, side in (("1", "x"), ("2", "x"), ("2", "y"))]
    folder = folder_of(tmp_path / "data", lines)
    (result,) = cli("run", folder, "--measures", "alpha-nDCG@10,nDCG@10", "--format", "json").results()
    row = result["measures"]["alpha-nDCG@10"]
    # By doc_id, descending, y stands first: 1 + 1.5 / log2(3), against 2 + .5 / log2(3).
    assert row["first_stage"] == pytest.approx((1 + 1.5 * 0.6309297535714575) / (2 + 0.5 * 0.6309297535714575))
    assert row["oracle"] is None
    assert result["measures"]["nDCG@10"]["first_stage"] == 1.0


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
@pytest.mark.parametrize("measure", ["alpha-nDCG@10", "p-MRR", "robustness@10", "ERR@10"])
def test_run_and_dry_run_refuse_a_measure_that_the_data_cannot_have(cli: Cli, tmp_path, measure, dry, prepared):
    folder = folder_of(
        tmp_path / "data", ["query-id\tcorpus-id\tscore", *(f"q{i}\td{i}x\t7" for i in range(3))], "test.tsv"
    )
    if prepared:
        assert cli("run", folder).code == 0
    answer = cli("run", folder, "--measures", f"nDCG@10,{measure}", *dry)
    assert answer.code == 2
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error")]
    assert f"data cannot be measured by {measure}: " in line
    assert "measures that it has: nDCG@10" in line


@pytest.mark.parametrize(("measure", "told"), [
    ("p-MRR", "no qrel_diff"), ("alpha-nDCG@10", "a column named aspect"), ("robustness@10", "write a card with clusters"),
])  # fmt: skip
def test_a_dry_run_refuses_by_the_card_where_the_data_are_not_here(cli: Cli, measure, told):
    answer = cli("run", "SciFact", "--measures", measure, "--dry-run")
    assert (answer.code, f"SciFact cannot be measured by {measure}" in answer.err, told in answer.err) == (
        2,
        True,
        True,
    )


def test_a_dry_run_refuses_a_relevance_level_that_no_document_has(cli: Cli, tmp_path):
    folder = folder_of(tmp_path / "data", [f"q{i} 0 d{i}x 1" for i in range(3)])
    answer = cli("run", folder, "--relevance-level", 2, "--dry-run")
    assert (answer.code, "no document is judged so high" in answer.err) == (2, True)
