"""ModernBERT over packed batches: the layers of gte-modernbert, granite-r2 and ettin.

Each layer is normed before it looks and before its gated feed-forward; every third looks at the whole
text, the others at the tokens within half a window on either side. In those, a long text is cut into
blocks of queries that see their own neighbourhood alone, so that the cost of looking grows with the
text's length and not with its square. Source: Warner et al., arXiv 2412.13663, and transformers'
modeling_modernbert.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from .attention import Group
from .linear import Linear, linear
from .packed import Batch, PackedEncoder
from .rotary import Turn
from .weights import Norm, is_plain

__all__ = ["PackedModernBert", "read_modernbert"]

_CLASSES = {"ModernBertModel", "ModernBertForSequenceClassification"}
_FULL = "full_attention"
_LEAST_BLOCK = 64
"""Queries that are looked up together in a layer with a window; smaller blocks are slower than what they save."""


@dataclass(frozen=True)
class _Layer:
    norm: Norm | None
    """None in the first layer, whose input the embeddings have normed."""
    query: Linear
    key_value: Linear
    context: Linear
    inner_norm: Norm
    inner: Linear
    gate: Linear
    outer: Linear
    activation: Any
    """None for the exact gelu, which is computed with `inner`; else what transformers computes."""
    kind: str
    """Which rotary frequencies it has, and whether it has a window."""


@dataclass(frozen=True)
class _Head:
    """dense → activation → norm → out, in float32 whatever the dtype of the layers: rounded logits tie."""

    dense: Any
    activation: Any
    norm: Any
    out: Any
    pooling: str


@dataclass(frozen=True)
class ModernBertWeights:
    """A ModernBERT and, of a classifier, its head."""

    words: Any
    norm: Norm
    final_norm: Norm
    heads: int
    window: int
    """How many tokens to either side a layer with a window sees."""
    frequencies: dict[str, Any]
    layers: tuple[_Layer, ...]
    head: _Head | None
    padding: int | None = None
    """Positions begin at 0 in every row."""


def read_modernbert(model: Any) -> ModernBertWeights | None:
    """The weights of a transformers ModernBERT, or None for a model whose forward pass is not this one."""
    name = type(model).__name__
    if name not in _CLASSES or type(model).__module__ != "transformers.models.modernbert.modeling_modernbert":
        return None
    if not is_plain(model) or any(stated["rope_type"] != "default" for stated in model.config.rope_parameters.values()):
        return None
    body = model.base_model
    return ModernBertWeights(
        words=body.embeddings.tok_embeddings.weight.detach(),
        norm=Norm.of(body.embeddings.norm),
        final_norm=Norm.of(body.final_norm),
        heads=model.config.num_attention_heads,
        window=model.config.sliding_window,
        frequencies={kind: getattr(body.rotary_emb, f"{kind}_inv_freq") for kind in set(model.config.layer_types)},
        layers=tuple(map(_layer, body.layers)),
        head=_head(model) if name != "ModernBertModel" else None,
    )


class PackedModernBert(PackedEncoder):
    """The encoder, and a classifier where it has a head. Rows are token ids with their special tokens."""

    _weights: ModernBertWeights  # type: ignore[assignment]  # a tree of its own, read by `_hidden` and `_logits` alone

    def __init__(self, weights: ModernBertWeights) -> None:
        self._weights = weights

    def _logits(self, batch: Batch) -> Any:
        head = self._weights.head
        if head is None:
            raise TypeError("an encoder without a classification head has no logits")
        pooled = self._hidden(batch, batch.first) if head.pooling == "cls" else self._pooled(batch, head.pooling)
        return head.out(head.norm(head.activation(head.dense(pooled.float()))))

    def _hidden(self, batch: Batch, scored: Any = None) -> Any:
        weights = self._weights
        x = weights.norm(weights.words[batch.ids])
        turns = {kind: Turn.at(batch.positions, found) for kind, found in weights.frequencies.items()}
        for layer in weights.layers[:-1]:
            x = self._layer(layer, x, batch, turns[layer.kind], None)
        return weights.final_norm(self._layer(weights.layers[-1], x, batch, turns[weights.layers[-1].kind], scored))

    def _layer(self, layer: _Layer, x: Any, batch: Batch, turn: Turn, scored: Any) -> Any:  # type: ignore[override]
        """The layer at the flat places `scored`, one a row, or at all tokens; `x` is all tokens."""
        heads, window = self._weights.heads, None if layer.kind == _FULL else self._weights.window
        normed = x if layer.norm is None else layer.norm(x)
        key, value = layer.key_value(normed).unflatten(-1, (2, heads, -1)).unbind(1)
        asking = slice(None) if scored is None else scored
        query = turn.of(asking)(layer.query(normed[asking]).unflatten(-1, (heads, -1)))
        key = turn(key)
        if scored is None:
            parts = [_look(query[g.tokens], key[g.tokens], value[g.tokens], g, window) for g in batch.groups]
            context = torch.cat(parts)
        else:
            context = _look_once((query, key, value), batch.groups, window, at_the_end=scored is batch.last)
        x = layer.context.plus(context.flatten(1), x[asking])
        normed = layer.inner_norm(x)
        inner = layer.inner.gelu(normed) if layer.activation is None else layer.activation(layer.inner(normed))
        return layer.outer.plus(layer.gate.times(normed, inner), x)


def _look(query: Any, key: Any, value: Any, group: Group, window: int | None) -> Any:
    """Context of all tokens of rows of one length; each array is (tokens, heads, size)."""
    query, key, value = (part.unflatten(0, (group.count, group.length)).transpose(1, 2) for part in (query, key, value))
    if window is None or group.length <= window + 1:
        found = functional.scaled_dot_product_attention(query, key, value)
    else:
        found = _look_around(query, key, value, window)
    return found.transpose(1, 2).flatten(0, 1)


def _look_around(query: Any, key: Any, value: Any, window: int) -> Any:
    """Context where each token sees `window` tokens on either side; arrays are (rows, heads, length, size)."""
    rows, heads, length, size = query.shape
    block = max(window, _LEAST_BLOCK)
    blocks = -(-length // block)
    behind = blocks * block - length
    asking: Any = functional.pad(query, (0, 0, 0, behind))
    asking = asking.view(rows, heads, blocks, block, size)
    near_keys, near_values = (
        functional.pad(part, (0, 0, window, window + behind)).unfold(2, block + 2 * window, block).transpose(-1, -2)
        for part in (key, value)
    )
    places = torch.arange(blocks * block, device=query.device).view(blocks, block, 1)
    others = places[:, :1] - window + torch.arange(block + 2 * window, device=query.device)
    # A query behind the text's end would see nothing, which softmax cannot say: it sees all, and is cut off below.
    allowed = ((others - places).abs() <= window) & (others >= 0) & (others < length) | (places >= length)
    asking, near_keys, near_values = (part.transpose(1, 2).flatten(0, 1) for part in (asking, near_keys, near_values))
    mask = allowed.repeat(rows, 1, 1).unsqueeze(1)
    found: Any = functional.scaled_dot_product_attention(asking, near_keys, near_values, attn_mask=mask)
    return found.unflatten(0, (rows, blocks)).transpose(1, 2).reshape(rows, heads, -1, size)[:, :, :length]


def _look_once(parts: tuple[Any, Any, Any], groups: Sequence[Group], window: int | None, *, at_the_end: bool) -> Any:
    """Context of one token a row, its last or its first, which sees `window` tokens on its one side."""
    query, key, value = parts
    found = []
    for group in groups:
        near = slice(None)
        if window is not None and group.length > window + 1:
            near = slice(-window - 1, None) if at_the_end else slice(window + 1)
        keys, values = (
            part[group.tokens].unflatten(0, (group.count, group.length))[:, near].transpose(1, 2)
            for part in (key, value)
        )
        asking = query[group.rows].unsqueeze(2)
        found.append(functional.scaled_dot_product_attention(asking, keys, values).squeeze(2))
    return torch.cat(found)


def _layer(module: Any) -> _Layer:
    from transformers.activations import GELUActivation

    features = module.attn.Wo.weight.shape[0]
    width = module.mlp.Wo.weight.shape[1]
    query, key_value = _split(module.attn.Wqkv, features)
    inner, gate = _split(module.mlp.Wi, width)
    plain = isinstance(module.mlp.act, GELUActivation | torch.nn.GELU)
    return _Layer(
        norm=None if isinstance(module.attn_norm, torch.nn.Identity) else Norm.of(module.attn_norm),
        query=query,
        key_value=key_value,
        context=_split(module.attn.Wo, features)[0],
        inner_norm=Norm.of(module.mlp_norm),
        inner=inner,
        gate=gate,
        outer=_split(module.mlp.Wo, features)[0],
        activation=None if plain else module.mlp.act,
        kind=module.attention_type,
    )


def _split(module: Any, at: int) -> tuple[Linear, Linear]:
    """The first `at` outputs of a linear, and the others; the second is empty where there are none."""
    weight, bias = module.weight.detach(), None if module.bias is None else module.bias.detach()
    parts = [(weight[part], None if bias is None else bias[part]) for part in (slice(at), slice(at, None))]
    first, second = (linear(some, more) if len(some) else Linear(some, more) for some, more in parts)
    return first, second


def _head(model: Any) -> _Head:
    def widened(module: Any) -> Any:
        return copy.deepcopy(module).float()

    head = model.head
    return _Head(
        widened(head.dense), head.act, widened(head.norm), widened(model.classifier), model.config.classifier_pooling
    )
