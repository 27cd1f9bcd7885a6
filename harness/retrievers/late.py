"""Late interaction as an exact first stage, for corpora that it can go through: every query against every document.

No vector is kept: a token's takes as much room as a text's, and a text has hundreds. What is found is kept
as any candidates are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..engine.progress import Progress
from ..errors import HarnessError
from ..models.late.encoder import TokenEncoder, max_sim
from .dense import Best
from .scope import Scope, inside

__all__ = ["MOST_DOCUMENTS", "search_by_tokens"]

MOST_DOCUMENTS = 200_000
"""Beyond that a run would take days where bm25 and a reranker take minutes."""
_BLOCK = 1_024


def search_by_tokens(
    encoder: TokenEncoder, queries: Sequence[str], documents: Iterable[str], size: int, k: int,
    tie_order: NDArray[np.int64], scope: Scope = None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:  # fmt: skip
    """For each query the rows and scores of its best `k` of `size` documents in its `scope`, best first, ties by `tie_order`.

    Raises HarnessError for more documents than MOST_DOCUMENTS.
    """
    if size > MOST_DOCUMENTS:
        raise HarnessError(
            f"{encoder.source.name} compares every token of {size:,} documents, which is meant for {MOST_DOCUMENTS:,} at "
            f"most: take --retriever bm25, or a dense model, and it as --reranker"
        )
    asked = encoder.in_batches(encoder.query_rows(queries))
    best, first, remaining = Best(len(queries), k, tie_order), 0, iter(documents)
    progress = Progress(encoder.source.name, size, 0, "texts")
    while block := list(islice(remaining, _BLOCK)):
        vectors = encoder.in_batches(encoder.document_rows(block))
        best.take(inside(np.stack([max_sim(asked, document) for document in vectors], axis=1), scope, first), first)
        first += len(block)
        progress.advance(len(block))
    progress.finish()
    yield from best.finish()
