"""DeBERTa v2 and v3 over packed batches: the layers of mxbai-rerank v1 and many a classifier.

Beside its content a query is compared with the distance to each key, and each key with the distance to
each query, by embeddings of distances that every layer projects anew. Here a layer's projections are
made once, when the model loads. Both comparisons depend on query minus key alone, so each is a product
with the distances in order, read along its diagonals: a view, where transformers gathers element by
element. Source: He et al., arXiv 2006.03654 and 2111.09543, and transformers' modeling_deberta_v2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from .attention import Group
from .linear import Linear, linear
from .packed import Batch, PackedEncoder
from .weights import Layer, Norm, exact, is_plain, read_layer

__all__ = ["Distances", "PackedDeberta", "read_deberta"]

_CLASSES = {"DebertaV2Model", "DebertaV2ForSequenceClassification"}
_BLOCK = 64
"""Queries, or keys, of a longer text that are compared with distances together: fewer pairs then lie off its diagonals."""
_ROOM = 256
"""Tokens of short texts that are looked up together: what is computed of them stays in the processor's cache."""
_ROOM_ON_A_DEVICE = 2**27
"""The most numbers of one comparison where every call costs more than what it computes."""


@dataclass(frozen=True)
class Distances:
    """Which embedding stands for a distance: each its own up to half of `buckets`, logarithmically fewer beyond."""

    span: int
    """Distances from -span to span have embeddings; the end's stand for those beyond."""
    buckets: int
    """0 or less where every distance has its own."""
    longest: int

    def rows(self, length: int) -> Any:
        """The embedding's number of each distance from 1 - length to length - 1, shape (2 · length - 1,)."""
        distance = torch.arange(1 - length, length)
        middle = self.buckets // 2
        if self.buckets > 0 and self.longest > 0:
            far = distance.abs().clamp(min=middle)
            # In float32 and in this order, as the weights were trained: a bucket's bound is where rounding puts it.
            share = torch.log(far / middle) / torch.log(torch.tensor((self.longest - 1) / middle))
            far = torch.ceil(share * (middle - 1)).long() + middle
            distance = torch.where(distance.abs() <= middle, distance, far * distance.sign())
        return (distance + self.span).clamp(0, 2 * self.span - 1)


class _Looking(NamedTuple):
    """How a layer looks: its shape, and its projected embeddings of distances, divided as scores are."""

    layer: Layer
    as_keys: Any
    """What queries are compared with, (2 · span, features); None in a model without that comparison."""
    as_queries: Any
    """What keys are compared with."""


@dataclass(frozen=True)
class _Convolution:
    """The convolution of the embeddings beside the first layer (DeBERTa v2 xlarge), added before a norm of its own."""

    conv: Any
    activation: Any
    norm: Norm

    def __call__(self, embedded: Any, x: Any, groups: Sequence[Group]) -> Any:
        parts = []
        for group in groups:
            rows = embedded[group.tokens].unflatten(0, (group.count, group.length))
            parts.append(self.conv(rows.transpose(1, 2)).transpose(1, 2).flatten(0, 1))
        return self.norm(x + self.activation(torch.cat(parts)))


@dataclass(frozen=True)
class _Head:
    """dense → activation → out of the first token, in float32 whatever the dtype of the layers: rounded logits tie."""

    dense: Linear
    activation: Any
    out: Linear


@dataclass(frozen=True)
class DebertaWeights:
    """A DeBERTa v2 or v3 and, of a classifier, its head."""

    words: Any
    positions: Any
    """Embeddings of absolute positions; None in v3, which has none."""
    types: Any
    """Embeddings of token types; None where there are no types."""
    widening: Linear | None
    """From the embeddings' width to the layers', where they differ."""
    norm: Norm
    heads: int
    scale: float
    """What scores are multiplied by."""
    distances: Distances
    layers: tuple[_Looking, ...]
    convolution: _Convolution | None
    head: _Head | None
    padding: int | None = None
    """Positions begin at 0 in every row."""


def read_deberta(model: Any) -> DebertaWeights | None:
    """The weights of a transformers DeBERTa v2 or v3, or None for a model whose forward pass is not this one."""
    name = type(model).__name__
    if name not in _CLASSES or type(model).__module__ != "transformers.models.deberta_v2.modeling_deberta_v2":
        return None
    body = model.base_model
    if not is_plain(model) or body.z_steps > 1:
        return None
    embeddings, first = body.embeddings, body.encoder.layer[0].attention.self
    kinds = {"c2p", "p2c"} & set(first.pos_att_type)
    scale = (first.query_proj.weight.shape[0] / first.num_attention_heads * (1 + len(kinds))) ** -0.5
    widening = None if embeddings.embed_proj is None else linear(embeddings.embed_proj.weight.detach(), None)
    return DebertaWeights(
        words=embeddings.word_embeddings.weight.detach(),
        positions=_table(embeddings.position_embeddings),
        types=_table(embeddings.token_type_embeddings),
        widening=widening,
        norm=Norm.of(embeddings.LayerNorm),
        heads=first.num_attention_heads,
        scale=scale,
        distances=_distances(first),
        layers=_layers(body.encoder, scale),
        convolution=_convolution(body.encoder.conv),
        head=_head(model) if name != "DebertaV2Model" else None,
    )


