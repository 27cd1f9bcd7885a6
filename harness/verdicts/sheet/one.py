"""One result's section of the page: its verdict, its figures, its queries, how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from ...results.cautions import cautions_of, title_of_code
from ...results.figures import MISSING, interval, number, p_value, scale_of, signed
from ...results.result import Result
from ...results.run_lines import billed_words
from ..charts import Line, curves, scatter, sorted_changes
from ..moved import MovedDocument, MovedQuery, Side, moved_queries
from ..pairing import first_stage_label, title_of
from ..samples import values_of
from .parts import STAGES, code, folded, headline, stages, table, tag, verdict

__all__ = ["documents_of", "finding", "moved", "section"]


def section(place: int, result: Result, cache: Path, most: int, marks: str, *, unfolded: bool) -> str:
    """All that is known of one result, behind a line that says its verdict."""
    arrow = f" → {result.reranker}" if result.reranker else ""
    name, row = headline(result)
    rows = [[tag("td", measure), *stages(measure, dict(line))] for measure, line in result.measures.items()]
    parts = [
        f'<section id="r{place}">',
        tag("p", finding(result), f"finding {verdict(row)}-edge"),
        _cautions(result),
        table(["measure", *STAGES], rows),
        f'<div class="charts">{_depth(result)}{_per_query(result)}</div>',
        _moves(result, cache, most),
        _facts(result),
        "</section>",
    ]
    change = (
        f" {tag('span', signed(row['difference'], name), verdict(row))}" if row.get("difference") is not None else ""
    )
    line = f"{tag('b', title_of(result))} {tag('span', f'{first_stage_label(result)}{arrow}', 'dim')}{change}"
    return folded(line, "".join(parts), unfolded=unfolded, marks=f' class="one"{marks}')


def finding(result: Result) -> str:
    """What the figures say, in a sentence."""
    name, row = headline(result)
    if not result.reranker:
        return f"The first stage alone: {name} {number(row.get('first_stage'), name)}."
    if row.get("difference") is None:
        return f"{name} {number(row.get('reranked'), name)}. There is no first-stage figure to hold it against."
    changes = _changes(result, name)
    counts = [sum(change > 0 for change in changes), sum(not change for change in changes), sum(c < 0 for c in changes)]
    told = f"{counts[0]:,} queries won, {counts[1]:,} tied, {counts[2]:,} lost."
    known = f"95 % interval {interval(row['low'], row['high'], name, row['difference'])}"
    between = known if row["low"] is not None else "no 95 % interval: too few queries moved"
    figures = f"{between}, p {p_value(row['p'])}"
    if verdict(row) == "tie":
        return f"No difference that this data can show: {name} {signed(row['difference'], name)} ({figures}). {told}"
    verb = "raises" if row["difference"] > 0 else "lowers"
    size = number(abs(row["difference"]), name)
    return f"Reranking {verb} {name} by {size} ({figures}). {told}"


def _changes(result: Result, name: str) -> list[float]:
    before, after = values_of(result, name, "first_stage"), values_of(result, name, "reranked")
    return [after[query_id] - value for query_id, value in before.items() if query_id in after]


def _cautions(result: Result) -> str:
    entries = [
        f"<li>{code(each.code)} <b>{escape(title_of_code(each.code))}</b>: {escape(each.what)}</li>"
        for each in cautions_of(result)
    ]
    return f'<ul class="warnings">{"".join(entries)}</ul>' if entries else ""


def _chart(drawn: str, caption: str) -> str:
    return f"<figure>{drawn}{tag('figcaption', caption)}</figure>"


def _depth(result: Result) -> str:
    curve = result.diagnostics.get("depth_curve")
    if not curve or not curve["points"]:
        return ""
    points, before = curve["points"], curve["first_stage"]
    ends = [_around(before, point) for point in points]
    lines = [
        Line("reranked", "reranked", [(point["k"], point["reranked"]) for point in points], ends if any(ends) else ()),
        Line("oracle", "oracle", [(p["k"], p["oracle"]) for p in points if p["oracle"] is not None]),
    ]
    drawn = curves(
        [line for line in lines if line.points], "candidates reranked", curve["measure"], before, "first stage"
    )
    told = " Bars: the 95 % interval of the difference from the first stage." if any(ends) else ""
    return _chart(drawn, f"How deep is worth it: only the first k candidates reranked.{told}")


def _around(before: float, point: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of the difference from the first stage, where there is one, as figures of the measure."""
    low, high = point.get("low"), point.get("high")
    return None if low is None or high is None else (before + low, before + high)


def _both(result: Result) -> bool:
    row = headline(result)[1]
    return row.get("first_stage") is not None and row.get("reranked") is not None


