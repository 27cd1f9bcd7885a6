"""What stands behind the transformer of a sentence-transformers reranker: Pooling and a chain of small modules.

The chain runs in float32 whatever the transformer's dtype: scores that are rounded tie. Each module
reads a named tensor and writes one, as in sentence-transformers 6.2; what is called `scores` at the
end is the answer. Weights are read strictly.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError
from .loading import all_finite
from .source import ModelSource, snapshot

if TYPE_CHECKING:
    from pathlib import Path

    from .cross_encoder import Module

__all__ = ["ModuleChain"]

_VECTOR = "sentence_embedding"
_FAST = ("cls", "lasttoken", "mean", "max")
"""Poolings of one mode that a packed model computes itself."""
_LEGACY = {
    "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max", "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean", "pooling_mode_lasttoken": "lasttoken",
}  # fmt: skip
Tensors = dict[str, Any]


class ModuleChain:
    """The modules after a transformer, loaded on `device`. `modules` are those of a `CrossEncoderLayout`.

    Raises HarnessError for weights that are missing, strange, of another shape or not finite, for an
    activation that is none of torch's, and for a chain that gives no scores.
    """

    def __init__(self, source: ModelSource, modules: Sequence[Module], device: str) -> None:
        folder = snapshot(source)
        self._source = source
        self._modes = _modes(modules[0]) if modules[0].kind == "Pooling" else ()
        rest = modules[1:] if self._modes else modules
        self._steps = [_STEPS[module.kind](_Files(source, folder, module, device)) for module in rest]
        last = modules[-1].config
        if last.get("module_output_name", last.get("module_input_name", _VECTOR)) != "scores":
            raise HarnessError(f"{source.name}: its last module, {modules[-1].kind}, writes no scores")

    @property
    def pooling(self) -> str | None:
        """The pooling that a packed model can do, after which `of_vectors` gives the scores; None where it cannot."""
        return self._modes[0] if len(self._modes) == 1 and self._modes[0] in _FAST else None

    def of_vectors(self, vectors: Any) -> Any:
        """Float32 scores (rows, labels) of pooled vectors (rows, features)."""
        return self._run({_VECTOR: vectors.float()})

    def of_tokens(self, hidden: Any, mask: Any) -> Any:
        """Float32 scores (rows, labels) of all tokens' states (rows, tokens, features), padded on the right."""
        features: Tensors = {"token_embeddings": hidden.float(), "attention_mask": mask}
        if self._modes:
            _pool(features, self._modes)
        return self._run(features)

    def _run(self, features: Tensors) -> Any:
        for step in self._steps:
            step(features)
        return features["scores"]


