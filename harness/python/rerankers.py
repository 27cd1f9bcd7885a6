"""Rerankers that are in memory: a function, an object that scores, or a model, as `harness.run` takes them.

A model of sentence-transformers, or of transformers with its tokenizer, is what it would be on disk: it
is saved into a temporary folder and opened from there, so that every rule of its family, the fast path
and the key are those of the saved model, and a training step has the key of its checkpoint. Another object
that holds weights is keyed by a digest of them; a function by its source, and its scores serve one run.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import replace
from functools import cache as once
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.digest import Digest
from ..rerankers.base import Reranker
from ..rerankers.plugin import FAMILY, wrap
from ..results.naming import place_of
from .running import Running, model_options
from .wanted import Wanted, open_one_reranker

__all__ = ["as_reranker", "in_memory", "name_of", "weights_digest"]


def as_reranker(given: Any, name: str | None = None, asked: Running | None = None) -> Reranker:
    """What `given` is as a reranker: one that is opened already, a model in memory, or a function or object that scores.

    `name` is what tables call it; without one, its own. `asked` says how a model is run. Raises
    HarnessError for what cannot score.
    """
    if isinstance(given, Reranker):
        return given if name is None else _named(given, name, given.place)
    given = _with_its_tokenizer(given)
    called = name or name_of(given)
    asked = asked or Running()
    if _can_be_saved(given):
        return _named(_from_its_folder(given, asked), called, _place(given))
    if asked.family not in (None, FAMILY):
        raise HarnessError(f"{called} is code of your own, which has no other family than {FAMILY}, not {asked.family}")
    wrapped = wrap(given, called, options=model_options(asked))
    digest = weights_digest(given)
    if digest is None or wrapped.spec.declared:
        return _named(wrapped, called, _place(given))
    settings = {key: value for key, value in wrapped.spec.settings if key not in ("declared", "name")}
    settings |= {"declared": True, "weights": digest}
    spec = replace(wrapped.spec, revision=digest, settings=tuple(sorted(settings.items())), declared=True)
    return _named(replace(wrapped, spec=spec), called, _place(given))


def in_memory(given: Any) -> Wanted:
    """What `given` is as one of several rerankers of a run; a name stays a name."""
    if isinstance(given, str | Path):
        return Wanted(str(given))
    given = _with_its_tokenizer(given)
    # Once for each way to run it: a run in parts takes the same reranker for all of them.
    return Wanted(name_of(given), opened=once(lambda asked: as_reranker(given, None, asked)))


def _named(reranker: Reranker, name: str, place: str = "") -> Reranker:
    return replace(reranker, spec=replace(reranker.spec, name=name), place=place)


def _with_its_tokenizer(given: Any) -> Any:
    """A transformers model and its tokenizer as that pair, also out of a pipeline; anything else as it is.

    Raises HarnessError for the one without the other, which would be called as if it were a function that scores.
    """
    place = type(given).__module__
    if place.startswith("transformers.pipelines"):
        return given.model, given.tokenizer
    if isinstance(given, tuple):
        if len(given) != 2 or sum(hasattr(part, "state_dict") for part in given) != 1:
            raise HarnessError(
                "a tuple is a model and its tokenizer, (model, tokenizer), and several rerankers are a list"
            )
        return tuple(sorted(given, key=lambda part: not hasattr(part, "state_dict")))
    if place.startswith("transformers.") and hasattr(given, "save_pretrained"):
        raise HarnessError(
            f"a {type(given).__name__} alone cannot score: give the model with its tokenizer, (model, tokenizer)"
        )
    return given


def _can_be_saved(given: Any) -> bool:
    """Whether it is a sentence-transformers model, or a transformers model with its tokenizer, and no subclass of one."""
    model = given[0] if isinstance(given, tuple) and len(given) == 2 else given
    place = type(model).__module__
    known = ("sentence_transformers.",) if model is given else ("transformers.",)
    return place.startswith(known) and hasattr(model, "save_pretrained")


def _from_its_folder(given: Any, asked: Running) -> Reranker:
    """The model, saved and opened as the folder that it then is; the folder goes with the reranker."""
    folder = Path(tempfile.mkdtemp(prefix="rerank-harness-model-"))
    try:
        for part in given if isinstance(given, tuple) else (given,):
            training = getattr(part, "training", None)
            _forget_use(getattr(part, "tokenizer", part))
            part.save_pretrained(str(folder))
            if training:
                part.train()  # saving may score an example for the model's card
        opened = open_one_reranker(str(folder), asked, lambda _: None)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(opened, shutil.rmtree, folder, ignore_errors=True)
    loader = opened.loader
    # `replace` makes another reranker: its loader holds on to the first, and so to the folder.
    return replace(opened, loader=lambda: (opened, loader())[1], place="")


def _forget_use(tokenizer: Any) -> None:
    """Take away what the last call left in a fast tokenizer: it would be saved, and every call sets it anew."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()


def name_of(given: Any) -> str:
    """What the object says of itself: the hub's name or the folder that its model was loaded from, else its class or function."""
    stated = _stated(given)
    if stated:
        return Path(stated).resolve().name if Path(stated).is_dir() else stated
    given = given[0] if isinstance(given, tuple) else given
    own = getattr(given, "__name__", None) or type(given).__name__
    return str(own).strip("<>")


def _stated(given: Any) -> str:
    """The name or the folder that an object states; empty where it states none."""
    given = given[0] if isinstance(given, tuple) else given
    for place in (given, getattr(given, "config", None), getattr(getattr(given, "model", None), "config", None)):
        for attribute in ("name", "model_name", "model_name_or_path", "_name_or_path"):
            found = getattr(place, attribute, None)
            if isinstance(found, str) and found:
                return found
    return ""


def _place(given: Any) -> str:
    """The folder that a model in memory was loaded from, by which it is named among others; empty without one."""
    folder = Path(_stated(given) or "?")
    return place_of(folder) if folder.is_dir() else ""


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
