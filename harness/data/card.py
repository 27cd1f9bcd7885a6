"""The file of a card → a Task, or an Aggregate where it lists tasks. docs/tasks.md has every key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import HarnessError, did_you_mean
from ..files.cache import cache_folder
from ..files.digest import digest_of_settings
from ..files.yaml_file import read_yaml
from ..types import Aggregate, Measure, Subset, Task
from .layout import files_of_card
from .listings import folder_revision
from .names import fields_of_card
from .uncarded import DEFAULT_MEASURES

__all__ = ["mapping", "read_aggregate", "read_card", "refuse_unknown_keys"]

_KEYS = {
    "name", "path", "revision", "split", "languages", "subsets", "measures", "identical_ids", "licence", "prompt",
    "counts", "folder", "candidates", "clusters", "relevance_level", "fields", "files",
}  # fmt: skip
_AGGREGATE_KEYS = {"name", "tasks", "mean", "measures", "licence"}
_SUBSET_KEYS = {"split", "languages", "config", "counts"}
_HEX40 = re.compile(r"[0-9a-f]{40}\Z")


def mapping(value: Any, path: Path) -> dict[str, Any]:
    """The value of a YAML file, which is to be a mapping. Raises HarnessError where it is not."""
    if not isinstance(value, dict):
        raise HarnessError(f'{path}: expected "key: value" lines, found {type(value).__name__}')
    return value


def refuse_unknown_keys(entry: Mapping[str, Any], known: set[str], path: Path, where: str) -> None:
    """Raises HarnessError for a key of `entry` that is not in `known`; `where` names the entry."""
    for key in entry:
        if key not in known:
            raise HarnessError(
                f'{path}: unknown key "{key}" in {where}; known: {", ".join(sorted(known))}.{did_you_mean(str(key), known)}'
            )


def read_card(path: Path, *, packed: bool, folder: Path | None = None) -> Task:
    """The task of a card. `folder` is that of a card that lies in its own data as `task.yaml`.

    Raises HarnessError for whatever the card gets wrong.
    """
    card = mapping(read_yaml(path), path)
    refuse_unknown_keys(card, _KEYS, path, "the card")
    name = str(card.get("name", path.stem if folder is None else folder.name))
    if folder is None and name != path.stem:
        raise HarnessError(f'{path}: a card is named after its task, but its name is "{name}"')
    if folder is None and card.get("folder"):
        folder = (path.parent / str(card["folder"])).resolve()
    files = files_of_card(card.get("files"), str(card.get("split") or "test"), path)
    data_path = str(folder) if folder else str(card.get("path", ""))
    revision = folder_revision(folder, cache_folder(), files) if folder else str(card.get("revision", ""))
    if not data_path or not _HEX40.match(revision):
        raise HarnessError(f'{path}: a card needs "path" and "revision" (40 hex digits), or "folder"')
    for key, words in (("identical_ids", ("keep", "drop")), ("candidates", ("retrieved", "given", "scope"))):
        if card.get(key, words[0]) not in words:
            raise HarnessError(f'{path}: "{key}" is {", ".join(words[:-1])} or {words[-1]}, not "{card[key]}"')
    return Task(
        name=name,
        path=data_path,
        revision=revision,
        subsets=_subsets(card, path),
        measures=_measures(card, path),
        relevance_level=_relevance_level(card, path),
        given_lists=card.get("candidates") == "given",
        scoped=card.get("candidates") == "scope",
        drop_identical_ids=card.get("identical_ids") == "drop",
        licence=str(card.get("licence", "")),
        prompt=str(card.get("prompt") or ""),
        clusters=_clusters(card, path),
        folder=folder is not None,
        fields=fields_of_card(card.get("fields"), path),
        files=files,
        origin="packed" if packed else digest_of_settings(_what_moves_numbers(card)),
    )


def read_aggregate(entry: Mapping[str, Any], path: Path) -> Aggregate:
    """The aggregate of a card that lists tasks. Raises HarnessError for whatever the card gets wrong."""
    refuse_unknown_keys(entry, _AGGREGATE_KEYS, path, "the card")
    if str(entry.get("name", path.stem)) != path.stem:
        raise HarnessError(f'{path}: a card is named after its task, but its name is "{entry["name"]}"')
    if entry.get("mean", "unweighted") != "unweighted":
        raise HarnessError(f'{path}: "mean" is unweighted, not "{entry["mean"]}"')
    members = tuple(str(member) for member in entry["tasks"])
    measures = _measures(entry, path)
    return Aggregate(path.stem, members, tuple((str(measure), (str(measure),) * len(members)) for measure in measures))


_MOVE_NOTHING = ("name", "licence", "counts", "measures", "clusters")
"""Keys that move no figure: clusters widen its interval alone."""


def _what_moves_numbers(card: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [(key, value) for key, value in card.items() if key not in _MOVE_NOTHING]


def _clusters(card: Mapping[str, Any], path: Path) -> str:
    """As `Task.clusters` has it."""
    said = card.get("clusters", "")
    if isinstance(said, dict) and len(said) == 1:
        ((rule, argument),) = said.items()
        if rule in ("prefix", "stem", "field") and isinstance(argument, str) and argument:
            return f"{rule}:{argument}"
    if said in ("", "none", "shared relevant", "base query"):
        return str(said)
    raise HarnessError(
        f'{path}: "clusters" is none, shared relevant, base query, {{prefix: "_"}}, {{stem: "_"}} or {{field: NAME}}, '
        f'not "{said}"'
    )


def _measures(card: Mapping[str, Any], path: Path) -> tuple[Measure, ...]:
    if "measures" not in card:
        return DEFAULT_MEASURES
    try:
        return tuple(Measure.parse(str(text)) for text in card["measures"])
    except ValueError as error:
        raise HarnessError(f"{path}: {error}") from None


def _relevance_level(card: Mapping[str, Any], path: Path) -> int:
    level = card.get("relevance_level", 1)
    if isinstance(level, int) and not isinstance(level, bool) and level >= 1:
        return level
    raise HarnessError(
        f'{path}: "relevance_level" is a whole number from 1 on, the lowest grade that is relevant, not "{level}"'
    )


def _subsets(card: Mapping[str, Any], path: Path) -> tuple[Subset, ...]:
    entries = card.get("subsets") or {"default": {}}
    found = []
    for name, value in mapping(entries, path).items():
        entry = mapping(value or {}, path)
        refuse_unknown_keys(entry, _SUBSET_KEYS, path, f'subset "{name}"')
        merged = {key: entry.get(key, card.get(key)) for key in ("split", "languages", "counts")}
        counts = merged["counts"] or {}
        found.append(
            Subset(
                name=str(name),
                split=str(merged["split"] or "test"),
                languages=tuple(str(language) for language in merged["languages"] or ()),
                config=str(entry.get("config", "" if name == "default" else name)),
                queries=counts.get("queries"),
                documents=counts.get("documents"),
            )
        )
    return tuple(found)
