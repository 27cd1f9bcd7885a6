"""Gemma 2's forward pass with heads at several layers and a passage that is compressed on the way.

Ours because no library has this architecture. Gemma 2 (arXiv 2408.00118): norms before and after
both sublayers, a sliding window in every other layer. Before a compressing layer the passage's
hidden states are replaced by the means of groups of `ratio` neighbours (the last group over its
real members), and positions count anew. Source: FlagEmbedding 1.3.5, `CostWiseGemmaForCausalLM`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import HarnessError
from ..models import ModelSource
from ..options import Options
from .decoder import LayeredDecoder, Spans, named_shapes, read_numbers, rotary, rotate, split_heads

__all__ = ["Economy", "Gemma2", "Gemma2Config", "compress"]

_FIXED = {
    "attention_bias": False,
    "hidden_activation": "gelu_pytorch_tanh",
    "layer_wise": True,
    "rope_parameters": None,
}
_DEFAULTS = {"layer_wise": False, "rms_norm_eps": 1e-6, "rope_theta": 10000.0}
_SOFTCAPS = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
"""The architecture's own bounds, which config.json may replace by others or by null."""


@dataclass(frozen=True)
class Gemma2Config:
    """The numbers of config.json that decide the forward pass."""

    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    rms_norm_eps: float
    rope_theta: float
    query_pre_attn_scalar: float
    sliding_window: int
    start_layer: int
    layer_sep: int
    attn_logit_softcapping: float | None
    final_logit_softcapping: float | None

    @classmethod
    def read(cls, source: ModelSource) -> Gemma2Config:
        """Raises HarnessError where config.json lacks a number or asks for something that is not built here."""
        softcaps = {key: source.config.get(key, value) for key, value in _SOFTCAPS.items()}
        for key, value in softcaps.items():
            if value is not None and not (isinstance(value, int | float) and value > 0):
                raise HarnessError(f"{source.name}: {key} is {value!r} in config.json; it is a number above 0, or null")
        numbers = [name for name in cls.__dataclass_fields__ if name not in softcaps]
        return cls(**read_numbers(source, numbers, _DEFAULTS, _FIXED), **softcaps)

    @property
    def layers(self) -> range:
        """The layers that have a head."""
        return range(self.start_layer, self.num_hidden_layers + 1, self.layer_sep)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight's name and shape."""
        wide, heads = self.hidden_size, self.num_attention_heads * self.head_dim
        narrow = self.num_key_value_heads * self.head_dim
        block = {
            "input_layernorm": (wide,),
            "post_attention_layernorm": (wide,),
            "pre_feedforward_layernorm": (wide,),
            "post_feedforward_layernorm": (wide,),
            "self_attn.q_proj": (heads, wide),
            "self_attn.k_proj": (narrow, wide),
            "self_attn.v_proj": (narrow, wide),
            "self_attn.o_proj": (wide, heads),
            "mlp.gate_proj": (self.intermediate_size, wide),
            "mlp.up_proj": (self.intermediate_size, wide),
            "mlp.down_proj": (wide, self.intermediate_size),
        }
        return named_shapes(self.vocab_size, wide, self.num_hidden_layers, block, len(self.layers))


@dataclass(frozen=True)
class Economy:
    """How the passage is compressed: `compress_ratio` states make one before each of `compress_layers`.

    `softcap` says whether attention is soft-capped, as Gemma 2 defines it. The published scores come
    from an attention kernel that leaves the cap out.
    """

    compress_ratio: int = 1
    compress_layers: tuple[int, ...] = ()
    softcap: bool = False


