"""Verdicts in words: does a reranker beat its first stage, and on how many tasks is that shown?

A task counts as won or lost where p ≤ 0.05 for it alone, which is where its 95 % interval excludes 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from ..results.figures import ALPHA, scale_of, signed
from ..results.result import Result
from .pairing import title_of

__all__ = ["difference_in_words", "rounded", "sentence_of", "short_names", "stage_name"]


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
    """`+.17 [+.12, +.23]`; without the interval where there is none."""
    if low is None or high is None:
        return rounded([difference], measure)[0]
    middle, left, right = rounded([difference, low, high], measure)
    return f"{middle} [{left}, {right}]"


def _row(result: Result) -> tuple[str, dict[str, float | None]]:
    name, row = next(iter(result.measures.items()))
    return name, dict(row)


def _change(result: Result) -> float:
    return abs(_row(result)[1].get("difference") or 0.0)


def _shown(result: Result) -> str:
    """`+.17 [+.12, +.23] on DemoEnglish`."""
    name, row = _row(result)
    return f"{difference_in_words(row['difference'], row.get('low'), row.get('high'), name)} on {title_of(result)}"


def sentence_of(results: Sequence[Result], who: str) -> str:
    """What the results of one reranker over one first stage show, in a sentence that counts every one of them."""
    held = [result for result in results if _row(result)[1].get("difference") is not None]
    apart = [r for r in held if (p := _row(r)[1].get("p")) is not None and p <= ALPHA and _change(r)]
    wins = [result for result in apart if (_row(result)[1]["difference"] or 0.0) > 0]
    losses = [result for result in apart if result not in wins]
    open_ = len(held) - len(apart)
    stages = {stage_name(result) for result in held}
    against = stages.pop() if len(stages) == 1 else "the first stage"
    parts = []
    if wins:
        parts.append(_told(f"beats {against}", wins, len(held), by="by"))
    if losses:
        parts.append(_told("loses" if wins else f"loses to {against}", losses, len(held), by="at"))
    if open_ and not apart:
        parts.append(_undecided(held, against))
    elif open_:
        parts.append(f"not decided on {open_}")
    alone = [result for result in results if result not in held]
    if alone:
        parts.append(_alone(alone))
    return f"{who} {'; '.join(parts)}."


def _told(verb: str, results: Sequence[Result], of: int, by: str) -> str:
    largest = max(results, key=_change)
    if len(results) == 1 and (by == "by" or of == 1):
        return f"{verb} by {_shown(largest)}"
    count = f"{verb} on {len(results)} of {of}"
    return f"{count}, most by {_shown(largest)}" if by == "by" or " to " in verb else count


def _undecided(held: Sequence[Result], against: str) -> str:
    if len(held) == 1:
        name, row = _row(held[0])
        shown = difference_in_words(row["difference"], row.get("low"), row.get("high"), name)
        return f"is not told apart from {against} on {title_of(held[0])}: {name} {shown}, not decided"
    largest = max(held, key=_change)
    return f"is not told apart from {against} on any of {len(held)}: not decided, at most {_shown(largest)}"


def _alone(results: Sequence[Result]) -> str:
    """Those with given lists that have no scores: there is nothing to be better than."""
    if len(results) > 1:
        return f"{len(results)} have no first-stage figure to be held against"
    name, row = _row(results[0])
    reranked = row.get("reranked")
    shown = f": {name} {signed(reranked, name)}" if name.startswith("p-MRR") and reranked is not None else ""
    return f"{title_of(results[0])} has no first-stage figure{shown}"
