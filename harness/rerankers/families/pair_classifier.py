"""A sequence classifier over pairs that its tokenizer joins: the base of every family of classifiers.

`[CLS] query [SEP] document [SEP]` (or as the tokenizer joins pairs), the longer side cut first, one
logit, or several of which one is scored (see `labels`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine.fast import pack_classifier
from ...engine.fast.sharing import Sharing
from ...engine.options import Options
from ...models.encoders import pad
from ...models.loading import load_weights
from ...models.source import ModelSource, snapshot
from ...models.tokenization import Tokenizer, load_tokenizer
from ...text import join_document, join_query
from ...types import DocumentText, QueryText
from ..base import Prepared, sigmoid
from .labels import Labels

__all__ = ["ClassifierPairs", "PairClassifier"]


class PairClassifier:
    """A loaded tokenizer, and weights that are loaded when the first score is missing."""

    normalize = True
    """Whether `activate` is the sigmoid. It moves no margin, so it is no part of the fingerprint."""

    def __init__(
        self,
        source: ModelSource,
        options: Options,
        max_length: int,
        labels: Labels,
        prefixes: tuple[str, str] = ("", ""),
    ) -> None:
        self.source, self.options = source, options
        self.max_length, self.labels, self.prefixes = max_length, labels, prefixes
        self.folder: Path = snapshot(source)
        self.tokenizer: Tokenizer = load_tokenizer(self.folder, source.config)
        self.tokenizer.backend.enable_truncation(max_length, strategy="longest_first")

    @cached_property
    def model(self) -> Any:
        """The weights: a `fast.packed.PackedEncoder` or `fast.decoder.PackedLastToken`, or the transformers
        model where it has no fast path.

        Raises HarnessError where they do not fit (see `loading.load_weights`).
        """
        model = load_weights(
            "AutoModelForSequenceClassification",
            self.folder,
            self.source.name,
            dtype=self.options.dtype,
            device=self.options.device,
            trust_remote_code=self.options.trust_remote_code,
        )
        return pack_classifier(model) or model

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> Prepared:
        self.tokenizer.backend.no_truncation()
        before_query, before_document = self.prefixes
        left = self.tokenizer.encode_plain([before_query + join_query(query) for query in queries])
        right = self.tokenizer.encode_plain([before_document + join_document(document) for document in documents])
        self.tokenizer.backend.enable_truncation(self.max_length, strategy="longest_first")
        whole = np.array([len(entry.ids) for entry in left], np.int64)[pairs[:, 0]]
        whole += np.array([len(entry.ids) for entry in right], np.int64)[pairs[:, 1]]
        whole += self.tokenizer.specials_in(pair=True)
        lengths = np.minimum(whole, self.max_length)
        return ClassifierPairs(self, left, right, pairs, lengths, whole - lengths)

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The margin, or its sigmoid; with several labels the sigmoid is softmax[label]."""
        return sigmoid(margins) if self.normalize else margins

    def logits(
        self, ids: list[list[int]], types: list[list[int]], sharing: Sharing | None = None
    ) -> NDArray[np.float32]:
        """Raw float32 logits, shape (batch, labels), of rows of token ids; `sharing` is of the same rows."""
        from ...engine.fast.decoder import PackedLastToken
        from ...engine.fast.packed import PackedEncoder

        if isinstance(self.model, PackedLastToken):
            return self.model.logits(ids, sharing)
        kinds = types if self.source.config.get("type_vocab_size", 1) > 1 else None
        if isinstance(self.model, PackedEncoder):
            return self.model.logits(ids, kinds)
        if getattr(self.model.config, "is_encoder_decoder", False) and len(ids) > 1:
            # These pool the last end of sequence, and take no batch whose rows have unlike numbers of them.
            return np.concatenate([self._padded_logits([row], None) for row in ids])
        return self._padded_logits(ids, kinds)

    def _padded_logits(self, ids: list[list[int]], types: list[list[int]] | None) -> NDArray[np.float32]:
        """The logits as transformers computes them, of rows padded on the right."""
        import torch

        device = self.options.device
        pad_id = padding_unlike_ends(ids, self.tokenizer.pad_id, self.model.config)
        for config in (self.model.config, self.model.config.get_text_config()):
            config.pad_token_id = pad_id
        batch, mask = pad(ids, pad_id)
        inputs = {"input_ids": batch.to(device), "attention_mask": mask.to(device)}
        if types is not None:
            inputs["token_type_ids"] = pad(types, 0)[0].to(device)
        with torch.inference_mode():
            found: NDArray[np.float32] = self.model(**inputs).logits.float().cpu().numpy()
        return found

    def margins(
        self, ids: list[list[int]], types: list[list[int]], sharing: Sharing | None = None
    ) -> NDArray[np.float32]:
        """The float32 margin of each row: see `Labels.margins`."""
        return self.labels.margins(self.logits(ids, types, sharing))


def padding_unlike_ends(rows: Sequence[Sequence[int]], usual: int, config: Any) -> int:
    """An id for padding that no row ends in: `usual` where it will do.

    transformers' decoders score the last id of a row that is not the padding id, and its encoder-decoders the last
    end of sequence: padding must look like neither, also where a text ends in the very same id.
    """
    ends = getattr(config, "eos_token_id", None)
    taken = {int(row[-1]) for row in rows if len(row)} | set(ends if isinstance(ends, list) else [ends])
    return int(next(found for found in (usual, *range(len(taken) + 1)) if found not in taken))


@dataclass
class ClassifierPairs:
    """The pairs of one request; ids are joined batch by batch, so memory holds each text once."""

    model: PairClassifier
    left: list[Any]
    right: list[Any]
    pairs: NDArray[np.int64]
    lengths: NDArray[np.int64]
    lost: NDArray[np.int64]
    also: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def encodings(self, rows: NDArray[np.int64]) -> list[Any]:
        """The joined, truncated `tokenizers.Encoding` of each pair."""
        join = self.model.tokenizer.backend.post_process
        return [join(self.left[query], self.right[document], True) for query, document in self.pairs[rows]]

    def token_ids(self, row: int) -> list[int]:
        """The ids that the model gets for one pair."""
        ids: list[int] = self.encodings(np.array([row]))[0].ids
        return ids

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        found = self.encodings(rows)
        return self.model.margins([entry.ids for entry in found], [entry.type_ids for entry in found])
