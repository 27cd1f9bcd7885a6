"""What `compare` prints: it fits the terminal, decides in words by the corrected p, and says what it could have seen."""

from __future__ import annotations

import re
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from made_results import made, saved

from harness.results.layout import align, in_two_lines, width_of
from harness.verdicts.compare import Comparison, System, compare_all
from harness.verdicts.grid import Line, grid
from harness.verdicts.pairing import Entry
from harness.verdicts.text import answer_text, least_seen, verdict_in_words

TASKS = ["SciFact", "CQADupstackProgrammersRetrieval", "MIRACLRetrievalHardNegatives"]
LANGUAGES = ["ar", "bn", "de", "en", "es", "fa", "fi", "fr", "hi", "id", "ja"]


@cache
def compared(*shifts: float, tasks: int = 3, languages: int = 0, queries: int = 40) -> list[Comparison]:
    """A first system, and others whose queries are better by a shift, and noise."""
    generator = np.random.default_rng(7)
    folder = {}
    for task, subset in product(TASKS[:tasks], LANGUAGES[:languages] or ["default"]):
        quality = generator.random(queries)
        for number, shift in enumerate((0.0, *shifts)):
            noise = 0.05 * generator.normal(size=queries) if number else 0.0
            values = np.clip(quality + shift + noise, 0, 2).tolist()
            result = made(
                values, quality.tolist(), task=task, subset=subset, reranker=f"organisation/reranker-{number}"
            )
            folder.setdefault(number, []).append(result)
    systems = [
        System(f"organisation/reranker-{number}", [Known(Path(), result) for result in results])
        for number, results in folder.items()
    ]
    return compare_all(systems[0], systems[1:])


class Known(Entry):
    """An entry that is whole already."""

    def whole(self):
        return self.result


@pytest.mark.parametrize("width", [80, 60])
@pytest.mark.parametrize(
    "asked",
    [
        ((0.1,), {"tasks": 1}),
        ((0.1,), {}),
        ((0.1, -0.1), {}),
        ((0.1, -0.1, 0.0), {"languages": 5}),
        ((0.1, 0.0), {"languages": 11, "queries": 9}),
        ((0.1,), {"languages": 11, "queries": 9}),
    ],
    ids=["1", "3", "3x3", "15x4", "33x3", "33x2"],
)
def test_a_comparison_fits_its_terminal(asked: tuple, width: int):
    shifts, more = asked
    lines = answer_text(compared(*shifts, **more), width).splitlines()
    assert max(map(width_of, lines)) <= width, max(lines, key=width_of)
    assert len(lines) <= (40 if width == 80 else 50)


def test_the_verdict_counts_by_the_corrected_p_and_says_the_mean():
    (found,) = compared(0.05)
    text = verdict_in_words(found)
    won = [row for row in found.rows if not row.mean_of and row.p_corrected <= 0.05]
    assert len(won) == 3
    assert text.startswith("organisation/reranker-1 beats organisation/reranker-0 on 3 of 3, most by +.0")
    assert re.search(r"Mean of 3 tasks: \+\.0\d+ \[\+\.0\d+, \+\.0\d+\]\.$", text)
    (none,) = compared(0.0)
    assert "is not told apart from organisation/reranker-0 on any of 3" in verdict_in_words(none)
    assert verdict_in_words(none).endswith(", not decided.")
    (worse,) = compared(-0.2, tasks=1)
    assert re.search(r" loses to organisation/reranker-0 by -\.\d+ \[-.*\] on SciFact\.$", verdict_in_words(worse))


def test_a_row_that_only_stands_alone_is_significant_is_not_called_won():
    found = compared(*[0.012 * (number == 0) for number in range(6)], tasks=1)
    row = found[0].rows[0]
    assert row.p < 0.05 < row.p_corrected
    assert "is not told apart" in verdict_in_words(found[0])


