"""A folder of mteb's results, as the public results repository → a table of imported figures and a report.

Every folder that holds result files is one model at one revision (or one experiment of it): its
`model_meta.json` names them, or else the folders' own names do, as in mteb. Folders are read by
several processes and written in the order of their paths, so that the same folder gives the same
table; no more than a few folders' values are in memory at once.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..results.imported import ImportedRow, version_key
from ..types import Measure
from .mteb_files import MAIN, RENAMED_TASKS, Unreadable, Wanted, named_values, parse, text_of
from .names import measure_of, mteb_key
from .tables import batch_of, writer_of

__all__ = ["DEFAULT_MEASURES", "Report", "import_results"]

DEFAULT_MEASURES = (
    MAIN,
    "nDCG@5",
    "nDCG@10",
    "nDCG@20",
    "MAP@100",
    "MAP@1000",
    "RR@10",
    "R@100",
    "robustness@10",
    "p-MRR",
)
"""The main score of every task, also under the name of its measure, and the measures that this harness's cards report."""

_META = "model_meta.json"
_NOT_RESULTS = (_META, "run_settings.json", "paths.json")
_UNKNOWN = "unknown"


@dataclass
class Report:
    """What an import saw: counts, and for each group of trouble how often and the first example."""

    files: int = 0
    """Result files looked at."""
    rows: int = 0
    models: set[str] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)
    skipped: Counter[str] = field(default_factory=Counter)
    """Why a whole file gave no row → how many."""
    missing: Counter[str] = field(default_factory=Counter)
    """`measure: what stands where its value should be` → how many values."""
    notes: Counter[str] = field(default_factory=Counter)
    """What was taken, and should be known → how many files."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first file of each group."""

    def count(self, group: Counter[str], reason: str, source: str) -> None:
        """One more of `reason`."""
        group[reason] += 1
        self.examples.setdefault(reason, source)

    def add(self, other: Report) -> None:
        """Join the report of a later folder."""
        self.files += other.files
        self.rows += other.rows
        self.models |= other.models
        self.tasks |= other.tasks
        for mine, theirs in zip(self._groups(), other._groups(), strict=True):
            mine.update(theirs)
        self.examples = other.examples | self.examples

    def _groups(self) -> tuple[Counter[str], ...]:
        return self.skipped, self.missing, self.notes

    def record(self) -> dict[str, Any]:
        """The report as JSON takes it."""
        names = ("skipped", "missing", "notes")
        groups = {
            name: [{"reason": r, "count": n, "example": self.examples[r]} for r, n in group.most_common()]
            for name, group in zip(names, self._groups(), strict=True)
        }
        counts = {"files": self.files, "rows": self.rows, "models": len(self.models), "tasks": len(self.tasks)}
        return {**counts, **groups}


@dataclass(frozen=True)
class _Import:
    """What an import takes from each file."""

    root: Path
    values: Wanted
    tasks: frozenset[str] | None
    main_scores: Mapping[str, tuple[str, str]]


def import_results(
    folder: Path,
    output: Path,
    main_scores: Callable[[], Mapping[str, tuple[str, str]]],
    *,
    tasks: Collection[str] = (),
    measures: Sequence[str] = DEFAULT_MEASURES,
    workers: int = 1,
) -> Report:
    """Write the figures of every result file of mteb below `folder` to the table `output`.

    `main_scores` is asked once for the main score of every task of mteb (`mteb_main_scores`), which
    files before mteb 1.11 do not hold. `tasks`, where given, are the only ones taken, by mteb's
    names. More than one of `workers` are processes of their own; a script that asks for them needs
    `if __name__ == "__main__":`, as with every multiprocessing in Python.

    Raises HarnessError for a folder without result files, a measure that mteb has no key for, a task
    that no file is of, an output that is no .parquet, .csv or .csv.gz, or cannot be written.
    """
    values = _wanted(measures)
    folders = _result_folders(folder, frozenset(tasks))
    if not any(names for _, names in folders):
        known = f" of {', '.join(sorted(tasks))}" if tasks else ""
        raise HarnessError(
            f"{folder} holds no result file{known}: name a folder with mteb's <model>/<revision>/<Task>.json"
        )
    wanted = _Import(folder, values, frozenset(tasks) or None, main_scores())
    report = Report()
    with writer_of(output) as write:
        for batch, found in _read_all(folders, wanted, workers):
            report.add(found)
            write(batch)
        if not report.rows:
            reasons = ", ".join(
                f"{reason} ({count})" for reason, count in (report.skipped + report.missing).most_common(3)
            )
            raise HarnessError(f"nothing of {folder} could be imported: {reasons}")
    return report


