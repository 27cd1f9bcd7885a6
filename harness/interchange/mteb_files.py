"""One result file of any version of mteb → its values, strictly.

Three shapes are in the wild. Before 1.11 a file holds `{"mteb_dataset_name", "dataset_revision",
"mteb_version", SPLIT: SCORES or {SUBSET: SCORES}}`, and no main score; from 1.11 on `{"task_name",
"scores": {SPLIT: [SCORES with hf_subset, main_score]}}`; 2.x adds a version to each entry and other
keys to FollowIR's. Old files are read as mteb's own `TaskResult.from_disk` converts them: tasks and
subsets that were renamed, pair classification's nested scores, the main score looked up by the task.

A value is a finite number or it is missing: NaN (written bare), null, a string, a boolean, and what
lies outside the measure's range are each missing and counted, never turned into a number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .names import POOLED, SIDES

__all__ = ["MAIN", "RENAMED_TASKS", "Entry", "ResultFile", "Unreadable", "Wanted", "named_values", "parse", "text_of"]

MAIN = "main_score"

_SIDE_FIGURES = {"og": ("og",), "changed": ("changed",), "individual": ("original", "changed")}
_NESTED = {"v_measures", "cos_sim", "euclidean", "manhattan", "dot", "max", "similarity", *_SIDE_FIGURES}
"""Keys of old files that hold a dictionary and yet are no subset."""

_FLAT = {"cos_sim": "cosine", "manhattan": "manhattan", "euclidean": "euclidean", "dot": "dot", "max": "max"}
RENAMED_TASKS = {
    "NorwegianParliament": "NorwegianParliamentClassification",
    "CMedQAv2": "CMedQAv2-reranking",
    "CMedQAv1": "CMedQAv1-reranking",
    "8TagsClustering": "EightTagsClustering",
    "PPC": "PpcPC",
}
_OLD_TASKS = {f"Scala{code}Classification": "accuracy" for code in ("Nb", "Nn", "Da", "Sv")}
"""Tasks that mteb itself no longer has, and their main scores."""

_SETTLED = ("mteb_dataset_name", "dataset_revision", "mteb_version", "evaluation_time", "kg_co2_emissions", "date")
_UNKNOWN_REVISIONS = ("None", "dataset revision not available", "no_revision_available")


class Unreadable(Exception):  # noqa: N818  (not an error of ours: a reason to be counted)
    """A file, or a part of one, that cannot be taken; the message is its group in the report."""


@dataclass(frozen=True)
class Wanted:
    """What is taken from each entry."""

    main: bool
    """Whether the main score is."""
    measures: Mapping[str, str]
    """mteb's keys and our names of them."""
    headline: str = ""
    """Which of the keys the main score has, where it may stand for a value that the entry does not name."""


@dataclass(frozen=True)
class Entry:
    """The scores of one split and subset, as the file has them."""

    split: str
    subset: str
    mteb_version: str
    scores: Mapping[str, Any]


@dataclass(frozen=True)
class ResultFile:
    """What one file says."""

    task: str
    revision: str
    """Empty where the file names none."""
    entries: list[Entry]


def parse(data: bytes, main_scores: Mapping[str, tuple[str, str]]) -> ResultFile:
    """The content of one result file.

    `main_scores` maps a task's name in small letters to its name and the key of its main score, for
    the files that do not hold one. Raises Unreadable.
    """
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unreadable("empty file" if not data.strip() else f"not JSON ({type(error).__name__})") from None
    if not isinstance(record, dict):
        raise Unreadable("not a result of mteb: no object")
    if "scores" in record:
        return _from_scores(record)
    if "mteb_dataset_name" in record:
        return _from_old(record, main_scores)
    raise Unreadable("not a result of mteb: neither scores nor mteb_dataset_name")


