"""Stage 4: run × qrels → the value of each query and their mean.

Three rules hold for every measure here. Each judged query counts: one that the run misses has the
value 0. The ranking is ours (`types.ranked`): the evaluator sees only the place of each document,
so neither its tie rule nor its precision can move a number. A score that is NaN or infinite is an
error that names the pair.

The formulas are those of trec_eval, computed by pytrec_eval. Those that trec_eval has not are in `gains`,
and so is nDCG where grades are so large that trec_eval's table of levels is no way to count them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

from ..errors import HarnessError
from ..types import LARGEST_FLOAT32, Grades, Measure, Measurement, Qrels, Run, ranked
from .gains import ndcg, own, value

__all__ = ["measure_run", "missing_queries", "oracle", "require_finite", "require_grade", "tie_rate"]

_NOT_LOOKED_AT = -1
"""trec_eval's grade of a pooled document that nobody judged; it writes outside its memory for any grade below."""
_MOST_LEVELS = 10_000
"""trec_eval keeps a counter for each grade from 0 up: grades in the millions take seconds, beyond that it gives 0."""

_WHOLE = {"nDCG": "ndcg", "MAP": "map", "RR": "recip_rank", "Rprec": "Rprec", "bpref": "bpref", "infAP": "infAP"}
_CUT = {"nDCG": "ndcg_cut", "MAP": "map_cut", "R": "recall", "P": "P", "Success": "success"}


def measure_run(
    run: Run, qrels: Grades, measures: Sequence[Measure], relevance_level: int = 1
) -> dict[Measure, Measurement]:
    """Each measure over all judged queries, in the order of `qrels`.

    nDCG takes the relevance as gain and log2(rank + 1) as discount, and its ideal ranking is that
    of all judged documents. MAP, R, RR, P and Success call a document relevant when it is judged
    at `relevance_level` or above (trec_eval's -l); MAP and R divide by all relevant documents, also
    by those that the run misses, and P@k divides by k however few documents are ranked. RR@k is 0
    when the first relevant document stands below k. Judged@k is the share of the ranked documents
    in the top k that have a judgement, of any relevance, for that very query; a query with nothing
    ranked has 0 (the definition of ir_measures). Rprec, bpref and infAP are trec_eval's; ERR, RBP and nDCG
    with exponential gain see `gains`.

    A condensed measure is that of the ranking without the documents that have no judgement (Sakai, SIGIR 2007; the
    judged_only of ir_measures). A query without judgements is left out, whether or not the run ranks it.

    Raises HarnessError for a measure that one run and its qrels do not decide, for qrels without a
    judgement, for a relevance level below 1, and for a score that is not finite.
    """
    if relevance_level < 1:
        raise HarnessError(f"relevance level {relevance_level}: the lowest that can mean relevant is 1")
    judged = {query_id: judgements for query_id, judgements in qrels.items() if judgements}
    if not judged:
        raise HarnessError("the qrels hold no judgement: a measure needs at least one judged query")
    require_finite(run)
    rankings = {query_id: ranked(run.get(query_id, {})) for query_id in judged}
    plain = [measure for measure in measures if not measure.condensed]
    names = {_trec_name(measure): measure for measure in plain if not own(measure)}
    found = _evaluated(rankings, judged, names, relevance_level) if names else {}
    values = {
        measure: Measurement(measure, _values(measure, found, rankings, judged, relevance_level)) for measure in plain
    }
    return values | _condensed(run, judged, [each for each in measures if each.condensed], relevance_level)


def _condensed(
    run: Run, judged: Grades, measures: Sequence[Measure], relevance_level: int
) -> dict[Measure, Measurement]:
    if not measures:
        return {}
    short = {
        query_id: {doc_id: score for doc_id, score in run.get(query_id, {}).items() if doc_id in judgements}
        for query_id, judgements in judged.items()
    }
    usual = {measure: Measure(measure.name, measure.cutoff) for measure in measures}
    found = measure_run(short, judged, list(usual.values()), relevance_level)
    return {measure: Measurement(measure, found[plain].values) for measure, plain in usual.items()}


def require_grade(qrels: Qrels, relevance_level: int) -> None:
    """Raises HarnessError for a level above every judgement: nothing would be relevant, and every value 0."""
    highest = max((relevance for judgements in qrels.values() for relevance in judgements.values()), default=0)
    if 1 < relevance_level > highest:
        raise HarnessError(
            f"--relevance-level {relevance_level}: no document is judged so high; the highest is {highest}"
        )


def missing_queries(run: Run, qrels: Qrels) -> list[str]:
    """The judged queries for which the run ranks nothing, in the order of `qrels`."""
    return [query_id for query_id, judgements in qrels.items() if judgements and not run.get(query_id)]


def oracle(run: Run, qrels: Grades) -> Run:
    """The best order of the same candidates: by relevance, 0 if unjudged.

    A document's score is the place of its relevance among those of its query, so that single
    precision, in which rankings are made, holds every one.

    No other order of these candidates has a higher value of any measure of `measure_run` but
    Judged@k. What the first stage missed stays missed: the oracle is a reranker's ceiling.
    """
    best: Run = {}
    for query_id, scores in run.items():
        judged = qrels.get(query_id, {})
        grades = {doc_id: judged.get(doc_id, 0) for doc_id in scores}
        places = {grade: float(place) for place, grade in enumerate(sorted(set(grades.values())))}
        best[query_id] = {doc_id: places[grade] for doc_id, grade in grades.items()}
    return best


