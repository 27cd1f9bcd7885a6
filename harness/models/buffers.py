"""Buffers that a model computes and does not save: shown to be right, or the model is refused.

transformers 5 builds a model without memory and fills it from the files. What the files lack is left
as the memory happened to be, unless the model's code initialises it anew, which code written for an
older transformers does not. So the model is built twice more on a real device, its parameters left
out, and whatever is not in the files is taken from there. Memory that nobody wrote is NaN in the first
build, and random numbers differ between the two: both are refused.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from ..errors import HarnessError
from .own_code import is_own_class

__all__ = ["filled_memory", "settle_buffers"]


@contextmanager
def filled_memory() -> Iterator[None]:
    """Inside the block torch gives memory that is filled with NaN (integers with their largest value), never with leftovers."""
    import torch

    memory: Any = torch.utils.deterministic
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*deterministic")
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled


def settle_buffers(model: Any, name: str, missing: Collection[str]) -> None:
    """Give a model just loaded the right values of what its files do not hold.

    `missing` are the names of weights that the files lack. Raises HarnessError for a value that two builds
    of the model do not agree on, or that none of them computes, and whatever building it raises.
    """
    computed = _computed(model, missing)
    if not computed:
        return
    first, second = (_built(model, seed) for seed in (0, 1))
    for module_name, attribute in computed:
        right, other = (_value(build, module_name, attribute) for build in (first, second))
        where = f"{module_name}.{attribute}".lstrip(".")
        _refuse_unsure(right, other, f"{name}: {where} is computed by {type(model).__name__} and not saved")
        module = model.get_submodule(module_name)
        found = getattr(module, attribute)
        if found.is_meta or not _same(found, right):
            setattr(module, attribute, right.to("cpu" if found.is_meta else found.device))


def _computed(model: Any, missing: Collection[str]) -> list[tuple[str, str]]:
    """(module, attribute) of what the files do not hold: buffers, and tensors that were left without memory."""
    import torch

    found = []
    for module_name, module in model.named_modules():
        for attribute, buffer in module.named_buffers(recurse=False):
            unsaved = attribute in module._non_persistent_buffers_set
            if unsaved or f"{module_name}.{attribute}".lstrip(".") in missing:
                found.append((module_name, attribute))
            del buffer
        plain = (
            attribute for attribute, value in vars(module).items() if isinstance(value, torch.Tensor) and value.is_meta
        )
        found += [(module_name, attribute) for attribute in plain]
    return found


def _value(model: Any, module_name: str, attribute: str) -> Any:
    return getattr(model.get_submodule(module_name), attribute, None)


def _built(model: Any, seed: int) -> Any:
    """The model's class, built from its configuration with real buffers and, where its code allows it, no parameters."""
    import torch

    def build() -> Any:
        # Filling the parameters too takes its time; transformers' own classes leave nothing unwritten.
        fill = filled_memory() if seed == 0 and is_own_class(type(model)) else nullcontext()
        with torch.random.fork_rng(devices=[]), fill:
            torch.manual_seed(seed)
            return type(model)._from_config(copy.deepcopy(model.config), dtype=model.dtype)

    try:
        with _no_parameters():
            return build()
    except (
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
    ):  # code that looks at its parameters while it builds needs real ones
        return build()


@contextmanager
def _no_parameters() -> Iterator[None]:
    """Inside the block a module's parameters have a shape and no memory."""
    import torch

    module: Any = torch.nn.Module
    register = module.register_parameter

    def without_memory(self: Any, name: str, parameter: Any) -> None:
        register(self, name, parameter)
        if parameter is not None and not parameter.is_meta:
            kind = type(parameter)
            self._parameters[name] = kind(parameter.to("meta"), requires_grad=parameter.requires_grad)

    module.register_parameter = without_memory
    try:
        yield
    finally:
        module.register_parameter = register


def _refuse_unsure(right: Any, other: Any, what: str) -> None:
    import torch

    why = None
    if not isinstance(right, torch.Tensor) or right.is_meta:
        why = "a model built anew does not have it"
    elif (right.is_floating_point() or right.is_complex()) and bool(torch.isnan(right).any()):
        why = "a model built anew leaves it unwritten, or NaN"
    elif _never_written(right):
        why = "a model built anew leaves it unwritten"
    elif not isinstance(other, torch.Tensor) or not _same(right, other):
        why = "two models built anew do not agree on it"
    if why:
        raise HarnessError(f"{what}, and {why}: scores from it would be chance")


def _never_written(tensor: Any) -> bool:
    import torch

    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    return bool(whole and tensor.numel() and (tensor == torch.iinfo(tensor.dtype).max).all())


def _same(one: Any, other: Any) -> bool:
    import torch

    same_kind = one.dtype == other.dtype and one.shape == other.shape
    return same_kind and bool(torch.equal(one.cpu(), other.cpu()))
