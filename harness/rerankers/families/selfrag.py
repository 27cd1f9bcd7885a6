"""Self-RAG's full score: what it says of a passage while it writes an answer from it.

score = w_rel·rel + w_sup·sup + w_use·use, and exp(mean log-probability of the answer's tokens) more
with `seqscore`. Each term is the mean of its words' values under a softmax over those words' logits:

    rel   [Relevant] 1, [Irrelevant] 0                                    at the answer's first token
    sup   [Fully supported] 1, [Partially supported] .5, [No support …] 0  where one of them is first written
    use   [Utility:1] … [Utility:5]: −1, −.5, 0, .5, 1                     where one of them is first written

and 0 where none of its words was written. The answer is greedy, and ends with an end-of-sequence
token, which counts as one of its tokens, or after max_new_tokens. Source: Self-RAG (arXiv
2310.11511) and its code, run_short_form.py and run_long_form_static.py.

Two things differ from that code. Its long form looks for the utility words in the answer and then
fills their places from the support words' table, so that its utility is always 0: a defect, which
is not copied. And it reads log-probabilities from a list of the 5000 most probable words (32000 in
the long form), where a missing word counts as e^-100; here every word has its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import HarnessError
from ...models.settings import Reader, one_of, whole_number, yes_or_no
from ..prompts.template import Template

__all__ = ["READERS", "FullScore", "Term", "answers", "ends_of", "full_score", "full_scores", "terms"]

RELEVANCE = {"[Relevant]": 1.0, "[Irrelevant]": 0.0}
SUPPORT = {"[Fully supported]": 1.0, "[Partially supported]": 0.5, "[No support / Contradictory]": 0.0}
USEFULNESS = {"[Utility:1]": -1.0, "[Utility:2]": -0.5, "[Utility:3]": 0.0, "[Utility:4]": 0.5, "[Utility:5]": 1.0}

WEIGHTS = {"long": (1.0, 1.0, 0.5), "short": (1.0, 1.0, 1.0)}
"""w_rel, w_sup and w_use of the long form, and of the short form's command line."""

Weights = tuple[float, float, float]


def _weights(text: str) -> Weights:
    """`long`, `short`, or w_rel,w_sup,w_use. Raises ValueError that says so."""
    if text.strip() in WEIGHTS:
        return WEIGHTS[text.strip()]
    try:
        rel, sup, use = map(float, text.split(","))
    except ValueError:
        rel = sup = use = math.nan
    if not all(map(math.isfinite, (rel, sup, use))):
        raise ValueError("long, short, or three numbers as in 1,1,0.5, for relevance, support and utility")
    return rel, sup, use


READERS: Mapping[str, Reader] = {
    "score": one_of("template", "full"),
    "weights": _weights,
    "seqscore": yes_or_no,
    "max_new_tokens": whole_number,
}


@dataclass(frozen=True)
class FullScore:
    """The settings of score=full. 100 new tokens are those of the authors' short-form commands."""

    weights: Weights = WEIGHTS["long"]
    seqscore: bool = False
    max_new_tokens: int = 100

    @property
    def settings(self) -> dict[str, object]:
        """What a fingerprint must hold."""
        weights = ",".join(map(str, self.weights))
        return {"score": "full", "weights": weights, "seqscore": self.seqscore, "max_new_tokens": self.max_new_tokens}


def full_score(chosen: Mapping[str, object], template: Template) -> FullScore | None:
    """The full score that the settings ask for, None where they ask for the template's own score.

    Raises HarnessError for a template that is not Self-RAG's, and for settings of a full score that
    is not asked for.
    """
    own: dict[str, Any] = {key: value for key, value in chosen.items() if key in READERS and key != "score"}
    if chosen.get("score") != "full":
        if own:
            raise HarnessError(
                f"{', '.join(own)} belongs to Self-RAG's full score: add --set score=full, or leave it out"
            )
        return None
    if [template.labels.positive, template.labels.negative] != list(RELEVANCE):
        raise HarnessError(
            f"score=full is Self-RAG's, whose labels are {' and '.join(RELEVANCE)}; the template {template.name} has others"
        )
    return FullScore(**own)


