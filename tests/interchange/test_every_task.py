"""Every retrieval, reranking and instruction task of mteb: a complete result, imported, has a row on a board."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, write_lines

from harness.boards import Table, board_of, build_table, left_out_of
from harness.data.task import Cards
from harness.errors import HarnessError
from harness.interchange.mteb_in import import_results
from harness.interchange.mteb_meta import main_scores

KINDS = ["Retrieval", "Reranking", "InstructionRetrieval", "InstructionReranking"]


@pytest.fixture(scope="module")
def tasks() -> Mapping[str, Any]:
    """name → mteb's task; importing mteb takes seconds."""
    import mteb

    return {task.metadata.name: task for task in mteb.get_tasks(task_types=KINDS, exclude_superseded=False)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def made_up(task: Any, splits: list[str] | None = None) -> dict[str, Any]:
    """A complete result as mteb writes it: an entry for each subset of each of its evaluation splits."""
    metadata = task.metadata
    main = metadata.main_score
    value = {main: 0.5, "main_score": 0.5}
    subsets = ["default"] if getattr(task, "is_aggregate", False) else metadata.hf_subsets
    entries = [{"hf_subset": subset, "languages": ["eng-Latn"], **value} for subset in subsets]
    scores = {split: list(entries) for split in splits or metadata.eval_splits}
    return {
        "dataset_revision": metadata.revision, "task_name": metadata.name, "mteb_version": "2.26.0", "scores": scores,
    }  # fmt: skip


def imported(folder: Path, records: list[dict[str, Any]], cache: Path, **more: Any) -> Path:
    """The table of one model's results."""
    place = folder / "results" / "org__model" / ("a" * 40)
    place.mkdir(parents=True)
    for record in records:
        (place / f"{record['task_name']}.json").write_text(json.dumps(record))
    import_results(folder / "results", folder / "mteb.parquet", lambda: main_scores(cache), **more)
    return folder / "mteb.parquet"


def board_with(name: str, table: Path, cache: Path) -> Any:
    return board_of("mine", {"tasks": [name], "results": [], "imported": [str(table)]}, Cards(), cache)


def shown(table: Table) -> list[float]:
    return [row.cells[table.key].mean for row in table.rows if row.system.kind == "imported" and table.key in row.cells]


def test_a_complete_result_of_every_task_has_a_row(tasks, cache, tmp_path):
    table = imported(tmp_path, [made_up(task) for task in tasks.values()], cache)
    without = [name for name in tasks if shown(build_table(board_with(name, table, cache))) != pytest.approx([0.5])]
    assert len(tasks) > 500
    assert not without


@pytest.mark.parametrize("name", ["WebLINXCandidatesReranking", "XGlueWPRReranking", "LoTTE"])
def test_a_result_of_some_splits_has_no_figure_of_the_task(tasks, cache, tmp_path, name):
    splits = tasks[name].metadata.eval_splits
    board = board_with(name, imported(tmp_path, [made_up(tasks[name], splits[: len(splits) // 2])], cache), cache)
    built = build_table(board)
    assert shown(built) == []
    assert [len(row.system.figures) > 0 for row in built.rows] == [True]  # its parts are there


def test_two_of_eight_languages_give_no_figure_of_the_task(tasks, cache, tmp_path):
    record = made_up(tasks["MIRACLReranking"])
    record["scores"] = {"dev": record["scores"]["dev"][:2]}
    assert shown(build_table(board_with("MIRACLReranking", imported(tmp_path, [record], cache), cache))) == []


def test_rows_of_other_splits_alone_are_told(cli: Cli, tasks, cache, tmp_path):
    record = made_up(tasks["WebLINXCandidatesReranking"], ["train"])
    other = made_up(tasks["SciFact"])
    table = imported(tmp_path, [record, other], cache)
    board = board_of(
        "mine",
        {"tasks": ["SciFact", "WebLINXCandidatesReranking"], "results": [], "imported": [str(table)]},
        Cards(),
        cache,
    )
    (line,) = left_out_of(board)
    assert line == (
        "mine: no imported row of WebLINXCandidatesReranking is of a part and a measure that the board has; the tables "
        "have train default"
    )
    write_lines(
        tmp_path / "leaderboards" / "mine.yaml",
        ["tasks: [SciFact, WebLINXCandidatesReranking]", "results: []", f"imported: [{table}]"],
    )
    answer = cli("leaderboard")
    assert (answer.code, line in answer.err) == (0, True)


def test_a_main_score_from_before_version_2_is_not_taken_for_the_measure_of_today(tasks, cache, tmp_path):
    record = made_up(tasks["WebLINXCandidatesReranking"])
    for entries in record["scores"].values():
        entries[:] = [{key: value for key, value in entry.items() if key != "mrr_at_10"} for entry in entries]
    before = imported(tmp_path / "1", [record | {"mteb_version": "1.38.0"}], cache)
    with pytest.raises(HarnessError, match=r"a measure that the board has; the tables have main_score\Z"):
        build_table(board_with("WebLINXCandidatesReranking", before, cache))
    since = imported(tmp_path / "2", [record | {"mteb_version": "2.0.0"}], cache)
    assert shown(build_table(board_with("WebLINXCandidatesReranking", since, cache))) == pytest.approx([0.5])