def _wanted(measures: Sequence[str]) -> Wanted:
    """The measures by mteb's keys. Raises HarnessError for one that mteb has no key for."""
    keys = {}
    for measure in measures:
        if measure == MAIN:
            continue
        try:
            name = str(Measure.parse(measure))
        except ValueError as error:
            raise HarnessError(str(error)) from None
        found = mteb_key(name)
        if found is None:
            raise HarnessError(
                f'mteb has no figure that means {name}: measures are "{MAIN}", nDCG@10, MAP@100, p-MRR …'
            )
        keys[found[1]] = name
    return Wanted(MAIN in measures, keys)


def _result_folders(folder: Path, tasks: frozenset[str]) -> list[tuple[Path, list[str]]]:
    """Every folder below, in the order of paths, and the names of its result files."""
    if not folder.is_dir():
        raise HarnessError(f"{folder} is not a folder")
    # Files may have their task's former name, or its name in small letters.
    stems = {name.lower() for name in tasks} | {old.lower() for old, new in RENAMED_TASKS.items() if new in tasks}
    found = []
    for place, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        names = sorted(name for name in files if name.endswith(".json") and name not in _NOT_RESULTS)
        if tasks:
            names = [name for name in names if name.removesuffix(".json").lower() in stems]
        if names:
            found.append((Path(place), names))
    return found


def _read_all(folders: Sequence[tuple[Path, list[str]]], wanted: _Import, workers: int) -> Iterator[tuple[Any, Report]]:
    read = partial(_read_folder, wanted)
    if workers <= 1:
        yield from map(read, folders)
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"))
    try:
        waiting = iter(folders)
        # A few folders ahead and no more: what was read waits in memory until it is written.
        with _without_interrupts():
            ahead = [pool.submit(read, each) for each in islice(waiting, 4 * workers)]
        while ahead:
            yield ahead.pop(0).result()
            ahead += [pool.submit(read, each) for each in islice(waiting, 1)]
    except BrokenProcessPool:
        raise HarnessError("a reading process was killed, perhaps for want of memory: try --workers 1") from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal; those that start in here leave it to this one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _read_folder(wanted: _Import, place: tuple[Path, list[str]]) -> tuple[Any, Report]:
    """The rows of one folder as a pyarrow.RecordBatch, and its report."""
    folder, names = place
    report, rows = Report(), list[ImportedRow]()
    model = _model_of(folder, report, wanted)
    seen: set[tuple[str, str, str]] = set()
    for name in names:
        source = _shown(folder / name, wanted.root)
        report.files += 1
        try:
            rows += _rows_of(folder / name, source, model, wanted, report, seen)
        except OSError as error:
            report.count(report.skipped, f"cannot be read: {error.strerror}", source)
        except Unreadable as reason:
            report.count(report.skipped, str(reason), source)
    report.rows = len(rows)
    report.models = {row.model for row in rows}
    report.tasks = {row.task for row in rows}
    return batch_of(rows), report


@dataclass(frozen=True)
class _Model:
    name: str
    revision: str
    experiment: str
    licence: str
    parameters: int | None
    trained_on: frozenset[str] | None
    """The tasks that the model's meta names as training data; None where it says nothing."""


