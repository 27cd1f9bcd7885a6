"""jina-reranker-v3: a query and its documents in one prompt, a vector of each, compared by cosine.

A Qwen3 reads the prompt; the states of the last token of each document and of the query go through two linear maps
with a ReLU between. Documents that do not fit into one prompt make several; the query's vectors are then averaged, each
weighted by its block's best cosine, (1 + cosine) / 2. Ours because the authors' class is code of its own; sources: that
code, and arXiv 2509.25085.
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
from ....files.digest import digest_of_settings
from ....models.checkpoint import read_weights
from ....models.loading import load_weights
from ....models.settings import read_settings, whole_number
from ....models.source import ModelSource, snapshot
from ....models.tokenization import load_tokenizer, token_limit
from ....text import JOIN_RULE, join_document
from ....types import DocumentText, QueryText
from ...base import Reranker, RerankerSpec

__all__ = ["FAMILY", "Jina", "JinaRule", "open_family", "prompt_text"]

FAMILY = "jina-list"
VERSION = 1
_WIDTH = 512
"""Of the vectors that are compared."""
_OF_DOCUMENT, _OF_QUERY = "<|embed_token|>", "<|rerank_token|>"
"""What each document and the query end with, whose states are read."""
_SYSTEM = (
    "You are a search relevance expert who can determine a ranking of the passages based on how relevant they are to "
    "the query. If the query is a question, how relevant a passage is depends on how well it answers the question. If "
    "not, try to analyze the intent of the query and assess how well each passage satisfies the intent. If an "
    "instruction is provided, you should follow the instruction when determining the ranking."
)
_BESIDE = frozenset({
    *("_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "transformers_version", "model_type"),
    *("rope_theta", "rope_scaling", "use_cache", "projector_dim"),
})  # fmt: skip
"""Keys of config.json that a Qwen3's class does not have and that leave its forward pass as it is, or that it reads."""


