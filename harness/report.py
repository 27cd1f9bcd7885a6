"""One page about some results: self-contained HTML, to be opened anywhere and sent to anyone.

Nothing is fetched and no script runs: charts are inline SVG, and the page's own policy forbids the
rest. Every text from outside (names, ids, queries, documents) is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .cautions import cautions_of, recall_of, title_of_code
from .charts import Bar, Line, curves, forest, scatter
from .environment import harness_version
from .figures import MISSING, interval, number, p_value, signed
from .moved import MovedDocument, MovedQuery, Side, moved_queries
from .pairing import first_stage_label, title_of
from .result import Result
from .samples import values_of

__all__ = ["page"]

_RULE = (
    "Differences are reranked − first stage, with a 95 % paired bootstrap interval over queries; p is the paired "
    "randomisation test's. p-MRR is shown times 100."
)
_NUMBERS = ("queries", "first stage", "reranked", "oracle", "difference", "95 % interval", "p", "recall")
"""Columns whose cells stand to the right."""


def page(results: Sequence[Result], cache: Path, most: int = 5) -> str:
    """The HTML of a page about `results`, which come with their values; `most` wins and losses for each."""
    results = sorted(results, key=lambda result: (title_of(result), first_stage_label(result)))
    title = "Rerank Harness: " + ", ".join(dict.fromkeys(result.identity.task for result in results))
    body = [
        _tag("h1", title),
        _summary(results),
        _intervals(results),
        *(_section(place, result, cache, most) for place, result in enumerate(results, 1)),
        _tag("footer", f"rerank-harness {harness_version()}. {_RULE}"),
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _style() -> str:
    return Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def _tag(name: str, text: object, style: str = "") -> str:
    """An element whose content is text from anywhere, escaped."""
    kind = f' class="{style}"' if style else ""
    return f"<{name}{kind}>{escape(str(text))}</{name}>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    lines = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    heads = "".join(_tag("th", cell, "n" if cell in _NUMBERS else "") for cell in head)
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def _figure(text: str) -> str:
    return _tag("td", text, "n")


def _headline(result: Result) -> tuple[str, dict[str, Any]]:
    name, row = next(iter(result.measures.items()))
    return name, dict(row)


def _stages(name: str, row: dict[str, Any]) -> list[str]:
    shown = [number(row.get(stage), name) for stage in ("first_stage", "reranked", "oracle")]
    shown += [
        signed(row.get("difference"), name),
        interval(row.get("low"), row.get("high"), name),
        p_value(row.get("p")),
    ]
    return [_figure(cell) for cell in shown]


_STAGES = ["first stage", "reranked", "oracle", "difference", "95 % interval", "p"]


def _summary(results: Sequence[Result]) -> str:
    rows = []
    for place, result in enumerate(results, 1):
        name, row = _headline(result)
        recall = recall_of(result)
        codes = " ".join(caution.code for caution in cautions_of(result)) or MISSING
        link = f'<td><a href="#r{place}">{escape(title_of(result))}</a></td>'
        words = [first_stage_label(result), result.identity.reranker or "none", name]
        cells = [link, *(_tag("td", word) for word in words), _figure(str(result.queries)), *_stages(name, row)]
        rows.append([*cells, _figure(number(recall[1] if recall else None)), _tag("td", codes)])
    head = ["task", "candidates", "reranker", "measure", "queries", *_STAGES, "recall", "warnings"]
    return _tag("h2", "Results") + _table(head, rows)


def _intervals(results: Sequence[Result]) -> str:
    bars = []
    several = len({result.identity.reranker for result in results}) > 1
    for result in results:
        name, row = _headline(result)
        if row.get("difference") is not None and result.identity.reranker:
            label = f"{title_of(result)}, {name}" + (f": {result.identity.reranker}" if several else "")
            bars.append(Bar(label, row["difference"], row["low"], row["high"]))
    if not bars:
        return ""
    return _tag("h2", "Differences from the first stage") + forest(bars, "reranked − first stage, 95 % interval")


def _section(place: int, result: Result, cache: Path, most: int) -> str:
    arrow = f" → {result.identity.reranker}" if result.identity.reranker else ""
    head = f"{title_of(result)}: {first_stage_label(result)}{arrow}"
    rows = [[_tag("td", name), *_stages(name, dict(row))] for name, row in result.measures.items()]
    parts = [
        f'<section id="r{place}">',
        _tag("h2", head),
        _cautions(result),
        _table(["measure", *_STAGES], rows),
        f'<div class="charts">{_depth(result)}{_per_query(result)}</div>',
        _moves(result, cache, most),
        _facts(result),
        "</section>",
    ]
    return "".join(parts)


def _cautions(result: Result) -> str:
    entries = [
        f"<li><b>{each.code}</b> {escape(title_of_code(each.code))}: {escape(each.what)}</li>"
        for each in cautions_of(result)
    ]
    return f'<ul class="warnings">{"".join(entries)}</ul>' if entries else ""


def _depth(result: Result) -> str:
    curve = result.diagnostics.get("depth_curve")
    if not curve or not curve["points"]:
        return ""
    lines = [
        Line(name, name, [(point["k"], point[name]) for point in curve["points"]]) for name in ("reranked", "oracle")
    ]
    drawn = curves(lines, "candidates reranked", curve["measure"], curve["first_stage"], "first stage")
    return (
        f"<figure>{drawn}<figcaption>How deep is worth it: only the first k candidates reranked.</figcaption></figure>"
    )


def _per_query(result: Result) -> str:
    name, row = _headline(result)
    if row.get("first_stage") is None or row.get("reranked") is None:
        return ""
    before, after = values_of(result, name, "first_stage"), values_of(result, name, "reranked")
    points = [(f"{q}: {before[q]:.4f} → {after[q]:.4f}", before[q], after[q]) for q in before if q in after]
    drawn = scatter(points, f"first stage, {name}", f"reranked, {name}")
    return f"<figure>{drawn}<figcaption>Each query before and after: above the diagonal it won.</figcaption></figure>"


def _moves(result: Result, cache: Path, most: int) -> str:
    name, row = _headline(result)
    if row.get("first_stage") is None or row.get("reranked") is None or not most:
        return ""
    before, after = values_of(result, name, "first_stage"), values_of(result, name, "reranked")
    sides = (Side(result, "first_stage"), Side(result, "reranked"))
    parts = []
    for title, sign in (("Biggest wins", 1), ("Biggest losses", -1)):
        chosen = {q: value for q, value in before.items() if q in after and (after[q] - value) * sign > 0}
        queries = moved_queries(chosen, after, sides, cache, most)
        rows = [_moved_row(query, name) for query in queries]
        if rows:
            head = ["query", "first stage", "reranked", "text", "documents that changed places"]
            parts.append(_tag("h3", title) + _table(head, rows))
    return "".join(parts)


def _moved_row(query: MovedQuery, measure: str) -> list[str]:
    documents = "".join(f"<li>{_document(document)}</li>" for document in query.documents)
    figures = [_figure(number(query.before, measure)), _figure(number(query.after, measure))]
    text = _tag("td", query.text or MISSING, "text")
    return [_tag("td", query.query_id), *figures, text, f'<td class="text"><ul>{documents}</ul></td>']


def _document(document: MovedDocument) -> str:
    judged = "not judged" if document.relevance is None else f"relevance {document.relevance}"
    places = f"{document.before or MISSING} → {document.after or MISSING}"
    text = " ".join((document.text or "").split())
    shown = text if len(text) <= 300 else text[:299] + "…"
    return f"<b>{escape(document.doc_id)}</b> ({judged}), place {places}. {escape(shown)}"


def _facts(result: Result) -> str:
    """What a reader needs to judge or repeat the figures."""
    identity, seen, speed = result.identity, result.diagnostics, result.performance
    facts: list[tuple[str, object]] = [
        ("data", f"{identity.dataset} at {identity.dataset_revision}, split {identity.split}"),
        ("candidates", f"{seen.get('candidates', MISSING)} pairs, digest {result.candidates}"),
        ("first stage", _settings(identity.retriever, identity.retriever_settings)),
    ]
    if identity.reranker:
        facts.append(("reranker", _settings(identity.reranker, identity.reranker_settings)))
        facts.append(("revision", f"{identity.reranker_revision}, fingerprint {identity.reranker_fingerprint}"))
    facts += [(key.replace("_", " "), _plain(value)) for key, value in {**_shares(seen), **speed}.items()]
    facts += [(key, _plain(value)) for key, value in result.environment.items()]
    rows = "".join(f"{_tag('dt', name)}{_tag('dd', value)}" for name, value in facts)
    return f"<details><summary>How it was made</summary><dl>{rows}</dl></details>"


def _shares(seen: Any) -> dict[str, Any]:
    keys = ("tie_rate", "truncated_share", "lost_token_share", "scores", "missing_queries", "skipped_without_text")
    return {key: seen[key] for key in keys if seen.get(key) not in (None, [])}


def _settings(name: str, settings: Any) -> str:
    return f"{name} ({', '.join(f'{key} {value}' for key, value in settings.items())})"


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value[:20])) + (" …" if len(value) > 20 else "")
    return f"{value:.4g}" if isinstance(value, float) else str(value)
