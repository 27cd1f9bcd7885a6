"""A model behind an OpenAI-compatible endpoint as a judge: pairs → grades, each kept by content as scores are.

A request is one pair: POST {url}/chat/completions with `model`, `messages` (one of the user's), `temperature` 0 and
`max_tokens`. What was judged once under the same prompt, model, address and settings is never asked again, so a run that
was cut off goes on. An answer without exactly one grade is no grade: it is told with its pair, and nothing is kept of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ..engine.store import ScoreStore, document_digest, query_digest
from ..errors import HarnessError
from ..files.digest import digest_of_settings
from ..rerankers.services.transport import Patience, Poster, Service, StoppedError
from ..types import DocumentText, QueryText
from .prompt import JudgePrompt

__all__ = ["Judge", "Unreadable", "ask_all"]

_AT_ONCE = 8
"""Answers that are kept together: so many are asked again after a kill, at most."""


@dataclass(frozen=True)
class Judge:
    """Whom is asked, and how."""

    prompt: JudgePrompt
    model: str
    url: str
    key_variable: str = "OPENAI_API_KEY"
    max_tokens: int = 512
    parallel: int = 4
    more: tuple[tuple[str, Any], ...] = ()
    """Fields of the request beside these, or instead of one of them; None leaves a field out."""
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise HarnessError(f"--url {self.url}: an address as https://api.openai.com/v1 is needed")

    @property
    def settings(self) -> dict[str, Any]:
        """All that could move an answer: what a layer says of its judge."""
        return {
            "prompt": f"{self.prompt.name} {self.prompt.version}",
            "prompt_digest": self.prompt.digest,
            "model": self.model,
            "url": self.url.rstrip("/"),
            "temperature": 0,
            "max_tokens": self.max_tokens,
            **({"request": dict(self.more)} if self.more else {}),
        }

    def request(self, query: QueryText, document: DocumentText) -> dict[str, Any]:
        """What is posted about a pair."""
        message = {"role": "user", "content": self.prompt.ask(query, document)}
        fields = {"model": self.model, "messages": [message], "temperature": 0, "max_tokens": self.max_tokens}
        return {key: value for key, value in {**fields, **dict(self.more)}.items() if value is not None}

    @property
    def fingerprint(self) -> str:
        """32 hex digits: what its grades are kept under."""
        return digest_of_settings([("family", "judge"), *sorted(self.settings.items())])

    def poster(self) -> Poster:
        """The connection. A key is sent where its variable is set; a server of one's own may need none."""
        key = os.environ.get(self.key_variable) or None
        name = f"{self.model} at {urlsplit(self.url).netloc}"
        return Poster(Service(name, f"{self.url.rstrip('/')}/chat/completions", self.key_variable), key, self.patience)


@dataclass(frozen=True)
class Unreadable:
    """A pair whose answer gives no grade: its place among those that were asked, what was said, and why it is none."""

    place: int
    answer: str
    reason: str


def ask_all(
    judge: Judge, pairs: Sequence[tuple[QueryText, DocumentText]], cache: Path, say: Callable[[str], None]
) -> tuple[list[int | None], list[Unreadable], int]:
    """The grade of each pair, None where the answer gives none; those answers; and how many were asked now.

    Raises HarnessError where the server cannot be had; what was judged before is kept.
    """
    queries, documents = [query_digest(query) for query, _ in pairs], [document_digest(each) for _, each in pairs]
    places = np.arange(len(pairs)).repeat(2).reshape(-1, 2)
    with ScoreStore(cache / "scores.sqlite", report=say) as store:
        kept = store.known(judge.fingerprint, queries, documents, places)
        grades: list[int | None] = [None if np.isnan(grade) else int(grade) for grade in kept]
        # A pair that stands twice is asked about once.
        first: dict[tuple[bytes, bytes], int] = {}
        for place in np.flatnonzero(np.isnan(kept)).tolist():
            first.setdefault((queries[place], documents[place]), place)
        todo, unreadable, asked = list(first.values()), [], 0
        with ThreadPoolExecutor(judge.parallel) as threads:
            for start in range(0, len(todo), _AT_ONCE):
                part = todo[start : start + _AT_ONCE]
                answers = list(threads.map(_asking(judge), [pairs[place] for place in part]))
                good = [(place, said) for place, said in zip(part, answers, strict=True) if isinstance(said, int)]
                rows = np.array([place for place, _ in good], np.int64)
                scores = np.array([grade for _, grade in good], np.float32)
                store.add(judge.fingerprint, queries, documents, places[rows], scores)
                if failed := [said for said in answers if isinstance(said, HarnessError)]:
                    raise failed[0]
                asked += len(part)
                unreadable += [
                    Unreadable(place, *said)
                    for place, said in zip(part, answers, strict=True)
                    if isinstance(said, tuple)
                ]
        found = {(queries[place], documents[place]): place for place in todo}
        if todo:
            kept = store.known(judge.fingerprint, queries, documents, places)
            grades = [None if np.isnan(grade) else int(grade) for grade in kept]
        unreadable = [
            Unreadable(place, each.answer, each.reason)
            for each in unreadable
            for place in range(len(pairs))
            if found.get((queries[place], documents[place])) == each.place
        ]
    return grades, unreadable, asked


_Outcome = int | tuple[str, str] | HarnessError | None
"""A grade; an answer without one, and why it is none; what the server cannot do; None where that ended it for others."""


def _asking(judge: Judge) -> Callable[[tuple[QueryText, DocumentText]], _Outcome]:
    poster, stop = judge.poster(), Event()

    def ask(pair: tuple[QueryText, DocumentText]) -> _Outcome:
        try:
            value = poster.post(judge.request(*pair), stop).value
        except StoppedError:
            return None
        except HarnessError as error:
            stop.set()
            return error
        said, cut = _said(value)
        text = said if isinstance(said, str) else ""
        if cut:
            return text, f"it was cut at {judge.max_tokens} tokens (--max-tokens)"
        try:
            return judge.prompt.grade_of(said)
        except ValueError as reason:
            return text, str(reason)

    return ask


def _said(value: Any) -> tuple[object, bool]:
    """The text of an answer, and whether it was cut short; (None, False) where it has no such form."""
    try:
        choice = value["choices"][0]
        return choice["message"]["content"], choice.get("finish_reason") == "length"
    except (TypeError, KeyError, IndexError, AttributeError):
        return None, False
