"""`cache`: what it shows, and that pruning removes no more than it says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from commands.test_bad_input import one_line
from conftest import Cli, Counter


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


def test_prune_without_parts_keeps_everything_that_is_in_use(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name)
    left = Path("cache/scores.sqlite.damaged-20200101T000000Z")
    left.write_bytes(b"x" * 2**20)
    before = {path for path in Path("cache").rglob("*") if path.is_file()}
    answer = cli("cache", "prune")
    assert "1.0 MiB removed" in answer.out
    assert before - {path for path in Path("cache").rglob("*") if path.is_file()} == {left}


def test_prune_removes_the_parts_that_are_named(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name)
    cli("cache", "prune", "bm25")
    assert not Path("cache/bm25").exists()
    assert Path("cache/scores.sqlite").exists()
    counter.reset()
    cli("run", collection_folder, "--reranker", counter.name, "--results", "again")
    assert counter.pairs() == []


def test_prune_by_age_keeps_what_was_used_since(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name)
    old = next(path for path in Path("cache/bm25").rglob("*") if path.is_file())
    os.utime(old, (0, 0))
    cli("cache", "prune", "bm25", "--older-than", 30)
    assert not old.exists()
    assert any(path.is_file() for path in Path("cache/bm25").rglob("*"))


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
