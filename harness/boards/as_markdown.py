"""A board as a Markdown table."""

from __future__ import annotations

from .answer import answer
from .build import Table
from .words import heads, made_on, notes, sources

__all__ = ["markdown"]


def markdown(table: Table) -> str:
    """The whole page; every text from outside is escaped."""
    shown = heads(table)
    lines = [f"# {_escaped(table.board.title)}", ""]
    if table.board.description:
        lines += [_escaped(table.board.description), ""]
    lines += [f"**{_escaped(answer(table))}**{made_on(table)}", ""]
    lines += [_line([_escaped(head.title) for head in shown]), _line(["---:" if h.numeric else "---" for h in shown])]
    lines += [_line([_escaped(head.cell(row)) for head in shown]) for row in table.rows]
    for note in notes(table):
        lines += ["", _escaped(note)]
    cited = [f"- [{place}] {_escaped(source)}" for source, place in sources(table).items()]
    return "\n".join([*lines, *([""] if cited else []), *cited]) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """A text as Markdown that shows as it is: neither a column's end nor markup, HTML or a link."""
    for character in "\\|`*_<>#":
        text = text.replace(character, f"\\{character}")
    # A link needs both brackets and a parenthesis or a colon after them; an interval is none.
    text = text.replace("](", "]\\(").replace("]:", "]\\:").replace("![", "!\\[").replace("&", "&amp;")
    return " ".join(text.split())
