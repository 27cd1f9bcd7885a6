"""Strict readers and writers of corpus, queries, qrels and runs; every text file also as .gz.

Every error is a HarnessError that names file and line.
"""

from __future__ import annotations

import gzip
import io
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..types import LARGEST_FLOAT32, DocumentText, Qrels, QueryText, Run, ranked
from .rows import (
    JSON_LINES,
    Place,
    Row,
    decoded,
    identifier,
    kind_of,
    lines_of,
    optional_string,
    read_jsonl,
    read_rows,
    shown,
    string,
)

__all__ = [
    "read_corpus",
    "read_examples",
    "read_instructions",
    "read_jsonl",
    "read_lists",
    "read_qrels",
    "read_queries",
    "read_run",
    "write_run",
]

_ID = ("_id", "id")
_TEXT = ("text", "content")
_QUERY_ID = ("query-id",)
_DOC_ID = ("corpus-id",)
_NOTHING = "N/A"
_BEIR_HEADER = [b"query-id", b"corpus-id", b"score"]
_WHITE = re.compile(r"[ \t\n\r\f\v]")
_WHOLE = re.compile(r"[+-]?[0-9]+(?:\.0*)?")
# float() takes 1_000 and Ⅷ-like digits too; a run file has neither.
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _once(seen: dict[str, Place], key: str, place: Place, what: str) -> None:
    if key in seen:
        raise HarnessError(f'{what} "{key}" stands twice: {seen[key]}, and {place}')
    seen[key] = place


# -- corpus, queries and what belongs to them


def read_corpus(paths: Iterable[Path]) -> Iterator[tuple[Place, str, DocumentText]]:
    """Place, doc_id and text of each document, in file order.

    Rows have `_id` or `id`, `text` (BRIGHT's have `content`), and `title`, which may be missing or
    null. Streams, so it does not see an id that stands twice: the caller must.
    """
    for row in read_rows(paths, [*_ID, "title", *_TEXT]):
        text = string(row, _TEXT[1] if _TEXT[1] in row.value and _TEXT[0] not in row.value else _TEXT[0])
        yield row.place, identifier(row, _ID), DocumentText(optional_string(row, "title"), text)


def read_queries(paths: Iterable[Path]) -> dict[str, QueryText]:
    """query_id → text and instruction; rows have `_id` or `id`, `text`, and may have `instruction`.

    Raises HarnessError for a row without them, of other types, or with an id seen before.
    """
    queries: dict[str, QueryText] = {}
    seen: dict[str, Place] = {}
    for row in read_rows(paths, [*_ID, "text", "instruction"]):
        query_id = identifier(row, _ID)
        _once(seen, query_id, row.place, "query")
        queries[query_id] = QueryText(string(row, "text"), optional_string(row, "instruction"))
    return queries


def read_instructions(paths: Iterable[Path]) -> dict[str, str]:
    """query_id → instruction; rows have `query-id` and `instruction`."""
    instructions: dict[str, str] = {}
    seen: dict[str, Place] = {}
    for row in read_rows(paths, [*_QUERY_ID, "instruction"]):
        query_id = identifier(row, _QUERY_ID)
        _once(seen, query_id, row.place, "the instruction of query")
        instructions[query_id] = string(row, "instruction")
    return instructions


def read_lists(paths: Iterable[Path]) -> dict[str, list[str]]:
    """query_id → doc_ids in file order; rows have `query-id` and the list `corpus-ids`.

    The shape of top_ranked, qrel_diff and excluded. Raises HarnessError for a query that stands
    twice and for a list that names a document twice.
    """
    lists: dict[str, list[str]] = {}
    seen: dict[str, Place] = {}
    for row in read_rows(paths, [*_QUERY_ID, "corpus-ids"]):
        query_id = identifier(row, _QUERY_ID)
        _once(seen, query_id, row.place, "the list of query")
        doc_ids = _identifiers(row, "corpus-ids")
        if len(set(doc_ids)) < len(doc_ids):
            twice = next(doc_id for doc_id in doc_ids if doc_ids.count(doc_id) > 1)
            raise HarnessError(f'{row.place}: the list of query "{query_id}" names document "{twice}" twice')
        lists[query_id] = doc_ids
    return lists


def _identifiers(row: Row, name: str) -> list[str]:
    value = row.value.get(name)
    if not isinstance(value, list):
        raise HarnessError(f'{row.place}: "{name}" is {shown(value)}, where a list of ids is needed')
    return [identifier(Row(row.place, {name: doc_id}), (name,)) for doc_id in value]


