"""Text → terms, as Lucene 9's analyzers do it, one for each language as Anserini chooses them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from . import languages
from .languages import chosen

__all__ = ["Analyzer", "analyzer", "chosen"]

_MEMORY = 1 << 20
_LONGEST_REMEMBERED = 32


_Term = TypeVar("_Term", str, int)


class _Memo(dict[str, tuple[_Term, ...]]):
    """Pieces of text → their terms, worked out at the first look-up."""

    def __init__(self, analyze: Callable[[str], Iterable[_Term]]) -> None:
        super().__init__()
        self._analyze: Callable[[str], Iterable[_Term]] = analyze

    def __missing__(self, piece: str) -> tuple[_Term, ...]:
        terms = tuple(self._analyze(piece))
        if len(piece) <= _LONGEST_REMEMBERED:
            if len(self) >= _MEMORY:
                self.clear()
            self[piece] = terms
        return terms


class Analyzer:
    """Text → the terms that are indexed or searched for, in order, repetitions kept.

    `name` says which of Lucene's analyzers it is and `version` changes when its output does: both
    are parts of the key of whatever is made with it. `language` is the two-letter code. `known` is
    False where the language has no analyzer and gets its words in lower case, no more.
    """

    def __init__(self, tag: str) -> None:
        chain = languages.chain(tag)
        self.language = languages.code(tag)
        self.name = chain.name
        self.version = chain.version
        self.known = chain.known
        self._pieces = chain.pieces
        self._analyze: Callable[[str], Iterable[str]] = chain.analyze
        self._memo = _Memo(chain.analyze)

    def __call__(self, text: str) -> list[str]:
        return list(itertools.chain.from_iterable(map(self._memo.__getitem__, self._pieces(text))))

    def numbering(self, number: Callable[[str], int]) -> Callable[[str], Iterator[int]]:
        """Text → the number of each of its terms; `number` is asked for every term as it first appears, and seldom again."""
        pieces, memo = self._pieces, _Memo(lambda piece: map(number, self._analyze(piece)))
        return lambda text: itertools.chain.from_iterable(map(memo.__getitem__, pieces(text)))


def analyzer(language: str) -> Analyzer:
    """The analyzer for `language`: an mteb code (`eng-Latn`, `zho-Hans`), two letters (`en`), a choice (`zh-x-jieba`).

    Raises HarnessError where a chosen one's package is not installed.
    """
    return _analyzer(languages.tag(language))


_analyzer = functools.cache(Analyzer)
