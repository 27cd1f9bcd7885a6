"""Pictures for a paper: every query of two systems, and a measure over the depth of reranking, with intervals."""

from __future__ import annotations

import csv
import json
import struct
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from conftest import Cli
from made_results import made, saved

import harness
from harness.errors import HarnessError
from harness.results.result import Result
from harness.verdicts.charts import Line, curves
from harness.verdicts.plots import files
from harness.verdicts.plots.depth import depth_curves

SVG = "{http://www.w3.org/2000/svg}"
BASE = [0.5, 0.45, 0.2, 0.9, 0.3, 0.1, 0.7, 0.6, 0.4, 0.8]


def point(k: int, value: float, **more: float | None) -> dict[str, float | None]:
    return {"k": k, "reranked": value, "oracle": 0.9, **more}


def with_curve(result: Result, points: list[dict[str, float | None]]) -> Result:
    before = result.measures["nDCG@10"]["first_stage"]
    curve = {"measure": "nDCG@10", "first_stage": before, "points": points}
    return replace(result, diagnostics={"depth_curve": curve})


def one(shift: float, name: str, task: str = "Birds", number: int = 0) -> Result:
    """Seven queries moved by `shift`, three as they were."""
    values = [value + (shift if place < 7 else 0) for place, value in enumerate(BASE)]
    return made(values, BASE, task=task, reranker=name, reranker_fingerprint=f"{number:032x}")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    points = [point(10, 0.5, difference=0.005, low=-0.01, high=0.02, p=0.4), point(100, 0.6, difference=0.105, low=0.1, high=0.11, p=0.01)]  # fmt: skip
    up = [with_curve(one(0.05, "up", task, 1), points) for task in ("Birds", "Fish")]
    return saved(tmp_path / "results", one(0.0, "base"), one(0.0, "base", "Fish"), *up, one(-0.05, "down", number=2))


def words_of(path: Path) -> list[str]:
    return [each.text or "" for each in ET.parse(path).getroot().iter(f"{SVG}text")]


def test_a_plot_has_every_query_of_both_systems_with_what_won_tied_and_lost(cli: Cli, results: Path):
    answer = cli("compare", "base", "up", "--results", results, "--plot", "queries.svg", "--columns", "Birds")
    assert (answer.code, "written: queries.svg" in answer.err) == (0, True), answer.err
    root = ET.parse("queries.svg").getroot()
    words = words_of(Path("queries.svg"))
    assert "Birds, nDCG@10: up − base" in words
    (told,) = (each for each in words if "won" in each)
    assert told.startswith("7 won, 3 tied, 0 lost; mean +0.0350 [")
    assert "Fish" not in " ".join(words)
    places = [each for each in root.iter(f"{SVG}circle") if each.get("class") in ("win", "tie", "loss")]
    hints = [line for each in places for line in (each.findtext(f"{SVG}title") or "").splitlines()]
    assert sorted(hint.partition(":")[0] for hint in hints) == sorted(f"q{place}" for place in range(10))
    assert "q0: 0.5000 → 0.5500" in hints
    assert "var(" not in Path("queries.svg").read_text()


def test_a_plot_of_several_others_and_tasks_has_two_charts_for_each(cli: Cli, results: Path):
    assert cli("compare", "base", "up", "down", "--results", results, "--plot", "all.svg").code == 0
    titles = [each for each in words_of(Path("all.svg")) if " − base" in each]
    assert titles == ["Birds, nDCG@10: up − base", "Fish, nDCG@10: up − base", "Birds, nDCG@10: down − base"]
    assert len(ET.parse("all.svg").getroot().findall(f"{SVG}svg")) == 6


