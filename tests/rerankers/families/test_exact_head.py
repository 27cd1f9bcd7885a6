"""Half precision rounds a transformer's states, and nothing that is computed from them: rounded logits tie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import saved_rerankers as saved
import tiny_rankllama
from exactness import check_unit
from golden_cases import model_folder, opened, score
from saved_rerankers import chat_tokenizer
from tiny_models import bert, colbert, sentence_transformer, wordpiece_tokenizer
from tiny_t5 import write_t5

from harness.engine.options import Options
from harness.models.encoders import Encoder, encoder_spec
from harness.models.source import open_model

WORDS = [a + b + c for a in "abcdefghij" for b in "klmnopq" for c in "rstuv"][:300]
PAIRS = [("how warm is water", f"the water is {word} in the north") for word in WORDS]
"""One query, 300 documents that differ in one word."""
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_labels": 1}


def config(kind: str) -> Any:
    import transformers

    more: dict[str, Any] = {
        "Bert": {},
        "DistilBert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4},
        "Electra": {"embedding_size": 32},
        "ModernBert": {"pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
        "Qwen3": {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0},
        "StableLm": {"num_key_value_heads": 4, "pad_token_id": 0},
    }[kind]
    shape = SHAPE if "dim" not in more else {"num_labels": 1}
    return getattr(transformers, f"{kind}Config")(vocab_size=450, initializer_range=0.3, **shape, **more)


def classifier(folder: Path, kind: str) -> Any:
    """A tiny classifier whose logits lie near 8, where bfloat16 has steps of 1/16; returns the model."""
    import torch
    import transformers

    chat_tokenizer(folder, None) if kind in ("Qwen3", "StableLm") else wordpiece_tokenizer(folder)
    torch.manual_seed(7)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config(kind)).eval()
    head = getattr(model, "score", None) or model.classifier
    last = getattr(head, "out_proj", head)
    with torch.no_grad():
        last.weight.mul_(0.02)
        if last.bias is None:
            last.bias = torch.nn.Parameter(torch.zeros(1))
        last.bias.fill_(8.0)
    if getattr(model, "score", None) is not None:
        last.bias = None
        last.weight.data.mul_(50)
    model.save_pretrained(folder)
    return model


def exact_logits(folder: Path, rows: list[list[int]]) -> np.ndarray:
    """A float32 head on bfloat16 states: the class's own code over the states of its rounded twin."""
    import torch
    from transformers import AutoModelForSequenceClassification

    half, whole = (
        AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype).eval()
        for dtype in (torch.bfloat16, torch.float32)
    )
    body, twin = (getattr(model, model.base_model_prefix) for model in (half, whole))
    pooler = getattr(twin, "pooler", None)

    def states(input_ids: Any = None, **_: Any) -> Any:
        from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions as Output

        found = body(input_ids=input_ids).last_hidden_state.float()
        return Output(found, None if pooler is None else pooler(found))

    if hasattr(whole, "score"):
        with torch.inference_mode():
            return np.array([float(whole.score(states(torch.tensor([row]))[0][:, -1])) for row in rows], np.float32)
    twin.forward = states
    with torch.inference_mode():
        return np.array([float(whole(input_ids=torch.tensor([row])).logits) for row in rows], np.float32)


@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "Electra", "ModernBert", "Qwen3", "StableLm"])
def test_as_many_scores_are_distinct_as_a_float32_head_gives(tmp_path: Path, kind: str):
    classifier(tmp_path / "model", kind)
    (reranker,) = opened(tmp_path / "model", tmp_path / "cache", dtype="bfloat16", normalize=False)
    found = score(reranker, PAIRS)
    expected = exact_logits(tmp_path / "model", found.ids)
    distinct = len(np.unique(expected))
    assert distinct > 250
    # Batching rounds states anew, so two of them may meet, or part, by chance.
    assert abs(len(np.unique(found.margins)) - distinct) <= 10
    assert np.corrcoef(found.margins, expected)[0, 1] > 0.95


