"""Postings in blocks on disk, and their merging, a range of terms at a time: NumPy alone, in whatever process.

A posting is one int64: the frequency in its upper half, the document in its lower one. A block holds
those of some documents in a row, sorted by the block's own term numbers, then by document.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "Target", "begin", "merge", "starts_of", "write_block"]

_DOCUMENT = 0xFFFF_FFFF
_TERM = np.dtype([("number", np.int32), ("first", np.int64), ("count", np.int32)])


class Block(NamedTuple):
    """A block whose terms have got the numbers of the whole corpus."""

    path: str
    """Of its postings; its terms, by ascending number, stand beside them."""
    first_row: int
    """Of the corpus: the block counts its documents from 0."""

    def terms(self) -> NDArray[Any]:
        """(terms,) of `_TERM`: where each one's postings begin in the file, and how many they are."""
        found: NDArray[Any] = np.load(f"{self.path}.terms.npy", mmap_mode="r").view(np.ndarray)
        return found

    def terms_within(self, first: int, last: int) -> NDArray[Any]:
        """As `terms`: those whose number is `first` or more, and below `last`."""
        terms = self.terms()
        numbers = terms["number"]
        return terms[bisect_left(numbers, first) : bisect_left(numbers, last)]

    def number(self, numbers: NDArray[np.int32]) -> NDArray[Any]:
        """Gives term n of the block the number `numbers[n]`; its terms, in the order of these."""
        terms = self.terms().copy()
        terms["number"] = numbers[terms["number"]]
        terms = terms[np.argsort(terms["number"])]
        np.save(f"{self.path}.terms.npy", terms)
        return terms


def starts_of(counts: NDArray[Any]) -> NDArray[np.int64]:
    """(n + 1,): where each of n runs of these lengths begins, and where the last one ends."""
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def write_block(path: str, tokens: NDArray[np.int32], lengths: NDArray[np.int32]) -> int:
    """Writes the postings of `lengths` documents, whose terms `tokens` has one after another; the highest frequency."""
    keys = tokens.astype(np.int64) << 32
    keys |= np.repeat(np.arange(len(lengths)), lengths)
    keys.sort()
    firsts = np.flatnonzero(np.diff(keys, prepend=-1))
    freqs = np.diff(firsts, append=len(keys))
    keys = keys[firsts]
    bounds = np.flatnonzero(np.diff(keys >> 32, prepend=-1))
    terms = np.empty(len(bounds), _TERM)
    terms["number"], terms["first"], terms["count"] = keys[bounds] >> 32, bounds, np.diff(bounds, append=len(keys))
    np.save(f"{path}.terms.npy", terms)
    keys &= _DOCUMENT
    keys |= freqs << 32
    keys.tofile(path)
    return int(freqs.max(initial=0))


class Target(NamedTuple):
    """The two files of an index that hold its postings, of all terms in their order."""

    docs: Path
    freqs: Path
    freq_type: np.dtype[Any]


def begin(target: Target, postings: int) -> None:
    """Makes both files, of full length, for `merge` to fill."""
    for path, kind in ((target.docs, np.dtype(np.int32)), (target.freqs, target.freq_type)):
        with path.open("wb") as file:
            header = {"descr": kind.str, "fortran_order": False, "shape": (postings,)}
            np.lib.format.write_array_header_1_0(file, header)
            os.truncate(file.fileno(), file.tell() + postings * kind.itemsize)


def merge(blocks: Sequence[Block], first: int, starts: NDArray[np.int64], target: Target) -> None:
    """Writes the postings of the terms from `first` on, out of all blocks, which come in the order of the corpus.

    `starts` says where each of these terms' postings begin in the files, and where the last one's end.
    """
    merged = np.empty(starts[-1] - starts[0], np.int64)
    ends = starts[:-1] - starts[0]
    for block in blocks:
        terms = block.terms_within(first, first + len(ends))
        counts, numbers = terms["count"], terms["number"] - first
        before = starts_of(counts)
        if not before[-1]:
            continue
        postings = np.memmap(block.path, np.int64, "r").view(np.ndarray)
        places = np.arange(before[-1])
        sources = places + np.repeat(terms["first"] - before[:-1], counts)
        places += np.repeat(ends[numbers] - before[:-1], counts)
        merged[places] = postings[sources] + block.first_row
        ends[numbers] += counts
    _fill(target.docs, np.dtype(np.int32), starts, merged & _DOCUMENT)
    _fill(target.freqs, target.freq_type, starts, merged >> 32)


def _fill(path: Path, kind: np.dtype[Any], starts: NDArray[np.int64], values: NDArray[np.int64]) -> None:
    with path.open("r+b") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(int(starts[0]) * kind.itemsize, os.SEEK_CUR)
        file.write(values.astype(kind).data)
