"""The verb `report`: one page that needs nothing from outside, holds what it should, and opens in a browser."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import open_browser
from conftest import WORDS, Cli, write_collection, write_lines
from made_results import made, saved

from harness.results.result import Result
from harness.verdicts.charts import Bar, Line, curves, forest, scatter, sorted_changes
from harness.verdicts.compare import System, compare
from harness.verdicts.pairing import entries_in
from harness.verdicts.report import page
from harness.verdicts.sheet.hardest import hardest_of

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
    # Nine judgements a query: what of the top ten has none is then worth a word.
    more = [f"q{i}\td{(i + step) % 48:02d}\t0" for i in range(11) for step in range(30, 36)]
    judged = (folder / "qrels" / "test.tsv").read_text().splitlines()
    write_lines(folder / "qrels" / "test.tsv", [*judged, *more])
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
        "queries won", "What the warnings mean", "Judgements were pooled", "from the largest gain", "birch cedar",
    ):  # fmt: skip
        assert words in found.text, words
    assert found.tags.count("svg") == 4
    assert found.tags.count("circle") > 5


def test_every_link_leads_to_a_place_on_the_page(written: Path):
    html = written.read_text()
    anchors = set(re.findall(r'id="([^"]+)"', html))
    links = set(Page(html).links)
    assert {"#r1", "#RH006"} <= links
    assert {link[1:] for link in links} <= anchors


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ([0.9] * 12, "Reranking raises nDCG@10 by 0.5000 (95 % interval [+0.3750, +0.6250], p 0.0005). 12 queries won"),
        ([0.9] * 5 + [0.4] * 7, "nDCG@10 +0.2083 (no 95 % interval: too few queries moved, p 0.0625). 5 queries won"),
        ([0.1] * 12, "Reranking lowers nDCG@10 by 0.3000"),
        ([0.5, 0.3] * 6, "No difference that this data can show: nDCG@10 +0.0000"),
    ],
)
def test_a_result_is_summed_up_in_a_sentence(tmp_path: Path, after, said):
    result = made(after, [0.4] * 12)
    row = result.measures["nDCG@10"] | {"difference": sum(after) / 12 - 0.4}
    html = page([replace(result, measures={"nDCG@10": row})], tmp_path)
    assert said in Page(html).text


def test_wins_and_losses_are_the_queries_that_moved_most(cli: Cli, written: Path):
    from harness.results.result import load_result, result_files
    from harness.verdicts.samples import values_of

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
    text = Page(html).text
    assert "The first stage alone: nDCG@10 0.3500." in text
    assert "p-MRR 20.00. There is no first-stage figure to hold it against." in text


def test_names_folders_and_files_can_be_given_together_and_count_once(cli: Cli, tmp_path: Path):
    folder = saved(tmp_path / "results", made([0.5, 0.2], [0.4, 0.3]), made([0.1], [0.2], task="Fish"))
    assert cli("report", folder, "org/model", "--output", "sub/page.html").code == 0
    assert len(re.findall('id="r[0-9]+"', (tmp_path / "sub" / "page.html").read_text())) == 2
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
    assert 0 < point[0] < 380
    assert 0 < point[1] < 360


def test_a_curve_of_one_depth_is_drawn():
    assert points_of(curves([Line("reranked", "reranked", [(7, 0.3)])], "k", "nDCG@10", 0.2, "first stage"))


def test_a_forest_colours_what_is_significant():
    bars = [
        Bar("up", 0.2, 0.1, 0.3, True, "+0.2"),
        Bar("down", -0.2, -0.3, -0.1, True, "-0.2"),
        Bar("<open>", 0.05, 0.01, 0.1, False, "+0.05"),
    ]
    drawn = forest(bars, "difference")
    assert re.findall(r'class="(\w+)-line"', drawn) == ["win", "loss", "tie"]
    assert "&lt;open&gt;" in drawn


def test_sorted_changes_cover_what_was_won_and_lost_and_stay_small():
    drawn = sorted_changes([0.5, -0.25, 0.0, 0.25], "queries", "change")
    areas = dict(reversed(found) for found in re.findall(r'<path d="([^"]+)" class="(\w+)"', drawn))
    heights = {style: sorted({float(y) for y in re.findall(r"V([\d.]+)", path)}) for style, path in areas.items()}
    zero = heights["win"][-1]
    assert heights["loss"][0] == zero
    assert zero - heights["win"][0] == pytest.approx(2 * (zero - heights["win"][1]), abs=0.3)
    assert heights["loss"][1] - zero == pytest.approx(zero - heights["win"][1], abs=0.3)
    assert len(sorted_changes([i / 7000 for i in range(7000)], "queries", "change")) < 20_000


def test_names_at_the_end_of_lines_do_not_lie_on_each_other():
    lines = [Line("one", "reranked", [(10, 0.4), (100, 0.5)]), Line("two", "oracle", [(10, 0.5), (100, 0.501)])]
    drawn = curves(lines, "k", "nDCG@10", 0.5, "first stage")
    heights = sorted(float(y) for y in re.findall(r'y="([\d.]+)" text-anchor="start"', drawn))
    assert len(heights) == 3
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 13.9


# -- a real browser


LOOK = """
const shown = element => { const box = element.getBoundingClientRect(); return [box.left, box.top, box.right, box.bottom]; };
const style = getComputedStyle(document.body);
return {
  charts: [...document.querySelectorAll("svg")].map(svg => [shown(svg), [...svg.querySelectorAll("text")].map(shown)]),
  colours: [style.color, style.backgroundColor],
  wide: document.documentElement.scrollWidth - window.innerWidth,
  images: document.images.length,
  scripts: document.scripts.length,
};
"""


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(…)`, by WCAG 2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_page_opens_in_a_real_browser_in_light_and_dark_wide_and_narrow(written: Path, tmp_path: Path):
    with open_browser(tmp_path / "profile", 1300, 1600) as browser:
        browser.get(written.as_uri())
        papers = []
        for scheme, width in (("light", 1300), ("dark", 1300), ("light", 420)):
            wish = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", wish)
            browser.set_window_size(width, 1600)
            seen = browser.execute_script(LOOK)
            assert (browser.title, seen["images"], seen["scripts"]) == ("Rerank Harness: birds", 0, 0)
            assert seen["wide"] <= 0, "the page itself never scrolls sideways"
            ink, paper = sorted(map(luminance, seen["colours"]), reverse=True)
            assert (ink + 0.05) / (paper + 0.05) > 7
            papers.append(luminance(seen["colours"][1]))
            assert len(seen["charts"]) == 4
            for (left, top, right, bottom), texts in seen["charts"]:
                assert right - left > 250
                assert all(x >= left - 1 and y >= top - 1 for x, y, _, _ in texts)
                assert all(x <= right + 1 and y <= bottom + 1 for _, _, x, y in texts)
        assert papers[0] == papers[2] > 0.9
        assert papers[1] < 0.1
        browser.find_element("css selector", "td.codes a").click()
        assert browser.current_url.endswith("#RH006")
        assert browser.get_log("browser") == []
        shot = browser.get_screenshot_as_png()
    assert len(shot) > 20_000, "an empty page compresses to less"


# -- many results


def thirty() -> list[Result]:
    """Ten tasks by three rerankers: one that helps, one that harms, one that does neither; some with a warning."""
    chance = np.random.default_rng(7)
    found = []
    for number in range(10):
        first = chance.uniform(0.1, 0.7, 40)
        for name, gain in (("better", 0.2), ("worse", -0.08), ("same", 0.0)):
            after = np.clip(first + gain + chance.normal(0, 0.05, 40) * (gain != 0), 0, 1)
            result = made(after.tolist(), first.tolist(), task=f"Task{number:02d}Retrieval", reranker=f"org/{name}")
            row = result.measures["nDCG@10"]
            row |= {"difference": row["reranked"] - row["first_stage"], "oracle": 0.9}
            cut = {"truncated_pairs": 900, "pairs": 4000} if number % 2 else {}
            curve = [{"k": k, "reranked": 0.4 + k / 1000, "oracle": 0.6 + k / 500} for k in (10, 50, 100)]
            depth = {"depth_curve": {"points": curve, "measure": "nDCG@10", "first_stage": 0.4}}
            found.append(replace(result, measures={"nDCG@10": row}, diagnostics={**cut, **depth}))
    return found


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    (folder / "page.html").write_text(page(thirty(), folder), encoding="utf-8")
    return folder / "page.html"


SIZES = """
const shown = [...document.querySelectorAll("tbody tr, details.one[data-task]")].filter(each => each.checkVisibility());
const number = [...document.querySelectorAll("body *")].find(each => !each.children.length && /[+-]\\.[0-9]{2}/.test(each.textContent));
return {
  height: document.documentElement.scrollHeight, wide: document.documentElement.scrollWidth - window.innerWidth,
  number: number.getBoundingClientRect().bottom, shown: shown.length,
  faint: [...document.querySelectorAll("svg g")].filter(each => getComputedStyle(each).opacity < 0.5).length,
};
"""


def test_thirty_results_stay_short_filter_by_style_and_say_a_number_first_on_a_phone(many: Path, tmp_path: Path):
    with open_browser(tmp_path / "profile", 1400, 900) as browser:
        size = "Emulation.setDeviceMetricsOverride"
        seen = {}
        for width, height in ((390, 664), (1400, 900)):
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd(size, metrics)
            browser.get(many.as_uri())
            seen[width] = browser.execute_script(SIZES)
            assert seen[width]["height"] < 6_000
            assert seen[width]["wide"] <= 0
            assert seen[width]["number"] < height, "a number is seen before anything is scrolled"
        everything = seen[1400]["shown"]
        left = []
        for option in ("task-3", "reranker-1", "verdict-win"):
            browser.execute_script(f'document.getElementById("{option}").selected = true')
            left.append(browser.execute_script(SIZES))
        assert everything > left[0]["shown"] > left[1]["shown"] == 2, "one result: its row and its section"
        assert left[2]["shown"] == 0, "that one lost"
        assert left[2]["faint"] == 30 + 32, "of the pairs, the one that lost is beaten by one with no change"
        assert browser.get_log("browser") == []
        browser.get(f"{many.as_uri()}#r17")
        opened = 'return document.getElementById("r17").closest("details").open'
        assert browser.execute_script(opened), "a link opens the fold that it leads into"


def test_contents_name_every_level_and_the_verdict_comes_before_the_tables(many: Path):
    html = many.read_text()
    links = re.findall(r'<a href="#(\w+)"', html.split("<nav")[1].split("</nav>")[0])
    assert links[:3] == ["verdict", "tables", "queries"]
    assert [html.index(f'id="{link}"') for link in links] == sorted(html.index(f'id="{link}"') for link in links)
    said = Page(html.split('<section class="level" id="verdict">')[1].split("</section>")[0]).text
    assert "better beats BM25 on 10 of 10" in said
    assert "worse loses to BM25 on 10 of 10" in said
    assert "same is not told apart from BM25 on any of 10" in said


# -- across results


def cells_of(html: str, title: str) -> list[list[str]]:
    """The rows of the first table behind the fold of this title, as texts."""
    inside = html.split(title)[1].split("</table>", maxsplit=1)[0].split("<tbody>")[1]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in inside.split("</tr>") if "<td" in row]
    return [[" ".join(re.sub("<[^>]+>", " ", cell).split()) for cell in row] for row in rows]


def parts_of(html: str, title: str) -> dict[str, list[list[str]]]:
    """The rows of each part behind the fold of this title, by the part's own."""
    inside = html.split(f"<b>{title}</b>", maxsplit=1)[1]
    parts = re.findall(r'class="one" data-reranker[^>]*><summary><b>(.*?)</b>(.*?)</figure>', inside, flags=re.DOTALL)
    return {name: cells_of(f"{name}{rest}", name) for name, rest in parts}


