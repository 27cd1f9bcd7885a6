"""A tiny Llama whose vocabulary has `true` and `false`, and the scores of mteb's wrappers of FollowIR's siblings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tiny_models import byte_tokenizer, write_json

WRAPPERS = {
    "followir": "FollowIRReranker",
    "followir-llama2": "LlamaReranker",
    "followir-llama2-chat": "LlamaReranker",
    "followir-mistral-instruct": "MistralReranker",
}
"""template → mteb's class, which reads in the folder's name whether the model chats."""
PAIRS = [
    ("how warm is water", "water is warm in the north and cold in the south"),
    ("where do fish live", "fish and bird under the tree \n\n near the river"),
    ("when", "the boat " * 900),
]


def write_llama(folder: Path) -> Path:
    """The model in `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = byte_tokenizer(folder, ("<s>", "true", "false"), model_max_length=256)
    stated = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    write_json(folder / "tokenizer_config.json", {**stated, "eos_token": "[SEP]"})
    torch.manual_seed(14)
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.3, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    LlamaForCausalLM(config).eval().save_pretrained(folder)
    return folder


def mteb_scores(template: str, folder: Path, pairs: list[tuple[str, str]]) -> tuple[np.ndarray, list[list[int]]]:
    """P(true) of each pair, alone in its batch, and its ids."""
    from datasets import Dataset
    from mteb.models.model_implementations import rerankers_monot5_based as wrappers
    from torch.utils.data import DataLoader

    model: Any = getattr(wrappers, WRAPPERS[template])(str(folder), device="cpu")
    found, ids = [], []
    for query, text in pairs:
        sides = [DataLoader(Dataset.from_dict({name: [value]})) for name, value in (("query", query), ("text", text))]
        found += model.predict(*sides, task_metadata=None, hf_split="test", hf_subset="default")
        prompt = model.template.format(query=query, text=text)
        ids.append(model.tokenizer(prompt, truncation=True, max_length=model.max_length).input_ids)
    return np.array(found), ids
