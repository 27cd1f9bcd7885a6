"""Curves over depth as a table: for a terminal, a paper, a spreadsheet or a program."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...measures.significance import INTERVAL_METHOD
from ...results.escaped import in_csv, in_markdown, in_tex
from ...results.figures import MISSING, interval, number, p_value, signed
from ...results.layout import WIDTH, Column, fitted
from .depth import DepthCurve, Point

__all__ = ["depth_record", "depth_rows", "depth_table", "shown_rows"]

_HEADS = (
    "task",
    "reranker",
    "over",
    "first k",
    "measure",
    "first stage",
    "reranked",
    "difference",
    "95 % interval",
    "p",
    "oracle",
)
_CAPTION = (
    "The measure when only the first k candidates are reranked, with the 95 % interval and p (paired sign flips, each depth "
    "for itself) of the difference from the first stage."
)


def depth_table(curves: Sequence[DepthCurve], form: str, width: int = WIDTH) -> str:
    """The curves in a form: text, latex, markdown or csv."""
    if form == "csv":
        return _csv(curves)
    rows = [list(row.values()) for row in shown_rows(curves)]
    if form == "text":
        return _text(rows, width)
    return _latex(rows) if form == "latex" else _markdown(rows)


def depth_record(curves: Sequence[DepthCurve]) -> dict[str, Any]:
    """The curves as JSON takes them."""
    return {"interval_method": INTERVAL_METHOD, "depths": [asdict(curve) for curve in curves]}


def shown_rows(curves: Sequence[DepthCurve]) -> list[dict[str, str]]:
    """column → what is shown, a row for each depth of each curve."""
    return [_shown(curve, point) for curve in curves for point in curve.points]


def depth_rows(curves: Sequence[DepthCurve]) -> list[dict[str, Any]]:
    """column → figure, in the measure's own unit, a row for each depth of each curve; None for what is not known."""
    return [
        {"task": each.title, "first_stage": each.first_stage_label, "reranker": each.reranker, "measure": each.measure,
         "k": point.k, "first_stage_value": each.first_stage, **{k: v for k, v in asdict(point).items() if k != "k"}}
        for each in curves for point in each.points
    ]  # fmt: skip


def _shown(curve: DepthCurve, point: Point) -> dict[str, str]:
    measure = curve.measure
    known = point.p is not None
    return {
        "task": curve.title,
        "reranker": curve.reranker,
        "over": curve.first_stage_label,
        "first k": f"{point.k:,}",
        "measure": measure,
        "first stage": number(curve.first_stage, measure),
        "reranked": number(point.reranked, measure),
        "difference": signed(point.difference, measure),
        "95 % interval": interval(point.low, point.high, measure, point.difference) if known else MISSING,
        "p": p_value(point.p),
        "oracle": number(point.oracle, measure),
    }


_SHORT = {"first stage": "first", "difference": "diff"}
_SPARE = {"measure": 4, "over": 3, "oracle": 2, "p": 1, "first stage": 1}


def _text(rows: Sequence[Sequence[str]], width: int) -> str:
    cells = list(zip(*rows, strict=True))
    columns = [
        Column(head, own, short=_SHORT.get(head, ""), spare=_SPARE.get(head, 0), name=head in ("task", "reranker"))
        for head, own in zip(_HEADS, cells, strict=True)
    ]
    return fitted(columns, width)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(_HEADS)} |", f"| --- | --- | --- |{' ---: |' * (len(_HEADS) - 3)}"]
    lines += [f"| {' | '.join(map(in_markdown, row))} |" for row in rows]
    return "\n".join([*lines, "", _CAPTION])


def _latex(rows: Sequence[Sequence[str]]) -> str:
    lines = [
        r"% Needs \usepackage{booktabs} and \usepackage{graphicx}.",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{in_tex(_CAPTION)}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{lll{'r' * (len(_HEADS) - 3)}}}",
        r"\toprule",
        " & ".join(map(in_tex, _HEADS)) + r" \\",
        r"\midrule",
        *(" & ".join("--" if cell == MISSING else in_tex(cell) for cell in row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _csv(curves: Sequence[DepthCurve]) -> str:
    stream = io.StringIO()
    rows = depth_rows(curves)
    writer: Any = csv.writer(stream, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_in_csv(value) for value in row.values()] for row in rows)
    return stream.getvalue().rstrip("\n")


def _in_csv(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6f}"
    return "" if value is None else in_csv(str(value))
