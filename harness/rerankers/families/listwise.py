"""Listwise rerankers: RankZephyr, RankGPT's prompt, and any chat model that writes `[2] > [1]`.

A window of 20 candidates moves from the end of the list to its front by 10; for each the model
generates an order, greedily. The score of a document is n minus its final place, so n … 1. Answers that
name some passages only, or none, change little or nothing: they are counted in every result. Sources:
RankGPT (arXiv 2304.09542), RankZephyr (arXiv 2312.02724), castorini/rank_llm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine.fast import note_of
from ...engine.options import Options
from ...errors import HarnessError
from ...files.digest import digest_of_settings
from ...models.loading import load_weights
from ...models.running import numeric_settings
from ...models.settings import one_of, read_settings, whole_number
from ...models.source import ModelSource, snapshot
from ...models.tokenization import load_tokenizer, token_limit
from ...text import join_query
from ...types import DocumentText, QueryText
from ..base import Reranker, RerankerSpec
from ..prompts.list_answer import inside_thinking, is_thinking_mark, read_answer
from ..prompts.list_prompt import ListTemplate, first_words, passage_text, read_list_templates
from ..prompts.windows import sort_by_windows

__all__ = ["FAMILY", "ListRule", "Listwise", "open_family"]

FAMILY = "listwise"
VERSION = 2
_JOIN = "Title: title Content: text, query space instruction; 1"
_USUAL_CONTEXT = 4096
"""RankLLM's limit of prompt and answer together."""


