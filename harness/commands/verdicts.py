"""The verbs on top of results: `compare`, `gate`, `explain`, `report`. Options → the library → text.

None of them loads a model, or imports what models need.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError

if TYPE_CHECKING:
    from ..types import Aggregate
    from ..verdicts.compare import Comparison
    from ..verdicts.moved import MovedQuery
    from ..verdicts.pairing import Entry
    from ..verdicts.samples import Sample

    Moved = list[tuple[Sample, list[MovedQuery]]]

__all__ = [
    "add_compare_options", "add_explain_options", "add_gate_options", "add_report_options", "compare_results",
    "explain", "gate", "report",
]  # fmt: skip

Say = Callable[[str], None]


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a number from 0 to 1')
    return value


def _whole(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number')
    return int(text)


_RESULTS: dict[str, Any] = {
    "type": Path,
    "default": Path("results"),
    "metavar": "DIR",
    "help": "where results are (results)",
}
_CARDS: dict[str, Any] = {
    "type": Path,
    "dest": "cards",
    "metavar": "DIR",
    "help": "a folder with cards of your own, for their means",
}
_MEASURE: dict[str, Any] = {"metavar": "NAME", "help": "instead of each task's headline, as MAP@100"}
_QUERIES: dict[str, Any] = {"type": _whole, "metavar": "N"}

_COMPARE: dict[str, dict[str, Any]] = {
    "first": {"metavar": "A", "help": "a result file, a folder, or a reranker (or bm25) with results"},
    "others": {"metavar": "B", "nargs": "+", "help": "what A is compared with"},
    "--results": _RESULTS,
    "--measure": _MEASURE,
    "--queries": {**_QUERIES, "default": 5, "help": "show so many queries that moved most (5)"},
    "--allow-different": {"action": "store_true", "help": "compare what both have although data, depth or candidates differ"},
    "--tasks": _CARDS,
    "--format": {"choices": ("text", "json"), "default": "text", "help": "of the answer on stdout"},
}  # fmt: skip

_GATE: dict[str, dict[str, Any]] = {
    "tasks": {"nargs": "*", "metavar": "TASK", "help": "look at the results of these tasks and suites alone"},
    "--baseline": {"type": Path, "required": True, "metavar": "DIR", "help": "the committed results"},
    "--current": {"type": Path, "required": True, "metavar": "DIR", "help": "the results to be judged"},
    "--max-drop": {"type": _number, "default": None, "metavar": "X", "help": "tolerated drop in the measure's own unit (0.01)"},
    "--alpha": {"type": _number, "default": None, "metavar": "P", "help": "significance level after Holm's correction (0.05)"},
    "--measure": _MEASURE,
    "--reranker": {"metavar": "NAME", "help": "look at the results of this reranker alone"},
    "--any-reranker": {"action": "store_true", "help": "pair by task alone: hold a new model against an old one"},
    "--update": {"action": "store_true", "help": "make the current results the baseline, to be committed and reviewed"},
    "--tasks": _CARDS,
    "--format": {"choices": ("text", "json", "github", "junit"), "default": "text", "help": "of the answer on stdout"},
}  # fmt: skip

_EXPLAIN: dict[str, dict[str, Any]] = {
    "codes": {"nargs": "*", "metavar": "CODE", "help": "as RH001; none lists all"},
}

_REPORT: dict[str, dict[str, Any]] = {
    "words": {"nargs": "+", "metavar": "RESULT", "help": "a result file, a folder, or a reranker (or bm25) with results"},
    "--results": _RESULTS,
    "--output": {"type": Path, "default": Path("report.html"), "metavar": "FILE", "help": "the page to write (report.html)"},
    "--queries": {**_QUERIES, "default": 5, "help": "show so many wins and losses of each result (5)"},
}  # fmt: skip


def _add(parser: argparse.ArgumentParser, options: dict[str, dict[str, Any]]) -> None:
    for flag, how in options.items():
        parser.add_argument(flag, **how)


def add_compare_options(parser: argparse.ArgumentParser) -> None:
    """What `compare` takes."""
    _add(parser, _COMPARE)


def add_gate_options(parser: argparse.ArgumentParser) -> None:
    """What `gate` takes."""
    _add(parser, _GATE)


def add_explain_options(parser: argparse.ArgumentParser) -> None:
    """What `explain` takes."""
    _add(parser, _EXPLAIN)


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """What `report` takes."""
    _add(parser, _REPORT)


def compare_results(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Compare each of the others with the first."""
    from ..files.cache import cache_folder
    from ..verdicts.compare import compare, open_system
    from ..verdicts.text import comparison_text, moved_text

    first, *others = (open_system(word, given.results) for word in (given.first, *given.others))
    entries = [entry for system in (first, *others) for entry in system.entries]
    aggregates = _aggregates(given.cards, entries)
    records = []
    for other in others:
        found = compare(first, other, aggregates, measure=given.measure, allow_different=given.allow_different)
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


