"""The verb `gate`: fail when a reranker became worse than its baseline. Loads no model, nor what models need."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HarnessError
from .shared import CARDS, MEASURE, Options, Say, add_options_of, json_document, level, tolerance

if TYPE_CHECKING:
    from ..verdicts.gate import Gate, Scope
    from ..verdicts.pairing import Entry

__all__ = ["add_options", "command"]


_ENDINGS = {".txt": "text", ".json": "json", ".xml": "junit", ".md": "markdown"}


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in _ENDINGS:
        raise argparse.ArgumentTypeError(f"{text} ends in none of {', '.join(_ENDINGS)}")
    return path


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
    "--allow-new": {"action": "store_true", "help": "let a task that the baseline lacks be, with a note"},
    "--update": {"action": "store_true", "help": "make the current results the baseline, to be committed and reviewed; what is accepted is shown"},
    "--accept-drop": {"action": "store_true", "help": "with --update: also where the gate would fail"},
    "--tasks": CARDS,
    "--format": {"choices": ("text", "json", "github", "junit", "markdown"), "default": "text", "help": "of the answer on stdout"},
    "--output": {"action": "append", "type": _output, "default": [], "metavar": "FILE", "help": "write the answer there too, as its ending says (.txt, .json, .xml for JUnit, .md); may stand several times"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `gate` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Hold the current results against the baseline; returns 0, 1 or 3.

    With GITHUB_STEP_SUMMARY set, the answer goes there as Markdown too.
    """
    from ..verdicts.gate import MAX_DROP, Gate, scope_of
    from ..verdicts.pairing import entries_in
    from ..verdicts.rows import ALPHA

    if given.any_reranker and given.reranker:
        raise HarnessError("--reranker looks at one reranker and --any-reranker at all of them: give one of the two")
    if given.accept_drop and not given.update:
        raise HarnessError("--accept-drop is for --update: a gate that should let drops pass has --max-drop")
    try:
        entries, current = entries_in(given.baseline), entries_in(given.current)
        tasks = _task_names(given.tasks, given.cards, [*entries, *current])
        scope = scope_of(given.reranker, tasks, entries, current)._replace(allow_new=given.allow_new or given.update)
        if given.update:
            return _update(given, scope, entries, current, say, answer)
        found = _judged(given, scope, entries)
    except HarnessError as error:
        if error.exit_code != 1:
            # Who reads the files in CI has to find there why nothing was compared.
            drop, alpha = (MAX_DROP if given.max_drop is None else given.max_drop), given.alpha or ALPHA
            _write(given, Gate([], [str(error)], [], drop, alpha))
        raise
    _write(given, found)
    answer(_formed(found, given.format))
    return found.exit_code


def _judged(given: argparse.Namespace, scope: Scope, entries: Sequence[Entry]) -> Gate:
    from ..verdicts.aggregates import complete_aggregates
    from ..verdicts.gate import MAX_DROP, judge_against
    from ..verdicts.rows import ALPHA

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
    return replace(found, undecided_fails=given.undecided == "fail")


def _update(
    given: argparse.Namespace, scope: Scope, before: Sequence[Entry], now: Sequence[Entry], say: Say, answer: Say
) -> int:
    """Make the current results the baseline, having shown what is accepted.

    Raises HarnessError, exit code 1, where that is a drop: then nothing is written.
    """
    from ..verdicts.gate import introduced, update

    if any(scope.holds(entry.result) for entry in before):
        found = _judged(given, scope, before)
        _write(given, found)
        say(_formed(found, given.format))
        if found.failed and not given.accept_drop:
            raise HarnessError(
                f"nothing is written: {given.baseline} would accept what the gate refuses; --accept-drop writes it",
                exit_code=1,
            )
    else:
        say("\n".join(introduced(entry) for entry in now if scope.holds(entry.result)))
    written = update(given.baseline, given.current, any_reranker=given.any_reranker, scope=scope)
    if written:
        answer("\n".join(map(str, written)))
    told = "review and commit them" if written else "it has every result as it is"
    say(f"{len(written)} result{'' if len(written) == 1 else 's'} written to {given.baseline}: {told}")
    return 0


def _formed(found: Gate, form: str) -> str:
    from ..verdicts.gate_text import gate_github, gate_junit, gate_markdown, gate_text

    if form == "json":
        return json_document(found.record())
    from ..results.terminal import width

    forms = {
        "text": lambda found: gate_text(found, width()),
        "github": gate_github,
        "junit": gate_junit,
        "markdown": gate_markdown,
    }
    return forms[form](found)


def _write(given: argparse.Namespace, found: Gate) -> None:
    """The files that were asked for, and the forge's summary. Raises HarnessError for one that cannot be written."""
    from ..files.cache import write_atomically

    path = None
    try:
        for path in given.output:
            write_atomically(path, _formed(found, _ENDINGS[path.suffix.lower()]).rstrip("\n") + "\n")
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            path = Path(summary)
            with path.open("a", encoding="utf-8") as file:
                file.write(_formed(found, "markdown") + "\n")
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror or error}") from None


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
