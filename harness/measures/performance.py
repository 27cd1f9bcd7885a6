"""How fast a result was made, and with how much memory and money: measured, so it differs from run to run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..rerankers.rerank import Reranked
from ..rerankers.score import Pair, margins_of
from ..types import Candidates, ranked

if TYPE_CHECKING:
    from ..data.collection import Collection
    from ..engine.options import Options
    from ..rerankers.base import Reranker

__all__ = ["latency_alone", "measured", "peak_memory"]

_SAMPLE = 30
_AT_LEAST = 10
"""A 95th percentile of fewer queries than this says nothing."""
_SECONDS, _SHARE = 3.0, 0.1
"""Queries are measured alone for so many seconds, or this share of those that the run scored for, whichever is more."""
_OF_THE_USER = "plug-in"
"""Code that may call what costs money, and is promised to be called once for each pair."""


def measured(
    reranked: Reranked, reranker: Reranker, candidates: Candidates, collection: Collection, options: Options
) -> dict[str, Any]:
    """Seconds, rates, latency and memory of one reranking.

    Rates are of scoring alone, after the first batch, which loads the model (an encoder's vectors are all computed
    in it, and workers load theirs at different times, so their rates are of everything); None where there was
    nothing more to score. The latency of a query is measured (`latency_seconds`): a list-context reranker's and a
    service's with every query of the run, others' with some whole queries that are scored alone after it; for
    pair-context code of the user's, which is called for no pair twice, and where even one of them would take longer than the run did, it is estimated from its tokens and the rate of the run,
    which batches across queries (`latency_from_rate_seconds`). Where workers scored there is none. A service's
    requests have their own seconds, in `billed`.
    """
    pace = reranked.pace
    workers = options.workers if pace.done else None
    done, tokens, seconds = pace.rated(whole=workers is not None or reranker.spec.family == "bi-encoder")
    rates = {"pairs_per_second": done, "tokens_per_second": tokens if reranker.spec.counts_tokens else None}
    billed = _billed(reranker, reranked, candidates)
    latency: dict[str, Any] = {}
    if billed:
        latency = _of_requests(billed, reranked)
    elif not workers:  # they have the model, and this process has none
        latency = _latency(reranked, reranker, candidates, collection, options)
    return {
        **({"billed": billed} if billed else {}),
        "seconds": round(reranked.seconds, 3),
        "scoring_seconds": round(sum(pace.steps), 3),
        "pairs_scored": pace.done,
        "pairs_from_store": reranked.stored,
        **{name: round(count / seconds, 3) if count and seconds else None for name, count in rates.items()},
        **latency,
        **({"workers": workers.count} if workers else peak_memory(options.device)),
    }


def _billed(reranker: Reranker, reranked: Reranked, candidates: Candidates) -> dict[str, Any]:
    """What a service's requests took and were billed, and, from that, what all pairs would be, also those from the store."""
    bill: Any = getattr(reranker.load(), "bill", None)
    if bill is None:
        return {}
    queries = sum(bool(scores) for scores in candidates.run.values())
    done = reranked.pace.done
    found: dict[str, Any] = bill.settle(queries * done / reranked.pairs if reranked.pairs else 0)
    if "cost" in found and done:
        found["cost_of_all_pairs"] = found["cost"] * reranked.pairs / done
    return found


def _of_requests(billed: dict[str, Any], reranked: Reranked) -> dict[str, Any]:
    """The latency of a query of a service, where each was one request and none came from the store."""
    seconds = billed.get("request_seconds")
    if seconds is None or reranked.stored or billed["requests"] != sum(map(bool, reranked.run.values())):
        return {}
    found = {"p50": seconds["p50"], "p95": seconds["p95"], "queries": billed["requests"]}
    return {"latency_seconds": {**found, "how": "every query of the run, one request each"}}


