"""BERT and RoBERTa over packed batches: all tokens of a batch in one flat (tokens, features) array.

Linears and norms take the flat array as it is, so no padding is computed. Where only some positions
are scored (the first, for a classifier), the last layer asks for these alone: exact, since no later
layer reads the others. The same batch gives the same bits; another batch of the same row gives the
same up to float noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .attention import Groups, attention_for, groups_of
from .weights import Layer, Weights

__all__ = ["Batch", "PackedEncoder"]

TokenIds = Sequence[int] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Batch:
    """Rows end to end, longest first."""

    order: NDArray[np.int64]
    """Place in the batch → row as given."""
    first: Any
    """The flat place of each row's first token."""
    last: Any
    ids: Any
    positions: Any
    types: Any
    groups: Groups

    def restored(self, values: Any) -> NDArray[np.float32]:
        """Values of the batch's places, in the order of the rows as they were given."""
        found = np.empty(tuple(values.shape), np.float32)
        found[self.order] = values.float().cpu().numpy()
        return found


class PackedEncoder:
    """An encoder, and a classifier where it has a head. Rows are token ids with their special tokens."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._attention = attention_for(weights.words, weights.heads)

    def logits(self, ids: Sequence[TokenIds], types: Sequence[TokenIds] | None = None) -> NDArray[np.float32]:
        """Raw logits, shape (rows, labels). `types` are token types; None takes 0 everywhere."""
        with torch.inference_mode():
            batch = self._batch(ids, types)
            return batch.restored(self._logits(batch))

    def pooled(
        self, ids: Sequence[TokenIds], pooling: str, types: Sequence[TokenIds] | None = None
    ) -> NDArray[np.float32]:
        """One vector a row, shape (rows, features), not normalised. `pooling` is cls, lasttoken, mean or max."""
        with torch.inference_mode():
            batch = self._batch(ids, types)
            if pooling in ("cls", "lasttoken"):
                return batch.restored(self._hidden(batch, batch.first if pooling == "cls" else batch.last))
            return batch.restored(self._pooled(batch, pooling))

    def _logits(self, batch: Batch) -> Any:
        head = self._weights.head
        if head is None:
            raise TypeError("an encoder without a classification head has no logits")
        dense, out = head
        return out(torch.tanh(dense(self._hidden(batch, batch.first).float())))

    def _pooled(self, batch: Batch, pooling: str) -> Any:
        """The mean or max of each row's last hidden states, float32."""
        hidden = self._hidden(batch).float()
        parts = [hidden[group.tokens].view(group.count, group.length, -1) for group in batch.groups]
        return torch.cat([part.amax(1) if pooling == "max" else part.mean(1) for part in parts])

    def _batch(self, ids: Sequence[TokenIds], types: Sequence[TokenIds] | None) -> Batch:
        lengths = np.array([len(row) for row in ids], np.int64)
        order = np.argsort(-lengths, kind="stable")
        ordered = lengths[order]
        first = np.cumsum(ordered) - ordered
        flat = np.concatenate([np.asarray(ids[row], np.int64) for row in order])
        kinds = np.zeros_like(flat) if types is None else np.concatenate([np.asarray(types[row]) for row in order])

        def there(values: NDArray[np.int64]) -> Any:
            return torch.from_numpy(values).to(self._weights.words.device)

        return Batch(
            order=order,
            first=there(first),
            last=there(first + ordered - 1),
            ids=there(flat),
            positions=there(_positions(flat, first, ordered, self._weights.padding)),
            types=there(kinds),
            groups=groups_of(ordered.tolist()),
        )

    def _hidden(self, batch: Batch, scored: Any = None) -> Any:
        """The last layer's hidden states: of the flat places in `scored`, or of all tokens."""
        weights = self._weights
        x = weights.words[batch.ids] + weights.types[batch.types]
        x = weights.norm(x.add_(weights.positions[batch.positions]))
        for layer in weights.layers[:-1]:
            x = self._layer(layer, x, x, batch.groups)
        return self._layer(weights.layers[-1], x, x if scored is None else x[scored], batch.groups)

    def _layer(self, layer: Layer, x: Any, asking: Any, groups: Groups) -> Any:
        """The layer over all tokens `x`, for the positions in `asking`: all, or one a row."""
        context = self._attention(layer.query(asking), layer.key_value(x), groups, self._weights.heads)
        return self._behind(layer, context, asking)

    def _behind(self, layer: Layer, context: Any, asking: Any) -> Any:
        """What the layer makes of what its attention found for the positions in `asking`."""
        asking = layer.context_norm(layer.context.plus(context, asking))
        inner = layer.inner.gelu(asking) if layer.activation is None else layer.activation(layer.inner(asking))
        return layer.outer_norm(layer.outer.plus(inner, asking))


def _positions(
    flat: NDArray[np.int64], first: NDArray[np.int64], lengths: NDArray[np.int64], padding: int | None
) -> NDArray[np.int64]:
    """Position numbers, row after row. RoBERTa counts from padding + 1 and leaves padding ids inside a text out."""
    if padding is None:
        return np.arange(len(flat)) - np.repeat(first, lengths)
    counted = flat != padding
    before = np.concatenate([[0], np.cumsum(counted)])
    inside = before[1:] - np.repeat(before[first], lengths)
    return np.where(counted, inside, 0) + padding
