"""A board as a LaTeX table for a paper: booktabs, to be taken in where the paper wants it."""

from __future__ import annotations

from collections.abc import Mapping

from ..results.escaped import in_tex
from ..results.figures import MISSING
from .answer import answer
from .build import Row, Table
from .columns import Column
from .words import Head, heads, notes, sources

__all__ = ["tex"]


def tex(table: Table) -> str:
    """The table environment, with a comment that says what it needs; every text from outside is escaped."""
    shown, best = heads(table), _best(table)
    cited = "; ".join(f"[{place}] {source}" for source, place in sources(table).items())
    below = " ".join([*notes(table), *([f"{cited}."] if cited else [])])
    dagger = any(0 in row.beats for row in table.rows)
    below = rf"$\dagger$: ahead of its own first stage beyond chance. {in_tex(below)}" if dagger else in_tex(below)
    lines = [
        r"% Needs \usepackage{booktabs} and \usepackage[T1]{fontenc} with \usepackage{textcomp}; names in other",
        "% scripts than Latin need LuaLaTeX or XeLaTeX with a font that has them. Made by rerank-harness leaderboard.",
        r"\begin{table}",
        r"\centering",
        r"\small",
        rf"\caption{{{in_tex(table.board.title)}: {in_tex(answer(table))}}}",
        rf"\label{{tab:{_label(table.board.name)}}}",
        rf"\begin{{tabular}}{{{''.join('r' if head.numeric else 'l' for head in shown)}}}",
        r"\toprule",
        _line([in_tex(head.title) for head in shown]),
        r"\midrule",
        *(_line([_figured(head, row, table, best) for head in shown]) for row in table.rows),
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


def _figured(head: Head, row: Row, table: Table, best: Mapping[Column, float]) -> str:
    """A cell: the best measured figure of its column bold, a dagger where the row is ahead of its own first stage."""
    text = _cell(head.cell(row))
    column = head.column
    if column is None or column not in row.cells or row.system.kind not in _MEASURED:
        return text
    figure, space, interval = text.partition(" ")
    figure = rf"\textbf{{{figure}}}" if row.cells[column].mean == best.get(column) else figure
    ahead = column == table.key and any(
        each.system.kind == "first stage" and each.system.stage == row.system.stage for each in row.beats.get(0, ())
    )
    mark = r"$^{\dagger}$" if ahead else ""
    return f"{figure}{mark}{space}{interval}"


_MEASURED = ("reranker", "first stage")


def _cell(text: str) -> str:
    """The interval of a figure stands smaller beside it."""
    figure, bracket, rest = text.partition(" [")
    if bracket and rest.endswith("]") and figure.strip("+-.0123456789") == "":
        return f"{in_tex(figure)} {{\\scriptsize {in_tex('[' + rest)}}}"
    return "--" if text == MISSING else in_tex(text)


def _label(name: str) -> str:
    return "".join(character if character.isalnum() and character.isascii() else "-" for character in name)
