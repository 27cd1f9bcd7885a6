"""What a provider bills and how long it takes: counted as it answers, and estimated before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .providers import Provider, tokens_of

if TYPE_CHECKING:
    from .transport import Answered

__all__ = ["Bill", "Estimate", "Prices", "estimate", "portions"]


@dataclass(frozen=True)
class Prices:
    """What the user says that a million tokens, or a thousand units, cost, in whatever money."""

    per_million_tokens: float | None = None
    per_thousand_units: float | None = None

    def cost(self, tokens: float, units: float) -> float | None:
        """The money for so much; None where no price was stated."""
        if self.per_million_tokens is None and self.per_thousand_units is None:
            return None
        return tokens * (self.per_million_tokens or 0) / 1e6 + units * (self.per_thousand_units or 0) / 1e3


@dataclass
class Bill:
    """What was asked for, billed and waited for since the last `settle`; several threads write it."""

    provider: Provider
    prices: Prices = field(default_factory=Prices)
    seconds: list[float] = field(default_factory=list)
    """Of each answered request, from sending to its last byte; waits between tries are not in it."""
    retries: int = 0
    """Requests that had to be sent again: the server was busy, out of reach, or took them for too large."""
    documents: int = 0
    tokens: float = 0.0
    units: float = 0.0
    tokens_said: bool = False
    """Whether the answers say the tokens."""
    estimated: bool = False
    """Whether some answer did not say what it is billed, so that it was estimated."""
    _lock: Any = field(default_factory=Lock, repr=False)

    def add(self, answered: Answered, query: str, documents: Sequence[str]) -> None:
        """One answered request."""
        tokens = self.provider.billed(answered.value, self.provider.tokens)
        units = self.provider.billed(answered.value, self.provider.units)
        guessed = tokens is None if self.provider.documents_per_unit is None else units is None
        with self._lock:
            self.seconds.append(answered.seconds)
            self.retries += answered.retries
            self.documents += len(documents)
            self.tokens += _tokens(query, documents) if tokens is None else tokens
            self.units += _units(self.provider, len(documents)) if units is None else units
            self.tokens_said |= tokens is not None
            self.estimated |= guessed

    def sent_again(self) -> None:
        """One request that the server refused as too large, and that goes in parts."""
        with self._lock:
            self.retries += 1

    def settle(self, queries: float) -> dict[str, Any]:
        """The bill as a result keeps it, and a new one begins; `queries` is how many it was for.

        `tokens` is None where units are billed and no answer said tokens.
        """
        by_units = self.provider.units is not None or self.provider.documents_per_unit is not None
        found: dict[str, Any] = {
            "requests": len(self.seconds),
            "retries": self.retries,
            "documents": self.documents,
            "tokens": None if by_units and not self.tokens_said else round(self.tokens),
        }
        if by_units:
            found["units"] = round(self.units, 3)
        found["estimated"] = self.estimated
        if self.seconds:
            found["request_seconds"] = _percentiles(self.seconds)
        cost = self.prices.cost(self.tokens, self.units)
        if cost is not None:
            found |= {"cost": cost, "cost_per_1000_queries": cost / queries * 1000 if queries else None}
        self.seconds = []
        self.retries = self.documents = 0
        self.tokens = self.units = 0.0
        self.estimated = self.tokens_said = False
        return found


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    values = np.percentile(np.asarray(seconds), [50, 95, 99]).tolist()
    return {name: round(value, 6) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}


class Estimate(NamedTuple):
    """What scoring is about to take: requests, about how many tokens (None without texts), the money (None without a price)."""

    requests: int
    tokens: int | None
    cost: float | None


def estimate(
    provider: Provider,
    prices: Prices,
    queries: Sequence[str],
    documents: Sequence[str],
    pairs: NDArray[np.int64],
    whole: tuple[int, int] | None = None,
) -> Estimate:
    """What scoring `pairs` (as `PairModel.prepare` takes them) takes and is billed.

    With `whole`, so many queries of so many documents, the pairs are a sample of them; where there are none, only
    what is billed by documents is known.
    """
    if whole is not None and not len(pairs):
        parts = list(portions(0, [0] * whole[1], provider.at_most, None))
        units = whole[0] * sum(_units(provider, part.stop - part.start) for part in parts)
        known = prices.per_million_tokens is None
        return Estimate(whole[0] * len(parts), None, prices.cost(0, units) if known else None)
    first = np.array([tokens_of(text) for text in queries], np.int64)
    second = np.array([tokens_of(text) for text in documents], np.int64)
    tokens = int(first[pairs[:, 0]].sum() + second[pairs[:, 1]].sum())
    order = np.argsort(pairs[:, 0], kind="stable")
    asked, starts = np.unique(pairs[order, 0], return_index=True)
    lists = [
        (int(first[query]), second[rows].tolist())
        for query, rows in zip(asked, np.split(pairs[order, 1], starts[1:]), strict=True)
    ]
    if whole is not None:
        tokens = round(tokens * whole[0] * whole[1] / len(pairs))
        mean = round(float(second[pairs[:, 1]].mean()))
        lists = [(round(float(first[pairs[:, 0]].mean())), [mean] * whole[1])] * whole[0]
    counts = [
        [part.stop - part.start for part in portions(own, sizes, provider.at_most, provider.at_most_tokens)]
        for own, sizes in lists
    ]
    units = sum(_units(provider, count) for parts in counts for count in parts)
    return Estimate(sum(map(len, counts)), tokens, prices.cost(tokens, units))


def portions(query: int, documents: Sequence[int], most: int, most_tokens: int | None) -> Iterator[slice]:
    """Consecutive documents that one request takes: by their number, and by tokens, the query's with each document."""
    start = tokens = 0
    for place, size in enumerate(documents):
        cost = query + size
        if place > start and (place - start >= most or (most_tokens is not None and tokens + cost > most_tokens)):
            yield slice(start, place)
            start, tokens = place, 0
        tokens += cost
    if start < len(documents):
        yield slice(start, len(documents))


def _tokens(query: str, documents: Sequence[str]) -> int:
    return tokens_of(query) * len(documents) + sum(map(tokens_of, documents))


def _units(provider: Provider, documents: int) -> int:
    return -(-documents // provider.documents_per_unit) if provider.documents_per_unit else 0
