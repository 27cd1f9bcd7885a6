"""Rows of one length in a batch, for models whose answers padding moves although it is masked.

Convolutions, Fourier transforms and pooled attention look at places that the mask hides: beside longer rows a short
one scores as no row alone does. A model whose kind is known for it, or that is seen doing it on its first batch of
unlike rows, gets rows of one length at a time, so that what it is computed with moves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Company", "padding_setting"]

_MOVED = frozenset({"canine", "convbert", "fnet", "mobilebert", "nystromformer", "perceiver", "xlnet", "yoso"})
_NOISE = {"float32": 1e-3}
"""The largest part of an answer that rounding alone moves; half precision is the other one."""
_NOISE_OF_HALVES = 0.25

Answers = NDArray[np.float32]


def padding_setting(config: Mapping[str, Any]) -> dict[str, object]:
    """For the key of a model by its config.json: that its rows are never padded, where padding would move its answers."""
    return {"padding": "none"} if config.get("model_type") in _MOVED else {}


class Company:
    """What rows are computed together, and whether padding was seen to move an answer."""

    def __init__(self, config: Mapping[str, Any], dtype: str) -> None:
        self._apart: bool | None = True if padding_setting(config) else None
        self._noise = _NOISE.get(dtype, _NOISE_OF_HALVES)

    def answers(self, lengths: Sequence[int], compute: Callable[[Sequence[int]], Answers]) -> Answers:
        """One answer a row; `compute` gives those of the rows in the places that it is told, padded to one length."""
        places = range(len(lengths))
        if len(set(lengths)) == 1:
            return compute(places)
        if not self._apart:
            found = compute(places)
            if self._apart is None:
                shortest = int(np.argmin(lengths))
                alone = compute([shortest])[0]
                self._apart = bool(np.abs(found[shortest] - alone).max() > self._noise * max(1.0, np.abs(alone).max()))
            if not self._apart:
                return found
        groups = [[place for place in places if lengths[place] == length] for length in sorted(set(lengths))]
        return np.concatenate([compute(group) for group in groups])[np.argsort(np.concatenate(groups))]
