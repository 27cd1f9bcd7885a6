"""The verb `explain`: what a warning means, why it matters, what to do."""

from __future__ import annotations

import argparse

from .shared import Options, Say, add_options_of

__all__ = ["add_options", "command"]

_OPTIONS: Options = {
    "codes": {"nargs": "*", "metavar": "CODE", "help": "as RH001; none lists all"},
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `explain` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """What a warning means, why it matters, what to do."""
    from ..results.cautions import explained, listed

    answer("\n\n".join(map(explained, given.codes)) if given.codes else listed())
    return 0
