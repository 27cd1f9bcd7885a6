"""How often does the gate raise a false alarm? Simulated A/A comparisons: nothing changed, only chance.

    python -m benchmarks.aa [--comparisons 200] [--alpha 0.05] [--seed 1]

Each comparison is a suite of tasks, run twice by one and the same system: a query's value is drawn
twice from its own distribution, with the many zeros, ones and ties that nDCG@10 has. The gate then
judges the second run against the first, over all tasks and their mean, by its own rule. The rate
of gates that fail must not be above alpha. Prints the rate without a tolerance (significance alone
decides, the hardest case) and with the default one; exit code 1 where one is above alpha.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from harness.compare import rows_of
from harness.gate import MAX_DROP, fails
from harness.result import Identity, Result
from harness.samples import means_of_samples, samples_of

QUERIES = (9, 15, 28, 50, 55, 100)
"""Judged queries of the suite's tasks."""


def result(task: str, values: list[float]) -> Result:
    """A result with these values and nothing else of interest."""
    identity = Identity(
        task=task, subset="default", split="test", dataset="made", dataset_revision="0" * 40, card="packed",
        retriever="bm25", retriever_fingerprint="0" * 32, retriever_settings={}, top_k=100, reranker="made",
        reranker_revision="0" * 40, reranker_fingerprint="0" * 32, reranker_settings={},
    )  # fmt: skip
    measures = {"nDCG@10": {"reranked": float(np.mean(values))}}
    ids = tuple(map(str, range(len(values))))
    return Result(
        identity, "", "", len(values), ("nDCG@10",), measures, values={"nDCG@10": {"reranked": values}}, query_ids=ids
    )


def two_runs(generator: np.random.Generator, queries: int) -> list[list[float]]:
    """The values of two runs of one system: each query has its own quality, and each run its own luck."""
    quality = generator.beta(1.2, 0.9, queries)
    runs = []
    for _ in range(2):
        drawn = generator.beta(0.2 + 6 * quality, 0.2 + 6 * (1 - quality))
        runs.append(np.where(drawn < 0.1, 0.0, np.where(drawn > 0.9, 1.0, drawn)))
    same = generator.random(queries) < 0.4
    runs[1] = np.where(same, runs[0], runs[1])
    return [run.tolist() for run in runs]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    generator = np.random.default_rng(given.seed)
    alarms = tolerated = significant = rows_seen = 0
    started = time.monotonic()
    for _ in range(given.comparisons):
        runs = [two_runs(generator, queries) for queries in QUERIES]
        pairs = [tuple(result(f"task {place}", values) for values in run) for place, run in enumerate(runs)]
        samples = samples_of(pairs, None)
        rows = rows_of(samples + means_of_samples(samples, ()), given.alpha)
        alarms += any(fails(row, 0.0, given.alpha) for row in rows)
        tolerated += any(fails(row, MAX_DROP, given.alpha) for row in rows)
        significant += sum(row.p <= given.alpha for row in rows)
        rows_seen += len(rows)
    total = given.comparisons
    print(f"{total} A/A comparisons of {len(QUERIES)} tasks ({', '.join(map(str, QUERIES))} queries) and their mean")
    print(
        f"rows with p at or below {given.alpha:g} before correction: {significant} of {rows_seen} = {significant / rows_seen:.2%}"
    )
    print(
        f"false alarms without a tolerance: {alarms} of {total} = {alarms / total:.2%} (stated: at most {given.alpha:.0%})"
    )
    print(f"false alarms with --max-drop {MAX_DROP:g}: {tolerated} of {total} = {tolerated / total:.2%}")
    print(f"{time.monotonic() - started:.0f} s")
    return int(max(alarms, tolerated) / total > given.alpha)


if __name__ == "__main__":
    raise SystemExit(main())
