"""Stage 1: a card of tasks/ → Task. Resolves what a user types: a task, a suite, a folder, a hub data set.

A card is one YAML file named after its task; `tasks/README.md` explains every key. Cards are found
in this order, and the first that has the name wins: the user's `--tasks DIR`, the checkout, the
cards packed in the wheel. `suites.yaml` in each of these places names groups of tasks. What has no
card is a folder, a hub data set (`uncarded`), or a task of mteb (`mteb_task`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import HarnessError, did_you_mean, spelt
from ..files.digest import digest_of_settings
from ..files.yaml_file import read_yaml
from ..types import Aggregate, Subset, Task
from . import uncarded
from .card import mapping, read_aggregate, read_card, refuse_unknown_keys
from .uncarded import FOLDER, HUB

__all__ = ["Cards", "folder_task", "select_languages"]

_SUITE_KEYS = {"title", "tasks", "mean"}
_ELSEWHERE = (
    (
        re.compile(r"(?:msmarco-)?(?:trec[-_ ]?)?dl[-_ ]?(?:20)?2[123](?:-passage)?", re.IGNORECASE),
        " TREC Deep Learning 2021 to 2023: irds:msmarco-passage-v2/trec-dl-2021/judged, with --relevance-level 2.",
    ),
    (
        re.compile(r"mair(?:[-_ ].*)?", re.IGNORECASE),
        " MAIR's tasks are in neither: convert those that you need to folders in BEIR's layout.",
    ),
)
"""Well-known data that are no task here → the way to them."""
_WITHOUT_CARD = (FOLDER, HUB)


def packed_folder() -> Path:
    """The folder of the harness's own cards: in the checkout, or inside the installed wheel."""
    here = Path(__file__).resolve().parents[1]
    checkout = here.parent / "tasks"
    return checkout if (checkout / "suites.yaml").is_file() else here / "_tasks"


