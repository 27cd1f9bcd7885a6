"""What a user asks for, in the words of `run`'s options, and the Request that it comes to.

The command line and `harness.run` both end here, so that the same words mean the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError
from .running import Running, model_options
from .wanted import Wanted, open_wanted

if TYPE_CHECKING:
    from ..data.layers import Layer
    from ..engine.options import Options
    from ..request import Request
    from ..rerankers.base import Reranker
    from ..retrievers.retrieve import FirstStage
    from ..types import Measure, Task
    from ..verdicts.until import Decision, UntilDecided

__all__ = ["Asking", "build_request", "decisions_of"]

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asking(Running):
    """A whole run, as asked for; docs/reference.md says what each option means."""

    tasks: Sequence[str | Task] = ()
    reranker: Sequence[str | Wanted] = ()
    """By name, or with what is its own."""
    name: str | None = None
    """What tables, boards and the results' folder call it; for one reranker."""
    stages: Sequence[FirstStage] = ()
    """First stages opened already, instead of those by name."""
    retriever: Sequence[str] = ()
    candidates: Sequence[Path] = ()
    retriever_set: Sequence[tuple[str, str]] = ()
    fuse: bool = False
    fuse_by: str | None = None
    fuse_weights: Sequence[float] = ()
    top_k: int | Sequence[int] | None = None
    """Several depths give a result for each."""
    limit: int | None = None
    languages: Sequence[str] = ()
    language: str | None = None
    split: str | None = None
    measures: Sequence[str] = ()
    condensed: bool = False
    relevance_level: int | None = None
    qrels_layer: Path | Layer | None = None
    missing_text: str = "error"
    instructions: str = "given"
    results: Path = Path("results")
    cards: Path | None = None
    save_runs: Path | None = None
    workers: int | None = None
    ray_address: str | None = None
    until_decided: bool = False
    baseline: Path | None = None
    max_drop: float | None = None
    alpha: float | None = None


def build_request(asked: Asking, say: Say) -> Request:
    """Everything resolved: cards, first stages, rerankers, device. Raises HarnessError for what cannot be."""
    from ..data.task import select_languages
    from ..files.cache import cache_folder, distrust_digests
    from ..request import Request

    until = _until(asked)
    if asked.rehash:
        distrust_digests()
    cache = cache_folder()
    options = _with_workers(asked, model_options(asked), say)
    tasks = _tasks(asked, cache, say)
    for task in tasks:
        if task.note:
            say(f"{task.name}: {task.note}")
    if asked.languages:
        tasks = select_languages(tasks, asked.languages)
    _lists_are_whole(asked, tasks, say)
    rerankers = _rerankers(asked, options, cache, say)
    searched = _with_own_candidates(asked, rerankers)
    for reranker in rerankers:
        if reranker.note:
            say(f"{reranker.spec.name}: {reranker.note}")
    return Request(
        tasks=tasks,
        first_stages=once(lambda: _first_stages(searched, tasks, options, cache, say)),
        rerankers=rerankers,
        options=options,
        results=asked.results,
        cache=cache,
        replace_given=bool(asked.retriever or asked.candidates or asked.stages),
        top_k=tuple(_depths(asked.top_k)) or None,
        limit=asked.limit,
        measures=_measures(asked.measures),
        condensed=asked.condensed,
        relevance_level=asked.relevance_level,
        qrels_layer=_layer(asked.qrels_layer),
        missing_text=asked.missing_text,
        instructions=asked.instructions,
        save_runs=asked.save_runs,
        until=until,
    )


def _until(asked: Asking) -> UntilDecided | None:
    """What stops a run early. Raises HarnessError for a baseline without the wish to stop, and the other way round."""
    given = [
        f"--{name.replace('_', '-')}" for name in ("baseline", "max_drop", "alpha") if vars(asked)[name] is not None
    ]
    if not asked.until_decided:
        if given:
            raise HarnessError(f"{given[0]} is of --until-decided, which is not given; gate compares what is there")
        return None
    if asked.baseline is None:
        raise HarnessError("--until-decided needs --baseline DIR: the results that the new ones are held against")
    from ..verdicts.until import ALPHA, MAX_DROP, UntilDecided

    return UntilDecided(
        asked.baseline,
        MAX_DROP if asked.max_drop is None else asked.max_drop,
        ALPHA if asked.alpha is None else asked.alpha,
    )


def decisions_of(request: Request, paths: Sequence[Path]) -> list[Decision]:
    """What a run until decided came to, a decision for each of its results; empty for any other run."""
    from ..verdicts.until import UntilDecided

    until = request.until
    return until.decisions(paths) if isinstance(until, UntilDecided) else []


def _tasks(asked: Asking, cache: Path, say: Say) -> list[Task]:
    """Those that are named, in their order, then those that were made in memory."""
    from ..data.task import Cards

    named = [task for task in asked.tasks if isinstance(task, str)]
    made = [task for task in asked.tasks if not isinstance(task, str)]
    if made and not named:
        return made
    cards = Cards(asked.cards)
    tasks = cards.resolve(named, cache, asked.split, asked.language)
    for aggregate in cards.aggregates(named, cache):
        if aggregate.note:
            say(f"{aggregate.name}: {aggregate.note}")
    return tasks + made


def _layer(given: Path | Layer | None) -> Layer | None:
    from ..data.layers import Layer, read_layer

    return given if given is None or isinstance(given, Layer) else read_layer(Path(given))


