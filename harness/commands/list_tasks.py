"""The verb `list`: every task and suite that can be run."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shared import Options, Say, add_options_of

__all__ = ["add_options", "command"]

_OPTIONS: Options = {
    "--tasks": {"type": Path, "dest": "cards", "metavar": "DIR", "help": "a folder with cards of your own"},
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `list` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Show the suites, each with its size, and the tasks."""
    from ..data.task import Cards

    cards = Cards(given.cards)
    answer("suites:")
    for name, tasks in cards.suites().items():
        answer(f"  {name} ({len(tasks)} tasks)")
    answer("tasks:")
    for name in cards.names():
        answer(f"  {name}")
    return 0
