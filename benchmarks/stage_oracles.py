"""First stages beside the packages that know them, on a tiny collection: the cases of `oracles.py` for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tiny_models
import tiny_splade
from conftest import DATA, write_collection

from benchmarks.case import Case
from harness.data.collection import prepare
from harness.data.task import folder_task
from harness.engine.options import Options
from harness.retrievers.fusion import fuse
from harness.retrievers.retrieve import candidates_of, open_first_stage
from harness.text import join_document, join_query

Found = tuple[np.ndarray, Any, bool | None]
K = 10


def searched(model: Path, folder: Path, scores_of: Callable[[list[str], list[str]], np.ndarray]) -> Found:
    """The scores of the first ten documents of each query, and the package's for the ten that it has as its best.

    Both as shares of the package's largest: sums of many weights are rounded by their size.
    """
    task = folder_task(write_collection(folder / "data"), folder / "cache")
    collection = prepare(task, task.subsets[0], folder / "cache")
    stage = open_first_stage(str(model), Options(), folder / "cache")
    found = candidates_of(stage, collection, task, task.subsets[0], K, folder / "cache").run
    texts = [join_document(document) for document in collection.iterate_texts()]
    whole = scores_of([join_query(query) for query in collection.queries.values()], texts)
    ours = np.array([sorted(found[query_id].values(), reverse=True) for query_id in collection.queries])
    best = -np.sort(-whole, axis=1)[:, :K]
    return ours / best.max(), best / best.max(), None


def sparse(kind: str) -> Callable[[Path], Found]:
    def run(folder: Path) -> Found:
        oracle = tiny_splade.KINDS[kind](folder / "model")

        def scores(queries: list[str], texts: list[str]) -> np.ndarray:
            found: np.ndarray = oracle.similarity(oracle.encode_query(queries), oracle.encode_document(texts)).numpy()
            return found

        return searched(folder / "model", folder, scores)

    return run


def late(layout: Callable[[Path], None]) -> Callable[[Path], Found]:
    def run(folder: Path) -> Found:
        from sentence_transformers import MultiVectorEncoder

        layout(folder / "model")
        oracle = MultiVectorEncoder(str(folder / "model"), device="cpu")

        def scores(queries: list[str], texts: list[str]) -> np.ndarray:
            found: np.ndarray = oracle.similarity(oracle.encode_query(queries), oracle.encode_document(texts)).numpy()
            return found

        return searched(folder / "model", folder, scores)

    return run


def dense(folder: Path) -> Found:
    oracle = tiny_models.sentence_transformer(folder, "mean")

    def scores(queries: list[str], texts: list[str]) -> np.ndarray:
        found: np.ndarray = oracle.encode_query(queries) @ oracle.encode_document(texts).T
        return found

    return searched(folder / "model", folder, scores)


def fusion(case: dict[str, Any], runs: list[Any]) -> Callable[[Path], Found]:
    def run(folder: Path) -> Found:
        ours = fuse(runs, case["by"], case["weights"])
        pairs = [(query_id, doc_id) for query_id, scores in case["run"].items() for doc_id in scores]
        same = {query_id: set(scores) for query_id, scores in ours.items()} == {
            query_id: set(scores) for query_id, scores in case["run"].items()
        }
        return (
            np.array([ours[query_id][doc_id] for query_id, doc_id in pairs]),
            np.array([case["run"][query_id][doc_id] for query_id, doc_id in pairs]),
            same,
        )

    return run


def cases() -> Iterator[Case]:
    """Every case, built when it is asked for."""
    library = "sentence-transformers'"
    yield Case("first stage", "dense", f"{library} SentenceTransformer", 1e-5, dense)
    for kind in tiny_splade.KINDS:
        yield Case("first stage", f"sparse, {kind}", f"{library} SparseEncoder", 1e-6, sparse(kind))
    for name, layout in (("ColBERT", tiny_models.colbert), ("PyLate", tiny_models.pylate)):
        yield Case("first stage", f"late interaction, {name}", f"{library} MultiVectorEncoder", 1e-6, late(layout))
    golden = json.loads((DATA / "fusion.json").read_text(encoding="utf-8"))
    for case in golden["cases"]:
        name = f"fusion, {case['by']} {case['weights'] or ''}".strip()
        yield Case("first stage", name, golden.get("engine", "ranx"), 1e-12, fusion(case, golden["runs"]))
