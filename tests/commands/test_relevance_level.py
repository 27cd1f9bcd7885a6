"""The level of relevance that a card says, as TREC Deep Learning's: held against trec_eval -l through ir_measures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import ir_measures
import pytest
from conftest import Cli

from harness.data.task import Cards
from harness.data.trec import read_run

MEASURES = {"nDCG@10": "nDCG@10", "MAP@100": "AP(rel=2)@100", "RR@10": "RR(rel=2)@10", "R@100": "R(rel=2)@100"}
CARD = "folder: {}\nrelevance_level: {}\nlanguages: [eng-Latn]\nmeasures: [nDCG@10, MAP@100, RR@10, R@100]\n"


def stored(answer) -> dict:
    return json.loads(Path(answer.results()[0]["path"]).read_text())


@pytest.mark.parametrize("year", [2019, 2020])
def test_the_cards_of_trec_deep_learning_count_grades_from_two_on(year):
    task = Cards().task(f"TRECDL{year}")
    assert (task.relevance_level, str(task.headline)) == (2, "nDCG@10")


@pytest.mark.parametrize("system", ["bm25", "tasb"])
def test_a_card_of_level_two_gives_the_figures_of_trec_eval_at_two(cli: Cli, shared: Path, tmp_path: Path, system):
    folder = shared / "data" / "trec-dl19"
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "DL19.yaml").write_text(CARD.format(folder, 2))
    file = folder / "runs" / f"{system}.top100.trec.gz"
    answer = cli("run", "DL19", "--tasks", "cards", "--candidates", file, "--format", "json")
    with (folder / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    qrels = [ir_measures.Qrel(row["query-id"], row["corpus-id"], int(row["score"])) for row in rows]
    run = [ir_measures.ScoredDoc(q, d, score) for q, scores in read_run(file).items() for d, score in scores.items()]
    parsed = {name: ir_measures.parse_measure(text) for name, text in MEASURES.items()}
    theirs = ir_measures.calc_aggregate(list(parsed.values()), qrels, run)
    (result,) = answer.results()
    for name, measure in parsed.items():
        assert result["measures"][name]["first_stage"] == pytest.approx(theirs[measure], abs=1e-6), name


def test_the_cards_level_is_the_usual_one_and_another_is_marked(cli: Cli, collection_folder: Path):
    plain = cli("run", collection_folder, "--relevance-level", 2, "--format", "json")
    assert ".rel2." in plain.results()[0]["path"]
    (collection_folder / "task.yaml").write_text("relevance_level: 2\nlanguages: [eng-Latn]\n")
    by_card = cli("run", collection_folder, "--format", "json")
    one = cli("run", collection_folder, "--relevance-level", 1, "--format", "json")
    assert by_card.results()[0]["measures"] == plain.results()[0]["measures"]
    assert ".rel" not in by_card.results()[0]["path"]
    assert ".rel1." in one.results()[0]["path"]
    assert one.results()[0]["measures"]["MAP@100"] != by_card.results()[0]["measures"]["MAP@100"]
    assert stored(by_card)["identity"]["card_relevance_level"] == 2
    assert "card_relevance_level" not in stored(plain)["identity"]
    assert cli("run", collection_folder, "--format", "json").results()[0]["reused"]


@pytest.mark.parametrize("level", ["0", "-1", "1.5", "high", "true"])
def test_a_level_that_is_no_grade_is_refused_by_the_card(cli: Cli, collection_folder: Path, level):
    (collection_folder / "task.yaml").write_text(f"relevance_level: {level}\n")
    answer = cli("run", collection_folder)
    assert (answer.code, '"relevance_level" is a whole number from 1 on' in answer.err) == (2, True)
