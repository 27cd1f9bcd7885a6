"""Late interaction as a reranker: ColBERT, GTE-ModernColBERT and every model that compares token by token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine.fast import note_of
from ...engine.options import Options
from ...engine.plan import Rows, plan_batches
from ...models.ids.flat import Texts
from ...models.late.encoder import FAMILY, TokenEncoder, TokenRows, late_settings, max_sim
from ...models.source import ModelSource
from ...text import join_document, join_query
from ...types import DocumentText, QueryText
from ..base import Reranker, RerankerSpec

__all__ = ["FAMILY", "open_family"]


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a late-interaction model. Settings: query_length, document_length (tokens).

    Raises HarnessError for a layout that is not known, or lengths the model has no positions for.
    """
    layout, settings = late_settings(source, options)
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))
    return [
        Reranker(
            spec, lambda: LateInteraction(source, options, layout), note_of(source.config, source.note, known=False)
        )
    ]


class LateInteraction(TokenEncoder):
    """Tokenizer and weights of a late-interaction model; both are loaded when they are first needed."""

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> LatePairs:
        return LatePairs(
            self,
            self.query_rows(Texts(queries, join_query)),
            self.document_rows(Texts(documents, join_document)),
            pairs,
        )

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sum itself."""
        return margins


class LatePairs:
    """The pairs of one request, planned by document, so that each document's vectors are computed once."""

    def __init__(
        self,
        model: LateInteraction,
        queries: TokenRows,
        documents: TokenRows,
        pairs: NDArray[np.int64],
    ) -> None:
        self._model, self._queries, self._documents, self._pairs = model, queries, documents, pairs
        self.also: Mapping[str, NDArray[np.float32]] = {}
        self.lengths = queries.lengths[pairs[:, 0]] + documents.lengths[pairs[:, 1]]
        self.lost = queries.lost[pairs[:, 0]] + documents.lost[pairs[:, 1]]

    def token_ids(self, row: int) -> list[int]:
        """The query's ids and then the document's: the two inputs of the pair."""
        query, document = self._pairs[row]
        return [*self._queries[query].ids.tolist(), *self._documents[document].ids.tolist()]

    def plan(self, budget: int) -> list[Rows]:
        """Batches of rows: all pairs of as many documents as the budget of tokens holds, longest first."""
        order = np.argsort(self._pairs[:, 1], kind="stable")
        bounds = np.searchsorted(self._pairs[order, 1], np.arange(len(self._documents) + 1))
        batches = plan_batches(self._documents.lengths, budget)
        return [np.concatenate([order[bounds[place] : bounds[place + 1]] for place in batch]) for batch in batches]

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        queries = self._query_vectors
        places, row_place = np.unique(self._pairs[rows, 1], return_inverse=True)
        documents = self._model.token_vectors([self._documents[place] for place in places])
        found = np.empty(len(rows), np.float32)
        for place, vectors in enumerate(documents):
            mine = np.flatnonzero(row_place == place)
            found[mine] = max_sim([queries[query] for query in self._pairs[rows[mine], 0]], vectors)
        return found

    @cached_property
    def _query_vectors(self) -> list[Any]:
        return self._model.in_batches(self._queries)
