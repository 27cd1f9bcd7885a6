"""Rankings that travel: mteb's predictions, and TREC runs with ir_metadata's header."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from conftest import Cli
from interchange.test_export import SCIFACT
from made_results import made, saved

from harness.data.rankings import read_ranking
from harness.data.trec import read_run
from harness.results.rankings import keep_rankings
from harness.results.result import Result

FIRST = {"q0": {"d1": 2.0, "d2": 1.0}, "q1": {"d3": 0.5}}
RERANKED = {"q0": {"d1": -0.25, "d2": 0.75}, "q1": {"d3": 3.0}}


@pytest.fixture
def result(tmp_path: Path) -> Result:
    found = made([1.0, 0.5], [0.5, 0.5], **SCIFACT)
    saved(tmp_path / "results", found)
    keep_rankings(found, FIRST, RERANKED, tmp_path / "cache")
    return found


def test_predictions_have_the_form_that_mteb_writes_and_come_back(cli: Cli, result, tmp_path: Path):
    answer = cli("export", "results", "--to", "mteb-predictions", "--output", "predictions")
    assert answer.code == 0, answer.err
    path = tmp_path / answer.out.strip()
    assert path.relative_to(tmp_path / "predictions").as_posix() == "org__model_(bm25_top_100)/SciFact_predictions.json"
    # `task.convert_to_reranking(folder)` of mteb takes the model's name, then subset, split, query, document.
    assert json.loads(path.read_text()) == {
        "mteb_model_meta": {"model_name": "org/model (bm25 top 100)", "revision": "c" * 40},
        "default": {"test": RERANKED},
    }
    assert read_ranking(path).first == RERANKED


def test_rankings_that_are_gone_are_told_with_the_way_to_get_them(cli: Cli, result, tmp_path: Path):
    for path in (tmp_path / "cache" / "rankings").iterdir():
        path.unlink()
    answer = cli("export", "results", "--to", "mteb-predictions", "--output", "predictions")
    assert answer.code == 3
    assert "its rankings are not in" in answer.err
    assert "run the same command again; no pair is scored twice" in answer.err


def header_of(path: Path) -> dict:
    """The metadata as repro_eval and TIRA read them: between two marks, each line after a #."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# ir_metadata.start"
    end = lines.index("# ir_metadata.end")
    return yaml.safe_load("\n".join(line.removeprefix("# ") for line in lines[1:end]))


def test_a_run_says_how_it_came_about_and_is_read_as_any_other(cli: Cli, result, tmp_path: Path):
    import pytrec_eval

    answer = cli("export", "results", "--to", "ir-metadata", "--output", "runs")
    assert answer.code == 0, answer.err
    first, reranked = (tmp_path / line for line in answer.out.splitlines())
    assert (read_run(first), read_run(reranked)) == (FIRST, RERANKED)
    lines = [line for line in reranked.read_text().splitlines() if not line.startswith("#")]
    assert pytrec_eval.parse_run(lines) == RERANKED
    said = header_of(reranked)
    assert {"platform", "research goal", "implementation", "method", "actor", "data"} < said.keys()
    assert said["tag"] == "org/model"
    assert said["data"]["test_collection"]["name"] == "SciFact"
    assert said["research goal"]["evaluation"]["baseline"] == ["bm25"]
    assert said["research goal"]["evaluation"]["reported measures"] == ["ndcg_cut_10"]
    assert [stage["name"] for stage in said["method"]["retrieval"]] == ["bm25", "org/model"]
    assert said["method"]["retrieval"][1]["reranks"] == "bm25"
    alone = header_of(first)
    assert (alone["tag"], [stage["name"] for stage in alone["method"]["retrieval"]]) == ("bm25", ["bm25"])
    assert alone["actor"] == {"team": None}