class Cards:
    """Every card that can be named: the user's folder before the harness's own.

    Raises HarnessError where `folder` is not a folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise HarnessError(f"--tasks {folder} is not a folder; it holds one YAML card for each task")
        self._folders = ([folder] if folder else []) + [packed_folder()]

    def names(self) -> list[str]:
        """The name of every card, tasks and aggregates, sorted."""
        return sorted(self._paths)

    def suites(self) -> dict[str, list[str]]:
        """suite → its members' names."""
        return {name: [str(member) for member in entry["tasks"]] for name, (_, entry) in self._suites.items()}

    def task(self, name: str) -> Task:
        """The task of that name. Raises HarnessError for an unknown name or a card with a mistake."""
        path = self._paths.get(name)
        if path is None:
            raise HarnessError(self._unknown(name))
        return read_card(path, packed=path.parent == self._folders[-1])

    def aggregate(self, name: str, outer: tuple[str, ...] = ()) -> Aggregate | None:
        """The aggregate card or the suite of that name; None where it is neither.

        A card goes before a suite. `outer` are those that it stands inside. Raises HarnessError for
        one that stands inside itself, and a mean that its members do not have.
        """
        if name in outer:
            raise HarnessError(f"{name} lists itself: {' → '.join((*outer, name))}")
        path = self._paths.get(name)
        if path is not None:
            entry = mapping(read_yaml(path), path)
            return read_aggregate(entry, path) if "tasks" in entry else None
        suites = self._suites
        return self._suite(name, *suites[name], outer) if name in suites else None

    def aggregates(self, words: Sequence[str], cache: Path) -> list[Aggregate]:
        """The aggregates that `words` name and those inside them, the inner ones first, each once.

        Those of mteb are known once `resolve` has met them.
        """
        found: dict[str, Aggregate] = {}
        for word in words:
            for name, aggregate in self._inside(word, cache).items():
                found.setdefault(name, aggregate)
        return list(found.values())

    def _inside(self, word: str, cache: Path, outer: tuple[str, ...] = ()) -> dict[str, Aggregate]:
        word = self._spelt(word)
        aggregate = self.aggregate(word, outer) or self._of_mteb(word, cache)
        if aggregate is None:
            return {}
        found: dict[str, Aggregate] = {}
        for member in aggregate.members:
            found |= self._inside(member, cache, (*outer, word))
        return {**found, aggregate.name: aggregate}

    def _of_mteb(self, word: str, cache: Path) -> Aggregate | None:
        """The aggregate task or the benchmark of mteb, where it was met before."""
        from .mteb_suites import benchmark
        from .mteb_task import look_up

        if word in self._paths or not _may_be_mteb(word):
            return None
        found = look_up(word, cache, remembered=True)
        return found if isinstance(found, Aggregate) else benchmark(word, cache, remembered=True)

    def spelt(self, word: str, cache: Path) -> str:
        """The name of the card, suite or benchmark that `word` names, as it is written; else `word`.

        A benchmark of mteb is known once `resolve` has met it.
        """
        name = self._spelt(word)
        aggregate = self.aggregate(name) or self._of_mteb(name, cache)
        return aggregate.name if aggregate else name

    def _spelt(self, word: str) -> str:
        """The card or suite that `word` names in whatever case, where nothing has exactly that name; else `word`."""
        if word in self._paths or word in self._suites or _looks_like_a_folder(word):
            return word
        return self._spellings.get(word.casefold(), word)

    def resolve(
        self,
        words: Sequence[str],
        cache: Path,
        split: str | None = None,
        language: str | None = None,
        *,
        only_texts: bool = True,
    ) -> list[Task]:
        """The tasks that `words` name, each once, in order.

        A word is a task, an aggregate or a suite (all their tasks), a folder, a hub data set
        (ORGANISATION/NAME, with @REVISION if wanted), a benchmark of mteb, or any other retrieval or
        reranking task of it; names are found in whatever case. `language` is that of folders and hub data sets. Raises HarnessError for a word that
        is none of these, no word at all, a `language` that no card leaves open, and with `only_texts` a
        task of anything else.
        """
        if not words:
            raise HarnessError('name at least one task, suite or folder, as in "run SciFact"; "list" shows them')
        self.aggregates(words, cache)
        tasks = [task for word in words for task in self._named(word, cache, split, language)]
        if language is not None and not any(task.origin in _WITHOUT_CARD for task in tasks):
            raise HarnessError(
                "--language says the language of a folder or a hub data set without a card; these tasks have cards. "
                "--languages chooses among a task's languages"
            )
        for task in tasks:
            if only_texts and set(task.modalities) != {"text"}:
                raise HarnessError(
                    f"{task.name} is a task of {', '.join(task.modalities)}: only texts can be reranked here"
                )
        return [_with_split(task, split) for task in dict.fromkeys(tasks)]

    def _named(self, word: str, cache: Path, split: str | None, language: str | None) -> list[Task]:
        word = self._spelt(word)
        aggregate = self.aggregate(word)
        if aggregate is not None:
            return self._members(aggregate, cache, split, language)
        if word in self._paths:
            return [self.task(word)]
        if _looks_like_a_folder(word):
            return [folder_task(Path(word), cache, split, language)]
        if uncarded.looks_like_a_data_set(word):
            return [uncarded.named_task(word, cache, split, language)]
        found = _in_mteb(word, cache) if _may_be_mteb(word) else None
        if isinstance(found, Aggregate):
            return self._members(found, cache, split, language)
        if found is None:
            raise HarnessError(self._unknown(word, _names_in_mteb(cache) if _may_be_mteb(word) else ()))
        return [found]

    def _members(self, aggregate: Aggregate, cache: Path, split: str | None, language: str | None) -> list[Task]:
        """The tasks of an aggregate, each with the part alone that it takes of it."""
        from .mteb_suites import narrowed

        parts = dict(aggregate.parts)
        return [
            narrowed(task, parts[member]) if member in parts else task
            for member in aggregate.members
            for task in self._named(member, cache, split, language)
        ]

    @cached_property
    def _spellings(self) -> dict[str, str]:
        return {name.casefold(): name for name in (*self._suites, *self._paths)}

    @cached_property
    def _paths(self) -> dict[str, Path]:
        """name → its card."""
        return {path.stem: path for folder in reversed(self._folders) for path in _card_files(folder)}

    @cached_property
    def _suites(self) -> dict[str, tuple[Path, dict[str, Any]]]:
        """suite → the file that describes it, and what it says."""
        found: dict[str, tuple[Path, dict[str, Any]]] = {}
        for folder in reversed(self._folders):
            path = folder / "suites.yaml"
            if path.is_file():
                for name, value in mapping(read_yaml(path), path).items():
                    entry = mapping(value, path)
                    refuse_unknown_keys(entry, _SUITE_KEYS, path, name)
                    if not isinstance(entry.get("tasks"), list) or not entry["tasks"]:
                        raise HarnessError(f'{path}: the suite {name} lists no tasks: "tasks: [SciFact, NFCorpus]"')
                    found[str(name)] = path, entry
        return found

    def _suite(self, name: str, path: Path, entry: Mapping[str, Any], outer: tuple[str, ...]) -> Aggregate:
        members = tuple(str(member) for member in entry["tasks"])
        mean = entry.get("mean")
        if mean == "none":
            return Aggregate(name, members, ())
        if mean is None:
            headlines = {self._headline(member, (*outer, name)) for member in members}
            common = headlines.pop() if len(headlines) == 1 else None
            return Aggregate(name, members, ((common, (common,) * len(members)),) if common else ())
        means = []
        for label, measures in mapping(mean, path).items():
            chosen = measures if isinstance(measures, dict) else dict.fromkeys(members, measures)
            if set(chosen) != set(members):
                raise HarnessError(f'{path}: the mean "{label}" of {name} needs one measure for each of its tasks')
            means.append((str(label), tuple(str(chosen[member]) for member in members)))
        return Aggregate(name, members, tuple(means))

    def _headline(self, member: str, outer: tuple[str, ...]) -> str | None:
        """The measure that a mean without a rule of its own averages; None where a card does not say."""
        aggregate = self.aggregate(member, outer)
        if aggregate is not None:
            return aggregate.means[0][0] if aggregate.means else None
        return str(self.task(member).headline) if member in self._paths else None

    def _unknown(self, name: str, more: Sequence[str] = ()) -> str:
        hint = next((said for known, said in _ELSEWHERE if known.fullmatch(name)), "")
        hint = hint or did_you_mean(name, [*self.names(), *self.suites(), *more])
        return (
            f'unknown task or suite "{name}": it is neither a card, a suite, a folder nor a task or benchmark of mteb.'
            f"{hint or ' The command list shows what there is.'}"
        )


