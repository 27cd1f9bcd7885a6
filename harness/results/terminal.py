"""The terminal: how wide it is, and what of an answer is bold or coloured there. In pipes nothing is."""

from __future__ import annotations

import os
import shutil
import sys
from functools import cache
from typing import TYPE_CHECKING, TextIO

from .layout import WIDTH

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["paint", "painted", "width"]


def width() -> int:
    """Places of a line of the answer: those of the terminal, up to 80; 80 where there is none."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(40, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def painted(stream: TextIO) -> bool:
    """Whether lines there are coloured: a terminal that can, and a user who has not said NO_COLOR (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, stream: TextIO) -> None:
    """The text and an end of line, with the colours of `_STYLES`; its letters are the same."""
    _console(stream).print(text, soft_wrap=True, markup=False, emoji=False)


_STYLES = {
    "head": (r"(?m)^(?P<head>(?:  .*\n)?.+)(?=\n-+(  -+)*$)", "bold"),
    "rule": (r"(?m)^(?P<rule>-+(  -+)*)$", "dim"),
    "good": (r"(?P<good>\bbeats\b|\[OK\]|(?<=\d)\+(?=\s|$)|\bpassed\b)", "green"),
    "bad": (
        r"(?P<bad>\bloses\b|\[FAIL\]|\[differs\]|\bFAILED\b|(?<!row )(?<!rows )\bfailed\b|(?<=\.\d{4})-(?=\s|$)|^error:)",
        "bold red",
    ),
    "open": (r"(?P<open>not decided|is not told apart|\[WARN\]|\[near\]|\bRH\d{3}\b)", "yellow"),
    "title": (r"(?P<title>\A.+ →(?: .+)?(?=\n))", "bold"),
    "help": (r"(?m)^(?P<help>[a-z][a-z ,]*:)$|\A(?P<usage>usage:)", "bold"),
}
"""What is looked for, and how it is shown."""


@cache
def _console(stream: TextIO) -> Console:
    from rich.console import Console
    from rich.highlighter import RegexHighlighter
    from rich.theme import Theme

    class Words(RegexHighlighter):
        """The words of verdicts, warnings and tables."""

        base_style = "rh."
        highlights = [pattern for pattern, _ in _STYLES.values()]  # noqa: RUF012  (as rich has it)

    theme = Theme({f"rh.{name}": style for name, (_, style) in _STYLES.items()} | {"rh.usage": "bold"}, inherit=False)
    return Console(file=stream, theme=theme, highlighter=Words())
