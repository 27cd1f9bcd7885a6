"""Scoring pairs outside a task: what `score` prints and `check` looks at.

The scores here are those that the authors publish: the stored margin with the family's activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.containers import read_jsonl
from ..engine.plan import Rows, is_out_of_memory, plan_of, run_plan
from ..errors import HarnessError
from ..models import twice
from ..models.running import failing
from ..models.twice import PROBES
from ..text import has_text, is_unicode
from ..types import LARGEST_FLOAT32, DocumentText, QueryText
from .base import Prepared, Reranker
from .inputs import special_tokens
from .precision import as_single, beyond_single, made_equal

__all__ = ["Pair", "compare_loads", "listed", "margins_of", "read_pairs", "score_and_cut", "score_pairs", "scored"]

Pair = tuple[QueryText, DocumentText]

_OPTIONAL = ("instruction", "title")


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of a JSON-lines file with `query` and `text`, and if wanted `instruction` and `title`.

    Raises HarnessError, naming file and line, for a row without them or a blank text, and for an empty file.
    """
    pairs = []
    for place, row in read_jsonl(path):
        for name in ("query", "text", "instruction", "title"):
            if not isinstance(row.get(name, "" if name in _OPTIONAL else None), str):
                raise HarnessError(
                    f'{place}: "{name}" must be a string; a pair has query and text, and may have instruction and title'
                )
        if not has_text(DocumentText(str(row.get("title", "")), str(row["text"]))):
            raise HarnessError(f"{place}: the document has no text but white space, so there is nothing to score")
        query = QueryText(str(row["query"]), str(row.get("instruction", "")))
        pairs.append((query, DocumentText(str(row.get("title", "")), str(row["text"]))))
    if not pairs:
        raise HarnessError(f"{path} holds no pair")
    return pairs


def score_pairs(
    reranker: Reranker, pairs: Sequence[Pair], batch_tokens: int = 4096, say: Callable[[str], None] | None = None
) -> NDArray[np.float32]:
    """The published score of each pair, float32, shape (n,), in order.

    A list reranker sees the pairs of one query together, in their order. `say` is told of distinct
    scores that single precision makes equal. Raises HarnessError for a score that is no finite
    number of single precision, naming the pair by its place from 1, and where two loads score differently.
    """
    return score_and_cut(reranker, pairs, batch_tokens, say)[0]


