"""First stages beside the packages that know them, on a whole task: `python -m benchmarks.first_stages [TASK] [--sparse MODEL] [--late MODEL] [--ranx PYTHON]`.

The oracle of a sparse encoder is sentence-transformers' SparseEncoder, and its whole product in double precision; that
of late interaction is its MultiVectorEncoder, and every MaxSim in double precision; that of the joined lists (BM25 with
each of the others, by rank and by weighted score) is ranx, run by an interpreter that has it. Of each query's first
hundred: for how many queries the hundred ids are the oracle's, and the largest difference of a score, as a share of
the query's best. Exit code 1 where a list lacks a document that the oracle has before it by more than that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.data.collection import Collection, prepare
from harness.data.task import Cards
from harness.engine.options import Options
from harness.retrievers.fusion import fuse
from harness.retrievers.retrieve import candidates_of, open_first_stage
from harness.text import join_document, join_query
from harness.types import Run, ranked

K = 100
ASKED = {"ranx": 1e-9}
"""As a share of a query's best score; of vectors it is what float32 rounds."""
_ROUNDED = 2e-6
_RANX = """
import json, sys
from ranx import Run, fuse
told = json.load(sys.stdin)
runs = [Run({query: dict(scores) for query, scores in run.items()}) for run in told["runs"]]
by_rank = [Run({query: dict(scores) for query, scores in run.items()}) for run in told["ranked"]]
rrf = fuse(runs=by_rank, norm=None, method="rrf", params={"k": 60})
wsum = fuse(runs=runs, norm="min-max", method="wsum", params={"weights": told["weights"]})
print(json.dumps({"rrf": rrf.to_dict(), "sum": wsum.to_dict()}))
"""


class Row(NamedTuple):
    """One first stage beside its oracle."""

    name: str
    oracle: str
    queries: int
    same: int
    """Queries whose ids are the oracle's."""
    difference: float
    short: float
    """By how much the worst document of a list stands behind one that the oracle has and the list has not."""
    seconds: float

    @property
    def good(self) -> bool:
        return max(self.difference, self.short) <= ASKED.get(self.oracle, _ROUNDED)

    def line(self) -> str:
        return f"{self.name:<34}{self.oracle:<22}{self.queries:>8,}{self.same:>8,}{self.difference:>12.1e}{self.seconds:>10.1f}"


def compared(name: str, oracle: str, run: Run, whole: Callable[[str], dict[str, float]], seconds: float) -> Row:
    """A run beside the oracle's score of every document of each query."""
    same, difference, short = 0, 0.0, 0.0
    for query_id, found in run.items():
        scores = whole(query_id)
        best = sorted(scores.values(), reverse=True)[: len(found)]
        size = max(abs(best[0]), 1e-30)
        difference = max(difference, max(abs(score - scores[doc_id]) for doc_id, score in found.items()) / size)
        short = max(short, (best[-1] - min(scores[doc_id] for doc_id in found)) / size)
        expected = sorted(scores, key=lambda doc_id: (-scores[doc_id], doc_id))[: len(found)]
        same += set(expected) == set(found)
    return Row(name, oracle, len(run), same, difference, short, seconds)


def by_products(doc_ids: Sequence[str], query_ids: Sequence[str], scores: Any) -> Callable[[str], dict[str, float]]:
    """`compared`'s oracle of a matrix (queries, documents), or of a function that gives a row of it."""
    place = {query_id: number for number, query_id in enumerate(query_ids)}
    return lambda query_id: dict(zip(doc_ids, np.asarray(scores(place[query_id])).tolist(), strict=True))


def sparse_oracle(model: Path, queries: list[str], texts: list[str]) -> Callable[[int], Any]:
    """Each query's dot product with every document, in double precision."""
    import scipy.sparse
    from sentence_transformers import SparseEncoder

    encoder = SparseEncoder(str(model), device="cpu")

    def matrix(found: Any) -> Any:
        found = found.coalesce().cpu()
        rows, columns = found.indices().numpy()
        return scipy.sparse.csr_matrix((found.values().double().numpy(), (rows, columns)), shape=tuple(found.shape))

    documents = matrix(encoder.encode_document(texts, batch_size=32))
    asked = matrix(encoder.encode_query(queries, batch_size=32))
    return lambda place: (documents @ asked[place].T).toarray()[:, 0]


