"""Which prompts begin alike: a causal model computes the beginning that a query's prompts share once.

A prompt's ids are not those of its pieces, so what is shared is found in the ids of whole prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sharing", "TokenIds", "find_sharing"]

TokenIds = Sequence[int] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Sharing:
    """The group of each row, and how many first tokens it has in common with all of its group.

    Both have shape (rows,). A row has one token at least beside the shared ones; a row alone in its
    group shares none.
    """

    groups: NDArray[np.int64]
    shared: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64]) -> Sharing:
        """The same of some rows."""
        return Sharing(self.groups[rows], self.shared[rows])


def find_sharing(
    groups: NDArray[np.int64], ids_of: Callable[[int], TokenIds], most: Callable[[int], int] | None = None
) -> Sharing:
    """The longest common run of ids at the beginning of each group's rows, by the rows of the whole request.

    `groups` has shape (rows,); `ids_of` gives a row's ids, one at least; `most` bounds what a row may share.
    """
    shared = np.zeros(len(groups), np.int64)
    order = np.argsort(groups, kind="stable")
    bounds = np.flatnonzero(np.diff(groups[order], prepend=-1, append=-1)).tolist() if len(groups) else []
    for start, stop in pairwise(bounds):
        rows = order[start:stop]
        if len(rows) > 1:
            shared[rows] = _common(rows.tolist(), ids_of, most)
    return Sharing(groups, shared)


def _common(rows: Sequence[int], ids_of: Callable[[int], TokenIds], most: Callable[[int], int] | None) -> int:
    first = np.asarray(ids_of(rows[0]))
    length = len(first) - 1
    for row in rows:
        ids = np.asarray(ids_of(row))
        length = min(length, len(ids) - 1, length if most is None else most(row))
        different = np.flatnonzero(first[:length] != ids[:length])
        if len(different):
            length = int(different[0])
    return length
