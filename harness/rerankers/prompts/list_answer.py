"""Reading the order that a listwise reranker writes, however it dresses it up, and saying how well it was written.

A ranking is `[2] > [1] > [3]`, with or without brackets; where an answer has none of that form, a numbered list
(`1. Passage 3 2. Passage 1`) or a line of identifiers alone. Numbers in prose are never one. Of several rankings the
last that names every passage counts, else the last. Passages named by letters (`[B] > [A]`) are read in the same way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["ListAnswer", "inside_thinking", "is_thinking_mark", "read_answer"]

Kind = Literal["complete", "partial", "malformed", "empty"]

_OPEN = re.compile(r"<(?:think|thinking|thought|reasoning)>|\[THINK\]", re.IGNORECASE)
_CLOSE = re.compile(r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]", re.IGNORECASE)
_SIGNS = str.maketrans({**dict(zip("［］【】〔〕", "[][][]", strict=True)), **dict.fromkeys("＞≻→≥", ">"), "＝": "="})
_NAME = r"(?:(?<![A-Za-z])(?:passage|document|doc|text|id|段落|文档|文章)[\s_#]*)?"
# A number that is a part of a word, or of a decimal, names no passage.
_ELEMENT = re.compile(
    rf"{_NAME}\[\s*{_NAME}#?(?P<bracketed>-?[0-9]+)\s*\]|(?<![A-Za-z0-9_-])(?<![0-9]\.){_NAME}(?P<plain>[0-9]+)(?![A-Za-z0-9_]|\.[0-9])",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\((?!\s*[0-9]+\s*\))[^()]{0,200}\)")
_ABOVE = re.compile(r"[\s*_`'\")\]]*(?:-+>|[>=]+)[\s*_`'\"(]*")
_ITEM = re.compile(
    rf"(?<![A-Za-z0-9_.])(?P<place>[0-9]+)\s*[.)][ \t]*[*_`'\"]*(?:{_NAME}\[\s*{_NAME}(?P<bracketed>[0-9]+)\s*\]"
    rf"|(?P<name>{_NAME})(?P<plain>[0-9]+)(?![A-Za-z0-9_]|\.[0-9])(?P<rest>\s*(?:$|\n|[,;:.*_`'\"–—-]|[0-9]+\s*[.)])?))",
    re.IGNORECASE,
)
# A letter names a passage in brackets, beside a sign, after the word for a passage or an item's number, or on its own line;
# anywhere else it is a word (`A good passage`).
_LETTER = re.compile(
    rf"\[\s*{_NAME}(?P<bracketed>[A-Z])\s*\]|(?<=[>=])(?P<after>[\s*_`'\"(]*)(?P<second>[A-Z])(?![A-Za-z0-9_])"
    rf"|(?<![A-Za-z0-9_])(?P<first>[A-Z])(?=[\s*_`'\")]*[>=])"
    rf"|(?P<word>(?<![A-Za-z])(?:passage|document|doc)[\s_#]+)(?P<named>[A-Z])(?![A-Za-z0-9_])"
    rf"|(?P<item>(?m:^)\s*[0-9]+\s*[.)]\s*)(?P<listed>[A-Z])(?=\s*(?:$|\n|[,;:]))",
    re.IGNORECASE,
)
_MARKS = re.compile(r"[\s\[\](){}*_`'\",;.、，=-]*")


@dataclass(frozen=True)
class ListAnswer:
    """The order that an answer gives, and whether it had to be mended."""

    order: list[int]
    """All places 0 … count − 1, best first; what the answer leaves out follows in its present order."""
    kind: Kind
    """`complete`; `partial`, some passages not named; `malformed`, no ranking to be read, or one that names a passage
    twice or one that is not there; `empty`, nothing written, or nothing but thoughts."""


def read_answer(text: str, count: int, *, cut: bool = False, letters: bool = False, extraction: str = "") -> ListAnswer:
    """The order of `count` passages that `text` writes, thoughts aside.

    `cut`: the model was stopped while it wrote. `letters`: passages are named A, B, … `extraction`: an expression whose
    one group holds the ranking. Its last match is read; where it has none after the thoughts, the last in them; and
    where it has none at all, the whole answer, which is then malformed.
    """
    said, found = _extracted(text, extraction)
    read = _read(_plain(said), count, cut=cut, letters=letters)
    return read if found or read.kind == "empty" else ListAnswer(read.order, "malformed")


def _extracted(text: str, extraction: str) -> tuple[str, bool]:
    """What is to be read of an answer, and whether it stands where the extraction says."""
    said = _after_thinking(text)
    if not extraction:
        return said, True
    for where in (said, text):
        if matches := list(re.finditer(extraction, where, re.DOTALL | re.IGNORECASE)):
            return matches[-1][1] or "", True
    return said, False


def _read(said: str, count: int, *, cut: bool, letters: bool) -> ListAnswer:
    if not said.strip():
        return ListAnswer(list(range(count)), "empty" if count > 1 else "complete")
    if letters:
        said = _numbered(said)
    elif cut and (last := re.search(r"\[?\s*[0-9]+\Z", said)):
        said = said[: last.start()]  # half a number may be another one
    named = next((found for read in (_chains, _items, _lines) if (found := _chosen(read(said), count))), [])
    known = [number - 1 for number in named if 1 <= number <= count]
    order = [*dict.fromkeys(known), *(place for place in range(count) if place + 1 not in named)]
    if not known or len(set(known)) < len(named):
        return ListAnswer(order, "malformed")
    return ListAnswer(order, "complete" if len(known) == count else "partial")


def inside_thinking(prompt: str) -> bool:
    """Whether `prompt` ends in a thought that it opens for the model: what is written first is then no answer."""
    return bool(_OPEN.search(_CLOSE.split(prompt)[-1]))


def is_thinking_mark(token: str) -> bool:
    """Whether a token opens or closes a thought."""
    return bool(_OPEN.fullmatch(token) or _CLOSE.fullmatch(token))


def _after_thinking(text: str) -> str:
    """What follows the last thought, up to one that is never closed."""
    return _OPEN.split(_CLOSE.split(text)[-1])[0]


def _plain(text: str) -> str:
    """Brackets and signs in their ASCII forms and without Markdown's backslash, digits of any script (`３`, `③`, `⑫`) as 0 … 9."""
    text = re.sub(r"\\(?=[\[\]>_*])", "", text.translate(_SIGNS).replace("&gt;", ">"))
    return "".join(map(_plain_sign, text))


