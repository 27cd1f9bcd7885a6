"""Llama-shaped decoders over packed batches: no padding, a shared beginning once, heads where they are read.

The beginning that a group's rows share goes through the network alone, and its keys and values are
what the rows then look at: exact, since a causal model's earlier tokens never see later ones. The
last layer is computed for the last token of each row. The same batch gives the same bits; another
batch of the same row gives the same up to float noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .cascade import Kernel, KeyValue, kernel_for
from .compress import compress
from .decoder_batch import DecoderBatch, Passages, batch_of, flat
from .decoder_weights import DecoderLayer, DecoderWeights
from .linear import Linear
from .rotary import Turn
from .sharing import Sharing, TokenIds

__all__ = ["LastTokenHead", "PackedDecoder", "PackedLastToken", "soft_cap"]


class PackedDecoder:
    """A decoder without a head, computed up to the deepest of `depths` (None: all its layers).

    With `whole` the deepest layer is computed for all tokens too: then a layer's states are the same
    to the bit whichever others are asked for.
    """

    def __init__(self, weights: DecoderWeights, depths: Sequence[int] | None = None, *, whole: bool = False) -> None:
        self.layers, self._whole = weights.layers, whole
        self.depths = (len(weights.layers),) if depths is None else tuple(depths)
        self._weights, self._shape = weights, weights.shape
        shape = weights.shape
        self._kernel: Kernel = kernel_for(
            torch.empty(0, dtype=weights.words.dtype, device=weights.words.device),
            shape.heads, shape.key_value_heads, shape.head_size,
        )  # fmt: skip
        self._kept: tuple[bytes, list[KeyValue]] | None = None

    def states(self, rows: Sequence[TokenIds], sharing: Sharing | None = None, passages: Passages | None = None) -> Any:
        """norm(hidden after k layers) at each row's last token, for each k of `depths`: (depths, rows, features).

        Rows of a group in `sharing` begin with the same ids; None shares nothing. `passages` are in
        tokens of whole rows. Call it in inference mode.
        """
        if sharing is None:
            sharing = Sharing(np.arange(len(rows)), np.zeros(len(rows), np.int64))
        own = [row[skip:] for row, skip in zip(rows, sharing.shared.tolist(), strict=True)]
        if passages is not None:
            start, stop = passages.start - sharing.shared, passages.stop - sharing.shared
            passages = Passages(start, stop, passages.ratio, passages.layers)
        lengths = np.array([len(row) for row in own], np.int64)
        batch = batch_of(sharing, lengths, self._weights.words.device, passages)
        if self._shape.longest is not None and batch.longest > self._shape.longest:
            raise ValueError(f"a row of {batch.longest} tokens, and rotary positions for {self._shape.longest}")
        heads = [rows[batch.order[share.rows.start]] for share in batch.shares]
        widths = [share.prefix.stop - share.prefix.start for share in batch.shares]
        past = self._past([row[:width] for row, width in zip(heads, widths, strict=True)]) if heads else None
        return self._states(self._embedded([own[row] for row in batch.order]), batch, past)

    def pooled(self, rows: Sequence[TokenIds], pooling: str = "lasttoken") -> NDArray[np.float32]:
        """The deepest states of `states`, float32, shape (rows, features); `pooling` can be no other."""
        if pooling != "lasttoken":
            raise ValueError(f"a packed decoder pools its last token, not by {pooling}")
        with torch.inference_mode():
            found: NDArray[np.float32] = self.states(rows)[-1].float().cpu().numpy()
        return found

    def _past(self, prefixes: Sequence[TokenIds]) -> list[KeyValue]:
        """Keys and values of the prefixes, end to end, layer by layer.

        Those of a single prefix are kept for the next batch, since a large group has several. They
        were computed in a company of their own, so it makes no difference which batch came first.
        """
        asked = flat(prefixes).tobytes()
        if self._kept is not None and len(prefixes) == 1 and self._kept[0] == asked:
            return self._kept[1]
        self._kept = None
        lengths = np.array([len(prefix) for prefix in prefixes], np.int64)
        alone = Sharing(np.zeros_like(lengths), np.zeros_like(lengths))
        batch = batch_of(alone, lengths, self._weights.words.device)
        found = self._keys_and_values(self._embedded([prefixes[row] for row in batch.order]), batch)
        if len(prefixes) == 1:
            self._kept = asked, found
            return found
        places = batch.there(_places(batch))
        return [(key[places], value[places]) for key, value in found]

    def _embedded(self, rows: Sequence[TokenIds]) -> Any:
        words = self._weights.words
        return words[torch.from_numpy(flat(rows)).to(words.device)] * self._shape.embedding_scale

    def _keys_and_values(self, x: Any, batch: DecoderBatch) -> list[KeyValue]:
        turn, found = self._turn(batch), []
        for place, layer in enumerate(self.layers[: max(self.depths)], start=1):
            normed = layer.norm(x)
            found.append(self._key_value(layer, normed, turn))
            if place < max(self.depths):
                x = self._rest(layer, x, normed, found[-1], None, batch, turn)
        return found

    def _states(self, x: Any, batch: DecoderBatch, past: list[KeyValue] | None) -> Any:
        turn, found = self._turn(batch), []
        for place, layer in enumerate(self.layers[: max(self.depths)], start=1):
            if batch.passages is not None and place - 1 in batch.passages.layers:
                x, batch = compress(x, batch)
                turn = self._turn(batch)
            normed = layer.norm(x)
            own, before = self._key_value(layer, normed, turn), past[place - 1] if past else None
            if self._whole or place < max(self.depths):
                x = self._rest(layer, x, normed, own, before, batch, turn)
                last = x[batch.last] if place in self.depths else None
            else:
                asked = batch.last
                last = self._rest(layer, x[asked], normed[asked], own, before, batch, turn.of(asked))
            if last is not None:
                found.append(batch.restored(self._weights.norm(last)))
        return torch.stack(found)

    def _turn(self, batch: DecoderBatch) -> Turn:
        return Turn.at(batch.positions, self._shape.frequencies, self._shape.stretch)

    def _key_value(self, layer: DecoderLayer, normed: Any, turn: Turn) -> KeyValue:
        both = layer.key_value(normed).unflatten(-1, (2, self._shape.key_value_heads, -1))
        key, value = both.unbind(1)
        return turn(key if layer.key_norm is None else layer.key_norm(key)), value

    def _rest(
        self, layer: DecoderLayer, x: Any, normed: Any, own: KeyValue, past: KeyValue | None, batch: DecoderBatch,
        turn: Turn,
    ) -> Any:  # fmt: skip
        """The layer's output at the positions of `x`, given the keys and values of all."""
        query = layer.query(normed).unflatten(-1, (self._shape.heads, -1))
        query = turn(query if layer.query_norm is None else layer.query_norm(query))
        context = layer.attention(query, own, past, batch, self._kernel)
        x = self._added(layer.context, layer.context_norm, context.flatten(1), x)
        normed, activation = layer.inner_norm(x), self._shape.activation
        gate = (
            getattr(layer.gate, activation)(normed) if isinstance(activation, str) else activation(layer.gate(normed))
        )
        return self._added(layer.outer, layer.outer_norm, layer.inner.times(normed, gate), x)

    def _added(self, last: Linear, norm: Any, inputs: Any, x: Any) -> Any:
        scale = self._shape.depth_scale
        if norm is None and scale == 1:
            return last.plus(inputs, x)
        found = last(inputs)
        return x + (found if norm is None else norm(found)) * scale


