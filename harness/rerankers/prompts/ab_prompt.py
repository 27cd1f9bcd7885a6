r"""The input of BGE's language-model rerankers: `A: ` query, `B: ` passage, and a prompt that asks about both.

ids = [bos] + ids("A: " + query)[:3L/4] + ids("\n") + ids("B: " + passage)[:L], cut from the
passage's end, then ids("\n") + ids(prompt); each part is tokenized alone, without special tokens.
Source: FlagEmbedding 1.3.5, and the models' cards, whose rules for the cut differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import HarnessError
from ...models.ids.flat import FlatIds
from ...models.source import ModelSource
from ...models.tokenization import Tokenizer
from ...text import join_document, join_query
from ...types import DocumentText, QueryText
from .truncation import only_second

__all__ = ["SHORTEST", "AbInput", "AbInputs", "AbRule", "AbTemplate", "bos_id"]

CLASS_MAX_LENGTH = 512
"""The default of the authors' classes; the cards, and the tables made with their rule, take 1024."""
SHORTEST = 16
"""The least max_length: it leaves the passage a place beside the longest query."""


@dataclass(frozen=True)
class AbRule:
    """The closing prompt, and how much may stand before it.

    By the `card` rule bos, query, separator and passage fit in `max_length`; by the `class` rule
    (FlagEmbedding's) they may be as much longer as separator and prompt are.
    """

    prompt: str
    max_length: int = CLASS_MAX_LENGTH
    rule: Literal["card", "class"] = "class"

    @classmethod
    def read(cls, chosen: Mapping[str, Any], prompt: str) -> AbRule:
        """The rule of the settings prompt, max_length and rule; `prompt` is the family's own."""
        given = {key: chosen[key] for key in ("prompt", "max_length", "rule") if key in chosen}
        return cls(**{"prompt": prompt, **given})

    @property
    def settings(self) -> dict[str, object]:
        return {"max_length": self.max_length, "prompt": self.prompt, "rule": self.rule}


class AbInput(NamedTuple):
    """The ids of a pair; the passage's own are `ids[start:stop]`."""

    ids: list[int]
    start: int
    stop: int


class AbTemplate:
    """A rule with its tokenizer; `bos` is the id that every input begins with."""

    def __init__(self, tokenizer: Tokenizer, bos: int, rule: AbRule) -> None:
        self.tokenizer, self.bos, self.rule = tokenizer, bos, rule
        self.separator, self.closing = (tokenizer.ids_of_one(text) for text in ("\n", rule.prompt))

    def fill(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> AbInputs:
        """The inputs of all pairs, each distinct text tokenized once; `pairs` has shape (n, 2)."""
        limit = self.rule.max_length
        left = self.tokenizer.encode_ids((f"A: {join_query(query)}" for query in queries), limit * 3 // 4)
        right = self.tokenizer.encode_ids((f"B: {join_document(document)}" for document in documents), limit)
        frame = len(self.separator) + len(self.closing)
        first = left.counts[pairs[:, 0]] + 1
        second = right.counts[pairs[:, 1]] + len(self.separator)
        first, second = only_second(first, second, limit if self.rule.rule == "card" else limit + frame)
        lengths = first + second + frame
        whole = left.whole[pairs[:, 0]] + right.whole[pairs[:, 1]] + 1 + len(self.separator) + frame
        return AbInputs(self, left, right, pairs, lengths, whole - lengths)


@dataclass(frozen=True)
class AbInputs:
    """The inputs of one request; ids are put together when asked for, so memory holds each text once."""

    template: AbTemplate
    left: FlatIds
    right: FlatIds
    pairs: NDArray[np.int64]
    lengths: NDArray[np.int64]
    lost: NDArray[np.int64]

    def __getitem__(self, row: int) -> AbInput:
        template = self.template
        query, document = self.pairs[row]
        ids = [template.bos, *self.left[query].tolist(), *template.separator]
        start = len(ids)
        stop = int(self.lengths[row]) - len(template.separator) - len(template.closing)
        ids += self.right[document][: stop - start].tolist()
        return AbInput(ids + template.separator + template.closing, start, stop)


def bos_id(source: ModelSource, tokenizer: Tokenizer) -> int:
    """The id of the tokenizer's beginning-of-sequence token. Raises HarnessError where the files name none."""
    stated = source.tokenizer_config.get("bos_token")
    token = stated.get("content") if isinstance(stated, dict) else stated
    found = tokenizer.backend.token_to_id(token) if token else source.config.get("bos_token_id")
    if not isinstance(found, int):
        raise HarnessError(f"{source.name} names no bos_token that its tokenizer knows; its inputs begin with one")
    return found
