"""Published activations: from the margin that is ranked to the score that the authors show.

Only those that keep the order of any two margins: an activation that flattens some would make ties
that the margins do not have, and is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError
from .base import sigmoid

__all__ = ["IDENTITY", "SIGMOID", "Activation", "read_activation"]

Function = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class Activation:
    """A function of margins in float32, and its name."""

    name: str
    of: Function

    def __call__(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.of(margins)


def _softplus(margins: NDArray[np.float32]) -> NDArray[np.float32]:
    """log(1 + e^x), without overflow."""
    found: NDArray[np.float32] = np.logaddexp(np.float32(0), margins)
    return found


IDENTITY = Activation("identity", lambda margins: margins)
SIGMOID = Activation("sigmoid", sigmoid)
_KNOWN: Mapping[str, Activation] = {
    "Identity": IDENTITY,
    "Sigmoid": SIGMOID,
    "Tanh": Activation("tanh", np.tanh),
    "Softplus": Activation("softplus", _softplus),
    "LogSigmoid": Activation("log sigmoid", lambda margins: -_softplus(-margins)),
}


def read_activation(stated: str | None, chosen: Mapping[str, Any], name: str) -> Activation:
    """The activation of a model: the user's (`normalize`), else the stated class, else the sigmoid.

    Raises HarnessError for a stated class that is not known to keep the order.
    """
    if "normalize" in chosen:
        return SIGMOID if chosen["normalize"] else IDENTITY
    if stated is None:
        return SIGMOID
    where, _, kind = str(stated).rpartition(".")
    if kind not in _KNOWN or not (where + ".").startswith("torch."):
        raise HarnessError(
            f"{name} publishes its scores through {stated}, which is not known here; known are those of torch that keep "
            f"the order: {', '.join(_KNOWN)}. Say --set normalize=true for the sigmoid, or normalize=false for the bare score"
        )
    return _KNOWN[kind]