def score_and_cut(
    reranker: Reranker, pairs: Sequence[Pair], batch_tokens: int = 4096, say: Callable[[str], None] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The scores of `score_pairs`, and shape (n, 2): the tokens of each pair that the model saw, and those it lost.

    Zeros where the family does not count them.
    """
    if not reranker.one_load:
        compare_loads(reranker, pairs)
    doubles, cut = _margins(reranker, pairs, batch_tokens)
    margins = as_single(doubles)
    bad = np.flatnonzero(~np.isfinite(margins))
    if len(bad):
        value = float(doubles[bad[0]])
        rule = (
            f"is beyond single precision (at most {LARGEST_FLOAT32:.2g})"
            if beyond_single(value)
            else "is no finite number"
        )
        raise HarnessError(
            f"{reranker.spec.name} scored {value} for pair {bad[0] + 1}, which {rule}, as a score must be"
        )
    equal = made_equal(doubles[rows] for _, rows in _by_query(pairs))
    if equal and say is not None:
        say(f"{equal} scores differ from another of their query, and are equal to it in single precision")
    model = reranker.load()
    if say is not None:
        _say_special_tokens(model, pairs, say)
    return np.asarray(model.activate(margins) if hasattr(model, "activate") else margins, np.float32), cut


def _say_special_tokens(model: Any, pairs: Sequence[Pair], say: Callable[[str], None]) -> None:
    found = special_tokens(model, {query for query, _ in pairs}, {document for _, document in pairs})
    if found and (found["documents"] or found["queries"]):
        say(
            f"{found['documents']} documents and {found['queries']} queries hold special tokens of the model's tokenizer "
            f"({', '.join(found['tokens'])}), which may end a part of its input (explain RH019)"
        )


def margins_of(reranker: Reranker, pairs: Sequence[Pair], batch_tokens: int = 4096) -> NDArray[np.float32]:
    """The float32 margin of each pair, as it is stored and ranked; shape (n,), in order.

    Raises HarnessError where there is no pair, or a text is not Unicode, naming the pair by its place from 1.
    """
    return as_single(_margins(reranker, pairs, batch_tokens)[0])


def _margins(
    reranker: Reranker, pairs: Sequence[Pair], batch_tokens: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The margins as the model gives them, and the tokens of each pair, seen and lost."""
    _refuse_unfit(pairs)
    model = reranker.load()
    margins = np.full(len(pairs), np.nan)
    if not hasattr(model, "prepare"):
        for query, rows in _by_query(pairs):
            margins[rows] = listed(reranker, query, [pairs[row][1] for row in rows])
        return margins, np.zeros((len(pairs), 2), np.int64)
    prepared = prepare(model, pairs)

    def commit(rows: Rows, values: NDArray[Any]) -> None:
        margins[rows] = values

    run_plan(
        plan_of(prepared, batch_tokens),
        np.ones(len(pairs), bool),
        lambda rows: scored(prepared, rows, reranker),
        commit,
    )
    return margins, np.stack([prepared.lengths, prepared.lost], axis=1)


def scored(prepared: Prepared, rows: Rows, reranker: Reranker) -> NDArray[np.floating]:
    """The margins of `rows`. What a model with files of its own raises is one line that names it and the pairs.

    Errors of memory pass, for the batch is then computed in halves.
    """
    try:
        return prepared.score(rows)
    except HarnessError:
        raise
    except Exception as error:
        if reranker.source is None or is_out_of_memory(error):
            raise
        what = f"a batch of {len(rows)} of the request's pairs, from pair {int(rows[0]) + 1:,} on"
        fits = " Do its tokenizer and its embeddings belong together?" if isinstance(error, IndexError) else ""
        raise HarnessError(f"{failing(reranker.source, what, error)}.{fits}") from error


def listed(reranker: Reranker, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.floating]:
    """The scores of one query's documents by a list model. What a model with files of its own raises is one line."""
    try:
        found: NDArray[np.floating] = reranker.load().score_list(query, documents)
    except HarnessError:
        raise
    except Exception as error:
        if reranker.source is None:
            raise
        what = f"a list of {len(documents)} documents"
        if is_out_of_memory(error):
            raise HarnessError(
                f"{reranker.spec.name} runs out of memory in {what}: take a smaller --top-k or --batch-tokens, or "
                f"--dtype bfloat16"
            ) from error
        raise HarnessError(f"{failing(reranker.source, what, error)}.") from error
    return found


def compare_loads(reranker: Reranker, pairs: Sequence[Pair]) -> float | None:
    """The largest difference between the margins of the first few pairs in two separate loads of the model.

    None where it has but one load. The first load is let go before the second. Raises HarnessError where
    the difference is more than rounding.
    """
    model = reranker.load()
    if hasattr(model, "compare_loads"):
        return float(model.compare_loads(pairs))
    if reranker.one_load:
        return None
    some = list(pairs[:PROBES])
    dtype = str(dict(reranker.spec.settings).get("dtype", "float32"))

    def once() -> NDArray[np.float32]:
        return margins_of(Reranker(reranker.spec, reranker.separate or reranker.loader, source=reranker.source), some)

    found = twice.compare_loads(reranker.spec.name, dtype, once, lambda: margins_of(reranker, some))
    reranker.compared = True
    return found


def prepare(model: Any, pairs: Sequence[Pair]) -> Any:
    """The pairs as the model's Prepared, each distinct text once. Raises HarnessError as `margins_of` does."""
    _refuse_unfit(pairs)
    queries = list(dict.fromkeys(query for query, _ in pairs))
    documents = list(dict.fromkeys(document for _, document in pairs))
    place_of_query = {query: place for place, query in enumerate(queries)}
    place_of_document = {document: place for place, document in enumerate(documents)}
    rows = [(place_of_query[query], place_of_document[document]) for query, document in pairs]
    return model.prepare(queries, documents, np.array(rows, np.int64).reshape(-1, 2))


def _refuse_unfit(pairs: Sequence[Pair]) -> None:
    if not len(pairs):
        raise HarnessError("there is no pair to score: give one (query, document) at least")
    for number, (query, document) in enumerate(pairs, 1):
        for part in (*query, *document):
            if not isinstance(part, str):
                raise HarnessError(f"pair {number} holds {type(part).__name__} where a text is needed")
        if not is_unicode(*query, *document):
            raise HarnessError(f"pair {number} holds half of a surrogate pair, which is no Unicode text: mend the data")


def _by_query(pairs: Sequence[Pair]) -> Iterator[tuple[QueryText, list[int]]]:
    groups: dict[QueryText, list[int]] = {}
    for row, (query, _) in enumerate(pairs):
        groups.setdefault(query, []).append(row)
    yield from groups.items()
