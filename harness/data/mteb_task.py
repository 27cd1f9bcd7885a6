"""Stage 1 for tasks of mteb that have no card: what mteb's metadata says, as a Task.

mteb is imported only here, and only for a task that was not asked for before: what its metadata
said is remembered in the cache, by mteb's version. Data in the plain layout is read from the hub as
for a card; where mteb's class of a task has its own way of reading, that class reads it, and we
write what it gives as the files that a collection is prepared from.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import logging
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import HarnessError, MissingDependency
from ..files.cache import write_atomically
from ..files.digest import digest_of
from ..types import Aggregate, Measure, Subset, Task
from .containers import write_lines

__all__ = ["KINDS", "exported", "look_up", "memory_of", "mteb_names", "open_mteb", "quiet", "shown_measures"]

KINDS = ("Retrieval", "Reranking", "InstructionRetrieval", "InstructionReranking")
_MEASURES = {
    "ndcg": "nDCG", "map": "MAP", "recall": "R", "mrr": "RR", "precision": "P", "hit_rate": "Success",
    "robustness": "robustness",
}  # fmt: skip
_ALONE = {"p-MRR": "p-MRR", "paired_accuracy": "paired-accuracy"}
_OVER = "max_over_subqueries_"
_RULE = "4"
"""Changed whenever the same metadata would be read into something else: what is remembered has it in its name."""
_GROUPS = {"robustness": "prefix:_", "paired-accuracy": "prefix:_", "max-over-subqueries": "stem:_"}
"""How mteb's functions for these main scores find the queries that are one."""
_ALSO = ("nDCG@10", "MAP@1000", "RR@10")


def look_up(name: str, cache: Path, *, remembered: bool = False) -> Task | Aggregate | None:
    """mteb's retrieval, reranking or instruction task of that name; an Aggregate where it is one of several.

    None where mteb has no such task, or it is not one of texts. With `remembered` only the cache is
    asked. Raises HarnessError for a task that is not ours to measure.
    """
    memory = memory_of(cache, name)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return _read(json.loads(memory.read_bytes()))
    if remembered:
        return None
    found = _ask(name)
    if found is not None:
        with contextlib.suppress(OSError):
            write_atomically(memory, json.dumps(_written(found)))
    return found


def mteb_names(cache: Path) -> list[str]:
    """The names of mteb's retrieval, reranking and instruction tasks."""
    memory = memory_of(cache, "")
    with contextlib.suppress(OSError, ValueError):
        return [str(name) for name in json.loads(memory.read_bytes())]
    tasks = open_mteb().get_tasks(task_types=list(KINDS), exclude_superseded=False)
    names = sorted(task.metadata.name for task in tasks)
    with contextlib.suppress(OSError):
        write_atomically(memory, json.dumps(names))
    return names


def memory_of(cache: Path, name: str, rule: str = _RULE) -> Path:
    """Where what this version of mteb says of `name`, read by `rule`, is remembered. Raises MissingDependency without mteb."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:80] or "names"
    return cache / "mteb" / _version() / f"{slug}-{digest_of(name, rule)[:8]}.json"


def _version() -> str:
    try:
        return importlib.metadata.version("mteb")
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependency("a task without a card", "mteb", "pip install mteb") from None


def _written(found: Task | Aggregate) -> dict[str, Any]:
    return {"kind": type(found).__name__, **asdict(found)}


def _read(known: dict[str, Any]) -> Task | Aggregate:
    if known.pop("kind") == "Aggregate":
        means = tuple((name, tuple(measures)) for name, measures in known["means"])
        return Aggregate(known["name"], tuple(known["members"]), means)
    subsets = tuple(Subset(**{**entry, "languages": tuple(entry["languages"])}) for entry in known.pop("subsets"))
    measures = tuple(Measure(**entry) for entry in known.pop("measures"))
    modalities = tuple(known.pop("modalities"))
    return Task(subsets=subsets, measures=measures, modalities=modalities, **known)


# -- mteb's metadata


def open_mteb() -> Any:
    """The package mteb. Raises MissingDependency where it is not installed."""
    with quiet():
        try:
            import mteb
        except ImportError as error:
            raise MissingDependency("a task without a card", "mteb", f"pip install mteb ({error})") from error
    return mteb


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """mteb's and datasets' advice is for their own users."""
    loggers = [logging.getLogger(name) for name in ("mteb", "datasets")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _ask(name: str) -> Task | Aggregate | None:
    task = _instance(name)
    if task is None or task.metadata.type not in KINDS:
        return None
    metadata = task.metadata
    if getattr(task, "is_aggregate", False):
        members = tuple(member.metadata.name for member in metadata.tasks)
        headline = shown_measures(metadata.main_score)[0][0]
        return Aggregate(name, members, ((str(headline), (str(headline),) * len(members)),))
    measures, note = shown_measures(metadata.main_score)
    lists, reranks = _has_lists(task), str(metadata.type).endswith("Reranking")
    if lists and not reranks:
        scope = "the data set says which documents may be retrieved for each query; a first stage ranks these alone"
        note = "; ".join(part for part in (note, scope) if part)
    return Task(
        name=metadata.name,
        path=metadata.dataset["path"],
        revision=metadata.dataset["revision"],
        subsets=_subsets(task),
        measures=measures,
        given_lists=lists and reranks,
        scoped=lists and not reranks,
        drop_identical_ids=bool(getattr(task, "ignore_identical_ids", False)),
        licence=str(metadata.license or ""),
        prompt=_prompt(metadata.prompt),
        clusters=_GROUPS.get(measures[0].name, ""),
        origin="mteb",
        loader="" if _is_plain(task) else f"mteb:{metadata.name}:{_version()}",
        note=note,
        modalities=tuple(metadata.modalities),
    )


def _instance(name: str) -> Any:
    with quiet(), contextlib.suppress(KeyError):
        return open_mteb().get_task(name)
    return None


def _is_plain(task: Any) -> bool:
    """Whether the data lies on the hub in mteb's own layout, and nothing is done to it after reading."""
    from mteb.abstasks import AbsTaskRetrieval

    same = all(getattr(type(task), way) is getattr(AbsTaskRetrieval, way) for way in ("load_data", "dataset_transform"))
    return same and set(task.metadata.dataset) == {"path", "revision"}