def _model_of(folder: Path, report: Report, wanted: _Import) -> _Model:
    """From model_meta.json, else from the folders' names."""
    experiment = folder.name if folder.parent.name == "experiments" else ""
    place = folder.parent.parent if experiment else folder
    name, revision = _shown(place.parent).split("/")[-1].replace("__", "/"), _shown(place).split("/")[-1]
    meta: dict[str, Any] = {}
    try:
        meta = json.loads((folder / _META).read_bytes())
        name = text_of(meta.get("name")).replace("__", "/") or name
        revision = text_of(meta.get("revision")) or revision
    except FileNotFoundError:
        report.count(
            report.notes, f"no {_META}: model and revision are the folders' names", _shown(folder, wanted.root)
        )
    except (OSError, ValueError, AttributeError, RecursionError, Unreadable):
        meta = {}
        report.count(
            report.notes,
            f"{_META} cannot be read: model and revision are the folders' names",
            _shown(folder, wanted.root),
        )
    licence, parameters, trained = meta.get("license"), meta.get("n_parameters"), meta.get("training_datasets")
    whole = isinstance(parameters, int) and not isinstance(parameters, bool) and 0 < parameters < 2**63
    named = frozenset(map(str, trained)) if isinstance(trained, list | dict) else None
    return _Model(name, revision, experiment, _text_or_nothing(licence), parameters if whole else None, named)


def _text_or_nothing(value: object) -> str:
    try:
        return text_of(value)
    except Unreadable:
        return ""


def _with_headline(wanted: _Import, task: str, version: str) -> Wanted:
    """With the main score goes the measure that the task calls so, by its own name: boards show it.

    From mteb 2 on an entry that does not name it has it in its main score; before, main scores were others.
    """
    headline = measure_of(wanted.main_scores.get(task.lower(), (task, ""))[1]) if wanted.values.main else None
    if headline is None:
        return wanted.values
    name, key = headline
    stated = version_key(version) >= version_key("2") if version[:1].isdigit() else False
    return Wanted(wanted.values.main, {**wanted.values.measures, key: name}, key if stated else "")


def _shown(path: Path, root: Path | None = None) -> str:
    """A path as text that UTF-8 can hold."""
    relative = path.relative_to(root) if root is not None else path
    return relative.as_posix().encode("utf-8", "backslashreplace").decode()


def _rows_of(
    path: Path, source: str, model: _Model, wanted: _Import, report: Report, seen: set[tuple[str, str, str]]
) -> list[ImportedRow]:
    """The values of one file. Raises Unreadable where there is none."""
    found = parse(path.read_bytes(), wanted.main_scores)
    if wanted.tasks is not None and found.task not in wanted.tasks:
        raise Unreadable("of another task than its name says")
    if not found.revision:
        report.count(report.notes, "says no dataset revision", source)
    if path.stem != found.task:
        report.count(report.notes, "its name is not its task's", source)
    trained = _UNKNOWN if model.trained_on is None else "yes" if found.task in model.trained_on else "no"
    rows, why_none = [], "holds none of the measures that were asked for"
    for entry in found.entries:
        key = (found.task, entry.split, entry.subset)
        if key in seen:
            why_none = "its figures stand in another file of the folder already"
            report.count(report.notes, "a subset stands twice in one folder: the first one is taken", source)
            continue
        seen.add(key)
        for measure, value in named_values(entry.scores, _with_headline(wanted, found.task, entry.mteb_version)):
            if isinstance(value, str):
                why_none = "every value that was asked for is missing"
                report.count(report.missing, f"{measure}: {value}", source)
                continue
            rows.append(
                ImportedRow(
                    model.name, model.revision, model.experiment, found.task, found.revision, entry.split, entry.subset,
                    measure, value, entry.mteb_version, model.licence, model.parameters, trained, source,
                )
            )  # fmt: skip
    if not rows:
        raise Unreadable(why_none)
    return rows
