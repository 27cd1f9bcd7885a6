"""The token filters that several of Lucene's analyzers share."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from importlib import resources
from operator import add

from .standard import runs, tokenize

__all__ = [
    "ascii_digits",
    "before_apostrophe",
    "cjk_terms",
    "fold_width",
    "lower",
    "stop_words",
    "thai_terms",
    "without_article",
    "without_possessive",
]

_APOSTROPHES = ("'", "\u2019", "\uff07")
_APOSTROPHE = re.compile("['\u2019]")
_FULL_OR_HALF = re.compile("[\uff01-\uff9f]")
_THAI = re.compile("[\u0e01-\u0e46][\u0e31\u0e33-\u0e3a\u0e47-\u0e4e]*")
_DIGIT = re.compile(r"[^\D0-9]")


def lower(token: str) -> str:
    """Lower case character by character, as Java does it: no final sigma, and İ is i without its dot."""
    return token.lower() if token.isascii() else token.replace("\u0130", "i").replace("\u03a3", "\u03c3").lower()


@functools.cache
def stop_words(name: str) -> frozenset[str]:
    """The words of `data/stop_<name>.txt`: the list that Lucene 9's analyzer of that language uses."""
    return frozenset((resources.files(__package__) / "data" / f"stop_{name}.txt").read_text("utf-8").splitlines())


def without_possessive(token: str) -> str:
    """`token` without the 's that English puts to an owner."""
    return token[:-2] if token[-1:] in ("s", "S") and token[-2:-1] in _APOSTROPHES else token


def without_article(token: str, articles: frozenset[str]) -> str:
    """`token` without one of `articles` and the apostrophe that joins them (ElisionFilter)."""
    found = _APOSTROPHE.search(token)
    return token[found.end() :] if found and token[: found.start()].lower() in articles else token


def before_apostrophe(token: str) -> str:
    """`token` up to its first apostrophe: Turkish puts one between a name and its endings."""
    found = _APOSTROPHE.search(token)
    return token[: found.start()] if found else token


def ascii_digits(token: str) -> str:
    """`token` with the decimal digits of every script as 0 to 9."""
    return token if token.isascii() else _DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), token)


@functools.cache
def _widths() -> dict[int, str]:
    """Full-width ASCII → ASCII, half-width Katakana → Katakana."""
    characters = [*range(0xFF01, 0xFF5F), *range(0xFF65, 0xFFA0)]
    return {character: unicodedata.normalize("NFKC", chr(character)) for character in characters}


def fold_width(token: str) -> str:
    """ASCII for full-width ASCII, Katakana for half-width Katakana, a voice mark joined to its letter."""
    if not _FULL_OR_HALF.search(token):
        return token
    folded = ""
    for before in token:
        character = before.translate(_widths())
        if before in "\uff9e\uff9f" and "\u30a1" <= folded[-1:] <= "\u30fe":
            folded = folded[:-1] + unicodedata.normalize("NFC", folded[-1] + character)
        else:
            folded += character
    return folded


def cjk_terms(text: str) -> list[str]:
    """Lucene's CJKAnalyzer: width folded, lower case, Chinese, Japanese and Korean letters in overlapping pairs.

    A run of one letter stays as it is. Tokens in other letters pass whole unless they are stop words
    and, like any gap, end a run.
    """
    terms: list[str] = []
    stop = stop_words("cjk")
    run, end = "", -1
    for token, start, paired in runs(text):
        if run and (start != end or not paired):
            terms += _pairs(run)
            run = ""
        folded = lower(fold_width(token))
        if paired:
            run += folded
        elif folded not in stop:
            terms.append(folded)
        end = start + len(token)
    return [*terms, *_pairs(run)] if run else terms


def _pairs(run: str) -> Iterable[str]:
    return map(add, run, run[1:]) if len(run) > 1 else (run,)


def thai_terms(text: str) -> list[str]:
    """Tokens, those in Thai letters as overlapping triples of letters with their marks.

    Thai puts no spaces between words. Lucene's ThaiAnalyzer cuts them by the dictionary of the Java
    platform, which no library offers; triples need none, and find as much as words do (`segmenters`).
    """
    terms: list[str] = []
    for token in tokenize(text):
        letters = _THAI.findall(token)
        if letters:
            terms += ("".join(letters[start : start + 3]) for start in range(max(len(letters) - 2, 1)))
        else:
            terms.append(ascii_digits(lower(token)))
    return terms