def _rerankers(asked: Asking, options: Options, cache: Path, say: Say) -> list[Reranker]:
    """Every reranker that is asked for, by the name that its results will have."""
    wanted = [each if isinstance(each, Wanted) else Wanted(each) for each in asked.reranker]
    if asked.name is not None:
        if len(wanted) != 1:
            names = ", ".join(map(str, wanted)) or "none"
            raise HarnessError(f"--name {asked.name} is for one reranker, and here are {len(wanted)}: {names}")
        wanted = [replace(wanted[0], label=asked.name)]
    return _named(open_wanted(wanted, asked, options, cache, say), asked.results)


def _named(rerankers: Sequence[Reranker], results: Path) -> list[Reranker]:
    """The rerankers, those of folders and files by as many parents as make them unique among the results."""
    from ..rerankers.known import known_models
    from ..results.naming import name_among, tails

    known = [each.known for each in rerankers]
    return [
        replace(each, spec=replace(each.spec, name=name_among(one, known, results, known_models().__contains__)))
        if each.spec.name in tails(each.place)
        else each
        for each, one in zip(rerankers, known, strict=True)
    ]


def _depths(top_k: int | Sequence[int] | None) -> list[int]:
    """The depths asked for, each once, in their order; empty for the usual one. Raises HarnessError for what is no depth."""
    asked: Any = top_k
    one = isinstance(asked, str) or not hasattr(asked, "__iter__")
    given = [] if asked is None else [asked] if one else list(asked)
    if bad := [each for each in given if not hasattr(each, "__index__") or isinstance(each, bool) or each < 1]:
        raise HarnessError(f"top-k is a whole number above 0, or several of them, not {bad[0]!r}")
    return list(dict.fromkeys(map(int, given)))


def _with_own_candidates(asked: Asking, rerankers: Sequence[Reranker]) -> Asking:
    """A ranking that is there already ranks its own documents: it is the first stage where none is named or given.

    Raises HarnessError where there are several such rankings, whose documents differ.
    """
    files = list(dict.fromkeys(reranker.ranking for reranker in rerankers if reranker.ranking))
    if not files or asked.retriever or asked.candidates or asked.stages:
        return asked
    if len(files) > 1:
        names = ", ".join(map(str, files))
        raise HarnessError(
            f"whose documents are the candidates: those of {names}? Name one by --candidates, or a --retriever"
        )
    return replace(asked, candidates=(files[0],))


def _lists_are_whole(asked: Asking, tasks: Sequence[Task], say: Say) -> None:
    """`--top-k` is for what a first stage ranks: a list without scores has no best K.

    Raises HarnessError where nothing is retrieved, so that it would change nothing; says it where something is.
    """
    lists = [task.name for task in tasks if task.given_lists]
    depths = _depths(asked.top_k)
    if not depths or not lists or asked.retriever or asked.candidates or asked.stages:
        return
    names = ", ".join(lists[:3]) + (f" and {len(lists) - 3} more" if len(lists) > 3 else "")
    shown = ",".join(map(str, depths))
    if len(lists) == len(tasks):
        raise HarnessError(
            f"--top-k {shown}: the candidate lists that {names} brings have no scores, so there is no best "
            f"{shown} of them. Leave it out and they are taken whole, or name the first stage that ranks: "
            "--retriever bm25, --candidates run.trec"
        )
    say(f"--top-k {shown} cuts what is retrieved; the candidate lists of {names} have no scores and stay whole")


def _with_workers(asked: Asking, options: Options, say: Say) -> Options:
    """The options with workers, where they are asked for. Raises HarnessError where they cannot be had."""
    if asked.workers is None and asked.ray_address is None:
        return options
    from ..engine.scale_out import Workers

    workers = Workers(asked.workers, options.device, address=asked.ray_address, report=say)
    one_core_each = options.device == "cpu" and asked.ray_address is None
    return replace(options, workers=workers, cores=asked.workers if one_core_each else None)


def _first_stages(
    asked: Asking, tasks: Sequence[Task], options: Options, cache: Path, say: Say
) -> Sequence[FirstStage]:
    from ..retrievers.fusion import fused_stage
    from ..retrievers.retrieve import open_first_stage, refuse_idle_settings, run_file_stage

    if asked.stages:
        return asked.stages
    names = asked.retriever or ([] if asked.candidates else ["bm25"])
    languages = [next(iter(subset.languages), "und") for task in tasks for subset in task.subsets]
    refuse_idle_settings(names, asked.retriever_set, languages)
    plain = replace(options, settings=tuple(asked.retriever_set))
    stages = [open_first_stage(name, plain, cache) for name in dict.fromkeys(names)]
    stages += [run_file_stage(path, cache) for path in dict.fromkeys(asked.candidates)]
    for stage in stages:
        if stage.note:
            say(f"{stage.name}: {stage.note}")
    if asked.fuse or asked.fuse_by or asked.fuse_weights:
        return [fused_stage(stages, asked.fuse_by or "rrf", asked.fuse_weights)]
    return stages


def _measures(words: Sequence[str]) -> tuple[Measure, ...]:
    from ..types import Measure

    try:
        return tuple(dict.fromkeys(Measure.parse(word) for word in words))
    except ValueError as error:
        raise HarnessError(str(error)) from None
