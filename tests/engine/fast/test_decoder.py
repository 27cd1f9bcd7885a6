"""The fast path of decoders scores as transformers does, whatever is shared and whatever company a row has."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from exactness import Yardstick, both

from harness.engine.fast import knows_decoder, note_of, pack_causal, pack_classifier, pack_pooled
from harness.engine.fast.cascade import _grouped, _varlen, kernel_for, row_by_row
from harness.engine.fast.decoder_batch import batch_of
from harness.engine.fast.sharing import Sharing, find_sharing

VOCABULARY = 90
LABELS = [5, 7]
SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "head_dim": 8,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.3,
}  # fmt: skip
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
KINDS: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Llama with biases": {"attention_bias": True, "mlp_bias": True},
    "Llama of one key head": {"num_key_value_heads": 1},
    "Llama, linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
    "Llama, llama3": {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, **LLAMA3}},
    "Llama, yarn": {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}},
    "Llama, dynamic": {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}},
    "Mistral": {"sliding_window": None},
    "Mistral, sliding": {"sliding_window": 7},
    "Qwen2": {},
    "Qwen2, sliding": {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
    "Qwen3": {},
    "Gemma": {"num_key_value_heads": 1},
    # Caps as small as these bite on weights of this size.
    "Gemma2": {"sliding_window": 9, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 4.0},
}


def build(kind: str, dtype: torch.dtype = torch.float32) -> Any:
    """A model of random weights: the same at every call, no bias and no norm left as it was initialised."""
    body = kind.split(maxsplit=1)[0].rstrip(",")
    torch.manual_seed(3)
    config = getattr(transformers, f"{body}Config")(**{**SIZES, **KINDS[kind]})
    model = getattr(transformers, f"{body}ForCausalLM")(config).eval()
    for name, weight in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            weight.data.normal_(mean=0.0 if body.startswith("Gemma") else 1.0, std=0.3)
    return model.to(dtype)


@cache
def prompts(shared: int) -> tuple[list[list[int]], np.ndarray]:
    """Rows of several groups that begin with `shared` ids of their own; a row alone; two that are equal."""
    numbers = np.random.default_rng(shared)
    rows, groups = [], []
    for group, count in enumerate((5, 1, 3)):
        prefix = numbers.integers(5, VOCABULARY, shared).tolist()
        for _ in range(count):
            rows.append(prefix + numbers.integers(5, VOCABULARY, numbers.integers(1, 40)).tolist())
            groups.append(group)
    rows += [rows[0], rows[0]]
    groups += [9, 9]
    # Not in the order of their groups.
    order = numbers.permutation(len(rows))
    return [rows[row] for row in order], np.array(groups)[order]


def sharing_of(rows: list[list[int]], groups: np.ndarray) -> Sharing:
    return find_sharing(groups, lambda row: rows[row])


def plain(model: Any, rows: list[list[int]]) -> np.ndarray:
    """What transformers computes, each row by itself."""
    with torch.inference_mode():
        return np.stack([model(torch.tensor([row])).logits[0, -1, LABELS].float().numpy() for row in rows])


def yard_of(model: Any, rows: list[list[int]]) -> Yardstick:
    return both(lambda model: plain(model, rows), model)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_those_of_transformers(kind: str):
    model = build(kind)
    expected = {shared: yard_of(model, prompts(shared)[0]) for shared in (0, 1, 20)}
    packed = pack_causal(model, LABELS)
    for shared, wanted in expected.items():
        rows, groups = prompts(shared)
        wanted.check(packed.logits(rows))
        sharing = sharing_of(rows, groups)
        assert (sharing.shared[groups == 0] >= shared).all()
        wanted.check(packed.logits(rows, sharing))


@pytest.mark.parametrize("kind", ["Llama", "Mistral, sliding", "Qwen3", "Gemma2"])
def test_the_company_of_a_row_does_not_move_its_logits(kind: str):
    model, (rows, groups) = build(kind), prompts(20)
    expected, sharing = yard_of(model, rows), sharing_of(rows, groups)
    packed = pack_causal(model, LABELS)
    every = np.random.default_rng(2).permutation(len(rows))
    for batches in ([every], np.array_split(every, 3), np.array_split(every, len(every))):
        for batch in batches:
            expected.check(packed.logits([rows[row] for row in batch], sharing.of(batch)), batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_batch_gives_the_same_bits_whatever_came_before(dtype: torch.dtype):
    """A prefix that is kept from the batch before is the one that the batch would have computed."""
    (rows, groups), packed = prompts(20), pack_causal(build("Qwen2", dtype), LABELS)
    sharing = sharing_of(rows, groups)
    first, second = np.array_split(np.flatnonzero(groups == 0), 2)
    other = np.flatnonzero(groups == 2)

    def logits(batch: np.ndarray) -> np.ndarray:
        return packed.logits([rows[row] for row in batch], sharing.of(batch))

    alone = logits(second)
    logits(first)
    np.testing.assert_array_equal(logits(second), alone)
    logits(other)
    np.testing.assert_array_equal(logits(second), alone)
    np.testing.assert_array_equal(pack_causal(build("Qwen2", dtype), LABELS).logits(rows), packed.logits(rows))


@pytest.mark.parametrize("kind", ["Llama", "Qwen3", "Gemma", "Gemma2"])
def test_bfloat16_stays_as_near_to_float32_as_transformers_does(kind: str):
    rows, groups = prompts(20)
    exact, half = plain(build(kind), rows), build(kind, torch.bfloat16)
    padded = plain(half, rows)
    found = pack_causal(half, LABELS).logits(rows, sharing_of(rows, groups))
    assert found.dtype == np.float32
    assert np.abs(found - exact).mean() < 1.5 * np.abs(padded - exact).mean() + 1e-3


def test_the_weights_are_taken_out_of_the_model():
    model = build("Llama")
    pack_causal(model, LABELS)
    assert all(weight.is_meta for weight in model.parameters())


def test_a_row_beyond_the_positions_that_hold_is_refused():
    packed = pack_causal(build("Llama, dynamic"), LABELS)
    with pytest.raises(ValueError, match="257 tokens"):
        packed.logits([[5] * 257])


def test_other_architectures_take_the_plain_path_and_say_so():
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    phi = transformers.PhiForCausalLM(transformers.PhiConfig(**sizes, intermediate_size=48))
    assert pack_causal(phi, LABELS) is None
    assert not any(weight.is_meta for weight in phi.parameters())
    assert not knows_decoder({"model_type": "phi"})
    assert knows_decoder({"model_type": "llama", "rope_scaling": None})
    assert not knows_decoder({"model_type": "llama", "rope_scaling": {"type": "longrope"}})
    assert not knows_decoder({"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "own.py"}})
    assert "no fast path for phi" in str(note_of({"model_type": "phi"}, None, known=False))


def test_a_model_that_is_no_longer_its_class_takes_the_plain_path():
    class Wrapped(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    model = build("Llama")
    model.model.layers[1].mlp.up_proj = Wrapped(32, 48, bias=False)
    assert pack_causal(model, LABELS) is None

    class LlamaForCausalLM(transformers.LlamaForCausalLM):
        pass

    assert pack_causal(LlamaForCausalLM(build("Llama").config), LABELS) is None


def test_what_is_shared_is_the_longest_common_run_of_whole_prompts():
    numbers = np.random.default_rng(5)
    rows = [numbers.integers(0, 2, numbers.integers(1, 12)).tolist() for _ in range(60)]
    groups = numbers.integers(0, 20, 60)
    sharing = find_sharing(groups, lambda row: rows[row])
    for row in range(60):
        mine = [rows[other] for other in np.flatnonzero(groups == groups[row])]
        common = sum(len({tuple(other[:length]) for other in mine}) == 1 for length in range(1, 12))
        wanted = 0 if len(mine) == 1 else min(common, *(len(other) - 1 for other in mine))
        assert sharing.shared[row] == wanted
    bounded = find_sharing(groups, lambda row: rows[row], lambda row: 1)
    np.testing.assert_array_equal(bounded.shared, np.minimum(sharing.shared, 1))
    assert len(find_sharing(np.array([], np.int64), lambda row: rows[row]).shared) == 0


SHARED = Sharing(np.array([3, 0, 1, 3, 1]), np.array([2, 0, 4, 2, 4]))


def drawn(tokens: int, heads: int, **like: Any) -> torch.Tensor:
    return torch.randn(tokens, heads, 16, generator=torch.Generator().manual_seed(tokens + heads)).to(**like)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_grouped_kernel_agrees_with_rows_one_by_one(dtype: torch.dtype):
    batch = batch_of(SHARED, np.array([3, 5, 1, 3, 4]), torch.device("cpu"))
    own, past = ((drawn(tokens, 2, dtype=dtype), drawn(tokens + 1, 2, dtype=dtype)[1:]) for tokens in (16, 6))
    for tokens in (16, 5):
        query = drawn(tokens, 4, dtype=dtype)
        expected = row_by_row(query, own, past, batch, 0.3)
        found = _grouped(query, own, past, batch, 0.3)
        if dtype == torch.float32:
            both(lambda query=query: row_by_row(query, own, past, batch, 0.3)).check(found)
        else:
            torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)
    assert kernel_for(query, 4, 2, 16) is _grouped


def test_rows_one_by_one_are_softmax_over_what_each_token_sees():
    """Against sums written out for one head and one row: its prefix, itself, what stands before it."""
    batch = batch_of(Sharing(np.array([0, 0]), np.array([3, 3])), np.array([4, 1]), torch.device("cpu"))
    key, value, query = drawn(5, 1)[:, 0], drawn(5, 1)[:, 0] + 1, drawn(5, 1)[:, 0] * 2
    before, known = drawn(3, 1)[:, 0], drawn(3, 1)[:, 0] - 1
    for window, cap in ((None, None), (2, None), (None, 0.5), (4, 0.7)):
        found = row_by_row(
            query[:, None], (key[:, None], value[:, None]), (before[:, None], known[:, None]), batch, 0.3, cap, window
        )

        def expected(window: int | None = window, cap: float | None = cap) -> Any:
            rows = []
            for place in range(4):
                keys, values = torch.cat((before, key[: place + 1])), torch.cat((known, value[: place + 1]))
                first = 0 if window is None else max(0, len(keys) - window)
                weights = keys[first:] @ query[place] * 0.3
                weights = weights if cap is None else cap * torch.tanh(weights / cap)
                rows.append(weights.softmax(0) @ values[first:])
            return torch.stack(rows)

        both(expected).check(found[:4, 0])


def test_the_kernel_for_rows_of_any_length_is_called_as_torch_declares_it():
    pytest.importorskip("torch.nn.attention.varlen")
    like = {"dtype": torch.bfloat16, "device": "meta"}
    batch = batch_of(SHARED, np.array([3, 5, 1, 3, 4]), torch.device("meta"))
    own, past = (torch.empty(16, 2, 16, **like),) * 2, (torch.empty(6, 2, 16, **like),) * 2
    for tokens in (16, 5):
        assert _varlen(torch.empty(tokens, 4, 16, **like), own, past, batch, 0.3).shape == (tokens, 4, 16)


@pytest.mark.parametrize("kind", ["Llama", "Qwen3", "Gemma2"])
def test_a_decoder_with_a_classifiers_head_scores_as_transformers_does(kind: str):
    config = build(kind).config
    config.num_labels, config.pad_token_id = 2, 0
    torch.manual_seed(4)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
    rows, _ = prompts(20)
    with torch.inference_mode():
        expected = both(lambda model: np.stack([model(torch.tensor([row])).logits[0].numpy() for row in rows]), model)
    expected.check(pack_classifier(model).logits(rows))


@pytest.mark.parametrize("kind", ["Mistral", "Qwen3"])
def test_a_decoder_without_a_head_gives_the_vectors_of_transformers(kind: str):
    model, (rows, _) = build(kind).model, prompts(20)

    def last(model: Any) -> np.ndarray:
        with torch.inference_mode():
            return np.stack([model(torch.tensor([row])).last_hidden_state[0, -1].numpy() for row in rows])

    both(last, model).check(pack_pooled(model, "lasttoken").pooled(rows))
