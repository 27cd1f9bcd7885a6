"""The prompts of listwise rerankers: several passages, numbered, in one conversation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...files.yaml_file import read_yaml
from ...types import DocumentText

__all__ = ["ListTemplate", "first_words", "passage_text", "read_list_templates"]

# Scripts written without spaces: Thai and Lao, Burmese, Khmer, kana, Han.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")


@dataclass(frozen=True)
class ListTemplate:
    """What is said before, with and after the passages; see listwise.yaml."""

    system: str
    opening: str
    acknowledged: str
    passage: str
    received: str
    closing: str

    def messages(self, query: str, passages: Sequence[str]) -> list[dict[str, str]]:
        """The conversation that asks for an order of `passages`, as {"role", "content"}.

        `[3]` in the query is written `(3)`, as it is in passages, so that only identifiers look like one.
        """
        words = {"query": _without_identifiers(query), "count": len(passages)}
        turns = [("system", self.system), ("user", self.opening.format(**words)), ("assistant", self.acknowledged)]
        for number, passage in enumerate(passages, 1):
            turns.append(("user", self.passage.format(number=number, passage=passage)))
            turns.append(("assistant", self.received.format(number=number)))
        turns.append(("user", self.closing.format(**words)))
        messages: list[dict[str, str]] = []
        for role, content in turns:
            if messages and messages[-1]["role"] == role:
                messages[-1]["content"] += content
            elif content:
                messages.append({"role": role, "content": content})
        return messages


def read_list_templates() -> dict[str, ListTemplate]:
    """The templates by name, from listwise.yaml."""
    table = read_yaml(Path(__file__).with_name("listwise.yaml"))
    return {name: ListTemplate(**entry) for name, entry in table.items()}


def passage_text(document: DocumentText) -> str:
    """A document as RankGPT and RankLLM show it: `Title: … Content: …` where there is a title."""
    text = f"Title: {document.title} Content: {document.text}" if document.title else document.text
    return _without_identifiers(" ".join(text.split()))


def first_words(text: str, count: int) -> str:
    """The first `count` words. In scripts without spaces a character is a word: else nothing would be cut."""
    for number, word in enumerate(_WORD.finditer(text), 1):
        if number == count:
            return text[: word.end()]
    return text


def _without_identifiers(text: str) -> str:
    return re.sub(r"\[(\d+)\]", r"(\1)", text)
