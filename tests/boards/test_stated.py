"""Figures that a board's YAML states, and published ones that were measured here too."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_boards import board, made_cards, row_of, table
from made_results import made, saved

from harness.boards import build_table, render
from harness.data.task import Cards
from harness.errors import HarnessError
from harness.results.published import figures

FIGURE = {
    "task": "Birds", "measure": "nDCG@10", "reranker": "org/other", "first_stage": "bm25 top 100", "value": 0.7142,
    "source": "Doe 2026, table 3", "date": "2026-05-01",
}  # fmt: skip


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    return made_cards(tmp_path / "cards")


def test_a_figure_of_ones_own_stands_with_its_source_and_date_and_has_no_rank(cards: Cards, tmp_path: Path):
    built = table(cards, saved(tmp_path, made([0.5, 0.6])), tasks=["Birds"], figures=[FIGURE])
    row = row_of(built, "org/other", "published")
    assert (row.system.stage, row.system.source, row.ranks) == ("bm25 top 100", "Doe 2026, table 3, 2026-05-01", {})
    assert [cell.mean for cell in row.cells.values()] == [0.7142]
    assert "0.7142" in render(built)["mine.md"]


def test_a_board_may_hold_stated_figures_alone(cards: Cards, tmp_path: Path):
    built = table(cards, tmp_path, tasks=["Ferns"], figures=[{**FIGURE, "task": "Ferns", "date": ""}])
    assert [cell.mean for row in built.rows for cell in row.cells.values()] == [0.7142]


def test_where_no_row_has_the_mean_the_first_task_with_figures_ranks_and_others_figures_stand_first(
    cards: Cards, tmp_path: Path
):
    stated = [{**FIGURE, "reranker": f"org/{value}", "value": value} for value in (0.2, 0.8, 0.5)]
    measured = saved(tmp_path, made([0.5, 0.6], task="Trees"))
    built = table(cards, measured, tasks=["Birds", "Trees"], figures=stated, oracle=False)
    assert built.key.title == "Birds nDCG@10"
    assert [row.system.name for row in built.rows][:3] == ["org/0.8", "org/0.5", "org/0.2"]
    assert "Trees nDCG@10" in [column.title for column in row_of(built, "org/model").cells]
    assert "mean of 2" not in render(built)["mine.md"]
    assert (
        "the highest published figure of a reranker is that of 0.8 over bm25 top 100, 0.8000"
        in render(built)["mine.md"]
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"first_stage": ""}, '"first_stage" is missing: figures over different first stages do not compare'),
        ({"source": None}, '"source" is missing'),
        ({"task": "Bird"}, '"Bird" is no task of this board. Did you mean "Birds"?'),
        ({"value": 71.42}, "71.42 is no nDCG@10 between 0 and 1; papers often print it times 100"),
        ({"value": "0.7"}, "0.7 is no nDCG@10"),
        ({"measure": "MRR@10"}, "RR@10"),
        ({"stage": "bm25"}, 'unknown key "stage"'),
        ({"subset": "de"}, 'Birds has no subset "de"; it has default'),
    ],
)
def test_what_a_figure_cannot_say_is_one_line(cards: Cards, tmp_path: Path, change, said):
    with pytest.raises(HarnessError) as found:
        board(cards, tmp_path, tasks=["Birds"], figures=[{**FIGURE, **change}])
    assert said in str(found.value)
    assert "figures 1" in str(found.value)


def test_a_published_figure_that_was_measured_here_is_marked(tmp_path: Path):
    known = next(
        figure for figure in figures()["SciFact", ""] if figure.model == "bm25" and figure.measure == "nDCG@10"
    )
    cards = Cards(None)
    (task,) = cards.resolve(["SciFact"], tmp_path, only_texts=False)
    alone = {"reranker": None, "reranker_revision": None, "reranker_fingerprint": None, "reranker_settings": {}}
    ours = made(
        [known.value] * 4, task="SciFact", dataset=task.path, dataset_revision=task.revision, card="packed", **alone
    )
    built = build_table(board(cards, saved(tmp_path, ours), tasks=["SciFact"], published=True))
    marks = {
        row.system.note or row.system.stage: cell.here for row in built.rows for cell in row.cells.values() if cell.here
    }
    assert "=" in marks.values()
    assert f"{known.value:.4f} =" in render(built)["mine.md"]
