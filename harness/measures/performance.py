"""How fast a result was made, and with how much memory: measured, so it differs from run to run."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
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
_SECONDS = 3.0
_MODELS_OF_OURS = frozenset(
    {"sequence-classification", "bge", "layerwise", "lightweight", "enct5", "causal", "seq2seq"}
)
"""Families that compute a pair whenever asked. A plug-in's or a provider's calls may cost money, and
encoders keep the vectors of texts they have seen."""


def measured(
    reranked: Reranked, reranker: Reranker, candidates: Candidates, collection: Collection, options: Options
) -> dict[str, Any]:
    """Seconds, rates, latency and memory of one reranking.

    Rates are of scoring alone, after the first batch, which loads the model (an encoder's vectors are all computed
    in it, and workers load theirs at different times, so their rates are of everything); None where there was
    nothing more to score. The latency of a query is measured with whole queries scored one at a time
    (`latency_seconds`), or where that would take too long estimated from its tokens and the rate of the run,
    which batches across queries (`latency_from_rate_seconds`). Where workers scored there is none.
    """
    pace = reranked.pace
    workers = options.workers if pace.done else None
    done, tokens, seconds = pace.rated(whole=workers is not None or reranker.spec.family == "bi-encoder")
    rates = {"pairs_per_second": done, "tokens_per_second": tokens if reranker.spec.counts_tokens else None}
    bill: Any = getattr(reranker.load(), "bill", None)
    return {
        **(_billed(bill, reranked, candidates) if bill is not None else {}),
        "seconds": round(reranked.seconds, 3),
        "scoring_seconds": round(sum(pace.steps), 3),
        "pairs_scored": pace.done,
        "pairs_from_store": reranked.stored,
        **{name: round(count / seconds, 3) if count and seconds else None for name, count in rates.items()},
        **({} if workers else _latency(reranked, reranker, candidates, collection, options)),
        **({"workers": workers.count} if workers else peak_memory(options.device)),
    }


def _billed(bill: Any, reranked: Reranked, candidates: Candidates) -> dict[str, Any]:
    """What this run's requests were billed, and, from that, what all pairs would be, also those from the store."""
    queries = sum(bool(scores) for scores in candidates.run.values())
    done = reranked.pace.done
    found = bill.settle(queries * done / reranked.pairs if reranked.pairs else 0)
    if "cost" in found and done:
        found["cost_of_all_pairs"] = found["cost"] * reranked.pairs / done
    return {"billed": found}


def _latency(
    reranked: Reranked, reranker: Reranker, candidates: Candidates, collection: Collection, options: Options
) -> dict[str, Any]:
    pace = reranked.pace
    if not pace.done:
        return {}
    if not hasattr(reranker.load(), "prepare"):
        # Called once a query: each step is a whole one, unless the store had a part. The first loads the model.
        steps = pace.steps[1:] if len(pace.steps) > 1 else pace.steps
        return (
            {} if reranked.stored else {"latency_seconds": _percentiles(steps, "every query of the run, one call each")}
        )
    done, tokens, seconds_in_all = pace.rated(whole=reranker.spec.family == "bi-encoder")
    if not done:
        return {}
    queries = max(1, sum(bool(scores) for scores in candidates.run.values()))
    expected = seconds_in_all / done * reranked.pairs / queries
    if reranker.spec.family in _MODELS_OF_OURS and expected * (_AT_LEAST + 2) < _SECONDS:
        seconds = latency_alone(reranker, candidates, collection, options)
        if len(seconds) >= _AT_LEAST:
            return {"latency_seconds": _percentiles(seconds, "whole queries, tokenized and scored one at a time")}
    cost = reranked.query_tokens if tokens else [len(scores) for scores in candidates.run.values()]
    rate = (tokens or done) / seconds_in_all
    estimated = _percentiles([each / rate for each in cost if each], "from each query's size and the run's rate")
    return {"latency_from_rate_seconds": estimated}


def _percentiles(seconds: Sequence[float], how: str) -> dict[str, Any]:
    half, most = np.percentile(np.asarray(seconds), [50, 95]).tolist()
    return {"p50": round(half, 6), "p95": round(most, 6), "queries": len(seconds), "how": how}


def latency_alone(reranker: Reranker, candidates: Candidates, collection: Collection, options: Options) -> list[float]:
    """The seconds of some queries, each scored alone after one to warm up; at most 30, or 3 seconds of them."""
    asked = [query_id for query_id, scores in candidates.run.items() if scores]
    chosen = asked[:: max(1, len(asked) // (_SAMPLE + 1))][: _SAMPLE + 1]
    texts = collection.documents({doc_id for query_id in chosen for doc_id in candidates.run[query_id]})
    seconds = []
    begun = time.monotonic()
    for query_id in chosen:
        query, order = collection.queries[query_id], ranked(candidates.run[query_id])
        pairs: list[Pair] = [(query, texts[doc_id]) for doc_id in order if doc_id in texts]
        started = time.monotonic()
        margins_of(reranker, pairs, options.batch_tokens)
        seconds.append(time.monotonic() - started)
        if time.monotonic() - begun > _SECONDS:
            break
    return seconds[1:]


def peak_memory(device: str) -> dict[str, float]:
    """The most memory that this process has held until now, in GiB, and on a GPU the most of its memory."""
    import resource

    unit = 2**30 if sys.platform == "darwin" else 2**20  # ru_maxrss is in bytes there, in KiB elsewhere
    found = {"peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 3)}
    torch: Any = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None:
        found["peak_device_memory_gib"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    return found
