"""Where a reranker was opened from, so that a worker on another machine can open the same one.

What is opened there must have the fingerprint that it has here: other weights in a folder of the
same name, or another plug-in file, are an error and never a score.
"""

from __future__ import annotations

import importlib
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..cache import cache_folder
from ..engine import Rows, compute_in_parts
from ..errors import HarnessError
from ..models import PACKAGE, ModelSource, open_model
from ..options import Options
from ..types import DocumentText, QueryText
from .base import Prepared, Reranker

__all__ = ["Answer", "Origin", "PluginFile", "Scorer", "Texts", "columns", "found_here", "list_scores"]


class PluginFile(NamedTuple):
    """A plug-in as it is sent to a worker: its name there, and the file's content where it is a file."""

    name: str
    content: bytes | None
    folder: str
    """The working directory of the process that sends it, which plug-ins may read from."""

    @classmethod
    def read(cls, name: str) -> PluginFile:
        """The plug-in that `name` means in this process."""
        where, _, attribute = name.rpartition(":")
        if not where.endswith(".py"):
            return cls(name, None, str(Path.cwd()))
        path = Path(where).resolve()
        return cls(f"{path}:{attribute}", path.read_bytes(), str(Path.cwd()))

    def here(self) -> str:
        """Its name on this machine: the same file where it is, else a copy of it."""
        if Path(self.folder).is_dir():
            os.chdir(self.folder)
        where, _, attribute = self.name.rpartition(":")
        path = Path(where)
        if self.content is None or (path.is_file() and path.read_bytes() == self.content):
            return self.name
        copy = Path(tempfile.mkdtemp(prefix="rerank-harness-plugin-")) / path.name
        copy.write_bytes(self.content)
        return f"{copy}:{attribute}"


@dataclass(frozen=True)
class Origin:
    """What a reranker was opened from. `options` say nothing of workers: a worker has none."""

    family: str
    source: ModelSource | PluginFile
    options: Options
    task_prompt: str = ""
    """The data set's task sentence that the reranker is bound to, empty where it takes none."""

    def open(self) -> list[Reranker]:
        """The rerankers it stands for, opened anew; a model's files are checked first."""
        from .plugin import open_plugin
        from .resolve import FAMILIES

        if isinstance(self.source, PluginFile):
            return [open_plugin(self.source.here(), self.options)]
        module = importlib.import_module(f".{FAMILIES[self.family]}", __package__)
        opened: list[Reranker] = module.open_family(found_here(self.source), self.options, cache_folder())
        return [reranker.for_task(self.task_prompt) for reranker in opened]


def found_here(source: ModelSource) -> ModelSource:
    """The model as this machine has it; a hub's is fetched when it is loaded, at its commit.

    Raises HarnessError where its folder is not here, or holds other files.
    """
    if source.base is not None and source.adapter is not None:
        base, adapter = found_here(source.base), found_here(source.adapter)
        return replace(source, base=base, adapter=adapter, folder=cache_folder() / "adapters" / source.revision)
    if source.folder is None:
        return source
    if not source.name.startswith(PACKAGE) and not source.folder.is_dir():
        raise HarnessError(
            f"the worker on {platform.node()} has no folder {source.folder}: put the model on a file system that "
            f"all machines share, or name a model of the hub"
        )
    name = source.name if source.name.startswith(PACKAGE) else str(source.folder)
    here = open_model(name, cache_folder())
    if here.revision != source.revision:
        raise HarnessError(
            f"{name} on the worker {platform.node()} holds other files ({here.revision[:8]}) than here "
            f"({source.revision[:8]}): copy the model again"
        )
    return here


class Answer(NamedTuple):
    """What a worker finds for a batch."""

    values: NDArray[np.float32]
    """Shape (rows, columns): see `columns`."""
    others: tuple[str, ...]
    """The fingerprints that the columns after the first belong to."""
    newly_initialised: tuple[str, ...]
    """Weights that a plug-in's model lacked, as far as was noticed."""


Texts = tuple[Sequence[QueryText], Sequence[DocumentText], NDArray[np.int64]]
"""The queries, documents and pairs of a request, as `PairModel.prepare` takes them."""


@dataclass(frozen=True)
class Scorer:
    """A reranker as workers open it: `Opening` of scale_out."""

    origin: Origin
    fingerprint: str

    def open(self) -> Callable[[Texts], Callable[[Rows], Answer]]:
        """A request's texts → rows → their scores. Raises HarnessError where another reranker is opened."""
        opened = self.origin.open()
        found = [reranker for reranker in opened if reranker.spec.fingerprint == self.fingerprint]
        if not found:
            raise HarnessError(
                f"the worker on {platform.node()} opens another {opened[0].spec.name} than this process "
                f"({opened[0].spec.fingerprint[:8]}, not {self.fingerprint[:8]}): its files differ there"
            )
        return lambda texts: _answers(found[0], texts)


def _answers(reranker: Reranker, texts: Texts) -> Callable[[Rows], Answer]:
    model = reranker.load()
    if not hasattr(model, "prepare"):
        return lambda rows: Answer(list_scores(reranker, texts, rows), (), tuple(reranker.newly_initialised))
    prepared: Prepared = model.prepare(*texts)
    parts = 1

    def answer(rows: Rows) -> Answer:
        nonlocal parts
        values, parts = compute_in_parts(rows, parts, lambda some: columns(prepared, some, reranker))
        return Answer(values, tuple(prepared.also), tuple(reranker.newly_initialised))

    return answer


def columns(prepared: Prepared, rows: Rows, reranker: Reranker) -> NDArray[np.float32]:
    """Shape (rows, columns): the reranker's own scores, then those of each fingerprint in `prepared.also`.

    Raises HarnessError, naming the reranker, where there is not one score a pair.
    """
    own = prepared.score(rows)
    return _stacked([own, *prepared.also.values()], rows, reranker)


def list_scores(reranker: Reranker, texts: Texts, rows: Rows) -> NDArray[np.float32]:
    """Shape (rows, 1): the scores of one query's rows, asked for together. Raises HarnessError as `columns` does."""
    queries, documents, pairs = texts
    query = queries[pairs[rows[0], 0]]
    return _stacked([reranker.load().score_list(query, [documents[at] for at in pairs[rows, 1]])], rows, reranker)


def _stacked(found: Sequence[Any], rows: Rows, reranker: Reranker) -> NDArray[np.float32]:
    scores = [np.asarray(values, np.float32) for values in found]
    for values in scores:
        if values.shape != (len(rows),):
            raise HarnessError(
                f"{reranker.spec.name} gave {values.shape} scores for {len(rows)} pairs; one score a pair is needed"
            )
    return np.stack(scores, axis=1)
