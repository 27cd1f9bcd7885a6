r"""Lucene's StandardTokenizer: the word breaks of UAX #29 as Lucene 9 reads them.

Letters, digits, Katakana and connectors join into words; each Han and each Hiragana character is a
token; a run of South East Asian letters is one token; so is an emoji sequence; everything else is
dropped. A token ends after 255 UTF-16 units.

Sources: Unicode Standard Annex #29 (word boundaries) and Unicode Technical Standard #51 (emoji
sequences). Lucene 9 knows Unicode 12.1, so `data/word_break.txt` holds that version's classes: a
newer Unicode, which `\p{Word_Break=…}` of a regex library follows, cuts other words.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Iterator
from importlib import resources

__all__ = ["MAX_TOKEN_LENGTH", "between_spaces", "runs", "split", "tokenize", "whole"]

MAX_TOKEN_LENGTH = 255
"""In UTF-16 units, as Java counts characters."""

_NARROW_NO_BREAK_SPACE = "\u202f"
_SIGNS = string.punctuation.replace("_", "")

_CLASSES = {
    "letter": ("ALetter", "EmojiLetter", "Hangul"),
    "mark": ("Extend", "ComplexExtend", "ZWJ", "Keycap", "Tag", "CancelTag", "EmojiModifier"),
    "selector": ("TextSelector", "EmojiSelector"),
    "mid_letter": ("MidLetter", "MidNumLet", "SingleQuote"),
    "mid_number": ("MidNum", "MidNumLet", "SingleQuote"),
    "picture": ("Emoji", "EmojiLetter"),
    "complex": ("ComplexContext", "ComplexExtend"),
}
"""Unions of classes, and the names the rules use for them."""

_RULES = {
    # WB4: marks, format characters and joiners belong to what they follow.
    "X": "[<mark><selector>]*+",
    "Marks": "[<mark>]*+",
    "Letter": "[<letter>]<X>",
    "Hebrew": "[<HebrewLetter>]<X>",
    "Number": "[<Numeric>]<X>",
    "Kana": "[<Katakana>]<X>",
    "Connector": "(?:[<ExtendNumLet>]<X>)",
    "MiddleOfWord": "[<mid_letter>]<X>",
    "MiddleOfNumber": "[<mid_number>]<X>",
    "Single": "[<SingleQuote>]<X>",
    "Double": "[<DoubleQuote>]<X>",
    # The longest match takes an acronym whole (a Hebrew letter, then a single quote, or a double quote
    # and another letter), so its first letter must not end the word before it.
    "Acronym": "<Hebrew>(?:<Single>|<Double><Hebrew>)",
    "Plain": "(?:<Letter>|(?!<Acronym>)<Hebrew>)",
    "Letters": "<Plain>(?:<Connector>*+<Plain>|<MiddleOfWord>(?:<Letter>|<Hebrew>))*+",
    "Numbers": "<Number>(?:(?:<Connector>*+|<MiddleOfNumber>)<Number>)*+",
    "Kanas": "<Kana>(?:<Connector>*+<Kana>)*+",
    "Core": "(?:<Kanas>|(?:<Acronym>|<Numbers>|<Letters>)++)",
    "Word": "<Connector>*+<Core>(?:<Connector>++<Core>)*+<Connector>*+",
    "Picture": "[<picture>]<Marks>[<EmojiSelector>]?",
    "Tone": "[<EmojiModifier>]<Marks>",
    "Faces": "(?:<Tone>|[<ZWJ>]*+<Picture>)(?:[<ZWJ>]*+(?<=[<ZWJ>])(?:<Tone>|<Picture>))*+",
    "Keycaps": "[<KeycapSign>][<mark>]*[<EmojiSelector>]?[<Keycap>]<Marks>",
    "Emoji": "<Faces>|<Keycaps>|(?:[<RegionalIndicator>]<X>){2}",
    "Asian": "(?:[<complex>]<X>)++",
    # A run of connectors without a word is passed over at once: a line of underscores must not be
    # tried again from each of its characters.
    "Other": "(?P<word><Word>)|(?P<whole><Emoji>|<Asian>)|[<ExtendNumLet>]++",
    "Token": "(?P<ideographs>[<Han><Hiragana>]<X>)|<Other>",
    "Run": "(?P<ideographs>(?:[<Han><Hiragana>]++<X>)++)|<Other>",
    "OneScript": "(?:[<Hangul>]<X>)++|(?:<Kana>)++",
}
"""The grammar. `<Name>` stands for another rule, or inside brackets for the characters of a class."""


@functools.cache
def _characters() -> dict[str, str]:
    """Class → its ranges, as they stand between the brackets of a pattern."""
    ranges = {}
    for line in (resources.files(__package__) / "data" / "word_break.txt").read_text("ascii").splitlines():
        name, *spans = line.split()
        ends = [[f"\\U{int(end, 16):08X}" for end in span.split("-")] for span in spans]
        ranges[name] = "".join("-".join(span) for span in ends)
    return ranges | {name: "".join(map(ranges.__getitem__, parts)) for name, parts in _CLASSES.items()}


@functools.cache
def _expanded(name: str) -> str:
    if name not in _RULES:
        return _characters()[name]
    return re.sub(r"(?<!\?P)<(\w+)>", lambda found: _expanded(found[1]), _RULES[name])


@functools.cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(_expanded(name))


def split(text: str) -> list[str]:
    """`text` in pieces no token crosses: cut at white space, except at the one space that joins words."""
    return [text] if _NARROW_NO_BREAK_SPACE in text else text.split()


def whole(text: str) -> list[str]:
    """`text` in one piece, for tokens that are cut in another way."""
    return [text]


_JAVA_SPACES = re.compile("[\t-\r\x1c-\x20\u1680\u2000-\u2006\u2008-\u200a\u2028\u2029\u205f\u3000]+")
"""What Java's Character.isWhitespace calls so: the spaces that do not join words, and neither NEL nor NBSP."""


