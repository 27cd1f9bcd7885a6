"""Causal attention of rows that share their beginnings.

A token sees the prefix of its group and, of its own row, itself and what stands before it. The two
are computed apart, so that nothing is copied for each row and no mask is needed, and joined by the
log-sum-exp of their weights: softmax over both is the mean of the two results, weighted by
sigmoid(difference of the log-sum-exps). The kernels that give that number are private to torch or
new in it, so they are tried when a model is loaded; where they are absent or differ, and for soft
caps and windows that hide something, rows are computed one by one with a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from .decoder_batch import DecoderBatch, batch_of
from .sharing import Sharing

__all__ = ["Attention", "Kernel", "KeyValue", "kernel_for", "row_by_row"]

KeyValue = tuple[Any, Any]
"""Keys and values, each (tokens, key/value heads, head size)."""

Kernel = Callable[[Any, KeyValue, KeyValue | None, DecoderBatch, float], Any]
"""(query, own, prefixes, batch, scale) → context, shaped like query: (tokens or rows, heads, head size)."""

_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}


@dataclass(frozen=True)
class Attention:
    """How a layer attends: `scale` on query · key, `cap` soft-caps it, a token sees `window` tokens up to itself."""

    scale: float
    cap: float | None = None
    window: int | None = None

    def __call__(self, query: Any, own: KeyValue, past: KeyValue | None, batch: DecoderBatch, kernel: Kernel) -> Any:
        """The context of `query`, which has a position for each own token, or for each row's last one."""
        hidden = self.window is not None and batch.longest > self.window
        if kernel is not row_by_row and not hidden and self.cap is None:
            return kernel(query, own, past, batch, self.scale)
        return row_by_row(query, own, past, batch, self.scale, self.cap, self.window)


def kernel_for(like: Any, heads: int, key_value_heads: int, size: int) -> Kernel:
    """The fastest kernel that agrees with `row_by_row` for tensors of the device and dtype of `like`."""
    fast = _grouped if like.device.type == "cpu" else _varlen
    sharing = Sharing(np.array([0, 0, 1, 1, 2]), np.array([3, 3, 2, 2, 0]))
    batch = batch_of(sharing, np.array([4, 2, 1, 5, 3]), like.device)
    numbers = torch.Generator().manual_seed(0)

    def drawn(tokens: int, heads: int) -> Any:
        return torch.randn(tokens, heads, size, generator=numbers).to(like)

    own, past = ((drawn(tokens, key_value_heads), drawn(tokens, key_value_heads)) for tokens in (15, 5))
    try:
        for asked in (15, 5):
            query = drawn(asked, heads)
            found = fast(query, own, past, batch, size**-0.5)
            expected = row_by_row(query, own, past, batch, size**-0.5)
            if not float((found.float() - expected.float()).abs().max()) <= _TOLERANCE[like.dtype]:
                return row_by_row
    except (RuntimeError, AttributeError, TypeError, ImportError, NotImplementedError, KeyError, ValueError):
        return row_by_row
    return fast


def row_by_row(
    query: Any,
    own: KeyValue,
    past: KeyValue | None,
    batch: DecoderBatch,
    scale: float,
    cap: float | None = None,
    window: int | None = None,
) -> Any:
    """Every row for itself, its keys and values behind those of its prefix; exact for everything."""
    every = len(query) == len(own[0])
    repeats = query.shape[1] // own[0].shape[1]
    found = []
    for row in batch.rows:
        asking = query[row.tokens if every else row.row].transpose(0, 1)
        key, value = (_joined(one, two, row.prefix, row.tokens, repeats) for one, two in _pairs(past, own))
        mask = _mask(asking.shape[1], key.shape[1], window, query.device)
        if cap is None:
            context = functional.scaled_dot_product_attention(asking, key, value, attn_mask=mask, scale=scale)
        else:
            weights = torch.tanh(asking @ key.transpose(1, 2) * (scale / cap)) * cap
            weights = weights.masked_fill(~mask, -torch.inf)
            context = weights.softmax(-1, dtype=torch.float32).to(value.dtype) @ value
        found.append(context.transpose(0, 1))
    return torch.cat(found)


