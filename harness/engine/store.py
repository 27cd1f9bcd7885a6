"""Scores on disk, keyed by content: what was scored once is never scored again.

A score belongs to a fingerprint (which model, rendered how) and to the digests of a query and a
document. One SQLite file holds them: `fingerprints` and `texts` give a small integer to a digest, and
`scores` has one row (fingerprint, query, document, score) for each pair, clustered by this key, so that
all candidates of a query lie side by side. A batch comes in any order of queries, so `add` only appends
it, whole, to `batches`; many batches at a time, and before anything is read, are sorted into place.

What is written survives: each `add` is one transaction, synced to the disk before it returns
(synchronous = EXTRA: neither kill -9 nor a power cut loses it; NORMAL would survive the first only).
The journal is WAL on a local disk and DELETE on a network file system (see `journal_mode`).

What is read is right: scores are kept as the bits of a float32, and every row carries a seal, mixed from
all it says, digests included. A row whose seal does not fit is not a score. A damaged file is renamed
aside, a new one is begun, and all rows that can still be read and whose seals fit are taken over.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError
from ..files.digest import Digest
from ..types import DocumentText, QueryText
from .store_files import (
    FILE_ERRORS,
    LARGEST_ID,
    Batch,
    DamagedStoreError,
    connection,
    explained,
    file_identity,
    halves,
    integers,
    locked,
    rebuild,
    score_seal,
    seal,
)

__all__ = ["ScoreStore", "document_digest", "query_digest"]

_T = TypeVar("_T")


def query_digest(query: QueryText) -> bytes:
    """16 bytes that stand for (text, instruction)."""
    return Digest().add("query", query.text, query.instruction).bytes()


def document_digest(document: DocumentText) -> bytes:
    """16 bytes that stand for (title, text)."""
    return Digest().add("document", document.title, document.text).bytes()


_LOG = logging.getLogger(__name__)
_UNSORTED_PAIRS = 2**18
"""So many pairs of its own a store leaves in `batches` before it sorts them into place."""
_KEYS = 900
"""Keys in one statement; SQLite before 3.32 takes 999."""


class _Request(NamedTuple):
    """Arguments that were checked: only the texts that `pairs` uses, each digest once."""

    fingerprint: bytes
    texts: list[bytes]
    pairs: NDArray[np.int64]
    """Shape (n, 2): query and document, places in `texts`."""


class ScoreStore:
    """The scores of every reranker in one file; several processes may use it at once.

    `path` is created where it is missing, with its folder. `report` is told, in one line, when a
    damaged file was set aside; the default writes to the log. To be used from one thread.

    Raises HarnessError where the folder or the file cannot be written, the disk is full, another
    process blocks the store for five minutes, or a newer version of the harness wrote it (such a store is
    not touched).
    """

    def __init__(self, path: Path, *, report: Callable[[str], None] = _LOG.warning) -> None:
        self._report = report
        try:
            self._path = path.resolve()  # SQLite names its journals after the file behind a link
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise explained(error, path) from error
        self._unsorted = 0
        self.rebuilt = False
        """Whether this process set a damaged file aside since it opened the store."""
        self._identity: tuple[int, int] | None = None
        try:
            self._database, self._identity = self._open(None)
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The file, behind any link."""
        return self._path

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        self._database.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def known(
        self, fingerprint: str, queries: Sequence[bytes], documents: Sequence[bytes], pairs: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """The stored score of every pair, shape (n,); NaN where the store has none.

        `pairs` has shape (n, 2): indexes into `queries` and `documents`, which are 16-byte digests.
        Raises ValueError for arguments of another shape.
        """
        request = _request(_fingerprint_digest(fingerprint), queries, documents, pairs)
        return self._run(lambda: self._read(request))

    def add(
        self,
        fingerprint: str,
        queries: Sequence[bytes],
        documents: Sequence[bytes],
        pairs: NDArray[np.int64],
        scores: NDArray[np.float32],
    ) -> None:
        """Keeps the scores, shape (n,), of `pairs` (as in `known`), in one transaction.

        Of a pair that the store already has, the first score stays. Raises ValueError, and writes
        nothing, where a score is NaN or infinite or `scores` is not float32 of shape (n,).
        """
        request = _request(_fingerprint_digest(fingerprint), queries, documents, pairs)
        if scores.dtype != np.float32 or scores.shape != (len(pairs),):
            raise ValueError(
                f"scores are {scores.dtype} of shape {scores.shape}; float32 of shape ({len(pairs)},) is kept"
            )
        wrong = np.flatnonzero(~np.isfinite(scores))
        if len(wrong):
            query, document = pairs[wrong[0]]
            raise ValueError(
                f"the score of pair {wrong[0]} (query {query}, document {document}) is {scores[wrong[0]]}; "
                "only finite scores are kept, and none of this batch was"
            )
        texts, places, values = b"".join(request.texts), request.pairs.astype("<i4"), scores.astype("<f4")
        batch = Batch(request.fingerprint, texts, places.tobytes(), values.tobytes())
        self._run(lambda: self._append(batch), sort=self._unsorted >= _UNSORTED_PAIRS)
        self._unsorted += len(pairs)

    def forget(self, fingerprint: str) -> int:
        """Removes all scores of `fingerprint`; how many there were. The texts' integers stay."""
        return self._run(
            lambda: self._database.execute("DELETE FROM scores WHERE fingerprint = ?", self._id(fingerprint)).rowcount
        )

    def count(self, fingerprint: str | None = None) -> int:
        """How many scores there are, of `fingerprint` or in all."""
        if fingerprint is None:
            return self._run(lambda: int(self._rows("SELECT count(*) FROM scores", 1)[0, 0]))
        statement = "SELECT count(*) FROM scores WHERE fingerprint = ?"
        return self._run(lambda: int(self._rows(statement, 1, self._id(fingerprint))[0, 0]))

    def _run(self, work: Callable[[], _T], *, sort: bool = True) -> _T:
        """The result of `work` in a transaction, batches sorted first; after damage, once more on the new file."""
        damage: DamagedStoreError | None = None
        for _ in range(3):
            with locked(self._lock, fcntl.LOCK_SH, self._path):
                # A file that another process has set aside, or a user removed, must get no more rows.
                if file_identity(self._path) == self._identity:
                    try:
                        return self._transaction(work, sort=sort)
                    except DamagedStoreError as error:
                        damage = error
            self._database.close()
            self._database, self._identity = self._open(damage)
        raise HarnessError(f"the score store {self._path} is damaged again and again ({damage}): check its disk")

    def _transaction(self, work: Callable[[], _T], *, sort: bool) -> _T:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            if sort:
                self._sort_batches()
            result = work()
            self._database.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._database.rollback()
            if isinstance(error, FILE_ERRORS):
                raise explained(error, self._path) from error
            raise
        if sort:
            self._unsorted = 0
        return result

    def _open(self, damage: DamagedStoreError | None) -> tuple[sqlite3.Connection, tuple[int, int] | None]:
        """The file at the path, checked, and its identity; a new file where it is damaged.

        `damage` is what was found in the file that was open; another process may have set it aside since.
        """
        with locked(self._lock, fcntl.LOCK_EX, self._path):
            if damage is None or file_identity(self._path) != self._identity:
                try:
                    return connection(self._path), file_identity(self._path)
                except DamagedStoreError as error:
                    damage = error
            try:
                aside, saved = rebuild(self._path)
                database = connection(self._path)
            except DamagedStoreError as error:
                raise HarnessError(
                    f"the score store {self._path} is damaged again ({error}): check its disk"
                ) from error
            self.rebuilt = True
            self._report(
                f"the score store {self._path} was damaged ({damage}) and is set aside as {aside.name}; "
                f"{saved:,} scores were taken over from it, the others will be scored again"
            )
            return database, file_identity(self._path)

    def _append(self, batch: Batch) -> None:
        statement = "INSERT INTO batches (fingerprint, texts, pairs, scores, seal) VALUES (?, ?, ?, ?, ?)"
        self._database.execute(statement, batch.sealed())

    def _sort_batches(self) -> None:
        """Moves all batches into the tables, in the order of their coming, one fingerprint at a time."""
        rows = self._database.execute("SELECT fingerprint, texts, pairs, scores, seal FROM batches ORDER BY id")
        batches: dict[bytes, list[Batch]] = {}
        for batch in map(Batch.opened, rows):
            batches.setdefault(batch.fingerprint, []).append(batch)
        for fingerprint, group in batches.items():
            texts = [batch.texts[i : i + 16] for batch in group for i in range(0, len(batch.texts), 16)]
            starts = np.cumsum([0, *(len(batch.texts) // 16 for batch in group)])
            places = [np.frombuffer(batch.pairs, "<i4").reshape(-1, 2) for batch in group]
            pairs = np.concatenate([place + start for place, start in zip(places, starts, strict=False)])
            scores = np.frombuffer(b"".join(batch.scores for batch in group), "<f4")
            self._write(_request(fingerprint, texts, texts, pairs), scores)
        if batches:
            self._database.execute("DELETE FROM batches")

    def _write(self, request: _Request, scores: NDArray[np.float32]) -> None:
        fingerprint = self._registered("fingerprints", [request.fingerprint])[0]
        ids = self._registered("texts", request.texts)[request.pairs]
        bits = scores.view("<i4").astype(np.int64)
        seals = _score_seals(request, np.arange(len(bits)), bits)
        order = np.lexsort((ids[:, 1], ids[:, 0]))  # stable: of a pair that comes twice the first stays first
        rows = np.column_stack((ids, bits, seals))[order].tolist()
        statement = f"INSERT OR IGNORE INTO scores VALUES ({fingerprint}, ?, ?, ?, ?)"  # noqa: S608
        added = self._database.executemany(statement, rows).rowcount
        # What was there already is what `known` gives from now on, so it has to be sound.
        if added < len(rows) and np.isnan(self._read(request)).any():
            raise DamagedStoreError("a score that is stored is not found")

    def _read(self, request: _Request) -> NDArray[np.float32]:
        scores = np.full(len(request.pairs), np.nan, np.float32)
        fingerprint = self._ids("fingerprints", [request.fingerprint])[0]
        if fingerprint < 0:
            return scores
        ids = self._ids("texts", request.texts)[request.pairs]
        asked = np.flatnonzero((ids >= 0).all(axis=1))
        queries = np.unique(ids[asked, 0]).tolist()
        statement = (
            f"SELECT query, document, score, seal FROM scores WHERE fingerprint = {fingerprint} "  # noqa: S608
            "AND query IN ({}) ORDER BY query, document"
        )
        rows = integers(self._matching(statement, queries), 4)
        if not len(rows):
            return scores
        stored, keys = rows[:, 0] << 32 | rows[:, 1], ids[asked, 0] << 32 | ids[asked, 1]
        places = np.searchsorted(stored, keys).clip(max=len(stored) - 1)
        found = stored[places] == keys
        asked, bits, seals = asked[found], rows[places[found], 2], rows[places[found], 3]
        if (_score_seals(request, asked, bits) != seals).any():
            raise DamagedStoreError("the seal of a score does not fit")
        scores[asked] = bits.astype(np.int32).view(np.float32)
        return scores

    def _id(self, fingerprint: str) -> tuple[int]:
        return (int(self._ids("fingerprints", [_fingerprint_digest(fingerprint)])[0]),)

    def _ids(self, table: str, digests: list[bytes]) -> NDArray[np.int64]:
        """The integer of each digest; -1 where `table` has none."""
        places = {digest: place for place, digest in enumerate(digests)}
        statement = f"SELECT digest, id, seal FROM {table} WHERE digest IN ({{}})"  # noqa: S608
        rows = list(self._matching(statement, sorted(digests)))
        found = np.array([places.get(row[0], -1) for row in rows], np.int64)
        numbers = integers((row[1:] for row in rows), 2)
        if (found < 0).any() or (seal(numbers[:, 0], *halves(digests)[found].T) != numbers[:, 1]).any():
            raise DamagedStoreError("the seal of a digest does not fit")
        ids = np.full(len(digests), -1, np.int64)
        ids[found] = numbers[:, 0]
        return ids

    def _registered(self, table: str, digests: list[bytes]) -> NDArray[np.int64]:
        """The integer of each digest; `table` gets those that are new."""
        ids = self._ids(table, digests)
        new = sorted(np.flatnonzero(ids < 0).tolist(), key=digests.__getitem__)
        largest = int(self._rows(f"SELECT coalesce(max(id), 0) FROM {table}", 1)[0, 0])  # noqa: S608
        if not 0 <= largest < LARGEST_ID - len(new):
            raise DamagedStoreError(f"{largest} is not an id that the store gives")
        ids[new] = np.arange(largest + 1, largest + 1 + len(new))
        texts = [digests[i] for i in new]
        rows = zip(ids[new].tolist(), texts, seal(ids[new], *halves(texts).T).tolist(), strict=True)
        self._database.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows)  # noqa: S608
        return ids

    def _matching(self, statement: str, keys: Sequence[bytes | int]) -> Iterator[tuple[Any, ...]]:
        """The rows of `statement` for all keys, which go into its braces, some at a time."""
        parts = (keys[start : start + _KEYS] for start in range(0, len(keys), _KEYS))
        return chain.from_iterable(
            self._database.execute(statement.format(",".join("?" * len(part))), part) for part in parts
        )

    def _rows(self, statement: str, width: int, values: Sequence[int] = ()) -> NDArray[np.int64]:
        return integers(self._database.execute(statement, values), width)


def _fingerprint_digest(fingerprint: str) -> bytes:
    return Digest().add("fingerprint", fingerprint).bytes()


def _request(
    fingerprint: bytes, queries: Sequence[bytes], documents: Sequence[bytes], pairs: NDArray[np.int64]
) -> _Request:
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(f"pairs are {pairs.dtype} of shape {pairs.shape}; integers of shape (n, 2) are needed")
    places: dict[bytes, int] = {}
    columns = []
    for digests, column in zip((queries, documents), pairs.T, strict=True):
        used, inverse = np.unique(column, return_inverse=True)
        if len(used) and not 0 <= used[0] <= used[-1] < len(digests):
            raise ValueError(f"pairs point to {used[0]} … {used[-1]} of a list of {len(digests)} digests")
        index = [places.setdefault(digests[i], len(places)) for i in used.tolist()]
        columns.append(np.array(index, np.int64)[inverse])
    if not set(map(len, places)) <= {16}:
        raise ValueError("a digest is not 16 bytes long; query_digest and document_digest make them")
    return _Request(fingerprint, list(places), np.column_stack(columns))


def _score_seals(request: _Request, asked: NDArray[np.int64], bits: NDArray[np.int64]) -> NDArray[np.int64]:
    texts, (query, document) = halves(request.texts), request.pairs[asked].T
    return score_seal(halves([request.fingerprint]), texts[query], texts[document], bits)
