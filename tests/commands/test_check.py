"""`score` prints published scores in order; `check` finds in seconds what would spoil eight hours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands.test_bad_input import one_line
from conftest import DATA, Cli, write_lines
from exactness import same_model

MODELS = DATA / "models"


def golden(system: str) -> dict:
    return json.loads((DATA / "goldens" / f"{system}.json").read_text(encoding="utf-8"))


def write_pairs(pairs: list[list[str]], **more: str) -> Path:
    write_lines(Path("pairs.jsonl"), [json.dumps({"query": q, "text": d, **more}) for q, d in pairs])
    return Path("pairs.jsonl")


def scores(cli: Cli, *words: object) -> list[float]:
    answer = cli("score", *words)
    assert answer.code == 0, answer.err
    return [json.loads(line)["score"] for line in answer.out.splitlines()]


@pytest.mark.parametrize(
    ("system", "case", "words"),
    [
        ("cross-encoder", "default activation (sigmoid)", []),
        ("bge-reranker", "raw logit, max_length 512", ["--family", "bge", "--set", "max_length=512"]),
        ("bge-reranker", "sigmoid, max_length 512", ["--family", "bge", "--set", "max_length=512", "--set", "normalize=true"]),
        ("bge-reranker-gemma", "'Yes' logit, the class's rule, max_length 64", ["--family", "bge-reranker-gemma", "--set", "rule=class", "--set", "max_length=64"]),
        ("followir", "P(true), query alone, max_length 200", ["--family", "followir", "--set", "max_length=200"]),
        ("bge-reranker-layerwise", "layer 3", ["--set", "cutoff_layers=3", "--set", "rule=class", "--set", "max_length=512"]),
        ("tart", "query alone, longest_first, 512", ["--family", "tart"]),
    ],
)  # fmt: skip
def test_score_prints_the_authors_scores(cli: Cli, system, case, words):
    expected = golden(system)
    wanted = next(entry["scores"] for entry in expected["cases"] if entry["name"] == case)
    found = scores(cli, MODELS / system, write_pairs(expected["pairs"]), *words)
    same_model(found, wanted)


def test_score_reads_instruction_and_title(cli: Cli):
    expected = golden("followir")
    wanted = next(e["scores"] for e in expected["cases"] if e["with_instruction"] and e["max_length"] == 2048)
    file = write_pairs(expected["pairs"], instruction=expected["instruction"])
    same_model(scores(cli, MODELS / "followir", file, "--family", "followir"), wanted)


def test_score_of_a_function_sees_a_query_s_pairs_together(cli: Cli):
    Path("mine.py").write_text("def rank(query, documents):\n    return list(range(len(documents)))\n")
    file = write_pairs([["a", "x"], ["b", "y"], ["a", "z"]])
    assert scores(cli, "mine.py:rank", file) == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"query": "a"}', '"text"'),
        ('{"query": 5, "text": "b"}', '"query"'),
        ("not json", "line 1"),
        ("", "pairs.jsonl"),
    ],
)
def test_a_broken_file_of_pairs_is_one_line(cli: Cli, line, said):
    write_lines(Path("pairs.jsonl"), [line])
    one_line(cli("score", MODELS / "cross-encoder", "pairs.jsonl"), said)


def test_several_layers_are_refused_where_one_score_is_asked_for(cli: Cli):
    file = write_pairs([["a", "x"]])
    one_line(cli("score", MODELS / "bge-reranker-layerwise", file, "--set", "cutoff_layers=3,4"), "ask for one")


def test_check_shows_family_input_and_what_it_tested(cli: Cli):
    answer = cli("check", MODELS / "cross-encoder")
    assert answer.code == 0
    for word in (
        "sequence-classification",
        "[CLS]",
        "max_length=512",
        "truncation",
        "deterministic",
        "batch invariance",
    ):
        assert word in answer.out
    assert "[FAIL]" not in answer.out


@pytest.mark.parametrize(
    ("body", "failing"),
    [
        ("return [float('nan')] * len(pairs)", "[FAIL] finite"),
        ("return [1.0] * len(pairs)", "[FAIL] distinct scores"),
        ("import random; return [random.random() for _ in pairs]", "[FAIL] deterministic"),
        ("return [place + len(d) / 100 for place, (q, d) in enumerate(pairs)]", "[FAIL] batch invariance"),
    ],
)
def test_check_finds_a_reranker_that_breaks_the_contract(cli: Cli, body, failing):
    Path("mine.py").write_text(f"class Model:\n    def predict(self, pairs):\n        {body}\n")
    answer = cli("check", "mine.py:Model")
    assert answer.code == 1
    assert failing in answer.out


def test_check_warns_of_a_reranker_whose_labels_are_swapped(cli: Cli):
    Path("mine.py").write_text(
        "class Model:\n    def predict(self, pairs):\n"
        "        return [-len(set(q.lower().split()) & set(d.lower().split())) - len(d) / 1e4 for q, d in pairs]\n"
    )
    answer = cli("check", "mine.py:Model")
    assert "[WARN] order" in answer.out


def test_a_cross_encoder_that_states_no_activation_gives_its_raw_logit(cli: Cli, tmp_path: Path):
    import shutil

    expected = golden("cross-encoder")
    model = tmp_path / "plain"
    shutil.copytree(MODELS / "cross-encoder", model)
    config = json.loads((model / "config.json").read_text())
    stated = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}
    (model / "config.json").write_text(json.dumps({**config, **stated}))
    raw = next(case["scores"] for case in expected["cases"] if case["name"] == "raw logit")
    file = write_pairs(expected["pairs"])
    same_model(scores(cli, model, file), raw)
    same_model(scores(cli, MODELS / "cross-encoder", file, "--set", "normalize=false"), raw)