def _pairs(past: KeyValue | None, own: KeyValue) -> list[tuple[Any, Any]]:
    return list(zip((None, None) if past is None else past, own, strict=True))


def _joined(past: Any, own: Any, prefix: slice, tokens: slice, repeats: int) -> Any:
    whole = own[tokens] if past is None else torch.cat((past[prefix], own[tokens]))
    return whole.transpose(0, 1).repeat_interleave(repeats, 0)


def _mask(asking: int, tokens: int, window: int | None, device: Any) -> Any:
    """Which tokens (columns) the last `asking` of them (rows) see."""
    before = tokens - asking
    mask = torch.ones(asking, tokens, dtype=torch.bool, device=device).tril(before)
    return mask if window is None else mask.triu(before + 1 - window)


def _grouped(query: Any, own: KeyValue, past: KeyValue | None, batch: DecoderBatch, scale: float) -> Any:
    """On a CPU: own tokens over groups of equal length, prefixes over groups of rows."""
    every = len(query) == len(own[0])
    contexts, sums = [], []
    for group in batch.groups:
        asking = query[group.tokens if every else group.rows].unflatten(0, (group.count, -1))
        key, value = (part[group.tokens].unflatten(0, (group.count, -1)) for part in own)
        found, total = _flash(asking, key, value, scale, causal=every)
        contexts.append(found.flatten(0, 1))
        sums.append(total.flatten(0, 1))
    context, total = torch.cat(contexts), torch.cat(sums)
    if past is not None:
        for share in batch.shares:
            place = share.tokens if every else share.rows
            asking, key, value = (part[None] for part in (query[place], *(part[share.prefix] for part in past)))
            found, other = _flash(asking, key, value, scale, causal=False)
            context[place] = _met(context[place], total[place], found[0], other[0])
    return context


def _flash(query: Any, key: Any, value: Any, scale: float, *, causal: bool) -> tuple[Any, Any]:
    """Context and log-sum-exp of (rows, tokens, heads, size), both in that order of axes."""
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    context, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, 0.0, causal, scale=scale
    )
    return context.transpose(1, 2), total.transpose(1, 2)


def _varlen(query: Any, own: KeyValue, past: KeyValue | None, batch: DecoderBatch, scale: float) -> Any:
    """On a GPU: a kernel for rows of any length, once for own tokens and once for prefixes."""
    from torch.nn.attention.varlen import AuxRequest, varlen_attn

    every = len(query) == len(own[0])
    more: dict[str, Any] = {"scale": scale, "enable_gqa": True, "return_aux": AuxRequest(lse=True)}
    longest = int(batch.lengths.max())
    bounds = batch.bounds
    asked = bounds if every else torch.arange(len(query) + 1, dtype=torch.int32, device=query.device)
    context, total = varlen_attn(
        query, *own, asked, bounds, longest if every else 1, longest, window_size=(-1, 0), **more
    )
    if past is not None and batch.shares:
        tokens, rows, prefixes = batch.share_bounds
        places = [share.tokens if every else share.rows for share in batch.shares]
        asked, stop = tokens if every else rows, places[-1].stop
        widest = max(share.prefix.stop - share.prefix.start for share in batch.shares)
        most = max(place.stop - place.start for place in places)
        found, other = varlen_attn(query[:stop], *past, asked, prefixes, most, widest, **more)
        context[:stop] = _met(context[:stop], total.T[:stop], found, other.T)
    return context


def _met(context: Any, total: Any, other: Any, other_total: Any) -> Any:
    """The attention over two sets of keys from that over each, with their log-sum-exps."""
    share = torch.sigmoid(total.float() - other_total.float())[..., None]
    return torch.lerp(other.float(), context.float(), share).to(context.dtype)
