"""Scores on disk, keyed by content: what was scored once is never scored again.

A score belongs to a fingerprint (which model, rendered how) and to the digests of a query and a
document. One SQLite file holds them in three tables: `fingerprints` and `texts` give a small integer
to a digest, and `scores` has one row (fingerprint, query, document, score) for each pair, clustered by
this key, so that all candidates of a query lie side by side.

What is written survives: each `add` is one transaction, synced to the disk before it returns
(synchronous = EXTRA: neither kill -9 nor a power cut loses it; NORMAL would survive the first only).
The journal is WAL on a local disk and DELETE on a network file system (see `journal_mode`).

What is read is right: scores are kept as the bits of a float32, and every row carries a seal, 32 bits
mixed from all it says, digests included. A row whose seal does not fit is not a score. A damaged file
is renamed aside, a new one is begun, and all rows that can still be read and whose seals fit are
taken over.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._store_files import (
    LARGEST_ID,
    DamagedStoreError,
    connection,
    explained,
    file_identity,
    halves,
    integers,
    locked,
    move_aside,
    score_seal,
    seal,
    take_over,
)
from .digest import Digest
from .errors import HarnessError
from .types import DocumentText, QueryText

__all__ = ["ScoreStore", "document_digest", "query_digest"]

_T = TypeVar("_T")


def query_digest(query: QueryText) -> bytes:
    """16 bytes that stand for (text, instruction)."""
    return Digest().add("query", query.text, query.instruction).bytes()


def document_digest(document: DocumentText) -> bytes:
    """16 bytes that stand for (title, text)."""
    return Digest().add("document", document.title, document.text).bytes()


class _Request(NamedTuple):
    """Arguments that were checked: only the texts that `pairs` uses, each digest once."""

    fingerprint: bytes
    texts: list[bytes]
    pairs: NDArray[np.int64]
    """(n, 2): query and document, both into `texts`."""


class ScoreStore:
    """The scores of every reranker in one file; several processes may use it at once.

    `path` is created where it is missing, with its folder. `report` is told, in one line, when a
    damaged file was set aside; the default writes to the log. To be used from one thread.

    Raises HarnessError where the folder or the file cannot be written, the disk is full, another
    process blocks the store for a minute, or a newer version of the harness wrote it (such a store is
    not touched).
    """

    def __init__(self, path: Path, *, report: Callable[[str], None] = logging.getLogger(__name__).warning) -> None:
        self._path = path.absolute()
        self._report = report
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise explained(error, self._path) from error
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
        request = _request(fingerprint, queries, documents, pairs)
        return self._run("BEGIN", lambda: self._read(request))

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
        request = _request(fingerprint, queries, documents, pairs)
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
        self._run("BEGIN IMMEDIATE", lambda: self._write(request, scores))

    def forget(self, fingerprint: str) -> int:
        """Removes all scores of `fingerprint`; how many there were. The texts' integers stay."""

        def remove() -> int:
            key = int(self._ids("fingerprints", [_fingerprint_digest(fingerprint)])[0])
            return self._database.execute("DELETE FROM scores WHERE fingerprint = ?", (key,)).rowcount

        return self._run("BEGIN IMMEDIATE", remove)

    def count(self, fingerprint: str | None = None) -> int:
        """How many scores there are, of `fingerprint` or in all."""

        def number() -> int:
            where = ""
            if fingerprint is not None:
                where = f" WHERE fingerprint = {self._ids('fingerprints', [_fingerprint_digest(fingerprint)])[0]}"
            return int(self._rows(f"SELECT count(*) FROM scores{where}", 1)[0, 0])  # noqa: S608

        return self._run("BEGIN", number)

    def _run(self, begin: str, work: Callable[[], _T]) -> _T:
        """The result of `work` in a transaction; after damage, once more on the new file."""
        damage: DamagedStoreError | None = None
        for _ in range(3):
            with locked(self._lock, fcntl.LOCK_SH):
                # A file that another process has set aside, or a user removed, must get no more rows.
                if file_identity(self._path) == self._identity:
                    try:
                        return self._transaction(begin, work)
                    except DamagedStoreError as error:
                        damage = error
            self._database.close()
            self._database, self._identity = self._open(damage)
        raise HarnessError(f"the score store {self._path} is damaged again and again ({damage}): check its disk")

    def _transaction(self, begin: str, work: Callable[[], _T]) -> _T:
        try:
            self._database.execute(begin)
            result = work()
            self._database.execute("COMMIT")
        except BaseException as error:
            with contextlib.suppress(sqlite3.Error):
                self._database.rollback()
            if isinstance(error, sqlite3.Error):
                raise explained(error, self._path) from error
            raise
        return result

    def _open(self, damage: DamagedStoreError | None) -> tuple[sqlite3.Connection, tuple[int, int] | None]:
        """The file at the path, checked, and its identity; a new file where it is damaged.

        `damage` is what was found in the file that was open; another process may have set it aside since.
        """
        with locked(self._lock, fcntl.LOCK_EX):
            if damage is None or file_identity(self._path) != self._identity:
                try:
                    return connection(self._path), file_identity(self._path)
                except DamagedStoreError as error:
                    damage = error
            aside = move_aside(self._path)
            database = connection(self._path)
            saved = take_over(aside, database)
            identity = file_identity(self._path)
        self._report(
            f"the score store {self._path} was damaged ({damage}) and is set aside as {aside.name}; "
            f"{saved:,} scores were taken over from it, the others will be scored again"
        )
        return database, identity

    def _read(self, request: _Request) -> NDArray[np.float32]:
        scores = np.full(len(request.pairs), np.nan, np.float32)
        fingerprint = int(self._ids("fingerprints", [request.fingerprint])[0])
        ids = self._ids("texts", request.texts)[request.pairs]
        asked = np.flatnonzero((ids >= 0).all(axis=1))
        self._want(np.unique(ids[asked, 0]).tolist())
        rows = self._rows(
            "SELECT query, document, score, scores.seal FROM wanted CROSS JOIN scores "
            f"ON scores.fingerprint = {fingerprint} AND query = key ORDER BY place, document",
            4,
        )
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

    def _write(self, request: _Request, scores: NDArray[np.float32]) -> None:
        fingerprint = int(self._registered("fingerprints", [request.fingerprint])[0])
        ids = self._registered("texts", request.texts)[request.pairs]
        bits = np.ascontiguousarray(scores).view(np.int32).astype(np.int64)
        seals = _score_seals(request, np.arange(len(bits)), bits)
        order = np.lexsort((ids[:, 1], ids[:, 0]))  # stable: of a pair named twice the first stays first
        rows = np.column_stack((ids, bits, seals))[order].tolist()
        statement = f"INSERT OR IGNORE INTO scores VALUES ({fingerprint}, ?, ?, ?, ?)"  # noqa: S608
        added = self._database.executemany(statement, rows).rowcount
        # What was there already is what `known` gives from now on, so it has to be sound.
        if added < len(rows) and np.isnan(self._read(request)).any():
            raise DamagedStoreError("a score that is stored is not found")

    def _ids(self, table: str, digests: Sequence[bytes]) -> NDArray[np.int64]:
        """The integer of each digest; -1 where `table` has none."""
        order = sorted(range(len(digests)), key=digests.__getitem__)
        self._want(digests[i] for i in order)
        rows = self._rows(f"SELECT place, id, seal FROM wanted CROSS JOIN {table} ON digest = key", 3)  # noqa: S608
        found = np.array(order, np.int64)[rows[:, 0] - 1]
        if (seal(rows[:, 1], *halves(digests)[found].T) != rows[:, 2]).any():
            raise DamagedStoreError("the seal of a digest does not fit")
        ids = np.full(len(digests), -1, np.int64)
        ids[found] = rows[:, 1]
        return ids

    def _registered(self, table: str, digests: Sequence[bytes]) -> NDArray[np.int64]:
        """The integer of each digest; `table` gets those that are new."""
        ids = self._ids(table, digests)
        new = np.flatnonzero(ids < 0)
        if not len(new):
            return ids
        largest = int(self._rows(f"SELECT coalesce(max(id), 0) FROM {table}", 1)[0, 0])  # noqa: S608
        if not 0 <= largest < LARGEST_ID - len(new):
            raise DamagedStoreError(f"{largest} is not an id that the store gives")
        ids[new] = np.arange(largest + 1, largest + 1 + len(new))
        texts = [digests[i] for i in new]
        rows = zip(ids[new].tolist(), texts, seal(ids[new], *halves(texts).T).tolist(), strict=True)
        self._database.executemany(f"INSERT INTO {table} VALUES (?, ?, ?)", rows)  # noqa: S608
        return ids

    def _want(self, keys: Iterable[bytes | int]) -> None:
        """Puts `keys` into the temporary table `wanted`, which the next statement joins."""
        self._database.execute("DELETE FROM wanted")
        self._database.executemany("INSERT INTO wanted (key) VALUES (?)", ((key,) for key in keys))

    def _rows(self, sql: str, width: int) -> NDArray[np.int64]:
        return integers(self._database.execute(sql), width)


