"""What the page says across results: rerankers against each other, and a baseline beside the current results."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import combinations
from pathlib import Path

from ...results.figures import ALPHA, interval, number, p_value, signed
from ...results.result import Result
from ..charts import Bar, forest
from ..compare import Comparison, corrected_together
from ..moved import Side, moved_queries
from ..pairing import differences_between, title_of
from ..rows import Row
from ..samples import Sample, headlines, means_of_samples, paired_by_query, samples_of, values_of
from ..text import verdicts_in_words
from .one import moved
from .outline import Filters
from .parts import figure, folded, table, tag

__all__ = ["against_baseline", "between", "moved_since", "rerankers_compared", "said"]

_ALL = 5
"""So many rerankers are held against each other, each pair; of more, all against the one named first."""
_SHORT = 12
"""A table of so many rows stands open."""
_SEEN = "could be seen"
_REST = ["difference", "95 % interval", "p (corrected)", "won / tied / lost", _SEEN]


def between(results: Sequence[Result]) -> list[Comparison]:
    """Each pair of rerankers on every question that both answer; p is corrected over the rows of all pairs."""
    names = list(dict.fromkeys(result.reranker for result in results if result.reranker))
    pairs = list(combinations(names, 2)) if len(names) <= _ALL else [(names[0], other) for other in names[1:]]
    found = []
    for first, second in pairs:
        ones, others = ([result for result in results if result.reranker == name] for name in (first, second))
        met = [(a, b) for a in ones for b in others if title_of(a) == title_of(b) and not differences_between(a, b)]
        shared = [(a, b) for a, b in met if _meet(a, b)]
        notes = [f"{first} and {second} share no query or measure of {title_of(a)}" for a, b in met if not _meet(a, b)]
        samples = samples_of(shared, None)
        if samples or notes:
            found.append(Comparison(first, second, [], samples + means_of_samples(samples, ()), notes))
    return corrected_together(found)


def _meet(first: Result, second: Result) -> bool:
    """Whether both have every headline measure, each on a query that both have."""
    names = headlines(first, None)
    measured = all(each.stage in each.values.get(name, {}) for each in (first, second) for name in names)
    return measured and all(values_of(first, name).keys() & values_of(second, name).keys() for name in names)


def said(comparisons: Sequence[Comparison]) -> list[str]:
    """Verdicts in words, and what could have been seen."""
    return [line for each in comparisons if each.rows for line in verdicts_in_words(each)]


def rerankers_compared(comparisons: Sequence[Comparison], filters: Filters) -> str:
    """The second level's part about rerankers against each other."""
    rows, marks, bars = [], [], []
    for comparison in comparisons:
        for row, sample in zip(comparison.rows, comparison.samples, strict=True):
            pair = [comparison.first, comparison.second]
            rows.append([_named(row), _cell(" → ".join(pair), f"over {row.first_stage}"), *_sides(row), *_figures(row)])
            marks.append(filters.marks(_task(sample), pair, _verdict(row)))
            bars.append(_bar(row, f"{row.name}: {comparison.second} − {comparison.first}", marks[-1]))
    return _folded("Between the rerankers", "second − first", ["task", "rerankers", "first", "second"], rows, marks, bars, comparisons)  # fmt: skip


def against_baseline(comparison: Comparison, filters: Filters) -> str:
    """The second level's part about a baseline and the current results, side by side."""
    rows, marks, bars = [], [], []
    for row, sample in zip(comparison.rows, comparison.samples, strict=True):
        head = [_named(row), _cell(row.reranker, f"over {row.first_stage}"), figure(_first_stage(sample))]
        rows.append([*head, *_sides(row), *_figures(row)])
        own = [filters.name_of(sample.pair[1])] if sample.pair else []
        marks.append(filters.marks(_task(sample), own, _verdict(row)))
        bars.append(_bar(row, f"{row.name}: {row.reranker}", marks[-1]))
    heads = ["task", "reranker", "first stage", "baseline", "current"]
    title = f"Baseline {comparison.first}, current {comparison.second}"
    return _folded(title, "current − baseline", heads, rows, marks, bars, [comparison])


