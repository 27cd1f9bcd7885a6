"""Stage 3: Candidates → Run. Scores every pair that is not stored yet; adds none, drops none.

Pair-context rerankers are keyed by each pair's content, list-context ones by the whole list in its
order and a place in it: two equal texts of one list have a score each. What is ranked is the float32
margin that the model gives, as the store keeps it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.collection import Collection
from ..engine.options import Options
from ..engine.plan import Rows, plan_digest, plan_of, run_plan
from ..engine.progress import Pace, Progress
from ..engine.store import ScoreStore, document_digest, query_digest
from ..errors import HarnessError
from ..files.digest import Digest, digest_of
from ..text import has_text, is_unicode
from ..types import LARGEST_FLOAT32, Candidates, DocumentText, QueryText, Run, ranked
from .base import Reranker, RerankerSpec
from .inputs import Inputs, look_at, made_one, special_tokens
from .kept import Kept
from .precision import as_single, beyond_single, made_equal, places_below
from .run_file import known_scores
from .worker import Answer, Scorer, Texts, columns, compare_first, list_scores, tallied_by

if TYPE_CHECKING:
    from ..engine.scale_out import Workers

__all__ = ["RequestPairs", "Reranked", "gather", "rerank", "store_key"]


@dataclass(frozen=True)
class Reranked:
    """The reranked Run and how it came about."""

    run: Run
    pairs: int
    stored: int
    """Pairs whose score was found in the store."""
    tokens: int
    """Tokens of all pairs after truncation; 0 where the family has no tokenizer of ours."""
    truncated_pairs: int
    lost_tokens: int
    skipped: int
    """Candidates without text that keep their first-stage order below every scored one."""
    margins: NDArray[np.float32]
    """The score of every pair, shape (pairs,)."""
    made_equal: int | None
    """Distinct scores that single precision makes equal to another of their query; None where none was computed."""
    query_tokens: list[int]
    """Tokens of each query's pairs."""
    pace: Pace
    """What was scored in this run, and how fast; a list model's step is a query."""
    seconds: float
    inputs: Inputs
    """What became of the pairs' inputs."""
    spent: str | None
    """The store's key of scores that may resume this run and serve no other; forget it when the result is safe."""
    tallies: dict[str, int] | None = None
    """What a model counted while it scored (one that writes its answers), summed over queries or pairs."""
    special: dict[str, Any] | None = None
    """Documents and queries in which the tokenizer parses special tokens, and these tokens; None without a tokenizer."""


@dataclass(frozen=True)
class RequestPairs:
    """The pairs of one request, each distinct text once."""

    query_ids: list[str]
    doc_ids: list[str]
    queries: list[QueryText]
    documents: list[DocumentText]
    pairs: NDArray[np.int64]
    """Shape (n, 2): index of the query, index of the document; queries in order, best candidate first."""
    skipped: dict[str, list[str]]

    @property
    def texts(self) -> Texts:
        """Queries, documents and pairs, as a model prepares them."""
        return self.queries, self.documents, self.pairs

    def spans(self) -> list[Rows]:
        """The rows of each query's pairs, query by query."""
        bounds = np.searchsorted(self.pairs[:, 0], np.arange(len(self.query_ids) + 1))
        return [np.arange(first, last) for first, last in pairwise(bounds)]


@dataclass(frozen=True)
class _Scored:
    """Scores of all pairs; how many were stored under which key; tokens and lost tokens of each pair; the pace."""

    scores: NDArray[np.float32]
    stored: int
    key: str
    lengths: Rows
    lost: Rows
    pace: Pace
    doubles: NDArray[np.float64]
    """The scores as the model gave them, shape (pairs,); NaN where one was stored."""
    tallies: dict[str, int] | None = None
    inputs: Inputs = field(default_factory=Inputs)


