"""How a board's cost grows with its systems: `python -m benchmarks.boards [SYSTEMS ...]`.

Results of made systems on the thirteen tasks of NanoBEIR, 50 queries each, written as a run writes them;
then one board from them, in a process of its own. What is made resembles nDCG: many zeros and ones, and
systems in tiers of quality, so that some share a rank and others do not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SYSTEMS = (50, 100, 200, 500)
TASKS, QUERIES = 13, 50
_TIERS = 10


def main(words: list[str] | None = None) -> int:
    """Print a row for each number of systems."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.boards", description=str(__doc__).splitlines()[0])
    parser.add_argument("systems", nargs="*", type=int, default=SYSTEMS, metavar="SYSTEMS")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    if given.folder:
        print(json.dumps(measure(given.folder)))
        return 0
    print(f"{'systems':>8}{'pairs':>9}{'seconds':>9}{'CPU s':>8}{'MB':>7}  ranks")
    for systems in given.systems:
        with tempfile.TemporaryDirectory() as folder:
            write(systems, Path(folder))
            print(_line(systems, _apart(folder)), flush=True)
    return 0


def write(systems: int, folder: Path) -> None:
    """Cards of the tasks, and a result of every system on each."""
    (folder / "cards").mkdir()
    names = [f"Task{number:02}" for number in range(TASKS)]
    for name in names:
        (folder / "cards" / f"{name}.yaml").write_text(
            f"name: {name}\npath: org/{name}\nrevision: {'a' * 40}\nlanguages: [eng-Latn]\n"
        )
    numbers = np.random.default_rng(0)
    for name in names:
        hard = numbers.normal(0.0, 0.3, QUERIES)
        first = _values(numbers, hard, 0.45)
        for system in range(systems):
            quality = 0.45 + 0.2 * (system * _TIERS // systems) / _TIERS
            _result(name, f"org/system-{system:03}", first, _values(numbers, hard, quality)).save(folder / "results")


def _values(numbers: Any, hard: Any, quality: float) -> list[float]:
    found = np.clip(quality + hard + numbers.normal(0.0, 0.15, hard.size), 0.0, 1.0)
    return [round(float(value), 4) for value in found]


def _result(task: str, reranker: str, first: list[float], after: list[float]) -> Any:
    from harness.results.result import Identity, Result

    identity = Identity(
        task=task, subset="default", split="test", dataset=f"org/{task}", dataset_revision="a" * 40, card="packed",
        retriever="bm25", retriever_fingerprint="b" * 32, retriever_settings={"k1": 0.9, "b": 0.4}, top_k=100,
        reranker=reranker, reranker_revision="c" * 40, reranker_settings={"max_length": 512},
        reranker_fingerprint=hashlib.sha256(reranker.encode()).hexdigest()[:32],
    )  # fmt: skip
    stages = {"first_stage": first, "reranked": after}
    return Result(
        identity=identity, collection="e" * 32, candidates="f" * 32, queries=QUERIES, asked=("nDCG@10", "MAP@100"),
        measures={name: {stage: float(np.mean(column)) for stage, column in stages.items()} for name in _MEASURES},
        values=dict.fromkeys(_MEASURES, stages), query_ids=tuple(f"q{number}" for number in range(QUERIES)),
    )  # fmt: skip


_MEASURES = ("nDCG@10", "MAP@100", "RR@10", "R@100", "Judged@10")


def measure(folder: Path) -> dict[str, Any]:
    """Build and render the board of what lies in `folder`, in this process."""
    from harness.boards import board_of, build_table, render
    from harness.data.task import Cards

    tasks = sorted(path.stem for path in (folder / "cards").glob("*.yaml"))
    entry = {"tasks": tasks, "results": [str(folder / "results")]}
    before, used = time.perf_counter(), time.process_time()
    table = build_table(board_of("made", entry, Cards(folder / "cards"), folder / "cache"))
    forms = render(table)
    ranks = [[row.system.name, sorted(row.ranks.items())] for row in table.rows]
    return {
        "seconds": time.perf_counter() - before,
        "cpu": time.process_time() - used,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "ranks": hashlib.sha256(json.dumps(ranks).encode()).hexdigest()[:12],
        "groups": len({rank for row in table.rows for rank in row.ranks.values()}),
        "bytes": sum(map(len, forms.values())),
    }


def _apart(folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.boards", "--in", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _line(systems: int, row: dict[str, Any]) -> str:
    pairs = systems * (systems + 1) // 2
    return (
        f"{systems:>8}{pairs:>9,}{row['seconds']:>9.1f}{row['cpu']:>8.1f}{row['megabytes']:>7.0f}  "
        f"{row['groups']} ({row['ranks']}), {row['bytes'] / 1e6:.1f} MB of pages"
    )


if __name__ == "__main__":
    sys.exit(main())
