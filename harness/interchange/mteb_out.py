"""Our results → the files of mteb's results cache, which mteb's own classes load.

    DIR/results/<model>/<revision>/<Task>.json and model_meta.json

Two results of one model over two first stages are two models to mteb, so the first stage stands in
the name as mteb's public results have settings there: `org/model (bm25 top 100)`; in full it is in
model_meta.json, under loader_kwargs. The main score is the measure that mteb's task calls so, and
equals ours: values are written whole, where mteb's own writing rounds to six digits. p-MRR stands in
[-1, 1]; FollowIR's two instructions have their figures apart, under `og` and `changed`, and nothing
is written of both pooled. mteb_version is null, since mteb measured nothing here.

What mteb's files cannot say is left out, and told: a part of the queries, relevance from another
grade, queries without their instructions, a card of one's own under the name of one of mteb's tasks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..results.result import Identity, Result
from ..verdicts.pairing import Entry, labelled_entries
from .mteb_files import MAIN
from .mteb_meta import MtebTask, task_of_mteb
from .names import mteb_key

__all__ = [
    "Exported", "as_path", "export_mteb", "figures_of", "headline_key", "hf_subset", "model_of", "stage_of",
]  # fmt: skip

_ORGANISATION = "rerank-harness"
_NO_REVISION = "no_revision_available"
_OURS = ("packed", "mteb")
_UNDETERMINED = ["und-Zzzz"]
_HITS = "accuracy"


@dataclass
class Exported:
    """What was written, and what was left out and why, one line each."""

    paths: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def stage_of(identity: Identity) -> str:
    """`bm25 top 100`, or `given lists`."""
    return "given lists" if identity.top_k is None else f"{identity.retriever} top {identity.top_k}"


def figures_of(result: Result) -> dict[str, float]:
    """measure → the value of what the result is of: the reranked candidates, or the first stage alone."""
    stage = "reranked" if result.identity.reranker else "first_stage"
    found = {name: row.get(stage) for name, row in result.measures.items()}
    return {name: value for name, value in found.items() if value is not None}


def export_mteb(entries: Sequence[Entry], output: Path) -> Exported:
    """Write the results as mteb's files below `output`/results.

    Raises HarnessError where two results claim one place in a file, where nothing is left to write,
    and where the folder cannot be written.
    """
    done = Exported()
    files: dict[tuple[str, str, str], dict[tuple[str, str], tuple[Entry, dict[str, Any]]]] = {}
    known: dict[str, MtebTask | None] = {}
    for entry in labelled_entries(entries):
        identity = entry.result.identity
        if identity.task not in known:
            known[identity.task] = task_of_mteb(identity.task)
        try:
            scores = _scores(entry.result, known[identity.task])
        except _Inexpressible as reason:
            done.left_out.append(f"{entry.path}: {reason}")
            continue
        done.left_out += [f"{entry.path}: {name} has no key in mteb" for name in _without_key(entry.result)]
        parts = files.setdefault((*model_of(entry.result), identity.task), {})
        _claim(parts, (identity.split, str(scores["hf_subset"])), entry, scores)
    if not files:
        raise HarnessError(f"no result can be written as mteb's: {'; '.join(done.left_out[:3])}")
    try:
        for (name, revision, task), parts in files.items():
            folder = output / "results" / as_path(name) / revision
            one = next(iter(parts.values()))[0].result
            write_atomically(folder / "model_meta.json", _json(_meta(name, revision, one.identity)))
            write_atomically(path := folder / f"{as_path(task)}.json", _json(_record(task, parts.values())))
            done.paths.append(path)
            absent = _absent(known[task], parts)
            if absent:
                done.left_out.append(f"{path}: no result of {task} {', '.join(absent)}; mteb shows them as missing")
    except OSError as error:
        raise HarnessError(f"cannot write {output}: {error.strerror or error}") from None
    return done


def _absent(task: MtebTask | None, parts: Iterable[tuple[str, str]]) -> list[str]:
    """The subsets of mteb's task that are not among (split, subset)."""
    return sorted(set(task.languages) - {subset for _, subset in parts}) if task else []


class _Inexpressible(Exception):  # noqa: N818  (a reason to be told)
    """Why a result cannot be written."""


def _claim(
    parts: dict[tuple[str, str], tuple[Entry, dict[str, Any]]],
    place: tuple[str, str],
    entry: Entry,
    scores: dict[str, Any],
) -> None:
    if place in parts:
        raise HarnessError(
            f"{parts[place][0].path} and {entry.path} are results of one model, revision and first stage, which mteb's "
            f"files cannot tell apart: export one of their folders"
        )
    first = next(iter(parts.values()), None)
    revision = entry.result.identity.dataset_revision
    if first is not None and first[0].result.identity.dataset_revision != revision:
        raise HarnessError(
            f"{first[0].path} and {entry.path} are of two revisions of one data set, where mteb's file has one: "
            f"export one of them"
        )
    parts[place] = entry, scores


