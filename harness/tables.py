"""Results as text tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .result import Result

__all__ = ["align", "result_block", "summary_table"]

MISSING = "–"


def result_block(result: Result, path: Path, *, reused: bool) -> str:
    """One result: a title, a row a measure, and where it is written."""
    identity = result.identity
    subset = "" if identity.subset == "default" else f" {identity.subset}"
    depth = "lists" if identity.top_k is None else f"top {identity.top_k}"
    partial = f" (the first {identity.limit})" if identity.limit is not None else ""
    arrow = f" → {identity.reranker}" if identity.reranker else ""
    title = f"{identity.task}{subset} ({identity.split}), {result.queries} queries{partial}: {identity.retriever} {depth}{arrow}"
    head = ["measure", "first stage", "reranked", "oracle", "difference", "95 % interval", "p"]
    rows = [[name, *_cells(name, row)] for name, row in result.measures.items()]
    keep = [
        0,
        1,
        *([2] if identity.reranker else []),
        3,
        *([4, 5, 6] if identity.reranker and _differs(result) else []),
    ]
    table = align([[row[i] for i in keep] for row in [head, *rows]])
    return "\n".join(
        [title, table, *_notes(result), f"{'unchanged, read from' if reused else 'written to'} {path}", ""]
    )


def summary_table(results: Sequence[Result]) -> str:
    """A row a result, with each task's headline measure."""
    head = [
        "task",
        "candidates",
        "reranker",
        "measure",
        "first stage",
        "reranked",
        "oracle",
        "recall",
        "difference",
        "95 % interval",
        "p",
    ]
    rows = []
    for result in results:
        identity = result.identity
        name, row = next(iter(result.measures.items()))
        cells = _cells(name, row)
        recall = next((r for m, r in result.measures.items() if m == f"R@{identity.top_k}"), {})
        subset = "" if identity.subset == "default" else f" {identity.subset}"
        stage = identity.retriever if identity.top_k is None else f"{identity.retriever} top {identity.top_k}"
        ceiling = _number(recall.get("oracle"))
        rows.append(
            [identity.task + subset, stage, identity.reranker or MISSING, name, *cells[:3], ceiling, *cells[3:]]
        )
    return align([head, *rows]) + "\n"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell, the first row ruled off; numbers stand to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(_pad(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _pad(cell: str, width: int) -> str:
    numeric = cell.lstrip("+-−<")[:1].isdigit() or cell == MISSING
    return cell.rjust(width) if numeric else cell.ljust(width)


def _cells(name: str, row: Mapping[str, float | None]) -> list[str]:
    """first stage, reranked, oracle, difference, interval, p; p-MRR is shown times 100, as papers print it."""
    scale = 100.0 if name.startswith("p-MRR") else 1.0
    low, high = row.get("low"), row.get("high")
    interval = MISSING if low is None or high is None else f"[{_signed(low, scale)}, {_signed(high, scale)}]"
    p = row.get("p")
    shown_p = MISSING if p is None else ("<0.0001" if p < 1e-4 else f"{p:.4f}")
    stages = [_number(row.get(stage), scale) for stage in ("first_stage", "reranked", "oracle")]
    return [*stages, _signed(row.get("difference"), scale), interval, shown_p]


def _number(value: float | None, scale: float = 1.0) -> str:
    if value is None:
        return MISSING
    return f"{value * scale:.2f}" if scale != 1.0 else f"{value:.4f}"


def _signed(value: float | None, scale: float = 1.0) -> str:
    if value is None:
        return MISSING
    return f"{value * scale:+.2f}" if scale != 1.0 else f"{value:+.4f}"


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
    if seen.get("tie_rate"):
        notes.append(f"{seen['tie_rate']:.2%} of documents are tied with another of their query")
    if seen.get("truncated_pairs"):
        share = seen["truncated_pairs"] / max(seen["pairs"], 1)
        lost = seen["lost_tokens"] / max(seen["lost_tokens"] + seen["tokens"], 1)
        notes.append(f"{share:.1%} of pairs were truncated, {lost:.1%} of tokens lost")
    return notes
