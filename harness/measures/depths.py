"""Depth: what reranking the first k candidates alone would have given, from the scores that are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..data.clusters import Clusters
from ..data.collection import Collection
from ..types import Measure, Measurement, Qrels, Run, cut
from .fitting import groups_of
from .measure import oracle
from .verdict import difference_of, measured

__all__ = ["DEPTHS", "depth_curve"]

DEPTHS = (10, 20, 50, 100, 200, 500, 1000)
_NDCG = Measure("nDCG", 10)


def depth_curve(
    first_stage: Run,
    reranked: Run,
    collection: Collection,
    qrels: Qrels,
    measure: Measure,
    relevance_level: int,
    clusters: Clusters | None = None,
) -> dict[str, Any]:
    """`measure` when only the first k candidates are reranked, for each k of DEPTHS and the whole depth.

    A pair's score does not depend on its neighbours, so the first k candidates in the order of their scores are what
    a run of depth k would rank. With each k goes the oracle, the best order of the same k, and the paired difference
    from the first stage with its 95 % interval and p, each k for itself, as a result has them for its whole depth.
    In place of p-MRR, which a ranking alone has none of, stands nDCG@10; of changing instructions, the original ones.
    """
    wanted = _NDCG if measure.name == "p-MRR" else measure
    groups = groups_of(clusters)

    def of(run: Run, stage: str) -> tuple[str, Measurement | None]:
        found = measured(run, collection, qrels, [wanted], relevance_level, groups, stage)
        return next(iter(found), ("", None))

    name, before = of(first_stage, "first_stage")
    if before is None:
        return {}
    points = []
    for k in _depths(first_stage):
        shallow = cut(first_stage, k)
        after = of(
            {q: {doc_id: reranked[q][doc_id] for doc_id in scores} for q, scores in shallow.items()}, "reranked"
        )[1]
        best = of(oracle(shallow, qrels), "oracle")[1]
        if after is not None:
            figures = {"reranked": after.mean, "oracle": None if best is None else best.mean}
            points.append({"k": k, **figures, **difference_of(before, after, clusters)})
    return {"measure": name, "first_stage": before.mean, "points": points}


def _depths(first_stage: Run) -> Sequence[int]:
    deepest = max((len(scores) for scores in first_stage.values()), default=0)
    return [*(depth for depth in DEPTHS if depth < deepest), deepest]
