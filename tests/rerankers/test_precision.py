"""Scores in double precision, ranked in single: what becomes equal is told, what has no place is refused by its pair."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import Answer, Cli, write_lines

from harness.rerankers.precision import as_single, made_equal, places_below

LOWEST = float(np.finfo(np.float32).min)
PLUGIN = """
fingerprint = "double 1"

class Scorer:
    fingerprint = {text!r}

    def predict(self, pairs):
        return [{expression} for k in (int(document.split()[-1]) for _, document in pairs)]

    {more}

scorer = Scorer()

def ranks(query, documents):
    return [{expression} for k in (int(document.split()[-1]) for document in documents)]
"""


@pytest.fixture
def run(cli: Cli, collection_folder: Path, tmp_path: Path):
    """`run` with a plug-in whose score of the document "… note k" is an expression of k."""

    def call(expression: str, *words: object, name: str = "scorer") -> Answer:
        file = tmp_path / "double.py"
        file.write_text(PLUGIN.format(expression=expression, text=expression, more=""))
        return cli("run", collection_folder, "--reranker", f"{file}:{name}", *words)

    return call


def cautions(answer: Answer) -> dict[str, str]:
    (result,) = answer.results()
    stored = json.loads(Path(result["path"]).read_text())
    return {each["code"]: each["what"] for each in stored["diagnostics"]["cautions"]}


@pytest.mark.parametrize("expression", ["k * 1e-46", "1 - k * 1e-9", "1e9 + k / 100"])
@pytest.mark.parametrize("name", ["scorer", "ranks"])
def test_distinct_scores_that_become_equal_are_counted(run, expression, name):
    answer = run(expression, "--format", "json", name=name)
    assert answer.code == 0, answer.err
    told = cautions(answer)["RH030"]
    count = int(told.split()[0])
    (result,) = answer.results()
    pairs = json.loads(Path(result["path"]).read_text())["diagnostics"]["pairs"]
    assert 0 < count <= pairs
    assert told.endswith("scores differ from another of their query and are equal to it in single precision")
    assert "RH030" in answer.err


def test_scores_that_stay_apart_or_were_equal_before_are_not_counted(run):
    assert "RH030" not in cautions(run("k / 8", "--format", "json"))
    assert "RH030" not in cautions(run("k // 8 / 3", "--format", "json"))


def test_a_result_made_again_from_stored_scores_still_says_it(run):
    first = cautions(run("1 - k * 1e-9", "--format", "json"))["RH030"]
    again = run("1 - k * 1e-9", "--format", "json", "--measures", "P@3")
    assert cautions(again)["RH030"] == first


@pytest.mark.parametrize("name", ["scorer", "ranks"])
@pytest.mark.parametrize("value", ["1e39", "-1e39", "1e308"])
def test_a_score_beyond_single_precision_is_refused_by_its_pair(run, value, name):
    answer = run(f"{value} if k == 2 else k", name=name)
    assert answer.code == 2
    (line,) = [line for line in answer.err.splitlines() if "scored" in line]
    assert re.search(
        rf"scored {re.escape(str(float(value)))} for query q\d, document d02( and \d more in the same batch)?: ", line
    )
    assert "that is beyond single precision, in which scores are ranked" in line
    assert "at most 3.4e+38" in line


def test_a_whole_number_that_no_float_holds_is_one_line(run):
    answer = run("10 ** 400")
    assert answer.code == 2
    assert "returned a whole number that no float can hold" in answer.err


def test_a_score_of_the_verb_score_is_refused_by_its_place_and_ties_are_told(cli: Cli, tmp_path: Path):
    file = tmp_path / "double.py"
    pairs = tmp_path / "pairs.jsonl"
    write_lines(pairs, [json.dumps({"query": "a", "text": f"note {k}"}) for k in range(4)])
    file.write_text(PLUGIN.format(expression="1e39 if k == 3 else k", text="big", more=""))
    answer = cli("score", f"{file}:scorer", pairs)
    assert (answer.code, "scored 1e+39 for pair 4, which is beyond single precision" in answer.err) == (2, True)
    file.write_text(PLUGIN.format(expression="1 - k * 1e-9", text="near", more=""))
    answer = cli("score", f"{file}:scorer", pairs)
    assert answer.code == 0
    assert "4 scores differ from another of their query, and are equal to it in single precision" in answer.err


def test_a_run_file_beyond_single_precision_names_its_line_and_ties_are_told(cli: Cli, collection_folder, tmp_path):
    lines = [f"q{i} Q0 d{number:02d} 1 {1 - number * 1e-9:.10f} x" for i in range(6) for number in range(5)]
    write_lines(tmp_path / "near.trec", lines)
    near = cli("run", collection_folder, "--candidates", "near.trec", "--format", "json")
    assert cautions(near)["RH030"].startswith("30 scores differ")
    write_lines(tmp_path / "far.trec", ["q0 Q0 d00 1 2.0 x", "q0 Q0 d01 2 1e39 x"])
    far = cli("run", collection_folder, "--candidates", "far.trec")
    assert far.code == 2
    assert 'far.trec, line 2: "1e39" is beyond single precision (at most 3.4e38)' in far.err


# -- candidates without text, below every scored one


def test_there_is_room_below_the_lowest_score(cli: Cli, collection_folder: Path, tmp_path: Path):
    rows = [json.loads(line) for line in (collection_folder / "corpus.jsonl").read_text().splitlines()]
    for row in rows[:2]:
        row |= {"title": "", "text": ""}
    write_lines(collection_folder / "corpus.jsonl", [json.dumps(row) for row in rows])
    write_lines(
        tmp_path / "run.trec",
        [f"q{i} Q0 d{number:02d} 1 {9 - number} x" for i in range(6) for number in range(6)],
    )
    file = tmp_path / "low.py"
    file.write_text(PLUGIN.format(expression=f"{LOWEST!r} if k == 3 else float(k)", text="low", more=""))
    words = ["--candidates", "run.trec", "--missing-text", "skip", "--save-runs", "runs", "--format", "json"]
    answer = cli("run", collection_folder, "--reranker", f"{file}:scorer", *words)
    assert answer.code == 0, answer.err
    (saved,) = [path for path in (tmp_path / "runs").rglob("*.trec") if "first-stage" not in str(path)]
    ranking = [line.split()[2] for line in saved.read_text().splitlines() if line.startswith("q0 ")]
    assert ranking == ["d05", "d04", "d02", "d03", "d00", "d01"]


@pytest.mark.parametrize(
    "scores",
    [
        [LOWEST],
        [LOWEST, LOWEST],
        [0.5, LOWEST, float(np.nextafter(np.float32(LOWEST), np.float32(0)))],
        [],
        [1.0, -2.0],
    ],
)
def test_lifting_keeps_order_and_ties_and_leaves_every_number_finite(scores):
    lifted, below = places_below(scores, 3)
    all_of_them = as_single(np.array([*lifted, *below]))
    assert np.isfinite(all_of_them).all()
    assert [np.sign(a - b) for a in scores for b in scores] == [np.sign(a - b) for a in lifted for b in lifted]
    assert sorted(below, reverse=True) == below
    assert len(set(below)) == 3
    assert max(below) < min(lifted, default=0.0)
    assert [a for a, b in zip(lifted, scores, strict=True) if b > -1e38] == [b for b in scores if b > -1e38]


def test_what_is_not_known_in_double_precision_is_left_out():
    assert made_equal([np.array([0.1, np.nan, 0.1 + 1e-12]), np.array([0.3])]) == 2
    assert made_equal([np.array([0.1, np.nan, np.nan])]) == 0
