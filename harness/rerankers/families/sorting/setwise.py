"""Setwise ranking: a heap or passes of a bubble over a few passages at a time, with a T5 or a chat model."""

from __future__ import annotations

from pathlib import Path

from ....engine.options import Options
from ....models.source import ModelSource
from ...base import Reranker
from .sorter import Setwise, open_sorter

__all__ = ["FAMILY", "open_family"]

FAMILY = Setwise.family


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a model; see `open_sorter` for its settings and errors."""
    return open_sorter(Setwise, source, options)
