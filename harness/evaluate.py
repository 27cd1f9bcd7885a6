"""Stages 1 to 5 in order: the first file to read.

`evaluate` takes what is to be run and yields one Outcome for each task, subset, first stage and
reranker. A result whose grounds have not changed is given back as it is: nothing is loaded and
nothing computed. Otherwise what changed is said, and only what it touches is computed again:
prepared data, candidates, vectors and scores are each kept by content.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from .data.collection import prepared_fingerprint, without_instructions
from .errors import HarnessError
from .request import DEFAULT_DEPTH, Job, Request
from .results.naming import Known, labels_of
from .results.result import Identity, Result, find_previous, load_result
from .retrievers.retrieve import FirstStage, given_stage, known_digest
from .types import Measure, Subset, Task

if TYPE_CHECKING:
    from .compute import Workbench
    from .rerankers.base import Reranker

__all__ = ["Outcome", "evaluate", "jobs_of"]


@dataclass(frozen=True)
class Outcome:
    """A result, where it lies, and whether it was there already."""

    result: Result
    path: Path
    reused: bool


def evaluate(request: Request, say: Callable[[str], None]) -> Iterator[Outcome]:
    """Every result asked for, in order, each written as soon as it is known.

    `say` takes one line of what a user should know. Raises HarnessError for whatever the user can
    put right; results already yielded are on disk, and every committed score is in the store.
    """
    from .compute import Workbench
    from .measures.verdict import retested

    started = time.time()
    labels = labels_of(each.known for each in request.rerankers)
    with Workbench(request, say) as bench:
        _require_measures(request, bench)
        for job in _watched(request):
            known = _known(job, request, say, started)
            if known is not None:
                path = known.identity.path(request.results)
                yield Outcome(_called(retested(known, path), job, labels), path, reused=True)
                continue
            result = bench.compute(job)
            yield Outcome(_called(result, job, labels), result.save(request.results), reused=False)
            bench.settle()


def _require_measures(request: Request, bench: Workbench) -> None:
    """Asks of every task, before any is scored, whether its data can have the measures that the user names."""
    names = {str(measure) for measure in request.measures if measure.name in _NOT_EVERYWHERE}
    if not names:
        return
    seen = set()
    for job in jobs_of(request):
        path = job.identity.path(request.results)
        if (job.task, job.subset) not in seen and not (path.exists() and names <= _measured(path)):
            bench.require_measures(job, bench.collection(job))
            seen.add((job.task, job.subset))


_NOT_EVERYWHERE = ("p-MRR", "ERR", "alpha-nDCG", "robustness", "paired-accuracy", "max-over-subqueries")


def _measured(path: Path) -> set[str]:
    try:
        return set(load_result(path).measures)
    except HarnessError:
        return set()


def _called(result: Result, job: Job, labels: Mapping[Known, str]) -> Result:
    return result if job.reranker is None else replace(result, label=labels[job.reranker.known])


def jobs_of(request: Request) -> Iterator[Job]:
    """The results asked for: tasks, then subsets, first stages, rerankers."""
    for task in request.tasks:
        stages: Sequence[FirstStage]
        depths: Sequence[int | None]
        if task.given_lists and not request.replace_given:
            stages, depths = [given_stage()], [None]
        else:
            stages, depths = request.first_stages(), _deepest_first(request.top_k)
        rerankers: Sequence[Reranker | None] = request.rerankers or [None]
        for subset, first_stage, reranker, top_k in product(task.subsets, stages, rerankers, depths):
            stage = first_stage.for_subset(subset)
            identity = _identity(request, task, subset, stage, top_k, reranker)
            yield Job(task, subset, stage, top_k, reranker, identity, _measures(request, task))


def _measures(request: Request, task: Task) -> tuple[Measure, ...]:
    """Those asked for, else the card's; where it is wished, each followed by its twin of condensed lists."""
    usual = request.measures or task.measures
    if not request.condensed:
        return usual
    twins = (twin for measure in usual for twin in (measure, measure.condensed_twin()))
    return tuple(dict.fromkeys(twin for twin in twins if twin is not None))


def _deepest_first(top_k: int | Sequence[int] | None) -> list[int]:
    """The depths, the deepest first: its pairs are those of all others, which then read their scores."""
    asked = [top_k] if isinstance(top_k, int) else top_k or [DEFAULT_DEPTH]
    return sorted(set(asked), reverse=True)


def _known(job: Job, request: Request, say: Callable[[str], None], started: float) -> Result | None:
    """What `reusable` finds; of a job that may stop early the whole result first, which says more than a part."""
    if job.watch is not None:
        whole = replace(job, watch=None, identity=replace(job.identity, until=""))
        found = reusable(whole, request, lambda _: None, started)
        if found is not None:
            return found
    return reusable(job, request, say, started)


