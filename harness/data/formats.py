"""Strict readers and writers of corpus, queries, qrels and runs; every text file also as .gz.

Every error is a HarnessError that names file and line.
"""

from __future__ import annotations

import gzip
import io
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..types import LARGEST_FLOAT32, DocumentText, Qrels, QueryText, Run, ranked
from .judgements import grade
from .rows import (
    Place,
    Row,
    decoded,
    identifier,
    lines_of,
    optional_string,
    read_jsonl,
    read_rows,
    shown,
    string,
)

__all__ = [
    "EXCLUDED",
    "read_corpus",
    "read_examples",
    "read_field",
    "read_instructions",
    "read_jsonl",
    "read_lists",
    "read_queries",
    "read_run",
    "write_run",
]

_ID = ("_id", "id")
_TEXT = ("text", "content")
_QUERY_ID = ("query-id",)
_NOTHING = "N/A"
EXCLUDED = ("excluded_ids", "excluded-ids", "excluded-corpus-ids", "excluded_corpus_ids", "negative_ids")
"""What data sets call the documents that must not be candidates of a query."""
_GAINS = {"gold_ids": ("gains", "gain"), "gold_ids_long": ("gains_long", "gain_long")}
"""What data sets call the grades that stand beside their relevant documents, in the same order."""
_WHITE = re.compile(r"[ \t\n\r\f\v]")
# float() takes 1_000 and Ⅷ-like digits too; a run file has neither.
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _once(seen: dict[str, Place], key: str, place: Place, what: str) -> None:
    if key in seen:
        raise HarnessError(f'{what} "{key}" stands twice: {seen[key]}, and {place}')
    seen[key] = place


# -- corpus, queries and what belongs to them


def read_corpus(paths: Iterable[Path], unread: set[str] | None = None) -> Iterator[tuple[Place, str, DocumentText]]:
    """Place, doc_id and text of each document, in file order.

    Rows have `_id` or `id`, `text` (BRIGHT's have `content`), and `title`, which may be missing or
    null. Streams, so it does not see an id that stands twice: the caller must.
    """
    for row in read_rows(paths, [*_ID, "title", *_TEXT], unread):
        text = string(row, _TEXT[1] if _TEXT[1] in row.value and _TEXT[0] not in row.value else _TEXT[0])
        yield row.place, identifier(row, _ID), DocumentText(optional_string(row, "title"), text)


def read_field(paths: Iterable[Path], field: str) -> dict[str, str]:
    """query_id → what a field of its row says (a string or a whole number); rows without it have no entry."""
    found: dict[str, str] = {}
    for row in read_rows(paths, [*_ID, field]):
        value = row.value.get(field)
        if isinstance(value, str | int) and not isinstance(value, bool):
            found[identifier(row, _ID)] = str(value)
    return found


def read_queries(paths: Iterable[Path], unread: set[str] | None = None) -> dict[str, QueryText]:
    """query_id → text and instruction; rows have `_id` or `id`, `text`, and may have `instruction`.

    Raises HarnessError for a row without them, of other types, or with an id seen before.
    """
    queries: dict[str, QueryText] = {}
    seen: dict[str, Place] = {}
    for row in read_rows(paths, [*_ID, "text", "instruction"], unread):
        query_id = identifier(row, _ID)
        _once(seen, query_id, row.place, "query")
        queries[query_id] = QueryText(string(row, "text"), optional_string(row, "instruction"))
    return queries