def test_a_plot_in_png_is_the_same_picture_three_times_as_fine(cli: Cli, results: Path):
    pytest.importorskip("resvg_py")
    for name in ("a.svg", "a.png"):
        assert cli("compare", "base", "up", "--results", results, "--plot", name).code == 0
    data = Path("a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    root = ET.parse("a.svg").getroot()
    assert struct.unpack(">II", data[16:24]) == (3 * int(root.get("width", 0)), 3 * int(root.get("height", 0)))


def test_a_png_without_resvg_or_without_any_font_is_refused_and_nothing_is_written(
    cli: Cli, results: Path, monkeypatch: pytest.MonkeyPatch
):
    resvg = pytest.importorskip("resvg_py")
    words = ("compare", "base", "up", "--results", results, "--plot", "a.png")
    monkeypatch.setattr(files, "_resvg", lambda: partial(resvg.svg_to_bytes, skip_system_fonts=True))
    answer = cli(*words)
    assert (answer.code, "this machine has no font" in answer.err) == (2, True)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    answer = cli(*words)
    assert (answer.code, "pip install 'rerank-harness[plots]'" in answer.err) == (2, True)
    assert not answer.out
    assert not Path("a.png").exists()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--plot", "a.pdf"], "a.pdf ends in none of .svg, .png"),
        (["--plot", "a.svg", "--columns", "Brids"], 'Did you mean "Birds"?'),
        (["--depth", "--columns", "Brids"], 'Did you mean "Birds"?'),
        (["--depth", "--measure", "nDCG@10"], "leave --measure out"),
        (["--columns", "Birds"], "--columns is for --format latex, markdown, csv, --plot and --depth"),
        (["--plot", "no/such/a.svg/a.svg"], ""),
    ],
)
def test_a_plot_that_cannot_be_is_one_line(cli: Cli, results: Path, more: list[str], told: str):
    if not told:
        Path("no").write_text("a file where a folder should be")
    answer = cli("compare", "base", "up", "--results", results, *more)
    assert answer.code == 2
    assert told in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_more_tasks_than_anybody_reads_are_refused_by_number(cli: Cli, tmp_path: Path):
    many = [one(shift, name, f"Task{place}", number) for place in range(13) for number, (name, shift) in enumerate([("base", 0.0), ("up", 0.1)])]  # fmt: skip
    answer = cli("compare", "base", "up", "--results", saved(tmp_path / "results", *many), "--plot", "a.svg")
    assert (answer.code, "13 tasks and pairs are more than a picture of 12" in answer.err) == (2, True)


def test_the_depth_table_has_each_form_with_interval_and_p(cli: Cli, results: Path):
    def of(form: str) -> str:
        answer = cli("compare", "base", "up", "--results", results, "--depth", "--columns", "Birds", "--format", form)
        assert answer.code == 0
        return answer.out

    rows = list(csv.DictReader(of("csv").splitlines()))
    assert [(row["task"], row["reranker"], row["k"], row["reranked"], row["low"], row["high"], row["p"]) for row in rows] == [
        ("Birds", "up", "10", "0.500000", "-0.010000", "0.020000", "0.400000"),
        ("Birds", "up", "100", "0.600000", "0.100000", "0.110000", "0.010000"),
    ]  # fmt: skip
    assert r"| Birds | up | bm25 top 100 | 10 | nDCG@10 | 0.4950 | 0.5000 | +0.0050 | [-0.0100, +0.0200] | 0.4000 | 0.9000 |" in of("markdown")  # fmt: skip
    latex = of("latex")
    assert r"Birds & up & bm25 top 100 & 100 & nDCG@10 & 0.4950 & 0.6000 & +0.1050 & {[}+0.1000, +0.1100{]} & 0.0100 & 0.9000 \\" in latex  # fmt: skip
    assert latex.count(r"\begin") == latex.count(r"\end")
    record = json.loads(of("json"))
    assert record["depths"][0]["points"][1] == {"k": 100, "reranked": 0.6, "oracle": 0.9, "difference": pytest.approx(0.105), "low": 0.1, "high": 0.11, "p": 0.01}  # fmt: skip
    assert max(map(len, of("text").splitlines())) <= 80


