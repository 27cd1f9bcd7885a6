"""`--dry-run`: what a run would do, how long it would take, and what would stop it.

Checks cards, model configurations, devices and disk; fetches nothing that is not here. Where the
candidates are in the cache the pairs and tokens are counted exactly and a probe of a few batches
measures the rate and the memory. Where the data is here and the candidates are not, the cost is that of
as many pairs as there can be, as long as a random sample's; where the data is not here either, only the
number of pairs is known, at most.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.collection import judged_here, prepared_fingerprint, without_instructions
from ..engine.rate import remember_rate
from ..results.figures import MISSING
from ..results.layout import Column, fitted, wrapped
from ..results.naming import labels_of
from ..results.terminal import width
from ..retrievers.retrieve import digest_of_run, known_digest
from ..types import Candidates
from ..verdicts.sentences import short_names
from .fetch import bytes_to_fetch, readable_size
from .shared import json_document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..compute import Workbench
    from ..data.collection import Collection
    from ..engine.options import Options
    from ..request import Job, Request
    from ..rerankers.base import Reranker
    from ..rerankers.rerank import RequestPairs
    from ..rerankers.services.cost import Estimate

__all__ = ["Planned", "as_text", "count", "dry_run", "duration", "plan_jobs"]

_SAMPLE = 100
_PROBE_BATCHES = 3
_PROBE_SECONDS = 20.0
_AT_MOST = " (at most)"
_CANDIDATES_FIRST = "to compute: candidates first (at most)"


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
    requests: int | None = None
    """Of a provider's model, how many the pairs that are not stored take, where none is refused or tried again."""
    cost: float | None = None
    """Of a provider's model, the money for the pairs that are not stored, at the price that the user states."""
    cost_per_1000_queries: float | None = None
    top_k: int | None = None
    """How deep the first stage's candidates are cut; None for whole lists."""


Stored = dict[str, set[tuple[bytes, bytes]]]
"""A key of the store → the pairs (digests of query and document) that results before this one will have put there."""


def dry_run(request: Request, say: Callable[[str], None], *, as_json: bool) -> str:
    """The plan as a table, or as one JSON object. Raises HarnessError for whatever would stop the run."""
    planned = plan_jobs(request, say)
    if as_json:
        return json_document({"plan": [asdict(entry) for entry in planned]})
    return as_text(planned, width())


def as_text(planned: Sequence[Planned], width: int) -> str:
    """A row for each result, in at most `width` places, and below them what is still to be fetched."""
    depths = len({entry.top_k for entry in planned} - {None}) > 1
    served = any(entry.requests is not None for entry in planned)
    short = short_names(dict.fromkeys(entry.reranker or MISSING for entry in planned))

    def figures(head: str, shown: Callable[[Planned], str], less: str = "", spare: int = 0) -> Column:
        return Column(head, [shown(entry) for entry in planned], less, spare)

    columns = [
        Column("task", [entry.task + ("" if entry.subset == "default" else f" {entry.subset}") for entry in planned], name=True),
        Column(
            "first stage",
            [entry.retriever + (f" top {entry.top_k}" if depths and entry.top_k else "") for entry in planned],
            "first",
            name=True,
        ),
        Column("reranker", [short[entry.reranker or MISSING] for entry in planned], name=True),
        figures("state", lambda entry: entry.state.partition(": ")[0]),
        figures("pairs", lambda entry: count(entry.pairs)),
        figures("from the store", lambda entry: count(entry.from_store), "stored", 3 if served else 0),
        figures("tokens to score", lambda entry: count(entry.tokens), "tokens", 5),
        figures("time", lambda entry: duration(entry.seconds), "", 4 if served else 0),
        figures("memory", lambda entry: MISSING if entry.memory_gib is None else f"{entry.memory_gib:.1f} GiB", "", 6),
    ]  # fmt: skip
    if served:
        columns.append(figures("requests", lambda entry: count(entry.requests)))
    if any(entry.cost is not None for entry in planned):
        columns.append(figures("cost", lambda entry: _money(entry.cost)))
        columns.append(figures("a 1,000 queries", lambda entry: _money(entry.cost_per_1000_queries), "per 1,000"))
    end = "nothing was computed; the same command without --dry-run runs it"
    return "\n".join([fitted(columns, width), *(wrapped(line, width) for line in (*_why(planned), end))])


def _why(planned: Sequence[Planned]) -> list[str]:
    """What comes before the pairs can be counted, and of what: `candidates first (at most): SciFact`."""
    found: dict[str, dict[str, None]] = {}
    for entry in planned:
        if why := entry.state.partition(": ")[2]:
            own = entry.reranker if " of the model " in why else entry.task
            found.setdefault(why, {})[own or MISSING] = None
    return [f"{why}: {', '.join(names)}" for why, names in found.items()]


