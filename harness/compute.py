"""Computing one result: collection, candidates, scores, measures, each from its cache where it is there.

The Workbench keeps open what several results share: collections, candidates, the score store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .data.collection import prepare
from .data.trec import write_run
from .engine.progress import stage
from .errors import HarnessError
from .files.units import mark
from .results.cautions import cautions_of
from .results.environment import describe
from .results.rankings import keep_rankings
from .results.result import Result, load_result
from .retrievers.retrieve import candidates_of, digest_of_run, known_digest
from .types import Candidates, Measure, Qrels, Run

if TYPE_CHECKING:
    from .data.clusters import Clusters
    from .data.collection import Collection
    from .engine.options import Options
    from .engine.store import ScoreStore
    from .measures.rounds import Watch
    from .request import Job, Request
    from .rerankers.base import Reranker
    from .rerankers.rerank import Reranked

__all__ = ["Workbench"]


class Workbench:
    """Computes results one after another; use it as a context manager."""

    def __init__(self, request: Request, say: Callable[[str], None]) -> None:
        self._request, self._say = request, say
        self._collection: tuple[object, Collection] | None = None
        self._candidates: dict[object, Candidates] = {}
        self._store: ScoreStore | None = None
        self._spent: list[str] = []
        self._layer: dict[str, Any] = {}
        self._reranker: tuple[tuple[Reranker, str], Reranker] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()
        if self._request.options.workers is not None:
            self._request.options.workers.close()

    def compute(self, job: Job) -> Result:
        """The result of `job`. Raises HarnessError as the stages do."""
        mark(self._request.cache)
        collection = self.collection(job)
        self.require_measures(job, collection)
        self._read_ahead(job, collection)
        candidates = self.candidates(job, collection)
        qrels = {query_id: collection.qrels[query_id] for query_id in candidates.run}
        reranked = None
        if job.reranker is not None:
            if job.watch is not None:
                job, candidates, reranked = self._until_decided(job, job.watch, collection, candidates)
                qrels = {query_id: qrels[query_id] for query_id in candidates.run}
            else:
                reranked = self._rerank(job, candidates, collection)
        else:
            self._refuse_unknown_documents(candidates, collection)
        if self._request.save_runs is not None:
            self._save_runs(job, candidates, reranked, self._request.save_runs)
        with stage(f"measuring {_title(job)}"):
            return self._judge(job, collection, candidates, qrels, reranked)

    def _read_ahead(self, job: Job, collection: Collection) -> None:
        """Have the system read the reranker's weights while candidates are found.

        Its libraries are imported later, beside tokenizing: BM25 and imports would take turns in one interpreter.
        """
        if job.reranker is None or self._request.options.workers is not None:
            return
        if (
            known_digest(job.stage, collection.fingerprint, job.task, job.subset, job.top_k, self._request.cache)
            is None
        ):
            job.reranker.read_ahead()

    def _rerank(self, job: Job, candidates: Candidates, collection: Collection) -> Reranked:
        from .rerankers.rerank import rerank

        options, missing_text = self._options(job), self._request.missing_text
        with stage(f"scoring {_title(job)}: {job.identity.reranker}"):
            bound = self._bound(job)
            known = bound.scores(job.task, job.subset) if bound.scores else None
            found = rerank(bound, candidates, collection, self.store(), options, missing_text, known)
        self._spent += [found.spent] if found.spent else []
        return found

    def _until_decided(
        self, job: Job, watch: Watch, collection: Collection, candidates: Candidates
    ) -> tuple[Job, Candidates, Reranked]:
        """Score in rounds until the watch has seen enough; the job as it was done, and the part that was scored.

        What was scored to the end in single precision is a whole result, and no longer marked as a part.
        """
        from .measures.diagnosis import digest_of_documents
        from .measures.fitting import groups_of
        from .measures.rounds import Rounds, units_of_queries

        watch.begin(_before_scoring(job, collection, candidates, digest_of_documents(candidates.run)))
        qrels = {query_id: collection.qrels[query_id] for query_id in candidates.run}
        clusters = self._clusters(job, qrels)
        units = units_of_queries(candidates.run, collection, clusters.of if clusters and clusters.used else {})
        level = job.identity.relevance_level
        rounds = Rounds(collection, candidates, qrels, job.measures, level, groups_of(clusters))
        drawn, reranked = rounds.until(
            watch, units, self._bound(job), lambda part: self._rerank(job, part, collection), self._request.missing_text
        )
        if len(drawn.run) == len(candidates.run) and job.identity.batch_tokens is None:
            job = replace(job, watch=None, identity=replace(job.identity, until=""))
        return job, drawn, reranked

    def require_measures(self, job: Job, collection: Collection) -> None:
        """Raises HarnessError where the data cannot have one of the job's measures, or its relevance level; scores nothing."""
        from .measures.fitting import require_fitting
        from .measures.measure import require_grade

        require_grade(collection.qrels, job.identity.relevance_level)
        require_fitting(job.measures, job.task, collection, self._clusters(job, collection.qrels))

    def _clusters(self, job: Job, qrels: Qrels) -> Clusters | None:
        from .data.clusters import clusters_of

        return clusters_of(job.task, job.subset, qrels, self._request.cache)

    def settle(self) -> None:
        """Called when the last result is on disk: forget scores that served to resume it alone."""
        while self._spent:
            self.store().forget(self._spent.pop())

    def collection(self, job: Job) -> Collection:
        """The prepared data of the job's subset; the last one is kept open."""
        key = (job.task, job.subset)
        if self._collection is None or self._collection[0] != key:
            self._candidates.clear()
            with stage(f"preparing {_title(job)}"):
                prepared = prepare(job.task, job.subset, self._request.cache)
            self._collection = key, self._as_asked(prepared, job)
        return self._collection[1]

    def _as_asked(self, prepared: Collection, job: Job) -> Collection:
        """Without instructions, or with the judgements of a layer, where these are asked for."""
        found = prepared.bare() if self._request.instructions == "none" else prepared
        if self._request.qrels_layer is not None:
            found, self._layer = self._request.qrels_layer.over(found, job.task.name, job.subset.name)
        return found

    def candidates(self, job: Job, collection: Collection) -> Candidates:
        """The candidates, computed once for all rerankers; with a limit, those of the first N queries."""
        key = (job.stage.fingerprint, job.top_k)
        if key not in self._candidates:
            with stage(f"first stage of {_title(job)}: {job.stage.name}"):
                self._candidates[key] = candidates_of(
                    job.stage, collection, job.task, job.subset, job.top_k, self._request.cache
                )
                self._say_of_long_lists(job, collection, self._candidates[key])
        found, limit = self._candidates[key], self._request.limit
        if limit is None or limit >= len(found.run):
            return found
        kept = _first_queries(found.run, limit, collection, self._clusters(job, collection.qrels))
        changed = [doc_ids for base, doc_ids in (collection.qrel_diff or {}).items() if f"{base}-og" in kept]
        if Measure("p-MRR") in job.measures and not any(changed):
            raise HarnessError(
                f"{job.task.name}, --limit {limit}: p-MRR needs a document whose relevance changes, and these queries have "
                "none; raise the limit, or name other --measures"
            )
        run = {query_id: found.run[query_id] for query_id in kept}
        return replace(found, run=run, digest=digest_of_run(run))

    def _say_of_long_lists(self, job: Job, collection: Collection, found: Candidates) -> None:
        """Lists of most of the corpus say where to search rather than what to rerank."""
        longest = max(map(len, found.run.values()))
        if not found.scored and longest >= _LONG_LIST and longest > collection.size / 2:
            self._say(
                f"{job.task.name}: its lists have up to {longest:,} of {collection.size:,} documents, and are reranked whole; "
                "if they say where to search, candidates: scope in a card (task.yaml in the folder) has a first stage do so"
            )

    def store(self) -> ScoreStore:
        """The score store, opened when the first score is needed."""
        if self._store is None:
            from .engine.store import ScoreStore

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
        from .measures.depths import depth_curve
        from .measures.diagnosis import diagnose, diagnose_reranked
        from .measures.significance import INTERVAL_METHOD
        from .measures.verdict import cluster_of, judge, report_measures

        longest = max(map(len, candidates.run.values()))
        measures = report_measures(
            self._wanted(job, collection), job.top_k, longest, gains_alone=collection.gains_alone
        )
        first = candidates.run if candidates.scored else None
        final = reranked.run if reranked else None
        groups = self._clusters(job, qrels)
        of = groups.of if groups and groups.used else None
        rows, stages = judge(
            first, final, candidates.run, collection, qrels, measures, job.identity.relevance_level, groups
        )
        query_ids, values = _values(stages)
        found = diagnose(job.stage, candidates, qrels, collection, job.subset, job.identity.relevance_level)
        found |= {"clusters": groups.record()} if groups else {}
        found |= {"qrels_layer": self._layer} if self._layer else {}
        found |= {"until_decided": job.watch.record()} if job.watch else {}
        if reranked is not None and job.reranker is not None:
            bound = self._bound(job)
            found |= diagnose_reranked(reranked, bound, candidates, qrels, collection, job.subset)
            if bound.spec.context == "pair" and first is not None:
                level = job.identity.relevance_level
                found["depth_curve"] = depth_curve(first, reranked.run, collection, qrels, measures[0], level, groups)
            if reranked.made_equal is None and (before := self._stored(job)) is not None:
                found["made_equal"] = before.diagnostics.get("made_equal")  # stored scores are single already
        result = Result(
            identity=job.identity,
            collection=collection.fingerprint,
            candidates=candidates.digest,
            queries=len(qrels),
            asked=tuple(map(str, measures)),
            measures=rows,
            diagnostics=found,
            performance=self._performance(job, collection, candidates, reranked),
            environment=describe(self._options(job).device, self._options(job).dtype),
            values=values,
            query_ids=query_ids,
            clusters=() if of is None else tuple(cluster_of(query_id, of) for query_id in query_ids),
            interval_method=INTERVAL_METHOD,
            place=job.reranker.place if job.reranker else "",
        )
        keep_rankings(result, first, final, self._request.cache)
        return replace(result, diagnostics=found | {"cautions": [vars(each) for each in cautions_of(result)]})

    def _performance(
        self, job: Job, collection: Collection, candidates: Candidates, reranked: Reranked | None
    ) -> dict[str, Any]:
        """Rates, latency and memory: of this run, or where it scored nothing, of the one that did."""
        from .engine.rate import remember_rate
        from .measures.performance import measured, peak_memory
        from .results.run_lines import billed_words

        if reranked is None:
            return dict(peak_memory(self._request.options.device))
        before = self._stored(job)
        if reranked.pace.done == 0 and before is not None and before.performance.get("pairs_scored"):
            return dict(before.performance)
        found = measured(reranked, self._bound(job), candidates, collection, self._options(job))
        remember_rate(self._request.cache, self._bound(job).spec.name, found.get("pairs_per_second") or 0, 1)
        if found.get("billed", {}).get("requests"):
            self._say(f"{job.task.name}, {job.identity.reranker}: {billed_words(found['billed'])}")
        return found

    def _options(self, job: Job) -> Options:
        """How the job's reranker is run."""
        return self._request.options_of(job.reranker)

    def _bound(self, job: Job) -> Reranker:
        """The job's reranker as it is used on its task; the last one is kept, with its model."""
        assert job.reranker is not None
        key = (job.reranker, job.task.prompt)
        if self._reranker is None or self._reranker[0][0] is not key[0] or self._reranker[0][1] != key[1]:
            self._reranker = key, job.reranker.for_task(job.task.prompt)
        return self._reranker[1]

    def _wanted(self, job: Job, collection: Collection) -> tuple[Any, ...]:
        """The job's measures, and those that a stored result of the same path already has and the data can have."""
        from .measures.fitting import misfit

        stored = self._stored(job)
        try:
            known = [Measure.parse(name) for name in stored.asked] if stored else []
        except ValueError:
            known = []
        clusters = self._clusters(job, collection.qrels)
        also = (each for each in known if misfit(each, collection, clusters) is None)
        return tuple(dict.fromkeys((*job.measures, *also)))

    def _stored(self, job: Job) -> Result | None:
        """The result that lies where this one will; None where there is none that can be read."""
        path = job.identity.path(self._request.results)
        try:
            return load_result(path) if path.exists() else None
        except HarnessError:
            return None

    def _save_runs(self, job: Job, candidates: Candidates, reranked: Reranked | None, folder: Path) -> None:
        """Candidates and ranking as TREC runs, under the paths that results have."""
        identity = job.identity
        first = replace(identity, reranker=None, reranker_revision=None, reranker_fingerprint=None)
        if candidates.scored:
            write_run(first.path(folder).with_suffix(".trec"), candidates.run, identity.retriever)
        if reranked is not None:
            write_run(identity.path(folder).with_suffix(".trec"), reranked.run, identity.reranker or "")


