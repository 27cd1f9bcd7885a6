"""The verb `gate`: fail when a reranker became worse than its baseline. Loads no model, nor what models need."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HarnessError
from .shared import CARDS, MEASURE, Options, Say, add_options_of, level, tolerance

if TYPE_CHECKING:
    from ..verdicts.pairing import Entry

__all__ = ["add_options", "command"]


_OPTIONS: Options = {
    "tasks": {"nargs": "*", "metavar": "TASK", "help": "look at the results of these tasks and suites alone"},
    "--baseline": {"type": Path, "required": True, "metavar": "DIR", "help": "the committed results"},
    "--current": {"type": Path, "required": True, "metavar": "DIR", "help": "the results to be judged"},
    "--max-drop": {"type": tolerance, "default": None, "metavar": "X", "help": "tolerated drop in the measure's own unit (0.01)"},
    "--alpha": {"type": level, "default": None, "metavar": "P", "help": "how often a gate may fail by chance, or pass a drop beyond the tolerance (0.05)"},
    "--undecided": {"choices": ("pass", "fail"), "default": "pass", "help": "the exit code where neither could be shown: 0 with a warning (pass) or 1 (fail)"},
    "--measure": MEASURE,
    "--reranker": {"metavar": "NAME", "help": "look at the results of this reranker alone"},
    "--any-reranker": {"action": "store_true", "help": "pair by task alone: hold a new model against an old one"},
    "--update": {"action": "store_true", "help": "make the current results the baseline, to be committed and reviewed"},
    "--tasks": CARDS,
    "--format": {"choices": ("text", "json", "github", "junit"), "default": "text", "help": "of the answer on stdout"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `gate` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Hold the current results against the baseline; returns 0, 1 or 3."""
    from ..verdicts.aggregates import complete_aggregates
    from ..verdicts.gate import MAX_DROP, judge_against, scope_of, update
    from ..verdicts.gate_text import gate_github, gate_junit, gate_text
    from ..verdicts.pairing import entries_in
    from ..verdicts.rows import ALPHA

    if given.any_reranker and given.reranker:
        raise HarnessError("--reranker looks at one reranker and --any-reranker at all of them: give one of the two")
    entries, current = entries_in(given.baseline), entries_in(given.current)
    tasks = _task_names(given.tasks, given.cards, [*entries, *current])
    scope = scope_of(given.reranker, tasks, entries, current)
    if given.update:
        written = update(given.baseline, given.current, any_reranker=given.any_reranker, scope=scope)
        answer("\n".join(map(str, written)))
        say(f"{len(written)} results written to {given.baseline}: review and commit them")
        return 0
    found = judge_against(
        given.baseline,
        given.current,
        complete_aggregates(given.cards, [entry for entry in entries if scope.holds(entry.result)]),
        max_drop=MAX_DROP if given.max_drop is None else given.max_drop,
        alpha=ALPHA if given.alpha is None else given.alpha,
        any_reranker=given.any_reranker,
        scope=scope,
        measure=given.measure,
    )
    found = replace(found, undecided_fails=given.undecided == "fail")
    forms = {"text": gate_text, "github": gate_github, "junit": gate_junit}
    if given.format == "json":
        answer(json.dumps(found.record(), ensure_ascii=False, allow_nan=False))
    else:
        answer(forms[given.format](found))
    return found.exit_code


def _task_names(words: Sequence[str], cards: Path | None, entries: Sequence[Entry]) -> frozenset[str] | None:
    """The tasks that `words` name: those of a result by its own name, else what the cards say; None without words."""
    from ..data.task import Cards
    from ..files.cache import cache_folder

    if not words:
        return None
    known = {entry.result.identity.task for entry in entries}
    others = [word for word in words if word not in known]
    resolved = Cards(cards).resolve(others, cache_folder()) if others else []
    return frozenset(known.intersection(words)) | {task.name for task in resolved}
