"""Weights of Llama-shaped decoders: Llama, Mistral, Qwen 2 and 3, Gemma 1 and 2, MiniCPM.

They differ in a few numbers and in which norms they have, so one `DecoderShape` says all of it, and
their weights have the same names. Taken from transformers modules, or from files read elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from .cascade import Attention
from .linear import Linear, linear

__all__ = ["DecoderLayer", "DecoderShape", "DecoderWeights", "RmsNorm", "frequencies", "shape_of", "take_weights"]

_BODIES = ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma", "Gemma2")
_TASKS = ("Model", "ForCausalLM", "ForSequenceClassification")


@dataclass(frozen=True)
class DecoderShape:
    """What a decoder is beside its weights."""

    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    eps: float
    frequencies: Any
    """Radians a position of the rotary pairs, float32, shape (head size / 2,)."""
    activation: str | Callable[[Any], Any]
    """Of the gate: silu or gelu_tanh, which `linear.Linear` computes with the product, or what does."""
    attention: tuple[Attention, ...]
    """Of each layer."""
    stretch: float = 1.0
    """What rotary cosines and sines are multiplied by (YaRN)."""
    longest: int | None = None
    """The tokens up to which the frequencies hold; None for any number."""
    embedding_scale: float = 1.0
    depth_scale: float = 1.0
    """What each sublayer's output is multiplied by before it is added (MiniCPM)."""
    less_one: bool = False
    """Whether norms are stored less one (Gemma)."""
    normed_outputs: bool = False
    """Whether a sublayer's output is normed before it is added (Gemma 2)."""


@dataclass(frozen=True)
class RmsNorm:
    """A root-mean-square norm over the last axis, computed in float32; `weight` is in float32."""

    weight: Any
    eps: float

    def __call__(self, x: Any) -> Any:
        return functional.rms_norm(x.float(), self.weight.shape, self.weight, self.eps).to(x.dtype)


@dataclass(frozen=True)
class DecoderLayer:
    """One transformer layer."""

    attention: Attention
    norm: RmsNorm
    query: Linear
    key_value: Linear
    query_norm: RmsNorm | None
    key_norm: RmsNorm | None
    context: Linear
    context_norm: RmsNorm | None
    inner_norm: RmsNorm
    gate: Linear
    inner: Linear
    """What the gate opens."""
    outer: Linear
    outer_norm: RmsNorm | None


@dataclass(frozen=True)
class DecoderWeights:
    """A decoder without its head."""

    shape: DecoderShape
    words: Any
    layers: tuple[DecoderLayer, ...]
    norm: RmsNorm


def take_weights(weights: MutableMapping[str, Any], shape: DecoderShape) -> DecoderWeights:
    """The weights named as Llama's, `model.layers.0.self_attn.q_proj.weight`, each taken out of `weights`.

    What is laid out anew is free as soon as its copy is made, where nobody else holds it.
    """
    taker = _Taker(weights, shape)
    words = weights.pop("model.embed_tokens.weight")
    layers = tuple(taker.layer(place) for place in range(shape.layers))
    return DecoderWeights(shape, words, layers, taker.norm("model.norm"))