class PackedDeberta(PackedEncoder):
    """The encoder, and a classifier where it has a head. Rows are token ids with their special tokens."""

    _weights: DebertaWeights  # type: ignore[assignment]  # a tree of its own, read by `_hidden` and `_logits` alone

    def __init__(self, weights: DebertaWeights) -> None:
        self._weights = weights

    def _logits(self, batch: Batch) -> Any:
        head = self._weights.head
        if head is None:
            raise TypeError("an encoder without a classification head has no logits")
        return head.out(head.activation(head.dense(self._hidden(batch, batch.first).float())))

    def _hidden(self, batch: Batch, scored: Any = None) -> Any:
        weights = self._weights
        embedded = x = self._embedded(batch)
        orders = [weights.distances.rows(group.length).to(x.device) for group in batch.groups]
        for layer in weights.layers:
            behind = weights.convolution if layer is weights.layers[0] else None
            only = scored if layer is weights.layers[-1] and behind is None else None
            x = self._looked(layer, x, batch, orders, only)
            if behind is not None:
                x = behind(embedded, x, batch.groups)
        return x if scored is None or len(x) == len(scored) else x[scored]

    def _embedded(self, batch: Batch) -> Any:
        weights = self._weights
        x = weights.words[batch.ids]
        if weights.positions is not None:
            x += weights.positions[batch.positions]
        if weights.types is not None:
            x += weights.types[batch.types]
        return weights.norm(x if weights.widening is None else weights.widening(x))

    def _looked(self, looking: _Looking, x: Any, batch: Batch, orders: Sequence[Any], scored: Any) -> Any:
        """The layer at the flat places `scored`, the first or the last of each row, or at all tokens; `x` is all tokens."""
        layer, heads = looking.layer, self._weights.heads
        asking = x if scored is None else x[scored]
        query = layer.query(asking).unflatten(-1, (heads, -1))
        key, value = layer.key_value(x).unflatten(-1, (2, heads, -1)).unbind(1)
        found = []
        for group, order in zip(batch.groups, orders, strict=True):
            near = _Near.of(looking, order, heads)
            keys, values = (part[group.tokens].unflatten(0, (group.count, group.length)) for part in (key, value))
            if scored is None:
                queries = query[group.tokens].unflatten(0, (group.count, group.length))
                found.append(_look(_Parts(queries, keys, values), near, self._weights.scale))
            else:
                place = group.length - 1 if scored is batch.last else 0
                found.append(_look_once(_Parts(query[group.rows], keys, values), near, self._weights.scale, place))
        return self._behind(layer, torch.cat(found).flatten(1), asking)


class _Parts(NamedTuple):
    """Queries, keys and values of rows of one length."""

    query: Any
    key: Any
    value: Any


class _Near(NamedTuple):
    """Projected embeddings of the distances in a text, shape (heads, size, 2 · length - 1) each, or None."""

    as_keys: Any
    """From the largest query minus key to the smallest."""
    as_queries: Any
    """From the smallest to the largest."""

    @classmethod
    def of(cls, looking: _Looking, order: Any, heads: int) -> _Near:
        """Those of a layer; `order` is `Distances.rows` of the text's length."""

        def chosen(table: Any, order: Any) -> Any:
            return None if table is None else table[order].unflatten(-1, (heads, -1)).permute(1, 2, 0)

        return cls(chosen(looking.as_keys, order.flip(0)), chosen(looking.as_queries, order))


