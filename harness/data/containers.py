"""A file → its records: one reader for each kind of file, whatever packs it.

JSON lines, a JSON array, Parquet, Arrow as `datasets.save_to_disk` writes it, CSV and TSV with or without
a header. What the columns mean is the caller's affair: it says which `Field`s it reads.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.packed import ZIP, is_plain, members, opened, unpacked_name
from .names import Field
from .rows import Place, Row, decoded, shown

__all__ = [
    "TABLES",
    "header_of",
    "kind_of",
    "lines_of",
    "read_json",
    "read_jsonl",
    "read_rows",
    "whole_files",
    "write_lines",
]

JSON_LINES = (".jsonl", ".ndjson", ".json")
_COLUMNAR = (".parquet", ".arrow")
_DELIMITED = (".csv", ".tsv")
TABLES = (*JSON_LINES, *_COLUMNAR, *_DELIMITED)
"""The kinds of file that hold records."""

_BOM = b"\xef\xbb\xbf"
Positions = Mapping[int, Sequence[str]]
"""How many columns a table without a header has → what they are."""


def read_rows(
    paths: Iterable[Path], fields: Iterable[Field], unread: set[str] | None = None, positions: Positions | None = None
) -> Iterator[Row]:
    """The records of files, one file after the other.

    `fields` are those worth reading; a columnar file's other columns are left alone, and JSON objects are
    given whole. The names of other columns go into `unread`, where it is given; `positions` names the
    columns of tables without a header. Raises HarnessError for a file of another kind, for what is not
    whole or malformed, and where all the files together hold no row.
    """
    fields = list(fields)
    path, empty, known = None, True, dict[tuple[str, ...], set[str]]()
    for path in whole_files(paths):
        for row in _records(path, fields, positions or {}, unread):
            empty = False
            if unread is not None and (names := tuple(row.value)) not in known:
                known[names] = unread_of(names, fields)
                unread |= known[names]
            yield row
    if empty:
        raise HarnessError(f"{path} is empty: at least one row is needed")


def read_jsonl(path: Path) -> Iterator[Row]:
    """The objects of a JSON lines file; blank lines are passed over, numbering goes on.

    Raises HarnessError for a line that is not one JSON object in UTF-8 (NaN and Infinity are not
    JSON) and for a file without any.
    """
    return read_rows([path], ())


def whole_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The files, each zip archive as its members. Raises HarnessError for an archive of nothing, or of several kinds."""
    for path in paths:
        if path.suffix.lower() != ZIP:
            yield path
            continue
        inside = members(path)
        kinds = sorted({kind_of(member) or member.name for member in inside})
        if len(kinds) != 1:
            holds = f"files of several kinds ({', '.join(kinds)})" if kinds else "no file"
            raise HarnessError(f"{path} holds {holds}: one part of a data set is one file, or shards of one kind")
        yield from inside


def kind_of(path: Path) -> str:
    """The ending that tells the format, whatever packs it: `.jsonl` for corpus.jsonl.gz and CORPUS.JSONL."""
    name = unpacked_name(path.name).lower()
    return name[name.rfind(".") :] if "." in name else ""


def unread_of(names: Iterable[str], fields: Iterable[Field]) -> set[str]:
    """Those of the names that no field is read from; a field's other names are read where no usual one is there."""
    there = set(names)
    for field in fields:
        there -= set(field.usual)
        if not set(field.usual) & set(names):
            there -= set(field.others)
    return there


def lines_of(path: Path) -> Iterator[tuple[Place, bytes]]:
    """Lines without their line ends, blank ones and a byte order mark left out, whatever packs them."""
    with opened(path) as stream:
        for number, line in enumerate(stream, 1):
            bare = (line.removeprefix(_BOM) if number == 1 else line).rstrip(b"\r\n")
            if bare and not bare.isspace():
                yield Place(path, number), bare


def _records(path: Path, fields: Sequence[Field], positions: Positions, unread: set[str] | None) -> Iterator[Row]:
    kind = kind_of(path)
    if kind in _COLUMNAR:
        return _read_columnar(path, kind, fields, unread)
    if kind in _DELIMITED:
        return _read_delimited(path, kind, fields, positions)
    if kind not in JSON_LINES:
        raise HarnessError(
            f"cannot tell the format of {path}: {', '.join(TABLES)} are read, also packed (.gz, .bz2, .zst, .xz, .zip)"
        )
    return _read_json_array(path) if kind == ".json" and _begins_with(path, b"[") else _read_json_lines(path)


# -- JSON


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'"{twice[:60]}" stands twice in one object')
    return found


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
_WHOLE_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_each_once)


