"""What several verbs share: how results and models are named in options, how findings are shown."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..types import Finding

__all__ = [
    "CARDS", "MEASURE", "QUERIES", "QUIET", "QUIET_ALONE", "RESULT", "RESULTS", "RESULTS_WRITTEN", "VERBOSE", "Options", "Say", "add_options_of", "json_document", "level", "show", "tolerance", "whole",
]  # fmt: skip

Say = Callable[[str], None]
"""What takes one line or one answer: for stderr, or for stdout."""

Options = Mapping[str, Mapping[str, Any]]
"""Flag or place → what argparse is told of it."""


def whole(text: str) -> int:
    """A whole number, for argparse."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number')
    return int(text)


def tolerance(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number from 0 to 1')
    return value


def level(text: str) -> float:
    """A significance level, for argparse."""
    value = tolerance(text)
    if not 0 < value < 0.5:
        raise argparse.ArgumentTypeError(
            f'"{text}" is no significance level: between 0 and 0.5, both excluded, as in 0.05'
        )
    return value


RESULT = "a result file, a folder, or a reranker (or bm25) with results"
"""How results may be named, for help."""

RESULTS: dict[str, Any] = {
    "type": Path,
    "default": Path("results"),
    "metavar": "DIR",
    "help": "where results are (results)",
}
RESULTS_WRITTEN: dict[str, Any] = {**RESULTS, "help": "where results go (results)"}
CARDS: dict[str, Any] = {
    "type": Path,
    "dest": "cards",
    "metavar": "DIR",
    "help": "a folder with cards of your own, for their means",
}
MEASURE: dict[str, Any] = {"metavar": "NAME", "help": "instead of each task's headline, as MAP@100"}
VERBOSE: dict[str, dict[str, Any]] = {
    "-v": {"flags": ("--verbose",), "action": "store_true", "dest": "verbose", "help": "each result in full, with its warnings"},
}  # fmt: skip
QUIET: dict[str, dict[str, Any]] = {
    "-q": {"flags": ("--quiet",), "action": "store_true", "dest": "quiet", "help": "nothing on stderr but warnings and errors; no result in full"},
}  # fmt: skip
QUIET_ALONE: dict[str, dict[str, Any]] = {
    "-q": {**QUIET["-q"], "help": "nothing on stderr but warnings and errors"},
}
"""Of a verb that shows no result in full."""
QUERIES: dict[str, Any] = {"type": whole, "metavar": "N"}


def add_options_of(parser: argparse.ArgumentParser, options: Options) -> None:
    """Hand a table of options to argparse."""
    for flag, how in options.items():
        told = dict(how)
        parser.add_argument(flag, *told.pop("flags", ()), **told)


def json_document(document: Mapping[str, Any]) -> str:
    """What --format json prints: one line, with the number of its schema (see `schema`)."""
    from ..results.result import SCHEMA

    return json.dumps({"schema": SCHEMA, **document}, ensure_ascii=False, allow_nan=False)


def show(findings: Iterable[Finding], answer: Say) -> int:
    """Answer with each finding as it comes; returns the exit code, 1 if one failed."""
    failed = 0
    for finding in findings:
        failed += finding.status == "failed"
        mark = {"ok": "[OK]  ", "warning": "[WARN]", "failed": "[FAIL]", "info": "      "}[finding.status]
        answer(f"{mark} {finding.name}: {finding.detail}")
    return 1 if failed else 0
