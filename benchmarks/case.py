"""One model beside one package: what a line of the table of families is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Case"]


class Case(NamedTuple):
    """A tiny model and the scores that it must have."""

    family: str
    """A family of rerankers, or `first stage`."""
    name: str
    oracle: str
    asked: float
    """The largest difference that is right."""
    run: Callable[[Path], tuple[np.ndarray, Any, bool | None]]
    """Makes the model in a folder and gives our scores, the oracle's, and whether the token ids are equal (None where
    it shows none)."""
