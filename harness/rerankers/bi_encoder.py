"""Bi-encoders as rerankers: any sentence-transformers model; the score is the dot product of two vectors.

Vectors are normalised where the model compares by cosine, so the score is then the cosine. They
come from the same encoder and store as a dense first stage's, so a text is encoded once for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..encoders import Encoder
from ..models import ModelSource
from ..recipes import read_encoder
from ..options import Options
from ..text import JOIN_RULE, join_document, join_query
from ..types import DocumentText, QueryText
from .base import Reranker, RerankerSpec
from .settings import read_settings

__all__ = ["FAMILY", "open_family"]

FAMILY = "bi-encoder"


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a sentence-transformers model. It has no settings of its own."""
    read_settings(FAMILY, options.settings, {})
    spec = read_encoder(source, options.dtype)
    settings = tuple(sorted({**spec.settings, "join": JOIN_RULE}.items()))
    reranker = RerankerSpec(source.name, FAMILY, source.revision, settings)

    def load() -> BiEncoder:
        return BiEncoder(
            Encoder(source, spec, options.device, options.batch_tokens, cache, trust=options.trust_remote_code)
        )

    return [Reranker(reranker, load, source.note)]


class BiEncoder:
    """Scores pairs through vectors of their texts."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> VectorPairs:
        return VectorPairs(self.encoder, queries, documents, pairs)

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cosine or dot product itself."""
        return margins


class VectorPairs:
    """The pairs of one request. Every text of the request is encoded when the first score is asked for."""

    def __init__(
        self,
        encoder: Encoder,
        queries: Sequence[QueryText],
        documents: Sequence[DocumentText],
        pairs: NDArray[np.int64],
    ) -> None:
        self._encoder, self._pairs = encoder, pairs
        self._queries = [join_query(query) for query in queries]
        self._documents = [join_document(document) for document in documents]
        self.also: Mapping[str, NDArray[np.float32]] = {}
        self._vectors: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        # A dot product costs nothing beside the encoding, which has a plan of its own.
        self.lengths = np.ones(len(pairs), np.int64)
        self.lost = encoder.lost_tokens(self._queries, "query")[pairs[:, 0]]
        self.lost += encoder.lost_tokens(self._documents, "document")[pairs[:, 1]]

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        if self._vectors is None:
            queries = self._encoder.encode(self._queries, "query")
            self._vectors = queries, self._encoder.encode(self._documents, "document")
        left, right = self._vectors
        chosen = self._pairs[rows]
        scores: NDArray[np.float32] = np.einsum("nd,nd->n", left[chosen[:, 0]], right[chosen[:, 1]])
        return scores
