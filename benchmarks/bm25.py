"""Building and searching BM25 beside bm25s and Lucene: `python -m benchmarks.bm25 [SIZE ...]`.

A synthetic corpus of English-looking words by Zipf's law, a thousand queries, the top 100 of each. The corpus
lies on disk before any clock starts, for ours as a run prepares it, for the others as the JSON lines they
are documented with, and reading it is a part of every way's time. Each way has processes of its own: ours on
one core and on all of them, whose indexes must be the same to the byte; bm25s where it is installed (its own
tokenizer with Snowball's English stemmer, as its documentation recommends), and Lucene's own indexer
where there are a Java machine and the jar that says so with --lucene or ANSERINI_JAR (Anserini's, a copy of
which pyserini's wheel holds); its times have the start of that machine in them, about a second.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import importlib.util
import itertools
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
from typing import Any, NamedTuple

import numpy as np

SIZES = (100_000, 500_000)
QUERIES, TOP_K, WORDS = 1_000, 100, 55
_BATCH = 16_384
_CORES = len(os.sched_getaffinity(0))
_JSON_FILES = 8
"""Lucene's indexer gives each thread a file at a time."""


class Place(NamedTuple):
    """Where a way finds the corpus, and where it puts what it makes."""

    corpus: Path
    folder: Path
    jar: str


