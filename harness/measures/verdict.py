"""Stage 4 for one result: first stage, reranked and oracle, their difference, and whether to believe it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..data.clusters import Clusters
from ..data.collection import Collection
from ..results.result import Result, load_result, values_path
from ..types import Grades, Measure, Measurement, Qrels, Run
from .aspects import alpha_ndcg
from .fitting import groups_of
from .gains import TAKE_GAINS
from .groups import Groups, measure_groups
from .measure import measure_run, oracle
from .p_mrr import p_mrr
from .significance import INTERVAL_METHOD, judged, units_of

__all__ = ["cluster_of", "difference_of", "figures_of_pairs", "judge", "measured", "report_measures", "retested"]

Stages = dict[str, dict[str, Measurement]]
"""measure, as printed → stage (first_stage, reranked, oracle) → its Measurement."""


def report_measures(
    wanted: Sequence[Measure], top_k: int | None, longest: int, *, gains_alone: bool = False
) -> tuple[Measure, ...]:
    """The wanted measures, then what every run says: the candidates' recall, where it is known what is relevant, and Judged@10."""
    recall = () if gains_alone else (Measure("R", top_k or longest),)
    always = (*recall, Measure("Judged", 10))
    return tuple(dict.fromkeys((*wanted, *always)))


def judge(
    first_stage: Run | None,
    reranked: Run | None,
    candidates: Run,
    collection: Collection,
    qrels: Qrels,
    measures: Sequence[Measure],
    relevance_level: int,
    clusters: Clusters | None = None,
) -> tuple[dict[str, dict[str, float | None]], Stages]:
    """Per measure: the three means, the difference reranked − first stage, its interval and p.

    `first_stage` is None where the candidates carry no scores, `reranked` where there is no
    reranker; what cannot be computed is None, never a number. p is that of the paired sign-flip test, the
    interval its inversion (`flips`). Where `clusters` are used, the queries of one move together,
    and `low_by_query`, `high_by_query` and `p_by_query` say what would be seen if each stood alone.
    """
    runs = {"first_stage": first_stage, "reranked": reranked, "oracle": oracle(candidates, qrels)}
    stages: Stages = {}
    groups = groups_of(clusters)
    for stage, run in runs.items():
        if run is not None:
            for name, measurement in measured(run, collection, qrels, measures, relevance_level, groups, stage):
                stages.setdefault(name, {})[stage] = measurement
    return {name: _row(found, clusters) for name, found in stages.items()}, stages


def measured(
    run: Run,
    collection: Collection,
    qrels: Qrels,
    measures: Sequence[Measure],
    level: int,
    groups: Groups,
    stage: str = "reranked",
) -> Iterable[tuple[str, Measurement]]:
    """(name, Measurement) of each measure; original and changed instructions are never pooled."""
    graded = collection.graded(qrels)
    # Judged@k counts judgements, not relevance, and alpha-nDCG rewards variety: the oracle's order is not the best.
    left_out = ("p-MRR", "Judged", "alpha-nDCG") if stage == "oracle" else ("p-MRR",)
    chosen = [measure for measure in measures if measure.name not in left_out]
    plain = [measure for measure in chosen if not measure.grouped and measure.name != "alpha-nDCG"]
    if collection.qrel_diff is None:
        found = _plain(run, qrels, graded, plain, level, best=stage == "oracle")
        for measure in (each for each in chosen if each.grouped):
            of = graded if measure.name in TAKE_GAINS else qrels
            found[measure] = measure_groups(measure, run, of, groups, level, best=stage == "oracle")
        for measure in (each for each in chosen if each.name == "alpha-nDCG"):
            found[measure] = alpha_ndcg(measure, run, qrels, collection.aspects or {}, level)
        yield from ((str(measure), found[measure]) for measure in measures if measure in found)
        return
    changed = {base: ids for base, ids in collection.qrel_diff.items() if f"{base}-og" in qrels}
    if Measure("p-MRR") in measures and stage != "oracle" and any(changed.values()):
        yield "p-MRR", p_mrr(run, run, changed)
    for side in ("og", "changed"):
        part = {query_id: judged for query_id, judged in qrels.items() if query_id.endswith(f"-{side}")}
        found = _plain(run, part, collection.graded(part), plain, level, best=stage == "oracle")
        yield from ((f"{m} {side}", measurement) for m, measurement in found.items())


