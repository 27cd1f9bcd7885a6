"""The terminal: how wide it is, and how its lines are coloured."""

from __future__ import annotations

import shutil
import sys

from ..results.layout import WIDTH

__all__ = ["width"]


def width() -> int:
    """Places of a line of the answer: those of the terminal, up to 80; 80 where there is none."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(40, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))
