"""Results as text tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .means import Mean
from .published import Compared
from .result import Result
from .run_lines import run_lines

__all__ = ["align", "means_table", "number_of", "published_cell", "result_block", "summary_table"]

MISSING = "–"
PUBLISHED = "published"


def result_block(result: Result, path: Path, *, reused: bool, published: Sequence[Compared] = ()) -> str:
    """One result: a title, a row a measure with what is published beside it, and where it is written."""
    identity = result.identity
    subset = "" if identity.subset == "default" else f" {identity.subset}"
    depth = "lists" if identity.top_k is None else f"top {identity.top_k}"
    partial = f" ({identity.partial})" if identity.partial else ""
    arrow = f" → {identity.reranker}" if identity.reranker else ""
    title = f"{identity.task}{subset} ({identity.split}), {result.queries} queries{partial}: {identity.retriever} {depth}{arrow}"
    head = ["measure", "first stage", PUBLISHED, "reranked", PUBLISHED, "oracle", "difference", "95 % interval", "p"]
    rows = []
    for name, row in result.measures.items():
        first, second, *rest = _cells(name, row)
        beside = [published_cell(name, stage, published) for stage in ("first_stage", "reranked")]
        rows.append([name, first, beside[0], second, beside[1], *rest])
    stages = {compared.stage for compared in published}
    keep = [
        *[0, 1],
        *([2] if "first_stage" in stages else []),
        *([3] if identity.reranker else []),
        *([4] if "reranked" in stages else []),
        5,
        *([6, 7, 8] if identity.reranker and _differs(result) else []),
    ]
    table = align([[row[i] for i in keep] for row in [head, *rows]])
    where = f"{'unchanged, read from' if reused else 'written to'} {path}"
    older = "interval" in table and result.interval_method == "percentile bootstrap"
    told = ["the interval is an older version's percentile bootstrap: report finds it anew"] if older else []
    return "\n".join([title, table, *told, *_notes(result), *_sources(published), where, ""])


def number_of(measure: str, value: float | None) -> str:
    """A figure as tables show it: four decimals, p-MRR times 100 as papers print it."""
    return _number(value, _scale(measure))


def published_cell(measure: str, stage: str, published: Sequence[Compared]) -> str:
    """`0.6789 [OK]` for the first figure of that measure and stage; empty where there is none."""
    figure = next((each for each in published if (each.measure, each.stage) == (measure, stage)), None)
    return f"{number_of(measure, figure.figure.value)} [{figure.mark}]" if figure else ""


def _sources(published: Sequence[Compared]) -> list[str]:
    """A line for each source: every figure that it has, not only those that found room in the table."""
    lines: dict[str, list[str]] = {}
    for each in published:
        figure = each.figure
        more = "; ".join(part for part in (figure.note, figure.data and f"data {figure.data}") if part)
        where = f"published: {figure.system or figure.model}, {figure.source}{f' ({more})' if more else ''}"
        shown = f"{each.measure} {number_of(each.measure, figure.value)} [{each.mark}]"
        lines.setdefault(where, []).append(shown)
    return [f"{where}: {', '.join(shown)}" for where, shown in lines.items()]


def means_table(means: Sequence[tuple[Mean, Sequence[Compared]]]) -> str:
    """A row for each mean and measure: over languages, parts or tasks, all unweighted."""
    head = [
        "mean of", "over", "candidates", "reranker", "measure", "first stage", "reranked", "oracle", "difference",
        "published",
    ]  # fmt: skip
    rows = []
    for mean, published in means:
        over = f"{mean.parts} {mean.over}" if mean.parts == mean.of else f"{mean.parts} of {mean.of} {mean.over}"
        stage = mean.retriever if mean.top_k is None else f"{mean.retriever} top {mean.top_k}"
        for name in mean.headline:
            cells = _cells(name, mean.measures[name])[:4]
            beside = published_cell(name, "reranked" if mean.reranker else "first_stage", published)
            rows.append([mean.name, over, stage, mean.reranker or MISSING, name, *cells, beside])
    keep = len(head) - (not any(row[-1] for row in rows))
    lines = [line for _, published in means for line in _sources(published)]
    return "\n".join([align([row[:keep] for row in [head, *rows]]), *lines, ""])


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
        part = " (part)" if identity.until else ""
        rows.append(
            [identity.task + subset + part, stage, identity.reranker or MISSING, name, *cells[:3], ceiling, *cells[3:]]
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
    scale = _scale(name)
    low, high = row.get("low"), row.get("high")
    interval = MISSING if low is None or high is None else f"[{_signed(low, scale)}, {_signed(high, scale)}]"
    p = row.get("p")
    shown_p = MISSING if p is None else ("<0.0001" if p < 1e-4 else f"{p:.4f}")
    stages = [_number(row.get(stage), scale) for stage in ("first_stage", "reranked", "oracle")]
    return [*stages, _signed(row.get("difference"), scale), interval, shown_p]


def _scale(measure: str) -> float:
    return 100.0 if measure.startswith("p-MRR") else 1.0


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
    return notes + run_lines(result)
