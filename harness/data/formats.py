"""Strict readers of corpus, queries, lists and BRIGHT's examples, whatever kind of file holds them.

Every error is a HarnessError that names file and line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import HarnessError
from ..types import DocumentText, Qrels, QueryText
from .containers import read_rows
from .judgements import grade_of
from .names import CORPUS, LISTS, QUERIES, Field, Fields
from .rows import Place, Row, all_named, identifier, optional_string, shown, string

__all__ = [
    "EXCLUDED",
    "read_corpus",
    "read_examples",
    "read_field",
    "read_instructions",
    "read_lists",
    "read_queries",
]

_NOTHING = "N/A"
EXCLUDED = ("excluded_ids", "excluded-ids", "excluded-corpus-ids", "excluded_corpus_ids", "negative_ids")
"""What data sets call the documents that must not be candidates of a query."""
_GAINS = {"gold_ids": ("gains", "gain"), "gold_ids_long": ("gains_long", "gain_long")}
"""What data sets call the grades that stand beside their relevant documents, in the same order."""
_ID_AND_TEXT = {2: ("id", "text")}
"""The columns of a table without a header, as MS MARCO's collection.tsv and queries.tsv."""


def _once(seen: dict[str, Place], key: str, place: Place, what: str) -> None:
    if key in seen:
        raise HarnessError(f'{what} "{key}" stands twice: {seen[key]}, and {place}')
    seen[key] = place


# -- corpus, queries and what belongs to them


def read_corpus(
    paths: Iterable[Path], unread: set[str] | None = None, fields: Fields = CORPUS
) -> Iterator[tuple[Place, str, DocumentText]]:
    """Place, doc_id and text of each document, in file order.

    Rows have an id, a text, and a title, which may be missing or null; `fields` says their columns. Streams, so
    it does not see an id that stands twice: the caller must.
    """
    for row in all_named(read_rows(paths, fields.values(), unread, _ID_AND_TEXT), fields, CORPUS):
        text = DocumentText(optional_string(row, fields["title"]), string(row, fields["text"]))
        yield row.place, identifier(row, fields["id"]), text


def read_field(paths: Iterable[Path], field: str, fields: Fields = QUERIES) -> dict[str, str]:
    """query_id → what a field of its row says (a string or a whole number); rows without it have no entry."""
    found: dict[str, str] = {}
    for row in read_rows(paths, [fields["id"], Field((field,))], positions=_ID_AND_TEXT):
        value = row.value.get(field)
        if isinstance(value, str | int) and not isinstance(value, bool):
            found[identifier(row, fields["id"])] = str(value)
    return found


def read_queries(
    paths: Iterable[Path], unread: set[str] | None = None, fields: Fields = QUERIES
) -> dict[str, QueryText]:
    """query_id → text and instruction; rows have an id and a text, and may have an instruction.

    Raises HarnessError for a row without them, of other types, or with an id seen before.
    """
    queries: dict[str, QueryText] = {}
    seen: dict[str, Place] = {}
    for row in all_named(read_rows(paths, fields.values(), unread, _ID_AND_TEXT), fields, QUERIES):
        query_id = identifier(row, fields["id"])
        _once(seen, query_id, row.place, "query")
        queries[query_id] = QueryText(string(row, fields["text"]), optional_string(row, fields["instruction"]))
    return queries


def read_instructions(paths: Iterable[Path], unread: set[str] | None = None) -> dict[str, str]:
    """query_id → instruction; rows have `query-id` and `instruction`."""
    instructions: dict[str, str] = {}
    seen: dict[str, Place] = {}
    for row in read_rows(paths, [LISTS["query_id"], LISTS["instruction"]], unread):
        query_id = identifier(row, LISTS["query_id"])
        _once(seen, query_id, row.place, "the instruction of query")
        instructions[query_id] = string(row, LISTS["instruction"])
    return instructions


