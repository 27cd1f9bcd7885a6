"""Where each query may be searched, as rows of the corpus, for data whose lists are the scope of the search.

The search stays inside from the start and hands over its best k of it, however small a part of the corpus that
is. What a term or a document is worth is as in the whole corpus: one index serves all queries, and a document's
score does not depend on whose list it stands in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.collection import Collection
from ..types import Task

__all__ = ["Scope", "inside", "refused_of", "scope_of"]

Scope = Sequence[NDArray[np.int64]] | None
"""For each query, in the collection's order, the rows that may be found, ascending; None where all may be."""


def refused_of(query_id: str, collection: Collection, task: Task) -> set[str]:
    """The documents that are never candidates of a query: those that the data excludes, and where the card says so, its own id."""
    return collection.excluded.get(query_id, set()) | ({query_id} if task.drop_identical_ids else set())


def scope_of(collection: Collection, task: Task) -> Scope:
    """The scope of every query: its list without what is refused; empty for a query without a list."""
    if not task.scoped:
        return None
    lists = {
        query_id: set((collection.given or {}).get(query_id, ())) - refused_of(query_id, collection, task)
        for query_id in collection.queries
    }
    rows = collection.rows_of(set().union(*lists.values()))
    return [
        np.sort(np.fromiter((rows[doc_id] for doc_id in doc_ids), np.int64, len(doc_ids))) for doc_ids in lists.values()
    ]


def inside(scores: NDArray[np.float32], scope: Scope, first: int) -> NDArray[np.float32]:
    """The scores of a block of rows from `first` on, shape (queries, rows), −inf where a query may not find the row."""
    if scope is None:
        return scores
    kept = np.full_like(scores, -np.inf)
    for place, rows in enumerate(scope):
        low, high = np.searchsorted(rows, (first, first + scores.shape[1]))
        here = rows[low:high] - first
        kept[place, here] = scores[place, here]
    return kept
