"""Results as a notebook has them: figures by measure, values and rankings as DataFrames, a table when shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..errors import HarnessError
from ..files.cache import cache_folder
from ..results.figures import interval, number, p_value, signed
from ..results.result import Result, load_result
from ..verdicts.pairing import Entry, title_of
from ..verdicts.trade_off import picture_of
from .pictures import Picture
from .tables import html_of, text_of

if TYPE_CHECKING:
    import pandas as pd

    from ..verdicts.until import Decision

__all__ = ["Evaluation", "Evaluations", "Figures"]


@dataclass(frozen=True)
class Figures:
    """One measure of one result: means over queries, their difference with its 95 % interval and p; None where there is none."""

    first_stage: float | None = None
    reranked: float | None = None
    oracle: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """One task, one subset, one first stage, one reranker or none: a stored result and the file it lies in."""

    result: Result
    path: Path
    reused: bool
    """Whether it was there already, so that nothing was computed."""

    @property
    def name(self) -> str:
        """`DemoLanguages de`: task and subset."""
        return title_of(self.result)

    @property
    def reranker(self) -> str | None:
        """The reranker's name; None for a first stage alone."""
        return self.result.reranker

    @property
    def retriever(self) -> str:
        """The first stage's name."""
        return self.result.identity.retriever

    @property
    def headline(self) -> str:
        """The measure asked for first, as `measures` names it."""
        asked = self.result.asked[0] if self.result.asked else ""
        return next(
            (name for name in (asked, f"{asked} og") if name in self.result.measures), next(iter(self.measures))
        )

    @cached_property
    def measures(self) -> Mapping[str, Figures]:
        """Measure, as tables print it, → its figures. p-MRR lies in [-1, 1]."""
        known = Figures.__dataclass_fields__
        return {
            name: Figures(**{key: value for key, value in row.items() if key in known})
            for name, row in self.result.measures.items()
        }

    @property
    def warnings(self) -> list[str]:
        """What may make the numbers mean something else than they seem to: a code and a sentence each."""
        from ..results.cautions import cautions_of

        return [f"{caution.code} {caution.what}" for caution in cautions_of(self.result)]

    def values(self) -> pd.DataFrame:
        """A row a query; columns (measure, stage), with NA where a measure leaves a query out."""
        import pandas as pd

        whole = load_result(self.path, with_values=True)
        columns = {
            (measure, stage): pd.array(values, dtype="Float64")
            for measure, stages in vars(whole)["values"].items()
            for stage, values in stages.items()
        }
        frame = pd.DataFrame(columns, index=pd.Index(whole.query_ids, name="query_id"))
        frame.columns = pd.MultiIndex.from_tuples(columns, names=["measure", "stage"])
        return frame

    def rankings(self) -> pd.DataFrame:
        """A row for each candidate: query_id, doc_id, first_stage_rank (NA for a list without order), rank, score, relevance.

        `score` is the float32 margin that was ranked; relevance is NA for an unjudged document. Raises
        HarnessError where the rankings are no longer in the cache.
        """
        import pandas as pd

        from ..results.rankings import read_rankings
        from ..types import ranked

        runs = read_rankings(self.result, cache_folder())
        final = runs.get("reranked", runs.get("first_stage"))
        if final is None:
            raise HarnessError(f"the rankings of {self.path} are not in the cache {cache_folder()}: run it again")
        qrels, rows = self._qrels(), []
        for query_id, scores in final.items():
            before = {
                doc_id: rank for rank, doc_id in enumerate(ranked(runs.get("first_stage", {}).get(query_id, {})), 1)
            }
            for rank, doc_id in enumerate(ranked(scores), 1):
                relevance = qrels.get(query_id, {}).get(doc_id)
                rows.append((query_id, doc_id, before.get(doc_id), rank, scores[doc_id], relevance))
        kinds = {
            "query_id": "string", "doc_id": "string", "first_stage_rank": "Int64", "rank": "Int64", "score": "Float32",
            "relevance": "Int64",
        }  # fmt: skip
        columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
        return pd.DataFrame(
            {
                name: pd.array(list(column), dtype=kind)
                for (name, kind), column in zip(kinds.items(), columns, strict=True)
            }
        )

    def _qrels(self) -> Mapping[str, Mapping[str, int]]:
        from ..data.collection import find_prepared

        found = find_prepared(self.result.collection, cache_folder())
        return found.qrels if found is not None else {}

    def record(self) -> dict[str, Any]:
        """The entry of `run --format json`."""
        return {**self.result.summary(), "path": str(self.path), "reused": self.reused}

    def entry(self) -> Entry:
        """The result as comparisons take it."""
        return Entry(self.path, self.result)

    def _row(self, measure: str) -> dict[str, str]:
        figures = self.measures[measure]
        return {
            "task": self.name,
            "first stage": self.retriever,
            "reranker": self.reranker or "",
            "measure": measure,
            "first": number(figures.first_stage, measure),
            "reranked": number(figures.reranked, measure),
            "oracle": number(figures.oracle, measure),
            "difference": signed(figures.difference, measure),
            "95 % interval": interval(figures.low, figures.high, measure, figures.difference),
            "p": p_value(figures.p),
        }

    def _table(self) -> list[dict[str, str]]:
        return [self._row(measure) for measure in self.measures]

    def __repr__(self) -> str:
        return text_of(self._table(), notes=self.warnings)

    def _repr_html_(self) -> str:
        return html_of(self._table(), notes=self.warnings)


