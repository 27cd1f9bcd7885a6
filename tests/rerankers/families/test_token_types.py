"""Token types reach a classifier where its tokenizer's files send them, and padding moves no score: beside CrossEncoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exactness import beside, both, same_model
from golden_cases import opened, score
from saved_rerankers import edited, oracle
from tiny_models import wordpiece_tokenizer

from harness.errors import HarnessError
from harness.models.source import open_model

PAIRS = [
    ("how warm is water", "water is warm in the north and cold in the south"),
    ("where do fish live", "fish and bird under the tree near the river"),
    ("when", "the boat"),
]
SENT = ["input_ids", "token_type_ids", "attention_mask"]
SHAPES: dict[str, dict[str, Any]] = {
    "Bert": {}, "Roberta": {"type_vocab_size": 2}, "GPT2": {"n_inner": 64}, "ConvBert": {"embedding_size": 32},
    "XLNet": {"n_layer": 2, "n_head": 4, "d_model": 32, "d_inner": 64},
    "MobileBert": {"embedding_size": 32, "true_hidden_size": 32, "intra_bottleneck_size": 32},
}  # fmt: skip


def classifier(folder: Path, kind: str, **stated: Any) -> Path:
    """A tiny classifier whose tokenizer marks the document with type 1; `stated` is said by tokenizer_config.json."""
    import torch
    import transformers
    from tokenizers import Tokenizer, processors

    wordpiece_tokenizer(folder, 128)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    backend.save(str(folder / "tokenizer.json"))
    edited(folder, "tokenizer_config.json", **{"tokenizer_class": "PreTrainedTokenizerFast", **stated})
    torch.manual_seed(6)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=300, num_labels=1, pad_token_id=0, **(SHAPES[kind] if kind == "XLNet" else shape | SHAPES[kind])
    )
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    return folder


def ours_and_theirs(folder: Path, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Our logits of all pairs at once, and CrossEncoder's of each alone."""
    import torch

    (reranker,) = opened(folder, cache, "sequence-classification")
    library, raw = oracle(folder), torch.nn.Identity()
    theirs = [library.predict([pair], activation_fn=raw)[0] for pair in PAIRS]
    return score(reranker, PAIRS).margins, np.array(theirs)


def check_equal(folder: Path, cache: Path) -> None:
    ours, theirs = ours_and_theirs(folder, cache)
    if "xlnet" in (folder / "config.json").read_text():
        # Its code makes places in float32 whatever the weights are, so there is no model in float64.
        same_model(ours, theirs)
        return
    beside(theirs, PAIRS, folder, cache, "sequence-classification").check(ours)


@pytest.mark.parametrize(
    ("kind", "stated", "moved"),
    [
        ("Bert", {"model_input_names": SENT}, True),
        ("Bert", {"model_input_names": ["input_ids", "attention_mask"]}, False),
        ("Bert", {"tokenizer_class": "BertTokenizerFast"}, True),
        ("Bert", {"tokenizer_class": None}, True),
        ("Bert", {}, False),
        ("Bert", {"tokenizer_class": "DistilBertTokenizer"}, False),
        ("Roberta", {"model_input_names": SENT}, True),
        ("GPT2", {"model_input_names": SENT}, True),
        ("GPT2", {}, False),
        ("XLNet", {"model_input_names": SENT}, True),
        ("XLNet", {}, False),
        ("ConvBert", {"model_input_names": SENT}, True),
        ("MobileBert", {"tokenizer_class": "BertTokenizer"}, True),
    ],
)
def test_token_types_are_sent_where_the_tokenizers_files_send_them(
    tmp_path: Path, kind: str, stated: dict, moved: bool
):
    check_equal(classifier(tmp_path / "model", kind, **stated), tmp_path / "cache")
    (reranker,) = opened(tmp_path / "model", tmp_path / "cache", "sequence-classification")
    assert reranker.load().sends_types is moved


def test_types_that_are_sent_move_scores(tmp_path: Path):
    """So that the test above can fail."""
    folder = classifier(tmp_path / "model", "Bert", model_input_names=SENT)
    with_types, _ = ours_and_theirs(folder, tmp_path)
    without, _ = ours_and_theirs(
        edited(folder, "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"]), tmp_path
    )
    assert np.abs(with_types - without).min() > 1e-3