def _notes(comparisons: Sequence[Comparison]) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for each in comparisons for note in each.notes)
    return f'<ul class="warnings">{notes}</ul>' if notes else ""


def _folded(
    title: str, axis: str, heads: list[str], rows: list[list[str]], marks: list[str], bars: list[Bar],
    comparisons: Sequence[Comparison],
) -> str:  # fmt: skip
    if not rows:
        return _notes(comparisons)
    verdicts = [_verdict(row) for comparison in comparisons for row in comparison.rows]
    counts = ", ".join(f"{verdicts.count(kind)} {word}" for kind, word in _COUNTED if kind in verdicts)
    rule = f"p (corrected): paired sign flips, over all {len(rows)} rows together; it decides. The interval is of each row alone."
    inside = tag("p", rule, "dim") + table([*heads, *_REST], rows, marks)
    inside += f'<figure class="wide">{forest(bars, f"{axis}, 95 % interval")}</figure>'
    summary = f"{tag('b', title)} {tag('span', f'{axis}: {counts}', 'dim')}"
    return folded(summary, inside + _notes(comparisons), unfolded=len(rows) <= _SHORT)


_COUNTED = (("win", "higher"), ("loss", "lower"), ("tie", "not decided"))


def _named(row: Row) -> str:
    return _cell(row.name, f"{row.measure}, {row.queries:,} queries")


def _cell(what: str, more: str) -> str:
    return f"<td>{escape(what)}{tag('small', more)}</td>"


def _sides(row: Row) -> list[str]:
    return [figure(number(row.first, row.measure)), figure(number(row.second, row.measure))]


def _figures(row: Row) -> list[str]:
    return [
        figure(signed(row.difference, row.measure), _verdict(row)),
        figure(interval(row.low, row.high, row.measure, row.difference)),
        figure(p_value(row.p_corrected)),
        figure(f"{row.wins} / {row.ties} / {row.losses}"),
        figure(("about " if row.assumed else "") + number(row.detectable, row.measure)),
    ]


def _verdict(row: Row) -> str:
    if row.p_corrected > ALPHA or not row.difference:
        return "tie"
    return "win" if row.difference > 0 else "loss"


def _bar(row: Row, name: str, marks: str) -> Bar:
    between_ends = interval(row.low, row.high, row.measure, row.difference)
    shown = f"{signed(row.difference, row.measure)} {between_ends}"
    return Bar(name, row.difference, row.low, row.high, _verdict(row) != "tie", shown, marks)


def _task(sample: Sample) -> str:
    return title_of(sample.pair[1]) if sample.pair else ""


def _first_stage(sample: Sample) -> str:
    """Of the current result; of a mean there is none to be shown here."""
    row = sample.pair[1].measures.get(sample.measure, {}) if sample.pair else {}
    return number(row.get("first_stage"), sample.measure)


def moved_since(comparison: Comparison, filters: Filters, cache: Path, most: int) -> str:
    """The third level's part about a baseline: of each task the queries that moved most since."""
    parts = []
    for row, sample in zip(comparison.rows, comparison.samples, strict=True):
        if sample.pair is None:
            continue
        sides = (Side.of(sample.pair[0]), Side.of(sample.pair[1]))
        queries = moved_queries(*paired_by_query(sample), sides, cache, most)
        if queries:
            told = "".join(moved(each, row.measure, "win" if each.after > each.before else "loss") for each in queries)
            marks = filters.marks(_task(sample), [filters.name_of(sample.pair[1])], _verdict(row))
            line = f"{tag('b', row.name)} {tag('span', f'{row.reranker}, {row.measure}', 'dim')}"
            parts.append(folded(line, f'<div class="moves">{told}</div>', marks=f' class="one"{marks}'))
    return folded(tag("b", "Moved most since the baseline"), "".join(parts)) if parts else ""
