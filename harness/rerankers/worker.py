"""A reranker as workers have it: opened from its origin, given a request's texts, asked for rows of scores.

What this process and a worker on another machine do alike for a batch stands here, so that both find
the same columns, and refuse the same mistakes.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine.actor import Opening
from ..engine.ahead import settled
from ..engine.parcels import Parcel
from ..engine.plan import Rows, compute_in_parts
from ..errors import HarnessError
from ..models.source import ModelSource, lacking_here, parcels_of
from ..models.twice import PROBES
from ..types import DocumentText, QueryText
from .base import Prepared, Reranker
from .origin import Origin
from .resolve import open_origin
from .score import compare_loads, listed, scored

__all__ = ["Answer", "Scorer", "Texts", "columns", "compare_first", "list_scores", "tallied_by"]


class Answer(NamedTuple):
    """What a worker finds for a batch."""

    values: NDArray[np.floating]
    """Shape (rows, columns): see `columns`."""
    others: tuple[str, ...]
    """The fingerprints that the columns after the first belong to; of a list model the names of its tallies."""
    newly_initialised: tuple[str, ...]
    """Weights that a plug-in's model lacked, as far as was noticed."""


Texts = tuple[Sequence[QueryText], Sequence[DocumentText], NDArray[np.int64]]
"""The queries, documents and pairs of a request, as `PairModel.prepare` takes them."""


@dataclass(frozen=True)
class Scorer(Opening):
    """A reranker as workers open it."""

    origin: Origin
    fingerprint: str

    def open(self) -> Callable[[Texts], Callable[[Rows], Answer]]:
        """A request's texts → rows → their scores. Raises HarnessError where another reranker is opened."""
        opened = open_origin(self.origin)
        found = [reranker for reranker in opened if reranker.spec.fingerprint == self.fingerprint]
        if not found:
            raise HarnessError(
                f"the worker on {platform.node()} opens another {opened[0].spec.name} than this process "
                f"({opened[0].spec.fingerprint[:8]}, not {self.fingerprint[:8]}): its files differ there"
            )
        return lambda texts: _answers(found[0], texts)

    def parcels(self) -> list[Parcel]:
        """The folders of its model; a plug-in's files are in the origin itself."""
        return parcels_of(self.origin.source) if isinstance(self.origin.source, ModelSource) else []

    def lacking(self) -> list[Parcel]:
        """Those that this machine has not."""
        return lacking_here(self.origin.source) if isinstance(self.origin.source, ModelSource) else []


def _answers(reranker: Reranker, texts: Texts) -> Callable[[Rows], Answer]:
    model = reranker.load()
    if not hasattr(model, "prepare"):

        def answer_list(rows: Rows) -> Answer:
            compare_first(reranker, texts, rows)
            return Answer(list_scores(reranker, texts, rows), tallied_by(model), tuple(reranker.newly_initialised))

        return answer_list
    prepared: Prepared = model.prepare(*texts)
    parts = 1

    def answer(rows: Rows) -> Answer:
        nonlocal parts
        compare_first(reranker, texts, rows)
        values, parts = compute_in_parts(rows, parts, lambda some: columns(prepared, some, reranker))
        return Answer(values, tuple(prepared.also), tuple(reranker.newly_initialised))

    return answer


def compare_first(reranker: Reranker, texts: Texts, rows: Rows) -> None:
    """Before a reranker's first batch, `rows`: two separate loads must score its first pairs alike (see `twice`)."""
    settled()
    if not (reranker.compared or reranker.one_load):
        queries, documents, pairs = texts
        compare_loads(reranker, [(queries[query], documents[document]) for query, document in pairs[rows[:PROBES]]])


def columns(prepared: Prepared, rows: Rows, reranker: Reranker) -> NDArray[np.floating]:
    """Shape (rows, columns): the reranker's own scores, then those of each fingerprint in `prepared.also`.

    In the precision that the model gives them in.

    Raises HarnessError, naming the reranker, where there is not one score a pair.
    """
    own = scored(prepared, rows, reranker)
    return _stacked([own, *prepared.also.values()], rows, reranker)


def tallied_by(model: Any) -> tuple[str, ...]:
    """The names of what a list model, or a pair model's prepared pairs, count while they score; mostly none."""
    names: tuple[str, ...] = getattr(model, "tallied", ())
    return names


def list_scores(reranker: Reranker, texts: Texts, rows: Rows) -> NDArray[np.floating]:
    """Shape (rows, columns): the scores of one query's rows, asked for together, then each tally of the model's in every row.

    Raises HarnessError as `columns` does.
    """
    queries, documents, pairs = texts
    model, query = reranker.load(), queries[pairs[rows[0], 0]]
    scores = listed(reranker, query, [documents[at] for at in pairs[rows, 1]])
    tallies = [np.full(len(rows), model.tallies[name], np.float32) for name in tallied_by(model)]
    return _stacked([scores, *tallies], rows, reranker)


def _stacked(found: Sequence[Any], rows: Rows, reranker: Reranker) -> NDArray[np.floating]:
    scores = [_floats(values) for values in found]
    for values in scores:
        if values.shape != (len(rows),):
            raise HarnessError(
                f"{reranker.spec.name} gave {values.shape} scores for {len(rows)} pairs; one score a pair is needed"
            )
    return np.stack(scores, axis=1)


def _floats(values: Any) -> NDArray[np.floating]:
    """Scores as they are in single precision, all others in double: what is lost from there to single is seen later."""
    found = np.asarray(values)
    return found if found.dtype == np.float32 else found.astype(np.float64)
