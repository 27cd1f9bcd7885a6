"""Building and searching BM25 beside bm25s and Lucene: `python -m benchmarks.bm25 [SIZE ...]`.

A synthetic corpus of English-looking words by Zipf's law, a thousand queries, the top 100 of each. Every
way has a process of its own: ours with one process and with as many as there are cores, bm25s where it
is installed (its own tokenizer with Snowball's English stemmer, as its documentation recommends), and
Lucene's own indexer where there are a Java machine and pyserini.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (100_000, 500_000)
QUERIES, TOP_K, WORDS = 1_000, 100, 55
_BATCH = 20_000


def main(words: list[str] | None = None) -> int:
    """Print a row for each size and way."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bm25", description=str(__doc__).splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="SIZE", help="passages")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.way:
        print(json.dumps(_WAYS[given.way](given.sizes[0], given.folder)))
        return 0
    for reason in _absent():
        print(reason)
    print(
        f"{'passages':>9} {'way':<20}{'index s':>9}{'CPU s':>8}{'passages/s':>12}{'search s':>10}{'against one core':>18}"
    )
    for size in given.sizes:
        rows = [_apart(way, size) for way in _present()]
        for row in rows:
            print(_line(size, row, rows[0]), flush=True)
    return 0


def texts(size: int) -> Iterator[str]:
    """The passages, the same for every way; what making them takes is a part of no way's time but the index's."""
    numbers = np.random.default_rng(0)
    roots = np.array([f"{number:x}".translate(_LETTERS) for number in range(200_000)])
    endings = np.array(["", "", "", "s", "ing", "ed", "ation"])
    for start in range(0, size, _BATCH):
        rows = min(_BATCH, size - start)
        picked = np.minimum(numbers.zipf(1.15, (rows, WORDS)), len(roots)) - 1
        ended = numbers.integers(0, len(endings), picked.shape)
        for row, end in zip(roots[picked], endings[ended], strict=True):
            yield " ".join(map(str.__add__, row.tolist(), end.tolist()))


_LETTERS = str.maketrans("0123456789abcdef", "etaoinshrdlucmfw")


def _queries() -> list[str]:
    return [" ".join(text.split()[:6]) for text in texts(QUERIES)]


def _ours(size: int, folder: Path, workers: int) -> dict[str, Any]:
    from harness.retrievers.bm25 import build, open_index

    return _measured(
        lambda: build(texts(size), "en", folder / "index", workers=workers),
        lambda _: open_index(folder / "index").search(_queries(), TOP_K),
    )


def _bm25s(size: int, _folder: Path) -> dict[str, Any]:
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    quiet = {"stemmer": stemmer, "show_progress": False, "stopwords": "en"}

    def build() -> Any:
        index = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
        index.index(bm25s.tokenize(list(texts(size)), **quiet), show_progress=False)
        return index

    def search(index: Any) -> None:
        index.retrieve(bm25s.tokenize(_queries(), **quiet), k=TOP_K, show_progress=False)

    return _measured(build, search)


def _lucene(size: int, folder: Path) -> dict[str, Any]:
    source = folder / "corpus"
    source.mkdir()
    with (source / "docs.jsonl").open("w", encoding="utf-8") as file:
        for number, text in enumerate(texts(size)):
            file.write(json.dumps({"id": str(number), "contents": text}) + "\n")
    command = ["-m", "pyserini.index.lucene", "--collection", "JsonCollection", "--input", str(source), "--index"]
    threads = ["--generator", "DefaultLuceneDocumentGenerator", "--threads", str(os.cpu_count())]

    def build() -> None:
        subprocess.run([sys.executable, *command, str(folder / "lucene"), *threads], check=True, capture_output=True)

    def search(_: object) -> None:
        from pyserini.search.lucene import LuceneSearcher

        searcher = LuceneSearcher(str(folder / "lucene"))
        searcher.batch_search(_queries(), [str(n) for n in range(QUERIES)], k=TOP_K, threads=os.cpu_count() or 1)

    return _measured(build, search)


_CORES = f"ours, {os.cpu_count()} processes"
_WAYS: dict[str, Callable[[int, Path], dict[str, Any]]] = {
    "ours, 1 process": lambda size, folder: _ours(size, folder, 1),
    _CORES: lambda size, folder: _ours(size, folder, os.cpu_count() or 1),
    "bm25s": _bm25s,
    "Lucene": _lucene,
}


def _measured(build: Callable[[], Any], search: Callable[[Any], Any]) -> dict[str, Any]:
    """Seconds by the clock and of all processors, children included."""
    started, used = time.perf_counter(), _used()
    built = build()
    indexed = time.perf_counter()
    spent = _used() - used
    search(built)
    return {"index": indexed - started, "cpu": spent, "search": time.perf_counter() - indexed}


def _used() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def _present() -> list[str]:
    missing = {reason.partition(":")[0] for reason in _absent()}
    return [way for way in _WAYS if way not in missing]


def _absent() -> list[str]:
    found = []
    if not (importlib.util.find_spec("bm25s") and importlib.util.find_spec("Stemmer")):
        found.append("bm25s: left out, pip install bm25s PyStemmer adds it")
    if not (shutil.which("java") and importlib.util.find_spec("pyserini")):
        found.append("Lucene: left out, it needs a Java machine and pip install pyserini")
    return found


def _apart(way: str, size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.bm25", str(size), "--way", way, "--folder", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = {"way": way, **json.loads(done.stdout.splitlines()[-1])}
    return found


def _line(size: int, row: dict[str, Any], alone: dict[str, Any]) -> str:
    return (
        f"{size:>9,} {row['way']:<20}{row['index']:>9.1f}{row['cpu']:>8.1f}{size / row['index']:>12,.0f}"
        f"{row['search']:>10.2f}{row['index'] / alone['index']:>17.2f}x"
    )


if __name__ == "__main__":
    sys.exit(main())