@dataclass(frozen=True)
class ListRule:
    """Window and stride in documents; max_length (prompt and answer) and max_new_tokens in tokens; passage_length in words."""

    window: int = 20
    stride: int = 10
    max_length: int = _USUAL_CONTEXT
    passage_length: int = 300
    max_new_tokens: int | None = None
    """None: as many as it takes to write every identifier once."""


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The listwise reranker of a causal language model with a chat template.

    Settings: template (rank-zephyr or rankgpt), window, stride, max_length, passage_length,
    max_new_tokens (see `ListRule`). Raises HarnessError for another kind of model, a stride that is
    not smaller than the window, or a max_length the model has no positions for.
    """
    if not source.architecture.endswith("ForCausalLM"):
        what = source.architecture or "no named architecture"
        raise HarnessError(f"{source.name} ({what}) cannot write an order: a listwise reranker is a …ForCausalLM")
    templates = read_list_templates()
    numbers = ("window", "stride", "max_length", "passage_length", "max_new_tokens")
    readers = {"template": one_of(*templates), **dict.fromkeys(numbers, whole_number)}
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, readers)
    name = chosen.pop("template", "rank-zephyr")
    limit = token_limit(source.config, source.tokenizer_config)
    rule = ListRule(**{"max_length": min(_USUAL_CONTEXT, limit or _USUAL_CONTEXT), **chosen})
    if rule.stride >= rule.window:
        raise HarnessError(
            f"stride={rule.stride} must be smaller than window={rule.window}: windows that do not overlap "
            f"cannot bring a document to the front"
        )
    if limit is not None and rule.max_length > limit:
        raise HarnessError(f"{source.name} takes at most {limit} tokens; max_length={rule.max_length} is more")
    template = templates[name]
    settings: dict[str, object] = {
        **asdict(rule),
        **numeric_settings(source, options),
        "join": _JOIN,
        "template": name,
        "template_digest": digest_of_settings(asdict(template).items()),
        "version": VERSION,
    }
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())), context="list")
    return [
        Reranker(
            spec, lambda: Listwise(source, options, template, rule), note_of(source.config, source.note, known=False)
        )
    ]


class Listwise:
    """A loaded tokenizer with its chat template, and weights that are loaded at the first window."""

    tallied = ("answers", "partial", "malformed", "empty", "cut")
    """What `tallies` counts: answers, those of each kind of `ListAnswer`, and those stopped at max_new_tokens."""

    def __init__(self, source: ModelSource, options: Options, template: ListTemplate, rule: ListRule) -> None:
        self.source, self.options, self.template, self.rule = source, options, template, rule
        self.folder = snapshot(source)
        self.tokenizer = load_tokenizer(self.folder, source.config)
        self._chat = self._load_chat()
        self.tallies: dict[str, int] = {}
        self._model: Any = None

    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.float32]:
        """N … 1 by final place, shape (n,), in the order of `documents`; `tallies` then says how they were asked for."""
        question, passages = join_query(query), [passage_text(document) for document in documents]
        tallies = dict.fromkeys(self.tallied, 0)

        def permute(seen: Sequence[int]) -> list[int]:
            prompt, room = self.prompt(question, [passages[place] for place in seen])
            text, cut = self.generate(prompt, room)
            answer = read_answer(text, len(seen), cut=cut)
            for name in ("answers", answer.kind, *(("cut",) if cut else ())):
                if name in tallies:
                    tallies[name] += 1
            return answer.order

        order = sort_by_windows(len(documents), self.rule.window, self.rule.stride, permute)
        scores = np.empty(len(documents), np.float32)
        scores[order] = np.arange(len(documents), 0, -1, dtype=np.float32)
        self.tallies = tallies
        return scores

    def prompt(self, question: str, passages: Sequence[str]) -> tuple[list[int], int]:
        """The prompt's ids, and how many the answer may have.

        Passages are cut to passage_length words, and then by as many more as it takes for prompt and
        answer to fit in max_length (RankLLM's rule). Raises HarnessError where no passage would be left.
        """
        room = self.rule.max_new_tokens or self._answer_length(len(passages))
        words = self.rule.passage_length
        while words > 0:
            cut = [first_words(passage, words) for passage in passages]
            ids = self._ids(self.template.messages(question, cut))
            excess = len(ids) + room - self.rule.max_length
            if excess <= 0:
                return ids, room
            words -= max(1, excess // (len(passages) * 4))
        raise HarnessError(
            f"{self.source.name}: {len(passages)} passages, the query and an answer of {room} tokens do not fit in "
            f"max_length={self.rule.max_length} tokens; take a smaller window"
        )

    def generate(self, ids: Sequence[int], room: int) -> tuple[str, bool]:
        """What the model writes after `ids`, greedily, in at most `room` tokens, and whether it was stopped there.

        A thought that the prompt itself opens is a part of the text.
        """
        import torch

        prompt = torch.tensor([list(ids)], device=self.options.device)
        with torch.inference_mode():
            found = self.model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=room)
        written: list[int] = found[0, len(ids) :].tolist()
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        cut = len(written) >= room and not set(written[-1:]) & set(ends)
        opened = inside_thinking(self.tokenizer.backend.decode(list(ids), skip_special_tokens=False))
        return ("<think>" if opened else "") + self._visible(written), cut

    def _visible(self, ids: Sequence[int]) -> str:
        """The text of `ids` without special tokens, other than those that open and close a thought."""
        backend = self.tokenizer.backend
        text: str = backend.decode(list(ids), skip_special_tokens=False)
        for token in backend.get_added_tokens_decoder().values():
            if token.special and not is_thinking_mark(token.content):
                text = text.replace(token.content, " ")
        return text

    @property
    def model(self) -> Any:
        """The weights, set to generate greedily. Raises HarnessError where they do not fit."""
        if self._model is None:
            from transformers import GenerationConfig

            self._model = load_weights("AutoModelForCausalLM", self.source, self.options)
            # The model's own settings (sampling, a repetition penalty) would be merged in: only its ends are kept.
            ends = self._model.generation_config.eos_token_id
            self._model.generation_config = GenerationConfig(
                do_sample=False, num_beams=1, eos_token_id=ends, pad_token_id=self.tokenizer.pad_id
            )
        return self._model

    def _load_chat(self) -> Any:
        import transformers

        try:
            chat = transformers.AutoTokenizer.from_pretrained(
                str(self.folder), trust_remote_code=self.options.trust_remote_code
            )
        except (ValueError, OSError, KeyError, ImportError) as error:
            raise HarnessError(f"{self.source.name}: its tokenizer cannot be loaded: {error}") from error
        if not chat.chat_template:
            raise HarnessError(f"{self.source.name} has no chat template, and its prompt is a conversation")
        return chat

    def _answer_length(self, count: int) -> int:
        order = " > ".join(f"[{number}]" for number in range(1, count + 1))
        return len(self.tokenizer.encode_plain([order])[0].ids)

    def _ids(self, messages: list[dict[str, str]]) -> list[int]:
        """The conversation's ids, with the beginning-of-sequence id once where the tokenizer adds one."""
        from jinja2 import TemplateError

        try:
            text: str = self._chat.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except TemplateError as error:
            raise HarnessError(f"{self.source.name}: its chat template refuses the conversation: {error}") from error
        ids: list[int] = self.tokenizer.encode_plain([text])[0].ids
        begin: list[int] = self.tokenizer.backend.encode("").ids[:1]
        adds = begin == [self.source.config.get("bos_token_id")]
        return begin + ids if adds and ids[:1] != begin else ids
