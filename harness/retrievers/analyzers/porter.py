"""The original English stemmer: M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980.

With the three departures of its author's own program, which Lucene follows too: `bli` for `abli` and
the new `logi` in step 2, and words of one or two letters left alone. Snowball's `porter` lacks them.
"""

from __future__ import annotations

import re
from collections import defaultdict

__all__ = ["stem"]

_SHAPES = defaultdict(lambda: "c", {ord("y"): "y"} | {ord(vowel): "v" for vowel in "aeiou"})


def _rules(text: str) -> tuple[re.Pattern[str], dict[str, str]]:
    """`suffix:replacement` pairs as the pattern of any of the suffixes (the longest wins) and their replacements."""
    replacements = {suffix: new for suffix, _, new in (rule.partition(":") for rule in text.split())}
    return re.compile(f"(?:{'|'.join(replacements)})$"), replacements


_STEP_2 = _rules(
    "ational:ate tional:tion enci:ence anci:ance izer:ize bli:ble alli:al entli:ent eli:e ousli:ous ization:ize "
    "ation:ate ator:ate alism:al iveness:ive fulness:ful ousness:ous aliti:al iviti:ive biliti:ble logi:log"
)
_STEP_3 = _rules("icate:ic ative: alize:al iciti:ic ical:ic ful: ness:")
_STEP_4 = _rules("al ance ence er ic able ible ant ement ment ent (?<=[st])ion ou ism ate iti ous ive ize")


def stem(word: str) -> str:
    """The stem of `word`, which is in lower case."""
    if len(word) <= 2:
        return word
    word = _participle(_plural(word))
    if word.endswith("y") and "v" in _shape(word[:-1]):
        word = word[:-1] + "i"
    for pattern, replacements in (_STEP_2, _STEP_3):
        found = pattern.search(word)
        if found and _measure(word[: found.start()]) > 0:
            word = word[: found.start()] + replacements[found[0]]
    found = _STEP_4[0].search(word)
    if found and _measure(word[: found.start()]) > 1:
        word = word[: found.start()]
    return _tidied(word)


def _plural(word: str) -> str:
    """Step 1a."""
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _participle(word: str) -> str:
    """Step 1b."""
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    base = word[:-2] if word.endswith("ed") else word[:-3] if word.endswith("ing") else ""
    if not base or "v" not in _shape(base):
        return word
    if base.endswith(("at", "bl", "iz")):
        return base + "e"
    if base[-2:-1] == base[-1] and _shape(base)[-1] == "c":
        return base if base[-1] in "lsz" else base[:-1]
    return base + "e" if _measure(base) == 1 and _is_short(base) else base


def _tidied(word: str) -> str:
    """Step 5: a final e, and one l of two."""
    if word.endswith("e"):
        measure = _measure(word)
        if measure > 1 or (measure == 1 and not _is_short(word[:-1])):
            word = word[:-1]
    return word[:-1] if word.endswith("ll") and _measure(word) > 1 else word


def _shape(word: str) -> str:
    """`v` for each vowel and `c` for each consonant; y is a vowel after a consonant."""
    shape = word.translate(_SHAPES)
    if shape.startswith("y"):
        shape = "c" + shape[1:]
    while "y" in shape:
        shape = shape.replace("cy", "cv").replace("vy", "vc")
    return shape


def _measure(word: str) -> int:
    """How often a consonant follows a vowel: m of [C](VC)^m[V]."""
    return _shape(word).count("vc")


def _is_short(word: str) -> bool:
    """Whether `word` ends consonant, vowel, consonant, the last of them not w, x or y."""
    return _shape(word[-3:] if "y" not in word else word)[-3:] == "cvc" and word[-1] not in "wxy"