def read_instructions(paths: Iterable[Path], unread: set[str] | None = None) -> dict[str, str]:
    """query_id → instruction; rows have `query-id` and `instruction`."""
    instructions: dict[str, str] = {}
    seen: dict[str, Place] = {}
    for row in read_rows(paths, [*_QUERY_ID, "instruction"], unread):
        query_id = identifier(row, _QUERY_ID)
        _once(seen, query_id, row.place, "the instruction of query")
        instructions[query_id] = string(row, "instruction")
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
    for row in read_rows(paths, [*_QUERY_ID, *names], unread):
        query_id = identifier(row, _QUERY_ID)
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
    return [identifier(Row(row.place, {name: doc_id}), (name,)) for doc_id in value]


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
    for row in read_rows(paths, [*_ID, "query", gold, *_GAINS[gold], *EXCLUDED], unread):
        query_id = identifier(row, _ID)
        _once(seen, query_id, row.place, "query")
        relevant = _graded(row, gold)
        if not relevant:
            continue
        queries[query_id] = QueryText(string(row, "query"))
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
    graded = [(doc_id, grade(gain, column or gold, row.place)) for doc_id, gain in zip(doc_ids, gains, strict=True)]
    return {doc_id: relevance for doc_id, relevance in graded if doc_id != _NOTHING}


# -- runs


def read_run(path: Path) -> Run:
    """A TREC run: query_id, Q0, doc_id, rank, score, tag, between any white space.

    The rank column is not read: scores rank. Lines that begin with # are comments, as in
    trec_eval. Raises HarnessError for another number of columns, a score that is not a finite
    number, a document that stands twice for one query, and a file without lines.
    """
    run: Run = {}
    for place, line in lines_of(path):
        if line.startswith(b"#"):
            continue
        columns = line.split()
        if len(columns) != 6:
            raise HarnessError(
                f"{place} has {len(columns)} columns: a TREC run has six, query_id Q0 doc_id rank score tag"
            )
        score = float(columns[4]) if _NUMBER.fullmatch(columns[4]) else math.nan
        if not math.isfinite(score):
            raise HarnessError(f'{place}: "{decoded(columns[4], place)}" is no finite number, as a score must be')
        if not -LARGEST_FLOAT32 <= score <= LARGEST_FLOAT32:
            raise HarnessError(
                f'{place}: "{decoded(columns[4], place)}" is beyond single precision (at most 3.4e38), in which scores '
                "are ranked, as in trec_eval"
            )
        query_id, doc_id = decoded(columns[0], place), decoded(columns[2], place)
        scores = run.setdefault(query_id, {})
        if doc_id in scores:
            raise HarnessError(f'{place}: document "{doc_id}" stands twice for query "{query_id}"')
        scores[doc_id] = score
    if not run:
        raise HarnessError(f"{path} is empty: a run has at least one line")
    return run


def write_run(path: Path, run: Run, tag: str) -> None:
    """Writes a TREC run, whole or not at all; packed where the name ends in .gz.

    Queries in the run's order, documents by `types.ranked`, ranks from 1, scores as the shortest
    nine digits that give the same float32 back. White space in `tag` becomes _. Raises HarnessError
    for a score that is not finite in float32, and for an id that is empty or has white space, which
    the format cannot hold.
    """
    text = "".join(_run_lines(run, "_".join(tag.split()) or "run")).encode("utf-8")
    if path.name.lower().endswith(".gz"):
        packed = io.BytesIO()
        # No name and no time inside: the same run gives the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream:
            stream.write(text)
        text = packed.getvalue()
    try:
        write_atomically(path, text)
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror or error}") from error


def _run_lines(run: Run, tag: str) -> Iterator[str]:
    import numpy as np

    for query_id, scores in run.items():
        for name in (query_id, *scores):
            if not name or _WHITE.search(name):
                raise HarnessError(f'id "{name}" is empty or has white space: a TREC run cannot hold it')
        with np.errstate(over="ignore"):
            single = {doc_id: float(np.float32(score)) for doc_id, score in scores.items()}
        for doc_id, score in single.items():
            if not math.isfinite(score):
                raise HarnessError(f'query "{query_id}" and document "{doc_id}": score {scores[doc_id]} is not finite')
        for rank, doc_id in enumerate(ranked(single), 1):
            yield f"{query_id} Q0 {doc_id} {rank} {single[doc_id]:.9g} {tag}\n"
