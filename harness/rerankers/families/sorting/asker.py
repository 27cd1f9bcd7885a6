"""Asking a T5 or a chat model which passage is best: the ids of a question, and the label that it is answered with.

A T5 writes two tokens after the answer's beginning, a chat model one after its turn and the answer's beginning, both
greedily; the rows of the head that might win are compared in float32. Source: ielab/llm-rankers, the code of Setwise
(arXiv 2310.09497).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....engine.options import Options
from ....errors import HarnessError
from ....models.loading import load_weights
from ....models.runners import pad
from ....models.source import ModelSource, snapshot
from ....models.tokenization import encodings, load_tokenizer, token_limit
from ...prompts.conversation import Chat
from ...prompts.sort_prompt import SortTemplate
from ..seq2seq import T5_CLASSES, open_t5_tokenizer, output_scale

__all__ = ["Asker", "ChatAsker", "T5Asker", "kind_of"]

_CLOSE = 16
"""How many of the best rows of a head are compared in float32: rounded logits tie."""


def kind_of(source: ModelSource) -> type[Asker]:
    """Whether a model is asked as a T5 or in a chat. Raises HarnessError where it is neither."""
    if source.architecture in T5_CLASSES:
        return T5Asker
    if source.architecture.endswith("ForCausalLM"):
        return ChatAsker
    what = source.architecture or "no named architecture"
    raise HarnessError(f"{source.name} ({what}) cannot answer a question: such a reranker is a T5 or a …ForCausalLM")


class Asker:
    """A loaded tokenizer, and weights that are loaded at the first question."""

    auto_class: str
    tokens: int
    """How many the answer has at most."""

    def __init__(self, source: ModelSource, options: Options, template: SortTemplate) -> None:
        self.source, self.options, self.template = source, options, template
        self.folder = snapshot(source)
        self._model: Any = None

    tokenizer: Any

    @property
    def model(self) -> Any:
        """The weights. Raises HarnessError where they do not fit."""
        if self._model is None:
            self._model = load_weights(self.auto_class, self.source, self.options)
        return self._model

    def cut(self, texts: Sequence[str], tokens: int) -> tuple[list[str], int]:
        """The texts, each up to the end of its first `tokens` tokens, and how many lost something."""
        kept, lost = [], 0
        for text, entry in zip(texts, encodings(self.tokenizer.backend, texts), strict=True):
            long = len(entry.ids) > tokens
            kept.append(text[: entry.offsets[tokens - 1][1]] if long else text)
            lost += long
        return kept, lost

    def ids(self, question: str) -> list[int]:
        """What the model reads of a question."""
        raise NotImplementedError

    def answers(self, questions: Sequence[Sequence[int]]) -> list[str]:
        """What the model writes after each question's ids, without special tokens and stripped."""
        import torch

        written: dict[int, list[int]] = {}
        with torch.inference_mode():
            for batch in self._batches(questions):
                written.update(zip(batch, self._write([questions[place] for place in batch]), strict=True))
        backend = self.tokenizer.backend
        texts = [backend.decode(written[place], skip_special_tokens=True) for place in range(len(questions))]
        # Vocabularies that are read from spiece.model come without a decoder.
        return [text.replace("▁", " ").strip() for text in texts]

    def _batches(self, questions: Sequence[Sequence[int]]) -> list[list[int]]:
        """Places of questions of like length, within the budget of tokens."""
        batches: list[list[int]] = []
        for place in sorted(range(len(questions)), key=lambda each: -len(questions[each])):
            longest = len(questions[batches[-1][0]]) if batches else 0
            if not batches or (len(batches[-1]) + 1) * longest > self.options.batch_tokens:
                batches.append([])
            batches[-1].append(place)
        return batches

    def _write(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        raise NotImplementedError

    def _best(self, states: Any) -> list[int]:
        """The id with the largest logit for each row of `states` (rows, width), the lowest of equal ones."""
        head = self.model.get_output_embeddings()
        near = head(states).float().topk(min(_CLOSE, len(head.weight)), dim=-1).indices.sort(dim=-1).values
        exact = (head.weight[near].float() @ states.float().unsqueeze(-1)).squeeze(-1)
        if getattr(head, "bias", None) is not None:
            exact += head.bias[near].float()
        best: list[int] = near.gather(-1, exact.argmax(dim=-1, keepdim=True)).squeeze(-1).tolist()
        return best

    def _on_device(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        ids, mask = pad([list(row) for row in rows], self.tokenizer.pad_id)
        return ids.to(self.options.device), mask.to(self.options.device)


class T5Asker(Asker):
    """A T5: the question goes through the encoder, the answer's beginning through the decoder."""

    auto_class, tokens = "AutoModelForSeq2SeqLM", 2

    def __init__(self, source: ModelSource, options: Options, template: SortTemplate) -> None:
        super().__init__(source, options, template)
        self.tokenizer = open_t5_tokenizer(source, self.folder)
        self._closing: list[int] = self.tokenizer.backend.encode("").ids
        start = source.config.get("decoder_start_token_id")
        if not isinstance(start, int):
            raise HarnessError(f"{source.name}: config.json has no decoder_start_token_id to begin an answer with")
        beginning = self.tokenizer.ids_of_one(template.answer) if template.answer else []
        self.beginning = [start, *beginning]

    def ids(self, question: str) -> list[int]:
        found: list[int] = self.tokenizer.ids_of_one(question)
        return found + self._closing

    def label_ids(self) -> list[int]:
        """The last id of each label after the answer's beginning. Raises HarnessError where two share one."""
        words = [f"{self.template.answer} {label}" for label in self.template.labels]
        found = [self.tokenizer.ids_of_one(word)[-1] for word in words]
        if len(set(found)) < len(found):
            raise HarnessError(
                f"{self.source.name}: its tokenizer does not tell the labels {self.template.labels} apart"
            )
        return found

    def likelihoods(self, rows: Sequence[Sequence[int]], labels: Sequence[int]) -> NDArray[np.float32]:
        """The logits of these ids right after the answer's beginning, float32, shape (rows, labels)."""
        import torch

        with torch.inference_mode():
            read = self._read(rows)
            states = self._last(read, torch.tensor([self.beginning] * len(rows), device=self.options.device))
            head = self.model.get_output_embeddings().weight[list(labels)].float()
            found: NDArray[np.float32] = (states.float() @ head.T).cpu().numpy()
        return found

    def _write(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        import torch

        read, ends = self._read(rows), self._closing[-1:]
        said = torch.tensor([self.beginning] * len(rows), device=self.options.device)
        written: list[list[int]] = [[] for _ in rows]
        for _ in range(self.tokens):
            best = self._best(self._last(read, said))
            for ids, one in zip(written, best, strict=True):
                if ids[-1:] != ends:
                    ids.append(one)
            said = torch.cat([said, torch.tensor(best, device=said.device)[:, None]], dim=1)
        return written

    def _read(self, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        ids, mask = self._on_device(rows)
        return self.model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask

    def _last(self, read: tuple[Any, Any], said: Any) -> Any:
        """The state that the next token is read from, shape (rows, width), as the head takes it."""
        states, mask = read
        out = self.model.decoder(
            input_ids=said, encoder_hidden_states=states, encoder_attention_mask=mask, use_cache=False
        ).last_hidden_state[:, -1]
        return out * output_scale(self.source.config, out.shape[-1])


class ChatAsker(Asker):
    """A causal language model with a chat template: the question is a user's turn."""

    auto_class, tokens = "AutoModelForCausalLM", 1

    def __init__(self, source: ModelSource, options: Options, template: SortTemplate) -> None:
        super().__init__(source, options, template)
        self.tokenizer = load_tokenizer(self.folder, source.config)
        self._limit = token_limit(source.config, source.tokenizer_config)
        self._chat = Chat(source, self.folder, options)

    def ids(self, question: str) -> list[int]:
        """Raises HarnessError where the chat template refuses the turn, or the question is too long for the model."""
        text = self._chat.text([{"role": "user", "content": question}])
        ids = self._chat.ids(self.tokenizer, text + self.template.chat_answer)
        if self._limit is not None and len(ids) + self.tokens > self._limit:
            raise HarnessError(
                f"{self.source.name} takes {self._limit} tokens, and a question has {len(ids)}: take a smaller "
                f"passage_length or fewer children"
            )
        return ids

    def answers(self, questions: Sequence[Sequence[int]]) -> list[str]:
        return [answer.upper() for answer in super().answers(questions)]

    def _write(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        import torch

        ids, mask = self._on_device(rows)
        states = self.model.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        last = mask.sum(dim=1) - 1
        return [[one] for one in self._best(states[torch.arange(len(rows), device=states.device), last])]
