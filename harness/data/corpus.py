"""The corpus of a prepared collection: one Arrow file, written once and mapped into memory.

Its rows stand in ascending order of doc_id, whatever the order of the files it was read from. So
row numbers mean the same wherever the content is the same, and an index keyed by the content's
fingerprint may hold row numbers.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import HarnessError
from ..files.digest import Digest
from ..types import DocumentText
from .formats import read_corpus
from .names import CORPUS, Fields
from .rows import Place

__all__ = ["Corpus", "Stretch", "Written", "write_corpus"]

_BATCH_ROWS = 16_384
_BATCH_CHARACTERS = 16_000_000
_COLUMNS = ("id", "title", "text")
_LONGEST_STRETCH = 8
"""In batches."""

Values = list[tuple[str, ...]]


@dataclass(frozen=True)
class Stretch:
    """Some batches of a corpus file, one after another, for a process that reads them and no others."""

    path: Path
    first: int
    last: int
    """The batch after the last one."""

    def texts(self) -> Iterator[DocumentText]:
        """Every document's text in the order of rows, a batch at a time."""
        import pyarrow as pa

        with pa.ipc.open_file(pa.memory_map(str(self.path))) as reader:
            for number in range(self.first, self.last):
                yield from _texts(reader.get_batch(number))


class Corpus:
    """The mapped file; nothing of it is in memory before it is asked for.

    Raises HarnessError for a file that is not whole.
    """

    def __init__(self, path: Path) -> None:
        import numpy as np
        import pyarrow as pa

        self._path = path
        try:
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except (pa.ArrowException, OSError) as error:
            raise HarnessError(f"{path} is damaged ({error}): delete its folder, it will be made again") from error
        self._batches = self._table.to_batches()
        self._starts = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def doc_ids(self) -> Any:
        """All doc_ids, ascending: a pyarrow.ChunkedArray of strings."""
        return self._table.column("id")

    def doc_ids_at(self, rows: Sequence[int]) -> list[str]:
        """The doc_ids of these rows, in the order of `rows`. Raises IndexError for a row that is not there."""
        return [doc_id for (doc_id,) in self.take(rows, ["id"])]

    def documents(self, doc_ids: Iterable[str]) -> dict[str, DocumentText]:
        """doc_id → text for those of `doc_ids` that there are. One pass over all ids: ask for many at once."""
        found = self.take(self._rows_of(doc_ids), _COLUMNS)
        return {doc_id: DocumentText(title, text) for doc_id, title, text in found}

    def rows_of(self, doc_ids: Iterable[str]) -> dict[str, int]:
        """doc_id → row for those of `doc_ids` that there are. One pass over all ids: ask for many at once."""
        rows = self._rows_of(doc_ids).tolist()
        return dict(zip(self.doc_ids_at(rows), rows, strict=True))

    def few_documents(self, doc_ids: Iterable[str]) -> dict[str, DocumentText]:
        """doc_id → text, each found by bisection: for a handful, and without building Arrow arrays.

        Arrow imports pandas, where it is installed, to build an array from Python values.
        """
        ids, titles, texts = (self._table.column(name) for name in _COLUMNS)
        found = {}
        for doc_id in doc_ids:
            row = bisect_left(range(len(ids)), doc_id, key=lambda place: str(ids[place].as_py()))
            if row < len(ids) and ids[row].as_py() == doc_id:
                found[doc_id] = DocumentText(titles[row].as_py(), texts[row].as_py())
        return found

    def known(self, doc_ids: Iterable[str]) -> set[str]:
        """Those of `doc_ids` that there are."""
        return {doc_id for (doc_id,) in self.take(self._rows_of(doc_ids), ["id"])}

    def iterate_ids(self) -> Iterator[str]:
        """Every doc_id in the order of rows, a batch at a time."""
        for batch in self._batches:
            yield from batch.column("id").to_pylist()

    def iterate_texts(self) -> Iterator[DocumentText]:
        """Every document's text in the order of rows, a batch at a time."""
        for batch in self._batches:
            yield from _texts(batch)

    def stretches(self, processes: int) -> Iterator[Stretch]:
        """The whole corpus in stretches for so many processes, which take them in turn: the last ones are short,
        so that all processes end at about the same time.
        """
        first, end = 0, len(self._batches)
        while first < end:
            last = first + max(1, min((end - first) // (2 * processes), _LONGEST_STRETCH))
            yield Stretch(self._path, first, last)
            first = last

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _rows_of(self, doc_ids: Iterable[str]) -> Any:
        import numpy as np
        from pyarrow import compute

        there = compute.is_in(self.doc_ids(), value_set=_strings(sorted(set(doc_ids))))
        rows = compute.indices_nonzero(there)
        return np.frombuffer(rows.buffers()[1] or b"", np.uint64, len(rows)).astype(np.int64)

    def take(self, rows: Any, columns: Sequence[str]) -> Values:
        """These rows' values, in the order of `rows`.

        Batch by batch: pyarrow's own `take` would first join all batches of a column in memory.
        """
        import numpy as np

        wanted = np.asarray(rows, np.int64)
        order = np.argsort(wanted, kind="stable")
        starts = self._starts
        if len(wanted) and not 0 <= wanted[order[0]] <= wanted[order[-1]] < starts[-1]:
            raise IndexError(f"a row of {wanted[order[0]]} to {wanted[order[-1]]} is not in a corpus of {starts[-1]}")
        bounds = np.searchsorted(wanted[order], starts)
        found: Values = [()] * len(wanted)
        for batch, start, low, high in zip(self._batches, starts, bounds, bounds[1:], strict=False):
            if low < high:
                taken = batch.select(columns).take(_numbers(wanted[order[low:high]] - start))
                values = zip(*(column.to_pylist() for column in taken.columns), strict=True)
                for place, value in zip(order[low:high].tolist(), values, strict=True):
                    found[place] = value
        return found


def _texts(batch: Any) -> Iterator[DocumentText]:
    return map(DocumentText, batch.column("title").to_pylist(), batch.column("text").to_pylist())


class Written(NamedTuple):
    """What a corpus holds."""

    size: int
    """Documents, each once."""
    blank: int
    """Documents without any text."""
    repeated: int
    """Rows beside these, each the same as a document that stands there before."""
    digest: str


def _strings(values: Sequence[str]) -> Any:
    """A pyarrow.StringArray; `pyarrow.array` would import pandas first, which takes longer than the rest of a lookup."""
    import numpy as np
    import pyarrow as pa

    data = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, data)])
    if ends[-1] > np.iinfo(np.int32).max:
        return pa.array(values, pa.string())
    ends = ends.astype(np.int32)
    return pa.StringArray.from_buffers(len(data), pa.py_buffer(ends), pa.py_buffer(b"".join(data)))


