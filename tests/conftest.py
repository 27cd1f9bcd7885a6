"""Fixtures that every test may use: a tiny collection, a counting reranker, the command line."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(__file__).resolve().parent / "assets"


LONG = (
    "test_causal.py", "test_encoders.py", "test_damage.py", "test_scale_out.py", "test_bi_encoder.py", "test_notebooks.py",
    "test_suites.py", "test_kill.py", "test_packed.py", "test_saved_layout.py", "test_own_code.py", "test_hub.py",
    "test_wheel.py", "test_store.py", "test_every_card.py", "test_every_task.py", "test_training.py", "test_scifact.py",
    "test_offline.py", "test_page.py", "test_report.py", "test_rerank.py", "test_kept_ids.py", "test_ahead.py",
    "test_until.py", "test_wanted.py", "test_skips.py", "test_workflows.py", "test_deberta.py", "test_t5.py",
)  # fmt: skip
"""Files of long tests: first in line, so that no process is left alone with one of them at the end."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """What the tests and the packages they import are made of stays: the collector need not look at it again and again."""
    gc.freeze()


ALLOWED_SKIPS = (
    "needs Chromium",  # no browser
    "needs the shared test data",
    "needs root",  # of these two one skips everywhere
    "root writes everywhere",
    "needs the right to mount a small disk",
    "needs a card that torch can use",  # make gpu
)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skip whose reason is not on the list fails, and is named: a test that nobody runs holds nothing."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("RERANK_HARNESS_NO_SKIPS") or terminal is None or hasattr(session.config, "workerinput"):
        return
    for report in terminal.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(allowed in reason for allowed in ALLOWED_SKIPS):
            terminal.write_line(f"SKIPPED, which CI does not allow: {report.nodeid}: {reason}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data: real data sets, tiny models, goldens; skips where it is absent."""
    folder = Path(os.environ.get("RERANK_HARNESS_SHARED", ROOT.parent / "shared"))
    if not (folder / "hub").is_dir():
        pytest.skip(f"needs the shared test data; {folder} is absent")
    return folder


WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "inlet", "jetty", "knoll", "larch"]


@pytest.fixture
def collection_folder(tmp_path: Path) -> Path:
    """A BEIR folder of 24 documents and 6 queries; document i holds words i, i+1, i+2 of twelve."""
    return write_collection(tmp_path / "birds")


def write_collection(folder: Path, documents: int = 24, queries: int = 6) -> Path:
    (folder / "qrels").mkdir(parents=True)
    corpus = [
        {
            "_id": f"d{i:02d}",
            "title": f"On {WORDS[i % 12]}" if i % 3 else "",
            "text": " ".join(WORDS[(i + step) % 12] for step in range(3)) + f" and note {i}",
        }
        for i in range(documents)
    ]
    asked = [{"_id": f"q{i}", "text": f"{WORDS[i % 12]} {WORDS[(i + 1) % 12]}"} for i in range(queries)]
    judged = [f"q{i}\td{i + step:02d}\t{2 - step}" for i in range(queries) for step in range(3)]
    write_lines(folder / "corpus.jsonl", [json.dumps(row) for row in corpus])
    write_lines(folder / "queries.jsonl", [json.dumps(row) for row in asked])
    write_lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *judged])
    return folder


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


COUNTING = '''
import os, pathlib

calls = pathlib.Path(os.environ["CALLS"])


class Counting:
    """Scores a pair by the words it shares; writes down every pair it was asked for."""

    {declared}

    def predict(self, pairs):
        with calls.open("a") as log:
            log.writelines(f"{{query}}\\t{{document}}\\n" for query, document in pairs)
        return [len(set(query.split()) & set(document.split())) + len(document) / 1000 for query, document in pairs]


counting = Counting()
'''


class Counter(NamedTuple):
    """A plug-in that keeps a list of the pairs it was asked for."""

    name: str
    log: Path

    def pairs(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def reset(self) -> None:
        self.log.unlink(missing_ok=True)


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """A pair-context plug-in with a declared fingerprint."""
    return make_counter(tmp_path, monkeypatch, 'fingerprint = "words 1"')


def make_counter(folder: Path, monkeypatch: pytest.MonkeyPatch, declared: str) -> Counter:
    file, log = folder / "counting.py", folder / "calls.tsv"
    file.write_text(COUNTING.format(declared=declared))
    monkeypatch.setenv("CALLS", str(log))
    return Counter(f"{file}:counting", log)


class Answer(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    def results(self) -> list[dict]:
        return json.loads(self.out)["results"]


Cli = Callable[..., Answer]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process, with a cache and a results folder of the test's own."""
    from harness.commands.cli import main

    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Answer:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call