@dataclass(frozen=True)
class _Taker:
    weights: MutableMapping[str, Any]
    shape: DecoderShape

    def layer(self, place: int) -> DecoderLayer:
        name, normed = f"model.layers.{place}", self.shape.normed_outputs
        attention, mlp = f"{name}.self_attn", f"{name}.mlp"
        after = f"{name}.post_attention_layernorm"
        return DecoderLayer(
            attention=self.shape.attention[place],
            norm=self.norm(f"{name}.input_layernorm"),
            query=self.linear(f"{attention}.q_proj"),
            key_value=self.linear(f"{attention}.k_proj", f"{attention}.v_proj"),
            query_norm=self.norm_or_none(f"{attention}.q_norm"),
            key_norm=self.norm_or_none(f"{attention}.k_norm"),
            context=self.linear(f"{attention}.o_proj"),
            context_norm=self.norm(after) if normed else None,
            inner_norm=self.norm(f"{name}.pre_feedforward_layernorm" if normed else after),
            gate=self.linear(f"{mlp}.gate_proj"),
            inner=self.linear(f"{mlp}.up_proj"),
            outer=self.linear(f"{mlp}.down_proj"),
            outer_norm=self.norm(f"{name}.post_feedforward_layernorm") if normed else None,
        )

    def linear(self, *names: str) -> Linear:
        """One Linear that gives the outputs of several side by side."""
        parts = [self.weights.pop(f"{name}.weight") for name in names]
        biases = [self.weights.pop(f"{name}.bias") for name in names if f"{name}.bias" in self.weights]
        return linear(_joined(parts), _joined(biases) if biases else None)

    def norm(self, name: str) -> RmsNorm:
        weight = self.weights.pop(f"{name}.weight").float()
        return RmsNorm(weight + 1 if self.shape.less_one else weight, self.shape.eps)

    def norm_or_none(self, name: str) -> RmsNorm | None:
        return self.norm(name) if f"{name}.weight" in self.weights else None


def _joined(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def frequencies(size: int, theta: float) -> Any:
    """Of rotary positions without scaling (Su et al., arXiv 2104.09864); `size` is that of a head."""
    return 1.0 / theta ** (torch.arange(0, size, 2, dtype=torch.float32) / size)


def shape_of(model: Any) -> DecoderShape | None:
    """The shape of a transformers model, or None for one whose forward pass is not known here."""
    kind = type(model).__name__
    named = kind in {f"{body}{task}" for body in _BODIES for task in _TASKS}
    if not named or not type(model).__module__.startswith("transformers.models.") or not _is_plain(model):
        return None
    config, body = model.config, model.base_model
    size = body.layers[0].self_attn.head_dim
    rotary = body.rotary_emb
    if 2 * len(rotary.inv_freq) != size or rotary.rope_type == "longrope":
        return None
    gemma = kind.startswith("Gemma")
    return DecoderShape(
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        head_size=size,
        eps=config.rms_norm_eps,
        frequencies=rotary.inv_freq.float(),
        activation=_activation(body.layers[0].mlp.act_fn),
        attention=tuple(_attention(layer.self_attn, config) for layer in body.layers),
        stretch=float(rotary.attention_scaling),
        longest=config.max_position_embeddings if rotary.rope_type == "dynamic" else None,
        embedding_scale=_embedding_scale(body.embed_tokens),
        less_one=gemma,
        normed_outputs=kind.startswith("Gemma2"),
    )


def _is_plain(model: Any) -> bool:
    """Whether nothing is set or wrapped that would change the forward pass of the class."""
    config = model.config
    both_ways = getattr(config, "use_bidirectional_attention", None) or getattr(config, "is_causal", True) is False
    wrapped = any(isinstance(part, torch.nn.Linear) and type(part) is not torch.nn.Linear for part in model.modules())
    mixed = len({weight.dtype for weight in model.parameters()}) > 1
    return not (both_ways or wrapped or mixed or getattr(config, "quantization_config", None))


def _activation(module: Any) -> str | Callable[[Any], Any]:
    known = {"SiLUActivation": "silu", "SiLU": "silu", "GELUTanh": "gelu_tanh"}
    found: str | Callable[[Any], Any] = known.get(type(module).__name__, module)
    return found


def _attention(module: Any, config: Any) -> Attention:
    # Mistral slides in every layer and keeps the window in the config alone.
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None) if kinds is None else getattr(module, "sliding_window", None)
    return Attention(module.scaling, getattr(module, "attn_logit_softcapping", None), window)


def _embedding_scale(embedding: Any) -> float:
    """Rounded to the model's precision before it multiplies, as in the original: 59.75 for √3584 in bfloat16."""
    scale = getattr(embedding, "embed_scale", None)
    return 1.0 if scale is None else float(scale.to(embedding.weight.dtype))
