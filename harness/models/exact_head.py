"""A classifier's head in float32 whatever the dtype of its transformer: rounded logits tie.

The transformer's states stay in half precision; what is computed from them (a pooler, dense layers,
the logits) is not rounded to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["exact_behind", "exact_head", "head_settings"]


def head_settings(dtype: str) -> Mapping[str, object]:
    """What a fingerprint must hold: nothing in float32, where there is nothing to round."""
    return {} if dtype == "float32" else {"head": "float32"}


def exact_head(model: Any) -> Any:
    """The same transformers model, everything behind its base model, and the base model's pooler, in float32."""
    body = getattr(model, getattr(model, "base_model_prefix", "") or "", None)
    if body is None or body is model:
        return model
    pooler = getattr(body, "pooler", None)
    heads = [part for _, part in model.named_children() if part is not body]
    for part in [*heads, *([pooler] if pooler is not None else [])]:
        part.float()
    if pooler is not None:
        pooler.register_forward_pre_hook(lambda _, inputs: tuple(_raised(value) for value in inputs))
    body.register_forward_hook(lambda _, __, output: _all_raised(output))
    return model


def exact_behind(model: Any) -> Any:
    """The SentenceTransformer, what stands behind its transformer (pooling, dense layers, normalisation) in float32."""
    transformer, *rest = model
    for module in rest:
        module.float()

    def raise_states(_: Any, __: Any, features: dict[str, Any]) -> dict[str, Any]:
        floats = {key: value for key, value in features.items() if getattr(value, "is_floating_point", bool)()}
        return features | {key: value.float() for key, value in floats.items()}

    transformer.register_forward_hook(raise_states)
    return model


def _raised(value: Any) -> Any:
    return value.float() if hasattr(value, "is_floating_point") and value.is_floating_point() else value


def _all_raised(output: Any) -> Any:
    """The output with the states that a head may read in float32."""
    if isinstance(output, tuple):
        return tuple(_raised(value) for value in output)
    for key in list(output.keys()):
        output[key] = _raised(output[key])
    return output
