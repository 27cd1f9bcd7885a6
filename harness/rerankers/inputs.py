"""What became of the inputs of a request: what truncation took from whom, and which documents share one.

Two documents of a query whose inputs are the same get the same score, whatever the model: where a batch's rounding
put them apart they are given one (`made_one`), so that they tie, and noise is no ranking. Two whose inputs differ
and whose scores do not were made equal by the model's precision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.plan import Rows
from ..files.digest import Digest
from ..models.special_tokens import texts_with_special_tokens
from ..text import join_document, join_query
from ..types import DocumentText, QueryText

__all__ = ["Inputs", "look_at", "made_one", "special_tokens"]

_NOISE = 1e-5
"""What the order of float32 sums moves a score by, as a share of it and at least of 1."""


@dataclass(frozen=True)
class Inputs:
    """Counts of pairs; None where the family does not show what it would take to count them."""

    without_document: int | None = None
    """Truncation left no token of the document."""
    without_question: int | None = None
    """Truncation took tokens of the query, of its instruction, or of the wording around them."""
    made_alike: int | None = None
    """Truncation left the very input of another document of the query, whose text is another."""
    tied_alike: int | None = None
    """The score is that of another document of the query, and so is the input."""
    tied_apart: int | None = None
    """The score is that of another document of the query, and the input is not."""


def made_one(prepared: Any, spans: Iterable[Rows], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores, with the least of theirs for the rows of a query that have the very same input.

    Looked at are those whose scores stand no further from another's than rounding can put them.
    """
    if not hasattr(prepared, "token_ids"):
        return scores
    found = scores.copy()
    for rows in spans:
        near = _nearly_tied(rows, scores)
        groups: dict[bytes, list[int]] = {}
        for row in near.tolist():
            groups.setdefault(_digest(prepared, row), []).append(row)
        for group in groups.values():
            found[group] = scores[group].min()
    return found


def _nearly_tied(rows: Rows, scores: NDArray[np.float32]) -> Rows:
    """The rows whose score another of `rows` has, or has but for rounding."""
    order = rows[np.argsort(scores[rows], kind="stable")]
    values = scores[order].astype(np.float64)
    gaps = np.diff(values)
    close = gaps <= _NOISE * np.maximum(1, np.abs(values[1:]))
    beside = np.concatenate([[False], close]) | np.concatenate([close, [False]])
    nearly: Rows = order[beside] if len(rows) > 1 else rows[:0]
    return nearly


def look_at(
    prepared: Any, documents: Sequence[object], pairs: NDArray[np.int64], spans: Iterable[Rows], scores: NDArray[Any]
) -> Inputs:
    """The counts of a request; `pairs` and `scores` have its rows, `spans` are the rows of each query."""
    taken = getattr(prepared, "taken", None)
    without_document, without_question = (
        (None, None) if taken is None else (int(taken.without_document.sum()), int(taken.without_question.sum()))
    )
    if not hasattr(prepared, "token_ids"):
        return Inputs(without_document, without_question)
    alike = tied_alike = tied_apart = 0
    for rows in spans:
        cut, tied = _alike_perhaps(prepared, rows[prepared.lost[rows] > 0]), _tied(rows, scores)
        digests = {int(row): _digest(prepared, int(row)) for row in np.union1d(cut, tied)}
        alike += _made_alike([int(row) for row in cut], digests, documents, pairs)
        shared = _shared([digests[int(row)] for row in tied])
        tied_alike += shared
        tied_apart += len(tied) - shared
    return Inputs(without_document, without_question, alike, tied_alike, tied_apart)


def _alike_perhaps(prepared: Any, rows: Rows) -> Rows:
    """The rows that begin as another one of them does: inputs that differ at once need not be compared whole."""
    if len(rows) < 2 or not hasattr(prepared, "beginnings"):
        return rows
    begun = prepared.beginnings(rows)
    counts = Counter(begun)
    found: Rows = rows[[counts[each] > 1 for each in begun]]
    return found


def _tied(rows: Rows, scores: NDArray[Any]) -> Rows:
    """The rows whose score another of `rows` has too."""
    values, place, counts = np.unique(scores[rows].astype(np.float32), return_inverse=True, return_counts=True)
    tied: Rows = rows[counts[place] > 1] if len(values) else rows
    return tied


def _digest(prepared: Any, row: int) -> bytes:
    return Digest().add(np.asarray(prepared.token_ids(row), np.int64).tobytes()).bytes()


def _shared(digests: Sequence[bytes]) -> int:
    """How many of the digests stand there more than once."""
    return sum(count for count in Counter(digests).values() if count > 1)


def _made_alike(
    rows: Sequence[int], digests: Mapping[int, bytes], documents: Sequence[object], pairs: NDArray[np.int64]
) -> int:
    """How many of the rows have the input of another one with another text."""
    texts: dict[bytes, set[object]] = {}
    for row in rows:
        texts.setdefault(digests[row], set()).add(documents[pairs[row, 1]])
    return sum(len(texts[digests[row]]) > 1 for row in rows)


def special_tokens(
    model: Any, queries: Iterable[QueryText], documents: Iterable[DocumentText]
) -> dict[str, Any] | None:
    """Texts in which the tokenizer parses special tokens, and these tokens; None without a tokenizer of ours."""
    tokenizer: Any = getattr(model, "tokenizer", None)
    backend: Any = getattr(tokenizer, "backend", tokenizer)
    if not hasattr(backend, "get_added_tokens_decoder"):
        return None
    held = texts_with_special_tokens(backend, map(join_document, documents))
    asked = texts_with_special_tokens(backend, map(join_query, queries))
    return {"documents": held.texts, "queries": asked.texts, "tokens": sorted({*held.tokens, *asked.tokens})}
