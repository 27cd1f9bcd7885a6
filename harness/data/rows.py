"""Rows of JSON lines and parquet files, their fields, and the places that error messages name.

Nothing is guessed: whatever is wrong is a HarnessError that names the file and the line (the row,
in parquet), because a row quietly dropped or misread is a wrong number later.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import HarnessError

__all__ = [
    "JSON_LINES",
    "Place",
    "Row",
    "decoded",
    "identifier",
    "kind_of",
    "lines_of",
    "optional_string",
    "read_jsonl",
    "read_rows",
    "shown",
    "string",
    "there",
]

JSON_LINES = (".jsonl", ".ndjson", ".json")


class Place(NamedTuple):
    """Where a row stands, as error messages name it; `number` counts from 1."""

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path}, {'row' if kind_of(self.path) == '.parquet' else 'line'} {self.number}"


class Row(NamedTuple):
    """One object of a file, and its place."""

    place: Place
    value: dict[str, Any]


def read_rows(paths: Iterable[Path], columns: Sequence[str], unread: set[str] | None = None) -> Iterator[Row]:
    """The rows of JSON lines and parquet files, one file after the other.

    `columns` names those worth reading; a parquet file's other columns are left alone, and JSON
    objects are given whole. The names of other columns go into `unread`, where it is given. Raises HarnessError for a file of another kind, for what `read_jsonl`
    raises, and where all the files together hold no row.
    """
    path, empty = None, True
    for path in paths:
        packed = kind_of(path) == ".parquet"
        if packed and unread is not None:
            unread |= set(_parquet_columns(path)) - set(columns)
        for row in _read_parquet(path, columns) if packed else _read_json_lines(path):
            empty = False
            if not packed and unread is not None:
                unread |= row.value.keys() - columns
            yield row
    if empty:
        raise HarnessError(f"{path} is empty: at least one row is needed")


def read_jsonl(path: Path) -> Iterator[Row]:
    """The objects of a JSON lines file; blank lines are passed over, numbering goes on.

    Raises HarnessError for a line that is not one JSON object in UTF-8 (NaN and Infinity are not
    JSON) and for a file without any.
    """
    return read_rows([path], ())


def kind_of(path: Path) -> str:
    """The suffix that tells the format, `.gz` apart: `.jsonl` for corpus.jsonl.gz."""
    name = path.name.lower().removesuffix(".gz")
    return name[name.rfind(".") :] if "." in name else ""


def lines_of(path: Path) -> Iterator[tuple[Place, bytes]]:
    """Lines without their line ends, blank ones and a byte order mark left out; unpacks .gz."""
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                bare = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                bare = bare.rstrip(b"\r\n")
                if bare and not bare.isspace():
                    yield Place(path, number), bare
    except FileNotFoundError as error:
        raise HarnessError(f"there is no file {path}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise HarnessError(f"{path} is not a whole gzip file ({error}): fetch or pack it again") from error
    except OSError as error:
        raise HarnessError(f"cannot read {path}: {error.strerror or error}") from error


def decoded(data: bytes, place: Place) -> str:
    """The bytes as UTF-8 text. Raises HarnessError, naming the place, where they are not."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{place} is not UTF-8: byte {error.start + 1} of {len(data)}") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _read_json_lines(path: Path) -> Iterator[Row]:
    if kind_of(path) not in JSON_LINES:
        raise HarnessError(f"cannot tell the format of {path}: .jsonl and .parquet (and .jsonl.gz) are read")
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    for place, line in lines_of(path):
        text = decoded(line, place)
        try:
            value = decoder.decode(text)
        except ValueError as error:
            raise HarnessError(f"{place} is not JSON ({error}): each line is one object") from error
        if not isinstance(value, dict):
            raise HarnessError(f"{place} holds a JSON {type(value).__name__}: each line is one object")
        if "\\u" in text:
            _refuse_surrogates(value, place)
        yield Row(place, value)


def _refuse_surrogates(value: dict[str, Any], place: Place) -> None:
    """A lone half of a surrogate pair, which only an escape can write, is no character."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise HarnessError(
            f"{place} holds half of a surrogate pair, which is no Unicode text: mend the data"
        ) from error


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            there = set(file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=4096, columns=[name for name in columns if name in there]):
                for value in batch.to_pylist():
                    number += 1
                    yield Row(Place(path, number), value)
    except FileNotFoundError as error:
        raise HarnessError(f"there is no file {path}") from error
    except (pa.ArrowException, OSError) as error:
        raise HarnessError(f"{path} is not a readable parquet file: {error}") from error


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return list(parquet.read_schema(path).names)
    except (pa.ArrowException, OSError):
        return []  # reading the rows says what is wrong


def identifier(row: Row, names: Sequence[str]) -> str:
    """An id as a string; whole numbers become their digits."""
    for name in names:
        value = row.value.get(name)
        if value is None:
            continue
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise HarnessError(f'{row.place}: "{name}" is {shown(value)}, where an id is a string or a whole number')
    raise HarnessError(f"{row.place} has no {_named(names)}{there(row)}")


def string(row: Row, name: str) -> str:
    """The string under `name`. Raises HarnessError, naming the place, where there is none."""
    if name not in row.value:
        raise HarnessError(f'{row.place} has no "{name}"{there(row)}')
    value = row.value[name]
    if not isinstance(value, str):
        raise HarnessError(f'{row.place}: "{name}" is {shown(value)}, where a string is needed')
    return value


def optional_string(row: Row, name: str) -> str:
    """The string under `name`; empty where it is missing or null."""
    return "" if row.value.get(name) is None else string(row, name)


def shown(value: object) -> str:
    """The value as JSON, cut to what fits into an error line."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."


def _named(names: Sequence[str]) -> str:
    return " or ".join(f'"{name}"' for name in names)


def there(row: Row) -> str:
    """The names that the row has, for an error; a parquet file's are those that were asked for."""
    return f" (it has {', '.join(map(repr, row.value))})" if row.value else ""
