"""A comparison as a paper prints it: systems down, tasks across, the best bold, daggers over the first system.

A dagger says that a system differs from the first one beyond chance, p corrected over everything that was
asked for together; † is higher, ‡ lower.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import HarnessError, did_you_mean
from ..results.escaped import in_csv, in_markdown, in_tex
from ..results.figures import ALPHA, MISSING, number
from .compare import Comparison
from .rows import Row

__all__ = ["FORMS", "paper_table"]

FORMS = ("latex", "markdown", "csv")


@dataclass(frozen=True)
class _Cell:
    text: str
    value: float
    mark: str = ""
    """† or ‡; empty where the difference could be chance, and for the first system."""
    best: bool = False


@dataclass(frozen=True)
class _Table:
    columns: list[tuple[str, str]]
    """Name and measure."""
    systems: list[tuple[str, dict[tuple[str, str], _Cell]]]
    caption: str


def paper_table(found: Sequence[Comparison], form: str, columns: Sequence[str] = ()) -> str:
    """The table in one of FORMS, of the named columns or all.

    Raises HarnessError for a column that there is none of, and where the first system's figure is another one
    beside each of the others, since then no one row could show it.
    """
    table = _table(found, columns)
    return {"latex": _latex, "markdown": _markdown, "csv": _csv}[form](table)


def _table(found: Sequence[Comparison], wanted: Sequence[str]) -> _Table:
    every = list(dict.fromkeys((row.name, row.measure) for each in found for row in each.rows))
    names = {name for name, _ in every}
    for name in wanted:
        if name not in names:
            raise HarnessError(
                f'"{name}" is no column of this comparison; there is {", ".join(sorted(names))}.{did_you_mean(name, names)}'
            )
    columns = [column for column in every if not wanted or column[0] in wanted]
    systems = [(found[0].first, _first(found)), *((each.second, _second(each)) for each in found)]
    best = {
        column: max((cells[column].value for _, cells in systems if column in cells), default=0.0) for column in columns
    }
    bold = [
        (name, {c: _Cell(x.text, x.value, x.mark, x.value == best.get(c)) for c, x in cells.items()})
        for name, cells in systems
    ]
    count = found[0].family or sum(len(each.rows) for each in found)
    caption = (
        f"† and ‡: higher and lower than {found[0].first} beyond chance (paired sign flips, p at most {ALPHA:g}, corrected "
        f"over {count} {'row' if count == 1 else 'rows'}); the best of each column is bold."
    )
    return _Table(columns, bold, caption)


def _first(found: Sequence[Comparison]) -> dict[tuple[str, str], _Cell]:
    cells: dict[tuple[str, str], _Cell] = {}
    for row in (row for each in found for row in each.rows):
        cell = _Cell(number(row.first, row.measure), row.first)
        known = cells.setdefault((row.name, row.measure), cell)
        if abs(known.value - row.first) > 1e-9:
            raise HarnessError(
                f"{found[0].first} has {known.text} and {cell.text} on {row.name} {row.measure}, since the others share other "
                f"queries with it: compare them one at a time, or on the same queries"
            )
    return cells


def _second(comparison: Comparison) -> dict[tuple[str, str], _Cell]:
    return {
        (row.name, row.measure): _Cell(number(row.second, row.measure), row.second, _mark(row))
        for row in comparison.rows
    }


def _mark(row: Row) -> str:
    if row.p_corrected > ALPHA or row.difference == 0:
        return ""
    return "†" if row.difference > 0 else "‡"


def _latex(table: _Table) -> str:
    daggers = {"†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$", "": ""}

    def shown(cell: _Cell | None) -> str:
        if cell is None:
            return "--"
        text = in_tex(cell.text)
        return (rf"\textbf{{{text}}}" if cell.best else text) + daggers[cell.mark]

    lines = [
        r"% Needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{in_tex(table.caption).replace('†', daggers['†']).replace('‡', daggers['‡'])}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        " & ".join(["", *(in_tex(name) for name, _ in table.columns)]) + r" \\",
        " & ".join(["system", *(in_tex(measure) for _, measure in table.columns)]) + r" \\",
        r"\midrule",
        *(
            " & ".join([in_tex(name), *(shown(cells.get(c)) for c in table.columns)]) + r" \\"
            for name, cells in table.systems
        ),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _markdown(table: _Table) -> str:
    def shown(cell: _Cell | None) -> str:
        if cell is None:
            return MISSING
        return (f"**{cell.text}**" if cell.best else cell.text) + cell.mark

    lines = [f"| system | {' | '.join(in_markdown(' '.join(column)) for column in table.columns)} |"]
    lines.append(f"| --- |{' ---: |' * len(table.columns)}")
    for name, cells in table.systems:
        lines.append(f"| {in_markdown(name)} | {' | '.join(shown(cells.get(column)) for column in table.columns)} |")
    return "\n".join([*lines, "", in_markdown(table.caption)])


def _csv(table: _Table) -> str:
    stream = io.StringIO()
    writer: Any = csv.writer(stream, lineterminator="\n")
    writer.writerow(["system", *(word for column in table.columns for word in (" ".join(column), "differs"))])
    for name, cells in table.systems:
        cut = [
            word
            for c in table.columns
            for word in ((f"{cells[c].value:.6f}", cells[c].mark) if c in cells else ("", ""))
        ]
        writer.writerow([in_csv(word) for word in (name, *cut)])
    return stream.getvalue().rstrip("\n")
