"""The verb `reproduce`: which published figures this installation can check, and whether they come out.

A figure can be checked where its task has a card, its data and its model are here or within reach,
and the data are small enough for a check. Everything it runs is an ordinary run: what is stored is
not computed again.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError, did_you_mean, spelt
from ..results.published import GIVEN, PACKAGED, Compared, Figure, beside, depth_of, figures
from .shared import RESULTS_WRITTEN, Say, json_document

if TYPE_CHECKING:
    from ..data.task import Cards
    from ..engine.options import Options
    from ..request import Request
    from ..types import Task

__all__ = ["Check", "add_options", "checkable", "command"]


MOST_DOCUMENTS = 10_000
"""A corpus up to this size is checked without being asked for by name."""

_DEPTH = 100
_LAYER = "[layer "


@dataclass(frozen=True)
class Check:
    """A published figure that can be checked here, and how."""

    figure: Figure
    task: Task
    """With the one subset that the figure is of."""
    model: str
    """How the model is opened here: a hub name, or that of an installed package."""
    stage: str
    """The same of the first stage that it reranks; `given` for the data's own lists, empty for none."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `reproduce` takes."""
    from .run import add_model_options

    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only these tasks, suites or models; none: all small ones"
    )
    parser.add_argument("--list", action="store_true", help="say which figures can be checked; check none")
    parser.add_argument(
        "--max-documents", type=int, default=MOST_DOCUMENTS, metavar="N",
        help=f"leave out larger corpora unless they are named ({MOST_DOCUMENTS})",
    )  # fmt: skip
    parser.add_argument("--results", **RESULTS_WRITTEN)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the answer on stdout")
    add_model_options(parser)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """List the figures that can be checked, then check them; 1 where one differs, 3 where none can be."""
    from ..data.task import Cards
    from ..files.cache import cache_folder
    from ..python.running import model_options
    from .run import running_of

    checks = checkable(Cards(), given.words, given.max_documents, cache_folder(), say)
    every = sum(map(len, figures().values()))
    say(f"{len(checks)} of {every:,} published figures can be checked here")
    if not checks:
        raise HarnessError(
            "no published figure can be checked: name a task, a suite or a model whose data are here or within reach",
            exit_code=3,
        )
    if given.list:
        answer(_listed(checks) if given.format == "text" else json_document({"checkable": [_entry(c) for c in checks]}))
        return 0
    found = list(_compared(checks, given, model_options(running_of(given)), say))
    answer(
        _table(found)
        if given.format == "text"
        else json_document({"figures": [each.entry() | _place(each.figure) for each in found]})
    )
    return 1 if any(each.mark == "differs" for each in found) else 0


def checkable(cards: Cards, words: Sequence[str], most_documents: int, cache: Path, say: Say) -> list[Check]:
    """The published figures that can be checked here, in the order of tasks.

    Without words: the models that are on this machine, on data within reach of at most
    `most_documents` documents. A word that is a task or a suite lifts that bound, one that is a
    model takes it from the hub. Raises HarnessError for a word that is neither.
    """
    known = {figure.model for entries in figures().values() for figure in entries if figure.model}
    named = {word for word in words if word in known}
    tasks = _tasks_named([word for word in words if word not in known], cards, known, cache)
    reach = _Reach(cache)
    found = []
    for figure, task in _of_our_tasks(cards, tasks, most_documents):
        if figure.model and (not named or figure.model in named):
            model = reach.model(figure.model, asked=figure.model in named)
            stage = reach.model(figure.stage, asked=bool(named)) if figure.reranks else ""
            if model and bool(stage) == figure.reranks and reach.data(task):
                found.append(Check(figure, task, model, stage))
    if reach.silent:
        say("the hub cannot be reached: only what is on this machine can be checked")
    return found


def _of_our_tasks(cards: Cards, tasks: set[str], most_documents: int) -> Iterator[tuple[Figure, Task]]:
    """Each figure of a task with a card, and the task with the one subset that it is of."""
    ours = {name for name in cards.names() if cards.aggregate(name) is None}
    for (name, _), entries in figures().items():
        if name not in ours or (tasks and name not in tasks):
            continue
        task = cards.task(name)
        for figure in entries:
            place = (figure.subset or "default", figure.split)
            subsets = tuple(subset for subset in task.subsets if (subset.name, subset.split) == place)
            if subsets and (name in tasks or (subsets[0].documents or 0) <= most_documents):
                yield figure, replace(task, subsets=subsets)


def _tasks_named(words: Sequence[str], cards: Cards, models: set[str], cache: Path) -> set[str]:
    names = {*cards.names(), *cards.suites()}
    words = [spelt(word, names) for word in words]
    for word in words:
        if word not in names:
            raise HarnessError(
                f'"{word}" is neither a task, a suite nor a model with published figures.'
                f"{did_you_mean(word, [*names, *models])}"
            )
    return {task.name for task in cards.resolve(words, cache)} if words else set()


