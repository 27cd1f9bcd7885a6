"""A comparison as a paper prints it."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from conftest import Cli
from made_results import made, saved

BASE = [0.5, 0.45] * 10


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Three rerankers on two tasks: up is higher on both, down_% lower on one and not run on the other."""
    found = []
    for place, (name, birds, fish) in enumerate([("base", 0, 0), ("up", 0.2, 0.1), ("down_%", -0.2, None)]):
        for task, shift in (("Birds", birds), ("Fish", fish)):
            if shift is not None:
                values = [value + shift + 0.01 * (number % 3) for number, value in enumerate(BASE)] if shift else BASE
                found.append(made(values, BASE, task=task, reranker=name, reranker_fingerprint=f"{place:032x}"))
    return saved(tmp_path / "results", *found)


def test_markdown_has_the_best_bold_and_daggers_over_the_first(cli: Cli, results: Path):
    answer = cli(
        "compare", "base", "up", "down_%", "--results", results, "--format", "markdown", "--columns", "Birds", "Fish"
    )
    assert answer.code == 0
    head, _, base, up, down, _, caption = answer.out.strip().splitlines()
    assert head == "| system | Birds nDCG@10 | Fish nDCG@10 |"
    assert re.fullmatch(r"\| base \| 0\.4750 \| 0\.4750 \|", base)
    assert re.fullmatch(r"\| up \| \*\*0\.6845\*\*† \| \*\*0\.5845\*\*† \|", up)
    assert re.fullmatch(r"\| down\\_% \| 0\.2845‡ \| – \|", down)
    assert "corrected over 4 rows" in caption
    assert "than base beyond chance" in caption


def test_latex_is_a_table_with_the_chosen_columns(cli: Cli, results: Path):
    answer = cli("compare", "base", "up", "down_%", "--results", results, "--format", "latex", "--columns", "Birds")
    assert r"\textbf{0.6845}$^{\dagger}$" in answer.out
    assert r"down\_\% & 0.2845$^{\ddagger}$ \\" in answer.out
    assert "Fish" not in answer.out
    assert answer.out.count(r"\caption") == 1


def test_csv_has_figures_and_marks_apart(cli: Cli, results: Path):
    rows = list(
        csv.reader(
            cli(
                "compare", "base", "up", "--results", results, "--format", "csv", "--columns", "Birds", "Fish"
            ).out.splitlines()
        )
    )
    assert rows[0] == ["system", "Birds nDCG@10", "differs", "Fish nDCG@10", "differs"]
    assert rows[2] == ["up", "0.684500", "†", "0.584500", "†"]


def test_a_column_that_there_is_none_of_is_one_line(cli: Cli, results: Path):
    answer = cli("compare", "base", "up", "--results", results, "--format", "csv", "--columns", "Brids")
    assert answer.code == 2
    assert 'Did you mean "Birds"?' in answer.err
    assert cli("compare", "base", "up", "--results", results, "--columns", "Birds").code == 2
