"""Several requests of one reranker as one: what each scored, put together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engine.progress import Pace
from .base import Reranker
from .inputs import Inputs, special_tokens
from .rerank import RequestPairs, Reranked

__all__ = ["joined"]


def joined(reranker: Reranker, parts: Sequence[Reranked], whole: RequestPairs) -> Reranked:
    """What several requests of different queries come to; `whole` are the pairs of all of them."""
    inputs = {
        name: None if None in (counts := [vars(part.inputs)[name] for part in parts]) else sum(counts)
        for name in vars(parts[0].inputs)
    }
    paces = [part.pace for part in parts if part.pace.done] or [parts[0].pace]
    equal = [part.made_equal for part in parts if part.made_equal is not None]
    names = dict.fromkeys(name for part in parts for name in part.tallies or {})
    run = {query_id: scores for part in parts for query_id, scores in part.run.items()}
    return Reranked(
        run={query_id: run[query_id] for query_id in whole.query_ids},
        pairs=sum(part.pairs for part in parts),
        stored=sum(part.stored for part in parts),
        tokens=sum(part.tokens for part in parts),
        truncated_pairs=sum(part.truncated_pairs for part in parts),
        lost_tokens=sum(part.lost_tokens for part in parts),
        skipped=sum(part.skipped for part in parts),
        margins=np.concatenate([part.margins for part in parts]),
        made_equal=sum(equal) if equal else None,
        query_tokens=[tokens for part in parts for tokens in part.query_tokens],
        pace=Pace(
            sum(pace.done for pace in paces),
            sum(pace.tokens for pace in paces),
            tuple(seconds for pace in paces for seconds in pace.steps),
            paces[0].first_done,
            paces[0].first_tokens,
        ),
        seconds=sum(part.seconds for part in parts),
        inputs=Inputs(**inputs),
        spent=None,
        tallies={name: sum((part.tallies or {}).get(name, 0) for part in parts) for name in names} or None,
        special=special_tokens(reranker.load(), whole.queries, whole.documents),
    )
