"""Exact search over learned sparse vectors: an inverted index in memory-mapped files, every posting read.

A document's score is the sum of query weight times document weight over the terms that both have, added
in double precision in ascending order of term and rounded once. Nothing is pruned: the answer is that of
the whole product of the two matrices.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError
from ..files.cache import hash_of
from .scope import Scope
from .sparse_encoder import SparseRows

__all__ = ["Postings", "build_postings", "open_postings", "search_postings"]

VERSION = 1
_META = "index.json"
_ARRAYS = ("starts", "docs", "weights")


class Postings(NamedTuple):
    """Entries `starts[t]:starts[t + 1]` are the documents of term t and their weights, in ascending order of row."""

    documents: int
    starts: NDArray[np.int64]
    docs: NDArray[np.int32]
    weights: NDArray[np.float32]


def build_postings(blocks: Sequence[SparseRows] | Iterator[SparseRows], folder: Path) -> None:
    """Write the index of all blocks, in row order, to `folder`, whole or not at all; what stands there is replaced."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        new = temporary / "index"
        new.mkdir()
        _write(list(_spilled(blocks, temporary)), new)
        for path in new.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if folder.is_dir():
            os.rename(folder, temporary / "old")
        os.rename(new, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _spilled(blocks: Sequence[SparseRows] | Iterator[SparseRows], scratch: Path) -> Iterator[SparseRows]:
    """The blocks, their entries waiting on disk."""
    for number, block in enumerate(blocks):
        for name, values in block._asdict().items():
            np.save(scratch / f"{number}.{name}.npy", values)
        yield SparseRows(*(np.load(scratch / f"{number}.{name}.npy", mmap_mode="r") for name in SparseRows._fields))


def _write(blocks: Sequence[SparseRows], new: Path) -> None:
    size = 1 + max((int(block.terms.max(initial=-1)) for block in blocks), default=-1)
    counts = np.zeros(size, np.int64)
    for block in blocks:
        counts += np.bincount(block.terms, minlength=size)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    np.save(new / "starts.npy", starts)
    shape = (int(starts[-1]),)
    docs = np.lib.format.open_memmap(new / "docs.npy", "w+", np.int32, shape)
    weights = np.lib.format.open_memmap(new / "weights.npy", "w+", np.float32, shape)
    free, first = starts[:-1].copy(), 0
    for block in blocks:
        rows = np.repeat(np.arange(first, first + block.texts, dtype=np.int32), np.diff(block.starts))
        order = np.argsort(block.terms, kind="stable")
        terms = np.asarray(block.terms)[order]
        of_block = np.bincount(terms, minlength=size)
        before = np.concatenate([[0], np.cumsum(of_block)[:-1]])
        places = np.arange(len(terms)) + (free - before)[terms]
        docs[places], weights[places] = rows[order], np.asarray(block.weights)[order]
        free += of_block
        first += block.texts
    docs.flush()
    weights.flush()
    digests = {name: hash_of(new / f"{name}.npy") for name in _ARRAYS}
    meta = {"version": VERSION, "documents": first, "digests": digests}
    (new / _META).write_text(json.dumps(meta) + "\n", encoding="utf-8")


def open_postings(folder: Path, digest: Callable[[Path], str] | None = None) -> Postings | None:
    """The index in `folder`, memory-mapped; None where there is none that is whole, so that it is built.

    `digest` (as `file_digest`) has every file's content checked.
    """
    try:
        meta = json.loads((folder / _META).read_text(encoding="utf-8"))
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS]
        starts, docs, weights = (array.view(np.ndarray) for array in arrays)
        whole = meta["version"] == VERSION and len(docs) == len(weights) == starts[-1]
        if digest is not None:
            whole = whole and all(digest(folder / f"{name}.npy") == meta["digests"][name] for name in _ARRAYS)
        return Postings(int(meta["documents"]), starts, docs, weights) if whole else None
    except (OSError, EOFError, ValueError, LookupError, TypeError, HarnessError):
        return None


def search_postings(
    postings: Postings, queries: SparseRows, k: int, tie_order: NDArray[np.int64], scope: Scope = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """For each query the rows and float32 scores of its best `k` documents, best first.

    Only documents that share a term with the query, and are in its `scope`, are returned. Equal scores are ordered by
    `tie_order`, smaller first, also at the cut.
    """
    scores = np.zeros(postings.documents, np.float64)
    touched = np.zeros(postings.documents, bool)
    for place in range(queries.texts):
        scores.fill(0)
        touched.fill(False)
        for term, weight in zip(*(part.tolist() for part in queries.row(place)), strict=True):
            if term < len(postings.starts) - 1:
                here = slice(*postings.starts[term : term + 2].tolist())
                rows = postings.docs[here].astype(np.intp)
                scores[rows] += weight * postings.weights[here].astype(np.float64)
                touched[rows] = True
        rows = np.flatnonzero(touched) if scope is None else scope[place][touched[scope[place]]]
        single = scores[rows].astype(np.float32)
        if len(rows) > k:
            kept = single >= np.partition(single, len(rows) - k)[len(rows) - k]
            rows, single = rows[kept], single[kept]
        order = np.lexsort((tie_order[rows], -single))[:k]
        yield rows[order], single[order]
