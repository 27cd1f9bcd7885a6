"""`run --until-decided`: it stops when the verdict is certain, and its result is never taken for a whole one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, write_collection

import harness
from harness import HarnessError, Task
from harness.results.result import load_result
from harness.verdicts.gate import judge_against, update

QUERIES = 200
DOCUMENTS = {f"d{i}": f"bird word{i}" for i in range(QUERIES)}
TEXTS = {f"q{i}": f"word{i} bird" for i in range(QUERIES)}
QRELS = {f"q{i}": {f"d{i}": 1} for i in range(QUERIES)}
LISTS = {f"q{i}": {f"d{(i + j) % QUERIES}": float(-j) for j in range(5)} for i in range(QUERIES)}

Model = Callable[[str, list[str]], list[float]]


def birds(**more: object) -> Task:
    return Task(DOCUMENTS, TEXTS, QRELS, name="Birds", candidates=LISTS, **more)


class Counting:
    """A reranker that puts the one relevant document first, or for a share of the queries last."""

    context = "pair"

    def __init__(self, wrong: float, version: str = "1") -> None:
        self.wrong, self.fingerprint, self.asked = wrong, f"{wrong} {version}", 0

    def rank(self, query: str, documents: list[str], **_: object) -> list[dict[str, float]]:
        self.asked += 1
        bad = int(hashlib.sha256(query.encode()).hexdigest(), 16) % 1000 < self.wrong * 1000
        word = query.split(maxsplit=1)[0]
        scores = [(-1.0 if bad else 1.0) * (text.split()[1] == word) for text in documents]
        return [{"corpus_id": place, "score": score} for place, score in enumerate(scores)]


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def baseline() -> str:
    harness.run(birds(), Counting(0.0), results="baseline")
    return "baseline"


def decide(model: Counting, baseline: str, **more: object) -> harness.Evaluations:
    return harness.run(birds(), model, results="now", until_decided=True, baseline=baseline, **more)


def test_a_bad_model_fails_with_a_part_of_the_pairs_and_says_how_many(baseline: str):
    model = Counting(0.3)
    found = decide(model, baseline)
    (decision,) = found.decisions
    assert (decision.verdict, decision.early) == ("failed", True)
    assert model.asked == decision.queries < QUERIES / 4
    assert (decision.pairs, decision.of_pairs) == (5 * decision.queries, 5 * QUERIES)
    assert f"failed after {decision.pairs:,} of 1,000 pairs" in decision.line()
    assert found.measures["nDCG@10"].reranked == pytest.approx(1 + decision.measures["nDCG@10"])


def test_an_equal_model_passes_before_the_last_query_and_is_read_the_next_time(baseline: str):
    model = Counting(0.0, "2")
    decision = decide(model, baseline).decisions[0]
    assert (decision.verdict, decision.early) == ("passed", True)
    asked = model.asked
    assert asked < QUERIES
    again = decide(model, baseline)
    assert again.only.reused
    assert again.decisions[0] == decision
    assert model.asked == asked


def test_what_was_scored_is_kept_and_a_whole_run_scores_the_rest_alone(baseline: str):
    model = Counting(0.3)
    partial = decide(model, baseline).only
    asked = model.asked
    whole = harness.run(birds(), model, results="now").only
    assert model.asked == QUERIES
    assert asked < QUERIES
    assert ".until-" in partial.path.name
    assert whole.path != partial.path
    assert whole.path.name == "".join(partial.path.name.partition(".until-")[0]) + ".json"
    assert load_result(partial.path).queries < load_result(whole.path).queries == QUERIES


def test_a_run_that_was_killed_goes_on_where_it_stood_to_the_same_verdict(baseline: str, monkeypatch):
    straight = harness.run(
        birds(), Counting(0.3), results="straight", until_decided=True, baseline=baseline
    ).decisions[0]  # fmt: skip
    shutil.rmtree("cache")  # what the first run scored is not to be found
    rank, asked = Counting.rank, []

    def killed(self: Counting, query: str, documents: list[str], **more: object) -> list[dict[str, float]]:
        asked.append(query)
        if len(asked) == straight.queries // 2:
            raise KeyboardInterrupt
        return rank(self, query, documents, **more)

    monkeypatch.setattr(Counting, "rank", killed)
    with pytest.raises(KeyboardInterrupt):
        decide(Counting(0.3), baseline)
    assert not list(Path("now").rglob("*.json"))
    assert decide(Counting(0.3), baseline).decisions[0] == straight
    # Only the round that was cut is asked for again.
    assert straight.queries < len(asked) <= straight.queries + QUERIES // 50 + 1


def test_another_rule_or_baseline_is_another_path(baseline: str):
    harness.run(birds(), Counting(0.1), results="other")
    model = Counting(0.3)
    paths = {
        decide(model, baseline).only.path,
        decide(model, baseline, alpha=0.01).only.path,
        decide(model, baseline, max_drop=0.02).only.path,
        decide(model, "other").only.path,
    }
    assert len(paths) == 4


def test_a_part_is_no_result_for_gates_and_boards(baseline: str):
    decide(Counting(0.3), baseline)
    gate = judge_against(Path(baseline), Path("now"))
    assert (gate.rows, gate.exit_code) == ([], 3)
    with pytest.raises(HarnessError, match="part of the queries, which is no baseline"):
        update(Path(baseline), Path("now"))
    harness.run(birds(), Counting(0.3), results="now")
    assert judge_against(Path(baseline), Path("now")).exit_code == 1
    assert "--until-decided none" in gate.mismatches[0]
    assert load_result(next(Path("now").rglob("*.until-*.json"))).identity.partial


def test_a_verdict_that_does_not_come_is_the_gates_on_a_whole_result(baseline: str, monkeypatch: pytest.MonkeyPatch):
    model = Counting(0.012)
    found = decide(model, baseline, max_drop=0.005)
    (decision,) = found.decisions
    assert not decision.early
    assert decision.queries == QUERIES
    assert ".until-" not in found.only.path.name
    monkeypatch.setenv("RERANK_HARNESS_CACHE", "another cache")
    whole = harness.run(birds(), Counting(0.012), results="elsewhere").only
    assert whole.path.name == found.only.path.name
    one, other = (load_result(each.path, with_values=True) for each in (whole, found.only))
    assert (one.identity, one.measures, one.values) == (other.identity, other.measures, other.values)
    assert one.diagnostics == other.diagnostics
    gate = judge_against(Path(baseline), Path("now"), max_drop=0.005, alpha=0.025)
    assert decision.verdict == {"undecided": "not decided"}.get(gate.state, gate.state)
    assert "by the gate's rule" in decision.line()


def test_a_whole_result_that_is_there_is_asked_first(baseline: str):
    model = Counting(0.3)
    harness.run(birds(), model, results="now")
    asked = model.asked
    found = decide(model, baseline)
    assert found.only.reused
    assert ".until-" not in found.only.path.name
    assert found.decisions[0].verdict == "failed"
    assert model.asked == asked


def test_a_model_of_another_name_is_held_against_the_only_one_there(baseline: str):
    found = decide(Counting(0.3), baseline, name="newcomer")
    assert found.decisions[0].baseline != "newcomer"
    assert "held against" in found.decisions[0].line()


def test_other_candidates_are_refused(baseline: str):
    lists = {query_id: dict(list(scores.items())[:4]) for query_id, scores in LISTS.items()}
    task = Task(DOCUMENTS, TEXTS, QRELS, name="Birds", candidates=lists)
    with pytest.raises(HarnessError, match="does not match the baseline") as refused:
        harness.run(task, Counting(0.3), until_decided=True, baseline=baseline)
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"until_decided": True}, "needs --baseline DIR"),
        ({"baseline": "baseline"}, "--baseline is of --until-decided"),
        ({"until_decided": True, "baseline": "nowhere"}, "holds no result of a reranker"),
        ({"until_decided": True, "baseline": "baseline", "alpha": 0.0}, "alpha=0.0 is no significance level"),
        ({"until_decided": True, "baseline": "baseline", "measures": "RR@3"}, "RR@3 was not measured"),
    ],
)
def test_what_makes_no_sense_is_refused(baseline: str, more: dict, told: str):
    with pytest.raises(HarnessError, match=told):
        harness.run(birds(), Counting(0.3), **more)


PLUGIN = """
def score(query, documents):
    return [{sign} * len(set(query.split()) & set(text.split())) for text in documents]
score.context = "pair"
score.fingerprint = "{sign}"
"""


def test_the_command_line_prints_the_verdict_and_fails(cli: Cli, tmp_path: Path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN.format(sign=1))
    words = ("run", write_collection(tmp_path / "birds", 90, 80), "--reranker", f"{plugin}:score")
    assert cli(*words, "--results", "base").code == 0
    same = cli(*words, "--results", "base", "--until-decided", "--baseline", "base")
    assert same.code == 0
    assert "mine.py:score: passed by the gate's rule" in same.out
    plugin.write_text(PLUGIN.format(sign=-1))
    until = (*words, "--results", "now", "--until-decided", "--baseline", "base")
    worse = cli(*until, "--format", "json")
    (decision,) = json.loads(worse.out)["decisions"]
    assert (worse.code, decision["verdict"], decision["early"]) == (1, "failed", True)
    assert decision["of_pairs"] > decision["pairs"] > 0
    again = cli(*until)
    assert again.code == 1
    assert f"failed after {decision['pairs']:,} of {decision['of_pairs']:,} pairs" in again.out
    assert "that were drawn until the verdict was certain" in again.out
    refused = cli(*words, "--until-decided")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
