"""Comparisons as text for a terminal, and what they share with gates."""

from __future__ import annotations

from collections.abc import Sequence

from ..results.figures import MISSING, interval, number, p_value, signed
from ..results.layout import align
from .compare import Comparison, Row
from .moved import MovedDocument, MovedQuery
from .samples import Sample

__all__ = ["cluster_lines", "comparison_text", "moved_text", "rows_table", "shortened"]

_WIDTH = 120


def comparison_text(comparison: Comparison) -> str:
    """A row for each task, subset and mean, and what else a reader must know."""
    head = f"{comparison.first} → {comparison.second}"
    sides = (
        ["first", "second"]
        if len(comparison.first) + len(comparison.second) > 40
        else [comparison.first, comparison.second]
    )
    table = rows_table(comparison.rows, sides, ["wins", "ties", "losses"])
    rule = (
        "difference: second − first; p: paired sign-flip test, and 95 % interval its inversion; p (corrected): over all "
        f"{comparison.family} rows shown together. Wins are queries where the second is better."
    )
    return "\n".join([head, table, rule, *cluster_lines(comparison.rows), *comparison.notes, ""])


def cluster_lines(rows: Sequence[Row]) -> list[str]:
    """For rows whose queries share something: how many clusters, and the interval as if they did not."""
    return [
        f"{row.name}: {row.queries:,} queries in {row.units:,} clusters, which move together; if they were independent: "
        f"{interval(row.low_by_query, row.high_by_query, row.measure)}, p {p_value(row.p_by_query)}"
        for row in rows
        if row.units is not None
    ]


def rows_table(rows: Sequence[Row], sides: Sequence[str], more: Sequence[str]) -> str:
    """The rows in columns; `more` are fields of a row that stand last."""
    systems = len({row.reranker for row in rows}) > 1
    head = ["task", *(["reranker"] if systems else []), "candidates", "measure", "queries", *sides]
    lines = [[*head, "difference", "95 % interval", "p", "p (corrected)", *more]]
    for row in rows:
        name = row.measure
        cells = [row.name, *([row.reranker] if systems else []), row.first_stage, name, str(row.queries)]
        cells += [number(row.first, name), number(row.second, name), signed(row.difference, name)]
        cells += [interval(row.low, row.high, name), p_value(row.p), p_value(row.p_corrected)]
        lines.append([*cells, *_more(row, more)])
    return align(lines)


def _more(row: Row, names: Sequence[str]) -> list[str]:
    shown = {
        "detectable": ("~" if row.assumed else "") + number(row.detectable, row.measure),
        "answer": row.answer.verdict if row.answer else "",
    }
    return [shown.get(name, str(getattr(row, name, ""))) for name in names]


def moved_text(sample: Sample, queries: Sequence[MovedQuery]) -> str:
    """The queries that moved most, a paragraph each, with the documents that changed places."""
    lines = [f"{sample.name}, {sample.measure}: the queries that moved most"]
    for query in queries:
        figures = f"{number(query.before, sample.measure)} → {number(query.after, sample.measure)}"
        lines.append(f"  {query.query_id}: {figures}  {shortened(query.text)}".rstrip())
        lines += [f"    {_document(document)}" for document in query.documents]
    return "\n".join([*lines, ""])


def _document(document: MovedDocument) -> str:
    judged = "not judged" if document.relevance is None else f"relevance {document.relevance}"
    places = f"{document.before or MISSING} → {document.after or MISSING}"
    return f"{document.doc_id} ({judged}), place {places}: {shortened(document.text)}".rstrip(": ")


def shortened(text: str | None, width: int = _WIDTH) -> str:
    """The text on one line of at most `width` characters; empty where there is none."""
    line = " ".join((text or "").split())
    return line if len(line) <= width else line[: width - 1] + "…"
