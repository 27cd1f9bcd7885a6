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
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.cache import file_digest, writing
from ..files.digest import digest_of
from ..types import Aspects, DocumentText, Grades, Qrels, QueryText, Subset, Task
from .corpus import Corpus
from .dataset import read_judged, write_collection
from .forms import refuse_other_forms
from .judgements import Gains
from .listings import folder_listing, folder_revision, hub_listing, top_of
from .names import fields_of

__all__ = [
    "Collection",
    "data_files",
    "is_whole",
    "judged_here",
    "located",
    "prepare",
    "prepared_fingerprint",
]

LOADER_RULE = "rows by doc_id; 4"
"""Part of every key: changed whenever the same files would be read into something else."""


@dataclass(frozen=True)
class Collection:
    """A split of a data set: its judged queries, their qrels, and every document.

    The corpus stays on disk, its rows in ascending order of doc_id.
    """

    folder: Path
    fingerprint: str
    """32 hex digits over the content: corpus, queries with instructions, qrels, given and excluded
    documents, qrel_diff. The order of rows in the files does not count."""
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
    without_text: int = 0
    """Documents whose title and text are empty or white space."""
    aspects: Aspects | None = None
    """Where the qrels judge documents for each aspect of a query; `qrels` has a document's highest relevance."""
    unread: tuple[str, ...] = ()
    """`qrels: weight` for each column of the files that nobody here reads and that may mean something."""
    repeated: Mapping[str, int] = field(default_factory=dict)
    """`documents` and `judgements`: rows that say again what a row before them says, and that are left out."""
    gains: Gains | None = None
    """Where the data set has gains that are no whole numbers: what nDCG takes."""
    gains_alone: bool = False
    """Whether there are no grades beside the gains; qrels then say 1 for a gain above 0, which no measure may take."""

    def bare(self) -> Collection:
        """The collection with its queries' instructions taken away; its fingerprint is another."""
        queries = {query_id: query._replace(instruction="") for query_id, query in self.queries.items()}
        return replace(self, queries=queries, fingerprint=without_instructions(self.fingerprint))

    def graded(self, qrels: Qrels) -> Grades:
        """What nDCG takes of these queries of the collection: gains where the data set has them, else the grades."""
        return qrels if self.gains is None else {query_id: self.gains[query_id] for query_id in qrels}

    @cached_property
    def corpus(self) -> Corpus:
        """Every document, mapped."""
        return Corpus(self.folder / "corpus.arrow")

    def doc_ids(self) -> Any:
        """All doc_ids, ascending: a mapped pyarrow.ChunkedArray of strings, length `size`."""
        return self.corpus.doc_ids()

    def doc_ids_at(self, rows: Sequence[int]) -> list[str]:
        """The doc_ids of these rows (0-based), in the order of `rows`."""
        return self.corpus.doc_ids_at(rows)

    def rows_of(self, doc_ids: Iterable[str]) -> dict[str, int]:
        """doc_id → its place in `doc_ids`, for those that the corpus has. One pass over all ids: ask for many at once."""
        return self.corpus.rows_of(doc_ids)

    def known(self, doc_ids: Iterable[str]) -> set[str]:
        """Those of `doc_ids` that the corpus has. One pass over all ids: ask for many at once."""
        return self.corpus.known(doc_ids)

    def refuse_other_forms(self, doc_ids: Iterable[str], what: str) -> None:
        """Raises HarnessError where one of `doc_ids`, none of which the corpus has, is there in another form."""
        refuse_other_forms(doc_ids, self.corpus.iterate_ids(), what, "the corpus")

    def documents(self, doc_ids: Iterable[str]) -> dict[str, DocumentText]:
        """doc_id → text for those of `doc_ids` that the corpus has. One pass over all ids: ask for many at once."""
        return self.corpus.documents(doc_ids)

    def few_documents(self, doc_ids: Iterable[str]) -> dict[str, DocumentText]:
        """As `documents`, for a handful: looks each of them up, and costs nothing of the corpus's size."""
        return self.corpus.few_documents(doc_ids)

    def iterate_texts(self) -> Iterator[DocumentText]:
        """Every document's text, in the order of `doc_ids`, a batch at a time."""
        return self.corpus.iterate_texts()


# -- prepared collections


def prepare(task: Task, subset: Subset, cache: Path) -> Collection:
    """The collection of a task's subset: found in the cache, or fetched, checked and kept there.

    Raises HarnessError for data that cannot be fetched or read, for qrels without their queries,
    and where the counts differ from the subset's.
    """
    place = _place(task, subset, cache)
    if _manifest(place) is None:
        with located(task, subset, cache) as paths, writing(cache):
            _build(place, paths, f"{_source(task)}, split {subset.split}", task.fields)
    collection = _opened(place)
    _check_counts(collection.size, len(collection.queries), task, subset)
    return collection


def judged_here(task: Task, subset: Subset, cache: Path) -> Collection | None:
    """A folder's queries and judgements, read anew and without its corpus; None for data of any other kind.

    It says which measures the data can have where nothing is prepared. Raises HarnessError for files that cannot be read.
    """
    if not task.folder or task.loader:
        return None
    with located(task, subset, cache) as paths:
        judged, _ = read_judged(paths, f"{_source(task)}, split {subset.split}", fields_of(task.fields))
    stated = {"fingerprint": "", "documents": 0, "judged_without_text": 0, "without_text": 0, "unread": []}
    return _collection(Path(task.path), stated, judged)