def main(words: list[str] | None = None) -> int:
    """Print a row for each size and way; 1 where one core and all of them make different indexes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bm25", description=str(__doc__).splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="SIZE", help="passages")
    parser.add_argument("--skip", nargs="+", default=[], choices=("bm25s", "Lucene"), help="peers that are left out")
    parser.add_argument(
        "--lucene", default=os.environ.get("ANSERINI_JAR", ""), metavar="JAR", help="Anserini's fat jar"
    )
    parser.add_argument("--folder", type=Path, help="where the data go (a temporary folder)")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.way:
        print(json.dumps(_WAYS[given.way](Place(given.folder / "corpus", given.folder / given.way, given.lucene))))
        return 0
    absent = _absent(given.lucene)
    for reason in absent.values():
        print(reason)
    ways = [way for way in _WAYS if way not in {*absent, *given.skip}]
    print(_TITLE)
    return max([0, *(_compared(size, ways, given.lucene, given.folder) for size in given.sizes)])


def _compared(size: int, ways: list[str], jar: str, where: Path | None) -> int:
    if where is not None:
        where.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=where) as name:
        folder = Path(name)
        write_corpus(folder / "corpus", size, as_json=len(ways) > len(_OURS))
        rows: list[dict[str, Any]] = []
        for way in ways:
            rows.append(_apart(way, folder, jar))
            print(_line(size, rows[-1], rows[0]), flush=True)
        same = _same(*(folder / way / "index" for way in _OURS))
        print(f"{size:>9,} passages: the index of {_CORES} cores is {'' if same else 'NOT '}that of one, to the byte")
    return 0 if same else 1


# -- the corpus


def texts(size: int) -> Iterator[str]:
    """The passages, the same for every way."""
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


def write_corpus(folder: Path, size: int, *, as_json: bool) -> None:
    """As a prepared collection holds it and, for the peers, as JSON lines."""
    import pyarrow as pa

    (folder / "json").mkdir(parents=True)
    schema = pa.schema([(name, pa.string()) for name in ("id", "title", "text")])
    passages = texts(size)
    with pa.OSFile(str(folder / "corpus.arrow"), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for first in range(0, size, _BATCH):
            some = list(itertools.islice(passages, _BATCH))
            doc_ids = [f"{number:08}" for number in range(first, first + len(some))]
            writer.write_batch(pa.record_batch([doc_ids, [""] * len(some), some], schema=schema))
            if as_json:
                part = folder / "json" / f"{first // _BATCH * _BATCH * _JSON_FILES // size}.jsonl"
                with part.open("a", encoding="utf-8") as lines:
                    lines.writelines(
                        json.dumps({"id": doc_id, "contents": text}) + "\n"
                        for doc_id, text in zip(doc_ids, some, strict=True)
                    )


def _queries() -> list[str]:
    return [" ".join(text.split()[:6]) for text in texts(QUERIES)]


# -- the ways


def _ours(place: Place) -> dict[str, Any]:
    from harness.data.corpus import Corpus
    from harness.retrievers.bm25 import build, open_index

    queries, index = _queries(), place.folder / "index"
    return _measured(
        lambda: build(Corpus(place.corpus / "corpus.arrow"), "en", index),
        lambda _: open_index(index).search(queries, TOP_K),
    )


def _ours_on_one(place: Place) -> dict[str, Any]:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    return _ours(place)


def _bm25s(place: Place) -> dict[str, Any]:
    import bm25s
    import Stemmer

    stemmer, queries = Stemmer.Stemmer("english"), _queries()
    quiet = {"stemmer": stemmer, "show_progress": False, "stopwords": "en"}

    def build() -> Any:
        index = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
        passages = [
            json.loads(line)["contents"]
            for path in sorted((place.corpus / "json").iterdir())
            for line in path.read_text("utf-8").splitlines()
        ]
        index.index(bm25s.tokenize(passages, **quiet), show_progress=False)
        return index

    def search(index: Any) -> None:
        index.retrieve(bm25s.tokenize(queries, **quiet), k=TOP_K, show_progress=False, n_threads=_CORES)

    return _measured(build, search)


def _lucene(place: Place) -> dict[str, Any]:
    index, topics = place.folder / "index", place.folder / "queries.tsv"
    topics.write_text("".join(f"{number}\t{query}\n" for number, query in enumerate(_queries())), "utf-8")

    def java(program: str, *words: str) -> None:
        subprocess.run(["java", "-cp", place.jar, f"io.anserini.{program}", *words], check=True, capture_output=True)

    def build() -> None:
        where = ("-input", str(place.corpus / "json"), "-index", str(index))
        java("index.IndexCollection", "-collection", "JsonCollection", *where, "-threads", str(_CORES))

    def search(_: object) -> None:
        asked = ("-topics", str(topics), "-topicReader", "TsvInt", "-output", str(place.folder / "run.txt"))
        threads = ("-threads", str(_CORES)) if _CORES > 1 else ()
        java("search.SearchCollection", "-index", str(index), *asked, "-bm25", "-hits", str(TOP_K), *threads)

    return _measured(build, search)


_OURS = ("ours, 1 core", f"ours, {_CORES} cores")
_WAYS: dict[str, Callable[[Place], dict[str, Any]]] = {
    _OURS[0]: _ours_on_one,
    _OURS[1]: _ours,
    "bm25s": _bm25s,
    "Lucene": _lucene,
}


def _absent(jar: str) -> dict[str, str]:
    """Way → why it is left out."""
    found = {}
    if not (importlib.util.find_spec("bm25s") and importlib.util.find_spec("Stemmer")):
        found["bm25s"] = "bm25s: left out, pip install bm25s PyStemmer adds it"
    if not shutil.which("java"):
        found["Lucene"] = "Lucene: left out, there is no Java machine (no java on the PATH)"
    elif not Path(jar).is_file():
        named = f"{jar} is no file" if jar else "no jar is named"
        found["Lucene"] = f"Lucene: left out, {named}; --lucene or ANSERINI_JAR says where Anserini's fat jar is"
    return found


# -- measuring


def _measured(build: Callable[[], Any], search: Callable[[Any], Any]) -> dict[str, Any]:
    """Seconds by the clock, and of all processors, those of this process and of its children."""
    started, used = time.perf_counter(), _used()
    built = build()
    indexed = time.perf_counter()
    own, children = (later - before for later, before in zip(_used(), used, strict=True))
    search(built)
    return {"index": indexed - started, "own": own, "children": children, "search": time.perf_counter() - indexed}


def _used() -> tuple[float, float]:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    own, children = (usage.ru_utime + usage.ru_stime for usage in both)
    return own, children


def _apart(way: str, folder: Path, jar: str) -> dict[str, Any]:
    (folder / way).mkdir()
    command = [sys.executable, "-m", "benchmarks.bm25", "--way", way, "--folder", str(folder), "--lucene", jar]
    highest = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            highest = max(highest, _held(process.pid))
            time.sleep(0.1)
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{way} ended with status {process.returncode}")
    return {"way": way, "gib": highest, **json.loads(said.splitlines()[-1])}


def _held(process: int) -> float:
    """GiB that a process and all that it started hold themselves (RssAnon); mapped files are not in it."""
    held = 0.0
    with contextlib.suppress(OSError, ValueError):
        status = Path(f"/proc/{process}/status").read_text()
        held += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 2**20
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            held += sum(_held(int(child)) for child in children.read_text().split())
    return held


def _same(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    return names == sorted(path.name for path in other.iterdir()) and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in names
    )


_TITLE = (
    f"{'passages':>9} {'way':<15}{'index s':>9}{'CPU s':>8}{'of it own':>11}{'passages/s':>12}{'GiB':>6}{'search s':>10}"
    f"{'against one core':>18}{'search':>8}"
)


def _line(size: int, row: dict[str, Any], alone: dict[str, Any]) -> str:
    return (
        f"{size:>9,} {row['way']:<15}{row['index']:>9.1f}{row['own'] + row['children']:>8.1f}{row['own']:>11.1f}"
        f"{size / row['index']:>12,.0f}{row['gib']:>6.2f}{row['search']:>10.2f}{row['index'] / alone['index']:>17.2f}x"
        f"{row['search'] / alone['search']:>7.2f}x"
    )


if __name__ == "__main__":
    sys.exit(main())