def read_json(path: Path) -> Any:
    """The one JSON value of a file. Raises HarnessError where it is not one in UTF-8, and for a name twice in an object."""
    text = _whole_text(path)
    try:
        value = _WHOLE_DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{path} is not JSON ({error})") from error
    _refuse_surrogates(value, text, str(path))
    return value


def _read_json_lines(path: Path) -> Iterator[Row]:
    for place, line in lines_of(path):
        text = decoded(line, place)
        try:
            value = _DECODER.decode(text)
        except (ValueError, RecursionError) as error:
            raise HarnessError(f"{place} is not JSON ({error}): each line is one object") from error
        yield Row(place, _object(value, text, place, "each line is one object"))


def _read_json_array(path: Path) -> Iterator[Row]:
    """A file that is one list of objects, an object at a time."""
    text = _whole_text(path)
    at, number = _after_blanks(text, text.index("[") + 1), 0
    closed = text[at : at + 1] == "]"
    try:
        while not closed:
            start, (value, end) = at, _DECODER.raw_decode(text, at)
            number += 1
            place = Place(path, number, "item")
            yield Row(place, _object(value, text[start:end], place, "the list is one of objects"))
            at = _after_blanks(text, end)
            closed = text[at : at + 1] == "]"
            if not closed and text[at : at + 1] != ",":
                raise ValueError(f"no comma or end of the list at character {at + 1}")  # noqa: TRY301
            at = _after_blanks(text, at + 1) if not closed else at
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{path} is not JSON after item {number} ({error})") from error
    if rest := text[at + 1 :].strip():
        raise HarnessError(f"{path} is not JSON: {shown(rest)} stands after the end of its list")


