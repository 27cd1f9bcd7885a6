"""Bi-encoders as rerankers: any sentence-transformers model or known encoder; the score is the dot product of two vectors.

Vectors are normalised where the model compares by cosine, so the score is then the cosine. They
come from the same encoder and store as a dense first stage's, so a text is encoded once for both.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache as once
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...engine.options import Options
from ...engine.plan import Rows
from ...models.embedding_store import Vectors
from ...models.encoders import Encoder, encoder_note, encoder_spec
from ...models.source import ModelSource
from ...models.tokenization import Tokenizer
from ...models.twice import PROBES
from ...text import JOIN_RULE, join_document, join_query
from ...types import DocumentText, QueryText
from ..base import Reranker, RerankerSpec

__all__ = ["FAMILY", "open_family"]

FAMILY = "bi-encoder"


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of an encoder. Settings: those of `encoder_spec`."""
    spec = encoder_spec(source, options)

    @once
    def encoder() -> Encoder:
        return Encoder(source, spec, options, cache)

    note = encoder_note(source, spec)

    def reranker(task_prompt: str, more: Mapping[str, object], bind: Callable[[str], Reranker] | None) -> Reranker:
        settings = tuple(sorted({**spec.settings, "join": JOIN_RULE, **more}.items()))
        found = RerankerSpec(source.name, FAMILY, source.revision, settings)
        return Reranker(found, lambda: BiEncoder(encoder(), task_prompt), note, bind, one_load=True)

    def bound(task_prompt: str) -> Reranker:
        return reranker(task_prompt, {"task_prompt": task_prompt}, None)

    return [reranker("", {}, bound if spec.recipe.wants_task_prompt else None)]


class BiEncoder:
    """Scores pairs through vectors of their texts; `task_prompt` is the data set's task sentence."""

    def __init__(self, encoder: Encoder, task_prompt: str = "") -> None:
        self.encoder, self.task_prompt = encoder, task_prompt

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The encoder's; None where its library runs the model."""
        return self.encoder.tokenizer

    def compare_loads(self, pairs: Sequence[tuple[QueryText, DocumentText]]) -> float:
        """The largest difference between the vectors of some documents in two separate loads."""
        texts = [join_document(document) for _, document in pairs[:PROBES]]
        return self.encoder.compare_loads(texts, "document", self.encoder.spec.recipe.document_prompt)

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> VectorPairs:
        return VectorPairs(self, queries, documents, pairs)

    def score_alone(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.float32]:
        """The scores of one query's documents, with every text encoded now: what they take where no vector is kept."""
        [asked] = self.encoder.compute([join_query(query)], "query", self.task_prompt)
        scores: NDArray[np.float32] = self.encoder.compute([join_document(d) for d in documents], "document") @ asked
        return scores

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cosine or dot product itself."""
        return margins


class VectorPairs:
    """The pairs of one request. Every text of the request is encoded when the first score is asked for."""

    def __init__(
        self,
        model: BiEncoder,
        queries: Sequence[QueryText],
        documents: Sequence[DocumentText],
        pairs: NDArray[np.int64],
    ) -> None:
        self._encoder, self._task, self._pairs = model.encoder, model.task_prompt, pairs
        self._queries = [join_query(query) for query in queries]
        self._documents = [join_document(document) for document in documents]
        self.also: Mapping[str, NDArray[np.float32]] = {}
        counts = self._encoder.token_counts(self._queries, "query", self._task)[pairs[:, 0]]
        counts += self._encoder.token_counts(self._documents, "document")[pairs[:, 1]]
        self.lengths, self.lost = counts[:, 0], counts[:, 1]

    @cached_property
    def _vectors(self) -> tuple[Vectors, Vectors]:
        queries = self._encoder.encode(self._queries, "query", self._task)
        return queries, self._encoder.encode(self._documents, "document")

    def plan(self, budget: int) -> list[Rows]:
        """The pairs in their order: a dot product costs nothing beside the encoding, which has a plan of its own."""
        rows = np.arange(len(self._pairs))
        return np.split(rows, range(budget, len(rows), budget)) if len(rows) else []

    def token_ids(self, row: int) -> list[int]:
        """The query's ids and then the document's: the two inputs of the pair."""
        query, document = self._pairs[row]
        [left] = self._encoder.token_ids([self._queries[query]], "query", self._task)
        [right] = self._encoder.token_ids([self._documents[document]], "document")
        return left + right

    def beginnings(self, rows: NDArray[np.int64]) -> list[str]:
        """The first letters of each row's document, as any tokenizer might fold them."""
        return [_folded(self._documents[place]) for place in self._pairs[rows, 1]]

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        queries, documents = self._vectors
        chosen = self._pairs[rows]
        scores: NDArray[np.float32] = np.einsum("nd,nd->n", queries[chosen[:, 0]], documents[chosen[:, 1]])
        return scores


def _folded(text: str) -> str:
    """The first four signs, without white space, case and accents."""
    plain = unicodedata.normalize("NFKD", "".join(text[:64].split())).casefold()
    return "".join(sign for sign in plain if not unicodedata.combining(sign))[:4]
