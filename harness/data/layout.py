"""Which files of a data set hold its corpus, queries, qrels and the rest.

A card (README.md) with `configs` in its YAML says so, as on the hub, or `files` of a task's card; without
them the names of the files do (`file_names`). All hold for hub data sets, folders and archives.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ..errors import HarnessError, did_you_mean
from .containers import TABLES
from .file_names import FileNames

__all__ = ["Layout", "Listing", "files_of_card"]

Configs = dict[str, dict[str, list[str]]]
"""config → split → paths or globs, as a card gives them."""

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_CONFIG_NAMES = {"qrels": ("default", "qrels"), "queries": ("queries", "query")}
"""The names that a part's config may have; a part that is not here has its own name alone."""


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
    gains: tuple[str, ...] = ()
    """What the judged documents are worth, where that stands apart from the qrels."""
    examples: tuple[str, ...] = ()
    """BRIGHT's rows, each a query with its gold_ids and excluded_ids: instead of queries and qrels."""
    examples_long: tuple[str, ...] = ()
    """The same, where gold_ids_long are judged."""

    def files(self) -> list[str]:
        """Every file once."""
        return list(dict.fromkeys(name for part in _PARTS for name in getattr(self, part)))


_PARTS = tuple(field.name for field in fields(Layout))
_NEEDED = ("corpus", "queries", "qrels")
_EXAMPLES = {"standard": ("documents", "examples"), "long": ("long_documents", "examples_long")}
"""BRIGHT: split → the config that is its corpus, and the part that its examples are."""


class Listing:
    """The files of one data set, and what its card says of them.

    `names` are relative, `card` is the text of its README.md or empty, `source` names the data set
    in errors, `files` are those that a task's card names (`files_of_card`). Raises HarnessError for a card
    whose YAML cannot be read.
    """

    def __init__(self, names: Sequence[str], card: str, source: str, files: str = "") -> None:
        front = _front_matter(card, source)
        self.names = sorted(names)
        self.configs: Configs = json.loads(files) if files else _configs_of(front, source)
        self._by_name = FileNames(self.names, source)
        self.languages = _languages_of(front)
        """The languages that the card names, as it writes them (`zh`)."""
        self.source = source

    def layout(self, config: str, split: str) -> Layout:
        """The files of a split.

        `config` is a prefix or suffix of the card's configs (`zh` for zh-corpus or corpus-zh), or
        the folder that holds the files. A part with the split `split` gives it, else its only
        split; qrels must have it. Raises HarnessError for a missing part or split, a path without
        a file, and a part that two kinds of file hold.
        """
        if self._has_examples():
            return self._layout_of_examples(config, split)
        parts = {part: tuple(self._files_of(part, config, split)) for part in _PARTS}
        for part in _NEEDED:
            if not parts[part]:
                raise self._missing(part, config, split)
        return Layout(**parts)

    def splits(self, config: str) -> list[str]:
        """The splits that have qrels, sorted."""
        if self._has_examples():
            return sorted(
                name for name, (documents, _) in _EXAMPLES.items() if config in self.configs.get(documents, {})
            )
        if self.configs:
            return sorted(self.configs.get(self._config_of("qrels", config) or "", {}))
        return self._by_name.splits(config)

    def prefixes(self) -> list[str]:
        """What `layout` takes as `config`, one for each part of the data set (a language); "" for the plain names."""
        if self._has_examples():
            return list(self.configs["examples"])
        if self.configs:
            found = [re.fullmatch(r"corpus|(.+)-corpus|corpus-(.+)", name) for name in self.configs]
            return list(dict.fromkeys(match[1] or match[2] or "" for match in found if match))
        return self._by_name.prefixes()

    def data_files(self) -> list[str]:
        """Every file that belongs to any split of any config."""
        if self.configs:
            paths = [path for splits in self.configs.values() for split in splits.values() for path in split]
            return sorted(self._matches(paths, "configs"))
        return self._by_name.of_parts(_PARTS)

    def rules(self) -> str:
        """What beside the files decides the layout: the card's configs as canonical JSON, or nothing."""
        return json.dumps(self.configs, sort_keys=True) if self.configs else ""

    def _has_examples(self) -> bool:
        return {"documents", "examples"} <= self.configs.keys()

    def _layout_of_examples(self, config: str, split: str) -> Layout:
        if split not in self.splits(config):
            raise self._no_split(f'"{config}" of {self.source}', split, self.splits(config))
        documents, part = _EXAMPLES[split]
        corpus, examples = (
            self._matches(self.configs[name][config], f'config "{name}"') for name in (documents, "examples")
        )
        return Layout(tuple(corpus), (), (), **{part: tuple(examples)})

    def _files_of(self, part: str, config: str, split: str) -> Sequence[str]:
        if self.configs:
            found = self._config_of(part, config)
            return self._matches(self._of_split(found, part, split), f'config "{found}"') if found else ()
        return self._by_name.files_of(part, config, split)

    def _missing(self, part: str, config: str, split: str) -> HarnessError:
        if part == "qrels" and (splits := self.splits(config)):
            return self._no_split(self.source, split, splits)
        if self.configs:
            names = " or ".join(f'"{name}"' for name in _config_names(part, config))
            there = ", ".join(list(self.configs)[:20])
            return HarnessError(f"{self.source} has no config {names} for its {part}; it has {there}")
        name = f"qrels/{split}.tsv" if part == "qrels" else f"{part}.jsonl"
        where = f" in {config}/" if config else ""
        return HarnessError(
            f"{self.source} has no {name}{where}, nor as {', '.join(TABLES)}, packed or in shards: BEIR's layout names it "
            f'so; files of other names are named in a card, as in "files: {{{part}: {part}-of-ours.csv}}"'
        )

    def _no_split(self, where: str, split: str, splits: Sequence[str]) -> HarnessError:
        return HarnessError(f'{where} has no split "{split}"; it has {", ".join(splits)}.{did_you_mean(split, splits)}')

    # -- by the card

    def _config_of(self, part: str, config: str) -> str | None:
        return next((name for name in _config_names(part, config) if name in self.configs), None)

    def _of_split(self, config: str, part: str, split: str) -> Sequence[str]:
        splits = self.configs[config]
        if split in splits:
            return splits[split]
        if part != "qrels":
            if part in splits:
                return splits[part]
            if len(splits) == 1:
                return next(iter(splits.values()))
        raise self._no_split(f'config "{config}" of {self.source}', split, list(splits))

    def _matches(self, patterns: Iterable[str], where: str) -> list[str]:
        """The files that paths and globs stand for, sorted within each pattern, each once."""
        found: dict[str, None] = {}
        for pattern in patterns:
            bare = pattern.removeprefix("./")
            glob = _glob(bare)
            hits = [bare] if bare in self.names else [name for name in self.names if glob.fullmatch(name)]
            if not hits:
                raise HarnessError(f'{where} of {self.source} names "{pattern}", and there is no such file')
            found.update(dict.fromkeys(hits))
        return list(found)


