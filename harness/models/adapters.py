"""LoRA adapters: a small change of some weights of a base model, merged into it when it is loaded.

W' = W + s·B·A with s = alpha/r, or alpha/√r for rank-stabilised LoRA (Hu et al., arXiv 2106.09685;
Kalajdzievski, arXiv 2312.03732). The files are those of the `peft` library, whose merge gives the
same weights. Only plain LoRA is merged: what an adapter has beyond it is an error, never left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import HarnessError

__all__ = ["ADAPTER_FOLDER", "head_rows", "merge_adapter"]

ADAPTER_FOLDER = ".lora-adapter"
"""Where the adapter's files stand below the files of its base, out of sight of libraries that would load them."""

_PLAIN = frozenset({
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "exclude_modules", "fan_in_fan_out",
    "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout",
    "megatron_core", "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern",
    "revision", "target_modules", "task_type", "use_rslora",
})  # fmt: skip
"""Keys of adapter_config.json that plain LoRA has; any other key that is set asks for more."""

_PLAIN_BEGINNINGS = (True, False, "gaussian", None)
"""Values of init_lora_weights. The others (PiSSA, OLoRA, CorDA, LoftQ) change the base weights themselves."""

_LORA = re.compile(r"(?P<path>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(\.weight)?\Z")


class _Change(NamedTuple):
    """What is added to one weight: B·A, turned where the weight keeps its inputs first."""

    path: str
    a: Any
    b: Any
    embedding: bool


def merge_adapter(model: Any, folder: Path, name: str) -> frozenset[str]:
    """Merge the adapter in `folder` into a transformers model; the names of the weights it gave whole.

    The sum is taken in float32, then rounded to the weight's dtype. Raises HarnessError where the
    adapter is more than plain LoRA, or holds a weight that the model has no place for.
    """
    import torch

    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    _refuse_more_than_plain(config, name)
    whole, changes = _sorted_out(_read(folder), name)
    places = _Places(model, name)
    with torch.no_grad():
        for key, value in whole.items():
            places.of(key, value.shape).copy_(value)
        for change in changes:
            delta = _scale(config, change) * (change.b.float() @ change.a.float())
            if change.embedding or config.get("fan_in_fan_out"):
                delta = delta.T
            weight = places.of(f"{change.path}.weight", delta.shape)
            weight.copy_(weight.float() + delta.to(weight.device))
    return frozenset(places.name_of(key) for key in whole)


def head_rows(folder: Path) -> int | None:
    """How many labels the classification head in the adapter's files has; None where they hold none."""
    for key, value in _read(folder).items():
        if re.fullmatch(r"(score|classifier(\.out_proj)?)\.weight", key):
            return int(value.shape[0])
    return None


class _Places:
    """A model's parameters, found by the names that an adapter has for them."""

    def __init__(self, model: Any, name: str) -> None:
        self._parameters: dict[str, Any] = dict(model.named_parameters(remove_duplicate=False))
        self._prefix = f"{model.base_model_prefix}."
        self._class, self._name = type(model).__name__, name

    def name_of(self, key: str) -> str:
        """The model's own name; an adapter trained with a head has one more prefix, or one less, than the model."""
        for candidate in (key, key.removeprefix(self._prefix), self._prefix + key):
            if candidate in self._parameters:
                return candidate
        raise HarnessError(f"{self._name} does not fit {self._class}: its adapter changes {key}, which the model lacks")

    def of(self, key: str, shape: Any) -> Any:
        """The parameter. Raises HarnessError where its shape is another."""
        found = self._parameters[self.name_of(key)]
        if tuple(found.shape) != tuple(shape):
            raise HarnessError(
                f"{self._name} does not fit {self._class}: its adapter has {key} in the shape {tuple(shape)}, "
                f"the model in {tuple(found.shape)}. Is it an adapter of another base model?"
            )
        return found


def _refuse_more_than_plain(config: Mapping[str, Any], name: str) -> None:
    kind = config.get("peft_type")
    more = sorted(key for key, value in config.items() if value and key not in _PLAIN)
    if config.get("init_lora_weights") not in _PLAIN_BEGINNINGS:
        more.append(f"init_lora_weights={config['init_lora_weights']}")
    if kind != "LORA" or more:
        raise HarnessError(
            f"{name} is an adapter of the kind {kind}{' with ' + ', '.join(more) if more else ''}; only plain LoRA is "
            f"merged here. Merge it with the peft library (merge_and_unload) and save the whole model."
        )


def _read(folder: Path) -> dict[str, Any]:
    """Every tensor of the adapter by its name below the base model."""
    import torch
    from safetensors.torch import load_file

    tensors: dict[str, Any] = {}
    for path in sorted(folder.glob("adapter_model*.safetensors")):
        tensors |= load_file(path)
    if not tensors:
        for path in sorted(folder.glob("adapter_model*.bin")):
            tensors |= torch.load(path, map_location="cpu", weights_only=True)
    short = {key.removeprefix("base_model.model."): value for key, value in tensors.items()}
    return {key.replace(".base_layer.", ".").replace(".modules_to_save.", "."): value for key, value in short.items()}


def _sorted_out(tensors: Mapping[str, Any], name: str) -> tuple[dict[str, Any], list[_Change]]:
    """Weights given whole, and the changes of the others."""
    whole: dict[str, Any] = {}
    halves: dict[tuple[str, bool], dict[str, Any]] = {}
    for key, value in tensors.items():
        found = _LORA.match(key)
        if found:
            halves.setdefault((found["path"], bool(found["embedding"])), {})[found["side"]] = value
        elif "lora_" in key:
            raise HarnessError(f"{name}: its adapter holds {key}, which is not plain LoRA")
        else:
            whole[key] = value
    for (path, _), sides in halves.items():
        if len(sides) < 2:
            raise HarnessError(f"{name}: its adapter holds only one of lora_A and lora_B of {path}")
    return whole, [_Change(path, sides["A"], sides["B"], embedding) for (path, embedding), sides in halves.items()]


def _scale(config: Mapping[str, Any], change: _Change) -> float:
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    matching = (alpha for key, alpha in patterns.items() if re.match(rf"(.*\.)?({key})$", change.path))
    alpha = next(matching, config["lora_alpha"])
    rank = change.a.shape[0]
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)
