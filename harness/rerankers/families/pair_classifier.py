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

from ...engine.fast import knows_decoder, pack_classifier, pack_pooled
from ...engine.fast.sharing import Sharing
from ...engine.options import Options
from ...errors import HarnessError
from ...models.cross_encoder import Module
from ...models.exact_head import exact_head
from ...models.ids.company import Company
from ...models.ids.flat import Row, Texts
from ...models.ids.joining import JoinedPairs, PairJoiner
from ...models.ids.token_types import refuse_unknown_types, sends_token_types
from ...models.loading import body_class, load_weights
from ...models.module_chain import ModuleChain
from ...models.runners import pad
from ...models.source import ModelSource, snapshot
from ...models.tokenization import Tokenizer, load_tokenizer
from ...text import join_document, join_query
from ...types import DocumentText, QueryText
from ..activations import SIGMOID, Activation
from ..base import Prepared
from ..prompts.saved_form import SavedForm
from ..prompts.truncation import Taken
from .grouped import GroupedPairs
from .labels import Labels

__all__ = ["ClassifierPairs", "PairClassifier"]


class PairClassifier:
    """A loaded tokenizer, and weights that are loaded when the first score is missing."""

    pairs = True
    """Whether the tokenizer gets a pair of texts; one text where both are written into it."""
    activation: Activation = SIGMOID
    """What is published of a margin. It moves no margin, so it is no part of the fingerprint."""
    form: SavedForm | None = None
    """The input as the model's files say it; None where `prefixes` and the tokenizer's pair do."""
    chain: Sequence[Module] = ()
    """The modules behind the transformer, where its own head is not what is read."""

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
        self._refuse_no_room(self.tokenizer.specials_in(pair=self.pairs))
        self._cut()

    def _cut(self) -> None:
        self.tokenizer.backend.enable_truncation(self.max_length, strategy="longest_first", direction=self._side)

    @property
    def _side(self) -> str:
        return "right" if self.form is None else self.form.layout.truncation_side

    def _refuse_no_room(self, specials: int) -> None:
        if self.max_length <= specials:
            raise HarnessError(
                f"{self.source.name} puts {specials} special tokens around {'a pair' if self.pairs else 'a text'}; "
                f"max_length={self.max_length} leaves no room for query and document: take more"
            )

    @cached_property
    def model(self) -> Any:
        """The weights: a `fast.packed.PackedEncoder` or `fast.decoder.PackedLastToken`, or the transformers
        model where it has no fast path.

        Raises HarnessError where they do not fit (see `loading.load_weights`).
        """
        kind = body_class(self.source) if self.chain else "AutoModelForSequenceClassification"
        model = load_weights(kind, self.source, self.options)
        if self.chain:
            chain = ModuleChain(self.source, self.chain, self.options.device)
            return ChainedModel(pack_pooled(model, chain.pooling) if chain.pooling else None, model, chain)
        return pack_classifier(model) or exact_head(model)

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> Prepared:
        if self.form is not None and self.form.template is not None:
            return self._prompts(self.form, list(queries), documents, pairs)
        before_query, before_document = self.prefixes
        left = Texts(queries, lambda query: before_query + join_query(query))
        right = Texts(documents, lambda document: before_document + join_document(document))
        joined = self.joiner.encode(left, right, pairs)
        return ClassifierPairs(self, joined, joined.lengths, joined.lost)

    @cached_property
    def joiner(self) -> PairJoiner:
        """What joins query and document. Raises HarnessError where the model has too few token types for it."""
        joiner = PairJoiner(self.tokenizer, self.max_length, self._side)
        refuse_unknown_types(self.source, joiner.greatest_type)
        return joiner

    @cached_property
    def sends_types(self) -> bool:
        """Whether the model gets token types."""
        plain = self.model.plain if isinstance(self.model, ChainedModel) else self.model
        return sends_token_types(self.source, getattr(plain, "forward", None))

    def _prompts(
        self,
        form: SavedForm,
        queries: list[QueryText],
        documents: Sequence[DocumentText],
        pairs: NDArray[np.int64],
    ) -> Prepared:
        self.tokenizer.backend.no_truncation()
        prompts = form.prompter(self.tokenizer, None).encode(form.queries(queries), documents, pairs)
        return PromptedPairs(self, prompts, prompts.lengths, prompts.lost)

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The margin, or what is published of it; with several labels the sigmoid is softmax[label]."""
        return self.activation(margins)

    def logits(self, ids: Sequence[Row], types: Sequence[Row], sharing: Sharing | None = None) -> NDArray[np.float32]:
        """Raw float32 logits, shape (batch, labels), of rows of token ids; `sharing` is of the same rows."""
        from ...engine.fast.decoder import PackedLastToken
        from ...engine.fast.packed import PackedEncoder

        if isinstance(self.model, PackedLastToken):
            return self.model.logits(ids, sharing)
        kinds = types if self.sends_types else None
        if isinstance(self.model, ChainedModel):
            return self.company.answers(
                [len(row) for row in ids],
                lambda rows: self.model.scores(*chosen(rows, ids, kinds), self.tokenizer.pad_id, self.options.device),
            )
        if isinstance(self.model, PackedEncoder):
            return self.model.logits(ids, kinds)
        if getattr(self.model.config, "is_encoder_decoder", False) and len(ids) > 1:
            # These pool the last end of sequence, and take no batch whose rows have unlike numbers of them.
            return np.concatenate([self._padded_logits([row], None) for row in ids])
        return self.company.answers(
            [len(row) for row in ids], lambda rows: self._padded_logits(*chosen(rows, ids, kinds))
        )

    @cached_property
    def company(self) -> Company:
        """What may be padded together."""
        return Company(self.source.config, self.options.dtype)

    def _padded_logits(self, ids: Sequence[Row], types: Sequence[Row] | None) -> NDArray[np.float32]:
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

    def margins(self, ids: Sequence[Row], types: Sequence[Row], sharing: Sharing | None = None) -> NDArray[np.float32]:
        """The float32 margin of each row: see `Labels.margins`."""
        return self.labels.margins(self.logits(ids, types, sharing))


def chosen(
    places: Sequence[int], ids: Sequence[Row], types: Sequence[Row] | None
) -> tuple[list[Row], list[Row] | None]:
    """The rows in some places, and their token types."""
    return [ids[place] for place in places], None if types is None else [types[place] for place in places]


def padding_unlike_ends(rows: Sequence[Row], usual: int, config: Any) -> int:
    """An id for padding that no row ends in: `usual` where it will do.

    transformers' decoders score the last id of a row that is not the padding id, and its encoder-decoders the last
    end of sequence: padding must look like neither, also where a text ends in the very same id.
    """
    ends = getattr(config, "eos_token_id", None)
    taken = {int(row[-1]) for row in rows if len(row)} | set(ends if isinstance(ends, list) else [ends])
    return int(next(found for found in (usual, *range(len(taken) + 1)) if found not in taken))


@dataclass(frozen=True)
class ChainedModel:
    """A transformer and the modules behind it."""

    packed: Any
    """The transformer on the fast path; None where it has none, or the chain asks for all tokens."""
    plain: Any
    chain: ModuleChain

    def scores(self, ids: Sequence[Row], types: Sequence[Row] | None, pad_id: int, device: str) -> NDArray[np.float32]:
        """Float32 scores (rows, labels) of rows of token ids."""
        import torch

        from ...engine.fast.packed import PackedEncoder

        with torch.inference_mode():
            if self.packed is not None:
                more = (types,) if isinstance(self.packed, PackedEncoder) else ()
                rows = [np.asarray(row, np.int32) for row in ids]
                vectors = self.packed.pooled(rows, self.chain.pooling, *more)
                scores = self.chain.of_vectors(torch.from_numpy(vectors).to(device))
            else:
                batch, mask = pad(ids, pad_id)
                inputs = {"input_ids": batch.to(device), "attention_mask": mask.to(device)}
                if types is not None:
                    inputs["token_type_ids"] = pad(types, 0)[0].to(device)
                scores = self.chain.of_tokens(self.plain(**inputs).last_hidden_state, inputs["attention_mask"])
            found: NDArray[np.float32] = scores.float().cpu().numpy()
        return found


@dataclass
class PromptedPairs(GroupedPairs):
    """The pairs of one request, each as one string that a chat template wrote."""

    model: PairClassifier
    prompts: Any
    lengths: NDArray[np.int64]
    lost: NDArray[np.int64]
    also: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def packs(self) -> bool:
        return knows_decoder(self.model.source.config) and not self.model.chain

    @property
    def queries(self) -> NDArray[np.int64]:
        found: NDArray[np.int64] = self.prompts.queries
        return found

    @property
    def taken(self) -> Taken:
        found: Taken = self.prompts.taken
        return found

    def row_ids(self, row: int) -> NDArray[np.int32]:
        found: NDArray[np.int32] = self.prompts.ids(row)
        return found

    def token_ids(self, row: int) -> list[int]:
        """The ids that the model gets for one pair."""
        found: list[int] = self.prompts.ids(row).tolist()
        return found

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        ids = [self.token_ids(row) for row in rows]
        return self.model.margins(ids, [[0] * len(row) for row in ids], self.sharing_of(rows))


_FIRST = 4
_SHORTEST = 64
"""Whatever the query, a length of so many tokens leaves a longer document its first `_FIRST`."""


@dataclass
class ClassifierPairs:
    """The pairs of one request; ids are joined batch by batch, so memory holds each text once."""

    model: PairClassifier
    joined: JoinedPairs
    lengths: NDArray[np.int64]
    lost: NDArray[np.int64]
    also: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def token_ids(self, row: int) -> list[int]:
        """The ids that the model gets for one pair."""
        ids: list[int] = self.joined[row].ids.tolist()
        return ids

    def beginnings(self, rows: NDArray[np.int64]) -> list[tuple[int, ...]]:
        """The first ids of each row's document, of which truncation leaves as many at least."""
        if self.model.max_length < _SHORTEST:
            return [()] * len(rows)
        documents = self.joined.pairs[rows, 1].tolist()
        return [tuple(self.joined.right[place][:_FIRST].tolist()) for place in documents]

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        found = [self.joined[row] for row in rows.tolist()]
        return self.model.margins([pair.ids for pair in found], [pair.types for pair in found])
