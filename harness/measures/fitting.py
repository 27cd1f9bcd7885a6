"""Which measures a task can have: asked before anything is scored, so that none is dropped or made up afterwards."""

from __future__ import annotations

from collections.abc import Iterable

from ..data.clusters import FORMS, Clusters
from ..data.collection import Collection
from ..errors import HarnessError
from ..types import Measure, Task
from .gains import MOST_OF_ERR, TAKE_GAINS
from .groups import judged_apart

__all__ = ["groups_of", "misfit", "require_fitting", "require_stated"]

_NO_CHANGES = (
    "it compares the rankings of a query under two instructions, and the data has no qrel_diff that names a document "
    "whose relevance changes"
)
_NO_ASPECTS = (
    "its judgements are of whole queries, and it needs them by aspect: TREC's diversity qrels (query_id, subtopic, doc_id, "
    "relevance), or a column named aspect"
)
_GAINS_ALONE = (
    "the judgements are gains that are no whole numbers, which say how much a document is worth and not whether it is "
    "relevant; measures that take gains are named by --measures nDCG@10, and a column of whole grades beside gain (score) "
    "lets the others be measured too"
)
_NO_GROUPS = (
    "it has one value for the queries that are one in several forms, and no card says which these are: write a card with "
    'clusters: {prefix: "_"}, {stem: "_"} or {field: NAME}'
)


def require_fitting(measures: Iterable[Measure], task: Task, collection: Collection, clusters: Clusters | None) -> None:
    """Raises HarnessError, with the way out, for the first of the measures that the task cannot have."""
    for measure in measures:
        if why := misfit(measure, collection, clusters):
            own = [str(each) for each in task.measures if misfit(each, collection, clusters) is None]
            instead = f"; measures that it has: {', '.join(own)}" if own else ""
            raise HarnessError(f"{task.name} cannot be measured by {measure}: {why}{instead}")


def require_stated(measures: Iterable[Measure], task: Task) -> None:
    """As `require_fitting`, for data that are not here: what the card alone says."""
    packed = task.origin in ("packed", "split")
    for measure in measures:
        why = None
        if measure.grouped and task.clusters.partition(":")[0] not in FORMS:
            why = _NO_GROUPS
        elif packed and measure not in task.measures:
            why = {"p-MRR": _NO_CHANGES, "alpha-nDCG": _NO_ASPECTS}.get(measure.name)
        if why:
            own = ", ".join(map(str, task.measures))
            raise HarnessError(f"{task.name} cannot be measured by {measure}: {why}; measures that it has: {own}")


def misfit(measure: Measure, collection: Collection, clusters: Clusters | None) -> str | None:
    """Why the data cannot have the measure; None where it can."""
    if collection.gains_alone and measure.name not in TAKE_GAINS:
        return _GAINS_ALONE
    changes = collection.qrel_diff
    if measure.name == "p-MRR" and not any((changes or {}).values()):
        return _NO_CHANGES
    if measure.name == "ERR":
        highest = max((grade for judged in collection.qrels.values() for grade in judged.values()), default=0)
        if highest > MOST_OF_ERR:
            return (
                f"it is defined for grades from 0 to {MOST_OF_ERR}, and the judgements go up to {highest}: take nDCG, "
                "or bring the grades to that scale"
            )
    if measure.name == "alpha-nDCG":
        return _misfit_of_aspects(collection)
    return _misfit_of_groups(measure, collection, clusters) if measure.grouped else None


def groups_of(clusters: Clusters | None) -> dict[str, list[str]]:
    """The groups of queries that are one in several forms, which a card names by their ids or a field; else none."""
    groups: dict[str, list[str]] = {}
    if clusters is not None and clusters.forms:
        for query_id, group in clusters.of.items():
            groups.setdefault(group, []).append(query_id)
    return groups


def _misfit_of_aspects(collection: Collection) -> str | None:
    if collection.aspects is None:
        return _NO_ASPECTS
    return "its queries have an original and a changed instruction" if collection.qrel_diff is not None else None


def _misfit_of_groups(measure: Measure, collection: Collection, clusters: Clusters | None) -> str | None:
    if collection.qrel_diff is not None:
        return "its queries have an original and a changed instruction, which are never pooled: p-MRR compares them"
    groups = groups_of(clusters)
    if not groups:
        return _NO_GROUPS
    if all(len(query_ids) == 1 for query_ids in groups.values()):
        return f"by the card's clusters ({clusters.rule if clusters else ''}) every query is a group of its own"
    alone = next((query_ids[0] for query_ids in groups.values() if len(query_ids) == 1), None)
    if measure.name == "paired-accuracy" and alone is not None:
        return f'query "{alone}" has no other one in its group: a pair is two queries'
    if measure.name == "max-over-subqueries" and (apart := judged_apart(collection.qrels, groups)):
        return f'queries "{apart[0]}" and "{apart[1]}" of one group are judged differently, so they are not one query'
    return None
