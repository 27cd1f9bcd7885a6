"""The answer of a run that made several results: one table, and a sentence for each reranker.

What is known of each result besides stands in its block (`results.tables`); what casts doubt on a number
is counted here by code, so that nothing is lost where blocks are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..results.cautions import Caution, recall_of, title_of_code
from ..results.figures import ALPHA, MISSING, interval, number, p_value, signed
from ..results.layout import WIDTH, Column, compact, fitted, shortened, width_of, wrapped
from ..results.means import Mean
from ..results.published import Compared
from ..results.result import Result
from ..results.tables import published_cell, published_lines
from .pairing import title_of
from .sentences import sentence_of, short_names, stage_name

__all__ = ["Means", "sentences", "summary", "warning_lines"]

Means = Sequence[tuple[Mean, Sequence[Compared]]]

_LONG = 16
"""With more rows than that, several rerankers stand side by side, and with twice as many languages are folded."""


@dataclass(frozen=True)
class _Line:
    """A figure of the table: a result's headline measure, or a mean's."""

    name: str
    measure: str
    stage: str
    reranker: str | None
    row: Mapping[str, float | None]
    recall: float | None = None
    published: str = ""
    folded: bool = False
    """Of a task whose mean stands in the table too."""


def summary(results: Sequence[Result], means: Means = (), width: int = WIDTH) -> str:
    """Every result's headline measure in one table of at most `width` places, then a sentence a reranker."""
    lines = _lines(results, means)
    rerankers = list(dict.fromkeys(line.reranker for line in lines if line.reranker))
    if len(rerankers) > 1 and len(lines) > _LONG:
        table, note = _beside(lines, rerankers, width)
    else:
        table, note = _below(lines, len(rerankers) > 1, width)
    told = [
        *sentences(results),
        *_rules(results, note),
        *(line for _, found in means for line in published_lines(found)),
    ]
    return "\n".join([wrapped(_title(results, lines), width), table, "", *(wrapped(line, width) for line in told)])


def _rules(results: Sequence[Result], note: str) -> list[str]:
    """How the table and the sentences are to be read."""
    older = sum(result.interval_method == "percentile bootstrap" and _tested(result) for result in results)
    rule = (
        "Won or lost: p <= .05 for that task alone, which chance gives 1 in 20." if any(map(_tested, results)) else ""
    )
    told = f"{older} intervals are an older version's percentile bootstrap: report finds them anew." if older else ""
    return [line for line in (note, rule, told) if line]


def _tested(result: Result) -> bool:
    return next(iter(result.measures.values())).get("p") is not None


def _lines(results: Sequence[Result], means: Means) -> list[_Line]:
    covered = {mean.name for mean, _ in means}
    lines = []
    for result in results:
        name, row = next(iter(result.measures.items()))
        folded = result.identity.task in covered and result.identity.subset != "default"
        recall = (recall_of(result) or ("", None))[1]
        about = (_named(result), name, _stage(result), result.identity.reranker, row)
        lines.append(_Line(*about, recall=recall, folded=folded))
    for mean, published in means:
        some = f"{mean.parts}" if mean.parts == mean.of else f"{mean.parts} of {mean.of}"
        stage = "lists" if mean.top_k is None else f"{mean.retriever} top {mean.top_k}"
        for name in mean.headline:
            cell = published_cell(name, "reranked" if mean.reranker else "first_stage", published)
            title = f"{mean.name}, mean of {some}"
            about = (title, name, stage, mean.reranker, mean.measures[name])
            lines.append(_Line(*about, published=cell))
    return lines


def _named(result: Result) -> str:
    limit = result.identity.limit
    return title_of(result) + (f" (first {limit})" if limit is not None else "")


def _stage(result: Result) -> str:
    identity = result.identity
    return "lists" if identity.top_k is None else f"{identity.retriever} top {identity.top_k}"


def _title(results: Sequence[Result], lines: Sequence[_Line]) -> str:
    """What all rows share, so that no row needs to say it."""
    stages = list(dict.fromkeys(line.stage for line in lines if line.stage != "lists"))
    given = any(line.stage == "lists" for line in lines)
    where = ", ".join(stages[:3]) + (f" and {len(stages) - 3} more" if len(stages) > 3 else "")
    where += (" or " if where else "") + "given lists" if given else ""
    rerankers = list(dict.fromkeys(line.reranker for line in lines if line.reranker))
    arrow = f" → {rerankers[0]}" if len(rerankers) == 1 else f" → {len(rerankers)} rerankers" if rerankers else ""
    count = f"{len(results)} results" if len(results) > 1 else "1 result"
    return f"{_usual(lines)}, {count}: {where}{arrow}"


def _usual(lines: Sequence[_Line]) -> str:
    return Counter(line.measure for line in lines).most_common(1)[0][0]


def _label(line: _Line, usual: str) -> str:
    return line.name if line.measure == usual else f"{line.name}, {line.measure}"


