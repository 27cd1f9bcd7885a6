"""A judge's prompt as data: how a pair is asked about, and how the grade is found in what is answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HarnessError, did_you_mean
from ..files.digest import digest_of_settings
from ..files.yaml_file import read_yaml
from ..text import join_document, join_query
from ..types import DocumentText, QueryText

__all__ = ["UMBRELA", "JudgePrompt", "read_prompt"]

UMBRELA = Path(__file__).with_name("umbrela.yaml")
_KEYS = {"name", "version", "source", "deviations", "grades", "relevant", "prompt", "grade"}
_NEEDED = _KEYS - {"source", "deviations"}
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True)
class JudgePrompt:
    """What is asked of each pair; `grades` says what each grade means, `relevant` from which on a document is."""

    name: str
    version: int
    grades: Mapping[int, str]
    relevant: int
    text: str
    pattern: re.Pattern[str]
    source: str = ""

    @property
    def digest(self) -> str:
        """32 hex digits over all that moves an answer, or how it is read."""
        return digest_of_settings(
            [("text", self._filled("{query}", "{passage}")), ("pattern", self.pattern.pattern), ("version", self.version),
             ("grades", sorted(self.grades))]
        )  # fmt: skip

    def ask(self, query: QueryText, document: DocumentText) -> str:
        """The prompt of a pair, with the texts joined as rerankers get them."""
        return self._filled(join_query(query), join_document(document))

    def _filled(self, query: str, passage: str) -> str:
        meanings = "\n".join(f"{grade} = {meaning}" for grade, meaning in sorted(self.grades.items()))
        places = {"grades": meanings, "query": query, "passage": passage}
        # One pass, so that braces in a text are never taken for places.
        return re.sub(r"\{(grades|query|passage)\}", lambda found: places[found[1]], self.text)

    def grade_of(self, answer: object) -> int:
        """The one grade that an answer gives. Raises ValueError, with the reason, where it gives none or several."""
        if not isinstance(answer, str) or not answer.strip():
            raise ValueError("it is no text")
        said = _THOUGHT.sub("", answer)
        if "<think>" in said:
            raise ValueError("its thought never ends")
        found = set(self.pattern.findall(said))
        if len(found) != 1:
            raise ValueError("it gives no grade" if not found else f"it gives {len(found)} grades")
        (word,) = found
        if not re.fullmatch(r"[0-9]+", word) or int(word) not in self.grades:
            raise ValueError(f'"{word[:20]}" is none of the grades {", ".join(map(str, sorted(self.grades)))}')
        return int(word)


def read_prompt(path: Path = UMBRELA) -> JudgePrompt:
    """The prompt in a YAML file. Raises HarnessError for whatever it gets wrong."""
    entry = read_yaml(path)
    if not isinstance(entry, dict):
        raise HarnessError(f'{path}: expected "key: value" lines')
    for key in entry:
        if key not in _KEYS:
            raise HarnessError(
                f'{path}: unknown key "{key}"; known: {", ".join(sorted(_KEYS))}.{did_you_mean(key, _KEYS)}'
            )
    if lacking := sorted(_NEEDED - entry.keys()):
        raise HarnessError(f"{path} lacks {', '.join(lacking)}")
    return _checked(entry, path)


def _checked(entry: Mapping[str, Any], path: Path) -> JudgePrompt:
    grades, text = entry["grades"], str(entry["prompt"])
    if not isinstance(grades, dict) or not all(isinstance(grade, int) and grade >= 0 for grade in grades):
        raise HarnessError(f"{path}: grades are whole numbers from 0 on, each with its meaning")
    if entry["relevant"] not in grades:
        raise HarnessError(f"{path}: relevant is one of its grades, not {entry['relevant']}")
    if missing := [place for place in ("{query}", "{passage}") if place not in text]:
        raise HarnessError(f"{path}: the prompt has no {' and no '.join(missing)}")
    try:
        pattern = re.compile(str(entry["grade"]), re.IGNORECASE)
    except re.error as error:
        raise HarnessError(f"{path}: grade is no regular expression: {error}") from None
    if pattern.groups != 1:
        raise HarnessError(f"{path}: grade has {pattern.groups} groups, and one is needed, around the grade")
    meanings = {grade: str(meaning) for grade, meaning in grades.items()}
    return JudgePrompt(
        str(entry["name"]),
        int(entry["version"]),
        meanings,
        entry["relevant"],
        text,
        pattern,
        str(entry.get("source", "")),
    )
