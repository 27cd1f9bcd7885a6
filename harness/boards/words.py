"""What every form of a board says in the same words: its columns, a row's labels, and the notes below the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..results.figures import MISSING, number, signed
from .build import Cell, Row, Table
from .columns import Column

__all__ = [
    "Head",
    "figure",
    "heads",
    "interval_text",
    "made_on",
    "main_hardware",
    "notes",
    "reranker_of",
    "size_of",
    "sources",
]


@dataclass(frozen=True)
class Head:
    """A column of a text table: its title, its cells, and whether they are numbers."""

    title: str
    cell: Callable[[Row], str]
    numeric: bool = True
    column: Column | None = None
    """The figure that its cells show; None for what is known besides."""


def heads(table: Table) -> list[Head]:
    """The columns of the board's text tables: those that its YAML chooses, else all that hold something."""
    of_rank = lambda row: str(row.ranks.get(0, MISSING))  # noqa: E731  (as the ones below)
    cited = sources(table)
    shown = [
        Head("rank", of_rank),
        Head("reranker", lambda row: reranker_of(row) + _mark(row, cited), numeric=False),
        Head("first stage", lambda row: row.system.stage, numeric=False),
    ]
    chosen = table.board.columns
    for name, head in _optional(table):
        holds = any(head.cell(row) not in (MISSING, "unknown") for row in table.rows)
        if name in chosen if chosen is not None else holds:
            shown.append(head)
    return shown


def _optional(table: Table) -> list[tuple[str, Head]]:
    view, hardware = table.views[0], main_hardware(table)
    key = [view.key] if view.key.of > 1 else []
    means = [column for column in view.columns if column.kind == "mean" and column != view.key]
    tasks = [column for column in view.columns if column.kind != "mean"]
    found = [("mean", _of_column(column)) for column in key]
    found += [("suites", _of_column(column)) for column in means]
    found += [("tasks", _of_column(column)) for column in tasks]
    return [
        *found,
        ("trained", Head("trained on this data", trained_of, numeric=False)),
        ("parameters", Head("parameters", size_of)),
        ("licence", Head("licence", lambda row: row.facts.licence or MISSING, numeric=False)),
        ("languages", Head("languages", languages_of, numeric=False)),
        ("pairs_per_second", Head("pairs/s", lambda row: pairs_of(row, hardware))),
        ("latency", Head("latency p50, s", lambda row: latency_of(row, hardware))),
        ("request", Head("request p50 / p95 / p99, s", request_of)),
        ("cost", Head("cost a 1,000 queries", cost_of)),
    ]


def _of_column(column: Column) -> Head:
    return Head(title_of(column), lambda row: cell_text(row.cells.get(column), column.measure), column=column)


def title_of(column: Column) -> str:
    """`SciFact nDCG@10`; a mean says over how many tasks it is: `BEIR, mean of 15, nDCG@10`."""
    if column.of == 1:
        return column.title
    return f"{'' if column.name == 'mean' else f'{column.name}, '}mean of {column.of}, {column.measure}"


def figure(value: float, measure: str) -> str:
    """`0.6789`; p-MRR with its sign, times 100."""
    return signed(value, measure) if measure.startswith("p-MRR") else number(value, measure)


def interval_text(cell: Cell, measure: str) -> str:
    """`[0.6401, 0.7150]`; empty where there is none."""
    low, high = cell.interval or (None, None)
    return f"[{figure(low, measure)}, {figure(high, measure)}]" if low is not None and high is not None else ""


def cell_text(cell: Cell | None, measure: str) -> str:
    """The figure and its interval, or a dash."""
    return (
        MISSING if cell is None else f"{figure(cell.mean, measure)} {cell.here or interval_text(cell, measure)}".strip()
    )


def reranker_of(row: Row) -> str:
    """The reranker; `none` for a first stage alone, `oracle` for the best order of its candidates."""
    system = row.system
    name = "oracle" if system.kind == "oracle" else system.name or "none"
    return f"{name} ({system.note})" if system.note else name


def made_on(table: Table) -> str:
    """` Results of 2026-11-02 to 2026-11-28.`, or that they do not say their day; empty where nothing was measured."""
    days = sorted(
        {
            str(result.environment["date"])
            for row in table.rows
            for result in row.system.results.values()
            if "date" in result.environment
        }
    )
    if days:
        return f" Results of {' to '.join(dict.fromkeys((days[0], days[-1])))}."
    return " Results that do not say their day." if any(row.system.results for row in table.rows) else ""


