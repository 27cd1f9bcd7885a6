"""The prompts of listwise rerankers as data: several passages with identifiers, in one conversation.

A template is an entry of listwise.yaml, or a YAML file of the user's with the same keys; the head of
listwise.yaml explains each. A word that a template cannot say is an error that names file and key.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from ...errors import HarnessError, did_you_mean
from ...files.digest import digest_of_settings
from ...files.yaml_file import read_yaml
from ...types import DocumentText

__all__ = ["LETTERS", "ListTemplate", "cut_passage", "first_words", "list_template", "read_list_templates"]

LETTERS = string.ascii_uppercase

# Scripts written without spaces: Thai and Lao, Burmese, Khmer, kana, Han.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")

_SLOTS = {
    "prefix": {"query", "count"}, "suffix": {"query", "count"}, "body": {"id", "passage"}, "received": {"id"},
    "title": {"title", "text"}, "frame": {"system", "user"},
}  # fmt: skip
_NEEDED = {"body": {"id", "passage"}, "title": {"title", "text"}, "frame": {"user"}}
_WORDS = {
    "identifiers": ("numeric", "alphabetic"),
    "reads": ("answer", "first-token"),
    "incomplete": ("mended", "ignored"),
    "unit": ("words", "tokens", "characters"),
    "spaces": ("single", "kept"),
    "guard": ("numbers", "letters", "none"),
    "front": ("cut", "whole"),
}
_NUMBERS = ("window", "stride", "max_length", "passage_length", "max_new_tokens")
_GUARDS = {"numbers": re.compile(r"\[(\d+)\]"), "letters": re.compile(r"\[([A-z]+)\]")}


@dataclass(frozen=True)
class ListTemplate:
    """What is said before, with and after the passages, and how the answer is read; see listwise.yaml."""

    name: str
    digest: str
    """32 hex digits over what the file says; comments and layout are no part of it."""
    body: str
    prefix: str = ""
    suffix: str = ""
    system: str = ""
    acknowledged: str = ""
    received: str = ""
    frame: str = ""
    begins: str = ""
    identifiers: str = "numeric"
    reads: str = "answer"
    extraction: str = ""
    incomplete: str = "mended"
    thinking: bool = False
    title: str = "Title: {title} Content: {text}"
    spaces: str = "single"
    guard: str = "numbers"
    unit: str = "words"
    front: str = "cut"
    window: int = 20
    stride: int = 10
    max_length: int = 4096
    passage_length: int | None = 300
    max_new_tokens: int | None = None

    def identifier(self, place: int) -> str:
        """The name of the passage at `place`, from 0: `1`, or `A`."""
        return LETTERS[place] if self.identifiers == "alphabetic" else str(place + 1)

    def order(self, count: int) -> str:
        """An answer that names `count` passages once each."""
        return " > ".join(f"[{self.identifier(place)}]" for place in range(count))

    def messages(self, query: str, passages: Sequence[str]) -> list[dict[str, str]]:
        """The conversation that asks for an order of `passages`, as {"role", "content"}.

        What looks like an identifier in a text (`[3]`) is written `(3)` where `guard` says so.
        """
        words = {"query": self._guarded(query), "count": str(len(passages))}
        turns = [("system", self.system), ("user", _filled(self.prefix, words)), ("assistant", self.acknowledged)]
        for place, passage in enumerate(passages):
            named = {"id": self.identifier(place), "passage": self._guarded(passage)}
            turns.append(("user", _filled(self.body, named)))
            turns.append(("assistant", _filled(self.received, named)))
        turns.append(("user", _filled(self.suffix, words)))
        messages: list[dict[str, str]] = []
        for role, content in turns:
            if content and messages and messages[-1]["role"] == role:
                messages[-1]["content"] += content
            elif content:
                messages.append({"role": role, "content": content})
        return messages

    def framed(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The conversation in the template's own frame, which holds one turn of the user's."""
        said = {role: "".join(each["content"] for each in messages if each["role"] == role) for role in _SLOTS["frame"]}
        return _filled(self.frame, said)

    def passage(self, document: DocumentText) -> str:
        """A document as the prompt shows it, before it is cut."""
        text = _filled(self.title, {"title": document.title, "text": document.text}) if document.title else ""
        text = text or document.text
        return " ".join(text.split()) if self.spaces == "single" else text.strip()

    def _guarded(self, text: str) -> str:
        return text if self.guard == "none" else _GUARDS[self.guard].sub(r"(\1)", text)


@cache
def read_list_templates() -> dict[str, ListTemplate]:
    """The packed templates by name, from listwise.yaml."""
    path = Path(__file__).with_name("listwise.yaml")
    return {name: _Reader(f"{path}: {name}").template(name, entry) for name, entry in read_yaml(path).items()}