def _places(batch: DecoderBatch) -> NDArray[np.int64]:
    """The flat places of a batch's tokens, row after row as the rows were given."""
    starts = dict(zip(batch.order.tolist(), zip(batch.first, batch.lengths, strict=True), strict=True))
    return np.concatenate([np.arange(starts[row][0], sum(starts[row])) for row in range(len(starts))])


@dataclass(frozen=True)
class LastTokenHead:
    """Some rows of a linear head, in float32 whatever the model's dtype: rounded logits tie."""

    weight: Any
    bias: Any
    cap: float | None = None

    def __call__(self, states: Any) -> Any:
        return soft_cap(torch.nn.functional.linear(states.float(), self.weight, self.bias), self.cap)


def soft_cap(logits: Any, cap: float | None) -> Any:
    """cap · tanh(logits / cap) (Gemma 2); None caps nothing."""
    return logits if cap is None else torch.tanh(logits / cap) * cap


class PackedLastToken:
    """A decoder with a head that is read at the last token."""

    def __init__(self, decoder: PackedDecoder, head: LastTokenHead) -> None:
        self.decoder, self._head = decoder, head

    def logits(self, rows: Sequence[TokenIds], sharing: Sharing | None = None) -> NDArray[np.float32]:
        """Float32 logits after each row of ids, shape (rows, labels); see `PackedDecoder.states`."""
        with torch.inference_mode():
            found: NDArray[np.float32] = self._head(self.decoder.states(rows, sharing)[-1]).cpu().numpy()
        return found
