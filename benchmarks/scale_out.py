"""At how many workers this process becomes the limit: what a batch costs a worker, and what it costs here.

    python -m benchmarks.scale_out [--format json] [--pairs N] [--rounds R]

A worker's time for a batch is measured on real pairs with a cross-encoder of MiniLM's size. What this
process spends on one is measured apart: sending it and taking its answer, with workers that answer at
once, and keeping its scores in the store, synced to the disk, alone or, as happens where many batches
come while it writes, several in one transaction. One divided by the other is the number of workers that
it can keep busy. Tokenizing the request, which it does once, is shown beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import fix_threads, load, processor
from benchmarks.sample import make_model, take_sample
from harness.engine.actor import Opening

_WORKERS = 2
_TOGETHER = 8
"""Batches that are kept together when this process is behind: half of what 8 workers have under way."""
_OTHER_BATCHES = (0.01, 0.1, 1.0)
"""Seconds of a batch on faster and slower devices, for which the limit is told too."""


@dataclass(frozen=True)
class AtOnce(Opening):
    """Workers that answer every batch with zeros, so that what is left is the sending."""

    def open(self) -> Callable[[Any], Callable[[Any], Any]]:
        from harness.rerankers.worker import Answer

        return lambda _: lambda rows: Answer(np.zeros((len(rows), 1), np.float32), (), ())


def main(words: list[str] | None = None) -> int:
    given = _arguments(words)
    fix_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        report = measure(Path(folder), given.pairs, given.rounds)
    print(json.dumps(report) if given.format == "json" else table(report))
    return 0


def measure(folder: Path, pairs: int, rounds: int) -> dict[str, Any]:
    """Every figure, in seconds; medians over rounds."""
    from harness.engine.options import Options
    from harness.engine.plan import plan_of
    from harness.engine.scale_out import Workers
    from harness.rerankers.rerank import gather
    from harness.rerankers.resolve import open_rerankers
    from harness.rerankers.worker import Scorer, columns

    before, sample = load(), take_sample(pairs, folder / "cache")
    (reranker,) = open_rerankers(str(make_model(folder / "model")), Options(), folder / "cache")
    request = gather(sample.candidates, sample.collection)
    prepared, tokenizing = _timed(lambda: reranker.load().prepare(*request.texts), time.process_time)
    plan = plan_of(prepared, Options().batch_tokens)
    everything = np.ones(len(request.pairs), bool)
    columns(prepared, plan[-1], reranker)
    computing = [
        _timed(partial(columns, prepared, batch, reranker), time.process_time)[1]
        for batch in plan
        for _ in range(rounds)
    ]
    many = [batch for _ in range(-(-400 // len(plan))) for batch in plan]
    seconds = _timed(lambda: [columns(prepared, batch, reranker) for batch in plan])[1]
    rates = {"one process": len(request.pairs) / seconds}

    workers = Workers(_WORKERS, "cpu", report=_say)
    try:
        sending = [_sending(workers, many, everything) for _ in range(rounds + 1)][1:]
        opening = Scorer(reranker.origin, reranker.spec.fingerprint)
        for _ in range(2):  # the first loads the model
            seconds = _timed(
                lambda: workers.run_plan(plan, everything, opening, request.texts, lambda rows: rows, _nothing)
            )[1]
        rates[f"{_WORKERS} workers"] = len(request.pairs) / seconds
    finally:
        workers.close()
    batch = statistics.median(computing)
    sent = statistics.median(sending)
    alone, together = (sent + _storing(folder, request, plan, count) for count in (1, _TOGETHER))
    return {
        "data": sample.source,
        "pairs": len(request.pairs),
        "batches": len(plan),
        "processor": processor(),
        "load": [before, load()],
        "batch_seconds": batch,
        "sending_seconds": sent,
        "driver_seconds": alone,
        "driver_seconds_together": together,
        "tokenizing_seconds_a_pair": tokenizing / len(request.pairs),
        "workers_at_the_limit": batch / together,
        "elsewhere": {str(seconds): seconds / together for seconds in _OTHER_BATCHES},
        "pairs_a_second": rates,
    }


def _sending(workers: Any, batches: Sequence[Any], everything: Any) -> float:
    """Seconds of this process's own time for one batch, sent, waited for and taken back; nothing is computed."""
    started = time.process_time()
    workers.run_plan(batches, everything, AtOnce(), None, lambda rows: rows, _nothing)
    return (time.process_time() - started) / len(batches)


def _storing(folder: Path, request: Any, plan: Sequence[Any], together: int) -> float:
    """Seconds a batch in which so many are kept together, synced to the disk; by the clock, since the disk counts."""
    from harness.engine.store import ScoreStore, document_digest, query_digest

    queries = [query_digest(query) for query in request.queries]
    documents = [document_digest(document) for document in request.documents]
    seconds = []
    groups = [np.concatenate(plan[place : place + together]) for place in range(0, len(plan), together)]
    with ScoreStore(folder / "scores.sqlite") as store:
        for turn in range(-(-40 // len(groups))):
            for rows in groups:
                name, scores = f"{together} together, turn {turn}", np.zeros(len(rows), np.float32)
                seconds.append(_timed(partial(store.add, name, queries, documents, request.pairs[rows], scores))[1])
    return statistics.median(seconds) / together


def _timed(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[Any, float]:
    """What `work` gives, and its seconds; by `time.process_time` its own, whoever else uses the machine."""
    started = clock()
    found = work()
    return found, clock() - started


def _nothing(answers: Any) -> None:
    """Takes answers and keeps nothing."""


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    sent, alone, together = (
        report[name] * 1000 for name in ("sending_seconds", "driver_seconds", "driver_seconds_together")
    )
    before, after = report["load"]
    others = "\n".join(
        f"  a batch of {float(seconds) * 1000:>5,.0f} ms: from {limit:,.0f} workers on"
        for seconds, limit in report["elsewhere"].items()
    )
    rates = ", ".join(f"{name} {rate:.1f}" for name, rate in report["pairs_a_second"].items())
    return (
        f"{report['pairs']} pairs of {report['data']} in {report['batches']} batches; {report['processor']}, "
        f"load {before} to {after}\n\n"
        f"a batch takes a worker of one core {report['batch_seconds'] * 1000:,.1f} ms (median)\n"
        f"it takes this process {alone:,.2f} ms: {sent:,.2f} ms of its time to send it and take the answer,\n"
        f"  {alone - sent:,.2f} ms to keep the scores, synced to the disk; {together:,.2f} ms in all where "
        f"{_TOGETHER} batches come together\n"
        f"so this process becomes the limit at {report['workers_at_the_limit']:,.0f} workers\n"
        f"with other devices:\n{others}\n"
        f"tokenizing for the plan, once a request: {report['tokenizing_seconds_a_pair'] * 1e6:,.0f} µs a pair\n"
        f"measured, pairs a second: {rates} (on as many cores as this machine has to spare)"
    )


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale_out", description=str(__doc__).splitlines()[0])
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--pairs", type=int, default=140, metavar="N", help="about so many pairs (20 a query)")
    parser.add_argument("--rounds", type=int, default=3, metavar="R")
    return parser.parse_args(words)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
