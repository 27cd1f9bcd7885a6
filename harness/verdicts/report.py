"""One page about some results: self-contained HTML, to be opened anywhere and sent to anyone.

Nothing is fetched and no script runs: charts are inline SVG, and the page's own policy forbids the
rest. Every text from outside (names, ids, queries, documents) is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..measures.verdict import retested
from ..results.cautions import cautions_of, recall_of, text_of_code, title_of_code
from ..results.environment import harness_version
from ..results.figures import MISSING, interval, number, p_value, scale_of, signed
from ..results.naming import labelled
from ..results.result import Result
from ..results.run_lines import billed_words
from .charts import CSS, Bar, Line, curves, forest, scatter, sorted_changes
from .moved import MovedDocument, MovedQuery, Side, moved_queries
from .pairing import first_stage_label, title_of
from .rows import ALPHA
from .samples import values_of
from .trade_off import trade_offs

__all__ = ["page"]

_RULE = (
    "Differences are reranked − first stage, with the p of the paired sign-flip test and the 95 % interval that is its "
    "inversion (it excludes 0 where p ≤ 0.05), each task on its own; colour marks p ≤ 0.05. Queries of one cluster move "
    "together. The oracle is the best order of the same candidates. p-MRR is shown times 100."
)
_NUMBERS = ("first stage", "reranked", "oracle", "difference", "95 % interval", "p", "recall")
"""Columns whose cells stand to the right."""

Row = dict[str, Any]


def page(results: Sequence[Result], cache: Path, most: int = 5) -> str:
    """The HTML of a page about `results`, which come with their values; `most` wins and losses for each."""
    results = sorted(map(retested, labelled(results)), key=lambda result: (title_of(result), first_stage_label(result)))
    tasks = list(dict.fromkeys(result.identity.task for result in results))
    body = [
        _header(results, tasks),
        _summary(results),
        _intervals(results),
        _costs(results),
        *(_section(place, result, cache, most) for place, result in enumerate(results, 1)),
        _meanings(results),
        f"<footer>{_tag('p', _RULE)}{_tag('p', f'rerank-harness {harness_version()}')}</footer>",
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape('Rerank Harness: ' + ', '.join(tasks))}</title><style>{_style()}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _style() -> str:
    return CSS + Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def _tag(name: str, text: object, style: str = "") -> str:
    """An element whose content is text from anywhere, escaped."""
    kind = f' class="{style}"' if style else ""
    return f"<{name}{kind}>{escape(str(text))}</{name}>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    lines = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    heads = "".join(_tag("th", cell, "n" if cell in _NUMBERS else "") for cell in head)
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def _figure(text: str, style: str = "") -> str:
    return _tag("td", text, f"n {style}".rstrip())


def _headline(result: Result) -> tuple[str, Row]:
    name, row = next(iter(result.measures.items()))
    return name, dict(row)


def _verdict(row: Row) -> str:
    """`win` or `loss` where the difference is significant, else `tie`."""
    if row.get("difference") is None or row["p"] > ALPHA or not row["difference"]:
        return "tie"
    return "win" if row["difference"] > 0 else "loss"


def _header(results: Sequence[Result], tasks: Sequence[str]) -> str:
    shown = ", ".join(tasks[:4]) + (f" and {len(tasks) - 4} more" if len(tasks) > 4 else "")
    rerankers = list(dict.fromkeys(result.reranker for result in results if result.reranker))
    names = ", ".join(rerankers[:3]) + (f" and {len(rerankers) - 3} more" if len(rerankers) > 3 else "")
    count = f"{len(results)} results" if len(results) > 1 else "1 result"
    queries = sum({title_of(result): result.queries for result in results}.values())
    words = f"{count}, {queries:,} queries" + (f". Rerankers: {names}" if names else "")
    return f"<header>{_tag('p', 'Rerank Harness', 'kicker')}{_tag('h1', shown)}{_tag('p', words, 'dim')}</header>"


def _stages(name: str, row: Row) -> list[str]:
    shown = [_figure(number(row.get(stage), name)) for stage in ("first_stage", "reranked", "oracle")]
    # More judged documents are no better and no worse.
    style = "tie" if name.startswith("Judged") else _verdict(row)
    shown.append(_figure(signed(row.get("difference"), name), style))
    shown.append(_figure(interval(row.get("low"), row.get("high"), name, row.get("difference"))))
    return [*shown, _figure(p_value(row.get("p")))]


_STAGES = ["first stage", "reranked", "oracle", "difference", "95 % interval", "p"]


def _summary(results: Sequence[Result]) -> str:
    rows = []
    for place, result in enumerate(results, 1):
        name, row = _headline(result)
        recall = recall_of(result)
        codes = " ".join(_code(caution.code) for caution in cautions_of(result)) or MISSING
        task = f'<a href="#r{place}">{escape(title_of(result))}</a>'
        system = escape(result.reranker or f"{result.identity.retriever} alone")
        about = (f"{name}, {result.queries:,} queries", f"over {first_stage_label(result)}")
        cells = [f"<td>{what}{_tag('small', more)}</td>" for what, more in zip((task, system), about, strict=True)]
        cells += [*_stages(name, row), _figure(number(recall[1] if recall else None))]
        rows.append([*cells, f'<td class="codes">{codes}</td>'])
    return _tag("h2", "Results") + _table(["task", "reranker", *_STAGES, "recall", "warnings"], rows)


def _code(code: str) -> str:
    return f'<a class="code" href="#{code}" title="{escape(title_of_code(code))}">{code}</a>'


def _intervals(results: Sequence[Result]) -> str:
    bars = []
    several = len({result.reranker for result in results}) > 1
    depths = len({result.identity.top_k for result in results} - {None}) > 1
    for result in results:
        name, row = _headline(result)
        if row.get("difference") is not None and result.identity.reranker:
            label = f"{title_of(result)}, {name}" + (f": {result.reranker}" if several else "")
            label += f", top {result.identity.top_k}" if depths else ""
            between = interval(row["low"], row["high"], name, row["difference"])
            shown = f"{signed(row['difference'], name)} {between}"
            bars.append(Bar(label, row["difference"], row["low"], row["high"], _verdict(row) != "tie", shown))
    if not bars:
        return ""
    drawn = forest(bars, "reranked − first stage, 95 % interval")
    return f'{_tag("h2", "Differences from the first stage")}<figure class="wide">{drawn}</figure>'


_COSTS = (
    "Each point is a setting or a depth. A filled one is the best that its cost buys; a hollow one is matched or beaten by "
    "another that costs no more."
)


def _costs(results: Sequence[Result]) -> str:
    found = trade_offs(results)
    drawn = "".join(f"{_tag('h3', each.title)}<figure>{each.svg}</figure>" for each in found)
    return f"{_tag('h2', 'Quality against cost')}{_tag('p', _COSTS, 'dim')}{drawn}" if found else ""


def _section(place: int, result: Result, cache: Path, most: int) -> str:
    arrow = f" → {result.reranker}" if result.reranker else ""
    name, row = _headline(result)
    rows = [[_tag("td", measure), *_stages(measure, dict(line))] for measure, line in result.measures.items()]
    parts = [
        f'<section id="r{place}">',
        _tag("h2", title_of(result)),
        _tag("p", f"{first_stage_label(result)}{arrow}", "dim"),
        _tag("p", _finding(result, name, row), f"finding {_verdict(row)}-edge"),
        _cautions(result),
        _table(["measure", *_STAGES], rows),
        f'<div class="charts">{_depth(result)}{_per_query(result)}</div>',
        _moves(result, cache, most),
        _facts(result),
        "</section>",
    ]
    return "".join(parts)


def _finding(result: Result, name: str, row: Row) -> str:
    """What the figures say, in a sentence."""
    if not result.reranker:
        return f"The first stage alone: {name} {number(row.get('first_stage'), name)}."
    if row.get("difference") is None:
        return f"{name} {number(row.get('reranked'), name)}. There is no first-stage figure to hold it against."
    moved = _changes(result, name)
    counts = [sum(change > 0 for change in moved), sum(not change for change in moved), sum(c < 0 for c in moved)]
    told = f"{counts[0]:,} queries won, {counts[1]:,} tied, {counts[2]:,} lost."
    known = f"95 % interval {interval(row['low'], row['high'], name, row['difference'])}"
    between = known if row["low"] is not None else "no 95 % interval: too few queries moved"
    figures = f"{between}, p {p_value(row['p'])}"
    if _verdict(row) == "tie":
        return f"No difference that this data can show: {name} {signed(row['difference'], name)} ({figures}). {told}"
    verb = "raises" if row["difference"] > 0 else "lowers"
    size = number(abs(row["difference"]), name)
    return f"Reranking {verb} {name} by {size} ({figures}). {told}"


def _changes(result: Result, name: str) -> list[float]:
    before, after = values_of(result, name, "first_stage"), values_of(result, name, "reranked")
    return [after[query_id] - value for query_id, value in before.items() if query_id in after]


def _cautions(result: Result) -> str:
    entries = [
        f"<li>{_code(each.code)} <b>{escape(title_of_code(each.code))}</b>: {escape(each.what)}</li>"
        for each in cautions_of(result)
    ]
    return f'<ul class="warnings">{"".join(entries)}</ul>' if entries else ""


def _chart(drawn: str, caption: str) -> str:
    return f"<figure>{drawn}{_tag('figcaption', caption)}</figure>"


def _depth(result: Result) -> str:
    curve = result.diagnostics.get("depth_curve")
    if not curve or not curve["points"]:
        return ""
    lines = [
        Line(name, name, [(point["k"], point[name]) for point in curve["points"]]) for name in ("reranked", "oracle")
    ]
    drawn = curves(lines, "candidates reranked", curve["measure"], curve["first_stage"], "first stage")
    return _chart(drawn, "How deep is worth it: only the first k candidates reranked.")


def _both(result: Result) -> bool:
    row = _headline(result)[1]
    return row.get("first_stage") is not None and row.get("reranked") is not None


def _per_query(result: Result) -> str:
    if not _both(result):
        return ""
    name, _ = _headline(result)
    scale, own = scale_of(name), "" if scale_of(name) == 1 else " × 100"
    before, after = values_of(result, name, "first_stage"), values_of(result, name, "reranked")
    points = [
        (f"{q}: {number(before[q], name)} → {number(after[q], name)}", before[q], after[q])
        for q in before
        if q in after
    ]
    against = scatter(points, f"first stage, {name}", f"reranked, {name}")
    moved = sorted_changes(
        [change * scale for change in _changes(result, name)], "queries, sorted", f"change of {name}{own}"
    )
    return _chart(against, "Each query before and after: above the diagonal it won.") + _chart(
        moved, "Every query's change, from the largest gain to the largest loss."
    )


def _moves(result: Result, cache: Path, most: int) -> str:
    if not _both(result) or not most:
        return ""
    name, _ = _headline(result)
    before, after = values_of(result, name, "first_stage"), values_of(result, name, "reranked")
    sides = (Side(result, "first_stage"), Side(result, "reranked"))
    parts = []
    for title, sign, style in (("Biggest wins", 1, "win"), ("Biggest losses", -1, "loss")):
        chosen = {q: value for q, value in before.items() if q in after and (after[q] - value) * sign > 0}
        queries = moved_queries(chosen, after, sides, cache, most)
        if queries:
            entries = "".join(_moved(query, name, style) for query in queries)
            parts.append(f"<div>{_tag('h3', title)}{entries}</div>")
    return f'<div class="moves">{"".join(parts)}</div>' if parts else ""


def _moved(query: MovedQuery, measure: str, style: str) -> str:
    figures = f"{number(query.before, measure)} → {number(query.after, measure)}"
    change = signed(query.after - query.before, measure)
    head = f"{_tag('b', query.query_id)} {_tag('span', figures, 'dim')} {_tag('span', change, style)}"
    documents = "".join(f"<li>{_document(document)}</li>" for document in query.documents)
    text = _tag("p", query.text, "query") if query.text else ""
    return f'<article><p class="moved">{head}</p>{text}{f"<ul>{documents}</ul>" if documents else ""}</article>'


def _document(document: MovedDocument) -> str:
    judged = "not judged" if document.relevance is None else f"relevance {document.relevance}"
    places = f"{document.before or MISSING} → {document.after or MISSING}"
    style = "relevant" if (document.relevance or 0) > 0 else "dim"
    text = " ".join((document.text or "").split())
    shown = text if len(text) <= 240 else text[:239] + "…"
    head = f"{_tag('span', f'place {places}', 'place')} {_tag('span', judged, style)} {_tag('b', document.doc_id)}"
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
    rows = "".join(f"{_tag('dt', name)}{_tag('dd', value)}" for name, value in facts)
    return f"<details><summary>How it was made</summary><dl>{rows}</dl></details>"


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


def _meanings(results: Sequence[Result]) -> str:
    """What the warnings of the page mean, so that it is understood where the harness is not at hand."""
    codes = sorted({caution.code for result in results for caution in cautions_of(result)})
    if not codes:
        return ""
    entries = []
    for code in codes:
        text = text_of_code(code)
        head = _tag("h3", f"{code}: {text['title']}")
        advice = f"<p><b>What to do.</b> {escape(text['do'])}</p>"
        entries.append(
            f'<article id="{code}">{head}{_tag("p", text["means"])}{_tag("p", text["matters"])}{advice}</article>'
        )
    return f'<section>{_tag("h2", "What the warnings mean")}<div class="meanings">{"".join(entries)}</div></section>'
