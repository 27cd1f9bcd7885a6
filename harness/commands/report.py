"""The verb `report`: one HTML page about some results. Loads no model, nor what models need."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import HarnessError
from .shared import QUERIES, RESULT, RESULTS, Options, Say, add_options_of

__all__ = ["add_options", "command"]

_OPTIONS: Options = {
    "words": {"nargs": "+", "metavar": "RESULT", "help": RESULT},
    "--results": RESULTS,
    "--output": {"type": Path, "default": Path("report.html"), "metavar": "FILE", "help": "the page to write (report.html); a name in .svg writes the picture of quality against cost alone"},
    "--queries": {**QUERIES, "default": 5, "help": "show so many wins and losses of each result (5)"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `report` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Write one page about some results."""
    from ..files.cache import cache_folder, write_atomically
    from ..verdicts.compare import open_system
    from ..verdicts.report import page
    from ..verdicts.trade_off import picture_of

    entries = [entry for word in given.words for entry in open_system(word, given.results).entries]
    found = list({entry.path.resolve(): entry.whole() for entry in entries}.values())
    as_picture = given.output.suffix == ".svg"
    try:
        write_atomically(given.output, picture_of(found) if as_picture else page(found, cache_folder(), given.queries))
    except OSError as error:
        raise HarnessError(f"cannot write {given.output}: {error.strerror or error}") from None
    answer(str(given.output))
    return 0
