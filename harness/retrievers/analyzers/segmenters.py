"""Words of the languages that are written without spaces, by the dictionaries of optional packages.

`jieba` cuts Chinese as its own analyzer for search engines does (jieba.analyse.ChineseAnalyzer: words,
and the words inside long ones); `janome` cuts Japanese with the IPADIC dictionary that Lucene's
JapaneseAnalyzer has, and what follows the cut is that analyzer's: base forms, particles and signs left
out by part of speech, stop words, width, long vowels at the end. `newmm` is pythainlp's longest match
over a dictionary, kept to character clusters; what follows is Lucene's ThaiAnalyzer.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from ...errors import HarnessError
from .filters import ascii_digits, fold_width, lower, stop_words
from .standard import runs, tokenize

__all__ = ["SEGMENTERS", "Segmenter", "chinese_words", "japanese_words", "thai_words"]


class Segmenter(NamedTuple):
    """A way of cutting one language into words; `extra` is what `pip install` calls it here."""

    name: str
    language: str
    package: str
    extra: str

    def version(self) -> str | None:
        """The package's version; None where it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None

    def needed(self) -> str:
        """As `version`. Raises HarnessError where the package is not installed."""
        found = self.version()
        if found is None:
            raise HarnessError(
                f"the analyzer {self.name} needs the package {self.package}: pip install 'rerank-harness[{self.extra}]'"
            )
        return found


SEGMENTERS = {
    found.name: found
    for found in (
        Segmenter("jieba", "zh", "jieba", "zh"),
        Segmenter("janome", "ja", "janome", "ja"),
        Segmenter("newmm", "th", "pythainlp", "th"),
    )
}

_HAN = re.compile("[\u2e80-\u2fff\u3005-\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LEFT_OUT = ("接続詞", "助詞", "助動詞", "その他,間投", "フィラー", "非言語音")
"""Parts of speech of IPADIC that are no terms, as in Lucene's stop tags; a member stands for all below it."""
_SIGNS = ("記号,一般", "記号,読点", "記号,句点", "記号,空白", "記号,括弧開", "記号,括弧閉")
_LONG_VOWEL = "\u30fc"
_SHORTEST_STEMMED = 4


@functools.cache
def _jieba() -> Callable[[str], Iterable[str]]:
    import jieba

    jieba.setLogLevel("ERROR")
    cut: Callable[[str], Iterable[str]] = jieba.Tokenizer().cut_for_search
    return cut


@functools.cache
def _janome() -> Callable[[str], Iterable[Any]]:
    from janome.tokenizer import Tokenizer

    cut: Callable[[str], Iterable[Any]] = Tokenizer().tokenize
    return cut


@functools.cache
def _newmm() -> Callable[[str], Iterable[str]]:
    from pythainlp.tokenize import newmm

    cut: Callable[[str], Iterable[str]] = newmm.segment
    return cut


def chinese_words(text: str) -> list[str]:
    """Han as jieba's words for search; every other token as Lucene's CJKAnalyzer has it."""
    terms: list[str] = []
    for token, _, _ in runs(text):
        folded = lower(fold_width(token))
        if _HAN.match(token):
            terms += _jieba()(folded)
        elif folded not in stop_words("cjk"):
            terms.append(folded)
    return terms


def japanese_words(text: str) -> list[str]:
    """The base forms that janome finds, without particles, auxiliaries, signs and stop words."""
    terms: list[str] = []
    for token in _janome()(fold_width(text)):
        speech: str = token.part_of_speech
        if speech.startswith((*_LEFT_OUT, *_SIGNS)) or not any(map(str.isalnum, token.surface)):
            continue
        term: str = token.surface if token.base_form == "*" else token.base_form
        if term not in stop_words("ja"):
            terms.append(lower(_without_long_vowel(term)))
    return terms


def _without_long_vowel(term: str) -> str:
    """Katakana of four letters or more without the long vowel at its end (JapaneseKatakanaStemFilter)."""
    if len(term) < _SHORTEST_STEMMED or term[-1] != _LONG_VOWEL:
        return term
    return term[:-1] if all("\u30a0" <= letter <= "\u30ff" for letter in term) else term


def thai_words(text: str) -> list[str]:
    """Tokens, those in Thai letters cut into words; lower case, ASCII digits, without stop words."""
    terms: list[str] = []
    for token in tokenize(text):
        words = _newmm()(token) if "\u0e00" <= token[0] <= "\u0e7f" else (token,)
        terms += (ascii_digits(lower(word)) for word in words if word.strip())
    return [term for term in terms if term not in stop_words("th")]
