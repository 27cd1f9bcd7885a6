"""Arabic and Persian: spellings made one, and the light stemmer for Arabic.

Source: L. Larkey, L. Ballesteros and M. Connell, "Improving Stemming for Arabic Information
Retrieval", SIGIR 2002 (light10), as Lucene 9 runs it.
"""

from __future__ import annotations

__all__ = ["normalize_arabic", "normalize_persian", "stem_arabic"]

_HARAKAT_AND_TATWEEL = "\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0640"
_ARABIC = str.maketrans("\u0622\u0623\u0625\u0649\u0629", "\u0627\u0627\u0627\u064a\u0647", _HARAKAT_AND_TATWEEL)
_PERSIAN = str.maketrans("\u06cc\u06d2\u06a9\u06c0\u06c1", "\u064a\u064a\u0643\u0647\u0647", "\u0654")

_PREFIXES = ("ال", "وال", "بال", "كال", "فال", "لل", "و")
_SUFFIXES = ("ها", "ان", "ات", "ون", "ين", "يه", "ه", "ي")


def normalize_arabic(word: str) -> str:
    """Bare alef for its forms with hamza or madda, yeh for dotless yeh, heh for teh marbuta; no vowel marks."""
    return word.translate(_ARABIC)


def normalize_persian(word: str) -> str:
    """The Arabic yeh, kaf and heh for their Persian forms; no hamza above."""
    return word.translate(_PERSIAN)


def stem_arabic(word: str) -> str:
    """`word`, normalized, without article, conjunction or preposition before it and without endings."""
    for prefix in _PREFIXES:
        if word.startswith(prefix) and len(word) >= max(len(prefix) + 2, 4):
            word = word[len(prefix) :]
            break
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) >= len(suffix) + 2:
            word = word[: -len(suffix)]
    return word
