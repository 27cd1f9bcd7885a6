"""E2Rank: documents compared, by cosine, with the vector of a prompt that holds the query and the first of them.

The vector of a text is the normalised state of its last token; a document ends with `<|endoftext|>`, the prompt is a
user's turn of the chat template and ends with the answer's beginning. Texts are cut to 1,024 words. Source:
Alibaba-NLP/E2Rank's evaluation code; arXiv 2510.22733.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....engine.fast import note_of
from ....engine.options import Options
from ....errors import HarnessError
from ....models.loading import load_weights
from ....models.runners import pad
from ....models.running import numeric_settings
from ....models.settings import Reader, read_settings, whole_number
from ....models.source import ModelSource, snapshot
from ....models.tokenization import load_tokenizer, token_limit
from ....text import JOIN_RULE, join_document, join_query
from ....types import DocumentText, QueryText
from ...base import Reranker, RerankerSpec
from ...prompts.conversation import Chat

__all__ = ["FAMILY", "E2Rank", "E2RankRule", "open_family"]

FAMILY = "e2rank"
VERSION = 1
_END = "<|endoftext|>"


@dataclass(frozen=True)
class E2RankRule:
    """How many documents the prompt shows, words kept of each, and the sentence that the prompt begins with."""

    shown: int = 20
    document_words: int = 1024
    task: str = "Given a web search query and some relevant documents, rerank the documents that answer the query:"


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a decoder with a chat template. Settings: see `E2RankRule`.

    Raises HarnessError for another kind of model.
    """
    if not source.architecture.startswith("Qwen3"):
        what = source.architecture or "no named architecture"
        raise HarnessError(f"{source.name} ({what}) is no E2Rank model: these are Qwen3 models")
    readers: dict[str, Reader] = {"shown": whole_number, "document_words": whole_number, "task": str}
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, readers)
    rule = E2RankRule(**chosen)
    limit = token_limit(source.config, source.tokenizer_config)
    settings: dict[str, object] = {
        **asdict(rule),
        **numeric_settings(source, options),
        "join": JOIN_RULE,
        "max_length": limit,
        "version": VERSION,
    }
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())), context="list")
    note = note_of(source.config, source.note, known=False)
    return [Reranker(spec, lambda: E2Rank(source, options, rule, limit), note)]


class E2Rank:
    """A loaded tokenizer with its chat template, and weights that are loaded at the first list."""

    tallied = ("passages_shortened",)

    def __init__(self, source: ModelSource, options: Options, rule: E2RankRule, limit: int | None) -> None:
        self.source, self.options, self.rule, self.limit = source, options, rule, limit
        folder = snapshot(source)
        self.tokenizer = load_tokenizer(folder, source.config)
        if self.tokenizer.backend.token_to_id(_END) is None:
            raise HarnessError(f"{source.name}: its tokenizer has no {_END}, which ends every document")
        self._chat = Chat(source, folder, options)
        self.tallies: dict[str, int] = {}
        self._model: Any = None

    @property
    def model(self) -> Any:
        """The weights, without a head. Raises HarnessError where they do not fit."""
        if self._model is None:
            self._model = load_weights("AutoModel", self.source, self.options)
        return self._model

    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.float32]:
        """The cosine of each document's vector and the prompt's, shape (n,)."""
        parts = [join_document(document).split() for document in documents]
        texts = [" ".join(words[: self.rule.document_words]) for words in parts]
        self.tallies = {"passages_shortened": sum(len(words) > self.rule.document_words for words in parts)}
        rows = [self.document_ids(text) for text in texts]
        prompt = self.vectors([self.prompt_ids(join_query(query), texts)])[0]
        found: NDArray[np.float32] = self.vectors(rows) @ prompt
        return found

    def document_ids(self, text: str) -> list[int]:
        """The ids of a document with its end."""
        found: list[int] = self.tokenizer.ids_of_one(text + _END)
        return self._fitting(found)

    def prompt_ids(self, query: str, texts: Sequence[str]) -> list[int]:
        """The ids of the prompt with the query and the first documents."""
        shown = "\n".join(f"[{number}] {text}" for number, text in enumerate(texts[: self.rule.shown], 1))
        content = f"{self.rule.task}\nDocuments:\n{shown}\nSearch Query: {query}"
        return self._fitting(self._chat.ids(self.tokenizer, self._chat.text([{"role": "user", "content": content}])))

    def vectors(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The normalised state of each row's last token, float32, shape (rows, width)."""
        import torch

        found = np.zeros((len(rows), int(self.model.config.hidden_size)), np.float32)
        order = sorted(range(len(rows)), key=lambda place: -len(rows[place]))
        while order:
            count = max(1, self.options.batch_tokens // len(rows[order[0]]))
            batch, order = order[:count], order[count:]
            ids, mask = pad([list(rows[place]) for place in batch], self.tokenizer.pad_id)
            ids, mask = ids.to(self.options.device), mask.to(self.options.device)
            with torch.inference_mode():
                states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
                last = states[torch.arange(len(batch), device=ids.device), mask.sum(dim=1) - 1].float()
                found[batch] = torch.nn.functional.normalize(last, dim=-1).cpu().numpy()
        return found

    def _fitting(self, ids: list[int]) -> list[int]:
        if self.limit is not None and len(ids) > self.limit:
            raise HarnessError(
                f"{self.source.name} takes {self.limit} tokens, and an input has {len(ids)}: set document_words or "
                f"shown lower"
            )
        return ids
