"""A measure over the depth of reranking: what the first k candidates alone would have given, with intervals.

Interval and p are of the paired difference from the first stage, by the same test as everywhere, each depth for
itself. On the chart the interval stands around the curve: where it does not reach the first stage's line, p is .05
or less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.clusters import Clusters
from ...data.collection import find_prepared
from ...errors import HarnessError, did_you_mean
from ...measures.verdict import retested
from ...results.naming import labelled
from ...results.rankings import read_rankings
from ...results.result import Result
from ...types import Measure
from ..charts import Line, curves
from ..pairing import first_stage_label, title_of
from .stacked import Panel, stacked

__all__ = ["DepthCurve", "Point", "depth_curves", "depth_plot"]

_MOST = 24
"""More tasks than these are no picture that anybody reads."""
_COLOURS = 6


@dataclass(frozen=True)
class Point:
    """What reranking the first `k` candidates gives; None for what is not known."""

    k: int
    reranked: float
    oracle: float | None
    difference: float
    low: float | None
    """The 95 % interval of the difference; None, with `high`, where too few queries moved for one, or `p` is None."""
    high: float | None
    p: float | None
    """None in a result of before there were intervals, whose rankings are not in the cache either."""


@dataclass(frozen=True)
class DepthCurve:
    """One reranker over one first stage on one task."""

    title: str
    first_stage_label: str
    reranker: str
    measure: str
    first_stage: float
    points: tuple[Point, ...]


def depth_curves(
    results: Sequence[Result], cache: Path, names: Sequence[str] = ()
) -> tuple[list[DepthCurve], list[str]]:
    """The curve of each result (whole, with the values of its queries) that has one, and what is missing, in words.

    `names` are tasks (and languages) to be kept; empty for all. Raises HarnessError for one that there is none of, and
    where no result has a curve.
    """
    known = list(dict.fromkeys(title_of(result) for result in results))
    for name in names:
        if name not in known:
            raise HarnessError(f'there is no "{name}" here; there is {", ".join(known)}.{did_you_mean(name, known)}')
    wanted = [result for result in results if not names or title_of(result) in names]
    found, notes = [], []
    for result in labelled([result for result in wanted if result.identity.reranker and not result.view]):
        curve = _curve_of(result, cache)
        if curve is None:
            notes.append(f"{_named(result)}: no curve, which takes scores of single pairs, and a first stage's")
            continue
        if any(point.p is None for point in curve.points):
            notes.append(
                f"{_named(result)}: no intervals but of the whole depth, since it was written before a result kept them and its rankings are not "
                f"in the cache {cache}; run it again with another --results"
            )
        found.append(curve)
    if not found:
        raise HarnessError(
            "; ".join(notes)
            or "no reranker's result is here: a curve over depth is of what a reranker makes of a first stage"
        )
    return found, notes


def _named(result: Result) -> str:
    return f"{title_of(result)}, {result.reranker} over {first_stage_label(result)}"


def _curve_of(result: Result, cache: Path) -> DepthCurve | None:
    stored: dict[str, Any] = result.diagnostics.get("depth_curve") or {}
    if not stored.get("points"):
        return None
    if "p" not in stored["points"][0]:
        stored = _found_again(result, stored, cache) or _of_the_result(result, stored)
    before = stored["first_stage"]
    points = tuple(
        Point(
            each["k"], each["reranked"], each["oracle"], each["reranked"] - before,
            each.get("low"), each.get("high"), each.get("p"),
        )
        for each in stored["points"]
    )  # fmt: skip
    return DepthCurve(
        title_of(result), first_stage_label(result), result.reranker or "", stored["measure"], before, points
    )


def _found_again(result: Result, stored: dict[str, Any], cache: Path) -> dict[str, Any] | None:
    """The stored curve with intervals, from the rankings and judgements in the cache.

    None where they are not there, or do not give the very figures that are stored.
    """
    from ...measures.depths import depth_curve

    runs, collection = read_rankings(result, cache), find_prepared(result.collection, cache)
    if collection is None or not {"first_stage", "reranked"} <= runs.keys() or result.identity.qrels_layer:
        return None
    first, reranked = runs["first_stage"], runs["reranked"]
    if not first.keys() <= collection.qrels.keys():
        return None
    qrels = {query_id: collection.qrels[query_id] for query_id in first}
    clusters = None
    if result.clusters:
        clusters = Clusters(dict(zip(result.query_ids, result.clusters, strict=True)), "", stated=True)
    measure = Measure.parse(stored["measure"].partition(" ")[0])
    found = depth_curve(first, reranked, collection, qrels, measure, result.identity.relevance_level, clusters)
    return found if _figures(found) == _figures(stored) else None


def _of_the_result(result: Result, stored: dict[str, Any]) -> dict[str, Any]:
    """The stored curve with the interval that the result itself has, which is that of its whole depth."""
    row = retested(result).measures.get(stored["measure"], {})
    *points, last = stored["points"]
    if row.get("difference") is None or round(row["reranked"] or 0.0, 9) != round(last["reranked"], 9):
        return stored
    return {**stored, "points": [*points, {**last, **{name: row[name] for name in ("low", "high", "p")}}]}


def _figures(curve: dict[str, Any]) -> list[object]:
    points = curve.get("points", [])
    ends = [(point["k"], round(point["reranked"], 9)) for point in points]
    return [curve.get("measure"), round(curve.get("first_stage", math.inf), 9), ends]


def depth_plot(found: Sequence[DepthCurve]) -> str:
    """An SVG of its own: a chart for each task and first stage, a line for each reranker. Raises HarnessError for too many."""
    groups: dict[tuple[str, str, str], list[DepthCurve]] = {}
    for curve in found:
        groups.setdefault((curve.title, curve.first_stage_label, curve.measure), []).append(curve)
    if len(groups) > _MOST:
        raise HarnessError(f"{len(groups)} tasks are more than a picture of {_MOST}: name some with --columns")
    panels = [_panel(*key, group) for key, group in groups.items()]
    return stacked(panels, "Over the depth of reranking", columns=2)


def _panel(title: str, stage: str, measure: str, group: Sequence[DepthCurve]) -> Panel:
    lines = []
    for number, curve in enumerate(group):
        style = f"series-{number % _COLOURS}"
        lines.append(Line(curve.reranker, style, [(p.k, p.reranked) for p in curve.points], _ends(curve)))
    drawn = curves(lines, "candidates reranked", measure, group[0].first_stage, "first stage", named=False)
    legend = [(line.name, line.style) for line in lines]
    told = (
        "95 % intervals of the difference from the first stage" if any(map(any, (line.ends for line in lines))) else ""
    )
    return Panel(f"{title}, over {stage}", [*legend, *([(told, "")] if told else [])], [drawn])


def _ends(curve: DepthCurve) -> list[tuple[float, float] | None]:
    before = curve.first_stage
    return [None if p.low is None or p.high is None else (before + p.low, before + p.high) for p in curve.points]
