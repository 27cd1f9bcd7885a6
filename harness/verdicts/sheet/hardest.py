"""The hardest queries of each task: those that all systems together answer worst, and what each reranker moved in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...results.figures import number, signed
from ...results.result import Result
from ..moved import MovedQuery, Side, told_of
from ..pairing import differences_between, first_stage_label, title_of
from ..samples import values_of
from .one import documents_of
from .outline import Filters
from .parts import figure, folded, headline, table, tag

__all__ = ["hardest", "hardest_of"]

Columns = Mapping[str, Mapping[str, float]]
"""System → query_id → value."""


def hardest(results: Sequence[Result], filters: Filters, cache: Path, most: int) -> str:
    """A fold for each task with two systems or more, a first stage being one."""
    parts = [_task(own, filters, cache, most) for own in _questions(results)] if most else []
    inside = "".join(parts)
    return folded(tag("b", "Hardest queries across systems"), inside) if inside else ""


def hardest_of(columns: Columns, most: int) -> list[str]:
    """The queries with the lowest mean over all systems, of those that every system has; equal ones by their ids."""
    shared = set.intersection(*(set(column) for column in columns.values()))
    means = {query_id: sum(column[query_id] for column in columns.values()) / len(columns) for query_id in shared}
    return sorted(shared, key=lambda query_id: (round(means[query_id], 12), query_id))[:most]


def _questions(results: Sequence[Result]) -> list[list[Result]]:
    """The results with the same task, data and candidates, together."""
    groups: list[list[Result]] = []
    for result in results:
        own = next((g for g in groups if title_of(g[0]) == title_of(result) and _alike(g[0], result)), None)
        if own is None:
            groups.append([result])
        else:
            own.append(result)
    return groups


def _alike(first: Result, second: Result) -> bool:
    return not differences_between(first, second) and headline(first)[0] == headline(second)[0]


def _systems(results: Sequence[Result], measure: str) -> dict[str, dict[str, float]]:
    columns: dict[str, dict[str, float]] = {}
    for result in results:
        for stage in ("first_stage", "reranked"):
            if stage in result.values.get(measure, {}):
                name = "first stage" if stage == "first_stage" else str(result.reranker)
                columns.setdefault(name, values_of(result, measure, stage))
    return columns


def _task(results: Sequence[Result], filters: Filters, cache: Path, most: int) -> str:
    measure = headline(results[0])[0]
    columns = _systems(results, measure)
    chosen = hardest_of(columns, most) if len(columns) > 1 else []
    if not chosen:
        return ""
    reranked = [result for result in results if "reranked" in result.values.get(measure, {})]
    told = {str(result.reranker): _told(result, columns, chosen, cache) for result in reranked}
    best = next((r for r in results if "oracle" in r.values.get(measure, {})), None)
    oracle = values_of(best, measure, "oracle") if best else {}
    rows = []
    for query_id in chosen:
        values = [column[query_id] for column in columns.values()]
        cells = [tag("td", query_id), *(figure(number(value, measure)) for value in values)]
        cells += [figure(number(sum(values) / len(values), measure))]
        rows.append([*cells, figure(number(oracle.get(query_id), measure))])
    inside = table(["query", *columns, "mean", "oracle"], rows)
    moves = "".join(_query(query_id, measure, told) for query_id in chosen)
    marks = filters.marks(title_of(results[0]), [result.reranker for result in results])
    line = f"{tag('b', title_of(results[0]))} {tag('span', f'{first_stage_label(results[0])}, {measure}', 'dim')}"
    return folded(line, f'{inside}<div class="moves">{moves}</div>', marks=f' class="one"{marks}')


def _told(result: Result, columns: Columns, chosen: Sequence[str], cache: Path) -> dict[str, MovedQuery]:
    """What the reranker moved in each; nothing where there is no first stage to move from."""
    if "first stage" not in columns:
        return {}
    sides = (Side(result, "first_stage"), Side(result, "reranked"))
    found = told_of(chosen, columns["first stage"], columns[str(result.reranker)], sides, cache)
    return {query.query_id: query for query in found}


def _query(query_id: str, measure: str, told: Mapping[str, Mapping[str, MovedQuery]]) -> str:
    moved = {name: queries[query_id] for name, queries in told.items() if query_id in queries}
    text = next((query.text for query in moved.values() if query.text), None)
    parts = [f'<p class="moved">{tag("b", query_id)}</p>', tag("p", text, "query") if text else ""]
    for name, query in moved.items():
        change = signed(query.after - query.before, measure)
        style = "win" if query.after > query.before else "loss" if query.after < query.before else "dim"
        parts.append(f'<p class="moved">{tag("b", name)} {tag("span", change, style)}</p>{documents_of(query)}')
    return f"<article>{''.join(parts)}</article>"
