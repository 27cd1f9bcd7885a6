"""The score store: bits, damage, kills, crowds, and disks that refuse."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from harness.engine.store import ScoreStore, document_digest, query_digest
from harness.engine.store_files import journal_mode
from harness.errors import HarnessError
from harness.types import DocumentText, QueryText

ROOT = Path(__file__).resolve().parents[2]
QUERIES = [query_digest(QueryText(f"query {i}")) for i in range(40)]
DOCUMENTS = [document_digest(DocumentText("", f"document {i}")) for i in range(900)]
GRID = np.array([(q, d) for q in range(40) for d in range(q, q + 300)])
"""12,000 pairs."""


def scores_of(pairs, salt=0):
    """A score for each pair that no two pairs are likely to share."""
    bits = (pairs[:, 0] * 2654435761 + pairs[:, 1] * 40503 + salt * 97) % 2**22
    return (bits / 2**20 - 2).astype(np.float32)


def same_bits(left, right):
    return left.dtype == right.dtype == np.float32 and (left.view(np.int32) == right.view(np.int32)).all()


@functools.cache
def content_of_a_store(settled):
    """The bytes of a closed store with all pairs of GRID, added in an order that mixes queries."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.sqlite"
        with ScoreStore(path) as store:
            for part in np.array_split(np.random.default_rng(1).permutation(len(GRID)), 6):
                store.add("model", QUERIES, DOCUMENTS, GRID[part], scores_of(GRID[part]))
            if settled:
                store.count()
        return path.read_bytes()


def filled(folder, *, settled=True):
    path = folder / "scores.sqlite"
    folder.mkdir(exist_ok=True)
    path.write_bytes(content_of_a_store(settled))
    return path


