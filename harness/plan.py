"""`--dry-run`: what a run would do, how long it would take, and what would stop it.

Checks cards, model configurations, devices and disk; fetches nothing that is not here. Where the
candidates are in the cache the pairs and tokens are counted exactly and a probe of a few batches
measures the rate and the memory; elsewhere the figures are upper bounds and say so.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .collection import prepare, prepared_fingerprint, without_instructions
from .retrieve import candidates_of, known_digest
from .tables import MISSING, align

if TYPE_CHECKING:
    from .evaluate import Job, Request
    from .options import Options

__all__ = ["Planned", "dry_run", "plan_jobs"]

_PROBE_BATCHES = 3
_PROBE_SECONDS = 20.0


@dataclass(frozen=True)
class Planned:
    """One result to be. None means that it cannot be known before data or candidates are here."""

    task: str
    subset: str
    retriever: str
    reranker: str | None
    state: str
    """`there` (nothing to do), `to compute`, or what is still to be fetched."""
    pairs: int | None = None
    from_store: int | None = None
    tokens: int | None = None
    """Tokens of the pairs that are not stored."""
    seconds: float | None = None
    memory_gib: float | None = None
    """Peak memory of the process with the longest batch loaded, measured."""


def dry_run(request: Request, say: Callable[[str], None], *, as_json: bool) -> str:
    """The plan as a table, or as one JSON object. Raises HarnessError for whatever would stop the run."""
    planned = plan_jobs(request, say)
    if as_json:
        return json.dumps({"plan": [asdict(entry) for entry in planned]})
    head = ["task", "first stage", "reranker", "state", "pairs", "from the store", "tokens to score", "time", "memory"]
    rows = [
        [
            entry.task + ("" if entry.subset == "default" else f" {entry.subset}"),
            entry.retriever,
            entry.reranker or MISSING,
            entry.state,
            _count(entry.pairs),
            _count(entry.from_store),
            _count(entry.tokens),
            _duration(entry.seconds),
            MISSING if entry.memory_gib is None else f"{entry.memory_gib:.1f} GiB",
        ]
        for entry in planned
    ]
    return f"{align([head, *rows])}\nnothing was computed; the same command without --dry-run runs it"


def plan_jobs(request: Request, say: Callable[[str], None]) -> list[Planned]:
    """One entry for each result that the request asks for, in order."""
    from .evaluate import jobs_of, reusable

    _check_device(request.options)
    _check_disk(request.cache, say)
    started = time.time()
    return [
        _entry(job, "there") if reusable(job, request, lambda _: None, started) else _look(job, request)
        for job in jobs_of(request)
    ]


def _check_device(options: Options) -> None:
    from .loading import check_device

    check_device(options.device)


def _check_disk(cache: Path, say: Callable[[str], None]) -> None:
    here = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(here).free / 2**30
    if free < 5:
        say(f"the disk of the cache {cache} has {free:.1f} GiB left")


def _entry(job: Job, state: str, **figures: Any) -> Planned:
    reranker = job.reranker.spec.name if job.reranker else None
    return Planned(job.task.name, job.subset.name, job.stage.name, reranker, state, **figures)


def _look(job: Job, request: Request) -> Planned:
    fingerprint = prepared_fingerprint(job.task, job.subset, request.cache)
    if fingerprint is not None and request.instructions == "none":
        fingerprint = without_instructions(fingerprint)
    known = known_digest(job.stage, fingerprint, job.task, job.subset, job.top_k, request.cache)
    if known is None:
        queries = request.limit or job.subset.queries
        most = queries * job.top_k if queries and job.top_k and job.reranker else None
        state = "to compute: candidates first" if fingerprint else "to compute: data to be fetched"
        return _entry(job, f"{state} (at most)" if most else state, pairs=most)
    if job.reranker is None:
        return _entry(job, "to compute")
    collection = prepare(job.task, job.subset, request.cache)
    collection = collection.bare() if request.instructions == "none" else collection
    candidates = candidates_of(job.stage, collection, job.task, job.subset, job.top_k, request.cache)
    if request.limit is not None:
        from dataclasses import replace

        candidates = replace(candidates, run=dict(list(candidates.run.items())[: request.limit]))
    return _measure(job, request, collection, candidates)


def _measure(job: Job, request: Request, collection: Any, candidates: Any) -> Planned:
    """Exact counts, and a probe of a few batches spread over the plan."""
    import numpy as np

    from .engine import plan_of
    from .rerank import gather, store_key
    from .store import ScoreStore, document_digest, query_digest

    if job.reranker is None:
        return _entry(job, "to compute")
    reranker = job.reranker.for_task(job.task.prompt)
    pairs = gather(candidates, collection, request.missing_text)
    if reranker.spec.context == "list" or not hasattr(reranker.load(), "prepare"):
        return _entry(job, "to compute", pairs=len(pairs.pairs))
    prepared = reranker.load().prepare(pairs.queries, pairs.documents, pairs.pairs)
    plan = plan_of(prepared, request.options.batch_tokens)
    key = store_key(reranker.spec.fingerprint, reranker.spec, candidates, plan)
    with ScoreStore(request.cache / "scores.sqlite") as store:
        queries, documents = map(query_digest, pairs.queries), map(document_digest, pairs.documents)
        missing = np.isnan(store.known(key, list(queries), list(documents), pairs.pairs))
    tokens = int(prepared.lengths[missing].sum())
    rest = [batch[missing[batch]] for batch in plan if missing[batch].any()]
    rate, memory = _probe(prepared, rest)
    return _entry(
        job,
        "to compute",
        pairs=len(missing),
        from_store=int((~missing).sum()),
        tokens=tokens,
        seconds=tokens / rate if rate else 0.0,
        memory_gib=memory,
    )


def _probe(prepared: Any, batches: list[Any]) -> tuple[float, float | None]:
    """(tokens a second, peak GiB): the longest batch once for memory, then others spread over the plan, timed."""
    import resource

    if not batches:
        return 0.0, None
    prepared.score(batches[0])
    tokens = 0
    started = time.monotonic()
    for place in range(_PROBE_BATCHES):
        batch = batches[len(batches) * (2 * place + 1) // (2 * _PROBE_BATCHES)]
        prepared.score(batch)
        tokens += int(prepared.lengths[batch].sum())
        if time.monotonic() - started > _PROBE_SECONDS:
            break
    return tokens / (time.monotonic() - started), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _count(number: int | None) -> str:
    return MISSING if number is None else f"{number:,}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return MISSING
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
