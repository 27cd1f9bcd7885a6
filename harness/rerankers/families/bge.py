"""BGE's sequence classifiers: bge-reranker-base, -large and -v2-m3.

Their rule works on ids: the first 3L/4 of the query and the first L of the passage are joined as
the tokenizer joins pairs (`<s> q </s></s> d </s>`), then only the passage is cut to fit L. The
score is the raw logit. Source: FlagEmbedding 1.3.5, `FlagReranker`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...engine.fast import note_of
from ...engine.options import Options
from ...errors import HarnessError
from ...models.exact_head import head_settings
from ...models.ids.flat import Texts
from ...models.ids.token_types import types_setting
from ...models.running import numeric_settings
from ...models.settings import at_least, read_settings, yes_or_no
from ...models.source import ModelSource
from ...models.tokenization import token_limit
from ...text import JOIN_RULE, join_document, join_query
from ...types import DocumentText, QueryText
from ..base import Reranker, RerankerSpec, sigmoid
from ..prompts.truncation import only_second
from .labels import Labels
from .pair_classifier import ClassifierPairs, PairClassifier

__all__ = ["FAMILY", "open_family"]

FAMILY = "bge"
VERSION = 1
TABLES_MAX_LENGTH = 1024
"""The length behind the published tables; the class's own default is 512."""


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a BGE sequence classifier. Settings: max_length, normalize (sigmoid).

    Raises HarnessError for a model with more than one label, or a max_length it has no positions for.
    """
    labels = source.config.get("num_labels") or len(source.config.get("id2label") or {}) or 2
    if not source.architecture.endswith("ForSequenceClassification") or labels != 1:
        what = source.architecture or "no named architecture"
        raise HarnessError(
            f"{source.name} ({what}, {labels} labels) is no BGE reranker: these are sequence classifiers with one label"
        )
    limit = token_limit(source.config, {})
    chosen = read_settings(FAMILY, options.settings, {"max_length": at_least(16), "normalize": yes_or_no})
    max_length = int(str(chosen.get("max_length", min(TABLES_MAX_LENGTH, limit or TABLES_MAX_LENGTH))))
    if limit is not None and max_length > limit:
        raise HarnessError(f"{source.name} has positions for {limit} tokens; max_length={max_length} is more")
    normalize = bool(chosen.get("normalize", False))
    settings = {
        **numeric_settings(source, options),
        "join": JOIN_RULE,
        "max_length": max_length,
        "normalize": normalize,
        "truncation": "query 3/4, only_second",
        "version": VERSION,
        **types_setting(source),
        **head_settings(options.dtype),
    }
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))
    note = note_of(source.config, source.note)
    return [Reranker(spec, lambda: BgeClassifier(source, options, max_length, normalize=normalize), note)]


class BgeClassifier(PairClassifier):
    """A sequence classifier whose pairs are cut by BGE's rule."""

    def __init__(self, source: ModelSource, options: Options, max_length: int, *, normalize: bool) -> None:
        super().__init__(source, options, max_length, Labels(("LABEL_0",), 0))
        self.normalize = normalize
        self.tokenizer.backend.no_truncation()

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> ClassifierPairs:
        texts = Texts(queries, join_query), Texts(documents, join_document)
        left = self.joiner.ids_of(texts[0], self.max_length * 3 // 4)
        right = self.joiner.ids_of(texts[1], self.max_length)
        first, second = left.counts[pairs[:, 0]], right.counts[pairs[:, 1]]
        kept = only_second(first, second, self.max_length - self.joiner.specials)
        joined = self.joiner.pairs(left, right, pairs, kept, texts)
        return ClassifierPairs(self, joined, joined.lengths, joined.lost)

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The raw logit, or its sigmoid where `normalize` is asked for."""
        return sigmoid(margins) if self.normalize else margins