def read_lists(
    paths: Iterable[Path], names: Sequence[str] = ("corpus-ids",), unread: set[str] | None = None
) -> dict[str, list[str]]:
    """query_id → doc_ids in file order; rows have `query-id` and a list under one of `names`.

    The shape of top_ranked, qrel_diff and excluded. Raises HarnessError for a query that stands
    twice and for a list that names a document twice.
    """
    lists: dict[str, list[str]] = {}
    seen: dict[str, Place] = {}
    for row in read_rows(paths, [LISTS["query_id"], Field(tuple(names))], unread):
        query_id = identifier(row, LISTS["query_id"])
        _once(seen, query_id, row.place, "the list of query")
        there = [name for name in names if row.value.get(name) is not None] or names[:1]
        doc_ids = list(dict.fromkeys(doc_id for name in there for doc_id in _distinct(row, name, query_id)))
        lists[query_id] = doc_ids
    return lists


def _distinct(row: Row, name: str, query_id: str) -> list[str]:
    doc_ids = _identifiers(row, name)
    if len(set(doc_ids)) < len(doc_ids):
        twice = next(doc_id for doc_id in doc_ids if doc_ids.count(doc_id) > 1)
        raise HarnessError(f'{row.place}: the list of query "{query_id}" names document "{twice}" twice')
    return doc_ids


def _identifiers(row: Row, name: str) -> list[str]:
    value = row.value.get(name)
    if not isinstance(value, list):
        raise HarnessError(f'{row.place}: "{name}" is {shown(value)}, where a list of ids is needed')
    return [identifier(Row(row.place, {name: doc_id}), Field((name,))) for doc_id in value]


def read_examples(
    paths: Iterable[Path], gold: str, unread: set[str] | None = None
) -> tuple[dict[str, QueryText], Qrels, dict[str, list[str]]]:
    """BRIGHT's rows as queries, qrels and excluded documents.

    A row has `id`, `query`, the relevant documents in the column `gold` (`gold_ids`, or `gold_ids_long`
    where the corpus is long_documents) and `excluded_ids` or another of EXCLUDED, which must not be
    candidates; its authors write `N/A` where there are none. A query without relevant documents is not judged.
    """
    queries: dict[str, QueryText] = {}
    qrels: Qrels = {}
    excluded: dict[str, list[str]] = {}
    seen: dict[str, Place] = {}
    columns = Field(("query", gold, *_GAINS[gold], *EXCLUDED))
    for row in read_rows(paths, [QUERIES["id"], columns], unread):
        query_id = identifier(row, QUERIES["id"])
        _once(seen, query_id, row.place, "query")
        relevant = _graded(row, gold)
        if not relevant:
            continue
        queries[query_id] = QueryText(string(row, Field(("query",))))
        qrels[query_id] = relevant
        refused = [doc_id for name in EXCLUDED if row.value.get(name) is not None for doc_id in _identifiers(row, name)]
        excluded[query_id] = [doc_id for doc_id in dict.fromkeys(refused) if doc_id != _NOTHING]
    if not qrels:
        raise HarnessError(f"{[str(path) for path in paths]}: no query has a relevant document in {gold}")
    return queries, qrels, {query_id: doc_ids for query_id, doc_ids in excluded.items() if doc_ids}


def _graded(row: Row, gold: str) -> dict[str, int]:
    """The relevant documents with their grades: 1 each, unless the row has a list of grades in the same order."""
    doc_ids = _identifiers(row, gold)
    column = next((name for name in _GAINS[gold] if row.value.get(name) is not None), None)
    gains = [1] * len(doc_ids) if column is None else row.value[column]
    if not isinstance(gains, list) or len(gains) != len(doc_ids):
        raise HarnessError(f'{row.place}: "{column}" is {shown(gains)}, where a grade for each of {gold} is needed')
    graded = [(doc_id, grade_of(gain, column or gold, row.place)) for doc_id, gain in zip(doc_ids, gains, strict=True)]
    return {doc_id: grade for doc_id, grade in graded if doc_id != _NOTHING}