def sources(table: Table) -> dict[str, int]:
    """source → its number below the table, in the order of the rows."""
    found = dict.fromkeys(row.system.source for row in table.rows if row.system.source)
    return {source: place for place, source in enumerate(found, 1)}


def _mark(row: Row, cited: dict[str, int]) -> str:
    return f", {row.system.kind} [{cited[row.system.source]}]" if row.system.source else ""


def trained_of(row: Row) -> str:
    """`yes: MSMARCO, NQ`, `no`, or `unknown`; a dash for an oracle."""
    if row.system.kind == "oracle":
        return MISSING
    return "unknown" if row.trained is None else f"yes: {', '.join(row.trained)}" if row.trained else "no"


def size_of(row: Row) -> str:
    """`22.7M`, `7.11B`."""
    size = row.facts.parameters
    if size is None:
        return MISSING
    return f"{size / 1e9:.3g}B" if size >= 1e9 else f"{size / 1e6:.3g}M"


def languages_of(row: Row) -> str:
    """`eng, zho`; a number where there are many."""
    codes = row.facts.languages
    return MISSING if not codes else ", ".join(codes) if len(codes) <= 4 else f"{len(codes)} languages"


def main_hardware(table: Table) -> str:
    """The machine that most rows were timed on: rates of another stand beside it nowhere."""
    counted = Counter(row.speed.hardware for row in table.rows if row.speed)
    return max(sorted(counted), key=counted.__getitem__, default="")


def pairs_of(row: Row, hardware: str) -> str:
    """Pairs a second on `hardware`; a dash for a row timed elsewhere."""
    speed = row.speed
    there = speed is not None and speed.hardware == hardware
    if not (there and speed and speed.pairs_per_second):
        return MISSING
    rate = speed.pairs_per_second
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def latency_of(row: Row, hardware: str) -> str:
    """The median seconds of a query on `hardware`; `~` where it follows from rates."""
    speed = row.speed
    if speed is None or speed.hardware != hardware or speed.latency is None:
        return MISSING
    return f"{'~' if speed.estimated else ''}{speed.latency:.3g}"


def request_of(row: Row) -> str:
    """The seconds of a service's request: median, 95th and 99th percentile; a dash for a row that is none."""
    requests = row.speed.requests if row.speed else None
    return MISSING if requests is None else f"{requests.p50:.3g} / {requests.p95:.3g} / {requests.p99:.3g}"


def cost_of(row: Row) -> str:
    """The money of 1,000 queries, at the price that was stated to the run."""
    requests = row.speed.requests if row.speed else None
    return MISSING if requests is None or requests.cost is None else f"{requests.cost:.3g}"


def notes(table: Table) -> list[str]:
    """What a reader must know to read the table: one paragraph each."""
    kinds = {row.system.kind for row in table.rows}
    found = [
        (
            f"Cells: the mean over queries [95 % interval of that same figure]; {MISSING} where there is no "
            "result. A multilingual task is the unweighted mean of its languages. p-MRR is shown times 100. A mean stands "
            "only where every task of it is there."
        ),
        (
            "Ranks: the best row of a group is tested against every row below it (paired sign flips of the figure "
            "ranked by, corrected over all pairs of rows); rows until the first with p ≤ 0.05 share its rank."
        ),
    ]
    if "oracle" in kinds:
        found.append("Oracle: the best order of the same candidates, a ceiling without a rank.")
    if kinds & {"published", "imported"}:
        found.append(
            "Published and imported rows were not measured here: no interval, no rank, and other data where their "
            "source says so. The numbers in brackets are their sources."
        )
    if any(cell.here for row in table.rows for cell in row.cells.values()):
        found.append("=, ≈, ≠: measured here too, within .0005 of the published figure, within .005, or further off.")
    found += _on_speed(table)
    known = dict.fromkeys(part for row in table.rows if row.facts.source for part in row.facts.source.split("; "))
    if known:
        found.append(f"Size, licence, languages and training data: {'; '.join(known)}.")
    return found


def _on_speed(table: Table) -> Sequence[str]:
    hardware = main_hardware(table)
    if not hardware:
        reranked = any(row.system.kind == "reranker" for row in table.rows)
        return (
            ["Speed: none, since no row has all of its tasks scored on one machine that is named."] if reranked else []
        )
    elsewhere = any(row.speed and row.speed.hardware != hardware for row in table.rows)
    more = " Rows timed on other hardware have a dash." if elsewhere else ""
    return [f"Speed: on {hardware}, ~ where a latency follows from the run's rate.{more}"]
