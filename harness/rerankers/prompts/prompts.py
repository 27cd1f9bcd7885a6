"""Prompts of a template in token ids: each part tokenized on its own, joined, cut to fit.

A part that holds one side of a pair is tokenized once for each distinct text; a part that holds both
is tokenized for each pair as one string, because a prompt's ids are not those of its pieces.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import HarnessError
from ...files.digest import Digest
from ...models.ids.flat import FlatIds
from ...models.ids.kept import kept_rows
from ...models.tokenization import Tokenizer, rules_of, uncut, with_encodings
from ...types import DocumentText, QueryText
from .template import SLOTS, Filled, Part, Rule, Template
from .truncation import Taken, only_second

__all__ = ["Prompter", "Prompts"]

DOCUMENT_RANK = SLOTS["title"]
"""The least rank of what comes from the document."""
_FILLERS = ("0", "1 2 3 4")


@dataclass(frozen=True)
class Pieces:
    """A part's ids for each text, and for each id the rank of the slot it comes from (0 for wording)."""

    ids: FlatIds
    ranks: NDArray[np.int8]
    """End to end, as the ids are."""
    whole: NDArray[np.int64]
    """How many ids each text had before anything was cut, shape (texts,)."""
    asking: NDArray[np.int64]
    """How many of these were not the document's: wording, query and instruction."""

    def ranks_of(self, place: int) -> NDArray[np.int8]:
        return self.ranks[self.ids.starts[place] : self.ids.starts[place + 1]]


