"""KaLM-Reranker: the document in the encoder, the question in the decoder, and yes or no as its next word.

The encoder reads `<Document>: …`; the means of every four of its states are all that the decoder sees of the document.
The decoder reads a turn with the instruction and the query and is about to answer; the score is logit(yes) − logit(no),
whose sigmoid is the authors' softmax. A query is cut by its own ids and written out again before the turn is
tokenized, as its authors do. Sources: arXiv 2606.22807; mteb 2.26's `KaLMRerankerWrapper`, which follows the card's
kalm_reranker.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....engine.fast import note_of
from ....engine.options import Options
from ....errors import HarnessError
from ....models.ids.flat import FlatIds, Texts
from ....models.loading import load_weights
from ....models.runners import pad
from ....models.running import numeric_settings
from ....models.settings import Reader, at_least, read_settings, whole_number
from ....models.source import ModelSource, snapshot
from ....models.tokenization import Tokenizer, load_tokenizer
from ....text import JOIN_RULE, join_document
from ....types import DocumentText, QueryText
from ...base import Reranker, RerankerSpec, sigmoid
from ...prompts.truncation import Taken

__all__ = ["FAMILY", "KalmRule", "open_family"]

FAMILY = "kalm"
VERSION = 1
_CLASS = "T5Gemma2ForConditionalGeneration"
_DOCUMENT = "<Document>: "
_TURN = (
    "<bos><start_of_turn>user\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".\n\n<Instruct>: {instruction}\n<Query>: {query}'
    "<end_of_turn>\n<start_of_turn>model\n\n\n\n"
)
_SENTENCE = "Given a query, retrieve documents that answer the query."


@dataclass(frozen=True)
class KalmRule:
    """Tokens kept of a document (with the words before it) and of a query, and how many states make one; 0 leaves them as they are."""

    max_length: int = 1024
    query_length: int = 512
    chunk_size: int = 4


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a T5Gemma 2. Settings: see `KalmRule`. Raises HarnessError for another kind of model."""
    if source.architecture != _CLASS:
        what = source.architecture or "no named architecture"
        raise HarnessError(f"{source.name} ({what}) is no KaLM-Reranker: these are {_CLASS}")
    readers: dict[str, Reader] = {"max_length": at_least(16), "query_length": whole_number, "chunk_size": at_least(0)}
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, readers)
    rule = KalmRule(**chosen)
    settings = {**asdict(rule), **numeric_settings(source, options), "join": JOIN_RULE, "version": VERSION}
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))
    return [Reranker(spec, lambda: Kalm(source, options, rule), note_of(source.config, source.note))]


class Kalm:
    """A loaded tokenizer, and weights that are loaded when the first score is missing."""

    def __init__(self, source: ModelSource, options: Options, rule: KalmRule) -> None:
        self.source, self.options, self.rule = source, options, rule
        self.tokenizer: Tokenizer = load_tokenizer(snapshot(source), source.config)
        self.answers = [self._last_id(word) for word in ("yes", "no")]

    def _last_id(self, word: str) -> int:
        ids = self.tokenizer.ids_of_one(word)
        if not ids:
            raise HarnessError(f'{self.source.name}: its tokenizer makes nothing of "{word}", which it answers with')
        return ids[-1]

    @cached_property
    def model(self) -> Any:
        """The weights. Raises HarnessError where they do not fit (see `loading.load_weights`)."""
        return load_weights("AutoModelForSeq2SeqLM", self.source, self.options)

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> KalmPairs:
        texts = Texts(documents, lambda document: _DOCUMENT + join_document(document))
        encoded = self.tokenizer.encode_ids(texts, self.rule.max_length)
        cut = self.tokenizer.encode_ids([query.text for query in queries], self.rule.query_length)
        written = (
            self.tokenizer.backend.decode(cut[row].tolist(), skip_special_tokens=False) for row in range(len(cut))
        )
        turns = [
            _TURN.format(instruction=query.instruction or _SENTENCE, query=text)
            for query, text in zip(queries, written, strict=True)
        ]
        return KalmPairs(self, self.tokenizer.encode_ids(turns), encoded, pairs, cut.whole - cut.counts)

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probability of yes among the two."""
        return sigmoid(margins)

    def margins(
        self, turns: Sequence[NDArray[np.int32]], documents: Sequence[NDArray[np.int32]], of: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """logit(yes) − logit(no) behind each turn, in float32; `of` says which of the documents each sees."""
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        device = self.options.device
        ids, mask = (part.to(device) for part in pad(list(documents), self.tokenizer.pad_id))
        asked, seen = (part.to(device) for part in pad(list(turns), self.tokenizer.pad_id))
        with torch.inference_mode():
            states = self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
            states, mask = self._averaged(states, mask)
            places = torch.as_tensor(of, device=device)
            found = self.model.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=states[places]),
                attention_mask=mask[places],
                decoder_input_ids=asked,
                decoder_attention_mask=seen,
                use_cache=False,
            ).last_hidden_state
            last = found[torch.arange(len(found), device=device), seen.sum(dim=1) - 1].float()
            logits = last @ self.model.get_output_embeddings().weight[self.answers].float().T
            cap = self.model.config.decoder.final_logit_softcapping
            logits = logits if cap is None else torch.tanh(logits / cap) * cap
            margins: NDArray[np.float32] = (logits[:, 0] - logits[:, 1]).cpu().numpy()
        return margins

    def _averaged(self, states: Any, mask: Any) -> tuple[Any, Any]:
        """The means of states (documents, tokens, width) by chunks, of the last one over its real members, and their mask."""
        import torch

        size = self.rule.chunk_size
        if not size:
            return states, mask
        missing = -states.shape[1] % size
        rows, width = len(states), states.shape[2]
        states = torch.nn.functional.pad(states, (0, 0, 0, missing)).view(rows, -1, size, width)
        mask = torch.nn.functional.pad(mask, (0, missing)).view(rows, -1, size)
        count = mask.sum(dim=2)
        means = (states * mask.unsqueeze(-1).to(states.dtype)).sum(dim=2) / count.clamp(min=1).unsqueeze(-1)
        return means.to(states.dtype), (count > 0).to(mask.dtype)


@dataclass
class KalmPairs:
    """The pairs of one request."""

    model: Kalm
    turns: FlatIds
    documents: FlatIds
    pairs: NDArray[np.int64]
    shortened: NDArray[np.int64]
    """Tokens that each query lost."""
    also: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of both sides."""
        found: NDArray[np.int64] = self.turns.counts[self.pairs[:, 0]] + self.documents.counts[self.pairs[:, 1]]
        return found

    @cached_property
    def lost(self) -> NDArray[np.int64]:
        """Tokens that truncation took from either side."""
        cut = self.documents.whole - self.documents.counts
        found: NDArray[np.int64] = self.shortened[self.pairs[:, 0]] + cut[self.pairs[:, 1]]
        return found

    @property
    def taken(self) -> Taken:
        """What truncation took from whom."""
        return Taken(np.zeros(len(self.pairs), bool), self.shortened[self.pairs[:, 0]] > 0)

    def token_ids(self, row: int) -> list[int]:
        """The ids of the encoder, and then those of the decoder."""
        query, document = self.pairs[row]
        return [*self.documents[document].tolist(), *self.turns[query].tolist()]

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        documents, of = np.unique(self.pairs[rows, 1], return_inverse=True)
        turns = [self.turns[query] for query in self.pairs[rows, 0]]
        return self.model.margins(turns, [self.documents[place] for place in documents], of)
