"""Tiny random T5 rerankers, pairs for them, and what mteb's wrappers make of both."""

from __future__ import annotations

import json
import struct
from pathlib import Path

# fmt: off
WORDS = [
    "query", "document", "relevant", "is", "the", "following", "passage", "to", "dough", "rest", "hour", "bread", "oven", "in", "a", "it", "train", "last", "north",
    "city", "leave", "under", "damp", "cloth", "until", "has", "doubled", "of", "and", "for", "answer", "name", "only", "one", "minute", "time",
]
# fmt: on
LABELS = ["▁true", "▁false", "▁yes", "▁no", "▁não", "▁sim", "▁Não", "▁Sim"]
PIECES = [
    *(("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -6.0)),
    *((label, -4.0) for label in LABELS),
    *((f"▁{word}", -3.0 - place / 100) for place, word in enumerate([*WORDS, *map(str.capitalize, WORDS)])),
    *((sign, -8.0) for sign in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:?"),
]
SPREAD = {"shared": 2.0, "lm_head": 2.0, "o": 1.0, "v": 1.0}
"""How far random weights reach; wide enough that scores of different texts differ."""
PAIRS = [
    ["how long should dough rest", "Leave the dough under a damp cloth until it has doubled, one hour in the oven."],
    ["how long should dough rest", "The last train of the city."],
    ["last train north", "It is the last train: 23.48, north of the city."],
    ["bread", "xyz"],
    ["query document", "Relevant: the answer is yes. " * 30],
]


def tokenizer_json() -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    backend = Tokenizer(models.Unigram(PIECES, unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    backend.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return backend.to_str()


def field(number: int, kind: int, payload: bytes) -> bytes:
    """One field of a protobuf message."""
    size = bytes([len(payload)]) if kind == 2 else b""
    return bytes([number << 3 | kind]) + size + payload


def spiece_model() -> bytes:
    """The same vocabulary as a sentencepiece model file."""
    data = b""
    for piece, weight in PIECES:
        kind = {"<unk>": 2, "<pad>": 3, "</s>": 3}.get(piece, 1)
        entry = field(1, 2, piece.encode()) + field(2, 5, struct.pack("<f", weight)) + field(3, 0, bytes([kind]))
        data += field(1, 2, entry)
    return data + field(2, 2, field(3, 0, b"\x01")) + field(3, 2, field(1, 2, b"identity"))


def write_t5(folder: Path, *, tied: bool = True, kind: str = "t5", limit: int = 64, spiece: bool = False) -> Path:
    """A random T5 (head shared with the embeddings, outputs scaled) or, untied, one like FLAN-T5 and mT5."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForSeq2SeqLM, MT5Config, T5Config

    torch.manual_seed(7)
    said = {
        "vocab_size": len(PIECES),
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "feed_forward_proj": "relu" if tied else "gated-gelu",
        "tie_word_embeddings": tied,
    }
    config = (T5Config if kind == "t5" else MT5Config)(**said)
    weights = {
        name: torch.randn(value.shape) * SPREAD.get(name.split(".")[-2], 0.3)
        for name, value in AutoModelForSeq2SeqLM.from_config(config).state_dict().items()
        if "embed_tokens" not in name and not (tied and name == "lm_head.weight")
    }
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    said |= {
        "architectures": [f"{kind.upper()}ForConditionalGeneration"],
        "model_type": kind,
        "is_encoder_decoder": True,
    }
    (folder / "config.json").write_text(json.dumps(said))
    settings = {"tokenizer_class": "T5Tokenizer", "model_max_length": limit, "extra_ids": 0}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if spiece:
        (folder / "spiece.model").write_bytes(spiece_model())
    else:
        (folder / "tokenizer.json").write_text(tokenizer_json())
    return folder


def mteb_scores(wrapper: str, folder: Path, pairs: list, **labels: str) -> list[float]:
    """P(relevant) of each pair by mteb's own wrapper, alone in its batch."""
    from datasets import Dataset
    from mteb.models.model_implementations import rerankers_monot5_based as wrappers
    from torch.utils.data import DataLoader

    model = getattr(wrappers, wrapper)(str(folder), **labels)
    found = []
    for query, text in pairs:
        sides = [DataLoader(Dataset.from_dict({name: [value]})) for name, value in (("query", query), ("text", text))]
        found += model.predict(*sides, task_metadata=None, hf_split="test", hf_subset="default")
    return found