class Prompter:
    """Builds prompts. `positions` is how many tokens the model takes, None where its files do not say.

    Raises HarnessError where max_length leaves no room beside the template's wording.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: Template, rule: Rule, positions: int | None, bos: int | None
    ) -> None:
        self.tokenizer, self.template, self.rule = tokenizer, template, rule
        before, self.body, after = template.split()
        first, last = self._specials(bos)
        prefix, suffix = self._fixed(before), self._fixed(after)
        self.before, self.after = np.array(prefix + first, np.int32), np.array(last + suffix, np.int32)
        """The fixed ids around the body."""
        frame = len(prefix) + len(suffix)
        most = (positions or sys.maxsize) - frame
        self.max_length = min(rule.max_length, most) if rule.fixed == "free" else rule.max_length
        asked = self.max_length + {"counted": -frame, "free": 0, "added": frame}[rule.fixed]
        self.room = min(asked, most) - len(first) - len(last)
        """How many ids the body may have."""
        self._endings: dict[str, NDArray[np.int32]] = {}
        wording = sum(len(self._ids(template.fixed(part))) for part in self.body) if rule.cut == "document" else 0
        wording = len(self._ending("")) if rule.cut == "before_ending" else wording
        if self.room <= wording:
            raise HarnessError(
                f"max_length={rule.max_length} leaves no room for query and document beside the "
                f"{wording + len(self.before) + len(self.after)} tokens of the template {template.name}"
            )

    def encode(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> Prompts:
        """The prompts of all pairs; `pairs` has shape (n, 2): a query's and a document's index."""
        nothing, nobody = DocumentText("", ""), QueryText("")
        columns = []
        for part in self.body:
            if part.of_query and part.of_document:
                chosen = ((queries[query], documents[document]) for query, document in pairs)
                columns.append(Column(self._pieces(part, chosen, joint=True), np.arange(len(pairs))))
            elif part.of_query:
                columns.append(Column(self._pieces(part, ((query, nothing) for query in queries)), pairs[:, 0]))
            elif part.of_document:
                chosen = ((nobody, document) for document in documents)
                columns.append(Column(self._pieces(part, chosen), pairs[:, 1]))
            else:
                columns.append(Column(self._pieces(part, [(nobody, nothing)]), np.zeros(len(pairs), np.int64)))
        return Prompts(self, columns, pairs[:, 0])

    def fit(
        self, ids: NDArray[np.int32], ranks: NDArray[np.int8], kept: int, instruction: str = ""
    ) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """`kept` of a body's ids, by the rule's cut, and their ranks."""
        if self.rule.cut == "before_ending" and len(ids) >= self.room:
            ending = self._ending(instruction)
            front = kept - len(ending)
            wording = np.zeros(len(ending), np.int8)
            return np.concatenate([ids[:front], ending]), np.concatenate([ranks[:front], wording])
        if len(ids) <= kept:
            return ids, ranks
        if self.rule.cut == "start":
            return ids[len(ids) - kept :], ranks[len(ids) - kept :]
        if self.rule.cut != "document":
            return ids[:kept], ranks[:kept]
        # The highest rank goes first, and within it the last position.
        order = np.lexsort((-np.arange(len(ids)), -ranks.astype(np.int64)))
        dropped = order[: len(ids) - kept]
        if ranks[dropped].min() == 0:
            raise HarnessError(
                f"max_length={self.rule.max_length} cuts the wording of the template {self.template.name}"
            )
        return np.delete(ids, dropped), np.delete(ranks, dropped)

    def kept(self, columns: Sequence[Column]) -> NDArray[np.int64]:
        """How many of each row's body ids are kept."""
        lengths = [column.lengths() for column in columns]
        total: NDArray[np.int64] = np.sum(lengths, axis=0)
        if self.rule.cut != "only_second":
            return np.minimum(total, self.room)
        first, second = only_second(lengths[0], total - lengths[0], self.room)
        return first + second

    def _pieces(self, part: Part, pairs: Iterable[tuple[QueryText, DocumentText]], *, joint: bool = False) -> Pieces:
        filled_parts = (self.template.fill(part, query, document) for query, document in pairs)
        filled_rows = self._joint(filled_parts) if joint else self._apart(filled_parts)
        limit = None if part.limit is None else int(self.max_length * part.limit)
        every_rank, whole, asking = array("b"), array("q"), array("q")

        def rows() -> Iterator[NDArray[np.int32]]:
            for ids, ranks, instruction in filled_rows:
                whole.append(len(ids))
                asking.append(int((ranks < DOCUMENT_RANK).sum()))
                fitting = ids[:limit], ranks[:limit]
                if joint:
                    fitting = self.fit(*fitting, self.room, instruction)
                every_rank.frombytes(fitting[1].tobytes())
                yield fitting[0]

        ids = FlatIds.of(rows())
        return Pieces(ids, np.asarray(every_rank, np.int8), np.asarray(whole, np.int64), np.asarray(asking, np.int64))

    def _joint(self, filled_parts: Iterable[Filled]) -> Iterator[_Ranked]:
        """Of parts that hold both sides, where ranks matter to a body alone that is too long."""
        texts = ((filled.text, filled) for filled in filled_parts)
        for (_, filled), entry in with_encodings(self.tokenizer.backend, texts):
            ids = np.array(entry.ids, np.int32)
            ranks = _ranks(entry, filled) if len(ids) >= self.room else np.zeros(len(ids), np.int8)
            yield ids, ranks, filled.instruction

    def _apart(self, filled_parts: Iterable[Filled]) -> Iterator[_Ranked]:
        """Of parts that hold one side: ids and ranks are kept together, as one row."""
        backend = self.tokenizer.backend

        def fresh(chunk: list[Filled]) -> Iterator[NDArray[np.int32]]:
            texts = ((filled.text, filled) for filled in chunk)
            for (_, filled), entry in with_encodings(backend, texts):
                yield np.array([*entry.ids, *_ranks(entry, filled)], np.int32)

        with uncut(backend):
            rows = kept_rows(filled_parts, lambda: rules_of(backend, "ranks"), fresh, _text_of, _key_of)
            for row in rows:
                ids, ranks = np.split(np.asarray(row, np.int32), 2)
                yield ids, ranks.astype(np.int8), ""

    def _ending(self, instruction: str) -> NDArray[np.int32]:
        """The ids that the body ends with whatever its texts are, found as sentence-transformers finds them."""
        if instruction not in self._endings:
            left, right = (self._filled(filler, instruction) for filler in _FILLERS)
            least = min(len(left), len(right))
            alike = next((n for n in range(least) if left[-1 - n] != right[-1 - n]), least)
            self._endings[instruction] = np.array(left[len(left) - alike :] if alike < least else [], np.int32)
        return self._endings[instruction]

    def _filled(self, text: str, instruction: str) -> list[int]:
        query, document = QueryText(text, instruction), DocumentText("", text)
        return [token for part in self.body for token in self._ids(self.template.fill(part, query, document).text)]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.ids_of_one(text)

    def _fixed(self, parts: Sequence[Part]) -> list[int]:
        return [token for part in parts for token in self._ids(self.template.fixed(part))]

    def _specials(self, bos: int | None) -> tuple[list[int], list[int]]:
        """The special tokens before and after the body."""
        if self.template.specials == "none":
            return [], []
        if self.template.specials == "bos":
            if bos is None:
                raise HarnessError(
                    f"the template {self.template.name} begins with BOS, and config.json has no bos_token_id"
                )
            return [bos], []
        entry = self.tokenizer.backend.encode("a", add_special_tokens=True)
        own = [place for place, special in enumerate(entry.special_tokens_mask) if not special]
        return entry.ids[: own[0]], entry.ids[own[-1] + 1 :]