def rerank(
    reranker: Reranker,
    candidates: Candidates,
    collection: Collection,
    store: ScoreStore,
    options: Options,
    missing_text: str = "error",
    known: Run | None = None,
) -> Reranked:
    """Score every candidate and return the Run over the same pairs.

    `missing_text` is `error` or `skip`; `known` has the scores of a ranking that is there already. Raises HarnessError for candidates without text, a NaN or
    infinite score (naming its pair), and whatever the model cannot do; what was scored is kept.
    """
    started = time.monotonic()
    request = gather(candidates, collection, missing_text)
    if known is not None:
        found = _as_they_are(known_scores(known, request.query_ids, request.doc_ids, request.pairs, reranker.spec.name))
    else:
        score = _score_lists if reranker.spec.context == "list" else _score_pairs
        if not hasattr(reranker.load(), "prepare") and score is _score_pairs:
            score = _score_marked
        found = score(reranker, request, store, options, candidates)
    return Reranked(
        run=_as_run(request, found.scores),
        pairs=len(request.pairs),
        stored=found.stored,
        tokens=int(found.lengths.sum()),
        truncated_pairs=int((found.lost > 0).sum()),
        lost_tokens=int(found.lost.sum()),
        skipped=sum(map(len, request.skipped.values())),
        margins=found.scores,
        made_equal=made_equal(found.doubles[rows] for rows in request.spans()) if found.pace.done or known else None,
        query_tokens=[int(found.lengths[rows].sum()) for rows in request.spans()],
        pace=found.pace,
        seconds=time.monotonic() - started,
        inputs=found.inputs,
        spent=None if reranker.spec.declared else found.key,
        tallies=found.tallies,
        special=special_tokens(reranker.load(), request.queries, request.documents),
    )


def gather(candidates: Candidates, collection: Collection, missing_text: str = "error") -> RequestPairs:
    """Every candidate pair with its texts. Raises HarnessError for candidates without text, unless they are skipped."""
    wanted = sorted({doc_id for scores in candidates.run.values() for doc_id in scores})
    texts = collection.documents(wanted)
    found = {doc_id: text for doc_id, text in texts.items() if has_text(text)}
    lacking = len(wanted) - len(found)
    if lacking and missing_text != "skip":
        unknown = [doc_id for doc_id in wanted if doc_id not in texts]
        empty = [doc_id for doc_id in wanted if doc_id in texts and doc_id not in found]
        raise HarnessError(_missing_text(candidates.origin, unknown, empty))
    if not found:
        raise HarnessError(f"no candidate of {candidates.origin} has a text: there is nothing to score")
    doc_ids = [doc_id for doc_id in wanted if doc_id in found]
    place = {doc_id: index for index, doc_id in enumerate(doc_ids)}
    query_ids = list(candidates.run)
    pairs: list[tuple[int, int]] = []
    skipped: dict[str, list[str]] = {}
    for row, query_id in enumerate(query_ids):
        order = ranked(candidates.run[query_id])
        pairs += [(row, place[doc_id]) for doc_id in order if doc_id in place]
        left = [doc_id for doc_id in order if doc_id not in place]
        if left:
            skipped[query_id] = left
    queries = [collection.queries[query_id] for query_id in query_ids]
    _refuse_half_characters(query_ids, queries, found)
    array = np.array(pairs, np.int64).reshape(-1, 2)
    return RequestPairs(query_ids, doc_ids, queries, [found[doc_id] for doc_id in doc_ids], array, skipped)


def _refuse_half_characters(
    query_ids: Sequence[str], queries: Sequence[QueryText], documents: Mapping[str, DocumentText]
) -> None:
    for what, texts in (("query", zip(query_ids, queries, strict=True)), ("document", documents.items())):
        for name, text in texts:
            if not is_unicode(*text):
                raise HarnessError(
                    f'{what} "{name}" holds half of a surrogate pair, which is no Unicode text: mend the data'
                )


def _missing_text(origin: str, unknown: Sequence[str], empty: Sequence[str]) -> str:
    parts = []
    if unknown:
        parts.append(f'{len(unknown)} are not in the corpus (such as "{unknown[0]}")')
    if empty:
        parts.append(f'{len(empty)} have an empty text (such as "{empty[0]}")')
    return (
        f"{len(unknown) + len(empty)} candidates of {origin} have no text: {' and '.join(parts)}. Complete the "
        f"corpus, or say --missing-text skip to keep them below every scored document in their first-stage order."
    )


def _as_they_are(scores: NDArray[np.float64]) -> _Scored:
    """Scores of a ranking that is there already: none is computed, and none comes from the store."""
    nothing = np.zeros(len(scores), np.int64)
    return _Scored(as_single(scores), 0, "", nothing, nothing, Pace(0, 0, (), 0, 0), scores)


