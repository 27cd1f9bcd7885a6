"""Which results a word means: whatever names a reranker in `run` names its result here.

A path means its content: the results of the weights (or the code) that lie there now, whatever their folder was
called. Any other word is a name as tables show it: the label, as much of a folder's path as is wanted,
`NAME@REVISION`, a setting in brackets. What could be several is refused, with the names that tell them apart.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from ..data.rankings import digest_of_ranking, name_of_ranking
from ..errors import HarnessError, did_you_mean, spelt
from ..files.digest import Digest
from ..rerankers.plugin import revision_of_file
from ..results.naming import RANKING, Known, known_of, labels_of, place_of, tails
from ..results.result import ORACLE, load_result, result_files, slug
from .pairing import Entry, differences_between, first_stage_label

__all__ = ["Shelf", "content_at", "is_model", "rerankers_meant", "unknown"]

_MODEL_FILES = ("config.json", "adapter_config.json", "modules.json", "router_config.json")
_WITH_SETTINGS = re.compile(r"(?P<name>.+) \((?P<settings>.+)\)\Z")


@dataclass(frozen=True)
class Shelf:
    """A folder of results, read once for all the words that may name some of them."""

    results: Path

    @cached_property
    def _read(self) -> tuple[list[Entry], dict[Path, HarnessError]]:
        entries, damaged = [], {}
        for path in result_files(self.results):
            try:
                entries.append(Entry(path, load_result(path)))
            except HarnessError as error:
                damaged[path] = error
        return entries, damaged

    def rerankers(self, word: str, *, together: bool) -> list[Entry]:
        """The results of the reranker that `word` means; empty where there is none. Raises HarnessError as `rerankers_meant` does."""
        entries, damaged = self._read
        found = rerankers_meant(word, entries, together=together)
        folders = {slug(word), *(slug(entry.result.identity.reranker or "") for entry in found)}
        for path, error in damaged.items():
            if path.relative_to(self.results).parts[0] in folders:
                raise error
        return found

    def first_stages(self, word: str) -> list[Entry]:
        """The results of the first stage alone that `word` means."""
        alone = [entry for entry in self._read[0] if not entry.result.identity.reranker]
        word = spelt(word, {entry.result.identity.retriever for entry in alone})
        return [entry for entry in alone if _is_stage(entry, word)]

    def stages_within(self, word: str, beside: Sequence[Entry]) -> list[Entry]:
        """The first stage that `word` means, one result for each question, or `oracle`, the best order of its candidates.

        Alone, or as it is in the results that it is held against, `beside`; without these in any result here.
        """
        entries = beside or self._read[0]
        word = spelt(word, {ORACLE, *(entry.result.identity.retriever for entry in entries)})
        if word == ORACLE:
            return _once(_seen_as(entries, ORACLE))
        return _once([*self.first_stages(word), *_seen_as([e for e in entries if _is_stage(e, word)], "first_stage")])

    def names(self) -> list[str]:
        """What the rerankers here, and first stages alone, are called."""
        entries, _ = self._read
        labels = labels_of(known_of(entry.result) for entry in entries if entry.result.identity.reranker)
        alone = {entry.result.identity.retriever for entry in entries if not entry.result.identity.reranker}
        return sorted({*labels.values(), *alone})


def _seen_as(entries: Iterable[Entry], view: str) -> list[Entry]:
    return [
        replace(entry, result=replace(entry.result, view=view))
        for entry in entries
        if any(row.get(view) is not None for row in entry.result.measures.values())
    ]


def _once(entries: Sequence[Entry]) -> list[Entry]:
    """Of results that answer one question the first: what a first stage found is in every reranker's result."""
    kept: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        others = kept.setdefault((entry.result.identity.task, entry.result.identity.subset), [])
        if all(differences_between(entry.result, other.result) for other in others):
            others.append(entry)
    return [entry for each in kept.values() for entry in each]


def _is_stage(entry: Entry, word: str) -> bool:
    identity = entry.result.identity
    path = Path(word)
    content = _content(word) if path.is_dir() else None
    if content is not None and content.revision:
        return identity.retriever_settings.get("revision") == content.revision
    if "file" in identity.retriever_settings and path.exists() and ("." in path.name or path.is_dir()):
        return identity.retriever_settings["file"] == _ranking_digest(path)
    return word in (identity.retriever, first_stage_label(entry.result))


class _Content(NamedTuple):
    """What lies at a path now."""

    place: str
    revision: str
    """As results have it; empty where it cannot be said."""


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model, so that its name means one."""
    return any((folder / name).is_file() for name in _MODEL_FILES)


def _content(word: str) -> _Content | None:
    """Of a model's folder and of code in a file; None for every other word."""
    path = Path(word).expanduser()
    if path.is_dir() and is_model(path):
        return _Content(place_of(path), _revision(str(path)))
    ranking = Path(word.removeprefix(RANKING))
    if word.startswith(RANKING) and ranking.exists():
        place = f"{RANKING}{place_of(ranking.parent)}/{name_of_ranking(ranking)}"
        return _Content(place, Digest(size=20).add(_ranking_digest(ranking)).hex())
    file, _, attribute = word.rpartition(":")
    if file.endswith(".py") and Path(file).is_file():
        return _Content(f"{place_of(Path(file))}:{attribute}", revision_of_file(Path(file)))
    return None


def content_at(word: str) -> str:
    """The revision of the model or the code that lies at a path, as results have it; empty for every other word."""
    content = _content(word)
    return content.revision if content else ""


def _revision(name: str) -> str:
    from ..files.cache import cache_folder
    from ..models.source import open_model

    try:
        return open_model(name, cache_folder()).revision
    except HarnessError:
        return ""


