"""The rankings behind results → mteb's `{Task}_predictions.json`, one file for each system and task.

They are what `mteb.evaluate(prediction_folder=…)` writes and `task.convert_to_reranking(folder)` reads: the model,
then subset → split → query_id → doc_id → score.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..results.rankings import read_rankings
from ..verdicts.pairing import Entry
from .mteb_out import Exported, as_path, hf_subset, model_of

__all__ = ["export_predictions"]


def export_predictions(entries: Sequence[Entry], output: Path, cache: Path) -> Exported:
    """Write each result's ranking (the reranked one, or of a first stage alone its own) below `output`.

    Raises HarnessError where no ranking is in the cache (exit code 3), where two results claim one place, and for a
    file that cannot be written.
    """
    done = Exported()
    files: dict[Path, dict[str, Any]] = {}
    for entry in entries:
        identity = entry.result.identity
        run = read_rankings(entry.result, cache).get("reranked" if identity.reranker else "first_stage")
        if identity.partial:
            done.left_out.append(f"{entry.path}: of a part of the queries alone: {identity.partial}")
        elif run is None:
            done.left_out.append(f"{entry.path}: its rankings are not in {cache}")
        else:
            name, revision = model_of(entry.result)
            path = output / as_path(name) / f"{as_path(identity.task)}_predictions.json"
            record = files.setdefault(path, {"mteb_model_meta": {"model_name": name, "revision": revision}})
            splits = record.setdefault(hf_subset(identity), {})
            if identity.split in splits:
                raise HarnessError(
                    f"{entry.path} and another result are both {path}'s {hf_subset(identity)}, {identity.split}: name one"
                )
            splits[identity.split] = run
    if not files:
        raise HarnessError(
            f"{done.left_out[0]}: run the same command again; no pair is scored twice"
            if done.left_out
            else "no result",
            exit_code=3,
        )
    for path, record in files.items():
        try:
            write_atomically(path, json.dumps(record, ensure_ascii=False, allow_nan=False))
        except OSError as error:
            raise HarnessError(f"cannot write {path}: {error.strerror or error}") from error
        done.paths.append(path)
    return done