def _score_pairs(
    reranker: Reranker, request: RequestPairs, store: ScoreStore, options: Options, candidates: Candidates
) -> _Scored:
    kept = _by_content(request, store, store_key(reranker.spec.fingerprint, reranker.spec, candidates, None))
    scores = kept.known()
    if options.workers is None and np.isnan(scores).any():
        reranker.load_ahead()
    prepared = reranker.load().prepare(request.queries, request.documents, request.pairs)
    plan = plan_of(prepared, options.batch_tokens)
    key = store_key(reranker.spec.fingerprint, reranker.spec, candidates, plan)
    if key != kept.key:
        kept = replace(kept, key=key)
        scores = kept.known()
    missing = np.isnan(scores)
    stored = int((~missing).sum())
    doubles = np.full(len(scores), np.nan)
    if stored < len(scores) and options.workers is None:
        compare_first(reranker, request.texts, plan[0])
    progress = Progress(reranker.spec.name, len(scores), stored, tokens=int(prepared.lengths[missing].sum()))

    def compute(rows: Rows) -> NDArray[np.floating]:
        return columns(prepared, rows, reranker)

    names = tallied_by(prepared)

    def commit(rows: Rows, values: NDArray[Any], others: Sequence[str]) -> None:
        _refuse_not_finite(values, rows, request, reranker)
        doubles[rows], values = values[:, 0], as_single(values)
        for other, column in zip(others, values.T[1:], strict=True):
            other_key = kept.tally(other).key if other in names else store_key(other, reranker.spec, candidates, plan)
            kept.add(rows, column, other_key)
        kept.add(rows, values[:, 0])
        scores[rows] = values[:, 0]
        progress.advance(len(rows), int(prepared.lengths[rows].sum()))

    if options.workers is not None and reranker.origin is not None:
        _on_workers(options.workers, reranker, request, plan, missing, commit)
    else:
        run_plan(plan, missing, compute, lambda rows, values: commit(rows, values, list(prepared.also)))
    progress.finish()
    scores = kept.settled(scores) if missing.any() else scores
    scores = made_one(prepared, request.spans(), scores)
    inputs = look_at(prepared, request.documents, request.pairs, request.spans(), scores)
    counted = {name: int(np.nansum(kept.tally(name).known())) for name in names}
    return _Scored(
        scores, stored, key, prepared.lengths, prepared.lost, progress.pace(), doubles, counted or None, inputs
    )


def _on_workers(
    workers: Workers,
    reranker: Reranker,
    request: RequestPairs,
    plan: Sequence[Rows],
    missing: NDArray[np.bool_],
    commit: Callable[[Rows, NDArray[Any], Sequence[str]], None],
) -> None:
    """Run the plan on workers, which prepare the same request and are sent rows of it."""
    assert reranker.origin is not None

    def receive(answers: Sequence[tuple[Rows, Answer]]) -> None:
        for _, answer in answers:
            new = [name for name in answer.newly_initialised if name not in reranker.newly_initialised]
            reranker.newly_initialised.extend(new)
        rows = np.concatenate([rows for rows, _ in answers])
        commit(rows, np.concatenate([answer.values for _, answer in answers]), answers[0][1].others)

    opening = Scorer(reranker.origin, reranker.spec.fingerprint)
    workers.run_plan(plan, missing, opening, request.texts, lambda rows: rows, receive)


def _score_marked(
    reranker: Reranker, request: RequestPairs, store: ScoreStore, options: Options, candidates: Candidates
) -> _Scored:
    """A function that takes a query's documents together but scores each on its own."""
    key = store_key(reranker.spec.fingerprint, reranker.spec, candidates, None)
    return _query_by_query(reranker, request, options, _by_content(request, store, key), whole=False)


def _score_lists(
    reranker: Reranker, request: RequestPairs, store: ScoreStore, options: Options, candidates: Candidates
) -> _Scored:
    lists, places = [], request.pairs.copy()
    for query, rows in zip(request.queries, request.spans(), strict=True):
        texts = [document_digest(request.documents[document]) for document in request.pairs[rows, 1]]
        lists.append(Digest().add("list", query_digest(query), *texts).bytes())
        places[rows, 1] = np.arange(len(rows))
    longest = int(places[:, 1].max(initial=-1)) + 1
    in_list = [Digest().add("place in a list", str(place)).bytes() for place in range(longest)]
    key = store_key(reranker.spec.fingerprint, reranker.spec, candidates, None)
    return _query_by_query(reranker, request, options, Kept(store, key, lists, in_list, places), whole=True)