def _per_query(result: Result) -> str:
    if not _both(result):
        return ""
    name, _ = headline(result)
    scale, own = scale_of(name), "" if scale_of(name) == 1 else " × 100"
    before, after = values_of(result, name, "first_stage"), values_of(result, name, "reranked")
    points = [
        (f"{q}: {number(before[q], name)} → {number(after[q], name)}", before[q], after[q])
        for q in before
        if q in after
    ]
    against = scatter(points, f"first stage, {name}", f"reranked, {name}")
    sorted_by = sorted_changes(
        [change * scale for change in _changes(result, name)], "queries, sorted", f"change of {name}{own}"
    )
    return _chart(against, "Each query before and after: above the diagonal it won.") + _chart(
        sorted_by, "Every query's change, from the largest gain to the largest loss."
    )


def _moves(result: Result, cache: Path, most: int) -> str:
    if not _both(result) or not most:
        return ""
    name, _ = headline(result)
    before, after = values_of(result, name, "first_stage"), values_of(result, name, "reranked")
    sides = (Side(result, "first_stage"), Side(result, "reranked"))
    parts = []
    for title, sign, style in (("Biggest wins", 1, "win"), ("Biggest losses", -1, "loss")):
        chosen = {q: value for q, value in before.items() if q in after and (after[q] - value) * sign > 0}
        queries = moved_queries(chosen, after, sides, cache, most)
        if queries:
            entries = "".join(moved(query, name, style) for query in queries)
            parts.append(f"<div>{tag('h3', title)}{entries}</div>")
    return f'<div class="moves">{"".join(parts)}</div>' if parts else ""


def moved(query: MovedQuery, measure: str, style: str) -> str:
    """A query that moved, and the documents that changed places in it."""
    figures = f"{number(query.before, measure)} → {number(query.after, measure)}"
    change = signed(query.after - query.before, measure)
    head = f"{tag('b', query.query_id)} {tag('span', figures, 'dim')} {tag('span', change, style)}"
    text = tag("p", query.text, "query") if query.text else ""
    return f'<article><p class="moved">{head}</p>{text}{documents_of(query)}</article>'


def documents_of(query: MovedQuery) -> str:
    """The documents that changed places, as a list."""
    documents = "".join(f"<li>{_document(document)}</li>" for document in query.documents)
    return f"<ul>{documents}</ul>" if documents else ""


def _document(document: MovedDocument) -> str:
    judged = "not judged" if document.relevance is None else f"relevance {document.relevance}"
    places = f"{document.before or MISSING} → {document.after or MISSING}"
    style = "relevant" if (document.relevance or 0) > 0 else "dim"
    text = " ".join((document.text or "").split())
    shown = text if len(text) <= 240 else text[:239] + "…"
    head = f"{tag('span', f'place {places}', 'place')} {tag('span', judged, style)} {tag('b', document.doc_id)}"
    return f"{head} {escape(shown)}".rstrip()


def _facts(result: Result) -> str:
    """What a reader needs to judge or repeat the figures."""
    identity, seen, speed = result.identity, result.diagnostics, result.performance
    facts: list[tuple[str, object]] = [
        ("data", f"{identity.dataset} at {identity.dataset_revision}, split {identity.split}"),
        ("candidates", f"{seen.get('candidates', MISSING)} pairs, digest {result.candidates}"),
        ("first stage", _settings(identity.retriever, identity.retriever_settings)),
    ]
    if identity.reranker:
        facts.append(("reranker", _settings(result.reranker or "", identity.reranker_settings)))
        facts.append(("revision", f"{identity.reranker_revision}, fingerprint {identity.reranker_fingerprint}"))
    if bill := speed.get("billed"):
        speed = {
            **speed,
            "billed": f"{billed_words(bill)}; seconds a request: {_plain(bill.get('request_seconds') or MISSING)}",
        }
    facts += [(key.replace("_", " "), _plain(value)) for key, value in {**_shares(seen), **speed}.items()]
    facts += [(key, _plain(value)) for key, value in result.environment.items()]
    rows = "".join(f"{tag('dt', name)}{tag('dd', value)}" for name, value in facts)
    return folded("How it was made", f"<dl>{rows}</dl>")


def _shares(seen: Any) -> dict[str, Any]:
    keys = ("tie_rate", "truncated_share", "lost_token_share", "scores", "missing_queries", "skipped_without_text")
    found = {key: seen[key] for key in keys if seen.get(key) not in (None, [])}
    if seen.get("tokens") is None and not found.get("truncated_share"):
        found.pop("truncated_share", None)  # of a service, in results of before: nobody knows
    return found


def _settings(name: str, settings: Any) -> str:
    return f"{name} ({', '.join(f'{key} {value}' for key, value in settings.items())})"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value[:20])) + (" …" if len(value) > 20 else "")
    return f"{value:.4g}" if isinstance(value, float) else str(value)
