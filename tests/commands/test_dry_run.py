"""`--dry-run`: counts that the run then meets, and nothing fetched or kept on the way."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import processes
import pytest
from conftest import DATA, Cli
from small_hub import serving

from harness.commands.dry_run import Planned, as_text
from harness.results.result import Result, load_result

MODEL = DATA / "models" / "cross-encoder"


def plan(cli: Cli, *words: object) -> dict:
    answer = cli("run", *words, "--dry-run", "--format", "json")
    assert answer.code == 0, answer.err
    (entry,) = json.loads(answer.out)["plan"]
    return entry


def ran(cli: Cli, *words: object) -> Result:
    (entry,) = cli("run", *words, "--format", "json").results()
    return load_result(Path(entry["path"]))


def test_counts_of_the_plan_are_those_of_the_run(cli: Cli, collection_folder: Path):
    words = [collection_folder, "--reranker", MODEL, "--limit", "4"]
    cli("run", collection_folder)
    entry = plan(cli, *words)
    result = ran(cli, *words)
    assert entry["state"] == "to compute"
    assert (entry["pairs"], entry["from_store"]) == (result.performance["pairs_scored"], 0)
    assert entry["tokens"] == result.diagnostics["tokens"]
    assert entry["seconds"] > 0
    assert entry["memory_gib"] > 0
    assert plan(cli, *words)["state"] == "there"


def test_what_is_in_the_store_costs_nothing(cli: Cli, collection_folder: Path):
    cli("run", collection_folder, "--reranker", MODEL, "--top-k", "5")
    cli("run", collection_folder, "--top-k", "8")
    entry = plan(cli, collection_folder, "--reranker", MODEL, "--top-k", "8")
    assert 0 < entry["from_store"] < entry["pairs"]
    everything = plan(cli, collection_folder, "--reranker", MODEL, "--top-k", "8", "--set", "max_length=32")
    assert everything["from_store"] == 0
    assert everything["tokens"] > entry["tokens"]


def test_without_candidates_the_cost_is_that_of_a_random_sample_at_most(cli: Cli, collection_folder: Path):
    cli("run", collection_folder, "--top-k", "3")  # prepares the data; its candidates are not those of the top 10
    entry = plan(cli, collection_folder, "--reranker", MODEL, "--top-k", "10")
    assert entry["state"] == "to compute: candidates first (at most)"
    assert entry["pairs"] == 6 * 10
    result = ran(cli, collection_folder, "--reranker", MODEL, "--top-k", "10")
    assert entry["pairs"] >= result.performance["pairs_scored"]
    mean = result.diagnostics["tokens"] / result.performance["pairs_scored"]
    assert entry["tokens"] / entry["pairs"] == pytest.approx(mean, rel=0.2)


def test_a_model_that_is_not_here_is_counted_and_left_where_it_is(cli: Cli, collection_folder: Path, tmp_path: Path):
    shutil.copytree(MODEL, tmp_path / "hub" / "models" / "tiny" / "cross-encoder")
    cli("run", collection_folder)
    words = ["run", collection_folder, "--reranker", "tiny/cross-encoder", "--dry-run", "--format", "json"]
    with serving(tmp_path / "hub") as endpoint:
        more = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "no_proxy": "127.0.0.1"}
        done = processes.run(["run_eval.py", *words], os.environ | more)
    (entry,) = json.loads(done.stdout)["plan"]
    assert "of the model to be fetched" in entry["state"]
    assert entry["tokens"] is None
    assert not list((tmp_path / "hf").rglob("*.safetensors"))


@pytest.mark.parametrize("fetched", [False, True])
def test_a_length_that_special_tokens_alone_fill_is_refused_before_anything_runs(
    cli: Cli, collection_folder: Path, fetched: bool
):
    if fetched:
        cli("run", collection_folder)
    answer = cli("run", collection_folder, "--reranker", MODEL, "--set", "max_length=3", "--dry-run")
    assert answer.code == 2
    assert "max_length=3 leaves no room for query and document" in answer.err


def test_the_plan_fits_the_terminal_and_says_below_what_comes_first():
    model = "organisation/a-model-with-a-rather-long-name-of-its-own"
    states = ["to compute: 91.6 MB of the model to be fetched (at most)", "to compute", "there"]
    planned = [
        Planned("DemoLanguages", "ar", "bm25", model, state, pairs=30_000, from_store=10, tokens=4_000_000, seconds=300.0, memory_gib=1.5, top_k=100)
        for state in states
    ]  # fmt: skip
    lines = as_text(planned, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert "30,000" in lines[2]
    assert f"91.6 MB of the model to be fetched (at most): {model}" in " ".join(" ".join(lines[5:]).split())
