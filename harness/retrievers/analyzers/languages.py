"""Which analyzer each language has, as Anserini chooses among Lucene's, and what each is made of.

Anserini takes what `AnalyzerMap` names, white space alone for Hausa, Somali, Swahili and Yoruba
(`IndexCollection`), and the English analyzer for every language that it does not know.

Where ours differ: Korean and Japanese are cut in pairs, since their words take a dictionary, and Thai
in threes where the package with one is not installed (`segmenters`); Polish and Ukrainian, for the
same reason, have no analyzer; Romanian, which Anserini does not know, has Lucene's own analyzer and
writes ş and ţ as ș and ț first; Vietnamese is words in lower case; Finnish and the Scandinavian languages have the stems of Snowball 3 where
Lucene has those of Snowball 2 (rare words only).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import HarnessError, did_you_mean
from .. import ANALYZERS_VERSION
from . import arabic, european, indic, indonesian, porter
from .filters import (
    ascii_digits,
    before_apostrophe,
    cjk_terms,
    lower,
    stop_words,
    thai_terms,
    without_article,
    without_possessive,
)
from .segmenters import SEGMENTERS, chinese_words, japanese_words, thai_words
from .standard import between_spaces, split, tokenize, whole

__all__ = ["Chain", "chain", "chosen", "code", "tag"]

Step = Callable[[str], str | None]
_REMEMBERED = 1 << 17


@dataclass(frozen=True)
class Chain:
    """An analyzer: where the tokens come from, and the steps that each goes through.

    A step that returns None drops its token; an empty string is a term like any other, as in Lucene.
    """

    name: str
    steps: tuple[Step, ...]
    tokens: Callable[[str], list[str]] = tokenize
    pieces: Callable[[str], list[str]] = split
    """A text in pieces that no token crosses: what is remembered piece by piece."""
    snowball: bool = False
    known: bool = True
    segmenter: str = ""

    @property
    def version(self) -> str:
        """Changes with our rules, and with Snowball's or a segmenter's where they take part.

        Raises HarnessError where the segmenter's package is not installed.
        """
        if self.segmenter:
            found = SEGMENTERS[self.segmenter]
            return f"{ANALYZERS_VERSION}, {found.package} {found.needed()}"
        if not self.snowball:
            return ANALYZERS_VERSION
        import Stemmer

        return f"{ANALYZERS_VERSION}, Snowball {Stemmer.version()}"

    def analyze(self, text: str) -> list[str]:
        """The terms of `text`, in order."""
        tokens = self.tokens(text)
        # A word that stands alone is remembered with its piece, by the caller.
        terms = map(self._term if tokens == [text] else self._remembered, tokens)
        return [term for term in terms if term is not None]

    @functools.cached_property
    def _remembered(self) -> Callable[[str], str | None]:
        """As `_term`: a word stands in many pieces, with one sign or another beside it."""
        return functools.lru_cache(_REMEMBERED)(self._term)

    def _term(self, token: str) -> str | None:
        for step in self.steps:
            changed = step(token)
            if changed is None:
                return None
            token = changed
        return token


def _stop(name: str) -> Step:
    return lambda term: None if term in stop_words(name) else term


def _article(articles: str) -> Step:
    listed = frozenset(articles.split())
    return lambda term: without_article(term, listed)


@functools.cache
def _loaded(algorithm: str) -> Callable[[str], str]:
    import Stemmer

    stem: Callable[[str], str] = Stemmer.Stemmer(algorithm).stemWord
    return stem


def _stem(algorithm: str) -> Step:
    """Snowball's stemmer, loaded when the first word comes."""
    return lambda term: _loaded(algorithm)(term)  # noqa: PLW0108 - it would load at once


def _snowball(name: str, stop: str, algorithm: str) -> Chain:
    return Chain(name, (lower, _stop(stop), _stem(algorithm)), snowball=True)


