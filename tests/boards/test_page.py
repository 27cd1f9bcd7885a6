"""The page of a leaderboard, clicked through in a real browser, from disk and without network."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from browser import open_browser
from made_boards import made_cards, table
from made_results import made, saved

from harness.boards import render
from harness.results.imported import COLUMNS

NASTY = "</script><script>window.broken=1</script><img src=x onerror=window.broken=1>\"'`${1}{{script}}&lt;\u2028"
LINK = "javascript:window.broken=1"
MODELS = {
    "org/small": {"parameters": 20_000_000, "licence": "mit", "languages": ["eng"], "trained_on": [], "source": "a card"},
    "org/large": {
        "parameters": 700_000_000, "licence": "apache-2.0", "languages": ["eng", "deu", "fra", "swh"],
        "trained_on": ["Birds", "Ferns"], "source": "a card",
    },
}  # fmt: skip
TASKS = [("Birds", "default"), ("Trees", "default"), ("Ferns", "de"), ("Ferns", "fr")]


def timed(name: str, means: list[float], rate: float, processor: str = "Chip A", stage: str = "bm25") -> list[Any]:
    """A reranker's results on TASKS; a mean that is None leaves the task out."""
    found = []
    for (task, subset), mean in zip(TASKS, means, strict=True):
        if mean is not None:
            column = [mean + (0.05 if i % 2 else -0.05) for i in range(20)]
            base = 0.2 if stage == "bm25" else 0.25
            result = made(
                column, [base] * 20, task=task, subset=subset, reranker=name, retriever=stage, retriever_settings={},
                reranker_fingerprint=name.encode().hex()[:32].ljust(32, "0"),
            )  # fmt: skip
            oracle = {"nDCG@10": {**result.values["nDCG@10"], "oracle": [0.95] * 20}}
            row = {"nDCG@10": {**result.measures["nDCG@10"], "oracle": 0.95}}
            machine = {"processor": processor, "cores": 8, "device": "cpu", "dtype": "float32"}
            pace = {"pairs_per_second": rate, "latency_seconds": {"p50": 100 / rate}}
            result = replace(result, values=oracle, measures=row, environment=machine, performance=pace)
            found.append(replace(result, diagnostics={"pairs": 2000}))
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five rerankers over two first stages, a suite, three languages, two machines, an imported row."""
    folder = tmp_path_factory.mktemp("board")
    results = [
        *timed("org/large", [0.8, 0.7, 0.5, 0.7], 50.0),
        *timed("org/small", [0.6, 0.5, 0.6, 0.4], 900.0),
        *timed("org/slow", [0.5, 0.4, 0.5, 0.4], 10.0),
        *timed("org/elsewhere", [0.4, 0.6, 0.3, 0.3], 5000.0, "Chip B"),
        *timed("org/partial", [0.9, None, 0.2, 0.2], 70.0),
        *timed("org/small", [0.7, 0.6, 0.65, 0.45], 800.0, stage="org/dense"),
    ]
    table_of_mteb = folder / "mteb.csv"
    line = f"org/embedder,12345678,,Birds,{'b' * 40},test,default,nDCG@10,0.55,2.3.0,mit,33000000,no,x.json"
    table_of_mteb.write_text(",".join(COLUMNS) + f"\n{line}\n")
    built = table(
        made_cards(folder / "cards"), saved(folder / "results", *results), suites=["Woods"], tasks=["Ferns"],
        models=MODELS, imported=[str(table_of_mteb)], title="A board",
    )  # fmt: skip
    return written(folder, render(built)["mine.html"])


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


class Page:
    """What a reader sees and does."""

    def __init__(self, browser: Any, path: Path) -> None:
        self.browser, self.path = browser, path

    def open(self, link: str = "") -> Page:
        self.browser.get("about:blank")
        self.browser.get(self.path.as_uri() + link)
        return self

    def all(self, selector: str) -> list[Any]:
        return self.browser.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def js(self, script: str, *given: Any) -> Any:
        return self.browser.execute_script(f"return {script}", *given)

    def heads(self) -> list[str]:
        return self.js("[...document.querySelectorAll('thead button')].map((b) => b.dataset.id)")

    def column(self, name: str) -> list[str]:
        """The first line of each cell of a column, from top to bottom."""
        place = self.heads().index(name) + 1
        cells = self.all(f"tbody tr > :nth-child({place})")
        return [cell.text.split("\n")[0] for cell in cells]

    def names(self) -> list[str]:
        """The rerankers from top to bottom, without their organisations."""
        return self.js(
            "[...document.querySelectorAll('tbody th')].map((c) => [...(c.querySelector('.line') || c).childNodes].filter((n) => n.nodeType === 3 || n.tagName === 'A' || n.matches('.cut, .set')).map((n) => n.textContent).join(''))"
        )

    def click_head(self, name: str) -> None:
        place = self.heads().index(name)
        self.js("document.querySelectorAll('thead button')[arguments[0]].click()", place)

    def choose(self, control: str, text: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.one(f"#{control}")).select_by_visible_text(text)

    def choices(self, control: str) -> list[str]:
        return [option.text for option in self.all(f"#{control} option")]

    def link(self) -> str:
        return "#" + self.browser.current_url.partition("#")[2]

    def keys(self, *keys: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def focused(self) -> str:
        return self.js(
            "document.activeElement.dataset.id || document.activeElement.id || document.activeElement.className"
        )


@pytest.fixture
def seen(chromium: Any, page: Path) -> Page:
    """The page, freshly opened; whatever the test does, nothing may be fetched and no error be logged."""
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.get_log("browser")
    opened = Page(chromium, page).open()
    opened.js("localStorage.clear()")
    return opened


MEAN = "c:mean of 3, nDCG@10"


def test_it_works_from_disk_without_network_or_errors(seen: Page):
    assert seen.js("location.protocol") == "file:"
    assert seen.js("performance.getEntriesByType('resource').length") == 0
    assert seen.browser.get_log("browser") == []
    assert "src=" not in seen.path.read_text()
    assert not seen.all("link[href]")


def test_rows_begin_in_the_order_of_their_ranks_and_missing_ones_stand_last(seen: Page):
    assert seen.names()[:2] == ["large", "small"]
    assert seen.names()[-3:] == ["embedder", "oracle", "oracle"], "others' figures follow, a ceiling is last"
    assert seen.names()[-4] == "partial", "without the figure, after those that have it"
    assert (seen.column("rank")[0], seen.column("rank")[-1]) == ("1", "–")
    assert seen.column(MEAN)[-4] == "–"
    assert "ceiling" in seen.all("tbody tr")[-1].get_attribute("class")
    seen.click_head(MEAN)
    assert seen.names()[-1] != "oracle", "a reader who sorts sorts all rows"


def test_every_column_sorts_both_ways_with_what_is_missing_last(seen: Page):
    for name in seen.heads():
        seen.click_head(name)
        first = seen.column(name)
        state = seen.js("[...document.querySelectorAll('thead th')].map((c) => c.getAttribute('aria-sort'))")
        assert [bool(each) for each in state].count(True) == 1
        assert state[seen.heads().index(name)] in ("ascending", "descending")
        seen.click_head(name)
        second = seen.column(name)
        missing = first.count("–")
        assert first[len(first) - missing :] == second[len(second) - missing :] == ["–"] * missing
        there = [[each for each in column if each != "–"] for column in (first, second)]
        assert sorted(there[0]) == sorted(there[1])
        if name.startswith("c:"):
            assert [list(map(float, each)) for each in there] in (
                [sorted(map(float, there[0]), reverse=order) for order in orders] for orders in ((True, False), (False, True))
            )  # fmt: skip
    assert len(seen.heads()) > 10


def test_a_suite_brings_its_own_mean_and_ranks(seen: Page):
    assert seen.choices("suite") == ["all tasks", "Woods"]
    seen.choose("suite", "Woods")
    assert [name for name in seen.heads() if name.startswith("c:")] == [
        "c:Woods, mean of 2, nDCG@10",
        "c:Birds nDCG@10",
        "c:Trees nDCG@10",
    ]
    place = seen.names().index("large")
    assert seen.column("c:Woods, mean of 2, nDCG@10")[place] == "0.7500"
    assert seen.column("rank")[place] == "1"


def test_a_language_brings_its_own_parts(seen: Page):
    seen.choose("language", "French (fra)") if "French (fra)" in seen.choices("language") else seen.choose(
        "language", "fra"
    )
    assert [name for name in seen.heads() if name.startswith("c:")] == ["c:Ferns fra nDCG@10"]
    assert seen.column("c:Ferns fra nDCG@10")[seen.names().index("large")] == "0.7000"
    seen.choose("suite", "Woods")
    assert not [name for name in seen.heads() if name.startswith("c:")]
    assert set(seen.column("rank") if "rank" in seen.heads() else ["–"]) == {"–"}


@pytest.mark.parametrize(
    ("control", "choice", "left"),
    [
        ("size", "under 100M", {"small", "embedder"}),
        ("size", "500M to 2B", {"large"}),
        ("size", "unknown", {"slow", "elsewhere", "partial"}),
        ("licence", "mit", {"small", "embedder"}),
        ("licence", "unknown", {"slow", "elsewhere", "partial"}),
        ("trained", "yes", {"large"}),
        ("trained", "no", {"small", "embedder"}),
        ("trained", "unknown", {"slow", "elsewhere", "partial"}),
        ("stage", "org/dense top 100", {"small", "embedder"}),
    ],
)
def test_each_filter_leaves_the_rows_it_names_and_their_references(seen: Page, control, choice, left):
    seen.choose(control, choice)
    references = {"oracle", "none (first stage alone)"}
    assert set(seen.names()) == left | references
    assert (
        seen.one("#count").text == f"{len(seen.names())} of {seen.js('JSON.parse(board.textContent).rows.length')} rows"
    )
    dashes = "[...document.querySelectorAll('thead th')].filter((head, place) => [...document.querySelectorAll('tbody tr')].every((row) => row.children[place].innerText.trim() === '–')).length"
    assert seen.js(dashes) == 0, "no column in sight is all dashes"
    seen.one("#reset").click()
    assert "large" in seen.names()


def test_text_search_looks_at_names_stages_and_sources(seen: Page):
    seen.one("#q").send_keys("DENSE small")
    assert seen.names() == ["small"]
    seen.one("#q").clear()
    seen.one("#q").send_keys("mteb 2.3.0")
    assert seen.names() == ["embedder"]
    assert seen.focused() == "q", "typing goes on while the table changes"


def test_columns_and_rows_can_be_picked(seen: Page):
    seen.one("#picker summary").click()
    before = seen.heads()
    box = next(label for label in seen.all("#columns label") if label.text.startswith("Trees"))
    box.click()
    assert seen.heads() == [name for name in before if name != "c:Trees nDCG@10"]
    seen.one("#none").click()
    assert seen.heads() == ["name"]
    seen.one("#every").click()
    assert seen.heads() == before
    next(label for label in seen.all("#kinds label") if label.text == "Oracle").click()
    assert "oracle" not in seen.names()


def test_speeds_are_those_of_the_chosen_hardware_alone(seen: Page):
    assert seen.choices("hardware") == ["Chip A, 8 cores", "Chip B, 8 cores"]
    assert seen.column("pairs")[seen.names().index("elsewhere")] == "–"
    seen.choose("hardware", "Chip B, 8 cores")
    shown = dict(zip(seen.names(), seen.column("pairs"), strict=True))
    assert shown["elsewhere"] == "5000"
    assert shown["large"] == "–"


def test_the_plot_shows_quality_against_speed_of_one_machine(seen: Page):
    seen.one("#tab-speed").click()
    points = {point.get_attribute("aria-label").split(",")[0] for point in seen.all("svg g.point")}
    assert points == {"org/large", "org/small", "org/slow"}, "neither another machine nor a row without the figure"
    ahead = {
        point.get_attribute("aria-label").split(",")[0]
        for point in seen.all("svg g.point")
        if point.find_elements("css selector", ".ahead")
    }
    assert ahead == {"org/large", "org/small"}
    across = seen.js(
        "[...document.querySelectorAll('g.point')].map((g) => [g.getAttribute('aria-label'), g.querySelector('.dot').getBBox().x])"
    )
    fast = [x for label, x in across if label.startswith("org/small")]
    slow = [x for label, x in across if label.startswith("org/slow")]
    assert min(fast) > max(slow)
    seen.js("document.querySelector('g.point').focus()")
    assert "nDCG" not in seen.one("figcaption").text
    assert "pairs a second" in seen.one("figcaption").text
    seen.one("#q").send_keys("slow")
    assert len(seen.all("svg g.point")) == 1
    ticks = seen.js("[...document.querySelectorAll('svg text:not(.label):not(.axis)')].map((t) => t.textContent)")
    assert {"5", "10", "20"} <= set(ticks), "one point alone has numbers on its axis too"
    seen.one("#reset").click()
    seen.choose("axis", "seconds a query")
    across = seen.js(
        "[...document.querySelectorAll('g.point')].map((g) => [g.getAttribute('aria-label'), g.querySelector('.dot').getBBox().x])"
    )
    assert min(x for label, x in across if label.startswith("org/slow")) > max(
        x for label, x in across if label.startswith("org/small")
    )


def test_the_view_of_languages_has_a_column_for_each(seen: Page):
    seen.one("#tab-languages").click()
    assert [name for name in seen.heads() if name.startswith("c:")] == [
        "c:Ferns nDCG@10",
        "c:Ferns de nDCG@10",
        "c:Ferns fr nDCG@10",
    ]
    place = seen.names().index("large")
    assert [seen.column(name)[place] for name in seen.heads() if name.startswith("c:")] == [
        "0.6000",
        "0.5000",
        "0.7000",
    ]


def test_light_and_dark_follow_the_system_and_the_switch(seen: Page):
    paper = "getComputedStyle(document.body).backgroundColor"
    seen.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    dark = seen.js(paper)
    seen.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    )
    light = seen.js(paper)
    assert dark != light
    seen.one("#theme").click()
    assert (seen.one("#theme").text, seen.js(paper)) == ("Theme: light", light)
    seen.one("#theme").click()
    assert (seen.one("#theme").text, seen.js(paper)) == ("Theme: dark", dark)


def test_a_link_opens_the_very_view(seen: Page):
    seen.choose("suite", "Woods")
    seen.choose("size", "under 100M")
    seen.one("#q").send_keys("small")
    seen.click_head("c:Trees nDCG@10")
    seen.click_head("c:Trees nDCG@10")
    seen.one("#picker summary").click()
    next(label for label in seen.all("#columns label") if label.text.startswith("Licence")).click()
    shown = (seen.heads(), seen.names(), seen.column("c:Trees nDCG@10"))
    link = seen.link()
    assert seen.one("#link").get_attribute("href").endswith(link)
    seen.open(link)
    assert (seen.heads(), seen.names(), seen.column("c:Trees nDCG@10")) == shown
    assert seen.one("#q").get_attribute("value") == "small"
    seen.open("#tab=languages")
    assert seen.one("#tab-languages").get_attribute("aria-selected") == "true"
    seen.js("void (location.hash = '#suite=Woods')")
    assert seen.one("#suite").get_attribute("value") == "Woods"


def test_a_link_that_says_nonsense_shows_the_board(seen: Page):
    seen.open("#tab=x&suite=%3Cb%3E&sort=nothing:up&hardware=none&size=huge")
    assert len(seen.names()) == seen.js("JSON.parse(board.textContent).rows.length")
    assert seen.browser.get_log("browser") == []


def test_everything_can_be_done_with_the_keyboard_alone(seen: Page):
    from selenium.webdriver.common.keys import Keys

    seen.keys(Keys.TAB)
    assert seen.focused() == "skip"
    seen.keys(Keys.ENTER)
    assert seen.focused() == "main"
    seen.open()
    for _ in range(3):
        seen.keys(Keys.TAB)
    assert seen.focused() == "tab-table"
    seen.keys(Keys.ARROW_RIGHT)
    assert (seen.focused(), len(seen.all("table.wins")) > 0) == ("tab-wins", True)
    seen.keys(Keys.ARROW_RIGHT)
    assert (seen.focused(), len(seen.all("svg g.point")) > 0) == ("tab-speed", True)
    seen.keys(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    reached = []
    for _ in range(40):
        seen.keys(Keys.TAB)
        reached.append(seen.focused())
        if reached[-1] == "c:Birds nDCG@10":
            break
    assert [each for each in reached if each in ("q", "suite", "language", "size", "licence", "reset", "link")] == [
        "q", "suite", "language", "size", "licence", "reset", "link",
    ]  # fmt: skip
    outline = seen.js("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "what has the focus is seen to have it"
    seen.keys(Keys.ENTER)
    assert seen.one("th[aria-sort]").text.startswith("Birds")
    assert seen.focused() == "c:Birds nDCG@10", "the focus stays where it was"
    seen.js("document.querySelector('#picker summary').focus()")
    seen.keys(Keys.ENTER)
    assert seen.js("picker.open")
    seen.keys(Keys.ESCAPE)
    assert not seen.js("picker.open")


def test_every_control_has_a_name(seen: Page):
    seen.one("#picker summary").click()
    unnamed = seen.js(
        "[...document.querySelectorAll('input, select, button, a, svg[role], [role=region]')].filter((e) => !e.closest('[hidden]'))"
        ".filter((e) => !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim()).map((e) => e.outerHTML)"
    )
    assert unnamed == []


def test_a_phone_scrolls_the_table_and_not_the_page(seen: Page):
    seen.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        for tab in ("table", "speed", "languages"):
            seen.open(f"#tab={tab}")
            assert seen.js("document.documentElement.scrollWidth") <= 390
        assert not seen.one("#size").is_displayed()
        seen.one("#more").click()
        assert seen.one("#size").is_displayed()
    finally:
        seen.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_answer_stands_on_top_and_models_lead_to_their_pages(seen: Page):
    assert seen.one(".answer").text.startswith(
        "large beats bm25 top 100 on the mean of 3, nDCG@10, 0.7000 against 0.2000"
    )
    assert seen.one("tbody th a").get_attribute("href") == "https://huggingface.co/org/large"


def test_who_beats_whom_is_said_for_every_pair_of_ranked_rows(seen: Page):
    seen.js("document.getElementById('tab-wins').click()")
    cells = seen.js(
        "[...document.querySelectorAll('.wins tbody tr')].map((r) => [...r.children].map((c) => c.textContent))"
    )
    assert cells[0][0].startswith("1 large")
    said = [row[1:] for row in cells]
    assert all(row[place] == "·" for place, row in enumerate(said))
    assert said[0][-1] == "beats"
    opposite = {"beats": "loses", "loses": "beats", "?": "?"}
    assert all(said[b][a] == opposite[said[a][b]] for a in range(len(said)) for b in range(a))


def test_chosen_rows_stand_alone_and_what_is_seen_can_be_taken_as_csv(seen: Page):
    for name in ("large", "slow"):
        seen.js(
            "[...document.querySelectorAll('tbody th input')].find((b) => b.ariaLabel.includes(arguments[0])).click()",
            name,
        )
    assert seen.one("#chosen").text == "Only the chosen (2)"
    seen.one("#chosen").click()
    assert seen.names() == ["large", "slow"]
    table = unquote(seen.one("#csv").get_attribute("href").partition(",")[2])
    head, *lines = csv.reader(table.splitlines())
    assert [line[head.index("Reranker")] for line in lines] == ["org/large", "org/slow"]
    assert float(lines[0][head.index("mean of 2, nDCG@10") if "mean of 2, nDCG@10" in head else 3]) > 0.5
    assert seen.open(seen.link()).names() == ["large", "slow"], "the link holds the choice"


def test_texts_from_outside_never_become_markup(chromium: Any, tmp_path: Path):
    nasty = timed(NASTY, [0.8, 0.7, 0.5, 0.7], 50.0, NASTY, LINK)
    nasty = [replace(each, environment={**each.environment, "processor": NASTY}) for each in nasty]
    imported = tmp_path / "mteb.csv"
    quoted = '"' + NASTY.replace('"', '""') + '"'
    imported.write_text(
        ",".join(COLUMNS)
        + f"\n{quoted},{quoted},{quoted},Birds,{quoted},test,default,nDCG@10,0.5,{quoted},{quoted},1,no,{quoted}\n",
        encoding="utf-8",
    )
    models = {NASTY: {"licence": NASTY, "languages": [NASTY, LINK], "trained_on": ["Birds"], "source": NASTY}}
    built = table(
        made_cards(tmp_path / "cards"), saved(tmp_path / "results", *nasty), suites=["Woods"], tasks=["Ferns"],
        models=models, imported=[str(imported)], title=NASTY, description=NASTY,
    )  # fmt: skip
    chromium.get_log("browser")
    seen = Page(chromium, written(tmp_path, render(built)["mine.html"]))
    for link in (
        "",
        "#tab=speed",
        "#tab=languages",
        "#q=%3Cimg%20src=x%20onerror=window.broken=1%3E",
        f"#suite={LINK}",
    ):
        seen.open(link)
        assert seen.js("window.broken") is None
        assert seen.js("document.querySelectorAll('img, script, iframe').length") == 2, (
            "the board and the script, no more"
        )
        assert seen.js(
            "[...document.querySelectorAll('a')].every((a) => !a.getAttribute('href').startsWith('javascript'))"
        )
        assert seen.js(
            "[...document.querySelectorAll('*')].flatMap((e) => e.getAttributeNames()).every((n) => !n.startsWith('on'))"
        )
        assert chromium.get_log("browser") == []
    seen.open()
    assert seen.one("h1").text == NASTY.strip() or "onerror" in seen.one("h1").text
    assert any("onerror" in name.text for name in seen.all("tbody th"))


def test_the_pages_policy_allows_its_own_script_alone(seen: Page):
    seen.js(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s); })()"
    )
    assert seen.js("window.broken") is None
    assert any("Content Security Policy" in entry["message"] for entry in seen.browser.get_log("browser"))
