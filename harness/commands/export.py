"""The verb `export`: results in a form of others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HarnessError
from .shared import RESULT, RESULTS, Options, Say, add_options_of

if TYPE_CHECKING:
    from ..verdicts.pairing import Entry

__all__ = ["add_options", "command"]

_SHOWN = 20
"""Lines of what was left out that a terminal shows."""

_OPTIONS: Options = {
    "words": {"nargs": "+", "metavar": "RESULT", "help": RESULT},
    "--to": {
        "required": True,
        "choices": (
            "mteb", "mteb-predictions", "model-card", "eval-results", "trec", "ir-metadata", "json", "csv", "parquet",
        ),
        "metavar": "FORM",
        "help": "mteb (files of its results cache), mteb-predictions, model-card (a README.md's model-index), eval-results (the hub's "
        ".eval_results), trec (runs), ir-metadata (runs with its header), json (`schema` prints its schema), csv or parquet (one long table)",
    },
    "--output": {
        "type": Path, "required": True, "metavar": "PATH",
        "help": "a folder (mteb, mteb-predictions, eval-results, trec, ir-metadata) or a file",
    },
    "--two-stage": {"action": "store_true", "help": "eval-results: also figures over a first stage's candidates, with the first stage in the notes"},
    "--source": {"default": "", "metavar": "URL", "help": "eval-results: the address that the figures link to"},
    "--date": {"default": "", "metavar": "DAY", "help": "eval-results: when it was measured, as 2026-01-31; without it the day of a result's last change"},
    "--results": RESULTS,
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `export` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Write results in a form of others; what that form cannot hold is told on stderr."""
    from ..verdicts.compare import open_system

    named = [entry for word in given.words for entry in open_system(word, given.results).entries]
    entries = list({entry.path.resolve(): entry for entry in named}.values())
    if given.to == "eval-results":
        from ..interchange.eval_results import export_eval_results

        files = export_eval_results(
            entries, given.output, two_stage=given.two_stage, source=given.source, date=given.date
        )
        paths, left_out = files.paths, files.left_out
    elif given.two_stage or given.source or given.date:
        raise HarnessError("--two-stage, --source and --date are of --to eval-results")
    else:
        paths, left_out = _exported(given.to, entries, given.output)
    for path in paths:
        answer(str(path))
    for line in left_out[:_SHOWN]:
        say(f"left out: {line}")
    if len(left_out) > _SHOWN:
        say(f"left out: {len(left_out) - _SHOWN} more")
    return 0


def _exported(kind: str, entries: list[Entry], output: Path) -> tuple[list[Path], list[str]]:
    """What was written, and what was left out."""
    if kind == "mteb":
        from ..interchange.mteb_out import export_mteb

        files = export_mteb(entries, output)
        return files.paths, files.left_out
    if kind == "mteb-predictions":
        from ..files.cache import cache_folder
        from ..interchange.mteb_predictions import export_predictions

        files = export_predictions(entries, output, cache_folder())
        return files.paths, files.left_out
    if kind in ("trec", "ir-metadata"):
        from ..files.cache import cache_folder
        from ..interchange.runs import export_runs

        runs = export_runs(entries, output, cache_folder(), annotated=kind == "ir-metadata")
        return runs.paths, runs.left_out
    if kind == "json":
        from ..interchange.as_json import export_json

        export_json(entries, output)
        return [output], []
    if kind == "model-card":
        from ..interchange.card import export_card

        return [output], export_card(entries, output)
    from ..interchange.frames import frame_of, write_frame

    frame = frame_of(entries)
    write_frame(frame, output, kind)
    return [output], []
