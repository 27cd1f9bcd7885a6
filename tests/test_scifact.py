"""The main job on real data, through the hub's own HTTP interface, in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import processes
import pytest
from conftest import ROOT

from harness.results.result import load_result

pytestmark = pytest.mark.shared


class Hub:
    """Commands with the local hub in front, or without any hub; one cache and results folder."""

    def __init__(self, shared: Path, home: Path) -> None:
        self.home, self._shared = home, shared
        self._env = {**os.environ, "RERANK_HARNESS_CACHE": str(home / "cache"), "HF_HOME": str(home / "hf")}
        self._env.pop("HF_ENDPOINT", None)

    def run(self, *words: object, hub: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        command = [ROOT / "run_eval.py", "run", *words, "--results", self.home / "results"]
        with self._serving(more) if hub else nullcontext("http://127.0.0.1:9") as endpoint:
            return processes.run(command, {**self._env, "HF_ENDPOINT": endpoint}, self.home)

    @contextmanager
    def _serving(self, faults: dict[str, str]) -> Iterator[str]:
        """The endpoint of the local hub, with faults of a test's choice."""
        line = [sys.executable, self._shared / "tools" / "local_hub.py", "serve", self._shared / "hub", "--port", "0"]
        with subprocess.Popen(
            [*map(str, line)], env={**os.environ, **faults}, stdout=subprocess.PIPE, text=True
        ) as hub:
            assert hub.stdout is not None
            try:
                yield hub.stdout.readline().strip().partition("=")[2]
            finally:
                hub.terminate()

    def results(self, *words: object, **more: str) -> list[dict]:
        done = self.run(*words, "--format", "json", **more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["results"]


@pytest.fixture(scope="module")
def hub(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Hub:
    return Hub(shared, tmp_path_factory.mktemp("hub"))


def test_bm25_on_scifact_equals_lucene(hub: Hub):
    (result,) = hub.results("SciFact")
    assert result["measures"]["nDCG@10"]["first_stage"] == pytest.approx(0.6789, abs=0.0005)
    assert result["measures"]["R@100"]["first_stage"] == pytest.approx(0.9253, abs=0.001)
    assert result["queries"] == 300


def test_a_hub_reranker_runs_and_runs_again_without_hub(hub: Hub):
    words = ["SciFact", "--retriever", "bm25", "--reranker", "standin/cross-encoder", "--limit", "3"]
    (first,) = hub.results(*words)
    again = hub.run(*words, "--format", "json", hub=False)
    assert again.returncode == 0, again.stderr
    (second,) = json.loads(again.stdout)["results"]
    assert second["reused"]
    assert second["measures"] == first["measures"]
    assert "last known commit" in again.stderr
    deeper = hub.run(*words, "--top-k", "20", "--dry-run", "--format", "json")
    (plan,) = json.loads(deeper.stdout)["plan"]
    assert plan["pairs"] in (None, 60)


def test_the_result_names_data_model_and_first_stage(hub: Hub):
    (result,) = hub.results("SciFact", "--reranker", "standin/cross-encoder", "--limit", "3")
    stored = load_result(Path(result["path"]), with_values=True)
    assert stored.identity.dataset_revision == "d56462d0e63a25450459c4f213e49ffdb866f7f9"
    assert len(stored.identity.reranker_revision) == 40
    assert stored.identity.reranker_settings["max_length"] == 512
    assert stored.environment["packages"]["torch"]
    assert len(stored.query_ids) == 3


def test_a_hub_that_fails_and_cuts_downloads_is_tried_again(shared: Path, tmp_path: Path):
    hub = Hub(shared, tmp_path)
    (result,) = hub.results(
        "SciFact", "--reranker", "standin/cross-encoder", "--limit", "2",
        LOCAL_HUB_FAIL_EVERY="3", LOCAL_HUB_CUT_EVERY="4",
    )  # fmt: skip
    assert result["queries"] == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["SciFact", "--reranker", "standin/no-such-model"], "standin/no-such-model"),
        (["SciFact", "--reranker", "standin/cross-encoder@0000000"], "0000000"),
        (["SciFact", "--retriever", "standin/cross-encoder"], "not a sentence-transformers model"),
    ],
)
def test_what_the_hub_does_not_have_is_one_line(hub: Hub, words, said):
    done = hub.run(*words)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    assert said in lines[0]


def test_a_hub_that_is_down_is_one_line(shared: Path, tmp_path: Path):
    done = Hub(shared, tmp_path).run("SciFact", hub=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "127.0.0.1:9" in done.stderr


def test_a_folder_of_trec_data_gives_the_published_figures(shared: Path, hub: Hub):
    folder = shared / "data" / "trec-dl19"
    words = [folder, "--candidates", folder / "runs" / "bm25.top100.trec.gz"]
    (plain,) = hub.results(*words)
    assert plain["measures"]["nDCG@10"]["first_stage"] == pytest.approx(0.5058, abs=5e-5)
    (strict,) = hub.results(*words, "--relevance-level", "2")
    assert strict["measures"]["MAP@100"]["first_stage"] == pytest.approx(0.2476, abs=5e-5)
    assert strict["measures"]["R@100"]["first_stage"] == pytest.approx(0.4910, abs=5e-5)


def test_documents_that_left_the_corpus_are_counted_and_can_be_skipped(shared: Path, tmp_path: Path):
    import gzip
    import shutil

    folder = tmp_path / "dl19"
    shutil.copytree(shared / "data" / "trec-dl19", folder)
    lines = gzip.decompress((folder / "corpus.jsonl.gz").read_bytes()).splitlines(keepends=True)
    (folder / "corpus.jsonl.gz").chmod(0o644)
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[::2])))
    hub = Hub(shared, tmp_path)
    words = [
        folder,
        "--candidates",
        folder / "runs" / "bm25.top100.trec.gz",
        "--reranker",
        "standin/cross-encoder",
        "--limit",
        "2",
    ]
    done = hub.run(*words)
    assert done.returncode == 2
    assert "have no text" in done.stderr
    (result,) = hub.results(*words, "--missing-text", "skip")
    assert 0 < result["diagnostics"]["skipped_without_text"] < 200
    assert result["diagnostics"]["pairs"] + result["diagnostics"]["skipped_without_text"] == 200
