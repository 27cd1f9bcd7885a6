"""The gate: has a reranker become worse than its committed baseline? For a forge's CI.

It has three answers for each row. *Failed*: worse by more than the tolerance, beyond chance, corrected over
everything that is looked at. *Passed*: shown to be no worse than the tolerance. *Not decided*: neither, and
how many more queries would decide. A baseline is a folder of results in the repository, changed by a
reviewed commit (`update`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import HarnessError
from ..measures.significance import INTERVAL_METHOD
from ..results.faces import lines_path
from ..results.figures import number
from ..results.naming import Known, aligned, known_of, settings_apart
from ..results.result import Result, load_result, values_path
from ..types import Aggregate
from .answers import answered
from .meant import rerankers_meant
from .pairing import Entry, Matched, entries_in, first_stage_label, match, remarks_on, title_of
from .rows import ALPHA, Row
from .samples import means_of_samples, samples_of

__all__ = ["MAX_DROP", "Gate", "Scope", "introduced", "judge_against", "scope_of", "update"]

MAX_DROP = 0.01
"""In the measure's own unit: a hundredth of nDCG, a point of p-MRR as papers print it."""


class Scope(NamedTuple):
    """Which results a gate looks at; None takes all."""

    reranker: str | None = None
    """As the user names it."""
    tasks: frozenset[str] | None = None
    meant: frozenset[Known] | None = None
    """Which rerankers that is; None takes every one."""
    allow_new: bool = False
    """Whether a task that the baseline has no result of is a note, and nothing that keeps the gate from an answer."""

    def holds(self, result: Result) -> bool:
        """Whether the result is one of them."""
        of_reranker = self.meant is None or (result.identity.reranker is not None and known_of(result) in self.meant)
        return of_reranker and (self.tasks is None or result.identity.task in self.tasks)

    def __str__(self) -> str:
        of = f" of {self.reranker}" if self.reranker else ""
        return of if self.tasks is None else f"{of} on {', '.join(sorted(self.tasks))}"


_EVERYTHING = Scope()


def scope_of(
    reranker: str | None, tasks: frozenset[str] | None, baseline: Sequence[Entry], current: Sequence[Entry]
) -> Scope:
    """The results of a reranker, as `run` names it: what that means now, and what bears its name in the baseline.

    Raises HarnessError, exit code 3, where several could be meant.
    """
    if reranker is None:
        return Scope(None, tasks)
    now = [known_of(entry.result) for entry in rerankers_meant(reranker, current)]
    old, new = aligned(_rerankers(baseline), _rerankers(current))
    names = {new[one] for one in now}
    before = [one for one, name in old.items() if name in names]
    if not now:
        before = [known_of(entry.result) for entry in rerankers_meant(reranker, baseline)]
    return Scope(reranker, tasks, frozenset([*now, *before]))


def _rerankers(entries: Sequence[Entry]) -> list[Known]:
    return [known_of(entry.result) for entry in entries if entry.result.identity.reranker]