def test_a_tokenizer_of_transformers_4_sends_what_it_sent_then(tmp_path: Path):
    folder = classifier(tmp_path / "model", "Bert")
    assert dict(opened(folder, tmp_path)[0].spec.settings)["token_types"] == "none"
    edited(folder, "config.json", transformers_version="4.57.1")
    (reranker,) = opened(folder, tmp_path)
    assert reranker.load().sends_types
    assert "token_types" not in dict(reranker.spec.settings)


def test_a_model_without_an_embedding_for_a_type_that_it_is_given_is_refused(tmp_path: Path):
    folder = edited(classifier(tmp_path / "model", "Roberta", model_input_names=SENT), "config.json", type_vocab_size=1)
    (reranker,) = opened(folder, tmp_path)
    with pytest.raises(
        HarnessError, match=r"gives the token type 1, and the model has embeddings for 1: .*model_input_names"
    ):
        score(reranker, PAIRS)


def test_a_number_of_types_that_config_json_leaves_out_is_that_of_the_architecture(tmp_path: Path):
    folder = edited(classifier(tmp_path / "model", "Bert", model_input_names=SENT), "config.json", type_vocab_size=None)
    check_equal(folder, tmp_path / "cache")
    assert "type_vocab_size" not in json.loads((folder / "config.json").read_text())


def test_a_model_that_padding_moves_is_run_without_any_and_its_key_says_so(tmp_path: Path):
    folder = classifier(tmp_path / "model", "ConvBert", model_input_names=SENT)
    (reranker,) = opened(folder, tmp_path)
    assert dict(reranker.spec.settings)["padding"] == "none"
    whole, alone = score(reranker, PAIRS).margins, score(reranker, PAIRS, batch=1).margins
    np.testing.assert_array_equal(whole, alone)


@pytest.mark.parametrize("kind", ["ConvBert", "Bert"])
def test_padding_that_moves_answers_is_seen_on_the_first_batch(kind: str):
    from harness.models.ids.company import Company

    moves = kind == "ConvBert"
    calls: list[list[int]] = []

    def compute(places: Any) -> np.ndarray:
        calls.append(list(places))
        longest = max(lengths[place] for place in places)
        return np.array([[lengths[place] + 0.01 * moves * longest] for place in places], np.float32)

    lengths = [5, 2, 5, 3]
    company = Company({}, "float32")
    expected = [[length * (1.01 if moves else 1)] for length in lengths]
    np.testing.assert_array_equal(company.answers(lengths, compute), np.array(expected, np.float32))
    assert calls == ([[0, 1, 2, 3], [1], [1], [3], [0, 2]] if moves else [[0, 1, 2, 3], [1]])
    calls.clear()
    company.answers(lengths, compute)
    assert len(calls) == (3 if moves else 1)


def test_encoders_of_texts_are_not_moved_by_padding_either(tmp_path: Path):
    import torch
    from transformers import ConvBertConfig, ConvBertModel

    from harness.engine.options import Options
    from harness.models.encoders import Encoder, encoder_spec

    folder = tmp_path / "model"
    wordpiece_tokenizer(folder, 128)
    torch.manual_seed(2)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    model = ConvBertModel(ConvBertConfig(vocab_size=300, embedding_size=32, initializer_range=0.3, **shape)).eval()
    model.save_pretrained(folder)
    source = open_model(str(folder), tmp_path / "cache")
    spec = encoder_spec(source, Options(settings=(("recipe", "contriever"),)))
    assert dict(spec.numeric)["padding"] == "none"
    texts = [text for _, text in PAIRS]
    encoder = Encoder(source, spec, Options(), tmp_path / "one")
    rows = encoder.token_ids(texts, "document")

    def means(model: Any) -> np.ndarray:
        with torch.inference_mode():
            return np.stack([model(torch.tensor([ids])).last_hidden_state[0].mean(0).numpy() for ids in rows])

    yard = both(means, model)
    yard.check(encoder.encode(texts, "document")[:])
    for place, text in enumerate(texts):
        alone = Encoder(source, spec, Options(), tmp_path / "two").encode([text], "document")
        yard.check(alone[:], [place])
