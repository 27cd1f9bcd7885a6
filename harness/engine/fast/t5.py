"""T5, mT5 and umT5 encoders over packed batches, and one step of a T5's decoder behind them.

Scores get an offset for the distance of query and key and are not scaled; one table of offsets serves
all lengths of a batch, since a shorter text's is a corner of a longer one's. The decoder asks once a
text: its projections of keys and values are put on the side of the one that asks, so that they cost
by the text and not by the token. Source: Raffel et al., arXiv 1910.10683, and transformers' modeling_t5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from .attention import Group
from .decoder_weights import RmsNorm
from .linear import Linear, linear
from .packed import Batch, PackedEncoder, TokenIds
from .weights import is_plain

__all__ = ["Offsets", "PackedT5", "PackedT5Answer", "read_t5", "take_t5_answer"]

_Taken = TypeVar("_Taken")

_HOMES = {
    "T5": "transformers.models.t5.modeling_t5",
    "MT5": "transformers.models.mt5.modeling_mt5",
    "UMT5": "transformers.models.umt5.modeling_umt5",
}
_ACTIVATIONS = {"NewGELUActivation": "gelu_tanh", "GELUActivation": "gelu", "SiLUActivation": "silu", "SiLU": "silu"}
"""Class of transformers → what computes it with the product before it."""


@dataclass(frozen=True)
class Offsets:
    """What is added to a score for the distance of its query and its key; `table` is (buckets, heads)."""

    table: Any
    longest: int
    """Distances from here on share a bucket."""

    def buckets(self, length: int) -> Any:
        """The bucket of each distance, key less query, from 1 - length to length - 1."""
        distance = torch.arange(1 - length, length, device=self.table.device)
        half = len(self.table) // 2
        single = half // 2
        far = distance.abs().clamp(min=single)
        # In float32 and in this order, as the weights were trained: a bucket's bound is where rounding puts it.
        share = torch.log(far.float() / single) / math.log(self.longest / single)
        far = (single + (share * (half - single)).long()).clamp(max=half - 1)
        return torch.where(distance.abs() < single, distance.abs(), far) + (distance > 0) * half

    def of(self, length: int) -> Any:
        """The offsets of all pairs of a text's tokens, shape (1, heads, length, length): query, key."""
        runs = self.table[self.buckets(length)].T.contiguous().unfold(1, length, 1)
        return runs.flip(1).unsqueeze(0)


@dataclass(frozen=True)
class _FeedForward:
    """norm → inner, an activation, a gate where there is one → outer, added to what came in."""

    norm: RmsNorm
    inner: Linear
    gate: Linear | None
    outer: Linear
    activation: str | Callable[[Any], Any]

    def __call__(self, x: Any) -> Any:
        normed, activation = self.norm(x), self.activation
        named = isinstance(activation, str)
        inner = getattr(self.inner, str(activation))(normed) if named else activation(self.inner(normed))  # type: ignore[operator]
        return self.outer.plus(inner if self.gate is None else self.gate.times(normed, inner), x)


@dataclass(frozen=True)
class _Layer:
    norm: RmsNorm
    query: Linear
    key_value: Linear
    context: Linear
    offsets: Offsets | None
    """None where those of the layer before serve it too."""
    behind: _FeedForward


@dataclass(frozen=True)
class T5Weights:
    """The encoder of a T5."""

    words: Any
    heads: int
    layers: tuple[_Layer, ...]
    norm: RmsNorm
    padding: int | None = None
    """Positions begin at 0 in every row."""


def read_t5(model: Any) -> T5Weights | None:
    """The weights of a transformers `…T5EncoderModel`, or None for a model whose forward pass is not this one.

    They are taken out of `model`, layer by layer, so that there is never a second copy of all: it is
    empty afterwards.
    """
    return _encoder(model.encoder, model.config) if _is_known(model, "EncoderModel", _HOMES) else None


class PackedT5(PackedEncoder):
    """The encoder. Rows are token ids with their special tokens; token types are not looked at."""

    _weights: T5Weights  # type: ignore[assignment]  # a tree of its own, read by `_hidden` alone

    def __init__(self, weights: T5Weights) -> None:
        self._weights = weights

    def _logits(self, batch: Batch) -> Any:
        raise TypeError("an encoder without a classification head has no logits")

    def _hidden(self, batch: Batch, scored: Any = None) -> Any:
        weights = self._weights
        x = weights.words[batch.ids]
        offsets = None
        for layer in weights.layers:
            if layer.offsets is not None:
                offsets = layer.offsets.of(batch.groups[0].length)
            x = self._looked(layer, x, batch, offsets, scored if layer is weights.layers[-1] else None)
        return weights.norm(x)

    def _looked(self, layer: _Layer, x: Any, batch: Batch, offsets: Any, scored: Any) -> Any:
        """The layer at the flat places `scored`, the first or the last of each row, or at all tokens; `x` is all tokens."""
        heads = self._weights.heads
        normed = layer.norm(x)
        asking = slice(None) if scored is None else scored
        query = layer.query(normed[asking]).unflatten(-1, (heads, -1))
        key, value = layer.key_value(normed).unflatten(-1, (2, heads, -1)).unbind(1)
        found = []
        for group in batch.groups:
            rows = query[group.tokens if scored is None else group.rows].unflatten(0, (group.count, -1))
            keys, values = (part[group.tokens].unflatten(0, (group.count, group.length)) for part in (key, value))
            seen = offsets[..., : group.length, : group.length]
            if scored is not None:
                place = group.length - 1 if scored is batch.last else 0
                seen = seen[..., place : place + 1, :]
            asked, keys, values = (part.transpose(1, 2) for part in (rows, keys, values))
            context = functional.scaled_dot_product_attention(asked, keys, values, attn_mask=seen, scale=1.0)
            found.append(context.transpose(1, 2).flatten(0, 1).flatten(1))
        return layer.behind(layer.context.plus(torch.cat(found), x[asking]))


