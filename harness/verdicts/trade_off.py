"""Quality against cost: what a sweep over settings and depths is for.

Each result of a reranker on one task and its data is a point. Its cost is in the first unit of these that all of
them have: seconds a query, measured alone on one machine; money for 1,000 queries; tokens a query, which do not
depend on the machine; pairs a query. A point is best where none has more quality for as little cost.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from ..errors import HarnessError
from ..results.figures import number, scale_of
from ..results.naming import labelled
from ..results.result import Result
from .charts import Spot, costs, standing_alone
from .pairing import title_of

__all__ = ["TradeOff", "picture_of", "trade_offs"]


@dataclass(frozen=True)
class TradeOff:
    """One task's picture."""

    title: str
    measure: str
    cost: str
    """The unit of the cost, in words."""
    spots: tuple[Spot, ...]
    level: float | None
    """The first stage's figure, where all have the same."""

    @property
    def svg(self) -> str:
        """The chart, for a page that has the colours."""
        title = f"{self.title}: {self.measure} against {self.cost}"
        return costs(self.spots, self.cost, self.measure, title, self.level)

    @property
    def alone(self) -> str:
        """The chart as a file of its own."""
        return standing_alone(self.svg)


def trade_offs(results: Sequence[Result]) -> list[TradeOff]:
    """A picture for each task with two results or more that differ in their reranker, its settings or their depth."""
    groups: dict[Hashable, list[Result]] = {}
    for result in labelled(results):
        if result.identity.reranker and _quality(result) is not None:
            groups.setdefault(_question(result), []).append(result)
    return [found for group in groups.values() if len(group) > 1 and (found := _trade_off(group)) is not None]


def picture_of(results: Sequence[Result]) -> str:
    """The one picture of some results, as a file of its own.

    Raises HarnessError where there are several tasks, or nothing to draw.
    """
    found = trade_offs(results)
    if len(found) == 1:
        return found[0].alone
    if found:
        names = ", ".join(each.title for each in found[:4])
        raise HarnessError(
            f"a picture shows one task, and these are {names}: name one of them, or write a page (.html)"
        )
    raise HarnessError(
        "quality against cost takes two results or more of one task, which differ in reranker, setting or depth: run a "
        "sweep, as --top-k 20,50,100"
    )


def _question(result: Result) -> Hashable:
    identity = result.identity
    return (
        title_of(result), result.collection, identity.limit, identity.until, identity.relevance_level,
        identity.qrels_layer, identity.instructions, identity.missing_text, _headline(result),
    )  # fmt: skip


def _headline(result: Result) -> str:
    return next(iter(result.measures), "")


def _quality(result: Result) -> float | None:
    return result.measures.get(_headline(result), {}).get("reranked")


def _trade_off(group: Sequence[Result]) -> TradeOff | None:
    """None where no cost is known of all of them."""
    priced = _priced(group)
    if priced is None:
        return None
    unit, found = priced
    measure, scale = _headline(group[0]), scale_of(_headline(group[0]))
    pairs = [(cost, (_quality(result) or 0.0) * scale) for cost, result in zip(found, group, strict=True)]
    stages = len({result.identity.retriever for result in group}) > 1
    depths = len({result.identity.top_k for result in group}) > 1
    spots = []
    for result, (cost, value) in zip(group, pairs, strict=True):
        series, name = _words(result, stages=stages, depths=depths)
        best = not any(_better(other, (cost, value)) for other in pairs)
        shown = number(_quality(result), measure)
        hint = f"{result.reranker}, {_depth(result)}: {measure} {shown}, {cost:.4g} {unit}"
        spots.append(Spot(series, name, cost, value, best=best, hint=hint))
    before = {result.measures[measure].get("first_stage") for result in group}
    level = before.pop() if len(before) == 1 else None
    return TradeOff(title_of(group[0]), measure, unit, tuple(spots), None if level is None else level * scale)


def _priced(group: Sequence[Result]) -> tuple[str, list[float]] | None:
    """The first unit of cost that all of them have, and what each costs in it."""
    for unit, cost_of in _COSTS.items():
        found = [cost for result in group if (cost := cost_of(result))]
        one_machine = cost_of is not _seconds or len({_machine(result) for result in group}) == 1
        if len(found) == len(group) and one_machine:
            return unit, found
    return None


def _better(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether one has as much quality for less cost, or more for as little."""
    return one[0] <= other[0] and one[1] >= other[1] and one != other


def _words(result: Result, *, stages: bool, depths: bool) -> tuple[str, str]:
    """Whose line a point is on, and what tells it from the line's others: its depth, or where all have one, its settings."""
    own, label = result.identity.reranker or "", result.reranker or ""
    over = f" over {result.identity.retriever}" if stages else ""
    name, bracket, note = label.rpartition(" (") if label != own else (label, "", "")
    if depths or not bracket:
        return label + over, _depth(result)
    return name + over, note.removesuffix(")")


def _depth(result: Result) -> str:
    return "lists" if result.identity.top_k is None else f"top {result.identity.top_k}"


def _machine(result: Result) -> Hashable:
    made = result.environment
    return tuple(str(made.get(name)) for name in ("processor", "cores", "device", "accelerator"))


def _seconds(result: Result) -> float | None:
    return (result.performance.get("latency_seconds") or {}).get("p50")


def _money(result: Result) -> float | None:
    return (result.performance.get("billed") or {}).get("cost_per_1000_queries")


def _tokens(result: Result) -> float | None:
    tokens = result.diagnostics.get("tokens")
    return tokens / result.queries if tokens and result.queries else None


def _pairs(result: Result) -> float | None:
    pairs = result.diagnostics.get("pairs")
    return pairs / result.queries if pairs and result.queries else None


_COSTS: dict[str, Callable[[Result], float | None]] = {
    "seconds a query": _seconds,
    "money for 1,000 queries": _money,
    "tokens a query": _tokens,
    "pairs a query": _pairs,
}
