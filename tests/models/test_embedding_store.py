"""The store of vectors: exact bits, kills, damage, several writers, lookups that stay small."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from harness.errors import HarnessError
from harness.models import embedding_store
from harness.models.embedding_store import EmbeddingStore

DIMENSION = 24


def keys_of(numbers) -> np.ndarray:
    """Sixteen bytes a number; many end in zero bytes, as a digest may."""
    return np.array([int(number).to_bytes(16, "little") for number in numbers], "S16")


def vectors_of(numbers) -> np.ndarray:
    """Vectors that can be told from their number: any bits but those of NaN."""
    rows = [np.random.default_rng(int(number)).standard_normal(DIMENSION) for number in numbers]
    return np.array(rows, np.float32).reshape(-1, DIMENSION)


def filled(path: Path, numbers, batch: int = 10) -> EmbeddingStore:
    store = EmbeddingStore(path)
    for part in np.split(np.asarray(numbers), range(batch, len(numbers), batch)):
        store.add(keys_of(part), vectors_of(part))
    return store


def assert_holds(store: EmbeddingStore, numbers) -> None:
    rows = store.find(keys_of(numbers))
    assert (rows >= 0).all()
    np.testing.assert_array_equal(store.vectors(rows)[:], vectors_of(numbers))


def test_vectors_come_back_to_the_bit_in_the_order_asked_for(tmp_path: Path):
    bits = np.array([[0, 1, 0x80000000, 0x7F7FFFFF, 0x00000001, 0xFF7FFFFF, 0x3F800000, 0x7F800000]], np.uint32)
    store = EmbeddingStore(tmp_path / "model")
    store.add(keys_of([7]), bits.view(np.float32))
    found = store.vectors(store.find(keys_of([7, 7])))
    assert found.shape == (2, 8)
    assert (found[:].view(np.uint32) == bits).all()


def test_the_order_and_the_repetition_of_what_is_asked_do_not_matter(tmp_path: Path):
    store = filled(tmp_path / "model", range(100))
    assert_holds(store, [99, 0, 50, 50, 7, 256 % 100])


def test_what_was_never_added_is_missing(tmp_path: Path):
    assert (EmbeddingStore(tmp_path / "nothing").find(keys_of(range(3))) == -1).all()
    store = filled(tmp_path / "model", range(10))
    assert (store.find(keys_of([3, 300, 4]))[[0, 2]] >= 0).all()
    assert store.find(keys_of([3, 300, 4]))[1] == -1
    assert len(store.find(keys_of([]))) == 0


@pytest.mark.parametrize(("suffix", "cut"), [(".keys", 1), (".keys", 19), (".vectors", 1), (".vectors", DIMENSION * 4)])
def test_a_last_record_cut_short_is_dropped_and_writing_goes_on(tmp_path: Path, suffix: str, cut: int):
    filled(tmp_path / "model", range(30))
    file = tmp_path / f"model{suffix}"
    os.truncate(file, file.stat().st_size - cut)
    store = EmbeddingStore(tmp_path / "model")
    assert store.find(keys_of([29]))[0] == -1
    assert_holds(store, range(29))
    store.add(keys_of([29, 30]), vectors_of([29, 30]))
    assert_holds(store, range(31))


def test_vectors_without_their_keys_are_overwritten(tmp_path: Path):
    store = filled(tmp_path / "model", range(5))
    with (tmp_path / "model.vectors").open("ab") as stream:
        stream.write(b"half a batch that a kill left behind")
    store.add(keys_of([5]), vectors_of([5]))
    assert_holds(store, range(6))


@pytest.mark.parametrize("suffix", [".keys", ".vectors"])
def test_a_damaged_record_is_not_used_and_can_be_added_again(tmp_path: Path, suffix: str):
    store = filled(tmp_path / "model", range(20))
    at = 16 + 20 * 4 + 17 if suffix == ".keys" else DIMENSION * 4 * 4 + 9
    with (tmp_path / f"model{suffix}").open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 4]))
    assert store.find(keys_of([4]))[0] == -1
    assert_holds(store, [*range(4), *range(5, 20)])
    store.add(keys_of([4]), vectors_of([4]))
    assert_holds(store, range(20))


def counted(store: EmbeddingStore, numbers, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many vectors a lookup reads to check them."""
    read = []
    checks = embedding_store._checks
    monkeypatch.setattr(embedding_store, "_checks", lambda keys, rows: read.append(len(keys)) or checks(keys, rows))
    assert_holds(store, numbers)
    monkeypatch.setattr(embedding_store, "_checks", checks)
    return sum(read)


def test_vectors_are_checked_again_only_when_somebody_else_wrote_to_them(tmp_path: Path, monkeypatch):
    store = filled(tmp_path / "model", range(30))
    assert counted(store, range(30), monkeypatch) == 0
    store.add(keys_of([30]), vectors_of([30]))
    assert counted(store, range(31), monkeypatch) == 0
    os.utime(tmp_path / "model.vectors")
    assert counted(EmbeddingStore(tmp_path / "model"), range(31), monkeypatch) == 31
    assert counted(EmbeddingStore(tmp_path / "model"), range(31), monkeypatch) == 0


