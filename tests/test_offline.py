"""`fetch` and `run --offline`: a bundle made where there is a hub, used where there is none."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DATA
from small_hub import serving
from suite_layouts import Runs, lay_out, small_cards

CROSS_ENCODER = "tiny/cross-encoder"


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """The machine with network."""
    home = tmp_path_factory.mktemp("online")
    lay_out(home / "hub")
    shutil.copytree(DATA / "models" / "cross-encoder", home / "hub" / "models" / CROSS_ENCODER)
    with serving(home / "hub") as endpoint:
        yield Runs(home, endpoint, small_cards(home / "cards"))


@pytest.fixture
def offline(online: Runs, tmp_path: Path) -> Runs:
    """Another machine, with caches of its own and a hub that nobody answers for."""
    return Runs(tmp_path, "http://127.0.0.1:9", online.cards)


def fetched(online: Runs, *words: object) -> subprocess.CompletedProcess[str]:
    done = online.command("fetch", *words, "--tasks", online.cards)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def bundle(online: Runs) -> Path:
    folder = online.home / "bundle"
    fetched(online, "NFCorpus", "FollowIR", "some-org/swahili-things", "--reranker", CROSS_ENCODER, "--to", folder)
    return folder


def test_what_is_missing_is_listed_with_sizes_before_anything_is_downloaded(online: Runs, tmp_path: Path):
    words = ["NFCorpus", "--reranker", CROSS_ENCODER, "--to", tmp_path / "b", "--dry-run", "--format", "json"]
    (data, model) = json.loads(fetched(online, *words).stdout)["wanted"]
    assert (data["name"], data["what_for"], len(data["files"])) == ("mteb/nfcorpus", "NFCorpus", 4)
    folder = online.home / "hub" / "datasets" / "mteb" / "nfcorpus"
    assert data["size"] == sum((folder / name).stat().st_size for name in data["files"])
    assert set(data["missing"]) == {"corpus.jsonl", "queries.jsonl", "qrels/test.jsonl"}
    assert "model.safetensors" in model["missing"]
    assert model["missing_size"] > 0
    assert not list((tmp_path / "b").rglob("corpus.jsonl"))
    assert not (tmp_path / "b" / "bundle.json").exists()


def test_a_bundle_that_is_there_is_completed_and_says_that_nothing_is_missing(online: Runs, bundle: Path):
    done = fetched(online, "NFCorpus", "--reranker", CROSS_ENCODER, "--to", bundle)
    assert "0 B to fetch" in done.stdout
    assert set(json.loads((bundle / "bundle.json").read_text())["tasks"]) >= {"NFCorpus", "some-org/swahili-things"}


def test_a_bundle_gives_the_same_figures_without_any_network(online: Runs, offline: Runs, bundle: Path):
    words = ["NFCorpus", "some-org/swahili-things", "News21InstructionRetrieval", "--reranker", CROSS_ENCODER]
    here = online.json(*words)["results"]
    there = offline.json(*words, "--offline", bundle)["results"]
    assert [result["measures"] for result in there] == [result["measures"] for result in here]
    assert not list((offline.home / "hf").rglob("*.jsonl"))


def test_a_bundle_is_only_read(offline: Runs, bundle: Path, tmp_path: Path):
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    offline.json("NFCorpus", "--offline", bundle)
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == before


def test_data_that_only_mtebs_class_can_read_travel_prepared(online: Runs, offline: Runs, tmp_path: Path):
    fetched(online, "SyntecRetrieval", "--to", tmp_path / "b")
    (result,) = offline.json("SyntecRetrieval", "--offline", tmp_path / "b")["results"]
    assert result["queries"] == 4


def test_what_a_bundle_lacks_is_one_line(offline: Runs, bundle: Path):
    done = offline.command("run", "T2Reranking", "--offline", bundle)
    assert done.returncode == 2
    assert "mteb/T2Reranking" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_folder_that_is_no_bundle_is_told(offline: Runs, tmp_path: Path):
    done = offline.command("run", "SciFact", "--offline", tmp_path)
    assert done.returncode == 2
    assert "is no bundle" in done.stderr


def test_an_unfinished_bundle_is_no_bundle(online: Runs, offline: Runs, tmp_path: Path):
    fetched(online, "NFCorpus", "--to", tmp_path / "b", "--dry-run")
    done = offline.command("run", "NFCorpus", "--offline", tmp_path / "b")
    assert "is no bundle" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a task, a suite or a --reranker"),
        (["SciFact"], "mteb/scifact"),
        (["--reranker", "tiny/nothing"], "there is no model tiny/nothing"),
        (["NFCorpus", "--to", __file__], "is a file: a bundle is a folder"),
    ],
)
def test_what_cannot_be_fetched_is_one_line(online: Runs, tmp_path: Path, words, said):
    done = online.command("fetch", "--to", tmp_path / "b", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
