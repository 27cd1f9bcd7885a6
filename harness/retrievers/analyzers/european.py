"""Light stemmers for German and the Romance languages, and the Turkish lower case.

Source of the stemmers: J. Savoy, "Report on CLEF-2001 Experiments", 2001 (Spanish, Italian), and
"Light Stemming Approaches for the French, Portuguese, German and Hungarian Languages", 2006, as
Lucene 9 runs them. Each takes and returns a word in lower case.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .filters import lower

__all__ = ["french", "german", "italian", "lower_turkish", "portuguese", "spanish", "undo_umlauts"]


class _Rule(NamedTuple):
    length: int
    suffix: str
    new: str


def _rules(text: str) -> list[_Rule]:
    """`length:suffix:new` rules: in a word of that length or more, the suffix gives way to the new ending."""
    parts = (rule.split(":") for rule in text.split())
    return [_Rule(int(length), suffix, new) for length, suffix, new in parts]


def _first(rules: list[_Rule], word: str) -> str | None:
    """`word` after the first rule that fits it; None where none does."""
    for length, suffix, new in rules:
        if len(word) >= length and word.endswith(suffix):
            return word[: -len(suffix)] + new
    return None


_UMLAUTS = str.maketrans("äöü", "aou")
_GERMAN_ACCENTS = str.maketrans("äàáâöòóôïìíîüùúû", "aaaaooooiiiiuuuu")
_SILENT_E = re.compile("(?<=[ao])e|(?<=[^aeiouqyäöü]u)e|(?<=^u)e")
_GERMAN_1 = _rules("6:ern: 5:em: 5:en: 5:er: 5:es: 4:e:")
_GERMAN_2 = _rules("6:est: 5:er: 5:en:")
_GERMAN_S = re.compile("(?<=..[bdfghklmnt])s$")
_GERMAN_ST = re.compile("(?<=..[bdfghklmnt])st$")


def undo_umlauts(word: str) -> str:
    """ä and ae → a, likewise o; ue → u unless a vowel or q stands before it; ß → ss (GermanNormalizationFilter)."""
    return _SILENT_E.sub("", word).translate(_UMLAUTS).replace("ß", "ss")


def german(word: str) -> str:
    """Light stemmer: endings of number, case and comparison, and accents."""
    word = word.translate(_GERMAN_ACCENTS)
    stripped = _first(_GERMAN_1, word)
    word = _GERMAN_S.sub("", word) if stripped is None else stripped
    stripped = _first(_GERMAN_2, word)
    return _GERMAN_ST.sub("", word) if stripped is None else stripped


_VOWEL_ACCENTS = str.maketrans("àáâäòóôöèéêëùúûüìíîï", "aaaaooooeeeeuuuuiiii")
_SPANISH = _rules("5:o: 5:a: 5:e: 5:eses:es 5:ces:z 5:os: 5:as: 5:es:")
_ITALIAN = _rules("6:ie: 6:he: 6:e: 6:hi: 6:ii: 6:i: 6:ia: 6:a: 6:io: 6:o:")


def spanish(word: str) -> str:
    """Light stemmer: endings of gender and number, and accents, in words of five letters or more."""
    if len(word) < 5:
        return word
    word = word.translate(_VOWEL_ACCENTS)
    return _first(_SPANISH, word) or word


def italian(word: str) -> str:
    """Light stemmer: endings of gender and number, and accents, in words of six letters or more."""
    if len(word) < 6:
        return word
    word = word.translate(_VOWEL_ACCENTS)
    return _first(_ITALIAN, word) or word


_PORTUGUESE_ACCENTS = _VOWEL_ACCENTS | str.maketrans("ãõç", "aoc")
_PORTUGUESE_SUFFIXES = _rules(
    "5:res:r 5:ses:s 5:les:l 5:zes:z 4:ns:m 5:eis:el 5:éis:el 5:ais:al 5:óis:ol 5:is:il 4:ões:ão 4:ães:ão 7:mente: 4:s:"
)
_PORTUGUESE_FEMININE = _rules(
    "8:inha:inho 8:iaca:iaco 8:eira:eiro 7:osa:oso 7:ica:ico 7:ida:ido 7:ada:ado 7:iva:ivo 7:ama:amo "
    "7:ona:ão 7:ora:or 7:esa:ês 7:na:no"
)


def portuguese(word: str) -> str:
    """Light stemmer: plural, adverb, feminine, last vowel, and accents, in words of four letters or more."""
    if len(word) < 4:
        return word
    word = _first(_PORTUGUESE_SUFFIXES, word) or word
    word = _first(_PORTUGUESE_FEMININE, word) or word
    if len(word) > 4 and word.endswith(("e", "a", "o")):
        word = word[:-1]
    return word.translate(_PORTUGUESE_ACCENTS)


_FRENCH_ACCENTS = str.maketrans("àáâôèéêùûîç", "aaaoeeeuuic")
_FRENCH_SUFFIXES = _rules(
    "10:issement:ir 9:issant:ir 7:ement:e 12:ficatrice:fier 11:ficateur:fier 10:catrice:quer 9:cateur:quer "
    "9:atrice:er 8:ateur:er 7:trice:teur+ 6:ième: 8:teuse:ter 7:teur:ter 6:euse:eu 9:ère:er 8:ive:if 5:folle:fou "
    "5:molle:mou 10:nnelle:n 10:nnel:n 5:ète:et+ 9:ique:+ 9:esse:e 8:inage:in 10:isation: 10:isateur: 9:ation: 9:ition:"
)
"""The first that fits is the last; + lets the rules after it apply to what it made."""
_FRENCH_NEXT = {"ement": _rules("4:ive:if"), "isation": _rules("6:ual:uel")}
_FRENCH_END = re.compile("e?e?r?$")
_REPEATED = re.compile(r"([^\W\d_])\1+")


def french(word: str) -> str:
    """Light stemmer: plural, the endings of derived words, accents, doubled letters and last vowels."""
    word = _without_suffix(_singular(word))
    if len(word) > 4:
        word = _REPEATED.sub(r"\1", word.translate(_FRENCH_ACCENTS))
    if len(word) > 4 and word.endswith("ie"):
        word = word[:-2]
    if len(word) > 4:
        word = _FRENCH_END.sub("", word, count=1)
        if word[-1] == word[-2] and word[-1].isalpha():
            word = word[:-1]
    return word


def _singular(word: str) -> str:
    if len(word) > 5 and word.endswith("x"):
        word = word[:-2] + "l" if word.endswith("aux") and word[-4] != "e" else word[:-1]
    if len(word) > 3 and word.endswith("x"):
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _without_suffix(word: str) -> str:
    for length, suffix, new in _FRENCH_SUFFIXES:
        if len(word) >= length and word.endswith(suffix):
            word = word[: -len(suffix)] + new.rstrip("+")
            if not new.endswith("+"):
                return _first(_FRENCH_NEXT.get(suffix, []), word) or word
    return word


_DOTTED_I = re.compile("I\u0307+")


def lower_turkish(word: str) -> str:
    """Lower case in which I becomes ı, and İ, also where its dot is a mark of its own, becomes i."""
    return lower(_DOTTED_I.sub("i", word).replace("I", "ı"))
