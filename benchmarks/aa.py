"""How often is a verdict wrong? Every rate that the documentation states, counted by simulation.

    python -m benchmarks.aa [--coverage] [--clusters] [--compare] [--gate] [--cost] [--trials 400] [--alpha 0.05] [--seed 1]

Without a choice all of them. A query's value is drawn twice from its own distribution, with the many zeros, ones and
ties that nDCG@10 has; half of the differences are 0. Beside it stand differences of the committed results.

--coverage  how often the 95 % interval covers the true mean difference, and how often it contradicts p, beside the
            percentile bootstrap of earlier versions
--clusters  false alarms and coverage where queries share something, with and without their clusters; how much wider
            the intervals of the committed results are for it
--compare   how often twenty equal systems show a false difference, corrected within each pair and over all
--gate      a suite of tasks run twice by one system: false alarms, with a true drop near the tolerance too, what is
            decided, and how often a drop of the size that the power line states is found
--cost      milliseconds and memory of one interval and p of 10,000 queries

Exit code 1 where a rate is beyond what is stated.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from harness.boards.pairs import Pairs
from harness.boards.resampling import RESAMPLES, Part, Sums, resample
from harness.measures.family import Family
from harness.measures.significance import judged, paired_randomisation, units_of
from harness.results.result import Identity, Result, load_result
from harness.verdicts.answers import answered
from harness.verdicts.gate import MAX_DROP
from harness.verdicts.rows import Row
from harness.verdicts.samples import means_of_samples, samples_of

QUERIES = (9, 15, 28, 50, 55, 100)
"""Judged queries of the suite's tasks."""
COMMITTED = Path(__file__).parents[1] / "results"


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


def judge(tasks: list[list[list[float]]], alpha: float, max_drop: float) -> list[Row]:
    """The gate's rows over tasks of two runs each, and their mean."""
    pairs = [tuple(result(f"task {place}", values) for values in runs) for place, runs in enumerate(tasks)]
    samples = samples_of(pairs, None)
    return answered(samples + means_of_samples(samples, ()), max_drop, alpha)


