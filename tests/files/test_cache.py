"""The cache folder: where it is, whole files, remembered digests."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.files.cache import cache_folder, distrust_digests, file_digest, folder_digest, write_atomically, writing

LONG_AGO = 1_600_000_000


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program can set a file's ctime back, so that what was written a moment ago counts as long ago instead."""
    monkeypatch.setattr("harness.files.cache._SETTLED_NS", -1)


def settled(path: Path, data: bytes) -> Path:
    """A file that was last changed long ago, as files worth remembering were."""
    path.write_bytes(data)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def memories(cache: Path) -> list[Path]:
    return sorted((cache / "digests").glob("*.json"))


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"


def test_without_a_choice_the_cache_is_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("RERANK_HARNESS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "rerank-harness"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/invalid")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "rerank-harness"


def test_a_written_file_is_whole_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    write_atomically(path, "größer")
    write_atomically(path, b"again")
    assert path.read_bytes() == b"again"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_there_and_no_file_is_never_put_aside(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="not a file"):
            write_atomically(tmp_path / name, "data")
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_an_essential_write_that_fails_names_the_cache_and_the_way_out(tmp_path):
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file, not a folder")
    line = r"cannot write in the cache folder .*RERANK_HARNESS_CACHE"
    with pytest.raises(HarnessError, match=line), writing(in_the_way):
        write_atomically(in_the_way / "x" / "y", "data")


def test_a_digest_is_blake2b_over_the_bytes(tmp_path, cache):
    path = settled(tmp_path / "weights", b"some bytes" * 300_000)
    assert file_digest(path, cache) == hashlib.blake2b(b"some bytes" * 300_000, digest_size=16).hexdigest()


@pytest.mark.usefixtures("aged")
def test_a_digest_is_remembered_and_not_computed_again(tmp_path, cache):
    path = settled(tmp_path / "weights", b"one")
    first = file_digest(path, cache)
    memory = memories(cache)[0]
    memory.write_text(memory.read_text().replace(first, "0" * 32))
    assert file_digest(path, cache) == "0" * 32
    assert file_digest(path, cache, rehash=True) == first
    assert file_digest(path, cache) == first


@pytest.mark.parametrize(
    "change",
    [
        lambda path: settled(path, b"longer"),
        lambda path: path.write_bytes(b"two"),
        lambda path: os.replace(settled(path.with_name("other"), b"two"), path),
    ],
    ids=["size", "mtime", "inode"],
)
def test_a_file_that_changed_is_read_again(tmp_path, cache, change):
    path = settled(tmp_path / "weights", b"one")
    first = file_digest(path, cache)
    change(path)
    assert file_digest(path, cache) != first


def test_a_file_changed_a_moment_ago_is_not_remembered(tmp_path, cache):
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    file_digest(path, cache)
    assert memories(cache) == []


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"\xff\xfe", b'{"identity": 1}', b'{"identity": null, "digest": 5}']
)
@pytest.mark.usefixtures("aged")
def test_a_damaged_memory_is_ignored_and_made_again(tmp_path, cache, damage):
    path = settled(tmp_path / "weights", b"one")
    first = file_digest(path, cache)
    memories(cache)[0].write_bytes(damage)
    assert file_digest(path, cache) == first
    assert first.encode() in memories(cache)[0].read_bytes()


def test_a_cache_that_cannot_be_written_only_costs_the_memory(tmp_path):
    path = settled(tmp_path / "weights", b"one")
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file, not a folder")
    assert file_digest(path, in_the_way) == hashlib.blake2b(b"one", digest_size=16).hexdigest()


def test_the_digest_of_a_missing_file_is_one_line(tmp_path, cache):
    with pytest.raises(HarnessError, match=r"cannot read .*weights"):
        file_digest(tmp_path / "weights", cache)


def test_a_folders_digest_depends_on_names_and_contents_and_not_on_their_order(tmp_path, cache):
    settled(tmp_path / "a", b"1")
    settled(tmp_path / "b", b"2")
    both = folder_digest(tmp_path, ["a", "b"], cache)
    assert len(both) == 40
    assert folder_digest(tmp_path, ["b", "a", "b"], cache) == both
    assert folder_digest(tmp_path, ["a"], cache) != both
    os.rename(tmp_path / "b", tmp_path / "c")
    assert folder_digest(tmp_path, ["a", "c"], cache) != both


@pytest.mark.usefixtures("aged")
def test_a_change_that_leaves_size_mtime_and_inode_alone_is_seen_by_ctime(tmp_path, cache):
    path = settled(tmp_path / "weights", b"one")
    first = file_digest(path, cache)
    inode = path.stat().st_ino
    with path.open("r+b") as stream:
        stream.write(b"two")
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert (path.stat().st_size, path.stat().st_ino, path.stat().st_mtime) == (3, inode, LONG_AGO)
    assert file_digest(path, cache) != first


@pytest.mark.usefixtures("aged")
def test_digests_from_before_are_distrusted_and_later_ones_believed(tmp_path, cache, monkeypatch):
    path = settled(tmp_path / "weights", b"one")
    right = file_digest(path, cache)
    (memory,) = memories(cache)
    memory.write_text(memory.read_text().replace(right, "0" * 32))
    assert file_digest(path, cache) == "0" * 32
    monkeypatch.setattr("harness.files.cache._distrusted", -1)
    distrust_digests()
    assert file_digest(path, cache) == right
    memory.write_text(memory.read_text().replace(right, "1" * 32))
    os.utime(memory, (4_000_000_000, 4_000_000_000))
    assert file_digest(path, cache) == "1" * 32
