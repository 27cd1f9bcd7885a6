"""Passages that shrink on the way: every few neighbouring states of a passage become their mean.

What bge-reranker-v2.5-gemma2-lightweight does before some of its layers. Source: FlagEmbedding
1.3.5, `CostWiseGemmaForCausalLM`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .decoder_batch import DecoderBatch, batch_of

__all__ = ["compress", "members"]

Counts = NDArray[np.int64]


def compress(x: Any, batch: DecoderBatch) -> tuple[Any, DecoderBatch]:
    """The states (tokens, features) with every passage's replaced by means, and the batch that they make.

    The last group of a passage is over its real members. Each new state gathers its members one
    after another, so a sum has one order on every device.
    """
    passages = batch.passages
    if passages is None:
        return x, batch
    ratio = passages.ratio
    rows = [
        members(length, start, stop, ratio)
        for length, start, stop in zip(batch.lengths, passages.start, passages.stop, strict=True)
    ]
    stops = passages.start + (passages.stop - passages.start + ratio - 1) // ratio
    lengths = np.array([len(first) for first, _ in rows], np.int64)
    shorter = batch_of(batch.sharing, lengths, batch.device, replace(passages, stop=stops))
    first = batch.there(np.concatenate([rows[place][0] + batch.first[place] for place in shorter.order]))
    count = batch.there(np.concatenate([rows[place][1] for place in shorter.order]))[:, None]
    total = torch.zeros(len(first), x.shape[-1], device=x.device)
    for member in range(ratio):
        taken = x[(first + member).clamp(max=len(x) - 1)].float()
        total += torch.where(member < count, taken, 0.0)
    return (total / count).to(x.dtype), replace(shorter, order=batch.order[shorter.order])


def members(length: int, start: int, stop: int, ratio: int) -> tuple[Counts, Counts]:
    """For each state of a shrunken row its first member among the row's `length` states, and how many it has."""
    inside = np.arange(start, stop, ratio)
    first = np.concatenate([np.arange(start), inside, np.arange(stop, length)])
    count = np.ones(len(first), np.int64)
    count[start : start + len(inside)] = np.minimum(ratio, stop - inside)
    return first, count
