"""Charts as inline SVG: each a string that needs nothing from outside, its colours from charts.css on its page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

from ..results.layout import shortened

__all__ = ["CSS", "Bar", "Line", "Spot", "costs", "curves", "forest", "scatter", "sorted_changes", "standing_alone"]

CSS = Path(__file__).with_name("charts.css").read_text(encoding="utf-8")
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 14, 12, 40
_WIDTH, _HEIGHT = 380, 360
"""Of the charts that stand side by side; what is between the margins is a square."""
_WIDE = 760
"""Of a chart that stands alone in its row."""


@dataclass(frozen=True)
class Line:
    """A line of a chart: its name, its class in the CSS, its points (x, y)."""

    name: str
    style: str
    points: Sequence[tuple[float, float]]
    ends: Sequence[tuple[float, float] | None] = ()
    """The interval of each point, as y of its ends; None where there is none, empty where no point has one."""


@dataclass(frozen=True)
class Spot:
    """A point of quality over cost: the line that it is on, its name there, and whether none is better and as cheap."""

    series: str
    name: str
    cost: float
    value: float
    best: bool
    hint: str


@dataclass(frozen=True)
class Bar:
    """A difference with its interval, in the unit of the axis."""

    name: str
    value: float
    low: float | None
    """None, with `high`, where there is no interval."""
    high: float | None
    significant: bool
    shown: str
    """The figures as the tables print them."""
    marks: str = ""
    """Attributes that a page's filters know the row by."""


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )


def standing_alone(chart: str) -> str:
    """The chart as a file or a notebook shows it: with its own colours, on paper of its own.

    Colours stand there as they are: programs that draw for print know no variables of CSS.
    """
    head, rest = chart.split(">", 1)
    colours = dict(re.findall(r"(--[\w-]+): (#\w+);", CSS))
    css = re.sub(r"var\((--[\w-]+)\)", lambda found: colours[found[1]], CSS.split("}", 1)[1])
    paper = f'<rect width="100%" height="100%" style="fill: {colours["--paper"]}"/>'
    return f'{head} xmlns="http://www.w3.org/2000/svg"><style>{css}</style>{paper}{rest}'


def _text(x: float, y: float, words: str, anchor: str = "middle", style: str = "label") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(words)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, style: str = "grid") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _dot(x: float, y: float, radius: float, style: str, hint: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{style}"><title>{escape(hint)}</title></circle>'


def _steps(low: float, high: float) -> list[float]:
    """Four to eight round numbers from `low` to `high`."""
    span = max(high - low, 1e-9)
    size = 10 ** math.floor(math.log10(span / 4))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if span / (size * factor) <= 7)
    first = math.ceil(low / step - 1e-9)
    return [step * number for number in range(first, math.floor(high / step + 1e-9) + 1)]


def scatter(points: Sequence[tuple[str, float, float]], x_name: str, y_name: str) -> str:
    """A point for each query (its hint, x, y) in the unit square, or in the square that holds them all.

    Points above the diagonal won. Several queries at one place are one larger point.
    """
    low = min(0.0, *(min(x, y) for _, x, y in points))
    high = max(1.0, *(max(x, y) for _, x, y in points))

    def at(value: float, start: float, end: float) -> float:
        return start + (value - low) / (high - low) * (end - start)

    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    parts = []
    for value in _steps(low, high):
        x, y = at(value, left, right), at(value, bottom, top)
        parts += [_rule(x, top, x, bottom), _rule(left, y, right, y)]
        parts += [_text(x, bottom + 15, f"{value:g}"), _text(left - 6, y + 4, f"{value:g}", "end")]
    parts.append(_rule(left, bottom, right, top, "diagonal"))
    places: dict[tuple[float, float], list[str]] = {}
    for hint, x, y in points:
        places.setdefault((round(x, 3), round(y, 3)), []).append(hint)
    for (x, y), hints in places.items():
        style = "win" if y > x else "loss" if y < x else "tie"
        shown = "\n".join(hints[:8]) + (f"\nand {len(hints) - 8} more" if len(hints) > 8 else "")
        parts.append(_dot(at(x, left, right), at(y, bottom, top), 3 + min(6.0, math.log2(len(hints))), style, shown))
    parts.append(_text((left + right) / 2, _HEIGHT - 6, x_name, style="axis"))
    parts.append(_turned(14, (top + bottom) / 2, y_name))
    return _svg(_WIDTH, _HEIGHT, f"{y_name} against {x_name}, a point a query", parts)


def _turned(x: float, y: float, words: str) -> str:
    return (
        f'<text x="{x}" y="{y:.1f}" text-anchor="middle" class="axis" transform="rotate(-90 {x} {y:.1f})">'
        f"{escape(words)}</text>"
    )


