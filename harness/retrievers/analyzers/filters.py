"""The token filters that several of Lucene's analyzers share."""

from __future__ import annotations

import functools
import unicodedata
from importlib import resources
from operator import add
from typing import TYPE_CHECKING

from .standard import tokens_by_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["bigrams", "fold_width", "lower", "stop_words", "without_possessive"]

_APOSTROPHES = ("'", "\u2019", "\uff07")
_VOICED, _SEMI_VOICED = "\u3099", "\u309a"
_HALF_WIDTH_KANA = "\uff65-\uff9f"


def lower(token: str) -> str:
    """Lower case character by character, as Java does it: no final sigma, and İ is i without its dot."""
    return token.replace("\u0130", "i").replace("\u03a3", "\u03c3").lower()


@functools.cache
def stop_words(name: str) -> frozenset[str]:
    """The words of `data/stop_<name>.txt`: the list that Lucene 9's analyzer of that language uses."""
    return frozenset((resources.files(__package__) / "data" / f"stop_{name}.txt").read_text("utf-8").splitlines())


def without_possessive(token: str) -> str:
    """`token` without the 's that English puts to an owner."""
    return token[:-2] if token[-1:] in ("s", "S") and token[-2:-1] in _APOSTROPHES else token


@functools.cache
def _widths() -> dict[int, str]:
    """Full-width ASCII → ASCII, half-width Katakana → Katakana."""
    characters = [*range(0xFF01, 0xFF5F), *range(0xFF65, 0xFFA0)]
    return {character: unicodedata.normalize("NFKC", chr(character)) for character in characters}


def fold_width(token: str) -> str:
    """ASCII for full-width ASCII, Katakana for half-width Katakana, a voice mark joined to its letter."""
    if token.isascii() or not any("\uff01" <= character <= "\uff9f" for character in token):
        return token
    folded = ""
    for before in token:
        character = before.translate(_widths())
        if before in "\uff9e\uff9f" and "\u30a1" <= folded[-1:] <= "\u30fe":
            folded = folded[:-1] + unicodedata.normalize("NFC", folded[-1] + character)
        else:
            folded += character
    return folded


def bigrams(text: str, fold: Callable[[str], str]) -> Iterable[str]:
    """The tokens of `text` with each run of Chinese, Japanese and Korean letters as overlapping pairs.

    Lucene's CJKBigramFilter after `fold` (width and lower case): a run of one character stays as it
    is; tokens in other letters pass whole and, like any gap, end a run.
    """
    terms: list[str] = []
    run, end = "", -1
    for token, start, kind in tokens_by_kind(text):
        if run and (start != end or not kind):
            terms += _pairs(run)
            run = ""
        if kind:
            run += fold(token)
        else:
            terms.append(fold(token))
        end = start + len(token)
    if run:
        terms += _pairs(run)
    return terms


def _pairs(run: str) -> Iterable[str]:
    return map(add, run, run[1:]) if len(run) > 1 else [run]
