"""A tiny random Qwen3 with a chat template, and E2Rank's scores of it by transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from exactness import Yardstick, both

from harness.types import DocumentText

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


WORDS = ["river", "water", "ice", "wind", "stone", "tree", "leaf"]


def write_e2rank(folder: Path) -> Path:
    import torch
    from tiny_models import byte_tokenizer
    from transformers import Qwen3Config, Qwen3ForCausalLM

    size = byte_tokenizer(folder, added=("<|endoftext|>", "<|im_start|>", "<|im_end|>"), model_max_length=4096)
    told = json.loads((folder / "tokenizer.json").read_text())
    told["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(told))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    torch.manual_seed(8)
    Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=4096, initializer_range=0.3,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


def documents(count: int) -> list[DocumentText]:
    return [DocumentText("", f"{WORDS[place % 7]}  {WORDS[place * 3 % 5]}\n{place}") for place in range(count)]


def expected(folder: Path, query: str, texts: list[str], shown: int) -> Yardstick:
    """The cosines of the documents with the prompt."""
    import torch
    from transformers import AutoModel, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    listed = "\n".join(f"[{number}] {text}" for number, text in enumerate(texts[:shown], 1))
    prompt = (
        "<|im_start|>user\nGiven a web search query and some relevant documents, rerank the documents that answer the "
        f"query:\nDocuments:\n{listed}\nSearch Query: {query}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    rows = [torch.tensor([tokenizer(text).input_ids]) for text in (prompt, *(f"{text}<|endoftext|>" for text in texts))]

    def cosines(model: Any) -> np.ndarray:
        with torch.no_grad():
            vectors = [model(input_ids=row).last_hidden_state[0, -1] for row in rows]
        asked, *others = torch.nn.functional.normalize(torch.stack(vectors), dim=-1)
        return np.array([float(asked @ other) for other in others])

    return both(cosines, AutoModel.from_pretrained(folder).eval())