def curves(
    lines: Sequence[Line], x_name: str, y_name: str, level: float | None = None, level_name: str = "",
    *, scale: Callable[[float], float] = math.log, named: bool = True,
) -> str:  # fmt: skip
    """Lines over x, on a logarithmic axis unless `scale` is another, with `level` as a horizontal line across.

    Lines with intervals stand a little beside each other, so that each can be seen. `named` writes each line's name
    at its end.
    """
    xs = sorted({x for line in lines for x, _ in line.points})
    ys = [y for line in lines for _, y in line.points] + ([] if level is None else [level])
    ys += [y for line in lines for both in line.ends for y in both or ()]
    low, high = min(ys), max(ys)
    margin = max((high - low) * 0.1, 0.01)
    low, high = max(0.0, low - margin), min(1.0, high + margin)
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT - 58, _TOP, _HEIGHT - _BOTTOM
    start = scale(xs[0])
    span = scale(xs[-1]) - start or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = (scale(x) - start) / span if len(xs) > 1 else 0.5
        return left + across * (right - left), bottom - (y - low) / (high - low) * (bottom - top)

    parts = []
    for value in _steps(low, high):
        y = place(xs[0], value)[1]
        parts += [_rule(left, y, right, y), _text(left - 6, y + 4, f"{value:.3g}", "end")]
    for x, following in pairwise([*xs, math.inf]):
        # Of two depths too near to be read, the deeper one is named.
        if following == math.inf or place(following, low)[0] - place(x, low)[0] > 24:
            parts.append(_text(place(x, low)[0], bottom + 15, f"{x:g}"))
    names: list[tuple[float, str]] = []
    if level is not None:
        y = place(xs[0], level)[1]
        parts.append(_rule(left, y, right, y, "level"))
        names.append((y, level_name))
    beside = _beside(lines)
    for line, step in zip(lines, beside, strict=True):
        spots = [(place(x, y)[0] + step, place(x, y)[1]) for x, y in line.points]
        for (x, _), both in zip(spots, line.ends, strict=False):
            if both is not None:
                parts.append(_rule(x, place(xs[0], both[0])[1], x, place(xs[0], both[1])[1], f"{line.style} whisker"))
        parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in spots)}" class="{line.style}"/>')
        dot = line.style if line.style.startswith("series-") else f"{line.style}-dot"
        for (x, y), (k, value) in zip(spots, line.points, strict=True):
            parts.append(_dot(x, y, 3, dot, f"{line.name}, {x_name} {k:g}: {value:.4f}"))
        names += [(spots[-1][1], line.name)] if named else []
    parts += [_text(right + 6, y + 4, name, "start") for y, name in _apart(names, 14)]
    parts += [_text((left + right) / 2, _HEIGHT - 6, x_name, style="axis"), _turned(14, (top + bottom) / 2, y_name)]
    return _svg(_WIDTH, _HEIGHT, f"{y_name} over {x_name}", parts)


def _beside(lines: Sequence[Line]) -> list[float]:
    """How far each line is moved along x: 5 from one with intervals to the next."""
    with_ends = [number for number, line in enumerate(lines) if line.ends]
    middle = (len(with_ends) - 1) / 2
    return [5 * (with_ends.index(number) - middle) if line.ends else 0.0 for number, line in enumerate(lines)]


_COLOURS = 6
"""Lines of so many colours are told apart; more begin again."""


def costs(spots: Sequence[Spot], x_name: str, y_name: str, title: str, level: float | None = None) -> str:
    """Quality over a logarithmic cost: a line for each series, its points named, the best of all filled."""
    low, high = min(spot.value for spot in spots), max(spot.value for spot in spots)
    if level is not None:
        low, high = min(low, level), max(high, level)
    margin = max((high - low) * 0.12, 0.01)
    low, high = (max(0.0, low - margin) if low >= 0 else low - margin), high + margin
    xs = [spot.cost for spot in spots]
    start, span = math.log(min(xs)), math.log(max(xs) / min(xs)) or 1.0
    series = list(dict.fromkeys(spot.series for spot in spots))
    top = _TOP + 16 * len(series)
    left, right, bottom = _LEFT, _WIDE - 150, top + 300

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log(x) - start) / span if len(set(xs)) > 1 else 0.5
        return left + 14 + across * (right - left - 14), bottom - (y - low) / (high - low) * (bottom - top)

    parts = []
    for value in _steps(low, high):
        y = place(xs[0], value)[1]
        parts += [_rule(left, y, right, y), _text(left - 6, y + 4, f"{value:.3g}", "end")]
    parts += [_text(place(x, low)[0], bottom + 15, f"{x:.3g}") for x in _spread(sorted(set(xs)), place, low)]
    if level is not None:
        y = place(xs[0], level)[1]
        parts += [_rule(left, y, right, y, "level"), _text(right + 6, y + 4, "first stage", "start")]
    words = _Words()
    for number, name in enumerate(series):
        style = f"series-{number % _COLOURS}"
        line = sorted((spot for spot in spots if spot.series == name), key=lambda spot: (spot.cost, spot.value))
        parts += [
            _dot(left + 8, _TOP + 16 * number, 4, style, name),
            _text(left + 18, _TOP + 16 * number + 4, name, "start"),
        ]
        places = [place(spot.cost, spot.value) for spot in line]
        parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" class="{style}"/>')
        for (x, y), spot in zip(places, line, strict=True):
            parts.append(_dot(x, y, 4.5, style if spot.best else f"{style} beaten", spot.hint))
            parts.append(words.beside(x, y, spot.name))
    parts += [_text((left + right) / 2, bottom + 34, x_name, style="axis"), _turned(14, (top + bottom) / 2, y_name)]
    return _svg(_WIDE, bottom + 42, title, parts)


