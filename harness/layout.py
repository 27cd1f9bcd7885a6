"""Which files of a data set hold its corpus, queries, qrels and the rest.

A hub data set says so in the `configs` of its card's YAML; a folder in BEIR's layout, and a data
set without `configs`, by the names of its files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from .errors import HarnessError, did_you_mean

__all__ = ["Layout", "data_files", "layout_of_card", "layout_of_names", "splits_of_names"]

Splits = Mapping[str, Sequence[str]]
"""split → paths or globs, as a card's config gives them."""

_TABLES = (".jsonl", ".jsonl.gz", ".parquet")
_QRELS = (".tsv", ".tsv.gz", *_TABLES, ".txt", ".txt.gz", ".qrels", ".qrels.gz")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_CONFIGS = {"qrels": ("default", "qrels"), "queries": ("queries", "query")}
"""The names a part's config may have; a part that is not here has its own name alone."""


@dataclass(frozen=True)
class Layout:
    """The files of each part, relative to the data set; empty where the data set has no such part."""

    corpus: tuple[str, ...]
    queries: tuple[str, ...]
    qrels: tuple[str, ...]
    instruction: tuple[str, ...] = ()
    top_ranked: tuple[str, ...] = ()
    qrel_diff: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def files(self) -> list[str]:
        """Every file once."""
        return list(dict.fromkeys(name for part in _PARTS for name in getattr(self, part)))


_PARTS = tuple(field.name for field in fields(Layout))
_NEEDED = ("corpus", "queries", "qrels")


# -- a card's configs


def layout_of_card(card: str, names: Sequence[str], config: str, split: str, source: str) -> Layout | None:
    """The layout that a data set card declares; None where it declares no `configs`.

    `names` are the files there are; `config` is a prefix (`zh` for zh-corpus) or a suffix
    (corpus-zh); `source` names the data set in errors. A part that has the split `split` gives it;
    else it gives its only split, but qrels must have it. Raises HarnessError for YAML that cannot
    be read, a missing part or split, and a path that matches no file.
    """
    configs = _configs(card, source)
    if not configs:
        return None
    parts: dict[str, tuple[str, ...]] = {}
    for part in _PARTS:
        found = next((name for name in _config_names(part, config) if name in configs), None)
        if found is None:
            if part in _NEEDED:
                raise _no_part(part, config, configs, source)
            continue
        patterns = _of_split(configs[found], part, split, f'config "{found}" of {source}')
        parts[part] = tuple(_matches(patterns, names, f'config "{found}" of {source}'))
    return Layout(**parts)


def _config_names(part: str, config: str) -> list[str]:
    names = _CONFIGS.get(part, (part,))
    return [joined for name in names for joined in (f"{config}-{name}", f"{name}-{config}")] if config else list(names)


def _no_part(part: str, config: str, configs: Iterable[str], source: str) -> HarnessError:
    names = " or ".join(f'"{name}"' for name in _config_names(part, config))
    there = ", ".join(list(configs)[:20])
    return HarnessError(f"{source} has no config {names} for its {part}; it has {there}")


