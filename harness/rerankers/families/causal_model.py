"""A causal language model that is loaded, and the pairs of a request before it; see `causal.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...engine.fast import knows_decoder, pack_causal
from ...engine.fast.sharing import Sharing
from ...engine.options import Options
from ...engine.plan import plan_batches
from ...errors import HarnessError
from ...models.loading import load_weights
from ...models.source import ModelSource, snapshot
from ...models.tokenization import Tokenizer, load_tokenizer, lower_case, token_limit
from ...types import DocumentText, QueryText
from ..activations import Activation
from ..base import sigmoid
from ..prompts.pairs import PairPrompter, PairPrompts
from ..prompts.prompts import Prompter, Prompts
from ..prompts.saved_form import SavedForm
from ..prompts.template import Rule, Template, Writes
from ..prompts.truncation import Taken
from . import selfrag
from .grouped import GroupedPairs
from .reasoning import reasoned_margins
from .vllm_backend import label_margins, need_vllm, open_engine

__all__ = ["CausalModel", "CausalPairs", "Scoring", "exact_head", "positions_for"]


_FORCED = 16
"""Tokens kept for the words that close a thought that its model did not close."""


@dataclass(frozen=True)
class Scoring:
    """How a prompt becomes a score: by the template's labels, or by `full`; and what computes it."""

    full: selfrag.FullScore | None = None
    vllm: bool = False
    form: SavedForm | None = None
    """The input that the model's own files describe, in the place of a template."""
    activation: Activation | None = None
    """What the files publish a margin as; None where the template's score says it."""
    writes: Writes | None = None
    """How the model thinks before its labels are read, where the template lets it."""

    @property
    def answer(self) -> int:
        """How many tokens the model writes after a prompt; they need positions too."""
        if self.writes:
            return self.writes.max_new_tokens + _FORCED
        return self.full.max_new_tokens if self.full else int(self.vllm)

    @property
    def generates(self) -> bool:
        """Whether the model writes, and needs all of its words."""
        return bool(self.full or self.writes)

    def packs(self, source: ModelSource) -> bool:
        """Whether the model's weights are taken to the fast path, as far as its config.json tells."""
        return not self.generates and not self.vllm and knows_decoder(source.config)

    @property
    def settings(self) -> dict[str, object]:
        """What a fingerprint must hold; nothing for the template's labels under transformers."""
        thought = {"max_new_tokens": self.writes.max_new_tokens} if self.writes else {}
        return {**(self.full.settings if self.full else {}), **thought, **({"backend": "vllm"} if self.vllm else {})}


def positions_for(source: ModelSource, answer: int) -> int | None:
    """How many tokens a prompt may have; None where the model's files do not say."""
    limit = token_limit(source.config, source.tokenizer_config)
    if limit is not None and limit <= answer:
        raise HarnessError(
            f"{source.name} takes {limit} tokens, which leaves no room for a prompt beside max_new_tokens={answer}"
        )
    return None if limit is None else limit - answer