def test_rerankers_are_held_against_each_other_as_compare_does(tmp_path: Path):
    results = thirty()
    html = page(results, tmp_path)
    parts = parts_of(html, "Between the rerankers")
    assert [len(rows) for rows in parts.values()] == [11] * 3, "three pairs on ten tasks and their mean"
    one, other = (next(r for r in results if r.reranker == f"org/{name}") for name in ("better", "worse"))
    expected = np.mean(other.values["nDCG@10"]["reranked"]) - np.mean(one.values["nDCG@10"]["reranked"])
    found, *others = parts["org/better → org/worse"]
    assert [row[0][:6] for row in (found, *others)] == [*(f"Task{n:02}" for n in range(10)), "mean o"], "in order"
    assert found[1:4] == [
        f"{np.mean(side.values['nDCG@10']['reranked']):.4f}" for side in (one, other)
    ] + [f"{expected:+.4f}"]  # fmt: skip
    alone = [saved(tmp_path / side.reranker.split("/")[1], side) for side in (one, other)]
    systems = [System(folder.name, entries_in(folder)) for folder in alone]
    (row,) = compare(*systems).rows
    assert found[4] == f"[{row.low:+.4f}, {row.high:+.4f}]"
    text = Page(html).text
    assert "org/worse loses to org/better on 10 of 10" in text
    assert "over all 33 rows together" in text


