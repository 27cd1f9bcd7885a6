"""The hub's .eval_results: huggingface_hub's and mteb's own classes read what is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import Cli
from interchange.test_export import SCIFACT, followir
from made_results import made, saved

from harness.errors import HarnessError
from harness.interchange.eval_results import export_eval_results
from harness.verdicts.pairing import entries_in

SOURCE = "https://example.org/table"


def written(folder: Path, *results, **more) -> tuple[dict[str, list[dict]], list[str]]:
    """file → its entries, and what was left out."""
    done = export_eval_results(entries_in(saved(folder / "results", *results)), folder / "model", **more)
    return {path.name: yaml.safe_load(path.read_text()) for path in done.paths}, done.left_out


def test_a_given_list_tasks_main_score_is_an_entry_that_the_hub_reads(tmp_path: Path):
    from huggingface_hub import parse_eval_result_entries
    from mteb._hf_integration.eval_result_model import HFEvalResults

    files, left_out = written(tmp_path, followir(), made([0.5], **SCIFACT), source=SOURCE, date="2026-01-31")
    assert list(files) == ["Core17InstructionRetrieval.yaml"]
    one, whole = parse_eval_result_entries(files["Core17InstructionRetrieval.yaml"])
    assert (one.dataset_id, one.task_id) == (
        "mteb/Core17InstructionRetrieval",
        "Core17InstructionRetrieval_default_test",
    )
    assert (whole.task_id, whole.value, one.value) == ("Core17InstructionRetrieval", -12.5, -12.5)
    assert (one.dataset_revision, one.date, one.source_url) == ("a" * 40, "2026-01-31", SOURCE)
    assert "p-MRR times 100, reranking given lists; Rerank Harness" in str(one.notes)
    assert len(HFEvalResults.model_validate(files["Core17InstructionRetrieval.yaml"])) == 2
    assert "a figure of two stages (over bm25 top 100): --two-stage writes it" in left_out[0]


def test_two_stage_figures_are_written_on_request_with_the_first_stage_in_the_notes(tmp_path: Path):
    files, left_out = written(tmp_path, made([0.25, 0.5], **SCIFACT), two_stage=True)
    ((name, (one, whole)),) = files.items()
    assert name == "SciFact_bm25_top_100.yaml"
    assert (one["value"], whole["dataset"]["task_id"], left_out) == (37.5, "SciFact", [])
    assert "ndcg_at_10 times 100, reranking bm25 top 100 (first stage bm25, fingerprint bbbbbbbb)" in one["notes"]
    assert "source" not in one


def test_entries_of_others_stay_and_ours_are_replaced(tmp_path: Path):
    path = tmp_path / "model" / ".eval_results" / "SciFact_bm25_top_100.yaml"
    path.parent.mkdir(parents=True)
    other = {"dataset": {"id": "a/b", "task_id": "t"}, "value": 1.0, "verifyToken": "x"}
    old = {"dataset": {"id": "mteb/scifact", "task_id": "SciFact"}, "value": 1.0}
    path.write_text(yaml.safe_dump([other, old]))
    files, _ = written(tmp_path, made([1.0], **SCIFACT), two_stage=True)
    assert [(each["dataset"]["task_id"], each["value"]) for each in files[path.name]] == [
        ("t", 1.0), ("SciFact_default_test", 100.0), ("SciFact", 100.0),
    ]  # fmt: skip
    path.write_text("- just text\n")
    with pytest.raises(HarnessError, match="is no list of evaluation results"):
        written(tmp_path, made([1.0], **SCIFACT), two_stage=True)


def test_a_mean_over_some_of_the_subsets_is_no_entry(tmp_path: Path):
    german = made([0.5], task="XQuADRetrieval", subset="de", split="validation", dataset="google/xquad", top_k=None)
    files, _ = written(tmp_path, german)
    assert [each["dataset"]["task_id"] for each in files["XQuADRetrieval.yaml"]] == ["XQuADRetrieval_de_validation"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reranker": None, "reranker_revision": None, "reranker_fingerprint": None}, "a first stage alone"),
        ({"limit": 5}, "of a part of the queries alone: the first 5"),
        ({"missing_text": "skip"}, "made by rules of its own"),
        ({"dataset": "birds", "card": "folder"}, "birds is no data set of the hub"),
        ({"dataset": "irds:beir/scifact/test", "card": "hub"}, "irds:beir/scifact/test is no data set of the hub"),
    ],
)
def test_what_is_no_figure_of_a_model_on_a_benchmark_is_left_out(tmp_path: Path, change, said):
    with pytest.raises(HarnessError, match=said):
        written(tmp_path, made([0.5], **{**SCIFACT, "top_k": None, **change}))


def test_results_of_two_rerankers_and_a_date_that_is_none_are_refused(cli: Cli, tmp_path: Path):
    mine = made([0.5], **{**SCIFACT, "top_k": None})
    with pytest.raises(HarnessError, match="tells of one reranker, and these are a/b, org/model"):
        written(tmp_path, mine, replace(mine, identity=replace(mine.identity, reranker="a/b")))
    with pytest.raises(HarnessError, match="--date yesterday is no day"):
        written(tmp_path, mine, date="yesterday")
    answer = cli("export", "results", "--to", "csv", "--output", "x.csv", "--two-stage")
    assert (answer.code, "are of --to eval-results" in answer.err) == (2, True)
