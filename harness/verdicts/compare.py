"""Is one reranker better than another, and is it to be believed? Two results, query by query.

Both results have a value for each query, and everything here is of their paired differences: their
mean, p by the paired sign-flip test, corrected over all rows that are shown together, the 95 % interval
that is the test's inversion, and how many queries won, tied and lost. No model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..measures.significance import INTERVAL_METHOD
from ..results.naming import labelled
from ..results.result import Result, load_result
from ..types import Aggregate
from .meant import Shelf, is_model, unknown
from .pairing import Entry, entries_in, first_stage_label, match, remarks_on, title_of
from .rows import ALPHA, Row, rows_of
from .samples import Sample, means_of_samples, samples_of

__all__ = [
    "ALPHA",
    "Comparison",
    "Row",
    "System",
    "compare",
    "compare_all",
    "corrected_together",
    "open_system",
    "open_systems",
    "results_behind",
    "rows_of",
]


@dataclass(frozen=True)
class System:
    """One side of a comparison: its name in the tables, and its results."""

    label: str
    entries: list[Entry]


@dataclass(frozen=True)
class Comparison:
    """Two systems on everything they share."""

    first: str
    second: str
    rows: list[Row]
    samples: list[Sample]
    """Behind the rows, in their order."""
    notes: list[str]
    family: int = 0
    """How many rows p is corrected over: of every comparison that was asked for together."""

    def by_reranker(self) -> list[Comparison]:
        """A comparison for each reranker, where folders hold several, which says whose it is; else this one alone."""
        names = list(dict.fromkeys(row.reranker for row in self.rows))
        if len(names) < 2:
            return [self]
        both = [*zip(self.rows, self.samples, strict=True)]
        parts = {name: [(row, sample) for row, sample in both if row.reranker == name] for name in names}
        return [
            replace(
                self, second=f"with {name}, {self.second}", rows=[row for row, _ in own], samples=[s for _, s in own]
            )
            for name, own in parts.items()
        ]

    def record(self) -> dict[str, Any]:
        """The comparison as JSON takes it."""
        return {
            "first": self.first, "second": self.second, "interval_method": INTERVAL_METHOD,
            "rows": [row.record() for row in self.rows], "notes": self.notes,
        }  # fmt: skip


def open_system(word: str, results: Path) -> System:
    """The results that `word` names: a result file, a folder, or a reranker or first stage under `results`.

    Raises HarnessError for a name that could mean several rerankers, and, exit code 3, where there is none.
    """
    shelf = Shelf(results)
    return _system(word, shelf, _found(word, shelf, together=True) or shelf.first_stages(word))


def open_systems(words: Sequence[str], results: Path, beside: Sequence[Entry] = ()) -> list[System]:
    """Each as `open_system` has it, to be compared, but of a reranker one setting alone.

    A first stage is also found in the results that it is compared with, those of the other words or `beside` them;
    so is `oracle`, the best order of the candidates.
    """
    shelf = Shelf(results)
    found = [_found(word, shelf, together=False) for word in words]
    others = [*beside, *(entry for entries in found for entry in entries)]
    return [
        _system(word, shelf, entries or shelf.stages_within(word, others))
        for word, entries in zip(words, found, strict=True)
    ]


def _found(word: str, shelf: Shelf, *, together: bool) -> list[Entry]:
    """The results that a word means but for a first stage's; empty where there are none."""
    path = Path(word)
    if path.is_file() and path.name.endswith(".json"):
        return [Entry(path, load_result(path))]
    if path.is_dir() and not is_model(path) and (entries := entries_in(path)):
        return entries
    return shelf.rerankers(word, together=together)


def _system(word: str, shelf: Shelf, entries: list[Entry]) -> System:
    if not entries and Path(word).is_dir():
        entries = entries_in(Path(word))
    if not entries:
        raise unknown(word, shelf)
    names = {entry.result.reranker or entry.result.identity.retriever for entry in entries}
    return System(names.pop() if len(names) == 1 else word, entries)