def _numbers(values: Any) -> Any:
    """A pyarrow.Int64Array of an array of int64; see `_strings`."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def write_corpus(
    target: Path, sources: Sequence[Path], unread: set[str] | None = None, fields: Fields = CORPUS
) -> Written:
    """Reads the files and writes the Arrow file, a document that stands there several times in the same words once.

    Streams, once in file order and once in the order of ids, so that memory holds a batch and some
    20 bytes a document. Columns that are not read go into `unread`. Raises HarnessError for what `read_corpus`
    refuses and an id that stands twice with different texts.
    """
    from pyarrow import compute

    unsorted = target.with_name(f"{target.name}.unsorted")
    characters = _write(unsorted, _batches(sources, unread, fields))
    corpus = Corpus(unsorted)
    every = compute.sort_indices(corpus.doc_ids()).to_numpy()
    order = _each_once(corpus, every, sources, fields)
    step = min(_BATCH_ROWS, max(1, _BATCH_CHARACTERS * len(order) // max(1, characters)))
    digest = Digest().add(str(len(order)))
    blank = 0

    def in_order() -> Iterator[Values]:
        nonlocal blank
        for start in range(0, len(order), step):
            batch = corpus.take(order[start : start + step], _COLUMNS)
            for row in batch:
                blank += not (row[1].strip() or row[2].strip())
                digest.add(*row)
            yield batch

    _write(target, in_order())
    unsorted.unlink()
    return Written(len(order), blank, len(every) - len(order), digest.hex())


def _each_once(corpus: Corpus, order: Any, sources: Sequence[Path], fields: Fields) -> Any:
    """The rows in order of id without those that say again what a row before them says."""
    import numpy as np

    again = np.zeros(len(order), bool)
    last: str | None = None
    for start in range(0, len(order), _BATCH_ROWS):
        ids = corpus.doc_ids_at(order[start : start + _BATCH_ROWS])
        for place, doc_id in enumerate(ids, start):
            again[place] = doc_id == last
            last = doc_id
    for place in np.flatnonzero(again).tolist():
        one, two = corpus.take(order[place - 1 : place + 1], _COLUMNS)
        if one != two:
            _name_duplicate(two[0], sources, fields)
    return order[~again]


def _write(target: Path, batches: Iterable[Values]) -> int:
    """Writes an Arrow file and sees it on the disk; how many characters it holds."""
    import pyarrow as pa

    schema = pa.schema([(name, pa.string()) for name in _COLUMNS])
    characters = 0
    with target.open("wb") as stream:
        with pa.ipc.new_file(stream, schema) as writer:
            for batch in batches:
                characters += sum(len(value) for row in batch for value in row)
                writer.write_batch(
                    pa.record_batch([list(column) for column in zip(*batch, strict=True)], schema=schema)
                )
        stream.flush()
        os.fsync(stream.fileno())
    return characters


def _batches(sources: Sequence[Path], unread: set[str] | None, fields: Fields) -> Iterator[Values]:
    batch: Values = []
    characters = 0
    for _, doc_id, (title, text) in read_corpus(sources, unread, fields):
        batch.append((doc_id, title, text))
        characters += len(title) + len(text)
        if len(batch) >= _BATCH_ROWS or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _name_duplicate(doc_id: str, sources: Sequence[Path], fields: Fields) -> None:
    """Reads the files again to say where the id stands with different texts; raises HarnessError."""
    texts: dict[DocumentText, Place] = {}
    for place, found, text in read_corpus(sources, fields=fields):
        if found == doc_id:
            texts.setdefault(text, place)
    first, second = list(texts.values())[:2]
    raise HarnessError(f'document "{doc_id}" stands twice, with different texts: {first}, and {second}')
