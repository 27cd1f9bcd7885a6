"""What may go wrong around a run, in real processes: it ends in a clear line or a right result, and loses nothing.

The store's own faults are in test_store.py and test_embedding_store.py; here a whole command meets them.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter as Times
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Counter, make_counter, write_collection, write_lines
from exactness import same_model
from models.test_embedding_store import assert_holds, filled, keys_of, vectors_of
from test_kill import answer_of, finish, start

from harness.data.trec import read_run
from harness.engine.store import ScoreStore
from harness.models.embedding_store import EmbeddingStore


def failed(process: Any) -> str:
    """The one line with which the command ends, exit code 2."""
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2, err.decode()
    assert b"Traceback" not in err
    (line,) = (line for line in err.decode().splitlines() if line.startswith("error: "))
    return line


def stored(home: Path) -> int:
    with ScoreStore(home / "cache" / "scores.sqlite") as store:
        return store.count()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Mounts a small file system in a folder, or mounts it anew with other options."""
    mounted: list[Path] = []

    def mount(folder: Path, options: str) -> None:
        again = folder in mounted
        folder.mkdir(parents=True, exist_ok=True)
        how = f"remount,{options}" if again else options
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", folder], capture_output=True, check=False)
        if done.returncode and not again:
            pytest.skip("needs the right to mount a small disk")
        assert done.returncode == 0, done.stderr
        if not again:
            mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


# Memory


LIMITED = """
import os, resource, sys
import torch, transformers
from harness.commands.cli import main
from harness.rerankers.families.pair_classifier import PairClassifier

score = PairClassifier.margins
def limited(self, ids, types):
    self.model, torch.ones(1024, 1024) @ torch.ones(1024, 1024)
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + int(sys.argv[1]) * 2**20,) * 2)
    PairClassifier.margins = counted
    return counted(self, ids, types)
def counted(self, ids, types):
    print("rows", len(ids), file=sys.stderr, flush=True)
    return score(self, ids, types)
PairClassifier.margins = limited
sys.exit(main(sys.argv[2:]))
"""
"""The command with so many MiB of memory beyond what the loaded model takes; tells every batch's rows."""


