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
    "--baseline": {"metavar": "RESULT", "help": "results to stand beside these: a result file, a folder, or a reranker with results"},
    "--allow-different": {"action": "store_true", "help": "with --baseline: compare what both have although data, depth or candidates differ"},
    "--output": {"type": Path, "default": Path("report.html"), "metavar": "FILE", "help": "the page to write (report.html); a name in .svg or .png writes the picture of quality against cost alone"},
    "--queries": {**QUERIES, "default": 5, "help": "show so many wins and losses of each result (5)"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `report` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Write one page about some results."""
    from ..files.cache import cache_folder
    from ..verdicts.compare import System, compare, open_system
    from ..verdicts.plots.files import ENDINGS, require_picture, write_picture
    from ..verdicts.report import page
    from ..verdicts.trade_off import picture_of

    entries = [entry for word in given.words for entry in open_system(word, given.results).entries]
    apart = list({entry.path.resolve(): entry for entry in entries}.values())
    found = [entry.whole() for entry in apart]
    as_picture = given.output.suffix.lower() in ENDINGS
    if given.baseline is None and given.allow_different:
        raise HarnessError("--allow-different is for --baseline")
    if given.baseline is not None and as_picture:
        raise HarnessError(f"--baseline is for a page: {given.output} is the picture of quality against cost")
    if as_picture:
        require_picture(given.output)
    since = None
    if given.baseline is not None:
        baseline = System(given.baseline, open_system(given.baseline, given.results).entries)
        current = System(given.words[0] if len(given.words) == 1 else "current", apart)
        since = compare(baseline, current, allow_different=given.allow_different)
    if as_picture:
        write_picture(given.output, picture_of(found))
    else:
        _write_page(given.output, page(found, cache_folder(), given.queries, since))
    answer(str(given.output))
    return 0


def _write_page(output: Path, text: str) -> None:
    from ..files.cache import write_atomically

    try:
        write_atomically(output, text)
    except OSError as error:
        raise HarnessError(f"cannot write {output}: {error.strerror or error}") from None