def read_examples(paths: Iterable[Path], gold: str) -> tuple[dict[str, QueryText], Qrels, dict[str, list[str]]]:
    """BRIGHT's rows as queries, qrels and excluded documents.

    A row has `id`, `query`, the relevant documents in the column `gold` (`gold_ids`, or `gold_ids_long`
    where the corpus is long_documents) and `excluded_ids`, which must not be candidates; its authors
    write `N/A` where there are none. A query without relevant documents is not judged.
    """
    queries: dict[str, QueryText] = {}
    qrels: Qrels = {}
    excluded: dict[str, list[str]] = {}
    seen: dict[str, Place] = {}
    for row in read_rows(paths, [*_ID, "query", gold, "excluded_ids"]):
        query_id = identifier(row, _ID)
        _once(seen, query_id, row.place, "query")
        relevant = [doc_id for doc_id in _identifiers(row, gold) if doc_id != _NOTHING]
        if not relevant:
            continue
        queries[query_id] = QueryText(string(row, "query"))
        qrels[query_id] = dict.fromkeys(relevant, 1)
        refused = _identifiers(row, "excluded_ids") if row.value.get("excluded_ids") is not None else []
        excluded[query_id] = [doc_id for doc_id in dict.fromkeys(refused) if doc_id != _NOTHING]
    if not qrels:
        raise HarnessError(f"{[str(path) for path in paths]}: no query has a relevant document in {gold}")
    return queries, qrels, {query_id: doc_ids for query_id, doc_ids in excluded.items() if doc_ids}


# -- qrels


def read_qrels(paths: Iterable[Path]) -> Qrels:
    """query_id → doc_id → relevance.

    Reads BEIR's TSV (header query-id, corpus-id, score), TREC qrels (query_id, iteration, doc_id,
    relevance; lines that begin with # are comments), JSON lines and parquet with BEIR's names.
    Raises HarnessError for a relevance that is not a whole number (1.0 is one), for a pair that
    stands twice with different relevance, and where there is no judgement at all.
    """
    qrels: Qrels = {}
    places: dict[tuple[str, str], Place] = {}
    path = None
    for path in paths:
        for place, query_id, doc_id, relevance in _judgements(path):
            first = places.setdefault((query_id, doc_id), place)
            known = qrels.setdefault(query_id, {}).setdefault(doc_id, relevance)
            if known != relevance:
                raise HarnessError(
                    f'query "{query_id}" and document "{doc_id}" have relevance {known} in {first} and '
                    f"{relevance} in {place}: a pair has one relevance"
                )
    if not qrels:
        raise HarnessError(f"{path} is empty: no query has a judgement")
    return qrels


def _judgements(path: Path) -> Iterator[tuple[Place, str, str, int]]:
    if kind_of(path) not in (*JSON_LINES, ".parquet"):
        yield from _judgement_lines(path)
        return
    for row in read_rows([path], [*_QUERY_ID, *_DOC_ID, "score"]):
        yield row.place, identifier(row, _QUERY_ID), identifier(row, _DOC_ID), _relevance(row)


def _relevance(row: Row) -> int:
    value = row.value.get("score")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise HarnessError(f'{row.place}: "score" is {shown(value)}, where relevance is a whole number')
    return int(value)


def _judgement_lines(path: Path) -> Iterator[tuple[Place, str, str, int]]:
    """BEIR's TSV where the first line is its header, else TREC qrels."""
    beir = None
    for place, line in lines_of(path):
        if beir is None:
            beir = [column.strip() for column in line.split(b"\t")] == _BEIR_HEADER
            if beir:
                continue
        if not beir and line.startswith(b"#"):
            continue
        columns = line.split(b"\t") if beir else line.split()
        if len(columns) != (3 if beir else 4):
            rule = (
                "three columns under BEIR's header"
                if beir
                else "four columns, or BEIR's header query-id, corpus-id, score"
            )
            raise HarnessError(f"{place} has {len(columns)} columns: qrels have {rule}")
        query_id, doc_id, relevance = (decoded(columns[i], place) for i in ((0, 1, 2) if beir else (0, 2, 3)))
        if not query_id or not doc_id:
            raise HarnessError(f"{place} has an empty id")
        if not _WHOLE.fullmatch(relevance.strip()):
            raise HarnessError(f'{place}: "{relevance}" is no relevance, which is a whole number')
        yield place, query_id, doc_id, int(relevance.strip().partition(".")[0])


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
