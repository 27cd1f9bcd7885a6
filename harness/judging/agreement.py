"""How far two judges agree: Cohen's kappa over pairs, Kendall's tau over the systems that they put in order.

Kappa is unweighted (Cohen, 1960); tau is tau-b (Kendall, 1945), which corrects for ties. Either is None where it is not
defined: judges who give one grade alone, systems that are all equal. numpy alone; the tests hold them against
scikit-learn and scipy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.layers import Layer
from ..measures.measure import measure_run
from ..results.result import Result
from ..types import Measure, Qrels, Run
from ..verdicts.pairing import first_stage_label
from .pool import by_data, ranking_of, with_data

__all__ = ["Agreement", "agreement_on", "kappa", "tau"]


@dataclass(frozen=True)
class Agreement:
    """A layer against a data set's own judgements, on the pairs that both judge."""

    task: str
    subset: str
    pairs: int
    kappa: float | None
    """Over grades, where both have more than two of them."""
    kappa_binary: float | None
    relevant_for_people: int
    """From which grade on the data set's own judgements count as relevant."""
    relevant_for_judge: int
    measure: str
    systems: Mapping[str, tuple[float, float]]
    """system → its figure by the data set's judgements, and by the layer's alone, over the queries that both judge."""
    tau: float | None

    def record(self) -> dict[str, Any]:
        """The entry of `--format json`."""
        return asdict(self)


def kappa(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Cohen's kappa of two lists of grades, in order; None where chance alone would agree on all, and for no pair."""
    a, b = np.asarray(first), np.asarray(second)
    if not len(a):
        return None
    names = np.union1d(a, b)
    shares = [(float((a == name).mean()), float((b == name).mean())) for name in names]
    by_chance = sum(one * other for one, other in shares)
    return None if by_chance >= 1 else (float((a == b).mean()) - by_chance) / (1 - by_chance)


def tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of two lists of figures, in order; None where one of them is all ties, and for fewer than two."""
    a, b = (np.asarray(values, float) for values in (first, second))
    above = np.triu_indices(len(a), 1)
    x, y = (np.sign(values[above[0]] - values[above[1]]) for values in (a, b))
    spread = float(np.count_nonzero(x)) * float(np.count_nonzero(y))
    return float((x * y).sum() / np.sqrt(spread)) if spread else None


def agreement_on(
    layer: Layer, results: Sequence[Result], cache: Path, measure: Measure, levels: tuple[int | None, int | None]
) -> list[Agreement]:
    """One entry for each data set of `results` that layer and people both judge something of.

    `levels` are from which grade on people's judgements are relevant, and the layer's; None takes that of the results,
    and for the layer that of people. Raises HarnessError
    where data or a ranking is not in the cache.
    """
    found = []
    for (task, subset, fingerprint), own in by_data(results).items():
        people, judge = with_data(own[0], cache).qrels, layer.qrels(fingerprint)
        queries = [query_id for query_id in judge if not judge[query_id].keys().isdisjoint(people.get(query_id, {}))]
        if not queries:
            continue
        usual = levels[0] or own[0].identity.relevance_level
        own_levels = usual, levels[1] or usual
        sides = [{query_id: side[query_id] for query_id in queries} for side in (people, judge)]
        systems = {_label(result): _figures(ranking_of(result, cache), sides, measure, own_levels) for result in own}
        found.append(_agreement((task, subset), sides, own_levels, str(measure), systems))
    return found


def _label(result: Result) -> str:
    identity = result.identity
    stage = first_stage_label(result)
    if identity.reranker is None:
        return stage
    return f"{stage} → {identity.reranker} {(identity.reranker_fingerprint or '')[:8]}"


def _figures(run: Run, sides: Sequence[Qrels], measure: Measure, levels: Sequence[int]) -> tuple[float, float]:
    people, judge = (
        measure_run(run, qrels, [measure], level)[measure].mean for qrels, level in zip(sides, levels, strict=True)
    )
    return people, judge


def _agreement(
    data: tuple[str, str],
    sides: Sequence[Qrels],
    levels: tuple[int, int],
    measure: str,
    systems: Mapping[str, tuple[float, float]],
) -> Agreement:
    people, judge = sides
    both = [(people[q][d], grade) for q, judged in judge.items() for d, grade in judged.items() if d in people[q]]
    columns = [list(column) for column in zip(*both, strict=True)]
    binary = [[int(grade >= level) for grade in column] for column, level in zip(columns, levels, strict=True)]
    graded = all(len(set(column)) > 2 for column in columns)
    return Agreement(
        *data,
        pairs=len(both),
        kappa=kappa(*columns) if graded else None,
        kappa_binary=kappa(*binary),
        relevant_for_people=levels[0],
        relevant_for_judge=levels[1],
        measure=measure,
        systems=systems,
        tau=tau(*zip(*systems.values(), strict=True)) if len(systems) > 1 else None,
    )
