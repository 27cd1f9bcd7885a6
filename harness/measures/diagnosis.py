"""What a number hides: counts and shares of one result, the same for the same run wherever it is made.

Nothing here moves a measure. `cautions` reads what is found here and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.collection import Collection
from ..files.digest import Digest
from ..rerankers.precision import made_equal
from ..text import join_document
from ..types import Candidates, Grades, Measure, Qrels, Run, Subset
from .measure import measure_run, missing_queries, tie_rate
from .significance import paired_randomisation

if TYPE_CHECKING:
    from ..rerankers.base import Reranker
    from ..rerankers.rerank import Reranked
    from ..retrievers.retrieve import FirstStage

__all__ = ["diagnose", "diagnose_reranked", "score_distribution", "tokens_of_language"]

_NDCG = Measure("nDCG", 10)
_SAMPLE = 200
"""Documents whose tokens are looked at."""
_UNKNOWN = frozenset({"[UNK]", "<unk>", "UNK"})


def diagnose(
    stage: FirstStage,
    candidates: Candidates,
    qrels: Qrels,
    collection: Collection,
    subset: Subset,
    relevance_level: int,
) -> dict[str, Any]:
    """What can be said of the candidates alone, whatever is made of them."""
    run = candidates.run
    found = {
        "missing_queries": missing_queries(run, qrels),
        "tie_rate": tie_rate(run) if candidates.scored else None,
        "made_equal": _made_equal(run) if candidates.scored else None,
        "candidates": sum(map(len, run.values())),
        "candidate_documents": digest_of_documents(run),
        "constant_queries": constant_queries(run) if candidates.scored else None,
        "identical_ids": sum(query_id in scores for query_id, scores in run.items()),
        "judged_without_text": collection.judged_without_text,
        **_without_relevant(qrels, collection, relevance_level),
        "judged_at_most": _judged_at_most(run, qrels),
        "documents_without_text": collection.without_text,
        "unread": list(collection.unread),
        "languages": list(subset.languages),
    }
    if any(collection.repeated.values()):
        found["repeated"] = dict(collection.repeated)
    if "analyzer" in dict(stage.settings):
        from ..retrievers.analyzers import analyzer

        found["analyzer_known"] = analyzer(subset.languages[0] if subset.languages else "und").known
    return found


def _made_equal(run: Run) -> int:
    return made_equal(np.fromiter(scores.values(), np.float64, len(scores)) for scores in run.values())


def _without_relevant(qrels: Qrels, collection: Collection, level: int) -> dict[str, Any]:
    """The queries on which no system can have more than 0: nothing relevant was judged, or it is not in the corpus.

    The lists stand there only where they name a query: those without a relevant judgement, those whose relevant
    documents are all missing from the corpus, and those with whom everything that was judged is.
    """
    relevant = {q: [doc_id for doc_id, grade in judged.items() if grade >= level] for q, judged in qrels.items()}
    lists = {"without_relevant": [query_id for query_id, doc_ids in relevant.items() if not doc_ids]}
    if collection.judged_without_text:
        there = collection.known({doc_id for judged in qrels.values() for doc_id in judged})
        lists["relevant_absent"] = [q for q, doc_ids in relevant.items() if doc_ids and there.isdisjoint(doc_ids)]
        lists["judged_absent"] = [query_id for query_id, judged in qrels.items() if there.isdisjoint(judged)]
    named = {name: query_ids for name, query_ids in lists.items() if query_ids}
    return {"judged_to_none": len(named.get("relevant_absent", ())), **named}


def _judged_at_most(run: Run, qrels: Qrels) -> float:
    """The most that Judged@10 can be: where a query has one judgement, nine of its ten can have none."""
    shares = [
        min(len(judged), places) / places
        for query_id, judged in qrels.items()
        if (places := min(10, len(run.get(query_id, {}))))
    ]
    return sum(shares) / len(shares) if shares else 0.0


def digest_of_documents(run: Run) -> str:
    """32 hex digits over every query_id and its doc_ids, sorted by id: which documents, whatever their scores."""
    digest = Digest()
    for query_id in sorted(run):
        digest.add(query_id, str(len(run[query_id])), *sorted(run[query_id]))
    return digest.hex()


def diagnose_reranked(
    reranked: Reranked, reranker: Reranker, candidates: Candidates, qrels: Qrels, collection: Collection, subset: Subset
) -> dict[str, Any]:
    """What the reranker made of the candidates; ties and constant queries are those of its scores."""
    run = reranked.run
    found: dict[str, Any] = {
        "tie_rate": tie_rate(run),
        "made_equal": reranked.made_equal,
        "constant_queries": constant_queries(run),
        "pairs": reranked.pairs,
        **_truncation(reranked, reranker),
        **vars(reranked.inputs),
        "dtype": dict(reranker.spec.settings).get("dtype"),
        "skipped_without_text": reranked.skipped,
        "scores": score_distribution(reranked.margins),
        "reversed": _reversed(run, qrels, collection),
        "newly_initialised": list(reranker.newly_initialised),
    }
    if reranked.tallies is not None:
        found["answers"] = reranked.tallies
    if reranked.special is not None:
        found["special_tokens"] = reranked.special
    if collection.qrel_diff is not None:
        found["instruction_blind"] = instruction_blind(run, collection)
    return found | tokens_of_language(reranker.load(), candidates.run, collection, subset)


def _truncation(reranked: Reranked, reranker: Reranker) -> dict[str, Any]:
    """Tokens, and what truncation took; None where nobody counted them.

    Documents for a provider may be cut here, and how many were is known, though not in tokens; where none was,
    nobody knows what the provider cuts.
    """
    spec, pairs = reranker.spec, reranked.pairs
    known = spec.counts_tokens or (spec.family == "remote" and reranked.truncated_pairs > 0)
    tokens, lost = (reranked.tokens, reranked.lost_tokens) if spec.counts_tokens else (None, None)
    return {
        "tokens": tokens,
        "truncated_pairs": reranked.truncated_pairs if known else None,
        "truncated_share": reranked.truncated_pairs / pairs if known and pairs else None,
        "lost_tokens": lost,
        "lost_token_share": lost / (lost + tokens)
        if tokens is not None and lost is not None and lost + tokens
        else None,
    }


def constant_queries(run: Run) -> int:
    """Queries whose candidates, two or more, all have the same float32 score."""
    lists = (np.fromiter(scores.values(), np.float32, len(scores)) for scores in run.values() if len(scores) > 1)
    return sum(bool((scores == scores[0]).all()) for scores in lists)


def score_distribution(margins: NDArray[np.float32]) -> dict[str, Any] | None:
    """min, quartiles and max of all scores, how many are distinct, and the share at the ends of [0, 1].

    `saturated` is None unless all scores lie in [0, 1]: then the share that is 0.999 or more (near 1
    half precision has no room for differences) or exactly 0.
    """
    if not len(margins):
        return None
    low, first, median, third, high = np.quantile(margins.astype(np.float64), [0, 0.25, 0.5, 0.75, 1]).tolist()
    bounded = low >= 0 and high <= 1 and low < high
    ends = float(((margins >= 0.999) | (margins == 0)).mean())
    return {
        "min": low, "q1": first, "median": median, "q3": third, "max": high,
        "distinct": len(np.unique(margins)), "saturated": ends if bounded else None,
    }  # fmt: skip


def _one_side(qrels: Qrels, collection: Collection) -> tuple[str, Grades]:
    """nDCG@10 and what it is measured on: with changing instructions, the original ones."""
    graded = collection.graded(qrels)
    if collection.qrel_diff is None:
        return str(_NDCG), graded
    return f"{_NDCG} og", {query_id: judged for query_id, judged in graded.items() if query_id.endswith("-og")}


def _reversed(run: Run, qrels: Qrels, collection: Collection) -> dict[str, Any]:
    """nDCG@10 of the ranking and of its reverse, and p of their difference: are the labels the wrong way round?"""
    name, judged = _one_side(qrels, collection)
    upside_down = {query_id: {doc_id: -score for doc_id, score in scores.items()} for query_id, scores in run.items()}
    as_is, turned = (measure_run(each, judged, [_NDCG])[_NDCG] for each in (run, upside_down))
    p = paired_randomisation(list(as_is.values.values()), [turned.values[query_id] for query_id in as_is.values])
    return {"measure": name, "as_is": as_is.mean, "reversed": turned.mean, "p": p}


def instruction_blind(run: Run, collection: Collection) -> float | None:
    """The share of base queries whose documents get the same scores under the original and the changed instruction.

    Of those whose instructions differ and whose two lists share a document; None where there are none.
    """
    seen = [same for base in collection.qrel_diff or {} for same in _same_scores(base, run, collection)]
    return sum(seen) / len(seen) if seen else None


def _same_scores(base: str, run: Run, collection: Collection) -> Iterator[bool]:
    original, changed = f"{base}-og", f"{base}-changed"
    if original in run and changed in run and collection.queries[original] != collection.queries[changed]:
        shared = [doc_id for doc_id in run[original] if doc_id in run[changed]]
        if shared:
            yield all(np.float32(run[original][d]) == np.float32(run[changed][d]) for d in shared)


def tokens_of_language(model: Any, run: Run, collection: Collection, subset: Subset) -> dict[str, Any]:
    """How the model's tokenizer fares with the data: what it is made from, characters a token, unknown tokens.

    Characters without white space, of a sample of candidates. Empty for a model without a tokenizer of ours.
    """
    tokenizer: Any = getattr(model, "tokenizer", None)
    backend: Any = getattr(tokenizer, "backend", tokenizer)
    if not hasattr(backend, "encode_batch"):
        return {}
    wanted = sorted({doc_id for scores in run.values() for doc_id in scores})
    sample = collection.few_documents(wanted[:: max(1, len(wanted) // _SAMPLE)][:_SAMPLE])
    texts = [join_document(document) for document in sample.values()]
    tokens = characters = unknown = 0
    for text, entry in zip(texts, backend.encode_batch(texts, add_special_tokens=False), strict=True):
        # A tokenizer that cuts saw no more than this of the text.
        seen = text[: max((end for _, end in entry.offsets), default=0)]
        tokens += len(entry.ids)
        characters += sum(not character.isspace() for character in seen)
        unknown += sum(token in _UNKNOWN for token in entry.tokens)
    if not tokens:
        return {}
    kind = {"tokenizer": tokenizer.kind} if hasattr(tokenizer, "kind") else {}
    return {**kind, "characters_per_token": characters / tokens, "unknown_tokens": unknown / tokens}