def _look(parts: _Parts, near: _Near, scale: float) -> Any:
    """Context of all tokens, (tokens, heads, size); the parts are (rows, length, heads, size)."""
    rows, length, heads, _ = parts.query.shape
    if parts.query.is_cuda:
        block, count = length, max(1, _ROOM_ON_A_DEVICE // (heads * length * 2 * length))
    elif length > _BLOCK + _BLOCK // 2:
        block, count = _BLOCK, 1
    else:
        block, count = length, _ROOM // length
    found = []
    for row in range(0, rows, count):
        # Heads stand before rows, so that one product takes the rows' tokens with the distances, which they share.
        some = _Parts(*(part[row : row + count].permute(2, 0, 1, 3) for part in parts))
        found.append(_look_in_blocks(some, near, scale, block).permute(1, 2, 0, 3).flatten(0, 1))
    return torch.cat(found)


def _look_in_blocks(parts: _Parts, near: _Near, scale: float, block: int) -> Any:
    """Context, all arrays (heads, rows, length, size); so many queries, and keys, at once are compared with distances."""
    query, key, value = parts
    heads, rows, length, _ = query.shape
    blocks = [slice(start, min(start + block, length)) for start in range(0, length, block)]
    bias = None
    if near.as_queries is not None:
        bias = query.new_empty(heads, rows, length, length)
        for part in blocks:
            bias[..., part] = _along(key[:, :, part], near.as_queries, part, length).transpose(-1, -2)
    found = []
    for part in blocks:
        seen = None if bias is None else bias[:, :, part]
        if near.as_keys is not None:
            compared = _along(query[:, :, part], near.as_keys, part, length)
            seen = compared.contiguous() if seen is None else seen.add_(compared)
        asking = query[:, :, part]
        found.append(functional.scaled_dot_product_attention(asking, key, value, attn_mask=seen, scale=scale))
    return torch.cat(found, 2)


def _along(some: Any, distances: Any, part: slice, length: int) -> Any:
    """Tokens `some` (heads, rows, part, size) by `distances` to all tokens of their text: (heads, rows, part, length).

    A token's product with the distances in order holds what it has with each other token in a run that
    begins one place earlier than the token's before it: rows of a view one place shorter than the product's.
    """
    heads, rows, count, size = some.shape
    wide = length + count - 1
    product = torch.bmm(
        some.reshape(heads, rows * count, size), distances[..., length - part.stop : length - part.stop + wide]
    )
    strides = (rows * count * wide, count * wide, wide - 1, 1)
    return product.as_strided((heads, rows, count, length), strides, product.storage_offset() + count - 1)


def _look_once(parts: _Parts, near: _Near, scale: float, place: int) -> Any:
    """Context (rows, heads, size) of one token a row, that in `place`; keys and values are (rows, length, heads, size)."""
    query, key, value = parts
    length = key.shape[1]
    bias = None
    if near.as_keys is not None:
        start = length - 1 - place
        bias = torch.bmm(query.transpose(0, 1), near.as_keys[..., start : start + length]).transpose(0, 1)
    if near.as_queries is not None:
        facing = near.as_queries[..., place : place + length].flip(-1).permute(2, 0, 1)
        compared = (key.float() * facing).sum(-1).transpose(1, 2).to(key.dtype)
        bias = compared if bias is None else bias + compared
    query, key, value = query.unsqueeze(2), key.transpose(1, 2), value.transpose(1, 2)
    mask = None if bias is None else bias.unsqueeze(2)
    return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale).squeeze(2)


def _table(embedding: Any) -> Any:
    return None if embedding is None else embedding.weight.detach()


def _distances(attention: Any) -> Distances:
    if not attention.relative_attention:
        return Distances(1, 0, 0)
    return Distances(attention.pos_ebd_size, attention.position_buckets, attention.max_relative_positions)


def _layers(encoder: Any, scale: float) -> tuple[_Looking, ...]:
    with torch.inference_mode():
        embedded = encoder.get_rel_embedding()
        return tuple(_looking(module, embedded, scale) for module in encoder.layer)


def _looking(module: Any, embedded: Any, scale: float) -> _Looking:
    attention = module.attention.self
    shared = attention.share_att_key
    as_keys = as_queries = None
    if attention.relative_attention:
        embedded = embedded[: 2 * attention.pos_ebd_size]
        if "c2p" in attention.pos_att_type:
            as_keys = (attention.key_proj if shared else attention.pos_key_proj)(embedded) * scale
        if "p2c" in attention.pos_att_type:
            as_queries = (attention.query_proj if shared else attention.pos_query_proj)(embedded) * scale
    layer = read_layer(module, attention.query_proj, attention.key_proj, attention.value_proj)
    return _Looking(layer, as_keys, as_queries)


def _convolution(module: Any) -> _Convolution | None:
    from transformers.activations import ACT2FN

    if module is None:
        return None
    return _Convolution(module.conv, ACT2FN[module.conv_act], Norm.of(module.LayerNorm))


def _head(model: Any) -> _Head:
    from transformers.activations import ACT2FN

    return _Head(exact(model.pooler.dense), ACT2FN[model.config.pooler_hidden_act], exact(model.classifier))
