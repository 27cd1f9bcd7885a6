"""The verbs `export` and `import`: options → the library → text."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError

if TYPE_CHECKING:
    from ..interchange.mteb_in import Report
    from ..verdicts.pairing import Entry

__all__ = ["add_export_options", "add_import_options", "export_command", "import_command"]

Say = Callable[[str], None]

_SHOWN = 20
"""Lines of what was left out that a terminal shows."""


def _workers(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number from 1 to 256')
    return int(text)


_EXPORT: dict[str, dict[str, Any]] = {
    "words": {"nargs": "+", "metavar": "RESULT", "help": "a result file, a folder, or a reranker (or bm25) with results"},
    "--to": {
        "required": True, "choices": ("mteb", "model-card", "trec", "csv", "parquet"),
        "help": "files of mteb's results cache, a README.md's model-index, TREC runs, or one long table",
    },
    "--output": {"type": Path, "required": True, "metavar": "PATH", "help": "a folder (mteb, trec) or a file"},
    "--results": {"type": Path, "default": Path("results"), "metavar": "DIR", "help": "where results are (results)"},
}  # fmt: skip

_IMPORT: dict[str, dict[str, Any]] = {
    "folder": {"type": Path, "metavar": "DIR", "help": "a folder with <model>/<revision>/<Task>.json somewhere below"},
    "--output": {"type": Path, "required": True, "metavar": "FILE", "help": "the table to write: .parquet, .csv or .csv.gz"},
    "--tasks": {"nargs": "+", "default": [], "metavar": "TASK", "help": "only these tasks or suites"},
    "--measures": {"metavar": "LIST", "help": "instead of main_score and the cards' measures, as nDCG@10,R@100"},
    "--workers": {"type": _workers, "metavar": "N", "help": "processes that read (as many as there are cores)"},
    "--format": {"choices": ("text", "json"), "default": "text", "help": "of the report on stdout"},
}  # fmt: skip


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """What `export` takes."""
    for flag, how in _EXPORT.items():
        parser.add_argument(flag, **how)


def add_import_options(parser: argparse.ArgumentParser) -> None:
    """What `import` takes."""
    for flag, how in _IMPORT.items():
        parser.add_argument(flag, **how)


def export_command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Write results in a form of others; what that form cannot hold is told on stderr."""
    from ..verdicts.compare import open_system

    named = [entry for word in given.words for entry in open_system(word, given.results).entries]
    entries = list({entry.path.resolve(): entry for entry in named}.values())
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
    if kind == "trec":
        from ..files.cache import cache_folder
        from ..interchange.runs import export_runs

        runs = export_runs(entries, output, cache_folder())
        return runs.paths, runs.left_out
    if kind == "model-card":
        from ..interchange.card import export_card

        return [output], export_card(entries, output)
    from ..interchange.frames import frame_of, write_frame

    frame = frame_of(entries)
    write_frame(frame, output, kind)
    return [output], []


def import_command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Read a folder of mteb's results into a table, and report what was skipped and why."""
    from ..files.cache import cache_folder
    from ..interchange.mteb_in import DEFAULT_MEASURES, import_results
    from ..interchange.mteb_meta import main_scores

    chosen = [part.strip() for part in (given.measures or "").split(",") if part.strip()]
    if given.measures is not None and not chosen:
        raise HarnessError("--measures names no measure: as in main_score,nDCG@10,p-MRR")
    report = import_results(
        given.folder,
        given.output,
        lambda: main_scores(cache_folder()),
        tasks=_task_names(given.tasks),
        measures=chosen or DEFAULT_MEASURES,
        workers=given.workers or os.cpu_count() or 1,
    )
    if given.format == "json":
        answer(json.dumps({"table": str(given.output), **report.record()}, ensure_ascii=False, allow_nan=False))
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
