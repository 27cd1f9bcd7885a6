"""Imported figures: what `import` wrote from mteb's result files, and how leaderboards read it.

A table of imported figures is one file, Parquet or CSV (plain or .gz) by its name. A row is one value:

    model, revision, experiment     whose figure it is; `experiment` is empty but for mteb's experiments
    task, task_revision             mteb's name of the task; the data's revision, empty where the file says none
    split, subset                   as in mteb's file
    measure, value                  nDCG@10, MAP@100, p-MRR …, and `main_score`: whatever mteb's task calls its main one
    mteb_version                    what wrote the figure; empty where the file says none
    licence, parameters, trained    of the model, as its own model_meta.json declares; `trained` says whether it
                                    names this task among its training data: yes, no or unknown
    source                          the file, relative to the imported folder

Values lie in [0, 1], p-MRR in [-1, 1], a `main_score` where its task puts it. There are no values of
queries here, so no interval and no p: an imported figure is shown beside measured ones and is never
ranked among them by significance.

A leaderboard takes such tables by its key `imported`.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import HarnessError

__all__ = ["COLUMNS", "ImportedRow", "is_csv", "read", "version_key"]


class ImportedRow(NamedTuple):
    """One value of one model on one split and subset of one task."""

    model: str
    revision: str
    experiment: str
    task: str
    task_revision: str
    split: str
    subset: str
    measure: str
    value: float
    mteb_version: str
    licence: str
    parameters: int | None
    trained: str
    source: str


COLUMNS = ImportedRow._fields


def is_csv(path: Path) -> bool:
    """Whether a table of that name is CSV (else Parquet). Raises HarnessError for any other ending."""
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        return True
    if name.endswith(".parquet"):
        return False
    raise HarnessError(f"{path}: a table of imported figures ends in .parquet, .csv or .csv.gz")


def read(
    path: Path, tasks: Collection[str] | None = None, measures: Collection[str] | None = None
) -> Iterator[ImportedRow]:
    """The rows of a table in their order, of these tasks and measures alone where they are given.

    Raises HarnessError for a file that cannot be read, lacks a column, or holds a value that is no
    finite number.
    """
    rows = _csv_rows(path) if is_csv(path) else _parquet_rows(path, tasks, measures)
    for row in rows:
        if (tasks is None or row.task in tasks) and (measures is None or row.measure in measures):
            if not math.isfinite(row.value):
                raise HarnessError(f"{path}: {row.task} of {row.model} has the value {row.value}: import it again")
            yield row


def version_key(version: str) -> list[tuple[int, int | str]]:
    """What sorts versions as versions: `1.9.0` before `1.12.0`, whatever else one may hold."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in version.split(".")]


def _csv_rows(path: Path) -> Iterator[ImportedRow]:
    packed = path.name.lower().endswith(".gz")
    try:
        with (gzip.open if packed else open)(path, "rt", encoding="utf-8", newline="") as stream:
            rows = csv.reader(stream)
            if tuple(next(rows, ())) != COLUMNS:
                raise HarnessError(f"{path} does not begin with the columns {', '.join(COLUMNS)}")
            for cells in rows:
                record: dict[str, Any] = dict(zip(COLUMNS, cells, strict=True))
                record |= {"value": float(record["value"]), "parameters": int(record["parameters"] or 0) or None}
                yield ImportedRow(**record)
    except (OSError, EOFError, ValueError, csv.Error) as error:
        raise HarnessError(f"{path} is no table of imported figures: {error}") from None


def _parquet_rows(path: Path, tasks: Collection[str] | None, measures: Collection[str] | None) -> Iterator[ImportedRow]:
    import pyarrow as pa
    from pyarrow import compute, parquet

    # Names stay codes until rows are chosen: reading a few tasks of millions of rows costs little then.
    texts = [name for name in COLUMNS if name not in ("value", "parameters")]
    try:
        with parquet.ParquetFile(path, read_dictionary=texts) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=list(COLUMNS))
                for name, values in (("task", tasks), ("measure", measures)):
                    if values is not None:
                        table = table.filter(compute.is_in(table[name], pa.array(sorted(values), pa.string())))
                columns = [table[name].to_pylist() for name in COLUMNS]
                yield from map(ImportedRow._make, zip(*columns, strict=True))
    except (OSError, pa.ArrowException, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HarnessError(f"{path} is no table of imported figures: {reason}") from None
