"""BM25 as Lucene 9 computes it: an index on disk, and the search in it.

The flat kind: one field, whose text the caller has joined (`text.join_document`). Sources: Robertson
and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; Kamphuis et al., "Which
BM25 Do You Mean?", ECIR 2020 (the variants, Lucene's one-byte length among them); Anserini for the
defaults, k1 0.9 and b 0.4, and for a query as a bag of words. Scores equal Lucene's float32 ones.
"""

from __future__ import annotations

import bisect
import contextlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.corpus import Corpus
from ..errors import HarnessError
from ..files.cache import write_atomically
from ..results.environment import cores
from . import BM25_VERSION
from .analysis import Numbers, Worker, in_parts
from .analyzers import analyzer
from .crew import Answer, Ask, alone, in_order, together
from .postings import Target, begin, starts_of

__all__ = [
    "K1",
    "VERSION",
    "B",
    "DamagedIndexError",
    "Index",
    "build",
    "length_bytes",
    "lengths_of_bytes",
    "open_index",
]

VERSION = BM25_VERSION
"""A part of every key: changes when scores or the files of an index change."""

K1 = 0.9
B = 0.4

_META = "index.json"
_ARRAYS = ("docs", "freqs", "starts", "norms", "terms", "term_starts", "term_ids")
_LEAST_TOKENS = 1 << 20


def build(
    texts: Iterable[str] | Corpus,
    language: str,
    folder: Path,
    *,
    block_tokens: int = 1 << 24,
    workers: int | None = None,
) -> None:
    """Writes the index of `texts` to `folder`, whole or not at all; an index that stands there is replaced.

    `texts` are the documents in row order, each with its fields joined, or a prepared corpus. For a large
    one there are `workers` processes (as many as there are cores), each of which reads the corpus for itself;
    the index is the same to the byte for any number. All processes together hold about `block_tokens`
    tokens in memory at a time (or a million each), and each of them a vocabulary; the rest waits on disk beside
    `folder`. A build that is killed may leave a folder `.<name>.*` there, which nothing reads.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        new = temporary / "index"
        new.mkdir()
        processes, parts = in_parts(texts, workers or cores())
        most = max(block_tokens // processes, min(block_tokens, _LEAST_TOKENS))
        with _workers(processes, language, temporary, most) as ask:
            numbers = Numbers()
            for answer in in_order((ask("invert", part) for part in parts), processes):
                numbers.add(answer)
            _write_index(numbers, language, new, most, ask)
        if folder.exists():
            os.rename(folder, temporary / "old")
        os.rename(new, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _workers(processes: int, language: str, scratch: Path, most: int) -> contextlib.AbstractContextManager[Ask]:
    if processes == 1:
        return contextlib.nullcontext(alone(Worker(language, scratch, most)))
    return together(processes, Worker, "indexes the corpus for BM25", language, scratch, most)


def _write_index(numbers: Numbers, language: str, new: Path, most: int, ask: Ask) -> None:
    analyze, lengths = analyzer(language), numbers.lengths()
    merging = _merging(numbers, new, most, ask)
    # Meanwhile, here:
    _write_vocabulary(numbers.vocabulary, new)
    np.save(new / "norms.npy", length_bytes(lengths))
    for merged in merging:
        merged.result()
    sealing = [ask("seal", new / f"{name}.npy") for name in _ARRAYS]
    digests = dict(zip(_ARRAYS, (sealed.result().value for sealed in sealing), strict=True))
    meta = {
        "version": VERSION,
        "language": language,
        "analyzer": [analyze.name, analyze.version],
        "documents": len(lengths),
        "documents_with_terms": int(np.count_nonzero(lengths)),
        "tokens": int(lengths.sum(dtype=np.int64)),
        "digests": digests,
    }
    write_atomically(new / _META, json.dumps(meta, indent=1) + "\n")


def _merging(numbers: Numbers, new: Path, most: int, ask: Ask) -> list[Future[Answer]]:
    """Has the blocks' postings merged, about `most` of them at a time."""
    starts = starts_of(numbers.counts())
    np.save(new / "starts.npy", starts)
    target = Target(new / "docs.npy", new / "freqs.npy", np.min_scalar_type(numbers.highest))
    begin(target, int(starts[-1]))
    asked, first, terms = [], 0, len(starts) - 1
    while first < terms:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + most, side="right")) - 1)
        asked.append(ask("merge", numbers.blocks, first, starts[first : last + 1], target))
        first = last
    return asked


