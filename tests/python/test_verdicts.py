"""`harness.compare`, `gate`, `leaderboard` and `check`: the verbs' own answers, as tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli, write_lines

import harness
from harness import HarnessError

FORMS = {"mine.md", "mine.csv", "mine.tex", "mine.html"}


def by_length(query: str, documents: list[str]) -> list[float]:
    return [len(text) for text in documents]


def by_words(query: str, documents: list[str]) -> list[float]:
    return [len(set(query.split()) & set(text.split())) for text in documents]


@pytest.fixture
def two(collection_folder: Path, cli: Cli) -> tuple[harness.Evaluations, harness.Evaluations]:
    found = [harness.run(str(collection_folder), each, top_k=10) for each in (by_length, by_words)]
    return found[0], found[1]


def test_results_are_compared_as_the_verb_does(two, cli: Cli):
    found = harness.compare(*two)
    printed = json.loads(cli("compare", "by_length", "by_words", "--format", "json").out)["comparisons"][0]
    assert [row.record() for row in found.rows] == printed["rows"]
    assert found.frame().loc[0, "second_system"] == "by_words"
    assert "95 % interval" in repr(found)
    assert found._repr_html_().count("<tr>") == 1 + len(found.rows)


def test_a_result_compares_with_a_name_and_a_folder(two):
    named = harness.compare(two[0], "by_words")
    assert named.rows[0].difference == harness.compare(*two).rows[0].difference
    assert harness.compare(str(two[0].only.path), str(two[1].only.path)).rows == named.rows


def test_the_first_stage_is_what_it_is_for_every_result(two, collection_folder: Path):
    alone = harness.run(str(collection_folder), top_k=10)
    found = harness.compare(alone, *two)
    assert [each.second for each in found.comparisons] == ["by_length", "by_words"]
    for comparison, result in zip(found.comparisons, two, strict=True):
        assert comparison.rows[0].difference == pytest.approx(result.measures["nDCG@10"].difference)


def test_one_alone_is_no_comparison(two):
    with pytest.raises(HarnessError, match="compare takes two or more"):
        harness.compare(two[0])


def test_the_gate_lets_the_same_results_through(two):
    found = harness.gate("results", "results")
    assert found.passed
    assert set(found.frame()["reranker"]) == {"by_length", "by_words"}
    assert found.verdict in repr(found)
    assert "<table>" in found._repr_html_()
    with pytest.raises(HarnessError, match="alpha=0 is no significance level"):
        harness.gate("results", "results", alpha=0)


def test_a_board_is_written_and_shown(two, tmp_path: Path, cli: Cli):
    write_lines(
        tmp_path / "boards" / "mine.yaml", ["title: Mine", f"tasks: [{tmp_path / 'birds'}]", "results: [results]"]
    )
    assert {path.name for path in harness.leaderboard("mine", folder="boards", check=True).changed} == FORMS
    assert list((tmp_path / "boards").glob("mine.*")) == [tmp_path / "boards" / "mine.yaml"]
    (board,) = harness.leaderboard("mine", folder="boards")
    assert set(board.changed) == FORMS
    assert set(board.frame()["reranker"].dropna()) >= {"by_length", "by_words"}
    assert board._repr_html_().count("<tr>") == 1 + len(board.table.rows)
    assert "Mine" in repr(board)
    assert cli("leaderboard", "--folder", "boards", "--check").out.endswith("mine: up to date\n")
    assert harness.leaderboard(folder="boards").changed == []


def test_a_reranker_is_checked():
    found = harness.check(by_words)
    findings = {finding.name: finding for finding in found}
    assert found.passed
    assert list(found.frame()["check"]) == list(findings)
    assert found._repr_html_().count("<tr>") == 1 + len(found)
    assert findings["finite"].status == "ok"
    assert findings["family"].detail.startswith("plug-in")


@pytest.mark.parametrize(
    "verb", [lambda **more: harness.check(by_words, **more), lambda **more: harness.score(by_words, [], **more)]
)
def test_an_option_that_there_is_none_of_is_one_line(verb):
    with pytest.raises(HarnessError, match=r'no option "devise"\. Did you mean "device"'):
        verb(devise="cpu")
