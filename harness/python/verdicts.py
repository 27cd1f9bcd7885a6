"""`harness.compare`, `gate` and `check`: what the verbs of these names do, as tables for a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ..errors import HarnessError
from ..files.cache import cache_folder
from ..results.figures import interval, number, p_value, signed
from ..verdicts.aggregates import complete_aggregates
from ..verdicts.compare import Comparison, System, compare_all, open_systems, results_behind
from ..verdicts.gate import MAX_DROP, Gate, judge_against, scope_of
from ..verdicts.paper import FORMS, paper_table
from ..verdicts.plots.depth import DepthCurve, depth_curves, depth_plot
from ..verdicts.plots.depth_table import depth_rows, depth_table, shown_rows
from ..verdicts.plots.per_query import per_query_plot
from ..verdicts.rows import ALPHA, Row
from .pictures import Picture, differences
from .run import Model, opened_of, running_of
from .sound import level, one_of, tolerance
from .tables import frame_of, html_of, text_of
from .views import Evaluation, Evaluations

if TYPE_CHECKING:
    import pandas as pd

    from ..types import Finding
    from ..verdicts.pairing import Entry

__all__ = ["Comparisons", "Depths", "Findings", "Judgement", "check", "compare", "gate"]


@dataclass(frozen=True)
class Comparisons:
    """Each of the others against the first; p is corrected over all rows of all of them."""

    comparisons: Sequence[Comparison]

    @property
    def rows(self) -> list[Row]:
        """Every row, comparison after comparison."""
        return [row for comparison in self.comparisons for row in comparison.rows]

    @property
    def notes(self) -> list[str]:
        """What could not be compared, and what differs between what was."""
        return [note for comparison in self.comparisons for note in comparison.notes]

    def frame(self) -> pd.DataFrame:
        """A row for each comparison and task or mean, with the figures as they are."""
        records = [
            {"first_system": each.first, "second_system": each.second, **row.record()}
            for each in self.comparisons
            for row in each.rows
        ]
        return frame_of([{key: value for key, value in record.items() if key != "answer"} for record in records])

    def _table(self) -> list[dict[str, str]]:
        return [
            {"task": row.name, "measure": row.measure, each.first: number(row.first, row.measure),
             "against": each.second, "its": number(row.second, row.measure), **_difference(row),
             "won / tied / lost": f"{row.wins} / {row.ties} / {row.losses}"}
            for each in self.comparisons for row in each.rows
        ]  # fmt: skip

    def picture(self) -> Picture:
        """Every difference with its interval. Raises HarnessError where none has one."""
        several = len({each.second for each in self.comparisons}) > 1
        rows = [
            (f"{row.name}, {each.second}" if several else row.name, row)
            for each in self.comparisons
            for row in each.rows
        ]
        return differences(rows, f"difference from {self.comparisons[0].first}")

    def paper(self, form: str, *columns: str) -> str:
        """The table for a paper, latex, markdown or csv, of these columns or all. Raises HarnessError for another."""
        return paper_table(self.comparisons, one_of(form, FORMS), columns)

    def queries_picture(self, *tasks: str) -> Picture:
        """Each query of both systems, of these tasks (and languages) or of all: `compare --plot`."""
        return Picture(per_query_plot(self.comparisons, tasks))

    def depths(self, *tasks: str) -> Depths:
        """The measure over the depth of reranking, of these tasks or of all: `compare --depth`.

        Raises HarnessError where no result has such a curve.
        """
        return Depths(*depth_curves(results_behind(self.comparisons), cache_folder(), tasks))

    def __repr__(self) -> str:
        return text_of(self._table(), notes=self.notes)

    def _repr_html_(self) -> str:
        return html_of(self._table(), notes=self.notes)


@dataclass(frozen=True)
class Depths:
    """Rerankers over the depth of reranking, with intervals of the difference from the first stage."""

    curves: Sequence[DepthCurve]
    notes: Sequence[str]
    """What is missing."""

    def frame(self) -> pd.DataFrame:
        """A row for each task, reranker and depth, with the figures as they are."""
        return frame_of(depth_rows(self.curves))

    def paper(self, form: str) -> str:
        """The table in latex, markdown or csv. Raises HarnessError for another."""
        return depth_table(self.curves, one_of(form, FORMS))

    def picture(self) -> Picture:
        """A chart for each task, a line for each reranker."""
        return Picture(depth_plot(self.curves))

    def __repr__(self) -> str:
        return "\n".join([depth_table(self.curves, "text"), *self.notes])

    def _repr_html_(self) -> str:
        return html_of(shown_rows(self.curves), notes=self.notes)


class Findings(list["Finding"]):
    """What `harness.check` found, each with its `name`, `status` (ok, warning, failed, info) and `detail`."""

    @property
    def passed(self) -> bool:
        """Whether nothing failed: exit code 0 on the command line."""
        return all(each.status != "failed" for each in self)

    def frame(self) -> pd.DataFrame:
        """A row for each finding."""
        return frame_of(self._table())

    def _table(self) -> list[dict[str, str]]:
        return [{"check": each.name, "status": each.status, "detail": each.detail} for each in self]

    def __repr__(self) -> str:
        return text_of(self._table())

    def _repr_html_(self) -> str:
        return html_of(self._table())


@dataclass(frozen=True)
class Judgement:
    """What the gate found; `found` is all of it."""

    found: Gate

    @property
    def passed(self) -> bool:
        """Whether the gate lets it through: exit code 0 on the command line."""
        return self.found.exit_code == 0

    @property
    def verdict(self) -> str:
        """One line: how it ended, and by which rule."""
        return self.found.verdict

    def frame(self) -> pd.DataFrame:
        """A row for each task or mean, with its answer."""
        return frame_of(self.found.record()["rows"])

    def _table(self) -> list[dict[str, str]]:
        answers = [row["answer"] or {} for row in self.found.record()["rows"]]
        return [
            {"task": row.name, "reranker": row.reranker, "measure": row.measure, "baseline": number(row.first, row.measure),
             "current": number(row.second, row.measure), **_difference(row), "answer": str(answer.get("verdict", ""))}
            for row, answer in zip(self.found.rows, answers, strict=True)
        ]  # fmt: skip

    def _notes(self) -> list[str]:
        return [self.verdict, *self.found.mismatches, *self.found.notes]

    def __repr__(self) -> str:
        return text_of(self._table(), notes=self._notes())

    def _repr_html_(self) -> str:
        return html_of(self._table(), notes=self._notes())


def compare(
    first: Any, *others: Any, results: str | Path = "results", measure: str | None = None,
    allow_different: bool = False, cards: Path | None = None,
) -> Comparisons:  # fmt: skip
    """Each of `others` against `first`, query by query, as the verb `compare` does.

    Each is a result of `harness.run`, or what the verb takes: a result file, a folder, or the name of a
    reranker with results in `results`. Raises HarnessError where they do not compare.
    """
    if not others:
        raise HarnessError("compare takes two or more: a result of run, a file, a folder, or a reranker's name")
    systems = _systems([first, *others], Path(results))
    aggregates = complete_aggregates(cards, [entry for system in systems for entry in system.entries])
    found = compare_all(systems[0], systems[1:], aggregates, measure=measure, allow_different=allow_different)
    return Comparisons(list(found))


def gate(
    baseline: str | Path, current: str | Path, *, reranker: str | Path | None = None, tasks: Iterable[str] | None = None,
    max_drop: float = MAX_DROP, alpha: float = ALPHA, measure: str | None = None, any_reranker: bool = False,
) -> Judgement:  # fmt: skip
    """Hold the results in the folder `current` against those in `baseline`, as the verb `gate` does.

    `tasks` are names of tasks. Raises HarnessError as `judge_against` does, and for an `alpha` that is none.
    """
    from ..verdicts.pairing import entries_in

    level(alpha)
    tolerance(max_drop)
    before, now = entries_in(Path(baseline)), entries_in(Path(current))
    scope = scope_of(
        None if reranker is None else str(reranker), None if tasks is None else frozenset(tasks), before, now
    )
    aggregates = complete_aggregates(None, [each for each in before if scope.holds(each.result)])
    return Judgement(
        judge_against(
            Path(baseline), Path(current), aggregates, max_drop=max_drop, alpha=alpha, any_reranker=any_reranker,
            scope=scope, measure=measure,
        )
    )  # fmt: skip


def check(reranker: Any, *, settings: Mapping[str, object] | None = None, **more: Unpack[Model]) -> Findings:
    """The contract test of a reranker in seconds, as the verb `check` does it: every finding, in order.

    `reranker` is what `harness.run` takes for one, `settings` those of --set, `more` how the model is run: see `Model`.
    """
    from ..rerankers.contract import check_reranker

    return Findings(check_reranker(opened_of(reranker, running_of(more, settings))))


def _difference(row: Row) -> dict[str, str]:
    return {
        "difference": signed(row.difference, row.measure),
        "95 % interval": interval(row.low, row.high, row.measure, row.difference),
        "p, corrected": p_value(row.p_corrected),
    }


def _systems(given: Sequence[Any], results: Path) -> list[System]:
    """Results in memory as they are; words as the verb reads them, all of them at once."""
    beside = [entry for each in given if isinstance(each, Evaluation | Evaluations) for entry in _entries(each)]
    words = [str(each) for each in given if not isinstance(each, Evaluation | Evaluations)]
    found = iter(open_systems(words, results, beside))
    return [_system(each) if isinstance(each, Evaluation | Evaluations) else next(found) for each in given]


def _system(given: Evaluation | Evaluations) -> System:
    if isinstance(given, Evaluation):
        return System(given.reranker or given.retriever, _entries(given))
    names = {each.reranker or each.retriever for each in given}
    return System(names.pop() if len(names) == 1 else "results", _entries(given))


def _entries(given: Evaluation | Evaluations) -> list[Entry]:
    return [given.entry()] if isinstance(given, Evaluation) else [each.entry() for each in given]
