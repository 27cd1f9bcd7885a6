"""First stages joined: equal to ranx, keyed by what they are joined of, and refused where it makes no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import DATA, Cli, write_lines

from harness.errors import HarnessError
from harness.retrievers.fusion import fuse, fused_stage
from harness.retrievers.retrieve import given_stage, memory_stage

GOLDEN = json.loads((DATA / "fusion.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['by']} {case['weights']}")
def test_runs_are_joined_as_ranx_joins_them(case):
    found = fuse(GOLDEN["runs"], case["by"], case["weights"])
    assert found.keys() == case["run"].keys()
    for query_id, scores in case["run"].items():
        assert found[query_id] == pytest.approx(scores, abs=1e-12)


def test_ranks_are_weighted_by_their_definition():
    runs = [{"q": {"a": 3.0, "b": 2.0}}, {"q": {"b": 9.0}}]
    assert fuse(runs, "rrf", [2.0, 0.5])["q"] == pytest.approx({"a": 2 / 61, "b": 2 / 62 + 0.5 / 61})


def stages():
    return [memory_stage({"q": {"a": 1.0}}, "one"), memory_stage({"q": {"b": 1.0}}, "two")]


def test_what_is_joined_and_how_is_in_the_key():
    one, two = stages()
    made = [
        fused_stage([one, two]), fused_stage([one, two], "sum"), fused_stage([one, two], "rrf", [1.0, 2.0]),
        fused_stage([one, two], "rrf", [2.0, 1.0]), fused_stage([one, two], "sum", [2.0, 1.0]),
    ]  # fmt: skip
    assert len({stage.fingerprint for stage in made}) == len(made)
    assert [stage.name for stage in made] == [
        "rrf(one+two)", "sum(one+two)", "rrf(1 one+2 two)", "rrf(2 one+1 two)", "sum(2 one+1 two)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("by", "weights", "said"),
    [
        ("rrf", [1.0], "1 weights for 2 first stages: one, two"),
        ("rrf", [1.0, -1.0], "a weight is a number from 0 on"),
        ("sum", [0.0, 0.0], "one of them is above 0"),
    ],
)
def test_weights_that_mean_nothing_are_one_line(by, weights, said):
    with pytest.raises(HarnessError, match=said):
        fused_stage(stages(), by, weights)


def test_a_list_without_scores_has_nothing_to_add():
    with pytest.raises(HarnessError, match="--fuse-by rrf joins by rank"):
        fused_stage([stages()[0], given_stage()], "sum")


def test_the_command_line_joins_by_weights(cli: Cli, collection_folder: Path, tmp_path: Path):
    write_lines(tmp_path / "mine.trec", [f"q{i} Q0 d{i:02d} 1 {9 - i} mine" for i in range(6)])
    words = ["run", collection_folder, "--retriever", "bm25", "--candidates", "mine.trec", "--format", "json"]
    result = cli(*words, "--fuse-by", "sum", "--fuse-weights", "1,0.5").results()[0]
    assert result["retriever"] == "sum(1 bm25+0.5 mine)"
    wrong = cli(*words, "--fuse-weights", "1,half")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)
    wrong = cli(*words, "--fuse-weights", "1")
    assert "1 weights for 2 first stages" in wrong.err
