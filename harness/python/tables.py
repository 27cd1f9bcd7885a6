"""Records as tables that a notebook shows and as DataFrames: what every view of this folder is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table", "frame_of", "html_of", "text_of"]

Table = Sequence[Mapping[str, str]]
"""Rows of column → what is shown; all rows have the same columns."""


def html_of(rows: Table, title: str = "", notes: Sequence[str] = ()) -> str:
    """A table in HTML that takes its looks from the notebook."""
    columns = list(rows[0]) if rows else []
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(row[name])}</td>" for name in columns) + "</tr>" for row in rows)
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def text_of(rows: Table, title: str = "", notes: Sequence[str] = ()) -> str:
    """The same in text, for a console."""
    from ..results.layout import align

    columns = list(rows[0]) if rows else []
    table = align([columns, *([row[name] for name in columns] for row in rows)]) if rows else ""
    return "\n".join(part for part in (title, table, *notes) if part)


def frame_of(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Records as a DataFrame, with their own values."""
    import pandas as pd

    return pd.DataFrame(list(records))
