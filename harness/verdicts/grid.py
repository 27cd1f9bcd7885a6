"""One table of figures before and after, of one system a row or of several side by side, that fits a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..results.figures import ALPHA, FEW_MOVED, MISSING, interval, number, p_value, signed
from ..results.layout import Column, compact, fitted, in_two_lines, width_of
from .sentences import short_names

__all__ = ["Heads", "Line", "grid", "usual_measure"]

_LONG = 16
"""With more rows than that, several systems stand side by side."""
_LONGEST = 24
"""With more rows than that, languages are left to their means."""


@dataclass(frozen=True)
class Line:
    """The figures of one system in one place: of a task, a subset, or a mean."""

    name: str
    measure: str
    stage: str
    """The candidates; `lists` where the data brings them."""
    system: str | None
    row: Mapping[str, float | None]
    """`first_stage`, `reranked`, `oracle`, `difference`, `low`, `high`, `p`; and `recall`, `least`."""
    published: str = ""
    counts: str = ""
    """Wins, ties and losses."""
    folded: bool = False
    """Of a task whose mean stands in the table too."""


@dataclass(frozen=True)
class Heads:
    """What the columns are called."""

    system: str = "reranker"
    before: str = "first stage"
    after: str = "reranked"
    p: str = "p"
    p_short: str = "p"
    marked: str = "+ and - beside a figure: it beats the first stage, or loses to it."
    beside: tuple[str, ...] = ()
    """Rerankers that are named outside the table, from which its own are told apart too."""


def usual_measure(lines: Sequence[Line]) -> str:
    """The measure of most rows, which no row needs to name."""
    return Counter(line.measure for line in lines).most_common(1)[0][0]


def grid(lines: Sequence[Line], width: int, heads: Heads | None = None) -> tuple[str, list[str]]:
    """The table in at most `width` places, and what a reader must know of it."""
    heads = heads or Heads()
    notes = []
    systems = list(dict.fromkeys(line.system for line in lines if line.system))
    beside = len(systems) > 1 and len(lines) > _LONG and _one_before(lines)
    if (len(_places(lines)) if beside else len(lines)) > _LONGEST and any(line.folded for line in lines):
        hidden = len(_places([line for line in lines if line.folded]))
        lines = [line for line in lines if not line.folded]
        notes.append(f"{hidden} rows of single languages or parts are in their means; -v shows each.")
    if beside and len(lines) > _LONG:
        return _beside(lines, systems, width, heads), [heads.marked, *notes]
    if any(
        line.row.get("difference") and line.row.get("p") is not None and line.row.get("low") is None for line in lines
    ):
        notes.append(f"{FEW_MOVED}.")
    return _below(lines, width, heads, several=len(systems) > 1), notes


def _one_before(lines: Sequence[Line]) -> bool:
    """Whether all systems have the same figure before in each place, so that one column can hold it."""
    before: dict[tuple[str, str, str], set[float | None]] = {}
    for line in lines:
        before.setdefault((line.name, line.measure, line.stage), set()).add(line.row.get("first_stage"))
    return all(len(figures) == 1 for figures in before.values())


def _places(lines: Sequence[Line]) -> set[tuple[str, str, str]]:
    return {(line.name, line.measure, line.stage) for line in lines}


def _named(lines: Sequence[Line]) -> list[Column]:
    usual = usual_measure(lines)
    names = [line.name if line.measure == usual else f"{line.name}, {line.measure}" for line in lines]
    columns = [Column("task", names, name=True)]
    if len({line.stage for line in lines if line.stage != "lists"}) > 1:
        columns.append(Column("candidates", [line.stage for line in lines], name=True))
    return columns


def _figures(lines: Sequence[Line], key: str, head: str, short: str = "", spare: int = 0) -> list[Column]:
    """A column, where any row has the figure."""
    values = [line.row.get(key) for line in lines]
    if all(value is None for value in values):
        return []
    return [Column(head, [number(v, line.measure) for v, line in zip(values, lines, strict=True)], short, spare)]


def _below(lines: Sequence[Line], width: int, heads: Heads, *, several: bool) -> str:
    """A row for each system in each place."""
    columns = _named(lines)
    if several:
        short = short_names(dict.fromkeys([*(line.system or MISSING for line in lines), *heads.beside]))
        columns.append(Column(heads.system, [short[line.system or MISSING] for line in lines], name=True))
    columns += _figures(lines, "first_stage", heads.before, "first", spare=1)
    columns += _figures(lines, "reranked", heads.after)
    columns += _figures(lines, "oracle", "oracle", spare=3)
    if any(line.row.get("recall") is not None for line in lines):
        columns.append(Column("recall", [number(line.row.get("recall")) for line in lines], spare=7))
    if any(line.row.get("difference") is not None for line in lines):
        spans = [
            MISSING if line.row.get("p") is None
            else interval(line.row.get("low"), line.row.get("high"), line.measure, line.row.get("difference"))
            for line in lines
        ]  # fmt: skip
        columns += [
            Column("difference", [signed(line.row.get("difference"), line.measure) for line in lines], "diff"),
            Column("95 % interval", spans),
            Column(heads.p, [p_value(line.row.get("p")) for line in lines], heads.p_short, spare=4),
        ]
    if any(line.counts for line in lines):
        columns.append(Column("wins/ties/losses", [line.counts for line in lines], "w/t/l", spare=6))
    columns += _figures(lines, "least", "least seen", "least", spare=5)
    if any(line.published for line in lines):
        columns.append(Column("published", [line.published for line in lines], spare=2))
    return fitted(columns, width)


def _beside(lines: Sequence[Line], systems: Sequence[str], width: int, heads: Heads) -> str:
    """A row for each place, a column for each system, with a mark where it is told apart from what stood before."""
    rows: dict[tuple[str, str, str], dict[str | None, Line]] = {}
    for line in lines:
        rows.setdefault((line.name, line.measure, line.stage), {})[line.system] = line
    firsts = [next(iter(row.values())) for row in rows.values()]
    before = [*_named(firsts), *_figures(firsts, "first_stage", heads.before, "first")]
    room = max(8, (width - 36) // len(systems) - 2)
    after = [
        Column(in_two_lines(head, room), [compact(_marked(row.get(system))) for row in rows.values()])
        for system, head in short_names(dict.fromkeys([*systems, *heads.beside])).items()
        if system in systems
    ]
    return _in_parts(before, after, _figures(firsts, "oracle", "oracle", spare=1), width)


def _in_parts(before: list[Column], systems: list[Column], after: list[Column], width: int) -> str:
    """Systems that do not fit beside each other stand below each other."""
    table = fitted([*before, *systems, *after], width)
    if len(systems) < 2 or max(map(width_of, table.splitlines())) <= width:
        return table
    half = (len(systems) + 1) // 2
    return "\n".join(_in_parts(before, part, after, width) for part in (systems[:half], systems[half:]))


def _marked(line: Line | None) -> str:
    if line is None:
        return MISSING
    difference, p = line.row.get("difference"), line.row.get("p")
    told = difference is not None and p is not None and p <= ALPHA and difference != 0
    return number(line.row.get("reranked"), line.measure) + (("+" if (difference or 0) > 0 else "-") if told else " ")