def wide_model(folder: Path) -> Path:
    """A cross-encoder of one layer, whose inner size makes a batch of texts large."""
    import torch
    from tiny_models import wordpiece_tokenizer
    from transformers import BertConfig, BertForSequenceClassification

    wordpiece_tokenizer(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 4096, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertForSequenceClassification(BertConfig(vocab_size=300, num_labels=1, **shape)).save_pretrained(folder)
    return folder


def limited(folder: Path, model: Path, home: Path, mebibytes: int, budget: int) -> subprocess.Popen[bytes]:
    words = ["run", folder, "--reranker", model, "--batch-tokens", budget, "--results", home / "results"]
    command = [sys.executable, "-c", LIMITED, mebibytes, *words, "--save-runs", home / "runs"]
    environment = {**os.environ, "RERANK_HARNESS_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.slow
def test_memory_that_runs_out_halves_the_batch_and_the_result_is_the_same(tmp_path: Path):
    folder = write_collection(tmp_path / "long")
    corpus = (folder / "corpus.jsonl").read_text()
    write_lines(folder / "corpus.jsonl", corpus.replace(" and note", f" {'amber fjord ' * 60} and note").splitlines())
    model = wide_model(tmp_path / "model")
    homes = {"tight": (200, 40_000), "roomy": (20_000, 40_000)}
    rows = {}
    for name, (mebibytes, budget) in homes.items():
        process = limited(folder, model, tmp_path / name, mebibytes, budget)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err.decode()
        assert b"written to" in out
        rows[name] = [int(line.split()[1]) for line in err.decode().splitlines() if line.startswith("rows ")]
    assert max(rows["roomy"]) > 50
    assert rows["tight"][0] == rows["roomy"][0], "the same plan"
    assert rows["tight"][1] < rows["tight"][0], "the first batch in parts"
    assert stored(tmp_path / "tight") == stored(tmp_path / "roomy")
    runs = [read_run(next((tmp_path / name / "runs" / "model").rglob("*.trec"))) for name in homes]
    for query_id, scores in runs[0].items():
        same_model([scores[doc_id] for doc_id in runs[1][query_id]], list(runs[1][query_id].values()))


# Disks


@pytest.mark.parametrize("part", ["cache", "results"])
def test_a_full_disk_is_one_line_and_the_same_command_goes_on_when_there_is_room(
    disk: Callable[[Path, str], None], counter: Counter, tmp_path: Path, part: str
):
    folder = write_collection(tmp_path / "birds", documents=120, queries=12)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(start(folder, counter.name, whole))
    total = len(counter.pairs())
    others = [path for path in (whole / "cache").rglob("*") if path.is_file() and "scores" not in path.name]
    room = 256 + sum(4 * -(-path.stat().st_size // 4096) for path in others)
    disk(cut / part, f"size={room}k" if part == "cache" else "size=8k")
    if part == "results":
        (cut / "results" / "full").write_bytes(bytes(8192))
    line = failed(start(folder, counter.name, cut))
    assert str(cut / part) in line
    assert "space" in line or "full" in line
    before = len(counter.pairs()) - total
    disk(cut / part, "size=64m")
    acknowledged = stored(cut)
    assert before - 16 <= acknowledged <= before, "all but the batch in flight"
    assert acknowledged > 0
    finish(start(folder, counter.name, cut))
    assert answer_of(cut) == answer_of(whole)
    assert stored(cut) == total
    assert len(counter.pairs()) == 2 * total + before - acknowledged


@pytest.mark.parametrize(("part", "way_out"), [("cache", "RERANK_HARNESS_CACHE"), ("results", "cannot write")])
def test_a_folder_that_can_only_be_read_is_one_line_with_the_way_out(
    disk: Callable[[Path, str], None], counter: Counter, tmp_path: Path, part: str, way_out: str
):
    folder, home = write_collection(tmp_path / "birds"), tmp_path / "home"
    disk(home / part, "size=64m")
    finish(start(folder, counter.name, home, runs=False))
    disk(home / part, "ro,size=64m")
    again = start(folder, counter.name, home, runs=False)
    again.communicate(timeout=300)
    assert again.returncode == 0, "a result that is there can be read"
    queries = (folder / "queries.jsonl").read_text()
    write_lines(folder / "queries.jsonl", queries.replace("amber", "amber and larch").splitlines())
    line = failed(start(folder, counter.name, home, runs=False))
    assert str(home / part) in line
    assert way_out in line
    disk(home / part, "rw,size=64m")
    finish(start(folder, counter.name, home, runs=False))


def test_vectors_on_a_full_disk_are_one_line_and_what_was_added_is_kept(
    disk: Callable[[Path, str], None], tmp_path: Path
):
    from harness.errors import HarnessError

    disk(tmp_path / "disk", "size=64k")
    store = EmbeddingStore(tmp_path / "disk" / "model")
    error, added = None, 0
    while error is None:
        try:
            store.add(keys_of(range(added, added + 16)), vectors_of(range(added, added + 16)))
            added += 16
        except HarnessError as caught:
            error = str(caught)
    assert re.fullmatch(r"cannot write vectors .*No space left.*", error)
    assert added > 100
    assert_holds(EmbeddingStore(tmp_path / "disk" / "model"), range(added))
    disk(tmp_path / "disk", "size=1m")
    store.add(keys_of(range(added, added + 16)), vectors_of(range(added, added + 16)))
    assert_holds(EmbeddingStore(tmp_path / "disk" / "model"), range(added + 16))


# Damage


def damage(path: Path, seed: int, places: int = 20, width: int = 64) -> None:
    """Random bytes at random places of a file, the seed deciding where."""
    rng = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for start_of in rng.integers(len(content) - width, size=places):
        content[start_of : start_of + width] = rng.bytes(width)
    path.write_bytes(content)


def test_a_store_damaged_at_twenty_places_is_set_aside_and_the_result_is_the_same(tmp_path: Path, counter: Counter):
    folder = write_collection(tmp_path / "birds", documents=120, queries=12)
    home = tmp_path / "home"
    finish(start(folder, counter.name, home))
    answer, count = answer_of(home), stored(home)
    for part in ("results", "runs"):
        shutil.rmtree(home / part)
    damage(home / "cache" / "scores.sqlite", seed=20)
    process = start(folder, counter.name, home)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    assert err.decode().count("was damaged") == 1
    assert b"Traceback" not in err
    assert answer_of(home) == answer
    assert stored(home) == count
    assert len(list((home / "cache").glob("scores.sqlite.damaged-*Z"))) == 1


def test_vectors_damaged_at_twenty_places_are_missing_and_never_wrong(tmp_path: Path):
    for suffix in (".keys", ".vectors"):
        store = filled(tmp_path / f"by{suffix}" / "model", range(2000), batch=100)
        damage(tmp_path / f"by{suffix}" / f"model{suffix}", seed=21, width=16)
        rows = store.find(keys_of(range(2000)))
        there = np.flatnonzero(rows >= 0)
        assert 1900 < len(there) < 2000
        np.testing.assert_array_equal(store.vectors(rows[there])[:], vectors_of(there))
        lost = np.flatnonzero(rows < 0)
        store.add(keys_of(lost), vectors_of(lost))
        assert_holds(store, range(2000))


# Crowds and kills


def slow_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> Counter:
    counter = make_counter(tmp_path, monkeypatch, 'fingerprint = "slow 3"')
    source = Path(counter.name.partition(":")[0])
    source.write_text(
        source.read_text().replace("with calls", f"__import__('time').sleep({seconds})\n        with calls")
    )
    return counter


def test_two_runs_at_once_share_the_store_and_end_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_collection(tmp_path / "birds", documents=120, queries=12)
    counter = slow_counter(tmp_path, monkeypatch, 0.005)
    finish(start(folder, counter.name, tmp_path / "alone"))
    answer, total = answer_of(tmp_path / "alone"), len(counter.pairs())
    counter.reset()
    both = [start(folder, counter.name, tmp_path / "together") for _ in range(2)]
    for process in both:
        finish(process)
    assert answer_of(tmp_path / "together") == answer
    assert stored(tmp_path / "together") == total
    assert set(Times(counter.pairs()).values()) <= {1, 2}


@pytest.mark.slow
def test_kill_9_at_fifty_random_moments_always_ends_in_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Ten runs, each killed five times and then left alone; moments from the start of Python to the last write."""
    folder = write_collection(tmp_path / "birds", documents=120, queries=12)
    counter = slow_counter(tmp_path, monkeypatch, 0.02)
    finish(start(folder, counter.name, tmp_path / "whole"))
    answer, total = answer_of(tmp_path / "whole"), len(counter.pairs())
    rng, killed, interrupted = random.Random(50), 0, 0
    for turn in range(10):
        counter.reset()
        home = tmp_path / f"cut {turn}"
        for _ in range(5):
            process = start(folder, counter.name, home)
            # Where it is when it dies is left to the machine: before, within and after the scoring.
            share, already = rng.random(), len(counter.pairs())
            wanted = already + share * (total - already) * 0.6
            if share < 0.15:
                with_timeout(process, rng.random())
            else:
                while len(counter.pairs()) < wanted and process.poll() is None:
                    pass
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                interrupted += 1
            process.communicate()
            killed += 1
        finish(start(folder, counter.name, home))
        assert answer_of(home) == answer
        times = Times(counter.pairs())
        assert len(times) == total
        # 64 tokens, and no pair has less than 6.
        assert sum(times.values()) - total <= 10 * 5, "each kill costs the batch in flight, and no more"
        assert stored(home) == total
    assert killed == 50
    assert interrupted > 40


def with_timeout(process: Any, seconds: float) -> None:
    """Until the process ends, or so long."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