class _Reach:
    """What is on this machine or can be had from the hub; each thing is looked for once."""

    def __init__(self, cache: Path) -> None:
        from .doctor import hub_state

        self._cache = cache
        self._models: dict[str, str] = {}
        self._data: dict[tuple[str, str], bool] = {}
        self.silent = hub_state().status != "ok"

    def model(self, name: str, *, asked: bool) -> str:
        """How the model is opened here; empty where it cannot be."""
        if name in ("bm25", GIVEN):
            return name
        if name not in self._models:
            self._models[name] = self._packaged(name) or (name if self._on_hub(name, asked=asked) else "")
        return self._models[name]

    def data(self, task: Task) -> bool:
        """Whether the data are prepared, or the hub says what files they have."""
        from ..data.collection import data_files, prepared_fingerprint

        key = (task.path, task.subsets[0].config)
        if key not in self._data:
            self._data[key] = prepared_fingerprint(task, task.subsets[0], self._cache) is not None
            if not self._data[key] and not self.silent:
                try:
                    self._data[key] = bool(data_files(task, task.subsets[0], self._cache))
                except HarnessError:
                    self._data[key] = False
        return self._data[key]

    def _packaged(self, name: str) -> str:
        for packaged, weights in PACKAGED.items():
            if weights == name and importlib.util.find_spec(packaged.partition(":")[2]) is not None:
                return packaged
        return ""

    def _on_hub(self, name: str, *, asked: bool) -> bool:
        """A model that was not asked for counts only where its weights are in the hub client's cache."""
        from ..files.hub import path_here
        from ..models.source import open_model

        if not asked and not _in_client_cache(name):
            return False
        try:
            source = open_model(_without_layer(name), self._cache)
        except HarnessError:
            return False
        return asked or all(path_here("model", source.name, source.revision, file) for file in source.weight_files())


def _in_client_cache(name: str) -> bool:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE, f"models--{_without_layer(name).replace('/', '--')}").is_dir()


def _without_layer(name: str) -> str:
    return name.partition(_LAYER)[0]


def _compared(checks: Sequence[Check], given: argparse.Namespace, options: Options, say: Say) -> Iterator[Compared]:
    """Every check's figure beside ours, in the order of the runs that it takes."""
    from ..evaluate import evaluate

    for together in _runs(checks).values():
        wanted = {(check.figure.task, check.figure) for check in together}
        for outcome in evaluate(_request(together, given, options), say):
            yield from (each for each in beside(outcome.result) if (each.figure.task, each.figure) in wanted)


def _runs(checks: Sequence[Check]) -> Mapping[tuple[object, ...], list[Check]]:
    """The checks that one request answers, together."""
    runs: dict[tuple[object, ...], list[Check]] = {}
    for check in checks:
        figure = check.figure
        depth = figure.depth if figure.reranks else max(_DEPTH, depth_of(figure.measure))
        runs.setdefault((figure.model, figure.stage, depth), []).append(check)
    return runs


def _request(checks: Sequence[Check], given: argparse.Namespace, options: Options) -> Request:
    from ..files.cache import cache_folder
    from ..request import Request
    from ..rerankers.resolve import open_rerankers
    from ..retrievers.retrieve import open_first_stage
    from ..types import Measure

    cache, first = cache_folder(), checks[0]
    figure = first.figure
    layer = figure.model.partition(_LAYER)[2].rstrip("]")
    with_layer = replace(options, settings=(*options.settings, ("cutoff_layers", layer))) if layer else options
    stage = first.stage or first.model
    deepest = max(_DEPTH, *(depth_of(check.figure.measure) for check in checks))
    measures = dict.fromkeys(Measure.parse(check.figure.measure.partition(" ")[0]) for check in checks)
    return Request(
        tasks=list(dict.fromkeys(check.task for check in checks)),
        first_stages=lambda: [open_first_stage(stage, options, cache)],
        rerankers=open_rerankers(_without_layer(first.model), with_layer, cache) if figure.reranks else [],
        options=options,
        results=given.results,
        cache=cache,
        top_k=None if first.stage == GIVEN else figure.depth or deepest,
        measures=tuple(measures),
    )


def _place(figure: Figure) -> dict[str, Any]:
    return {"task": figure.task, "subset": figure.subset or "default", "split": figure.split}


def _entry(check: Check) -> dict[str, Any]:
    figure = check.figure
    return _place(figure) | {
        "measure": figure.measure,
        "published": figure.value,
        "model": check.model,
        "first_stage": figure.stage or None,
        "system": figure.system or figure.model,
        "source": figure.source,
    }


def _listed(checks: Sequence[Check]) -> str:
    from ..results.figures import number
    from ..results.layout import align

    rows = [
        [
            _title(c.figure),
            c.figure.measure,
            number(c.figure.value, c.figure.measure),
            c.model,
            c.figure.stage or "–",
            c.figure.source,
        ]
        for c in checks
    ]
    return align([["task", "measure", "published", "model", "over", "source"], *rows])


def _table(found: Sequence[Compared]) -> str:
    from ..results.figures import number
    from ..results.layout import align

    rows = [
        [
            f"[{each.mark}]",
            _title(each.figure),
            each.measure,
            number(each.figure.value, each.measure),
            number(each.value, each.measure),
            each.figure.system or each.figure.model,
            each.figure.source,
        ]
        for each in found
    ]
    counts = ", ".join(f"{sum(each.mark == mark for each in found)} {mark}" for mark in ("OK", "near", "differs"))
    return f"{align([['', 'task', 'measure', 'published', 'ours', 'system', 'source'], *rows])}\n{counts}"


def _title(figure: Figure) -> str:
    return f"{figure.task} {figure.subset}".strip()