def python(code, *arguments, **options):
    """A real process that runs `code` with the helpers of this module at hand."""
    head = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'tests')!r}]\nfrom engine.test_store import *\n"
    command = [sys.executable, "-c", head + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def said(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


# What is kept


def test_scores_come_back_to_the_bit_and_unknown_pairs_as_nan(tmp_path):
    tricky = np.array([0.0, -0.0, 1e-45, -3.4028235e38, 0.1, np.nextafter(np.float32(1), np.float32(2))], np.float32)
    pairs = np.array([(0, i) for i in range(len(tricky))])
    with ScoreStore(tmp_path / "new" / "folder" / "scores.sqlite") as store:
        store.add("model", QUERIES, DOCUMENTS, pairs, tricky)
        asked = np.concatenate([pairs[::-1], [(1, 0), (0, 99), (39, 899)]])
        found = store.known("model", QUERIES, DOCUMENTS, asked)
        assert same_bits(found[:6], tricky[::-1].copy())
        assert np.isnan(found[6:]).all()
    with ScoreStore(tmp_path / "new" / "folder" / "scores.sqlite") as store:
        assert same_bits(store.known("model", QUERIES, DOCUMENTS, pairs), tricky)


def test_many_batches_in_any_order_come_back_in_the_order_asked(tmp_path):
    order = np.random.default_rng(2).permutation(len(GRID))
    for settled in (False, True):
        folder = tmp_path / str(settled)
        with ScoreStore(filled(folder, settled=settled)) as store:
            assert same_bits(store.known("model", QUERIES, DOCUMENTS, GRID[order]), scores_of(GRID[order]))
            assert store.count() == store.count("model") == len(GRID)


def test_a_store_that_sorts_its_batches_while_adding_loses_none(tmp_path):
    documents = [document_digest(DocumentText("t", str(i))) for i in range(9000)]
    pairs = np.array([(q, d) for q in range(40) for d in range(9000)])
    pairs = pairs[np.random.default_rng(3).permutation(len(pairs))]
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        for part in np.array_split(pairs, 20):
            store.add("model", QUERIES, documents, part, scores_of(part))
    with contextlib.closing(sqlite3.connect(tmp_path / "scores.sqlite")) as database:
        assert 0 < database.execute("SELECT count(*) FROM scores").fetchone()[0] < len(pairs)
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        assert same_bits(store.known("model", QUERIES, documents, pairs), scores_of(pairs))
        assert store.count() == len(pairs)


def test_another_fingerprint_or_another_text_has_no_score(tmp_path):
    with ScoreStore(filled(tmp_path)) as store:
        assert np.isnan(store.known("other", QUERIES, DOCUMENTS, GRID)).all()
        changed = [document_digest(DocumentText("", f"document {i}.")) for i in range(900)]
        assert np.isnan(store.known("model", QUERIES, changed, GRID)).all()
        assert np.isnan(store.known("model", DOCUMENTS, QUERIES, GRID[:1, ::-1])).all()


def test_the_fields_and_the_kind_of_a_text_are_kept_apart_in_its_digest():
    digests = [
        query_digest(QueryText("ab", "c")),
        query_digest(QueryText("a", "bc")),
        query_digest(QueryText("abc")),
        document_digest(DocumentText("ab", "c")),
        document_digest(DocumentText("a", "bc")),
        document_digest(DocumentText("", "abc")),
        document_digest(DocumentText("abc", "")),
    ]
    assert len(set(digests)) == len(digests)
    assert {len(digest) for digest in digests} == {16}


@pytest.mark.parametrize("settled", [False, True])
def test_the_first_score_of_a_pair_stays(tmp_path, settled):
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        store.add("model", QUERIES, DOCUMENTS, np.array([(0, 0), (0, 0)]), np.array([1, 2], np.float32))
        if settled:
            store.count()
        store.add("model", QUERIES, DOCUMENTS, np.array([(0, 0), (0, 1)]), np.array([3, 4], np.float32))
        assert store.known("model", QUERIES, DOCUMENTS, np.array([(0, 0), (0, 1)])).tolist() == [1, 4]
        assert store.count() == 2


def test_the_same_text_twice_in_a_list_is_one_text(tmp_path):
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        twice = [DOCUMENTS[0], DOCUMENTS[0]]
        store.add("model", QUERIES, twice, np.array([(0, 0), (0, 1)]), np.array([1, 2], np.float32))
        assert store.count() == 1
        assert store.known("model", QUERIES, twice, np.array([(0, 1), (0, 0)])).tolist() == [1, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_refused_and_nothing_is_written(tmp_path, bad):
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        with pytest.raises(ValueError, match=r"pair 2 \(query 1, document 7\)"):
            store.add(
                "model", QUERIES, DOCUMENTS, np.array([(0, 0), (0, 1), (1, 7)]), np.array([1, 2, bad], np.float32)
            )
        assert store.count() == 0


def test_arguments_that_could_be_misread_are_refused(tmp_path):
    one, pair = np.array([1], np.float32), np.array([(0, 0)])
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        for arguments in [
            (QUERIES, DOCUMENTS, np.array([(-1, 0)]), one),
            (QUERIES, DOCUMENTS, np.array([(0, 900)]), one),
            (QUERIES, DOCUMENTS, np.array([(0.0, 0.0)]), one),
            (QUERIES, DOCUMENTS, np.array([0, 0]), one),
            (QUERIES, DOCUMENTS, pair, np.array([1.0])),
            (QUERIES, DOCUMENTS, pair, np.array([1, 2], np.float32)),
            (QUERIES, DOCUMENTS, pair, np.array([[1]], np.float32)),
            ([b"short"], DOCUMENTS, pair, one),
        ]:
            with pytest.raises(ValueError):
                store.add("model", *arguments)
        assert store.count() == 0


def test_no_pairs_are_no_trouble(tmp_path):
    none = np.empty((0, 2), np.int64)
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        store.add("model", [], [], none, np.empty(0, np.float32))
        assert store.known("model", QUERIES, DOCUMENTS, none).shape == (0,)
        assert store.count() == 0


def test_a_forgotten_fingerprint_leaves_the_others(tmp_path):
    with ScoreStore(filled(tmp_path, settled=False)) as store:
        store.add("plug-in", QUERIES, DOCUMENTS, GRID[:10], scores_of(GRID[:10]))
        assert (store.count("plug-in"), store.count()) == (10, len(GRID) + 10)
        assert store.forget("plug-in") == 10
        assert store.forget("plug-in") == store.forget("never there") == 0
        assert np.isnan(store.known("plug-in", QUERIES, DOCUMENTS, GRID[:10])).all()
        assert same_bits(store.known("model", QUERIES, DOCUMENTS, GRID), scores_of(GRID))


# Damage


def right_or_missing(store):
    """How many scores of GRID the store still has; every one it gives is right."""
    found = store.known("model", QUERIES, DOCUMENTS, GRID)
    there = ~np.isnan(found)
    assert same_bits(found[there], scores_of(GRID)[there])
    return int(there.sum())


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_damage_anywhere_never_gives_a_wrong_score(tmp_path, seed, settled):
    path = filled(tmp_path, settled=settled)
    rng = np.random.default_rng([seed, settled])
    content = bytearray(path.read_bytes())
    start, length = int(rng.integers(len(content))), int(rng.integers(1, 65))
    content[start : start + length] = rng.bytes(min(length, len(content) - start))
    path.write_bytes(content)
    lines = []
    with ScoreStore(path, report=lines.append) as store:
        right_or_missing(store)
        store.add("model", QUERIES, DOCUMENTS, GRID, scores_of(GRID))
        assert right_or_missing(store) == len(GRID)
    asides = {found.name.removesuffix("-wal").removesuffix("-shm") for found in tmp_path.glob("*.damaged-*")}
    assert len(lines) == len(asides)
    again = []
    with ScoreStore(path, report=again.append) as store:
        assert right_or_missing(store) == len(GRID)
    assert again == []


@pytest.mark.parametrize("seed", range(6))
def test_damage_to_an_open_store_never_gives_a_wrong_score(tmp_path, seed):
    path = filled(tmp_path)
    rng = np.random.default_rng(seed)
    with ScoreStore(path, report=lambda line: None) as store, path.open("r+b") as file:
        for _ in range(30):
            file.seek(int(rng.integers(path.stat().st_size)))
            file.write(rng.bytes(64))
        file.flush()
        right_or_missing(store)
        store.add("model", QUERIES, DOCUMENTS, GRID, scores_of(GRID))
        assert right_or_missing(store) == len(GRID)


@pytest.mark.parametrize("seed", range(6))
def test_damage_to_the_journal_of_a_killed_process_never_gives_a_wrong_score(tmp_path, seed):
    with ScoreStore(filled(tmp_path, settled=False)) as store:
        store.count()
        if not (tmp_path / "scores.sqlite-wal").exists():
            pytest.skip("the journal is WAL on a local disk only")
        copies = [tmp_path / "copy" / f"scores.sqlite{end}" for end in ("", "-wal")]
        copies[0].parent.mkdir()
        for copy in copies:
            copy.write_bytes((tmp_path / copy.name).read_bytes())
    content = bytearray(copies[1].read_bytes())
    rng = np.random.default_rng(seed)
    start = int(rng.integers(len(content)))
    content[start : start + 64] = rng.bytes(64)
    copies[1].write_bytes(content[: start + 64 * 10**seed])
    with ScoreStore(copies[0], report=lambda line: None) as store:
        right_or_missing(store)
        store.add("model", QUERIES, DOCUMENTS, GRID, scores_of(GRID))
        assert right_or_missing(store) == len(GRID)


def test_no_byte_of_the_header_can_lead_astray(tmp_path):
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        store.add("model", QUERIES, DOCUMENTS, GRID[:100], scores_of(GRID[:100]))
        store.count()
    content = (tmp_path / "scores.sqlite").read_bytes()
    for place in range(100):
        for change in (1, 130):
            copy = tmp_path / f"{place} {change}" / "scores.sqlite"
            copy.parent.mkdir()
            copy.write_bytes(content[:place] + bytes([content[place] ^ change]) + content[place + 1 :])
            with ScoreStore(copy, report=lambda line: None) as store:
                found = store.known("model", QUERIES, DOCUMENTS, GRID[:100])
                assert same_bits(found[~np.isnan(found)], scores_of(GRID[:100])[~np.isnan(found)])


def test_a_destroyed_page_costs_its_own_scores_and_no_others(tmp_path):
    path = filled(tmp_path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = np.random.default_rng(0).bytes(4096)
    path.write_bytes(content)
    lines = []
    with ScoreStore(path, report=lines.append) as store:
        saved = right_or_missing(store)
    assert 0.9 * len(GRID) < saved < len(GRID)
    (line,) = lines
    (aside,) = tmp_path.glob("*.damaged-*Z")
    assert aside.name in line
    assert f"{saved:,} scores were taken over" in line
    assert "\n" not in line
    assert aside.read_bytes() == content


A_ROW = "WHERE (query, document) = (SELECT query, document FROM scores ORDER BY query, document LIMIT 1)"


@pytest.mark.parametrize(
    ("statement", "left", "noticed"),
    [
        (f"UPDATE scores SET score = score + 1 {A_ROW}", 11_999, True),
        (f"UPDATE scores SET seal = seal + 1 {A_ROW}", 11_999, True),
        (f"UPDATE scores SET score = 'text' {A_ROW}", 11_999, True),
        (f"UPDATE scores SET score = x'ff' {A_ROW}", 11_999, True),
        (f"UPDATE scores SET score = 0.5 {A_ROW}", 11_999, True),
        (f"UPDATE scores SET document = 5000000 {A_ROW}", 11_999, False),  # nobody asks for such a row
        (f"DELETE FROM scores {A_ROW}", 11_999, False),
        ("UPDATE texts SET seal = 0 WHERE id = (SELECT min(query) FROM scores)", 11_700, True),
        ("UPDATE fingerprints SET seal = 0", 0, True),
        ("DROP TABLE texts", 0, True),
        ("DROP TABLE batches", 12_000, True),
    ],
)
def test_a_row_that_was_changed_behind_our_back_gives_no_score(tmp_path, statement, left, noticed):
    path = filled(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)
    lines = []
    with ScoreStore(path, report=lines.append) as store:
        assert right_or_missing(store) == left
        assert len(lines) == noticed
        store.add("model", QUERIES, DOCUMENTS, GRID, scores_of(GRID))
        assert right_or_missing(store) == len(GRID)


def test_texts_that_swapped_their_integers_are_noticed(tmp_path):
    path = filled(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        (one, first), (two, second) = database.execute("SELECT id, digest FROM texts LIMIT 2").fetchall()
        database.execute("UPDATE texts SET digest = x'00' WHERE id = ?", (one,))
        database.execute("UPDATE texts SET digest = ? WHERE id = ?", (first, two))
        database.execute("UPDATE texts SET digest = ? WHERE id = ?", (second, one))
    lines = []
    with ScoreStore(path, report=lines.append) as store:
        assert 0 < right_or_missing(store) < len(GRID)
    assert len(lines) == 1


def test_an_integer_given_to_a_second_text_does_not_hand_it_the_first_ones_scores(tmp_path):
    path = filled(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM texts WHERE id > 20")  # as if the last pages of the table were lost
    fresh = [document_digest(DocumentText("", f"fresh {i}")) for i in range(900)]
    lines = []
    with ScoreStore(path, report=lines.append) as store:
        store.add("model", QUERIES, fresh, GRID, scores_of(GRID, salt=1))
        assert same_bits(store.known("model", QUERIES, fresh, GRID), scores_of(GRID, salt=1))
        right_or_missing(store)
    assert len(lines) == 1


def test_a_changed_batch_is_noticed_and_only_it_is_lost(tmp_path):
    path = filled(tmp_path, settled=False)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        (scores,) = database.execute("SELECT scores FROM batches WHERE id = 3").fetchone()
        database.execute("UPDATE batches SET scores = ? WHERE id = 3", (scores[:-1] + bytes([scores[-1] ^ 1]),))
    lines = []
    with ScoreStore(path, report=lines.append) as store:
        assert right_or_missing(store) == 10_000
    assert len(lines) == 1


@pytest.mark.parametrize("keep", [0, 1, 50, 5000, 100_000])
def test_a_truncated_store_is_begun_anew(tmp_path, keep):
    path = filled(tmp_path)
    os.truncate(path, keep)
    lines = []
    with ScoreStore(path, report=lines.append) as store:
        right_or_missing(store)
        store.add("model", QUERIES, DOCUMENTS, GRID, scores_of(GRID))
        assert right_or_missing(store) == len(GRID)
    assert len(lines) == (keep > 1)  # SQLite takes an empty file, also of one byte, for a new one


@pytest.mark.parametrize("content", [b"no database at all\n" * 500, b"SQLite format 3\0" + bytes(4080), bytes(8192)])
def test_a_file_that_is_no_store_is_set_aside_and_not_lost(tmp_path, content):
    path = tmp_path / "scores.sqlite"
    path.write_bytes(content)
    lines = []
    with ScoreStore(path, report=lines.append) as store:
        assert store.count() == 0
    assert len(lines) == 1
    (aside,) = tmp_path.glob("*.damaged-*Z")
    assert aside.read_bytes() == content


def test_another_programs_database_is_set_aside_and_not_lost(tmp_path):
    path = tmp_path / "scores.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE scores (theirs)")
        database.execute("INSERT INTO scores VALUES (1)")
    with ScoreStore(path, report=lambda line: None) as store:
        assert store.count() == 0
    (aside,) = tmp_path.glob("*.damaged-*Z")
    with contextlib.closing(sqlite3.connect(aside)) as database:
        assert database.execute("SELECT * FROM scores").fetchall() == [(1,)]


@pytest.mark.parametrize("name", [b"fingerprint INTEGER", b"CREATE TABLE scores", b"batches", b"WITHOUT ROWID"])
def test_a_schema_that_was_damaged_is_noticed(tmp_path, name):
    path = filled(tmp_path)
    content = path.read_bytes()
    assert name in content
    path.write_bytes(content.replace(name, b"\xff" + name[1:]))
    lines = []
    with ScoreStore(path, report=lines.append) as store:
        right_or_missing(store)
        store.add("model", QUERIES, DOCUMENTS, GRID, scores_of(GRID))
        assert right_or_missing(store) == len(GRID)
    assert len(lines) == 1


def test_a_store_that_was_removed_while_open_is_begun_anew(tmp_path):
    path = filled(tmp_path / "cache")
    with ScoreStore(path) as store:
        for file in path.parent.iterdir():
            file.unlink()
        path.parent.rmdir()
        assert right_or_missing(store) == 0
        store.add("model", QUERIES, DOCUMENTS, GRID, scores_of(GRID))
        assert right_or_missing(store) == len(GRID)


def test_the_damage_goes_to_the_log_where_nobody_listens(tmp_path, caplog):
    path = filled(tmp_path)
    path.write_bytes(b"damage" * 1000)
    with ScoreStore(path):
        pass
    assert "was damaged (file is not a database)" in caplog.text


def test_a_commit_waits_for_the_disk(tmp_path):
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        extra = 3
        assert store._database.execute("PRAGMA synchronous").fetchone() == (extra,)


# Versions


def test_a_newer_version_is_refused_and_not_touched(tmp_path):
    path = filled(tmp_path)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        (application,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        database.execute(f"PRAGMA user_version = {version + 1}")
        database.execute(f"PRAGMA application_id = {application + 1}")
    content = path.read_bytes()
    with pytest.raises(HarnessError, match="newer version of the harness"):
        ScoreStore(path)
    assert path.read_bytes() == content
    assert not list(tmp_path.glob("*damaged*"))


# Kills and crowds


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.3, 0.5, 0.8])
def test_what_was_acknowledged_survives_kill_9_to_the_bit(tmp_path, delay):
    adder = python(
        """
        with ScoreStore(Path(sys.argv[1])) as store:
            for turn in range(100_000):
                if turn % 7 == 0:
                    store.count()
                part = GRID[turn % 100 :: 100]
                store.add(f"model {turn // 100}", QUERIES, DOCUMENTS, part, scores_of(part, turn))
                print(turn, flush=True)
        """,
        tmp_path / "scores.sqlite",
    )
    acknowledged = [int(adder.stdout.readline())]
    time.sleep(delay)
    adder.kill()
    acknowledged += [int(line) for line in adder.stdout.read().splitlines()]
    adder.communicate()
    assert adder.returncode == -signal.SIGKILL
    lines = []
    with ScoreStore(tmp_path / "scores.sqlite", report=lines.append) as store:
        for model in range(acknowledged[-1] // 100 + 1):
            turns = [turn for turn in acknowledged if turn // 100 == model]
            parts = [GRID[turn % 100 :: 100] for turn in turns]
            found = store.known(f"model {model}", QUERIES, DOCUMENTS, np.concatenate(parts))
            assert same_bits(found, np.concatenate([scores_of(*each) for each in zip(parts, turns, strict=True)]))
        assert len(acknowledged) <= store.count() / 120 <= len(acknowledged) + 1
    assert lines == []


def test_processes_that_add_at_once_lose_nothing_and_double_nothing(tmp_path):
    adders = [
        python(
            """
            rng = np.random.default_rng(int(sys.argv[2]))
            with ScoreStore(Path(sys.argv[1])) as store:
                for part in np.array_split(rng.permutation(len(GRID)), 40):
                    store.add("model", QUERIES, DOCUMENTS, GRID[part], scores_of(GRID[part]))
                    store.add(sys.argv[2], QUERIES, DOCUMENTS, GRID[part], scores_of(GRID[part], 5))
                    if rng.random() < 0.2:
                        assert same_bits(store.known("model", QUERIES, DOCUMENTS, GRID[part]), scores_of(GRID[part]))
            """,
            tmp_path / "scores.sqlite",
            seed,
        )
        for seed in range(3)
    ]
    for adder in adders:
        said(adder)
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        assert store.count() == 4 * len(GRID)
        assert right_or_missing(store) == len(GRID)
        for seed in range(3):
            assert same_bits(store.known(str(seed), QUERIES, DOCUMENTS, GRID), scores_of(GRID, 5))
    with contextlib.closing(sqlite3.connect(tmp_path / "scores.sqlite")) as database:
        assert database.execute("SELECT count(*), count(DISTINCT digest) FROM texts").fetchone() == (379, 379)


def test_a_store_set_aside_by_another_process_gets_no_more_rows(tmp_path):
    path = filled(tmp_path)
    other = python(
        """
        with ScoreStore(Path(sys.argv[1]), report=print) as store:
            store.add("other", QUERIES, DOCUMENTS, GRID[:100], scores_of(GRID[:100]))
            print("open", flush=True)
            sys.stdin.readline()
            store.add("other", QUERIES, DOCUMENTS, GRID[100:200], scores_of(GRID[100:200]))
            print("added", flush=True)
            sys.stdin.readline()
        """,
        path,
        stdin=subprocess.PIPE,
    )
    assert other.stdout.readline() == "open\n"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE scores SET score = score + 1 WHERE document % 50 = 0")
    lines = []
    with ScoreStore(path, report=lines.append) as store:
        assert 0 < right_or_missing(store) < len(GRID)
        assert len(lines) == 1
        store.add("mine", QUERIES, DOCUMENTS, GRID[:100], scores_of(GRID[:100]))
        other.stdin.write("\n")
        other.stdin.flush()
        assert other.stdout.readline() == "added\n"
        store.add("mine", QUERIES, DOCUMENTS, GRID[100:200], scores_of(GRID[100:200]))
        assert said(other) == ""
        for fingerprint in ("mine", "other"):
            found = store.known(fingerprint, QUERIES, DOCUMENTS, GRID[:200])
            assert same_bits(found, scores_of(GRID[:200]))
    assert len(list(tmp_path.glob("*.damaged-*Z"))) == 1


# Disks that refuse


def test_a_path_below_a_file_is_told_with_the_way_out(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(HarnessError, match=r"cache.*RERANK_HARNESS_CACHE"):
        ScoreStore(tmp_path / "cache" / "scores.sqlite")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to leave a folder to somebody who may not write there")
@pytest.mark.parametrize("writable", ["nothing", "lock", "folder"])
def test_a_store_that_may_only_be_read_is_told_with_the_way_out(writable):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder = Path(name)
        path = filled(folder)
        ScoreStore(path).close()
        folder.chmod(0o777 if writable == "folder" else 0o755)
        Path(f"{path}.lock").chmod(0o644 if writable == "nothing" else 0o666)
        process = python(
            """
            os.seteuid(65534)
            try:
                ScoreStore(Path(sys.argv[1]))
            except HarnessError as error:
                print(error)
            """,
            path,
        )
        line = said(process)
        assert name in line
        assert "RERANK_HARNESS_CACHE" in line
        with ScoreStore(path) as store:
            assert right_or_missing(store) == len(GRID)


FILL = """
    with ScoreStore(Path(sys.argv[1])) as store:
        if len(sys.argv) > 2:
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
        for turn in range(1000):
            try:
                store.add(f"model {turn}", QUERIES, DOCUMENTS, GRID, scores_of(GRID, turn))
            except HarnessError as error:
                print(error)
                break
            print(turn)
        try:
            store.add(f"model {turn}", QUERIES, DOCUMENTS, GRID, scores_of(GRID, turn))
        except HarnessError as error:
            print(error)
    """


def check_what_was_kept(path, lines):
    *acknowledged, first, second = lines
    assert len(acknowledged) > 2
    for line in (first, second):
        assert re.search(r"cannot be used.*in the folder /.*MiB free on its disk; what was committed .* is kept", line)
    with ScoreStore(path) as store:
        for turn in map(int, acknowledged):
            found = store.known(f"model {turn}", QUERIES, DOCUMENTS, GRID)
            assert same_bits(found, scores_of(GRID, turn))
        assert store.count() == len(acknowledged) * len(GRID)


def test_a_file_that_may_not_grow_keeps_what_was_committed(tmp_path):
    path = tmp_path / "scores.sqlite"
    check_what_was_kept(path, said(python(FILL, path, 2_000_000)).splitlines())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_and_keeps_what_was_committed(small_disk, tmp_path):
    path = small_disk / "scores.sqlite"
    lines = said(python(FILL, path)).splitlines()
    assert "the disk is full" in lines[-1]
    subprocess.run(["cp", "-r", small_disk, tmp_path / "larger"], check=True)
    check_what_was_kept(tmp_path / "larger" / "scores.sqlite", lines)


# File systems


MOUNTS = r"""
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/me/scratch tmpfs rw 0 0
//nas/share /mnt/with\040space cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
scratch /lustre lustre rw 0 0
C: /mnt/c 9p rw 0 0
/dev/vdb /home/you/late nfs rw 0 0
/dev/vdb /home/you/late ext4 rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "mode"),
    [
        ("/root/.cache", "WAL"),
        ("/home/me/.cache", "DELETE"),
        ("/home/me/scratch/x", "WAL"),
        ("/home/me/scratched", "DELETE"),
        ("/mnt/with space/x", "DELETE"),
        ("/mnt/with", "WAL"),
        ("/mnt/ssh", "DELETE"),
        ("/lustre/me", "DELETE"),
        ("/mnt/c/Users", "DELETE"),
        ("/home/you/late/x", "WAL"),
    ],
)
def test_the_journal_is_wal_on_a_local_disk_and_delete_elsewhere(folder, mode):
    assert journal_mode(Path(folder), MOUNTS) == mode
    assert journal_mode(Path(folder), "") == "DELETE"
