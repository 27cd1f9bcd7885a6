"""TART-full: the encoder of T5 as a classifier of an instruction and a query beside a document.

The input is `<s> A </s> B </s>`; A holds instruction and query with a plain-text `[SEP]` between
them, B is the document. The score is softmax(logits)[1] at `<s>`. By TART's own rule the
instruction comes first and the longer side is cut, at 512 tokens; FollowIR's evaluation put the
query first, cut only the document, at 1024 tokens. Label 1 is scored unless config.json's names say
that it is label 0. Sources: TART (arXiv 2211.09260), FollowIR (arXiv 2403.15246).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...engine.fast import knows_t5, note_of, pack
from ...engine.options import Options
from ...errors import HarnessError
from ...models.checkpoint import read_weights
from ...models.exact_head import head_settings
from ...models.ids.flat import FlatIds
from ...models.loading import load_weights
from ...models.runners import pad
from ...models.settings import Reader, at_least, one_of, read_settings
from ...models.source import ModelSource, snapshot
from ...models.spiece import read_spiece
from ...models.tokenization import ids_of
from ...text import JOIN_RULE, join_document
from ...types import DocumentText, QueryText
from ..base import Reranker, RerankerSpec, sigmoid
from ..prompts.truncation import Taken, longest_first, only_second
from .labels import Labels, read_labels

__all__ = ["FAMILY", "open_family"]

FAMILY = "enct5"
VERSION = 1
_SPECIALS = 3


@dataclass(frozen=True)
class Layout:
    """How instruction, query and document become one input."""

    order: Literal["instruction first", "query first"] = "instruction first"
    truncation: Literal["longest_first", "only_second"] = "longest_first"
    max_length: int = 512
    instruction: str = ""
    """For queries that bring none; where this is empty too, the query stands alone."""

    def left(self, query: QueryText) -> str:
        """The text of A."""
        instruction = query.instruction or self.instruction
        if not instruction:
            return query.text
        first, second = (instruction, query.text) if self.order == "instruction first" else (query.text, instruction)
        return f"{first} [SEP] {second}"


VARIANTS = {
    "tart": Layout(),
    "followir": Layout("query first", "only_second", 1024, "Retrieve news paper paragraph to answer this question"),
}
_READERS: dict[str, Reader] = {
    "label": str,
    "max_length": at_least(16),
    "order": one_of("instruction first", "query first"),
    "truncation": one_of("longest_first", "only_second"),
    "variant": one_of(*VARIANTS),
}


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of an EncT5 classifier.

    Settings: variant (tart or followir) names a whole layout; order, truncation and max_length
    replace its parts; label is the one that is scored. Raises
    HarnessError for a model that has no spiece.model or not two labels.
    """
    chosen = read_settings(FAMILY, options.settings, _READERS)
    labels = read_labels(source, chosen.pop("label", None), usual=1)  # type: ignore[arg-type]
    named = VARIANTS[str(chosen.pop("variant", "tart"))]
    parts: dict[str, Any] = {part.name: getattr(named, part.name) for part in fields(named)} | chosen
    layout = Layout(**parts)
    if source.config.get("model_type") != "t5" or "spiece.model" not in source.files:
        raise HarnessError(f"{source.name} is no EncT5 model: that is a T5 encoder with its tokenizer in spiece.model")
    settings = {**parts, **options.precision, "join": JOIN_RULE, "version": VERSION, **labels.setting}
    settings |= head_settings(options.dtype)
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))
    notes = [note_of(source.config, source.note, known=knows_t5(source.config, options.dtype)), labels.note]
    note = "; ".join(note for note in notes if note) or None
    return [Reranker(spec, lambda: EncT5(source, options, layout, labels), note)]