def _config_names(part: str, config: str) -> list[str]:
    names = _CONFIG_NAMES.get(part, (part,))
    return [joined for name in names for joined in (f"{config}-{name}", f"{name}-{config}")] if config else list(names)


def files_of_card(said: Any, split: str, where: object) -> str:
    """A task card's `files` as canonical JSON, in the form of a README's configs. Empty where it says none.

    `{corpus: products.csv, queries: asked.csv, qrels: {test: a.csv, dev: b.csv}}`; a path or a list of them, and
    globs. Qrels without a split are those of `split`. Raises HarnessError for another form.
    """
    if said is None:
        return ""
    parts = [part for part in _PARTS if not part.startswith("examples")]
    if not isinstance(said, dict) or not said:
        raise HarnessError(f'{where}: "files" names the files of each part, as in {{corpus: products.csv}}')
    found: Configs = {}
    for part, value in said.items():
        if part not in parts:
            raise HarnessError(
                f'{where}: "files" has no "{part}"; it has {", ".join(parts)}.{did_you_mean(str(part), parts)}'
            )
        splits = value if isinstance(value, dict) else {split if part == "qrels" else part: value}
        found[part] = {str(name): paths if isinstance(paths, list) else [paths] for name, paths in splits.items()}
        if not all(isinstance(path, str) and path for paths in found[part].values() for path in paths):
            raise HarnessError(f'{where}: "files" names the files of {part} as text, not {value!r}')
    return json.dumps(found, sort_keys=True, ensure_ascii=False)


def _front_matter(card: str, source: str) -> dict[str, Any]:
    """The YAML that a card begins with; empty where it has none."""
    import yaml

    found = _FRONT_MATTER.match(card.removeprefix("\ufeff"))
    if found is None:
        return {}
    try:
        # The C parser is ten times as fast on cards of a thousand lines, and as safe.
        front = yaml.load(found[1], Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except yaml.YAMLError as error:
        raise HarnessError(f"the card of {source} is not readable YAML: {error}") from error
    return front if isinstance(front, dict) else {}


def _languages_of(front: dict[str, Any]) -> tuple[str, ...]:
    named = front.get("language")
    # YAML 1.1 reads the code of Norwegian, `no`, as false.
    words = ["no" if word is False else word for word in (named if isinstance(named, list) else [named])]
    return tuple(word for word in words if isinstance(word, str))


def _configs_of(front: dict[str, Any], source: str) -> Configs:
    entries = front.get("configs")
    try:
        return {
            str(entry.get("config_name", "default")): dict(_splits_of(entry["data_files"], entry.get("data_dir")))
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict) and entry.get("data_files")
        }
    except KeyError as error:
        raise HarnessError(
            f"the card of {source} lists data_files without {error}: each has a split and a path, as the hub writes them"
        ) from None


def _splits_of(data_files: Any, data_dir: str | None) -> Iterator[tuple[str, list[str]]]:
    """The forms that `data_files` may take; paths without a split are the split `train`."""
    if isinstance(data_files, dict):
        data_files = [{"split": split, "path": path} for split, path in data_files.items()]
    entries = data_files if isinstance(data_files, list) else [data_files]
    plain = [entry for entry in entries if isinstance(entry, str)]
    named = [(str(entry["split"]), entry["path"]) for entry in entries if isinstance(entry, dict)]
    for split, path in [*([("train", plain)] if plain else []), *named]:
        paths = path if isinstance(path, list) else [path]
        yield split, [f"{data_dir}/{path}" if data_dir else str(path) for path in paths]


def _glob(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: * and ? stay within a folder, ** does not."""
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(wild.get(piece) or re.escape(piece) for piece in pieces))
