"""Models with modules of their own, loaded by sentence-transformers as strictly as the others are."""

from __future__ import annotations

from typing import Any

from ..engine.ahead import settled
from ..engine.options import Options
from ..errors import HarnessError, MissingDependency
from .buffers import filled_memory, settle_buffers
from .exact_head import exact_behind
from .loading import check_device, torch_dtype
from .noticing import noticing
from .own_code import foreign_classes
from .running import explaining
from .source import ModelSource, snapshot
from .vocabulary import require_vocabulary

__all__ = ["load_library"]


def load_library(source: ModelSource, options: Options, max_length: int) -> Any:
    """The SentenceTransformer in `source`, cutting at `max_length` tokens.

    Raises MissingDependency where the package is not installed, and HarnessError for code of the model's
    own that was not allowed or fails, a weight that would be newly initialised, a tokenizer without a
    vocabulary, and a computed buffer that cannot be shown to be right.
    """
    settled()
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        who = f"{source.name} (modules of its own)"
        raise MissingDependency(who, "sentence-transformers", "pip install sentence-transformers") from None
    if source.adapter is not None:
        raise HarnessError(f"{source.name}: an adapter of a model with modules of its own cannot be merged")
    check_device(options.device)
    _refuse_code(source, trusted=options.trust_remote_code)
    folder = snapshot(source)
    for name in source.files:
        if name.rpartition("/")[2] == "tokenizer_config.json":
            require_vocabulary((folder / name).parent, source.name)
    new: list[str] = []
    with explaining(source, "loading"):
        with noticing(new), filled_memory():
            model = SentenceTransformer(
                str(folder),
                device=options.device,
                trust_remote_code=options.trust_remote_code,
                model_kwargs={"dtype": torch_dtype(options.dtype)},
            )
        if new:
            raise HarnessError(
                f"{source.name}: its files lack {', '.join(new[:3])}, which would be newly initialised with random "
                f"numbers (explain RH007)"
            )
        _settle(model, source.name)
        model.max_seq_length = max_length
    return model if options.dtype == "float32" else exact_behind(model)


def _refuse_code(source: ModelSource, *, trusted: bool) -> None:
    """Raise HarnessError for classes in modules.json that need code which was not allowed, or cannot be held at a commit."""
    foreign = foreign_classes(source.small)
    files = {name.rpartition("/")[2] for name in source.files}
    for kind in foreign:
        inside = f"{kind.rpartition('.')[0].rpartition('.')[2]}.py" in files
        if inside and not trusted:
            raise HarnessError(
                f"{source.name}: modules.json names the class {kind}, code from its own repository. Read that code, and "
                f"if you trust it, say --trust-remote-code"
            )
        package = kind.partition(".")[0]
        if not inside and not _installed(package):
            raise HarnessError(
                f"{source.name}: modules.json names the class {kind}, and there is neither a file of its own nor an "
                f'installed package "{package}" that has it: install the package it was saved with'
            )
    if source.code:
        raise HarnessError(
            f"{source.name} takes code from {source.code[0][0]}, which sentence-transformers cannot hold at a commit: "
            f"copy the code into a folder of the model and name it in config.json without the repository"
        )


def _installed(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


def _settle(model: Any, name: str) -> None:
    """Settle the computed buffers of every transformers model inside."""
    from transformers import PreTrainedModel

    inside: list[Any] = []
    for part in model.modules():
        if isinstance(part, PreTrainedModel) and not any(
            part is below for whole in inside for below in whole.modules()
        ):
            inside.append(part)
            settle_buffers(part, name, ())
