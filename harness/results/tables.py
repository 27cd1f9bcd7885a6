"""One result in full, for a terminal: its table, and the lines below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .figures import FEW_MOVED, interval, number, p_value, signed
from .layout import WIDTH, Column, fitted, wrapped
from .published import Compared
from .result import Result
from .run_lines import run_lines

__all__ = ["published_cell", "published_lines", "result_block"]

PUBLISHED = "published"

Row = Mapping[str, float | None]


def result_block(
    result: Result,
    path: Path,
    *,
    reused: bool,
    verdict: Sequence[str] = (),
    published: Sequence[Compared] = (),
    width: int = WIDTH,
) -> str:
    """One result: a title, a row a measure with what is published beside it, the `verdict`, and where it is written."""
    identity = result.identity
    subset = "" if identity.subset == "default" else f" {identity.subset}"
    depth = "lists" if identity.top_k is None else f"top {identity.top_k}"
    partial = f" ({identity.partial})" if identity.partial else ""
    arrow = f" → {result.reranker}" if result.reranker else ""
    title = f"{identity.task}{subset} ({identity.split}), {result.queries} queries{partial}: {identity.retriever} {depth}{arrow}"
    title = wrapped(title, width)
    where = f"{'unchanged, read from' if reused else 'written to'} {path}"
    older = identity.reranker and _differs(result) and result.interval_method == "percentile bootstrap"
    told = ["the interval is an older version's percentile bootstrap: its queries' values are gone"] if older else []
    # A row of no difference at all, as the candidates' own recall, speaks for itself.
    few = any(row.get("difference") and row.get("low") is None for row in result.measures.values())
    told += [FEW_MOVED] if few else []
    lines = [
        title,
        _table(result, published, width),
        *verdict,
        *told,
        *(wrapped(line, width) for line in (*_notes(result), *published_lines(published))),
        where,
        "",
    ]
    return "\n".join(lines)


def _table(result: Result, published: Sequence[Compared], width: int) -> str:
    """A row a measure; published figures have columns of their own, or where there is no room a mark beside ours."""
    wide, marked = (_columns(result, published, apart=apart) for apart in (True, False))
    table = fitted(wide, 10_000)
    return table if max(map(len, table.splitlines())) <= width else fitted(marked, width)


def _columns(result: Result, published: Sequence[Compared], *, apart: bool) -> list[Column]:
    rows = dict(result.measures)
    stages = {compared.stage for compared in published}

    def stage(key: str, head: str, short: str = "") -> list[Column]:
        own = [number(row.get(key), name) for name, row in rows.items()]
        if key not in stages:
            return [Column(head, own, short)]
        if apart:
            return [
                Column(head, own, short),
                Column(PUBLISHED, [published_cell(name, key, published) for name in rows]),
            ]
        marks = [_mark(name, key, published) for name in rows]
        shown = [f"{cell} {mark.ljust(max(map(len, marks)))}" for cell, mark in zip(own, marks, strict=True)]
        return [Column(head, shown, short)]

    columns = [Column("measure", list(rows), name=True), *stage("first_stage", "first stage", "first")]
    columns += stage("reranked", "reranked") if result.identity.reranker else []
    columns.append(Column("oracle", [number(row.get("oracle"), name) for name, row in rows.items()], spare=1))
    if result.identity.reranker and _differs(result):
        columns += [
            Column("difference", [signed(row.get("difference"), name) for name, row in rows.items()], "diff"),
            Column("95 % interval", [_interval(name, row) for name, row in rows.items()]),
            Column("p", [p_value(row.get("p")) for row in rows.values()], spare=2),
        ]
    return columns


def _interval(name: str, row: Row) -> str:
    return interval(row.get("low"), row.get("high"), name, row.get("difference"))


def _found(measure: str, stage: str, published: Sequence[Compared]) -> Compared | None:
    return next((each for each in published if (each.measure, each.stage) == (measure, stage)), None)


def _mark(measure: str, stage: str, published: Sequence[Compared]) -> str:
    found = _found(measure, stage, published)
    return f"[{found.mark}]" if found else ""


def published_cell(measure: str, stage: str, published: Sequence[Compared]) -> str:
    """`0.6789 [OK]` for the first figure of that measure and stage; empty where there is none."""
    found = _found(measure, stage, published)
    return f"{number(found.figure.value, measure)} [{found.mark}]" if found else ""


def published_lines(published: Sequence[Compared]) -> list[str]:
    """A line for each source: every figure that it has, not only those that found room in the table."""
    lines: dict[str, list[str]] = {}
    for each in published:
        figure = each.figure
        more = "; ".join(part for part in (figure.note, figure.data and f"data {figure.data}") if part)
        where = f"published: {figure.system or figure.model}, {figure.source}{f' ({more})' if more else ''}"
        shown = f"{each.measure} {number(figure.value, each.measure)} [{each.mark}]"
        lines.setdefault(where, []).append(shown)
    return [f"{where}: {', '.join(shown)}" for where, shown in lines.items()]


def _differs(result: Result) -> bool:
    return any(row.get("difference") is not None for row in result.measures.values())


def _notes(result: Result) -> list[str]:
    """What else a reader must know to believe the numbers."""
    seen = result.diagnostics
    notes = []
    if missing := seen.get("missing_queries"):
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        notes.append(f"{len(missing)} judged queries have no candidates and count as 0: {shown}")
    if seen.get("skipped_without_text"):
        notes.append(f"{seen['skipped_without_text']} candidates without text were kept below every scored one")
    return notes + run_lines(result)
