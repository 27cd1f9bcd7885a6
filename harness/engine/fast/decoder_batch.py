"""A batch of a decoder: the rows' own tokens in one flat array, what they share apart, nothing padded.

The rows of a group stand together, so that all their tokens can look at the shared beginning at
once. Rows are then in order of length, and neighbours of one length are computed together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from .attention import Group, groups_of
from .sharing import Sharing, TokenIds

__all__ = ["DecoderBatch", "Passages", "Row", "Share", "batch_of", "flat"]

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """Neighbouring rows that look at one prefix: where it stands among the prefixes, where they stand."""

    prefix: slice
    tokens: slice
    rows: slice


@dataclass(frozen=True)
class Row:
    """One row: where its prefix, its own tokens and itself stand."""

    prefix: slice
    tokens: slice
    row: slice


@dataclass(frozen=True)
class Passages:
    """Where each row's passage begins and ends among the row's own tokens, and into how many it shrinks.

    Before each of `layers` every `ratio` neighbours of the passage become one token.
    """

    start: Counts
    stop: Counts
    ratio: int
    layers: tuple[int, ...]


@dataclass(frozen=True)
class DecoderBatch:
    """Rows end to end; the rows that share nothing come last."""

    order: Counts
    """Place in the batch → row as given."""
    lengths: Counts
    """Own tokens of each place's row, those after its prefix."""
    sharing: Sharing
    """Of the rows in their places."""
    groups: list[Group]
    shares: list[Share]
    device: Any
    passages: Passages | None = None

    @cached_property
    def first(self) -> Counts:
        """The flat place of each row's first own token."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def last(self) -> Any:
        """The flat place of each row's last token."""
        return self.there(self.first + self.lengths - 1)

    @cached_property
    def positions(self) -> Any:
        """The position of every own token in its whole row."""
        return self.there(
            np.arange(int(self.lengths.sum())) + np.repeat(self.sharing.shared - self.first, self.lengths)
        )

    @property
    def longest(self) -> int:
        """Tokens of the longest row, with its prefix."""
        return int((self.lengths + self.sharing.shared).max())

    @cached_property
    def rows(self) -> list[Row]:
        """The rows one by one."""
        prefixes = {place: share.prefix for share in self.shares for place in range(share.rows.start, share.rows.stop)}
        return [
            Row(prefixes.get(place, slice(0, 0)), slice(start, start + length), slice(place, place + 1))
            for place, (start, length) in enumerate(zip(self.first.tolist(), self.lengths.tolist(), strict=True))
        ]

    @cached_property
    def bounds(self) -> Any:
        """The flat place where each row's own tokens begin, and the end; int32, as kernels for rows of any length ask."""
        return _bounds(self.lengths, self.device)

    @cached_property
    def share_bounds(self) -> tuple[Any, Any, Any]:
        """The same of the shares: of their own tokens, their rows, and their prefixes."""
        own, rows, prefix = (
            _bounds([part.stop - part.start for part in parts], self.device)
            for parts in zip(*((share.tokens, share.rows, share.prefix) for share in self.shares), strict=True)
        )
        return own, rows, prefix

    def there(self, values: NDArray[Any]) -> Any:
        """An array as a tensor on the batch's device."""
        return torch.from_numpy(values).to(self.device)

    def restored(self, values: Any) -> Any:
        """Values of the batch's places, shape (rows, …), in the order of the rows as they were given."""
        return values[self.there(np.argsort(self.order, kind="stable"))]


def batch_of(sharing: Sharing, lengths: Counts, device: Any, passages: Passages | None = None) -> DecoderBatch:
    """The batch of rows with `lengths` own tokens each. `passages` are those of the rows as given."""
    # Of the last key first: rows that share, by group, longest first.
    order = np.lexsort((-lengths, np.where(sharing.shared > 0, sharing.groups, 0), sharing.shared == 0))
    own, placed = lengths[order], sharing.of(order)
    if passages is not None:
        passages = replace(passages, start=passages.start[order], stop=passages.stop[order])
    return DecoderBatch(order, own, placed, groups_of(own.tolist()), _shares(placed, own), device, passages)


def _shares(sharing: Sharing, own: Counts) -> list[Share]:
    found: list[Share] = []
    token = prefix = row = 0
    while row < len(own) and sharing.shared[row]:
        alike = (sharing.groups == sharing.groups[row]) & (sharing.shared > 0)
        stop = row + int(alike.sum())
        width, tokens = int(sharing.shared[row]), int(own[row:stop].sum())
        found.append(Share(slice(prefix, prefix + width), slice(token, token + tokens), slice(row, stop)))
        token, prefix, row = token + tokens, prefix + width, stop
    return found


def flat(rows: Sequence[TokenIds]) -> NDArray[np.int64]:
    """Rows end to end."""
    return np.concatenate([np.asarray(row, np.int64) for row in rows])


def _bounds(lengths: Sequence[int] | Counts, device: Any) -> Any:
    return functional.pad(torch.tensor(np.asarray(lengths)).cumsum(0), (1, 0)).to(device, torch.int32)
