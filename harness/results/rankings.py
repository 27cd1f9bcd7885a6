"""Rankings of results, kept in the cache: what `compare` and `report` show documents from.

A result holds values; where each document stood is kept apart, compact, under a digest of what the
result says of itself. A ranking that is not there is no error: it is shown as missing.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import zlib
from pathlib import Path

from ..files.cache import write_atomically
from ..files.digest import digest_of
from ..types import Run, ranked
from .result import Result

__all__ = ["keep_rankings", "read_rankings"]


def keep_rankings(result: Result, first_stage: Run | None, reranked: Run | None, cache: Path) -> None:
    """Keep both rankings of a result, each None where there is none. A cache that cannot be written is no error."""
    runs = {"first_stage": first_stage, "reranked": reranked}
    lists = {stage: _packed(run) for stage, run in runs.items() if run is not None}
    with contextlib.suppress(OSError):
        write_atomically(_place(result, cache), gzip.compress(json.dumps(lists).encode(), 6, mtime=0))


def read_rankings(result: Result, cache: Path) -> dict[str, Run]:
    """stage (first_stage, reranked) → Run, with float32 scores; empty where nothing whole is kept."""
    try:
        lists = json.loads(gzip.decompress(_place(result, cache).read_bytes()))
        return {stage: _unpacked(entries) for stage, entries in lists.items()}
    except (OSError, EOFError, zlib.error, ValueError, TypeError, AttributeError):
        return {}


def _place(result: Result, cache: Path) -> Path:
    identity = result.identity
    key = digest_of(
        str(identity.path(Path())), identity.reranker_fingerprint or "", result.collection, result.candidates
    )
    return cache / "rankings" / f"{key}.json.gz"


def _packed(run: Run) -> dict[str, tuple[list[str], str]]:
    """query_id → doc_ids, best first, and their scores as base64 of little-endian float32."""
    import numpy as np

    packed = {}
    for query_id, scores in run.items():
        doc_ids = ranked(scores)
        single = np.array([scores[doc_id] for doc_id in doc_ids], "<f4")
        packed[query_id] = (doc_ids, base64.b64encode(single.tobytes()).decode("ascii"))
    return packed


def _unpacked(entries: dict[str, tuple[list[str], str]]) -> Run:
    import numpy as np

    return {
        query_id: dict(zip(doc_ids, np.frombuffer(base64.b64decode(data), "<f4").tolist(), strict=True))
        for query_id, (doc_ids, data) in entries.items()
    }
