"""The command line: argv → one call → print. The only module that prints.

The answer goes to stdout, everything else to stderr. Exit codes: 0 good, 1 a gate failed, 2 usage
or input, 3 something to compare is missing, 130 interrupted (the same command resumes).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from .errors import HarnessError, did_you_mean

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = build_parser()
    try:
        given = parser.parse_args(argv)
        verb: Callable[[argparse.Namespace], int] = given.verb
        return verb(given)
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


def say(line: str) -> None:
    """One line to stderr."""
    print(line, file=sys.stderr, flush=True)


class _Parser(argparse.ArgumentParser):
    """argparse, with errors of one line that end with exit code 2."""

    def error(self, message: str) -> NoReturn:
        flags = [flag for action in self._actions for flag in action.option_strings]
        wrong = message.removeprefix("unrecognized arguments: ").split()[0] if "unrecognized" in message else ""
        hint = did_you_mean(wrong.split("=")[0], flags) if wrong else ""
        say(f"error: {message}.{hint} {self.prog} --help shows what there is.")
        raise SystemExit(2)


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options; imports nothing heavy."""
    parser = _Parser(
        prog="rerank-harness",
        description="Two-stage retrieval evaluation: a first stage's candidates, reranked and measured.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and stop")
    verbs = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _add_run(verbs)
    _add_list(verbs)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from .environment import harness_version

        print(f"rerank-harness {harness_version()}")
        parser.exit(0)


def _add_run(verbs: argparse._SubParsersAction[_Parser]) -> None:
    from .run_command import run

    run_parser = verbs.add_parser(
        "run", help="evaluate rerankers on tasks", allow_abbrev=False,
        description="Take each task's candidates from a first stage, rerank them, measure both.",
    )  # fmt: skip
    add = run_parser.add_argument
    add("tasks", nargs="+", metavar="TASK", help="tasks, suites, or folders in BEIR's layout")
    add(
        "--reranker",
        action="append",
        default=[],
        metavar="NAME",
        help="a hub model, a folder, or module:attribute; may be given several times; none runs the first stage alone",
    )
    add(
        "--retriever",
        action="append",
        default=[],
        metavar="NAME",
        help="first stage: bm25 (the default) or a sentence-transformers model; may be given several times",
    )
    add(
        "--candidates",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="first stage: a TREC run, plain or .gz",
    )
    add("--fuse", action="store_true", help="join the first stages into one by reciprocal rank")
    add("--top-k", type=_above_zero, metavar="K", help="candidates a query (100; given lists are taken whole)")
    add("--limit", type=_above_zero, metavar="N", help="only the first N queries of each task")
    add(
        "--languages",
        type=_words,
        default=(),
        metavar="CODES",
        help="only these languages of multilingual tasks, as zh,sw",
    )
    add("--split", metavar="NAME", help="another split than the card's")
    add("--measures", type=_words, default=(), metavar="LIST", help="instead of the card's, as nDCG@10,MAP@100")
    add(
        "--relevance-level",
        type=_above_zero,
        default=1,
        metavar="N",
        help="judged N or more is relevant for binary measures (1)",
    )
    add(
        "--missing-text",
        choices=("error", "skip"),
        default="error",
        help="candidates without text: an error, or kept below every scored one",
    )
    add("--family", metavar="NAME", help="the scoring family, where the model's class does not decide it")
    add(
        "--set",
        action="append",
        default=[],
        type=_setting,
        dest="settings",
        metavar="KEY=VALUE",
        help="a setting of the family, as max_length=256",
    )
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (auto)")
    add("--dtype", default="auto", help="auto, float32, bfloat16, float16 (float32 on CPU, bfloat16 on GPU)")
    add("--batch-tokens", type=_above_zero, default=4096, metavar="N", help="token budget of a batch (4096)")
    add("--trust-remote-code", action="store_true", help="allow code from a model's repository")
    add("--rehash", action="store_true", help="read large files again instead of trusting their remembered digests")
    add("--results", type=Path, default=Path("results"), metavar="DIR", help="where results go (results)")
    add("--tasks", type=Path, dest="cards", metavar="DIR", help="a folder with cards of your own")
    add("--save-runs", type=Path, metavar="DIR", help="write candidates and rankings as TREC runs")
    add(
        "--dry-run",
        action="store_true",
        help="print the plan and check everything that can be checked; compute nothing",
    )
    add("--format", choices=("text", "json"), default="text", help="of the answer on stdout")
    run_parser.set_defaults(verb=lambda given: run(given, say, print))


def _add_list(verbs: argparse._SubParsersAction[_Parser]) -> None:
    parser = verbs.add_parser(
        "list", help="show tasks and suites", description="Show every task and suite that can be run."
    )
    parser.add_argument("--tasks", type=Path, dest="cards", metavar="DIR", help="a folder with cards of your own")
    parser.set_defaults(verb=_list)


def _list(given: argparse.Namespace) -> int:
    from .task import Cards

    cards = Cards(given.cards)
    print("suites:")
    for name, tasks in cards.suites().items():
        print(f"  {name} ({len(tasks)} tasks)")
    print("tasks:")
    for name in cards.names():
        print(f"  {name}")
    return 0


def _above_zero(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number above 0')
    return int(text)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


def _setting(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f'"{text}" is not KEY=VALUE, as in max_length=256')
    return key, value
