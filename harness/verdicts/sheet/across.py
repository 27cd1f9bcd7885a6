"""What the page says across results: rerankers against each other, and a baseline beside the current results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
from ..sentences import difference_in_words
from ..text import verdicts_in_words
from .one import moved
from .outline import Filters
from .parts import figure, folded, table, tag

__all__ = ["against_baseline", "between", "moved_since", "rerankers_compared", "said"]

_ALL = 5
"""So many rerankers are held against each other, each pair; of more, all against the one named first."""
_SHORT = 12
"""A table of so many rows stands open."""
_FEW = 3
"""So many notes stand behind a fold."""
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
    """The second level's part about rerankers against each other, a part for each pair."""
    parts = [
        _Part(f"{each.first} → {each.second}", each, [each.first, each.second], _between_cells(each))
        for each in comparisons
    ]
    return _folded("Between the rerankers", "second − first", ["task", "first", "second"], parts, filters)


def _between_cells(comparison: Comparison) -> list[list[str]]:
    return [[_named(row), *_sides(row)] for row in comparison.rows]


def against_baseline(comparison: Comparison, filters: Filters) -> str:
    """The second level's part about a baseline and the current results, side by side, a part for each reranker."""
    parts = []
    for each in comparison.by_reranker():
        own = [filters.name_of(sample.pair[1]) for sample in each.samples if sample.pair][:1]
        cells = [
            [_named(row), figure(_first_stage(sample)), *_sides(row)]
            for row, sample in zip(each.rows, each.samples, strict=True)
        ]
        parts.append(_Part(each.rows[0].reranker if each.rows else "", each, own, cells))
    title = f"Baseline {comparison.first}, current {comparison.second}"
    return _folded(title, "current − baseline", ["task", "first stage", "baseline", "current"], parts, filters)


@dataclass(frozen=True)
class _Part:
    """What is held against what, behind a line of its own."""

    title: str
    comparison: Comparison
    rerankers: Sequence[str | None]
    """Those of the page that it is about."""
    cells: list[list[str]]
    """The first cells of each row."""


def _notes(comparisons: Sequence[Comparison]) -> str:
    notes = dict.fromkeys(note for each in comparisons for note in each.notes)
    told = f'<ul class="warnings">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>'
    return "" if not notes else told if len(notes) < _FEW else folded(f"{len(notes)} notes", told)


def _folded(title: str, axis: str, heads: list[str], parts: Sequence[_Part], filters: Filters) -> str:
    """All parts under one title; the tables stand open where they are short together."""
    comparisons = [part.comparison for part in parts]
    rows = [row for each in comparisons for row in each.rows]
    if not rows:
        return _notes(comparisons)
    rule = f"p (corrected): paired sign flips, over all {len(rows)} rows together; it decides. The interval is of each row alone."
    shown = [_part(part, axis, heads, filters, unfolded=len(rows) <= _SHORT) for part in parts if part.comparison.rows]
    summary = f"{tag('b', title)} {tag('span', f'{axis}: {_counted(rows)}', 'dim')}"
    return folded(summary, tag("p", rule, "dim") + "".join(shown) + _notes(comparisons), unfolded=True)


def _part(part: _Part, axis: str, heads: list[str], filters: Filters, *, unfolded: bool) -> str:
    marks, bars = [], []
    one = len({row.measure for row in part.comparison.rows}) == 1
    for row, sample in zip(part.comparison.rows, part.comparison.samples, strict=True):
        marks.append(filters.marks(_task(sample), part.rerankers, _verdict(row)))
        bars.append(_bar(row, row.name if one else f"{row.name}, {row.measure}", marks[-1]))
    rows = [[*first, *_figures(row)] for first, row in zip(part.cells, part.comparison.rows, strict=True)]
    inside = table([*heads, *_REST], rows, marks)
    inside += f'<figure class="wide">{forest(bars, f"{axis}, 95 % interval")}</figure>'
    told = tag("span", f"{_counted(part.comparison.rows)}.{_mean(part.comparison)}", "dim")
    line = f"{tag('b', part.title)} {told}"
    return folded(line, inside, unfolded=unfolded, marks=f' class="one"{filters.whose(part.rerankers)}')


def _counted(rows: Sequence[Row]) -> str:
    verdicts = [_verdict(row) for row in rows]
    return ", ".join(f"{verdicts.count(kind)} {word}" for kind, word in _COUNTED if kind in verdicts)


def _mean(comparison: Comparison) -> str:
    """The last mean, as the verdict in words says it."""
    row = next((row for row in reversed(comparison.rows) if row.mean_of), None)
    if row is None:
        return ""
    shown = difference_in_words(row.difference, row.low, row.high, row.measure)
    return f" {row.name[0].upper()}{row.name[1:]}: {shown}{', not decided' if _verdict(row) == 'tie' else ''}."


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
