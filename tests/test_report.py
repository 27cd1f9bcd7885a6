"""The verb `report`: one page that needs nothing from outside, holds what it should, and opens in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import WORDS, Cli, write_collection, write_lines
from made_results import made, saved

from harness.charts import Bar, Line, curves, forest, scatter
from harness.report import page

NASTY = "</td><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">&amp;'"

PLUGIN = '''
def rank(query, documents):
    """Right for every other query, and the wrong way round for the rest."""
    place = WORDS.index(query.split()[0])
    near = [-abs(int(text.split()[-1]) - place - 0.1) for text in documents]
    return near if place % 2 else [-score for score in near]


rank.fingerprint = "every other"
rank.context = "pair"
'''


class Page(HTMLParser):
    """What a page holds: its tags, where they point, its text, and whether every tag is closed."""

    EMPTY = ("meta", "img", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def written(cli: Cli, tmp_path: Path) -> Path:
    """The page of a real run, over data whose texts and ids try to break out of it."""
    folder = write_collection(tmp_path / "birds", documents=48, queries=11)
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    queries = [{**row, "text": f"{row['text']} {NASTY}"} for row in queries]
    write_lines(folder / "queries.jsonl", [json.dumps(row) for row in queries])
    for file in ("corpus.jsonl", "qrels/test.tsv"):
        (folder / file).write_text((folder / file).read_text().replace("d01", "<b>d01"))
    write_lines(tmp_path / "<i>mine.py", [f"WORDS = {WORDS}", PLUGIN])
    answer = cli("run", folder, "--reranker", f"{tmp_path / '<i>mine.py'}:rank")
    assert answer.code == 0, answer.err
    answer = cli("report", "results", "--output", "page.html")
    assert answer.code == 0, answer.err
    assert answer.out.strip() == "page.html"
    return tmp_path / "page.html"


def test_the_page_needs_nothing_from_outside(written: Path):
    found = Page(written.read_text())
    assert all(link.startswith("#") for link in found.links)
    assert not {"script", "link", "iframe", "object", "img", "form"} & set(found.tags)
    assert "default-src 'none'" in written.read_text()
    assert not re.search(r"url\(|@import|https?://", written.read_text())
    assert found.open == []


def test_what_comes_from_outside_stays_text(written: Path):
    found = Page(written.read_text())
    assert NASTY in " ".join(found.texts)
    assert "<b>d01" in found.text
    assert "<i>mine.py:rank" in found.text
    assert found.tags.count("i") == 0


def test_the_page_holds_table_intervals_charts_moves_and_warnings(written: Path):
    found = Page(written.read_text())
    for words in (
        "Results", "Differences from the first stage", "95 % interval", "Biggest wins", "Biggest losses", "RH006",
        "unjudged documents in the top 10", "How it was made", "relevance 2", "How deep is worth it", "first stage",
    ):  # fmt: skip
        assert words in found.text, words
    assert found.tags.count("svg") == 3
    assert found.tags.count("circle") > 5


def test_wins_and_losses_are_the_queries_that_moved_most(cli: Cli, written: Path):
    from harness.result import load_result, result_files
    from harness.samples import values_of

    result = load_result(next(result_files(Path("results"))), with_values=True)
    before, after = (values_of(result, "nDCG@10", stage) for stage in ("first_stage", "reranked"))
    moves = sorted(after[q] - before[q] for q in before)
    assert moves[0] < 0 < moves[-1]
    wins = re.sub("<[^>]+>", " ", written.read_text().split("Biggest wins")[1].split("Biggest losses")[0])
    best = max(before, key=lambda q: after[q] - before[q])
    assert best in wins
    assert f"{after[best]:.4f}" in wins


def test_results_without_depth_curve_or_first_stage_have_a_page_too(tmp_path: Path):
    alone = made([0.5, 0.2], reranker=None, reranker_revision=None, reranker_fingerprint=None)
    lists = made([0.1, 0.3], measure="p-MRR", top_k=None, task="Lists")
    html = page([alone, lists], tmp_path)
    assert Page(html).open == []
    assert "Birds: bm25 top 100" in html


def test_names_folders_and_files_can_be_given_together_and_count_once(cli: Cli, tmp_path: Path):
    folder = saved(tmp_path / "results", made([0.5, 0.2], [0.4, 0.3]), made([0.1], [0.2], task="Fish"))
    assert cli("report", folder, "org/model", "--output", "sub/page.html").code == 0
    assert Page((tmp_path / "sub" / "page.html").read_text()).tags.count("section") == 2
    answer = cli("report", "nothing")
    assert answer.code == 3
    assert len(answer.err.splitlines()) == 1


# -- charts


def points_of(svg: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.-]+)" cy="([\d.-]+)"', svg)]


def test_a_scatters_points_stand_where_their_values_say():
    drawn = scatter([("a", 0.0, 0.0), ("b", 1.0, 1.0), ("c", 0.0, 1.0)], "x", "y")
    (x0, y0), (x1, y1), (x2, y2) = points_of(drawn)
    assert x0 == x2 < x1
    assert y0 > y1 == y2
    assert re.findall(r'class="(win|loss|tie)"', drawn) == ["tie", "tie", "win"]


def test_queries_at_one_place_are_one_larger_point_that_names_them():
    drawn = scatter([(f"q{i}", 0.5, 0.25) for i in range(12)], "x", "y")
    assert drawn.count("<circle") == 1
    assert "q7\nand 4 more" in drawn


def test_a_chart_takes_values_outside_the_unit_square():
    drawn = scatter([("a", -0.5, 0.25)], "x", "y")
    (point,) = points_of(drawn)
    assert 0 < point[0] < 340
    assert 0 < point[1] < 340


def test_a_curve_of_one_depth_is_drawn():
    assert points_of(curves([Line("reranked", "reranked", [(7, 0.3)])], "k", "nDCG@10", 0.2, "first stage"))


def test_a_forest_colours_by_the_interval():
    drawn = forest(
        [Bar("up", 0.2, 0.1, 0.3), Bar("down", -0.2, -0.3, -0.1), Bar("<open>", 0.0, -0.1, 0.1)], "difference"
    )
    assert re.findall(r'class="(\w+)-line"', drawn) == ["win", "loss", "tie"]
    assert "&lt;open&gt;" in drawn


# -- a real browser


@pytest.fixture
def browser(tmp_path: Path) -> list[str]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = os.environ.get("RERANK_HARNESS_BROWSER") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(names)} is installed")
    return [found, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]


def test_the_page_opens_in_a_real_browser_and_runs_nothing(browser: list[str], written: Path, tmp_path: Path):
    shot = tmp_path / "shot.png"
    address = written.as_uri()
    seen = subprocess.run(
        [*browser, "--dump-dom", address], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    assert "<title>Rerank Harness: birds</title>" in seen
    assert seen.count("<svg") == 3
    assert seen.rstrip().endswith("</html>")
    subprocess.run(
        [*browser, f"--screenshot={shot}", "--window-size=1200,1600", address],
        capture_output=True,
        check=True,
        timeout=120,
    )
    data = shot.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (1200, 1600)
    assert len(data) > 20_000, "an empty page compresses to less"
