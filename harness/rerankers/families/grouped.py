"""Pairs that are planned query by query, for causal models that compute a query's shared beginning once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine.fast.sharing import Sharing, find_sharing
from ...engine.plan import Rows, plan_batches, plan_groups

__all__ = ["GroupedPairs"]


class GroupedPairs:
    """The part of a `Prepared` that plans its batches."""

    lengths: NDArray[np.int64]

    @property
    def packs(self) -> bool:
        """Whether the model is one of the fast path, as far as its config.json tells: the plan is made before it is loaded."""
        return True

    @property
    def shareable(self) -> Callable[[int], int] | None:
        """How many of a row's first ids may be shared; None for all."""
        return None

    @property
    def queries(self) -> NDArray[np.int64]:
        """The query's index of each row, shape (rows,)."""
        raise NotImplementedError

    def row_ids(self, row: int) -> Any:
        """The ids that the model gets for one pair."""
        raise NotImplementedError

    @cached_property
    def sharing(self) -> Sharing:
        """What each query's rows begin with alike, of the whole request."""
        return find_sharing(self.queries, self.row_ids, self.shareable)

    def sharing_of(self, rows: Rows) -> Sharing | None:
        """The same of some rows; None where the model shares nothing."""
        return self.sharing.of(rows) if self.packs else None

    def plan(self, budget: int) -> list[Rows]:
        """Batches that keep a query's rows together, or, for a model that pads, rows of like length."""
        if not self.packs:
            return plan_batches(self.lengths, budget)
        return plan_groups(self.lengths, self.sharing.groups, self.sharing.shared, budget)
