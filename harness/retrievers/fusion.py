"""Several first stages as one: their rankings joined by reciprocal rank, or by a weighted sum of scores."""

from __future__ import annotations

from collections.abc import Sequence

from ..data.collection import Collection
from ..errors import HarnessError
from ..files.digest import digest_of_settings
from ..types import Run, Subset, Task, ranked
from .retrieve import FirstStage, allowed

__all__ = ["BY", "fuse", "fused_stage"]

RRF, SUM = BY = ("rrf", "sum")
"""Reciprocal rank (Cormack, Clarke and Büttcher, SIGIR 2009), or the sum of scores that each list's
smallest and largest made 0 and 1 (min-max, as ranx and most hybrid search engines have it)."""

RRF_K = 60
"""The constant of reciprocal rank fusion: score = Σ weight / (60 + rank)."""


def fused_stage(stages: Sequence[FirstStage], by: str = RRF, weights: Sequence[float] = ()) -> FirstStage:
    """Several first stages joined, each cut at the same k before it is joined; `weights` in their order, else 1 each.

    Raises HarnessError for fewer than two, for another number of weights than of stages, and for a
    weight below 0 or none above it.
    """
    if len(stages) < 2:
        raise HarnessError("--fuse joins two first stages or more: give --retriever or --candidates several times")
    _check(stages, by, weights)

    def search(collection: Collection, task: Task, subset: Subset, k: int) -> Run:
        runs = [allowed(stage.search(collection, task, subset, k), collection, task, k) for stage in stages]
        return fuse(runs, by, weights)

    return FirstStage(
        _name(stages, by, weights),
        _settings(stages, by, weights),
        search,
        wants_task_prompt=any(stage.wants_task_prompt for stage in stages),
        in_language=lambda code: fused_stage(
            [stage.in_language(code) if stage.in_language else stage for stage in stages], by, weights
        ),
    )


def _check(stages: Sequence[FirstStage], by: str, weights: Sequence[float]) -> None:
    if weights and len(weights) != len(stages):
        names = ", ".join(stage.name for stage in stages)
        raise HarnessError(f"--fuse-weights has {len(weights)} weights for {len(stages)} first stages: {names}")
    if any(weight < 0 for weight in weights) or (weights and not any(weights)):
        raise HarnessError("--fuse-weights: a weight is a number from 0 on, and one of them is above 0")
    if by == SUM and (without := [stage.name for stage in stages if not stage.scored]):
        raise HarnessError(f"--fuse-by sum adds scores, and {without[0]} has none: --fuse-by rrf joins by rank")


def _name(stages: Sequence[FirstStage], by: str, weights: Sequence[float]) -> str:
    names = [stage.name for stage in stages]
    if weights:
        names = [f"{weight:g} {name}" for weight, name in zip(weights, names, strict=True)]
    return f"{by}({'+'.join(names)})"


def _settings(stages: Sequence[FirstStage], by: str, weights: Sequence[float]) -> tuple[tuple[str, object], ...]:
    """What keys the candidates; without weights and by rank it is what it always was, whatever the stages' order."""
    if by == RRF and not weights:
        order = sorted(stage.fingerprint for stage in stages)
        parts = [(f"{place:03d}", fingerprint) for place, fingerprint in enumerate(order)]
        return (("k", RRF_K), ("parts", digest_of_settings(parts)))
    given = weights or [1.0] * len(stages)
    weighted = sorted((stage.fingerprint, weight) for stage, weight in zip(stages, given, strict=True))
    fields = [(f"{place:03d}", list(part)) for place, part in enumerate(weighted)]
    return (("by", by), ("k", RRF_K), ("parts", digest_of_settings(fields)))


def fuse(runs: Sequence[Run], by: str = RRF, weights: Sequence[float] = ()) -> Run:
    """One run of all documents that any run has; what a run does not have adds nothing."""
    fused: Run = {}
    for run, weight in zip(runs, weights or [1.0] * len(runs), strict=True):
        for query_id, scores in run.items():
            sums = fused.setdefault(query_id, {})
            for doc_id, value in _values(scores, by).items():
                sums[doc_id] = sums.get(doc_id, 0.0) + weight * value
    return fused


def _values(scores: dict[str, float], by: str) -> dict[str, float]:
    """What each document of a list adds: 1 / (60 + rank), or its score between the list's least, 0, and greatest, 1.

    A list without any spread adds 0 for all its documents, as ranx has it.
    """
    if by == RRF:
        return {doc_id: 1.0 / (RRF_K + rank) for rank, doc_id in enumerate(ranked(scores), start=1)}
    least, most = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    spread = max(most - least, 1e-9)
    return {doc_id: (score - least) / spread for doc_id, score in scores.items()}
