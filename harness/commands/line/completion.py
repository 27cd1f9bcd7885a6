"""Completion in a shell: commands, options, tasks and names with results.

The shell asks the command itself, by argcomplete's protocol, so what it offers is never out of date.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from ...errors import HarnessError
from .words import COMMAND

__all__ = ["SHELLS", "complete", "script"]

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")


def script(shell: str) -> str:
    """What the shell evaluates once: `eval "$(rerank-harness --completion bash)"` in ~/.bashrc."""
    from argcomplete.shell_integration import shellcode

    text: str = shellcode([COMMAND], shell=shell)
    return text


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks what fits, and end; nothing for everybody else."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    import argcomplete

    for verb in next(
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ).choices.values():
        for action in verb._actions:
            if chosen := _COMPLETERS.get(action.metavar if isinstance(action.metavar, str) else ""):
                action.completer = chosen
    argcomplete.autocomplete(parser)


def _tasks(**_: object) -> list[str]:
    from ...data.task import Cards

    try:
        return [*Cards().names(), *Cards().suites()]
    except HarnessError:
        return []


def _results(**_: object) -> list[str]:
    """Rerankers with results in the usual folder."""
    from ...results.result import load_result, result_files

    try:
        found = [next(iter(result_files(folder)), None) for folder in Path("results").iterdir() if folder.is_dir()]
        loaded = [load_result(path).identity for path in found if path is not None]
    except (OSError, HarnessError):
        return []
    return [identity.reranker or identity.retriever for identity in loaded]


def _codes(**_: object) -> list[str]:
    from ...results.cautions import CODES

    return list(CODES)


_COMPLETERS: dict[str, Callable[..., list[str]]] = {
    "TASK": _tasks, "WORD": _tasks, "A": _results, "B": _results, "RESULT": _results, "CODE": _codes,
}  # fmt: skip
"""What fits where an argument is called that."""
