"""The file below the score store: schema, seals, journal, lock, what errors mean, and the way out of damage."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError
from ..files.digest import Digest

__all__ = [
    "FILE_ERRORS",
    "LARGEST_ID",
    "Batch",
    "DamagedStoreError",
    "connection",
    "explained",
    "file_identity",
    "halves",
    "integers",
    "journal_mode",
    "locked",
    "rebuild",
    "score_seal",
    "seal",
]

_VERSION = 1
_APPLICATION = 0x52485300
"""application_id is this number plus user_version: damage would have to change both alike to pass for a version."""

_SCHEMA = (
    "CREATE TABLE fingerprints (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, seal INTEGER NOT NULL)",
    "CREATE TABLE texts (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, seal INTEGER NOT NULL)",
    "CREATE TABLE scores (fingerprint INTEGER, query INTEGER, document INTEGER, score INTEGER NOT NULL, "  # noqa: ISC004
    "seal INTEGER NOT NULL, PRIMARY KEY (fingerprint, query, document)) WITHOUT ROWID",
    "CREATE TABLE batches (id INTEGER PRIMARY KEY, fingerprint BLOB NOT NULL, texts BLOB NOT NULL, "  # noqa: ISC004
    "pairs BLOB NOT NULL, scores BLOB NOT NULL, seal BLOB NOT NULL)",
)

LARGEST_ID = 2**31 - 1
"""Two ids fit side by side into 64 bits."""

_BUSY_SECONDS = 300.0
_CHUNK = 65536

_SUFFIXES = ("-journal", "-wal", "-shm", "")
"""A database's files, in the order of renaming: a kill in between leaves no journal to the wrong database."""

_LOCAL = {
    "apfs", "aufs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuse.fuse-overlayfs", "fuseblk",
    "hfs", "jfs", "nilfs2", "ntfs3", "overlay", "ramfs", "reiserfs", "tmpfs", "vfat", "xfs", "zfs",
}  # fmt: skip
"""File systems of one machine, where the shared memory that WAL needs is truly shared."""

_WAY_OUT = "set RERANK_HARNESS_CACHE to a folder on a local disk that can be written"

_SURROUNDINGS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk or its quota refuses",
    sqlite3.SQLITE_READONLY: "it can only be read",
    sqlite3.SQLITE_PERM: "it can only be read",
    sqlite3.SQLITE_AUTH: "it can only be read",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_BUSY: "another process has held it for too long",
    sqlite3.SQLITE_LOCKED: "another process has held it for too long",
    sqlite3.SQLITE_PROTOCOL: "its file system does not lock files",
    sqlite3.SQLITE_NOLFS: "its file system has a limit on the size of files",
    sqlite3.SQLITE_NOMEM: "memory is exhausted",
}
"""SQLite's primary codes for causes outside the file's content; every other code means damage."""


FILE_ERRORS = (sqlite3.Error, OSError, UnicodeDecodeError)
"""What a bad file or disk can raise; the last where SQLite's message quotes a damaged schema."""


class DamagedStoreError(Exception):
    """The content of the store cannot be trusted."""


def explained(error: sqlite3.Error | OSError | UnicodeDecodeError, path: Path) -> Exception:
    """What `error` means for the store at `path`: a HarnessError, a DamagedStoreError, or `error` itself.

    The store's statements are fixed, so an SQL error that the surroundings do not explain (a missing
    table, a broken constraint, "malformed", "not a database") is damage. Errors that Python's sqlite3
    raises on its own, such as the use of a closed store, are defects of the caller and stay.
    """
    if isinstance(error, OSError):
        return HarnessError(f"the score store {path} cannot be used: {error.strerror} ({path.parent}); {_WAY_OUT}")
    if isinstance(error, UnicodeDecodeError):
        return DamagedStoreError("its schema is broken")
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return error
    cause = _SURROUNDINGS.get(code & 0xFF)
    if cause is None or (code == sqlite3.SQLITE_READONLY and _writable(path)):
        return DamagedStoreError(str(error))
    kept = f"{_free(path.parent)}; what was committed before is kept; free some space, or {_WAY_OUT}"
    rest = kept if code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) else f"; {_WAY_OUT}"
    return HarnessError(f"the score store {path} cannot be used: {cause} ({error}), in the folder {path.parent}{rest}")


