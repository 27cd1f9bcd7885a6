"""What layerwise and lightweight rerankers share: scores read off several layers of one forward pass.

Each layer that is asked for is a reranker of its own, with its own fingerprint. They share one
loaded model; a pass for any of them computes all, and hands the others' scores over to be stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...engine.fast.sharing import Sharing
from ...errors import HarnessError
from ...models.source import ModelSource, snapshot
from ...models.tokenization import Tokenizer, load_tokenizer
from ...types import DocumentText, QueryText
from ..base import Reranker, RerankerSpec, sigmoid
from ..prompts.ab_prompt import AbInput, AbInputs, AbRule, AbTemplate, bos_id
from .grouped import GroupedPairs

__all__ = ["Network", "choose_layers", "layer_numbers", "open_layers"]


class Network(Protocol):
    """A loaded decoder with a head for each layer."""

    def margins(self, inputs: Sequence[AbInput], sharing: Sharing | None = None) -> NDArray[np.float32]:
        """The logits at each input's last token, shape (layers, inputs); `sharing` is of the same inputs."""
        ...


def layer_numbers(text: str) -> tuple[int, ...]:
    """`24,8,16` → (8, 16, 24): sorted, each once. Raises ValueError that says so."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError("layer numbers with commas between them, as in 8,16,24")
    return tuple(sorted({int(part) for part in parts}))


def choose_layers(asked: tuple[int, ...] | None, allowed: Sequence[int], name: str) -> tuple[int, ...]:
    """The layers that were asked for, or the last. Raises HarnessError for a layer without a head."""
    for layer in asked or ():
        if layer not in allowed:
            step = f", every {allowed[1] - allowed[0]}th" if len(allowed) > 1 and allowed[1] - allowed[0] > 1 else ""
            raise HarnessError(
                f"{name} has no head at layer {layer}: cutoff_layers are from {allowed[0]} to {allowed[-1]}{step}"
            )
    return asked or (allowed[-1],)


def open_layers(
    source: ModelSource,
    rule: AbRule,
    layers: Sequence[RerankerSpec],
    load_network: Callable[[], Network],
    *,
    normalize: bool,
    shrinks: bool = False,
    note: str | None = None,
) -> list[Reranker]:
    """One reranker for each spec of `layers`, in the order in which the network gives their margins.

    `shrinks` says that passages are compressed, so that no part of them is shared. `note` is what the user should know of them, beside how the revision was found.
    """
    shared = _Shared(source, rule, [spec.fingerprint for spec in layers], load_network, normalize, shrinks)

    def loader(place: int) -> Callable[[], LayerModel]:
        return lambda: LayerModel(shared, place, shared.template)

    notes = " ".join(text for text in (source.note, note) if text) or None

    def separate(place: int) -> Callable[[], LayerModel]:
        return lambda: LayerModel(replace(shared), place, shared.template)

    return [Reranker(spec, loader(place), notes, separate=separate(place)) for place, spec in enumerate(layers)]


@dataclass
class _Shared:
    """What the rerankers of one model have in common, each part loaded when it is first needed."""

    source: ModelSource
    rule: AbRule
    fingerprints: list[str]
    load_network: Callable[[], Network]
    normalize: bool
    shrinks: bool

    @cached_property
    def template(self) -> AbTemplate:
        tokenizer = load_tokenizer(snapshot(self.source), self.source.config)
        return AbTemplate(tokenizer, bos_id(self.source, tokenizer), self.rule)

    @cached_property
    def network(self) -> Network:
        return self.load_network()


@dataclass
class LayerModel:
    """One layer of a shared model; the weights are loaded at the first score."""

    shared: _Shared
    place: int
    template: AbTemplate

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> LayerPairs:
        inputs = self.template.fill(queries, documents, pairs)
        return LayerPairs(self.shared, self.place, inputs, inputs.lengths, inputs.lost)

    @property
    def tokenizer(self) -> Tokenizer:
        return self.template.tokenizer

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The raw logit, or its sigmoid where `normalize` is asked for."""
        return sigmoid(margins) if self.shared.normalize else margins


@dataclass
class LayerPairs(GroupedPairs):
    """The pairs of one request, scored at one layer and, in passing, at the others."""

    shared: _Shared
    place: int
    inputs: AbInputs
    lengths: NDArray[np.int64]
    lost: NDArray[np.int64]
    also: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def queries(self) -> NDArray[np.int64]:
        return self.inputs.pairs[:, 0]

    @property
    def shareable(self) -> Callable[[int], int] | None:
        return (lambda row: self.inputs[row].start) if self.shared.shrinks else None

    def row_ids(self, row: int) -> list[int]:
        return self.inputs[row].ids

    def token_ids(self, row: int) -> list[int]:
        """The ids that the model gets for the pair in `row`."""
        return self.inputs[row].ids

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        found = self.shared.network.margins([self.inputs[row] for row in rows], self.sharing_of(rows))
        others = dict(zip(self.shared.fingerprints, found, strict=True))
        own: NDArray[np.float32] = others.pop(self.shared.fingerprints[self.place])
        self.also = others
        return own