def without_instructions(fingerprint: str) -> str:
    """The fingerprint of a collection whose queries have lost their instructions."""
    return digest_of("without instructions", fingerprint)


def prepared_fingerprint(task: Task, subset: Subset, cache: Path) -> str | None:
    """The fingerprint of a collection that is prepared and has the subset's counts, else None."""
    manifest = _manifest(_place(task, subset, cache))
    if manifest is None:
        return None
    counts = ((subset.documents, manifest["documents"]), (subset.queries, manifest["queries"]))
    return str(manifest["fingerprint"]) if all(asked in (None, there) for asked, there in counts) else None


def find_prepared(fingerprint: str, cache: Path) -> Collection | None:
    """The prepared collection of this content, whatever it was prepared from; None where there is none."""
    for path in sorted((cache / "collections").glob("*/*/manifest.json")):
        manifest = _stated(path.parent)
        bare = manifest is not None and without_instructions(manifest["fingerprint"]) == fingerprint
        if manifest is not None and (bare or manifest["fingerprint"] == fingerprint) and _manifest(path.parent):
            return _opened(path.parent).bare() if bare else _opened(path.parent)
    return None


def data_files(task: Task, subset: Subset, cache: Path) -> list[str]:
    """The files of a hub data set that the subset is made of, beside its card; none for another task."""
    if task.folder or task.loader:
        return []
    return hub_listing(task.path, task.revision, cache, task.files).layout(subset.config, subset.split).files()


def _place(task: Task, subset: Subset, cache: Path) -> Path:
    name = Path(task.path).name if task.folder else task.path.replace("/", "--")
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:80]
    more = [said for said in (task.loader, task.fields, task.files) if said]
    key = digest_of(task.path, task.revision, subset.config, subset.split, LOADER_RULE, *more)
    return cache / "collections" / slug / key


_FIELDS = {"fingerprint", "documents", "queries", "judged_without_text", "without_text", "unread"}
"""What a manifest must say; one that an older version wrote may say less, and is prepared again."""


def _manifest(place: Path) -> dict[str, Any] | None:
    """The manifest of a whole collection; None where it or a part of it is missing, or a file is not as it was written."""
    manifest = _stated(place)
    return manifest if manifest is not None and is_whole(place, place.parents[2]) else None


def _stated(place: Path) -> dict[str, Any] | None:
    """What the manifest says, if the files have the sizes that it states."""
    try:
        manifest = json.loads((place / "manifest.json").read_bytes())
        whole = all((place / name).stat().st_size == size for name, size in manifest["sizes"].items())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return manifest if whole and manifest.keys() >= _FIELDS else None


def is_whole(place: Path, cache: Path, *, rehash: bool = False) -> bool:
    """Whether a prepared collection's files are as they were written: read where one changed since, or with `rehash`.

    One that an older version prepared states no digests, and is taken by its sizes.
    """
    manifest = _stated(place)
    if manifest is None:
        return False
    try:
        stated = dict(manifest.get("digests", {}))
        return all(file_digest(place / name, cache, rehash=rehash) == digest for name, digest in stated.items())
    except (HarnessError, TypeError, ValueError):
        return False


def _opened(place: Path) -> Collection:
    manifest = _manifest(place)
    if manifest is None:
        raise HarnessError(f"the prepared collection {place} is gone or damaged: run the command again")
    return _collection(place, manifest, json.loads((place / "judged.json").read_bytes()))


def _collection(place: Path, manifest: Mapping[str, Any], judged: Mapping[str, Any]) -> Collection:
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
        without_text=manifest["without_text"],
        aspects=judged.get("aspects"),
        unread=tuple(manifest["unread"]),
        repeated=manifest.get("repeated", {}),
        gains=judged.get("gains"),
        gains_alone=judged.get("gains_alone", False),
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


def _build(place: Path, paths: Mapping[str, Sequence[Path]], source: str, fields: str) -> None:
    """Builds in a folder of its own and renames it: another process's whole collection stays, a half one goes."""
    place.parent.mkdir(parents=True, exist_ok=True)
    own = f".{place.name}.{secrets.token_hex(6)}"
    unfinished, half = place.with_name(f"{own}.part"), place.with_name(f"{own}.half")
    unfinished.mkdir()
    try:
        write_collection(unfinished, paths, source, fields)
        try:
            unfinished.rename(place)
        except OSError:
            if _manifest(place) is None:
                place.rename(half)
                unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(half, ignore_errors=True)


@contextlib.contextmanager
def located(task: Task, subset: Subset, cache: Path) -> Iterator[Mapping[str, Sequence[Path]]]:
    """The files of each part, by its name in `layout.Layout`, on this machine while the block runs."""
    if task.loader:
        from . import irds, mteb_task

        with (irds if task.loader.startswith(irds.PREFIX) else mteb_task).exported(task, subset, cache) as paths:
            yield paths
        return
    if task.folder:
        folder = Path(task.path)
        if (now := folder_revision(folder, cache, task.files)) != task.revision:
            raise HarnessError(f"the files in {folder} have changed (revision {now[:8]}, not {task.revision[:8]})")
        layout = folder_listing(folder, task.files).layout(subset.config, subset.split)
        here = {name: top_of(folder) / name for name in layout.files()}
    else:
        from ..files.hub import fetch_files

        layout = hub_listing(task.path, task.revision, cache, task.files).layout(subset.config, subset.split)
        here = fetch_files("dataset", task.path, task.revision, layout.files())
    yield {part: [here[name] for name in names] for part, names in vars(layout).items()}
