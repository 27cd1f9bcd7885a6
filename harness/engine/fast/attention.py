"""Attention inside each row of a packed batch, without a mask and without padding.

Rows of one length are computed together by scaled_dot_product_attention. On a GPU in half precision
a kernel for rows of any length takes the whole batch at once, where this torch has it and it agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

__all__ = ["Attention", "Group", "attention_for", "groups_of"]


@dataclass(frozen=True)
class Group:
    """Neighbouring rows of one length: where they and their tokens stand in the batch."""

    rows: slice
    tokens: slice
    count: int
    length: int


Attention = Callable[[Any, Any, Sequence[Group], int], Any]
"""(query, key and value, groups, heads) → context, shaped like query. `query` has one position for
each token, or one for each row; `key and value` is (tokens, 2 · features)."""


def groups_of(lengths: Sequence[int]) -> list[Group]:
    """The groups of rows whose lengths are in order."""
    found = []
    row = token = 0
    for place, length in enumerate(lengths):
        if place + 1 < len(lengths) and lengths[place + 1] == length:
            continue
        count = place + 1 - row
        found.append(Group(slice(row, place + 1), slice(token, token + count * length), count, length))
        row, token = place + 1, token + count * length
    return found


def attention_for(like: Any, heads: int) -> Attention:
    """The attention for tensors of the device and dtype of `like`, a (…, features) weight."""
    if not like.is_cuda or like.dtype == torch.float32:
        return _grouped
    query = torch.randn(10, like.shape[-1]).to(like)
    key_value = torch.randn(10, 2 * like.shape[-1]).to(like)
    groups = groups_of([4, 3, 3])
    try:
        difference = _varlen(query, key_value, groups, heads) - _grouped(query, key_value, groups, heads)
    except (ImportError, RuntimeError, TypeError):
        return _grouped
    return _varlen if float(difference.abs().max()) < 0.05 else _grouped


def _grouped(query: Any, key_value: Any, groups: Sequence[Group], heads: int) -> Any:
    features = query.shape[-1]
    every = len(query) == len(key_value)
    parts = []
    for group in groups:
        part = query[group.tokens if every else group.rows]
        asking = part.view(group.count, -1, heads, features // heads).transpose(1, 2)
        shape = (group.count, group.length, 2, heads, features // heads)
        key, value = key_value[group.tokens].view(shape).permute(2, 0, 3, 1, 4)
        context = functional.scaled_dot_product_attention(asking, key, value)
        parts.append(context.transpose(1, 2).reshape(part.shape))
    return torch.cat(parts)


def _varlen(query: Any, key_value: Any, groups: Sequence[Group], heads: int) -> Any:
    from torch.nn.attention.varlen import varlen_attn

    features = query.shape[-1]
    lengths = torch.tensor([group.length for group in groups for _ in range(group.count)])
    every = len(query) == len(key_value)
    asked = lengths if every else torch.ones_like(lengths)
    bounds, asked_bounds = _bounds(lengths, query.device), _bounds(asked, query.device)
    key, value = key_value.view(-1, 2, heads, features // heads).unbind(1)
    asking = query.view(-1, heads, features // heads)
    longest = groups[0].length
    context: Any = varlen_attn(asking, key, value, asked_bounds, bounds, longest if every else 1, longest)
    return context.reshape(query.shape)


def _bounds(lengths: Any, device: Any) -> Any:
    return functional.pad(lengths.cumsum(0), (1, 0)).to(device, torch.int32)
