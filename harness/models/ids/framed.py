"""Rows of a single text as a tokenizer gives them, special tokens and truncation included, from ids that are kept.

Most tokenizers put the same special tokens around every text. Which ones is found by tokenizing known texts, and
compared with the tokenizer's own answer for more of them, cut and whole; a tokenizer that does anything else makes
every row itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tokenization import encodings, ids_of

__all__ = ["rows_with_specials"]

Ids = NDArray[np.int32]

_PROBES = ("a river runs to the sea, 12 times: where?", "a", "The bank of the river is wet. " * 3, "", "é 東京 \u0001")
_SHORT = 3
"""Ids that are left of a probe that is cut."""


class _Frame(NamedTuple):
    """The ids before and after every text."""

    before: Ids
    after: Ids

    def around(self, ids: Ids) -> Ids:
        return np.concatenate([self.before, ids, self.after])


def rows_with_specials(backend: Any, texts: Sequence[str]) -> Iterator[tuple[Ids, int]]:
    """For each text its ids with special tokens, as `backend` cuts it now, and how many ids truncation took.

    Raises HarnessError for a text that the tokenizer cannot read.
    """
    frame = _frame(backend)
    if frame is None:
        yield from _by_tokenizer(backend, texts)
        return
    cut = backend.truncation
    most = None if cut is None else cut["max_length"] - len(frame.before) - len(frame.after)
    found = ids_of(backend, texts, most)
    for place, lost in enumerate((found.whole - found.counts).tolist()):
        yield frame.around(found[place]), lost


def _by_tokenizer(backend: Any, texts: Iterable[str]) -> Iterator[tuple[Ids, int]]:
    for entry in encodings(backend, texts, specials=True):
        yield np.array(entry.ids, np.int32), sum(part.special_tokens_mask.count(0) for part in entry.overflowing)


def _frame(backend: Any) -> _Frame | None:
    """What stands around every text; None where that is not always the same, or the end of a text is what is kept."""
    cut = backend.truncation
    if cut is not None and (cut["direction"], cut["stride"]) != ("right", 0):
        return None
    try:
        frame = _frame_of_one(backend)
        return frame if frame is not None and _agrees(backend, frame) else None
    finally:
        backend.no_truncation()
        if cut is not None:
            backend.enable_truncation(**cut)


def _frame_of_one(backend: Any) -> _Frame | None:
    backend.no_truncation()
    bare, row = (backend.encode(_PROBES[0], add_special_tokens=also).ids for also in (False, True))
    start = (len(row) - len(bare)) and next((n for n in range(len(row)) if row[n : n + len(bare)] == bare), -1)
    if start < 0 or not bare:
        return None
    return _Frame(np.array(row[:start], np.int32), np.array(row[start + len(bare) :], np.int32))


def _agrees(backend: Any, frame: _Frame) -> bool:
    specials = len(frame.before) + len(frame.after)
    for most in (None, _SHORT):
        backend.no_truncation()
        bare = [np.array(entry.ids, np.int32) for entry in encodings(backend, _PROBES)]
        if most is not None:
            backend.enable_truncation(specials + most)
        for ids, (own, lost) in zip(bare, _by_tokenizer(backend, _PROBES), strict=True):
            if not np.array_equal(frame.around(ids[:most]), own) or lost != len(ids) - len(ids[:most]):
                return False
    return True
