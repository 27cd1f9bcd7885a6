"""Means over languages, tasks and suites, from real runs on small data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli, Counter, write_collection

CARD = "folder: ../{}\nlanguages: [eng-Latn]\nmeasures: [{}]\n"
SUITES = """
Both: {tasks: [One, Pair]}
Named: {tasks: [One, Two], mean: {early: {One: nDCG@10, Two: RR@10}, late: MAP@100}}
Mixed: {tasks: [One, Other]}
Never: {tasks: [One, Two], mean: none}
"""


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """Three tasks of different sizes, an aggregate of two of them, and suites."""
    for name, queries in (("one", 3), ("two", 6), ("three", 5)):
        folder = write_collection(tmp_path / name, queries=queries)
        # Judgements that BM25 does not all find, so that no figure is 1.
        judged = folder / "qrels" / "test.tsv"
        judged.write_text(judged.read_text() + "".join(f"q{i}\td2{i % 4}\t1\n" for i in range(queries)))
    folder = tmp_path / "cards"
    folder.mkdir()
    usual = "nDCG@10, MAP@100, RR@10"
    texts = {
        "One": CARD.format("one", usual),
        "Two": CARD.format("two", usual),
        "Three": CARD.format("three", usual),
        "Other": CARD.format("two", "RR@10"),
        "Pair": f"tasks: [Two, Three]\nmean: unweighted\nmeasures: [{usual}]\n",
        "suites": SUITES,
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def answer(cli: Cli, cards: Path, *words: object) -> tuple[dict[str, dict], dict[str, dict]]:
    """results by task, means by name."""
    found = cli("run", *words, "--tasks", cards, "--format", "json")
    assert found.code == 0, found.err
    entries = json.loads(found.out)
    return {entry["task"]: entry for entry in entries["results"]}, {entry["name"]: entry for entry in entries["means"]}


def first(entry: dict, measure: str) -> float:
    return entry["measures"][measure]["first_stage"]


def test_an_aggregate_is_the_unweighted_mean_of_its_tasks(cli: Cli, cards: Path):
    results, means = answer(cli, cards, "Pair")
    assert (means["Pair"]["over"], means["Pair"]["parts"]) == ("tasks", 2)
    for measure in ("nDCG@10", "MAP@100", "RR@10"):
        mean = (first(results["Two"], measure) + first(results["Three"], measure)) / 2
        assert first(means["Pair"], measure) == pytest.approx(mean, abs=1e-12)
    assert not list(Path("results").rglob("Pair*"))


def test_an_aggregate_counts_once_in_a_suite(cli: Cli, cards: Path):
    results, means = answer(cli, cards, "Both")
    pair = (first(results["Two"], "nDCG@10") + first(results["Three"], "nDCG@10")) / 2
    assert first(means["Both"], "nDCG@10") == pytest.approx((first(results["One"], "nDCG@10") + pair) / 2, abs=1e-12)
    assert list(means) == ["Pair", "Both"]


def test_a_suites_own_means_are_taken_as_it_says(cli: Cli, cards: Path):
    results, means = answer(cli, cards, "Named")
    early = (first(results["One"], "nDCG@10") + first(results["Two"], "RR@10")) / 2
    assert first(means["Named"], "early") == pytest.approx(early, abs=1e-12)
    assert set(means["Named"]["measures"]) == {"early", "late"}


@pytest.mark.parametrize("suite", ["Mixed", "Never"])
def test_tasks_of_different_measures_or_of_a_suite_that_says_so_have_no_mean(cli: Cli, cards: Path, suite):
    _, means = answer(cli, cards, suite)
    assert means == {}


def test_tasks_that_are_named_one_by_one_have_no_mean(cli: Cli, cards: Path):
    _, means = answer(cli, cards, "One", "Two")
    assert means == {}


def test_a_measure_that_was_not_taken_has_no_mean(cli: Cli, cards: Path):
    _, means = answer(cli, cards, "Named", "--measures", "nDCG@10")
    assert means == {}


def test_every_system_has_its_own_mean(cli: Cli, cards: Path, counter: Counter):
    found = cli("run", "Pair", "--tasks", cards, "--reranker", counter.name, "--format", "json")
    entries = json.loads(found.out)
    (mean,) = entries["means"]
    row = mean["measures"]["nDCG@10"]
    assert mean["reranker"] is not None
    for column in ("first_stage", "reranked", "oracle", "difference"):
        values = [entry["measures"]["nDCG@10"][column] for entry in entries["results"]]
        assert row[column] == pytest.approx(sum(values) / 2, abs=1e-12)


def test_means_stand_below_the_results_that_they_are_of(cli: Cli, cards: Path):
    out = cli("run", "Both", "--tasks", cards).out
    table = out.splitlines()[: out.splitlines().index("")]
    assert [line.split("  ")[0].strip() for line in table if ", mean of" in line] == [
        "Pair, mean of 2",
        "Both, mean of 2",
    ]
    assert ", mean of" not in "".join(table[:-2])
