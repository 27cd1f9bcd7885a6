"""Results → the pairs among their top k that nobody judged: what people or a model may judge."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.collection import Collection, find_prepared
from ..data.containers import read_rows
from ..data.layers import Layer
from ..data.names import Field
from ..data.rows import Place, Row, identifier, optional_string, string
from ..errors import HarnessError
from ..results.rankings import read_rankings
from ..results.result import Result
from ..types import DocumentText, QueryText, Run, ranked
from ..verdicts.pairing import title_of

__all__ = [
    "Pooled",
    "by_data",
    "judged_by",
    "pool_of",
    "pooled_of",
    "ranking_of",
    "read_pool",
    "with_data",
    "write_pool",
]


@dataclass(frozen=True)
class Pooled:
    """A pair to be judged; who ranked it, and where, is not said, so that no judge can be led by it."""

    task: str
    subset: str
    collection: str
    query_id: str
    doc_id: str
    query: QueryText
    document: DocumentText
    grade: object = None
    """What stands in its file: None until somebody judged."""

    def row(self) -> dict[str, Any]:
        """Its line of the pool."""
        return {
            "task": self.task, "subset": self.subset, "collection": self.collection, "query-id": self.query_id,
            "corpus-id": self.doc_id, "query": self.query.text, "instruction": self.query.instruction,
            "title": self.document.title, "text": self.document.text, "grade": self.grade,
        }  # fmt: skip


def pool_of(
    results: Sequence[Result], cache: Path, depth: int, layer: Layer | None = None, *, with_judged: bool = False
) -> list[Pooled]:
    """The pairs among the top `depth` of any ranking without a judgement, of the data set's own or of `layer`.

    With `with_judged` those that have one are there too, which agreement is measured on. A result with a reranker
    stands for its reranked list, one without for its first stage. Sorted by task, subset, query, document. A document
    without text is left out. Raises HarnessError (exit code 3) where data or a ranking is not in the cache.
    """
    found: list[Pooled] = []
    for (task, subset, fingerprint), own in by_data(results).items():
        collection = with_data(own[0], cache)
        known = {} if with_judged else judged_by(collection, layer)
        pairs = {
            (query_id, doc_id)
            for result in own
            for query_id, scores in ranking_of(result, cache).items()
            for doc_id in ranked(scores)[:depth]
            if doc_id not in known.get(query_id, ())
        }
        documents = collection.documents({doc_id for _, doc_id in pairs})
        found += [
            Pooled(task, subset, fingerprint, query_id, doc_id, collection.queries[query_id], documents[doc_id])
            for query_id, doc_id in sorted(pairs)
            if doc_id in documents and any(part.strip() for part in documents[doc_id])
        ]
    return found


def by_data(results: Sequence[Result]) -> dict[tuple[str, str, str], list[Result]]:
    """(task, subset, collection) → its results, sorted."""
    found: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        key = result.identity.task, result.identity.subset, result.collection
        found.setdefault(key, []).append(result)
    return dict(sorted(found.items()))


def judged_by(collection: Collection, layer: Layer | None) -> dict[str, set[str]]:
    """query_id → the documents that the data set or the layer judges."""
    more = layer.qrels(collection.fingerprint) if layer else {}
    return {query_id: {*judged, *more.get(query_id, ())} for query_id, judged in collection.qrels.items()}


def with_data(result: Result, cache: Path) -> Collection:
    """The collection that a result is of. Raises HarnessError, exit code 3, where it is not prepared here."""
    collection = find_prepared(result.collection, cache)
    if collection is None:
        raise HarnessError(
            f"the data of {title_of(result)} are not in the cache {cache}: run the task here, and what is there is reused",
            exit_code=3,
        )
    return collection


def ranking_of(result: Result, cache: Path) -> Run:
    """The list that a result stands for. Raises HarnessError, exit code 3, where it is not kept here."""
    stage = "reranked" if result.identity.reranker else "first_stage"
    run = read_rankings(result, cache).get(stage)
    if run is None:
        who = result.identity.reranker or result.identity.retriever
        raise HarnessError(
            f"the ranking of {who} on {title_of(result)} is not in the cache {cache}: compute the result here "
            "(run --results into an empty folder; stored scores are reused)",
            exit_code=3,
        )
    return run


def write_pool(pairs: Iterable[Pooled], path: Path) -> None:
    """One line a pair. Raises HarnessError where that is not possible."""
    from ..files.cache import write_atomically

    try:
        write_atomically(path, "".join(json.dumps(pair.row(), ensure_ascii=False) + "\n" for pair in pairs))
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror or error}") from None


def read_pool(path: Path) -> Iterator[Pooled]:
    """The pairs of a pool, in the order of its lines. Raises HarnessError for a line that is none."""
    for row in read_rows([path], ()):
        yield _pooled(row)


def pooled_of(row: Mapping[str, Any], number: int) -> Pooled:
    """A pair in memory, by its place among others, from 1. Raises HarnessError, naming it, for what is none."""
    return _pooled(Row(Place(Path("the pool"), number, "row"), dict(row)))


def _pooled(row: Row) -> Pooled:
    return Pooled(
        string(row, Field(("task",))),
        string(row, Field(("subset",))),
        string(row, Field(("collection",))),
        identifier(row, Field(("query-id",))),
        identifier(row, Field(("corpus-id",))),
        QueryText(string(row, Field(("query",))), optional_string(row, Field(("instruction",)))),
        DocumentText(optional_string(row, Field(("title",))), string(row, Field(("text",)))),
        row.value.get("grade"),
    )