def between_spaces(text: str) -> list[str]:
    """The tokens of Lucene's WhitespaceTokenizer: whatever stands between white space, cut after 255 UTF-16 units."""
    return [piece for word in _JAVA_SPACES.split(text) if word for piece in _cut(word)]


def _cut(word: str) -> Iterator[str]:
    if len(word) * 2 <= MAX_TOKEN_LENGTH:
        yield word
        return
    start = units = 0
    for place, character in enumerate(word, 1):
        units += _units(character)
        if units >= MAX_TOKEN_LENGTH:  # a pair of units that begins below the limit is still taken
            yield word[start:place]
            start, units = place, 0
    if start < len(word):
        yield word[start:]


def tokenize(text: str) -> list[str]:
    """The tokens of `text`, in order."""
    if text.isascii():
        # Most words: nothing but a letter, a digit or a connector joins what stands beside these signs.
        word = text.strip(_SIGNS)
        if (word.isalnum() or not word) and len(word) <= MAX_TOKEN_LENGTH:
            return [word] if word else []
    return [match[0] for match in _matches("Token", text)]


def runs(text: str) -> Iterator[tuple[str, int, bool]]:
    """The tokens of `text`, but Han and Hiragana that stand together in one: (run or token, start, which).

    The last is True for Han, Hiragana, Katakana and Hangul, False for every other token.
    """
    one_script = _pattern("OneScript")
    for match in _matches("Run", text):
        yield match[0], match.start(), match.lastgroup == "ideographs" or bool(one_script.fullmatch(match[0]))


def _matches(rule: str, text: str) -> list[re.Match[str]]:
    found = [match for match in _pattern(rule).finditer(text) if match.lastgroup]
    if len(text) > MAX_TOKEN_LENGTH // 2 and any(
        match.lastgroup != "ideographs" and _units(match[0]) > MAX_TOKEN_LENGTH for match in found
    ):
        return list(_matches_in_windows(rule, text))
    return found


def _matches_in_windows(rule: str, text: str) -> Iterator[re.Match[str]]:
    """As `_matches` where a token is too long: each match sees no further than the 255th unit from its start."""
    pattern, start = _pattern(rule), 0
    while start < len(text):
        end = start + len(_window(text[start : start + MAX_TOKEN_LENGTH]))
        match = pattern.match(text, start, end)
        if match and match.lastgroup:
            yield match
            start = match.end()
        else:
            start += 1


def _window(text: str) -> str:
    while _units(text) > MAX_TOKEN_LENGTH:
        text = text[:-1]
    return text


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)
