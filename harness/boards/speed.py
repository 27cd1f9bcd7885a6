"""How fast a row's reranking was, and on which hardware: rates are of one machine, or they are none.

A row has a speed where each of its board's tasks was scored on the same hardware: pairs a second over
all of their pairs, and the mean of the tasks' median latency of a query. A service runs on hardware of its
own, named by its host; what its requests took and cost stands in columns that no machine shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from statistics import fmean
from typing import Any

from ..results.result import Result
from .board import Board
from .systems import System

__all__ = ["Requests", "Speed", "hardware_of", "speed_of"]


@dataclass(frozen=True)
class Requests:
    """A service's requests: seconds each, and the money of 1,000 queries where a price was stated; means over the tasks."""

    p50: float
    p95: float
    p99: float
    cost: float | None


@dataclass(frozen=True)
class Speed:
    """One row's speed on one machine."""

    hardware: str
    dtype: str
    pairs_per_second: float | None
    latency: float | None
    """Seconds a query, the median."""
    estimated: bool
    """Whether the latency follows from rates rather than from queries scored alone."""
    requests: Requests | None = None
    """Of a service."""


def hardware_of(environment: Mapping[str, Any]) -> str:
    """`AMD EPYC 9V74, 2 cores`, or the accelerator where one scored; empty where it is not recorded."""
    if not str(environment.get("device", "")).startswith("cpu"):
        return str(environment.get("accelerator") or "")
    processor, cores = environment.get("processor"), environment.get("cores")
    return f"{processor}, {cores} cores" if processor and cores else ""


def _place_of(result: Result) -> str:
    """The hardware that scored: a service's is not the machine that asked it."""
    if "billed" in result.performance:
        return f"the service at {(result.identity.reranker_settings or {}).get('host', 'an unknown host')}"
    return hardware_of(result.environment)


def speed_of(system: System, board: Board) -> Speed | None:
    """None where a task is missing, was scored elsewhere than the others, or has no rate."""
    if system.kind != "reranker":
        return None
    parts = [(task.name, subset.name) for task in board.tasks for subset in task.subsets]
    results = [system.results[part] for part in parts if part in system.results]
    places = {(_place_of(r), str(r.environment.get("dtype", ""))) for r in results}
    if len(results) < len(parts) or len(places) != 1 or not (place := places.pop())[0]:
        return None
    rate = _rate(results)
    latency, estimated = _latency(results)
    requests = _requests(results)
    return Speed(*place, rate, latency, estimated, requests) if rate or latency or requests else None


def _requests(results: Sequence[Result]) -> Requests | None:
    bills = [result.performance.get("billed") or {} for result in results]
    seconds = [bill["request_seconds"] for bill in bills if bill.get("request_seconds")]
    if len(seconds) < len(bills):
        return None
    costs = [bill.get("cost_per_1000_queries") for bill in bills]
    queries = [result.queries for result in results]
    money = None if None in costs else sum(map(mul, costs, queries)) / sum(queries)
    half, most, nearly = (fmean(each[key] for each in seconds) for key in ("p50", "p95", "p99"))
    return Requests(half, most, nearly, money)


def _rate(results: Sequence[Result]) -> float | None:
    pairs = seconds = 0.0
    for result in results:
        count, rate = result.diagnostics.get("pairs"), result.performance.get("pairs_per_second")
        if not count or not rate:
            return None
        pairs += count
        seconds += count / rate
    return pairs / seconds


def _latency(results: Sequence[Result]) -> tuple[float | None, bool]:
    medians, estimated = [], False
    for result in results:
        measured, derived = (result.performance.get(key) for key in ("latency_seconds", "latency_from_rate_seconds"))
        found = measured or derived
        if not found or found.get("p50") is None:
            return None, False
        estimated = estimated or not measured
        medians.append(float(found["p50"]))
    return fmean(medians), estimated
