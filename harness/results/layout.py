"""Tables that fit a terminal: where there is little room, columns give up what matters least."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .figures import MISSING

__all__ = ["WIDTH", "Column", "align", "compact", "fitted", "in_two_lines", "shortened", "width_of", "wrapped"]

WIDTH = 80
"""Columns of a terminal; a wider one makes no table wider, and a narrower one makes tables narrower."""

_LEAST = 8
"""A name is not cut to less."""


@dataclass(frozen=True)
class Column:
    """A column of a table, and what it can do without."""

    head: str
    """Of one line or more."""
    cells: Sequence[str]
    short: str = ""
    """Its head where there is little room; empty where there is none shorter."""
    spare: int = 0
    """0 stays; of the others the highest leaves first, and 1 only where names are short already."""
    name: bool = False
    """Whether its cells are names, which can be cut."""

    @property
    def width(self) -> int:
        return max(map(width_of, (*self.head.split("\n"), *self.cells)))


def fitted(columns: Sequence[Column], width: int = WIDTH) -> str:
    """The table in at most `width` places, where its figures leave any choice.

    First heads and figures become shorter (`.6789`), then names are cut to a quarter of a line, then columns leave by
    `spare`, and at last names are cut to what room there is.
    """
    kept = list(columns)
    if _total(kept) > width:
        kept = [
            replace(column, head=column.short or column.head, cells=[*map(_figure, column.cells)])
            if not column.name
            else column
            for column in kept
        ]
    for spared, least in ((2, width // 4), (1, width // 5)):
        # Of what leaves, names that were to be cut get the room.
        while any(column.spare >= spared for column in kept) and _total(_cut(kept, width, max(_LEAST, least))) > width:
            kept.remove(max(kept, key=lambda column: column.spare))
    return align([*zip(*[(column.head, *column.cells) for column in _cut(kept, width, _LEAST)], strict=True)])


def _total(columns: Sequence[Column]) -> int:
    return sum(column.width for column in columns) + 2 * (len(columns) - 1)


def _cut(columns: Sequence[Column], width: int, least: int) -> list[Column]:
    """The columns with names cut, the longest first and none below `least`, until they fit."""
    kept = list(columns)
    over = _total(kept) - width
    while over > 0:
        place = max((i for i, column in enumerate(kept) if column.name), key=lambda i: kept[i].width, default=None)
        if place is None or kept[place].width <= least:
            return kept
        room = kept[place].width - 1
        kept[place] = replace(kept[place], cells=[shortened(cell, room) for cell in kept[place].cells])
        if kept[place].width > room:
            return kept
        over = _total(kept) - width
    return kept


def _figure(cell: str) -> str:
    return compact(cell) if cell[:1] in "+-−<[.0123456789" else cell


def compact(text: str) -> str:
    """Figures without the zero before their point, as papers print them: `-.0085`."""
    return re.sub(r"(?<![\d.])0\.(?=\d)", ".", text)


def shortened(text: str, room: int) -> str:
    """The text in at most `room` places, cut in its middle: beginnings and ends tell names apart."""
    if width_of(text) <= room:
        return text
    tail = (room - 1) // 2
    end = ""
    for letter in reversed(text):
        if width_of(letter + end) > tail:
            break
        end = letter + end
    start = ""
    for letter in text:
        if width_of(start + letter) > room - 1 - width_of(end):
            break
        start += letter
    return f"{start}…{end}"


def in_two_lines(name: str, room: int) -> str:
    """A name in lines of at most `room` places: parted behind one of its own marks, and only then cut."""
    if width_of(name) <= room:
        return name
    places = [found.end() for found in re.finditer(r"[-_/:. ]", name) if found.end() < len(name)]
    start = min(places, key=lambda place: max(place, len(name) - place), default=0)
    return "\n".join(shortened(part.strip(), room) for part in (name[:start], name[start:]) if part)


def width_of(text: str) -> int:
    """Places on a terminal: a Chinese character takes two, an accent of its own none."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(letter) in "WF" else int(not unicodedata.combining(letter)) for letter in text
    )


def wrapped(text: str, width: int = WIDTH, indent: str = "  ") -> str:
    """A sentence over as many lines as it needs; an interval, a depth with its figure, and a path stay whole."""
    whole = re.sub(
        r"\[[^\[\] ]+, [^\[\] ]+\]|(?<= )\d+: [\d.]+(?=[,;])", lambda found: found[0].replace(" ", "\0"), text
    )
    lines = textwrap.wrap(whole, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def align(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell, the first row ruled off; numbers stand to the right.

    A cell of the first row may have several lines: the last of each stands on the rule.
    """
    heads = [head.split("\n") for head in rows[0]]
    deep = max(map(len, heads))
    above = [*zip(*([""] * (deep - len(head)) + head for head in heads), strict=True)]
    every = [*above, *rows[1:]]
    widths = [max(width_of(row[i]) for row in every) for i in range(len(heads))]
    right = [all(_numeric(row[i]) for row in rows[1:] if row[i]) for i in range(len(heads))]
    lines = [
        "  ".join(_pad(cell, width, right=side) for cell, width, side in zip(row, widths, right, strict=True)).rstrip()
        for row in every
    ]
    return "\n".join([*lines[:deep], "  ".join("-" * width for width in widths), *lines[deep:]])


def _numeric(cell: str) -> bool:
    return cell == MISSING or bool(re.match(r"[\[<+\-−]*\.?\d", cell))


def _pad(cell: str, width: int, *, right: bool) -> str:
    room = " " * (width - width_of(cell))
    return f"{room}{cell}" if right else f"{cell}{room}"