def _latency(
    reranked: Reranked, reranker: Reranker, candidates: Candidates, collection: Collection, options: Options
) -> dict[str, Any]:
    pace, model = reranked.pace, reranker.load()
    if not pace.done:
        return {}
    if not hasattr(model, "prepare"):
        # Called once a query: each step is a whole one, unless the store had a part. The first loads the model.
        steps = pace.steps[1:] if len(pace.steps) > 1 else pace.steps
        whole = reranker.spec.context == "list" or not reranked.stored
        return {"latency_seconds": _percentiles(steps, "every query of the run, one call each")} if whole else {}
    done, tokens, seconds_in_all = pace.rated(whole=reranker.spec.family == "bi-encoder")
    queries = max(1, sum(bool(scores) for scores in candidates.run.values()))
    scoring = sum(pace.steps)
    expected = (seconds_in_all / done if done else scoring / pace.done) * reranked.pairs / queries
    if reranker.spec.family != _OF_THE_USER and expected <= max(_SECONDS, scoring):
        seconds = latency_alone(reranker, candidates, collection, options, max(_SECONDS, _SHARE * scoring))
        how = "whole queries, tokenized and scored one at a time"
        return {"latency_seconds": _percentiles(seconds, how)} if seconds else {}
    if not done:
        return {}
    cost = reranked.query_tokens if tokens else [len(scores) for scores in candidates.run.values()]
    rate = (tokens or done) / seconds_in_all
    estimated = _percentiles([each / rate for each in cost if each], "from each query's size and the run's rate")
    return {"latency_from_rate_seconds": estimated}


def _percentiles(seconds: Sequence[float], how: str) -> dict[str, Any]:
    """p50, and p95 where so many queries can say it."""
    half, most = (round(value, 6) for value in np.percentile(np.asarray(seconds), [50, 95]).tolist())
    return {"p50": half, **({"p95": most} if len(seconds) >= _AT_LEAST else {}), "queries": len(seconds), "how": how}


def latency_alone(
    reranker: Reranker, candidates: Candidates, collection: Collection, options: Options, budget: float = _SECONDS
) -> list[float]:
    """The seconds of some queries, spread over all, each scored alone after one to warm up: one at least, 30 at most.

    None begins after `budget` seconds. Encoders compute vectors anew that they have kept.
    """
    asked = [query_id for query_id, scores in candidates.run.items() if scores]
    chosen = asked[:: max(1, len(asked) // _SAMPLE)][:_SAMPLE]
    texts = collection.documents({doc_id for query_id in chosen for doc_id in candidates.run[query_id]})
    whole = {
        query_id: [
            (collection.queries[query_id], texts[doc_id])
            for doc_id in ranked(candidates.run[query_id])
            if doc_id in texts
        ]
        for query_id in chosen
    }
    alone = _scoring_of(reranker, options)
    chosen = [query_id for query_id in chosen if whole[query_id]]
    seconds: list[float] = []
    if chosen:
        alone(whole[chosen[-1]][:1])
    begun = time.monotonic()
    for query_id in chosen:
        started = time.monotonic()
        if seconds and started - begun > budget:
            break
        alone(whole[query_id])
        seconds.append(time.monotonic() - started)
    return seconds


def _scoring_of(reranker: Reranker, options: Options) -> Callable[[list[Pair]], object]:
    """What scores the pairs of one query as if nobody had seen them before."""
    model = reranker.load()
    if hasattr(model, "score_alone"):
        return lambda pairs: model.score_alone(pairs[0][0], [document for _, document in pairs])
    return lambda pairs: margins_of(reranker, pairs, options.batch_tokens)


def peak_memory(device: str) -> dict[str, float]:
    """The most memory that this process has held until now, in GiB, and on a GPU the most of its memory."""
    import resource

    unit = 2**30 if sys.platform == "darwin" else 2**20  # ru_maxrss is in bytes there, in KiB elsewhere
    found = {"peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 3)}
    torch: Any = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None:
        found["peak_device_memory_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    return found
