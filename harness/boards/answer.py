"""What a board says in a sentence: whether a reranker beats its own first stage, and where."""

from __future__ import annotations

from collections.abc import Sequence

from .build import Row, Table
from .columns import Column
from .systems import IMPORTED
from .words import figure, title_of

__all__ = ["answer", "sentences"]


def answer(table: Table) -> str:
    """`No reranker beats bm25 top 100 on SciFact nDCG@10; …`: beyond chance, as ranks are, all pairs of rows corrected together."""
    return " ".join(filter(None, sentences(table)))


def sentences(table: Table) -> tuple[str, str]:
    """The answer's first sentence, and what stands after it: on which suites and in which languages; empty for none."""
    rerankers = _ranked(table.rows, table.key, "reranker")
    if not rerankers:
        measured = any(row.system.kind in ("first stage", "reranker") for row in table.rows)
        head = f"No reranker was measured on {_titled(table.key)}" if measured else "Nothing was measured here"
        return f"{head}{_cited(table)}.", ""
    held = [row for row in rerankers if _stage(table, row) is not None]
    if not held:
        return f"{_short(rerankers[0])} leads on {title_of(table.key)}; no first stage stands beside it.", ""
    return _overall(table, held), _parts(table, held[0])


def _overall(table: Table, held: Sequence[Row]) -> str:
    better = [row for row in held if _beats(row, _stage(table, row), 0)]
    worse = [row for row in held if _beats(_stage(table, row), row, 0)]
    best = (better or held)[0]
    figures = " against ".join(_figure(row, table.key) for row in (best, _stage(table, best)) if row)
    where = f"{best.system.stage} on {_titled(table.key)}, {figures}"
    if better:
        also = f"; of {len(held)} rerankers {len(better)} beat theirs" if len(held) > 1 else ""
        return f"{_short(best)} beats {where}{also}."
    if len(held) == 1:
        return f"{_short(best)} {'loses to' if worse else 'is not told apart from'} {where}."
    lost = f"; {len(worse)} of {len(held)} lose to theirs" if worse else ""
    return f"No reranker beats its first stage on {_titled(table.key)}; the best is {_short(best)} over {where.partition(' on ')[0]}, {figures}{lost}."


def _cited(table: Table) -> str:
    """The highest of others' figures, as what it is: over a first stage of its own."""
    others = [row for row in table.rows if row.system.source and row.system.name and table.key in row.cells]
    if not others:
        return ""
    best = max(others, key=lambda row: row.cells[table.key].mean)
    where = "" if best.system.stage == IMPORTED else f" over {best.system.stage}"
    return f"; the highest {best.system.kind} figure of a reranker is that of {best.system.name.rpartition('/')[2]}{where}, {_figure(best, table.key)}"


def _parts(table: Table, row: Row) -> str:
    """On which suites and in which languages the row is ahead of its first stage."""
    found = []
    for kind, told in (("suite", "By suite"), ("language", "By language")):
        views = [(place, view) for place, view in enumerate(table.views) if view.kind == kind and view.key in row.cells]
        won = [view.name for place, view in views if _beats(row, _stage(table, row), place)]
        lost = [view.name for place, view in views if _beats(_stage(table, row), row, place)]
        rest = len(views) - len(won) - len(lost)
        parts = [f"ahead in {_listed(won, len(views))}"] * bool(won) + [
            f"behind in {_listed(lost, len(views))}"
        ] * bool(lost)
        if len(views) > 1 and parts:
            found.append(f"{told}: {', '.join(parts)}{f', not told apart in {rest}' if rest else ''}.")
    return " ".join(found)


def _listed(names: Sequence[str], of: int) -> str:
    if len(names) == of:
        return f"all {of}"
    return ", ".join(names) if len(names) <= 4 else f"{len(names)} of {of}"


def _ranked(rows: Sequence[Row], key: Column, kind: str) -> list[Row]:
    found = [row for row in rows if row.system.kind == kind and 0 in row.ranks]
    return sorted(found, key=lambda row: -row.cells[key].mean)


def _stage(table: Table, row: Row) -> Row | None:
    """The row of the first stage whose candidates it reranked."""
    alone = (each for each in table.rows if each.system.kind == "first stage" and each.system.stage == row.system.stage)
    return next((each for each in alone if 0 in each.ranks), None)


def _beats(one: Row | None, other: Row | None, view: int) -> bool:
    return one is not None and other is not None and any(each is other for each in one.beats.get(view, ()))


def _figure(row: Row, key: Column) -> str:
    return figure(row.cells[key].mean, key.measure)


def _titled(key: Column) -> str:
    return f"the {title_of(key)}" if key.name == "mean" else title_of(key)


def _short(row: Row) -> str:
    name = row.system.name.rpartition("/")[2] or row.system.name
    return f"{name} ({row.system.note})" if row.system.note else name