def _scores(result: Result, task: MtebTask | None) -> dict[str, Any]:
    """One entry of TaskResult's scores. Raises _Inexpressible."""
    identity, figures = result.identity, figures_of(result)
    for flag, setting, usual in (
        ("--limit", identity.limit, None),
        ("--until-decided", identity.until, ""),
        ("--relevance-level", identity.relevance_level, 1),
        ("--qrels-layer", identity.qrels_layer, ""),
        ("--missing-text", identity.missing_text, "error"),
        ("--instructions", identity.instructions, "given"),
    ):
        if setting != usual:
            raise _Inexpressible(f"made with {flag} {setting}, of which mteb's files can say nothing")
    subset = hf_subset(identity)
    if task is not None and identity.card not in (*_OURS, "split"):
        raise _Inexpressible(f"{identity.task} of a card of your own, under the name of one of mteb's tasks")
    if task is not None and subset not in task.languages:
        raise _Inexpressible(f"mteb's {identity.task} has no subset {subset}")
    scores: dict[str, Any] = {}
    for name, value in figures.items():
        found = mteb_key(name)
        if found is not None:
            side, key = found
            (scores.setdefault(side, {}) if side else scores)[key] = value
    main = task.main_score if task is not None else headline_key(result)
    if main == _HITS and "recall_at_1" in scores:
        scores[_HITS] = scores["recall_at_1"]  # mteb's own definition of it for retrieval
    if main not in scores:
        raise _Inexpressible(f"mteb's main score of {identity.task} is {main}, which was not measured")
    languages = task.languages[subset] if task is not None else result.diagnostics.get("languages") or _UNDETERMINED
    return {**scores, MAIN: scores[main], "hf_subset": subset, "languages": list(languages)}


def hf_subset(identity: Identity) -> str:
    """mteb's name of the subset; a task of several splits has the split in our name, and a file of mteb's apart."""
    if identity.card != "mteb":
        return identity.subset
    return "default" if identity.subset == identity.split else identity.subset.removesuffix(f"-{identity.split}")


def headline_key(result: Result) -> str:
    """The key of the first measure that was asked for, on its own instruction where there are two."""
    found = mteb_key(result.asked[0])
    return found[1] if found else result.asked[0]


def _without_key(result: Result) -> list[str]:
    # Judged@k is in every result, and its absence from mteb's files is known: no line for each.
    return [name for name in figures_of(result) if mteb_key(name) is None and not name.startswith("Judged@")]


def model_of(result: Result) -> tuple[str, str]:
    """The name and the revision that mteb's files have for a reranker over a first stage, or a first stage alone."""
    identity = result.identity
    if identity.reranker is None:
        revision = str(identity.retriever_settings.get("revision") or _NO_REVISION)
        depth = "given lists" if identity.top_k is None else f"top {identity.top_k}"
        return f"{_of_organisation(identity.retriever)} (first stage, {depth})", revision
    # A folder's parent is no organisation; the settings of a sweep tell its files apart.
    own = identity.reranker.replace("/", "-") if result.place else identity.reranker
    note = result.label.removeprefix(identity.reranker) if result.label.startswith(identity.reranker) else ""
    settings = note.partition(" (")[2].removesuffix(")")
    name = f"{_of_organisation(own)} ({stage_of(identity)}{f', {settings}' if settings else ''})"
    return name, identity.reranker_revision or _NO_REVISION


def _of_organisation(name: str) -> str:
    """mteb's names are organisation/model; what is no hub's name (bm25, a file, a folder) becomes one of ours."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return name
    return f"{_ORGANISATION}/{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('.-') or 'model'}"


def as_path(name: str) -> str:
    """A name as mteb has it in a path."""
    return name.replace("/", "__").replace(" ", "_")


def _record(task: str, parts: Iterable[tuple[Entry, dict[str, Any]]]) -> dict[str, Any]:
    """TaskResult's fields, validated by the class itself."""
    from mteb.results import TaskResult

    scores: dict[str, list[dict[str, Any]]] = {}
    seconds: float | None = 0.0
    revision = ""
    for entry, found in parts:
        identity = entry.result.identity
        revision = identity.dataset_revision
        scores.setdefault(identity.split, []).append(found)
        spent = entry.result.performance.get("seconds")
        seconds = seconds + spent if seconds is not None and spent is not None else None
    record = {
        "dataset_revision": revision, "task_name": task, "mteb_version": None, "scores": scores,
        "evaluation_time": seconds, "kg_co2_emissions": None,
    }  # fmt: skip
    TaskResult.model_validate(record)
    return record


def _meta(name: str, revision: str, identity: Identity) -> dict[str, Any]:
    """ModelMeta's fields; what is not known of the model is null."""
    unknown = (
        "loader", "release_date", "languages", "n_parameters", "memory_usage_mb", "max_tokens", "embed_dim", "license",
        "open_weights", "public_training_code", "public_training_data", "similarity_fn_name", "use_instructions",
        "training_datasets",
    )  # fmt: skip
    made: Mapping[str, object] = {
        "measured_by": "rerank-harness",
        "reranker": identity.reranker,
        "reranker_fingerprint": identity.reranker_fingerprint,
        "reranker_settings": dict(identity.reranker_settings),
        "first_stage": identity.retriever,
        "first_stage_fingerprint": identity.retriever_fingerprint,
        "top_k": identity.top_k,
    }
    kind = "dense" if identity.reranker is None and "/" in identity.retriever else "sparse"
    return {
        "name": name,
        "revision": revision,
        **dict.fromkeys(unknown),
        "framework": [],
        "model_type": ["cross-encoder"] if identity.reranker else [kind],
        "loader_kwargs": made,
    }


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
