"""The queries that moved most between two values, and the documents that changed places.

Texts come from the prepared collection and places from the kept rankings, both in the cache; what
is not there is left out, never made up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

from ..data.collection import Collection, find_prepared
from ..results.rankings import read_rankings
from ..results.result import Result
from ..text import join_document, join_query
from ..types import Run, ranked

__all__ = ["MovedDocument", "MovedQuery", "Side", "moved_queries", "told_of"]

TOP = 10
"""Only documents in one of the two top tens are shown."""


@dataclass(frozen=True)
class MovedDocument:
    """A document that changed places; ranks count from 1, None where the ranking lacks it."""

    doc_id: str
    before: int | None
    after: int | None
    relevance: int | None
    """None for a document without a judgement."""
    text: str | None


@dataclass(frozen=True)
class MovedQuery:
    """A query whose value moved, on which measure, and what changed places in its ranking."""

    query_id: str
    before: float
    after: float
    text: str | None
    documents: tuple[MovedDocument, ...]


@dataclass(frozen=True)
class Side:
    """One of the two rankings of a task: a result, and which of its stages."""

    result: Result
    stage: str

    @classmethod
    def of(cls, result: Result) -> Side:
        """What a result is about: its reranked ranking, or its first stage where nothing was reranked."""
        return cls(result, result.stage)


def moved_queries(
    before: Mapping[str, float], after: Mapping[str, float], sides: tuple[Side, Side], cache: Path, most: int
) -> list[MovedQuery]:
    """The `most` queries whose value moved furthest, up or down; equal ones in the order of their ids."""
    moves = [(query_id, after[query_id] - before[query_id]) for query_id in before if query_id in after]
    chosen = sorted((move for move in moves if move[1] != 0), key=lambda move: (-abs(move[1]), move[0]))[:most]
    return told_of([query_id for query_id, _ in chosen], before, after, sides, cache)


def told_of(
    query_ids: Sequence[str],
    before: Mapping[str, float],
    after: Mapping[str, float],
    sides: tuple[Side, Side],
    cache: Path,
) -> list[MovedQuery]:
    """These queries, each with what changed places in it."""
    if not query_ids:
        return []
    collection = find_prepared(sides[0].result.collection, cache)
    runs = [read_rankings(side.result, cache).get(side.stage, {}) for side in sides]
    return [
        MovedQuery(
            query_id,
            before[query_id],
            after[query_id],
            _text(query_id, collection),
            _documents(query_id, runs, collection),
        )
        for query_id in query_ids
    ]


def _text(query_id: str, collection: Collection | None) -> str | None:
    if collection is None:
        return None
    # p-MRR has a value for each base query, whose texts stand under its two sides.
    query = collection.queries.get(query_id) or collection.queries.get(f"{query_id}-changed")
    return join_query(query) if query else None


def _documents(
    query_id: str, runs: Sequence[Run], collection: Collection | None, most: int = 3
) -> tuple[MovedDocument, ...]:
    side = query_id if any(query_id in run for run in runs) else f"{query_id}-changed"
    places = [{doc_id: rank for rank, doc_id in enumerate(ranked(run.get(side, {})), 1)} for run in runs]
    if not all(places):
        return ()
    judged = collection.qrels.get(side, {}) if collection else {}
    near = [doc_id for doc_id in {**places[0], **places[1]} if any(p.get(doc_id, TOP + 1) <= TOP for p in places)]
    moved = {doc_id: abs(_weight(places[0].get(doc_id)) - _weight(places[1].get(doc_id))) for doc_id in near}
    order = sorted(
        (doc_id for doc_id in near if moved[doc_id] > 0),
        key=lambda doc_id: (judged.get(doc_id, 0) <= 0, -moved[doc_id], doc_id),
    )[:most]
    texts = collection.few_documents(order) if collection else {}
    return tuple(
        MovedDocument(
            doc_id,
            places[0].get(doc_id),
            places[1].get(doc_id),
            judged.get(doc_id),
            join_document(texts[doc_id]) if doc_id in texts else None,
        )
        for doc_id in order
    )


def _weight(rank: int | None) -> float:
    """nDCG's discount: what a place is worth."""
    return 0.0 if rank is None else 1 / log2(rank + 1)
