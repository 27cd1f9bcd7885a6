"""RankLLaMA's input: query and document in one string, scored at the end-of-sequence token.

`query: {query} document: {title} {text}` gets the tokenizer's leading special tokens, is cut on the
right to max_length − 1 ids, and ends in the end-of-sequence id, whose hidden state the classifier
sees. Source: Ma et al., arXiv 2310.08319; Tevatron 2, `reranker/dataset.py` and `collator.py` with
`--append_eos_token`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...engine.fast import knows_decoder
from ...engine.options import Options
from ...errors import HarnessError
from ...models.ids.flat import FlatIds
from ...models.source import ModelSource
from ...models.tokenization import Tokenizer, with_encodings
from ...text import join_document, join_query
from ...types import DocumentText, QueryText
from ..prompts.truncation import Taken
from .grouped import GroupedPairs
from .labels import Labels
from .pair_classifier import PairClassifier

__all__ = ["SingleStringClassifier", "SingleStrings"]


class SingleStringClassifier(PairClassifier):
    """A sequence classifier over one string, pooled at the last token."""

    pairs = False

    def __init__(self, source: ModelSource, options: Options, max_length: int, labels: Labels) -> None:
        super().__init__(source, options, max_length, labels)
        self.tokenizer.backend.no_truncation()
        self.end = _end_id(source, self.tokenizer)
        around_nothing = self.tokenizer.backend.encode("").ids
        self._refuse_no_room(len(around_nothing) + (around_nothing[-1:] != [self.end]))

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> SingleStrings:
        whole = np.zeros(len(pairs), np.int64)
        taken = Taken.nothing(len(pairs))

        def texts() -> Iterator[tuple[str, int]]:
            for query, document in pairs.tolist():
                before = f"query: {join_query(queries[query])} document: "
                yield f"{before}{join_document(documents[document])}".strip(), len(before)

        def rows() -> Iterator[NDArray[np.int32]]:
            strings = with_encodings(self.tokenizer.backend, texts(), specials=True)
            for row, ((text, begin), entry) in enumerate(strings):
                whole[row] = len(entry.ids) + (entry.ids[-1:] != [self.end])
                ids = self._close(entry.ids)
                if len(ids) < whole[row]:
                    kept = np.arange(len(entry.ids)) < self.max_length - 1
                    taken.see(row, np.array(entry.offsets, np.int64), kept, (begin, len(text)))
                yield ids

        ids = FlatIds.of(rows())
        return SingleStrings(self, ids, pairs, ids.counts, whole - ids.counts, taken)

    def _close(self, ids: list[int]) -> NDArray[np.int32]:
        """The ids cut to max_length, the last of them the end: once, also where the tokenizer adds it itself."""
        kept = ids[:-1] if ids[-1:] == [self.end] else ids
        return np.array([*kept[: self.max_length - 1], self.end], np.int32)

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logit itself, as the authors publish it."""
        return margins


@dataclass
class SingleStrings(GroupedPairs):
    """The pairs of one request, each as its ids."""

    model: SingleStringClassifier
    ids: FlatIds
    pairs: NDArray[np.int64]
    lengths: NDArray[np.int64]
    lost: NDArray[np.int64]
    taken: Taken
    also: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def packs(self) -> bool:
        return knows_decoder(self.model.source.config)

    @property
    def queries(self) -> NDArray[np.int64]:
        return self.pairs[:, 0]

    def row_ids(self, row: int) -> NDArray[np.int32]:
        return self.ids[row]

    def token_ids(self, row: int) -> list[int]:
        """The ids that the model gets for one pair."""
        found: list[int] = self.ids[row].tolist()
        return found

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        ids = [self.token_ids(row) for row in rows]
        return self.model.margins(ids, [[0] * len(row) for row in ids], self.sharing_of(rows))


def _end_id(source: ModelSource, tokenizer: Tokenizer) -> int:
    stated = source.tokenizer_config.get("eos_token")
    token = stated.get("content") if isinstance(stated, dict) else stated
    found = tokenizer.backend.token_to_id(token) if token else source.config.get("eos_token_id")
    if not isinstance(found, int):
        raise HarnessError(
            f"{source.name} names no eos_token that its tokenizer knows; the template rankllama ends every input with it"
        )
    return found
