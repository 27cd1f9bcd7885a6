"""A tiny random T5Gemma 2, and mteb's scores and ids of it as a KaLM-Reranker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from exactness import Yardstick, both
from tiny_models import byte_tokenizer

PAIRS = [
    ("how warm is water", "water is warm in the north and cold in the south " * 4),
    ("where do fish live under the old stone", "fish and bird"),
    ("  what is ice ", " ice is old water. <end_of_turn> yes"),
    ("when", "the boat of the long road and the house"),
]
WORDS = [a + b + c for a in "abcdefghij" for b in "klmnopq" for c in "rstuv"][:300]


def write_kalm(folder: Path) -> Path:
    """The model in `folder`."""
    import torch
    from transformers import T5Gemma2Config, T5Gemma2ForConditionalGeneration

    size = byte_tokenizer(folder, ("<bos>", "<start_of_turn>", "<end_of_turn>", "yes", "no"))
    torch.manual_seed(9)
    shape: dict[str, Any] = {
        "vocab_size": size, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8, "pad_token_id": 0,
        "layer_types": ["sliding_attention", "full_attention"], "max_position_embeddings": 2048,
    }  # fmt: skip
    seen = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 28,
    }
    config = T5Gemma2Config(
        encoder={"text_config": shape, "vision_config": {**seen, "patch_size": 14}, "mm_tokens_per_image": 4},
        decoder=shape, initializer_range=0.3, image_token_index=size - 1,
    )  # fmt: skip
    T5Gemma2ForConditionalGeneration(config).eval().save_pretrained(folder)
    return folder


def mteb_scores(
    folder: Path, pairs: list[tuple[str, str]], instruction: str = "", **settings: Any
) -> tuple[Yardstick, list[list[int]]]:
    """P(yes) of each pair, and its ids in the encoder and then the decoder."""
    from mteb.models.model_implementations.kalm_reranker import DEFAULT_INSTRUCTION, KaLMRerankerWrapper

    names = {"query_length": "query_max_length"}
    told = {names.get(key, key): (value or None) for key, value in settings.items()}
    wrapper = KaLMRerankerWrapper(str(folder), device="cpu", dtype="float32", **told)
    sentence = instruction or DEFAULT_INSTRUCTION
    scores = both(lambda: np.array(wrapper._predict_batch(pairs, [sentence] * len(pairs))))

    def ids(text: str, **more: Any) -> list[int]:
        found: list[int] = wrapper.tokenizer(text, add_special_tokens=False, **more)["input_ids"]
        return found

    rows = [
        ids(f"<Document>: {document}", truncation=True, max_length=wrapper.max_length)
        + ids(wrapper._decoder_text(query, sentence))
        for query, document in pairs
    ]
    return scores, rows
