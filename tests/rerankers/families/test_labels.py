"""Which label of a classifier is scored: what its own names say, what the user says, and never a guess."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from exactness import Yardstick, both, margins, ours
from golden_cases import model_folder, opened, score
from tiny_models import wordpiece_tokenizer

from harness.errors import HarnessError
from harness.rerankers.base import sigmoid

PAIRS = [["how old is the river", "the old river"], ["cold wind", "a boat on the water"], ["fish", "three fish"]]


def classifier(folder: Path, names: list[str] | None, count: int | None = None, seed: int = 2) -> Path:
    """A random BERT classifier; `names` are those of its labels, None leaves id2label out."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    wordpiece_tokenizer(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=300, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        initializer_range=0.5, num_labels=count or len(names or "12"),
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    path = folder / "config.json"
    stated = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("id2label", "label2id")}
    if names is not None:
        stated |= {"id2label": dict(enumerate(names)), "label2id": {name: place for place, name in enumerate(names)}}
    path.write_text(json.dumps(stated))
    return folder


def softmax(folder: Path, label: int) -> Yardstick:
    """The label's probability as transformers gives it, in float32 and exactly."""
    import torch
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))

    def compute(model: Any) -> np.ndarray:
        with torch.inference_mode():
            rows = [
                model(**tokenizer(*pair, return_tensors="pt")).logits.softmax(-1)[0, label].item() for pair in PAIRS
            ]
        return np.array(rows)

    return both(compute, AutoModelForSequenceClassification.from_pretrained(folder).eval())


@pytest.mark.parametrize(
    ("names", "label"),
    [
        (["relevant", "irrelevant"], 0),
        (["irrelevant", "relevant"], 1),
        (["Not-Relevant", "Relevant"], 1),
        (["RELEVANT", "NON_RELEVANT"], 0),
        (["notRelevant", "relevant"], 1),
        (["yes", "no"], 0),
        (["No", "Yes"], 1),
        (["true", "false"], 0),
        (["LABEL_0", "LABEL_1"], 1),
        (["LABEL_1", "LABEL_0"], 0),
        (["0", "1"], 1),
        (["relevant", "other"], 0),
        (["无关", "相关"], 1),
        (["是", "否"], 0),
        (None, 1),
        (["irrelevant", "relevant", "not relevant"], 1),
    ],
)
def test_the_models_own_names_say_which_label_is_scored(tmp_path: Path, names: list[str] | None, label: int):
    folder = classifier(tmp_path / "model", names)
    (reranker,) = opened(folder, tmp_path / "cache")
    found = score(reranker, PAIRS)
    softmax(folder, label).check(found.published)
    assert f"label {label} " in reranker.note
    assert "is scored" in reranker.note


@pytest.mark.parametrize(
    "names",
    [
        ["entailment", "not_entailment"],
        ["NEGATIVE", "POSITIVE"],
        ["duplicate", "different"],
        ["relevant", "very relevant", "irrelevant"],
        ["relevant", "yes"],
        ["relevant", "highly relevant"],
        ["LABEL_1", "LABEL_2"],
        ["1 star", "2 stars"],
        ["irrelevant", "off topic"],
        ["contradiction", "neutral", "entailment"],
        ["LABEL_0", "LABEL_1", "LABEL_2"],
        ["irrelevant"],
        ["no"],
    ],
)
def test_names_that_do_not_say_it_are_asked_about_and_the_answer_is_scored(tmp_path: Path, names: list[str]):
    folder = classifier(tmp_path / "model", names)
    with pytest.raises(HarnessError, match="--set label=") as caught:
        opened(folder, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in names)
    for label, name in enumerate(names):
        for word in (str(label), name):
            (reranker,) = opened(folder, tmp_path / "cache", label=word, normalize="true")
            if len(names) > 1:
                softmax(folder, label).check(score(reranker, PAIRS).published)


def test_what_the_user_says_goes_before_the_names_and_moves_the_key(tmp_path: Path):
    folder = classifier(tmp_path / "model", ["irrelevant", "relevant"])
    (usual,), (turned,), (same,) = (
        opened(folder, tmp_path / "cache", **more) for more in ({}, {"label": 0}, {"label": "relevant"})
    )
    yard = ours(lambda reranker: -margins(reranker, PAIRS), folder, tmp_path / "cache")
    yard.check(score(turned, PAIRS).margins)
    assert usual.spec.fingerprint == same.spec.fingerprint != turned.spec.fingerprint


@pytest.mark.parametrize("asked", ["2", "-1", "relevent", ""])
def test_a_label_that_the_model_lacks_is_told_with_those_it_has(tmp_path: Path, asked: str):
    folder = classifier(tmp_path / "model", ["irrelevant", "relevant"])
    with pytest.raises(HarnessError, match=r"2 labels \(0 irrelevant, 1 relevant\)"):
        opened(folder, tmp_path / "cache", label=asked)


def test_three_labels_stay_finite_where_their_logits_are_far_apart():
    from harness.rerankers.families.labels import Labels

    logits = np.array([[0, 200, -200], [-300, 100, 100]], np.float32)
    found = Labels(("a", "b", "c"), 1).margins(logits)
    np.testing.assert_array_equal(found, [200, 0])
    assert found.dtype == np.float32


def test_one_label_is_its_logit_and_says_nothing(tmp_path: Path):
    folder = classifier(tmp_path / "model", ["LABEL_0"])
    (reranker,) = opened(folder, tmp_path / "cache")
    assert reranker.note is None
    assert "label" not in dict(reranker.spec.settings)
    found = score(reranker, PAIRS)
    np.testing.assert_array_equal(found.published, sigmoid(found.margins))


def test_a_classifier_whose_modules_are_of_a_foreign_class_is_refused_not_scored_without_them(tmp_path: Path):
    folder = classifier(tmp_path / "model", ["irrelevant", "relevant"])
    modules = [{"idx": 0, "name": "0", "path": "", "type": "their_library.Reranker"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(HarnessError, match=r"modules\.json names the class their_library\.Reranker"):
        opened(folder, tmp_path / "cache")


def test_the_scored_label_is_printed(tmp_path: Path, cli: Cli):
    folder = classifier(tmp_path / "model", ["relevant", "irrelevant"])
    (tmp_path / "pairs.jsonl").write_text('{"query": "cold", "text": "a cold wind"}\n')
    for answer in (cli("check", folder), cli("score", folder, tmp_path / "pairs.jsonl")):
        assert 'label 0 ("relevant") of 2 labels (0 relevant, 1 irrelevant) is scored' in answer.out + answer.err
    asked = cli("score", classifier(tmp_path / "nli", ["contradiction", "neutral", "entailment"]), "pairs.jsonl")
    assert asked.code == 2
    assert asked.err.count("\n") == 1
    assert "--set label=2" in asked.err


def test_an_enct5_model_whose_names_are_turned_is_scored_by_its_names(tmp_path: Path):
    folder = tmp_path / "tart"
    shutil.copytree(model_folder("tart"), folder)
    pairs = [["how long should dough rest", "Until it has doubled."], ["when", "The bakery opens at six."]]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"id2label": {"0": "relevant", "1": "irrelevant"}}))
    (turned,) = opened(folder, tmp_path / "cache")
    yard = ours(lambda reranker: -margins(reranker, pairs), model_folder("tart"), tmp_path / "cache")
    yard.check(score(turned, pairs).margins)
    assert 'label 0 ("relevant")' in turned.note
