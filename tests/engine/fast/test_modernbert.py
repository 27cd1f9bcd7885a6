"""The fast path of ModernBERT is as near the exact scores as transformers is, on short texts and past the window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from exactness import both

from harness.engine.fast import note_of, pack
from harness.engine.fast.modernbert import PackedModernBert
from harness.models.runners import pad, pool

WINDOW = 8
VOCABULARY = 90
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 5, "num_attention_heads": 4, "intermediate_size": 48,
    "vocab_size": VOCABULARY, "max_position_embeddings": 512, "local_attention": 2 * WINDOW, "pad_token_id": 0,
    "cls_token_id": 1, "bos_token_id": 1, "sep_token_id": 2, "eos_token_id": 2, "initializer_range": 0.2,
}  # fmt: skip


def build(kind: str = "ModernBertForSequenceClassification", **changes: Any) -> Any:
    torch.manual_seed(7)
    config = transformers.ModernBertConfig(**{**SIZES, "num_labels": 2, **changes})
    return getattr(transformers, kind)(config).eval()


def rows() -> list[list[int]]:
    """Texts of some equal lengths: shorter than the window, around it, around a block of queries, several blocks."""
    numbers = np.random.default_rng(0)
    lengths = (1, 200, 2, WINDOW, WINDOW + 1, WINDOW + 2, 17, 64, 65, 130, 9, 9, 128, 33)
    return [numbers.integers(3, VOCABULARY, length).tolist() for length in lengths]


def padded(model: Any, ids: list[list[int]], pooling: str = "") -> np.ndarray:
    batch, mask = pad(ids, 0)
    with torch.inference_mode():
        found = model(input_ids=batch, attention_mask=mask)
    return (pool(found.last_hidden_state, mask, pooling) if pooling else found.logits).numpy()


CHANGES = [
    {},
    {"num_labels": 1, "classifier_pooling": "mean"},
    {"num_hidden_layers": 2},  # the last layer has a window
    {"norm_bias": True, "mlp_bias": True, "attention_bias": True, "classifier_bias": True},
    {"hidden_activation": "relu", "classifier_activation": "silu"},
    {"layer_types": ["sliding_attention"] * 5},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_logits_are_as_near_the_exact_ones_as_those_of_transformers(changes):
    model, ids = build(**changes), rows()
    both(lambda model: padded(model, ids), model).check(pack(model).logits(ids))


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "lasttoken"])
@pytest.mark.parametrize("layers", [2, 4], ids=["a window last", "the whole text last"])
def test_vectors_are_as_near_the_exact_ones_as_those_of_transformers(pooling, layers):
    model, ids = build("ModernBertModel", num_hidden_layers=layers), rows()
    both(lambda model: padded(model, ids, pooling), model).check(pack(model).pooled(ids, pooling))


def test_a_layer_with_a_window_sees_no_further():
    ids = rows()[1]
    other = [*ids[: WINDOW + 1], *reversed(ids[WINDOW + 1 :])]
    seeing = {
        kind: pack(build(num_hidden_layers=1, layer_types=[kind])) for kind in ("sliding_attention", "full_attention")
    }
    near, far = (np.ptp(seeing[kind].logits([ids, other]), axis=0).max() for kind in seeing)
    assert near == 0
    assert far > 1e-3


def test_a_text_scores_the_same_whatever_its_company():
    model, ids = build(), rows()
    yard, packed = both(lambda model: np.concatenate([padded(model, [row]) for row in ids]), model), pack(model)
    together = packed.logits(ids)
    np.testing.assert_array_equal(together, packed.logits(ids))
    yard.check(together)
    yard.check(np.concatenate([packed.logits([row]) for row in ids]))


def test_half_precision_scores_with_a_head_in_float32():
    model = build(num_labels=1).to(torch.bfloat16)
    numbers = np.random.default_rng(1)
    ids = [[1, *numbers.integers(3, VOCABULARY, 20).tolist(), 2] for _ in range(200)]
    found = pack(model).logits(ids)
    assert len(np.unique(found)) > 190  # a head in bfloat16 leaves about 60 values


def test_what_is_not_quite_modernbert_takes_the_plain_path():
    assert isinstance(pack(build()), PackedModernBert)
    assert pack(build("ModernBertForTokenClassification")) is None
    assert note_of({"model_type": "modernbert"}, None) is None
    stretched = {
        kind: {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
        for kind in ("full_attention", "sliding_attention")
    }
    assert pack(build(rope_parameters=stretched)) is None
