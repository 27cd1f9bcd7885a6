"""Results made for tests: real records with given values, saved where a run would save them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.results.result import Identity, Result

IDENTITY = Identity(
    task="Birds", subset="default", split="test", dataset="org/birds", dataset_revision="a" * 40, card="packed",
    retriever="bm25", retriever_fingerprint="b" * 32, retriever_settings={"k1": 0.9}, top_k=100, reranker="org/model",
    reranker_revision="c" * 40, reranker_fingerprint="d" * 32, reranker_settings={"max_length": 512},
)  # fmt: skip

Values = Sequence[float] | Mapping[str, float]


def made(
    values: Values,
    before: Values | None = None,
    measure: str = "nDCG@10",
    collection: str = "e" * 32,
    **identity: object,
) -> Result:
    """A result whose reranked values are `values` and whose first stage's are `before`."""
    mine = replace(IDENTITY, **identity)
    after = dict(values) if isinstance(values, Mapping) else {f"q{i}": value for i, value in enumerate(values)}
    first = after if before is None else dict(zip(after, before, strict=True))
    stages = {"first_stage": list(first.values()), "reranked": list(after.values())}
    if mine.reranker is None:
        del stages["reranked"]
    return Result(
        identity=mine, collection=collection, candidates="f" * 32, queries=len(after), asked=(measure,),
        measures={measure: {stage: float(np.mean(column)) for stage, column in stages.items()}},
        values={measure: stages}, query_ids=tuple(after),
    )  # fmt: skip


def saved(folder: Path, *results: Result) -> Path:
    """The folder, with these results in it."""
    for result in results:
        result.save(folder)
    return folder