def _indic(name: str, stop: str, normalize: Step, stem: Step) -> Chain:
    return Chain(name, (lower, ascii_digits, indic.compose, normalize, _stop(stop), stem))


_DUTCH = {"fiets": "fiets", "bromfiets": "bromfiets", "ei": "eier", "kind": "kinder"}
"""Stems that Lucene gives to words which Snowball would confuse with others."""


def _dutch(term: str) -> str:
    return _DUTCH.get(term) or _loaded("dutch_porter")(term)


_CEDILLAS = str.maketrans("şţ", "șț")


def _romanian(term: str) -> str:
    return term.translate(_CEDILLAS)


_CJK = Chain("CJKAnalyzer", (), cjk_terms)
_ENGLISH = Chain("EnglishAnalyzer", (without_possessive, lower, _stop("english"), porter.stem))
_STANDARD = Chain("StandardTokenizer, lower case", (lower,))
_THREES = Chain("Thai letters in threes", (), thai_terms)
_WHITESPACE = Chain("WhitespaceAnalyzer", (), between_spaces, whole)
_UNKNOWN = Chain("StandardTokenizer, lower case", (lower,), known=False)

_CHAINS = {
    "ar": Chain("ArabicAnalyzer", (lower, ascii_digits, _stop("ar"), arabic.normalize_arabic, arabic.stem_arabic)),
    "bn": _indic("BengaliAnalyzer", "bn", indic.normalize_bengali, indic.stem_bengali),
    "da": _snowball("DanishAnalyzer", "da", "danish"),
    "de": Chain("GermanAnalyzer", (lower, _stop("de"), european.undo_umlauts, european.german)),
    # Anserini knows no analyzer for Greek and takes the English one; so its published figures are these.
    "el": _ENGLISH,
    "en": _ENGLISH,
    "es": Chain("SpanishAnalyzer", (lower, _stop("es"), european.spanish)),
    "fa": Chain(
        "PersianAnalyzer",
        (lower, ascii_digits, arabic.normalize_arabic, arabic.normalize_persian, _stop("fa")),
        lambda text: tokenize(text.replace("\u200c", " ")),
    ),
    "fi": _snowball("FinnishAnalyzer", "fi", "finnish"),
    "fr": Chain(
        "FrenchAnalyzer",
        (_article("l m t qu n s j d c jusqu quoiqu lorsqu puisqu"), lower, _stop("fr"), european.french),
    ),
    "hi": _indic("HindiAnalyzer", "hi", indic.normalize_hindi, indic.stem_hindi),
    "hu": _snowball("HungarianAnalyzer", "hu", "hungarian"),
    "id": Chain("IndonesianAnalyzer", (lower, _stop("id"), indonesian.stem)),
    "it": Chain(
        "ItalianAnalyzer",
        (
            _article("c l all dall dell nell sull coll pell gl agl dagl degl negl sugl un m t s v d"),
            lower,
            _stop("it"),
            european.italian,
        ),
    ),
    "ha": _WHITESPACE,
    "ja": _CJK,
    "ko": _CJK,
    "nl": Chain("DutchAnalyzer", (lower, _stop("nl"), _dutch), snowball=True),
    "no": _snowball("NorwegianAnalyzer", "no", "norwegian"),
    "pt": Chain("PortugueseAnalyzer", (lower, _stop("pt"), european.portuguese)),
    "ro": Chain(
        "RomanianAnalyzer",
        (lower, _romanian, _stop("ro"), _stem("romanian")),
        snowball=True,
    ),
    # White space alone, case kept, for these four: Anserini's figures for MIRACL and CIRAL are so.
    "so": _WHITESPACE,
    "ru": _snowball("RussianAnalyzer", "ru", "russian"),
    "sv": _snowball("SwedishAnalyzer", "sv", "swedish"),
    "sw": _WHITESPACE,
    # Lucene's chain has no lower case here: Telugu letters have none, and Latin words stay as they are.
    "te": Chain(
        "TeluguAnalyzer",
        (ascii_digits, indic.compose, indic.normalize_telugu, _stop("te"), indic.stem_telugu),
    ),
    "th": _THREES,
    "tr": Chain(
        "TurkishAnalyzer",
        (before_apostrophe, european.lower_turkish, _stop("tr"), _stem("turkish")),
        snowball=True,
    ),
    "vi": _STANDARD,
    "yo": _WHITESPACE,
    "zh": _CJK,
}

