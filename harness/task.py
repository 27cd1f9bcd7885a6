"""Stage 1: a card of tasks/ → Task. Resolves what a user types: a task, a suite, or a folder.

A card is one YAML file named after its task; `tasks/README.md` explains every key. Cards are found
in this order, and the first that has the name wins: the user's `--tasks DIR`, the checkout, the
cards packed in the wheel. `suites.yaml` in each of these places names groups of tasks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .digest import digest_of_settings
from .errors import HarnessError, did_you_mean
from .types import Measure, Subset, Task

__all__ = ["DEFAULT_MEASURES", "Cards", "folder_task", "select_languages"]

DEFAULT_MEASURES = tuple(Measure.parse(text) for text in ("nDCG@10", "MAP@100", "RR@10", "R@100"))
"""What a card without `measures` reports; the first is the headline."""

_KEYS = {
    "name", "path", "revision", "split", "languages", "subsets", "measures", "identical_ids", "licence", "prompt",
    "counts", "folder", "candidates",
}  # fmt: skip
_SUBSET_KEYS = {"split", "languages", "config", "counts"}
_HEX40 = re.compile(r"[0-9a-f]{40}\Z")


def packed_folder() -> Path:
    """The folder of the harness's own cards: in the checkout, or inside the installed wheel."""
    here = Path(__file__).resolve().parent
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
        """The name of every task, sorted."""
        return sorted({path.stem for folder in self._folders for path in _card_files(folder)})

    def suites(self) -> dict[str, list[str]]:
        """suite → its tasks' names."""
        found: dict[str, list[str]] = {}
        for folder in reversed(self._folders):
            path = folder / "suites.yaml"
            if path.is_file():
                for name, value in _mapping(_read_yaml(path), path).items():
                    entry = _mapping(value, path)
                    _refuse_unknown_keys(entry, {"tasks", "title", "mean"}, path, name)
                    found[name] = [str(task) for task in entry.get("tasks", [])]
        return found

    def task(self, name: str) -> Task:
        """The task of that name. Raises HarnessError for an unknown name or a card with a mistake."""
        for folder in self._folders:
            for path in _card_files(folder):
                if path.stem == name:
                    return _read_card(path, packed=folder == self._folders[-1])
        raise HarnessError(self._unknown(name))

    def resolve(self, words: Sequence[str], cache: Path, split: str | None = None) -> list[Task]:
        """The tasks that `words` name: tasks, suites (all their tasks) and folders, each once, in order.

        Raises HarnessError for a word that is none of these, or no word at all.
        """
        if not words:
            raise HarnessError('name at least one task, suite or folder, as in "run SciFact"; "list" shows them')
        suites = self.suites()
        tasks: list[Task] = []
        for word in words:
            if word in suites and word not in self.names():
                tasks += [self.task(name) for name in suites[word]]
            elif _looks_like_a_folder(word):
                tasks.append(folder_task(Path(word), cache, split))
            else:
                tasks.append(self.task(word))
        return [_with_split(task, split) for task in dict.fromkeys(tasks)]

    def _unknown(self, name: str) -> str:
        names = self.names() + list(self.suites())
        hint = did_you_mean(name, names)
        return f'unknown task or suite "{name}": it is neither a card, a suite nor a folder.{hint or " The command list shows what there is."}'


def folder_task(folder: Path, cache: Path, split: str | None = None) -> Task:
    """A folder in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/<split>.tsv, plain or .gz) as a Task.

    Its revision is a digest of the files used. A card `task.yaml` in the folder, if there is one,
    says language, measures and rules; without it the language is English and the measures are
    `DEFAULT_MEASURES`.
    """
    from .collection import folder_revision, folder_splits

    folder = folder.resolve()
    card = folder / "task.yaml"
    if card.is_file():
        return _read_card(card, packed=False, folder=folder, revision=folder_revision(folder, cache))
    splits = folder_splits(folder)
    chosen = split or ("test" if "test" in splits or len(splits) != 1 else splits[0])
    subset = Subset(name="default", split=chosen, languages=("eng-Latn",))
    return Task(
        name=folder.name,
        path=str(folder),
        revision=folder_revision(folder, cache),
        subsets=(subset,),
        measures=DEFAULT_MEASURES,
        given_lists=any((folder / f"top_ranked.jsonl{end}").is_file() for end in ("", ".gz")),
        folder=True,
        origin="folder",
    )


