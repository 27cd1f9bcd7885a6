"""How often does the gate raise a false alarm, and how often does it see what it says it can see?

    python -m benchmarks.aa [--comparisons 200] [--alpha 0.05] [--seed 1]

Each comparison is a suite of tasks, run twice by one and the same system: a query's value is drawn
twice from its own distribution, with the many zeros, ones and ties that nDCG@10 has. The gate then
judges the second run against the first, over all tasks and their mean, by its own rule. The rate
of gates that fail must not be above alpha. Prints the rate without a tolerance (significance alone
decides, the hardest case) and with the default one; exit code 1 where one is above alpha.

Then one task of each comparison, in turn, is made worse by the drop that the power line states for
it, and a second run is drawn: the power line says that 4 in 5 are found.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from harness.results.result import Identity, Result
from harness.verdicts.compare import Row, rows_of
from harness.verdicts.gate import MAX_DROP, fails
from harness.verdicts.samples import means_of_samples, samples_of

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


def comparison(tasks: list[list[list[float]]], alpha: float, max_drop: float) -> list[Row]:
    """The gate's rows over tasks of two runs each, and their mean."""
    pairs = [tuple(result(f"task {place}", values) for values in runs) for place, runs in enumerate(tasks)]
    samples = samples_of(pairs, None)
    return rows_of(samples + means_of_samples(samples, ()), alpha, max_drop)


def main() -> int:
    """Simulate, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=200)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    generator = np.random.default_rng(given.seed)
    alarms = tolerated = significant = rows_seen = stated = found = 0
    started = time.monotonic()
    for number in range(given.comparisons):
        tasks = [two_runs(generator, queries) for queries in QUERIES]
        rows = comparison(tasks, given.alpha, MAX_DROP)
        alarms += any(fails(row, 0.0, given.alpha) for row in rows)
        tolerated += any(fails(row, MAX_DROP, given.alpha) for row in rows)
        significant += sum(row.p <= given.alpha for row in rows)
        rows_seen += len(rows)
        place = number % len(QUERIES)
        drop = rows[place].detectable
        if drop is not None:
            before, after = two_runs(generator, QUERIES[place])
            tasks[place] = [before, [value - drop for value in after]]
            stated += 1
            found += fails(comparison(tasks, given.alpha, MAX_DROP)[place], MAX_DROP, given.alpha)
    total = given.comparisons
    print(f"{total} A/A comparisons of {len(QUERIES)} tasks ({', '.join(map(str, QUERIES))} queries) and their mean")
    for what, count, of in (
        (f"rows with p at or below {given.alpha:g} before correction", significant, rows_seen),
        (f"false alarms without a tolerance (stated: at most {given.alpha:.0%})", alarms, total),
        (f"false alarms with --max-drop {MAX_DROP:g}", tolerated, total),
        ("drops of the size that the power line states, found (stated: 80%)", found, stated),
    ):
        print(f"{what}: {count} of {of} = {count / of:.2%}")
    print(f"{time.monotonic() - started:.0f} s")
    return int(max(alarms, tolerated) / total > given.alpha)


if __name__ == "__main__":
    raise SystemExit(main())