def shown_measures(main_score: str) -> tuple[tuple[Measure, ...], str]:
    """The headline and what is reported with it; and what is to be said where the headline is mteb's alone."""
    also = tuple(Measure.parse(text) for text in _ALSO)
    name, _, cutoff = main_score.rpartition("_at_")
    if main_score in _ALONE:
        headline = Measure.parse(_ALONE[main_score])
    elif name.startswith(_OVER) and name.removeprefix(_OVER) in _MEASURES and cutoff.isdigit():
        headline = Measure("max-over-subqueries", int(cutoff), _MEASURES[name.removeprefix(_OVER)])
    elif name in _MEASURES and cutoff.isdigit():
        headline = Measure(_MEASURES[name], int(cutoff))
    elif main_score == "accuracy":
        headline = Measure("R", 1)  # mteb's own definition of it for retrieval
    else:
        return also, f"mteb's own measure {main_score} is not one of ours; nDCG@10 is shown instead"
    return tuple(dict.fromkeys((headline, *also))), ""


def _subsets(task: Any) -> tuple[Subset, ...]:
    """Each language of each split; several splits are parts of their own, as mteb averages them."""
    splits = [str(split) for split in task.metadata.eval_splits]
    spoken = task.metadata.eval_langs
    parts = spoken if isinstance(spoken, dict) else {"default": spoken}
    found = []
    for part, languages in parts.items():
        for split in splits:
            name = part if len(splits) == 1 else split if part == "default" else f"{part}-{split}"
            found.append(Subset(name, split, tuple(languages), "" if part == "default" else str(part)))
    return tuple(found)


def _has_lists(task: Any) -> bool:
    statistics = task.metadata.descriptive_stats
    if statistics:
        return any(split.get("top_ranked_statistics") is not None for split in statistics.values())
    return str(task.metadata.type).endswith("Reranking")


def _prompt(prompt: Any) -> str:
    return str((prompt.get("query") if isinstance(prompt, dict) else prompt) or "")


# -- data that only mteb's class can read


@contextlib.contextmanager
def exported(task: Task, subset: Subset, cache: Path) -> Iterator[Mapping[str, Sequence[Path]]]:
    """The parts of a subset as files, written from what mteb's class of the task reads; gone afterwards.

    Raises HarnessError where the class cannot read the data, or reads what is not text.
    """
    name = task.loader.split(":")[1]
    try:
        with quiet():
            data = _loaded(name)[subset.config or "default"][subset.split]
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise HarnessError(
            f"mteb's class of {name} cannot read {task.path} at {task.revision[:8]}: {type(error).__name__}: {reason}"
        ) from error
    place = cache / "collections"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".mteb-", dir=place) as folder:
        yield _write(data, Path(folder))


@functools.lru_cache(maxsize=1)
def _loaded(name: str) -> Any:
    """subset → split → data, all read at once, since most classes do."""
    from datasets import disable_progress_bars

    disable_progress_bars()
    task = _instance(name)
    task.load_data()
    task.convert_v1_dataset_format_to_v2(num_proc=None)
    return task.dataset


def _write(data: Mapping[str, Any], folder: Path) -> dict[str, list[Path]]:
    parts = {
        "corpus": write_lines(folder / "corpus.jsonl.gz", _texts(data["corpus"], ("title", "text"))),
        "queries": write_lines(folder / "queries.jsonl.gz", _texts(data["queries"], ("text", "instruction"))),
        "qrels": write_lines(folder / "qrels.jsonl.gz", _judgements(data["relevant_docs"])),
    }
    if data.get("top_ranked"):
        lists = ({"query-id": str(query_id), "corpus-ids": doc_ids} for query_id, doc_ids in data["top_ranked"].items())
        parts["top_ranked"] = write_lines(folder / "top_ranked.jsonl.gz", lists)
    return parts


def _texts(dataset: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[dict[str, object]]:
    for row in dataset:
        yield {"_id": str(row["id"]), **{key: row[key] for key in columns if key in row}}


def _judgements(qrels: Mapping[str, Mapping[str, int]]) -> Iterator[dict[str, object]]:
    for query_id, judged in qrels.items():
        for doc_id, relevance in judged.items():
            yield {
                "query-id": str(query_id),
                "corpus-id": str(doc_id),
                "score": _plain(relevance),
            }


def _plain(relevance: Any) -> Any:
    """Python's own number for one of numpy's, as it is: what is no whole number is refused where it is read."""
    return relevance.item() if hasattr(relevance, "item") else relevance