def _configs(card: str, source: str) -> dict[str, dict[str, list[str]]]:
    """The paths of each split of each config, from the YAML before a card's text."""
    import yaml

    found = _FRONT_MATTER.match(card.removeprefix("\ufeff"))
    if found is None:
        return {}
    try:
        # The C parser is ten times as fast on cards of a thousand lines, and as safe.
        front = yaml.load(found[1], Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise HarnessError(f"the card of {source} is not readable YAML: {error}") from error
    entries = front.get("configs") if isinstance(front, dict) else None
    configs = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("data_files"):
            configs[str(entry.get("config_name", "default"))] = dict(
                _splits(entry["data_files"], entry.get("data_dir"))
            )
    return configs


def _splits(data_files: Any, data_dir: str | None) -> Iterator[tuple[str, list[str]]]:
    """The forms that `data_files` may take; paths without a split are the split `train`."""
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    entries = data_files if isinstance(data_files, list) else [data_files]
    plain = [entry for entry in entries if isinstance(entry, str)]
    named = [(str(entry["split"]), entry["path"]) for entry in entries if isinstance(entry, dict)]
    for split, path in [*([("train", plain)] if plain else []), *named]:
        paths = path if isinstance(path, list) else [path]
        yield split, [f"{data_dir}/{path}" if data_dir else str(path) for path in paths]


def _of_split(splits: Splits, part: str, split: str, where: str) -> Sequence[str]:
    if split in splits:
        return splits[split]
    if part != "qrels":
        if part in splits:
            return splits[part]
        if len(splits) == 1:
            return next(iter(splits.values()))
    raise HarnessError(f'{where} has no split "{split}"; it has {", ".join(splits)}.{did_you_mean(split, splits)}')


def _matches(patterns: Iterable[str], names: Sequence[str], where: str) -> list[str]:
    """The files that paths and globs stand for, sorted within each pattern, each once."""
    found: dict[str, None] = {}
    for pattern in patterns:
        bare = pattern.removeprefix("./")
        test = re.compile(_glob(bare))
        hits = [bare] if bare in names else sorted(name for name in names if test.fullmatch(name))
        if not hits:
            raise HarnessError(f'{where} names "{pattern}", and there is no such file')
        found.update(dict.fromkeys(hits))
    return list(found)


def _glob(pattern: str) -> str:
    """A glob as a regular expression: * and ? stay within a folder, ** does not."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        wild.get(piece) or (piece.replace("[!", "[^") if piece.startswith("[") else re.escape(piece))
        for piece in pieces
    )


# -- names alone


def layout_of_names(names: Sequence[str], config: str, split: str, source: str) -> Layout:
    """The layout by BEIR's names: corpus.jsonl, queries.jsonl, qrels/<split>.tsv and the rest.

    Each as .jsonl, .jsonl.gz or .parquet, or as parquet shards (corpus-00000-of-00002.parquet, also
    in a folder of the part's name); qrels as .tsv too. With `config` all of them in the folder of
    that name. Raises HarnessError for a missing part or split, and a part that two kinds of file hold.
    """
    base = f"{config}/" if config else ""
    parts = {part: _named_files(names, f"{base}{part}", _TABLES, source) for part in _PARTS if part != "qrels"}
    parts["qrels"] = _named_files(names, f"{base}qrels/{split}", _QRELS, source)
    splits = splits_of_names(names, config)
    if not parts["qrels"] and splits:
        hint = did_you_mean(split, splits)
        raise HarnessError(f'{source} has no split "{split}"; it has {", ".join(splits)}.{hint}')
    for part in _NEEDED:
        if not parts[part]:
            wanted = f"{base}qrels/{split}.tsv" if part == "qrels" else f"{base}{part}.jsonl"
            raise HarnessError(f"{source} has no {wanted} (nor .gz nor .parquet): BEIR's layout names it so")
    return Layout(**parts)


def splits_of_names(names: Iterable[str], config: str = "") -> list[str]:
    """The splits that have qrels, sorted."""
    start = f"{config}/qrels/" if config else "qrels/"
    found = set()
    for name in names:
        suffix = next((ending for ending in _QRELS if name.endswith(ending)), None)
        if name.startswith(start) and suffix and "/" not in name.removeprefix(start):
            found.add(re.sub(r"-\d{5}-of-\d{5}$", "", name.removeprefix(start).removesuffix(suffix)))
    return sorted(found)


def data_files(names: Iterable[str]) -> list[str]:
    """The names that may be a part of a data set in BEIR's layout, whatever its configs and splits."""
    part = re.compile(rf"(?:[^/]+/)?(?:qrels/[^/]+|(?:{'|'.join(_PARTS)})(?:/[^/]+|-\d{{5}}-of-\d{{5}})?)")
    return sorted(
        name
        for name in names
        for ending in [next((ending for ending in _QRELS if name.endswith(ending)), None)]
        if ending and part.fullmatch(name.removesuffix(ending))
    )


def _named_files(names: Sequence[str], stem: str, endings: Sequence[str], source: str) -> tuple[str, ...]:
    kinds: list[tuple[str, ...]] = [(f"{stem}{ending}",) for ending in endings if f"{stem}{ending}" in names]
    shard = re.compile(rf"{re.escape(stem)}(?:/[^/]+|-\d{{5}}-of-\d{{5}})\.parquet")
    if shards := tuple(sorted(name for name in names if shard.fullmatch(name))):
        kinds.append(shards)
    if len(kinds) > 1:
        both = " and ".join(kind[0] for kind in kinds)
        raise HarnessError(f"{source} has both {both}: keep one, so that it is clear which is read")
    return kinds[0] if kinds else ()
