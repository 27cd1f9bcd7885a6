"""Stage 4, for instructions: does a ranking move as its instruction moves?

p-MRR (FollowIR, arXiv 2403.15246) compares two rankings of the same query under two instructions. It equals
mteb's function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..errors import HarnessError
from ..types import Measure, Measurement, Run, ranked
from .measure import require_finite

__all__ = ["p_mrr"]

_ORIGINAL, _CHANGED = "-og", "-changed"


def p_mrr(original: Run, changed: Run, qrel_diff: Mapping[str, Sequence[str]]) -> Measurement:
    """FollowIR's p-MRR of each base query, in [-1, 1]; papers print the mean times 100.

    `original` ranks the queries `{base}-og`, `changed` the queries `{base}-changed`; other
    query_ids in either are ignored, so one run that ranks both may be given twice. `qrel_diff` maps
    a base query to the documents whose relevance the changed instruction takes away.

    A document that moves from rank og to rank new (counted from 1; an absent one ranks just after
    the last) has the value new / og - 1 when it rises or stays and 1 - og / new when it falls. A
    base query's value is the mean over its documents: positive means that the ranking followed the
    instruction. A base query without such a document has no value and is left out, as in mteb.
    mteb's ranks are ours (score, then doc_id, descending) but for scores that differ in double
    precision and are equal in float32: those tie here.

    Raises HarnessError for a query whose twin is missing, for a base query of `qrel_diff` that has
    documents and is in neither run, for a `qrel_diff` without a document, and for a score that is
    not finite.
    """
    _require_twins(original, changed, qrel_diff)
    require_finite(original)
    require_finite(changed)
    values = {
        base: _mean_shift(original[base + _ORIGINAL], changed[base + _CHANGED], doc_ids)
        for base, doc_ids in qrel_diff.items()
        if doc_ids
    }
    if not values:
        raise HarnessError("p-MRR needs a document whose relevance changes: the qrel_diff names none")
    return Measurement(Measure("p-MRR"), values)


def _require_twins(original: Run, changed: Run, qrel_diff: Mapping[str, Sequence[str]]) -> None:
    first = {query_id.removesuffix(_ORIGINAL) for query_id in original if query_id.endswith(_ORIGINAL)}
    second = {query_id.removesuffix(_CHANGED) for query_id in changed if query_id.endswith(_CHANGED)}
    for present, absent, alone in ((_ORIGINAL, _CHANGED, first - second), (_CHANGED, _ORIGINAL, second - first)):
        if alone:
            base = min(alone)
            raise HarnessError(
                f'query "{base}{present}" is ranked without its twin "{base}{absent}": p-MRR compares the two'
            )
    unranked = sorted(base for base, doc_ids in qrel_diff.items() if doc_ids and base not in first)
    if unranked:
        raise HarnessError(
            f'the runs rank neither "{unranked[0]}{_ORIGINAL}" nor "{unranked[0]}{_CHANGED}": '
            "p-MRR needs both for every query of the qrel_diff"
        )


def _mean_shift(original: Mapping[str, float], changed: Mapping[str, float], doc_ids: Sequence[str]) -> float:
    before, after = _ranks(original), _ranks(changed)
    shifts = [_shift(before.get(d, len(before) + 1), after.get(d, len(after) + 1)) for d in doc_ids]
    return math.fsum(shifts) / len(shifts)


def _ranks(scores: Mapping[str, float]) -> dict[str, int]:
    return {doc_id: rank for rank, doc_id in enumerate(ranked(scores), start=1)}


def _shift(og: int, new: int) -> float:
    return new / og - 1 if og >= new else 1 - og / new
