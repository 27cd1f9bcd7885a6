"""Leaderboards: tables from results, ranks that are believed, missing cells that stay missing."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from conftest import Cli, write_collection

PLUGINS = """
def good(query, documents):
    return [len(set(query.split()) & set(d.split())) for d in documents]
good.fingerprint = "good 1"

def bad(query, documents):
    return [-score for score in good(query, documents)]
bad.fingerprint = "bad 1"
"""


@pytest.fixture
def board(cli: Cli, tmp_path: Path) -> Cli:
    """Two tasks; one reranker on both, one on the first alone."""
    cards = Path("cards")
    cards.mkdir()
    for name in ("Birds", "Trees"):
        write_collection(cards / "data" / name, documents=60, queries=12 if name == "Birds" else 10)
        (cards / f"{name}.yaml").write_text(f"name: {name}\nfolder: data/{name}\nlanguages: [eng-Latn]\n")
    Path("mine.py").write_text(PLUGINS)
    assert cli("run", "Birds", "Trees", "--tasks", cards, "--reranker", "mine.py:good").code == 0
    assert cli("run", "Birds", "--tasks", cards, "--reranker", "mine.py:bad").code == 0
    Path("boards").mkdir()
    Path("boards/mine.yaml").write_text("title: Mine\ntasks: [Birds, Trees]\nresults: [results]\n")
    return lambda *words: cli("leaderboard", *words, "--folder", "boards", "--tasks", cards)


def rows_of(text: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ][2:]


def test_rows_are_rerankers_and_first_stages_and_missing_cells_stay_missing(board: Cli):
    assert board("mine").code == 0
    rows = rows_of(Path("boards/mine.md").read_text())
    by_name = {row[1]: row for row in rows}
    assert set(by_name) == {"mine.py:good", "mine.py:bad", "none"}
    assert by_name["mine.py:bad"][5] == "–"
    assert by_name["mine.py:bad"][3] == "–", "no mean over fewer tasks than the others"
    assert by_name["mine.py:good"][3] != "–"
    assert rows[-1][1] == "mine.py:bad"


def test_the_tasks_of_an_aggregate_count_once_in_the_mean(board: Cli, cli: Cli):
    folder = Path("cards")
    write_collection(folder / "data" / "Ferns", documents=40, queries=5)
    (folder / "Ferns.yaml").write_text("name: Ferns\nfolder: data/Ferns\nlanguages: [eng-Latn]\n")
    (folder / "Plants.yaml").write_text("tasks: [Trees, Ferns]\n")
    assert cli("run", "Birds", "Plants", "--tasks", folder, "--reranker", "mine.py:good").code == 0
    Path("boards/mine.yaml").write_text("title: Mine\ntasks: [Birds, Plants]\nresults: [results]\n")
    assert board("mine").code == 0
    (row,) = (row for row in rows_of(Path("boards/mine.md").read_text()) if row[1] == "mine.py:good")
    birds, trees, ferns = (float(cell.split()[0]) for cell in row[4:7])
    assert float(row[3]) == pytest.approx((birds + (trees + ferns) / 2) / 2, abs=1e-4)
    assert birds != trees


def test_the_csv_has_a_line_for_every_cell_and_blanks_for_missing_ones(board: Cli):
    board("mine")
    lines = list(csv.DictReader(io.StringIO(Path("boards/mine.csv").read_text())))
    assert len(lines) == 6
    (missing,) = [line for line in lines if line["reranker"] == "mine.py:bad" and line["task"] == "Trees"]
    assert missing["mean"] == missing["low"] == ""


def test_check_fails_when_a_table_is_out_of_date_and_writes_nothing(board: Cli):
    assert board("mine", "--check").code == 1
    assert not Path("boards/mine.md").exists()
    board("mine")
    assert board("mine", "--check").code == 0
    Path("boards/mine.md").write_text("old")
    answer = board("--check")
    assert answer.code == 1
    assert "mine.md" in answer.out
    assert Path("boards/mine.md").read_text() == "old"


def test_an_unknown_board_is_one_line_with_a_hint(board: Cli):
    answer = board("mien")
    assert answer.code == 2
    assert 'Did you mean "mine"' in answer.err


def test_systems_that_cannot_be_told_apart_share_a_rank():
    from harness.leaderboard import Board, Cell, Row, _ranked
    from harness.types import Measure, Subset, Task

    task = Task("T", "p", "0" * 40, (Subset("default", "test"),), (Measure("nDCG", 10),))
    board = Board("b", "B", (task,), ())

    def row(name: str, values: list[float]) -> Row:
        mean = sum(values) / len(values)
        cell = Cell(mean, mean, mean, "nDCG@10", {("default", str(i)): value for i, value in enumerate(values)})
        return Row(name, "bm25", (cell,), mean=mean)

    base = [0.5 + 0.01 * (i % 7) for i in range(60)]
    rows = [
        row("best", [value + 0.2 for value in base]),
        row("nearly", [value + 0.2 - (0.05 if i % 2 else -0.049) for i, value in enumerate(base)]),
        row("worse", base),
    ]
    assert [(ranked.reranker, ranked.rank) for ranked in _ranked(board, rows)] == [
        ("best", 1),
        ("nearly", 1),
        ("worse", 3),
    ]
