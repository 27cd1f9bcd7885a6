"""Reading a model's weights ourselves, strictly: for the architectures whose forward pass is ours.

Every expected weight must be there in its shape, and every weight in the files must be expected:
what an architecture has no place for would otherwise be left out of the scores in silence.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from .loading import all_finite, check_device, placed, torch_dtype
from .source import ModelSource, snapshot

__all__ = ["read_weights"]

Shape = tuple[int, ...]
_Entry = tuple[str, Shape, Callable[[], Any]]
"""A weight's name, its shape, and how to read it."""


def read_weights(
    source: ModelSource,
    expected: Mapping[str, Shape],
    *,
    dtype: str,
    device: str,
    ignorable: str = r"(?!)",
    needed: Collection[str] | None = None,
) -> dict[str, Any]:
    """Read name → tensor, of `dtype` on `device`, of the `needed` ones of the `expected` weights (None: all of them).

    Reads safetensors, or pickled weights with `weights_only`. `ignorable` matches names that may be
    in the files and are not read. Raises HarnessError where a weight is missing, unknown, of the
    wrong shape, quantised, or not finite.
    """
    check_device(device)
    wanted = expected if needed is None else needed
    found: dict[str, Any] = {}
    strange: list[str] = []
    seen: set[str] = set()
    for name, shape, read in _entries(source):
        if name not in expected:
            if not re.fullmatch(ignorable, name):
                strange.append(name)
            continue
        if shape != tuple(expected[name]):
            raise HarnessError(
                f"{source.name} does not fit {source.architecture}: the weight {name} has the shape {shape} in its "
                f"files, and config.json asks for {tuple(expected[name])}"
            )
        seen.add(name)
        if name in wanted:
            right = _finite(read(), name, source.name).to(torch_dtype(dtype))
            found[name] = placed(right, device, source.name)
    _refuse(source, "lack", [name for name in expected if name not in seen])
    _refuse(source, "hold, and it has no place for,", strange)
    return found


def _refuse(source: ModelSource, what: str, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise HarnessError(
            f"{source.name} does not fit {source.architecture}: its files {what} {', '.join(sorted(names)[:3])}{more}. "
            f"Is it a model of another kind (an adapter, a base model without its head)?"
        )


def _finite(weight: Any, name: str, model: str) -> Any:
    if not weight.is_floating_point():
        raise HarnessError(f"{model}: the weight {name} is {weight.dtype}; quantised weights are not read")
    if not all_finite(weight):
        raise HarnessError(f"{model}: the weight {name} holds NaN or infinite values")
    return weight


def _entries(source: ModelSource) -> Iterator[_Entry]:
    folder = snapshot(source)
    for file in source.weight_files():
        if file.endswith(".json"):
            continue
        reader = _safetensors if file.endswith(".safetensors") else _pickled
        try:
            yield from reader(folder / file)
        except HarnessError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise HarnessError(f"{source.name}: {file} cannot be read: {type(error).__name__}: {reason}") from error


def _safetensors(path: Path) -> Iterator[_Entry]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118  (not a mapping: it has keys and no iteration)
            yield name, tuple(file.get_slice(name).get_shape()), partial(file.get_tensor, name)


def _pickled(path: Path) -> Iterator[_Entry]:
    import torch

    # Only zip files can be mapped; the old format is read whole.
    weights = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    for name, weight in weights.items():
        yield name, tuple(weight.shape), partial(weights.__getitem__, name)
