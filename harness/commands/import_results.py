"""The verb `import`: mteb's result files as a table for leaderboards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HarnessError
from .shared import Options, Say, add_options_of, json_document

if TYPE_CHECKING:
    from ..interchange.mteb_in import Report

__all__ = ["add_options", "command"]


def _workers(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number from 1 to 256')
    return int(text)


_OPTIONS: Options = {
    "folder": {"type": Path, "metavar": "DIR", "help": "a folder with <model>/<revision>/<Task>.json somewhere below"},
    "--output": {"type": Path, "required": True, "metavar": "FILE", "help": "the table to write: .parquet, .csv or .csv.gz"},
    "--tasks": {"nargs": "+", "default": [], "metavar": "TASK", "help": "only these tasks or suites"},
    "--measures": {"metavar": "LIST", "help": "instead of main_score and the cards' measures, as nDCG@10,R@100"},
    "--workers": {"type": _workers, "metavar": "N", "help": "processes that read (as many as there are cores)"},
    "--format": {"choices": ("text", "json"), "default": "text", "help": "of the report on stdout"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `import` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Read a folder of mteb's results into a table, and report what was skipped and why."""
    from ..files.cache import cache_folder
    from ..interchange.mteb_in import DEFAULT_MEASURES, import_results
    from ..interchange.mteb_meta import main_scores
    from ..results.environment import cores

    chosen = [part.strip() for part in (given.measures or "").split(",") if part.strip()]
    if given.measures is not None and not chosen:
        raise HarnessError("--measures names no measure: as in main_score,nDCG@10,p-MRR")
    report = import_results(
        given.folder,
        given.output,
        lambda: main_scores(cache_folder()),
        tasks=_task_names(given.tasks),
        measures=chosen or DEFAULT_MEASURES,
        workers=given.workers or cores(),
    )
    if given.format == "json":
        answer(json_document({"table": str(given.output), **report.record()}))
    else:
        answer(_report_text(report, given.output))
    return 0


def _task_names(words: list[str]) -> list[str]:
    """Suites by their members; every other word is a task of mteb's."""
    from ..data.task import Cards

    suites = Cards().suites() if words else {}
    return [name for word in words for name in suites.get(word, [word])]


def _report_text(report: Report, table: Path) -> str:
    record = report.record()
    lines = [
        (
            f"{record['files']:,} result files → {record['rows']:,} values of {record['models']:,} models on "
            f"{record['tasks']:,} tasks: {table}"
        )
    ]
    titles = {"skipped": "files skipped", "missing": "values missing", "notes": "taken, and to be known"}
    for group, title in titles.items():
        if record[group]:
            lines.append(f"{title}:")
            lines += [
                f"{each['count']:>9,}  {each['reason']} (such as {_shown(each['example'])})" for each in record[group]
            ]
    return "\n".join(lines)


def _shown(name: str) -> str:
    """A file's name on one line, whatever it holds."""
    return name if name.isprintable() else ascii(name)