def plan_jobs(request: Request, say: Callable[[str], None]) -> list[Planned]:
    """One entry for each result that the request asks for, in order."""
    from ..compute import Workbench
    from ..evaluate import jobs_of, reusable

    for options in dict.fromkeys([request.options, *map(request.options_of, request.rerankers)]):
        _check_device(options)
    _check_disk(request.cache, say)
    started = time.time()
    labels = labels_of(each.known for each in request.rerankers)
    before: Stored = {}
    with Workbench(request, say) as bench:
        planned = [
            (job, _entry(job, "there"))
            if reusable(job, request, lambda _: None, started)
            else (job, _look(job, request, bench, before))
            for job in jobs_of(request)
        ]
    return [replace(each, reranker=labels[job.reranker.known]) if job.reranker else each for job, each in planned]


def _check_device(options: Options) -> None:
    from ..models.loading import check_device

    check_device(options.device)


def _check_disk(cache: Path, say: Callable[[str], None]) -> None:
    here = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(here).free / 2**30
    if free < 5:
        say(f"the disk of the cache {cache} has {free:.1f} GiB left")


def _entry(job: Job, state: str, **figures: Any) -> Planned:
    reranker = job.reranker.spec.name if job.reranker else None
    return Planned(job.task.name, job.subset.name, job.stage.name, reranker, state, top_k=job.top_k, **figures)


def _look(job: Job, request: Request, bench: Workbench, before: Stored) -> Planned:
    fingerprint = prepared_fingerprint(job.task, job.subset, request.cache)
    _require_measures(job, request, bench, prepared=fingerprint is not None)
    if fingerprint is None:
        _open_what_is_here(job)
        return _entry(job, "to compute: data to be fetched" + _AT_MOST, **_without_texts(job, request))
    if job.reranker is None:
        return _entry(job, "to compute")
    if job.reranker.source is not None and (size := bytes_to_fetch(job.reranker.source)):
        state = f"to compute: {readable_size(size)} of the model to be fetched"
        return _entry(job, state + _AT_MOST, pairs=_most_pairs(job, request))
    if request.instructions == "none":
        fingerprint = without_instructions(fingerprint)
    collection = bench.collection(job)
    if known_digest(job.stage, fingerprint, job.task, job.subset, job.top_k, request.cache):
        return _counted(job, request, bench.candidates(job, collection), bench, before)
    return _estimated(job, request, collection)


def _require_measures(job: Job, request: Request, bench: Workbench, *, prepared: bool) -> None:
    """Raises HarnessError where the run would for its measures, as far as what is here can tell."""
    from ..measures.fitting import require_stated

    collection = bench.collection(job) if prepared else judged_here(job.task, job.subset, request.cache)
    if collection is None:
        require_stated(job.measures, job.task)
    else:
        bench.require_measures(job, collection)


def _open_what_is_here(job: Job) -> None:
    """The model without its weights, where all of its files are here: settings that it refuses are refused now."""
    if job.reranker and job.reranker.source and not bytes_to_fetch(job.reranker.source) and _by_pairs(job.reranker):
        job.reranker.load()


def _most_pairs(job: Job, request: Request, queries: int | None = None) -> int | None:
    queries = queries or job.subset.queries
    if not queries or not job.top_k or not job.reranker:
        return None
    return min(queries, request.limit or queries) * job.top_k


def _without_texts(job: Job, request: Request) -> dict[str, Any]:
    """What is known, at most, before any text is here: the pairs, and what a service takes for so many."""
    import numpy as np

    most = _most_pairs(job, request)
    if most is None or job.reranker is None or job.reranker.estimate is None or not job.top_k:
        return {"pairs": most}
    queries = most // job.top_k
    found = job.reranker.estimate([], [], np.empty((0, 2), np.int64), (queries, job.top_k))
    return {"pairs": most, **_price(found, queries)}


def _counted(job: Job, request: Request, candidates: Candidates, bench: Workbench, before: Stored) -> Planned:
    """Exact counts, and a probe of a few batches spread over the plan."""
    from ..engine.plan import plan_of
    from ..rerankers.rerank import gather, store_key

    reranker = _bound(job)
    pairs = gather(candidates, bench.collection(job), request.missing_text)
    if reranker.estimate is not None:
        return _billed(job, reranker, pairs, candidates, bench, before)
    if not _by_pairs(reranker):
        return _entry(job, "to compute", pairs=len(pairs.pairs))
    prepared = reranker.load().prepare(pairs.queries, pairs.documents, pairs.pairs)
    plan = plan_of(prepared, request.options_of(job.reranker).batch_tokens)
    key = store_key(reranker.spec.fingerprint, reranker.spec, candidates, plan)
    missing = _missing(key, pairs, bench, before)
    rest = [batch[missing[batch]] for batch in plan if missing[batch].any()]
    cost = _cost(prepared, rest, int(prepared.lengths[missing].sum()))
    remember_rate(request.cache, reranker.spec.name, int(missing.sum()), cost["seconds"])
    return _entry(job, "to compute", pairs=len(missing), from_store=int((~missing).sum()), **cost)


