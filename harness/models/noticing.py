"""What transformers says while a plug-in loads its model: weights that it filled with random numbers.

Models of our own families are refused for that. A plug-in's loading is its own business, so here it
can only be noticed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["noticing"]

_ROW = re.compile(r"^\s*(\S+)\s*\|\s*(?:\x1b\[\d+m)?MISSING", re.MULTILINE)
"""A line of transformers 5's report of what it loaded."""
_QUOTED = re.compile(r"'([\w.]+)'")
"""A weight in the sentence of transformers 4."""


class _Handler(logging.Handler):
    def __init__(self, weights: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._weights = weights

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "newly initialized" in text:
            named = _ROW.findall(text) or _QUOTED.findall(text.partition("newly initialized")[2])
            self._weights.extend(name for name in named or ["weights"] if name not in self._weights)


@contextmanager
def noticing(weights: list[str]) -> Iterator[None]:
    """Add to `weights` the name of every weight that transformers initialises anew inside the block."""
    logger, handler = logging.getLogger("transformers"), _Handler(weights)
    level = logger.level
    logger.addHandler(handler)
    if level > logging.WARNING:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        if level > logging.WARNING:
            logger.setLevel(level)