def text_of(value: object) -> str:
    """A string that UTF-8 can hold; empty for None. Raises Unreadable for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable(f"a name is {type(value).__name__}, where a string is needed")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unreadable("a name is not Unicode text") from None
    return value


def _revision(record: Mapping[str, Any]) -> str:
    found = text_of(record.get("dataset_revision"))
    return "" if found in _UNKNOWN_REVISIONS else found


# -- from 1.11 on


def _from_scores(record: Mapping[str, Any]) -> ResultFile:
    task = text_of(record.get("task_name") or record.get("mteb_dataset_name"))
    if not task:
        raise Unreadable("names no task")
    splits = record["scores"]
    if not isinstance(splits, dict) or not all(isinstance(entries, list) for entries in splits.values()):
        raise Unreadable("scores are not {split: [scores of a subset, …]}")
    version = text_of(record.get("mteb_version"))
    entries = [
        _entry(text_of(split), version, scores) for split, listed in splits.items() for scores in listed
    ]  # fmt: skip
    if not entries:
        raise Unreadable("holds no scores")
    return ResultFile(task, _revision(record), entries)


def _entry(split: str, version: str, scores: object) -> Entry:
    if not isinstance(scores, dict) or not isinstance(scores.get("hf_subset"), str):
        raise Unreadable("an entry of scores names no hf_subset")
    return Entry(split, text_of(scores["hf_subset"]), text_of(scores.get("mteb_version")) or version, scores)


# -- before 1.11


def _from_old(record: Mapping[str, Any], main_scores: Mapping[str, tuple[str, str]]) -> ResultFile:
    task = text_of(record["mteb_dataset_name"])
    if task in _OLD_TASKS:
        main = _OLD_TASKS[task]
    else:
        task, main = main_scores.get(RENAMED_TASKS.get(task, task).lower(), (RENAMED_TASKS.get(task, task), ""))
    version = text_of(record.get("mteb_version"))
    splits = {text_of(name): part for name, part in record.items() if name not in _SETTLED}
    if not splits or not all(isinstance(part, dict) for part in splits.values()):
        raise Unreadable("scores are not {split: {measure: value}}")
    parts = {split: {k: v for k, v in part.items() if k != "evaluation_time"} for split, part in splits.items()}
    if not any(isinstance(v, dict) and k not in _NESTED for part in parts.values() for k, v in part.items()):
        parts = {split: {"default": part} for split, part in parts.items()}
    entries = []
    for split, subsets in parts.items():
        for subset, scores in _renamed_subsets(task, version, split, subsets).items():
            if not isinstance(scores, dict):
                raise Unreadable("scores are not {split: {measure: value}}")
            entries.append(Entry(split, text_of(subset), version, _with_main(scores, main)))
    return ResultFile(task, _revision(record), entries)


def _renamed_subsets(task: str, version: str, split: str, subsets: Mapping[str, Any]) -> dict[str, Any]:
    """What mteb's own loading of old files mends: French alone was there, under another name."""
    names = {name: name for name in subsets}
    if task.startswith("MLSUMClustering") and version in ("1.1.2.dev0", "1.1.3.dev0") and split == "test":
        names |= {"default": "fr"} if "default" in names else {}
    if task == "XPQARetrieval" and split == "test" and "fr" in names:
        names["fr"] = "fra-fra"
    return {names[name]: scores for name, scores in subsets.items()}


def _with_main(scores: Mapping[str, Any], main: str) -> dict[str, Any]:
    flat = dict(scores)
    for key, name in _FLAT.items():
        if isinstance(flat.get(key), dict):
            flat |= {f"{name}_{inner}": value for inner, value in flat.pop(key).items()}
    if MAIN not in flat and main in flat:
        flat[MAIN] = flat[main]
    return flat


# -- values


def named_values(scores: Mapping[str, Any], wanted: Wanted) -> Iterator[tuple[str, float | str]]:
    """(measure, its value, or why it is missing) of the measures asked for, by the names that results have.

    A main score that is absent is missing; another measure that is absent was not measured and is
    not named.
    """
    follows = "p-MRR" in scores
    if wanted.main:
        yield MAIN, _value(MAIN, scores.get(MAIN, _ABSENT))
    for key, name in wanted.measures.items():
        if key == wanted.headline and key not in scores and MAIN in scores and not follows:
            yield name, _value(name, scores[MAIN])
        if key in scores:
            pooled = follows and key != "p-MRR"
            yield f"{name} {POOLED}" if pooled else name, _value(name, scores[key])
    if follows:
        for side, figures in _sides(scores):
            for key, name in wanted.measures.items():
                if key in figures and key != "p-MRR":
                    yield f"{name} {side}", _value(name, figures[key])


def _sides(scores: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Both instructions' figures: `og` and `changed` from 2.x on, `individual.original` and `.changed` before."""
    nested = scores.get("individual")
    before = nested if isinstance(nested, dict) else {}
    for side, old in zip(SIDES, ("original", "changed"), strict=True):
        figures = scores.get(side, before.get(old))
        if isinstance(figures, dict):
            yield side, figures


_ABSENT = object()


def _value(name: str, value: object) -> float | str:
    """The value, or what stands where it should be."""
    if type(value) is float and 0 <= value <= 1:  # nearly all of millions of values
        return value
    if value is _ABSENT:
        return "absent"
    if value is None:
        return "null"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{type(value).__name__}, no number"
    try:
        number = float(value)
    except OverflowError:
        return "too large"
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "infinite"
    if name != MAIN and not (-1 if name == "p-MRR" else 0) <= number <= 1:
        return "outside the measure's range"
    return number
