"""Figures that a board's YAML states itself: a paper's, a colleague's, a service's own.

    figures:
      - {task: SciFact, measure: nDCG@10, reranker: org/model, first_stage: bm25 top 100, value: 0.7142,
         source: "Doe 2026, table 3", date: 2026-05-01}

They stand as published rows do: with their source, without interval or rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import HarnessError, did_you_mean
from ..types import Measure, Task

__all__ = ["Stated", "stated_figures"]


@dataclass(frozen=True)
class Stated:
    """One figure, and where it comes from."""

    task: str
    measure: str
    value: float
    """In [0, 1]; p-MRR in [-1, 1]."""
    first_stage: str
    source: str
    reranker: str = ""
    """Empty for a first stage alone."""
    date: str = ""
    subset: str = ""
    """Of a task of several: which one; empty for their mean."""
    data: str = ""
    """The data that it was measured on."""


_NEEDED = ("task", "measure", "value", "first_stage", "source")
_KEYS = (*_NEEDED, "reranker", "date", "subset", "data")


def stated_figures(entries: Sequence[Any], tasks: Sequence[Task], where: str) -> tuple[Stated, ...]:
    """The figures, checked. Raises HarnessError for a key, task, subset, measure or value that cannot be."""
    return tuple(
        _stated(entry, {task.name: task for task in tasks}, f"{where}, figures {place}")
        for place, entry in enumerate(entries, 1)
    )


def _stated(entry: Any, tasks: dict[str, Task], where: str) -> Stated:
    if not isinstance(entry, dict):
        raise HarnessError(f"{where}: a figure is {{task: …, measure: …, value: …, first_stage: …, source: …}}")
    for key in entry:
        if key not in _KEYS:
            raise HarnessError(
                f'{where}: unknown key "{key}"; known: {", ".join(_KEYS)}.{did_you_mean(str(key), _KEYS)}'
            )
    missing = [key for key in _NEEDED if entry.get(key) in (None, "")]
    if missing:
        why = ": figures over different first stages do not compare" if missing[0] == "first_stage" else ""
        raise HarnessError(f'{where}: "{missing[0]}" is missing{why}')
    texts = {key: str(value) for key, value in entry.items() if key != "value" and value is not None}
    task = tasks.get(texts["task"])
    if task is None:
        raise HarnessError(f'{where}: "{texts["task"]}" is no task of this board.{did_you_mean(texts["task"], tasks)}')
    subsets = [subset.name for subset in task.subsets]
    if texts.get("subset", "") not in ("", *subsets):
        raise HarnessError(f'{where}: {task.name} has no subset "{texts["subset"]}"; it has {", ".join(subsets)}')
    return Stated(
        **{**texts, "measure": _measure(texts["measure"], where)}, value=_value(entry["value"], texts["measure"], where)
    )


def _measure(text: str, where: str) -> str:
    name, _, side = text.partition(" ")
    try:
        return f"{Measure.parse(name)} {side}".strip()
    except ValueError as error:
        raise HarnessError(f"{where}: {error}") from None


def _value(given: Any, measure: str, where: str) -> float:
    least = -1.0 if measure.startswith("p-MRR") else 0.0
    if isinstance(given, bool) or not isinstance(given, int | float) or not least <= given <= 1:
        raise HarnessError(f"{where}: {given} is no {measure} between {least:g} and 1; papers often print it times 100")
    return float(given)
