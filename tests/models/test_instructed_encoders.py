"""Recipes of Qwen3-Embedding and Promptriever beside transformers: ids exactly, vectors by the yardstick."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DATA
from exactness import Yardstick, both

from harness.engine.options import Options
from harness.models.encoders import Encoder, encoder_spec
from harness.models.recipes import known_recipes
from harness.models.source import open_model

TASK = "Given a claim, find documents that refute it"
TEXTS = ["what is ice", "a river, cold and old?", "wind " * 30]


def opened(folder: Path, cache: Path, recipe: str) -> Encoder:
    source = open_model(str(folder), cache)
    options = Options(settings=(("recipe", recipe),))
    return Encoder(source, encoder_spec(source, options), options, cache)


def last_vectors(folder: Path, rows: list[list[int]]) -> Yardstick:
    """The normalised state of each row's last token, one row at a time."""
    import torch
    from transformers import AutoModel

    def vectors(model: Any) -> np.ndarray:
        with torch.no_grad():
            states = [model(input_ids=torch.tensor([row])).last_hidden_state[0, -1] for row in rows]
        return torch.nn.functional.normalize(torch.stack(states), dim=-1).numpy()

    return both(vectors, AutoModel.from_pretrained(folder).eval())


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    """A tiny Qwen3 whose tokenizer ends every text, as Qwen3-Embedding's does."""
    import torch
    from tiny_models import byte_tokenizer
    from transformers import Qwen3Config, Qwen3Model

    folder = tmp_path / "qwen"
    size = byte_tokenizer(folder)
    told = json.loads((folder / "tokenizer.json").read_text())
    told["post_processor"]["single"] = [
        {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(told))
    torch.manual_seed(2)
    Qwen3Model(
        Qwen3Config(
            vocab_size=size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=9000, initializer_range=0.2,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.mark.parametrize("task", ["", TASK])
def test_qwen3_embedding_puts_the_task_before_a_query_without_a_space(qwen: Path, tmp_path: Path, task: str):
    from transformers import PreTrainedTokenizerFast

    ours = opened(qwen, tmp_path / "cache", "qwen3-embedding")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(qwen / "tokenizer.json"))
    said = task or "Given a web search query, retrieve relevant passages that answer the query"
    queries = tokenizer([f"Instruct: {said}\nQuery:{text}" for text in TEXTS]).input_ids
    documents = tokenizer(TEXTS).input_ids
    assert ours.token_ids(TEXTS, "query", task) == queries
    assert ours.token_ids(TEXTS, "document") == documents
    assert all(row[-1] == tokenizer.convert_tokens_to_ids("[SEP]") for row in queries)
    found = np.array(list(ours.encode(TEXTS, "query", task)))
    last_vectors(qwen, queries).check(found)
    found = np.array(list(ours.encode(TEXTS, "document")))
    last_vectors(qwen, documents).check(found)


def test_promptriever_begins_and_ends_each_text_and_keeps_511_tokens_before_the_end(tmp_path: Path):
    from transformers import PreTrainedTokenizerFast

    folder = shutil.copytree(DATA / "models" / "e5-mistral", tmp_path / "model")
    told = json.loads((folder / "tokenizer.json").read_text())
    told["post_processor"]["single"] = [
        {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
    ]  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(told))
    ours = opened(folder, tmp_path / "cache", "promptriever")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    texts = [*TEXTS, "long and cold " * 400]
    for side, words in (("query", "query:  "), ("document", "passage:  ")):
        rows = [[*tokenizer(words + text, truncation=True, max_length=511).input_ids, 2] for text in texts]
        if side == "query":
            short, rows = texts[:3], rows[:3]
            assert ours.token_ids(short, "query") == rows
            found = np.array(list(ours.encode(short, "query")))
            last_vectors(folder, rows).check(found)
        else:
            assert ours.token_ids(texts, "document") == rows
            assert len(rows[-1]) == 512


def test_the_known_models_take_these_recipes():
    from harness.models.recipes import _table

    models = _table()["models"]
    assert {models[f"Qwen/Qwen3-Embedding-{size}"] for size in ("0.6B", "4B", "8B")} == {"qwen3-embedding"}
    assert models["samaya-ai/promptriever-llama2-7b-v1"] == "promptriever"
    assert known_recipes()["qwen3-embedding"].wants_task_prompt
