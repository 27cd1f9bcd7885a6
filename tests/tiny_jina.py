"""A tiny random Qwen3 in the layout of jina-reranker-v3, and the authors' formulas written out over transformers' own class."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.types import DocumentText

WIDTH = 32


WORDS = ["amber", "birch", "cedar", "delta", "echo", "fjord", "grove", "heath"]


MARKS = ["<|im_start|>", "<|im_end|>", "<|embed_token|>", "<|rerank_token|>"]


def write_model(folder: Path, limit: int = 4096) -> Path:
    import torch
    from safetensors.torch import save_file
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen3Config, Qwen3Model

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet)
    backend.train_from_iterator([" ".join(WORDS)] * 3, trainer)
    backend.add_special_tokens([AddedToken(mark) for mark in MARKS[:2]])
    backend.add_tokens([AddedToken(mark, normalized=False) for mark in MARKS[2:]])
    folder.mkdir(parents=True)
    backend.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "Qwen2Tokenizer", "model_max_length": limit, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    torch.manual_seed(4)
    config = Qwen3Config(
        vocab_size=backend.get_vocab_size(), hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=limit, initializer_range=0.3,
    )  # fmt: skip
    weights = {f"model.{name}": weight for name, weight in Qwen3Model(config).state_dict().items()}
    weights["projector.0.weight"] = torch.randn(WIDTH // 2, WIDTH) * 0.3
    weights["projector.2.weight"] = torch.randn(512, WIDTH // 2) * 0.3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    own = {"architectures": ["JinaForRanking"], "auto_map": {"AutoModel": "modeling.JinaForRanking"}}
    (folder / "config.json").write_text(json.dumps(config.to_dict() | own))
    (folder / "modeling.py").write_text("raise RuntimeError('code of the model is never run')\n")
    return folder


def documents(count: int) -> list[DocumentText]:
    return [
        DocumentText("heath" if place % 3 == 0 else "", f"{WORDS[place % 8]} {WORDS[place * 3 % 7]} {place}")
        for place in range(count)
    ]


def prompt(query: str, texts: list[str], instruction: str = "") -> str:
    """What the published class makes of a query and documents, mark by mark."""
    lines = [
        "<|im_start|>system",
        (
            "You are a search relevance expert who can determine a ranking of the passages based on how relevant they are "
            "to the query. If the query is a question, how relevant a passage is depends on how well it answers the "
            "question. If not, try to analyze the intent of the query and assess how well each passage satisfies the "
            "intent. If an instruction is provided, you should follow the instruction when determining the ranking."
            "<|im_end|>"
        ),
        "<|im_start|>user",
        (
            f"I will provide you with {len(texts)} passages, each indicated by a numerical identifier. Rank the passages "
            f"based on their relevance to query: {query}"
        ),
    ]
    if instruction:
        lines += ["<instruct>", instruction, "</instruct>"]
    for number, text in enumerate(texts):
        lines += [f'<passage id="{number}">', f"{text}<|embed_token|>", "</passage>"]
    lines += ["<query>", f"{query}<|rerank_token|>", "</query><|im_end|>", "<|im_start|>assistant"]
    return "\n".join([*lines, "<think>", "", "</think>", "", ""])


@cache
def networks(folder: Path) -> tuple[Any, Any, Any]:
    """The tokenizer, transformers' Qwen3 and the projector."""
    from safetensors.torch import load_file
    from torch import nn
    from transformers import PreTrainedTokenizerFast, Qwen3Model

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    body = Qwen3Model.from_pretrained(folder).eval()
    weights = load_file(folder / "model.safetensors")
    projector = nn.Sequential(nn.Linear(WIDTH, 16, bias=False), nn.ReLU(), nn.Linear(16, 512, bias=False))
    projector.load_state_dict({name[10:]: weight for name, weight in weights.items() if name.startswith("projector")})
    return tokenizer, body, projector


def vectors(folder: Path, text: str):
    """Ids, documents' vectors and the query's, by transformers' Qwen3 with a left-padded row as the authors run it."""
    import torch

    tokenizer, body, projector = networks(folder)
    ids = tokenizer(text).input_ids
    row = torch.tensor([ids])
    with torch.no_grad():
        states = body(input_ids=row).last_hidden_state[0]
        marks = [tokenizer.convert_tokens_to_ids(mark) for mark in ("<|embed_token|>", "<|rerank_token|>")]
        found = [projector(states[row[0] == mark]) for mark in marks]
    return ids, found[0], found[1]


def cosines(folder: Path, text: str) -> np.ndarray:
    """The cosines of the documents' vectors with the query's."""
    _, rows, query = vectors(folder, text)
    return (rows @ query.T)[:, 0].numpy() / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))


def joined(found: list[DocumentText]) -> list[str]:
    return [f"{each.title} {each.text}".strip() for each in found]