@dataclass(frozen=True)
class _Step:
    """A layer of the decoder for the first token of an answer, which has itself alone before it."""

    norm: RmsNorm
    value: Linear
    context: Linear
    text_norm: RmsNorm
    text_query: Linear
    text_key: Any
    """(heads, size, features): queries → what is multiplied with the text's states."""
    text_value: Any
    """(heads, features, size): sums of the text's states → contexts."""
    text_context: Linear
    behind: _FeedForward

    def __call__(self, x: Any, states: Any, groups: Sequence[Group]) -> Any:
        """One row of `x` a text, `states` of all of the texts' tokens."""
        x = self.context.plus(self.value(self.norm(x)), x)
        query = self.text_query(self.text_norm(x)).unflatten(-1, (len(self.text_key), -1))
        query = torch.bmm(query.transpose(0, 1), self.text_key).transpose(0, 1)
        found = []
        for group in groups:
            text = states[group.tokens].unflatten(0, (group.count, group.length))
            weights = torch.bmm(query[group.rows], text.transpose(1, 2)).softmax(-1)
            found.append(torch.bmm(weights, text))
        context = torch.bmm(torch.cat(found).transpose(0, 1), self.text_value).transpose(0, 1).flatten(1)
        return self.behind(self.text_context.plus(context, x))


class PackedT5Answer(PackedT5):
    """A T5's encoder, and its decoder's state behind the first token of an answer."""

    def __init__(self, weights: T5Weights, words: Any, steps: Sequence[_Step], norm: RmsNorm) -> None:
        super().__init__(weights)
        self._words, self._steps, self._norm = words, steps, norm

    def states(self, ids: Sequence[TokenIds], start: int) -> NDArray[np.float32]:
        """The decoder's last state of each row, shape (rows, features); every answer begins with the id `start`."""
        with torch.inference_mode():
            batch = self._batch(ids, None)
            texts = self._hidden(batch)
            x = self._words[start].expand(len(ids), -1)
            for step in self._steps:
                x = step(x, texts, batch.groups)
            return batch.restored(self._norm(x))


def take_t5_answer(model: Any) -> PackedT5Answer | None:
    """A T5 or mT5 `…ForConditionalGeneration`, or None for a model whose forward pass is not this one.

    The weights are taken out of `model`, as by `read_t5`; its head stays in it.
    """
    if not _is_known(model, "ForConditionalGeneration", ("T5", "MT5")):
        return None
    body = model.decoder
    words = body.embed_tokens.weight.detach()
    encoder = _encoder(model.encoder, model.config)
    steps = [_taken(_step, block, model.config.num_heads) for block in body.block]
    return PackedT5Answer(encoder, words, steps, _norm(body.final_layer_norm))


def _is_known(model: Any, kind: str, families: Iterable[str]) -> bool:
    name = type(model).__name__
    family = name.removesuffix(kind)
    known = name.endswith(kind) and family in families and type(model).__module__ == _HOMES[family]
    # In float16 transformers clamps what overflows, and keeps some weights in float32.
    return known and is_plain(model) and model.dtype != torch.float16


def _encoder(stack: Any, config: Any) -> T5Weights:
    return T5Weights(
        words=stack.embed_tokens.weight.detach(),
        heads=config.num_heads,
        layers=tuple(_taken(_layer, block, config.relative_attention_max_distance) for block in stack.block),
        norm=_norm(stack.final_layer_norm),
    )


def _taken(read: Callable[[Any, int], _Taken], block: Any, number: int) -> _Taken:
    """What `read` makes of a block, which is empty afterwards."""
    found = read(block, number)
    block.to("meta")
    return found


def _layer(block: Any, longest: int) -> _Layer:
    attention = block.layer[0].SelfAttention
    offsets = attention.relative_attention_bias.weight.detach() if attention.has_relative_attention_bias else None
    return _Layer(
        norm=_norm(block.layer[0].layer_norm),
        query=_linear(attention.q),
        key_value=linear(torch.cat([attention.k.weight.detach(), attention.v.weight.detach()]), None),
        context=_linear(attention.o),
        offsets=None if offsets is None else Offsets(offsets, longest),
        behind=_feed_forward(block.layer[-1]),
    )


def _step(block: Any, heads: int) -> _Step:
    own, text = block.layer[0].SelfAttention, block.layer[1].EncDecAttention
    return _Step(
        norm=_norm(block.layer[0].layer_norm),
        value=_linear(own.v),
        context=_linear(own.o),
        text_norm=_norm(block.layer[1].layer_norm),
        text_query=_linear(text.q),
        text_key=text.k.weight.detach().unflatten(0, (heads, -1)),
        text_value=text.v.weight.detach().unflatten(0, (heads, -1)).transpose(1, 2),
        text_context=_linear(text.o),
        behind=_feed_forward(block.layer[-1]),
    )


def _feed_forward(module: Any) -> _FeedForward:
    dense = module.DenseReluDense
    gated = hasattr(dense, "wi_0")
    return _FeedForward(
        norm=_norm(module.layer_norm),
        inner=_linear(dense.wi_0 if gated else dense.wi),
        gate=_linear(dense.wi_1) if gated else None,
        outer=_linear(dense.wo),
        activation=_ACTIVATIONS.get(type(dense.act).__name__, dense.act),
    )


def _norm(module: Any) -> RmsNorm:
    return RmsNorm(module.weight.detach().float(), module.variance_epsilon)


def _linear(module: Any) -> Linear:
    return linear(module.weight.detach(), None)