def _writable(path: Path) -> bool:
    """Whether the system lets us write `path`: SQLite also reads a file's header for it, which may be damaged."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _free(folder: Path) -> str:
    try:
        return f", {shutil.disk_usage(folder).free / 2**20:,.0f} MiB free on its disk"
    except OSError:
        return ""


def journal_mode(folder: Path, mounts: str) -> str:
    """`WAL` where `folder` is on a local disk, else `DELETE`.

    `mounts` is the content of /proc/mounts. WAL keeps an index in memory that every process maps,
    which no network file system shares between machines (sqlite.org/wal.html); the rollback journal
    needs no more than locks. A file system that is not known to be local (nfs, cifs, 9p, lustre,
    gpfs, fuse.sshfs, virtiofs, …), or no /proc/mounts, gets the rollback journal, which is safe anywhere.
    """
    where = folder.resolve()
    nearest, kind = Path(), ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1]))
        if where.is_relative_to(point) and len(point.parts) >= len(nearest.parts):
            nearest, kind = point, fields[2]
    return "WAL" if kind in _LOCAL else "DELETE"


@contextlib.contextmanager
def locked(lock: int, operation: int, path: Path) -> Iterator[None]:
    """Holds `lock`, the descriptor of the lock file of the store at `path`, by flock's LOCK_SH or LOCK_EX."""
    try:
        fcntl.flock(lock, operation)
    except OSError as error:
        raise explained(error, path) from error
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


def file_identity(path: Path) -> tuple[int, int] | None:
    """Device and inode of `path`; None where there is no such file."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _rename(path: Path, target: Path) -> None:
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{target}{suffix}")


def connection(path: Path) -> sqlite3.Connection:
    """The database at `path`, checked, and set up where it is new. The caller holds the lock alone.

    Raises HarnessError or DamagedStoreError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            _set_up(database, path)
        except BaseException:
            database.close()
            raise
    except FILE_ERRORS as error:
        raise explained(error, path) from error
    return database


def _set_up(database: sqlite3.Connection, path: Path) -> None:
    database.text_factory = bytes  # no column is text; damage may claim so
    version, application = (_pragma(database, name) for name in ("user_version", "application_id"))
    schema = [sql for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL")]
    if (version or application or schema) and application != _APPLICATION + version:
        raise DamagedStoreError("it is not a score store")
    if version > _VERSION:
        raise HarnessError(
            f"the score store {path} was written by a newer version of the harness (schema {version}; this one knows "
            f"{_VERSION}): upgrade rerank-harness, or set RERANK_HARNESS_CACHE to another folder"
        )
    database.execute(f"PRAGMA journal_mode = {journal_mode(path.parent, _mounts())}")
    database.execute("PRAGMA synchronous = EXTRA")
    database.execute("PRAGMA cell_size_check = ON")
    database.execute("PRAGMA cache_size = -65536")  # KiB
    database.execute("PRAGMA wal_autocheckpoint = 4096")  # pages
    database.execute("BEGIN IMMEDIATE")
    if version:
        database.execute("DELETE FROM batches WHERE 0")  # says now, not after an hour of scoring, if it is read-only
    else:
        for statement in _SCHEMA:
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {_VERSION}")
        database.execute(f"PRAGMA application_id = {_APPLICATION + _VERSION}")
    database.execute("COMMIT")
    if version and (schema != [sql.encode() for sql in _SCHEMA] or _pragma(database, "quick_check(1)") != b"ok"):
        raise DamagedStoreError("its structure is broken")


def _pragma(database: sqlite3.Connection, name: str) -> Any:
    return database.execute(f"PRAGMA {name}").fetchone()[0]


def _mounts() -> str:
    try:
        return Path("/proc/mounts").read_text(errors="surrogateescape")
    except OSError:
        return ""


def integers(rows: Iterable[Sequence[int]], width: int) -> NDArray[np.int64]:
    """Rows of a query as an array of shape (n, width). Raises DamagedStoreError where one is no integer."""
    try:
        return np.fromiter(chain.from_iterable(rows), np.int64).reshape(-1, width)
    except (TypeError, ValueError, OverflowError) as error:
        raise DamagedStoreError(f"a number is not a number ({error})") from error


def halves(digests: Sequence[bytes]) -> NDArray[np.uint64]:
    """Digests of 16 bytes each as numbers, shape (n, 2)."""
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)


