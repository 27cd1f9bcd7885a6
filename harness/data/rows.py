"""Rows of data and their fields, and the places that error messages name.

Nothing is guessed: whatever is wrong is a HarnessError that names the file and the line (the row or
the item), because a row quietly dropped or misread is a wrong number later.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import HarnessError
from .names import Field, Fields

__all__ = [
    "Place",
    "Row",
    "all_named",
    "decoded",
    "identifier",
    "optional_string",
    "shown",
    "string",
    "there",
    "value_of",
]


class Place(NamedTuple):
    """Where a row stands, as error messages name it; `number` counts from 1."""

    path: Path
    number: int
    unit: str = "line"
    """`line`, `row` of a table that has no lines, `item` of a list."""

    def __str__(self) -> str:
        return f"{self.path}, {self.unit} {self.number}"


class Row(NamedTuple):
    """One record of a file, and its place."""

    place: Place
    value: dict[str, Any]


def all_named(rows: Iterable[Row], fields: Fields, table: Fields) -> Iterator[Row]:
    """The rows. Raises HarnessError at their end for a column that a card names and that no row has."""
    wanted = {name for key, field in fields.items() if field != table[key] for name in field.names}
    there: set[str] = set()
    row = None
    for row in rows:
        if wanted:
            there |= row.value.keys() & wanted
        yield row
    if row is not None and (lost := sorted(wanted - there)):
        raise HarnessError(
            f'{row.place.path} has no column "{lost[0]}", which "fields" of the card names; its own are '
            f"{', '.join(map(repr, row.value))}"
        )


def value_of(row: Row, field: Field) -> tuple[str, Any]:
    """The column that holds the field, and what stands there; None where no column has a value.

    Raises HarnessError where two of the field's other names say different things.
    """
    for name in field.usual:
        if row.value.get(name) is not None:
            return name, row.value[name]
    said = [name for name in field.others if row.value.get(name) is not None]
    if len({json.dumps(row.value[name], default=repr) for name in said}) > 1:
        raise HarnessError(
            f"{row.place} has {_named(said, 'and')}, which differ: which of them is meant cannot be told; name one in a "
            'card, as in "fields: {id: sku}"'
        )
    return (said[0], row.value[said[0]]) if said else (field.names[0], None)


def identifier(row: Row, field: Field) -> str:
    """An id as a string; whole numbers become their digits."""
    usual = row.value.get(field.usual[0])
    if isinstance(usual, str) and usual.strip():
        return usual  # what nearly every row has, at little cost
    name, value = value_of(row, field)
    if value is None:
        raise HarnessError(f"{row.place} has no {_named(field.usual)}{there(row)}")
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise HarnessError(f'{row.place}: "{name}" is {shown(value)}, where an id is a string or a whole number')


def string(row: Row, field: Field) -> str:
    """The text of the field, a number as it is written. Raises HarnessError, naming the place, where there is none."""
    if field.joined:
        texts = [optional_string(row, Field((name,))) for name in field.usual]
        return "\n".join(text for text in texts if text)
    usual = row.value.get(field.usual[0])
    if isinstance(usual, str):
        return usual
    name, value = value_of(row, field)
    if value is None and not any(name in row.value for name in field.names):
        raise HarnessError(f'{row.place} has no "{name}"{there(row)}')
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return str(value)
    if not isinstance(value, str):
        raise HarnessError(f'{row.place}: "{_present(row, field)}" is {shown(value)}, where a string is needed')
    return value


def optional_string(row: Row, field: Field) -> str:
    """The text of the field; empty where it is missing or null."""
    usual = row.value.get(field.usual[0])
    if isinstance(usual, str):
        return usual
    return "" if value_of(row, field)[1] is None else string(row, field)


def decoded(data: bytes, place: Place) -> str:
    """The bytes as UTF-8 text. Raises HarnessError, naming the place, where they are not."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{place} is not UTF-8: byte {error.start + 1} of {len(data)}") from error


def shown(value: object) -> str:
    """The value as JSON, cut to what fits into an error line."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."


def there(row: Row) -> str:
    """The names that the row has, for an error; a parquet file's are those that were asked for."""
    return f" (it has {', '.join(map(repr, row.value))})" if row.value else ""


def _present(row: Row, field: Field) -> str:
    return next((name for name in field.names if name in row.value), field.names[0])


def _named(names: Sequence[str], word: str = "or") -> str:
    return f" {word} ".join(f'"{name}"' for name in names)
