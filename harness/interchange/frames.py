"""Results → one long table: a pandas DataFrame, CSV or Parquet. One row for each result and measure.

COLUMNS has every column with its dtype; docs/results.md says what each means. Means over queries lie
in [0, 1], p-MRR in [-1, 1]; difference, low and high are in the same unit; counts are whole numbers.
Nothing is filled in: what is missing is pandas' NA, and `frame.attrs["missing"]` says, one line for
each result, which figures it lacks. A measure that a result's runs do not decide has no row.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..measures.verdict import retested
from ..results import result as results
from ..results.result import Result, values_path
from ..verdicts.pairing import Entry, entries_in, labelled_entries

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "frame_of", "load_result", "load_results", "write_frame"]

_TEXT, _WHOLE, _NUMBER = "string", "Int64", "Float64"
COLUMNS = {
    "task": _TEXT, "subset": _TEXT, "split": _TEXT, "retriever": _TEXT, "top_k": _WHOLE, "reranker": _TEXT,
    "label": _TEXT,
    "measure": _TEXT, "headline": "boolean", "first_stage": _NUMBER, "reranked": _NUMBER, "oracle": _NUMBER,
    "difference": _NUMBER, "low": _NUMBER, "high": _NUMBER, "p": _NUMBER, "n": _WHOLE, "queries": _WHOLE,
    "limit": _WHOLE, "until": _TEXT, "relevance_level": _WHOLE, "qrels_layer": _TEXT, "missing_text": _TEXT, "instructions": _TEXT, "dataset": _TEXT,
    "dataset_revision": _TEXT, "reranker_revision": _TEXT, "reranker_fingerprint": _TEXT,
    "retriever_fingerprint": _TEXT, "collection": _TEXT, "candidates": _TEXT, "dtype": _TEXT, "device": _TEXT,
    "pairs_per_second": _NUMBER, "harness": _TEXT, "path": _TEXT,
}  # fmt: skip
"""column → pandas dtype."""

_FIGURES = ("first_stage", "reranked", "oracle", "difference", "low", "high", "p")


def load_results(folder: str | Path) -> pd.DataFrame:
    """Every result below `folder` as one tidy DataFrame: a row for each result and measure.

    Columns: task, subset, split, retriever (the first stage), top_k, reranker (NA for a first stage
    alone), label (what tells it from the others of the table), measure, headline; the means first_stage, reranked and oracle in [0, 1] (p-MRR in [-1, 1]);
    difference with its 95 % interval low and high, and p; n (queries with a value) and queries
    (judged); then the settings, revisions, fingerprints and digests that the figures stand on, and
    path. docs/results.md has all of them with their dtypes. Rows are in the order of the results'
    paths, then of their measures. Missing is pandas' NA, never a number; `frame.attrs["missing"]`
    says which figures each result lacks.

        frame = harness.load_results("results")
        best = frame[frame.headline].sort_values("reranked", ascending=False)

    Raises HarnessError for a folder without results (exit code 3) and for a damaged result.
    """
    place = Path(folder)
    entries = entries_in(place)
    if not entries:
        raise HarnessError(f"{place} holds no results: name a folder that `run` wrote results to", exit_code=3)
    return frame_of(entries)


def load_result(path: str | Path) -> Result:
    """One result file with the values of its queries: `values[measure][stage]` in the order of `query_ids`.

    Raises HarnessError for a file that is no result, and (exit code 3) where its values are missing.
    """
    return retested(results.load_result(Path(path), with_values=True))


def frame_of(entries: Iterable[Entry]) -> pd.DataFrame:
    """The same for results that are read already. Raises HarnessError for damaged values."""
    import pandas as pd

    missing: list[str] = []
    rows = [row for entry in labelled_entries(list(entries)) for row in _rows(entry, missing)]
    columns = {name: pd.array([row[name] for row in rows], dtype=kind) for name, kind in COLUMNS.items()}
    frame = pd.DataFrame(columns)
    frame.attrs["missing"] = missing
    return frame


def write_frame(frame: pd.DataFrame, output: Path, kind: str) -> None:
    """Write it as `csv` (an empty field is missing; numbers whole) or `parquet`, the whole file or nothing.

    Raises HarnessError for a file that cannot be written.
    """
    data = io.BytesIO()
    if kind == "csv":
        frame.to_csv(data, index=False, lineterminator="\n")
    else:
        bare = frame.copy(deep=False)
        bare.attrs = {}
        bare.to_parquet(data, index=False)
    try:
        write_atomically(output, data.getvalue())
    except OSError as error:
        raise HarnessError(f"cannot write {output}: {error.strerror or error}") from None


def _rows(entry: Entry, missing: list[str]) -> Iterable[dict[str, Any]]:
    there = values_path(entry.path).is_file()
    result = retested(entry.whole() if there else entry.result)
    if not there:
        missing.append(f"{entry.path}: n, since {values_path(entry.path).name} is missing")
    identity = result.identity
    stages = ("first_stage", "reranked") if identity.reranker else ("first_stage",)
    known = {
        "queries": result.queries,
        "collection": result.collection,
        "candidates": result.candidates,
        "dtype": result.environment.get("dtype"),
        "device": result.environment.get("device"),
        "pairs_per_second": result.performance.get("pairs_per_second"),
        "harness": result.environment.get("harness"),
        "path": str(entry.path),
        "label": result.reranker,
    }
    without: dict[str, list[str]] = {}
    for measure, figures in result.measures.items():
        row = dict.fromkeys(COLUMNS) | {name: vars(identity)[name] for name in COLUMNS if name in vars(identity)}
        row |= known | {name: figures.get(name) for name in _FIGURES}
        row |= {
            "until": identity.until or None,
            "qrels_layer": identity.qrels_layer or None,
            "measure": measure,
            "headline": measure == headline_of(result),
            "n": _covered(result, measure),
        }
        for stage in stages:
            if row[stage] is None:
                without.setdefault(stage, []).append(measure)
        yield row
    missing += [f"{entry.path}: no {stage} of {', '.join(measures)}" for stage, measures in without.items()]


def headline_of(result: Result) -> str | None:
    """The measure asked for first, of the original instruction where there are two."""
    asked = result.asked[0] if result.asked else ""
    return next((name for name in (asked, f"{asked} og") if name in result.measures), None)


def _covered(result: Result, measure: str) -> int | None:
    of_queries: Mapping[str, Mapping[str, Sequence[float | None]]] = vars(result)["values"]
    stages = of_queries.get(measure, {})
    values = stages.get("reranked", stages.get("first_stage"))
    return None if values is None else sum(value is not None for value in values)
