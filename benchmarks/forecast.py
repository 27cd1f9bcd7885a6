"""What `--dry-run` predicts of a run, and what the run then takes, each as a whole command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.sample import ROOT, TOP_K, data_folder
from harness.results.result import load_result


def forecast(model: Path, queries: int, threads: int, scratch: Path) -> dict[str, Any]:
    """Scoring seconds and peak GiB of reranking the candidates of `queries` queries: predicted, and measured.

    Seconds are those of scoring alone, without the loading of the model.
    """
    cache = {"RERANK_HARNESS_CACHE": str(scratch / "cache"), "OMP_NUM_THREADS": str(threads)}
    words = ["run", str(data_folder()[0]), "--top-k", str(TOP_K), "--results", str(scratch / "results")]
    _command(cache, *words)
    words += ["--reranker", str(model), "--limit", str(queries)]
    planned = _command(cache, *words, "--dry-run")["plan"][0]
    found = load_result(Path(_command(cache, *words)["results"][0]["path"]))
    rate = found.performance["tokens_per_second"]
    # A run of one batch has no rate behind the batch that loads the model: then that batch is what it took.
    took = found.diagnostics["tokens"] / rate if rate else found.performance["scoring_seconds"]
    return {
        "pairs": planned["pairs"],
        "seconds_predicted": round(planned["seconds"], 2),
        "seconds": round(took, 2),
        "gib_predicted": round(planned["memory_gib"], 3),
        "gib": found.performance["peak_memory_gib"],
    }


def _command(environment: dict[str, str], *words: str) -> Any:
    command = [sys.executable, str(ROOT / "run_eval.py"), *words, "--format", "json"]
    done = subprocess.run(command, env=os.environ | environment, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    return json.loads(done.stdout)