def _plain(
    run: Run, qrels: Qrels, graded: Grades, measures: Sequence[Measure], level: int, *, best: bool
) -> dict[Measure, Measurement]:
    """Measures of single queries: nDCG by gains where the data has them (`best`: of their own best order), all else by grades."""
    if graded is qrels:
        return measure_run(run, qrels, measures, level)
    by_gain = [measure for measure in measures if measure.name == "nDCG"]
    others = [measure for measure in measures if measure.name != "nDCG"]
    found = measure_run(run, qrels, others, level)
    return found | measure_run(oracle(run, graded) if best else run, graded, by_gain, level)


def _row(found: Mapping[str, Measurement], clusters: Clusters | None) -> dict[str, float | None]:
    row: dict[str, float | None] = dict.fromkeys(
        ("first_stage", "reranked", "oracle", "difference", "low", "high", "p")
    )
    row |= {stage: measurement.mean for stage, measurement in found.items()}
    if "first_stage" in found and "reranked" in found:
        row |= difference_of(found["first_stage"], found["reranked"], clusters)
    return row


def difference_of(first: Measurement, second: Measurement, clusters: Clusters | None) -> dict[str, float | None]:
    """The difference second − first of paired values, with what `figures_of_pairs` says of it."""
    before, after = first.values, second.values
    of = clusters.of if clusters and clusters.used else None
    pairs = [(before[query_id], after[query_id]) for query_id in before]
    return {"difference": second.mean - first.mean, **figures_of_pairs(pairs, _clusters_of(before, of))}


def figures_of_pairs(pairs: Sequence[tuple[float, float]], clusters: Sequence[str] | None) -> dict[str, float | None]:
    """low, high and p of paired values; with clusters, of these, and the same by query beside them."""
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    alone = judged(units_of(first, second))
    if clusters is None:
        return {"low": alone.low, "high": alone.high, "p": alone.p}
    together = judged(units_of(first, second, clusters))
    by_query = {"low_by_query": alone.low, "high_by_query": alone.high, "p_by_query": alone.p}
    return {"low": together.low, "high": together.high, "p": together.p, **by_query}


def retested(result: Result, path: Path | None = None) -> Result:
    """The result with interval and p as they are found now, from its queries' values.

    What another version stored may be found in another way. Values that `result` does not hold are read beside `path`;
    where there are none it stays as it is, and says so (`interval_method`).
    """
    if result.interval_method == INTERVAL_METHOD or not (result.values or (path and values_path(path).is_file())):
        return result
    whole = result if result.values or path is None else load_result(path, with_values=True)
    clusters = dict(zip(whole.query_ids, whole.clusters, strict=True)) if whole.clusters else None
    measures = {name: dict(row) for name, row in result.measures.items()}
    for name, stages in whole.values.items():
        if {"first_stage", "reranked"} <= stages.keys():
            both = zip(whole.query_ids, stages["first_stage"], stages["reranked"], strict=True)
            rows = {query_id: (a, b) for query_id, a, b in both if a is not None and b is not None}
            measures[name] |= figures_of_pairs(list(rows.values()), _clusters_of(rows, clusters))
    return replace(result, measures=measures, interval_method=INTERVAL_METHOD)


def _clusters_of(query_ids: Iterable[str], clusters: Mapping[str, str] | None) -> list[str] | None:
    """None where each of these queries is a cluster of its own."""
    found = [] if clusters is None else [cluster_of(query_id, clusters) for query_id in query_ids]
    return found if len(set(found)) < len(found) else None


def cluster_of(query_id: str, clusters: Mapping[str, str]) -> str:
    """The cluster of a query, or of the base query that p-MRR has its values for."""
    return next((clusters[q] for q in (query_id, f"{query_id}-og") if q in clusters), query_id)
