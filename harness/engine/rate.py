"""How fast pairs were scored last on this machine: written by probes and runs, read by the forecasts of `list`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import NamedTuple

from ..files.cache import write_atomically

__all__ = ["Rate", "last_rate", "remember_rate"]

_NAME = "rate.json"


class Rate(NamedTuple):
    """Pairs a second of a reranker, as last seen."""

    reranker: str
    pairs_per_second: float


def remember_rate(cache: Path, reranker: str, pairs: float, seconds: float) -> None:
    """Keep what was seen; nothing where there was nothing to see. A cache that cannot be written is no error."""
    if pairs > 0 and seconds > 0:
        with contextlib.suppress(OSError):
            write_atomically(cache / _NAME, json.dumps(Rate(reranker, pairs / seconds)._asdict()))


def last_rate(cache: Path) -> Rate | None:
    """What was remembered last; None where nothing was."""
    try:
        known = json.loads((cache / _NAME).read_bytes())
        found = Rate(str(known["reranker"]), float(known["pairs_per_second"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found.pairs_per_second > 0 else None
