"""Copies of models that are known by their id: a folder or a mirror says whose copy it is, not what its recipe is.

A fine-tuned model names the one that it began as in the same words, so what is known of that is never
taken silently: it is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .source import ModelSource

__all__ = ["copy_of"]


def copy_of(source: ModelSource, known: Iterable[str]) -> str | None:
    """The one of the `known` model ids that the model's name, its folder or config.json's `_name_or_path` means, if any."""
    said = [source.name, str(source.config.get("_name_or_path") or "")]
    if source.folder is not None:
        said += [part for part in source.folder.parts if part.startswith("models--")]
    ends = {_plain(re.split(r"[/\\]", path.rstrip("/\\"))[-1]) for path in said if path}
    for name in known:
        owner, _, short = name.partition("/")
        if name != source.name and ends & {
            _plain(short),
            _plain(f"{owner}_{short}"),
            _plain(f"models--{owner}--{short}"),
        }:
            return name
    return None


def _plain(name: str) -> str:
    return name.partition("@")[0].casefold()
