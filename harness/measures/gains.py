"""Measures that trec_eval has not, or not for all grades: each the value of one query's ranking.

`judgements` are doc_id → relevance of that query; a document that is not judged gains nothing, and neither does
a grade below 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ..errors import HarnessError
from ..types import Measure

__all__ = ["TAKE_GAINS", "ndcg", "own", "value"]

TAKE_GAINS = ("nDCG", "robustness", "Judged")
"""Measures that take gains of any size, or ask whether a document is judged at all."""
MOST_OF_ERR = 4
"""The highest grade of ERR: it makes a document satisfying with probability (2^4 - 1) / 2^4, as in TREC's gdeval."""


def own(measure: Measure) -> bool:
    """Whether the measure is one of this file: Judged, ERR, RBP, and nDCG with exponential gain."""
    return measure.name in ("Judged", "ERR", "RBP") or bool(measure.option)


def value(measure: Measure, ranking: Sequence[str], judgements: Mapping[str, float], relevance_level: int) -> float:
    """The measure's value of one ranking of doc_ids, best first; 0 for an empty one.

    Raises HarnessError for a grade that ERR has no probability for.
    """
    top = ranking[: measure.cutoff]
    if measure.name == "Judged":
        return sum(doc_id in judgements for doc_id in top) / len(top) if top else 0.0
    if measure.name == "RBP":
        hits = (judgements.get(doc_id, 0) >= relevance_level for doc_id in top)
        return (1 - measure.persistence) * math.fsum(
            measure.persistence**place for place, hit in enumerate(hits) if hit
        )
    if measure.name == "ERR":
        return _err(top, judgements)
    return ndcg(ranking, judgements, measure.cutoff, lambda grade: 2.0**grade - 1)


def _err(top: Sequence[str], judgements: Mapping[str, float]) -> float:
    """Expected reciprocal rank (Chapelle et al., CIKM 2009): Σ 1/rank · P(satisfied there and nowhere before)."""
    highest = max(judgements.values(), default=0)
    if highest > MOST_OF_ERR:
        raise HarnessError(
            f"ERR is defined for grades from 0 to {MOST_OF_ERR}, and these judgements go up to {highest}: take nDCG, or "
            f"bring the grades to that scale"
        )
    total, looking = 0.0, 1.0
    for rank, doc_id in enumerate(top, 1):
        satisfied = (2.0 ** max(0, judgements.get(doc_id, 0)) - 1) / 2**MOST_OF_ERR
        total += looking * satisfied / rank
        looking *= 1 - satisfied
    return total


def ndcg(
    ranking: Sequence[str], judgements: Mapping[str, float], cutoff: int | None, gain: Callable[[float], float] = float
) -> float:
    """nDCG as trec_eval's m_ndcg.c has it: Σ gain(grade) / log2(rank + 1), over that of the best order.

    The gain is the grade itself, or 2^grade - 1 where papers say "exponential" (Burges et al., ICML 2005).
    """
    best = sorted((relevance for relevance in judgements.values() if relevance > 0), reverse=True)
    ideal = _discounted([gain(grade) for grade in best[:cutoff]])
    gains = [gain(max(0, judgements.get(doc_id, 0))) for doc_id in ranking[:cutoff]]
    return _discounted(gains) / ideal if ideal else 0.0


def _discounted(gains: Sequence[float]) -> float:
    total = 0.0
    for rank, gain in enumerate(gains, 1):
        total += gain / math.log2(rank + 1)
    return total
