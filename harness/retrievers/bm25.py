"""BM25 as Lucene 9 computes it: an index on disk, and the search in it.

The flat kind: one field, whose text the caller has joined (`text.join_document`). Sources: Robertson
and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009; Kamphuis et al., "Which
BM25 Do You Mean?", ECIR 2020 (the variants, Lucene's one-byte length among them); Anserini for the
defaults, k1 0.9 and b 0.4, and for a query as a bag of words. Scores equal Lucene's float32 ones.
"""

from __future__ import annotations

import bisect
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError
from ..files.cache import hash_of
from . import BM25_VERSION
from .analysis import Tokens, cores, term_ids
from .analyzers import analyzer

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


class _Block(NamedTuple):
    """Postings sorted by term, then document; `starts` says where each term's begin, and where the last one's end."""

    docs: NDArray[Any]
    freqs: NDArray[Any]
    starts: NDArray[Any]


def build(
    texts: Iterable[str], language: str, folder: Path, *, block_tokens: int = 1 << 24, workers: int | None = None
) -> None:
    """Writes the index of `texts` to `folder`, whole or not at all; an index that stands there is replaced.

    `texts` are the documents in row order, each with its fields joined. About `block_tokens` tokens
    are held in memory at a time, and the vocabulary; the rest waits on disk beside `folder`. A build
    that is killed may leave a folder `.<name>.*` there, which nothing reads. A large corpus is analyzed by
    `workers` processes (as many as there are cores); the index is the same to the byte for any number.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        new = temporary / "index"
        new.mkdir()
        vocabulary: dict[str, int] = {}
        tokens = term_ids(texts, language, vocabulary, workers or cores())
        _write_index(tokens, vocabulary, language, new, temporary, block_tokens)
        for path in new.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if folder.exists():
            os.rename(folder, temporary / "old")
        os.rename(new, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_index(
    tokens: Iterable[Tokens],
    vocabulary: Mapping[str, int],
    language: str,
    new: Path,
    scratch: Path,
    block_tokens: int,
) -> None:
    analyze = analyzer(language)
    rows = 0
    all_lengths: list[NDArray[np.int32]] = []
    blocks: list[_Block] = []
    for ids, lengths in _blocks(tokens, block_tokens):
        block = _sorted_block(ids, lengths, rows, len(vocabulary))
        blocks.append(_on_disk(block, scratch / f"block{len(blocks)}"))
        all_lengths.append(lengths)
        rows += len(lengths)
    lengths = np.concatenate(all_lengths)
    _write_vocabulary(vocabulary, new)
    _merge(blocks, len(vocabulary), new, block_tokens)
    np.save(new / "norms.npy", length_bytes(lengths))
    meta = {
        "version": VERSION,
        "language": language,
        "analyzer": [analyze.name, analyze.version],
        "documents": len(lengths),
        "documents_with_terms": int(np.count_nonzero(lengths)),
        "tokens": int(lengths.sum(dtype=np.int64)),
        "digests": {name: hash_of(new / f"{name}.npy") for name in _ARRAYS},
    }
    (new / _META).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def _blocks(tokens: Iterable[Tokens], block_tokens: int) -> Iterator[Tokens]:
    """The terms of some documents after another, about `block_tokens` at a time."""
    held: list[Tokens] = [Tokens(np.empty(0, np.int32), np.empty(0, np.int32))]
    for some in tokens:
        held.append(some)
        if sum(len(each.ids) for each in held) >= block_tokens:
            yield _joined(held)
            held = held[:1]
    yield _joined(held)


def _joined(held: Sequence[Tokens]) -> Tokens:
    return Tokens(*(np.concatenate(arrays) for arrays in zip(*held, strict=True)))


def _sorted_block(tokens: NDArray[np.int32], lengths: NDArray[np.int32], first_row: int, terms: int) -> _Block:
    keys = tokens.astype(np.int64) << 32
    keys |= np.repeat(np.arange(first_row, first_row + len(lengths)), lengths)
    keys.sort()
    firsts = np.flatnonzero(np.diff(keys, prepend=-1))
    freqs = np.diff(firsts, append=len(keys))
    keys = keys[firsts]
    counts = np.bincount(keys >> 32, minlength=terms)
    return _Block((keys & 0x7FFFFFFF).astype(np.int32), freqs.astype(np.int32), _starts(counts))


def _starts(counts: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def _on_disk(block: _Block, path: Path) -> _Block:
    for name, values in block._asdict().items():
        np.save(f"{path}.{name}.npy", values)
    return _Block(*(_load(Path(f"{path}.{name}.npy")) for name in _Block._fields))


def _write_vocabulary(vocabulary: Mapping[str, int], new: Path) -> None:
    """The terms sorted by their bytes, for binary search, and the id of each."""
    terms = sorted(vocabulary)
    encoded = [term.encode("utf-8", "surrogatepass") for term in terms]
    np.save(new / "terms.npy", np.frombuffer(b"".join(encoded), np.uint8))
    np.save(new / "term_starts.npy", _starts(np.fromiter(map(len, encoded), np.int64, len(encoded))))
    np.save(new / "term_ids.npy", np.fromiter(map(vocabulary.__getitem__, terms), np.int32, len(terms)))


def _merge(blocks: Sequence[_Block], terms: int, new: Path, most: int) -> None:
    """Joins the blocks' postings term by term, about `most` of them in memory at a time."""
    starts = np.zeros(terms + 1, np.int64)
    for block in blocks:
        starts[: len(block.starts)] += block.starts
        starts[len(block.starts) :] += block.starts[-1]
    highest = max(int(block.freqs.max(initial=0)) for block in blocks)
    freq_type = np.min_scalar_type(highest)
    np.save(new / "starts.npy", starts)
    with open(new / "docs.npy", "wb") as docs, open(new / "freqs.npy", "wb") as freqs:
        for file, kind in ((docs, np.dtype(np.int32)), (freqs, freq_type)):
            header = {"descr": kind.str, "fortran_order": False, "shape": (int(starts[-1]),)}
            np.lib.format.write_array_header_1_0(file, header)
        first = 0
        while first < terms:
            last = max(first + 1, int(np.searchsorted(starts, starts[first] + most, side="right")) - 1)
            merged = _merged(blocks, first, last, starts[first : last + 1])
            docs.write(merged.docs.tobytes())
            freqs.write(merged.freqs.astype(freq_type).tobytes())
            first = last


