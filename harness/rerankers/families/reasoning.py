"""Rerankers that think before they answer: the labels are read behind the thought that the model writes.

After the prompt the model writes greedily. Where it writes one of the labels right behind the closing words (`until`),
the score is the two labels' logits at that place. Where it does not within `max_new_tokens`, or ends before, or the other
label is not among the `among` likeliest tokens there, the ending is forced: the thought, cut behind its last whole
sentence, stands in `forced` behind the prompt, and the labels are read after that, in one more pass. Source: Rank1 (arXiv
2502.18418) and its code, rank1.py.

One thing differs from that code: it reads the last token of a thought that is not closed too, where both labels happen to
be among the likeliest there. Here such a thought is always given its ending.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.tokenization import Tokenizer
from ..prompts.template import Writes
from .selfrag import answers, ends_of

__all__ = ["reasoned_margins"]

_SENTENCE_ENDS = (".", "!", "?")


def reasoned_margins(
    model: Any, tokenizer: Tokenizer, rows: Sequence[NDArray[np.int32]], labels: Sequence[int], writes: Writes
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The float32 margin of the two labels behind each row's thought, and 1 where its ending was forced, (rows,) each.

    `model` is a causal language model of transformers whose head is in float32; `tokenizer` that of the rows.
    """
    import torch

    found = np.full(len(rows), np.nan, np.float32)
    thoughts: list[list[int]] = [[] for _ in rows]
    with torch.inference_mode():
        for logits, written, alive in answers(model, rows, writes.max_new_tokens):
            for row in torch.nonzero(alive).flatten().tolist():
                token = int(written[row])
                if token in labels and _text(tokenizer, thoughts[row]).endswith(writes.until):
                    found[row] = _margin(logits[row], labels, writes.among)
                    alive[row] = False
                elif token not in ends_of(model):
                    thoughts[row].append(token)
        open_rows = np.flatnonzero(np.isnan(found))
        if len(open_rows):
            forced = [_forced(tokenizer, rows[row], thoughts[row], writes) for row in open_rows.tolist()]
            logits, _, _ = next(answers(model, forced, 1))
            found[open_rows] = (logits[:, labels[0]] - logits[:, labels[1]]).cpu().numpy()
    was_forced = np.zeros(len(rows), np.float32)
    was_forced[open_rows] = 1
    return found, was_forced


def _margin(logits: Any, labels: Sequence[int], among: int | None) -> float:
    """Logit(positive) − logit(negative); NaN where one of them is not among the likeliest."""
    pair = logits[list(labels)]
    if among is not None and int((logits > pair.min()).sum()) >= among:
        return float("nan")
    return float(pair[0] - pair[1])


def _forced(tokenizer: Tokenizer, prompt: NDArray[np.int32], thought: list[int], writes: Writes) -> NDArray[np.int32]:
    """The ids of the prompt, the thought as far as it has whole sentences, and the closing words.

    They are tokenized as one text, as the authors' code does, where the prompt's text gives its ids again.
    """
    text = _text(tokenizer, thought).removesuffix(writes.until).rstrip()
    last = max(text.rfind(end) for end in _SENTENCE_ENDS)
    text = (text[: last + 1] if last >= 0 else text).strip()
    ending = writes.forced.replace("{written}", text)
    ids = prompt.tolist()
    asked = _text(tokenizer, ids)
    if tokenizer.ids_of_one(asked) == ids:
        return np.array(tokenizer.ids_of_one(asked + ending), np.int32)
    return np.array(ids + tokenizer.ids_of_one(ending), np.int32)


def _text(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    return str(tokenizer.backend.decode(list(ids), skip_special_tokens=False))
