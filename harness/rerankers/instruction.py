"""`--set instruction=…`: a sentence for every query that brings no instruction of its own.

It goes where the family puts an instruction: to the place that a template has for it, else joined to
the query. `card` is the sentence of each data set's card (`prompt`), as the authors of Qwen3-Reranker,
mxbai v2 and others evaluate; a name of `NAMED` is a sentence that others run models with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..engine.options import Options
from ..errors import HarnessError
from ..types import DocumentText, QueryText
from .base import Reranker

__all__ = ["CARD", "NAMED", "instructed", "without_instruction"]

CARD = "card"
NAMED = {"mteb": "Given the user query, retrieval the relevant passages"}
"""mteb 2.26's sentence for Qwen3-Reranker on data without instructions, in its own spelling."""
_KEY = "instruction"
_APART = frozenset({"bi-encoder", "remote"})
"""Families that take a sentence in a way of their own, or none."""


def without_instruction(family: str, options: Options) -> tuple[str | None, Options]:
    """The instruction that is asked for (None: none), and the options that are left for the family."""
    given = dict(options.settings)
    if family in _APART or _KEY not in given:
        return None, options
    text = given.pop(_KEY).strip()
    if not text:
        raise HarnessError(
            f'--set instruction=: write the sentence, "{CARD}" for that of each task\'s card, or {_named()}'
        )
    return text, replace(options, settings=tuple(given.items()))


def instructed(reranker: Reranker, asked: str) -> Reranker:
    """The reranker with the instruction that is asked for; with `card` it is bound to each task's."""
    if asked != CARD:
        return _given(reranker, NAMED.get(asked, asked))
    waiting = _given(reranker, CARD)
    return replace(waiting, loader=_no_card, bind=lambda prompt: _given(reranker, _of_card(prompt)))


def _given(reranker: Reranker, text: str) -> Reranker:
    settings = dict(reranker.spec.settings) | {_KEY: text}
    spec = replace(reranker.spec, settings=tuple(sorted(settings.items())))
    return replace(
        reranker,
        spec=spec,
        loader=lambda: _wrapped(reranker.load(), text),
        separate=lambda: _wrapped((reranker.separate or reranker.loader)(), text),
    )


def _of_card(prompt: str) -> str:
    if not prompt:
        raise HarnessError(f"--set instruction={CARD}: the card of this data set has no prompt; write one in its place")
    return prompt


def _no_card() -> Any:
    raise HarnessError(
        f"--set instruction={CARD} takes the sentence of a task's card, and there is no task here: write it"
    )


def _named() -> str:
    return " or ".join(f'"{name}" for "{text}"' for name, text in NAMED.items())


def _wrapped(model: Any, text: str) -> Any:
    return (_Pairs if hasattr(model, "prepare") else _Lists)(model, text)


class _Instructed:
    """A loaded model whose queries get the instruction; all else is the model's own."""

    def __init__(self, model: Any, text: str) -> None:
        self._model, self._text = model, text

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def _query(self, query: QueryText) -> QueryText:
        return query if query.instruction else query._replace(instruction=self._text)


class _Pairs(_Instructed):
    def prepare(self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: Any) -> Any:
        return self._model.prepare([self._query(query) for query in queries], documents, pairs)


class _Lists(_Instructed):
    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> Any:
        return self._model.score_list(self._query(query), documents)
