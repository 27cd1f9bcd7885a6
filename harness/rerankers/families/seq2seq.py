"""T5 rerankers: monoT5, mT5 and FLAN-T5, scored by the first word they would answer.

The prompt goes through the encoder, one step through the decoder; the score is the logit of the
positive label's piece minus that of the negative's, whose sigmoid is the authors' softmax. Only
these two rows of the head are computed. Sources: pygaggle's `MonoT5`, mteb's `MonoT5Reranker` and
`FLANT5Reranker`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...engine.fast import knows_t5, note_of, pack_answer
from ...engine.options import Options
from ...errors import HarnessError
from ...files.digest import digest_of_settings
from ...files.yaml_file import read_yaml
from ...models.ids.flat import FlatIds
from ...models.loading import load_weights
from ...models.runners import pad
from ...models.running import numeric_settings
from ...models.settings import one_of, read_settings, whole_number
from ...models.source import ModelSource, snapshot
from ...models.spiece import read_spiece
from ...models.tokenization import Tokenizer, load_tokenizer, padding_id, token_limit, with_encodings
from ...text import JOIN_RULE, join_document, join_query
from ...types import DocumentText, QueryText
from ..base import Reranker, RerankerSpec, sigmoid
from ..prompts.truncation import Taken

if TYPE_CHECKING:
    from ...engine.fast.t5 import PackedT5Answer

__all__ = [
    "FAMILY",
    "T5_CLASSES",
    "Seq2Seq",
    "Seq2SeqPrompts",
    "Template",
    "open_family",
    "open_t5_tokenizer",
    "output_scale",
    "read_templates",
]

FAMILY = "seq2seq"
VERSION = 1
T5_CLASSES = ("T5ForConditionalGeneration", "MT5ForConditionalGeneration")
_USUAL_LENGTH = 512
"""pygaggle's limit, for tokenizers that state none; T5's relative positions set none themselves."""


@dataclass(frozen=True)
class Template:
    """A prompt with {query} and {document}, and the pieces of the two answers."""

    prompt: str
    negative: str
    positive: str


def read_templates() -> dict[str, Template]:
    """The templates by name, from seq2seq.yaml."""
    table = read_yaml(Path(__file__).with_name("seq2seq.yaml"))
    return {name: Template(**entry) for name, entry in table.items()}


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a T5 or mT5 model.

    Settings: template (a name in seq2seq.yaml), max_length, truncation. `published`, the default,
    cuts the end of the whole prompt, so a long document loses `Relevant:` too: that is what pygaggle
    and mteb do. `document` cuts the document only. Raises HarnessError for another architecture, or
    where nobody says which template the model was trained with.
    """
    if source.architecture not in T5_CLASSES:
        what = source.architecture or "no named architecture"
        raise HarnessError(f"{source.name} ({what}) is no T5 reranker: these are {' or '.join(T5_CLASSES)}")
    templates = read_templates()
    readers = {
        "max_length": whole_number,
        "template": one_of(*templates),
        "truncation": one_of("published", "document"),
    }
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, readers)
    if "template" not in chosen:
        raise HarnessError(
            f"{source.name} does not say which prompt it was trained with: give --set template=NAME, "
            f"one of: {', '.join(templates)}"
        )
    template = templates[chosen["template"]]
    max_length: int = chosen.get("max_length") or token_limit({}, source.tokenizer_config) or _USUAL_LENGTH
    truncation: str = chosen.get("truncation", "published")
    settings = {
        **numeric_settings(source, options),
        "join": JOIN_RULE,
        "max_length": max_length,
        "template": chosen["template"],
        "template_digest": digest_of_settings(asdict(template).items()),
        "truncation": truncation,
        "version": VERSION,
    }
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))
    keep_end = truncation == "document"
    return [
        Reranker(
            spec,
            lambda: Seq2Seq(source, options, template, max_length, keep_end=keep_end),
            note_of(source.config, source.note, known=knows_t5(source.config, options.dtype)),
        )
    ]