class CausalModel:
    """A loaded tokenizer, and weights that are loaded when the first score is missing."""

    def __init__(self, source: ModelSource, options: Options, template: Template, rule: Rule, scoring: Scoring) -> None:
        if scoring.vllm:
            need_vllm(source.name)
        self.source, self.options, self.template, self.scoring = source, options, template, scoring
        self.folder: Path = snapshot(source)
        self.tokenizer: Tokenizer = load_tokenizer(self.folder, source.config)
        if scoring.form is not None and scoring.form.layout.lower_case:
            lower_case(self.tokenizer.backend)
        self.prompter: Prompter | PairPrompter
        positions = positions_for(source, scoring.answer)
        if scoring.form is not None:
            self.prompter = scoring.form.prompter(self.tokenizer, positions)
        else:
            self.prompter = Prompter(self.tokenizer, template, rule, positions, source.config.get("bos_token_id"))
        self.labels = self._label_ids()
        self.terms = selfrag.terms(self._piece_id) if scoring.full else None
        self.packs = scoring.packs(source)
        self._model: Any = None

    @property
    def model(self) -> Any:
        """The weights, with a head that has the labels' rows only, in the order of `labels`; all rows for
        a model that writes. A `fast.decoder.PackedLastToken`, or the transformers model where it has
        no fast path.

        The head works in float32 whatever the dtype: rounded logits tie. Raises HarnessError where
        the weights do not fit (see `loading.load_weights`).
        """
        if self._model is None:
            model = load_weights("AutoModelForCausalLM", self.source, self.options)
            self._model = (pack_causal(model, self.labels) if self.packs else None) or self._plain(model)
        return self._model

    def _plain(self, model: Any) -> Any:
        head = model.get_output_embeddings()
        rows = range(len(head.weight)) if self.scoring.generates else self.labels
        model.set_output_embeddings(exact_head(head, rows))
        return model

    @property
    def engine(self) -> Any:
        """vLLM with the weights, in the place of `model`."""
        if self._model is None:
            frame = len(self.prompter.before) + len(self.prompter.after)
            self._model = open_engine(
                self.folder,
                dtype=self.options.dtype,
                longest=frame + self.prompter.room,
                trust_remote_code=self.options.trust_remote_code,
            )
        return self._model

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> CausalPairs:
        if self.scoring.form is not None:
            queries = self.scoring.form.queries(list(queries))
        prompts = self.prompter.encode(queries, documents, pairs)
        return CausalPairs(self, prompts, prompts.lengths, prompts.lost)

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """What its files publish, or P(positive) for the score `softmax`; else the margin itself."""
        if self.scoring.activation is not None:
            return self.scoring.activation(margins)
        return sigmoid(margins) if self.template.score == "softmax" and not self.scoring.full else margins

    def margins(self, rows: Sequence[NDArray[np.int32]], sharing: Sharing | None = None) -> NDArray[np.float32]:
        """The float32 margin after each row of ids, shape (rows,); `sharing` is of the same rows."""
        if self.scoring.full and self.terms:
            return selfrag.full_scores(self.model, rows, self.terms, self.scoring.full)
        if self.scoring.writes:
            return reasoned_margins(self.model, self.tokenizer, rows, self.labels, self.scoring.writes)[0]
        if self.scoring.vllm:
            positive, negative = self.labels
            return label_margins(self.engine, rows, positive, negative)
        logits = self.logits(rows, sharing)
        found: NDArray[np.float32] = logits[:, 0] - logits[:, 1] if logits.shape[1] == 2 else logits[:, 0]
        return found

    def logits(self, rows: Sequence[NDArray[np.int32]], sharing: Sharing | None = None) -> NDArray[np.float32]:
        """Float32 logits of the labels after each row of ids, shape (rows, labels)."""
        from ...engine.fast.decoder import PackedLastToken

        if isinstance(self.model, PackedLastToken):
            return self.model.logits(rows, sharing)
        found = np.empty((len(rows), len(self.labels)), np.float32)
        # Batches that were planned to be packed are larger when they are padded.
        for part in plan_batches([len(ids) for ids in rows], self.options.batch_tokens):
            found[part] = self._padded_logits([rows[row] for row in part])
        return found

    def _padded_logits(self, rows: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """The logits as transformers computes them.

        Padding stands on the right, where a causal model's real tokens never see it: any id will do,
        and positions need no shift.
        """
        import torch

        lengths = torch.tensor([len(ids) for ids in rows])
        width = int(lengths.max())
        batch = torch.zeros((len(rows), width), dtype=torch.long)
        for row, ids in enumerate(rows):
            batch[row, : len(ids)] = torch.from_numpy(ids)
        mask = (torch.arange(width) < lengths[:, None]).long()
        device = self.options.device
        with torch.inference_mode():
            every = self.model(input_ids=batch.to(device), attention_mask=mask.to(device), use_cache=False).logits
            last = every[torch.arange(len(rows), device=device), (lengths - 1).to(device)]
            found: NDArray[np.float32] = last.float().cpu().numpy()
        return found

    def _label_ids(self) -> list[int]:
        labels = self.template.labels
        words = [labels.positive] if labels.negative is None else [labels.positive, labels.negative]
        ids = [self._label_id(word) for word in words]
        if len(set(ids)) < len(ids):
            raise HarnessError(
                f"{self.source.name}'s tokenizer gives the labels {words[0]} and {words[1]} of the template "
                f"{self.template.name} the same token, so every score would be 0"
            )
        return ids

    def _label_id(self, word: str | int) -> int:
        if isinstance(word, int):
            if not 0 <= word < int(self.source.config.get("vocab_size", word + 1)):
                raise HarnessError(f"{self.source.name} scores the token {word}, which its vocabulary does not hold")
            return word
        if self.template.labels.find == "piece":
            return self._piece_id(word)
        ids = self.tokenizer.ids_of_one(word)
        if not ids:
            raise self._lacks(word)
        return int(ids[0])

    def _piece_id(self, word: str) -> int:
        found = self.tokenizer.backend.token_to_id(word)
        if found is None:
            raise self._lacks(word)
        return int(found)

    def _lacks(self, word: str) -> HarnessError:
        return HarnessError(
            f'{self.source.name} has no token "{word}", whose logit the template {self.template.name} scores: '
            f"the template is for another model"
        )


@dataclass
class CausalPairs(GroupedPairs):
    """The pairs of one request."""

    model: CausalModel
    prompts: Prompts | PairPrompts
    lengths: NDArray[np.int64]
    lost: NDArray[np.int64]
    also: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def packs(self) -> bool:
        return self.model.packs

    @property
    def queries(self) -> NDArray[np.int64]:
        return self.prompts.queries

    @property
    def taken(self) -> Taken:
        return self.prompts.taken

    def plan(self, budget: int) -> list[NDArray[np.int64]]:
        """Batches in which the thoughts of a model that thinks have room too."""
        writes = self.model.scoring.writes
        return plan_batches(self.lengths + writes.max_new_tokens, budget) if writes else super().plan(budget)

    def row_ids(self, row: int) -> NDArray[np.int32]:
        return self.prompts.ids(row)

    def token_ids(self, row: int) -> list[int]:
        """The ids that the model gets for one pair."""
        return [int(token) for token in self.prompts.ids(row)]

    @property
    def tallied(self) -> tuple[str, ...]:
        """What a model that thinks counts of each pair: the answer, and whether its ending was forced."""
        return ("answers", "forced") if self.model.scoring.writes else ()

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        model, writes = self.model, self.model.scoring.writes
        if writes:
            ids = [self.prompts.ids(row) for row in rows]
            margins, forced = reasoned_margins(model.model, model.tokenizer, ids, model.labels, writes)
            self.also = {"answers": np.ones(len(rows), np.float32), "forced": forced}
            return margins
        return self.model.margins([self.prompts.ids(row) for row in rows], self.sharing_of(rows))


def exact_head(head: Any, rows: Sequence[int]) -> Any:
    """A float32 linear layer with some rows of a head.

    The model's own code runs it in the head's place, so what an architecture does to its logits (a
    soft cap, a scale) is done to these as well.
    """
    import torch

    chosen = torch.tensor(rows, device=head.weight.device)
    exact = torch.nn.Linear(head.weight.shape[1], len(rows), bias=head.bias is not None, device=head.weight.device)
    with torch.no_grad():
        exact.weight.copy_(head.weight[chosen])
        if head.bias is not None:
            exact.bias.copy_(head.bias[chosen])
    exact.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return exact.eval()