def test_the_smallest_difference_that_could_have_been_seen_is_that_of_the_rows():
    (found,) = compared(0.0)
    seen = sorted(row.detectable for row in found.rows if not row.mean_of)
    shown = re.findall(r"(\.\d+) on ", least_seen(found))
    assert [float(each) for each in shown] == pytest.approx([seen[0], seen[-1]], abs=0.005)
    assert least_seen(found).startswith("Smallest difference that 4 such comparisons in 5 would show: ")
    (few,) = compared(0.1, tasks=1, queries=3)
    assert few.rows[0].detectable is None
    assert least_seen(few).startswith("No difference could have been seen: ")


def test_verbose_adds_every_row_in_full_and_the_queries_that_moved(cli: Cli, tmp_path: Path):
    for name, shift in (("one", 0.0), ("two", 0.1)):
        for task in TASKS:
            values = [0.1 * place + shift * (place % 3) for place in range(9)]
            saved(tmp_path / name, made(values, [0.5] * 9, task=task, reranker=name))
    words = ["compare", tmp_path / "one", tmp_path / "two"]
    plain, full, quiet = (cli(*words, *more) for more in ([], ["-v"], ["-q"]))
    assert plain.out.count("moved most") == 3
    assert sum(line.startswith("  q") for line in plain.out.splitlines()) == 3
    assert len(plain.out.splitlines()) <= 40
    assert full.out.startswith(plain.out.split("\n\n")[0])
    assert sum(line.startswith("  q") for line in full.out.splitlines()) == 15
    assert "wins  ties  losses" in full.out
    assert "moved most" not in quiet.out
    assert sum(line.startswith("  q") for line in cli(*words, "--queries", 2).out.splitlines()) == 6


def two_folders() -> Comparison:
    """Two folders of two rerankers each, of which one became better and one worse."""
    generator = np.random.default_rng(5)
    sides: list[list[Entry]] = [[], []]
    for reranker, shift in (("org/better", 0.2), ("org/worse", -0.2)):
        quality = generator.random(40) + (reranker == "org/worse")
        for side, values in zip(sides, (quality, quality + shift + 0.02 * generator.normal(size=40)), strict=True):
            side += [Known(Path(), made(values.tolist(), task=task, reranker=reranker)) for task in TASKS[:2]]
    (found,) = compare_all(System("old", sides[0]), [System("new", sides[1])])
    return found


@pytest.mark.parametrize("width", [80, 60])
def test_of_folders_with_two_rerankers_each_row_and_each_sentence_says_whose_it_is(width: int):
    text = answer_text([two_folders()], width)
    assert max(map(width_of, text.splitlines())) <= width
    rows = [line for line in text.splitlines() if "[" in line and "  " in line.strip()][:6]
    assert [("better" in row, "worse" in row) for row in rows] == [(True, False), (False, True)] * 2 + [
        (True, False), (False, True)
    ]  # fmt: skip
    told = " ".join(text.split())
    assert re.search(r"With org/better, new beats old on 2 of 2, .* Mean of 2 tasks: \+\.20 ", told)
    assert re.search(r"With org/worse, new loses to old on 2 of 2, .* Mean of 2 tasks: -\.20 ", told)


def test_many_rows_of_rerankers_with_figures_of_their_own_before_stand_below_each_other():
    lines = [
        Line(f"Task{n}", "nDCG@10", "bm25 top 100", system, {"first_stage": before, "reranked": 0.5, "difference": 0.5 - before, "low": -1.0, "high": 1.0, "p": 0.5})
        for n in range(10)
        for system, before in (("a", 0.25), ("b", 0.75))
    ]  # fmt: skip
    table, _ = grid(lines, 80)
    assert [float(line.split()[2]) for line in table.splitlines()[2:]] == [0.25, 0.75] * 10


def test_a_name_that_heads_a_column_is_parted_at_its_own_marks():
    assert in_two_lines("scifact-reranker", 9) == "scifact-\nreranker"
    assert in_two_lines("mine.py:rerank", 9) == "mine.py:\nrerank"
    assert in_two_lines("short", 9) == "short"
    assert all(width_of(line) <= 9 for line in in_two_lines("a_name_without-end_and_more_of_it", 9).split("\n"))
    table = align([["task", "scifact-\nreranker"], ["Birds", "0.5"]])
    assert table == "       scifact-\ntask   reranker\n-----  --------\nBirds       0.5"
