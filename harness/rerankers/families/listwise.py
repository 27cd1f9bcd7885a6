"""Listwise rerankers: a model that is shown several passages at once and writes their order (`[2] > [1]`).

A window of candidates (mostly 20) moves from the end of the list to its front (by 10); for each the model generates an
order, greedily, or the order is that of its logits for the passages' identifiers at the first token. The score of a
document is n minus its final place, so n … 1. Answers that name some passages only, or none, change little or nothing:
they are counted in every result. What is asked and how the answer is read is a template (prompts/listwise.yaml).
Sources: RankGPT (arXiv 2304.09542), RankZephyr (2312.02724), FIRST (2406.15657), ReasonRank (2508.07050), Rearank
(2505.20046), Rank-K (2505.14432).
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
from ...models.loading import load_weights
from ...models.running import numeric_settings
from ...models.settings import Reader, read_settings, whole_number, yes_or_no
from ...models.source import ModelSource, snapshot
from ...models.tokenization import load_tokenizer, token_limit
from ...text import join_query
from ...types import DocumentText, QueryText
from ..base import Reranker, RerankerSpec
from ..prompts.conversation import Chat, begun
from ..prompts.list_answer import ListAnswer, inside_thinking, is_thinking_mark, read_answer
from ..prompts.list_prompt import LETTERS, ListTemplate, cut_passage, list_template
from ..prompts.windows import sort_by_windows
from .causal_model import exact_head

__all__ = ["FAMILY", "ListRule", "Listwise", "open_family"]

FAMILY = "listwise"
VERSION = 3
_JOIN = "query space instruction; 2"


@dataclass(frozen=True)
class ListRule:
    """Window and stride in documents; max_length (prompt and answer) and max_new_tokens in tokens."""

    window: int
    stride: int
    max_length: int
    passage_length: int | None
    """In the template's unit; None for passages of any length."""
    max_new_tokens: int | None
    """None: as many as it takes to write every identifier once."""
    thinking: bool


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The listwise reranker of a causal language model.

    Settings: template (a packed one or a path to one of the user's), and what replaces the template's own window,
    stride, max_length, passage_length, max_new_tokens and thinking (see `ListRule`). Raises HarnessError for another
    kind of model, a template that cannot be read, and numbers that do not go together.
    """
    if not source.architecture.endswith("ForCausalLM") and not _sees_images(source):
        what = source.architecture or "no named architecture"
        raise HarnessError(f"{source.name} ({what}) cannot write an order: a listwise reranker is a …ForCausalLM")
    numbers = ("window", "stride", "max_length", "passage_length", "max_new_tokens")
    readers: dict[str, Reader] = {"template": str, "thinking": yes_or_no, **dict.fromkeys(numbers, whole_number)}
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, readers)
    template = list_template(str(chosen.pop("template", "rank-zephyr")))
    rule = _rule(source, template, chosen)
    settings: dict[str, object] = {
        **asdict(rule),
        **numeric_settings(source, options),
        "join": _JOIN,
        "template": template.name,
        "template_digest": template.digest,
        "version": VERSION,
    }
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())), context="list")
    note = note_of(source.config, source.note, known=False)
    return [Reranker(spec, lambda: Listwise(source, options, template, rule), note)]


def _sees_images(source: ModelSource) -> bool:
    """Whether it is a model of images and texts, whose texts are all that is asked about here."""
    return "vision_config" in source.config and source.architecture.endswith("ForConditionalGeneration")


def _rule(source: ModelSource, template: ListTemplate, chosen: dict[str, Any]) -> ListRule:
    """The template's numbers and those that were chosen. Raises HarnessError where they do not go together."""
    text_config = source.config.get("text_config")
    limit = token_limit(text_config if isinstance(text_config, dict) else source.config, source.tokenizer_config)
    own = {key: getattr(template, key) for key in ("window", "stride", "passage_length", "max_new_tokens", "thinking")}
    rule = ListRule(**{**own, "max_length": min(template.max_length, limit or template.max_length), **chosen})
    if rule.stride >= rule.window:
        raise HarnessError(
            f"stride={rule.stride} must be smaller than window={rule.window}: windows that do not overlap "
            f"cannot bring a document to the front"
        )
    if limit is not None and rule.max_length > limit:
        raise HarnessError(f"{source.name} takes at most {limit} tokens; max_length={rule.max_length} is more")
    if template.identifiers == "alphabetic" and rule.window > len(LETTERS):
        raise HarnessError(
            f"window={rule.window} is more than the {len(LETTERS)} letters that the template {template.name} has for passages"
        )
    return rule


class Listwise:
    """A loaded tokenizer with its chat template, and weights that are loaded at the first window."""

    tallied = ("answers", "partial", "malformed", "empty", "cut")
    """What `tallies` counts: answers, those of each kind of `ListAnswer`, and those stopped at max_new_tokens."""

    def __init__(self, source: ModelSource, options: Options, template: ListTemplate, rule: ListRule) -> None:
        self.source, self.options, self.template, self.rule = source, options, template, rule
        self.folder = snapshot(source)
        self.tokenizer = load_tokenizer(self.folder, source.config)
        self._chat = None if template.frame else Chat(source, self.folder, options)
        self._first = self._identifier_ids() if template.reads == "first-token" else []
        self.tallies: dict[str, int] = {}
        self._model: Any = None

    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.float32]:
        """N … 1 by final place, shape (n,), in the order of `documents`; `tallies` then says how they were asked for."""
        question, passages = join_query(query), [self.template.passage(document) for document in documents]
        tallies = dict.fromkeys(self.tallied, 0)

        def permute(seen: Sequence[int]) -> list[int]:
            prompt, room = self.prompt(question, [passages[place] for place in seen])
            if self._first:
                tallies["answers"] += 1
                return self.first_token_order(prompt, len(seen))
            text, cut = self.generate(prompt, room)
            answer = self._read(text, len(seen), cut=cut)
            for name in ("answers", answer.kind, *(("cut",) if cut else ())):
                if name in tallies:
                    tallies[name] += 1
            return answer.order

        whole = self.template.front == "whole"
        order = sort_by_windows(len(documents), self.rule.window, self.rule.stride, permute, whole=whole)
        scores = np.empty(len(documents), np.float32)
        scores[order] = np.arange(len(documents), 0, -1, dtype=np.float32)
        self.tallies = tallies
        return scores

    def prompt(self, question: str, passages: Sequence[str]) -> tuple[list[int], int]:
        """The prompt's ids, and how many the answer may have.

        Passages are cut to passage_length, and then by as many more as it takes for prompt and answer to fit in
        max_length (RankLLM's rule). Raises HarnessError where no passage would be left.
        """
        room = 1 if self._first else self.rule.max_new_tokens or self._answer_length(len(passages))
        length = self.rule.passage_length or max(1, *map(len, passages))
        while length > 0:
            cut = [cut_passage(passage, self.template.unit, length, self._first_tokens) for passage in passages]
            ids = self._ids(self.template.messages(question, cut))
            excess = len(ids) + room - self.rule.max_length
            if excess <= 0:
                return ids, room
            length -= max(1, excess // (len(passages) * 4))
        raise HarnessError(
            f"{self.source.name}: {len(passages)} passages, the query and an answer of {room} tokens do not fit in "
            f"max_length={self.rule.max_length} tokens; take a smaller window, or fewer max_new_tokens"
        )

    def first_token_order(self, ids: Sequence[int], count: int) -> list[int]:
        """Places 0 … count − 1 by the logits of their identifiers after `ids`; equal ones as they stand."""
        import torch

        prompt = torch.tensor([list(ids)], device=self.options.device)
        with torch.inference_mode():
            logits = self.model(input_ids=prompt, use_cache=False).logits[0, -1].float().cpu().numpy()
        # Of an identifier that several tokens write, with and without a space, the likeliest counts.
        best = np.full(len(self._first), -np.inf, np.float32)
        np.maximum.at(best, [place for place, tokens in enumerate(self._first) for _ in tokens], logits)
        order: list[int] = np.argsort(-best[:count], kind="stable").tolist()
        return order

    def _read(self, text: str, count: int, *, cut: bool) -> ListAnswer:
        letters = self.template.identifiers == "alphabetic"
        answer = read_answer(text, count, cut=cut, letters=letters, extraction=self.template.extraction)
        if self.template.incomplete == "ignored" and answer.kind != "complete":
            return ListAnswer(list(range(count)), answer.kind)
        return answer

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

            auto_class = "AutoModelForImageTextToText" if _sees_images(self.source) else "AutoModelForCausalLM"
            self._model = load_weights(auto_class, self.source, self.options)
            if self._first:
                rows = [token for tokens in self._first for token in tokens]
                self._model.set_output_embeddings(exact_head(self._model.get_output_embeddings(), rows))
            # The model's own settings (sampling, a repetition penalty) would be merged in: only its ends are kept.
            ends = self._model.generation_config.eos_token_id
            self._model.generation_config = GenerationConfig(
                do_sample=False, num_beams=1, eos_token_id=ends, pad_token_id=self.tokenizer.pad_id
            )
        return self._model

    def _answer_length(self, count: int) -> int:
        return len(self.tokenizer.ids_of_one(self.template.order(count)))

    def _first_tokens(self, text: str, count: int) -> str:
        ids = self.tokenizer.ids_of_one(text)
        return text if len(ids) <= count else str(self.tokenizer.backend.decode(ids[:count], skip_special_tokens=False))

    def _identifier_ids(self) -> list[list[int]]:
        """For each place of a window the tokens that write its identifier and nothing else."""
        backend = self.tokenizer.backend
        named = {self.template.identifier(place): place for place in range(self.rule.window)}
        found: list[list[int]] = [[] for _ in named]
        for token in range(backend.get_vocab_size(with_added_tokens=True)):
            # Every decoder but that of some word pieces leaves out the space before a text's first word.
            place = named.get(backend.decode([token], skip_special_tokens=False))
            if place is not None:
                found[place].append(token)
        if lacking := [name for name, place in named.items() if not found[place]]:
            raise HarnessError(
                f"{self.source.name} has no token of its own for the identifier {lacking[0]}, and the template "
                f"{self.template.name} reads one token: take window={named[lacking[0]] or 1}, or alphabetic identifiers"
            )
        return found

    def _ids(self, messages: list[dict[str, str]]) -> list[int]:
        if self._chat is None:
            text = self.template.framed(messages)
        else:
            text = self._chat.text(messages, thinking=self.rule.thinking)
        return begun(self.tokenizer, text + self.template.begins, self.source)
