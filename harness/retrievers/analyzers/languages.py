"""Which analyzer each language has, and what each is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from . import porter
from .filters import bigrams, fold_width, lower, stop_words, without_possessive
from .standard import tokenize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Chosen(NamedTuple):
    name: str
    version: str
    known: bool
    analyze: Callable[[str], Iterable[str]]


def choose(language: str) -> Chosen:
    if language[:2] == "en":
        return Chosen("EnglishAnalyzer", "1", True, english)
    if language[:2] == "zh":
        return Chosen("CJKAnalyzer", "1", True, cjk)
    raise ValueError(language)


def english(text: str) -> list[str]:
    stop = stop_words("english")
    terms = (lower(without_possessive(token)) for token in tokenize(text))
    return [porter.stem(term) for term in terms if term not in stop]


def cjk(text: str) -> list[str]:
    stop = stop_words("cjk")
    return [t for t in bigrams(text, lambda t: lower(fold_width(t))) if t not in stop]