def _write_vocabulary(vocabulary: Mapping[str, int], new: Path) -> None:
    """The terms sorted by their bytes, for binary search, and the id of each."""
    terms = sorted(vocabulary)
    encoded = [term.encode("utf-8", "surrogatepass") for term in terms]
    np.save(new / "terms.npy", np.frombuffer(b"".join(encoded), np.uint8))
    np.save(new / "term_starts.npy", starts_of(np.fromiter(map(len, encoded), np.int64, len(encoded))))
    np.save(new / "term_ids.npy", np.fromiter(map(vocabulary.__getitem__, terms), np.int32, len(terms)))


def length_bytes(lengths: NDArray[Any]) -> NDArray[Any]:
    """uint8: the one byte that stands for each length (Lucene's SmallFloat.intToByte4): lengths are rounded down."""
    return (np.searchsorted(lengths_of_bytes(), lengths, side="right") - 1).astype(np.uint8)


def lengths_of_bytes() -> NDArray[Any]:
    """(256,) int64: the length that each byte stands for (Lucene's SmallFloat.byte4ToInt).

    Up to 23 the byte is the length; from there it is a number with four significant bits.
    """
    codes = range(256 - 24)
    floats = (code if code < 8 else (code & 7 | 8) << (code >> 3) - 1 for code in codes)
    return np.array([*range(24), *(24 + value for value in floats)], np.int64)


class DamagedIndexError(HarnessError):
    """There is no whole index of this version in the folder: it is to be built again."""


def open_index(folder: Path, *, k1: float = K1, b: float = B, digest: Callable[[Path], str] | None = None) -> Index:
    """The index that `build` wrote to `folder`, memory-mapped.

    `digest` (as `file_digest`) has every file's content checked. Raises DamagedIndexError where there is no
    index, or one that is damaged, half gone or of another version.
    """
    again = "delete the folder and build it again"
    try:
        meta = json.loads((folder / _META).read_text(encoding="utf-8"))
        analyze = analyzer(meta["language"])
        same = [meta["version"], *meta["analyzer"]] == [VERSION, analyze.name, analyze.version]
        arrays = {name: _load(folder / f"{name}.npy") for name in _ARRAYS}
        whole = len(arrays["norms"]) == meta["documents"] and (
            len(arrays["docs"]) == len(arrays["freqs"]) == arrays["starts"][-1]
        )
        if digest is not None:
            whole &= all(digest(folder / f"{name}.npy") == meta["digests"][name] for name in _ARRAYS)
    except (OSError, EOFError, ValueError, LookupError, TypeError, HarnessError) as error:
        raise DamagedIndexError(f"{folder} holds no whole BM25 index ({error}): {again}") from None
    if not same:
        raise DamagedIndexError(f"the BM25 index {folder} is of another version or analyzer: {again}")
    if not whole:
        raise DamagedIndexError(f"the BM25 index {folder} is damaged: {again}")
    return Index(meta, arrays, k1=k1, b=b)


def _load(path: Path) -> NDArray[Any]:
    # A plain view: np.memmap's own indexing is several times slower.
    values: NDArray[Any] = np.load(path, mmap_mode="r").view(np.ndarray)
    return values


