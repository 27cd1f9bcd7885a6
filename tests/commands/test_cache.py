"""`cache`: what it shows, and that pruning removes no more than it says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import processes
import pytest
from commands.test_bad_input import one_line
from conftest import ROOT, Cli, Counter

from harness.files.units import PARTS, TAG, is_marked, mark
from harness.models.ids.kept import KeptIds, key_of
from harness.retrievers.sparse import build_postings
from harness.retrievers.sparse_encoder import SparseRows


def test_cache_shows_what_a_run_left_and_verifies_it(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name)
    shown = {line.split()[0]: line.split()[1] for line in cli("cache", "show").out.splitlines()[3:]}
    assert int(shown["scores"]) >= 1
    assert int(shown["candidates"]) == 2
    verified = cli("cache", "verify")
    assert verified.code == 0
    assert "WARN" not in verified.out


def test_damaged_candidates_are_named_and_made_again(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name, "--results", "a")
    (kept,) = Path("cache/candidates").glob("*/candidates.json.gz")
    kept.write_bytes(b"rubbish")
    assert "damaged" in cli("cache", "verify").out
    assert cli("run", collection_folder, "--reranker", counter.name, "--results", "b").code == 0
    assert "damaged" not in cli("cache", "verify").out


def test_kept_token_ids_are_shown_verified_and_pruned(cli: Cli, collection_folder: Path):
    cli("run", collection_folder)
    held = KeptIds(Path("cache").absolute(), "0" * 32)
    held.rows(["a river"], [key_of("a river")], lambda _: [[1, 2, 3]])
    held.close()
    assert re.search(r"^tokens +1 +0\.0 ", cli("cache", "show").out, re.MULTILINE)
    assert re.search(r"^.*tokens.*1 are whole", cli("cache", "verify").out, re.MULTILINE)
    (path,) = Path("cache/tokens").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert re.search(r"^.*tokens.*1 of 1 are damaged", cli("cache", "verify").out, re.MULTILINE)
    cli("cache", "prune", "tokens", "--yes")
    assert not Path("cache/tokens").exists()


def test_prune_without_parts_keeps_everything_that_is_in_use(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name)
    left = Path("cache/scores.sqlite.damaged-20200101T000000Z")
    left.write_bytes(b"x" * 2**20)
    before = {path for path in Path("cache").rglob("*") if path.is_file()}
    listed = cli("cache", "prune")
    assert "1.0 MiB  scores.sqlite.damaged-20200101T000000Z" in listed.out
    assert "say --yes" in listed.out
    assert left.exists()
    assert "1.0 MiB removed" in cli("cache", "prune", "--yes").out
    assert before - {path for path in Path("cache").rglob("*") if path.is_file()} == {left}


def test_prune_removes_the_parts_that_are_named(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name)
    cli("cache", "prune", "bm25", "--yes")
    assert not Path("cache/bm25").exists()
    assert Path("cache/scores.sqlite").exists()
    counter.reset()
    cli("run", collection_folder, "--reranker", counter.name, "--results", "again")
    assert counter.pairs() == []


def test_prune_by_age_goes_by_whole_indexes(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name)
    (index,) = Path("cache/bm25").iterdir()
    files = sorted(index.iterdir())
    os.utime(files[0], (0, 0))
    assert "0.0 MiB removed" in cli("cache", "prune", "bm25", "--older-than", 30, "--yes").out
    assert sorted(index.iterdir()) == files
    for path in (*files, index):
        os.utime(path, (0, 0))
    cli("cache", "prune", "bm25", "--older-than", 30, "--yes")
    assert not index.exists()


FOREIGN = [
    ".ssh/id_rsa", ".git/config", ".env", ".venv/bin/python", "bm25/notes.txt", "bm25/.hidden/key", "models/my.safetensors",
    "embeddings/mine.keys", "tokens/mine.ids", "candidates/mine/run.trec", "collections/mine/corpus.arrow", ".cache.part",
    "models/.movie.part", "digests/.movie.part", "bm25/.notes.a1b2c3d4", "scores.sqlite.bak",
]  # fmt: skip


def put(folder: Path, names: list[str]) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not ours")
        os.utime(path, (0, 0))
        os.utime(path.parent, (0, 0))
    (folder / "empty").mkdir()


def test_what_is_not_ours_is_never_removed(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name)
    put(Path("cache"), FOREIGN)
    for words in (["prune"], ["prune", *PARTS]):
        assert cli("cache", *words, "--yes").code == 0
    assert all((Path("cache") / name).exists() for name in [*FOREIGN, "empty", TAG])
    assert not Path("cache/scores.sqlite").exists()
    assert cli("run", collection_folder, "--reranker", counter.name, "--results", "again").code == 0


def test_a_home_folder_is_no_cache_and_gets_no_tag(
    cli: Cli, collection_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "home"))
    put(tmp_path / "home", FOREIGN)
    cli("run", collection_folder)
    one_line(cli("cache", "prune", *PARTS, "--yes"), TAG, "RERANK_HARNESS_CACHE")
    assert not (tmp_path / "home" / TAG).exists()
    (tmp_path / "home" / TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n# of another program\n")
    one_line(cli("cache", "prune", *PARTS, "--yes"), TAG)
    assert all((tmp_path / "home" / name).exists() for name in FOREIGN)


def test_links_are_not_followed(cli: Cli, collection_folder: Path, tmp_path: Path):
    cli("run", collection_folder)
    (index,) = Path("cache/bm25").iterdir()
    away = tmp_path / "away"
    index.rename(away)
    index.symlink_to(away)
    Path("cache/hub").symlink_to(away)
    Path("cache/digests").mkdir(exist_ok=True)
    Path("cache/digests/.old.0123456789ab.part").symlink_to(away)
    cli("cache", "prune", *PARTS, "--yes")
    assert index.is_symlink()
    assert (away / "index.json").exists()


@pytest.mark.parametrize(
    "name",
    [
        "bm25/.{0}.a1b2c3d4", "bm25/.{0}.a1b2c3d4.part", "collections/mine/.{0}.0123456789ab.half",
        "digests/.{0}.json.0123456789ab.part", "bm25/.{0}.0123456789ab.gone",
    ],
)  # fmt: skip
def test_what_a_kill_left_behind_goes_after_an_hour(cli: Cli, collection_folder: Path, name: str):
    cli("run", collection_folder)
    left = Path("cache") / name.format("0" * 32)
    put(left, ["docs.npy"])
    (left / "empty").rmdir()
    os.utime(left, (0, 0))
    (left / "docs.npy").touch()
    assert left.name not in cli("cache", "prune").out
    os.utime(left / "docs.npy", (0, 0))
    os.utime(left, (0, 0))
    assert left.name in cli("cache", "prune").out
    cli("cache", "prune", "--yes")
    assert not left.exists()


@pytest.mark.parametrize("file", ["index.json", "docs.npy", "freqs.npy", "norms.npy", "terms.npy", "term_ids.npy"])
@pytest.mark.parametrize("damage", ["gone", "cut", "zeros"])
def test_an_index_that_is_damaged_or_half_gone_is_built_again(
    cli: Cli, collection_folder: Path, file: str, damage: str
):
    first = cli("run", collection_folder, "--format", "json", "--results", "a").results()
    (path,) = Path("cache/bm25").glob(f"*/{file}")
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        kept = len(data) // 2
        path.write_bytes(data[:kept] + (b"" if damage == "cut" else bytes(len(data) - kept)))
    cli("cache", "prune", "candidates", "--yes")
    again = cli("run", collection_folder, "--format", "json", "--results", "b")
    assert again.code == 0, again.err
    assert again.results()[0]["measures"] == first[0]["measures"]


@pytest.mark.parametrize(("part", "file"), [("bm25", "docs.npy"), ("collections", "judged.json")])
def test_verify_reads_indexes_and_prepared_data(cli: Cli, collection_folder: Path, part: str, file: str):
    cli("run", collection_folder)
    assert "damaged" not in cli("cache", "verify").out
    (path,) = Path("cache", part).rglob(file)
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    (line,) = (line for line in cli("cache", "verify").out.splitlines() if "damaged" in line)
    assert part in line
    cli("run", collection_folder, "--rehash")


@pytest.mark.parametrize("days", ["-3", "nan", "inf"])
def test_days_that_are_none_remove_nothing(cli: Cli, collection_folder: Path, days):
    cli("run", collection_folder)
    before = sorted(Path("cache").rglob("*"))
    one_line(cli("cache", "prune", "bm25", "--older-than", days), "not a number of days")
    assert sorted(Path("cache").rglob("*")) == before


def test_a_cache_that_is_a_file_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    Path("taken").write_text("a file")
    monkeypatch.setenv("RERANK_HARNESS_CACHE", "taken")
    for action in ("show", "prune"):
        one_line(cli("cache", action), "taken is not a folder", "RERANK_HARNESS_CACHE")
    answer = cli("doctor")
    assert answer.code == 1
    assert re.search(r"\[FAIL\] cache: .*taken is not a folder", answer.out)


def test_an_unknown_part_is_one_line(cli: Cli):
    one_line(cli("cache", "prune", "scoers"), 'Did you mean "scores"')


def test_every_part_that_is_written_is_known():
    written = [re.findall(r'cache / "([a-z]+)"', path.read_text()) for path in (ROOT / "harness").rglob("*.py")]
    assert {name for names in written for name in names} <= set(PARTS)


def test_a_sparse_index_and_its_vectors_go_whole_and_are_read_by_verify(cli: Cli, tmp_path: Path):
    index, vectors = Path("cache/sparse", "a" * 32), Path("cache/sparse", "b" * 32)
    rows = SparseRows(np.array([0, 1, 2]), np.array([3, 4], np.int32), np.array([1, 2], np.float32))
    build_postings([rows], index)
    vectors.mkdir()
    np.savez(vectors / f"{'c' * 32}.npz", **rows._asdict())
    mark(Path("cache"))
    assert "damaged" not in cli("cache", "verify").out
    for path in (index / "weights.npy", vectors / f"{'c' * 32}.npz"):
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    found = cli("cache", "verify").out
    assert "1 of 2 are damaged" in found or "2 of 2 are damaged" in found
    listed = cli("cache", "prune", "sparse").out
    assert f"sparse/{index.name}" in listed
    assert f"sparse/{vectors.name}" in listed
    cli("cache", "prune", "sparse", "--yes")
    assert not Path("cache/sparse").exists()


def test_the_cache_of_a_bundle_is_tagged_and_its_tag_goes_into_no_other_folder(tmp_path: Path):
    bundle, home = tmp_path / "bundle", tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("mine")
    code = (
        "import sys; from pathlib import Path; from harness.files.bundle import MANIFEST, fill, use_offline\n"
        "bundle, home = map(Path, sys.argv[1:]); fill(bundle); (bundle / MANIFEST).write_text('{}')\n"
        "use_offline(bundle, home)"
    )
    assert processes.run(["-c", code, bundle, home]).returncode == 0
    assert is_marked(bundle / "cache")
    assert not is_marked(home)
