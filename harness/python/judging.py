"""`harness.pool` and `harness.judge`: what the verbs of these names do, over rows in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..data.layers import Layer, read_layer
from ..errors import HarnessError
from ..files.cache import cache_folder
from ..judging.judge import by_people, layer_of
from ..judging.pool import pool_of, pooled_of
from ..verdicts.compare import open_system
from .views import Evaluation, Evaluations

__all__ = ["judge", "pool"]


def pool(
    *given: Any, depth: int = 10, results: str | Path = "results", qrels_layer: str | Path | None = None,
    with_judged: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    """The pairs among the top `depth` of `given` that nobody judged, as the verb `pool` writes them: a dict a pair.

    Each of `given` is what `harness.run` gave, a result file, a folder, or a name with results in `results`. Raises
    HarnessError where data or rankings are not in the cache.
    """
    if depth < 1 or not given:
        raise HarnessError("pool takes results, and a depth of 1 or more")
    found = []
    for each in given:
        if isinstance(each, Evaluation | Evaluations):
            found += [one.result for one in ([each] if isinstance(each, Evaluation) else each)]
        else:
            found += [entry.result for entry in open_system(str(each), Path(results)).entries]
    layer = read_layer(Path(qrels_layer)) if qrels_layer else None
    return [pair.row() for pair in pool_of(found, cache_folder(), depth, layer, with_judged=with_judged)]


def judge(
    pairs: Iterable[Mapping[str, Any]], name: str, grade: Callable[[str, str], int | None] | None = None,
    scale: Sequence[int] | None = None,
) -> Layer:  # fmt: skip
    """The layer of a pool's rows: by what stands under `grade` of each, or by a function (query, document) → grade.

    None leaves a pair unjudged; `scale` says what the grades 0, 1, 2 … become. `.save(path)` writes it, and
    `harness.run(…, qrels_layer=)` takes the layer or its file. Raises HarnessError, naming the pair, for what is no grade.
    """
    from ..text import join_document, join_query

    pooled = [pooled_of(row, number) for number, row in enumerate(pairs, 1)]
    said: dict[str, Any] = {"people": name}
    if grade is not None:
        pooled = [replace(pair, grade=grade(join_query(pair.query), join_document(pair.document))) for pair in pooled]
        said = {"function": getattr(grade, "__qualname__", type(grade).__qualname__)}
    return layer_of(name, pooled, by_people(pooled, name), said, scale)