def _missing(key: str, pairs: RequestPairs, bench: Workbench, before: Stored) -> NDArray[np.bool_]:
    """Which pairs are to be scored: neither stored, nor scored for a result before this one."""
    import numpy as np

    from ..engine.store import document_digest, query_digest

    queries, documents = list(map(query_digest, pairs.queries)), list(map(document_digest, pairs.documents))
    missing: NDArray[np.bool_] = np.isnan(bench.store().known(key, queries, documents, pairs.pairs))
    scored = before.setdefault(key, set())
    for row in np.flatnonzero(missing).tolist():
        query, document = pairs.pairs[row].tolist()
        pair = queries[query], documents[document]
        missing[row] = pair not in scored
        scored.add(pair)
    return missing


def _billed(
    job: Job, reranker: Reranker, pairs: RequestPairs, candidates: Candidates, bench: Workbench, before: Stored
) -> Planned:
    """What a provider's model will be asked for: nothing is sent, and no key is needed."""
    import numpy as np

    from ..rerankers.rerank import store_key

    assert reranker.estimate is not None
    missing = np.ones(len(pairs.pairs), bool)
    if reranker.spec.context == "pair":
        key = store_key(reranker.spec.fingerprint, reranker.spec, candidates, None)
        missing = _missing(key, pairs, bench, before)
    rest = pairs.pairs[missing]
    found = reranker.estimate(pairs.queries, pairs.documents, rest)
    return _entry(
        job,
        "to compute",
        pairs=len(missing),
        from_store=int((~missing).sum()),
        **_price(found, len(np.unique(rest[:, 0]))),
    )


def _price(found: Estimate, queries: int) -> dict[str, Any]:
    per_query = None if found.cost is None or not queries else found.cost / queries
    return {**found._asdict(), "cost_per_1000_queries": None if per_query is None else per_query * 1000}


def _estimated(job: Job, request: Request, collection: Collection) -> Planned:
    """Without candidates: the cost of as many pairs as there can be, as long as those of a random sample."""
    from ..engine.plan import plan_of
    from ..rerankers.rerank import gather

    most = _most_pairs(job, request, len(collection.queries))
    reranker = _bound(job)
    if most and reranker.estimate is not None:
        sample = gather(_random_pairs(collection), collection, "skip")
        asked, depth = most // (job.top_k or 1), job.top_k or 1
        found = reranker.estimate(sample.queries, sample.documents, sample.pairs, (asked, depth))
        return _entry(job, _CANDIDATES_FIRST, pairs=most, **_price(found, asked))
    if most is None or not _by_pairs(reranker):
        return _entry(job, _CANDIDATES_FIRST, pairs=most)
    pairs = gather(_random_pairs(collection), collection, "skip")
    prepared = reranker.load().prepare(pairs.queries, pairs.documents, pairs.pairs)
    tokens = round(float(prepared.lengths.mean()) * most)
    plan = plan_of(prepared, request.options_of(job.reranker).batch_tokens)
    cost = _cost(prepared, plan, tokens)
    remember_rate(request.cache, reranker.spec.name, most, cost["seconds"])
    return _entry(job, _CANDIDATES_FIRST, pairs=most, **cost)


def _random_pairs(collection: Collection) -> Candidates:
    """Two random documents for each of some queries, from a fixed seed."""
    draw = random.Random(0)
    asked = draw.sample(sorted(collection.queries), min(_SAMPLE, len(collection.queries)))
    rows = [draw.sample(range(collection.size), min(2, collection.size)) for _ in asked]
    run = {query_id: dict.fromkeys(collection.doc_ids_at(few), 0.0) for query_id, few in zip(asked, rows, strict=True)}
    return Candidates(run, "a random sample", digest_of_run(run))


def _bound(job: Job) -> Reranker:
    assert job.reranker is not None
    return job.reranker.for_task(job.task.prompt)


def _by_pairs(reranker: Reranker) -> bool:
    """Whether we tokenize its pairs ourselves, so that they can be counted and some of them tried."""
    return reranker.spec.counts_tokens and hasattr(reranker.load(), "prepare")


def _cost(prepared: Any, batches: list[Any], tokens: int) -> dict[str, Any]:
    rate, memory = _probe(prepared, batches)
    return {"tokens": tokens, "seconds": tokens / rate if rate else 0.0, "memory_gib": memory}


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


def _money(amount: float | None) -> str:
    return MISSING if amount is None else f"{amount:,.4f}" if amount < 10 else f"{amount:,.2f}"


def count(number: int | None) -> str:
    """A number with its thousands apart; a dash for one that is not known."""
    return MISSING if number is None else f"{number:,}"


def duration(seconds: float | None) -> str:
    """Seconds, minutes or hours; a dash for what is not known."""
    if seconds is None:
        return MISSING
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
