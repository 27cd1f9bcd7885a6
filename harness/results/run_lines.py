"""The lines below a result's table: what else every run says of its depth, its scores and its speed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .figures import MISSING, number
from .result import Result

__all__ = ["billed_words", "run_lines"]


def run_lines(result: Result) -> list[str]:
    """A line each for depth, scores, speed, a service's requests and environment, where the result has them; older results have less."""
    lines = (
        _depth(result.diagnostics),
        _scores(result.diagnostics),
        _speed(result),
        _service(result.performance.get("billed")),
        _environment(result.environment),
    )
    return [line for line in lines if line]


def _depth(seen: Mapping[str, Any]) -> str:
    curve = seen.get("depth_curve")
    if not curve:
        return ""
    points = ", ".join(f"{point['k']}: {number(point['reranked'])}" for point in curve["points"])
    return f"{curve['measure']} of the first k reranked: {points}; first stage {number(curve['first_stage'])}"


def _scores(seen: Mapping[str, Any]) -> str:
    parts = []
    if scores := seen.get("scores"):
        quartiles = " · ".join(f"{scores[key]:.4g}" for key in ("min", "q1", "median", "q3", "max"))
        parts.append(f"scores {quartiles} (min, quartiles, max), {scores['distinct']:,} distinct")
    if seen.get("tie_rate") is not None:
        parts.append(f"{seen['tie_rate']:.2%} of documents tied")
    if seen.get("truncated_share") is not None:
        # Of a service only what was cut before it was sent is known; older results say 0 of it.
        known = seen.get("tokens") is not None
        if known or seen["truncated_share"]:
            parts.append(f"{'' if known else 'at least '}{seen['truncated_share']:.1%} of pairs truncated")
    if seen.get("lost_token_share") is not None:
        parts.append(f"{seen['lost_token_share']:.1%} of tokens lost")
    return ", ".join(parts)


def _speed(result: Result) -> str:
    speed = result.performance
    if not speed:
        return ""
    tokens = f", {speed['tokens_per_second']:,.0f} tokens/s" if speed.get("tokens_per_second") else ""
    rate = f"{speed['pairs_per_second']:,.1f} pairs/s{tokens}" if speed.get("pairs_per_second") else ""
    if result.identity.reranker and not speed.get("pairs_scored"):
        of_a_file = "file" in result.identity.reranker_settings
        rate = "every score is that of the file" if of_a_file else "every score was in the store"
    elif speed.get("workers"):
        rate = f"{rate} by {speed['workers']} workers"
    memory = f"memory {speed['peak_memory_gib']:.1f} GiB" if "peak_memory_gib" in speed else ""
    if "peak_device_memory_gib" in speed:
        memory += f", on the device {speed['peak_device_memory_gib']:.1f} GiB"
    return "; ".join(part for part in (rate, _latency(speed), memory) if part)


def _environment(about: Mapping[str, Any]) -> str:
    """The machine and the versions that could move a number: all of them stand in the result."""
    if not about:
        return ""
    packages = about.get("packages", {})
    versions = [f"{name} {packages[name]}" for name in ("torch", "transformers", "tokenizers") if name in packages]
    commit, dot, changes = str(about.get("commit", "")).partition("+")
    made_by = f"rerank-harness {about.get('harness', MISSING)}" + (f" at {commit[:8]}{dot}{changes}" if commit else "")
    machine = [str(about[key]) for key in ("processor", "device", "dtype") if about.get(key)]
    machine.insert(1, f"{about.get('cores', MISSING)} cores")
    return f"made by {made_by}, Python {about.get('python', MISSING)}, {', '.join(versions)}; {', '.join(machine)}"


def _latency(speed: Mapping[str, Any]) -> str:
    for key, how in (
        ("latency_seconds", "measured one query at a time"),
        ("latency_from_rate_seconds", "estimated from the rate"),
    ):
        if found := speed.get(key):
            most = f", {found['p95']:.3g} s (p95)" if found.get("p95") is not None else ""
            sample = f", {found['queries']:,} of them" if key == "latency_seconds" and "queries" in found else ""
            return f"a query takes {found['p50']:.3g} s (p50){most}, {how}{sample}"
    return ""


def _service(billed: Mapping[str, Any] | None) -> str:
    if not billed or not billed.get("requests"):
        return ""
    seconds = billed.get("request_seconds")
    pace = ""
    if seconds:
        pace = "; a request takes " + ", ".join(f"{seconds[key]:.3g} s ({key})" for key in ("p50", "p95", "p99"))
    return f"service: {billed_words(billed)}{pace}"


def billed_words(bill: Mapping[str, Any]) -> str:
    """What a service was asked for and billed, in words."""
    said = [_several(bill["requests"], "request", "requests")]
    if bill.get("retries"):
        said.append(_several(bill["retries"], "retry", "retries"))
    if bill.get("documents"):
        said.append(_several(bill["documents"], "document", "documents"))
    if bill.get("tokens") is not None:
        said.append(f"{'about ' if bill['estimated'] else ''}{bill['tokens']:,} tokens")
    if "units" in bill:
        said.append(f"{bill['units']:g} units")
    if bill.get("cost") is None:
        return ", ".join(said)
    whole = f", {bill['cost_of_all_pairs']:.4f} for all pairs" if "cost_of_all_pairs" in bill else ""
    thousand = bill.get("cost_per_1000_queries")
    of_thousand = "" if thousand is None else f", {thousand:.4f} a 1,000 queries"
    return f"{', '.join(said)}; cost {bill['cost']:.4f}{whole}{of_thousand}"


def _several(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"
