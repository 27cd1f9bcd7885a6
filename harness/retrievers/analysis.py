"""Texts → blocks of postings, on as many cores as there are: the same index for any number of processes.

A term's number is its place in the order of first appearance, which only one process can know. So each
process numbers the terms of what it reads for itself, and this one, stretch after stretch in the order of
the corpus, gives each new term the next number and tells every block the numbers of its terms.
"""

from __future__ import annotations

import os
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data.corpus import Corpus, Stretch
from ..files.cache import hash_of
from ..text import join_document
from .analyzers import analyzer
from .crew import Answer
from .postings import Block, Target, merge, write_block

__all__ = ["ALONE", "Found", "Numbers", "Worker", "in_parts"]

_CHUNK = 16_384
_CHUNK_CHARACTERS = 16_000_000
ALONE = 2 * _CHUNK
"""So many texts are analyzed before it is worth the second that starting processes takes."""


def in_parts(texts: Iterable[str] | Corpus, processes: int) -> tuple[int, Iterator[list[str] | Stretch]]:
    """How many processes the texts are worth, of these at most, and the texts in parts for them."""
    if isinstance(texts, Corpus):
        processes = processes if len(texts) > ALONE else 1
        return processes, texts.stretches(processes)
    rest = iter(texts)
    begun = list(islice(rest, ALONE + 1 if processes > 1 else 0))
    return processes if len(begun) > ALONE else 1, _lists(chain(begun, rest))


def _lists(texts: Iterator[str]) -> Iterator[list[str]]:
    """The texts in lists that a process may hold."""
    for first in texts:
        some, characters = [first], len(first)
        for text in islice(texts, _CHUNK - 1):
            some.append(text)
            characters += len(text)
            if characters >= _CHUNK_CHARACTERS:
                break
        yield some


class Found(NamedTuple):
    """A block of postings on disk, whose terms have the numbers of the process that wrote it."""

    path: str
    new_terms: list[str]
    """Those that the process had not seen before, in the order of their first appearance."""
    lengths: NDArray[np.int32]
    """How many terms each document has."""
    highest: int
    """Of the frequencies."""


class Worker:
    """One process's part of building an index. `scratch` is a folder for its blocks, of about `most` tokens each."""

    def __init__(self, language: str, scratch: Path, most: int) -> None:
        self._vocabulary: defaultdict[str, int] = defaultdict(count().__next__)
        self._numbers = analyzer(language).numbering(self._vocabulary.__getitem__)
        self._scratch, self._most = scratch, most
        self._blocks = 0

    def invert(self, texts: list[str] | Stretch) -> list[Found]:
        """The postings of some texts that follow one another in the corpus, one block or several."""
        found = []
        joined = iter(map(join_document, texts.texts()) if isinstance(texts, Stretch) else texts)
        for first in joined:
            known = len(self._vocabulary)
            tokens, lengths = self._numbered(chain([first], joined))
            path = str(self._scratch / f"{os.getpid()}-{self._blocks}")
            highest = write_block(path, tokens, lengths)
            found.append(Found(path, list(islice(self._vocabulary, known, None)), lengths, highest))
            self._blocks += 1
        return found

    def _numbered(self, texts: Iterable[str]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The terms of the first of `texts`, as many as a block takes, and how many each text has."""
        tokens, ends = array("i"), array("i", [0])
        for text in texts:
            tokens.extend(self._numbers(text))
            ends.append(len(tokens))
            if len(tokens) >= self._most:
                break
        bounds = np.asarray(ends, np.int32)
        return np.asarray(tokens, np.int32), bounds[1:] - bounds[:-1]

    def merge(self, blocks: list[Block], first: int, starts: NDArray[np.int64], target: Target) -> None:
        """Writes the postings of some terms (`postings.merge`)."""
        merge(blocks, first, starts, target)

    def seal(self, path: Path) -> str:
        """The digest of a file, which is on the disk thereafter."""
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return hash_of(path)


class Numbers:
    """The numbers of all terms. It takes the blocks in the order of the corpus and knows what they hold."""

    def __init__(self) -> None:
        self.vocabulary: dict[str, int] = {}
        self.blocks: list[Block] = []
        self.highest = 0
        """Of the frequencies."""
        self._of_process: dict[int, NDArray[np.int32]] = {}
        self._lengths: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
        self._counts = np.zeros(0, np.int64)
        self._rows = 0

    def add(self, answer: Answer) -> None:
        """Numbers the terms of the blocks that a process has written."""
        for found in answer.value:
            self._add(answer.process, found)

    def _add(self, process: int, found: Found) -> None:
        vocabulary = self.vocabulary
        new = np.fromiter((vocabulary.setdefault(term, len(vocabulary)) for term in found.new_terms), np.int32)
        known = self._of_process.get(process, np.empty(0, np.int32))
        numbers = self._of_process[process] = np.concatenate((known, new))
        block = Block(found.path, self._rows)
        terms = block.number(numbers)
        self._counts = np.pad(self._counts, (0, len(vocabulary) - len(self._counts)))
        self._counts[terms["number"]] += terms["count"]
        self.blocks.append(block)
        self.highest = max(self.highest, found.highest)
        self._lengths.append(found.lengths)
        self._rows += len(found.lengths)

    def lengths(self) -> NDArray[np.int32]:
        """How many terms each document of the corpus has."""
        return np.concatenate(self._lengths)

    def counts(self) -> NDArray[np.int64]:
        """How many documents hold each term."""
        return self._counts