def _labelled(systems: Sequence[System]) -> list[System]:
    """The systems, each reranker called as among all of them."""
    results = iter(labelled([entry.result for system in systems for entry in system.entries]))
    found = []
    for system in systems:
        entries = [replace(entry, result=next(results)) for entry in system.entries]
        own = {entry.result.identity.reranker for entry in system.entries}
        names = {entry.result.reranker for entry in entries}
        renamed = len(names) == 1 and own == {system.label}
        found.append(System(str(names.pop()) if renamed else system.label, entries))
    return found


def compare_all(
    first: System,
    others: Sequence[System],
    aggregates: Sequence[Aggregate] = (),
    *,
    measure: str | None = None,
    allow_different: bool = False,
) -> list[Comparison]:
    """Each of the others against the first; p is corrected over the rows of all of them. Raises as `compare` does."""
    first, *others = _labelled([first, *others])
    found = [_compared(first, other, aggregates, measure=measure, allow_different=allow_different) for other in others]
    return corrected_together(found)


def results_behind(comparisons: Sequence[Comparison]) -> list[Result]:
    """The results that were compared, each once, with the values of their queries."""
    both = [result for each in comparisons for sample in each.samples for result in sample.pair or ()]
    return list({(result.identity.path(Path()), result.label, result.view): result for result in both}.values())


def corrected_together(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons with the rows of their samples, whose p is corrected over the rows of all of them."""
    samples = [sample for each in comparisons for sample in each.samples]
    rows = rows_of(samples) if samples else []
    family = len(rows)
    taken = [[rows.pop(0) for _ in each.samples] for each in comparisons]
    return [replace(each, rows=own, family=family) for each, own in zip(comparisons, taken, strict=True)]


def compare(
    first: System,
    second: System,
    aggregates: Sequence[Aggregate] = (),
    *,
    measure: str | None = None,
    allow_different: bool = False,
) -> Comparison:
    """Everything that both systems have, paired by task and subset.

    `measure` is one as the tables print it, instead of each task's headline. Raises HarnessError,
    exit code 3, where data, depths or candidates differ and `allow_different` is not set, where
    nothing is shared, and where the measure was not measured.
    """
    (found,) = compare_all(first, [second], aggregates, measure=measure, allow_different=allow_different)
    return found


def _compared(
    first: System, second: System, aggregates: Sequence[Aggregate], *, measure: str | None, allow_different: bool
) -> Comparison:
    """The comparison without its rows."""
    # Folders with several rerankers each: a reranker is held against itself, not against all others.
    several = any(len({_own_name(e.result) for e in side.entries}) > 1 for side in (first, second))
    matched = match(first.entries, second.entries, lambda result: _key(result, by_reranker=several))
    told = [f"{title_of(a.result)}: {', '.join(differences)}" for a, _, differences in matched.differing]
    if told and not allow_different:
        raise HarnessError(
            f"{first.label} and {second.label} do not compare: {'; '.join(told)}. --allow-different compares the "
            f"queries that both have",
            exit_code=3,
        )
    pairs = matched.pairs + [(a, b) for a, b, _ in matched.differing]
    if not pairs:
        raise HarnessError(
            f"{first.label} and {second.label} have no task{' and reranker' if several else ''} in common", exit_code=3
        )
    samples = samples_of([(a.whole(), b.whole()) for a, b in pairs], measure)
    samples += means_of_samples(samples, aggregates)
    alone = [(first.label, matched.only_first), (second.label, matched.only_second)]
    notes = [f"different, and compared all the same: {line}" for line in told]
    notes += [f"{title_of(a.result)}: {line}" for a, b in matched.pairs for line in remarks_on(a.result, b.result)]
    notes += [
        f"only {label} has {title_of(e.result)} over {first_stage_label(e.result)}" for label, es in alone for e in es
    ]
    return Comparison(first.label, second.label, [], samples, notes)


def _key(result: Result, *, by_reranker: bool) -> tuple[str | None, ...]:
    identity = result.identity
    return (identity.task, identity.subset, _own_name(result) if by_reranker else None)


def _own_name(result: Result) -> str | None:
    """What a reranker is called in its own file; a view's as the view says."""
    return result.reranker if result.view else result.identity.reranker