class _Words:
    """Names beside points, each where no other name is: above, below, or not at all."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float, float]] = []

    def beside(self, x: float, y: float, name: str) -> str:
        width = 6.5 * len(name)
        for left, base, anchor in ((x + 8, y - 6, "start"), (x + 8, y + 15, "start"), (x - 8 - width, y - 6, "end")):
            if all(
                base - 12 > b or b - 12 > base or left > end or begin > left + width for begin, end, b in self._taken
            ):
                self._taken.append((left, left + width, base))
                return _text(left if anchor == "start" else left + width, base, name, anchor)
        return ""


def _spread(xs: Sequence[float], place: Callable[[float, float], tuple[float, float]], low: float) -> list[float]:
    """Those that have room for their number, the first always."""
    shown = [xs[0]]
    for x in xs[1:]:
        if place(x, low)[0] - place(shown[-1], low)[0] > 40:
            shown.append(x)
    return shown


def _apart(names: Sequence[tuple[float, str]], least: float) -> list[tuple[float, str]]:
    """The names from the top down, each at its height or so much lower that it can be read."""
    placed: list[tuple[float, str]] = []
    for y, name in sorted(names):
        placed.append((max(y, placed[-1][0] + least) if placed else y, name))
    return placed


def forest(bars: Sequence[Bar], name: str) -> str:
    """A row for each difference: its interval as a line, its value as a point, its figures beside it.

    Differences that are significant have the colour of a win or a loss.
    """
    row, width = 28, 1120
    label = min(500, 20 + max(round(8 * len(bar.name)) for bar in bars))
    height = _TOP + row * len(bars) + _BOTTOM
    ends = [end for bar in bars for end in (bar.value, bar.low, bar.high) if end is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = max((high - low) * 0.05, 0.005)
    low, high = low - margin, high + margin
    left, right, bottom = label, width - 220, height - _BOTTOM

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    parts = []
    for value in _steps(low, high):
        parts.append(_rule(at(value), _TOP, at(value), bottom, "zero" if abs(value) < 1e-12 else "grid"))
        parts.append(_text(at(value), bottom + 16, f"{value:+g}" if abs(value) >= 1e-12 else "0"))
    for place, bar in enumerate(bars):
        y = _TOP + row * (place + 0.5)
        style = ("win" if bar.value > 0 else "loss") if bar.significant else "tie"
        named = shortened(bar.name, 62)
        parts += [f"<g{bar.marks}>", _text(label - 12, y + 4, named, "end", "axis")]
        if bar.low is not None and bar.high is not None:
            parts.append(_rule(at(bar.low), y, at(bar.high), y, f"{style}-line"))
        parts.append(_dot(at(bar.value), y, 5, style, f"{bar.name}: {bar.shown}"))
        parts += [_text(width, y + 4, bar.shown, "end", "figure"), "</g>"]
    parts.append(_text((left + right) / 2, height - 6, name, style="axis"))
    return _svg(width, height, name, parts)


_MOST_STEPS = 500


def sorted_changes(changes: Sequence[float], x_name: str, y_name: str) -> str:
    """Every query's change, the largest gain first, as two areas: above 0 and below."""
    ordered = sorted(changes, reverse=True)
    if len(ordered) > _MOST_STEPS:
        ordered = [ordered[round(i * (len(ordered) - 1) / (_MOST_STEPS - 1))] for i in range(_MOST_STEPS)]
    low, high = min(0.0, ordered[-1]), max(0.0, ordered[0])
    margin = max((high - low) * 0.05, 0.01)
    low, high = low - margin, high + margin
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM

    def at(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    parts = []
    for value in _steps(low, high):
        parts.append(_rule(left, at(value), right, at(value), "zero" if abs(value) < 1e-12 else "grid"))
        parts.append(_text(left - 6, at(value) + 4, f"{value:+g}" if abs(value) >= 1e-12 else "0", "end"))
    step = (right - left) / len(ordered)
    for style, sign in (("win", 1), ("loss", -1)):
        edges = [
            f"V{at(value if value * sign > 0 else 0.0):.1f}H{left + step * (place + 1):.1f}"
            for place, value in enumerate(ordered)
        ]
        parts.append(f'<path d="M{left:.1f} {at(0):.1f}{"".join(edges)}V{at(0):.1f}Z" class="{style}"/>')
    parts += [_text((left + right) / 2, _HEIGHT - 6, x_name, style="axis"), _turned(14, (top + bottom) / 2, y_name)]
    return _svg(_WIDTH, _HEIGHT, f"{y_name}, {x_name}", parts)