def _below(lines: Sequence[_Line], several: bool, width: int) -> tuple[str, str]:
    """A row a result; and what the reader must know of the table."""
    usual, stages = _usual(lines), {line.stage for line in lines if line.stage != "lists"}
    columns = [Column("task", [_label(line, usual) for line in lines], name=True)]
    if len(stages) > 1:
        columns.append(Column("candidates", [line.stage for line in lines], name=True))
    if several:
        short = short_names(dict.fromkeys(line.reranker or MISSING for line in lines))
        columns.append(Column("reranker", [short[line.reranker or MISSING] for line in lines], name=True))
    columns.append(_figures(lines, "first_stage", "first stage", "first", spare=1))
    if any(line.reranker for line in lines):
        columns.append(_figures(lines, "reranked", "reranked"))
    columns.append(_figures(lines, "oracle", "oracle", spare=3))
    if any(line.recall is not None for line in lines):
        columns.append(Column("recall", [number(line.recall) for line in lines], spare=5))
    if any(line.row.get("difference") is not None for line in lines):
        spans = [interval(line.row.get("low"), line.row.get("high"), line.measure) for line in lines]
        columns += [
            Column("difference", [signed(line.row.get("difference"), line.measure) for line in lines], "diff"),
            Column("95 % interval", spans),
            Column("p", [p_value(line.row.get("p")) for line in lines], spare=4),
        ]
    if any(line.published for line in lines):
        columns.append(Column("published", [line.published for line in lines], spare=2))
    return fitted(columns, width), ""


def _figures(lines: Sequence[_Line], stage: str, head: str, short: str = "", spare: int = 0) -> Column:
    return Column(head, [number(line.row.get(stage), line.measure) for line in lines], short, spare)


def _beside(lines: Sequence[_Line], rerankers: Sequence[str], width: int) -> tuple[str, str]:
    """A row a task, a column a reranker; and what the marks in it mean."""
    usual, note = _usual(lines), "+ and - beside a figure: it beats the first stage, or loses to it."
    places = {(line.name, line.measure, line.stage) for line in lines}
    if len(places) > 2 * _LONG and any(line.folded for line in lines):
        lines = [line for line in lines if not line.folded]
        note += " -v: each language."
    rows: dict[tuple[str, str, str], dict[str | None, _Line]] = {}
    for line in lines:
        rows.setdefault((line.name, line.measure, line.stage), {})[line.reranker] = line
    firsts = [next(iter(row.values())) for row in rows.values()]
    columns = [Column("task", [_label(line, usual) for line in firsts], name=True)]
    if len({line.stage for line in firsts if line.stage != "lists"}) > 1:
        columns.append(Column("candidates", [line.stage for line in firsts], name=True))
    columns.append(_figures(firsts, "first_stage", "first stage", "first"))
    room = max(8, (width - 36) // len(rerankers) - 2)
    for reranker, head in short_names(rerankers).items():
        cells = [_marked(row.get(reranker)) for row in rows.values()]
        columns.append(Column(head, [*map(compact, cells)], shortened(head, room)))
    columns.append(_figures(firsts, "oracle", "oracle", spare=1))
    return _in_parts(columns, len(rerankers), width), note


def _in_parts(columns: list[Column], rerankers: int, width: int) -> str:
    """Rerankers that do not fit beside each other stand below each other."""
    before, after = columns[: -rerankers - 1], columns[-rerankers - 1 : -1]
    table = fitted(columns, width)
    if rerankers < 2 or max(map(width_of, table.splitlines())) <= width:
        return table
    half = (rerankers + 1) // 2
    parts = (after[:half], after[half:])
    return "\n".join(_in_parts([*before, *part, columns[-1]], len(part), width) for part in parts)


def _marked(line: _Line | None) -> str:
    if line is None:
        return MISSING
    difference, p = line.row.get("difference"), line.row.get("p")
    told = difference is not None and p is not None and p <= ALPHA and difference != 0
    return number(line.row.get("reranked"), line.measure) + (("+" if (difference or 0) > 0 else "-") if told else " ")


def sentences(results: Sequence[Result]) -> list[str]:
    """One for each first stage and reranker."""
    systems: dict[tuple[str, str], list[Result]] = {}
    own = {result.identity.reranker: stage_name(result) for result in results if result.identity.top_k is not None}
    for result in results:
        identity = result.identity
        if identity.reranker:
            stage = stage_name(result) if identity.top_k is not None else own.get(identity.reranker, "")
            systems.setdefault((stage, identity.reranker), []).append(result)
    several = len({stage for stage, _ in systems}) > 1
    return [
        sentence_of(found, reranker + (f" over {stage}" if several and stage else ""))
        for (stage, reranker), found in systems.items()
    ]


def warning_lines(cautions: Sequence[tuple[str, Caution]], width: int = WIDTH) -> list[str]:
    """A line for each code: in how many results, and in which; `cautions` are pairs of a result's name and a warning."""
    codes: dict[str, list[str]] = {}
    for name, caution in sorted(cautions, key=lambda pair: pair[1].code):
        codes.setdefault(caution.code, []).append(name)
    lines = []
    for code, names in codes.items():
        head = f"{code} in {len(names)}: {title_of_code(code)}"
        lines.append(_listed(f"{head} (", list(dict.fromkeys(names)), width))
    return lines


def _listed(head: str, names: Sequence[str], width: int) -> str:
    """The head, and as many names as the line has room for."""
    for count in range(len(names), 0, -1):
        more = f", {len(names) - count} more" if count < len(names) else ""
        line = f"{head}{', '.join(names[:count])}{more})"
        if width_of(line) <= width:
            return line
    return shortened(head.removesuffix(" ("), width)