class Term(NamedTuple):
    """One term's word ids, and the value of each."""

    ids: list[int]
    values: list[float]


def terms(id_of: Callable[[str], int]) -> tuple[Term, Term, Term]:
    """Relevance, support and utility in a vocabulary; `id_of` raises for a word that it lacks."""
    rel, sup, use = (
        Term([id_of(word) for word in table], list(table.values())) for table in (RELEVANCE, SUPPORT, USEFULNESS)
    )
    return rel, sup, use


def full_scores(
    model: Any, rows: Sequence[NDArray[np.int32]], words: Sequence[Term], full: FullScore
) -> NDArray[np.float32]:
    """The full score after each row of prompt ids, float32, shape (rows,).

    `model` is a causal language model of transformers whose head is in float32; `words` are `terms`.
    """
    import torch

    with torch.inference_mode():
        found = torch.zeros(len(words), len(rows), device=model.device)
        seen = torch.zeros_like(found, dtype=torch.bool)
        total, count = torch.zeros_like(found[0]), torch.zeros_like(found[0])
        for step, (logits, written, alive) in enumerate(answers(model, rows, full.max_new_tokens)):
            for place, term in enumerate(words):
                ids, values = (torch.tensor(column, device=model.device) for column in term)
                # Relevance, the first term, is read at the first token whatever is written there.
                here = alive & ~seen[place] & (torch.isin(written, ids) if place else step == 0)
                mean = (logits[:, ids].softmax(-1) * values).sum(-1)
                found[place] = torch.where(here, mean, found[place])
                seen[place] |= here
            chosen = logits.log_softmax(-1).gather(-1, written[:, None])[:, 0]
            total += torch.where(alive, chosen, 0)
            count += alive
        score = (torch.tensor(full.weights, device=model.device)[:, None] * found).sum(0)
        if full.seqscore:
            score += (total / count).exp()
        scores: NDArray[np.float32] = score.cpu().numpy()
    return scores


def answers(model: Any, rows: Sequence[NDArray[np.int32]], most: int) -> Iterator[tuple[Any, Any, Any]]:
    """For each token of the greedy answers: its logits (rows, words), its ids, and which rows still write.

    A caller may clear a row in the last of these: it then counts as one that has ended.

    Prompts are padded on the left, so that every row's next token stands at the end; the mask hides
    the padding, and positions count from each row's own first token.
    """
    import torch

    ids, mask = _left_padded(rows, model.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    ends = torch.tensor(ends_of(model), dtype=torch.long, device=model.device)
    alive = torch.ones(len(rows), dtype=torch.bool, device=model.device)
    cache = None
    for _ in range(most):
        output = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        logits, cache = output.logits[:, -1].float(), output.past_key_values
        written = logits.argmax(-1)
        yield logits, written, alive
        alive = alive & ~torch.isin(written, ends)
        if not alive.any():
            return
        ids, positions = written[:, None], positions[:, -1:] + 1
        mask = torch.cat((mask, torch.ones_like(ids)), -1)


def _left_padded(rows: Sequence[NDArray[np.int32]], device: Any) -> tuple[Any, Any]:
    """Ids and mask, both of shape (rows, longest row)."""
    import torch

    width = max(len(row) for row in rows)
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, width - len(row) :] = torch.from_numpy(row)
        mask[place, width - len(row) :] = 1
    return ids.to(device), mask.to(device)


def ends_of(model: Any) -> list[int]:
    """The end-of-sequence ids that the model's own generation settings name."""
    stated = model.generation_config.eos_token_id
    return [] if stated is None else [stated] if isinstance(stated, int) else list(stated)
