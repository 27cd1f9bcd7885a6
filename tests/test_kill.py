"""kill -9 in the middle of a run, in a real process: the same command ends in the same result, to the bit."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
import pytest
from conftest import DATA, make_counter, write_collection

from harness.data.trec import read_run
from harness.results.result import load_result

MODEL = str(DATA / "models" / "cross-encoder")
PROGRAM = """
import sys
from harness.commands.cli import main
from harness.measures import performance
performance.latency_alone = lambda *_: []
sys.exit(main(sys.argv[1:]))
"""
"""The command line, without the queries that are scored once more for their latency: these tests count pairs."""


def start(folder: Path, reranker: str, home: Path, *, runs: bool = True) -> Any:
    environment = {**os.environ, "RERANK_HARNESS_CACHE": str(home / "cache")}
    command = [
        "-c", PROGRAM, "run", folder, "--reranker", reranker, "--batch-tokens", "64",
        "--results", home / "results", *(["--save-runs", home / "runs"] if runs else []),
    ]  # fmt: skip
    return processes.start(command, environment, text=False)


def kill_when(process: Any, ready: Callable[[], bool]) -> None:
    """SIGKILL as soon as `ready`; fails the test if the process ends before."""
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def finish(process: Any) -> None:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    assert b"written to" in out


def answer_of(home: Path) -> tuple[object, object, list[object]]:
    (path,) = (home / "results").rglob("*@*.json")
    result = load_result(path, with_values=True)
    runs = [read_run(path) for path in sorted((home / "runs").rglob("*.trec"))]
    return result.measures, result.values, runs


@pytest.fixture(scope="module")
def whole_of_a_real_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The data, and the home of a run over it with the small cross-encoder that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    data = write_collection(folder / "birds")
    finish(start(data, MODEL, folder / "home"))
    return data, folder / "home"


@pytest.mark.parametrize("moments", [(1, 100, 200), (150, 160, 320)])
def test_a_killed_run_ends_in_the_same_result_and_scores_nothing_twice_but_a_batch(moments, tmp_path, monkeypatch):
    collection_folder = write_collection(tmp_path / "birds", documents=120, queries=12)
    counter = make_counter(tmp_path, monkeypatch, 'fingerprint = "slow 1"')
    source = Path(counter.name.partition(":")[0])
    source.write_text(source.read_text().replace("with calls", "__import__('time').sleep(0.01)\n        with calls"))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finish(start(collection_folder, counter.name, whole))
    total = len(counter.pairs())
    counter.reset()
    for moment in moments:
        enough = max(moment, len(counter.pairs()) + 1)
        kill_when(start(collection_folder, counter.name, cut), lambda enough=enough: len(counter.pairs()) >= enough)
    finish(start(collection_folder, counter.name, cut))
    assert answer_of(cut) == answer_of(whole)
    times = Counter(counter.pairs())
    assert len(times) == total
    twice = [pair for pair, count in times.items() if count > 1]
    assert total > 400
    assert len(twice) <= 16 * len(moments), "each kill costs the batch in flight, and no more"


@pytest.mark.parametrize("share", [0.15, 0.5, 0.9])
def test_a_real_model_killed_in_the_middle_resumes_to_the_bit(share, whole_of_a_real_model, tmp_path):
    data, whole = whole_of_a_real_model
    cut = tmp_path / "cut"

    def written(home: Path) -> int:
        return sum(path.stat().st_size for path in (home / "cache").glob("scores.sqlite*") if path.exists())

    limit = share * written(whole)
    kill_when(start(data, MODEL, cut), lambda: written(cut) >= limit)
    finish(start(data, MODEL, cut))
    assert answer_of(cut) == answer_of(whole)


def test_control_c_ends_with_130_and_says_that_the_same_command_resumes(collection_folder, tmp_path, monkeypatch):
    counter = make_counter(tmp_path, monkeypatch, 'fingerprint = "slow 2"')
    source = Path(counter.name.partition(":")[0])
    source.write_text(source.read_text().replace("with calls", "__import__('time').sleep(0.05)\n        with calls"))
    process = start(collection_folder, counter.name, tmp_path / "home")
    while len(counter.pairs()) < 5:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"the same command resumes" in err
    assert b"Traceback" not in err
    finish(start(collection_folder, counter.name, tmp_path / "home"))