def test_many_rerankers_are_all_held_against_the_one_named_first(tmp_path: Path):
    results = [made([0.5 + n / 100] * 8, [0.4] * 8, reranker=f"org/m{9 - n}") for n in range(7)]
    parts = parts_of(page(results, tmp_path), "Between the rerankers")
    assert [*parts] == [f"org/m9 → org/m{9 - n}" for n in range(1, 7)]


def test_results_of_other_questions_are_not_held_against_each_other(tmp_path: Path):
    other_depth = made([0.9] * 8, [0.4] * 8, reranker="org/other", top_k=50)
    html = page([made([0.5] * 8, [0.4] * 8), other_depth], tmp_path)
    assert "Between the rerankers" not in html
    nothing_shared = made({f"other{i}": 0.5 for i in range(8)}, [0.4] * 8, reranker="org/other")
    html = page([made([0.5] * 8, [0.4] * 8), nothing_shared], tmp_path)
    assert "org/model and org/other share no query or measure of Birds" in Page(html).text


def test_a_baseline_stands_beside_the_current_results_with_what_moved(cli: Cli, tmp_path: Path):
    old = [0.5, 0.4, 0.3, 0.2, 0.6, 0.5, 0.4, 0.3]
    new = [value + 0.2 for value in old]
    for folder, values in (("old", old), ("new", new)):
        saved(tmp_path / folder, *(made(values, old, reranker=f"org/{name}") for name in ("a", "b")))
    answer = cli("report", "new", "--baseline", "old", "--output", "page.html")
    assert answer.code == 0, answer.err
    html = (tmp_path / "page.html").read_text()
    assert Page(html).open == []
    parts = parts_of(html, "Baseline old, current new")
    assert [*parts][:2] == ["org/a", "org/b"]
    assert parts["org/b"][0][1:5] == ["0.4000", "0.4000", "0.6000", "+0.2000"]
    text = Page(html).text
    assert "With org/a, new beats old by +.20" in text
    assert "With org/b, new beats old by +.20" in text
    assert "Moved most since the baseline" in text
    assert html.split('<p class="said">', 2)[1].startswith("With org/a, new beats old"), "the answer comes first"


