"""Strict reader of qrels: BEIR's TSV, TREC's four columns, JSON lines and parquet, with aspects where they have them.

Diversity qrels judge a document for each aspect (subtopic) of a query. TREC writes the aspect where other qrels
have an iteration that nobody reads, so a second column that varies within a query is one; tables have a column for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import HarnessError
from ..types import Aspects, Qrels
from .rows import JSON_LINES, Place, Row, decoded, identifier, kind_of, lines_of, read_rows, shown, there

__all__ = ["grade", "read_judgements", "read_qrels"]

_QUERY_ID = ("query-id",)
_DOC_ID = ("corpus-id",)
_GRADE = ("score", "gain")
_ASPECT = ("aspect", "subtopic")
"""What a table calls the column of aspects."""
_NO_ASPECT = "0"
_UNREAD = ("Q0", "q0")
"""What TREC's second column says where it says nothing, beside 0."""
_BEIR_HEADER = ["query-id", "corpus-id", "score"]
_WHOLE = re.compile(r"[+-]?[0-9]+(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LARGEST_GRADE = 2**31 - 1
_GRADES = "write grades, as 35 for 0.35 (nDCG is the same for any multiple of them)"


class _Judgement(NamedTuple):
    place: Place
    query_id: str
    doc_id: str
    aspect: str
    relevance: int


def read_qrels(paths: Iterable[Path], unread: set[str] | None = None) -> Qrels:
    """query_id → doc_id → relevance: the highest over the aspects where there are any. Raises as `read_judgements` does."""
    return read_judgements(paths, unread)[0]


def read_judgements(paths: Iterable[Path], unread: set[str] | None = None) -> tuple[Qrels, Aspects | None]:
    """query_id → doc_id → relevance, and → aspect → relevance; None where no query has two aspects.

    Reads BEIR's TSV (header query-id, corpus-id, score, and aspect or subtopic where there are any), TREC qrels
    (query_id, iteration or aspect, doc_id, relevance; lines that begin with # are comments), JSON lines and parquet
    with BEIR's names. With aspects a document's relevance is the highest that it has for one.
    Raises HarnessError for a relevance that is not a whole number (1.0 is one), for a pair (of one aspect) that
    stands twice with different relevance, and where there is no judgement at all.
    """
    found: dict[str, dict[str, dict[str, _Judgement]]] = {}
    path = None
    for path in paths:
        for judgement in _judgements(path, unread):
            of_pair = found.setdefault(judgement.query_id, {}).setdefault(judgement.doc_id, {})
            _refuse_two(of_pair.setdefault(judgement.aspect, judgement), judgement)
    if not found:
        raise HarnessError(f"{path} is empty: no query has a judgement")
    several = any(len({a for of_pair in documents.values() for a in of_pair}) > 1 for documents in found.values())
    qrels = {q: {d: max(j.relevance for j in of.values()) for d, of in docs.items()} for q, docs in found.items()}
    if not several:
        return qrels, None
    return qrels, {
        query_id: {doc_id: {a: j.relevance for a, j in of_pair.items()} for doc_id, of_pair in documents.items()}
        for query_id, documents in found.items()
    }


def _refuse_two(first: _Judgement, second: _Judgement) -> None:
    if first.relevance != second.relevance:
        raise HarnessError(
            f'query "{first.query_id}" and document "{first.doc_id}" have relevance {first.relevance} in {first.place} and '
            f"{second.relevance} in {second.place}: a pair has one relevance"
        )


def _judgements(path: Path, unread: set[str] | None) -> Iterator[_Judgement]:
    if kind_of(path) not in (*JSON_LINES, ".parquet"):
        yield from _judgement_lines(path)
        return
    for row in read_rows([path], [*_QUERY_ID, *_DOC_ID, *_GRADE, *_ASPECT], unread):
        aspect = identifier(row, _ASPECT) if any(row.value.get(name) is not None for name in _ASPECT) else _NO_ASPECT
        yield _Judgement(row.place, identifier(row, _QUERY_ID), identifier(row, _DOC_ID), aspect, _relevance(row))


def _relevance(row: Row) -> int:
    names = [name for name in _GRADE if row.value.get(name) is not None]
    if not names:
        raise HarnessError(f'{row.place} has no "score"{there(row)}, which is the relevance')
    grades = {grade(row.value[name], name, row.place) for name in names}
    if len(grades) > 1:
        raise HarnessError(f'{row.place}: "score" and "gain" differ, and one of them is the relevance: leave one out')
    return grades.pop()


def grade(value: object, name: str, place: Place) -> int:
    """The relevance that a field holds. Raises HarnessError, naming the place, where it is no whole number, or too large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise HarnessError(f'{place}: "{name}" is {shown(value)}, where relevance is a whole number')
    if value != value // 1:
        raise HarnessError(f'{place}: "{name}" is {shown(value)}, where relevance is a whole number: {_GRADES}')
    return _within(int(value), shown(value), place)


def _within(relevance: int, written: str, place: Place) -> int:
    if abs(relevance) > _LARGEST_GRADE:
        raise HarnessError(
            f"{place}: relevance {written} is beyond {_LARGEST_GRADE:,}, the largest grade that is read: is it an id or a "
            "score? Grades are small numbers, as 0, 1, 2, 3"
        )
    return relevance


def _judgement_lines(path: Path) -> Iterator[_Judgement]:
    """BEIR's TSV where the first line is its header, else TREC qrels."""
    beir = aspects = False
    for number, (place, line) in enumerate(lines_of(path)):
        if not number:
            header = [column.strip().decode("utf-8", "replace") for column in line.split(b"\t")]
            beir = header[:3] == _BEIR_HEADER and (len(header) == 3 or (len(header) == 4 and header[3] in _ASPECT))
            aspects = len(header) == 4
            if beir:
                continue
        if not beir and line.startswith(b"#"):
            continue
        columns = [decoded(column, place) for column in (line.split(b"\t") if beir else line.split())]
        _refuse_width(len(columns), place, beir=beir, aspects=aspects)
        query_id, aspect, doc_id, written = (columns[i] for i in ((0, -1, 1, 2) if beir else range(4)))
        if not query_id or not doc_id or (beir and aspects and not aspect.strip()):
            raise HarnessError(f"{place} has an empty id")
        aspect = aspect.strip() if aspects or not beir else _NO_ASPECT
        if not _WHOLE.fullmatch(written.strip()):
            way = f": {_GRADES}" if _NUMBER.fullmatch(written.strip()) else ""
            raise HarnessError(f'{place}: "{written}" is no relevance, which is a whole number{way}')
        # Python refuses to read thousands of digits.
        whole = int(written.strip().partition(".")[0][:400])
        relevance = _within(whole, shown(written), place)
        yield _Judgement(place, query_id, doc_id, _NO_ASPECT if aspect in _UNREAD else aspect, relevance)


def _refuse_width(width: int, place: Place, *, beir: bool, aspects: bool) -> None:
    if width != ((4 if aspects else 3) if beir else 4):
        under = f"{'four' if aspects else 'three'} columns under BEIR's header"
        rule = under if beir else "four columns, or BEIR's header query-id, corpus-id, score"
        raise HarnessError(f"{place} has {width} columns: qrels have {rule}")
