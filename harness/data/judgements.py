"""Qrels of any form → query_id → doc_id → relevance, with aspects and gains where they have them.

TREC's four columns, three columns with or without a header, CSV, JSON lines, Parquet: what differs is
where a judgement stands; what a grade may be is one rule.

Diversity qrels judge a document for each aspect (subtopic) of a query. TREC writes the aspect where other qrels
have an iteration that nobody reads, so a second column that varies within a query is one; tables have a column for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import HarnessError
from ..types import Aspects, Qrels
from .containers import TABLES, header_of, kind_of, lines_of, read_json, read_rows, unread_of, whole_files
from .names import QRELS, Fields
from .rows import Place, Row, all_named, decoded, identifier, shown, there, value_of

__all__ = ["Gains", "Judgements", "grade_of", "read_judgements", "read_qrels"]

Number = TypeVar("Number", int, float)
Gains = dict[str, dict[str, float]]
"""query_id → doc_id → gain, 0 or more, for the measures that can use one."""

_WHOLE = re.compile(r"[+-]?[0-9]+(?:\.0*)?")
# float() takes 1_000 and digits of other scripts too; qrels have neither.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WHITE = re.compile(r"[ \t\r\f\v]+")
_NO_ASPECT = "0"
_UNREAD = ("Q0", "q0")
"""What TREC's second column says where it says nothing, beside 0."""
_LARGEST_GRADE = 2**31 - 1
_WAY_OUT = "write grades, as 35 for 0.35 (nDCG is the same for any multiple of them), or call the column gain"
_POSITIONS = {3: ("query-id", "corpus-id", "score"), 4: ("query-id", "aspect", "corpus-id", "score")}
"""The columns of qrels without a header."""


class Judgements(NamedTuple):
    """What the qrels say."""

    qrels: Qrels
    """The highest relevance over the aspects, where there are any."""
    aspects: Aspects | None
    """None where no query has two aspects."""
    gains: Gains | None
    """Where the data set has gains that are no whole numbers."""
    gains_alone: bool
    """Whether there are gains and no grades: the qrels then say 1 for a gain above 0, as no grade does."""
    repeated: int
    """Judgements that stand there more than once, alike."""


class _Judgement(NamedTuple):
    """One pair's grade and gain, for an aspect; None where the row has none."""

    place: Place
    query_id: str
    doc_id: str
    aspect: str
    grade: int | None
    gain: float | None


def read_qrels(paths: Iterable[Path], unread: set[str] | None = None, fields: Fields = QRELS) -> Qrels:
    """The grades alone: see `read_judgements`."""
    return read_judgements(paths, unread, fields).qrels