def late_oracle(model: Path, queries: list[str], texts: list[str]) -> Callable[[int], Any]:
    """Σ over a query's vectors of the best dot product with each document's, in double precision."""
    from sentence_transformers import MultiVectorEncoder

    encoder = MultiVectorEncoder(str(model), device="cpu")
    documents = [np.asarray(each, np.float64) for each in encoder.encode_document(texts, batch_size=32)]
    asked = [np.asarray(each, np.float64) for each in encoder.encode_query(queries, batch_size=32)]
    every, starts = np.concatenate(documents), np.cumsum([0, *map(len, documents)])[:-1]

    def scores(place: int) -> Any:
        return np.maximum.reduceat(every @ asked[place].T, starts, axis=0).sum(axis=1)

    return scores


ORACLES = {
    "sparse": ("SparseEncoder", sparse_oracle),
    "late": ("MultiVectorEncoder", late_oracle),
}


def ranx(interpreter: str, runs: Sequence[Run], weights: Sequence[float]) -> dict[str, Run]:
    """The lists joined by ranx, by `rrf` and by `sum`.

    Equal scores have ranks by document id here and by their place in ranx, so it is given ranks that are ours.
    """
    orders = [{query_id: ranked(scores) for query_id, scores in run.items()} for run in runs]
    by_rank = [
        {query_id: {doc_id: float(-place) for place, doc_id in enumerate(order)} for query_id, order in run.items()}
        for run in orders
    ]
    told = json.dumps({"runs": list(runs), "ranked": by_rank, "weights": list(weights)})
    done = subprocess.run([interpreter, "-c", _RANX], input=told, capture_output=True, text=True, check=True)
    found: dict[str, Run] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(words: list[str] | None = None) -> int:
    """Print a row for each first stage; 1 where one is not its oracle's."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_stages", description=str(__doc__).splitlines()[0])
    parser.add_argument("task", nargs="?", default="SciFact")
    for kind in ORACLES:
        parser.add_argument(f"--{kind}", type=Path, metavar="MODEL", help=f"a folder of a {kind} encoder")
    parser.add_argument("--ranx", metavar="PYTHON", help="an interpreter that has ranx; without one nothing is joined")
    parser.add_argument("--cache", type=Path, help="a folder; without one a new one that is thrown away")
    given = parser.parse_args(words)
    print(f"{'first stage':<34}{'oracle':<22}{'queries':>8}{'same':>8}{'difference':>12}{'seconds':>10}")
    with tempfile.TemporaryDirectory() as folder:
        rows = list(rows_of(given, given.cache or Path(os.environ.get("RERANK_HARNESS_CACHE", folder))))
    return 0 if all(row.good for row in rows) else 1


def rows_of(given: argparse.Namespace, cache: Path) -> Any:
    """Every row, printed when it is known."""
    (task,) = Cards().resolve([given.task], cache)
    subset = task.subsets[0]
    collection = prepare(task, subset, cache)
    texts, queries = texts_of(collection)

    def searched(model: str) -> tuple[Run, float]:
        started = time.perf_counter()
        stage = open_first_stage(model, Options(), cache)
        return candidates_of(stage, collection, task, subset, K, cache).run, time.perf_counter() - started

    runs = {"bm25": searched("bm25")[0]}
    for kind, (oracle, whole) in ORACLES.items():
        if (model := getattr(given, kind)) is None:
            continue
        runs[kind], seconds = searched(str(model))
        scores = by_products(
            collection.doc_ids_at(range(collection.size)), list(collection.queries), whole(model, queries, texts)
        )
        yield shown(compared(f"{kind}, {model.name}", oracle, runs[kind], scores, seconds))
    for kind in list(runs)[1:] if given.ranx else ():
        joined = ranx(given.ranx, [runs["bm25"], runs[kind]], (0.4, 0.6))
        for by, weights in (("rrf", (1.0, 1.0)), ("sum", (0.4, 0.6))):
            started = time.perf_counter()
            found = fuse([runs["bm25"], runs[kind]], by, weights)
            name = f"{by} of bm25 and {kind}"
            yield shown(compared(name, "ranx", found, joined[by].__getitem__, time.perf_counter() - started))


def texts_of(collection: Collection) -> tuple[list[str], list[str]]:
    """The documents' and the queries' texts, as first stages get them."""
    documents = [join_document(document) for document in collection.iterate_texts()]
    return documents, [join_query(query) for query in collection.queries.values()]


def shown(row: Row) -> Row:
    """The row, printed."""
    print(row.line(), flush=True)
    return row


if __name__ == "__main__":
    sys.exit(main())
