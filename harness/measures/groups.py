"""Stage 4, for queries that are one in several forms: measures that have one value for each group of them.

robustness@k (InstructIR, arXiv 2402.14334) is the worst of a query's instructions, paired accuracy (NevIR, arXiv
2305.07614) asks that every query of a pair finds its document first, and max-over-subqueries (MindSmall) ranks
each document by the best of its scores. All equal mteb's functions of these names. Which queries form a group is
what a card says, never what their ids look like.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import HarnessError
from ..types import Grades, Measure, Measurement, Run
from .measure import measure_run, oracle

__all__ = ["Groups", "measure_groups", "robustness"]

Groups = Mapping[str, Sequence[str]]
"""The name of a group → the query_ids that are one query in several forms."""


def measure_groups(
    measure: Measure, run: Run, qrels: Grades, groups: Groups, relevance_level: int = 1, *, best: bool = False
) -> Measurement:
    """One of the measures that `Measure.grouped` tells; `values` is keyed by the names of the groups, in [0, 1].

    With `best` the run's scores are not looked at: its documents stand in the best order that they can have.
    Raises HarnessError as `robustness` does, and for queries of one group that are judged differently.
    """
    _require_judged(measure, qrels, groups)
    run = oracle(run, qrels) if best else run
    if measure.name == "robustness":
        return robustness(run, qrels, groups, measure.cutoff or 0)
    if measure.name == "paired-accuracy":
        first = Measure("R", 1)
        found = measure_run(run, qrels, [first], relevance_level)[first].values
        return Measurement(measure, {name: float(all(found[q] == 1 for q in ids)) for name, ids in groups.items()})
    judged = {name: qrels[query_ids[0]] for name, query_ids in groups.items()}
    merged = {name: _best_scores(run, query_ids) for name, query_ids in groups.items()}
    inner = Measure(measure.option, measure.cutoff)
    merged = oracle(merged, judged) if best else merged
    return Measurement(measure, measure_run(merged, judged, [inner], relevance_level)[inner].values)


def robustness(run: Run, qrels: Grades, groups: Groups, k: int) -> Measurement:
    """InstructIR's robustness@k: each group's worst nDCG@k over its query_ids, in [0, 1].

    A group is one query under many instructions; `values` is keyed by the names of the groups. A
    judged query that the run misses has nDCG 0 and so decides its group.

    Raises HarnessError for no group, a group without queries, a query without judgements, and a
    score that is not finite.
    """
    measure = Measure("robustness", k)
    _require_judged(measure, qrels, groups)
    ndcg = Measure("nDCG", k)
    values = measure_run(run, qrels, [ndcg])[ndcg].values
    return Measurement(measure, {group: min(values[query_id] for query_id in ids) for group, ids in groups.items()})


def judged_apart(qrels: Grades, groups: Groups) -> tuple[str, str] | None:
    """Two queries of one group with different judgements; None where each group's are the same throughout."""
    pairs = ((query_ids[0], query_id) for query_ids in groups.values() for query_id in query_ids[1:])
    return next(((one, other) for one, other in pairs if qrels.get(one) != qrels.get(other)), None)


def _require_judged(measure: Measure, qrels: Grades, groups: Groups) -> None:
    if not groups:
        raise HarnessError(f"{measure} needs groups of queries: there is none")
    for group, query_ids in groups.items():
        if not query_ids:
            raise HarnessError(f'group "{group}" of {measure} holds no query')
        for query_id in query_ids:
            if not qrels.get(query_id):
                raise HarnessError(f'query "{query_id}" of group "{group}" has no judgement: {measure} is unknown')
    if measure.name == "max-over-subqueries" and (apart := judged_apart(qrels, groups)):
        raise HarnessError(f'{measure}: queries "{apart[0]}" and "{apart[1]}" of one group are judged differently')


def _best_scores(run: Run, query_ids: Sequence[str]) -> dict[str, float]:
    """doc_id → the highest of its scores."""
    found: dict[str, float] = {}
    for query_id in query_ids:
        for doc_id, score in run.get(query_id, {}).items():
            found[doc_id] = max(score, found.get(doc_id, score))
    return found
