"""Several charts with their titles on one sheet, which is one SVG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ...results.layout import shortened
from ..charts import standing_alone

__all__ = ["Panel", "stacked"]

_MARGIN, _LINE, _GAP = 14, 17, 18
_LETTER = 6.6
"""The width of a letter, about: titles are cut to what fits."""


@dataclass(frozen=True)
class Panel:
    """Charts that stand side by side under one title."""

    title: str
    lines: Sequence[tuple[str, str]]
    """Below the title: what it says, and the class of the dot before it; empty for no dot."""
    charts: Sequence[str]
    """SVG of `charts`, all of one height."""

    @property
    def width(self) -> int:
        return sum(_size(chart)[0] for chart in self.charts)

    @property
    def height(self) -> int:
        return _LINE * (1 + len(self.lines)) + max(_size(chart)[1] for chart in self.charts)


def stacked(panels: Sequence[Panel], title: str, columns: int = 1) -> str:
    """The panels in rows of `columns`, as a file of its own; all of them are as wide as the first."""
    width = max(panel.width for panel in panels)
    parts, top = [], _MARGIN
    for start in range(0, len(panels), columns):
        row = panels[start : start + columns]
        for place, panel in enumerate(row):
            parts.append(_drawn(panel, _MARGIN + place * (width + _GAP), top, width))
        top += max(panel.height for panel in row) + _GAP
    across = 2 * _MARGIN + min(columns, len(panels)) * (width + _GAP) - _GAP
    head = (
        f'<svg viewBox="0 0 {across} {top}" width="{across}" height="{top}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>"
    )
    return standing_alone(f"{head}{''.join(parts)}</svg>")


def _drawn(panel: Panel, left: int, top: int, width: int) -> str:
    room = int(width / _LETTER)
    parts = [_words(left, top + 12, panel.title, room, "title")]
    base = top + 12
    for words, dot in panel.lines:
        base += _LINE
        if dot:
            parts.append(f'<circle cx="{left + 5}" cy="{base - 4}" r="4" class="{dot}"/>')
        parts.append(_words(left + (16 if dot else 0), base, words, room - 2, "label"))
    across = left
    for chart in panel.charts:
        parts.append(chart.replace("<svg ", f'<svg x="{across}" y="{base + 6}" ', 1))
        across += _size(chart)[0]
    return "".join(parts)


def _words(x: int, y: int, text: str, room: int, style: str) -> str:
    return f'<text x="{x}" y="{y}" class="{style}">{escape(shortened(text, room))}</text>'


def _size(chart: str) -> tuple[int, int]:
    found = re.match(r'<svg viewBox="0 0 (\d+) (\d+)"', chart)
    if found is None:
        raise ValueError("a chart begins with its viewBox")
    return int(found[1]), int(found[2])
