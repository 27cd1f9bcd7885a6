"""Which queries share something, so that they are no independent witnesses: a card says it, or the judgements do.

XQuAD asks five questions of each paragraph: a system that misreads the paragraph loses all five. A
card names such groups by `clusters`; where there is no card, queries that share a relevant document
are found. What moves in a test is then the group (`measures.significance`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import HarnessError
from ..types import Qrels, Subset, Task
from .collection import located
from .formats import read_field
from .names import fields_of

__all__ = ["FORMS", "NONE", "SHARED", "Clusters", "clusters_of"]

NONE, SHARED, BASE = "none", "shared relevant", "base query"
FORMS = ("prefix", "stem", "field")
"""The rules by which a card names the queries of a group by their ids or a field."""
_LEAST, _LARGEST = 10, 0.2
"""Groups that were found and not stated are used if there are so many, and none holds more of the queries: chains of
queries that share one document each link topics that were drawn one by one."""


@dataclass(frozen=True)
class Clusters:
    """query_id → its group, and where the groups come from."""

    of: Mapping[str, str]
    rule: str
    stated: bool

    @property
    def forms(self) -> bool:
        """Whether a card names the queries of a group by their ids or a field: they are one query in several forms.

        Those of the other rules only share something.
        """
        return self.stated and self.rule.partition(":")[0] in FORMS

    @property
    def sizes(self) -> list[int]:
        """How many queries each group has, largest first."""
        return sorted(Counter(self.of.values()).values(), reverse=True)

    @property
    def used(self) -> bool:
        """Whether the groups are what a test moves: those of a card always, those that were found if they are small."""
        sizes = self.sizes
        if not sizes or sizes[0] == 1:
            return False
        return self.stated or (len(sizes) >= _LEAST and sizes[0] <= _LARGEST * sum(sizes))

    def record(self) -> dict[str, object]:
        """For a result's diagnostics."""
        sizes = self.sizes
        return {
            "rule": self.rule, "stated": self.stated, "used": self.used, "queries": sum(sizes), "clusters": len(sizes),
            "largest": sizes[0] if sizes else 0,
        }  # fmt: skip


def clusters_of(task: Task, subset: Subset, qrels: Qrels, cache: Path) -> Clusters | None:
    """The groups of a task's judged queries; None where its card says that there are none.

    A packed card without a word has none; for other data without a word they are looked for.
    Raises HarnessError for a field that a query does not have.
    """
    rule, _, argument = task.clusters.partition(":")
    if rule == NONE or (not rule and task.origin in ("packed", "split")):
        return None
    if rule == "prefix":
        return Clusters({query_id: query_id.partition(argument)[0] for query_id in qrels}, task.clusters, stated=True)
    if rule == "stem":
        stems = {query_id: query_id.rpartition(argument)[0] or query_id for query_id in qrels}
        return Clusters(stems, task.clusters, stated=True)
    if rule == BASE:
        bases = {query_id: query_id.removesuffix("-og").removesuffix("-changed") for query_id in qrels}
        return Clusters(bases, BASE, stated=True)
    if rule == "field":
        return Clusters(_by_field(task, subset, qrels, argument, cache), task.clusters, stated=True)
    return Clusters(_by_relevant(qrels), SHARED, stated=bool(rule))


def _by_field(task: Task, subset: Subset, qrels: Qrels, field: str, cache: Path) -> dict[str, str]:
    with located(task, subset, cache) as paths:
        found = read_field(paths["queries"], field, fields_of(task.fields)["queries"])
    without = [query_id for query_id in qrels if query_id not in found]
    if without:
        raise HarnessError(
            f'{task.name}: the card says clusters: {{field: {field}}}, and query "{without[0]}" has no such field'
        )
    return {query_id: found[query_id] for query_id in qrels}


def _by_relevant(qrels: Qrels) -> dict[str, str]:
    """Queries that share a relevant document are of one group, and so are those that they are linked by."""
    leader = {query_id: query_id for query_id in qrels}

    def first(query_id: str) -> str:
        while leader[query_id] != query_id:
            leader[query_id] = leader[leader[query_id]]
            query_id = leader[query_id]
        return query_id

    seen: dict[str, str] = {}
    for query_id, judged in qrels.items():
        for doc_id, relevance in judged.items():
            if relevance > 0:
                leader[first(query_id)] = first(seen.setdefault(doc_id, query_id))
    # A group is named after its least id, so that it has the same name in every language of a task.
    names: dict[str, str] = {}
    for query_id in qrels:
        names[first(query_id)] = min(query_id, names.get(first(query_id), query_id))
    return {query_id: names[first(query_id)] for query_id in qrels}
