"""A board as one long CSV: a line for every row and column, blanks where there is no figure."""

from __future__ import annotations

import csv
import io
from typing import Any

from ..results.escaped import in_csv
from .build import Row, Table
from .columns import Column

__all__ = ["long_csv"]

_HEAD = [
    "rank", "kind", "reranker", "first_stage", "note", "column", "tasks", "measure", "mean", "low", "high", "data",
    "source", "trained", "parameters", "licence", "languages", "pairs_per_second", "latency_p50", "hardware",
    "request_p50", "request_p95", "request_p99", "cost_per_1000_queries",
]  # fmt: skip


def long_csv(table: Table) -> str:
    """Figures in the measure's own unit (p-MRR in [-1, 1]) with six digits; speeds beside their hardware."""
    stream = io.StringIO()
    writer: Any = csv.writer(stream, lineterminator="\n")
    writer.writerow(_HEAD)
    view = table.views[0]
    columns = dict.fromkeys((view.key, *view.columns, *table.languages))
    for row in table.rows:
        cited = row.system.kind in ("published", "imported")
        for column in columns:
            # Others' tables have a few figures of a hundred columns: what they lack is no line.
            if cited and column not in row.cells:
                continue
            writer.writerow([in_csv(field) for field in (*_of_row(row), *_of_cell(row, column), *_known(row))])
    return stream.getvalue()


def _of_row(row: Row) -> list[str]:
    system = row.system
    name = "" if system.kind == "oracle" else system.name
    return [str(row.ranks.get(0, "")), system.kind, name, system.stage, system.note]


def _of_cell(row: Row, column: Column) -> list[str]:
    cell = row.cells.get(column)
    figures = ["", "", ""]
    if cell is not None:
        figures = [f"{value:.6f}" for value in (cell.mean, *(cell.interval or ()))] + [""] * (0 if cell.interval else 2)
    return [column.name, " ".join(column.tasks), column.measure, *figures, cell.data if cell else "", row.system.source]


def _known(row: Row) -> list[str]:
    facts, speed = row.facts, row.speed
    trained = "unknown" if row.trained is None else "yes: " + " ".join(row.trained) if row.trained else "no"
    fast = [""] * 7
    if speed is not None:
        numbers = [f"{value:.6g}" if value else "" for value in (speed.pairs_per_second, speed.latency)]
        asked = speed.requests
        figures = (asked.p50, asked.p95, asked.p99, asked.cost) if asked else (None,) * 4
        fast = [*numbers, speed.hardware, *("" if value is None else f"{value:.6g}" for value in figures)]
    return [trained, str(facts.parameters or ""), facts.licence or "", " ".join(facts.languages or ()), *fast]
