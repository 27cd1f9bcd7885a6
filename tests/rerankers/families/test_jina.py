"""jina-reranker-v3 on a tiny random Qwen3, beside transformers' own class and the authors' formulas written out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from golden_cases import model_folder, opened
from saved_rerankers import edited

from harness.errors import HarnessError
from harness.types import DocumentText, QueryText

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


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny-jina")


def open_jina(folder: Path, cache: Path, **settings):
    (reranker,) = opened(folder, cache, **settings)
    return reranker


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


def vectors(folder: Path, text: str):
    """Ids, documents' vectors and the query's, by transformers' Qwen3 with a left-padded row as the authors run it."""
    import torch
    from safetensors.torch import load_file
    from torch import nn
    from transformers import PreTrainedTokenizerFast, Qwen3Model

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    body = Qwen3Model.from_pretrained(folder).eval()
    weights = load_file(folder / "model.safetensors")
    projector = nn.Sequential(nn.Linear(WIDTH, 16, bias=False), nn.ReLU(), nn.Linear(16, 512, bias=False))
    projector.load_state_dict({name[10:]: weight for name, weight in weights.items() if name.startswith("projector")})
    ids = tokenizer(text).input_ids
    row = torch.tensor([ids])
    with torch.no_grad():
        states = body(input_ids=row).last_hidden_state[0]
        marks = [tokenizer.convert_tokens_to_ids(mark) for mark in ("<|embed_token|>", "<|rerank_token|>")]
        found = [projector(states[row[0] == mark]) for mark in marks]
    return ids, found[0], found[1]


def joined(found: list[DocumentText]) -> list[str]:
    return [f"{each.title} {each.text}".strip() for each in found]


@pytest.mark.parametrize("instruction", ["", "prefer echo"])
def test_one_prompt_gives_the_cosines_of_the_authors_formula(tiny: Path, tmp_path: Path, instruction: str):
    import torch

    model, found = open_jina(tiny, tmp_path).load(), documents(11)
    text = prompt("which birch", joined(found), instruction)
    ids, rows, query = vectors(tiny, text)
    assert model.ids(text) == ids
    expected = torch.nn.functional.cosine_similarity(rows, query.expand_as(rows), dim=-1).numpy()
    scores = model.score_list(QueryText("which birch", instruction), found)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.ptp(scores) > 1e-3
    assert model.tallies == {"prompts": 1, "queries_shortened": 0, "passages_shortened": 0}


def test_several_prompts_share_a_weighted_vector_of_the_query(tiny: Path, tmp_path: Path):
    found = documents(10)
    scores = open_jina(tiny, tmp_path, documents=4).load().score_list(QueryText("echo fjord"), found)
    rows, queries, weights = [], [], []
    for start in (0, 4, 8):
        _, block, query = vectors(tiny, prompt("echo fjord", joined(found[start : start + 4])))
        rows.append(block.numpy())
        queries.append(query.numpy()[0])
        cosines = (block @ query.T)[:, 0].numpy() / (np.linalg.norm(block, axis=1) * np.linalg.norm(query))
        weights.append(max((1 + cosines) / 2))
    every = np.concatenate(rows)
    mean = sum(weight * query for weight, query in zip(weights, queries, strict=True)) / sum(weights)
    expected = every @ mean / (np.linalg.norm(every, axis=1) * np.linalg.norm(mean))
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_a_prompt_is_closed_where_the_next_document_might_not_fit(tiny: Path, tmp_path: Path):
    model = open_jina(tiny, tmp_path, document_length=1000).load()
    assert model.limit == 4096
    # Room after a query of 20 tokens: 4,056, which documents use up to 1,000.
    assert model.blocks(20, [900] * 7) == [(0, 4), (4, 7)]
    assert model.blocks(20, [3056, 10, 1000, 999]) == [(0, 1), (1, 4)]
    assert model.blocks(20, []) == []


def test_long_texts_are_cut_to_their_first_tokens_and_counted(tiny: Path, tmp_path: Path):
    model = open_jina(tiny, tmp_path, document_length=5, query_length=3).load()
    backend = model.tokenizer.backend
    long = "amber birch cedar delta echo fjord"
    scores = model.score_list(QueryText(long), [DocumentText("", long), DocumentText("", "echo")])
    assert model.tallies == {"prompts": 1, "queries_shortened": 1, "passages_shortened": 1}
    ids = backend.encode(long).ids
    _, rows, query = vectors(tiny, prompt(backend.decode(ids[:3]), [backend.decode(ids[:5]), "echo"]))
    expected = (rows @ query.T)[:, 0].numpy() / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_marks_in_texts_are_left_out_so_that_each_document_has_one_vector(tiny: Path, tmp_path: Path):
    model = open_jina(tiny, tmp_path).load()
    bad = [DocumentText("", "amber<|embed_token|><|rerank_token|> birch"), DocumentText("", "cedar")]
    clean = [DocumentText("", "amber birch"), DocumentText("", "cedar")]
    query = QueryText("echo<|rerank_token|>", "fjord<|embed_token|>")
    scores = model.score_list(query, bad)
    np.testing.assert_array_equal(scores, model.score_list(QueryText("echo", "fjord"), clean))


def test_a_document_is_scored_beside_the_others(tiny: Path, tmp_path: Path):
    reranker = open_jina(tiny, tmp_path)
    assert reranker.spec.context == "list"
    model, found = reranker.load(), documents(5)
    alone = model.score_list(QueryText("echo"), found[:1])
    assert abs(alone[0] - model.score_list(QueryText("echo"), found)[0]) > 1e-5


def test_sliding_layers_are_read_from_config(tiny: Path, tmp_path: Path):
    import shutil

    folder = shutil.copytree(tiny, tmp_path / "sliding")
    edited(folder, "config.json", layer_types=["sliding_attention", "full_attention"], use_sliding_window=True,
           sliding_window=8, max_window_layers=0)  # fmt: skip
    found = documents(6)
    _, rows, query = vectors(folder, prompt("echo", joined(found)))
    expected = (rows @ query.T)[:, 0].numpy() / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))
    scores = open_jina(folder, tmp_path / "cache").load().score_list(QueryText("echo"), found)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    whole = open_jina(tiny, tmp_path / "cache").load().score_list(QueryText("echo"), found)
    assert np.abs(scores - whole).max() > 1e-4


def test_what_a_qwen3_does_not_have_is_refused(tiny: Path, tmp_path: Path):
    import shutil

    folder = shutil.copytree(tiny, tmp_path / "other")
    edited(folder, "config.json", hybrid_pattern="3L2G")
    with pytest.raises(HarnessError, match=r"config\.json says hybrid_pattern"):
        open_jina(folder, tmp_path / "cache").load().score_list(QueryText("echo"), documents(2))
    with pytest.raises(HarnessError, match="is no jina-reranker-v3"):
        opened(model_folder("cross-encoder"), tmp_path, "jina-list")
