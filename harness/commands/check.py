"""The verb `check`: the contract test of a reranker (`rerankers.contract`), finding by finding."""

from __future__ import annotations

import argparse

from ..python.wanted import open_one_reranker
from .run import MODEL, add_model_options, running_of
from .shared import Say, show

__all__ = ["add_options", "command"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `check` takes."""
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    add_model_options(parser)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Answer with every finding as it comes; returns 1 if one failed."""
    from ..rerankers.contract import check_reranker

    return show(check_reranker(open_one_reranker(given.model, running_of(given), say)), answer)
