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
    from ..data.task import Cards
    from ..files.cache import cache_folder
    from ..leaderboard import leaderboard_names, left_out_of, read_board, write_board

    stale = []
    for name in given.names or leaderboard_names(given.folder):
        board = read_board(name, given.folder, Cards(given.cards), cache_folder())
        changed = write_board(board, given.folder, check=given.check)
        stale += changed
        for line in left_out_of(board):
            say(line)
        state = "out of date" if changed and given.check else "written" if changed else "up to date"
        answer(f"{given.folder / name}: {state}{': ' + ', '.join(changed) if changed else ''}")
    return 1 if stale and given.check else 0