def _after_blanks(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t", "\r", "\n"):
        at += 1
    return at


def _object(value: Any, text: str, place: Place, rule: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HarnessError(f"{place} holds a JSON {type(value).__name__}: {rule}")
    _refuse_surrogates(value, text, str(place))
    return value


def _refuse_surrogates(value: Any, text: str, place: str) -> None:
    """A lone half of a surrogate pair, which only an escape can write, is no character."""
    if "\\u" not in text:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise HarnessError(
            f"{place} holds half of a surrogate pair, which is no Unicode text: mend the data"
        ) from error


def _whole_text(path: Path) -> str:
    with opened(path) as stream:
        data = stream.read().removeprefix(_BOM)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HarnessError(f"{path}, line {line} is not UTF-8: byte {error.start + 1} of the file") from error


def _begins_with(path: Path, sign: bytes) -> bool:
    return next((line.lstrip().startswith(sign) for _, line in lines_of(path)), False)


# -- Parquet and Arrow


def _read_columnar(path: Path, kind: str, fields: Sequence[Field], unread: set[str] | None) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    try:
        with _columnar_source(path) as source:
            for batch in _batches(source, kind, fields, unread):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(Place(path, number, "row"), value)
    except FileNotFoundError as error:
        raise HarnessError(f"there is no file {path}") from error
    except UnicodeDecodeError as error:
        raise HarnessError(f"{path}, after row {number}, is not UTF-8 ({error.reason})") from error
    except (pa.ArrowException, OSError) as error:
        raise HarnessError(f"{path} is not a readable {kind[1:]} file: {error}") from error


def _columnar_source(path: Path) -> Any:
    """A file of Arrow's; these formats are not read in order, so what is packed is unpacked whole."""
    import pyarrow as pa

    if is_plain(path):
        return pa.OSFile(str(path))
    with opened(path) as stream:
        return pa.BufferReader(stream.read())


def _batches(source: Any, kind: str, fields: Sequence[Field], unread: set[str] | None) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import parquet

    columns = list(dict.fromkeys(name for field in fields for name in field.names))
    if kind == ".parquet":
        file = parquet.ParquetFile(source)
        names = file.schema_arrow.names
        batches = file.iter_batches(batch_size=4096, columns=[name for name in columns if name in names])
    else:
        # save_to_disk writes a stream; Arrow's own files begin with their mark.
        mark = source.read(6)
        source.seek(0)
        reader = pa.ipc.open_file(source) if mark == b"ARROW1" else pa.ipc.open_stream(source)
        names = reader.schema.names
        whole = (reader.get_batch(i) for i in range(reader.num_record_batches)) if mark == b"ARROW1" else reader
        batches = (batch.select([name for name in columns if name in names]) for batch in whole)
    if len(set(names)) < len(names):
        raise pa.ArrowInvalid("two columns have one name")
    if unread is not None:
        unread |= unread_of(names, fields)
    yield from batches


# -- CSV and TSV


def header_of(cells: Sequence[str], fields: Iterable[Field]) -> list[str]:
    """The cells as names of columns, those that are known in any case as they are known."""
    known = {name.casefold(): name for field in fields for name in field.names}
    return [known.get(cell.strip().casefold(), cell.strip()) for cell in cells]


def _read_delimited(path: Path, kind: str, fields: Sequence[Field], positions: Positions) -> Iterator[Row]:
    rows = _csv_rows(path) if kind == ".csv" else _tsv_rows(path)
    place, first = next(rows, (None, []))
    if place is None:
        return
    header = _columns_of(place, first, fields, positions)
    names = header or positions[len(first)]
    second = next(rows, None)
    if header is None:
        if second is not None:
            _refuse_unnamed_header(place, first, second[1])
        yield Row(place, dict(zip(names, first, strict=True)))
    again = [cell.strip() for cell in first]
    for place, cells in chain([second] if second else [], rows):
        if header and [cell.strip() for cell in cells] == again:
            raise HarnessError(f"{place} is the header again: were files joined? Keep the first one only")
        yield Row(place, dict(zip(names, _as_many(cells, len(names), place), strict=True)))


def _columns_of(place: Place, cells: Sequence[str], fields: Sequence[Field], positions: Positions) -> list[str] | None:
    """The names that a first line gives; None where it is data of a table whose columns are known by their number."""
    names = header_of(cells, fields)
    known = {name for field in fields for name in field.names}
    hits = [name for name in names if name in known]
    if len(hits) >= min(2, len(cells)) and hits:
        if twice := next((name for name in hits if hits.count(name) > 1), None):
            raise HarnessError(f'{place}: two columns are called "{twice}"')
        while names and not names[-1]:
            names.pop()
        return names
    if not hits and len(cells) in positions and not any(cell[:1] == '"' == cell[-1:] for cell in cells):
        return None
    if len(cells) == 1 and any(other in cells[0] for other in ";\t|,"):
        raise HarnessError(f"{place} is one column, {cells[0][:40]!r}: .csv is read with commas, .tsv with tabs")
    forms = " or ".join(", ".join(columns) for columns in positions.values())
    raise HarnessError(
        f"{place}: the columns {', '.join(cell[:30] for cell in cells[:8])} are not known"
        f"{f', and without a header there are {forms}' if forms else ''}. Give them a header that is known, or name them in a "
        f'card: "fields: {{id: sku, text: [name, description]}}"'
    )


def _refuse_unnamed_header(place: Place, first: Sequence[str], second: Sequence[str]) -> None:
    """A first line such as `sku, name` above ids with digits is a header that nobody knows, no record."""
    words = [cell.strip() for cell in first]
    if all(re.fullmatch(r"[^\W\d]+", word) for word in words) and re.search(r"\d", second[0]):
        raise HarnessError(
            f'{place} reads as a header ({", ".join(words)}) whose columns are not known: name them by "fields" of a card, or '
            "take the line out"
        )


def _as_many(cells: list[str], count: int, place: Place) -> list[str]:
    """The cells of a record; empty ones beyond the last column are no more than a trailing delimiter."""
    while len(cells) > count and not cells[-1].strip():
        cells.pop()
    if len(cells) != count:
        raise HarnessError(f"{place} has {len(cells)} columns where the first line has {count}")
    return cells


def _tsv_rows(path: Path) -> Iterator[tuple[Place, list[str]]]:
    """Lines cut at tabs, quotes as they stand: MS MARCO's texts begin with them."""
    for place, line in lines_of(path):
        cells = decoded(line, place).split("\t")
        if any(len(cell) > 2 and cell[0] == cell[-1] == '"' and '""' in cell[1:-1] for cell in cells):
            raise HarnessError(
                f"{place} has quotes doubled as in CSV, and .tsv is read without quoting: write it as .csv or .jsonl"
            )
        yield place, cells


def _csv_rows(path: Path) -> Iterator[tuple[Place, list[str]]]:
    csv.field_size_limit(2**31 - 1)
    with opened(path) as stream:
        reader = csv.reader(_decoded_lines(path, stream), strict=True)
        line = 1
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield Place(path, line), cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise HarnessError(f"{path}, line {line} is not CSV ({error})") from error


def _decoded_lines(path: Path, stream: Iterable[bytes]) -> Iterator[str]:
    """Lines with their ends, since a quoted cell may hold some."""
    for number, line in enumerate(stream, 1):
        yield decoded(line.removeprefix(_BOM) if number == 1 else line, Place(path, number))


# -- writing


def write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> list[Path]:
    """Writes rows as packed JSON lines for readers of this module; the file as the one of its part."""
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return [path]
