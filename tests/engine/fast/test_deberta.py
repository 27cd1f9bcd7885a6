"""The fast path of DeBERTa v2 and v3 is as near the exact scores as transformers is, in every setting of its attention."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from exactness import both
from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position

from harness.engine.fast import note_of, pack
from harness.engine.fast.deberta import Distances, PackedDeberta
from harness.models.runners import pad, pool

VOCABULARY = 90
SIZES = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64, "num_labels": 2,
    "vocab_size": VOCABULARY, "max_position_embeddings": 80, "initializer_range": 0.2,
}  # fmt: skip
V3 = {
    "relative_attention": True, "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0,
}  # fmt: skip


def build(kind: str = "DebertaV2ForSequenceClassification", **changes: Any) -> Any:
    torch.manual_seed(7)
    config = transformers.DebertaV2Config(**{**SIZES, **V3, **changes})
    return getattr(transformers, kind)(config).eval()


def rows() -> list[list[int]]:
    """Texts of some equal lengths: one token, shorter and longer than a block of queries, than the farthest distance."""
    numbers = np.random.default_rng(0)
    lengths = (1, 130, 2, 64, 96, 97, 9, 9, 9, 129)
    return [numbers.integers(5, VOCABULARY, length).tolist() for length in lengths]


def padded(model: Any, ids: list[list[int]], pooling: str = "", types: list[list[int]] | None = None) -> np.ndarray:
    batch, mask = pad(ids, 0)
    more = {} if types is None else {"token_type_ids": pad(types, 0)[0]}
    with torch.inference_mode():
        found = model(input_ids=batch, attention_mask=mask, **more)
    return (pool(found.last_hidden_state.float(), mask, pooling) if pooling else found.logits.float()).numpy()


CHANGES = [
    {},
    {"position_buckets": -1, "max_relative_positions": 64},
    {"share_att_key": False},
    {"pos_att_type": ["c2p"], "norm_rel_ebd": "none"},
    {"pos_att_type": "p2c", "share_att_key": False},
    {"pos_att_type": None},
    {"relative_attention": False, "position_biased_input": True, "max_position_embeddings": 300},
    {"conv_kernel_size": 3, "conv_act": "gelu"},
    {"conv_kernel_size": 3, "num_hidden_layers": 1},
    {"embedding_size": 16, "pooler_hidden_act": "tanh", "hidden_act": "relu", "num_labels": 1},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_logits_are_as_near_the_exact_ones_as_those_of_transformers(changes):
    model, ids = build(**changes), rows()
    found = pack(model).logits(ids)
    assert np.ptp(found, 0).max() > 0.5
    both(lambda model: padded(model, ids), model, draws=2).check(found)


def test_token_types_and_absolute_positions_are_added():
    model, ids = build(type_vocab_size=2, position_biased_input=True), [row for row in rows() if len(row) <= 80]
    types = [[int(place > len(row) // 2) for place in range(len(row))] for row in ids]
    found = pack(model).logits(ids, types)
    assert np.abs(found - pack(model).logits(ids)).max() > 1e-2
    both(lambda model: padded(model, ids, types=types), model).check(found)


@pytest.mark.parametrize("changes", [{}, {"conv_kernel_size": 3}], ids=str)
@pytest.mark.parametrize("pooling", ["cls", "mean", "lasttoken"])
def test_vectors_are_as_near_the_exact_ones_as_those_of_transformers(pooling, changes):
    model, ids = build("DebertaV2Model", **changes), rows()
    both(lambda model: padded(model, ids, pooling), model, draws=0).check(pack(model).pooled(ids, pooling))


@pytest.mark.parametrize(("buckets", "longest"), [(256, 512), (16, 80), (32, 64), (-1, 512), (320, 1024), (256, -1)])
def test_a_distance_has_the_embedding_that_transformers_gives_it(buckets, longest):
    length = 1100
    span = buckets if buckets > 0 else longest
    places = torch.empty(length, 1)
    theirs = build_relative_position(places, places, buckets, longest)[0]
    ours = Distances(span, buckets, longest).rows(length)
    distances = torch.arange(length)[:, None] - torch.arange(length)
    assert torch.equal(ours[distances + length - 1], (theirs + span).clamp(0, 2 * span - 1))


def test_a_text_scores_the_same_whatever_its_company():
    packed, ids = pack(build()), rows()
    together = packed.logits(ids)
    np.testing.assert_array_equal(together, packed.logits(ids))
    yard = both(lambda model: padded(model, ids), build(), draws=2)
    yard.check(np.concatenate([packed.logits([row]) for row in ids]))


def test_bfloat16_stays_as_near_to_float32_as_transformers_does():
    model, ids = build(), rows() * 3
    exact = padded(model, ids)
    model = model.to(torch.bfloat16)
    plain, found = padded(model, ids), pack(model).logits(ids)
    assert found.dtype == np.float32
    assert np.abs(found - exact).mean() < 1.5 * np.abs(plain - exact).mean() + 1e-4


def test_a_head_of_half_precision_is_computed_in_float32():
    numbers = np.random.default_rng(1)
    ids = [numbers.integers(5, VOCABULARY, 20).tolist() for _ in range(200)]
    found = pack(build(num_labels=1).to(torch.bfloat16)).logits(ids)
    assert len(np.unique(found)) > 190  # a head in bfloat16 leaves about 60 values


def test_what_is_not_quite_deberta_takes_the_plain_path():
    assert isinstance(pack(build()), PackedDeberta)
    assert pack(build("DebertaV2ForTokenClassification")) is None
    assert note_of({"model_type": "deberta-v2"}, None) is None
    first = transformers.DebertaConfig(**SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"])
    assert pack(transformers.DebertaForSequenceClassification(first)) is None
    assert "no fast path for deberta:" in note_of({"model_type": "deberta"}, None)
    again = build()
    again.deberta.z_steps = 2
    assert pack(again) is None
