"""The fast path of encoders: no padding, the last layer only where it is scored, the chip's own kernels.

`pack` takes the weights of a loaded transformers model over. Scores equal the model's own to float
noise. An architecture that is not known here runs as transformers runs it, and `plain_note` is the
sentence that says so. The modules below import torch; this one does not until a model is packed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .packed import PackedEncoder

__all__ = ["pack", "plain_note"]

_MODEL_TYPES = ("bert", "camembert", "roberta", "xlm-roberta")


def pack(model: Any) -> PackedEncoder | None:
    """The model on the fast path, or None where its architecture takes the plain one.

    What is not laid out anew is shared with `model`; drop the model to keep one copy of the weights.
    """
    from .packed import PackedEncoder
    from .weights import read_weights

    weights = read_weights(model)
    return PackedEncoder(weights) if weights else None


def plain_note(config: Mapping[str, Any]) -> str | None:
    """What to say of a model that takes the plain path; None where `config` (config.json) has a fast one."""
    kind = config.get("model_type") or "this architecture"
    if kind in _MODEL_TYPES and not config.get("auto_map"):
        return None
    return f"no fast path for {kind}: transformers runs it, padded"