def _aligned(baseline: Sequence[Entry], current: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The entries of both sides, a reranker called alike in both."""
    old, new = aligned(_rerankers(baseline), _rerankers(current))
    return [_called(entry, old) for entry in baseline], [_called(entry, new) for entry in current]


def _settings_apart(pairs: Sequence[tuple[Entry, Entry]]) -> list[tuple[Entry, Entry]]:
    """The pairs, with the settings in the names of a reranker that has several: their rows are no parts of one mean."""
    of_old = {known_of(old.result): old.result.reranker or "" for old, _ in pairs if old.result.identity.reranker}
    names = settings_apart(of_old)
    notes = {one: name.removeprefix(of_old[one]) for one, name in names.items()}

    def named(entry: Entry, like: Entry) -> Entry:
        note = notes[known_of(like.result)] if like.result.identity.reranker else ""
        return replace(entry, result=replace(entry.result, label=f"{entry.result.reranker}{note}")) if note else entry

    return [(named(old, old), named(now, old)) for old, now in pairs]


def _called(entry: Entry, names: Mapping[Known, str]) -> Entry:
    if entry.result.identity.reranker is None:
        return entry
    return replace(entry, result=replace(entry.result, label=names[known_of(entry.result)]))


@dataclass(frozen=True)
class Gate:
    """What the gate found."""

    rows: list[Row]
    mismatches: list[str]
    """What keeps results from being compared at all, a line each."""
    notes: list[str]
    max_drop: float
    alpha: float
    undecided_fails: bool = False

    @property
    def failed(self) -> list[Row]:
        """Worse by more than the tolerance, beyond chance."""
        return self._that("failed")

    @property
    def undecided(self) -> list[Row]:
        """Neither shown to be worse than the tolerance nor to be no worse."""
        return self._that("not decided")

    def _that(self, verdict: str) -> list[Row]:
        return [row for row in self.rows if row.answer is not None and row.answer.verdict == verdict]

    @property
    def exit_code(self) -> int:
        """0 passed or not decided, 1 failed (or not decided, where asked for), 3 something to compare is missing.

        A drop that is there goes before what is not.
        """
        if self.failed:
            return 1
        return 3 if self.mismatches else int(bool(self.undecided) and self.undecided_fails)

    @property
    def state(self) -> str:
        """`failed`, `missing`, `not decided` or `passed`."""
        if self.failed:
            return "failed"
        return "missing" if self.mismatches else "not decided" if self.undecided else "passed"

    @property
    def verdict(self) -> str:
        """One line: how it ended and by which rule."""
        rule = f"tolerance {self.max_drop:g}, alpha {self.alpha:g}"
        if self.failed:
            return f"gate FAILED: {len(self.failed)} of {_rows(len(self.rows))} dropped by more than the tolerance ({rule})"
        if self.mismatches:
            return f"gate not decided: {len(self.mismatches)} of the results cannot be compared with the baseline"
        if self.undecided:
            return (
                f"gate not decided: none of {_rows(len(self.rows))} failed, {len(self.undecided)} could not be shown to "
                f"be no worse than the tolerance ({rule}; --undecided {'fail' if self.undecided_fails else 'pass'})"
            )
        return f"gate passed: {_rows(len(self.rows))}, each shown to be no worse than the tolerance ({rule})"

    @property
    def blind(self) -> str:
        """The rows that could not have failed whatever happened; empty where there are none."""
        rows = [row for row in self.rows if row.answer is not None and not row.answer.can_fail]
        if not rows:
            return ""
        names = ", ".join(f"{row.name} ({_queries(row.queries)})" for row in rows[:6])
        more = f" and {len(rows) - 6} more" if len(rows) > 6 else ""
        return f"cannot fail: {names}{more}, tested among {_rows(len(self.rows))} at alpha {self.alpha:g}"

    @property
    def power(self) -> str:
        """What drop this data could have shown, of the row that could show the smallest and the largest."""
        known = [row for row in self.rows if row.detectable is not None]
        if not known:
            return "power: unknown; too few queries, or equal results without a first stage's scores beside them"
        best = min(known, key=lambda row: row.detectable or 0.0)
        worst = max(known, key=lambda row: row.detectable or 0.0)
        sizes = [number(row.detectable, row.measure) for row in (best, worst)]
        line = f"power: 4 times in 5 a true drop of {sizes[0]} in {best.name} ({best.measure}) would fail"
        if worst is not best:
            line += f", in {worst.name} ({worst.measure}) one of {sizes[1]}"
        if any(row.assumed for row in known):
            line += "; equal results show no spread, so there queries are taken to move as reranking moved them"
        blind = len(self.rows) - len(known)
        return line + (f"; unknown for {_rows(blind)}" if blind else "")

    def record(self) -> dict[str, Any]:
        """The gate as JSON takes it."""
        failed = [id(row) for row in self.failed]
        return {
            "verdict": self.state, "interval_method": INTERVAL_METHOD,
            "rows": [{**row.record(), "failed": id(row) in failed} for row in self.rows],
            "mismatches": self.mismatches, "notes": self.notes, "power": self.power, "cannot_fail": self.blind,
            "max_drop": self.max_drop, "alpha": self.alpha, "undecided": "fail" if self.undecided_fails else "pass",
        }  # fmt: skip


def _queries(count: int) -> str:
    return "1 query" if count == 1 else f"{count:,} queries"


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def judge_against(
    baseline: Path,
    current: Path,
    aggregates: Sequence[Aggregate] = (),
    *,
    max_drop: float = MAX_DROP,
    alpha: float = ALPHA,
    any_reranker: bool = False,
    scope: Scope = _EVERYTHING,
    measure: str | None = None,
) -> Gate:
    """Hold every result below `current` against its like below `baseline`.

    Results pair by reranker, task, subset and first stage, or with `any_reranker` by all but the
    reranker; only those in `scope` are looked at. Results that do not match are mismatches, never
    left out in silence; a reranker that the baseline has never seen is a note.
    Raises HarnessError for a folder without results (exit code 3), for one with two results that
    could be meant, for a measure that is not there, and for an alpha at which nothing, or everything, is significant.
    """
    if not 0 < alpha < 0.5:
        raise HarnessError(f"alpha is {alpha:g}: it must lie between 0 and 0.5, both excluded, as in 0.05")
    if not max_drop >= 0:
        raise HarnessError(f"the tolerated drop is {max_drop:g}: it must be 0 or more, as in 0.01")
    old_ones, new_ones = _aligned(_entries(baseline, scope), _entries(current, scope))
    matched = match(old_ones, new_ones, lambda result: _key(result, any_reranker=any_reranker))
    known = {_key(entry.result, any_reranker=any_reranker)[0] for entry in old_ones}
    new = [entry for entry in matched.only_second if _key(entry.result, any_reranker=any_reranker)[0] not in known]
    matched.pairs[:] = _settings_apart(matched.pairs)
    samples = samples_of([(old.whole(), now.whole()) for old, now in matched.pairs], measure)
    samples += means_of_samples(samples, aggregates)
    if scope.allow_new:
        new = matched.only_second
    return Gate(
        rows=answered(samples, max_drop, alpha) if samples else [],
        mismatches=_mismatches(matched, new),
        notes=[*_notes(matched), *(f"{introduced(entry)}: gate --update adds it" for entry in new)],
        max_drop=max_drop,
        alpha=alpha,
    )


def _entries(folder: Path, scope: Scope) -> list[Entry]:
    entries = entries_in(folder) if folder.is_dir() else []
    entries = [entry for entry in entries if scope.holds(entry.result)]
    if not entries:
        raise HarnessError(
            f"{folder} holds no result{scope}: run the tasks first, or write a baseline with --update", exit_code=3
        )
    # What was scored until a verdict was certain says nothing more beside the whole.
    whole = {_place(entry) for entry in entries if not entry.result.identity.until}
    return [entry for entry in entries if not entry.result.identity.until or _place(entry) not in whole]


def _place(entry: Entry) -> tuple[str, ...]:
    return *_key(entry.result, any_reranker=False), entry.result.identity.retriever


def _key(result: Result, *, any_reranker: bool) -> tuple[str, str, str]:
    identity = result.identity
    reranker = result.reranker or ""
    return ("any" if any_reranker and reranker else reranker, identity.task, identity.subset)


def _named(entry: Entry) -> str:
    return f"{title_of(entry.result)} over {first_stage_label(entry.result)}, {entry.result.reranker or 'the first stage alone'}"


def introduced(entry: Entry) -> str:
    """A result that the baseline lacks, with its figure, in words."""
    name, row = next(iter(entry.result.measures.items()))
    figure = f"{name} {number(row.get(entry.result.stage), name)}"
    return f"{_named(entry)} is not in the baseline ({figure})"


def _mismatches(matched: Matched, new: Sequence[Entry]) -> list[str]:
    lines = [f"{_named(old)}: {', '.join(differences)}" for old, _, differences in matched.differing]
    lines += [f"{_named(entry)}: not among the current results" for entry in matched.only_first]
    unknown = [entry for entry in matched.only_second if all(entry is not other for other in new)]
    return lines + [f"{_named(entry)}: not in the baseline; gate --update adds it" for entry in unknown]


def _notes(matched: Matched) -> list[str]:
    return [f"{_named(old)}: {line}" for old, now in matched.pairs for line in remarks_on(old.result, now.result)]


def update(
    baseline: Path,
    current: Path,
    *,
    any_reranker: bool = False,
    scope: Scope = _EVERYTHING,
) -> list[Path]:
    """Make `current` the baseline: write its results as faces (see `results.faces`), and remove those they replace.

    Returns what was written; a result that the baseline has already, but for what differs from run to run, is left.

    A result replaces the one of the same reranker, task, subset and first stage (with `any_reranker`
    that of any reranker); what `current` says nothing of stays, and so does what is outside `scope`.
    Every result is read whole before anything is written, and everything is written before anything is
    removed. Raises HarnessError where the two folders are one, for a `current` without results, for a
    damaged result or one of a part of the queries, and for a baseline that cannot be written.
    """
    if baseline.resolve() == current.resolve():
        raise HarnessError(f"--baseline and --current are the same folder, {baseline}: nothing to update")
    known, entries = _aligned(entries_in(baseline), _entries(current, scope))
    for entry in entries:
        if entry.result.identity.until:
            raise HarnessError(f"{_named(entry)} is of a part of the queries, which is no baseline: run it to the end")
    match(entries, entries, lambda result: _key(result, any_reranker=any_reranker))  # refuses two that could be meant
    whole = {entry.result.identity.path(baseline): entry.whole() for entry in entries}
    moved = {path: result for path, result in whole.items() if not _is_kept(path, result)}
    olds = [old.path for old in known if _is_replaced(old, known, entries, any_reranker=any_reranker)]
    try:
        written = [result.save_face(baseline) for result in moved.values()]
        for old in olds:
            if old not in whole:
                _remove(old, baseline)
    except OSError as error:
        raise HarnessError(
            f"cannot write the baseline {baseline}: {error.strerror or error}; make room or give rights, and say the "
            f"same command again"
        ) from None
    return written


def _is_kept(path: Path, result: Result) -> bool:
    """Whether the baseline has this very result already: only time, memory or machine differ, which nobody reviews."""
    if not lines_path(path).is_file():
        return False
    try:
        old = load_result(path, with_values=True)
    except HarnessError:
        return False
    like = replace(old, label=result.label, performance=result.performance, environment=result.environment)
    return like == result and old.values == result.values


def _is_replaced(old: Entry, known: Sequence[Entry], entries: Sequence[Entry], *, any_reranker: bool) -> bool:
    """Whether one of `entries` stands for `old`: of a baseline with several settings of a reranker, that of its own."""

    def place(entry: Entry) -> tuple[str, ...]:
        return (*_key(entry.result, any_reranker=any_reranker), entry.result.identity.retriever)

    def settings(entry: Entry) -> tuple[tuple[str, str], ...]:
        return known_of(entry.result).settings

    new = [entry for entry in entries if place(entry) == place(old)]
    several = len({settings(each) for each in known if place(each) == place(old)}) > 1 and not any_reranker
    return bool(new) and (not several or any(settings(each) == settings(old) for each in new))


def _remove(path: Path, baseline: Path) -> None:
    """A result, its values, and the folders below the baseline that are then empty."""
    path.unlink()
    for beside in (values_path(path), lines_path(path)):
        beside.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == baseline or any(folder.iterdir()):
            break
        folder.rmdir()
