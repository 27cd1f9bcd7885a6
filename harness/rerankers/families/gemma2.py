"""Gemma 2's forward pass with heads at several layers and a passage that is compressed on the way.

Ours because no library has this architecture. Gemma 2 (arXiv 2408.00118): norms before and after
both sublayers, a sliding window in every other layer. Before a compressing layer the passage's
hidden states are replaced by the means of groups of `ratio` neighbours (the last group over its
real members), and positions count anew. Source: FlagEmbedding 1.3.5, `CostWiseGemmaForCausalLM`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine.options import Options
from ...errors import HarnessError
from ...models.source import ModelSource
from ..prompts.ab_prompt import AbInput
from .decoder import LayeredDecoder, named_shapes, read_numbers

if TYPE_CHECKING:
    from ...engine.fast.decoder_batch import Passages
    from ...engine.fast.decoder_weights import DecoderShape

__all__ = ["Economy", "Gemma2", "Gemma2Config"]

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

    def shape(self, depth: int, dtype: Any) -> DecoderShape:
        import torch

        from ...engine.fast.cascade import Attention
        from ...engine.fast.decoder_weights import DecoderShape, frequencies

        config = self.config
        cap = config.attn_logit_softcapping if self.economy.softcap else None
        windows = [config.sliding_window if layer % 2 == 0 else None for layer in range(depth)]
        return DecoderShape(
            layers=depth,
            heads=config.num_attention_heads,
            key_value_heads=config.num_key_value_heads,
            head_size=config.head_dim,
            eps=config.rms_norm_eps,
            frequencies=frequencies(config.head_dim, config.rope_theta),
            activation="gelu_tanh",
            attention=tuple(Attention(config.query_pre_attn_scalar**-0.5, cap, window) for window in windows),
            # Rounded to the model's precision before it multiplies, as in the original: 59.75 for √3584 in bfloat16.
            embedding_scale=float(torch.tensor(config.hidden_size**0.5, dtype=dtype)),
            less_one=True,
            normed_outputs=True,
        )

    def passages(self, inputs: Sequence[AbInput]) -> Passages | None:
        from ...engine.fast.decoder_batch import Passages

        if self.economy.compress_ratio == 1:
            return None
        start, stop = np.array([(entry.start, entry.stop) for entry in inputs], np.int64).T
        layers = tuple(layer for layer in self.economy.compress_layers if layer)
        return Passages(start, stop, self.economy.compress_ratio, layers)
