"""Loading weights with transformers, strictly: a model that does not fit is refused by name.

The commonest user error is a model of the wrong kind: weights that the architecture lacks are
filled with random numbers and noise is scored. Here every missing or newly initialised weight is
an error that names it.
"""

from __future__ import annotations

import logging
import math
import warnings
from functools import wraps
from pickle import UnpicklingError
from typing import Any

from ..engine.ahead import settled
from ..engine.options import Options
from ..engine.plan import is_out_of_memory
from ..errors import HarnessError
from .adapters import ADAPTER_FOLDER, merge_adapter
from .buffers import filled_memory, settle_buffers
from .own_code import is_own_class, refuse_ignored
from .running import code_revision, explaining, failure
from .source import ModelSource, snapshot

__all__ = [
    "all_finite",
    "body_class",
    "check_device",
    "load_weights",
    "placed",
    "quiet_transformers",
    "torch_dtype",
]

_HARMLESS_MISSING = ("position_ids", "rotary_emb.inv_freq")
"""Buffers that old checkpoints stored and new code computes."""
_ENCODERS = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}
"""Encoder-decoders of which sentence-transformers runs the encoder alone."""


def body_class(source: ModelSource) -> str:
    """The class of transformers that a model without its head is loaded as."""
    return _ENCODERS.get(str(source.config.get("model_type")), "AutoModel")


def torch_dtype(name: str) -> Any:
    """torch's dtype of a name such as float32 or bfloat16."""
    import torch

    return getattr(torch, name)


def load_weights(auto_class: str, source: ModelSource, options: Options, **more: Any) -> Any:
    """A transformers model in eval mode on the device of `options`, an adapter beside its files merged into it.

    `auto_class` is an Auto class such as AutoModelForSequenceClassification. Weights are read from
    safetensors, or with `torch.load(weights_only=True)`, never by unpickling code. Raises
    HarnessError where the architecture needs remote code that was not allowed, where weights are
    missing (a head that would be newly initialised), of the wrong shape, or not finite, and where a
    computed buffer cannot be shown to be right.
    """
    settled()
    check_device(options.device)
    if not options.trust_remote_code:
        refuse_ignored(source.name, source.config, auto_class)
    model, report = _from_pretrained(auto_class, source, options, more)
    adapter = snapshot(source) / ADAPTER_FOLDER
    brought = merge_adapter(model, adapter, source.name) if adapter.is_dir() else frozenset()
    missing = [key for key in report["missing_keys"] if not (key.endswith(_HARMLESS_MISSING) or key in brought)]
    wrong_shape = [str(entry[0]) for entry in report.get("mismatched_keys", ())]
    if missing or wrong_shape:
        raise HarnessError(
            f"{source.name} does not fit {type(model).__name__}: its files lack {_some(missing + wrong_shape)}, "
            f"which would be newly initialised with random numbers (explain RH007). Is it a model of another kind "
            f"(an embedding model, a base model without its head)?"
        )
    with explaining(source, "loading"):
        settle_buffers(model, source.name, report["missing_keys"])
    for key, weight in model.state_dict().items():
        if weight.is_floating_point() and not all_finite(weight):
            raise HarnessError(f"{source.name}: the weight {key} holds NaN or infinite values")
    return _explained(placed(model, options.device, source.name).eval(), source)


def placed(weights: Any, device: str, name: str) -> Any:
    """A model or tensor on its device. Raises HarnessError where there is no room for it."""
    try:
        return weights.to(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise HarnessError(
            f"{name} does not fit into the memory of {device} ({str(error).partition('. ')[0]}): take --dtype bfloat16, a "
            f"device with more memory, or end what else runs there"
        ) from error


def all_finite(weight: Any) -> bool:
    """Whether a tensor holds neither NaN nor an infinite value.

    Either stays in a sum whatever else is added, so a finite sum says it all, at a tenth of the cost; the sum of
    finite numbers may overflow, and then each is looked at.
    """
    import torch

    usual = weight.dtype in (torch.float32, torch.float16, torch.bfloat16)
    if usual and math.isfinite(float(weight.detach().sum(dtype=torch.float32))):
        return True
    return bool(torch.isfinite(weight).all())


def _from_pretrained(auto_class: str, source: ModelSource, options: Options, more: dict[str, Any]) -> tuple[Any, Any]:
    """The model as transformers loads it, and its report of missing weights."""
    import transformers

    folder = str(snapshot(source))
    quiet_transformers()
    try:
        with filled_memory():
            found: tuple[Any, Any] = getattr(transformers, auto_class).from_pretrained(
                folder,
                dtype=torch_dtype(options.dtype),
                output_loading_info=True,
                trust_remote_code=options.trust_remote_code,
                **code_revision(source),
                **more,
            )
    except Exception as error:
        raise HarnessError(failure(source, "loading", error) or _cannot_load(source, auto_class, error)) from error
    return found


def _explained(model: Any, source: ModelSource) -> Any:
    """The model, errors of whose forward pass are told in one line where its class is code of its own."""
    if is_own_class(type(model)):
        own = model.forward

        @wraps(own)
        def forward(*inputs: Any, **named: Any) -> Any:
            with explaining(source, "its forward pass"):
                return own(*inputs, **named)

        model.forward = forward
    return model


def check_device(device: str) -> None:
    """Raise HarnessError where torch cannot use `device` here."""
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        others = [name for name in ("cpu", "auto", "cuda", "mps") if name != device.partition(":")[0]]
        raise HarnessError(
            f'device "{device}" cannot be used here: {reason.rstrip(".")}. Take --device {", ".join(others[:-1])} or '
            f"{others[-1]}; doctor shows what there is"
        ) from None


def quiet_transformers() -> None:
    """Keep transformers' progress bars and advice off the terminal; what matters is raised as errors."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"transformers\..*")


def _cannot_load(source: ModelSource, auto_class: str, error: Exception) -> str:
    """For files that are damaged, or of another kind, and for whatever transformers stumbles over."""
    if isinstance(error, UnpicklingError):
        return (
            f"{source.name} cannot be loaded: its weights are damaged, or hold pickled code, which is never run here. "
            f"Fetch them again, or save them as safetensors."
        )
    text = " ".join(str(error).split())
    if "trust_remote_code" in text or "custom code" in text:
        return (
            f"{source.name} needs code from its own repository to load. Read that code, and if you trust it, "
            f"say --trust-remote-code"
        )
    return f"{source.name} cannot be loaded as {auto_class}: {type(error).__name__}: {text[:300]}"


def _some(keys: list[str]) -> str:
    shown = ", ".join(sorted(keys)[:3])
    return f"{shown} and {len(keys) - 3} more" if len(keys) > 3 else shown