@dataclass(frozen=True)
class Column:
    """One part's pieces, and which of them each row takes."""

    pieces: Pieces
    rows: NDArray[np.int64]

    def lengths(self) -> NDArray[np.int64]:
        return self.pieces.ids.counts[self.rows]

    def whole(self) -> NDArray[np.int64]:
        return self.pieces.whole[self.rows]


class Prompts:
    """The prompts of one request; a row's ids are joined when they are asked for."""

    def __init__(self, prompter: Prompter, columns: list[Column], queries: NDArray[np.int64]) -> None:
        self._prompter, self._columns = prompter, columns
        self.queries = queries
        """The query's index of each prompt, shape (n,)."""
        self._kept = prompter.kept(columns)
        self.lengths: NDArray[np.int64] = self._kept + len(prompter.before) + len(prompter.after)
        """Tokens of each prompt, shape (n,)."""
        self.lost: NDArray[np.int64] = np.sum([column.whole() for column in columns], axis=0) - self._kept
        """Tokens of each pair that were cut."""

    def ids(self, row: int) -> NDArray[np.int32]:
        """The ids of one prompt."""
        return np.concatenate([self._prompter.before, self._body(row)[0], self._prompter.after])

    @cached_property
    def taken(self) -> Taken:
        """What truncation took from whom."""
        found = Taken.nothing(len(self.lost))
        for row in np.flatnonzero(self.lost > 0):
            _, ranks = self._body(int(row))
            asked = sum(int(column.pieces.asking[column.rows[row]]) for column in self._columns)
            found.without_document[row] = not (ranks >= DOCUMENT_RANK).any()
            found.without_question[row] = (ranks < DOCUMENT_RANK).sum() < asked
        return found

    def _body(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        ids = np.concatenate([column.pieces.ids[column.rows[row]] for column in self._columns])
        ranks = np.concatenate([column.pieces.ranks_of(column.rows[row]) for column in self._columns])
        # A part that holds both sides was cut when it was tokenized.
        return (ids, ranks) if len(self._columns) == 1 else self._prompter.fit(ids, ranks, int(self._kept[row]))


_Ranked = tuple[NDArray[np.int32], NDArray[np.int8], str]
"""A text's ids, the rank of each, and its instruction where a cut may need it."""


def _text_of(filled: Filled) -> str:
    return filled.text


def _key_of(filled: Filled) -> bytes:
    """16 bytes: a digest of a text and of where its slots stand."""
    return Digest().add(filled.text, *(",".join(map(str, span)) for span in filled.spans)).bytes()


def _ranks(entry: Any, filled: Filled) -> NDArray[np.int8]:
    """For each token the rank of the slot it lies in wholly, else 0: a token over an edge is wording."""
    offsets = np.array(entry.offsets, np.int64).reshape(-1, 2)
    ranks = np.zeros(len(offsets), np.int8)
    for start, end, rank in filled.spans:
        ranks[(offsets[:, 0] >= start) & (offsets[:, 1] <= end) & (offsets[:, 1] > offsets[:, 0])] = rank
    return ranks
