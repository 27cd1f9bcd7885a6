"""Cohen's kappa and Kendall's tau: equal to scikit-learn and scipy, and measured where people and a layer both judge."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, Counter, write_lines

from harness.judging.agreement import kappa, tau


@pytest.mark.parametrize("seed", range(6))
def test_kappa_is_that_of_scikit_learn(seed):
    from sklearn.metrics import cohen_kappa_score

    numbers = np.random.default_rng(seed)
    first = numbers.integers(0, 4, 60)
    second = np.where(numbers.random(60) < 0.6, first, numbers.integers(0, 4, 60))
    assert kappa(first.tolist(), second.tolist()) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    assert kappa((first > 1).tolist(), (second > 1).tolist()) == pytest.approx(
        cohen_kappa_score(first > 1, second > 1), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(6))
def test_tau_is_that_of_scipy_ties_included(seed):
    from scipy.stats import kendalltau

    numbers = np.random.default_rng(seed)
    first, second = numbers.integers(0, 8, 12) / 8, numbers.integers(0, 8, 12) / 8
    assert tau(first.tolist(), second.tolist()) == pytest.approx(kendalltau(first, second).statistic, abs=1e-12)


def test_what_is_not_defined_is_no_number():
    assert kappa([1, 1], [1, 1]) is None
    assert kappa([], []) is None
    assert tau([0.5, 0.5], [0.1, 0.2]) is None
    assert tau([0.5], [0.5]) is None
    assert (kappa([0, 1], [1, 0]), tau([1, 2, 3], [3, 2, 1])) == (-1.0, -1.0)


def judged(cli: Cli, collection_folder: Path, counter: Counter, *more: object) -> dict:
    """A layer that agrees with people but for one pair, over two systems."""
    run = Path("odd.trec")
    run.write_text("".join(f"q{q} Q0 d{d:02d} {d + 1} {30 - d} odd\n" for q in range(6) for d in range(9)))
    for words in (["--reranker", counter.name], [], ["--candidates", run]):
        assert cli("run", collection_folder, *words).code == 0
    assert cli("pool", "results", "--depth", 10, "--with-judged").code == 0
    rows = [json.loads(line) for line in Path("pool.jsonl").read_text().splitlines()]
    people = {
        tuple(line.split("\t")[:2]): int(line.split("\t")[2])
        for line in (collection_folder / "qrels" / "test.tsv").read_text().splitlines()[1:]
    }
    graded = [{**row, "grade": people.get((row["query-id"], row["corpus-id"]), 0)} for row in rows]
    wrong = next(row for row in graded if row["grade"] == 2)
    wrong["grade"] = 0
    write_lines(Path("pool.jsonl"), [json.dumps(row) for row in graded])
    answer = cli("judge", "pool.jsonl", "--name", "people", "--against", "results", "--format", "json", *more)
    assert answer.code == 0, answer.err
    return {**json.loads(answer.out), "people": people, "rows": graded}


def test_a_layer_is_held_against_people_where_both_judge(cli: Cli, collection_folder: Path, counter: Counter):
    from scipy.stats import kendalltau
    from sklearn.metrics import cohen_kappa_score

    found = judged(cli, collection_folder, counter, "--judge-level", 1)
    (agreement,) = found["agreement"]
    both = [
        (found["people"][pair], row["grade"])
        for row in found["rows"]
        if (pair := (row["query-id"], row["corpus-id"])) in found["people"]
    ]
    people, layer = map(np.array, zip(*both, strict=True))
    assert agreement["pairs"] == len(both)
    assert agreement["kappa"] == pytest.approx(cohen_kappa_score(people, layer), abs=1e-12)
    assert agreement["kappa_binary"] == pytest.approx(cohen_kappa_score(people > 0, layer > 0), abs=1e-12)
    assert len(agreement["systems"]) == 3
    by_people, by_layer = zip(*agreement["systems"].values(), strict=True)
    assert agreement["tau"] == pytest.approx(kendalltau(by_people, by_layer).statistic, abs=1e-12)
    for label, (figure, _) in agreement["systems"].items():
        if label == "bm25 top 100":
            (result,) = cli("run", collection_folder, "--format", "json").results()
            assert figure == pytest.approx(result["measures"]["nDCG@10"]["first_stage"], abs=1e-12)


def test_levels_are_said_and_nothing_in_common_is_one_line(cli: Cli, collection_folder: Path, counter: Counter):
    found = judged(cli, collection_folder, counter)
    (agreement,) = found["agreement"]
    assert (agreement["relevant_for_people"], agreement["relevant_for_judge"]) == (1, 2)
    assert cli("pool", "results", "--depth", 10).code == 0
    rows = [json.loads(line) for line in Path("pool.jsonl").read_text().splitlines()]
    write_lines(Path("pool.jsonl"), [json.dumps({**row, "grade": 1}) for row in rows])
    answer = cli("judge", "pool.jsonl", "--name", "people", "--against", "results")
    assert (answer.code, "pool --with-judged writes such pairs" in answer.err) == (3, True)
