"""Rerankers that are in memory: a function, an object that scores, or a model, as `harness.run` takes them.

An object that holds weights is keyed by a digest of them, so that its scores are kept like any model's
and a training step makes another key; a function is keyed by its source, and its scores serve one run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.digest import Digest
from ..rerankers.base import Reranker
from ..rerankers.plugin import wrap

__all__ = ["as_reranker", "name_of", "weights_digest"]


def as_reranker(given: Any, name: str | None = None) -> Reranker:
    """What `given` is as a reranker: one that is opened already, a model in memory, or a function or object that scores.

    `name` is what tables call it; without one, its own. Raises HarnessError for what cannot score.
    """
    if isinstance(given, Reranker):
        return given if name is None else replace(given, spec=replace(given.spec, name=name))
    called = name or name_of(given)
    target = _RawLogits(given) if _is_cross_encoder(given) else given
    wrapped = wrap(target, called)
    digest = weights_digest(given)
    settings = {key: value for key, value in wrapped.spec.settings if key not in ("declared", "name")}
    if digest is not None and not wrapped.spec.declared:
        settings |= {"declared": True, "weights": digest}
        spec = replace(
            wrapped.spec, name=called, revision=digest, settings=tuple(sorted(settings.items())), declared=True
        )
    else:
        spec = replace(wrapped.spec, name=called)
    return replace(wrapped, spec=spec)


def name_of(given: Any) -> str:
    """What the object says of itself: the hub's name or the folder that its model was loaded from, else its class or function."""
    for place in (given, getattr(given, "config", None), getattr(getattr(given, "model", None), "config", None)):
        for attribute in ("name", "model_name", "model_name_or_path", "_name_or_path"):
            found = getattr(place, attribute, None)
            if isinstance(found, str) and found:
                return Path(found).name if Path(found).is_dir() else found
    own = getattr(given, "__name__", None) or type(given).__name__
    return str(own).strip("<>")


def weights_digest(given: Any) -> str | None:
    """40 hex digits over every tensor of the modules that the object is or holds, by name, dtype, shape and bytes.

    With them the object's plain settings (strings, numbers), the configurations of its modules and its
    tokenizer: what else moves scores. None for an object without weights.
    """
    modules = dict(_modules(given))
    if not modules:
        return None
    import torch

    digest = Digest()
    for owner, module in modules.items():
        config = getattr(module, "config", None)
        if hasattr(config, "to_json_string"):
            digest.add("config", owner, _without_name(config))
        for name, tensor in sorted(module.state_dict().items()):
            whole = tensor.detach().cpu().contiguous()
            raw = whole.flatten().view(torch.uint8) if whole.numel() else whole.flatten()
            digest.add(owner, name, str(whole.dtype), str(tuple(whole.shape))).add(raw.numpy().tobytes())
    for name, value in sorted(vars(given).items()) if hasattr(given, "__dict__") else []:
        if isinstance(value, str | int | float | bool | None) and not name.startswith("__"):
            digest.add("setting", name, repr(value))
    digest.add("class", f"{type(given).__module__}.{type(given).__qualname__}")
    backend = getattr(getattr(given, "tokenizer", None), "backend_tokenizer", None)
    if backend is not None:
        digest.add("tokenizer", backend.to_str())
    return (digest.hex() + digest.hex())[:40]


def _without_name(config: Any) -> str:
    """The configuration as JSON without where it was loaded from: a path is no part of what is scored."""
    import json

    stated = json.loads(config.to_json_string(use_diff=False))
    stated.pop("_name_or_path", None)
    return json.dumps(stated, sort_keys=True)


def _modules(given: Any) -> Iterator[tuple[str, Any]]:
    """The torch modules that the object is, or has as attributes, by name. Imports no torch where none can be."""
    import sys

    torch = sys.modules.get("torch")
    if torch is None:
        return
    if isinstance(given, torch.nn.Module):
        yield "", given
        return
    for name, value in vars(given).items() if hasattr(given, "__dict__") else []:
        if isinstance(value, torch.nn.Module):
            yield name, value


def _is_cross_encoder(given: Any) -> bool:
    return any(
        kind.__name__ == "CrossEncoder" and kind.__module__.startswith("sentence_transformers")
        for kind in type(given).__mro__
    )


class _RawLogits:
    """A sentence-transformers CrossEncoder whose `predict` gives the raw logit: a sigmoid in half precision makes ties."""

    context = "pair"

    def __init__(self, model: Any) -> None:
        if getattr(model, "num_labels", 1) not in (1, None):
            raise HarnessError(
                f"{name_of(model)} has {model.num_labels} labels: save it, and name the folder, with --set label=… to say "
                f"which is scored"
            )
        self._model = model

    def predict(self, pairs: list[tuple[str, str]]) -> Any:
        """One raw logit a pair."""
        import torch

        model, training = self._model, self._model.training
        try:
            return model.predict(
                pairs, activation_fn=torch.nn.Identity(), convert_to_numpy=True, show_progress_bar=False
            )
        finally:
            model.train(training)
