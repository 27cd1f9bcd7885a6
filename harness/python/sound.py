"""Options as a program gives them, held to what the flags of the command line take.

There a parser does it. Here a slip would else be another number, and nobody would say so: an unknown word for
`instructions`, a grade of 0 on from which everything is relevant, a string "no" that counts as yes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..errors import HarnessError, did_you_mean

__all__ = ["level", "one_of", "sound", "tolerance"]

_COUNTS = ("limit", "relevance_level", "workers", "batch_tokens")
_CHOICES = {"missing_text": ("error", "skip"), "instructions": ("given", "none"), "fuse_by": ("rrf", "sum")}
_SWITCHES = ("fuse", "condensed", "until_decided", "trust_remote_code", "rehash")
_TEXTS = ("family", "device", "dtype", "language", "split", "ray_address")
_LISTS = ("languages", "measures")


def sound(given: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The options without those that are None, lists of words as lists, where all are among `names`.

    Raises HarnessError for one that there is none of, or a value that its flag would not take.
    """
    for word in given:
        if word not in names:
            raise HarnessError(f'there is no option "{word}".{did_you_mean(word, names)}')
    found = {word: value for word, value in given.items() if value is not None}
    for word, value in found.items():
        if word in _COUNTS and (isinstance(value, bool) or not hasattr(value, "__index__") or value < 1):
            raise HarnessError(f"{word}={value!r} is not a whole number above 0")
        if word in _SWITCHES and not isinstance(value, bool):
            raise HarnessError(f"{word}={value!r} is neither True nor False")
        if word in _TEXTS and not (isinstance(value, str) and value):
            raise HarnessError(f"{word}={value!r} is not a word")
        if word in _CHOICES and value not in _CHOICES[word]:
            raise HarnessError(
                f"{word}={value!r} is none of {', '.join(_CHOICES[word])}.{did_you_mean(str(value), _CHOICES[word])}"
            )
    if "max_drop" in found:
        tolerance(found["max_drop"])
    if "alpha" in found:
        level(found["alpha"])
    counts = {word: int(found[word]) for word in _COUNTS if word in found}  # numpy's numbers are no JSON
    return found | counts | {word: _words(word, found[word]) for word in _LISTS if word in found}


def tolerance(value: Any) -> None:
    """Raises HarnessError for what is no tolerated drop."""
    if not _number(value) or not 0 <= value <= 1:
        raise HarnessError(f"max_drop={value!r} is not a number from 0 to 1")


def level(value: Any) -> None:
    """Raises HarnessError for what is no significance level."""
    if not _number(value) or not 0 < value < 0.5:
        raise HarnessError(f"alpha={value!r} is no significance level: between 0 and 0.5, as 0.05")


def one_of(value: Any, words: Collection[str]) -> str:
    """The word. Raises HarnessError for one that is none of `words`."""
    if value not in words:
        raise HarnessError(f"{value!r} is none of {', '.join(words)}.{did_you_mean(str(value), words)}")
    return str(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _words(word: str, value: Any) -> list[str]:
    """A list of words, also where they are one text with commas, as a flag has them."""
    parts = value.split(",") if isinstance(value, str) else list(value)
    if not parts or not all(isinstance(part, str) and part.strip() for part in parts):
        raise HarnessError(f"{word}={value!r} names nothing: a word, or a list of words")
    return [part.strip() for part in parts]
