"""Leaderboards: tables from results, ranks that are believed, missing cells that stay missing."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, Cli, write_collection
from made_boards import board, made_cards, row_of, table
from made_results import made, saved

from harness.boards import Table, board_of, render
from harness.boards.answer import answer
from harness.boards.build import Row
from harness.boards.words import heads
from harness.data.task import Cards
from harness.errors import HarnessError
from harness.rerankers.plugin import revision_of_file
from harness.results.naming import place_of

PLUGINS = """
def good(query, documents):
    return [len(set(query.split()) & set(d.split())) for d in documents]
good.fingerprint = "good 1"

def bad(query, documents):
    return [-score for score in good(query, documents)]
bad.fingerprint = "bad 1"
"""


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    return made_cards(tmp_path / "cards")


def shown(made_table: Table) -> list[dict[str, str]]:
    """The text table: a dictionary for each row."""
    return [{head.title: head.cell(row) for head in heads(made_table)} for row in made_table.rows]


def figures_of(row: Row) -> dict[str, float]:
    return {column.title: cell.mean for column, cell in row.cells.items()}


# --- through the command line


@pytest.fixture
def command(cli: Cli, tmp_path: Path) -> Cli:
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


def test_rows_are_rerankers_first_stages_and_oracles_and_missing_cells_stay_missing(command: Cli):
    assert command("mine").code == 0
    rows = rows_of(Path("boards/mine.md").read_text())
    by_name = {row[1]: row for row in rows}
    assert set(by_name) == {"mine.py:good", "mine.py:bad", "none", "oracle"}
    assert by_name["mine.py:bad"][5] == "–"
    assert by_name["mine.py:bad"][3] == "–", "no mean over fewer tasks than the others"
    assert by_name["mine.py:good"][3] != "–"
    assert [row[1] for row in rows[-2:]] == ["mine.py:bad", "oracle"], "measured rows first, the ceiling last"
    assert by_name["oracle"][0] == "–", "an oracle is a ceiling, not a competitor"
    assert float(by_name["oracle"][3].split()[0]) >= float(by_name["mine.py:good"][3].split()[0])


def test_check_fails_when_a_file_is_out_of_date_and_writes_nothing(command: Cli):
    assert command("mine", "--check").code == 1
    assert not Path("boards/mine.md").exists()
    command("mine")
    assert command("mine", "--check").code == 0
    for ending in ("md", "csv", "tex", "html"):
        path = Path(f"boards/mine.{ending}")
        text = path.read_text()
        path.write_text("old")
        answer = command("--check")
        assert answer.code == 1
        assert path.name in answer.out
        assert path.read_text() == "old"
        path.write_text(text)


def test_an_unknown_board_is_one_line_with_a_hint(command: Cli):
    answer = command("mien")
    assert answer.code == 2
    assert 'Did you mean "mine"' in answer.err


@pytest.mark.parametrize("words", [[], ["--check"], ["mine"]])
def test_a_folder_without_boards_is_one_line(cli: Cli, words):
    Path("boards/folder.yaml").mkdir(parents=True)
    answer = cli("leaderboard", *words, "--folder", "boards")
    assert (answer.code, answer.out) == (2, "")
    assert "boards holds no leaderboard" in answer.err


def test_a_key_that_stands_twice_is_refused_with_its_line(command: Cli):
    Path("boards/mine.yaml").write_text("tasks: [Birds]\ntitle: One\ntasks: [Trees]\n")
    answer = command("mine")
    assert answer.code == 2
    assert 'mine.yaml, line 3: not valid YAML: the key "tasks" stands twice' in answer.err


def test_a_page_that_cannot_be_written_is_one_line(command: Cli):
    Path("boards/mine.html").mkdir()
    answer = command("mine")
    assert (answer.code, answer.out) == (2, "")
    assert "error: cannot write boards/mine.html" in answer.err
    assert len(answer.err.splitlines()) == 1


def test_the_committed_boards_are_up_to_date(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    answer = cli("leaderboard", "--check")
    assert answer.code == 0, answer.out


# --- the YAML


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"tasks": ["Birds"], "colums": ["mean"]}, 'Did you mean "columns"'),
        ({"tasks": ["Birds"], "columns": ["license"]}, 'Did you mean "licence"'),
        ({"tasks": "Birds"}, '"tasks" is a list'),
        ({"tasks": ["Birds"], "measure": "NDGC@10"}, 'Did you mean "nDCG@10"'),
        ({"tasks": ["Birds"], "measure": "nDCG@10 new"}, "og, changed or nothing"),
        ({"tasks": ["Birds"], "published": "maybe"}, '"published" is yes or no'),
        ({"suites": ["Birds"]}, "is no suite"),
        ({"title": "Nothing"}, "name tasks or suites"),
        ({"tasks": ["Birds"], "title": ["Nothing"]}, '"title" is a text'),
        ({"tasks": ["Birds"], "models": {"org/model": {"size": 3}}}, 'unknown key "size"'),
        ({"tasks": ["Birds"], "models": {"org/model": {"parameters": "3M"}}}, "is a whole number"),
    ],
)
def test_what_the_yaml_cannot_mean_is_one_line_that_says_why(cards: Cards, tmp_path: Path, entry, said):
    with pytest.raises(HarnessError, match=re.escape(said)):
        board(cards, tmp_path, **entry)


def test_the_page_in_the_documentation_names_every_key_and_column(tmp_path: Path):
    import yaml

    from harness.boards.board import COLUMNS

    text = (ROOT / "docs" / "leaderboards.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    entry = yaml.safe_load(example)
    built = board_of("example", entry, Cards(None), tmp_path)
    assert (built.measure, built.oracle, built.published) == ("nDCG@10", True, False)
    assert not [name for name in COLUMNS if f"`{name}`" not in text]
    with pytest.raises(HarnessError) as refused:
        board_of("example", {"x": 1}, Cards(None), tmp_path)
    known = str(refused.value).split("known: ")[1].rstrip(".").split(", ")
    assert set(entry) == set(known)


@pytest.mark.parametrize(
    ("systems", "said"),
    [
        ({"a/up": 0.8}, "up beats bm25 top 100 on Birds nDCG@10, 0.8000 against 0.5000."),
        ({"a/down": 0.2}, "down loses to bm25 top 100 on Birds nDCG@10, 0.2000 against 0.5000."),
        ({"a/same": 0.5}, "same is not told apart from bm25 top 100 on Birds nDCG@10, 0.5000 against 0.5000."),
        (
            {"a/same": 0.5, "a/down": 0.2},
            "No reranker beats its first stage on Birds nDCG@10; the best is same over bm25 top 100, 0.5000 against 0.5000; 1 of 2 lose to theirs.",
        ),
        (
            {"a/up": 0.8, "a/down": 0.2},
            "up beats bm25 top 100 on Birds nDCG@10, 0.8000 against 0.5000; of 2 rerankers 1 beat theirs.",
        ),
        ({}, "No reranker was measured on Birds nDCG@10."),
    ],
)
def test_a_board_answers_in_a_sentence(cards: Cards, tmp_path: Path, systems, said):
    noise = [0.02 if place % 2 else -0.02 for place in range(20)]
    results = [
        made([mean + wiggle for wiggle in noise], [0.5] * 20, reranker=name, reranker_fingerprint=f"{place:032x}")
        for place, (name, mean) in enumerate(systems.items())
    ]
    alone = {"reranker": None, "reranker_revision": None, "reranker_fingerprint": None, "reranker_settings": {}}
    built = table(cards, saved(tmp_path, *(results or [made([0.5] * 20, **alone)])), tasks=["Birds"])
    assert answer(built) == said


def test_the_best_figure_is_bold_and_a_dagger_marks_who_beats_its_first_stage(cards: Cards, tmp_path: Path):
    result = made([0.8, 0.82] * 10, [0.5] * 20, reranker="a/up")
    text = render(table(cards, saved(tmp_path, result), tasks=["Birds"]))["mine.tex"]
    assert r"\textbf{0.8100}$^{\dagger}$" in text
    assert r"\textbf{0.5000}" not in text
    assert r"$\dagger$: ahead of its own first stage beyond chance." in text


def test_daggers_are_over_the_baseline_that_the_board_names_in_each_column(cards: Cards, tmp_path: Path):
    results = saved(
        tmp_path,
        made([0.8, 0.82] * 10, [0.5] * 20, reranker="a/up", reranker_fingerprint="1" * 32),
        made([0.4, 0.42] * 10, [0.5] * 20, reranker="a/up", reranker_fingerprint="1" * 32, task="Trees"),
        made([0.6, 0.62] * 10, [0.5] * 20, reranker="a/mid", reranker_fingerprint="2" * 32),
        made([0.6, 0.62] * 10, [0.5] * 20, reranker="a/mid", reranker_fingerprint="2" * 32, task="Trees"),
    )

    def of(baseline: str) -> str:
        return render(table(cards, results, tasks=["Birds", "Trees"], baseline=baseline, oracle=False))["mine.tex"]

    text = of("a/mid")
    (up,) = (line for line in text.splitlines() if line.startswith("1 & a/up") or " a/up &" in line)
    assert r"\textbf{0.8100}$^{\dagger}$" in up
    assert r"0.4100$^{\ddagger}$" in up
    (mid,) = (line for line in text.splitlines() if " a/mid &" in line)
    assert "dagger" not in mid
    assert r"$\dagger$ and $\ddagger$: higher and lower than a/mid beyond chance (paired sign flips" in text
    assert r"0.4100$^{\ddagger}$" in of("bm25")
    assert "own first stage" not in of("bm25 top 100")
    for word in ("a/mdi", "a/up over bm25 top 10"):
        with pytest.raises(HarnessError, match=r"no measured row is called .* Did you mean"):
            of(word)


def test_a_baseline_that_could_be_two_rows_is_refused_by_their_names(cards: Cards, tmp_path: Path):
    results = saved(tmp_path, made([0.8, 0.82], [0.5] * 2), made([0.8, 0.82], [0.5] * 2, top_k=50))
    with pytest.raises(HarnessError, match="is org/model over bm25 top 100 and org/model over bm25 top 50: name one"):
        table(cards, results, tasks=["Birds"], baseline="org/model")
    assert (
        table(cards, results, tasks=["Birds"], baseline="org/model over bm25 top 50").baseline.system.stage
        == "bm25 top 50"
    )


def test_the_papers_caption_is_one_sentence_and_the_rest_stands_below(cards: Cards, tmp_path: Path):
    down = made([0.2, 0.22] * 10, [0.5] * 20, reranker="a/down")
    text = render(table(cards, saved(tmp_path, down), tasks=["Birds"], title="Mine"))["mine.tex"]
    assert r"\caption{Mine: down loses to bm25 top 100 on Birds nDCG@10, 0.2100 against 0.5000.}" in text
    assert r"0.2100$^{\ddagger}$" in text
    assert r"$\ddagger$: behind its own first stage beyond chance." in text


def test_first_stages_rerankers_and_oracle_choose_the_rows(cards: Cards, tmp_path: Path):
    stages = [made([0.5, 0.7], [0.3, 0.4], retriever=name, retriever_settings={}) for name in ("bm25", "org/dense")]
    more = [made([0.5, 0.6], [0.3, 0.4], reranker="other/model", retriever_settings={})]
    results = saved(tmp_path / "results", *stages, *more)
    every = table(cards, results, tasks=["Birds"])
    assert len(every.rows) == 5
    one = table(cards, results, tasks=["Birds"], first_stages=["bm25"], rerankers=["org/*"], oracle=False)
    assert [(row.system.name, row.system.stage) for row in one.rows] == [
        ("org/model", "bm25 top 100"),
        ("", "bm25 top 100"),
    ]
    deep = table(cards, results, tasks=["Birds"], first_stages=["org/dense top 100"])
    assert {row.system.stage for row in deep.rows} == {"org/dense top 100"}


def test_folders_of_one_name_are_rows_of_their_own_and_chosen_by_name_or_path(
    cards: Cards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate(("BAAI", "exp2"), 1):
        file = tmp_path / name / "bge-reranker-v2-m3.py"
        file.parent.mkdir()
        file.write_text(f"# {name}")
        one = made(
            [0.5, 0.6 + number / 10], [0.3, 0.4], reranker=f"{file.name}:rank", reranker_revision=revision_of_file(file),
            reranker_fingerprint=str(number) * 32,
        )  # fmt: skip
        saved(tmp_path / "results", replace(one, place=f"{place_of(file)}:rank"))
    every = table(cards, tmp_path / "results", tasks=["Birds"], oracle=False)
    names = {row.system.name for row in every.rows if row.system.kind == "reranker"}
    assert names == {"BAAI/bge-reranker-v2-m3.py:rank", "exp2/bge-reranker-v2-m3.py:rank"}
    assert not any(row.system.note for row in every.rows)
    for word in ("exp2/bge-reranker-v2-m3.py:rank", "exp2/*", str(tmp_path / "exp2" / "bge-reranker-v2-m3.py:rank")):
        chosen = table(cards, tmp_path / "results", tasks=["Birds"], rerankers=[word], oracle=False)
        (row,) = (row for row in chosen.rows if row.system.kind == "reranker")
        assert row.cells[chosen.key].mean == pytest.approx(0.65)


def test_columns_choose_what_the_text_tables_show(cards: Cards, tmp_path: Path):
    results = saved(tmp_path / "results", made([0.5, 0.7], [0.3, 0.4]), made([0.2, 0.4], [0.3, 0.4], task="Trees"))
    (first, *_) = shown(table(cards, results, tasks=["Birds", "Trees"], columns=["mean", "trained"]))
    assert list(first) == ["rank", "reranker", "first stage", "mean of 2, nDCG@10", "trained on this data"]


def test_a_measure_stands_instead_of_the_headlines(cards: Cards, tmp_path: Path):
    words = made({"1-og": 0.4, "1-changed": 0.2}, measure="nDCG@10 og", task="Words", top_k=None)
    results = saved(tmp_path / "results", made([0.5, 0.7]), words)
    row = row_of(table(cards, results, tasks=["Birds", "Words"], measure="nDCG@10"), "org/model")
    assert figures_of(row) == {"Birds nDCG@10": 0.6, "Words nDCG@10 og": pytest.approx(0.3)}


# --- which results are a row, and which are not


def test_partial_runs_other_splits_and_other_revisions_are_no_part_of_a_board(cards: Cards, tmp_path: Path):
    strangers = [
        made([0.9], limit=1),
        made([0.9, 0.9], split="train", card="split"),
        made([0.9, 0.9], dataset_revision="b" * 40),
        made([0.9, 0.9], relevance_level=2),
        made([0.9, 0.9], instructions="none"),
        made([0.9, 0.9], missing_text="skip"),
    ]
    results = saved(tmp_path / "results", *strangers)
    with pytest.raises(HarnessError, match="run them first"):
        table(cards, results, tasks=["Birds"])


def test_two_versions_of_a_model_are_two_rows_that_say_what_differs(cards: Cards, tmp_path: Path):
    newer = made([0.6, 0.8], [0.1, 0.2], reranker_fingerprint="9" * 32, reranker_settings={"max_length": 1024})
    results = saved(tmp_path / "results", made([0.5, 0.7], [0.1, 0.2]), newer)
    names = [row["reranker"] for row in shown(table(cards, results, tasks=["Birds"])) if "org/model" in row["reranker"]]
    assert names == ["org/model (max_length 1024)", "org/model (max_length 512)"]


def test_results_that_contradict_each_other_are_an_error_that_names_a_file(cards: Cards, tmp_path: Path):
    other = replace(made([0.4, 0.4], [0.3, 0.3], reranker="other/model"), candidates="1" * 32)
    results = saved(tmp_path / "results", made([0.5, 0.7], [0.1, 0.2]), other)
    with pytest.raises(HarnessError, match=r"Birds@aaaaaaaa\.json"):
        table(cards, results, tasks=["Birds"])


def test_results_on_different_data_never_stand_side_by_side(cards: Cards, tmp_path: Path):
    other = made([0.4, 0.4], [0.1, 0.2], collection="7" * 32, reranker="other/model")
    results = saved(tmp_path / "results", made([0.5, 0.7], [0.1, 0.2]), other)
    with pytest.raises(HarnessError, match="different data"):
        table(cards, results, tasks=["Birds"])


def test_what_the_filters_leave_out_cannot_stand_in_the_way(cards: Cards, tmp_path: Path):
    other = made([0.4, 0.4], [0.1, 0.2], collection="7" * 32, reranker="other/model")
    results = saved(tmp_path / "results", made([0.5, 0.7], [0.1, 0.2]), other)
    built = table(cards, results, tasks=["Birds"], rerankers=["org/*"])
    assert {row.system.name for row in built.rows} == {"org/model", ""}


def test_a_task_with_lists_of_its_own_belongs_to_every_row_of_its_reranker(cards: Cards, tmp_path: Path):
    lists = made({"1-og": 0.3}, measure="p-MRR", task="Words", top_k=None, retriever="given")
    results = saved(tmp_path / "results", made([0.5, 0.7], [0.1, 0.2]), lists)
    built = table(cards, results, tasks=["Birds", "Words"])
    assert figures_of(row_of(built, "org/model")) == {"Birds nDCG@10": 0.6, "Words p-MRR": 0.3}
    assert {row.system.stage for row in built.rows} == {"bm25 top 100", "given lists"}


# --- means


def test_the_tasks_of_an_aggregate_count_once_in_the_mean(cards: Cards, tmp_path: Path):
    ferns = [made([value], task="Ferns", subset=subset) for subset, value in (("de", 0.2), ("fr", 0.4))]
    results = saved(tmp_path / "results", made([0.9]), made([0.5], task="Trees"), *ferns)
    figures = figures_of(row_of(table(cards, results, tasks=["Birds", "Plants"]), "org/model"))
    assert figures["Ferns nDCG@10"] == pytest.approx(0.3)
    assert figures["Plants nDCG@10"] == pytest.approx((0.5 + 0.3) / 2)
    assert figures["mean nDCG@10"] == pytest.approx((0.9 + (0.5 + 0.3) / 2) / 2)


def test_a_suites_mean_follows_its_own_convention(cards: Cards, tmp_path: Path):
    def pair(task: str, p_mrr: float, companion: str, value: float):
        both = made({"1-og": value}, measure=companion, task=task, top_k=None)
        p = made({"1": p_mrr}, measure="p-MRR", task=task, top_k=None)
        values = {**p.values, companion: {stage: [None, *row] for stage, row in both.values[companion].items()}}
        values["p-MRR"] = {stage: [*row, None] for stage, row in p.values["p-MRR"].items()}
        return replace(both, measures={**p.measures, **both.measures}, values=values, query_ids=("1", "1-og"))

    results = saved(tmp_path / "results", pair("Words", 0.1, "MAP@1000 og", 0.4), pair("Orders", 0.3, "nDCG@5 og", 0.8))
    built = table(cards, results, suites=["Following"])
    figures = figures_of(row_of(built, "org/model"))
    assert built.key.title == "Following p-MRR"
    assert figures["Following p-MRR"] == pytest.approx(0.2)
    assert figures["Following score"] == pytest.approx(0.6)
    assert figures["Words MAP@1000 og"] == pytest.approx(0.4)


def test_where_a_suite_forbids_a_mean_there_is_none(cards: Cards, tmp_path: Path):
    words = made({"1": 0.3}, measure="p-MRR", task="Words", top_k=None)
    built = table(cards, saved(tmp_path / "results", made([0.5]), words), suites=["Mixed"])
    assert built.key.title == "Birds nDCG@10"
    assert not [column for column in built.columns if column.kind == "mean"]


def test_a_mean_is_missing_where_one_of_its_tasks_is(cards: Cards, tmp_path: Path):
    half = made([0.99], [0.5], reranker="half/way", task="Ferns", subset="de")
    whole = [made([0.5]), made([0.5], task="Ferns", subset="de"), made([0.5], task="Ferns", subset="fr")]
    built = table(cards, saved(tmp_path / "results", half, *whole), tasks=["Birds", "Ferns"])
    row = row_of(built, "half/way")
    assert set(figures_of(row)) == {"Ferns de nDCG@10", "Ferns deu nDCG@10"}
    assert not row.ranks.get(0)
    assert built.rows[-1] is row


def test_views_are_the_board_its_suites_and_its_languages(cards: Cards, tmp_path: Path):
    ferns = [made([0.4, 0.6], task="Ferns", subset=subset) for subset in ("de", "fr")]
    results = saved(tmp_path / "results", made([0.5, 0.5]), made([0.7, 0.7], task="Trees"), *ferns)
    built = table(cards, results, suites=["Woods"], tasks=["Ferns"])
    assert [(view.name, view.kind) for view in built.views] == [
        ("All tasks", "all"),
        ("Woods", "suite"),
        ("deu", "language"),
        ("eng", "language"),
        ("fra", "language"),
    ]
    woods, english = built.views[1], built.views[3]
    row = row_of(built, "org/model")
    assert row.cells[woods.key].mean == pytest.approx(0.6)
    assert (english.key.of, row.cells[english.key].mean) == (2, pytest.approx(0.6))
    assert row.ranks[1] == row.ranks[3] == 1


# --- what stands beside the figures


def test_speeds_of_different_hardware_never_share_a_column(cards: Cards, tmp_path: Path):
    def timed(name: str, processor: str, rate: float):
        machine = {"processor": processor, "cores": 8, "device": "cpu", "dtype": "float32"}
        pace = {"pairs_per_second": rate, "latency_from_rate_seconds": {"p50": 0.25}}
        result = made([0.5, 0.7], [0.1, 0.2], reranker=name, reranker_fingerprint=name[0] * 32)
        return replace(result, environment=machine, performance=pace, diagnostics={"pairs": 200})

    results = saved(
        tmp_path / "results",
        timed("a/one", "Chip A", 50.0),
        timed("b/two", "Chip A", 40.0),
        timed("c/three", "Chip B", 9e9),
    )
    built = table(cards, results, tasks=["Birds"])
    speeds = {row["reranker"]: (row["pairs/s"], row["latency p50, s"]) for row in shown(built)}
    assert speeds["a/one"] == ("50", "~0.25")
    assert speeds["c/three"] == ("–", "–")
    assert "Speed: on Chip A, 8 cores" in render(built)["mine.md"]


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ({"processor": "Chip A", "cores": 8, "device": "cpu"}, "Chip A, 8 cores"),
        ({"processor": "Chip A", "cores": 8, "device": "cuda:0", "accelerator": "GPU X"}, "GPU X"),
        ({"processor": "Chip A", "cores": 8, "device": "cuda"}, ""),
        ({}, ""),
    ],
)
def test_hardware_has_a_name_or_its_rates_compare_with_nothing(machine, name):
    from harness.boards.speed import hardware_of

    assert hardware_of(machine) == name


def test_a_speed_needs_every_task_on_one_machine(cards: Cards, tmp_path: Path):
    machine = {"processor": "Chip A", "cores": 8, "device": "cpu", "dtype": "float32"}
    pace = {"performance": {"pairs_per_second": 50.0}, "diagnostics": {"pairs": 200}}
    one = replace(made([0.5]), environment=machine, **pace)
    other = replace(made([0.5], task="Trees"), environment={**machine, "cores": 2}, **pace)
    assert row_of(table(cards, saved(tmp_path / "a", one), tasks=["Birds"]), "org/model").speed
    assert not row_of(table(cards, saved(tmp_path / "a"), tasks=["Birds", "Trees"]), "org/model").speed
    assert not row_of(table(cards, saved(tmp_path / "b", one, other), tasks=["Birds", "Trees"]), "org/model").speed


def test_the_rate_of_several_tasks_is_their_pairs_over_their_seconds(cards: Cards, tmp_path: Path):
    machine = {"processor": "Chip A", "cores": 8, "device": "cpu", "dtype": "float32"}

    def timed(task: str, pairs: int, rate: float):
        pace = {"performance": {"pairs_per_second": rate}, "diagnostics": {"pairs": pairs}}
        return replace(made([0.5], task=task), environment=machine, **pace)

    results = saved(tmp_path / "results", timed("Birds", 100, 10.0), timed("Trees", 300, 100.0))
    speed = row_of(table(cards, results, tasks=["Birds", "Trees"]), "org/model").speed
    assert speed.pairs_per_second == pytest.approx(400 / 13)


def test_what_is_known_of_a_model_stands_beside_it_and_the_rest_is_unknown(cards: Cards, tmp_path: Path):
    def named(name: str):
        return made([0.5], [0.2], reranker=name, reranker_fingerprint=f"{len(name):032x}")

    results = saved(tmp_path / "results", *map(named, ("org/model", "org/told", "BAAI/bge-m3")))
    told = {
        "parameters": 22_713_216,
        "licence": "mit",
        "languages": ["eng"],
        "trained_on": ["Birds"],
        "source": "its card",
    }
    rows = {row["reranker"]: row for row in shown(table(cards, results, tasks=["Birds"], models={"org/told": told}))}
    assert rows["org/told"]["trained on this data"] == "yes: Birds"
    assert rows["org/told"]["parameters"] == "22.7M"
    assert rows["org/model"]["trained on this data"] == "unknown"
    assert rows["org/model"]["licence"] == "–"
    assert rows["BAAI/bge-m3"]["licence"] == "mit"
    assert rows["BAAI/bge-m3"]["trained on this data"] == "unknown", (
        "what it was trained on says nothing of a user's task"
    )


def test_known_models_say_which_tasks_they_were_trained_on(tmp_path: Path):
    from harness.boards.facts import known_facts

    cards = Cards(None)
    for model, facts in known_facts().items():
        stated = (facts.parameters, facts.licence, facts.languages, facts.trained_on)
        assert bool(facts.source) == any(fact is not None for fact in stated), model
        assert set(facts.trained_on or ()) <= set(cards.names()), model
    assert "MSMARCO" in known_facts()["cross-encoder/ms-marco-MiniLM-L6-v2"].trained_on


def test_published_rows_are_marked_and_have_neither_interval_nor_rank(tmp_path: Path):
    cards = Cards(None)
    revision = cards.task("SciFact").revision
    mine = made([0.5, 0.7], [0.1, 0.2], task="SciFact", dataset_revision=revision)
    built = table(cards, saved(tmp_path / "results", mine), tasks=["SciFact"], published=True)
    rows = [row for row in built.rows if row.system.kind == "published"]
    assert len(rows) > 20
    assert all(row.system.source and not row.ranks for row in rows)
    assert all(cell.interval is None for row in rows for cell in row.cells.values())
    bm25 = next(
        row for row in rows if row.system.stage == "bm25" and row.system.source.startswith("castorini/pyserini")
    )
    assert bm25.cells[built.key].mean == pytest.approx(0.6789)
    lines = render(built)["mine.md"].splitlines()
    assert any("published [1]" in line for line in lines)
    assert any(line.startswith("- [1] ") for line in lines)


def test_published_means_of_suites_stand_in_the_suites_column():
    from harness.boards.references import published_systems

    built = board_of("b", {"suites": ["FollowIR"], "published": True}, Cards(None), Path("cache"))
    systems = [system for system in published_systems(built) if ("FollowIR", "p-MRR") in system.means]
    assert {system.name for system in systems} > {"jhu-clsp/FollowIR-7B"}
    card = (
        next(system for system in systems if system.source == "jhu-clsp/FollowIR-7B model card")
        if any(system.source == "jhu-clsp/FollowIR-7B model card" for system in systems)
        else next(s for s in published_systems(built) if s.source == "jhu-clsp/FollowIR-7B model card")
    )
    assert any("core17-instructions@e39ff896" in figure.data for figure in card.figures.values())
    assert not [system for system in systems if "superseded" in str(system.means)]


def test_imported_rows_are_marked_and_say_where_their_data_differ(cards: Cards, tmp_path: Path):
    from harness.results.imported import COLUMNS

    lines = [",".join(COLUMNS)]
    for revision, value in (("a" * 40, 0.61), ("b" * 40, 0.62)):
        lines.append(
            f"org/embedder,{revision[:8]},,Birds,{revision},test,default,nDCG@10,{value},2.3.0,mit,33000000,yes,x.json"
        )
    (tmp_path / "mteb.csv").write_text("\n".join(lines) + "\n")
    results = saved(tmp_path / "results", made([0.5, 0.7], [0.1, 0.2]))
    built = table(cards, results, tasks=["Birds"], imported=[str(tmp_path / "mteb.csv")])
    rows = [row for row in built.rows if row.system.kind == "imported"]
    assert [row.cells[built.key].data for row in rows] == [f"other data: {'b' * 40}", ""]
    assert {row.system.source for row in rows} == {"mteb 2.3.0"}
    assert not any(row.ranks for row in rows)
    assert rows[0].trained == ("Birds",)
    assert rows[0].facts.licence == "mit"


# --- the forms


NASTY = 'a|b `c` <script>alert(1)</script> & "q" [x](javascript:alert(1)) \\cmd{$x_1^2$} 100% #h ~t\nline | ![i](u)'


def nasty(cards: Cards, tmp_path: Path) -> dict[str, str]:
    results = saved(tmp_path / "results", made([0.5, 0.7], [0.1, 0.2], reranker=NASTY, retriever="=cmd|' /C calc'!A0"))
    return render(table(cards, results, tasks=["Birds"], title=NASTY, description=NASTY))


def test_markdown_shows_texts_from_outside_as_they_are(cards: Cards, tmp_path: Path):
    text = nasty(cards, tmp_path)["mine.md"]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in rows}
    assert len(widths) == 1, "a name must not end its cell"
    (answer,) = (line for line in text.splitlines() if line.startswith("**"))
    assert not re.search(r"(?<!\\)[<>`*]", text.replace(answer, answer.replace("**", "", 2)))
    assert "](" not in text


def test_the_csv_has_a_line_for_every_cell_and_blanks_for_missing_ones(cards: Cards, tmp_path: Path):
    results = saved(
        tmp_path / "results",
        made([0.5, 0.7], [0.1, 0.2]),
        made([0.5], [0.4], task="Trees"),
        made([0.9, 0.9], [0.1, 0.2], reranker="half/way"),
    )
    lines = list(csv.DictReader(io.StringIO(render(table(cards, results, tasks=["Birds", "Trees"]))["mine.csv"])))
    cells = {(line["kind"], line["reranker"], line["column"]): line for line in lines}
    missing = cells["reranker", "half/way", "Trees"]
    assert missing["mean"] == missing["low"] == missing["high"] == ""
    assert cells["reranker", "half/way", "mean"]["mean"] == ""
    assert cells["reranker", "half/way", "Birds"]["mean"] == "0.900000"
    assert cells["reranker", "org/model", "mean"]["tasks"] == "Birds Trees"


def test_the_csv_gives_a_spreadsheet_no_formula(cards: Cards, tmp_path: Path):
    for line in csv.reader(io.StringIO(nasty(cards, tmp_path)["mine.csv"])):
        for field in line:
            assert not field.startswith(("=", "+", "@")), field


def tex_words(text: str) -> list[str]:
    """The tokens of the table, by a reader as strict as TeX: any special that is not written out is an error."""
    kinds = r"\\[a-zA-Z]+\*?|\\[%&#$_{}\\]|[{}]|&|\$\\[a-z]+\$|[^\\{}&%#$_^~<>|\"\n]+|\n"
    place, found = 0, []
    while place < len(text):
        match = re.compile(kinds).match(text, place)
        assert match, f"{text[place]!r} stands bare in ...{text[max(0, place - 30) : place + 20]!r}"
        found.append(match[0])
        place = match.end()
    return found


def test_the_latex_table_compiles_whatever_the_names_hold(cards: Cards, tmp_path: Path):
    text = nasty(cards, tmp_path)["mine.tex"]
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%")) + "\n"
    depth = 0
    words = tex_words(body)
    for word in words:
        depth += {"{": 1, "}": -1}.get(word, 0)
        assert depth >= 0
    assert depth == 0
    known = {
        r"\begin",
        r"\end",
        r"\centering",
        r"\small",
        r"\caption",
        r"\label",
        r"\toprule",
        r"\midrule",
        r"\bottomrule",
        r"\scriptsize",
        r"\textbf",
        r"\medskip",
        r"\parbox",
        r"\linewidth",
        r"\footnotesize",
        r"\dagger",
    }
    written = {
        r"\textbackslash",
        r"\textasciicircum",
        r"\textasciitilde",
        r"\textless",
        r"\textgreater",
        r"\textbar",
        r"\textquotedbl",
        r"\textquotesingle",
        r"\textasciigrave",
    }
    assert {word for word in words if re.fullmatch(r"\\[a-zA-Z]+", word)} <= known | written
    inside = body[body.index(r"\toprule") : body.index(r"\bottomrule")]
    rows = [line for line in inside.splitlines() if line.endswith(r"\\")]
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", body)[1]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {len(columns) - 1}
    assert r"\textless{}script\textgreater{}" in body
