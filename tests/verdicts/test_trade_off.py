"""Quality against cost: which results are points of one picture, in which unit, and which of them are the best."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Cli
from made_results import made, saved

import harness
from harness.errors import HarnessError
from harness.results.result import Result
from harness.verdicts.report import page
from harness.verdicts.trade_off import picture_of, trade_offs

MACHINE = {"processor": "EPYC", "cores": 2, "device": "cpu"}


def point(value: float, depth: int, tokens: int, length: int = 512, **more: object) -> Result:
    one = made(
        [value, value], [0.3, 0.3], top_k=depth, reranker_settings={"max_length": length},
        reranker_fingerprint=f"{length}" + "0" * 29,
    )  # fmt: skip
    return replace(one, diagnostics={"tokens": tokens, "pairs": 2 * depth}, environment=MACHINE, **more)


SWEEP = [point(0.4, 20, 200), point(0.6, 50, 500), point(0.5, 100, 1000)]


def test_depths_are_points_of_one_line_and_those_that_are_beaten_are_hollow():
    (found,) = trade_offs(SWEEP)
    assert (found.title, found.measure, found.cost, found.level) == ("Birds", "nDCG@10", "tokens a query", 0.3)
    assert [(spot.series, spot.name, spot.cost, spot.best) for spot in found.spots] == [
        ("org/model", "top 20", 100.0, True), ("org/model", "top 50", 250.0, True), ("org/model", "top 100", 500.0, False),
    ]  # fmt: skip


def test_settings_are_a_line_at_one_depth_and_lines_of_their_own_at_several():
    lengths = [point(0.5, 100, 1000), point(0.4, 100, 600, 256)]
    (found,) = trade_offs(lengths)
    assert [(spot.series, spot.name) for spot in found.spots] == [
        ("org/model", "max_length 512"), ("org/model", "max_length 256"),
    ]  # fmt: skip
    (grid,) = trade_offs([*lengths, point(0.3, 20, 90, 256)])
    assert {spot.series for spot in grid.spots} == {"org/model (max_length 512)", "org/model (max_length 256)"}


def test_the_cost_is_in_the_first_unit_that_all_have_and_seconds_are_of_one_machine():
    def timed(one: Result, seconds: float, cores: int = 2) -> Result:
        performance = {"latency_seconds": {"p50": seconds}, "billed": {"cost_per_1000_queries": 0.5}}
        return replace(one, performance=performance, environment={**MACHINE, "cores": cores})

    both = [timed(SWEEP[0], 0.1), timed(SWEEP[1], 0.2)]
    assert trade_offs(both)[0].cost == "seconds a query"
    assert trade_offs([both[0], timed(SWEEP[1], 0.2, cores=8)])[0].cost == "money for 1,000 queries"
    assert trade_offs([both[0], SWEEP[1]])[0].cost == "tokens a query"
    bare = [replace(one, diagnostics={"tokens": 0, "pairs": one.diagnostics["pairs"]}) for one in SWEEP]
    assert trade_offs(bare)[0].cost == "pairs a query"
    assert trade_offs([replace(one, diagnostics={}) for one in SWEEP]) == []


def test_other_data_and_parts_of_it_are_other_pictures():
    other = replace(SWEEP[1], collection="9" * 32)
    part = replace(SWEEP[1], identity=replace(SWEEP[1].identity, limit=1))
    assert trade_offs([SWEEP[0], other, part]) == []


def test_the_picture_is_a_file_of_its_own_and_a_part_of_the_page(cli: Cli, tmp_path: Path):
    saved(tmp_path / "results", *SWEEP)
    assert cli("report", "org/model", "--output", "sweep.svg").code == 0
    root = ET.parse(tmp_path / "sweep.svg").getroot()
    assert "nDCG@10 against tokens a query" in root.findtext("{http://www.w3.org/2000/svg}title", "")
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"top 20", "top 50", "top 100", "first stage", "org/model"} <= set(words)
    assert len(root.findall(".//*[@class='series-0 beaten']")) == 1
    shown = page(SWEEP, tmp_path / "cache")
    assert "Quality against cost" in shown
    assert "Quality against cost" not in page(SWEEP[:1], tmp_path / "cache")


def test_a_picture_needs_a_sweep_of_one_task():
    with pytest.raises(HarnessError, match="takes two results or more"):
        picture_of(SWEEP[:1])
    others = [replace(one, identity=replace(one.identity, task="Trees")) for one in SWEEP]
    with pytest.raises(HarnessError, match="one task, and these are Birds, Trees"):
        picture_of([*SWEEP, *others])


def test_a_sweep_in_python_has_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from python.test_run import shared_words, task

    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    found = harness.run(task(), shared_words, top_k=[2, 4, 8])
    assert found.picture().save("sweep.svg").read_text().startswith("<svg")
