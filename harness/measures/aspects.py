"""Stage 4, for queries that mean several things: does the top of a ranking serve each of them?

alpha-nDCG (Clarke et al., SIGIR 2008) is nDCG in which a document gains for each aspect that it is relevant to, and
less for one that was served before. It equals TREC's ndeval.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ..errors import HarnessError
from ..types import Aspects, Measure, Measurement, Qrels, Run, ranked
from .measure import require_finite

__all__ = ["alpha_ndcg"]


def alpha_ndcg(measure: Measure, run: Run, qrels: Qrels, aspects: Aspects, relevance_level: int = 1) -> Measurement:
    """The value of each judged query, at 0 or above; one that the run misses, or without a relevant document, has 0.

    The gain of a document is the sum of (1 - alpha)^n over the aspects it is relevant to (judged at
    `relevance_level` or above), n of the documents above it being relevant to that aspect too. The ideal order takes
    the document that gains most, place by place (ties by doc_id, descending): the best order of all is too costly to
    find, so a ranking may rarely have more than 1.

    Raises HarnessError for a score that is not finite, and for qrels without a judgement.
    """
    require_finite(run)
    if not qrels:
        raise HarnessError("the qrels hold no judgement: a measure needs at least one judged query")
    return Measurement(
        measure,
        {
            query_id: _value(
                ranked(run.get(query_id, {})), _served(aspects.get(query_id, {}), relevance_level), measure
            )
            for query_id in qrels
        },
    )


def _served(documents: Mapping[str, Mapping[str, int]], relevance_level: int) -> dict[str, list[str]]:
    """doc_id → the aspects that it is relevant to, by number; without documents that are relevant to none."""
    served = {
        doc_id: sorted((aspect for aspect, relevance in of.items() if relevance >= relevance_level), key=_number)
        for doc_id, of in documents.items()
    }
    return {doc_id: aspects for doc_id, aspects in served.items() if aspects}


def _number(aspect: str) -> tuple[int, str]:
    return (int(aspect), aspect) if aspect.isdecimal() else (-1, aspect)


def _value(ranking: Sequence[str], served: Mapping[str, Sequence[str]], measure: Measure) -> float:
    best = _discounted((served[doc_id] for doc_id in _ideal(served, measure)), measure.alpha)
    if not best:
        return 0.0
    return _discounted((served.get(doc_id, ()) for doc_id in ranking[: measure.cutoff]), measure.alpha) / best


def _ideal(served: Mapping[str, Sequence[str]], measure: Measure) -> list[str]:
    chosen: list[str] = []
    left, worth = dict(served), _worth()
    while left and len(chosen) < (measure.cutoff or 0):
        gain = {doc_id: _gain(aspects, worth) for doc_id, aspects in left.items()}
        chosen.append(max(left, key=lambda doc_id: (gain[doc_id], doc_id)))
        _serve(left.pop(chosen[-1]), worth, measure.alpha)
    return chosen


Worth = defaultdict[str, float]
"""aspect → what a document gains that is relevant to it, now."""


def _worth() -> Worth:
    return defaultdict(lambda: 1.0)


def _serve(aspects: Iterable[str], worth: Worth, alpha: float) -> None:
    for aspect in aspects:
        worth[aspect] *= 1 - alpha


def _gain(aspects: Iterable[str], worth: Worth) -> float:
    """Added one by one, as ndeval does: where rounding parts two gains that are equal on paper, it does so here too."""
    total = 0.0
    for aspect in aspects:
        total += worth[aspect]
    return total


def _discounted(places: Iterable[Sequence[str]], alpha: float) -> float:
    total, worth = 0.0, _worth()
    for rank, aspects in enumerate(places, 1):
        total += _gain(aspects, worth) / math.log2(rank + 1)
        _serve(aspects, worth, alpha)
    return total