def _title(job: Job) -> str:
    return job.task.name if job.subset.name == "default" else f"{job.task.name} {job.subset.name}"


_LONG_LIST = 200
"""Shorter lists may be a whole corpus and candidates all the same."""


def _before_scoring(job: Job, collection: Collection, candidates: Candidates, documents: str) -> Result:
    """What is known of a result before anything is scored: enough to find what it can be compared with."""
    return Result(
        identity=replace(job.identity, until=""),
        collection=collection.fingerprint,
        candidates=candidates.digest,
        queries=len(candidates.run),
        asked=tuple(map(str, job.measures)),
        measures={},
        diagnostics={"candidate_documents": documents, "candidates": sum(map(len, candidates.run.values()))},
    )


def _first_queries(run: Run, limit: int, collection: Collection, clusters: Clusters | None) -> list[str]:
    """The first `limit` queries in the data set's order; the several forms of one query stay together, as one."""
    if collection.qrel_diff is not None:
        form = {query_id: query_id.removesuffix("-og").removesuffix("-changed") for query_id in run}
    elif clusters is not None and clusters.forms:
        form = dict(clusters.of)
    else:
        return list(run)[:limit]
    first = set(list(dict.fromkeys(form[query_id] for query_id in run))[:limit])
    return [query_id for query_id in run if form[query_id] in first]


def _values(stages: dict[str, dict[str, Any]]) -> tuple[tuple[str, ...], dict[str, dict[str, list[float | None]]]]:
    """Every query of any measure once, and each measure's values in that order (None where it has none)."""
    query_ids = tuple(dict.fromkeys(q for found in stages.values() for m in found.values() for q in m.values))
    return query_ids, {
        name: {stage: [m.values.get(query_id) for query_id in query_ids] for stage, m in found.items()}
        for name, found in stages.items()
    }
