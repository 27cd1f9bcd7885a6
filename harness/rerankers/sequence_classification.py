"""Sequence classifiers: monoBERT, MiniLM, mxbai v1, jina v2, gte and most rerankers on the hub.

A pair goes in as `[CLS] query [SEP] document [SEP]` (or as the model's tokenizer joins pairs), the
longer side cut first; the score is the raw logit, as sentence-transformers' CrossEncoder computes
it. With two labels the margin is logit 1 − logit 0, whose sigmoid is softmax[1]. `template` says how
query and document become the model's input: as such a pair, or as RankLLaMA reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..encoders import pad
from ..errors import HarnessError
from ..fast import note_of, pack_classifier
from ..fast.sharing import Sharing
from ..loading import load_weights
from ..models import ModelSource, snapshot
from ..options import Options
from ..text import JOIN_RULE, join_document, join_query
from ..tokenization import Tokenizer, load_tokenizer, token_limit
from ..types import DocumentText, QueryText
from .base import Prepared, Reranker, RerankerSpec, sigmoid
from .settings import one_of, read_settings, whole_number, yes_or_no

__all__ = ["FAMILY", "ClassifierPairs", "PairClassifier", "open_family"]

FAMILY = "sequence-classification"
VERSION = 1
_PREFIXES = {"pair": ("", ""), "rankllama-pair": ("query: ", "document: ")}
"""What stands before query and document where the tokenizer joins them; `rankllama-pair` is how the
cards of the first RankLLaMA models call it."""
_LLAMA_LENGTH = 512
"""Tevatron's own limit; the models have positions for far more than they were trained on."""
_READERS = {"max_length": whole_number, "normalize": yes_or_no, "template": one_of(*_PREFIXES, "rankllama")}


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a `…ForSequenceClassification` model.

    Settings: max_length, normalize (sigmoid; without it the model's own choice, see `_normalizes`), template (pair; rankllama: one string that ends in the end-of-sequence
    token, see `single_string`; rankllama-pair: the tokenizer's pair of `query: …` and `document: …`).
    Raises HarnessError for more than two labels, or a max_length the model has no positions for.
    """
    labels = _label_count(source)
    limit = token_limit(source.config, source.tokenizer_config)
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, _READERS)
    template: str = chosen.get("template", "pair")
    usual = limit or 512
    max_length: int = chosen.get("max_length", usual if template == "pair" else min(usual, _LLAMA_LENGTH))
    if limit is not None and max_length > limit:
        raise HarnessError(f"{source.name} takes at most {limit} tokens; max_length={max_length} is more")
    settings = {
        "dtype": options.dtype,
        "join": JOIN_RULE,
        "labels": labels,
        "max_length": max_length,
        "template": template,
        "truncation": "right" if template == "rankllama" else "longest_first",
        "version": VERSION,
    }
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))

    def load() -> PairClassifier:
        if template == "rankllama":
            from .single_string import SingleStringClassifier

            return SingleStringClassifier(source, options, max_length, labels)
        model = PairClassifier(source, options, max_length, labels, _PREFIXES[template])
        model.normalize = chosen.get("normalize", _normalizes(source))
        return model

    return [Reranker(spec, load, note_of(source.config, source.note))]


def _normalizes(source: ModelSource) -> bool:
    """Whether the published score is the sigmoid: sentence-transformers' default, unless config.json says otherwise."""
    stated = (source.config.get("sentence_transformers") or {}).get("activation_fn")
    stated = stated or source.config.get("sbert_ce_default_activation_function") or "Sigmoid"
    return not str(stated).endswith("Identity")


def _label_count(source: ModelSource) -> int:
    config = source.config
    labels = int(config.get("num_labels") or len(config.get("id2label") or {}) or 2)
    if labels > 2:
        raise HarnessError(
            f"{source.name} has {labels} labels: a reranker has one (a logit) or two (no, yes), "
            f"so this is a classifier of another kind"
        )
    return labels


class PairClassifier:
    """A loaded tokenizer, and weights that are loaded when the first score is missing."""

    normalize = True
    """Whether `activate` is the sigmoid. It moves no margin, so it is no part of the fingerprint."""

    def __init__(
        self,
        source: ModelSource,
        options: Options,
        max_length: int,
        labels: int,
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
        # Decoders pool the last token that is not padding: model and batch must mean the same id.
        model.config.pad_token_id = self.tokenizer.pad_id
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
        """The margin, or its sigmoid; with two labels the sigmoid is softmax[1]."""
        return sigmoid(margins) if self.normalize else margins

    def logits(
        self, ids: list[list[int]], types: list[list[int]], sharing: Sharing | None = None
    ) -> NDArray[np.float32]:
        """Raw float32 logits, shape (batch, labels), of rows of token ids; `sharing` is of the same rows."""
        from ..fast.decoder import PackedLastToken
        from ..fast.packed import PackedEncoder

        if isinstance(self.model, PackedLastToken):
            return self.model.logits([_without_padding(row, self.tokenizer.pad_id) for row in ids], sharing)
        kinds = types if self.source.config.get("type_vocab_size", 1) > 1 else None
        if isinstance(self.model, PackedEncoder):
            return self.model.logits(ids, kinds)
        return self._padded_logits(ids, kinds)

    def _padded_logits(self, ids: list[list[int]], types: list[list[int]] | None) -> NDArray[np.float32]:
        """The logits as transformers computes them, of rows padded on the right."""
        import torch

        device = self.options.device
        batch, mask = pad(ids, self.tokenizer.pad_id)
        inputs = {"input_ids": batch.to(device), "attention_mask": mask.to(device)}
        if types is not None:
            inputs["token_type_ids"] = pad(types, 0)[0].to(device)
        with torch.inference_mode():
            found: NDArray[np.float32] = self.model(**inputs).logits.float().cpu().numpy()
        return found

    def margins(
        self, ids: list[list[int]], types: list[list[int]], sharing: Sharing | None = None
    ) -> NDArray[np.float32]:
        """The float32 margin of each row: its logit, or with two labels logit 1 − logit 0."""
        logits = self.logits(ids, types, sharing)
        found: NDArray[np.float32] = logits[:, 0] if self.labels == 1 else logits[:, 1] - logits[:, 0]
        return found


def _without_padding(ids: list[int], pad_id: int) -> list[int]:
    """Up to the last id that is not padding: what stands there is pooled, and it sees nothing behind it."""
    last = next((place for place in range(len(ids), 0, -1) if ids[place - 1] != pad_id), len(ids))
    return ids[:last]


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