class Evaluations(Sequence[Evaluation]):
    """What `harness.run` gives: the results in order. One alone answers for itself: `.measures`, `.values()`, `.rankings()`."""

    def __init__(
        self, found: Sequence[Evaluation], notes: Sequence[str] = (), decisions: Sequence[Decision] = ()
    ) -> None:
        self._found = list(found)
        self.notes = list(notes)
        """What the command line would have said besides: of models, and what changed since the last result."""
        self.decisions = list(decisions)
        """Of a run until decided, for each result: `verdict`, and of how many `pairs`; else empty."""

    @overload
    def __getitem__(self, place: int) -> Evaluation: ...
    @overload
    def __getitem__(self, place: slice) -> Evaluations: ...
    def __getitem__(self, place: int | slice) -> Evaluation | Evaluations:
        if not isinstance(place, slice):
            return self._found[place]
        return Evaluations(self._found[place], self.notes, self.decisions[place])

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Evaluation]:
        return iter(self._found)

    @property
    def only(self) -> Evaluation:
        """The one result. Raises HarnessError where there are several."""
        if len(self._found) != 1:
            names = ", ".join(f"{each.name} {each.reranker or each.retriever}" for each in self._found[:3])
            raise HarnessError(f"these are {len(self._found)} results ({names} …): take one, as in results[0]")
        return self._found[0]

    @property
    def measures(self) -> Mapping[str, Figures]:
        """Of the one result; see `Evaluation.measures`."""
        return self.only.measures

    @property
    def warnings(self) -> list[str]:
        """Of the one result; see `Evaluation.warnings`."""
        return self.only.warnings

    def values(self) -> pd.DataFrame:
        """Of the one result; see `Evaluation.values`."""
        return self.only.values()

    def rankings(self) -> pd.DataFrame:
        """Of the one result; see `Evaluation.rankings`."""
        return self.only.rankings()

    def frame(self) -> pd.DataFrame:
        """One tidy DataFrame of all: a row for each result and measure, as `harness.load_results` gives."""
        from ..interchange.frames import frame_of

        return frame_of([each.entry() for each in self._found])

    def picture(self) -> Picture:
        """Quality against cost over the results of one task, as of a sweep.

        Raises HarnessError for several tasks, and where there is nothing to draw.
        """
        return Picture(picture_of([each.result for each in self._found]))

    def _table(self) -> list[dict[str, str]]:
        if len(self._found) == 1:
            return self._found[0]._table()
        return [each._row(each.headline) for each in self._found]

    def __repr__(self) -> str:
        return text_of(self._table(), notes=self.warnings if len(self._found) == 1 else ())

    def _repr_html_(self) -> str:
        return html_of(self._table(), notes=self.warnings if len(self._found) == 1 else ())
