"""Which files of a model's folder decide what it computes: all of them, but for what surely does not.

Left out are the same weights in a second form, documentation, what training leaves behind, and what
programs keep for themselves (hidden files, compiled Python). A file of any other name counts, also one
that nobody here has heard of: code of the model's own may read it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

__all__ = ["PICKLED", "SAFETENSORS", "deciding_files", "files_below"]

SAFETENSORS = re.compile(r"(model|pytorch_model|adapter_model)[\w.-]*\.safetensors(\.index\.json)?\Z")
PICKLED = re.compile(r"(pytorch_model|adapter_model)[\w.-]*\.bin(\.index\.json)?\Z")

_OTHER_FORMS = re.compile(
    r"(.*/)?([^/]+\.(h5|msgpack|onnx|onnx_data|ot|gguf|ggml|tflite|mlmodel)|consolidated[^/]*\.(pth|safetensors))\Z"
    r"|(.*/)?(onnx|openvino|coreml|original)/"
)
_DOCUMENTS = re.compile(
    r"(.*/)?((readme|license|licence|notice|changelog|citation|authors)[^/]*|[^/]+\.(md|rst|pdf|png|jpe?g|gif|svg|webp|ipynb)"
    # The list of training data that sentence-transformers' first models came with; no program reads it.
    r"|data_config\.json)\Z",
    re.IGNORECASE,
)
_OF_TRAINING = re.compile(
    r"(.*/)?((optimizer|scheduler|scaler)\.(pt|bin)|rng_state[^/]*\.pth|training_args\.bin|trainer_state\.json"
    r"|events\.out\.tfevents[^/]*)\Z"
    r"|(.*/)?(checkpoint-|global_step)\d+/"
)


def files_below(folder: Path) -> list[str]:
    """The names of all files below `folder`, relative to it and sorted; links to folders are followed, once each."""
    found, seen = [], set()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        below = Path(where).relative_to(folder)
        found += [(below / name).as_posix() for name in names if (Path(where) / name).is_file()]
    return sorted(found)


def deciding_files(files: Collection[str]) -> list[str]:
    """Those of a model's files, sorted, that may move what it computes."""
    with_safetensors = {_folder(name) for name in files if SAFETENSORS.match(_base(name))}
    return sorted(name for name in files if not _left_out(name, with_safetensors))


def _left_out(name: str, with_safetensors: Collection[str]) -> bool:
    kept_for_itself = any(part.startswith(".") or part == "__pycache__" for part in name.split("/"))
    second = PICKLED.match(_base(name)) and _folder(name) in with_safetensors
    return bool(
        kept_for_itself or second or _OTHER_FORMS.match(name) or _DOCUMENTS.match(name) or _OF_TRAINING.match(name)
    )


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _base(name: str) -> str:
    return name.rpartition("/")[2]
