"""Stages 3 and 4 in rounds: some queries are scored and measured, then some more, until whoever watches has seen enough.

Each round is a request of its own, so that nothing is scored twice whatever its scores are keyed by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ..data.collection import Collection
from ..rerankers.base import Reranker
from ..rerankers.joined import joined
from ..rerankers.rerank import Reranked, gather
from ..retrievers.retrieve import digest_of_run
from ..text import has_text
from ..types import Candidates, Measure, Qrels, Run
from .groups import Groups
from .verdict import measured

if TYPE_CHECKING:
    from ..results.result import Result

__all__ = ["Rounds", "Watch", "units_of_queries"]


class Watch(Protocol):
    """What looks on while a job's queries are scored in rounds, and says when there is no more to know."""

    @property
    def digest(self) -> str:
        """32 hex digits of all that decides when to stop, beside the scores."""

    def begin(self, now: Result) -> None:
        """Told what is about to be scored, in a result without figures. Raises HarnessError where it cannot be judged."""

    def rounds(self, units: Mapping[str, str]) -> Iterator[list[str]]:
        """The query_ids of each round, units (query_id → unit) whole."""

    def decided(self, values: Mapping[str, Mapping[str, float]]) -> bool:
        """Whether to stop, from the values until now: measure → query_id → value."""

    def record(self) -> dict[str, Any]:
        """What was decided, as a result's diagnostics have it."""


def units_of_queries(query_ids: Iterable[str], collection: Collection, clusters: Mapping[str, str]) -> dict[str, str]:
    """query_id → what is drawn with it: its cluster, which is the group that a measure looks at whole, or its twin."""
    units = {}
    for query_id in query_ids:
        base = query_id
        if collection.qrel_diff is not None:
            base = query_id.removesuffix("-og").removesuffix("-changed")
        units[query_id] = clusters.get(query_id, base)
    return units


@dataclass(frozen=True)
class Rounds:
    """One result's candidates and judgements, and what is measured of them."""

    collection: Collection
    candidates: Candidates
    qrels: Qrels
    measures: Sequence[Measure]
    relevance_level: int
    groups: Groups
    """Queries that are one in several forms; each lies in one unit."""

    def until(
        self,
        watch: Watch,
        units: Mapping[str, str],
        reranker: Reranker,
        score: Callable[[Candidates], Reranked],
        missing_text: str,
    ) -> tuple[Candidates, Reranked]:
        """The candidates of the queries that were drawn, and their scores. Raises HarnessError as `score` does."""
        values: dict[str, dict[str, float]] = {}
        parts: list[Reranked] = []
        drawn: set[str] = set()
        last: list[str] = []
        waiting: list[str] = []
        for query_ids in watch.rounds(units):
            waiting += query_ids
            drawn.update(query_ids)
            run = {query_id: self.candidates.run[query_id] for query_id in query_ids}
            # Without a text there is nothing to score, and the first stage's order stays.
            if self._has_texts(run) or (len(drawn) == len(units) and not parts):
                last, waiting = waiting, []
                parts.append(score(self._of(last)))
                run = parts[-1].run
            qrels = {query_id: self.qrels[query_id] for query_id in run}
            groups = {name: ids for name, ids in self.groups.items() if qrels.keys() >= set(ids)}
            for name, found in measured(run, self.collection, qrels, self.measures, self.relevance_level, groups):
                values.setdefault(name, {}).update(found.values)
            if watch.decided(values) and parts:
                break
        if waiting:
            parts[-1] = score(self._of([*last, *waiting]))
        chosen = self._of([query_id for query_id in self.candidates.run if query_id in drawn])
        return chosen, joined(reranker, parts, gather(chosen, self.collection, missing_text))

    def _of(self, query_ids: Sequence[str]) -> Candidates:
        if len(query_ids) == len(self.candidates.run):
            return self.candidates
        run = {query_id: self.candidates.run[query_id] for query_id in query_ids}
        return replace(self.candidates, run=run, digest=digest_of_run(run))

    def _has_texts(self, run: Run) -> bool:
        wanted = sorted({doc_id for scores in run.values() for doc_id in scores})
        return any(map(has_text, self.collection.documents(wanted).values()))
