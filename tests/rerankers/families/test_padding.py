"""Padding is masked and never recognised by its id: a text may end in the very same id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exactness import beside
from golden_cases import opened, score

from harness.errors import HarnessError
from harness.models.tokenization import load_tokenizer, token_limit
from harness.rerankers.families.pair_classifier import padding_unlike_ends
from harness.rerankers.score import margins_of
from harness.types import DocumentText, QueryText

END = "<|endoftext|>"
PAIRS = [
    ["what is it", text]
    for text in (
        "a river",
        "a river!",
        "a river!!!",
        "!!!",
        f"a river{END}",
        f"a river{END}{END}",
        "a river and a long road",
    )
]


def write_classifier(folder: Path, kind: str, end: str | None = END, **more: Any) -> Path:
    """A random decoder with a head over a byte-level vocabulary that begins with "!", as GPT-2's and Qwen2's do."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=256, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator([""], trainer)
    backend.add_special_tokens([END])
    assert backend.token_to_id("!") == 0
    folder.mkdir(parents=True)
    backend.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, "eos_token": end}
    (folder / "tokenizer_config.json").write_text(json.dumps({key: word for key, word in said.items() if word}))
    torch.manual_seed(4)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "initializer_range": 0.5}
    if kind == "Qwen2":
        shape |= {"intermediate_size": 64, "num_key_value_heads": 2}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=backend.get_vocab_size(), num_labels=1, pad_token_id=None, bos_token_id=None,
        eos_token_id=backend.token_to_id(END) if end else None, **shape,
    )  # fmt: skip
    getattr(transformers, f"{kind}ForSequenceClassification")(config).save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **more}))
    return folder


def each_alone(folder: Path, ids: list[list[int]]) -> np.ndarray:
    """transformers' own logits, a row at a time and so without padding, at the last token."""
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    if not model.config.is_encoder_decoder:
        model.config.pad_token_id = None
    with torch.inference_mode():
        return np.array([model(input_ids=torch.tensor([row])).logits[0, 0].item() for row in ids], np.float32)


@pytest.mark.parametrize("end", [END, None], ids=["an end", "no end"])
@pytest.mark.parametrize("kind", ["Qwen2", "GPT2"])
def test_without_a_padding_id_every_text_keeps_its_own_end(tmp_path: Path, kind: str, end: str | None):
    folder = write_classifier(tmp_path / "model", kind, end)
    assert "pad_token_id" not in {
        key for key, value in json.loads((folder / "config.json").read_text()).items() if value
    }
    (reranker,) = opened(folder, tmp_path / "cache")
    found = score(reranker, PAIRS)
    beside(each_alone(folder, found.ids), PAIRS, folder, tmp_path / "cache").check(found.margins)
    assert len(set(found.margins.tolist())) == len(PAIRS)


@pytest.mark.parametrize("kind", ["Qwen2", "GPT2"])
def test_a_text_may_end_in_the_stated_padding_id(tmp_path: Path, kind: str):
    folder = write_classifier(tmp_path / "model", kind, pad_token_id=0)
    (reranker,) = opened(folder, tmp_path / "cache")
    found = score(reranker, PAIRS)
    beside(each_alone(folder, found.ids), PAIRS, folder, tmp_path / "cache").check(found.margins)


@pytest.mark.parametrize(
    ("config", "tokenizer", "special", "padding", "found"),
    [
        ({"pad_token_id": 3}, {"pad_token": "b"}, {}, None, 3),
        ({}, {"pad_token": "b"}, {}, None, 1),
        ({}, {"pad_token": {"content": "b"}}, {}, None, 1),
        ({"pad_token_id": None, "eos_token_id": 3}, {"pad_token": "b", "eos_token": "c"}, {}, None, 1),
        ({"pad_token_id": -1}, {"pad_token": "b"}, {}, None, 1),
        ({"pad_token_id": 9, "vocab_size": 5}, {"pad_token": "b"}, {}, None, 1),
        ({}, {}, {"pad_token": {"content": "d"}}, None, 3),
        ({}, {"eos_token": "c"}, {}, 4, 4),
        ({"eos_token_id": 2}, {}, {}, None, 2),
        ({"eos_token_id": [4, 2]}, {}, {}, None, 4),
        ({}, {"eos_token": "c"}, {}, None, 2),
        ({}, {"pad_token": "unheard of"}, {}, None, 0),
    ],
)  # fmt: skip
def test_the_padding_id_is_found_where_the_files_say_it(
    tmp_path: Path, config: dict, tokenizer: dict, special: dict, padding: int | None, found: int
):
    from tokenizers import Tokenizer, models

    backend = Tokenizer(models.WordLevel({letter: place for place, letter in enumerate("abcde")}, "a"))
    if padding is not None:
        backend.enable_padding(pad_id=padding, pad_token="e")
    backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    assert load_tokenizer(tmp_path, config).pad_id == found


def test_padding_looks_like_no_rows_end_and_no_end_of_sequence():
    class Config:
        eos_token_id = 1

    assert padding_unlike_ends([[5, 0], [6, 2]], 7, Config()) == 7
    assert padding_unlike_ends([[5, 7], [6, 0]], 7, Config()) == 2
    assert padding_unlike_ends([[5, 9]], 1, Config()) == 0


def test_an_encoder_decoder_scores_texts_that_hold_the_end_of_sequence(tmp_path: Path):
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import T5Config, T5ForSequenceClassification

    folder = tmp_path / "t5"
    folder.mkdir()
    words = ["<pad>", "</s>", "<unk>", *"a river and the road what is it".split()]  # noqa: SIM905
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(["<pad>", "</s>", "<unk>"])
    backend.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 64}))
    torch.manual_seed(1)
    config = T5Config(
        vocab_size=len(words),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        num_labels=1,
        initializer_factor=3.0,
        decoder_start_token_id=0,
    )
    T5ForSequenceClassification(config).save_pretrained(folder)
    pairs = [["what is it", text] for text in ("a river", "a </s> river", "the road and a river")]
    (reranker,) = opened(folder, tmp_path / "cache", "sequence-classification")
    found = score(reranker, pairs)
    theirs = each_alone(folder, found.ids)
    beside(theirs, pairs, folder, tmp_path / "cache", "sequence-classification").check(found.margins)


def test_roberta_loses_the_positions_up_to_its_padding_id_also_where_that_is_0():
    shape = {"model_type": "roberta", "max_position_embeddings": 514}
    assert token_limit(shape, {}) == 512
    assert token_limit({**shape, "pad_token_id": None}, {}) == 512
    assert token_limit({**shape, "pad_token_id": 0}, {}) == 513


@pytest.mark.parametrize("kind", ["GPT2", "Qwen2"])
def test_a_token_id_beyond_the_embeddings_is_one_line_that_names_model_and_pairs(kind, tmp_path):
    folder = write_classifier(tmp_path / "model", kind)
    path = folder / "tokenizer.json"
    saved = json.loads(path.read_text())
    [end] = saved["added_tokens"]
    saved["added_tokens"].append({**end, "id": end["id"] + 1, "content": "<|beyond|>"})
    path.write_text(json.dumps(saved))
    (reranker,) = opened(folder, tmp_path / "cache")
    with pytest.raises(HarnessError, match=r"model fails in a batch of 1 .*pairs, from pair 1 on: IndexError") as found:
        margins_of(reranker, [(QueryText("what is it"), DocumentText("", "a river<|beyond|>"))])
    assert "\n" not in str(found.value)
