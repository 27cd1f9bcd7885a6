"""Comparisons as text for a terminal, and what they share with gates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..results.figures import FEW_MOVED, MISSING, interval, number, p_value, signed
from ..results.layout import WIDTH, align, width_of, wrapped
from .compare import Comparison, Row
from .grid import Heads, Line, grid, usual_measure
from .moved import MovedDocument, MovedQuery
from .samples import Sample
from .sentences import Told, difference_in_words, rounded, sentence_of

__all__ = [
    "answer_text",
    "cluster_lines",
    "comparison_text",
    "least_seen",
    "moved_text",
    "rows_table",
    "shortened",
    "verdict_in_words",
    "verdicts_in_words",
]

_WIDTH = 120
_NOTES = 3
"""So many notes of a comparison are shown without being asked for."""


def answer_text(comparisons: Sequence[Comparison], width: int = WIDTH) -> str:
    """All comparisons with one first system: a table of at most `width` places, then the verdicts in words."""
    several = len(comparisons) > 1
    lines = [line for each in comparisons for line in _lines(each)]
    stages = [stage for stage in dict.fromkeys(line.stage for line in lines) if stage != "lists"]
    first, second = comparisons[0].first, f"{len(comparisons)} others" if several else comparisons[0].second
    title = ", ".join([f"{first} → {second}", usual_measure(lines), *stages[:2]])
    marked = f"+ and - beside a figure: it beats {first}, or loses to it."
    whose = "second" if len(comparisons) > 1 else "reranker"
    table, notes = grid(lines, width, Heads(whose, "first", "second", "p (corrected)", "p corr", marked, (first,)))
    told = [line for each in comparisons for line in verdicts_in_words(each)]
    rule = (
        f"p (corrected): paired sign flips, over all {comparisons[0].family} rows shown together; it decides. The 95 % "
        "interval is of each row alone."
    )
    more = _few([line for each in comparisons for line in (*cluster_lines(each.rows), *each.notes)])
    return "\n".join(
        [wrapped(title, width), table, "", *(wrapped(line, width) for line in [*told, *notes, rule, *more])]
    )


def _lines(comparison: Comparison) -> list[Line]:
    """The rows as lines of the grid; a task's subsets are folded where its mean is a row."""
    tasks = [{member.task for member in sample.members} for sample in comparison.samples]
    covered = {task for own in tasks if len(own) == 1 for task in own}
    lines = []
    names = {row.reranker: row.reranker.partition(" (")[0] for row in comparison.rows}
    several = len(names) > 1
    plain = len(set(names.values())) == len(names)
    for row, sample in zip(comparison.rows, comparison.samples, strict=True):
        figures = {
            "first_stage": row.first, "reranked": row.second, "difference": row.difference, "low": row.low,
            "high": row.high, "p": row.p_corrected, "least": row.detectable,
        }  # fmt: skip
        stage = "lists" if row.first_stage.endswith(" lists") else row.first_stage
        counts = f"{row.wins}/{row.ties}/{row.losses}"
        folded = sample.task in covered
        system = (names[row.reranker] if plain else row.reranker) if several else comparison.second
        lines.append(Line(row.name, row.measure, stage, system, figures, counts=counts, folded=folded))
    return lines


def verdicts_in_words(comparison: Comparison) -> list[str]:
    """A sentence for each reranker of the comparison, with the smallest difference that it could have seen."""
    found = []
    for each in comparison.by_reranker():
        verdict = verdict_in_words(each)
        found.append(f"{verdict[0].upper() if each is not comparison else verdict[0]}{verdict[1:]} {least_seen(each)}")
    return found


def verdict_in_words(comparison: Comparison) -> str:
    """Is the second better than the first? Counted over tasks and subsets; the last mean is said beside them."""
    told = [
        (row.mean_of, Told(_place(row, comparison), row.measure, row.difference, row.low, row.high, row.p_corrected))
        for row in comparison.rows
    ]
    parts = [sentence_of([each for of, each in told if not of], comparison.second, comparison.first)]
    means = [each for of, each in told if of]
    if means:
        mean, decided = means[-1], "" if means[-1].apart else ", not decided"
        shown = difference_in_words(mean.difference, mean.low, mean.high, mean.measure)
        parts.append(f"{mean.name[0].upper()}{mean.name[1:]}: {shown}{decided}.")
    return " ".join(parts)


def _usual(comparison: Comparison) -> str:
    return Counter(row.measure for row in comparison.rows).most_common(1)[0][0]


def _place(row: Row, comparison: Comparison) -> str:
    return row.name if row.measure == _usual(comparison) else f"{row.name} ({row.measure})"