def _by_content(request: RequestPairs, store: ScoreStore, key: str) -> Kept:
    """Each pair by the content of its texts."""
    queries = [query_digest(query) for query in request.queries]
    documents = [document_digest(document) for document in request.documents]
    return Kept(store, key, queries, documents, request.pairs)


def _query_by_query(reranker: Reranker, request: RequestPairs, options: Options, kept: Kept, *, whole: bool) -> _Scored:
    """Call a list model once a query: for the whole list, or for the documents not stored yet."""
    scores = kept.known()
    missing = np.isnan(scores)
    doubles = np.full(len(scores), np.nan)
    todo = [span if whole else span[missing[span]] for span in request.spans() if missing[span].any()]
    if todo and options.workers is None:
        compare_first(reranker, request.texts, todo[0])
    progress = Progress(reranker.spec.name, len(scores), stored := int((~missing).sum()))
    firsts = np.array([span[0] for span in request.spans() if len(span)], np.int64)
    names = tallied_by(reranker.load())
    tallies = {name: kept.tally(name).known() for name in names}

    def commit(rows: Rows, values: NDArray[Any], others: Sequence[str]) -> None:
        _refuse_not_finite(values, rows, request, reranker)
        doubles[rows], values = values[:, 0], as_single(values)
        # Before the scores: a list whose scores are kept has its tallies too.
        for name, column in zip(others, values.T[1:], strict=True):
            at = np.flatnonzero(np.isin(rows, firsts))
            kept.tally(name).add(rows[at], column[at])
            tallies[name][rows[at]] = column[at]
        kept.add(rows, values[:, 0])
        scores[rows] = values[:, 0]
        progress.advance(len(rows))

    if options.workers is not None and reranker.origin is not None:
        _on_workers(options.workers, reranker, request, todo, np.ones(len(scores), bool), commit)
    else:
        for rows in todo:
            commit(rows, list_scores(reranker, request.texts, rows), names)
    progress.finish()
    if todo:
        for name in names:
            kept.tally(name).put_back(tallies[name])
        scores = kept.settled(scores)
    counted = {name: int(np.nansum(kept.tally(name).known())) for name in names}
    nothing = np.zeros(len(scores), np.int64)
    return _Scored(scores, stored, kept.key, nothing, nothing, progress.pace(), doubles, counted or None)


def store_key(fingerprint: str, spec: RerankerSpec, candidates: Candidates, plan: Sequence[Rows] | None) -> str:
    """What scores are stored under: the fingerprint, and in half precision the batch plan with it."""
    if not spec.declared:
        return digest_of("one run", fingerprint, candidates.digest)
    if plan is not None and dict(spec.settings).get("dtype", "float32") != "float32":
        return digest_of("half precision", fingerprint, plan_digest(plan))
    return fingerprint


def _refuse_not_finite(values: NDArray[np.floating], rows: Rows, request: RequestPairs, reranker: Reranker) -> None:
    """Raise HarnessError, naming the pair, where `values` (rows, columns) holds what is no finite number of single precision."""
    finite = np.isfinite(as_single(values))
    bad = np.flatnonzero(~finite.all(axis=1))
    if len(bad):
        query, document = request.pairs[rows[bad[0]]]
        value = values[bad[0]][~finite[bad[0]]][0]
        more = f" and {len(bad) - 1} more in the same batch" if len(bad) > 1 else ""
        rule = "a score must be a finite number"
        if beyond_single(value):
            rule = f"that is beyond single precision, in which scores are ranked (at most {LARGEST_FLOAT32:.2g}): scale them"
        raise HarnessError(
            f"{reranker.spec.name} scored {value} for query {request.query_ids[query]}, "
            f"document {request.doc_ids[document]}{more}: {rule}. What was scored before is kept."
        )


def _as_run(request: RequestPairs, scores: NDArray[np.float32]) -> Run:
    run: Run = {query_id: {} for query_id in request.query_ids}
    for (query, document), score in zip(request.pairs.tolist(), scores.tolist(), strict=True):
        run[request.query_ids[query]][request.doc_ids[document]] = score
    for query_id, doc_ids in request.skipped.items():
        scored = run[query_id]
        lifted, below = places_below(list(scored.values()), len(doc_ids))
        run[query_id] = dict(zip([*scored, *doc_ids], [*lifted, *below], strict=True))
    return run
