"""The fast path of T5, mT5 and umT5 encoders, and of a decoder's first step, is as near the exact numbers as transformers is."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from exactness import both

from harness.engine.fast import knows_t5, note_of, pack, pack_answer
from harness.engine.fast.t5 import Offsets, PackedT5, PackedT5Answer
from harness.models.runners import pad, pool

VOCABULARY = 90
START = 3
SIZES = {
    "vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4,
    "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1,
}  # fmt: skip


def build(kind: str, **changes: Any) -> Any:
    """A model with random weights, offsets large enough that a wrong distance would show."""
    torch.manual_seed(7)
    config = getattr(transformers, kind[: kind.index("T5") + 2] + "Config")(**{**SIZES, **changes})
    model = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.copy_(torch.randn(weight.shape) * (1.5 if "relative" in name else 0.3))
    return model


def rows() -> list[list[int]]:
    """Texts of some equal lengths: one token, and farther than the farthest bucket."""
    numbers = np.random.default_rng(0)
    return [numbers.integers(5, VOCABULARY, length).tolist() for length in (1, 150, 2, 64, 9, 9, 33, 9, 64)]


def padded(model: Any, ids: list[list[int]], pooling: str) -> np.ndarray:
    batch, mask = pad(ids, 0)
    with torch.inference_mode():
        return pool(model(input_ids=batch, attention_mask=mask).last_hidden_state.float(), mask, pooling).numpy()


def answered(model: Any, ids: list[list[int]]) -> np.ndarray:
    """The decoder's states behind the start of an answer, as transformers computes them."""
    batch, mask = pad(ids, 0)
    with torch.inference_mode():
        texts = model.encoder(input_ids=batch, attention_mask=mask).last_hidden_state
        start = torch.full((len(ids), 1), START)
        more = {"encoder_hidden_states": texts, "encoder_attention_mask": mask, "use_cache": False}
        return model.decoder(input_ids=start, **more).last_hidden_state[:, 0].float().numpy()


@pytest.mark.parametrize("pooling", ["cls", "mean", "lasttoken"])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("T5", {"feed_forward_proj": "relu"}),
        ("T5", {"feed_forward_proj": "gated-gelu", "d_kv": 5}),
        ("T5", {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 20, "num_layers": 1}),
        ("MT5", {"feed_forward_proj": "gated-gelu"}),
        ("UMT5", {"feed_forward_proj": "gated-silu"}),
    ],
)
def test_vectors_are_as_near_the_exact_ones_as_those_of_transformers(kind, changes, pooling):
    model, ids = build(f"{kind}EncoderModel", **changes), rows()
    yard = both(lambda model: padded(model, ids, pooling), model, draws=0)
    packed = pack(model)
    found = packed.pooled(ids, pooling)
    assert np.ptp(found, 0).max() > 1
    yard.check(found)
    yard.check(np.concatenate([packed.pooled([row], pooling) for row in ids]))


@pytest.mark.parametrize(
    "changes",
    [
        {"feed_forward_proj": "relu"},
        {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "num_decoder_layers": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["T5", "MT5"])
def test_the_first_step_of_a_decoder_is_as_near_the_exact_one_as_transformers_is(kind, changes):
    model, ids = build(f"{kind}ForConditionalGeneration", **changes), rows()
    yard = both(lambda model: answered(model, ids), model, draws=2)
    packed = pack_answer(model)
    found = packed.states(ids, START)
    np.testing.assert_array_equal(found, packed.states(ids, START))
    yard.check(found)
    yard.check(np.concatenate([packed.states([row], START) for row in ids]))


@pytest.mark.parametrize(("buckets", "longest"), [(32, 128), (8, 20), (64, 512), (30, 100)])
@pytest.mark.parametrize("kind", ["T5", "MT5", "UMT5"])
def test_a_pair_of_tokens_has_the_offset_that_transformers_gives_it(kind, buckets, longest):
    changes = {"relative_attention_num_buckets": buckets, "relative_attention_max_distance": longest}
    attention = build(f"{kind}EncoderModel", **changes).encoder.block[0].layer[0].SelfAttention
    theirs = attention.compute_bias(700, 700)
    table = attention.relative_attention_bias.weight.detach()
    assert torch.equal(Offsets(table, longest).of(700), theirs)


def test_bfloat16_stays_as_near_to_float32_as_transformers_does():
    model, ids = build("T5ForConditionalGeneration", feed_forward_proj="gated-gelu"), rows() * 3
    exact = answered(model, ids)
    model = model.to(torch.bfloat16)
    plain = answered(model, ids)
    found = pack_answer(model).states(ids, START)
    assert found.dtype == np.float32
    assert np.abs(found - exact).mean() < 1.5 * np.abs(plain - exact).mean() + 1e-4


def test_there_is_never_a_second_copy_of_all_weights():
    model = build("T5ForConditionalGeneration", tie_word_embeddings=False)
    head = model.get_output_embeddings().weight
    pack_answer(model)
    assert model.get_output_embeddings().weight is head
    assert all(weight.is_meta for name, weight in model.named_parameters() if ".block." in name)


def test_what_is_not_quite_t5_takes_the_plain_path():
    whole = build("T5ForConditionalGeneration")
    assert pack(whole) is None
    assert pack_answer(build("UMT5ForConditionalGeneration")) is None
    assert pack(build("T5Model")) is None
    assert pack(build("T5ForSequenceClassification")) is None
    encoder = build("T5EncoderModel")
    assert pack_answer(encoder) is None
    assert pack(copy.deepcopy(encoder).half()) is None
    assert isinstance(pack(encoder), PackedT5)
    assert isinstance(pack_answer(whole), PackedT5Answer)


def test_a_t5_says_that_it_runs_padded_where_it_does():
    assert knows_t5({"model_type": "mt5"}, "bfloat16")
    assert not knows_t5({"model_type": "t5"}, "float16")
    assert not knows_t5({"model_type": "t5", "auto_map": {"AutoModel": "own.py"}}, "float32")
    assert "no fast path for t5" in note_of({"model_type": "t5"}, None)
    assert note_of({"model_type": "t5"}, None, known=True) is None
