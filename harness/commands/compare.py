"""The verb `compare`: rerankers against each other, query by query. Loads no model, nor what models need."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .shared import CARDS, MEASURE, QUERIES, RESULT, RESULTS, Options, Say, add_options_of

if TYPE_CHECKING:
    from ..verdicts.compare import Comparison
    from ..verdicts.moved import MovedQuery
    from ..verdicts.samples import Sample

    Moved = list[tuple[Sample, list[MovedQuery]]]

__all__ = ["add_options", "command"]

_OPTIONS: Options = {
    "first": {"metavar": "A", "help": RESULT},
    "others": {"metavar": "B", "nargs": "+", "help": "what A is compared with"},
    "--results": RESULTS,
    "--measure": MEASURE,
    "--queries": {**QUERIES, "default": 5, "help": "show so many queries that moved most (5)"},
    "--allow-different": {"action": "store_true", "help": "compare what both have although data, depth or candidates differ"},
    "--tasks": CARDS,
    "--format": {"choices": ("text", "json"), "default": "text", "help": "of the answer on stdout"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `compare` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Compare each of the others with the first."""
    from ..files.cache import cache_folder
    from ..verdicts.aggregates import complete_aggregates
    from ..verdicts.compare import compare_all, open_system
    from ..verdicts.text import comparison_text, moved_text

    first, *others = (open_system(word, given.results) for word in (given.first, *given.others))
    entries = [entry for system in (first, *others) for entry in system.entries]
    aggregates = complete_aggregates(given.cards, entries)
    records = []
    for found in compare_all(first, others, aggregates, measure=given.measure, allow_different=given.allow_different):
        moved = _moved(found, cache_folder(), given.queries, say)
        if given.format == "json":
            records.append({**found.record(), "moved": [_moved_record(*entry) for entry in moved]})
            continue
        answer(comparison_text(found))
        for sample, queries in moved:
            answer(moved_text(sample, queries))
    if records:
        answer(json.dumps({"comparisons": records}, ensure_ascii=False, allow_nan=False))
    return 0


def _moved(found: Comparison, cache: Path, most: int, say: Say) -> Moved:
    from ..verdicts.moved import Side, moved_queries
    from ..verdicts.samples import paired_by_query

    moved = []
    for sample in found.samples:
        if sample.pair and most:
            first, second = sample.pair
            queries = moved_queries(*paired_by_query(sample), (Side.of(first), Side.of(second)), cache, most)
            if queries:
                moved.append((sample, queries))
    if any(query.text is None for _, queries in moved for query in queries):
        say(f"some texts are not in the cache {cache}: they are shown where the data was prepared")
    if any(not query.documents for _, queries in moved for query in queries):
        say(f"some rankings are not in the cache {cache}: documents are shown where both results were computed")
    return moved


def _moved_record(sample: Sample, queries: Sequence[MovedQuery]) -> dict[str, Any]:
    return {"name": sample.name, "measure": sample.measure, "queries": [asdict(query) for query in queries]}
