"""Writing imported rows to a table file: Parquet in row groups, or CSV; the whole file or nothing.

Rows travel between processes as Arrow batches: as tuples they would cost more than reading them.
"""

from __future__ import annotations

import csv
import gzip
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..results.imported import COLUMNS, ImportedRow, is_csv

__all__ = ["batch_of", "writer_of"]

_ROW_GROUP = 250_000
"""Rows held before they are written: some tens of MB, and few enough groups to read fast."""

Write = Callable[[Any], None]
"""Takes a pyarrow.RecordBatch of `batch_of`."""


def batch_of(rows: Sequence[ImportedRow]) -> Any:
    """The rows as a pyarrow.RecordBatch with the columns of `imported.COLUMNS`."""
    import pyarrow as pa

    schema = _schema()
    columns = zip(*rows, strict=True) if rows else ([] for _ in COLUMNS)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"value": pa.float64(), "parameters": pa.int64()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])


@contextmanager
def writer_of(path: Path) -> Iterator[Write]:
    """A function that appends rows to the table `path`, which is there when the block has ended well.

    Raises HarnessError for a name that is no table's and a place that cannot be written.
    """
    open_writer = _csv_writer if is_csv(path) else _parquet_writer
    temporary = path.with_name(f".{secrets.token_hex(6)}.{path.name[-80:]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_writer(temporary) as write:
            yield write
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def _csv_writer(path: Path) -> Iterator[Write]:
    with path.open("xb") as file:
        # No name and no time inside: the same rows give the same bytes.
        packed = path.name.lower().endswith(".gz")
        raw: Any = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if packed else file
        writer = csv.writer(lines := _Lines(), lineterminator="\n")
        writer.writerow(COLUMNS)

        def write(batch: Any) -> None:
            writer.writerows(zip(*(column.to_pylist() for column in batch.columns), strict=True))
            raw.write(lines.taken())

        yield write
        raw.write(lines.taken())
        if packed:
            raw.close()


class _Lines:
    """Where csv.writer writes to: text, taken as UTF-8."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def write(self, text: str) -> None:
        self._parts.append(text)

    def taken(self) -> bytes:
        data = "".join(self._parts).encode()
        self._parts.clear()
        return data


@contextmanager
def _parquet_writer(path: Path) -> Iterator[Write]:
    import pyarrow as pa
    from pyarrow import parquet

    held: list[Any] = []
    with parquet.ParquetWriter(path, _schema(), compression="zstd") as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_batches(held, _schema()))
            held.clear()

        def write(batch: Any) -> None:
            held.append(batch)
            if sum(each.num_rows for each in held) >= _ROW_GROUP:
                flush()

        yield write
        flush()