def folder_task(folder: Path, cache: Path, split: str | None = None, language: str | None = None) -> Task:
    """A folder in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/<split>.tsv, plain or .gz) as a Task.

    Its revision is a digest of the files used. A card `task.yaml` in the folder, if there is one,
    says language, measures and rules; without it, see `uncarded.folder_task`.
    """
    folder = folder.resolve()
    card = folder / "task.yaml"
    if card.is_file():
        return read_card(card, packed=False, folder=folder)
    return uncarded.folder_task(folder, cache, split, language)


def select_languages(tasks: Sequence[Task], languages: Sequence[str]) -> list[Task]:
    """The tasks with only the subsets that `languages` name: by subset (`zh`) or by language code (`zho`).

    Raises HarnessError for a language that no task has; a task without any of them is left out.
    """
    known = {name for task in tasks for subset in task.subsets for name in _names_of(subset)}
    languages = [spelt(language, known) for language in languages]
    for language in languages:
        if language not in known:
            raise HarnessError(
                f'no task has the language "{language}"; there is {", ".join(sorted(known))}.{did_you_mean(language, known)}'
            )
    chosen = []
    for task in tasks:
        subsets = tuple(subset for subset in task.subsets if _names_of(subset) & set(languages))
        left_out = len(task.subsets) - len(subsets)
        # What a benchmark takes is no longer whole once a language of it is left out.
        chosen.append(
            replace(task, subsets=subsets, left_out=task.left_out + left_out, part=None if left_out else task.part)
        )
    return [task for task in chosen if task.subsets]


def _names_of(subset: Subset) -> set[str]:
    """`zh`, `zho-Hans` and `zho` for one subset; a subset called `default` goes by its languages alone."""
    names = {subset.name} - {"default"}
    for language in subset.languages:
        names |= {language, language.partition("-")[0]}
    return names


def _with_split(task: Task, split: str | None) -> Task:
    """The task on another split than its card's; its counts no longer hold there."""
    if split is None or all(subset.split == split for subset in task.subsets):
        return task
    of_it = tuple(subset for subset in task.subsets if subset.split == split)
    if of_it:
        return replace(task, subsets=of_it)
    # Several splits of one part become one: its name is that of the part, not of a split.
    parts = {subset.config: subset for subset in reversed(task.subsets)}
    several = len(parts) < len(task.subsets)
    subsets = tuple(
        replace(subset, name=(subset.config or "default") if several else subset.name, split=split, queries=None)
        for subset in task.subsets
        if parts[subset.config] is subset
    )
    origin = {"packed": "split", "mteb": "split"}.get(task.origin, task.origin if task.origin in _WITHOUT_CARD else "")
    origin = origin or digest_of_settings([("card", task.origin), ("split", split)])
    return replace(task, subsets=subsets, origin=origin)


def _looks_like_a_folder(word: str) -> bool:
    return word.startswith(("/", "./", "../", "~")) or word.lower().endswith(".zip") or Path(word).exists()


def _may_be_mteb(word: str) -> bool:
    return re.fullmatch(r"[\w.(),:&/ -]+", word) is not None


def _in_mteb(word: str, cache: Path) -> Task | Aggregate | None:
    """mteb's task, benchmark, or else its task in another case, of that name."""
    from .mteb_suites import benchmark
    from .mteb_task import look_up, mteb_names

    found = look_up(word, cache, remembered=True) or benchmark(word, cache) or look_up(word, cache)
    if found is not None:
        return found
    spelt = next((name for name in mteb_names(cache) if name.casefold() == word.casefold()), None)
    return look_up(spelt, cache) if spelt else None


def _names_in_mteb(cache: Path) -> list[str]:
    from .mteb_suites import benchmark_names
    from .mteb_task import mteb_names

    return [*mteb_names(cache), *benchmark_names(cache)]


def _card_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.yaml") if path.name != "suites.yaml"]