def select_languages(tasks: Sequence[Task], languages: Sequence[str]) -> list[Task]:
    """The tasks with only the subsets that `languages` name: by subset (`zh`) or by language code (`zho`).

    Raises HarnessError for a language that no task has; a task without any of them is left out.
    """
    from dataclasses import replace

    known = {name for task in tasks for subset in task.subsets for name in _names_of(subset)}
    for language in languages:
        if language not in known:
            raise HarnessError(
                f'no task has the language "{language}"; there is {", ".join(sorted(known))}.{did_you_mean(language, known)}'
            )
    chosen = [replace(task, subsets=tuple(s for s in task.subsets if _names_of(s) & set(languages))) for task in tasks]
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
    from dataclasses import replace

    subsets = tuple(replace(subset, split=split, queries=None) for subset in task.subsets)
    origin = {"packed": "split", "folder": "folder"}.get(task.origin) or digest_of_settings(
        [("card", task.origin), ("split", split)]
    )
    return replace(task, subsets=subsets, origin=origin)


def _looks_like_a_folder(word: str) -> bool:
    return Path(word).is_dir() or word.startswith(("/", "./", "../", "~"))


def _card_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.yaml") if path.name != "suites.yaml"]


def _read_yaml(path: Path) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506  (a safe loader, in C where there is one)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise HarnessError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    except UnicodeDecodeError:
        raise HarnessError(f"{path}: not UTF-8 text") from None


def _mapping(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HarnessError(f'{path}: expected "key: value" lines, found {type(value).__name__}')
    return value


def _refuse_unknown_keys(entry: Mapping[str, Any], known: set[str], path: Path, where: str) -> None:
    for key in entry:
        if key not in known:
            raise HarnessError(
                f'{path}: unknown key "{key}" in {where}; known: {", ".join(sorted(known))}.{did_you_mean(str(key), known)}'
            )


def _read_card(path: Path, *, packed: bool, folder: Path | None = None, revision: str | None = None) -> Task:
    card = _mapping(_read_yaml(path), path)
    _refuse_unknown_keys(card, _KEYS, path, "the card")
    name = str(card.get("name", path.stem if folder is None else folder.name))
    if folder is None and name != path.stem:
        raise HarnessError(f'{path}: a card is named after its task, but its name is "{name}"')
    if folder is None and card.get("folder"):
        from .cache import cache_folder
        from .collection import folder_revision

        folder = (path.parent / str(card["folder"])).resolve()
        revision = folder_revision(folder, cache_folder())
    data_path = str(folder) if folder else str(card.get("path", ""))
    revision = revision or str(card.get("revision", ""))
    if not data_path or not _HEX40.match(revision):
        raise HarnessError(f'{path}: a card needs "path" and "revision" (40 hex digits), or "folder"')
    for key, words in (("identical_ids", ("keep", "drop")), ("candidates", ("retrieved", "given"))):
        if card.get(key, words[0]) not in words:
            raise HarnessError(f'{path}: "{key}" is {words[0]} or {words[1]}, not "{card[key]}"')
    return Task(
        name=name,
        path=data_path,
        revision=revision,
        subsets=_subsets(card, path),
        measures=_measures(card, path),
        given_lists=card.get("candidates", "retrieved") == "given",
        drop_identical_ids=card.get("identical_ids") == "drop",
        licence=str(card.get("licence", "")),
        prompt=str(card.get("prompt") or ""),
        folder=folder is not None,
        origin="packed" if packed else digest_of_settings(_what_moves_numbers(card)),
    )


def _what_moves_numbers(card: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [(key, value) for key, value in card.items() if key not in ("name", "licence", "counts", "measures")]


def _measures(card: Mapping[str, Any], path: Path) -> tuple[Measure, ...]:
    if "measures" not in card:
        return DEFAULT_MEASURES
    try:
        return tuple(Measure.parse(str(text)) for text in card["measures"])
    except ValueError as error:
        raise HarnessError(f"{path}: {error}") from None


def _subsets(card: Mapping[str, Any], path: Path) -> tuple[Subset, ...]:
    entries = card.get("subsets") or {"default": {}}
    found = []
    for name, value in _mapping(entries, path).items():
        entry = _mapping(value or {}, path)
        _refuse_unknown_keys(entry, _SUBSET_KEYS, path, f'subset "{name}"')
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