def tie_rate(run: Run) -> float:
    """The share of ranked documents whose float32 score another document of the query has too.

    In [0, 1]; 0 for a run that ranks nothing.
    """
    import numpy as np

    total = tied = 0
    for scores in run.values():
        single = np.fromiter(scores.values(), np.float32, len(scores))
        counts = np.unique(single, return_counts=True)[1]
        total += len(scores)
        tied += int(counts[counts > 1].sum())
    return tied / total if total else 0.0


def require_finite(run: Run) -> None:
    """Raises HarnessError, naming query and document, for a score that is no finite float32."""
    for query_id, scores in run.items():
        for doc_id, score in scores.items():
            if not -LARGEST_FLOAT32 <= score <= LARGEST_FLOAT32:
                raise HarnessError(
                    f'score {score} of query "{query_id}" and document "{doc_id}": a score must be a finite '
                    "float32 number, or the pair has no place in the ranking; look at the reranker that gave it"
                )


def _trec_name(measure: Measure) -> str:
    """What trec_eval calls the measure: `ndcg_cut_10`, `map`."""
    if measure.name == "RR":
        return _WHOLE["RR"]
    known, cutoff = (_WHOLE, "") if measure.cutoff is None else (_CUT, f"_{measure.cutoff}")
    if measure.name not in known:
        raise HarnessError(
            f"{measure} cannot be measured on one run: a ranking has nDCG, MAP and RR with or without a cutoff, "
            "R, P, Success, ERR and Judged with one, RBP, Rprec, bpref and infAP without"
        )
    return known[measure.name] + cutoff


def _evaluated(
    rankings: Mapping[str, Sequence[str]], judged: Grades, names: Mapping[str, Measure], relevance_level: int
) -> dict[str, dict[str, float]]:
    """trec_eval's name → query_id → value, whatever the size of the grades; trec_eval has whole ones."""
    grades = [relevance for judgements in judged.values() for relevance in judgements.values()]
    if max(grades) <= _MOST_LEVELS and not any(isinstance(grade, float) for grade in grades):
        return _evaluate(rankings, judged, set(names), relevance_level)
    binary = {
        # A grade below 0 stays one: infAP takes it for a document of the pool that nobody looked at.
        query_id: {
            doc_id: min(int(relevance), int(relevance >= relevance_level)) for doc_id, relevance in judgements.items()
        }
        for query_id, judgements in judged.items()
    }
    graded = {name: measure.cutoff for name, measure in names.items() if measure.name == "nDCG"}
    found = _evaluate(rankings, binary, rest, 1) if (rest := names.keys() - graded) else {}
    return found | {
        name: {query_id: ndcg(ranking, judged[query_id], cutoff) for query_id, ranking in rankings.items()}
        for name, cutoff in graded.items()
    }


def _evaluate(
    rankings: Mapping[str, Sequence[str]], judged: Grades, names: AbstractSet[str], relevance_level: int
) -> dict[str, dict[str, float]]:
    """trec_eval's name → query_id → value.

    Queries and documents go to the evaluator under the names of their places. That leaves it no
    tie to break, and an id with a NUL or a lone surrogate, which its C strings would cut, is safe.
    """
    import pytrec_eval

    places = [str(place) for place in range(max(map(len, rankings.values())))]
    by_depth = {
        depth: {place: float(-rank) for rank, place in enumerate(places[:depth])}
        for depth in set(map(len, rankings.values()))
    }
    evaluator = pytrec_eval.RelevanceEvaluator(
        {str(i): _judged_places(rankings[query_id], judged[query_id], places) for i, query_id in enumerate(judged)},
        set(names),
        relevance_level=relevance_level,
    )
    found = evaluator.evaluate(
        {str(i): by_depth[len(rankings[query_id])] for i, query_id in enumerate(judged) if rankings[query_id]}
    )
    return {
        name: {query_id: found[str(i)][name] if rankings[query_id] else 0.0 for i, query_id in enumerate(judged)}
        for name in names
    }


def _judged_places(ranking: Sequence[str], judgements: Mapping[str, float], places: Sequence[str]) -> dict[str, float]:
    """The judgements of a query by place; a document that is not ranked has a name of its own."""
    place_of = dict(zip(ranking, places, strict=False))
    return {
        place_of.get(doc_id, f"unranked {i}"): max(_NOT_LOOKED_AT, relevance)
        for i, (doc_id, relevance) in enumerate(judgements.items())
    }


def _values(
    measure: Measure,
    found: Mapping[str, Mapping[str, float]],
    rankings: Mapping[str, Sequence[str]],
    judged: Grades,
    level: int,
) -> Mapping[str, float]:
    if own(measure):
        return {query_id: value(measure, ranking, judged[query_id], level) for query_id, ranking in rankings.items()}
    values = found[_trec_name(measure)]
    if measure.name == "RR" and measure.cutoff is not None:
        return {query_id: _cut_reciprocal_rank(value, measure.cutoff) for query_id, value in values.items()}
    return values


def _cut_reciprocal_rank(value: float, cutoff: int) -> float:
    return value if value and round(1 / value) <= cutoff else 0.0