def _aggregates(cards: Path | None, entries: Sequence[Entry]) -> list[Aggregate]:
    """The aggregates and suites all of whose tasks have a result, the inner ones first."""
    from ..data.task import Cards

    known = Cards(cards)
    there = {entry.result.identity.task for entry in entries}
    found: dict[str, Aggregate] = {}
    # A suite may hold aggregates, and a suite suites: until nothing more is complete.
    waiting = [aggregate for name in (*known.names(), *known.suites()) if (aggregate := known.aggregate(name))]
    while complete := [each for each in waiting if there.issuperset(each.members)]:
        found |= {each.name: each for each in complete}
        there |= set(found)
        waiting = [each for each in waiting if each.name not in found]
    return list(found.values())


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


def _task_names(words: Sequence[str], cards: Path | None, entries: Sequence[Entry]) -> frozenset[str] | None:
    """The tasks that `words` name: those of a result by its own name, else what the cards say; None without words."""
    from ..data.task import Cards
    from ..files.cache import cache_folder

    if not words:
        return None
    known = {entry.result.identity.task for entry in entries}
    others = [word for word in words if word not in known]
    resolved = Cards(cards).resolve(others, cache_folder()) if others else []
    return frozenset(known.intersection(words)) | {task.name for task in resolved}


def gate(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Hold the current results against the baseline; returns 0, 1 or 3."""
    from ..verdicts.compare import ALPHA
    from ..verdicts.gate import MAX_DROP, Scope, judge_against, update
    from ..verdicts.pairing import entries_in
    from ..verdicts.text import gate_github, gate_junit, gate_text

    if given.any_reranker and given.reranker:
        raise HarnessError("--reranker looks at one reranker and --any-reranker at all of them: give one of the two")
    entries = entries_in(given.baseline)
    scope = Scope(given.reranker, _task_names(given.tasks, given.cards, [*entries, *entries_in(given.current)]))
    if given.update:
        written = update(given.baseline, given.current, any_reranker=given.any_reranker, scope=scope)
        answer("\n".join(map(str, written)))
        say(f"{len(written)} results written to {given.baseline}: review and commit them")
        return 0
    found = judge_against(
        given.baseline,
        given.current,
        _aggregates(given.cards, [entry for entry in entries if scope.holds(entry.result)]),
        max_drop=MAX_DROP if given.max_drop is None else given.max_drop,
        alpha=ALPHA if given.alpha is None else given.alpha,
        any_reranker=given.any_reranker,
        scope=scope,
        measure=given.measure,
    )
    forms = {"text": gate_text, "github": gate_github, "junit": gate_junit}
    if given.format == "json":
        answer(json.dumps(found.record(), ensure_ascii=False, allow_nan=False))
    else:
        answer(forms[given.format](found))
    return found.exit_code


def explain(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """What a warning means, why it matters, what to do."""
    from ..results.cautions import explained, listed

    answer("\n\n".join(map(explained, given.codes)) if given.codes else listed())
    return 0


def report(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Write one page about some results."""
    from ..files.cache import cache_folder, write_atomically
    from ..verdicts.compare import open_system
    from ..verdicts.report import page

    entries = [entry for word in given.words for entry in open_system(word, given.results).entries]
    found = list({entry.path.resolve(): entry.whole() for entry in entries}.values())
    try:
        write_atomically(given.output, page(found, cache_folder(), given.queries))
    except OSError as error:
        raise HarnessError(f"cannot write {given.output}: {error.strerror or error}") from None
    answer(str(given.output))
    return 0
