"""The verb `list`: what there is, how large, and what of it can be run here and now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli, write_collection

from harness.engine.rate import last_rate, remember_rate


def listed(cli: Cli, *words: object) -> dict:
    answer = cli("list", *words, "--format", "json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    return {**found, **{what: {each["name"]: each for each in found[what]} for what in ("tasks", "suites")}}


def test_sizes_are_those_of_the_cards_and_pairs_are_at_a_hundred(cli: Cli):
    found = listed(cli)
    scifact = {"name": "SciFact", "tasks": 1, "documents": 5183, "queries": 300, "pairs": 30_000, "seconds": None}
    assert found["tasks"]["SciFact"] == scifact
    # Fewer documents than a hundred are all candidates; lists of the data set's own are not known before it is here.
    assert found["tasks"]["DemoChinese"]["pairs"] == 28 * 84
    assert found["tasks"]["T2Reranking"]["pairs"] is None
    nano = found["suites"]["NanoBEIR"]
    assert (nano["tasks"], nano["pairs"]) == (
        13,
        sum(t["pairs"] for n, t in found["tasks"].items() if n.startswith("Nano")),
    )
    assert found["suites"]["IFIR"]["documents"] is None
    assert found["suites"]["CQADupstackRetrieval"]["tasks"] == 12
    assert found["rate"] is None


def test_what_is_small_is_small_and_takes_an_hour_at_most_by_the_last_probe(cli: Cli, tmp_path: Path):
    before = listed(cli, "--small")
    assert {"SciFact", "SCIDOCS"} <= before["tasks"].keys()
    assert "FEVER" not in before["tasks"]
    remember_rate(tmp_path / "cache", "mine", 200, 20)
    after = listed(cli, "--small")
    assert after["tasks"]["SciFact"]["seconds"] == 3000
    assert "SCIDOCS" not in after["tasks"]
    assert all(each["seconds"] is None or each["seconds"] <= 3600 for each in after["tasks"].values())
    answer = cli("list")
    assert "by the last probe or run (mine, 10 pairs a second)" in answer.out
    (line,) = (line for line in answer.out.splitlines() if line.startswith("SciFact "))
    assert [word for word in line.split() if word[0].isdigit()] == ["5,183", "300", "50"]
    assert " 50 min" in line
    assert " eng " in line
    (alone,) = (line for line in cli("list", "scifact").out.splitlines() if line.startswith("SciFact "))
    assert all(word in alone for word in (" eng ", " 5,183 ", " 300 ", " nDCG@10 "))


def test_a_run_of_several_batches_is_remembered(cli: Cli, counter, tmp_path: Path):
    folder = write_collection(tmp_path / "large", documents=400, queries=12)
    assert last_rate(tmp_path / "cache") is None
    assert cli("run", folder, "--reranker", counter.name).code == 0
    found = last_rate(tmp_path / "cache")
    assert found is not None
    assert found.reranker.endswith("counting")


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"reranker": "x", "pairs_per_second": 0}', "[1]", '{"reranker": "x", "pairs_per_second": "fast"}'],
)
def test_a_rate_that_cannot_be_read_is_none(tmp_path: Path, text):
    (tmp_path / "rate.json").write_text(text)
    assert last_rate(tmp_path) is None