class Gemma2(LayeredDecoder):
    """The loaded network; `heads` maps layers, sorted, to the numbers of their heads."""

    def __init__(
        self, source: ModelSource, config: Gemma2Config, heads: Mapping[int, int], economy: Economy, options: Options
    ) -> None:
        self.config, self.economy, self.softcap = config, economy, config.final_logit_softcapping
        super().__init__(source, config, heads, options)

    def last_states(self, ids: Any, spans: Spans) -> Any:
        import torch
        import torch.nn.functional as F  # noqa: N812

        states = F.embedding(ids, self.weights["model.embed_tokens.weight"])
        # Rounded to the model's precision before it multiplies, as in the original: 59.75 for √3584 in bfloat16.
        states = states * torch.tensor(self.config.hidden_size**0.5, dtype=states.dtype, device=states.device)
        rows = torch.arange(len(ids), device=ids.device)
        found = []
        for layer in range(self.depth):
            if layer and layer in self.economy.compress_layers and self.economy.compress_ratio > 1:
                states, spans = compress(states, spans, self.economy.compress_ratio)
            states = self._block(layer, states)
            if layer + 1 in self.heads:
                found.append(self._norm(states[rows, spans.length - 1], "model.norm"))
        return torch.stack(found)

    def _block(self, layer: int, states: Any) -> Any:
        import torch.nn.functional as F  # noqa: N812

        place = f"model.layers.{layer}"
        seen = self._attention(layer, self._norm(states, f"{place}.input_layernorm"))
        states = states + self._norm(seen, f"{place}.post_attention_layernorm")
        inputs = self._norm(states, f"{place}.pre_feedforward_layernorm")
        opened = F.gelu(self.linear(inputs, f"{place}.mlp.gate_proj"), approximate="tanh")
        folded = self.linear(opened * self.linear(inputs, f"{place}.mlp.up_proj"), f"{place}.mlp.down_proj")
        return states + self._norm(folded, f"{place}.post_feedforward_layernorm")

    def _attention(self, layer: int, inputs: Any) -> Any:
        import torch.nn.functional as F  # noqa: N812

        config, place = self.config, f"model.layers.{layer}.self_attn"
        heads, narrow = config.num_attention_heads, config.num_key_value_heads
        turn = rotary(inputs.shape[1], config.head_dim, config.rope_theta, inputs.device)
        queries = rotate(split_heads(self.linear(inputs, f"{place}.q_proj"), heads), turn)
        keys = rotate(split_heads(self.linear(inputs, f"{place}.k_proj"), narrow, heads // narrow), turn)
        values = split_heads(self.linear(inputs, f"{place}.v_proj"), narrow, heads // narrow)
        scale = config.query_pre_attn_scalar**-0.5
        window = config.sliding_window if layer % 2 == 0 else inputs.shape[1]
        if self.economy.softcap and config.attn_logit_softcapping is not None:
            seen = _capped_attention(queries * scale, keys, values, window, config.attn_logit_softcapping)
        elif window < inputs.shape[1]:
            mask = _seen_by(inputs.shape[1], window, inputs.device)
            seen = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, scale=scale)
        else:
            seen = F.scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=scale)
        return self.linear(seen.transpose(1, 2).flatten(2), f"{place}.o_proj")

    def _norm(self, states: Any, name: str) -> Any:
        """RMSNorm in float32; Gemma stores its weights less one."""
        import torch

        single = states.float()
        scaled = single * torch.rsqrt(single.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps)
        return (scaled * (1.0 + self.weights[f"{name}.weight"].float())).to(states.dtype)


def _seen_by(tokens: int, window: int, device: Any) -> Any:
    """Which positions (columns) each position (rows) attends to: itself and the `window` − 1 before it."""
    import torch

    return torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril().triu(1 - window)


def _capped_attention(queries: Any, keys: Any, values: Any, window: int, cap: float) -> Any:
    import torch

    weights = torch.tanh(queries @ keys.transpose(2, 3) / cap) * cap
    weights = weights.masked_fill(~_seen_by(weights.shape[-1], window, weights.device), -torch.inf)
    return weights.softmax(-1, dtype=torch.float32).to(values.dtype) @ values


def compress(states: Any, spans: Spans, ratio: int) -> tuple[Any, Spans]:
    """The states (rows, tokens, hidden) with every passage's replaced by the means of `ratio` neighbours.

    Each new state gathers its members one after another, so a sum has one order on every device.
    """
    import torch

    groups = (spans.stop - spans.start + ratio - 1) // ratio
    length = spans.length - (spans.stop - spans.start) + groups
    place = torch.arange(int(length.max()), device=states.device)
    start, stop, end = spans.start[:, None], spans.stop[:, None], (spans.start + groups)[:, None]
    inside = (place >= start) & (place < end)
    first = torch.where(inside, start + (place - start) * ratio, torch.where(place < start, place, place - end + stop))
    members = torch.where(inside, (stop - first).clamp(max=ratio), 1)
    total = torch.zeros(*first.shape, states.shape[-1], device=states.device)
    for member in range(ratio):
        source = (first + member).clamp(max=states.shape[1] - 1)
        taken = states.gather(1, source[..., None].expand_as(total))
        total += torch.where((member < members)[..., None], taken.float(), 0.0)
    return (total / members[..., None]).to(states.dtype), Spans(spans.start, spans.start + groups, length)
