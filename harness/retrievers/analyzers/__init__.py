"""Text → terms, as Lucene 9's analyzers do it, one for each language as Anserini chooses them."""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING

from . import languages
from .standard import split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Analyzer", "analyzer"]

_MEMORY = 1 << 20
_LONGEST_REMEMBERED = 32


class _Memo(dict[str, tuple[str, ...]]):
    """Pieces of text → their terms, worked out at the first look-up."""

    def __init__(self, analyze: Callable[[str], Iterable[str]]) -> None:
        super().__init__()
        self._analyze = analyze

    def __missing__(self, piece: str) -> tuple[str, ...]:
        terms = tuple(self._analyze(piece))
        if len(piece) <= _LONGEST_REMEMBERED:
            if len(self) >= _MEMORY:
                self.clear()
            self[piece] = terms
        return terms


class Analyzer:
    """Text → the terms that are indexed or searched for, in order, repetitions kept.

    `name` says which of Lucene's analyzers it is; `version` changes when its output does; `known` is
    False where the language has no analyzer of its own and gets words in lower case, no more.
    """

    def __init__(self, language: str) -> None:
        chosen = languages.choose(language)
        self.language = language
        self.name = chosen.name
        self.version = chosen.version
        self.known = chosen.known
        self._memo = _Memo(chosen.analyze)

    def __call__(self, text: str) -> list[str]:
        return list(itertools.chain.from_iterable(map(self._memo.__getitem__, split(text))))


@functools.cache
def analyzer(language: str) -> Analyzer:
    """The analyzer for `language`: an mteb code (`eng-Latn`, `zho-Hans`) or two letters (`en`, `zh`)."""
    return Analyzer(language)
