"""A board as a LaTeX table for a paper: booktabs, to be taken in where the paper wants it."""

from __future__ import annotations

from collections.abc import Mapping

from ..results.escaped import in_tex
from ..results.figures import MISSING
from .answer import sentences
from .build import Row, Table
from .columns import Column
from .words import Head, heads, notes, sources

__all__ = ["tex"]


def tex(table: Table) -> str:
    """The table environment, with a comment that says what it needs; every text from outside is escaped."""
    shown, best, marks = heads(table), _best(table), _marks(table)
    cited = "; ".join(f"[{place}] {source}" for source, place in sources(table).items())
    first, rest = sentences(table)
    notices = in_tex(" ".join(filter(None, [rest, *notes(table), f"{cited}." if cited else ""])))
    below = " ".join(filter(None, (_daggers(table, set(marks.values())), notices)))
    lines = [
        r"% Needs \usepackage{booktabs} and \usepackage[T1]{fontenc} with \usepackage{textcomp}; names in other",
        "% scripts than Latin need LuaLaTeX or XeLaTeX with a font that has them. Made by rerank-harness leaderboard.",
        r"\begin{table}",
        r"\centering",
        r"\small",
        rf"\caption{{{in_tex(table.board.title)}: {in_tex(first)}}}",
        rf"\label{{tab:{_label(table.board.name)}}}",
        rf"\begin{{tabular}}{{{''.join('r' if head.numeric else 'l' for head in shown)}}}",
        r"\toprule",
        _line([in_tex(head.title) for head in shown]),
        r"\midrule",
        *(_line([_figured(head, row, best, marks) for head in shown]) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"",
        rf"\medskip\parbox{{\linewidth}}{{\footnotesize {below}}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _best(table: Table) -> dict[Column, float]:
    """The best measured figure of each column that has several."""
    means: dict[Column, list[float]] = {}
    for row in table.rows:
        if row.system.kind in _MEASURED:
            for column, cell in row.cells.items():
                means.setdefault(column, []).append(cell.mean)
    return {column: max(found) for column, found in means.items() if len(found) > 1}


Marks = dict[tuple[int, Column], str]
"""(id of a row, column) → † or ‡."""


def _figured(head: Head, row: Row, best: Mapping[Column, float], marks: Marks) -> str:
    """A cell: the best measured figure of its column bold, with its dagger."""
    text = _cell(head.cell(row))
    column = head.column
    if column is None or column not in row.cells or row.system.kind not in _MEASURED:
        return text
    figure, space, interval = text.partition(" ")
    figure = rf"\textbf{{{figure}}}" if row.cells[column].mean == best.get(column) else figure
    return f"{figure}{_DAGGERS[marks.get((id(row), column), '')]}{space}{interval}"


_DAGGERS = {"†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "": ""}


def _marks(table: Table) -> Marks:
    """Over the board's baseline in each column, or without one over each row's own first stage, in the column that ranks."""
    if table.baseline is not None:
        return {(id(row), column): mark for row in table.rows for column, mark in row.marks.items()}
    marks: Marks = {}
    for row in table.rows:
        for other in row.beats.get(0, ()):
            if row.system.stage == other.system.stage and "first stage" in (row.system.kind, other.system.kind):
                own = row.system.kind == "first stage"
                marks[id(other if own else row), table.key] = "‡" if own else "†"
    return marks


def _daggers(table: Table, marks: set[str]) -> str:
    """What the daggers mean; empty where none stands."""
    if table.baseline is None:
        words = {"†": r"$\dagger$: ahead of", "‡": r"$\ddagger$: behind"}
        return " ".join(f"{text} its own first stage beyond chance." for mark, text in words.items() if mark in marks)
    name = in_tex(table.baseline.system.name or table.baseline.system.stage)
    rule = "beyond chance (paired sign flips, corrected over all pairs of rows of a column)."
    if not marks:
        return f"No figure differs from that of {name} {rule}"
    return rf"$\dagger$ and $\ddagger$: higher and lower than {name} {rule}"


_MEASURED = ("reranker", "first stage")


def _cell(text: str) -> str:
    """The interval of a figure stands smaller beside it."""
    figure, bracket, rest = text.partition(" [")
    if bracket and rest.endswith("]") and figure.strip("+-.0123456789") == "":
        return f"{in_tex(figure)} {{\\scriptsize {in_tex('[' + rest)}}}"
    return "--" if text == MISSING else in_tex(text)


def _label(name: str) -> str:
    return "".join(character if character.isalnum() and character.isascii() else "-" for character in name)