class EncT5:
    """A loaded tokenizer, and weights that are loaded when the first score is missing."""

    def __init__(self, source: ModelSource, options: Options, layout: Layout, labels: Labels) -> None:
        self.source, self.options, self.layout, self.labels = source, options, layout, labels
        self.folder = snapshot(source)
        self.tokenizer, self.bos, self.eos = _tokenizer(source, self.folder)

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> EncT5Pairs:
        left = ids_of(self.tokenizer, (self.layout.left(query) for query in queries))
        # `only_second` leaves a document whole that would lose every id.
        most = self.layout.max_length if self.layout.truncation == "longest_first" else None
        right = ids_of(self.tokenizer, map(join_document, documents), most)
        first, second = left.whole[pairs[:, 0]], right.whole[pairs[:, 1]]
        cut = longest_first if self.layout.truncation == "longest_first" else only_second
        kept = cut(first, second, self.layout.max_length - _SPECIALS)
        return EncT5Pairs(self, left, right, pairs, kept, kept[0] + kept[1] + _SPECIALS, first + second - sum(kept))

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The softmax of the scored label, which is the sigmoid of the margin."""
        return sigmoid(margins)

    def margins(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The scored label's logit less the other's, of each row of ids, in float32."""
        import torch

        weight, bias = self._head
        with torch.inference_mode():
            states = torch.from_numpy(self._states([np.asarray(row, np.int32) for row in rows]))
            logits = torch.nn.functional.linear(states.to(weight.device), weight, bias)
        return self.labels.margins(logits.cpu().numpy())

    @cached_property
    def _head(self) -> tuple[Any, Any]:
        """The classifier's weight and bias, which transformers does not know, read by ourselves and in float32."""
        found = read_weights(
            self.source,
            {"classifier.weight": (2, int(self.source.config["d_model"])), "classifier.bias": (2,)},
            dtype="float32",
            device=self.options.device,
            ignorable=r"(shared|encoder)\..*",
        )
        return found["classifier.weight"], found["classifier.bias"]

    @cached_property
    def _encoder(self) -> Any:
        """A `fast.t5.PackedT5`, or the transformers model where it has no fast path."""
        model = load_weights("T5EncoderModel", self.source, self.options)
        return pack(model) or model

    def _states(self, rows: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """The encoder's states at `<s>`, shape (rows, features)."""
        import torch

        from ...engine.fast.packed import PackedEncoder

        if isinstance(self._encoder, PackedEncoder):
            return self._encoder.pooled(rows, "cls")
        ids, mask = (part.to(self.options.device) for part in pad(rows, 0))
        with torch.inference_mode():
            states = self._encoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
            found: NDArray[np.float32] = states.float().cpu().numpy()
        return found


@dataclass
class EncT5Pairs:
    """The pairs of one request; ids are joined batch by batch, so memory holds each text once."""

    model: EncT5
    left: FlatIds
    right: FlatIds
    pairs: NDArray[np.int64]
    kept: tuple[NDArray[np.int64], NDArray[np.int64]]
    """Ids that truncation leaves of A and of B, for each pair."""
    lengths: NDArray[np.int64]
    lost: NDArray[np.int64]
    also: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def taken(self) -> Taken:
        """What truncation took from whom."""
        first, second = self.left.whole[self.pairs[:, 0]], self.right.whole[self.pairs[:, 1]]
        return Taken((self.kept[1] == 0) & (second > 0), self.kept[0] < first)

    def token_ids(self, row: int) -> list[int]:
        """The ids that the model gets for the pair in `row`."""
        query, document = self.pairs[row]
        first, second = (int(counts[row]) for counts in self.kept)
        bos, eos = self.model.bos, self.model.eos
        return [bos, *self.left[query][:first].tolist(), eos, *self.right[document][:second].tolist(), eos]

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.model.margins([self.token_ids(int(row)) for row in rows])


def _tokenizer(source: ModelSource, folder: Path) -> tuple[Any, int, int]:
    """The slow T5 tokenizer's rule with `<s>` added after the extra ids, and the ids of `<s>` and `</s>`."""
    spiece = read_spiece(folder / "spiece.model")
    backend = spiece.tokenizer()
    extra = [f"<extra_id_{place}>" for place in reversed(range(int(source.tokenizer_config.get("extra_ids", 100))))]
    backend.add_special_tokens([*spiece.control, spiece.pieces[spiece.unknown][0], *extra, "<s>"])
    bos, eos = backend.token_to_id("<s>"), backend.token_to_id("</s>")
    if bos != len(spiece.pieces) + len(extra) or eos is None or bos >= int(source.config["vocab_size"]):
        raise HarnessError(
            f"{source.name}: <s> and </s> have the ids {bos} and {eos}; EncT5 adds <s> after the {len(spiece.pieces)} "
            f"pieces and {len(extra)} extra ids, within the {source.config['vocab_size']} rows of its embeddings"
        )
    return backend, bos, eos
