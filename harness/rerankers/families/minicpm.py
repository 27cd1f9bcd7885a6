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
from typing import TYPE_CHECKING, Any

from ...engine.options import Options
from ...models.source import ModelSource
from .decoder import LayeredDecoder, named_shapes, read_numbers

if TYPE_CHECKING:
    from ...engine.fast.decoder_weights import DecoderShape

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

    def shape(self, depth: int, dtype: Any) -> DecoderShape:
        from ...engine.fast.cascade import Attention
        from ...engine.fast.decoder_weights import DecoderShape, frequencies

        config = self.config
        return DecoderShape(
            layers=depth,
            heads=config.num_attention_heads,
            key_value_heads=config.num_key_value_heads,
            head_size=config.head_dim,
            eps=config.rms_norm_eps,
            frequencies=frequencies(config.head_dim, config.rope_theta),
            activation="silu",
            attention=(Attention(config.head_dim**-0.5),) * depth,
            embedding_scale=config.scale_emb,
            depth_scale=config.scale_depth / math.sqrt(config.num_hidden_layers),
        )
