"""Searching a Collection: rows of an index turned into a Run of doc_ids; `scope` keeps each query's search inside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..data.collection import Collection
from ..errors import HarnessError
from ..files.cache import file_digest, writing
from ..files.digest import digest_of
from ..text import JOIN_RULE, join_document, join_query
from ..types import Run
from . import BM25_VERSION
from .analyzers import analyzer
from .bm25 import DamagedIndexError, Index, build, open_index
from .dense import search_exactly
from .on_a_device import search_on, usable
from .scope import Scope
from .sparse import build_postings, open_postings, search_postings

if TYPE_CHECKING:
    from ..models.encoders import Encoder
    from ..models.late.encoder import TokenEncoder
    from .sparse_encoder import SparseEncoder

__all__ = ["bm25_run", "dense_run", "late_run", "sparse_run"]


def bm25_run(
    collection: Collection, language: str, cache: Path, k: int, scope: Scope = None, cores: int | None = None
) -> Run:
    """BM25's best `k` documents of every query; the index is built once for a collection and language.

    `cores` is how many processes build it, and how many threads search; None: as many as there are.
    """
    chosen = analyzer(language)
    key = digest_of(collection.fingerprint, chosen.language, chosen.name, chosen.version, BM25_VERSION, JOIN_RULE)
    folder = cache / "bm25" / key
    texts = [join_query(query) for query in collection.queries.values()]
    index = _index(collection, language, folder, cache, cores)
    return _as_run(collection, index.search(texts, k, within=scope, tie_order=tie_order(collection), threads=cores))


def _index(collection: Collection, language: str, folder: Path, cache: Path, cores: int | None) -> Index:
    """The index in `folder`, built where there is none, or one that is damaged or half gone."""
    try:
        return open_index(folder, digest=lambda path: file_digest(path, cache))
    except DamagedIndexError:
        with writing(cache):
            build(collection.corpus, language, folder, workers=cores)
        return open_index(folder, digest=lambda path: file_digest(path, cache))


def dense_run(collection: Collection, encoder: Encoder, k: int, scope: Scope = None, task_prompt: str = "") -> Run:
    """The best `k` documents of every query by the vectors of `encoder`; `task_prompt` is the data set's task sentence."""
    documents = encoder.encode(_DocumentTexts(collection), "document")
    queries = encoder.encode([join_query(query) for query in collection.queries.values()], "query", task_prompt)
    if scope is None and usable(encoder.device):
        return _as_run(collection, search_on(encoder.device, queries, documents, k, tie_order(collection)))
    return _as_run(collection, search_exactly(queries, documents, k, tie_order(collection), scope))


def sparse_run(collection: Collection, encoder: SparseEncoder, cache: Path, k: int, scope: Scope = None) -> Run:
    """The best `k` documents of every query by sparse vectors; the index is built once for a collection and model."""
    folder = cache / "sparse" / digest_of("index", collection.fingerprint, encoder.spec.fingerprint, JOIN_RULE)
    postings = open_postings(folder, lambda path: file_digest(path, cache))
    if postings is None:
        with writing(cache):
            build_postings(encoder.documents(_DocumentTexts(collection), collection.size), folder)
        postings = open_postings(folder, lambda path: file_digest(path, cache))
        if postings is None:
            raise HarnessError(f"the index {folder} does not stay on the disk: look at its health")
    queries = encoder.queries([join_query(query) for query in collection.queries.values()])
    return _as_run(collection, search_postings(postings, queries, k, tie_order(collection), scope))


def late_run(collection: Collection, encoder: TokenEncoder, k: int, scope: Scope = None) -> Run:
    """The best `k` documents of every query by late interaction, all of them compared."""
    from .late import search_by_tokens

    queries = [join_query(query) for query in collection.queries.values()]
    texts = _DocumentTexts(collection)
    found = search_by_tokens(encoder, queries, texts, collection.size, k, tie_order(collection), scope)
    return _as_run(collection, found)


class _DocumentTexts:
    """The joined text of every document, read from the corpus anew each time it is gone through."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def __iter__(self) -> Iterator[str]:
        return map(join_document, self._collection.iterate_texts())


def tie_order(collection: Collection) -> NDArray[np.int64]:
    """Each document row's place under doc_id descending, the order among equal scores: rows ascend by doc_id."""
    return np.arange(collection.size, dtype=np.int64)[::-1]


def _as_run(collection: Collection, found: Iterable[tuple[NDArray[np.integer], NDArray[np.float32]]]) -> Run:
    run: Run = {}
    for query_id, (rows, scores) in zip(collection.queries, found, strict=True):
        doc_ids: Sequence[str] = collection.doc_ids_at(rows.tolist())
        run[query_id] = dict(zip(doc_ids, scores.tolist(), strict=True))
    return run