def list_template(name: str) -> ListTemplate:
    """The packed template of that name, or the user's own where `name` is a path to a YAML file.

    Raises HarnessError for an unknown name, and naming file and key for anything a template cannot say.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise HarnessError(f"no such template file: {name}")
        return _Reader(str(path)).template(path.stem, read_yaml(path))
    known = read_list_templates()
    if name not in known:
        raise HarnessError(
            f'unknown template "{name}"; packed are: {", ".join(known)}; one of yours is a path ending in .yaml.'
            f"{did_you_mean(name, known)}"
        )
    return known[name]


def first_words(text: str, count: int) -> str:
    """The first `count` words. In scripts without spaces a character is a word: else nothing would be cut."""
    for number, word in enumerate(_WORD.finditer(text), 1):
        if number == count:
            return text[: word.end()]
    return text


def cut_passage(text: str, unit: str, length: int, first_tokens: Callable[[str, int], str]) -> str:
    """The first `length` words, characters or tokens of a passage; `first_tokens` knows the model's tokens."""
    if unit == "words":
        return first_words(text, length)
    return text[:length] if unit == "characters" else first_tokens(text, length)


def _filled(pattern: str, values: Mapping[str, str]) -> str:
    """A text with its slots filled; slots were checked when it was read, so a brace in a value is only a brace."""
    return "".join(
        literal + (values[slot] if slot else "") for literal, slot, _, _ in string.Formatter().parse(pattern)
    )


class _Reader:
    """Reads one template; every complaint names the file and the key."""

    def __init__(self, where: str) -> None:
        self.where = where

    def template(self, name: str, entry: object) -> ListTemplate:
        known = [each.name for each in fields(ListTemplate) if each.name not in ("name", "digest")]
        if not isinstance(entry, dict):
            raise HarnessError(f"{self.where}: a template is written as key: value, with the keys {', '.join(known)}")
        for key, value in entry.items():
            if key not in known:
                raise HarnessError(
                    f'{self.where}: unknown key "{key}"; known: {", ".join(known)}.{did_you_mean(str(key), known)}'
                )
            self._check(str(key), value)
        template = ListTemplate(name=name, digest=digest_of_settings(entry.items()), **{"body": "", **entry})
        self._refuse_nonsense(template)
        return template

    def _check(self, key: str, value: Any) -> None:
        if key in _NUMBERS:
            unlimited = value is None and key in ("passage_length", "max_new_tokens")
            if not unlimited and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise self._error(key, "must be a whole number above 0")
        elif key == "thinking":
            if not isinstance(value, bool):
                raise self._error(key, "must be true or false")
        elif not isinstance(value, str):
            raise self._error(key, "must be a text; true, false and numbers need quotes")
        elif key in _WORDS and value not in _WORDS[key]:
            raise self._error(key, f'is "{value}"; it is one of: {", ".join(_WORDS[key])}')
        elif key in _SLOTS:
            self._check_slots(key, value)
        elif key == "extraction":
            self._check_expression(value)

    def _check_slots(self, key: str, text: str) -> None:
        try:
            pieces = list(string.Formatter().parse(text))
        except ValueError as error:
            raise self._error(key, f"has a brace too many or too few ({error}); a brace itself is {{{{") from None
        for _, slot, form, conversion in pieces:
            if slot is not None and (slot not in _SLOTS[key] or form or conversion):
                known = ", ".join(f"{{{each}}}" for each in sorted(_SLOTS[key]))
                raise self._error(key, f'has the slot "{{{slot}}}"; known here: {known}')

    def _check_expression(self, text: str) -> None:
        try:
            groups = re.compile(text, re.DOTALL).groups
        except re.error as error:
            raise self._error("extraction", f"is no regular expression: {error}") from None
        if groups != 1:
            raise self._error("extraction", "must have one group, which holds the ranking")

    def _refuse_nonsense(self, template: ListTemplate) -> None:
        for key, needed in _NEEDED.items():
            text = getattr(template, key)
            lacks = needed - {slot for _, slot, _, _ in string.Formatter().parse(text)}
            if lacks and (text or key == "body"):
                raise self._error(key, f"must hold {' and '.join(f'{{{slot}}}' for slot in sorted(lacks))}")
        asked = template.prefix + template.suffix
        if "query" not in {slot for _, slot, _, _ in string.Formatter().parse(asked)}:
            raise self._error("prefix", "or suffix must hold {query}: the model would not see the question")
        if template.frame and (template.acknowledged or template.received):
            raise self._error("frame", "holds one turn of the user's: leave out acknowledged and received")
        if template.system and template.frame and "{system}" not in template.frame:
            raise self._error("frame", "must hold {system}: the system message would be lost")

    def _error(self, key: str, what: str) -> HarnessError:
        return HarnessError(f'{self.where}: "{key}" {what}')