def _plain_sign(sign: str) -> str:
    if sign.isascii():
        return sign
    value = unicodedata.numeric(sign, None) if unicodedata.category(sign) in ("Nd", "No") else None
    return sign if value is None or value != int(value) else str(int(value))


def _numbered(text: str) -> str:
    """Letters that name passages as their numbers, in brackets. Numbers name none there, and are left out of rankings."""
    text = re.sub(r"\[\s*[0-9]+\s*\]|[0-9]+(?=\s*[>=])|(?<=[>=])\s*[0-9]+", " ", text)
    return _LETTER.sub(_number_of_letter, text)


def _number_of_letter(found: re.Match[str]) -> str:
    letter = next(found[name] for name in ("bracketed", "second", "first", "named", "listed") if found[name])
    before = found["after"] or found["word"] or found["item"] or ""
    return f"{before}[{ord(letter.upper()) - ord('A') + 1}]"


_Ranking = list[int]
"""Passages by their numbers from 1, as an answer names them."""


def _chosen(rankings: Sequence[_Ranking], count: int) -> _Ranking:
    """The last complete ranking, else the last that names a passage that is there; empty where there is none."""
    complete = [ranking for ranking in rankings if set(range(1, count + 1)) <= set(ranking)]
    naming = [ranking for ranking in rankings if any(1 <= number <= count for number in ranking)]
    return (complete or naming or [[]])[-1]


def _number(digits: str) -> int:
    # A number of thousands of digits is out of range too, and int() would refuse it.
    return int(digits) if len(digits) < 10 else -1


def _chains(text: str) -> list[_Ranking]:
    """`[2] > [1] > [3]`; where any chain has brackets those without are prose (`5 > 3`)."""
    text = _ASIDE.sub(" ", text)
    chains: list[list[re.Match[str]]] = []
    end = 0
    for found in _ELEMENT.finditer(text):
        if not (chains and _ABOVE.fullmatch(text[end : found.start()])):
            chains.append([])
        chains[-1].append(found)
        end = found.end()
    chains = [chain for chain in chains if len(chain) > 1 or re.match(r"[\s*_`'\"]*>", text[chain[-1].end() :])]
    bracketed = [chain for chain in chains if chain[0]["bracketed"]]
    return [_numbers(chain) for chain in bracketed or chains]


def _items(text: str) -> list[_Ranking]:
    """`1. Passage 3 2. Passage 1`: items that count from 1."""
    rankings: list[_Ranking] = []
    place, start = 0, 0
    while found := _ITEM.search(text, start):
        start = found.end("plain") if found["plain"] else found.end()
        if not (found["bracketed"] or found["name"] or found["rest"] is not None):
            continue  # a numbered sentence that begins with a number
        position = _number(found["place"])
        if position == 1:
            rankings.append([])
        elif not rankings or position != place + 1:
            continue
        place = position
        rankings[-1].append(_number(found["bracketed"] or found["plain"]))
    return [ranking for ranking in rankings if len(ranking) > 1]


def _lines(text: str) -> list[_Ranking]:
    """Lines of nothing but identifiers, after a colon if there is one; those that follow each other are one ranking."""
    rankings: list[_Ranking] = [[]]
    whole = True
    for line in text.splitlines():
        if not line.strip():
            continue
        head, colon, rest = line.rpartition(":")
        found = list(_ELEMENT.finditer(rest))
        alone = bool(found) and bool(_MARKS.fullmatch(_ELEMENT.sub("", rest))) and not re.search(r"[0-9]", head)
        if not alone or colon:
            rankings.append([])
        if alone:
            rankings[-1] += _numbers(found)
        whole = whole and alone
    rankings = [ranking for ranking in rankings if ranking]
    # `Best: [2]` and `Worst: [1]` below each other are no two rankings of one passage each.
    alone = whole and len(rankings) == 1
    return [ranking for ranking in rankings if len(ranking) > 1 or alone]


def _numbers(found: Sequence[re.Match[str]]) -> _Ranking:
    return [_number(element["bracketed"] or element["plain"]) for element in found]