def _fingerprint_digest(fingerprint: str) -> bytes:
    return Digest().add("fingerprint", fingerprint).bytes()


def _request(
    fingerprint: str, queries: Sequence[bytes], documents: Sequence[bytes], pairs: NDArray[np.int64]
) -> _Request:
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(f"pairs are {pairs.dtype} of shape {pairs.shape}; integers of shape (n, 2) are needed")
    places: dict[bytes, int] = {}
    columns = []
    for digests, column in zip((queries, documents), pairs.T, strict=True):
        used, inverse = np.unique(column, return_inverse=True)
        if len(used) and not 0 <= used[0] <= used[-1] < len(digests):
            raise ValueError(f"pairs point to {used[0]} … {used[-1]} of a list of {len(digests)} digests")
        index = [places.setdefault(digests[i], len(places)) for i in used]
        columns.append(np.array(index, np.int64)[inverse])
    if any(len(digest) != 16 for digest in places):
        raise ValueError("a digest is not 16 bytes long; query_digest and document_digest make them")
    return _Request(_fingerprint_digest(fingerprint), list(places), np.column_stack(columns))


def _score_seals(request: _Request, asked: NDArray[np.int64], bits: NDArray[np.int64]) -> NDArray[np.int64]:
    texts, (query, document) = halves(request.texts), request.pairs[asked].T
    return score_seal(halves([request.fingerprint]), texts[query], texts[document], bits)