class Seq2Seq:
    """A loaded tokenizer, and weights that are loaded when the first score is missing."""

    def __init__(
        self, source: ModelSource, options: Options, template: Template, max_length: int, *, keep_end: bool
    ) -> None:
        self.source, self.options = source, options
        self.template, self.max_length, self.keep_end = template, max_length, keep_end
        self.folder = snapshot(source)
        self.tokenizer = open_t5_tokenizer(source, self.folder)
        self.closing: list[int] = self.tokenizer.backend.encode("").ids
        if max_length <= len(self.closing):
            raise HarnessError(
                f"{source.name} closes every prompt with {len(self.closing)} special tokens; max_length={max_length} leaves "
                f"no room for the prompt: take more"
            )
        self.labels = [self._piece(template.negative), self._piece(template.positive)]
        self.start = self._start_id()
        self._tail = len(template.prompt) - template.prompt.index("{document}") - len("{document}")

    def _piece(self, piece: str) -> int:
        found = self.tokenizer.backend.token_to_id(piece)
        if found is None:
            raise HarnessError(
                f'{self.source.name} has no piece "{piece}" in its vocabulary, which the template answers with: '
                f"was it trained with another? --set template=NAME"
            )
        return int(found)

    def _start_id(self) -> int:
        found = self.source.config.get("decoder_start_token_id")
        if not isinstance(found, int):
            raise HarnessError(f"{self.source.name}: config.json has no decoder_start_token_id to begin an answer with")
        return found

    @cached_property
    def model(self) -> Any:
        """The weights. Raises HarnessError where they do not fit (see `loading.load_weights`)."""
        return load_weights("AutoModelForSeq2SeqLM", self.source, self.options)

    @cached_property
    def packed(self) -> PackedT5Answer | None:
        """Encoder and decoder on the fast path, taken out of `model`; None where transformers runs them."""
        return pack_answer(self.model)

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> Seq2SeqPrompts:
        whole = np.zeros(len(pairs), np.int64)
        taken = Taken.nothing(len(pairs))

        def prompts() -> Iterator[tuple[str, int]]:
            for query, document in pairs.tolist():
                text = join_document(documents[document])
                yield self.template.prompt.format(query=join_query(queries[query]), document=text), len(text)

        def rows() -> Iterator[NDArray[np.int32]]:
            for row, ((prompt, size), entry) in enumerate(with_encodings(self.tokenizer.backend, prompts())):
                end = len(prompt) - self._tail
                whole[row] = len(entry.ids) + len(self.closing)
                kept = self._kept(entry, end)
                if not kept.all():
                    taken.see(row, np.array(entry.offsets, np.int64), kept, (end - size, end))
                yield np.array([*np.array(entry.ids, np.int32)[kept], *self.closing], np.int32)

        ids = FlatIds.of(rows())
        return Seq2SeqPrompts(self, ids, ids.counts, whole - ids.counts, taken)

    def _kept(self, entry: Any, end: int) -> NDArray[np.bool_]:
        """Which ids stay within max_length beside the closing ones; those behind the document, whose last character
        is before `end`, if that is asked for.
        """
        count, room = len(entry.ids), self.max_length - len(self.closing)
        tail = 0
        if self.keep_end and count > room:
            while tail < min(count, room) and entry.offsets[-1 - tail][1] > end:
                tail += 1
        places = np.arange(count)
        found: NDArray[np.bool_] = (places < room) if tail == 0 else (places < room - tail) | (places >= count - tail)
        return found if count > room else np.ones(count, bool)

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability of the positive answer among the two."""
        return sigmoid(margins)

    def margins(self, rows: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """logit(positive) − logit(negative) of each row of ids after one decoder step, in float32."""
        import torch

        packed = self.packed
        with torch.inference_mode():
            answer = self._padded(rows) if packed is None else torch.from_numpy(packed.states(rows, self.start))
            head = self.model.get_output_embeddings().weight[self.labels].float()
            scale = output_scale(self.source.config, answer.shape[-1])
            logits = answer.to(head.device).float() @ head.T * scale
            found: NDArray[np.float32] = (logits[:, 1] - logits[:, 0]).cpu().numpy()
        return found

    def _padded(self, rows: Sequence[NDArray[np.int32]]) -> Any:
        """The decoder's states (rows, width) as transformers computes them, padded to one length."""
        import torch

        model, device = self.model, self.options.device
        ids, mask = (part.to(device) for part in pad(rows, self.tokenizer.pad_id))
        return model.decoder(
            input_ids=torch.full((len(rows), 1), self.start, device=device),
            encoder_hidden_states=model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state[:, 0]


def output_scale(config: Mapping[str, Any], width: int) -> float:
    """T5 shrinks the decoder's output before a head that shares the embeddings; v1.1, FLAN and mT5 do not."""
    tied = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True))
    return float(width**-0.5) if tied and config.get("model_type") == "t5" else 1.0


def open_t5_tokenizer(source: ModelSource, folder: Path) -> Tokenizer:
    """The tokenizer of tokenizer.json, or of spiece.model, which is all that monoT5 and mT5 come with."""
    path = folder / "spiece.model"
    if "tokenizer.json" in source.files or not path.is_file():
        return load_tokenizer(folder, source.config)
    from tokenizers.processors import TemplateProcessing

    spiece = read_spiece(path)
    backend = spiece.tokenizer()
    backend.add_special_tokens([*spiece.control, spiece.pieces[spiece.unknown][0]])
    end = backend.token_to_id("</s>")
    backend.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    return Tokenizer(backend, "spiece.model", padding_id(folder, source.config, backend))


@dataclass
class Seq2SeqPrompts:
    """The pairs of one request, each as its prompt's ids."""

    model: Seq2Seq
    ids: FlatIds
    lengths: NDArray[np.int64]
    lost: NDArray[np.int64]
    taken: Taken
    also: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def token_ids(self, row: int) -> list[int]:
        """The ids that the encoder gets for one pair."""
        found: list[int] = self.ids[row].tolist()
        return found

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.model.margins([self.ids[row] for row in rows])
