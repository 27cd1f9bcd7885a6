"""A board as one HTML file that works from disk: `page.html`, `page.css` and `page.js` with the figures inside.

Nothing is fetched: the page's own policy allows its one script, by digest, and its styles. Texts from
outside are in a JSON block whose every `<`, `>` and `&` is escaped, and the script makes text nodes of
them; the few in the page itself are escaped as HTML.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any

from .answer import answer
from .build import Row, Table
from .columns import Column
from .words import made_on, notes, sources, title_of

__all__ = ["html", "payload"]


def html(table: Table) -> str:
    """The page."""
    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    parts = {
        "policy": policy,
        "style": _file("page.css"),
        "script": script,
        "title": escape(table.board.title),
        "name": escape(table.board.name),
        "description": escape(table.board.description),
        "answer": escape(answer(table)),
        "notes": "".join(f"<p>{escape(note)}</p>" for note in notes(table)) + _cited(table),
        "payload": _inert(payload(table)),
    }
    # In one pass, so that a text that looks like a place to fill stays what it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _file("page.html"))


def _cited(table: Table) -> str:
    items = "".join(f"<li>{escape(source)}</li>" for source in sources(table))
    return f"<h2>Sources</h2><ol>{items}</ol>" if items else ""


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _inert(record: dict[str, Any]) -> str:
    """JSON that cannot end its script element, whatever the texts hold."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def payload(table: Table) -> dict[str, Any]:
    """What the page's script reads: columns by number, each row's cells as [mean, low, high, data, here]."""
    columns = table.columns
    number = {column: place for place, column in enumerate(columns)}
    hardware = Counter(row.speed.hardware for row in table.rows if row.speed)
    return {
        "title": table.board.title,
        "tasks": len(table.board.tasks),
        "ranked": title_of(table.key),
        "columns": [_column(column) for column in columns],
        "views": [
            {
                "name": view.name,
                "kind": view.kind,
                "key": number[view.key],
                "columns": [number[column] for column in view.columns],
                "tasks": sorted({task for column in view.columns for task in column.tasks}),
            }
            for view in table.views
        ],
        "languages": _languages(table, number),
        "hardware": sorted(hardware, key=lambda name: (-hardware[name], name)),
        "sources": list(sources(table)),
        "made": made_on(table).strip(),
        "rows": [_row(row, number) for row in table.rows],
        "beats": _beats(table),
    }


def _beats(table: Table) -> list[list[list[int]]]:
    """Of each view the pairs of rows (by number) of which the first is ahead of the second."""
    place = {id(row): number for number, row in enumerate(table.rows)}
    return [
        [[place[id(row)], place[id(other)]] for row in table.rows for other in row.beats.get(view, ())]
        for view in range(len(table.views))
    ]


def _column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "title": title_of(column),
        "kind": column.kind,
        "measure": column.measure,
        "tasks": column.tasks,
        "of": column.of,
        "subset": column.subset,
    }


def _languages(table: Table, number: dict[Column, int]) -> list[dict[str, Any]]:
    """Each task of several subsets: its own column, and those of its subsets."""
    own = {column.tasks[0]: column for column in reversed(table.views[0].columns) if column.kind == "task"}
    groups: dict[str, list[int]] = {}
    for column in table.languages:
        groups.setdefault(column.tasks[0], []).append(number[column])
    return [{"task": task, "whole": number[own[task]], "columns": places} for task, places in groups.items()]


def _row(row: Row, number: dict[Column, int]) -> dict[str, Any]:
    system, facts, speed = row.system, row.facts, row.speed
    return {
        "kind": system.kind,
        "name": system.name,
        "stage": system.stage,
        "note": system.note,
        "source": system.source,
        "parameters": facts.parameters,
        "licence": facts.licence,
        "languages": facts.languages,
        "trained": row.trained,
        "speed": speed and {
            "hardware": speed.hardware,
            "pairs": speed.pairs_per_second,
            "latency": speed.latency,
            "estimated": speed.estimated,
            "requests": speed.requests and vars(speed.requests),
        },
        "cells": {number[column]: _cell(cell.mean, cell.interval, cell.data, cell.here) for column, cell in row.cells.items()},
        "ranks": row.ranks,
    }  # fmt: skip


def _cell(mean: float, interval: tuple[float, float] | None, data: str, here: str) -> list[Any]:
    low, high = interval or (None, None)
    return [
        round(mean, 6),
        None if low is None else round(low, 6),
        None if high is None else round(high, 6),
        data,
        here,
    ]