def _watched(request: Request) -> Iterator[Job]:
    """The jobs, each with what may stop it early where that is asked for, and then so marked."""
    if request.until is None:
        yield from jobs_of(request)
        return
    jobs = list(jobs_of(request))
    for job, watch in zip(jobs, request.until.over(jobs), strict=True):
        yield replace(job, watch=watch, identity=replace(job.identity, until=watch.digest))


def _identity(
    request: Request, task: Task, subset: Subset, stage: FirstStage, top_k: int | None, reranker: Reranker | None
) -> Identity:
    spec = reranker.spec if reranker else None
    options = request.options_of(reranker)
    return Identity(
        task=task.name,
        subset=subset.name,
        split=subset.split,
        dataset=task.path if not task.folder else Path(task.path).name,
        dataset_revision=task.revision,
        card=task.origin,
        retriever=stage.name,
        retriever_fingerprint=stage.fingerprint,
        retriever_settings=dict(stage.settings),
        top_k=top_k,
        reranker=spec.name if spec else None,
        reranker_revision=spec.revision if spec else None,
        reranker_fingerprint=spec.fingerprint if spec else None,
        reranker_settings=dict(spec.settings) if spec else {},
        limit=request.limit,
        relevance_level=request.relevance_level or task.relevance_level,
        card_relevance_level=task.relevance_level,
        qrels_layer=request.qrels_layer.identity if request.qrels_layer else "",
        missing_text=request.missing_text,
        instructions=request.instructions,
        batch_tokens=None if options.dtype == "float32" else options.batch_tokens,
        task_prompt=task.prompt if stage.wants_task_prompt or (reranker and reranker.bind) else "",
    )


def reusable(job: Job, request: Request, say: Callable[[str], None], started: float) -> Result | None:
    """The stored result if its grounds are those of `job`; else None, and `say` is told what changed.

    `started` is when this command began, in seconds since the epoch.
    """
    path = job.identity.path(request.results)
    if job.reranker is not None and not job.reranker.spec.declared:
        if path.exists():
            say(
                f"{job.identity.reranker} declares neither fingerprint nor revision, so it is scored again; "
                f"declare one to keep its results"
            )
        return None
    if not path.exists():
        previous = find_previous(job.identity, request.results, started)
        changes = replace(job.identity, until="").changed_from(previous.identity) if previous else []
        if changes:
            say(f"{_title(job)}: changed since the last result: {'; '.join(changes)}")
        return None
    try:
        stored = load_result(path)
    except HarnessError as error:
        say(f"{error} It is computed again.")
        return None
    reasons = _stale(stored, job, request)
    if reasons:
        say(f"{_title(job)}: computed again: {'; '.join(reasons)}")
        return None
    return stored


def _stale(stored: Result, job: Job, request: Request) -> list[str]:
    """Why a stored result cannot stand for `job`; empty where it can."""
    reasons = job.identity.changed_from(stored.identity)
    fingerprint = prepared_fingerprint(job.task, job.subset, request.cache)
    if fingerprint is not None and request.instructions == "none":
        fingerprint = without_instructions(fingerprint)
    if fingerprint is not None and fingerprint != stored.collection:
        reasons.append(f"the data's content {stored.collection[:8]} → {fingerprint[:8]}")
    digest = known_digest(job.stage, fingerprint, job.task, job.subset, job.top_k, request.cache)
    if digest is not None and not job.identity.partial and digest != stored.candidates:
        reasons.append(f"the candidates {stored.candidates[:8]} → {digest[:8]}")
    absent = [str(measure) for measure in job.measures if str(measure) not in stored.asked or _dropped(measure, stored)]
    if absent:
        reasons.append(f"{', '.join(absent)} was not measured")
    if request.save_runs is not None:
        reasons.append("its rankings are to be saved")
    return reasons


def _dropped(measure: Measure, stored: Result) -> bool:
    """Whether a result of an older version lacks a measure that was asked for, though there is a ranking to measure."""
    there = {name.partition(" ")[0] for name in stored.measures}
    rows = stored.measures.values()
    return str(measure) not in there and any(row.get(stage) is not None for row in rows for stage in _RANKED)


_RANKED = ("first_stage", "reranked")


def _title(job: Job) -> str:
    subset = "" if job.subset.name == "default" else f" {job.subset.name}"
    return f"{job.task.name}{subset}, {job.stage.name}" + (f" → {job.reranker.spec.name}" if job.reranker else "")
