"""How the cost grows with the corpus: prepared, searched by BM25, reranked: `python -m benchmarks.corpus [SIZE ...]`.

A synthetic corpus of words by Zipf's law, a thousand queries, the top 100 of each, and a reranker that
counts shared words, so that what is measured is ours. Each size has a process of its own. Its memory
is what it holds itself (RssAnon); pages of mapped files, which the system takes back when it needs
them, are shown beside it. CPU seconds are what a stage costs; the clock's seconds are that on a
machine which does nothing else.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIZES = (50_000, 500_000, 5_000_000)
QUERIES = 1_000
TOP_K = 100
MOST_GIB = 6.0
_VOCABULARY = 200_000
_MEAN_WORDS = 55
_BATCH = 20_000
_WORDS_RERANKER = '''
class Shared:
    """Scores a pair by the words that query and document share."""

    fingerprint = "shared words 1"

    def predict(self, pairs):
        return [float(len(set(query.split()) & set(document.split()))) for query, document in pairs]


shared = Shared()
'''


def main() -> int:
    """Print a row a size; 1 where a process grew past the memory it may have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="SIZE", help="passages")
    parser.add_argument("--folder", type=Path, help="where the data go (a temporary folder)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        sys.stdout.write(json.dumps(measure(given.sizes[0], given.folder)))
        return 0
    reports = []
    for size in given.sizes:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            words = [sys.executable, "-m", "benchmarks.corpus", str(size), "--one", "--folder", folder]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        reports.append(json.loads(done.stdout))
        sys.stdout.write(_row(reports[-1], first=len(reports) == 1))
        sys.stdout.flush()
    for smaller, larger in itertools.pairwise(reports):
        sys.stdout.write(_growth(smaller, larger))
    return 1 if any(max(report["own_gib"].values()) > MOST_GIB for report in reports) else 0


STAGES = ("prepare", "search", "rerank")


def _row(report: dict[str, Any], *, first: bool) -> str:
    titles = "".join(f"{f'{stage} s':>11}{'CPU s':>8}{'own GiB':>9}{'mapped':>8}" for stage in STAGES)
    head = f"{'passages':>10}{'MB':>8}{titles}"
    cells = "".join(
        f"{report['seconds'][stage]:>11.1f}{report['cpu_seconds'][stage]:>8.1f}"
        f"{report['own_gib'][stage]:>9.2f}{report['mapped_gib'][stage]:>8.2f}"
        for stage in STAGES
    )
    row = f"{report['passages']:>10,}{report['megabytes']:>8,.0f}{cells}  nDCG@10 {report['ndcg']:.4f}\n"
    return (head + "\n" if first else "") + row


def _growth(smaller: dict[str, Any], larger: dict[str, Any]) -> str:
    """How many times the CPU seconds of each stage grew from one size to the next."""
    times = (f"{stage} x {larger['cpu_seconds'][stage] / smaller['cpu_seconds'][stage]:.1f}" for stage in STAGES)
    passages = larger["passages"] / smaller["passages"]
    return f"{smaller['passages']:,} to {larger['passages']:,} passages (x {passages:.1f}): {', '.join(times)}\n"


def measure(size: int, folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of each stage over `size` passages."""
    from harness.data.collection import prepare
    from harness.data.task import folder_task
    from harness.engine.options import Options
    from harness.evaluate import evaluate
    from harness.request import Request
    from harness.rerankers.resolve import open_rerankers
    from harness.retrievers.retrieve import candidates_of, open_first_stage

    data, cache = folder / "synthetic", folder / "cache"
    write_corpus(data, size)
    plugin = folder / "words.py"
    plugin.write_text(_WORDS_RERANKER)
    options = Options()
    seconds, cpu, own, mapped = {}, {}, {}, {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        with peak() as memory:
            started, worked = time.monotonic(), time.process_time()
            yield
            seconds[name], cpu[name] = time.monotonic() - started, time.process_time() - worked
        own[name], mapped[name] = memory()

    with stage("prepare"):
        task = folder_task(data, cache)
        collection = prepare(task, task.subsets[0], cache)
    bm25 = open_first_stage("bm25", options, cache).for_subset(task.subsets[0])
    with stage("search"):
        candidates_of(bm25, collection, task, task.subsets[0], TOP_K, cache)
    with stage("rerank"):
        request = Request(
            tasks=[task], first_stages=lambda: [bm25], rerankers=open_rerankers(f"{plugin}:shared", options, cache),
            options=options, results=folder / "results", cache=cache, top_k=TOP_K,
        )  # fmt: skip
        (outcome,) = evaluate(request, lambda _: None)
    return {
        "passages": size,
        "megabytes": (data / "corpus.jsonl").stat().st_size / 1e6,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "own_gib": own,
        "mapped_gib": mapped,
        "ndcg": outcome.result.measures["nDCG@10"]["first_stage"],
    }


def write_corpus(folder: Path, size: int) -> None:
    """A BEIR folder: words by Zipf's law; each query is some words of one passage, which is relevant."""
    import numpy as np

    rng = np.random.default_rng(20)
    words = np.array([_word(number) for number in range(_VOCABULARY)], dtype=object)
    chances = 1 / np.arange(10, _VOCABULARY + 10)
    steps = np.cumsum(chances / chances.sum())
    asked = set(rng.choice(size, QUERIES, replace=False).tolist())
    (folder / "qrels").mkdir(parents=True)
    with (
        (folder / "corpus.jsonl").open("w") as corpus,
        (folder / "queries.jsonl").open("w") as queries,
        (folder / "qrels" / "test.tsv").open("w") as qrels,
    ):
        qrels.write("query-id\tcorpus-id\tscore\n")
        for start in range(0, size, _BATCH):
            lengths = rng.poisson(_MEAN_WORDS, min(_BATCH, size - start)) + 1
            drawn = words[np.searchsorted(steps, rng.random(int(lengths.sum())))].tolist()
            place = 0
            for number, length in enumerate(lengths.tolist(), start):
                passage = drawn[place : place + length]
                place += length
                corpus.write(f'{{"_id": "p{number}", "title": "{passage[0]}", "text": "{" ".join(passage)}"}}\n')
                if number in asked:
                    chosen = " ".join(rng.choice(passage, 6).tolist())
                    queries.write(f'{{"_id": "q{number}", "text": "{chosen}"}}\n')
                    qrels.write(f"q{number}\tp{number}\t1\n")


def _word(number: int) -> str:
    """A pronounceable word for each number, none of them a stop word."""
    letters = ""
    while True:
        number, consonant = divmod(number, 19)
        number, vowel = divmod(number, 5)
        letters += "bcdfghjklmnpqrtvwxz"[consonant] + "aeiou"[vowel]
        if not number:
            return letters + "n"


@contextmanager
def peak() -> Iterator[Callable[[], tuple[float, float]]]:
    """The highest RssAnon and RssFile seen while the block runs, in GiB."""
    highest, running = [0, 0], threading.Event()

    def watch() -> None:
        while not running.wait(0.05):
            for place, now in enumerate(_resident()):
                highest[place] = max(highest[place], now)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: (highest[0] / 2**20, highest[1] / 2**20)
    finally:
        running.set()
        watcher.join()


def _resident() -> tuple[int, int]:
    """(RssAnon, RssFile) in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    return found["RssAnon"], found["RssFile"]


if __name__ == "__main__":
    raise SystemExit(main())
