"""What a provider bills: counted as it answers, and estimated before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .providers import Provider, tokens_of

__all__ = ["Bill", "Prices", "estimate"]


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
    """What was asked for and billed since the last `settle`; several threads write it."""

    provider: Provider
    prices: Prices = field(default_factory=Prices)
    requests: int = 0
    documents: int = 0
    tokens: float = 0.0
    units: float = 0.0
    estimated: bool = False
    """Whether some answer did not say what it is billed, so that it was estimated."""
    _lock: Any = field(default_factory=Lock, repr=False)

    def add(self, answer: Any, query: str, documents: Sequence[str]) -> None:
        """One answered request."""
        tokens = self.provider.billed(answer, self.provider.tokens)
        units = self.provider.billed(answer, self.provider.units)
        guessed = tokens is None if self.provider.documents_per_unit is None else units is None
        with self._lock:
            self.requests += 1
            self.documents += len(documents)
            self.tokens += _tokens(query, documents) if tokens is None else tokens
            self.units += _units(self.provider, len(documents)) if units is None else units
            self.estimated |= guessed

    def settle(self, queries: float) -> dict[str, Any]:
        """The bill as a result keeps it, and a new one begins; `queries` is how many it was for."""
        found: dict[str, Any] = {"requests": self.requests, "documents": self.documents, "tokens": round(self.tokens)}
        if self.provider.units is not None or self.provider.documents_per_unit is not None:
            found["units"] = round(self.units, 3)
        found["estimated"] = self.estimated
        cost = self.prices.cost(self.tokens, self.units)
        if cost is not None:
            found |= {"cost": cost, "cost_per_1000_queries": cost / queries * 1000 if queries else None}
        self.requests = self.documents = 0
        self.tokens = self.units = 0.0
        self.estimated = False
        return found


def estimate(
    provider: Provider,
    prices: Prices,
    queries: Sequence[str],
    documents: Sequence[str],
    pairs: NDArray[np.int64],
    whole: tuple[int, int] | None = None,
) -> tuple[int, float | None]:
    """About how many tokens scoring `pairs` (as `PairModel.prepare` takes them) is billed, and the money for it.

    With `whole`, so many queries of so many documents, the pairs are a sample of them.
    """
    first = np.array([tokens_of(text) for text in queries], np.int64)
    second = np.array([tokens_of(text) for text in documents], np.int64)
    tokens = int(first[pairs[:, 0]].sum() + second[pairs[:, 1]].sum())
    asked = np.unique(pairs[:, 0], return_counts=True)[1].tolist()
    if whole is not None:
        tokens = round(tokens * whole[0] * whole[1] / max(len(pairs), 1))
        asked = [whole[1]] * whole[0]
    units = sum(_units(provider, count) for count in asked)
    return tokens, prices.cost(tokens, units)


def _tokens(query: str, documents: Sequence[str]) -> int:
    return tokens_of(query) * len(documents) + sum(map(tokens_of, documents))


def _units(provider: Provider, documents: int) -> int:
    return -(-documents // provider.documents_per_unit) if provider.documents_per_unit else 0
