"""Pairwise ranking prompting: every pair, a heap, or passes of a bubble, with a T5 or a chat model."""

from __future__ import annotations

from pathlib import Path

from ....engine.options import Options
from ....models.source import ModelSource
from ...base import Reranker
from .sorter import Pairwise, open_sorter

__all__ = ["FAMILY", "open_family"]

FAMILY = Pairwise.family


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a model; see `open_sorter` for its settings and errors."""
    return open_sorter(Pairwise, source, options)
