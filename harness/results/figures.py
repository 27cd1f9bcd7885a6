"""Figures as every table and page shows them: one place for digits, signs and what is missing."""

from __future__ import annotations

__all__ = ["ALPHA", "FEW_MOVED", "MISSING", "NO_INTERVAL", "interval", "number", "p_value", "scale_of", "signed"]

MISSING = "–"
NO_INTERVAL = "too few moved"
"""In the place of an interval where there is a difference and no interval."""
FEW_MOVED = f"{NO_INTERVAL}: fewer than 6 queries or clusters differ, so no p can reach .05 and there is no interval"

ALPHA = 0.05
"""A difference is called one where its p is at most that."""


def scale_of(measure: str) -> float:
    """100 for p-MRR, which papers print times 100; else 1."""
    return 100.0 if measure.startswith("p-MRR") else 1.0


def number(value: float | None, measure: str = "") -> str:
    """`0.6789`; p-MRR as `19.42`; a dash where there is none."""
    if value is None:
        return MISSING
    scale = scale_of(measure)
    return f"{value * scale:.4f}" if scale == 1.0 else f"{value * scale:.2f}"


def signed(value: float | None, measure: str = "") -> str:
    """As `number`, with its sign; what is 0 but for rounding is `+0.0000`."""
    if value is None:
        return MISSING
    shown, scale = (value if abs(value) > 1e-12 else 0.0), scale_of(measure)
    return f"{shown * scale:+.4f}" if scale == 1.0 else f"{shown * scale:+.2f}"


def interval(low: float | None, high: float | None, measure: str, difference: float | None) -> str:
    """`[-0.0100, +0.0200]` of a difference; a dash where there is none, and words where it has no interval."""
    if difference is None:
        return MISSING
    return NO_INTERVAL if low is None or high is None else f"[{signed(low, measure)}, {signed(high, measure)}]"


def p_value(p: float | None) -> str:
    """Four digits; what is smaller is said to be."""
    if p is None:
        return MISSING
    return "<0.0001" if p < 1e-4 else f"{p:.4f}"
