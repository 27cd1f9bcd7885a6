"""Which files hold a part of a data set where no card says so: by their names.

BEIR's `corpus.jsonl`, `queries.jsonl`, `qrels/test.tsv`; MS MARCO's `collection.tsv`, `queries.dev.tsv`; shards
(`corpus/0.jsonl`, `corpus-00000-of-00003.parquet`); a file for each split (`queries/test.jsonl`); folders that
`datasets.save_to_disk` wrote; and one folder a language around any of them. Each of any kind, packed or not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property

from ..errors import HarnessError
from ..files.packed import PACKED, ZIP
from .containers import TABLES

__all__ = ["FileNames"]

_PACKINGS = "|".join(re.escape(ending) for ending in (*PACKED, ZIP))
_KINDS = "|".join(re.escape(kind) for kind in (*TABLES, ".txt", ".qrels", ".trec"))
_NAME = re.compile(
    rf"(?P<stem>.*?)(?P<shard>-\d{{5}}-of-\d{{5}})?(?P<ending>(?:{_KINDS})(?:{_PACKINGS})?|{ZIP})", re.IGNORECASE
)
_OF_QRELS = re.compile(r"\.(txt|qrels|trec)\b", re.IGNORECASE)
_SAVED = re.compile(r"(.*)/data")
"""What a file of `save_to_disk` is called within its folder."""
_ASIDE = {"dataset_info.json", "state.json", "dataset_dict.json", "dataset_infos.json"}
"""What `datasets` writes beside data."""
_OTHERWISE = {"corpus": ("corpus", "collection"), "queries": ("queries", "topics")}
"""What a part is called, where that is more than its own name."""
_SPLITS_BESIDE = ("queries", "qrels")
"""Parts whose splits may stand beside each other: queries.dev.tsv, qrels-dev.tsv."""
_UNNAMED_SPLIT = "test"
"""The split of qrels that stand in one file beside the corpus: the one BEIR evaluates on."""

Group = dict[str, list[str]]
"""ending → the files of one name that have it: one, or its shards."""


class FileNames:
    """The files of a data set, by what their names say; `source` names the data set in errors."""

    def __init__(self, names: Sequence[str], source: str) -> None:
        self._names, self._source = names, source

    def files_of(self, part: str, config: str, split: str) -> list[str]:
        """The files of a part: those of its split, else those without one. Empty where there are none.

        Raises HarnessError where two files, or two kinds of file, hold it, and where a shard is missing.
        """
        found: list[list[str]] = []
        for base in _bases(part, config):
            of_split = [f"{base}/{split}", *(f"{base}{sign}{split}" for sign in "-._" if part in _SPLITS_BESIDE)]
            own = [files for name in of_split for files in self._files(name, part)]
            one = self._files(base, part) if part != "qrels" or (split == _UNNAMED_SPLIT and not own) else []
            found += [*one, *(own or self._loose(base, part))]
        if len(found) > 1:
            both = " and ".join(files[0] for files in found[:2])
            raise HarnessError(f"{self._source} has both {both}: keep one, so that it is clear which is read")
        return found[0] if found else []

    def splits(self, config: str) -> list[str]:
        """The splits that have qrels, sorted."""
        (base,) = _bases("qrels", config)
        found = {match[1] for name in self._groups if (match := re.fullmatch(rf"{re.escape(base)}[/._-]([^/]+)", name))}
        return sorted(found | ({_UNNAMED_SPLIT} if base in self._groups else set()))

    def prefixes(self) -> list[str]:
        """The folders that hold a corpus, one for each part of the data set; "" for the data set itself."""
        found: set[str] = set()
        for stem in _OTHERWISE["corpus"]:
            for name in self._groups:
                within = re.fullmatch(rf"{stem}(?:/[^/]+)?", name)
                folder = None if within else re.fullmatch(rf"([^/]+)/{stem}(?:/[^/]+)?", name)
                found |= {""} if within else {folder[1]} if folder else set()
        return sorted(found)

    def of_parts(self, parts: Sequence[str]) -> list[str]:
        """Every file that belongs to any split of any of the parts."""
        stems = [base for part in parts for base in _bases(part, "")]
        beside = [base for part in _SPLITS_BESIDE for base in _bases(part, "")]
        known = re.compile(rf"(?:[^/]+/)?(?:(?:{'|'.join(stems)})(?:/[^/]+)?|(?:{'|'.join(beside)})[._-][^/]+)")
        belong = {
            file
            for name, group in self._groups.items()
            if known.fullmatch(name)
            for files in group.values()
            for file in files
        }
        return [name for name in self._names if name in belong]

    @cached_property
    def _groups(self) -> dict[str, Group]:
        """name without ending and number of shard → its files."""
        found: dict[str, Group] = {}
        for name in self._names:
            match = _NAME.fullmatch(name)
            if match is None or name.rpartition("/")[2] in _ASIDE:
                continue
            saved = _SAVED.fullmatch(match["stem"]) if match["ending"] == ".arrow" else None
            ending = match["ending"].lower() + (" in shards" if match["shard"] else "")
            found.setdefault(saved[1] if saved else match["stem"], {}).setdefault(ending, []).append(name)
        return found

    def _files(self, name: str, part: str) -> list[list[str]]:
        """The files of this very name, a list for each kind of file."""
        group = self._groups.get(name, {})
        return [
            self._whole(files) for ending, files in group.items() if part == "qrels" or not _OF_QRELS.search(ending)
        ]

    def _loose(self, base: str, part: str) -> list[list[str]]:
        """Files of any name in the part's folder, which are shards of it; qrels are never taken so."""
        if part == "qrels":
            return []
        inside = [name for name in self._groups if re.fullmatch(rf"{re.escape(base)}/[^/]+", name)]
        by_kind: dict[str, list[str]] = {}
        for name in inside:
            for ending, files in self._groups[name].items():
                if not _OF_QRELS.search(ending):
                    by_kind.setdefault(ending.removesuffix(" in shards"), []).extend(self._whole(files))
        return list(by_kind.values())

    def _whole(self, files: list[str]) -> list[str]:
        """The shards of one name. Raises HarnessError where one of them is missing, or they are of two counts."""
        numbers = [re.search(r"-(\d{5})-of-(\d{5})", file.rpartition("/")[2]) for file in files]
        counts = {int(match[2]) for match in numbers if match}
        if len(counts) > 1:
            raise HarnessError(
                f"{self._source}: {files[0]} and {files[-1]} are shards of two different wholes: keep one set"
            )
        for count in counts:
            there = {int(match[1]) for match in numbers if match}
            if lost := sorted(set(range(count)) - there):
                raise HarnessError(
                    f"{self._source} has {len(there)} of the {count} shards that {files[0]} is one of: number {lost[0]:05} is missing"
                )
        return files


def _bases(part: str, config: str) -> list[str]:
    names = _OTHERWISE.get(part, (part,))
    return [f"{config}/{name}" if config else name for name in names]
