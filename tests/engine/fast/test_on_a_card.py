"""The fast path on a device: its answers are the CPU's, and where there is no card its operations at least fit together.

Here RERANK_HARNESS_CARD=cpu runs the comparisons without a card; `make gpu` runs them on one.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers

from harness.engine.fast import attention, cascade, decoder, pack, pack_answer, pack_causal, packed
from harness.engine.fast.sharing import Sharing
from harness.errors import HarnessError
from harness.models.loading import placed

CARD = os.environ.get("RERANK_HARNESS_CARD", "cuda")
on_a_card = pytest.mark.skipif(
    CARD == "cuda" and not torch.cuda.is_available(), reason="needs a card that torch can use"
)
ROWS = [[5, 6, 7, 8, 9, 11], [5, 6, 7, 3], [5, 6, 8, 4], [5, 6, 9]]
LABELS = (3, 5)
NEAR = {torch.float32: 1e-4, torch.bfloat16: 0.05}
"""The largest difference from the CPU's float32, as a share of the largest number."""


class Kind(NamedTuple):
    """A small model, and what the fast path computes of ROWS with it."""

    config: str
    sizes: dict[str, Any]
    auto: str
    answer: Callable[[Any], np.ndarray]


def classified(model: Any) -> np.ndarray:
    return pack(model).logits(ROWS)


def averaged(model: Any) -> np.ndarray:
    return pack(model).pooled(ROWS, "mean")


def begun(model: Any) -> np.ndarray:
    return pack_answer(model).states(ROWS, 0)


def labelled(model: Any) -> np.ndarray:
    sharing = Sharing(np.array([0, 0, 0, 1]), np.array([2, 2, 2, 0]))
    return pack_causal(model, LABELS).logits([np.array(row) for row in ROWS], sharing)


BODY = {
    "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 90,
    "max_position_embeddings": 40, "num_labels": 2, "initializer_range": 0.2,
}  # fmt: skip
TURNING = {**BODY, "num_key_value_heads": 2}
T5 = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4, "vocab_size": 90}
CLASSIFIER, DECODER = "AutoModelForSequenceClassification", "AutoModelForCausalLM"
KINDS = {
    "BERT": Kind("BertConfig", BODY, CLASSIFIER, classified),
    "XLM-R": Kind("XLMRobertaConfig", BODY, CLASSIFIER, classified),
    "XLM-R, vectors": Kind("XLMRobertaConfig", BODY, "AutoModel", averaged),
    "ModernBERT": Kind("ModernBertConfig", {**BODY, "pad_token_id": 0, "local_attention": 4}, CLASSIFIER, classified),
    "DeBERTa": Kind("DebertaV2Config", {**BODY, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}, CLASSIFIER, classified),
    "T5": Kind("T5Config", T5, "AutoModelForTextEncoding", averaged),
    "monoT5": Kind("T5Config", {**T5, "feed_forward_proj": "gated-gelu"}, "AutoModelForSeq2SeqLM", begun),
    "Qwen 2": Kind("Qwen2Config", TURNING, DECODER, labelled),
    "Llama": Kind("LlamaConfig", TURNING, DECODER, labelled),
    "Gemma 2": Kind("Gemma2Config", {**TURNING, "head_dim": 16, "sliding_window": 3}, DECODER, labelled),
}  # fmt: skip


def build(kind: Kind) -> Any:
    torch.manual_seed(3)
    config = getattr(transformers, kind.config)(**kind.sizes)
    return getattr(transformers, kind.auto).from_config(config, dtype=torch.float32).eval()


@on_a_card
@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_a_card_answers_as_the_cpu_does(name: str, dtype: torch.dtype):
    kind = KINDS[name]
    model = build(kind)
    expected = kind.answer(copy.deepcopy(model))
    found = kind.answer(model.to(CARD, dtype))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=NEAR[dtype] * float(np.abs(expected).max()))


@on_a_card
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_card_has_the_kernels_for_rows_of_any_length(dtype: torch.dtype):
    """Else every row or group is a call of its own: right, and slow."""
    like = torch.empty(1, 256, dtype=dtype, device=CARD)
    if CARD == "cpu":
        pytest.skip("needs a card that torch can use")
    assert attention.attention_for(like, 4) is attention._varlen
    assert cascade.kernel_for(like, 4, 2, 64) is cascade._varlen


@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("T5", "monoT5", "Gemma 2")])
def test_with_the_kernels_of_a_card_the_operations_fit_together(name: str, monkeypatch: pytest.MonkeyPatch):
    """Shapes, types and devices alone: meta tensors hold no numbers. A head's logits are float32 whatever the body's type."""
    pytest.importorskip("torch.nn.attention.varlen")
    kind = KINDS[name]
    monkeypatch.setattr(packed, "attention_for", lambda *_: attention._varlen)
    monkeypatch.setattr(decoder, "kernel_for", lambda *_: cascade._varlen)
    model = build(kind).to("meta", torch.bfloat16)
    with torch.inference_mode():
        if kind.answer is labelled:
            fast = pack_causal(model, LABELS)
            sharing = Sharing(np.array([0, 0, 0, 1]), np.array([2, 2, 2, 0]))
            found = fast._head(fast.decoder.states([np.array(row) for row in ROWS], sharing)[-1])
        else:
            fast = pack(model)
            batch = fast._batch(ROWS, None)
            found = fast._logits(batch) if kind.answer is classified else fast._pooled(batch, "mean")
    assert (found.device.type, found.dtype, len(found)) == ("meta", torch.float32, len(ROWS))


def test_what_a_kernel_needs_to_know_of_the_rows_is_sent_once_a_batch():
    groups = attention.groups_of([5, 5, 3, 1])
    device = torch.device("cpu")
    bounds = groups.bounds(device)
    assert bounds.tolist() == [0, 5, 10, 13, 14]
    assert groups.bounds(device, rows=True).tolist() == [0, 1, 2, 3, 4]
    assert groups.bounds(torch.device("cpu")) is bounds


class Full(torch.nn.Linear):
    """A small model for which its device has no room."""

    def to(self, *_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 14.00 GiB. GPU 0 has a total capacity of 8")


def test_a_model_that_does_not_fit_on_its_device_is_one_line():
    with pytest.raises(
        HarnessError, match=r"big does not fit into the memory of cuda \(CUDA out of memory\): take --dtype"
    ):
        placed(Full(2, 2), "cuda", "big")
