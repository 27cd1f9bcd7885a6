"""How long the import of a clone of mteb's public results takes, and how much memory: python -m benchmarks.importing

It writes 105,000 files in the shapes of that repository (about 1.8 GB, in a temporary folder), the same
ones every time: retrieval results with bare NaN among their values, tasks of a hundred languages, FollowIR's
two instructions, files from before mteb 1.11, metas, experiments, and a few broken files. Then it imports them and
builds a leaderboard from the table. The aim is less than two minutes and 2 GB on two cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import load, processor
from harness.boards import read_board, render
from harness.boards.build import build_table
from harness.data.task import Cards
from harness.files.cache import cache_folder
from harness.interchange.mteb_in import import_results
from harness.results.result import Identity, Result

FILES = 105_000
TASKS = 150
CARD = ("SciFact", "NFCorpus", "FiQA2018", "ArguAna", "SCIDOCS", "TRECCOVID")
CUTOFFS = (1, 3, 5, 10, 20, 100, 1000)
LANGUAGES = 110


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="importing-") as name:
        folder = Path(name)
        size = generate(folder / "clone", given.files)
        print(f"{given.files:,} files, {size / 1e9:.2f} GB; {processor()}, load {load()}")
        started, spent = time.perf_counter(), cpu()
        report = import_results(folder / "clone", folder / "all.parquet", main_scores, workers=given.workers)
        shown("import", started, spent)
        parent, worker = (
            resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        print(
            f"  peak memory {parent + given.workers * worker:.2f} GiB at most: {parent:.2f}, and {worker:.2f} a worker"
        )
        print(f"  {json.dumps(report.record(), indent=1)}")
        started, spent = time.perf_counter(), cpu()
        rows = board_rows(folder)
        shown("leaderboard", started, spent)
        print(f"  {rows} rows; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def main_scores() -> dict[str, tuple[str, str]]:
    """As mteb would say them; asking mteb itself takes seconds, once for every version of it."""
    return {task.lower(): (task, "ndcg_at_10") for task in CARD}


def shown(what: str, started: float, spent: float) -> None:
    print(f"{what}: {time.perf_counter() - started:.1f} s, {cpu() - spent:.1f} s of processor time")


def cpu() -> float:
    """Seconds of processor time of this process and of those it has waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def board_rows(folder: Path) -> int:
    """Builds the board of all forms over the imported table and one result of our own; its rows."""
    own_result().save(folder / "results")
    text = f"title: Imported\ntasks: [{', '.join(CARD)}]\nresults: [{folder / 'results'}]\nimported: [{folder / 'all.parquet'}]\n"
    (folder / "board.yaml").write_text(text)
    table = build_table(read_board("board", folder, Cards(), cache_folder()))
    assert all(render(table).values())
    return len(table.rows)


def own_result() -> Result:
    task = Cards().task(CARD[0])
    identity = Identity(
        task=task.name, subset="default", split="test", dataset=task.path, dataset_revision=task.revision, card="packed",
        retriever="bm25", retriever_fingerprint="0" * 32, retriever_settings={}, top_k=100, reranker="org/ours",
        reranker_revision="0" * 40, reranker_fingerprint="0" * 32, reranker_settings={},
    )  # fmt: skip
    values = {"first_stage": [0.25, 0.5], "reranked": [0.5, 0.75]}
    return Result(
        identity, collection="0" * 32, candidates="0" * 32, queries=2, asked=("nDCG@10",),
        measures={"nDCG@10": {"first_stage": 0.375, "reranked": 0.625}}, values={"nDCG@10": values}, query_ids=("a", "b"),
    )  # fmt: skip


def generate(folder: Path, files: int) -> int:
    """Writes the files; returns their bytes."""
    shapes = [(task, list(shape(task, number))) for number, task in enumerate(tasks())]
    size = written = 0
    for model in range(files):
        place = folder / "results" / f"org__model-{model:04d}" / f"{model:040x}"
        if model % 20 == 19:
            place = place / "experiments" / "dim_256"
        place.mkdir(parents=True)
        (place / "model_meta.json").write_text(json.dumps(meta(model)))
        for task, bodies in shapes:
            if written == files:
                return size
            # A value of its own for each model, as wide as the one it stands for.
            body = bodies[model % len(bodies)].replace("0.11111", f"0.{model % 90000 + 10000:05d}")
            broken = written % 5003 == 5002
            (place / f"{task}.json").write_text(body[: len(body) // 2] if broken else body)
            size += len(body)
            written += 1
    return size


def tasks() -> list[str]:
    return [*CARD, "News21InstructionRetrieval", *(f"Task{number:03d}" for number in range(TASKS - len(CARD) - 1))]


def meta(model: int) -> dict[str, Any]:
    return {
        "name": f"org/model-{model:04d}", "revision": f"{model:040x}", "license": "mit", "n_parameters": 1000 * model,
        "max_tokens": float("inf"), "training_datasets": {"NFCorpus": ["train"]} if model % 3 else None,
    }  # fmt: skip


def shape(task: str, number: int) -> Iterator[str]:
    """The bodies that files of one task have: one of every version of mteb."""
    revision = Cards().task(task).revision if task in CARD else f"{number:040x}"
    record: dict[str, Any] = {"dataset_revision": revision, "task_name": task, "evaluation_time": 12.5}
    if task == "News21InstructionRetrieval":
        sides = {"og": retrieval(), "changed": retrieval()}
        entries = [{**retrieval(), "p-MRR": 0.11111, **sides, "main_score": 0.11111, "hf_subset": "default"}]
    elif number % 10 == 9:
        entries = [{**classification(), "main_score": 0.11111, "hf_subset": f"l{i}"} for i in range(LANGUAGES)]
    elif task in CARD or number % 3 == 0:
        entries = [{**retrieval(), "main_score": 0.11111, "hf_subset": "default"}]
    else:
        entries = [{**classification(), "main_score": 0.11111, "hf_subset": "default"}]
    listed = [{**each, "languages": ["eng-Latn"]} for each in entries]
    for version in ("1.18.0", "1.38.9", None):
        yield json.dumps({**record, "mteb_version": version, "scores": {"test": listed}}, indent=2)
    versioned = [{**each, "mteb_version": "2.18.7"} for each in listed]
    yield json.dumps({**record, "mteb_version": "2.18.7", "date": 1.7e9, "scores": {"test": versioned}}, indent=2)
    if task in CARD:
        old = {"mteb_dataset_name": task, "mteb_version": "1.0.2", "dataset_revision": revision}
        yield json.dumps({**old, "test": {"evaluation_time": 12.5, **retrieval()}}, indent=2)


def retrieval() -> dict[str, float]:
    found = {}
    for cutoff in CUTOFFS:
        for name in ("ndcg", "map", "recall", "precision", "mrr"):
            found[f"{name}_at_{cutoff}"] = 0.11111
            for kind in ("max", "std", "diff1"):
                found[f"nauc_{name}_at_{cutoff}_{kind}"] = float("nan") if cutoff == 1000 else 0.25
    return found


def classification() -> dict[str, Any]:
    runs = [{"accuracy": 0.25, "f1": 0.25, "ap": 0.25} for _ in range(10)]
    return {"accuracy": 0.11111, "f1": 0.25, "f1_weighted": 0.25, "ap": 0.25, "scores_per_experiment": runs}


if __name__ == "__main__":
    main()
