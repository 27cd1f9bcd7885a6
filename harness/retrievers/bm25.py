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
from array import array
from collections import Counter, defaultdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import HarnessError
from .analyzers import analyzer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["B", "K1", "VERSION", "Index", "build", "length_bytes", "lengths_of_bytes", "open_index"]

VERSION = "1"
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


def build(texts: Iterable[str], language: str, folder: Path, *, block_tokens: int = 1 << 24) -> None:
    """Writes the index of `texts` to `folder`, whole or not at all; an index that stands there is replaced.

    `texts` are the documents in row order, each with its fields joined. About `block_tokens` tokens
    are held in memory at a time, and the vocabulary; the rest waits on disk beside `folder`. A build
    that is killed may leave a folder `.<name>.*` there, which nothing reads.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        new = temporary / "index"
        new.mkdir()
        _write_index(texts, language, new, temporary, block_tokens)
        if folder.is_dir():
            os.rename(folder, temporary / "old")
        os.rename(new, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_index(texts: Iterable[str], language: str, new: Path, scratch: Path, block_tokens: int) -> None:
    import numpy

    analyze = analyzer(language)
    vocabulary: defaultdict[str, int] = defaultdict(count().__next__)
    lengths = array("i")
    blocks = []
    for tokens, first_row in _blocks(texts, language, vocabulary, lengths, block_tokens):
        block = _sorted_block(tokens, lengths, first_row, len(vocabulary))
        blocks.append(_on_disk(block, scratch / f"block{len(blocks)}"))
    _write_vocabulary(vocabulary, new)
    _merge(blocks, len(vocabulary), new)
    numpy.save(new / "norms.npy", length_bytes(numpy.asarray(lengths, numpy.int64)))
    meta = {
        "version": VERSION,
        "language": language,
        "analyzer": [analyze.name, analyze.version],
        "documents": len(lengths),
        "documents_with_terms": sum(length > 0 for length in lengths),
        "tokens": sum(lengths),
    }
    (new / _META).write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")


def _blocks(
    texts: Iterable[str], language: str, vocabulary: Mapping[str, int], lengths: array[int], block_tokens: int
) -> Iterator[tuple[array[int], int]]:
    """The term ids of some documents after another, and the row of the first; `lengths` grows as they pass."""
    analyze = analyzer(language)
    tokens, first_row = array("i"), 0
    for text in texts:
        before = len(tokens)
        tokens.extend(map(vocabulary.__getitem__, analyze(text)))
        lengths.append(len(tokens) - before)
        if len(tokens) >= block_tokens:
            yield tokens, first_row
            tokens, first_row = array("i"), len(lengths)
    yield tokens, first_row


def _sorted_block(tokens: array[int], lengths: array[int], first_row: int, terms: int) -> _Block:
    import numpy

    of_block = numpy.asarray(lengths[first_row:], numpy.int64)
    keys = numpy.asarray(tokens, numpy.int64) << 32
    keys |= numpy.repeat(numpy.arange(first_row, first_row + len(of_block)), of_block)
    keys.sort()
    firsts = numpy.flatnonzero(numpy.diff(keys, prepend=-1))
    freqs = numpy.diff(firsts, append=len(keys))
    keys = keys[firsts]
    counts = numpy.bincount(keys >> 32, minlength=terms)
    return _Block((keys & 0x7FFFFFFF).astype(numpy.int32), freqs.astype(numpy.int32), _starts(counts))


def _starts(counts: NDArray[Any]) -> NDArray[Any]:
    import numpy

    return numpy.concatenate(([0], numpy.cumsum(counts, dtype=numpy.int64)))


def _on_disk(block: _Block, path: Path) -> _Block:
    import numpy

    for name, values in block._asdict().items():
        numpy.save(f"{path}.{name}.npy", values)
    return _Block(*(_load(Path(f"{path}.{name}.npy")) for name in _Block._fields))


def _write_vocabulary(vocabulary: Mapping[str, int], new: Path) -> None:
    """The terms sorted by their bytes, for binary search, and the id of each."""
    import numpy

    terms = sorted(vocabulary)
    encoded = [term.encode("utf-8", "surrogatepass") for term in terms]
    numpy.save(new / "terms.npy", numpy.frombuffer(b"".join(encoded), numpy.uint8))
    numpy.save(new / "term_starts.npy", _starts(numpy.fromiter(map(len, encoded), numpy.int64, len(encoded))))
    numpy.save(new / "term_ids.npy", numpy.fromiter(map(vocabulary.__getitem__, terms), numpy.int32, len(terms)))


def _merge(blocks: Sequence[_Block], terms: int, new: Path, most: int = 1 << 24) -> None:
    """Joins the blocks' postings term by term, about `most` of them in memory at a time."""
    import numpy

    counts = numpy.zeros((len(blocks), terms), numpy.int32)
    for row, block in zip(counts, blocks, strict=True):
        row[: len(block.starts) - 1] = numpy.diff(block.starts)
    starts = _starts(counts.sum(axis=0, dtype=numpy.int64))
    highest = max((int(block.freqs.max(initial=0)) for block in blocks), default=0)
    numpy.save(new / "starts.npy", starts)
    with open(new / "docs.npy", "wb") as docs, open(new / "freqs.npy", "wb") as freqs:
        _write_header(docs, numpy.dtype(numpy.int32), int(starts[-1]))
        frequency = numpy.min_scalar_type(highest)
        _write_header(freqs, frequency, int(starts[-1]))
        first = 0
        while first < terms:
            last = max(first + 1, int(numpy.searchsorted(starts, starts[first] + most, side="right")) - 1)
            merged = _merged(blocks, counts[:, first:last], starts[first : last + 1] - starts[first], first)
            docs.write(merged[0].tobytes())
            freqs.write(merged[1].astype(frequency).tobytes())
            first = last
