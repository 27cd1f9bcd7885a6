"""Results → the hub's `.eval_results/<Task>.yaml` of a model's repository, as huggingface_hub and mteb write them.

One entry for each subset and split (`task_id: <Task>_<subset>_<split>`) and one for the whole task where every
subset of mteb's is there; values are the main score times 100. A figure over candidates of a first stage is one of
both stages, so it is written only on request, with the first stage in the notes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..results.environment import harness_version
from ..results.result import Identity, Result, slug
from ..verdicts.pairing import Entry
from .mteb_meta import MtebTask, task_of_mteb
from .mteb_out import Exported, figures_of, headline_key, hf_subset, stage_of
from .names import mteb_key

__all__ = ["FOLDER", "export_eval_results"]

FOLDER = ".eval_results"
_ON_THE_HUB = ("packed", "mteb", "split", "hub")
_DIGITS = 5
"""Of a value times 100, as mteb writes them."""


@dataclass(frozen=True)
class _Figure:
    entry: Entry
    key: str
    """mteb's key of the main score."""
    value: float


def export_eval_results(
    entries: Sequence[Entry], output: Path, *, two_stage: bool = False, source: str = "", date: str = ""
) -> Exported:
    """Write the results of one reranker into `output`/.eval_results, the folder of a model's repository.

    `source` is the address that the figures link to. `date` is an ISO day; without it that of a result's last change.
    Entries of other people's in the files stay. Raises HarnessError for results of several rerankers, two results of
    one entry, a date that is none, nothing to write, and a file that cannot be read or written.
    """
    done = Exported()
    known: dict[str, MtebTask | None] = {}
    files: dict[str, list[_Figure]] = {}
    _require_day(date)
    for entry in entries:
        identity = entry.result.identity
        if identity.task not in known:
            known[identity.task] = task_of_mteb(identity.task)
        if reason := _left_out(entry.result, two_stage):
            done.left_out.append(f"{entry.path}: {reason}")
        elif (figure := _figure(entry, known[identity.task])) is None:
            done.left_out.append(f"{entry.path}: the main score of {identity.task} was not measured")
        else:
            files.setdefault(_file_name(identity), []).append(figure)
    rerankers = {figure.entry.result.identity.reranker for figures in files.values() for figure in figures}
    if len(rerankers) != 1:
        which = ", ".join(sorted(map(str, rerankers))) or "; ".join(done.left_out[:3]) or "no result"
        raise HarnessError(f"a model's repository tells of one reranker, and these are {which}: name the folder of one")
    for name, figures in files.items():
        path = output / FOLDER / name
        task = figures[0].entry.result.identity.task
        found = [_record(figure, source, date) for figure in figures] + _whole(figures, known[task], source, date)
        _refuse_twice(found, figures)
        _write(path, found)
        done.paths.append(path)
    return done


def _require_day(date: str) -> None:
    try:
        if date:
            datetime.fromisoformat(date)
    except ValueError:
        raise HarnessError(f"--date {date} is no day, as in --date 2026-01-31") from None


def _left_out(result: Result, two_stage: bool) -> str:
    identity = result.identity
    if identity.reranker is None:
        return "a first stage alone"
    if identity.partial:
        return f"of a part of the queries alone: {identity.partial}"
    if not identity.by_the_card:
        return "made by rules of its own (--relevance-level, --missing-text or --instructions)"
    if identity.card not in _ON_THE_HUB or not re.fullmatch(r"[\w.-]+/[\w.-]+", identity.dataset):
        return f"{identity.dataset} is no data set of the hub, which the entry would name"
    if identity.top_k is not None and not two_stage:
        return f"a figure of two stages (over {stage_of(identity)}): --two-stage writes it with the first stage in the notes"
    return ""


def _figure(entry: Entry, task: MtebTask | None) -> _Figure | None:
    """The main score of mteb's task, or where mteb has none of that name the headline."""
    main = task.main_score if task is not None else headline_key(entry.result)
    main = "recall_at_1" if main == "accuracy" else main
    for name, value in figures_of(entry.result).items():
        if name == main or ((found := mteb_key(name)) is not None and found == ("", main)):
            return _Figure(entry, main, value)
    return None


def _file_name(identity: Identity) -> str:
    stage = "" if identity.top_k is None else f"_{slug(stage_of(identity)).replace('-', '_')}"
    return f"{slug(identity.task)}{stage}.yaml"


def _record(figure: _Figure, source: str, date: str, task_id: str = "") -> dict[str, Any]:
    identity = figure.entry.result.identity
    one = f"{identity.task}_{hf_subset(identity)}_{identity.split}"
    made_by = f"Rerank Harness {harness_version()}"
    notes = f"{figure.key} times 100, reranking {stage_of(identity)}"
    if identity.top_k is not None:
        notes += f" (first stage {identity.retriever}, fingerprint {identity.retriever_fingerprint[:8]})"
    return {
        "dataset": {"id": identity.dataset, "task_id": task_id or one, "revision": identity.dataset_revision},
        "value": round(figure.value * 100, _DIGITS),
        "date": date or datetime.fromtimestamp(figure.entry.path.stat().st_mtime, UTC).date().isoformat(),
        **({"source": {"url": source, "name": made_by}} if source else {}),
        "notes": f"{notes}; {made_by}",
    }


def _whole(figures: Sequence[_Figure], task: MtebTask | None, source: str, date: str) -> list[dict[str, Any]]:
    """The entry of the whole task: the mean over its subsets, where every one that mteb has is there."""
    subsets = {hf_subset(figure.entry.result.identity) for figure in figures}
    splits = {figure.entry.result.identity.split for figure in figures}
    if task is None or subsets != set(task.languages) or len(figures) != len(subsets) or len(splits) != 1:
        return []
    mean = math.fsum(figure.value for figure in figures) / len(figures)
    name = figures[0].entry.result.identity.task
    return [_record(_Figure(figures[0].entry, figures[0].key, mean), source, date, task_id=name)]


def _refuse_twice(found: Iterable[dict[str, Any]], figures: Sequence[_Figure]) -> None:
    ids = [each["dataset"]["task_id"] for each in found]
    twice = next((one for one in ids if ids.count(one) > 1), None)
    if twice is not None:
        paths = " and ".join(str(figure.entry.path) for figure in figures[:2])
        raise HarnessError(f"{twice} has two results ({paths}): an entry has room for one; name the folder of one")


def _write(path: Path, found: list[dict[str, Any]]) -> None:
    try:
        before = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else []
        own = {(each["dataset"]["id"], each["dataset"]["task_id"]) for each in found}
        kept = [each for each in before or [] if (each["dataset"]["id"], each["dataset"]["task_id"]) not in own]
        write_atomically(path, yaml.safe_dump([*kept, *found], sort_keys=False, allow_unicode=True))
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise HarnessError(
            f"{path} is no list of evaluation results ({type(error).__name__}): move it away, or mend it"
        ) from None
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror or error}") from None