def test_a_baseline_of_other_data_is_refused_unless_asked_for(cli: Cli, tmp_path: Path):
    saved(tmp_path / "old", made([0.5] * 8, [0.4] * 8, top_k=50))
    saved(tmp_path / "new", made([0.6] * 8, [0.4] * 8))
    refused = cli("report", "new", "--baseline", "old", "--output", "page.html")
    assert refused.code == 3
    assert "depth 50 → 100" in refused.err
    allowed = cli("report", "new", "--baseline", "old", "--allow-different", "--output", "page.html")
    assert allowed.code == 0
    assert "different, and compared all the same" in (tmp_path / "page.html").read_text()
    assert cli("report", "new", "--allow-different").code == 2
    assert cli("report", "new", "--baseline", "old", "--output", "p.svg").code == 2


def test_the_hardest_queries_have_the_lowest_mean_over_all_systems(tmp_path: Path):
    columns = {"one": {"a": 0.2, "b": 0.9, "c": 0.1, "x": 0.0}, "two": {"a": 0.2, "b": 0.9, "c": 0.5}}
    assert hardest_of(columns, 2) == ["a", "c"], "x has no value of the other system"
    first = [0.9, 0.1, 0.5, 0.3]
    results = [made([0.9, 0.2, 0.5, 0.0], first, reranker="org/a"), made([0.9, 0.6, 0.5, 0.3], first, reranker="org/b")]
    html = page(results, tmp_path, most=2)
    rows = cells_of(html, "Hardest queries across systems")
    assert [row[:5] for row in rows] == [
        ["q3", "0.3000", "0.0000", "0.3000", "0.2000"],
        ["q1", "0.1000", "0.2000", "0.6000", "0.3000"],
    ]
    assert "q3 org/a -0.3000 org/b +0.0000" in Page(html).text
    assert "Hardest queries" not in page(results, tmp_path, most=0)
