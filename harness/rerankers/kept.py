"""The scores of one request in the store: what is known before, kept meanwhile, and read back at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..engine.plan import Rows
from ..engine.store import ScoreStore
from ..errors import HarnessError
from ..files.digest import digest_of

__all__ = ["Kept"]


@dataclass(frozen=True)
class Kept:
    """The scores of a request's pairs under one key, as the store has them."""

    store: ScoreStore
    key: str
    queries: Sequence[bytes]
    documents: Sequence[bytes]
    pairs: NDArray[np.int64]
    """Shape (n, 2), row by row those of the request: places in `queries` and `documents`."""

    def known(self) -> NDArray[np.float32]:
        """Shape (n,); NaN where nothing is stored."""
        return self.store.known(self.key, self.queries, self.documents, self.pairs)

    def add(self, rows: Rows, values: NDArray[np.float32], key: str | None = None) -> None:
        """Keeps the values of some rows, under another key where one is given."""
        self.store.add(key or self.key, self.queries, self.documents, self.pairs[rows], values)

    def tally(self, name: str) -> Kept:
        """What a list's model counted under `name`, at the first pair of each list."""
        return replace(self, key=digest_of(self.key, name))

    def put_back(self, values: NDArray[np.float32]) -> int:
        """Keeps what this run knows (shape (n,), NaN elsewhere) and the store does not; how many these were."""
        lost = np.flatnonzero(np.isnan(self.known()) & ~np.isnan(values))
        if len(lost):
            self.add(lost, values[lost])
        return len(lost)

    def settled(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the store kept, which is what is ranked: of equal texts, or beside another process, the first score.

        `scores` are those of this run, of all pairs. What the store has lost of them is put back. Raises
        HarnessError where it was not the store itself that set a damaged file aside.
        """
        rebuilt, lost = self.store.rebuilt, self.put_back(scores)
        if lost and not rebuilt:
            raise HarnessError(
                f"the score store {self.store.path} was removed or replaced while this run was using it; its "
                f"{lost:,} scores were put back: run the command again"
            )
        return self.known()