def test_the_depth_picture_draws_each_interval_around_its_curve(cli: Cli, results: Path):
    assert cli("compare", "base", "up", "--results", results, "--depth", "--plot", "depth.svg").code == 0
    root = ET.parse("depth.svg").getroot()
    titles = [each for each in words_of(Path("depth.svg")) if "over" in each]
    assert titles == ["Birds, over bm25 top 100", "Fish, over bm25 top 100"]
    chart = root.find(f"{SVG}svg")
    assert chart is not None
    whiskers = [each for each in chart.iter(f"{SVG}line") if "whisker" in each.get("class", "")]
    assert len(whiskers) == 2
    dots = [each for each in chart.iter(f"{SVG}circle") if each.get("class") == "series-0"]
    for line, dot in zip(whiskers, dots, strict=True):
        low, high, middle = (float(value or 0) for value in (line.get("y1"), line.get("y2"), dot.get("cy")))
        assert line.get("x1") == dot.get("cx")
        assert high < middle < low
    (level,) = (each for each in chart.iter(f"{SVG}line") if each.get("class") == "level")
    spanned = [float(each.get("y2", 0)) < float(level.get("y1", 0)) < float(each.get("y1", 0)) for each in whiskers]
    assert spanned == [True, False], "an interval of the difference holds 0 where its line crosses the first stage's"


def test_lines_with_intervals_stand_beside_each_other():
    ends = [(0.4, 0.6), None]
    lines = [Line(name, f"series-{number}", [(10, 0.5), (100, 0.5)], ends) for number, name in enumerate("ab")]
    root = ET.fromstring(curves(lines, "k", "nDCG@10").replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    at = [float(each.get("x1", 0)) for each in root.iter(f"{SVG}line") if "whisker" in each.get("class", "")]
    assert at[1] - at[0] == 5.0


def test_a_curve_without_intervals_shows_dashes_and_the_interval_of_the_whole_depth(tmp_path: Path):
    plain = one(0.05, "up")
    row = {**plain.measures["nDCG@10"], "difference": 0.035, "low": 0.02, "high": 0.05, "p": 0.016}
    old = replace(plain, measures={"nDCG@10": row})
    curve = with_curve(old, [point(10, 0.5), point(100, row["reranked"])])
    (found,), notes = depth_curves([curve], tmp_path)
    assert (found.points[0].low, found.points[0].p) == (None, None)
    assert found.points[1].p == pytest.approx(2 / 2**7)
    assert "no intervals but of the whole depth" in notes[0]


def test_a_result_without_a_curve_is_named_and_none_at_all_is_an_error(tmp_path: Path):
    points = [point(10, 0.5, difference=0.0, low=None, high=None, p=1.0)]
    bare = one(0.1, "lists", number=3)
    found, notes = depth_curves([with_curve(one(0.1, "up"), points), bare], tmp_path)
    assert [curve.reranker for curve in found] == ["up"]
    assert notes == [
        "Birds, lists over bm25 top 100: no curve, which takes scores of single pairs, and a first stage's"
    ]
    with pytest.raises(HarnessError, match="Birds, lists over bm25 top 100: no curve"):
        depth_curves([bare], tmp_path)


def test_a_comparison_in_a_notebook_has_both_pictures_and_the_depths_as_a_table(results: Path, tmp_path: Path):
    comparison = harness.compare("base", "up", results=results)
    assert "Birds, nDCG@10: up − base" in comparison.queries_picture("Birds").svg
    depths = comparison.depths("Birds")
    assert list(depths.frame()[["k", "reranked", "low"]].itertuples(index=False, name=None)) == [(10, 0.5, -0.01), (100, 0.6, 0.1)]  # fmt: skip
    assert "+0.1050" in depths._repr_html_()
    assert ".6000" in repr(depths)
    assert r"\textbf{0.5300}" in comparison.paper("latex", "Birds")
    assert depths.paper("markdown").splitlines()[2].startswith("| Birds | up |")
    with pytest.raises(HarnessError, match=r"'latx' is none of latex, markdown, csv\. Did you mean"):
        depths.paper("latx")
    path = depths.picture().save(tmp_path / "depth.svg")
    assert ET.parse(path).getroot().get("aria-label") == "Over the depth of reranking"


def test_the_picture_of_quality_against_cost_can_be_png_too(cli: Cli, tmp_path: Path):
    pytest.importorskip("resvg_py")
    sweep = [replace(one(shift, "up"), diagnostics={"pairs": 10 * k}) for shift, k in ((0.1, 20), (0.2, 50))]
    sweep = [replace(each, identity=replace(each.identity, top_k=k)) for each, k in zip(sweep, (20, 50), strict=True)]
    saved(tmp_path / "results", *sweep)
    assert cli("report", "up", "--output", "sweep.png").code == 0
    assert Path("sweep.png").read_bytes()[:4] == b"\x89PNG"
