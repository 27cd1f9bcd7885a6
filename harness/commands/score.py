"""The verb `score`: one published score for each pair of a JSON-lines file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ..python.asking import model_options, open_one_reranker
from .run import MODEL, add_model_options, running_of
from .shared import Say

__all__ = ["add_options", "command"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `score` takes."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="JSON lines with query and text; instruction and title if wanted"
    )
    add_model_options(parser)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Answer with one line {"score": …} a pair, in order, with the activation the authors publish."""
    from ..rerankers.score import read_pairs, score_pairs

    pairs = read_pairs(given.file)
    asked = running_of(given)
    reranker = open_one_reranker(given.model, asked, say)
    for score in score_pairs(reranker, pairs, model_options(asked).batch_tokens, say).tolist():
        answer(json.dumps({"score": score}))
    return 0