def read_judgements(
    paths: Iterable[Path],
    unread: set[str] | None = None,
    fields: Fields = QRELS,
    gains: Iterable[Path] = (),
) -> Judgements:
    """The qrels of files; `gains` are files of gains for them.

    Lines that begin with # are comments where there is no header of BEIR's. Raises HarnessError for a relevance
    that is not a whole number (1.0 is one), for a pair that stands twice with different relevance, for a
    gain below 0, and where there is no judgement at all.
    """
    found: dict[tuple[str, str, str], _Judgement] = {}
    paths, repeated = list(paths), 0
    for judgement in _judgements(paths, unread, fields):
        first = found.setdefault(judgement[1:4], judgement)
        if first is not judgement:
            _refuse_two(first, judgement)
            repeated += 1
    if not found:
        raise HarnessError(f"{paths[-1]} is empty: no query has a judgement")
    known, gains = list(found.values()), list(gains)
    if gains:
        known = _with_gains(found, gains, fields)
    qrels: Qrels = {}
    aspects: Aspects = {}
    fractional = any(each.gain is not None and each.gain != each.gain // 1 for each in known)
    for each in known:
        relevance = _relevance(each, fractional or bool(gains))
        judged = qrels.setdefault(each.query_id, {})
        judged[each.doc_id] = max(relevance, judged.get(each.doc_id, relevance))
        aspects.setdefault(each.query_id, {}).setdefault(each.doc_id, {})[each.aspect] = relevance
    several = any(len({a for of in documents.values() for a in of}) > 1 for documents in aspects.values())
    by_aspect = aspects if several else None
    if not fractional and not gains:
        return Judgements(qrels, by_aspect, None, gains_alone=False, repeated=repeated)
    alone = any(each.grade is None for each in known)
    return Judgements(qrels, by_aspect, _gains(known), gains_alone=alone, repeated=repeated)


def _relevance(each: _Judgement, apart: bool) -> int:
    """The grade; where gains are no whole numbers (`apart`) they need not agree with it."""
    if not apart and None not in (each.grade, each.gain) and each.grade != each.gain:
        raise HarnessError(f'{each.place}: "score" and "gain" differ, and one of them is the relevance: leave one out')
    if each.grade is not None:
        return each.grade
    return int(bool(each.gain)) if apart else int(each.gain or 0)


def _gains(known: Sequence[_Judgement]) -> Gains:
    gains: Gains = {}
    for each in known:
        if each.gain is None:
            raise HarnessError(f"{each.place} has no gain, and other judgements have: every judgement needs one")
        if each.gain < 0:
            raise HarnessError(f"{each.place}: the gain {each.gain} is below 0: gains are 0 or more")
        of_query = gains.setdefault(each.query_id, {})
        of_query[each.doc_id] = max(each.gain, of_query.get(each.doc_id, 0.0))
    return gains


def _with_gains(
    found: dict[tuple[str, str, str], _Judgement], paths: Sequence[Path], fields: Fields
) -> list[_Judgement]:
    """The judgements with the gains of files of their own; what is judged 0 or below needs none."""
    given: dict[tuple[str, str, str], _Judgement] = {}
    for each in _judgements(paths, None, fields):
        alone = each._replace(grade=None, gain=each.gain if each.gain is not None else each.grade)
        first = given.setdefault(each[1:4], alone)
        if first is not alone:
            _refuse_two(first, alone)
        if each[1:4] not in found:
            raise HarnessError(
                f'{each.place}: query "{each.query_id}" and document "{each.doc_id}" have a gain and no judgement'
            )
    merged = []
    for pair, each in found.items():
        gain = given[pair].gain if pair in given else 0.0 if (each.grade or 0) <= 0 else None
        merged.append(each._replace(gain=gain))
    return merged


def _refuse_two(first: _Judgement, second: _Judgement) -> None:
    for what, one, two in (("relevance", first.grade, second.grade), ("gain", first.gain, second.gain)):
        if one != two:
            raise HarnessError(
                f'query "{first.query_id}" and document "{first.doc_id}" have {what} {one} in {first.place} and '
                f"{two} in {second.place}: a pair has one {what}"
            )


# -- where a judgement stands


def _judgements(paths: Iterable[Path], unread: set[str] | None, fields: Fields) -> Iterator[_Judgement]:
    for path in whole_files(paths):
        kind = kind_of(path)
        if kind not in TABLES or kind == ".tsv":
            yield from _of_lines(path, unread, fields)
            continue
        for row in all_named(_rows(path, kind, unread, fields), fields, QRELS):
            yield _of_row(row, fields)


def _of_row(row: Row, fields: Fields) -> _Judgement:
    grade, gain = value_of(row, fields["relevance"]), value_of(row, fields["gain"])
    if grade[1] is None and gain[1] is None:
        raise HarnessError(f'{row.place} has no "{fields["relevance"].usual[0]}"{there(row)}, which is the relevance')
    return _Judgement(
        row.place,
        identifier(row, fields["query_id"]),
        identifier(row, fields["doc_id"]),
        _aspect_of(row, fields),
        None if grade[1] is None else grade_of(grade[1], grade[0], row.place),
        None if gain[1] is None else _gain_of(gain[1], gain[0], row.place),
    )


def _rows(path: Path, kind: str, unread: set[str] | None, fields: Fields) -> Iterator[Row]:
    if kind == ".json":
        return _of_json(path, unread, fields)
    if kind == ".csv":
        return (_with_numbers(row, fields) for row in read_rows([path], fields.values(), unread, _POSITIONS))
    return read_rows([path], fields.values(), unread)


def _with_numbers(row: Row, fields: Fields) -> Row:
    """A row of text, with its grade and gain as numbers."""
    found = dict(row.value)
    for field, read in (("relevance", _grade_in_text), ("gain", _gain_in_text)):
        name, value = value_of(row, fields[field])
        if value is not None:
            found[name] = read(value.strip(), row.place)
    return Row(row.place, found)


def _of_json(path: Path, unread: set[str] | None, fields: Fields) -> Iterator[Row]:
    """Records, or pytrec_eval's dictionary of dictionaries."""
    first = next((line.strip() for _, line in lines_of(path)), b"")
    try:
        value = read_json(path) if first.startswith(b"{") else None
    except HarnessError:
        value = None  # several objects, one a line
    names = {name for field in fields.values() for name in field.names}
    if not isinstance(value, dict) or names & value.keys():
        yield from read_rows([path], fields.values(), unread)
        return
    number = 0
    for query_id, judged in value.items():
        if not isinstance(judged, dict):
            raise HarnessError(
                f'{path}: query "{query_id}" has {shown(judged)}, where its documents are needed, each with its relevance'
            )
        for doc_id, relevance in judged.items():
            number += 1
            column = fields["relevance"].names[0]
            names_of = (fields["query_id"].names[0], fields["doc_id"].names[0], column)
            yield Row(Place(path, number, "judgement"), dict(zip(names_of, (query_id, doc_id, relevance), strict=True)))


def _of_lines(path: Path, unread: set[str] | None, fields: Fields) -> Iterator[_Judgement]:
    """Columns between tabs, or between any white space, as the first line has them; its names where it is a header."""
    names: Sequence[str] | None = None
    by_tabs = header = False
    at: dict[str, int] = {}
    grades: dict[str, int] = {}
    for place, line in lines_of(path):
        if not header and line.lstrip().startswith(b"#"):
            continue
        text = decoded(line, place)
        if names is None:
            names, by_tabs, header = _form(text, fields, place)
            at = _places_of(names, fields, place)
            if header:
                if unread is not None:
                    unread |= unread_of(names, fields.values())
                continue
        cells = _cells(text, by_tabs)
        if len(cells) != len(names):
            raise HarnessError(f"{place} has {len(cells)} columns: qrels have {_as_words(len(names), header)}")
        query_id, doc_id = cells[at["query_id"]], cells[at["doc_id"]]
        aspect = cells[at["aspect"]].strip() if "aspect" in at else _NO_ASPECT
        if not query_id.strip() or not doc_id.strip() or not aspect:
            raise HarnessError(f"{place} has an empty id")
        aspect = _NO_ASPECT if aspect in _UNREAD else aspect
        grade = None
        if "relevance" in at and (grade := grades.get(written := cells[at["relevance"]])) is None:
            grade = grades[written] = _grade_in_text(written.strip(), place)
        gain = _gain_of(_gain_in_text(cells[at["gain"]].strip(), place), "gain", place) if "gain" in at else None
        yield _Judgement(place, query_id, doc_id, aspect, grade, gain)


def _places_of(names: Sequence[str], fields: Fields, place: Place) -> dict[str, int]:
    """field → the place of its column. Raises HarnessError where two columns may hold one field, or a card names one that is not there."""
    found: dict[str, int] = {}
    for key, field in fields.items():
        usual, others = ([name for name in of if name in names] for of in (field.usual, field.others))
        if not usual and len(others) > 1:
            raise HarnessError(
                f"{place} is a header with {' and '.join(others)}, which may both be the {key.replace('_', ' ')}: leave one out"
            )
        if usual or others:
            found[key] = names.index((usual or others)[0])
        elif field != QRELS[key]:
            raise HarnessError(
                f'{place.path} has no column "{field.usual[0]}", which "fields" of the card names; its own are '
                f"{', '.join(map(repr, names))}"
            )
    return found


def _as_words(count: int, header: bool) -> str:
    number = {3: "three", 4: "four"}.get(count, str(count))
    return f"{number} columns{' under their header' if header else ', as the first line has'}"


def _cells(line: str, by_tabs: bool) -> list[str]:
    return line.rstrip(" \t").split("\t") if by_tabs else _WHITE.split(line.strip(" \t\r\f\v"))


def _form(line: str, fields: Fields, place: Place) -> tuple[Sequence[str], bool, bool]:
    """The columns' names, whether tabs part them, and whether the line is a header."""
    parted, white = _cells(line, by_tabs=True), _cells(line, by_tabs=False)
    for cells, by_tabs in ((parted, True), (white, False)):
        names = header_of(cells, fields.values())
        known = [name for name in names if any(name in field.names for field in fields.values())]
        if len(known) > 1:
            return _whole_header(names, fields, place), by_tabs, True
    if len(parted) == 3 and len(white) == 4:
        raise HarnessError(
            f"{place} can be read as three columns, an id with a blank among them, or as TREC's four: part all columns by "
            "tabs, or give the header query-id, corpus-id, score"
        )
    for cells, by_tabs in ((white, False), (parted, True)):
        if len(cells) in _POSITIONS:
            return _POSITIONS[len(cells)], by_tabs, False
    raise HarnessError(
        f"{place} has {len(white)} columns: qrels have three (query, document, relevance) or TREC's four, or BEIR's "
        "header query-id, corpus-id, score"
    )


def _whole_header(names: Sequence[str], fields: Fields, place: Place) -> Sequence[str]:
    """Raises HarnessError for a header without one of the three columns, or with one twice."""
    for what in ("query_id", "doc_id", "relevance"):
        alike = [fields[what], *([fields["gain"]] if what == "relevance" else [])]
        if not any(name in field.names for field in alike for name in names):
            raise HarnessError(
                f"{place} is a header ({', '.join(names)}) without the {what.replace('_', ' ')}: call it {alike[0].names[0]}, or name "
                'its column in a card: "fields: {relevance: grade}"'
            )
    if len(set(names)) < len(names):
        raise HarnessError(f"{place} is a header ({', '.join(names)}) that has a column twice")
    return names


def _aspect_of(row: Row, fields: Fields) -> str:
    said = value_of(row, fields["aspect"])[1]
    aspect = _NO_ASPECT if said is None else identifier(row, fields["aspect"]).strip()
    return _NO_ASPECT if aspect in _UNREAD else aspect


# -- what a grade may be


def grade_of(value: object, name: str, place: Place) -> int:
    """A relevance: a whole number of at most 31 bits. Raises HarnessError, with the way out, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise HarnessError(f'{place}: "{name}" is {shown(value)}, where relevance is a whole number')
    if value != value // 1:
        raise HarnessError(f'{place}: "{name}" is {shown(value)}, where relevance is a whole number: {_WAY_OUT}')
    return _within(int(value), shown(value), place)


def _grade_in_text(text: str, place: Place) -> int:
    if not _WHOLE.fullmatch(text):
        way = f": {_WAY_OUT}" if _NUMBER.fullmatch(text) else ""
        raise HarnessError(f'{place}: "{text}" is no relevance, which is a whole number{way}')
    # Python refuses to read thousands of digits.
    return _within(int(text.partition(".")[0][:400]), shown(text), place)


def _within(relevance: Number, written: str, place: Place) -> Number:
    if abs(relevance) > _LARGEST_GRADE:
        raise HarnessError(
            f"{place}: relevance {written} is beyond {_LARGEST_GRADE:,}, the largest grade that is read: is it an id or a "
            "score? Grades are small numbers, as 0, 1, 2, 3"
        )
    return relevance


def _gain_in_text(text: str, place: Place) -> float:
    if not _NUMBER.fullmatch(text):
        raise HarnessError(f'{place}: "{text}" is no gain, which is a finite number')
    return float(text)


def _gain_of(value: Any, name: str, place: Place) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise HarnessError(f'{place}: "{name}" is {shown(value)}, where a gain is a finite number')
    return float(_within(value, shown(value), place))
