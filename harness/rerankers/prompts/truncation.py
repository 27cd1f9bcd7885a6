"""How a pair of id sequences is cut, counted in tokens: the two rules of transformers' slow tokenizers.

The fast tokenizers break ties of `longest_first` the other way round, so the rules are written out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Taken", "longest_first", "only_second"]


@dataclass(frozen=True)
class Taken:
    """What truncation took from each pair of a request; two arrays of shape (pairs,)."""

    without_document: NDArray[np.bool_]
    """No token of the document is left."""
    without_question: NDArray[np.bool_]
    """A token of the query, of its instruction or of the wording around them is gone."""

    @classmethod
    def nothing(cls, pairs: int) -> Taken:
        """Nothing from any of them."""
        return cls(np.zeros(pairs, bool), np.zeros(pairs, bool))

    def see(self, row: int, offsets: NDArray[np.int64], kept: NDArray[np.bool_], document: tuple[int, int]) -> None:
        """Note what a row of one string lost: `offsets` (tokens, 2) are in characters, as the document's start and stop."""
        start, stop = document
        mine = (offsets[:, 1] > start) & (offsets[:, 0] < stop)
        self.without_document[row] = not (kept & mine).any()
        self.without_question[row] = bool((~kept & ~mine).any())


Counts = NDArray[np.int64]


def only_second(first: Counts, second: Counts, room: int) -> tuple[Counts, Counts]:
    """How many ids of each side are kept when only the second may be cut to make both fit in `room`.

    A second side that would lose every id is left whole, and so is the pair: that is how
    `truncate_sequences(…, "only_second")` of transformers answers a first side that overflows alone.
    """
    excess = np.maximum(first + second - room, 0)
    return first, np.where(second > excess, second - excess, second)


def longest_first(first: Counts, second: Counts, room: int) -> tuple[Counts, Counts]:
    """How many ids of each side are kept when the longer loses one id at a time, the second where both are equal."""
    kept_first = np.minimum(first, np.maximum(room - second, (room + 1) // 2))
    return kept_first, np.minimum(second, room - kept_first)
