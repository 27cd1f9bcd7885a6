"""The verb `compare`: rerankers against each other, query by query. Loads no model, nor what models need."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError
from .shared import CARDS, MEASURE, QUERIES, RESULT, RESULTS, VERBOSE, Options, Say, add_options_of, json_document

if TYPE_CHECKING:
    from ..verdicts.compare import Comparison
    from ..verdicts.moved import MovedQuery
    from ..verdicts.samples import Sample

    Moved = list[tuple[Sample, list[MovedQuery]]]

__all__ = ["add_options", "command"]

MOST = 5
"""Moved queries that are shown without being asked for."""

_OPTIONS: Options = {
    "first": {"metavar": "A", "help": RESULT},
    "others": {"metavar": "B", "nargs": "+", "help": "what A is compared with"},
    "--results": RESULTS,
    "--measure": MEASURE,
    "--queries": {**QUERIES, "help": "show so many queries that moved most for each task (five in all; with -v of each)"},
    "--allow-different": {"action": "store_true", "help": "compare what both have although data, depth or candidates differ"},
    "--tasks": CARDS,
    "--format": {"choices": ("text", "json", "latex", "markdown", "csv"), "default": "text", "help": "of the answer on stdout: for a paper, latex, markdown or csv, with the best bold and daggers over A"},
    "--columns": {"nargs": "+", "default": (), "metavar": "NAME", "help": "of a paper's table, of --plot and of --depth: these tasks, languages and means alone"},
    "--depth": {"action": "store_true", "help": "the measure over the depth of reranking instead, with intervals of the difference from the first stage"},
    "--plot": {"type": Path, "metavar": "FILE", "help": "write a picture too, .svg or .png: every query of both systems, or with --depth the curves"},
    **VERBOSE,
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `compare` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Compare each of the others with the first."""
    from ..files.cache import cache_folder
    from ..verdicts.aggregates import complete_aggregates
    from ..verdicts.compare import compare_all, open_systems
    from ..verdicts.paper import FORMS, paper_table
    from ..verdicts.plots.files import write_picture
    from ..verdicts.plots.per_query import per_query_plot

    _require_sound(given)
    first, *others = open_systems([given.first, *given.others], given.results)
    entries = [entry for system in (first, *others) for entry in system.entries]
    aggregates = complete_aggregates(given.cards, entries)
    found = compare_all(first, others, aggregates, measure=given.measure, allow_different=given.allow_different)
    if given.depth:
        return _depth(found, given, say, answer)
    if given.plot:
        say(f"written: {write_picture(given.plot, per_query_plot(found, given.columns))}")
    if given.format in FORMS:
        answer(paper_table(found, given.format, given.columns))
        return 0
    moved = [_moved(each, cache_folder(), _most(given, found), say) for each in found]
    if given.format == "json":
        records = [
            {**each.record(), "moved": [_moved_record(*entry) for entry in own]}
            for each, own in zip(found, moved, strict=True)
        ]
        answer(json_document({"comparisons": records}))
    else:
        _show(found, moved, answer, verbose=given.verbose)
    return 0


def _require_sound(given: argparse.Namespace) -> None:
    from ..verdicts.paper import FORMS
    from ..verdicts.plots.files import require_picture

    if given.columns and not (given.format in FORMS or given.plot or given.depth):
        raise HarnessError(f"--columns is for --format {', '.join(FORMS)}, --plot and --depth")
    if given.depth and given.measure:
        raise HarnessError("--depth has the measure that each result kept its curve of: leave --measure out")
    if given.plot:
        require_picture(given.plot)


def _depth(found: Sequence[Comparison], given: argparse.Namespace, say: Say, answer: Say) -> int:
    from ..files.cache import cache_folder
    from ..results.terminal import width
    from ..verdicts.compare import results_behind
    from ..verdicts.plots.depth import depth_curves, depth_plot
    from ..verdicts.plots.depth_table import depth_record, depth_table
    from ..verdicts.plots.files import write_picture

    curves, notes = depth_curves(results_behind(found), cache_folder(), given.columns)
    if given.format == "json":
        answer(json_document(depth_record(curves)))
    else:
        answer(depth_table(curves, given.format, width()))
    for note in notes:
        say(note)
    if given.plot:
        say(f"written: {write_picture(given.plot, depth_plot(curves))}")
    return 0


def _most(given: argparse.Namespace, found: Sequence[Comparison]) -> int:
    """How many moved queries of each sample are shown: those asked for, else five in all, or of each with -v."""
    if given.queries is not None:
        return int(given.queries)
    if given.format == "json" or given.verbose:
        return MOST
    return 0 if given.quiet else MOST // sum(sample.pair is not None for each in found for sample in each.samples)


def _show(found: Sequence[Comparison], moved: Sequence[Moved], answer: Say, *, verbose: bool) -> None:
    from ..results.terminal import width
    from ..verdicts.text import answer_text, comparison_text, moved_text

    answer(answer_text(found, width()))
    if verbose:
        answer("")
        for each in found:
            answer(comparison_text(each))
    several = len({sample.reranker for own in moved for sample, _ in own}) > 1
    if any(moved):
        answer("")
    for own in moved:
        for sample, queries in own:
            answer(moved_text(sample, queries, width(), sample.reranker if several else ""))


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
