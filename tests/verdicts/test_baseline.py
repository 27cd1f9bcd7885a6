"""A baseline as `gate --update` writes it: texts whose diff can be read, beside the exact figures that verdicts are of."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, Counter
from made_results import made, saved

from harness.results.result import load_result
from harness.verdicts.gate import judge_against, update

BEFORE = np.random.default_rng(11).random(60)

QUERIES = {f"q{number}": value for number, value in enumerate([1 / 3, 0.1 + 0.2, 0.2] * 8)}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with the baseline of one task in it, as gate --update writes it."""
    folder = tmp_path / "repository"
    birds = replace(made(QUERIES, [0.3] * 24), environment={"commit": "abb"})
    results = saved(tmp_path / "then", birds, made([0.5] * 24, [0.3] * 24, task="Fish"))
    update(folder / "baseline", results)
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "one"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_diff_of_a_baseline_is_a_line_for_each_query_and_measure_that_moved(repository: Path, tmp_path: Path):
    values = {**QUERIES, "q7": 0.123456789}
    moved = made(values, [0.3] * 24, reranker_revision="1" * 40)
    moved = replace(moved, performance={"seconds": 3.0}, environment={"commit": "abc"})
    fish = replace(
        made([0.5] * 24, [0.3] * 24, task="Fish"), performance={"seconds": 4.0}, environment={"commit": "abc"}
    )
    assert len(update(repository / "baseline", saved(tmp_path / "now", moved, fish))) == 1, "Fish did not move"
    subprocess.run(["git", "add", "-A"], cwd=repository, check=True)
    words = ["git", "diff", "--staged", "--no-color", "-U0"]
    shown = subprocess.run(words, cwd=repository, check=True, capture_output=True, text=True).stdout
    lines = [line for line in shown.splitlines() if re.match(r"[-+](?![-+])", line)]
    mean = sum(values.values()) / 24
    assert lines == [
        '-  "nDCG@10": {"first_stage": 0.3, "reranked": 0.277778}',
        f'+  "nDCG@10": {{"first_stage": 0.3, "reranked": {round(mean, 6)}}}',
        f'-  "reranker_revision": "{"c" * 40}",',
        f'+  "reranker_revision": "{"1" * 40}",',
        '-  "commit": "abb"',
        '+  "commit": "abc"',
        "-q7  nDCG@10 0.3 → 0.3",
        "+q7  nDCG@10 0.3 → 0.123457",
    ]  # fmt: skip


def test_a_verdict_of_a_baseline_that_diffs_is_that_of_the_results_themselves(tmp_path: Path):
    generator = np.random.default_rng(3)
    before, after = generator.random(40) ** 3, generator.random(40) ** 3
    after[:20] = before[:20] + 1e-9 * generator.integers(0, 2, 20)
    one = replace(made(list(before), [0.3] * 40), clusters=tuple(f"c{number // 2}" for number in range(40)))
    results, now = saved(tmp_path / "then", one), saved(tmp_path / "now", made(list(after), [0.3] * 40))
    update(tmp_path / "baseline", results)
    assert judge_against(tmp_path / "baseline", now).record() == judge_against(results, now).record()
    (there,), (here,) = tmp_path.glob("then/*/*/*/*@*.json"), tmp_path.glob("baseline/*/*/*/*@*.json")
    exact, read = load_result(there, with_values=True), load_result(here, with_values=True)
    assert (exact, exact.values) == (read, read.values)
    assert load_result(here) == load_result(there)


