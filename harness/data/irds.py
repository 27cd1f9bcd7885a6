"""Stage 1 for data sets of ir_datasets, by their id: `irds:beir/scifact/test`.

The package is an optional extra, and imported for such a task alone. What it gives is written as the
files that a collection is prepared from, so that it is read as strictly as any other.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HarnessError, MissingDependency, did_you_mean
from ..files.digest import Digest
from ..types import Measure, Subset, Task
from .containers import write_lines

__all__ = ["PREFIX", "exported", "irds_task"]

PREFIX = "irds:"


def irds_task(word: str, split: str | None, measures: tuple[Measure, ...], origin: str) -> Task:
    """The data set that `irds:ID` names. Downloads nothing.

    Its revision is over the id and the package's version, which states what its files must be. Raises
    HarnessError for an unknown id, one without qrels, and for `split`, which an id says itself.
    """
    name = word.removeprefix(PREFIX)
    dataset, version = _opened(name)
    if split is not None:
        raise HarnessError(f"{word} names its split itself: leave --split {split} out, and name the id of that split")
    if lacking := [part for part in ("docs", "queries", "qrels") if not getattr(dataset, f"has_{part}")()]:
        near = [known for known in _known() if known.startswith(f"{name}/")]
        more = f"; of its parts {', '.join(near[:5])} may have them" if near else ""
        raise HarnessError(f"{word} has no {' and no '.join(lacking)}{more}")
    language = dataset.docs_lang()
    return Task(
        name=name.replace("/", "-"),
        path=word,
        revision=Digest(size=20).add("ir_datasets", version, name).hex(),
        subsets=(Subset("default", name.rpartition("/")[2], (language,) if language else ()),),
        measures=measures,
        origin=origin,
        loader=f"{word}:{version}",
        note="" if language else "no language is stated: --language CODE says it",
    )


def _opened(name: str) -> tuple[Any, str]:
    """The data set, and the package's version."""
    try:
        import ir_datasets

        return ir_datasets.load(name), importlib.metadata.version("ir_datasets")
    except ImportError:
        raise MissingDependency(f"{PREFIX}{name}", "ir_datasets", "pip install 'rerank-harness[irds]'") from None
    except KeyError:
        raise HarnessError(f'ir_datasets has no "{name}".{did_you_mean(name, _known())}') from None


def _known() -> list[str]:
    import ir_datasets

    return [str(name) for name in ir_datasets.registry]


@contextlib.contextmanager
def exported(task: Task, subset: Subset, cache: Path) -> Iterator[Mapping[str, Sequence[Path]]]:
    """The parts of the data set as files; gone afterwards. Downloads what is not on this machine.

    Raises HarnessError where the package cannot give them.
    """
    dataset, _ = _opened(task.path.removeprefix(PREFIX))
    place = cache / "collections"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".irds-", dir=place) as name:
        folder = Path(name)
        try:
            paths = {
                "corpus": write_lines(folder / "corpus.jsonl.gz", map(_document, dataset.docs_iter())),
                "queries": write_lines(folder / "queries.jsonl.gz", map(_query, dataset.queries_iter())),
                "qrels": write_lines(folder / "qrels.jsonl.gz", map(_judgement, dataset.qrels_iter())),
            }
        except HarnessError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise HarnessError(f"ir_datasets cannot give {task.path}: {type(error).__name__}: {reason}") from error
        yield paths


def _document(document: Any) -> dict[str, object]:
    """Title and text apart where there is a text of its own; else all that the package takes for the document."""
    found: dict[str, object] = {"_id": document.doc_id}
    if isinstance(getattr(document, "text", None), str):
        return {**found, "title": getattr(document, "title", None), "text": document.text}
    if isinstance(getattr(document, "body", None), str):
        return {**found, "title": getattr(document, "title", None), "text": document.body}
    return {**found, "text": document.default_text()}


def _query(query: Any) -> dict[str, object]:
    text = getattr(query, "text", None)
    return {"_id": query.query_id, "text": text if isinstance(text, str) else query.default_text()}


def _judgement(judgement: Any) -> dict[str, object]:
    return {"query-id": judgement.query_id, "corpus-id": judgement.doc_id, "score": judgement.relevance}