def seal(*columns: NDArray[np.int64] | NDArray[np.uint64]) -> NDArray[np.int64]:
    """32 bits (signed) for each row, mixed from its columns in their order.

    The mixer is the finalizer of splitmix64 (Steele, Lea and Flood, 2014, variant 13 of Stafford's),
    once for each column, so that every bit of every column reaches every bit of the seal.
    """
    state = np.full(np.broadcast_shapes(*(column.shape for column in columns)), 0x9E3779B97F4A7C15, np.uint64)
    for column in columns:
        state ^= column.view(np.uint64)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state.astype(np.uint32).view(np.int32).astype(np.int64)


def score_seal(
    fingerprint: NDArray[np.uint64], query: NDArray[np.uint64], document: NDArray[np.uint64], bits: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The seals of scores: of digests, shapes (1 or n, 2), (n, 2), (n, 2), and score bits, shape (n,).

    Digests and not ids: where damage changes which text an id stands for, the seal does not fit either.
    """
    return seal(*fingerprint.T, *query.T, *document.T, bits)


class _Digests(NamedTuple):
    ids: NDArray[np.int64]
    """Shape (n,), ascending."""
    halves: NDArray[np.uint64]
    """Shape (n, 2)."""


class Batch(NamedTuple):
    """What one `add` was given, as a row of `batches` keeps it."""

    fingerprint: bytes
    texts: bytes
    """16-byte digests, one after the other."""
    pairs: bytes
    """Little-endian int32, shape (n, 2): query and document, places in `texts`."""
    scores: bytes
    """Little-endian float32, shape (n,)."""

    def sealed(self) -> tuple[bytes, ...]:
        """The batch with its seal, a digest of all it says."""
        return (*self, Digest().add(*self).bytes())

    @classmethod
    def opened(cls, row: tuple[Any, ...]) -> Batch:
        """The batch of a sealed row. Raises DamagedStoreError where its seal does not fit."""
        if any(not isinstance(value, bytes) for value in row) or cls(*row[:4]).sealed() != row:
            raise DamagedStoreError("the seal of a batch does not fit")
        return cls(*row[:4])


def rebuild(path: Path) -> tuple[Path, int]:
    """Puts a new file in the place of the damaged one, with all that can be read there and is sealed.

    The new name of the damaged file, and how many scores were taken over. The damaged file stays where
    it is until the new one is whole, so a kill or a full disk costs nothing. The caller holds the lock
    alone. Raises HarnessError.
    """
    new, aside = (
        path.with_name(f"{path.name}.{end}") for end in ("new", f"damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    )
    try:
        for suffix in _SUFFIXES:
            Path(f"{new}{suffix}").unlink(missing_ok=True)
        with contextlib.closing(connection(new)) as database:
            saved = _take_over(path, database)
        _rename(path, aside)
        _rename(new, path)
    except FILE_ERRORS as error:
        raise explained(error, path) from error
    return aside, saved


def _take_over(path: Path, database: sqlite3.Connection) -> int:
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as damaged:
        damaged.text_factory = bytes
        database.execute("BEGIN IMMEDIATE")
        fingerprints, texts = (_take_over_digests(name, damaged, database) for name in ("fingerprints", "texts"))
        saved = _take_over_batches(damaged, database)
        for i in range(len(fingerprints.ids)):
            fingerprint = _Digests(fingerprints.ids[[i]], fingerprints.halves[[i]])
            saved += _take_over_scores(fingerprint, texts, damaged, database)
        database.execute("COMMIT")
    return saved


def _take_over_digests(table: str, damaged: sqlite3.Connection, database: sqlite3.Connection) -> _Digests:
    rows = _readable(damaged, f"SELECT id, digest, seal FROM {table} WHERE id >= ? ORDER BY id", LARGEST_ID)  # noqa: S608
    while chunk := list(islice(rows, _CHUNK)):
        whole = [row for row in chunk if [type(value) for value in row] == [int, bytes, int] and len(row[1]) == 16]
        seals = seal(integers(((row[0],) for row in whole), 1)[:, 0], *halves([row[1] for row in whole]).T)
        sealed = (row for row, right in zip(whole, seals.tolist(), strict=True) if row[2] == right)
        database.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?, ?, ?)", sealed)  # noqa: S608
    kept = database.execute(f"SELECT id, digest FROM {table} ORDER BY id").fetchall()  # noqa: S608
    return _Digests(np.array([row[0] for row in kept], np.int64), halves([row[1] for row in kept]))


def _take_over_scores(
    fingerprint: _Digests, texts: _Digests, damaged: sqlite3.Connection, database: sqlite3.Connection
) -> int:
    if not len(texts.ids):
        return 0
    (key,), saved = fingerprint.ids.tolist(), 0
    sql = f"SELECT query, document, score, seal FROM scores WHERE fingerprint = {key} AND query >= ? ORDER BY query"  # noqa: S608
    rows = _readable(damaged, sql, int(texts.ids[-1]))
    while chunk := list(islice(rows, _CHUNK)):
        numbers = integers((row for row in chunk if all(type(value) is int for value in row)), 4)
        places = np.searchsorted(texts.ids, numbers[:, :2]).clip(max=len(texts.ids) - 1)
        query, document = texts.halves[places[:, 0]], texts.halves[places[:, 1]]
        right = score_seal(fingerprint.halves, query, document, numbers[:, 2]) == numbers[:, 3]
        right &= (texts.ids[places] == numbers[:, :2]).all(axis=1)
        statement = f"INSERT OR IGNORE INTO scores VALUES ({key}, ?, ?, ?, ?)"  # noqa: S608
        saved += database.executemany(statement, numbers[right].tolist()).rowcount
    return saved


def _take_over_batches(damaged: sqlite3.Connection, database: sqlite3.Connection) -> int:
    saved = 0
    columns = "id, fingerprint, texts, pairs, scores, seal"
    for row in _readable(damaged, f"SELECT {columns} FROM batches WHERE id >= ? ORDER BY id", LARGEST_ID):  # noqa: S608
        with contextlib.suppress(DamagedStoreError):
            saved += len(Batch.opened(row[1:]).scores) // 4
            database.execute("INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?, ?, ?)", row)
    return saved


def _readable(database: sqlite3.Connection, sql: str, last: int) -> Iterator[tuple[Any, ...]]:
    """The rows of `sql`, whose first column is the key it starts at, up to `last`.

    Where reading fails it goes on behind the last key, 1, 2, 4, … further, until a row can be read.
    """
    key, step = 0, 1
    while key <= last:
        try:
            for row in database.execute(sql, (key,)):
                yield row
                if isinstance(row[0], int) and key < row[0] <= last:
                    key = row[0]
                step = 1
        except (sqlite3.Error, UnicodeDecodeError):
            key, step = key + step, 2 * step
        else:
            return
