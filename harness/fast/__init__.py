"""The fast path of encoders: no padding, the last layer only where it is scored, the chip's own kernels.

`pack` takes the weights of a loaded transformers model over. Scores equal the model's own to float
noise. An architecture that is not known here runs as transformers runs it, and `note_of` says so
in one sentence. The modules below import torch; this one does not until a model is packed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .packed import PackedEncoder

__all__ = ["note_of", "pack"]

_MODEL_TYPES = ("bert", "camembert", "roberta", "xlm-roberta")


def pack(model: Any) -> PackedEncoder | None:
    """The model on the fast path, or None where its architecture takes the plain one.

    What is not laid out anew is shared with `model`; drop the model to keep one copy of the weights.
    """
    from .packed import PackedEncoder
    from .weights import read_weights

    weights = read_weights(model)
    return PackedEncoder(weights) if weights else None


def note_of(config: Mapping[str, Any], note: str | None) -> str | None:
    """`note`, and for a model that takes the plain path a sentence that says so. `config` is its config.json."""
    kind = config.get("model_type") or "this architecture"
    if kind in _MODEL_TYPES and not config.get("auto_map"):
        return note
    plain = f"no fast path for {kind}: transformers runs it, padded"
    return f"{note}; {plain}" if note else plain
