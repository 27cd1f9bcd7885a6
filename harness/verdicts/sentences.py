"""Verdicts in words: does a reranker beat its first stage, and on how many tasks is that shown?

A task counts as won or lost where p ≤ 0.05 for it alone, which is where its 95 % interval excludes 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..results.figures import ALPHA, scale_of, signed
from ..results.result import Result

__all__ = ["Told", "difference_in_words", "rounded", "sentence_of", "short_names", "stage_name"]


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Each reranker's name without whose it is, `MiniLM-L6` of `org/MiniLM-L6`, where that tells all of them apart."""
    short = {name: name.removeprefix("package:").rstrip("/").rsplit("/", 1)[-1] or name for name in names}
    counts = Counter(short.values())
    return {name: own if counts[own] == 1 else name for name, own in short.items()}


def stage_name(result: Result) -> str:
    """The first stage as a sentence names it."""
    retriever = result.identity.retriever
    return "BM25" if retriever == "bm25" else retriever


def rounded(values: Sequence[float | None], measure: str = "") -> list[str]:
    """Signed figures with as few decimals, from two to four, as leave none of them 0 that is not 0: `+.17`, `-.0085`."""
    there = [0.0 if value is None else value * scale_of(measure) for value in values]
    told = [value for value in there if abs(value) > 1e-9]
    digits = next((n for n in (2, 3) if all(abs(value) >= 1.5 * 10**-n for value in told)), 4)
    return [signed_short(value, digits) for value in there]


def signed_short(value: float, digits: int) -> str:
    """`+.17`: with its sign, and without the zero before its point."""
    shown = f"{value:+.{digits}f}"
    return shown[0] + shown[2:] if shown[1:3] == "0." else shown


def difference_in_words(difference: float | None, low: float | None, high: float | None, measure: str) -> str:
    """`+.17 [+.12, +.23]`; where there is no interval, that too few moved for one."""
    if low is None or high is None:
        shown = rounded([difference], measure)[0]
        return f"{shown} (too few queries moved for an interval)" if difference else shown
    middle, left, right = rounded([difference, low, high], measure)
    return f"{middle} [{left}, {right}]"


@dataclass(frozen=True)
class Told:
    """A difference as it was found in one place, in the measure's own unit."""

    name: str
    measure: str
    difference: float | None
    """None where there is nothing to be held against."""
    low: float | None
    high: float | None
    p: float | None
    """What decides: corrected where several rows are shown together."""

    @property
    def apart(self) -> bool:
        """Whether the difference is shown."""
        return bool(self.difference) and self.p is not None and self.p <= ALPHA

    @property
    def shown(self) -> str:
        """`+.17 [+.12, +.23] on DemoEnglish`."""
        return f"{difference_in_words(self.difference, self.low, self.high, self.measure)} on {self.name}"

    @property
    def size(self) -> float:
        return abs(self.difference or 0.0)


def sentence_of(told: Sequence[Told], who: str, against: str, reranked: float | None = None) -> str:
    """What `who` does to `against`, in a sentence that counts every place once.

    `reranked` is the figure of the one place that has no difference, which a p-MRR says something by itself.
    """
    held = [each for each in told if each.difference is not None]
    apart = [each for each in held if each.apart]
    wins = [each for each in apart if (each.difference or 0.0) > 0]
    losses = [each for each in apart if (each.difference or 0.0) < 0]
    still = len(held) - len(apart)
    parts = []
    if wins:
        parts.append(_counted(f"beats {against}", wins, len(held), largest=True))
    if losses:
        parts.append(_counted("loses" if wins else f"loses to {against}", losses, len(held), largest=not wins))
    if still and not apart:
        parts.append(_undecided(held, against))
    elif still:
        parts.append(f"not decided on {still}")
    alone = [each for each in told if each.difference is None]
    if alone:
        parts.append(_alone(alone, reranked))
    return f"{who}{' ' if held else ': '}{'; '.join(parts)}."


def _counted(verb: str, told: Sequence[Told], of: int, *, largest: bool) -> str:
    most = _largest(told)
    if len(told) == 1 and (largest and (of == 1 or verb.startswith("beats"))):
        return f"{verb} by {most.shown}"
    count = f"{verb} on {len(told)} of {of}"
    return f"{count}, most by {most.shown}" if largest else count


def _largest(told: Sequence[Told]) -> Told:
    """The largest difference, of those in one measure: the usual one."""
    usual = Counter(each.measure for each in told).most_common(1)[0][0]
    return max((each for each in told if each.measure == usual), key=lambda each: each.size)


def _undecided(held: Sequence[Told], against: str) -> str:
    if len(held) == 1:
        (one,) = held
        shown = difference_in_words(one.difference, one.low, one.high, one.measure)
        return f"is not told apart from {against} on {one.name}: {one.measure} {shown}, not decided"
    most = _largest(held)
    return f"is not told apart from {against} on any of {len(held)}: not decided, at most {most.shown}"


def _alone(told: Sequence[Told], reranked: float | None) -> str:
    """Those with given lists that have no scores: there is nothing to be better than."""
    if len(told) > 1:
        return f"{len(told)} have no first-stage figure to be held against"
    (one,) = told
    shown = (
        f": {one.measure} {signed(reranked, one.measure)}" if one.measure == "p-MRR" and reranked is not None else ""
    )
    return f"{one.name} has no first-stage figure{shown}"