def test_tart_keeps_scores_apart_too(tmp_path: Path):
    (half,) = opened(model_folder("tart"), tmp_path, dtype="bfloat16")
    (whole,) = opened(model_folder("tart"), tmp_path)
    assert len(np.unique(score(half, PAIRS).margins)) > 280
    assert np.corrcoef(score(half, PAIRS).margins, score(whole, PAIRS).margins)[0, 1] > 0.95


@pytest.mark.parametrize("dense", [None, 16], ids=["ours", "run by the library"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vectors_are_pooled_and_normalised_in_float32(tmp_path: Path, pooling: str, dense: int | None):
    sentence_transformer(tmp_path, pooling, dense=dense)
    source = open_model(str(tmp_path / "model"), tmp_path / "cache")
    options = Options(dtype="bfloat16")
    spec = encoder_spec(source, options)
    vectors = Encoder(source, spec, options, tmp_path / "cache").encode([text for _, text in PAIRS[:40]], "document")
    found = np.asarray(vectors[np.arange(40)])
    check_unit(found)
    rounded = (found.view(np.uint32) & 0xFFFF) == 0
    assert rounded.mean() < 0.05


@pytest.mark.parametrize("system", ["cross-encoder", "bge-reranker", "tart"])
def test_the_head_is_a_part_of_the_key_where_it_moves_scores(tmp_path: Path, system: str):
    for dtype, told in (("float32", False), ("bfloat16", True)):
        (reranker,) = opened(model_folder(system), tmp_path, dtype=dtype)
        assert ("head" in dict(reranker.spec.settings)) is told


def late(folder: Path) -> Path:
    colbert(folder)
    return folder


def chained(folder: Path) -> Path:
    bert(folder / "plain")
    return saved.save(folder / "plain", folder / "model", "feature-extraction", saved.chains()["ettin"]())


def vectors(folder: Path) -> Path:
    sentence_transformer(folder, "mean")
    return folder / "model"


MADE: dict[str, tuple[Callable[[Path], Path], dict[str, str]]] = {
    "late interaction": (late, {}),
    "a chain of modules": (chained, {}),
    "LogitScore": (lambda folder: saved.logit_scored(folder, saved.QWEN), {}),
    "a classifier with a chat template": (
        lambda folder: saved.decoder(folder, saved.QWEN, kind="ForSequenceClassification"),
        {},
    ),
    "bi-encoder": (vectors, {}),
    "monoT5": (write_t5, {"template": "monot5"}),
    "RankLLaMA": (tiny_rankllama.write_model, {"template": "rankllama"}),
}


@pytest.mark.parametrize("name", MADE)
def test_a_family_keeps_documents_of_one_query_apart_in_half_precision(tmp_path: Path, name: str):
    make, settings = MADE[name]
    (reranker,) = opened(make(tmp_path / "made"), tmp_path / "cache", dtype="bfloat16", **settings)
    assert len(np.unique(score(reranker, PAIRS).margins)) > 290


@pytest.mark.parametrize(
    ("system", "family", "distinct"),
    [
        ("bge-reranker", "bge", 290), ("bge-reranker-layerwise", None, 290), ("bge-reranker-lightweight", None, 290),
        ("followir", "followir", 290), ("mxbai-rerank-v2", "mxbai-rerank-v2", 290), ("selfrag", "selfrag", 290),
        # Its states themselves are but 270 in bfloat16.
        ("bge-reranker-gemma", "bge-reranker-gemma", 260),
    ],
)  # fmt: skip
def test_a_known_model_keeps_documents_of_one_query_apart_in_half_precision(
    tmp_path: Path, system: str, family: str | None, distinct: int
):
    reranker = opened(model_folder(system), tmp_path, family, dtype="bfloat16")[-1]
    assert len(np.unique(score(reranker, PAIRS).margins)) > distinct
