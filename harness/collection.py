"""Stage 1: Task → Collection: corpus, queries, qrels and given lists, checked, on this machine.

A collection is prepared once for each (data set, revision, config, split) and mapped into memory
afterwards, so that 8.8 million passages cost a few pages and not the whole memory.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .cache import folder_digest, writing
from .dataset import write_collection
from .digest import digest_of
from .errors import HarnessError
from .layout import Layout, data_files, layout_of_card, layout_of_names, splits_of_names
from .types import DocumentText, Qrels, QueryText, Subset, Task

__all__ = ["Collection", "folder_revision", "folder_splits", "prepare", "prepared_fingerprint"]

LOADER_VERSION = 1
"""Part of every key: raised whenever the same files would be read into something else."""

_BATCH_ROWS = 16_384
_BATCH_CHARACTERS = 16_000_000
_CARD = "README.md"


@dataclass(frozen=True)
class Collection:
    """A split of a data set: its judged queries, their qrels, and every document.

    The corpus stays on disk: ask for documents in one call for many, since each call reads the ids
    of the whole corpus.
    """

    folder: Path
    fingerprint: str
    """32 hex digits over the content: corpus, queries with instructions, qrels, given and excluded
    documents, qrel_diff. The order of rows does not count: whoever needs an order must rank."""
    size: int
    """How many documents the corpus has."""
    queries: dict[str, QueryText]
    """query_id → text and instruction, of the judged queries alone."""
    qrels: Qrels
    given: dict[str, list[str]] | None
    """query_id → doc_ids of the data set's own candidate list, in stored order, which is no ranking.
    A judged query without a list has no entry."""
    excluded: dict[str, set[str]]
    """query_id → documents that must not be candidates."""
    qrel_diff: dict[str, list[str]] | None
    """FollowIR: base query_id → documents whose relevance the changed instruction takes away."""
    judged_without_text: int
    """Judged (query, document) pairs whose document is not in the corpus."""

    @cached_property
    def _corpus(self) -> Any:
        import pyarrow as pa

        return pa.ipc.open_file(pa.memory_map(str(self.folder / "corpus.arrow"))).read_all()

    def doc_ids(self) -> Any:
        """All doc_ids in corpus order: a mapped pyarrow.ChunkedArray of strings, length `size`."""
        return self._corpus.column("id")

    def doc_ids_at(self, rows: Sequence[int]) -> list[str]:
        """The doc_ids of these rows of the corpus (0-based), in the order of `rows`."""
        return [doc_id for (doc_id,) in self._take(rows, ["id"])]

    def documents(self, doc_ids: Iterable[str]) -> dict[str, DocumentText]:
        """doc_id → text for those of `doc_ids` that the corpus has."""
        import numpy as np
        import pyarrow as pa
        from pyarrow import compute

        wanted = pa.array(sorted(set(doc_ids)), pa.string())
        rows = np.flatnonzero(compute.is_in(self.doc_ids(), value_set=wanted).to_numpy())
        return {doc_id: DocumentText(title, text) for doc_id, title, text in self._take(rows, ["id", "title", "text"])}

    def iterate_texts(self) -> Iterator[DocumentText]:
        """Every document's text in corpus order, a batch at a time."""
        for batch in self._corpus.to_batches():
            yield from map(DocumentText, batch.column("title").to_pylist(), batch.column("text").to_pylist())

    def _take(self, rows: Any, columns: Sequence[str]) -> list[tuple[str, ...]]:
        """These rows' values. Batch by batch: pyarrow would join a column's batches before taking."""
        import numpy as np
        import pyarrow as pa

        wanted = np.asarray(rows, np.int64)
        order = np.argsort(wanted, kind="stable")
        batches = self._corpus.select(columns).to_batches()
        starts = np.cumsum([0, *(batch.num_rows for batch in batches)])
        if len(wanted) and not 0 <= wanted[order[0]] <= wanted[order[-1]] < starts[-1]:
            raise IndexError(f"rows of a corpus of {starts[-1]} documents are 0 to {starts[-1] - 1}")
        bounds = np.searchsorted(wanted[order], starts)
        found: list[tuple[str, ...]] = [()] * len(wanted)
        for batch, start, low, high in zip(batches, starts, bounds, bounds[1:], strict=False):
            if low < high:
                taken = batch.take(pa.array(wanted[order[low:high]] - start))
                values = zip(*(column.to_pylist() for column in taken.columns), strict=True)
                for place, value in zip(order[low:high].tolist(), values, strict=True):
                    found[place] = value
        return found


# -- prepared collections


def prepare(task: Task, subset: Subset, cache: Path) -> Collection:
    """The collection of a task's subset: found in the cache, or fetched, checked and kept there.

    Raises HarnessError for data that cannot be fetched or read, for qrels without their queries,
    and where the counts differ from the subset's.
    """
    place = _place(task, subset, cache)
    if _manifest(place) is None:
        paths = _located(task, subset, cache)
        with writing(cache):
            _build(place, paths, f"{_source(task)}, split {subset.split}")
    collection = _opened(place)
    _check_counts(collection.size, len(collection.queries), task, subset)
    return collection


