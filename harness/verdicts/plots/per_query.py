"""Each query of two systems: the differences in their order, and one system's values against the other's."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import HarnessError, did_you_mean
from ...results.figures import interval, number, p_value, scale_of, signed
from ..charts import scatter, sorted_changes
from ..compare import Comparison
from ..rows import Row
from ..samples import Sample
from .stacked import Panel, stacked

__all__ = ["per_query_plot"]

_MOST = 12
"""More tasks than these are no picture that anybody reads."""


def per_query_plot(comparisons: Sequence[Comparison], names: Sequence[str] = ()) -> str:
    """An SVG of its own: two charts for each task and other system, of the named tasks (and languages) or of all.

    Raises HarnessError for a name that there is none of, for nothing to draw, and for more than is read.
    """
    known = list(dict.fromkeys(row.name for each in comparisons for row, _ in _with_queries(each)))
    for name in names:
        if name not in known:
            raise HarnessError(
                f'"{name}" has no queries to be drawn; there is {", ".join(known)}.{did_you_mean(name, known)}'
            )
    panels = [
        _panel(each, row, sample)
        for each in comparisons
        for row, sample in _with_queries(each)
        if not names or row.name in names
    ]
    if not panels:
        raise HarnessError("nothing is drawn query by query: the systems share no query")
    if len(panels) > _MOST:
        raise HarnessError(
            f"{len(panels)} tasks and pairs are more than a picture of {_MOST}: name some with --columns ({', '.join(known[:4])} …)"
        )
    title = f"Query by query, {', '.join(dict.fromkeys(each.second for each in comparisons))} against {comparisons[0].first}"
    return stacked(panels, title)


def _with_queries(comparison: Comparison) -> list[tuple[Row, Sample]]:
    """A mean has no queries of its own."""
    return [(r, s) for r, s in zip(comparison.rows, comparison.samples, strict=True) if s.pair is not None]


def _panel(comparison: Comparison, row: Row, sample: Sample) -> Panel:
    measure, first, second = row.measure, comparison.first, comparison.second
    scale, own = scale_of(measure), "" if scale_of(measure) == 1 else " × 100"
    values = list(zip(sample.query_ids, sample.first.tolist(), sample.second.tolist(), strict=True))
    points = [(f"{q}: {number(a, measure)} → {number(b, measure)}", a, b) for q, a, b in values]
    counts = f"{row.wins:,} won, {row.ties:,} tied, {row.losses:,} lost"
    between = interval(row.low, row.high, measure, row.difference)
    told = f"{counts}; mean {signed(row.difference, measure)} {between}, p {p_value(row.p_corrected)} (corrected)"
    changes = sorted_changes(
        [(b - a) * scale for _, a, b in values], "queries, sorted", f"difference in {measure}{own}"
    )
    against = scatter(points, f"{_short(first)}, {measure}", f"{_short(second)}, {measure}")
    return Panel(f"{row.name}, {measure}: {second} − {first}", [(told, "")], [changes, against])


def _short(name: str) -> str:
    return name if len(name) <= 36 else f"{name[:17]}…{name[-18:]}"