class Index:
    """An open index; `documents` counts its rows, those without a term among them."""

    def __init__(self, meta: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, k1: float, b: float) -> None:
        self.language: str = meta["language"]
        self.documents: int = meta["documents"]
        self._documents_with_terms: int = meta["documents_with_terms"]
        self._arrays = arrays
        self._terms = memoryview(arrays["terms"])  # type: ignore[arg-type]
        inverse_norms = _inverse_norms(meta["tokens"], self._documents_with_terms, k1, b)
        self._inverse_norms = inverse_norms[arrays["norms"]]

    def search(
        self,
        queries: Sequence[str],
        k: int,
        exclude: Sequence[Sequence[int] | NDArray[Any]] | None = None,
        within: Sequence[NDArray[Any]] | None = None,
        tie_order: NDArray[Any] | None = None,
        threads: int | None = None,
    ) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """For each query the best `k` documents: (int32 rows, float32 scores), best first.

        Only documents that hold a term of the query are returned. `exclude` names, for each query, rows
        that are left out before the cut at `k`, `within` the only ones that may be found. Equal scores come in
        ascending order of `tie_order` (one rank for each row; without it the row itself), also at the cut.
        `threads` search at a time (as many as there are cores).
        """
        analyze = analyzer(self.language)
        ranks = np.arange(self.documents) if tie_order is None else tie_order
        terms = [Counter(analyze(query)) for query in queries]
        threads = min(threads or cores(), len(queries)) or 1

        def some(first: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
            scores, own = np.zeros(self.documents, np.float64), []
            for number in range(first, len(queries), threads):
                self._score(terms[number], scores)
                if exclude is not None:
                    scores[exclude[number]] = 0
                if within is not None:
                    inside = scores[within[number]]
                    scores.fill(0)
                    scores[within[number]] = inside
                own.append(_best(scores, k, ranks))
            return own

        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(some, range(threads)))
        return [found[number % threads][number // threads] for number in range(len(queries))]

    def _score(self, terms: Mapping[str, int], scores: NDArray[Any]) -> None:
        """Fills `scores`, which has room for every document."""
        scores.fill(0)
        for term, repetitions in terms.items():
            self._add(term, repetitions, scores)

    def _add(self, term: str, repetitions: int, scores: NDArray[Any]) -> None:
        """Adds what `term` contributes to each document; a repeated term counts as often as it stands there.

        The sum is in double precision over single-precision terms, as in Lucene.
        """
        found = self._postings(term)
        if found is None:
            return
        docs, freqs = found
        docs = docs.astype(np.intp)  # NumPy indexes fastest with its own integer
        idf = np.log(1 + (self._documents_with_terms - len(docs) + 0.5) / (len(docs) + 0.5))
        weight = np.float32(repetitions) * np.float32(idf)
        tempered = freqs.astype(np.float32)
        tempered *= self._inverse_norms[docs]
        tempered += np.float32(1)
        scores[docs] += weight - weight / tempered

    def _postings(self, term: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """(rows, frequencies) of the documents that hold `term`."""
        arrays, encoded = self._arrays, term.encode("utf-8", "surrogatepass")
        ends = arrays["term_starts"]
        place = bisect.bisect_left(
            range(len(ends) - 1), encoded, key=lambda i: bytes(self._terms[ends[i] : ends[i + 1]])
        )
        if place == len(ends) - 1 or bytes(self._terms[ends[place] : ends[place + 1]]) != encoded:
            return None
        number = arrays["term_ids"][place]
        here = slice(*arrays["starts"][number : number + 2])
        return arrays["docs"][here], arrays["freqs"][here]


def _inverse_norms(tokens: int, documents_with_terms: int, k1: float, b: float) -> NDArray[Any]:
    """(256,) float32: 1 / (k1 (1 − b + b · length / mean length)) for each length byte, in single precision."""
    single = np.float32
    mean = single(tokens / max(documents_with_terms, 1))
    lengths = lengths_of_bytes().astype(single)
    return single(1) / (single(k1) * ((single(1) - single(b)) + single(b) * lengths / max(mean, single(1))))


def _best(scores: NDArray[Any], k: int, ranks: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    rows = np.flatnonzero(scores > 0)
    single = scores[rows].astype(np.float32)
    if len(rows) > k:
        kept = single >= np.partition(single, len(rows) - k)[len(rows) - k]
        rows, single = rows[kept], single[kept]
    order = np.lexsort((ranks[rows], -single))[:k]
    return rows[order].astype(np.int32), single[order]
