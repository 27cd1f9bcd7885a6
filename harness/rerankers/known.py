"""Rerankers that are known by their name: who scores them, by which rule, and what is known of them.

known.yaml has it, with the source of each fact; its head says what each field means. The leaderboards
take size, licence, languages and training data from here, and docs/rerankers.md its table of models.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.yaml_file import read_yaml

__all__ = ["FACTS", "known_models", "refuse_unscored", "rule_of", "sources_of"]

FACTS = ("parameters", "licence", "languages", "trained_on")
"""What is known of a model beside its rule."""
_REST = "facts"
_NAMED_BY = ("template", "variant")


def known_models() -> Mapping[str, Mapping[str, Any]]:
    """model id → what known.yaml says of it."""
    models: dict[str, dict[str, Any]] = _table()["models"]
    return models


def sources_of(entry: Mapping[str, Any]) -> Mapping[str, str]:
    """`rule` and each fact of a model → where that comes from, in words."""
    said, words = entry["source"], _table()["sources"]
    return {
        name: words[said.get(name, said.get(_REST))] for name in ("rule", *FACTS) if name == "rule" or name in entry
    }


def rule_of(entry: Mapping[str, Any]) -> str:
    """The rule of a known model as rules.yaml names it; `none` for a model that nothing here scores."""
    family, settings = entry["family"], entry.get("settings") or {}
    named = next((f"{family}/{settings[key]}" for key in _NAMED_BY if settings.get(key)), family)
    return str(entry.get("by") or ("sequence-classification/pair" if named == "sequence-classification" else named))


def refuse_unscored(name: str) -> None:
    """Raise HarnessError for a known model that no family scores as its authors do."""
    why = known_models().get(name, {}).get("unscored")
    if why:
        raise HarnessError(
            f"{name} {why}: it is known and not scored. --family NAME scores it nevertheless, by a rule that is not its authors'"
        )


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = read_yaml(Path(__file__).with_name("known.yaml"))
    return table
