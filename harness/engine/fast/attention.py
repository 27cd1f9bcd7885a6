"""Attention inside each row of a packed batch, without a mask and without padding.

Rows of one length are computed together by scaled_dot_product_attention. On a GPU in half precision
a kernel for rows of any length takes the whole batch at once, where this torch has it and it agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

__all__ = ["Attention", "Group", "Groups", "attention_for", "groups_of"]


@dataclass(frozen=True)
class Group:
    """Neighbouring rows of one length: where they and their tokens stand in the batch."""

    rows: slice
    tokens: slice
    count: int
    length: int


class Groups(list[Group]):
    """All groups of a batch. What a kernel on a device needs to know of them is sent there once, not by every layer."""

    def __init__(self, groups: Iterable[Group]) -> None:
        super().__init__(groups)
        self._there: dict[tuple[Any, bool], Any] = {}

    def bounds(self, device: Any, *, rows: bool = False) -> Any:
        """Where each row's tokens begin, and where the last end; with `rows`, as if each had one token. Shape (rows + 1,)."""
        if (device, rows) not in self._there:
            sizes = [1 if rows else group.length for group in self for _ in range(group.count)]
            self._there[device, rows] = functional.pad(torch.tensor(sizes).cumsum(0), (1, 0)).to(device, torch.int32)
        return self._there[device, rows]


Attention = Callable[[Any, Any, Groups, int], Any]
"""(query, key and value, groups, heads) → context, shaped like query. `query` has one position for
each token, or one for each row; `key and value` is (tokens, 2 · features)."""


def groups_of(lengths: Sequence[int]) -> Groups:
    """The groups of rows whose lengths are in order."""
    found = Groups([])
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
    return _varlen if _agree(like, heads) else _grouped


def _agree(like: Any, heads: int) -> bool:
    """Whether this torch has the kernel for rows of any length, and it finds what is found group by group."""
    numbers = torch.Generator().manual_seed(0)
    whole, key_value = (torch.randn(10, times * like.shape[-1], generator=numbers).to(like) for times in (1, 2))
    groups = groups_of([4, 3, 3])
    try:
        # All tokens ask, or one of each row.
        for query in (whole, whole[:3]):
            difference = _varlen(query, key_value, groups, heads) - _grouped(query, key_value, groups, heads)
            if not float(difference.abs().max()) < 0.05:
                return False
    except (ImportError, RuntimeError, TypeError, ValueError, AttributeError, KeyError):
        return False
    return True


def _grouped(query: Any, key_value: Any, groups: Groups, heads: int) -> Any:
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


def _varlen(query: Any, key_value: Any, groups: Groups, heads: int) -> Any:
    from torch.nn.attention.varlen import varlen_attn

    features = query.shape[-1]
    every = len(query) == len(key_value)
    bounds, asked = groups.bounds(query.device), groups.bounds(query.device, rows=not every)
    key, value = key_value.view(-1, 2, heads, features // heads).unbind(1)
    asking = query.view(-1, heads, features // heads)
    longest = groups[0].length
    context: Any = varlen_attn(asking, key, value, asked, bounds, longest if every else 1, longest)
    return context.reshape(query.shape)