def pools(generator: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Differences to draw queries from: made ones, and those of committed results."""
    one, other = (np.array(run) for run in two_runs(generator, 50_000))
    yield "two runs of one system", other - one
    gained = np.where(generator.random(50_000) < 0.15, 1.0, other)
    yield "a gain on some queries", gained - one
    yield "a hit or none: nine queries in ten won", (generator.random(50_000) < 0.9).astype(float)
    yield (
        "one query in seven won or lost all",
        generator.choice([-1.0, 1.0], 50_000) * (generator.random(50_000) < 1 / 7),
    )
    for path in sorted(COMMITTED.glob("package*/*/bm25*/*.values.json.gz")):
        name = path.name.partition("@")[0]
        if name in ("SciFact", "XQuADRetrieval.de", "XQuADRetrieval.ru", "XQuADRetrieval.hi", "XQuADRetrieval.en"):
            stages = json.loads(gzip.decompress(path.read_bytes()))["values"]["nDCG@10"]
            yield name, np.subtract(stages["reranked"], stages["first_stage"])


def percentile(sample: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """The interval of earlier versions: of means of queries drawn with replacement."""
    low, high = np.quantile(
        sample[generator.integers(0, sample.size, (2000, sample.size))].mean(axis=1), [0.025, 0.975]
    )
    return float(low), float(high)


def count_coverage(given: argparse.Namespace, generator: np.random.Generator) -> bool:
    """Per shape and number of queries: coverage of the intervals that are given, and whether p ever disagrees."""
    good = True
    for name, pool in pools(generator):
        print(f"{name}, {float((pool == 0).mean()):.0%} ties")
        for queries in (9, 15, 30, 50):
            there = held = apart = before = apart_before = 0
            for _ in range(given.trials):
                sample = generator.choice(pool, queries)
                found = judged(units_of(np.zeros(queries), sample))
                low, high = percentile(sample, generator)
                before += low <= pool.mean() <= high
                apart_before += (low > 0 or high < 0) != (found.p <= 0.05)
                if found.low is None or found.high is None:
                    apart += found.p <= 0.05
                    continue
                there += 1
                held += found.low <= pool.mean() <= found.high
                apart += (found.low > 0 or found.high < 0) != (found.p <= 0.05)
            rate = held / there if there else 1.0
            good &= not apart and rate >= 0.94 - 2 * (0.06 * 0.94 / max(there, 1)) ** 0.5
            shown = f"covers {rate:.3f}" if there else "has none"
            print(
                f"  {queries} queries: given in {there / given.trials:.0%}, {shown}, contradicts p in {apart}", end="; "
            )
            print(f"the bootstrap: {before / given.trials:.3f}, contradicts p in {apart_before / given.trials:.1%}")
    return good


def count_clusters(given: argparse.Namespace, generator: np.random.Generator) -> bool:
    """40 clusters of 5 queries, correlation .3 within: alarms and coverage as if independent, and by cluster."""
    counts = np.zeros((2, 2))
    names = np.repeat(np.arange(40), 5).tolist()
    for _ in range(given.trials):
        differences = 0.3**0.5 * np.repeat(generator.normal(size=40), 5) + 0.7**0.5 * generator.normal(size=200)
        for place, clusters in enumerate((None, names)):
            found = judged(units_of(np.zeros(200), differences, clusters))
            counts[place] += found.p <= given.alpha, (found.low or 0.0) <= 0 <= (found.high or 0.0)
    for what, (alarms, held) in zip(("as if independent", "by cluster"), counts / given.trials, strict=True):
        print(f"queries that share something, {what}: false alarms {alarms:.3f}, coverage {held:.3f}")
    for path in sorted(COMMITTED.glob("package*/*/bm25*/XQuAD*@????????.json")):
        row = load_result(path).measures["nDCG@10"]
        low, high, left, right = (row[key] or 0.0 for key in ("low", "high", "low_by_query", "high_by_query"))
        print(
            f"  {path.name.partition('@')[0]}: the interval by paragraph is {(high - low) / (right - left):.2f} times as wide"
        )
    return bool(counts[1, 0] / given.trials <= given.alpha + 2 * (0.05 * 0.95 / given.trials) ** 0.5)


def count_compare(given: argparse.Namespace, generator: np.random.Generator) -> bool:
    """Twenty equal systems, one held against nineteen on one task of 50 queries."""
    alone = together = split = 0
    for _ in range(given.trials):
        quality = generator.beta(1.2, 0.9, 50)
        systems = [np.round(generator.beta(0.2 + 6 * quality, 0.2 + 6 * (1 - quality)), 1) for _ in range(20)]
        figures = [units_of(systems[0], other, range(50), "T") for other in systems[1:]]
        alone += any(paired_randomisation(systems[0], other) <= given.alpha for other in systems[1:])
        together += min(Family(figures).p_values()) <= given.alpha
        board = Sums(20, RESAMPLES)
        resample("T", [Part("default", tuple(map(str, range(50))), np.stack(systems, axis=1))], {0: board}, [{0: 1.0}])
        best = int(np.argmax([system.mean() for system in systems]))
        pairs = Pairs(board, range(20), given.alpha)
        split += any(pairs.differ(best, other) for other in range(20) if other != best)
    print(f"20 equal systems, a false difference: within each pair {alone / given.trials:.3f}", end="")
    print(f", over all that is printed {together / given.trials:.3f} (stated: at most {given.alpha:g})")
    print(
        f"20 equal systems on a board, more than one rank: {split / given.trials:.3f} (stated: at most {given.alpha:g})"
    )
    return max(together, split) / given.trials <= given.alpha + 2 * (0.05 * 0.95 / given.trials) ** 0.5


def count_gate(given: argparse.Namespace, generator: np.random.Generator) -> bool:
    """The suite's gates; then one task of each, in turn, made worse by what the power line states for it."""
    alarms = tolerated = stated = found = 0
    answers = {"failed": 0, "passed": 0, "not decided": 0}
    for number in range(given.trials):
        tasks = [two_runs(generator, queries) for queries in QUERIES]
        strict, rows = judge(tasks, given.alpha, 0.0), judge(tasks, given.alpha, MAX_DROP)
        alarms += any(row.answer.verdict == "failed" for row in strict if row.answer)
        tolerated += any(row.answer.verdict == "failed" for row in rows if row.answer)
        for row in rows:
            answers[row.answer.verdict if row.answer else ""] += 1
        place = number % len(QUERIES)
        drop = rows[place].detectable
        if drop is not None and QUERIES[place] >= 15:
            before, after = two_runs(generator, QUERIES[place])
            tasks[place] = [before, [value - drop for value in after]]
            stated += 1
            again = judge(tasks, given.alpha, MAX_DROP)[place].answer
            found += again is not None and again.verdict == "failed"
    total = given.trials
    print(f"{total} A/A gates of {len(QUERIES)} tasks ({', '.join(map(str, QUERIES))} queries) and their mean")
    print(f"  false alarms without a tolerance: {alarms / total:.3f} (stated: at most {given.alpha:g})")
    print(f"  with --max-drop {MAX_DROP:g}: {tolerated / total:.3f}; rows: {answers}")
    print(
        f"  drops of the size that the power line states, found: {found / max(stated, 1):.3f} of {stated} (stated: .8)"
    )
    wrong = []
    for queries in (300, 6_980):
        for drop in (0.008, MAX_DROP):
            failed = passed = earlier = 0
            for _ in range(total):
                before, after = two_runs(generator, queries)
                flips = units_of(before, np.subtract(after, drop)).flips()
                earlier += flips.figure < -MAX_DROP and flips.p <= given.alpha
                (row,) = judge([[before, [value - drop for value in after]]], given.alpha, MAX_DROP)
                failed += row.answer is not None and row.answer.verdict == "failed"
                passed += row.answer is not None and row.answer.verdict == "passed"
            shares = failed / total, passed / total
            print(
                f"  a true drop of {drop:g}, {queries} queries: failed {shares[0]:.3f}, passed {shares[1]:.3f}",
                end="; ",
            )
            print(f"failed by the earlier rule, which tested against no drop at all: {earlier / total:.3f}")
            wrong += [shares[0], *([shares[1]] if drop >= MAX_DROP else [])]
    most = given.alpha + 2 * (0.05 * 0.95 / total) ** 0.5
    return max(alarms / total, tolerated / total, *wrong) <= most


def count_cost(given: argparse.Namespace, generator: np.random.Generator) -> bool:
    """The best of five, of the process alone: the machine may have other work."""
    differences = generator.normal(0.01, 0.3, 10_000) * (generator.random(10_000) < 0.5)
    times = []
    for _ in range(5):
        started = time.process_time()
        judged(units_of(np.zeros(10_000), differences))
        times.append(1000 * (time.process_time() - started))
    tracemalloc.start()
    judged(units_of(np.zeros(10_000), differences))
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    print(f"10,000 queries: p and interval in {min(times):.0f} ms (stated: under 50), {peak:.0f} MiB at the most")
    return min(times) < 50


COUNTS: dict[str, Callable[[argparse.Namespace, np.random.Generator], bool]] = {
    "coverage": count_coverage,
    "clusters": count_clusters,
    "compare": count_compare,
    "gate": count_gate,
    "cost": count_cost,
}


def main() -> int:
    """Simulate, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    for name in COUNTS:
        parser.add_argument(f"--{name}", action="store_true")
    given = parser.parse_args()
    chosen = [name for name in COUNTS if getattr(given, name)] or list(COUNTS)
    started = time.monotonic()
    good = [COUNTS[name](given, np.random.default_rng(given.seed)) for name in chosen]
    print(f"{time.monotonic() - started:.0f} s")
    return int(not all(good))


if __name__ == "__main__":
    raise SystemExit(main())