def test_a_note_of_another_start_of_the_machine_is_not_believed(tmp_path: Path, monkeypatch):
    # After a power cut a file may have its size and its times, and not what was written.
    store, start = filled(tmp_path / "model", range(30)), tmp_path / "boot_id"
    start.write_text("another")
    monkeypatch.setattr(embedding_store, "_BOOT_ID", start)
    assert counted(store, range(30), monkeypatch) == 30
    assert counted(store, range(30), monkeypatch) == 0
    start.unlink()
    assert [counted(store, range(30), monkeypatch) for _ in range(2)] == [30, 30]


def test_a_torn_note_costs_a_check_and_nothing_else(tmp_path: Path, monkeypatch):
    store, note = filled(tmp_path / "model", range(30)), tmp_path / "model.checked"
    for content in (note.read_text()[:20], "", "[]", '{"state": 1}'):
        note.write_text(content)
        assert counted(store, range(30), monkeypatch) == 30


def test_a_vector_in_anothers_place_is_damaged(tmp_path: Path):
    store = filled(tmp_path / "model", range(4))
    table = np.memmap(tmp_path / "model.vectors", "<f4", "r+", shape=(4, DIMENSION))
    table[[1, 2]] = table[[2, 1]]
    table.flush()
    assert (store.find(keys_of(range(4))) >= 0).tolist() == [True, False, False, True]


def test_a_file_of_something_else_is_begun_anew_and_a_reader_keeps_what_it_has(tmp_path: Path):
    store = filled(tmp_path / "model", range(8))
    reader = store.vectors(store.find(keys_of(range(8))))
    (tmp_path / "model.keys").write_bytes(b"not a store of vectors at all")
    assert (store.find(keys_of(range(8))) == -1).all()
    store.add(keys_of([1]), vectors_of([1]))
    assert_holds(store, [1])
    assert store.find(keys_of([2]))[0] == -1
    np.testing.assert_array_equal(reader[:], vectors_of(range(8)))


def test_a_lookup_needs_no_memory_for_the_vectors(tmp_path: Path):
    count, dimension = 60_000, 384
    store = EmbeddingStore(tmp_path / "model")
    random = np.random.default_rng(0)
    for start in range(0, count, 10_000):
        store.add(keys_of(range(start, start + 10_000)), random.standard_normal((10_000, dimension), np.float32))
    keys = keys_of(range(count))
    tracemalloc.start()
    found = store.vectors(store.find(keys))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.shape == (count, dimension)
    assert peak < count * dimension * 4 / 2, f"{peak / 2**20:.0f} MiB"


WRITER = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
from models.test_embedding_store import EmbeddingStore, keys_of, vectors_of
store = EmbeddingStore(Path(sys.argv[1]))
first, last, step = map(int, sys.argv[2:])
for start in range(first, last, step):
    numbers = range(start, start + step)
    store.add(keys_of(numbers), vectors_of(numbers))
    print(start + step, flush=True)
"""


def writer(path: Path, first: int, last: int, step: int) -> subprocess.Popen[str]:
    program = WRITER.format(tests=str(ROOT / "tests"), root=str(ROOT))
    words = [sys.executable, "-c", program, str(path), str(first), str(last), str(step)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_kill_9_loses_nothing_that_was_added(tmp_path: Path):
    process = writer(tmp_path / "model", 0, 10**9, 7)
    added = [process.stdout.readline() for _ in range(20)]
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    added += process.stdout.readlines()
    process.wait()
    count = int(added[-1])
    store = EmbeddingStore(tmp_path / "model")
    assert_holds(store, range(count))
    found = store.find(keys_of(range(count + 100)))
    assert (found >= 0).sum() in (count, *range(count, count + 8))
    store.add(keys_of(range(count, count + 100)), vectors_of(range(count, count + 100)))
    assert_holds(store, range(count + 100))


def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path: Path):
    processes = [writer(tmp_path / "model", 0, 600, 3), writer(tmp_path / "model", 300, 900, 5)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert_holds(EmbeddingStore(tmp_path / "model"), range(900))
    assert (tmp_path / "model.vectors").stat().st_size == 1200 * DIMENSION * 4


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(HarnessError, match="cannot write vectors") as error:
        EmbeddingStore(tmp_path / "file" / "model").add(keys_of([1]), vectors_of([1]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("stored", ["float16", "bfloat16"])
def test_vectors_on_request_are_rounded_to_the_nearest_and_take_half_the_room(tmp_path: Path, stored: str):
    torch = pytest.importorskip("torch")
    store = EmbeddingStore(tmp_path / "model", stored)
    numbers = range(30)
    store.add(keys_of(numbers), vectors_of(numbers))
    rounded = torch.from_numpy(vectors_of(numbers)).to(getattr(torch, stored)).to(torch.float32).numpy()
    reader = EmbeddingStore(tmp_path / "model")
    found = reader.vectors(reader.find(keys_of(numbers)))[:]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, rounded)
    assert reader.damaged() == 0
    assert (tmp_path / "model.vectors").stat().st_size == 30 * DIMENSION * 2


def test_a_number_beyond_float16_is_refused_and_nothing_is_written(tmp_path: Path):
    with pytest.raises(HarnessError, match="float16 ends at 65504: vectors=bfloat16"):
        EmbeddingStore(tmp_path / "model", "float16").add(keys_of([1]), np.full((1, 4), 7e4, np.float32))
    assert list(tmp_path.iterdir()) == []
