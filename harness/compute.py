"""Computing one result: collection, candidates, scores, measures, each from its cache where it is there.

The Workbench keeps open what several results share: collections, candidates, the score store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .collection import prepare
from .environment import describe
from .errors import HarnessError
from .formats import write_run
from .result import Result, load_result
from .retrieve import candidates_of, digest_of_run
from .types import Candidates, Qrels, Run

if TYPE_CHECKING:
    from .collection import Collection
    from .evaluate import Job, Request
    from .rerank import Reranked
    from .store import ScoreStore

__all__ = ["Workbench"]


class Workbench:
    """Computes results one after another; use it as a context manager."""

    def __init__(self, request: Request, say: Callable[[str], None]) -> None:
        self._request, self._say = request, say
        self._collection: tuple[object, Collection] | None = None
        self._candidates: dict[object, Candidates] = {}
        self._store: ScoreStore | None = None
        self._spent: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    def compute(self, job: Job) -> Result:
        """The result of `job`. Raises HarnessError as the stages do."""
        collection = self.collection(job)
        candidates = self.candidates(job, collection)
        qrels = {query_id: collection.qrels[query_id] for query_id in candidates.run}
        reranked = None
        if job.reranker is not None:
            from .rerank import rerank

            reranker = job.reranker.for_task(job.task.prompt)
            reranked = rerank(
                reranker, candidates, collection, self.store(), self._request.options, self._request.missing_text
            )
            self._spent = reranked.spent
        else:
            self._refuse_unknown_documents(candidates, collection)
        if self._request.save_runs is not None:
            self._save_runs(job, candidates, reranked, self._request.save_runs)
        return self._judge(job, collection, candidates, qrels, reranked)

    def settle(self) -> None:
        """Called when the last result is on disk: forget scores that served to resume it alone."""
        if self._spent is not None:
            self.store().forget(self._spent)
            self._spent = None

    def collection(self, job: Job) -> Collection:
        """The prepared data of the job's subset; the last one is kept open."""
        key = (job.task, job.subset)
        if self._collection is None or self._collection[0] != key:
            self._candidates.clear()
            prepared = prepare(job.task, job.subset, self._request.cache)
            self._collection = key, prepared.bare() if self._request.instructions == "none" else prepared
        return self._collection[1]

    def candidates(self, job: Job, collection: Collection) -> Candidates:
        """The candidates, computed once for all rerankers; with a limit, those of the first N queries."""
        key = (job.stage.fingerprint, job.top_k)
        if key not in self._candidates:
            self._candidates[key] = candidates_of(
                job.stage, collection, job.task, job.subset, job.top_k, self._request.cache
            )
        found, limit = self._candidates[key], self._request.limit
        if limit is None or limit >= len(found.run):
            return found
        run = {query_id: found.run[query_id] for query_id in _first_queries(found.run, limit, collection)}
        return replace(found, run=run, digest=digest_of_run(run))

    def store(self) -> ScoreStore:
        """The score store, opened when the first score is needed."""
        if self._store is None:
            from .store import ScoreStore

            self._store = ScoreStore(self._request.cache / "scores.sqlite", report=self._say)
        return self._store

    def _refuse_unknown_documents(self, candidates: Candidates, collection: Collection) -> None:
        """A run that names documents outside the corpus is refused also where no reranker reads them."""
        if self._request.missing_text == "skip":
            return
        wanted = sorted({doc_id for scores in candidates.run.values() for doc_id in scores})
        known = collection.documents(wanted)
        unknown = [doc_id for doc_id in wanted if doc_id not in known]
        if unknown:
            raise HarnessError(
                f'{len(unknown)} candidates of {candidates.origin} are not in the corpus (such as "{unknown[0]}"): '
                f"is it a run over another corpus? --missing-text skip takes them as they are."
            )

    def _judge(
        self, job: Job, collection: Collection, candidates: Candidates, qrels: Qrels, reranked: Reranked | None
    ) -> Result:
        from .verdict import diagnose, judge, report_measures

        longest = max(map(len, candidates.run.values()))
        measures = report_measures(self._wanted(job), job.top_k, longest)
        first = candidates.run if candidates.scored else None
        final = reranked.run if reranked else None
        rows, stages = judge(first, final, candidates.run, collection, qrels, measures, self._request.relevance_level)
        options = self._request.options
        judged: Run | None = final if final is not None else first
        query_ids, values = _values(stages)
        return Result(
            identity=job.identity,
            collection=collection.fingerprint,
            candidates=candidates.digest,
            queries=len(qrels),
            asked=tuple(map(str, measures)),
            measures=rows,
            diagnostics={**diagnose(judged, candidates.run, qrels), **_counts(reranked)},
            performance=_performance(reranked),
            environment=describe(options.device, options.dtype),
            values=values,
            query_ids=query_ids,
        )

    def _wanted(self, job: Job) -> tuple[Any, ...]:
        """The job's measures, and those that a stored result of the same path already has."""
        from .types import Measure

        path = job.identity.path(self._request.results)
        try:
            known = [Measure.parse(name) for name in load_result(path).asked] if path.exists() else []
        except (HarnessError, ValueError):
            known = []
        return tuple(dict.fromkeys((*job.measures, *known)))

    def _save_runs(self, job: Job, candidates: Candidates, reranked: Reranked | None, folder: Path) -> None:
        """Candidates and ranking as TREC runs, under the paths that results have."""
        identity = job.identity
        first = replace(identity, reranker=None, reranker_revision=None, reranker_fingerprint=None)
        if candidates.scored:
            write_run(first.path(folder).with_suffix(".trec"), candidates.run, identity.retriever)
        if reranked is not None:
            write_run(identity.path(folder).with_suffix(".trec"), reranked.run, identity.reranker or "")


def _first_queries(run: Run, limit: int, collection: Collection) -> list[str]:
    """The first `limit` queries in the data set's order; original and changed instructions stay together."""
    if collection.qrel_diff is None:
        return list(run)[:limit]
    bases = list(dict.fromkeys(query_id.removesuffix("-og").removesuffix("-changed") for query_id in run))[:limit]
    return [query_id for query_id in run if query_id.removesuffix("-og").removesuffix("-changed") in bases]


def _values(stages: dict[str, dict[str, Any]]) -> tuple[tuple[str, ...], dict[str, dict[str, list[float | None]]]]:
    """Every query of any measure once, and each measure's values in that order (None where it has none)."""
    query_ids = tuple(dict.fromkeys(q for found in stages.values() for m in found.values() for q in m.values))
    return query_ids, {
        name: {stage: [m.values.get(query_id) for query_id in query_ids] for stage, m in found.items()}
        for name, found in stages.items()
    }


def _counts(reranked: Reranked | None) -> dict[str, object]:
    if reranked is None:
        return {}
    return {
        "pairs": reranked.pairs,
        "tokens": reranked.tokens,
        "truncated_pairs": reranked.truncated_pairs,
        "lost_tokens": reranked.lost_tokens,
        "skipped_without_text": reranked.skipped,
    }


def _performance(reranked: Reranked | None) -> dict[str, object]:
    if reranked is None:
        return {}
    scored = reranked.pairs - reranked.stored - reranked.skipped
    return {
        "seconds": round(reranked.seconds, 3),
        "pairs_scored": scored,
        "pairs_from_store": reranked.stored,
        "pairs_per_second": round(scored / reranked.seconds, 3) if scored > 0 else None,
    }
