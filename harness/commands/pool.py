"""The verb `pool`: the pairs among the top of some results that nobody judged, for people or a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HarnessError, did_you_mean
from .shared import RESULT, RESULTS, Options, Say, add_options_of, whole

if TYPE_CHECKING:
    from ..results.result import Result

__all__ = ["add_options", "command"]

_OPTIONS: Options = {
    "systems": {"metavar": "RESULT", "nargs": "+", "help": RESULT},
    "--results": RESULTS,
    "--depth": {"type": whole, "default": 10, "metavar": "K", "help": "of each ranking's top so many (10)"},
    "--task": {"action": "append", "default": [], "metavar": "NAME", "help": "only results of this task; several may be given"},
    "--qrels-layer": {"type": Path, "metavar": "FILE", "help": "pairs that this layer judges are left out too"},
    "--with-judged": {"action": "store_true", "help": "also the pairs that are judged, to see how far a judge agrees"},
    "--output": {"type": Path, "default": Path("pool.jsonl"), "metavar": "FILE", "help": "where the pairs go (pool.jsonl)"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `pool` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Write the pool, and say how large it is."""
    from ..data.layers import read_layer
    from ..files.cache import cache_folder
    from ..judging.pool import pool_of, write_pool
    from ..verdicts.compare import open_system

    if given.depth < 1:
        raise HarnessError("--depth 0: a pool of nothing; 10 is usual")
    results = [entry.result for word in given.systems for entry in open_system(word, given.results).entries]
    results = _of_tasks(results, given.task)
    layer = read_layer(given.qrels_layer) if given.qrels_layer else None
    pairs = pool_of(results, cache_folder(), given.depth, layer, with_judged=given.with_judged)
    write_pool(pairs, given.output)
    queries = len({(pair.task, pair.subset, pair.query_id) for pair in pairs})
    what = "pairs" if given.with_judged else "unjudged pairs"
    answer(
        f"{given.output}: {len(pairs):,} {what} of {queries:,} queries, from {len(results)} rankings at {given.depth}"
    )
    return 0


def _of_tasks(results: Sequence[Result], names: Sequence[str]) -> list[Result]:
    """Those of the tasks that are named, or all. Raises HarnessError, exit code 3, where there is none."""
    there = {result.identity.task for result in results}
    for name in names:
        if name not in there:
            raise HarnessError(f'there is no result of "{name}".{did_you_mean(name, there)}', exit_code=3)
    return [result for result in results if not names or result.identity.task in names]