_CHOICES = {
    "janome": (("ja",), Chain("janome, then as JapaneseAnalyzer", (), japanese_words, segmenter="janome")),
    "jieba": (("zh",), Chain("jieba, for search", (), chinese_words, segmenter="jieba")),
    "newmm": (("th",), Chain("newmm, then as ThaiAnalyzer", (), thai_words, segmenter="newmm")),
    "threes": (("th",), _THREES),
    "whitespace": (("ha", "so", "sw", "yo"), _WHITESPACE),
    "words": (("ha", "so", "sw", "yo"), _STANDARD),
}
"""What may take the place of the analyzers of these languages, by the name that `--retriever-set analyzer=` takes."""

_PRIVATE = "-x-"
"""A language whose analyzer is chosen is written with the choice as BCP 47's private subtag: `zh-x-jieba`."""

_ISO_639_3 = {
    "ar": "ara arb",
    "bn": "ben",
    "da": "dan",
    "de": "deu",
    "el": "ell",
    "en": "eng",
    "es": "spa",
    "fa": "fas pes prs",
    "fi": "fin",
    "fr": "fra",
    "ha": "hau",
    "hi": "hin",
    "hu": "hun",
    "id": "ind",
    "it": "ita",
    "ja": "jpn",
    "ko": "kor",
    "nl": "nld",
    "no": "nor nob nno nb nn",
    "pt": "por",
    "ro": "ron",
    "ru": "rus",
    "so": "som",
    "sv": "swe",
    "sw": "swa swh",
    "te": "tel",
    "th": "tha",
    "tr": "tur",
    "vi": "vie",
    "yo": "yor",
    "zh": "zho cmn yue",
}
_TWO_LETTERS = {other: two for two, others in _ISO_639_3.items() for other in others.split()}


def code(language: str) -> str:
    """The two letters for `language` (`zho-Hans`, `zh-CN`, `zh` → `zh`); where there are none, its first part."""
    first = language.replace("_", "-").split("-")[0].lower()
    return _TWO_LETTERS.get(first, first)


def chosen(language: str, analyzer: str) -> str:
    """`language` with the analyzer that is to take its own one's place, if that is one for it (`zh-x-jieba`).

    Raises HarnessError for a name that is no choice, and where its package is not installed.
    """
    if analyzer not in _CHOICES:
        raise HarnessError(
            f'there is no analyzer "{analyzer}"; beside each language\'s own there are {", ".join(sorted(_CHOICES))}.'
            f"{did_you_mean(analyzer, _CHOICES)}"
        )
    of_languages, found = _CHOICES[analyzer]
    if found.segmenter:
        SEGMENTERS[found.segmenter].needed()
    short = code(language)
    return f"{short}{_PRIVATE}{analyzer}" if short in of_languages else language


def tag(language: str) -> str:
    """The analyzer's one name for `language`: two letters, and the choice where there is one.

    Thai is cut by `newmm` where its package is installed.
    """
    short, _, choice = code(language), *language.partition(_PRIVATE)[1:]
    if not choice and short == "th" and SEGMENTERS["newmm"].version() is not None:
        choice = "newmm"
    return f"{short}{_PRIVATE}{choice}" if choice else short


def chain(tag: str) -> Chain:
    """The analyzer that a tag names; words in lower case where there is none."""
    language, _, choice = tag.partition(_PRIVATE)
    return _CHOICES[choice][1] if choice else _CHAINS.get(language, _UNKNOWN)
