"""The verb `score`: one published score for each pair of a JSON-lines file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from ..python.running import model_options
from ..python.wanted import open_one_reranker
from .run import MODEL, add_model_options, running_of
from .shared import Say

__all__ = ["add_options", "command"]

_SHOWN = 5
"""Pairs that were cut are named up to so many."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `score` takes."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="JSON lines with query and text; instruction and title if wanted"
    )
    add_model_options(parser)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Answer with one line {"score": …} a pair, in order, with the activation the authors publish."""
    from ..rerankers.score import read_pairs, score_and_cut

    pairs = read_pairs(given.file)
    asked = running_of(given)
    reranker = open_one_reranker(given.model, asked, say)
    scores, cut = score_and_cut(reranker, pairs, model_options(asked).batch_tokens, say)
    for score in scores.tolist():
        answer(json.dumps({"score": score}))
    for line in _what_was_cut(cut.tolist()):
        say(line)
    return 0


def _what_was_cut(cut: list[list[int]]) -> Iterator[str]:
    """A line for each of the first few pairs that lost tokens, and one for the others; `cut` is seen and lost of each."""
    lines = [
        f"pair {place}: cut from {seen + lost:,} to {seen:,} tokens; {lost:,} were not scored"
        for place, (seen, lost) in enumerate(cut, start=1)
        if lost
    ]
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"{len(lines)} of {len(cut)} pairs were cut, {sum(lost for _, lost in cut):,} tokens in all were not scored"
