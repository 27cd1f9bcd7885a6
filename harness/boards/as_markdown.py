"""A board as a Markdown table."""

from __future__ import annotations

from ..results.escaped import in_markdown
from .answer import answer
from .build import Table
from .words import heads, made_on, notes, sources

__all__ = ["markdown"]


def markdown(table: Table) -> str:
    """The whole page; every text from outside is escaped."""
    shown = heads(table)
    lines = [f"# {in_markdown(table.board.title)}", ""]
    if table.board.description:
        lines += [in_markdown(table.board.description), ""]
    lines += [f"**{in_markdown(answer(table))}**{made_on(table)}", ""]
    lines += [
        _line([in_markdown(head.title) for head in shown]),
        _line(["---:" if h.numeric else "---" for h in shown]),
    ]
    lines += [_line([in_markdown(head.cell(row)) for head in shown]) for row in table.rows]
    for note in notes(table):
        lines += ["", in_markdown(note)]
    cited = [f"- [{place}] {in_markdown(source)}" for source, place in sources(table).items()]
    return "\n".join([*lines, *([""] if cited else []), *cited]) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
