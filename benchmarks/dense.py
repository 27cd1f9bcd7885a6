"""Exact dense search over vectors on disk, beside faiss: `python -m benchmarks.dense [SIZE ...]`.

Random unit vectors of 384 features in the store that encoders write, a thousand queries, the best 100
of each. Every way has a process of its own that may hold 2 GiB of its own memory (mapped files, which
the system takes back when it needs them, apart). faiss is its exact `knn` over blocks of the same file.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (100_000, 1_000_000, 4_000_000)
FEATURES, QUERIES, TOP_K = 384, 1_000, 100
MOST_BYTES = 2 << 30
_BLOCK = 65_536
CARD = "ours, a card"


def main(words: list[str] | None = None) -> int:
    """Print a row for each size and way."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dense", description=str(__doc__).splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="SIZE", help="documents")
    parser.add_argument("--folder", type=Path, help="where the vectors go (a temporary folder): 1.6 GB a million")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.way:
        print(json.dumps(measure(given.way, given.sizes[0], given.folder)))
        return 0
    print(f"{'documents':>10} {'way':<16}{'seconds':>9}{'CPU s':>8}{'own GiB':>9}{'pairs/s':>10}{'against faiss':>15}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        write(max(given.sizes), Path(folder))
        for size in given.sizes:
            rows = [_apart(way, size, folder) for way in ways()]
            for row in rows:
                print(_line(size, row, rows[-1]), flush=True)
    return 0


def ways() -> list[str]:
    """Ours, ours with a card's help where there is one, and faiss last."""
    from harness.retrievers.on_a_device import usable

    return ["rerank-harness", *([CARD] if usable("cuda") else []), "faiss"]


def write(size: int, folder: Path) -> None:
    """`size` random unit vectors in a store; the first of them are the same for every size."""
    from harness.models.embedding_store import EmbeddingStore

    store, numbers = EmbeddingStore(folder / "vectors"), np.random.default_rng(0)
    for start in range(0, size, _BLOCK):
        rows = min(_BLOCK, size - start)
        found = numbers.standard_normal((rows, FEATURES), np.float32)
        store.add(_keys(start, start + rows), found / np.linalg.norm(found, axis=1, keepdims=True))


def _keys(start: int, stop: int) -> Any:
    return np.array([number.to_bytes(16, "big") for number in range(start + 1, stop + 1)], "S16")


def _apart(way: str, size: int, folder: str) -> dict[str, Any]:
    words = [sys.executable, "-m", "benchmarks.dense", str(size), "--way", way, "--folder", folder]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def measure(way: str, size: int, folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of one way, and a digest of what it found."""
    if way != CARD:  # A card's driver maps all that it may ever need.
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    asked = np.random.default_rng(1).standard_normal((QUERIES, FEATURES), np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    started, worked = time.monotonic(), time.process_time()
    found = _faiss(asked, size, folder) if way == "faiss" else _ours(asked, size, folder, "cuda" if way == CARD else "")
    if found is None:
        return {"way": way, "absent": True}
    return {
        "way": way,
        "seconds": time.monotonic() - started,
        "cpu": time.process_time() - worked,
        "own_gib": _own_gib(),
        "rows": [rows.tolist() for rows in found[:20]],
    }


def _ours(asked: Any, size: int, folder: Path, device: str = "") -> list[Any]:
    from harness.models.embedding_store import EmbeddingStore
    from harness.retrievers.dense import search_exactly
    from harness.retrievers.on_a_device import search_on

    store = EmbeddingStore(folder / "vectors")
    documents = store.vectors(store.find(_keys(0, size)))
    ties = np.arange(size)[::-1]
    found = (
        search_on(device, asked, documents, TOP_K, ties) if device else search_exactly(asked, documents, TOP_K, ties)
    )
    return [rows for rows, _ in found]


def _faiss(asked: Any, size: int, folder: Path) -> list[Any] | None:
    try:
        import faiss
    except ImportError:
        return None
    table = np.memmap(folder / "vectors.vectors", "<f4", "r").reshape(-1, FEATURES)[:size]
    heap = faiss.ResultHeap(QUERIES, TOP_K, keep_max=True)
    for start in range(0, size, _BLOCK):
        scores, rows = faiss.knn(
            asked, np.array(table[start : start + _BLOCK]), TOP_K, metric=faiss.METRIC_INNER_PRODUCT
        )
        heap.add_result(scores, rows + start)
    heap.finalize()
    return list(heap.I)


def _own_gib() -> float:
    """The memory that the process has of its own at the end, in GiB; the limit held all the while."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmData")) / (1 << 20)


def _line(size: int, row: dict[str, Any], peer: dict[str, Any]) -> str:
    if row.get("absent"):
        return f"{size:>10,} {row['way']:<16}is not installed: pip install faiss-cpu"
    same = "" if peer.get("absent") else f"{peer['seconds'] / row['seconds']:>14.2f}x"
    agrees = "" if peer.get("absent") or row["rows"] == peer["rows"] else "  (other documents)"
    rate = size * QUERIES / row["seconds"]
    cells = f"{row['seconds']:>9.1f}{row['cpu']:>8.1f}{row['own_gib']:>9.2f}{rate:>10.2g}"
    return f"{size:>10,} {row['way']:<16}{cells}{same}{agrees}"


if __name__ == "__main__":
    sys.exit(main())
