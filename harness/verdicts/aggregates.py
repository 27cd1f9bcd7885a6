"""Which aggregates and suites some results fill, so that means over them can be taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..types import Aggregate
from .pairing import Entry

__all__ = ["complete_aggregates"]


def complete_aggregates(cards: Path | None, entries: Sequence[Entry]) -> list[Aggregate]:
    """The aggregates and suites all of whose tasks have a result, the inner ones first."""
    from ..data.task import Cards

    known = Cards(cards)
    there = {entry.result.identity.task for entry in entries}
    found: dict[str, Aggregate] = {}
    # A suite may hold aggregates, and a suite suites: until nothing more is complete.
    waiting = [aggregate for name in (*known.names(), *known.suites()) if (aggregate := known.aggregate(name))]
    while complete := [each for each in waiting if there.issuperset(each.members)]:
        found |= {each.name: each for each in complete}
        there |= set(found)
        waiting = [each for each in waiting if each.name not in found]
    return list(found.values())
