"""The verb `leaderboard`: tables and pages from results."""

from __future__ import annotations

import argparse
from pathlib import Path

from .shared import Options, Say, add_options_of

__all__ = ["add_options", "command"]

_OPTIONS: Options = {
    "names": {"nargs": "*", "metavar": "NAME", "help": "which leaderboards"},
    "--folder": {"type": Path, "default": Path("leaderboards"), "metavar": "DIR", "help": "where they are (leaderboards)"},
    "--tasks": {"type": Path, "dest": "cards", "metavar": "DIR", "help": "a folder with cards of your own"},
    "--check": {"action": "store_true", "help": "write nothing; exit 1 where a table is out of date"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `leaderboard` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Write or check each leaderboard; returns 1 where a checked one is out of date."""
    from ..python.boards import leaderboards

    stale = False
    for board in leaderboards(given.names, given.folder, given.cards, check=given.check):
        stale |= bool(board.changed)
        for line in board.left_out:
            say(line)
        state = "out of date" if board.changed and given.check else "written" if board.changed else "up to date"
        answer(f"{given.folder / board.name}: {state}{': ' + ', '.join(board.changed) if board.changed else ''}")
    return 1 if stale and given.check else 0
