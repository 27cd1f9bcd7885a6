"""What is begun ahead is there when it is waited for, and stops nobody where it cannot be had."""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path

import pytest
from conftest import Cli
from golden_cases import model_folder, opened

from harness.engine import ahead
from harness.models.source import open_model, weights_here


@pytest.fixture(autouse=True)
def nothing_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "_running", None)


def test_libraries_are_imported_in_a_thread_of_their_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ahead, "_LIBRARIES", ("colorsys",))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    ahead.begin(["rgb_to_hsv", "a class that it does not have"])
    ahead.settled()
    assert "colorsys" in sys.modules
    begun = ahead._running
    ahead.begin([])
    assert ahead._running is begun


def test_libraries_that_are_there_begin_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ahead, "_LIBRARIES", ("sys",))
    ahead.begin([])
    assert ahead._running is None
    ahead.settled()


def test_a_library_that_cannot_be_imported_is_an_error_where_it_is_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ahead, "_LIBRARIES", ("a_library_that_nobody_has",))
    ahead.begin([])
    ahead.settled()


def test_files_are_read_ahead_and_missing_ones_are_let_be(tmp_path: Path):
    (tmp_path / "weights").write_bytes(b"x" * 10_000)
    ahead.read([tmp_path / "weights", tmp_path / "missing", tmp_path])


def test_the_weights_that_are_here_are_those_that_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    source = open_model(str(model_folder("cross-encoder")), tmp_path)
    assert [path.name for path in weights_here(source)] == ["model.safetensors"]
    assert all(path.is_file() for path in weights_here(source))


def on_cores(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    monkeypatch.setattr(ahead.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(ahead, "_LIBRARIES", ("a_library_that_nobody_has",))


def test_on_two_cores_one_is_left_to_imports_and_given_back(monkeypatch: pytest.MonkeyPatch):
    on_cores(monkeypatch, 2)
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    seen: list[str | None] = []
    monkeypatch.setattr(ahead, "_import", lambda _: seen.append(os.environ.get("TOKENIZERS_PARALLELISM")))
    ahead.begin([])
    ahead.settled()
    assert seen == ["false"]
    assert "TOKENIZERS_PARALLELISM" not in os.environ


def test_who_tokenizes_on_gets_the_core_back_when_imports_end(monkeypatch: pytest.MonkeyPatch):
    on_cores(monkeypatch, 2)
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    end = threading.Event()
    monkeypatch.setattr(ahead, "_import", lambda _: end.wait(10))
    ahead.begin([])
    ahead.cores_back()
    assert os.environ["TOKENIZERS_PARALLELISM"] == "false"
    end.set()
    assert ahead._running is not None
    ahead._running.join()
    ahead.cores_back()
    assert "TOKENIZERS_PARALLELISM" not in os.environ


@pytest.mark.parametrize(("cores", "own"), [(8, None), (2, "true"), (2, "false")])
def test_what_the_user_set_stays_and_many_cores_are_shared(
    cores: int, own: str | None, monkeypatch: pytest.MonkeyPatch
):
    on_cores(monkeypatch, cores)
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    if own is not None:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", own)
    ahead.begin([])
    assert os.environ.get("TOKENIZERS_PARALLELISM") == own
    ahead.settled()
    assert os.environ.get("TOKENIZERS_PARALLELISM") == own


def test_the_collector_is_as_it_was_after_imports(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ahead, "_LIBRARIES", ("a_library_that_nobody_has",))
    for enabled in (True, False):
        (gc.enable if enabled else gc.disable)()
        try:
            ahead._import([])
            assert gc.isenabled() is enabled
        finally:
            gc.enable()


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []
    monkeypatch.setattr(ahead, "begin", calls.append)
    return calls


def test_loading_begins_where_a_score_is_missing_and_nowhere_else(
    cli: Cli, collection_folder: Path, begun: list[list[str]], tmp_path: Path
):
    model = model_folder("cross-encoder")
    [reranker] = opened(model, tmp_path / "elsewhere")
    assert reranker.source is not None
    classes = reranker.source.config["architectures"]
    assert cli("run", collection_folder, "--reranker", model, "--results", "a").code == 0
    assert begun == [classes]
    assert cli("run", collection_folder, "--reranker", model, "--results", "b").code == 0
    assert begun == [classes], "every score was stored"
