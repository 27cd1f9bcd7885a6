"""`check` says by what a family was decided, the input, the published score, and what the rule was held against."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from conftest import DATA, ROOT
from golden_cases import model_folder, opened
from saved_rerankers import QWEN, edited, logit_scored
from tiny_models import bert

from harness.errors import HarnessError
from harness.rerankers.contract import check_reranker
from harness.rerankers.resolve import FAMILIES
from harness.rerankers.rules import known_rules, lines_of


def lines(folder: Path, cache: Path, family: str | None = None, **settings) -> dict[str, str]:
    (reranker,) = opened(folder, cache, family, **settings)
    return dict(lines_of(reranker))


def test_a_model_that_its_files_describe_is_shown_as_they_do(tmp_path: Path):
    folder = logit_scored(tmp_path, QWEN, prompts={"web": "Find the river."}, default_prompt_name="web")
    found = lines(folder, tmp_path)
    assert found["decided by"] == "its modules.json, that of a CrossEncoder"
    assert "<Query>: {query}" in found["prompt"]
    assert "without an instruction the system message is 'Find the river.'" in found["prompt"]
    assert found["published activation"] == "sigmoid"
    assert found["rule"].startswith("sentence-transformers/LogitScore, verified against sentence-transformers 6.2's")


@pytest.mark.parametrize(
    ("system", "family", "decided", "rule"),
    [
        ("cross-encoder", None, "its class BertForSequenceClassification", "sequence-classification/pair, verified"),
        ("bge-reranker", "bge", "--family bge", "bge, verified against FlagEmbedding 1.3.5's FlagReranker"),
        ("followir", "followir", "--family causal", "causal/followir, verified against the model card's code"),
        (
            "followir",
            "followir-llama2",
            "--family causal",
            "causal/followir-llama2, verified against mteb 2.26's LlamaReranker",
        ),
        ("tart", None, "its class EncT5ForSequenceClassification", "enct5, verified against TART's own"),
        ("e5-mistral", "e5-mistral", "--family bi-encoder", "bi-encoder, verified"),
    ],
)
def test_every_kind_of_model_says_what_decided_it_and_what_holds_its_rule(
    tmp_path: Path, system, family, decided, rule
):
    found = lines(model_folder(system), tmp_path, family)
    assert found["decided by"].startswith(decided)
    assert found["rule"].startswith(rule)
    assert all(found.values())


def test_a_template_of_the_users_own_is_inferred(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text((ROOT / "harness/rerankers/prompts/templates/followir.yaml").read_text())
    found = lines(model_folder("followir"), tmp_path, "causal", template=str(tmp_path / "mine.yaml"))
    assert found["rule"] == "causal/mine, inferred: never run beside its authors' code"


def test_check_prints_these_lines(tmp_path: Path):
    (reranker,) = opened(model_folder("cross-encoder"), tmp_path)
    shown = {}
    for finding in check_reranker(reranker):
        shown[finding.name] = finding.detail
        if finding.name == "settings":
            break
    assert {"family", "decided by", "prompt", "published activation", "rule"} <= shown.keys()


def test_a_verified_rule_names_goldens_and_tests_that_are_there():
    for rule, said in known_rules().items():
        assert rule.partition("/")[0] in {*FAMILIES, "sentence-transformers"}
        for name in re.findall(r"goldens/[\w-]+", said.get("verified", "")):
            assert (DATA / f"{name}.json").is_file(), rule
        for name in re.findall(r"test_\w+", said.get("verified", "")):
            assert list((ROOT / "tests/rerankers").rglob(f"{name}.py")), rule


def test_code_of_a_models_own_is_never_left_out_in_silence(tmp_path: Path):
    folder = shutil.copytree(model_folder("cross-encoder"), tmp_path / "own")
    edited(folder, "config.json", auto_map={"AutoModelForSequenceClassification": "mine.Bidirectional"})
    (reranker,) = opened(folder, tmp_path)
    with pytest.raises(HarnessError, match=r"mine\.Bidirectional, auto_map of config\.json.*--trust-remote-code"):
        _ = reranker.load().model
    encoder = tmp_path / "encoder"
    bert(encoder)
    edited(encoder, "config.json", auto_map={"AutoModel": "mine.Other", "AutoConfig": "mine.Config"})
    (vectors,) = opened(encoder, tmp_path, "bi-encoder", recipe="contriever")
    from harness.rerankers.score import margins_of
    from harness.types import DocumentText, QueryText

    with pytest.raises(HarnessError, match=r"mine\.Other, auto_map of config\.json"):
        margins_of(vectors, [(QueryText("water"), DocumentText("", "ice"))])