def prepared_fingerprint(task: Task, subset: Subset, cache: Path) -> str | None:
    """The fingerprint of a collection that is prepared and has the subset's counts, else None."""
    manifest = _manifest(_place(task, subset, cache))
    if manifest is None:
        return None
    counts = ((subset.documents, manifest["documents"]), (subset.queries, manifest["queries"]))
    return str(manifest["fingerprint"]) if all(asked in (None, there) for asked, there in counts) else None


def folder_revision(folder: Path, cache: Path) -> str:
    """40 hex digits over the folder's data files (BEIR's names), all its splits and configs.

    Raises HarnessError where there is none.
    """
    names = data_files(_names_in(folder))
    if not names:
        raise HarnessError(f"{folder} holds no data: a folder has corpus.jsonl, queries.jsonl and qrels/<split>.tsv")
    return folder_digest(folder, names, cache)


def folder_splits(folder: Path, config: str = "") -> list[str]:
    """The splits of a folder in BEIR's layout: those that have qrels, sorted."""
    return splits_of_names(_names_in(folder), config)


def _names_in(folder: Path) -> list[str]:
    """Names of files in the folder and two folders down, which is as deep as the layout goes."""
    if not folder.is_dir():
        raise HarnessError(f"there is no folder {folder}")
    return sorted(
        path.relative_to(folder).as_posix()
        for pattern in ("*", "*/*", "*/*/*")
        for path in folder.glob(pattern)
        if path.is_file()
    )


def _place(task: Task, subset: Subset, cache: Path) -> Path:
    name = Path(task.path).name if task.folder else task.path.replace("/", "--")
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:80]
    key = digest_of(task.path, task.revision, subset.config, subset.split, str(LOADER_VERSION))
    return cache / "collections" / slug / key


def _manifest(place: Path) -> dict[str, Any] | None:
    """The manifest of a whole collection; None where it is missing or a file has another size."""
    try:
        manifest = json.loads((place / "manifest.json").read_bytes())
        whole = all((place / name).stat().st_size == size for name, size in manifest["sizes"].items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return manifest if whole else None


def _opened(place: Path) -> Collection:
    manifest = _manifest(place)
    if manifest is None:
        raise HarnessError(f"the prepared collection {place} is gone or damaged: run the command again")
    judged = json.loads((place / "judged.json").read_bytes())
    return Collection(
        folder=place,
        fingerprint=manifest["fingerprint"],
        size=manifest["documents"],
        queries={query_id: QueryText(*texts) for query_id, texts in judged["queries"].items()},
        qrels=judged["qrels"],
        given=judged["given"],
        excluded={query_id: set(doc_ids) for query_id, doc_ids in judged["excluded"].items()},
        qrel_diff=judged["qrel_diff"],
        judged_without_text=manifest["judged_without_text"],
    )


def _check_counts(documents: int, queries: int, task: Task, subset: Subset) -> None:
    pairs = ((subset.documents, documents, "documents"), (subset.queries, queries, "judged queries"))
    for asked, there, what in pairs:
        if asked is not None and asked != there:
            raise HarnessError(
                f"{_source(task)}, split {subset.split}, has {there:,} {what} where the card of {task.name} says "
                f"{asked:,}: correct the card, or its revision"
            )


def _source(task: Task) -> str:
    return f"{'folder' if task.folder else 'data set'} {task.path} at {task.revision[:8]}"


# -- building


def _build(place: Path, paths: Mapping[str, Sequence[Path]], source: str) -> None:
    """Builds in a folder of its own and renames it; whoever renames first has made the collection."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{place.name}.{secrets.token_hex(6)}.part")
    unfinished.mkdir()
    try:
        write_collection(unfinished, paths, source)
        if _manifest(place) is None:
            shutil.rmtree(place, ignore_errors=True)
            with contextlib.suppress(OSError):  # another process was first
                unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _located(task: Task, subset: Subset, cache: Path) -> dict[str, list[Path]]:
    """The files of each part, on this machine."""
    source = _source(task)
    if task.folder:
        folder = Path(task.path)
        if (now := folder_revision(folder, cache)) != task.revision:
            raise HarnessError(f"the files in {folder} have changed (revision {now[:8]}, not {task.revision[:8]})")
        layout = layout_of_names(_names_in(folder), subset.config, subset.split, source)
        here = {name: folder / name for name in layout.files()}
    else:
        from .hub import fetch_file, fetch_files, repository_files

        names = repository_files("dataset", task.path, task.revision, cache)
        layout = _hub_layout(task, subset, names, source, fetch_file)
        here = fetch_files("dataset", task.path, task.revision, layout.files())
    return {part: [here[name] for name in names] for part, names in vars(layout).items()}


def _hub_layout(task: Task, subset: Subset, names: Sequence[str], source: str, fetch_file: Any) -> Layout:
    if _CARD in names:
        try:
            card = fetch_file("dataset", task.path, task.revision, _CARD).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise HarnessError(f"the card of {source} is not UTF-8") from error
        if layout := layout_of_card(card, names, subset.config, subset.split, source):
            return layout
    return layout_of_names(names, subset.config, subset.split, source)
