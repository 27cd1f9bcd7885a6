"""What is known of a model beside its figures: size, licence, languages, and what it was trained on.

For rerankers known.yaml of the rerankers has it, for encoders and BM25 `models.yaml`, each with its
source; a board's YAML may say more, or otherwise, under `models`. What nobody says is unknown, and is shown so.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import HarnessError, did_you_mean
from ..files.yaml_file import read_yaml
from ..rerankers.known import FACTS, known_models, sources_of
from ..results.published import PACKAGED
from ..types import Task

__all__ = ["Facts", "facts_from", "facts_of", "known_facts", "trained_on"]


@dataclass(frozen=True)
class Facts:
    """One model; None is unknown."""

    parameters: int | None = None
    licence: str | None = None
    languages: tuple[str, ...] | None = None
    """ISO 639-3 codes."""
    trained_on: tuple[str, ...] | None = None
    """The tasks on whose data, most often its training split, the model was trained; empty for none of them."""
    source: str | None = None


_LAYER = re.compile(r"\[layer \d+\]$")
"""What follows the name of a layerwise model, each of whose layers is a reranker."""
_KEYS = tuple(field.name for field in fields(Facts))


def facts_from(entries: Mapping[str, Any], where: str) -> dict[str, Facts]:
    """model → its facts, from YAML. Raises HarnessError for an unknown key or a value of the wrong kind."""
    if not isinstance(entries, Mapping):
        raise HarnessError(f'{where}: "models" names models and what is known of each')
    return {str(model): _facts(entry, f"{where}, {model}") for model, entry in entries.items()}


def _facts(entry: Any, where: str) -> Facts:
    for key in entry if isinstance(entry, dict) else {"": None}:
        if key not in _KEYS:
            raise HarnessError(f'{where}: unknown key "{key}"; known: {", ".join(_KEYS)}.{did_you_mean(key, _KEYS)}')
    size = entry.get("parameters")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size <= 0):
        raise HarnessError(f'{where}: "parameters" is a whole number, as in 22713216, not "{size}"')
    lists = {key: entry.get(key) for key in ("languages", "trained_on")}
    for key, value in lists.items():
        if value is not None and not isinstance(value, list):
            raise HarnessError(f'{where}: "{key}" is a list, and empty for none')
    words = {key: None if value is None else tuple(map(str, value)) for key, value in lists.items()}
    texts = {key: None if entry.get(key) is None else str(entry[key]) for key in ("licence", "source")}
    return Facts(parameters=size, **words, **texts)  # type: ignore[arg-type]


@functools.cache
def known_facts() -> Mapping[str, Facts]:
    """model → what models.yaml, or known.yaml of the rerankers, says of it."""
    path = Path(__file__).with_name("models.yaml")
    record = read_yaml(path)
    facts = facts_from(record["models"], path.name)
    encoders = {model: replace(entry, source=entry.source or str(record["source"])) for model, entry in facts.items()}
    return encoders | {model: _of_reranker(model, entry) for model, entry in known_models().items()}


def _of_reranker(model: str, entry: Mapping[str, Any]) -> Facts:
    said = {name: source for name, source in sources_of(entry).items() if name in FACTS}
    found = {name: entry[name] for name in FACTS if name in entry}
    return _facts(found | ({"source": "; ".join(dict.fromkeys(said.values()))} if said else {}), f"known.yaml, {model}")


def facts_of(model: str, given: Mapping[str, Facts]) -> Facts:
    """What is known of `model`, one layer of it too: each fact from `given` (a board's YAML), else from the tables."""
    whole = _LAYER.sub("", PACKAGED.get(model, model))
    known = known_facts().get(whole, Facts())
    own = given.get(model) or given.get(whole) or Facts()
    return replace(known, **{key: value for key, value in vars(own).items() if value is not None})


def trained_on(facts: Facts, tasks: Sequence[Task], said: bool) -> tuple[str, ...] | None:
    """Which of `tasks` the model was trained on; None where that is unknown.

    The tables speak of the harness's own cards alone, so for a task of the user's that it does not
    list the answer is unknown, unless the board's YAML gives the list (`said`).
    """
    if facts.trained_on is None:
        return None
    found = tuple(task.name for task in tasks if task.name in facts.trained_on)
    known = said or all(task.origin in ("packed", "split") for task in tasks)
    return found if found or known else None
