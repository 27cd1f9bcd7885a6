"""MiniCPM's forward pass with a head at every layer, for the layerwise rerankers.

Ours because the authors' class fails on transformers 5. A Llama whose embeddings are multiplied by
`scale_emb` and whose sublayers' outputs by scale_depth/√layers (MiniCPM, arXiv 2404.06395). The
score at layer k is head k − start_layer of norm(hidden after k blocks) at the last token; "simple"
heads do not divide by hidden_size/dim_model_base.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..models import ModelSource
from ..options import Options
from .decoder import LayeredDecoder, Spans, named_shapes, read_numbers, rotary, rotate, split_heads

__all__ = ["MiniCPM", "MiniCPMConfig"]

_FIXED = {
    "attention_bias": False,
    "head_multi": True,
    "head_type": "simple",
    "hidden_act": "silu",
    "rope_parameters": None,
    "rope_scaling": None,
}
_DEFAULTS = {"rms_norm_eps": 1e-6, "rope_theta": 10000.0}


@dataclass(frozen=True)
class MiniCPMConfig:
    """The numbers of config.json that decide the forward pass."""

    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    vocab_size: int
    rms_norm_eps: float
    rope_theta: float
    scale_emb: float
    scale_depth: float
    start_layer: int

    @classmethod
    def read(cls, source: ModelSource) -> MiniCPMConfig:
        """Raises HarnessError where config.json lacks a number or asks for something that is not built here."""
        return cls(**read_numbers(source, cls.__dataclass_fields__, _DEFAULTS, _FIXED))

    @property
    def layers(self) -> range:
        """The layers that have a head."""
        return range(self.start_layer, self.num_hidden_layers + 1)

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight's name and shape."""
        wide, narrow = self.hidden_size, self.head_dim * self.num_key_value_heads
        block = {
            "input_layernorm": (wide,),
            "post_attention_layernorm": (wide,),
            "self_attn.q_proj": (wide, wide),
            "self_attn.k_proj": (narrow, wide),
            "self_attn.v_proj": (narrow, wide),
            "self_attn.o_proj": (wide, wide),
            "mlp.gate_proj": (self.intermediate_size, wide),
            "mlp.up_proj": (self.intermediate_size, wide),
            "mlp.down_proj": (wide, self.intermediate_size),
        }
        return named_shapes(self.vocab_size, wide, self.num_hidden_layers, block, len(self.layers))


class MiniCPM(LayeredDecoder):
    """The loaded network; `layers` are sorted, each once."""

    def __init__(self, source: ModelSource, config: MiniCPMConfig, layers: Sequence[int], options: Options) -> None:
        self.config = config
        super().__init__(source, config, {layer: layer - config.start_layer for layer in layers}, options)

    def last_states(self, ids: Any, spans: Spans) -> Any:
        import torch
        import torch.nn.functional as F  # noqa: N812

        states = F.embedding(ids, self.weights["model.embed_tokens.weight"]) * self.config.scale_emb
        turn = rotary(ids.shape[1], self.config.head_dim, self.config.rope_theta, ids.device)
        rows = torch.arange(len(ids), device=ids.device)
        found = []
        for layer in range(self.depth):
            states = self._block(f"model.layers.{layer}", states, turn)
            if layer + 1 in self.heads:
                found.append(self._norm(states[rows, spans.length - 1], "model.norm"))
        return torch.stack(found)

    def _block(self, place: str, states: Any, turn: tuple[Any, Any]) -> Any:
        import torch.nn.functional as F  # noqa: N812

        depth = self.config.scale_depth / math.sqrt(self.config.num_hidden_layers)
        inputs = self._norm(states, f"{place}.input_layernorm")
        states = states + self._attention(f"{place}.self_attn", inputs, turn) * depth
        inputs = self._norm(states, f"{place}.post_attention_layernorm")
        gated = F.silu(self.linear(inputs, f"{place}.mlp.gate_proj")) * self.linear(inputs, f"{place}.mlp.up_proj")
        return states + self.linear(gated, f"{place}.mlp.down_proj") * depth

    def _attention(self, place: str, inputs: Any, turn: tuple[Any, Any]) -> Any:
        import torch.nn.functional as F  # noqa: N812

        heads, narrow = self.config.num_attention_heads, self.config.num_key_value_heads
        queries = rotate(split_heads(self.linear(inputs, f"{place}.q_proj"), heads), turn)
        keys = rotate(split_heads(self.linear(inputs, f"{place}.k_proj"), narrow, heads // narrow), turn)
        values = split_heads(self.linear(inputs, f"{place}.v_proj"), narrow, heads // narrow)
        seen = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return self.linear(seen.transpose(1, 2).flatten(2), f"{place}.o_proj")

    def _norm(self, states: Any, name: str) -> Any:
        """RMSNorm in float32, weighted in the model's own precision."""
        import torch

        single = states.float()
        scaled = single * torch.rsqrt(single.pow(2).mean(-1, keepdim=True) + self.config.rms_norm_eps)
        return scaled.to(states.dtype) * self.weights[f"{name}.weight"]