def test_a_baseline_from_before_is_read_and_becomes_one_that_diffs_with_the_next_update(tmp_path: Path):
    baseline, now = saved(tmp_path / "baseline", made(BEFORE)), saved(tmp_path / "now", made(BEFORE))
    (path,) = baseline.rglob("*@*.json")
    assert judge_against(baseline, now).state == "passed"
    assert update(baseline, now) == [path]
    assert json.loads(path.read_text())["schema"] == 2
    assert update(baseline, now) == [], "nothing moved"
    assert update(tmp_path / "copy", baseline) == [tmp_path / "copy" / path.relative_to(baseline)]
    saved(baseline, made(BEFORE))
    assert json.loads(path.read_text())["schema"] == 1
    assert not list(baseline.rglob("*.txt")), "lines of an earlier baseline would say what is no longer so"


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("ending", "old", "new", "told"),
    [
        (".json", '"reranked": 0.277778', '"reranked": 0.3', "measures nDCG@10 reranked is 0.3, and the exact figures beside it say 0.277778"),
        (".json", '"task_prompt": ""', '"task_prompt": "find"', 'identity task_prompt is "find"'),
        (".values.txt", "q7  nDCG@10 0.3 → 0.3", "q7  nDCG@10 0.3 → 0.4", 'a line is "q7 nDCG@10 0.3 → 0.4"'),
        (".values.txt", "q23  nDCG@10 0.3 → 0.2\n", "", 'a line is ""'),
    ],
)  # fmt: skip
def test_a_text_that_says_what_no_verdict_is_of_is_refused(cli: Cli, tmp_path: Path, ending, old, new, told):
    now = saved(tmp_path / "now", made(QUERIES, [0.3] * 24))
    (path,) = update(tmp_path / "baseline", now)
    edited(path.with_name(path.name.removesuffix(".json") + ending), old, new)
    answer = cli("gate", "--baseline", tmp_path / "baseline", "--current", now)
    assert (answer.code, told in answer.err) == (2, True), answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_baseline_without_its_exact_figures_is_missing_something_and_without_its_lines_is_whole(
    cli: Cli, tmp_path: Path
):
    now = saved(tmp_path / "now", made(QUERIES, [0.3] * 24))
    (path,) = update(tmp_path / "baseline", now)
    words = ("gate", "--baseline", tmp_path / "baseline", "--current", now)
    path.with_name(path.name.removesuffix(".json") + ".values.txt").unlink()
    assert cli(*words).code == 0
    path.with_name(path.name.removesuffix(".json") + ".values.json.gz").unlink()
    assert cli(*words).code == 3


@pytest.mark.parametrize(
    ("taken", "told"),
    [
        (".json", "a line is"),  # an older version of the harness, or a merge, has put a whole result there
        (".values.json.gz", "holds the values of its queries alone"),
    ],
)
def test_files_of_two_commits_are_not_believed(cli: Cli, tmp_path: Path, taken, told):
    other = saved(tmp_path / "other", made([0.5] * 24, [0.3] * 24))
    now = saved(tmp_path / "now", made(QUERIES, [0.3] * 24))
    (path,) = update(tmp_path / "baseline", now)
    for ending in (".json", ".values.json.gz") if taken == ".json" else (taken,):
        name = path.name.removesuffix(".json") + ending
        (there,) = other.rglob(name)
        path.with_name(name).write_bytes(there.read_bytes())
    answer = cli("gate", "--baseline", tmp_path / "baseline", "--current", now)
    assert (answer.code, told in answer.err) == (2, True), answer.err
    assert "write them again by gate --update" in answer.err


def test_a_query_id_of_any_kind_is_one_line(tmp_path: Path):
    names = ["a b", "two\nlines", 'a "quote"', "−", "tab\tid"]
    (path,) = update(tmp_path / "baseline", saved(tmp_path / "now", made(dict.fromkeys(names, 0.5), [0.3] * 5)))
    lines = path.with_name(path.name.removesuffix(".json") + ".values.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 6
    assert judge_against(tmp_path / "baseline", tmp_path / "now").state == "passed"


def test_a_run_reuses_a_baseline_and_what_it_writes_there_anew_has_no_lines(
    cli: Cli, counter: Counter, collection_folder: Path
):
    words = ("run", collection_folder, "--reranker", counter.name, "--format", "json")
    (first,) = cli(*words).results()
    assert cli("gate", "--baseline", "baseline", "--current", "results", "--update").code == 0
    counter.reset()
    (again,) = cli(*words, "--results", "baseline").results()
    assert (again["reused"], counter.pairs(), again["measures"]) == (True, [], first["measures"])
    assert len(list(Path("baseline").rglob("*.values.txt"))) == 1
    (other,) = cli(*words, "--results", "baseline", "--measures", "P@3").results()
    assert other["path"] == again["path"]
    assert not list(Path("baseline").rglob("*.values.txt")), "the result there is another one now"
