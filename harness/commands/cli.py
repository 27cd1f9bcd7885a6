"""The command line: argv → one call → print. The only module that prints.

The answer goes to stdout, everything else to stderr. Exit codes: 0 good, 1 a gate or check failed, 2 usage
or input, 3 something to compare is missing, 130 interrupted (the same command resumes).
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, TextIO

from ..engine.progress import aside, shown_by, stage
from ..errors import HarnessError, did_you_mean, spelt
from ..results.terminal import paint, painted
from . import (
    cache,
    check,
    compare,
    demo,
    doctor,
    explain,
    export,
    fetch,
    gate,
    import_results,
    judge,
    leaderboard,
    list_tasks,
    pool,
    report,
    reproduce,
    run,
    schema,
    score,
)
from .line.completion import SHELLS, complete
from .line.words import COMMAND, WORDS, Help, grouped
from .shared import QUIET, QUIET_ALONE, Say, add_options_of

__all__ = ["main"]


class Verb(Protocol):
    """A file of this folder that is a verb."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Tell argparse what the verb takes; imports nothing heavy."""

    def command(self, given: argparse.Namespace, say: Say, answer: Say) -> int:
        """Do it: the answer to stdout, everything else to stderr; returns the exit code."""


VERBS: dict[str, Verb] = {
    "run": run, "demo": demo, "score": score, "check": check, "compare": compare, "gate": gate, "report": report,
    "pool": pool, "judge": judge, "explain": explain, "export": export, "schema": schema, "import": import_results, "leaderboard": leaderboard, "list": list_tasks,
    "fetch": fetch, "reproduce": reproduce, "doctor": doctor, "cache": cache,
}  # fmt: skip
"""Each verb and its file, in the order of --help; `words` has what is said of them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # In a log that takes both streams, each line stands where it belongs, and a kill loses none.
            sys.stdout.reconfigure(line_buffering=True)
        parser = build_parser()
        complete(parser)
        given = parser.parse_args(_with_verb(sys.argv[1:] if argv is None else argv))
        return _answered(given)
    except HarnessError as error:
        say(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted; what was scored is kept, and the same command resumes")
        return 130
    except BrokenPipeError:
        # The reader of stdout has gone (`| head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        # Somebody else's file, folder or disk: what a command itself expects, it says in better words.
        say(f"error: {error.filename or 'a file'}: {error.strerror}; what was scored is kept")
        return 2


def _answered(given: argparse.Namespace) -> int:
    verb = VERBS[given.command]
    if not given.quiet:
        # Shown before anything heavy is imported; what takes long has stages of its own.
        with stage(given.command):
            return verb.command(given, say, answer)
    with shown_by(None):
        return verb.command(given, _warn, answer)


def _warn(line: str) -> None:
    """What is said although nothing else is: a warning, which bears its code."""
    if re.search(r"\bRH\d{3}\b", line):
        say(line)


def say(line: str) -> None:
    """One line to stderr."""
    _show(line, sys.stderr)


def answer(text: str) -> None:
    """The answer, or a part of it, to stdout."""
    _show(text, sys.stdout)


def _show(text: str, stream: TextIO) -> None:
    with aside():
        if painted(stream):
            paint(text, stream)
        else:
            print(text, file=stream, flush=True)


def _with_verb(argv: Sequence[str]) -> list[str]:
    """The words, the verb in whatever case. Raises HarnessError for a verb that there is none of."""
    words = list(argv)
    if words and not words[0].startswith("-"):
        words[0] = spelt(words[0], VERBS)
        if words[0] not in VERBS:
            raise HarnessError(
                f'there is no command "{words[0]}"; there are {", ".join(VERBS)}.{did_you_mean(words[0], VERBS)}'
            )
    return words


class _Parser(argparse.ArgumentParser):
    """argparse, with errors of one line that end with exit code 2, and choices in whatever case."""

    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        wrong = message.removeprefix("unrecognized arguments: ").split()[0] if "unrecognized" in message else ""
        hint = did_you_mean(wrong.split("=")[0], flags) if wrong else ""
        end = "" if message.endswith(("?", ".")) else "."
        say(f"error: {message}{end}{hint} {self.prog} --help shows what there is.")
        raise SystemExit(2)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        value = super()._get_value(action, arg_string)
        return spelt(value, action.choices) if action.choices and isinstance(value, str) else value

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action, f'"{value}" is none of {", ".join(known)}.{did_you_mean(str(value), known)}'
            )

    def _print_message(self, message: str, file: Any = None) -> None:
        """Help as the other answers: bold titles on a terminal."""
        if message:
            _show(message.rstrip("\n"), file or sys.stderr)


class _VerbParser(_Parser):
    """A verb's parser: it names unknown options itself, so that the hint is one of its own, and takes none cut short."""

    def __init__(self, **words: Any) -> None:
        super().__init__(**words, allow_abbrev=False)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse's, with nothing left over."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options; imports nothing heavy."""
    parser = _Parser(
        prog=COMMAND,
        description="Two-stage retrieval evaluation: a first stage's candidates, reranked and measured.",
        epilog=f"{COMMAND} COMMAND --help shows what each takes, with examples. A first one: {COMMAND} demo",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and stop")
    parser.add_argument(
        "--completion",
        action=_Completion,
        choices=SHELLS,
        help="print what completes commands and options in that shell",
    )
    verbs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_VerbParser)
    parser._positionals.title = "commands"
    for name, verb in VERBS.items():
        words = WORDS[name]
        own = verbs.add_parser(
            name, help=words.short, description=words.long, epilog=words.epilog, formatter_class=Help
        )
        verb.add_options(own)
        add_options_of(own, QUIET if "--verbose" in own._option_string_actions else QUIET_ALONE)
        grouped(own, words.groups)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from ..results.environment import harness_version

        print(f"rerank-harness {harness_version()}")
        parser.exit(0)


class _Completion(argparse.Action):
    """Prints a script for the shell, which asks this command what fits whenever Tab is pressed."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, shell: Any, *__: object) -> None:
        from .line.completion import script

        print(script(shell))
        parser.exit(0)
