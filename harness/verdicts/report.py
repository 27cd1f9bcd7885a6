"""One page about some results: self-contained HTML, to be opened anywhere and sent to anyone.

Nothing is fetched and no script runs: charts are inline SVG, and the page's own policy forbids the
rest. Every text from outside (names, ids, queries, documents) is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ..measures.verdict import retested
from ..results.cautions import cautions_of, recall_of, text_of_code
from ..results.environment import harness_version
from ..results.figures import MISSING, interval, number, signed
from ..results.naming import labelled
from ..results.result import Result
from .charts import CSS, Bar, forest
from .compare import Comparison
from .pairing import first_stage_label, title_of
from .sentences import short_names
from .sheet.across import against_baseline, between, moved_since, rerankers_compared, said
from .sheet.hardest import hardest
from .sheet.one import finding, section
from .sheet.outline import Filters, contents, filters_of, verdict_of
from .sheet.parts import STAGES, code, figure, folded, headline, stages, table, tag, verdict
from .summary import sentences
from .trade_off import trade_offs

__all__ = ["page"]

_SHOWN = 6
"""So many sentences stand on top; more are behind a fold."""
_PAIRS = 3
"""Of so many pairs of rerankers each has its sentence on top."""
_OPEN = 2
"""Of so many results every fold about their queries is open."""

_RULE = (
    "Differences are reranked − first stage, with the p of the paired sign-flip test and the 95 % interval that is its "
    "inversion (it excludes 0 where p ≤ 0.05), each task on its own; colour marks p ≤ 0.05. Queries of one cluster move "
    "together. The oracle is the best order of the same candidates. p-MRR is shown times 100."
)


def page(results: Sequence[Result], cache: Path, most: int = 5, since: Comparison | None = None) -> str:
    """The HTML of a page about `results`, which come with their values; `most` wins and losses for each.

    `since` is their comparison with a baseline, which then stands beside them.
    """
    results = sorted(labelled(results), key=lambda result: (title_of(result), first_stage_label(result)))
    against = between(results)
    results = [*map(retested, results)]
    tasks = list(dict.fromkeys(result.identity.task for result in results))
    filters = filters_of(results)
    level = {
        "verdict": ("The verdict", _verdicts(results, against, since)),
        "tables": ("Tables and intervals", _tables(results, filters, against, since)),
        "queries": ("Queries", _queries(results, filters, cache, most, since)),
        "warnings": ("What the warnings mean", _meanings(results)),
    }
    there = {anchor: pair for anchor, pair in level.items() if pair[1]}
    body = [
        _header(results, tasks),
        contents([(anchor, title) for anchor, (title, _) in there.items()]),
        *(
            _level(anchor, *pair, filters if anchor == "tables" and len(results) > 1 else None)
            for anchor, pair in there.items()
        ),
        f"<footer>{tag('p', _RULE)}{tag('p', f'rerank-harness {harness_version()}')}</footer>",
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<title>{escape('Rerank Harness: ' + ', '.join(tasks))}</title><style>{_style()}{filters.css}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _level(anchor: str, title: str, inside: str, filters: Filters | None) -> str:
    chosen = filters.html if filters else ""
    return f'<section class="level" id="{anchor}">{tag("h2", title)}{chosen}{inside}</section>'


def _verdicts(results: Sequence[Result], against: Sequence[Comparison], since: Comparison | None) -> str:
    """The first level: a sentence for each reranker, or for each first stage where nothing was reranked."""
    told = sentences(results) or [f"{title_of(result)}: {finding(result)}" for result in results]
    told = [*(said([since]) if since else ()), *told, *(said(against) if len(against) <= _PAIRS else ())]
    shown, more = ("".join(tag("p", each, "said") for each in part) for part in (told[:_SHOWN], told[_SHOWN:]))
    return shown + (folded(f"{len(told) - _SHOWN} more", more) if more else "")


def _tables(
    results: Sequence[Result], filters: Filters, against: Sequence[Comparison], since: Comparison | None
) -> str:
    """The second level."""
    beside = against_baseline(since, filters) if since else ""
    rerankers = rerankers_compared(against, filters)
    return beside + _summary(results, filters) + _intervals(results, filters) + rerankers + _costs(results)


def _queries(results: Sequence[Result], filters: Filters, cache: Path, most: int, since: Comparison | None) -> str:
    """The third level: what moved since the baseline, what is hard for all, and each result behind a fold."""
    moved = moved_since(since, filters, cache, most) if since and most else ""
    return (
        moved
        + hardest(results, filters, cache, most)
        + "".join(
            section(place, result, cache, most, _marks(result, filters), unfolded=len(results) <= _OPEN)
            for place, result in enumerate(results, 1)
        )
    )


def _marks(result: Result, filters: Filters) -> str:
    return filters.marks(title_of(result), [result.reranker], verdict_of(result))


def _style() -> str:
    return CSS + Path(__file__).with_name("report.css").read_text(encoding="utf-8")


def _header(results: Sequence[Result], tasks: Sequence[str]) -> str:
    shown = ", ".join(tasks[:4]) + (f" and {len(tasks) - 4} more" if len(tasks) > 4 else "")
    rerankers = list(dict.fromkeys(result.reranker for result in results if result.reranker))
    names = ", ".join(rerankers[:3]) + (f" and {len(rerankers) - 3} more" if len(rerankers) > 3 else "")
    count = f"{len(results)} results" if len(results) > 1 else "1 result"
    queries = sum({title_of(result): result.queries for result in results}.values())
    words = f"{count}, {queries:,} queries" + (f". Rerankers: {names}" if names else "")
    return f"<header>{tag('p', 'Rerank Harness', 'kicker')}{tag('h1', shown)}{tag('p', words, 'dim')}</header>"


def _summary(results: Sequence[Result], filters: Filters) -> str:
    rows = []
    for place, result in enumerate(results, 1):
        name, row = headline(result)
        recall = recall_of(result)
        codes = " ".join(code(caution.code) for caution in cautions_of(result)) or MISSING
        task = f'<a href="#r{place}">{escape(title_of(result))}</a>'
        system = escape(result.reranker or f"{result.identity.retriever} alone")
        about = (f"{name}, {result.queries:,} queries", f"over {first_stage_label(result)}")
        cells = [f"<td>{what}{tag('small', more)}</td>" for what, more in zip((task, system), about, strict=True)]
        cells += [*stages(name, row), figure(number(recall[1] if recall else None))]
        rows.append([*cells, f'<td class="codes">{codes}</td>'])
    marks = [_marks(result, filters) for result in results]
    return tag("h3", "Results") + table(["task", "reranker", *STAGES, "recall", "warnings"], rows, marks, "results")


def _intervals(results: Sequence[Result], filters: Filters) -> str:
    bars = []
    several = len({result.reranker for result in results}) > 1
    short = short_names(dict.fromkeys(result.reranker or "" for result in results))
    measures = {headline(r)[0] for r in results if r.identity.reranker and headline(r)[1].get("difference") is not None}
    depths = len({result.identity.top_k for result in results} - {None}) > 1
    for result in results:
        name, row = headline(result)
        if row.get("difference") is not None and result.identity.reranker:
            label = title_of(result) + (f", {name}" if len(measures) > 1 else "")
            label += f": {short[result.reranker or '']}" if several else ""
            label += f", top {result.identity.top_k}" if depths else ""
            between = interval(row["low"], row["high"], name, row["difference"])
            shown = f"{signed(row['difference'], name)} {between}"
            bars.append(
                Bar(
                    label,
                    row["difference"],
                    row["low"],
                    row["high"],
                    verdict(row) != "tie",
                    shown,
                    _marks(result, filters),
                )
            )
    if not bars:
        return ""
    of = f"{measures.pop()}, " if len(measures) == 1 else ""
    drawn = forest(bars, f"{of}reranked − first stage, 95 % interval")
    return f'{tag("h3", "Differences from the first stage")}<figure class="wide">{drawn}</figure>'


_COSTS = (
    "Each point is a setting or a depth. A filled one is the best that its cost buys; a hollow one is matched or beaten by "
    "another that costs no more."
)


def _costs(results: Sequence[Result]) -> str:
    # Where all cost the same there is nothing to be traded.
    found = [each for each in trade_offs(results) if len({spot.cost for spot in each.spots}) > 1]
    drawn = "".join(f'{tag("h4", each.title)}<figure class="alone">{each.svg}</figure>' for each in found)
    if not found:
        return ""
    return folded(tag("b", "Quality against cost"), tag("p", _COSTS, "dim") + drawn, unfolded=len(found) == 1)


def _meanings(results: Sequence[Result]) -> str:
    """What the warnings of the page mean, so that it is understood where the harness is not at hand."""
    codes = sorted({caution.code for result in results for caution in cautions_of(result)})
    if not codes:
        return ""
    entries = []
    for each in codes:
        text = text_of_code(each)
        head = tag("h3", f"{each}: {text['title']}")
        advice = f"<p><b>What to do.</b> {escape(text['do'])}</p>"
        entries.append(
            f'<article id="{each}">{head}{tag("p", text["means"])}{tag("p", text["matters"])}{advice}</article>'
        )
    inside = f'<div class="meanings">{"".join(entries)}</div>'
    return folded(f"{len(codes)} warnings" if len(codes) > 1 else "1 warning", inside)
