"""The small pieces of a page: elements, tables, figures, and what a result's headline says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from ...results.cautions import title_of_code
from ...results.figures import ALPHA, interval, number, p_value, signed
from ...results.result import Result

__all__ = ["STAGES", "Filled", "code", "figure", "folded", "headline", "stages", "table", "tag", "verdict"]

Filled = dict[str, Any]


def tag(name: str, text: object, style: str = "") -> str:
    """An element whose content is text from anywhere, escaped."""
    kind = f' class="{style}"' if style else ""
    return f"<{name}{kind}>{escape(str(text))}</{name}>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], marks: Sequence[str] = (), style: str = "") -> str:
    """A table of cells that are HTML already; `marks` are what the filters know each row by.

    A head stands to the right where the figures below it do.
    """
    rows = list(rows)
    known = marks or [""] * len(rows)
    lines = "".join(f"<tr{mark}>{''.join(row)}</tr>" for row, mark in zip(rows, known, strict=True))
    right = [any(row[place].startswith('<td class="n') for row in rows) for place in range(len(head))]
    heads = "".join(tag("th", cell, "n" if side else "") for cell, side in zip(head, right, strict=True))
    kind = f' class="{style}"' if style else ""
    return f'<div class="wide"><table{kind}><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>'


def folded(summary: str, inside: str, *, unfolded: bool = False, marks: str = "") -> str:
    """What is opened by a click; `summary` and `inside` are HTML already."""
    return f"<details{' open' if unfolded else ''}{marks}><summary>{summary}</summary>{inside}</details>"


def figure(text: str, style: str = "") -> str:
    """A cell with a figure."""
    return tag("td", text, f"n {style}".rstrip())


def headline(result: Result) -> tuple[str, Filled]:
    """The measure that a result is judged by, and its row."""
    name, row = next(iter(result.measures.items()))
    return name, dict(row)


def verdict(row: Filled) -> str:
    """`win` or `loss` where the difference is significant, else `tie`."""
    if row.get("difference") is None or row["p"] > ALPHA or not row["difference"]:
        return "tie"
    return "win" if row["difference"] > 0 else "loss"


def stages(name: str, row: Filled) -> list[str]:
    """The cells of a measure's row, in the order of `STAGES`."""
    shown = [figure(number(row.get(stage), name)) for stage in ("first_stage", "reranked", "oracle")]
    # More judged documents are no better and no worse.
    style = "tie" if name.startswith("Judged") else verdict(row)
    shown.append(figure(signed(row.get("difference"), name), style))
    shown.append(figure(interval(row.get("low"), row.get("high"), name, row.get("difference"))))
    return [*shown, figure(p_value(row.get("p")))]


STAGES = ["first stage", "reranked", "oracle", "difference", "95 % interval", "p"]


def code(code: str) -> str:
    """A warning's code, as a link to its meaning."""
    return f'<a class="code" href="#{code}" title="{escape(title_of_code(code))}">{code}</a>'