class _Files:
    """A module's config and its weights."""

    def __init__(self, source: ModelSource, folder: Path, module: Module, device: str) -> None:
        self.source, self.module, self.config, self.device = source, module, module.config, device
        self._folder = folder

    def weights(self, shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
        """The weights of these names and shapes, float32; there must be no others."""
        found: Tensors = {}
        for file in self.source.weight_files():
            if file.rpartition("/")[0] == self.module.folder and not file.endswith(".json"):
                found |= _read(self._folder / file)
        where = f"{self.source.name}: the module {self.module.folder}"
        if set(found) != set(shapes):
            different = ", ".join(sorted(set(found) ^ set(shapes)))
            raise HarnessError(
                f"{where} must hold the weights {', '.join(shapes) or 'none'}; they differ in {different}"
            )
        for name, shape in shapes.items():
            if tuple(found[name].shape) != shape:
                raise HarnessError(f"{where} holds {name} in the shape {tuple(found[name].shape)}, not {shape}")
            if not all_finite(found[name]):
                raise HarnessError(f"{where}: the weight {name} holds NaN or infinite values")
        return {name: weight.float().to(self.device) for name, weight in found.items()}

    @property
    def names(self) -> tuple[str, str]:
        """What the module reads and what it writes."""
        read = str(self.config.get("module_input_name") or _VECTOR)
        return read, str(self.config.get("module_output_name") or read)

    @property
    def activation(self) -> Callable[[Any], Any]:
        """The activation of a Dense: a module of torch; tanh where none is stated."""
        import torch

        stated = str(self.config.get("activation_function", "torch.nn.modules.activation.Tanh"))
        where, _, kind = stated.rpartition(".")
        found = getattr(importlib.import_module(where), kind, None) if where.split(".")[0] == "torch" else None
        if not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
            raise HarnessError(
                f"{self.source.name}: the module {self.module.folder} applies {stated}, which is no activation of torch; "
                f"wrap the model in a plug-in (--reranker path/file.py:attribute) to run it"
            )
        made: Callable[[Any], Any] = found()
        return made


def _read(path: Path) -> Tensors:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        loaded: Tensors = load_file(path)
        return loaded
    import torch

    found: Tensors = torch.load(path, map_location="cpu", weights_only=True)
    return found


def _dense(files: _Files) -> Callable[[Tensors], None]:
    from torch.nn.functional import linear

    wide, narrow = int(files.config["in_features"]), int(files.config["out_features"])
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (narrow, wide)}
    residual = bool(files.config.get("use_residual"))
    if files.config.get("bias", True):
        shapes["linear.bias"] = (narrow,)
    if residual and wide != narrow:
        shapes["residual.weight"] = (narrow, wide)
    weights, activation, (read, write) = files.weights(shapes), files.activation, files.names

    def run(features: Tensors) -> None:
        x = features[read]
        found = activation(linear(x, weights["linear.weight"], weights.get("linear.bias")))
        if residual:
            found = found + (linear(x, weights["residual.weight"]) if "residual.weight" in weights else x)
        features[write] = found

    return run


def _layer_norm(files: _Files) -> Callable[[Tensors], None]:
    from torch.nn.functional import layer_norm

    size = int(files.config["dimension"])
    weights = files.weights({"norm.weight": (size,), "norm.bias": (size,)})

    def run(features: Tensors) -> None:
        features[_VECTOR] = layer_norm(features[_VECTOR], (size,), weights["norm.weight"], weights["norm.bias"])

    return run


def _normalize(files: _Files) -> Callable[[Tensors], None]:
    from torch.nn.functional import normalize

    read, write = files.names

    def run(features: Tensors) -> None:
        if read in features:
            features[write] = normalize(features[read], dim=-1)

    return run


def _pooling(files: _Files) -> Callable[[Tensors], None]:
    modes = _modes(files.module)
    return lambda features: _pool(features, modes)


def _dropout(_: _Files) -> Callable[[Tensors], None]:
    """It is for training."""
    return lambda _: None


_STEPS: Mapping[str, Callable[[_Files], Callable[[Tensors], None]]] = {
    "Dense": _dense,
    "LayerNorm": _layer_norm,
    "Normalize": _normalize,
    "Pooling": _pooling,
    "Dropout": _dropout,
}


def _modes(module: Module) -> tuple[str, ...]:
    stated = module.config.get("pooling_mode")
    if stated is None:
        return tuple(mode for key, mode in _LEGACY.items() if module.config.get(key))
    return (stated,) if isinstance(stated, str) else tuple(stated)


def _pool(features: Tensors, modes: Sequence[str]) -> None:
    import torch

    hidden, mask = features["token_embeddings"], features["attention_mask"]
    features[_VECTOR] = torch.cat([_pooled(hidden, mask, mode) for mode in modes], dim=-1)


def _pooled(hidden: Any, mask: Any, mode: str) -> Any:
    """One vector a row, padding (mask 0, on the right) left out."""
    import torch

    from .runners import pool

    if mode in _FAST:
        return pool(hidden, mask, mode)
    seen = mask.unsqueeze(-1).float()
    if mode == "mean_sqrt_len_tokens":
        return (hidden * seen).sum(1) / seen.sum(1).sqrt()
    if mode == "weightedmean":
        weights = seen * torch.arange(1, hidden.shape[1] + 1, device=hidden.device).view(1, -1, 1)
        return (hidden * weights).sum(1) / weights.sum(1)
    raise HarnessError(f"the pooling {mode} is not known here; known are {', '.join(_LEGACY.values())}")