def _merged(blocks: Sequence[_Block], first: int, last: int, starts: NDArray[Any]) -> _Block:
    """The postings of the terms from `first` up to `last`, out of all blocks."""
    docs, freqs = (np.empty(starts[-1] - starts[0], np.int32) for _ in range(2))
    ends = starts[:-1] - starts[0]
    for block in blocks:
        of_block = block.starts[min(first, len(block.starts) - 1) : last + 1]
        counts = np.zeros(last - first, np.int64)
        counts[: len(of_block) - 1] = np.diff(of_block)
        here = slice(int(of_block[0]), int(of_block[-1]))
        before = _starts(counts)[:-1]
        places = np.arange(here.stop - here.start) + np.repeat(ends - before, counts)
        docs[places], freqs[places] = block.docs[here], block.freqs[here]
        ends += counts
    return _Block(docs, freqs, starts)


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
    ) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """For each query the best `k` documents: (int32 rows, float32 scores), best first.

        Only documents that hold a term of the query are returned. `exclude` names, for each query,
        rows that are left out before the cut at `k`, `within` the only ones that may be found. Equal scores come in ascending order of
        `tie_order` (one rank for each row; without it the row itself), also at the cut.
        """
        analyze = analyzer(self.language)
        ranks = np.arange(self.documents) if tie_order is None else tie_order
        terms = [Counter(analyze(query)) for query in queries]
        threads = min(cores(), len(queries)) or 1

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