def least_seen(comparison: Comparison) -> str:
    """The smallest difference that could have been seen, on the task that shows most and on the one that shows least."""
    rows = [row for row in comparison.rows if not row.mean_of and row.measure == _usual(comparison)]
    seen = sorted((row for row in rows if row.detectable is not None), key=lambda row: row.detectable or 0.0)
    if not seen:
        return "No difference could have been seen: too few queries, or values without any spread."
    ends = [seen[0]] if len(seen) == 1 else [seen[0], seen[-1]]
    shown = [f"{'about ' if row.assumed else ''}{_size(row)} on {row.name}" for row in ends]
    none = f"; none at all on {len(rows) - len(seen)}" if len(seen) < len(rows) else ""
    return f"Smallest difference that 4 such comparisons in 5 would show: {' to '.join(shown)}{none}."


def _size(row: Row) -> str:
    return rounded([row.detectable], row.measure)[0].removeprefix("+")


def _few(notes: Sequence[str]) -> list[str]:
    """The first notes, and how many more there are."""
    if len(notes) <= _NOTES:
        return list(notes)
    return [*notes[: _NOTES - 1], f"and {len(notes) - _NOTES + 1} more notes; -v shows all"]


def comparison_text(comparison: Comparison) -> str:
    """A row for each task, subset and mean, and what else a reader must know."""
    head = f"{comparison.first} → {comparison.second}"
    sides = (
        ["first", "second"]
        if len(comparison.first) + len(comparison.second) > 40
        else [comparison.first, comparison.second]
    )
    table = rows_table(comparison.rows, sides, ["wins", "ties", "losses"])
    rule = (
        "difference: second − first; p: paired sign-flip test, and 95 % interval its inversion; p (corrected): over all "
        f"{comparison.family} rows shown together. Wins are queries where the second is better."
    )
    return "\n".join([head, table, rule, *cluster_lines(comparison.rows), *comparison.notes, ""])


def cluster_lines(rows: Sequence[Row]) -> list[str]:
    """For rows whose queries share something: how many clusters, and the interval as if they did not."""
    return [
        f"{row.name}: {row.queries:,} queries in {row.units:,} clusters, which move together; if they were independent: "
        f"{interval(row.low_by_query, row.high_by_query, row.measure, row.difference)}, p {p_value(row.p_by_query)}"
        for row in rows
        if row.units is not None
    ]


def rows_table(rows: Sequence[Row], sides: Sequence[str], more: Sequence[str]) -> str:
    """The rows in columns; `more` are fields of a row that stand last."""
    systems = len({row.reranker for row in rows}) > 1
    head = ["task", *(["reranker"] if systems else []), "candidates", "measure", "queries", *sides]
    lines = [[*head, "difference", "95 % interval", "p", "p (corrected)", *more]]
    for row in rows:
        name = row.measure
        cells = [row.name, *([row.reranker] if systems else []), row.first_stage, name, str(row.queries)]
        cells += [number(row.first, name), number(row.second, name), signed(row.difference, name)]
        cells += [interval(row.low, row.high, name, row.difference), p_value(row.p), p_value(row.p_corrected)]
        lines.append([*cells, *_more(row, more)])
    few = any(row.low is None for row in rows)
    return align(lines) + (f"\n{FEW_MOVED}" if few else "")


def _more(row: Row, names: Sequence[str]) -> list[str]:
    shown = {
        "detectable": ("~" if row.assumed else "") + number(row.detectable, row.measure),
        "answer": row.answer.verdict if row.answer else "",
    }
    return [shown.get(name, str(getattr(row, name, ""))) for name in names]


def moved_text(sample: Sample, queries: Sequence[MovedQuery], width: int = WIDTH, whose: str = "") -> str:
    """The queries that moved most, a paragraph each, with the documents that changed places, no line over `width`.

    `whose` is the reranker, where several are held against one.
    """
    lines = [
        wrapped(f"{sample.name}, {sample.measure}{', ' if whose else ''}{whose}: the queries that moved most", width)
    ]
    for query in queries:
        figures = f"{number(query.before, sample.measure)} → {number(query.after, sample.measure)}"
        lines.append(_with_text(f"  {query.query_id}: {figures}  ", query.text, width))
        lines += [_document(document, width) for document in query.documents]
    return "\n".join([*lines, ""])


def _document(document: MovedDocument, width: int) -> str:
    judged = "not judged" if document.relevance is None else f"relevance {document.relevance}"
    places = f"{document.before or MISSING} → {document.after or MISSING}"
    return _with_text(f"    {document.doc_id} ({judged}), place {places}: ", document.text, width).rstrip(": ")


def _with_text(head: str, text: str | None, width: int) -> str:
    """The head, and as much of the text as the line has room for."""
    room = width - width_of(head)
    return f"{head}{shortened(text, room)}".rstrip() if room > 1 else head.rstrip()


def shortened(text: str | None, width: int = _WIDTH) -> str:
    """The beginning of the text on one line of at most `width` places; empty where there is none."""
    line = " ".join((text or "").split())
    if width_of(line) <= width:
        return line
    kept = line[: width - 1]
    while width_of(kept) > width - 1:
        kept = kept[:-1]
    return f"{kept}…"