def _ranking_digest(path: Path) -> str:
    from ..files.cache import cache_folder

    return digest_of_ranking(path, cache_folder())


def rerankers_meant(word: str, entries: Sequence[Entry], *, together: bool = False) -> list[Entry]:
    """The results of the reranker that `word` means; empty where there is none. `together` takes all of its settings.

    Raises HarnessError where several could be meant, and, exit code 3, for a path whose content was not measured.
    """
    reranked = [(known_of(entry.result), entry) for entry in entries if entry.result.identity.reranker]
    labels = labels_of(known for known, _ in reranked)
    content = _content(word)
    hits = _of_name(word, labels) if content is None else _of_content(word, content, labels)
    found = [(known, entry) for known, entry in reranked if known in hits]
    _refuse_several(word, found, labels, together=together)
    return [entry for _, entry in found]


def _of_content(word: str, content: _Content, labels: dict[Known, str]) -> list[Known]:
    names = tails(content.place)
    here = [one for one in labels if one.place == content.place or one.place.startswith(f"{content.place}[")]
    same = [one for one in labels if one.revision == content.revision]
    of_name = [one for one in same if one.name in names]
    both = [one for one in here if one in same]
    for found in ([one for one in both if one in of_name], both, of_name, same):
        if found:
            return found
    lasting = [one for one in here or labels if one.name in names and dict(one.settings).get("declared") == "True"]
    if lasting or not content.revision:
        return lasting or here  # code that states its own version, and a folder that cannot be opened
    others = [
        f"{label.partition('@')[0]}@{one.revision[:8]}"
        for one, label in labels.items()
        if one in here or one.name in names
    ]
    if not others:
        return []
    raise HarnessError(
        f"{word} now holds {content.revision[:8]}, which was not measured; there are results of what bears its name "
        f"and holds something else: {', '.join(sorted(set(others)))}. Run it again, or name one of these",
        exit_code=3,
    )


def _of_name(word: str, labels: dict[Known, str]) -> list[Known]:
    exact = [one for one, label in labels.items() if label == word]
    if exact:
        return exact
    hits = [one for one in labels if _answers(one, word)] or _of_version(word, labels)
    bracketed = _WITH_SETTINGS.match(word)
    if not hits and bracketed:
        wanted = set(bracketed["settings"].split(", "))
        named = _of_name(bracketed["name"], labels)
        hits = [one for one in named if wanted <= {f"{key} {value}" for key, value in one.settings}]
    other = spelt(word, {one.name for one in labels} | set(labels.values()))
    if not hits and other != word:
        return _of_name(other, labels)
    if len({one.revision for one in hits}) > 1:
        hits = [one for one in hits if one.revision == _installed(word)] or hits
    return hits


def _of_version(word: str, labels: dict[Known, str]) -> list[Known]:
    """`NAME@REVISION`: the beginning of a commit or a digest, or a branch or tag of the hub."""
    name, at, version = word.rpartition("@")
    named = [one for one in labels if at and version and _answers(one, name)]
    found = [one for one in named if len(version) >= 4 and one.revision.startswith(version)]
    if found or not named or any(one.place for one in named) or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return found
    from ..files.cache import cache_folder
    from ..files.hub import resolve_revision

    commit = resolve_revision("model", name, version, cache_folder()).commit
    return [one for one in named if one.revision == commit]


def _answers(one: Known, name: str) -> bool:
    of_path = tails(one.place) if one.name in tails(one.place) else []
    return name == one.name or name in of_path or ("/" in name and place_of(Path(name)) == one.place)


def _installed(word: str) -> str:
    """The revision of a model in an installed package, or of code in a module; empty for every other word."""
    from ..models.source import PACKAGE

    if word.startswith(PACKAGE):
        return _revision(word)
    module, colon, _ = word.rpartition(":")
    spec = PathFinder.find_spec(module, [str(Path.cwd()), *sys.path]) if colon and module.isidentifier() else None
    return revision_of_file(Path(spec.origin)) if spec and spec.origin and Path(spec.origin).is_file() else ""


def _refuse_several(
    word: str, found: Sequence[tuple[Known, Entry]], labels: dict[Known, str], *, together: bool
) -> None:
    """Raise HarnessError for other weights, and unless `together` for other settings where both answer one question."""
    meant = list(dict.fromkeys(known for known, _ in found))
    versions = {(one.name, one.place, one.revision) for one in meant}
    if len(versions) < 2 and (together or not _both_answer(found)):
        return
    raise HarnessError(
        f'"{word}" could mean {len(meant)} rerankers with results: {", ".join(sorted(labels[one] for one in meant))}. '
        f"Name one of them as it stands here, or a result file"
    )


def _both_answer(found: Sequence[tuple[Known, Entry]]) -> bool:
    """Whether two rerankers have a result of one and the same question."""
    seen: dict[tuple[str, str], list[tuple[Known, Entry]]] = {}
    for known, entry in found:
        asked = seen.setdefault((entry.result.identity.task, entry.result.identity.subset), [])
        if any(one != known and not differences_between(entry.result, other.result) for one, other in asked):
            return True
        asked.append((known, entry))
    return False


def unknown(word: str, shelf: Shelf) -> HarnessError:
    """The error for a word that means nothing in a folder of results."""
    known = shelf.names()
    there = f"it has {', '.join(known)}" if known else "it has no result at all"
    return HarnessError(
        f'"{word}" is no result file, no folder with results, and no reranker with results in {shelf.results}: '
        f"{there}.{did_you_mean(word, known)}",
        exit_code=3,
    )