@dataclass(frozen=True)
class JinaRule:
    """Lengths in tokens; the most documents in one prompt."""

    query_length: int = 512
    document_length: int = 2048
    documents: int = 125


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a JinaForRanking model on a Qwen3.

    Settings: see `JinaRule`. Raises HarnessError for another architecture, and where config.json asks for something
    that a Qwen3 does not have.
    """
    if source.architecture != "JinaForRanking" or source.config.get("model_type") != "qwen3":
        what = source.architecture or "no named architecture"
        raise HarnessError(f"{source.name} ({what}) is no jina-reranker-v3: these are JinaForRanking on a qwen3")
    rule = JinaRule(**_settings(options))
    limit = token_limit(source.config, source.tokenizer_config)
    if limit is None:
        raise HarnessError(
            f"{source.name}: neither config.json nor tokenizer_config.json says how long an input may be"
        )
    settings: dict[str, object] = {
        **asdict(rule),
        **options.precision,
        "join": JOIN_RULE,
        "max_length": limit,
        "template_digest": digest_of_settings([("prompt", prompt_text("{query}", ["{document}"], "{instruction}"))]),
        "version": VERSION,
    }
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())), context="list")
    note = note_of(source.config, source.note, known=False)
    return [Reranker(spec, lambda: Jina(source, options, rule, limit), note)]


def _settings(options: Options) -> dict[str, Any]:
    return read_settings(FAMILY, options.settings, dict.fromkeys(JinaRule.__dataclass_fields__, whole_number))


def prompt_text(query: str, documents: Sequence[str], instruction: str = "") -> str:
    """The prompt, without the marks of vectors that texts themselves may hold."""
    query, instruction = _unmarked(query), _unmarked(instruction)
    passages = "\n".join(
        f'<passage id="{number}">\n{_unmarked(document)}{_OF_DOCUMENT}\n</passage>'
        for number, document in enumerate(documents)
    )
    told = f"<instruct>\n{instruction}\n</instruct>\n" if instruction else ""
    return (
        f"<|im_start|>system\n{_SYSTEM}<|im_end|>\n<|im_start|>user\n"
        f"I will provide you with {len(documents)} passages, each indicated by a numerical identifier. "
        f"Rank the passages based on their relevance to query: {query}\n"
        f"{told}{passages}\n<query>\n{query}{_OF_QUERY}\n</query><|im_end|>\n<|im_start|>assistant\n"
        f"<think>\n\n</think>\n\n"
    )


def _unmarked(text: str) -> str:
    return text.replace(_OF_QUERY, "").replace(_OF_DOCUMENT, "")


class Jina:
    """A loaded tokenizer, and weights that are loaded at the first list."""

    tallied = ("prompts", "queries_shortened", "passages_shortened")

    def __init__(self, source: ModelSource, options: Options, rule: JinaRule, limit: int) -> None:
        self.source, self.options, self.rule, self.limit = source, options, rule, limit
        self.tokenizer = load_tokenizer(snapshot(source), source.config)
        self._marks = [self.tokenizer.backend.token_to_id(mark) for mark in (_OF_DOCUMENT, _OF_QUERY)]
        if None in self._marks:
            raise HarnessError(f"{source.name}: its tokenizer has no {_OF_DOCUMENT} or no {_OF_QUERY}")
        self.tallies: dict[str, int] = {}
        self._model: Any = None
        self._maps: list[Any] = []

    @property
    def model(self) -> Any:
        """The Qwen3. Raises HarnessError where the weights do not fit, or config.json has a key that no Qwen3 has."""
        if self._model is None:
            from transformers import Qwen3Config

            strange = set(self.source.config) - set(Qwen3Config().to_dict()) - _BESIDE
            if strange:
                raise HarnessError(
                    f"{self.source.name}: config.json says {', '.join(sorted(strange))}, which the forward pass here does "
                    f"not know: scores could be others than its authors'"
                )
            self._model = load_weights("Qwen3Model", self.source, self.options)
            width = self._model.config.hidden_size
            shapes = {"projector.0.weight": (width // 2, width), "projector.2.weight": (_WIDTH, width // 2)}
            read = read_weights(
                self.source, shapes, dtype="float32", device=self.options.device, ignorable=r"(model|lm_head)\..*"
            )
            self._maps = [read[name] for name in shapes]
        return self._model

    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.float32]:
        """The cosine of each document's vector and the query's, shape (n,)."""
        rule = self.rule
        [(text, length, cut)] = self._shortened([query.text], rule.query_length)
        texts = self._shortened([join_document(document) for document in documents], rule.document_length)
        blocks = self.blocks(length, [tokens for _, tokens, _ in texts])
        rows, asked, weights = [], [], []
        for start, stop in blocks:
            of_documents, of_query = self.vectors(
                self.ids(prompt_text(text, [each for each, _, _ in texts[start:stop]], query.instruction))
            )
            rows.append(of_documents)
            asked.append(of_query)
            weights.append((1 + _cosines(of_documents, of_query).max()) / 2)
        shortened = sum(each for _, _, each in texts)
        self.tallies = dict(zip(self.tallied, (len(blocks), int(cut), shortened), strict=True))
        if not rows:
            return np.zeros(0, np.float32)
        return _cosines(np.concatenate(rows), np.average(np.stack(asked), axis=0, weights=weights))

    def ids(self, text: str) -> list[int]:
        """The prompt's ids. Raises HarnessError where they are more than the model takes."""
        found: list[int] = self.tokenizer.backend.encode(text).ids
        if len(found) > self.limit:
            raise HarnessError(
                f"{self.source.name} takes {self.limit} tokens, and a prompt has {len(found)}: set document_length lower"
            )
        return found

    def blocks(self, query: int, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """Start and stop of the documents of each prompt, by the tokens of the query and of each document."""
        bounds, start, room = [], 0, self.limit - 2 * query
        for place, length in enumerate(lengths):
            room -= length
            if place + 1 - start >= self.rule.documents or room <= self.rule.document_length:
                bounds.append((start, place + 1))
                start, room = place + 1, self.limit - 2 * query
        return bounds + ([(start, len(lengths))] if start < len(lengths) else [])

    def vectors(self, ids: Sequence[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The vectors of a prompt's documents, shape (n, 512), and of its query, shape (512,)."""
        import torch

        row = torch.tensor([list(ids)], device=self.options.device)
        with torch.inference_mode():
            states = self.model(input_ids=row, use_cache=False).last_hidden_state[0]
            wide, narrow = self._maps
            found = [torch.relu(states[row[0] == mark].float() @ wide.T) @ narrow.T for mark in self._marks]
        of_documents, of_query = (each.cpu().numpy() for each in found)
        return of_documents, of_query[0]

    def _shortened(self, texts: Sequence[str], length: int) -> list[tuple[str, int, bool]]:
        """Each text as its first `length` tokens say it, how many it has then, and whether it lost any."""
        found = []
        for text, entry in zip(texts, self.tokenizer.backend.encode_batch(list(texts)), strict=True):
            cut = self.tokenizer.backend.decode(entry.ids[:length], skip_special_tokens=False)
            long = len(entry.ids) >= length
            found.append((cut if long else text, min(len(entry.ids), length), len(entry.ids) > length))
        return found


def _cosines(rows: NDArray[np.float32], vector: NDArray[np.floating]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(vector)
    found: NDArray[np.float32] = (rows @ vector / lengths).astype(np.float32)
    return found
