"""The verb `run`: options → a Request → evaluate → tables or JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError
from .shared import RESULTS_WRITTEN, Say

if TYPE_CHECKING:
    from ..engine.options import Options
    from ..evaluate import Outcome
    from ..request import Request
    from ..rerankers.base import Reranker
    from ..results.means import Mean
    from ..results.published import Compared
    from ..results.result import Result
    from ..retrievers.retrieve import FirstStage
    from ..types import Measure, Task

    Means = Sequence[tuple[Mean, Sequence[Compared]]]

__all__ = [
    "MODEL",
    "add_model_options",
    "add_options",
    "build_request",
    "command",
    "model_options",
    "open_one_reranker",
]


def above_zero(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'"{text}" is not a whole number above 0')
    return int(text)


def words(text: str) -> tuple[str, ...]:
    """The words between commas, for argparse; a list in a file is joined by commas."""
    found = tuple(word for word in (part.strip() for part in text.split(",")) if word)
    if not found:
        raise argparse.ArgumentTypeError(f'"{text}" names nothing; several are joined by commas')
    return found


def setting(text: str) -> tuple[str, str]:
    """KEY=VALUE as a pair, for argparse."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f'"{text}" is not KEY=VALUE, as in max_length=256')
    return key, value


MODEL = "ORG/NAME of the hub, a folder, package:NAME, mine.py:rerank, module:attribute or remote:PROVIDER/MODEL"
"""How a reranker may be named, for help."""

_SEVERAL: dict[str, Any] = {"action": "append", "default": []}

_WHAT: dict[str, dict[str, Any]] = {
    "tasks": {"nargs": "*", "default": (), "metavar": "TASK", "help": "tasks, suites, folders in BEIR's layout, hub data sets (ORG/NAME), tasks of mteb"},
    "--reranker": {**_SEVERAL, "metavar": "NAME", "help": f"{MODEL}; several may be given; none runs the first stage alone"},
    "--retriever": {**_SEVERAL, "metavar": "NAME", "help": "first stage: bm25 (the default) or a sentence-transformers model; several may be given"},
    "--candidates": {**_SEVERAL, "type": Path, "metavar": "FILE", "help": "first stage: a TREC run, plain or .gz"},
    "--retriever-set": {**_SEVERAL, "type": setting, "metavar": "KEY=VALUE", "help": "a setting of a first stage: recipe=e5-mistral of a dense one, analyzer=jieba of bm25"},
    "--fuse": {"action": "store_true", "help": "join the first stages into one by reciprocal rank"},
    "--top-k": {"type": above_zero, "metavar": "K", "help": "candidates a query (100) that a first stage retrieves; given lists are always whole"},
    "--limit": {"type": above_zero, "metavar": "N", "help": "only the first N queries of each task"},
    "--languages": {"type": words, "default": (), "metavar": "CODES", "help": "only these of multilingual tasks, as zh,sw"},
    "--language": {"metavar": "CODE", "help": "the language of a folder or a hub data set without a card, as zho"},
    "--split": {"metavar": "NAME", "help": "another split than the card's"},
    "--measures": {"type": words, "default": (), "metavar": "LIST", "help": "instead of the card's, as nDCG@10,MAP@100"},
    "--relevance-level": {"type": above_zero, "default": 1, "metavar": "N", "help": "judged N or more is relevant for binary measures (1)"},
    "--missing-text": {"choices": ("error", "skip"), "default": "error", "help": "candidates without text: an error, or kept below every scored one"},
    "--instructions": {"choices": ("given", "none"), "default": "given", "help": "none takes the queries' instructions away, to show what they are worth"},
    "--results": RESULTS_WRITTEN,
    "--tasks": {"type": Path, "dest": "cards", "metavar": "DIR", "help": "a folder with cards of your own"},
    "--save-runs": {"type": Path, "metavar": "DIR", "help": "write candidates and rankings as TREC runs"},
    "--workers": {"type": above_zero, "metavar": "N", "help": "compute on N workers of Ray, each with a device (a CPU core, or a GPU with --device cuda)"},
    "--ray-address": {"metavar": "ADDRESS", "help": "workers on the Ray cluster there (HOST:6379, auto), not on this machine alone; as many as it has free without --workers"},
    "--offline": {"type": Path, "metavar": "DIR", "help": "ask no network: data and models come from a bundle of fetch"},
    "--dry-run": {"action": "store_true", "help": "print the plan and check what can be checked; compute no result"},
    "--format": {"choices": ("text", "json"), "default": "text", "help": "of the answer on stdout"},
}  # fmt: skip

_HOW: dict[str, dict[str, Any]] = {
    "--family": {"metavar": "NAME", "help": "the scoring family, or a template of one, where the model's class does not decide it"},
    "--set": {**_SEVERAL, "type": setting, "dest": "settings", "metavar": "KEY=VALUE", "help": "a setting of the family, as max_length=256"},
    "--device": {"default": "auto", "help": "auto, cpu, cuda, cuda:1, mps (auto)"},
    "--dtype": {"default": "auto", "help": "auto, float32, bfloat16, float16 (float32 on CPU, bfloat16 on GPU)"},
    "--batch-tokens": {"type": above_zero, "metavar": "N", "help": "token budget of a batch (4096; 32768 on a GPU)"},
    "--trust-remote-code": {"action": "store_true", "help": "allow code from a model's repository"},
    "--rehash": {"action": "store_true", "help": "read large files again instead of trusting their remembered digests"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `run` takes. No defaults here: `completed` has them, so that flags go before the file."""
    for flag, how in {**_WHAT, **_HOW}.items():
        parser.add_argument(flag, **{**how, "default": None})
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="a whole run in a file (rerank-harness.toml, where no task is named)",
    )


def completed(given: argparse.Namespace) -> argparse.Namespace:
    """Flags before the file before the defaults. Raises HarnessError where no task is named anywhere."""
    from .config import FILE_NAME, read_config

    flags = {name: value for name, value in vars(given).items() if value not in (None, [])}
    options = {**_WHAT, **_HOW}
    path = given.config or (Path(FILE_NAME) if not given.tasks and Path(FILE_NAME).is_file() else None)
    values = {
        how.get("dest", flag.removeprefix("--").replace("-", "_")): _default(how) for flag, how in options.items()
    }
    values |= read_config(path, options) if path else {}
    values |= flags
    if not values["tasks"]:
        raise HarnessError(f'name a TASK, as in "run SciFact", or write the run in {FILE_NAME}; "list" shows the tasks')
    return argparse.Namespace(**values)


def _default(how: dict[str, Any]) -> Any:
    return how.get("default", False if how.get("action") == "store_true" else None)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """How models are run; the same words for every verb that loads one."""
    for flag, how in _HOW.items():
        parser.add_argument(flag, **how)


def model_options(given: argparse.Namespace) -> Options:
    """The model options, resolved: never `auto` further on."""
    from ..engine.options import Options, resolve_batch_tokens, resolve_device, resolve_dtype

    device = resolve_device(given.device)
    return Options(
        device=device,
        dtype=resolve_dtype(given.dtype, device),
        batch_tokens=resolve_batch_tokens(given.batch_tokens, device),
        trust_remote_code=given.trust_remote_code,
        rehash=given.rehash,
        settings=tuple(given.settings),
    )


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Evaluate what the options ask for; `answer` gets the tables or the one JSON object."""
    from ..evaluate import evaluate
    from ..results.cautions import cautions_of, selected
    from ..results.published import beside
    from ..results.tables import means_table, result_block, summary_table
    from ..verdicts.pairing import title_of

    select, ignore = _warnings_wanted(given.config)
    given = completed(given)
    if given.offline:
        from ..files.bundle import use_offline
        from ..files.cache import cache_folder

        use_offline(given.offline, cache_folder())
    request = build_request(given, say)
    if given.dry_run:
        from .dry_run import dry_run

        answer(dry_run(request, say, as_json=given.format == "json"))
        return 0
    outcomes = []
    for outcome in evaluate(request, say):
        outcomes.append(outcome)
        if given.format == "text":
            published = beside(outcome.result)
            answer(result_block(outcome.result, outcome.path, reused=outcome.reused, published=published))
        for caution in selected(cautions_of(outcome.result), select, ignore):
            who = outcome.result.identity.reranker or outcome.result.identity.retriever
            say(f"{title_of(outcome.result)}, {who}: {caution.code} {caution.what} (explain {caution.code})")
    means = _means(given, request, [outcome.result for outcome in outcomes])
    if given.format == "json":
        answer(_as_json(outcomes, means))
    elif len(outcomes) > 1:
        answer(summary_table([outcome.result for outcome in outcomes]))
        if means:
            answer(means_table(means))
    return 0


def _warnings_wanted(config: Path | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the configuration file says of warnings: those to select, those to ignore."""
    from .config import FILE_NAME, read_warnings

    path = config or Path(FILE_NAME)
    return read_warnings(path) if config or path.is_file() else ((), ())


def _means(given: argparse.Namespace, request: Request, results: Sequence[Result]) -> Means:
    """The means over languages and tasks that the results fill, with what is published of them."""
    from ..data.task import Cards
    from ..results.means import means_of
    from ..results.published import beside_mean

    if len(results) < 2:
        return []
    aggregates = Cards(given.cards).aggregates(given.tasks, request.cache)
    return [(mean, beside_mean(mean)) for mean in means_of(results, request.tasks, aggregates)]


def _as_json(outcomes: Sequence[Outcome], means: Means) -> str:
    """The one JSON object: `results`, and `means` over them."""
    from ..results.published import beside

    results = [
        {
            **outcome.result.summary(),
            "published": [compared.entry() for compared in beside(outcome.result)],
            "path": str(outcome.path),
            "reused": outcome.reused,
        }
        for outcome in outcomes
    ]
    averages = [{**mean.entry(), "published": [compared.entry() for compared in found]} for mean, found in means]
    return json.dumps({"results": results, "means": averages}, ensure_ascii=False, allow_nan=False)


def open_one_reranker(given: argparse.Namespace, say: Say) -> Reranker:
    """The reranker that `given.model` names. Raises HarnessError where it stands for several."""
    from ..files.cache import cache_folder
    from ..rerankers.resolve import open_rerankers

    opened = open_rerankers(given.model, model_options(given), cache_folder(), given.family)
    if len(opened) > 1:
        names = ", ".join(reranker.spec.name for reranker in opened)
        raise HarnessError(f"{given.model} stands for several rerankers ({names}): ask for one")
    if opened[0].note:
        say(f"{opened[0].spec.name}: {opened[0].note}")
    return opened[0]


def build_request(given: argparse.Namespace, say: Say) -> Request:
    """Everything resolved: cards, first stages, rerankers, device. Raises HarnessError for what cannot be."""
    from ..data.task import Cards, select_languages
    from ..files.cache import cache_folder
    from ..request import Request
    from ..rerankers.resolve import open_rerankers

    cache = cache_folder()
    options = _with_workers(given, model_options(given), say)
    tasks = Cards(given.cards).resolve(given.tasks, cache, given.split, given.language)
    for task in tasks:
        if task.note:
            say(f"{task.name}: {task.note}")
    if given.languages:
        tasks = select_languages(tasks, given.languages)
    _lists_are_whole(given, tasks, say)
    rerankers = [
        reranker
        for name in dict.fromkeys(given.reranker)
        for reranker in open_rerankers(name, options, cache, given.family)
    ]
    for reranker in rerankers:
        if reranker.note:
            say(f"{reranker.spec.name}: {reranker.note}")
    return Request(
        tasks=tasks,
        first_stages=once(lambda: _first_stages(given, tasks, options, cache, say)),
        rerankers=rerankers,
        options=options,
        results=given.results,
        cache=cache,
        replace_given=bool(given.retriever or given.candidates),
        top_k=given.top_k,
        limit=given.limit,
        measures=_measures(given.measures),
        relevance_level=given.relevance_level,
        missing_text=given.missing_text,
        instructions=given.instructions,
        save_runs=given.save_runs,
    )


def _lists_are_whole(given: argparse.Namespace, tasks: Sequence[Task], say: Say) -> None:
    """`--top-k` is for what a first stage ranks: a list without scores has no best K.

    Raises HarnessError where nothing is retrieved, so that it would change nothing; says it where something is.
    """
    lists = [task.name for task in tasks if task.given_lists]
    if given.top_k is None or not lists or given.retriever or given.candidates:
        return
    names = ", ".join(lists[:3]) + (f" and {len(lists) - 3} more" if len(lists) > 3 else "")
    if len(lists) == len(tasks):
        raise HarnessError(
            f"--top-k {given.top_k}: the candidate lists that {names} brings have no scores, so there is no best "
            f"{given.top_k} of them. Leave it out and they are taken whole, or name the first stage that ranks: "
            "--retriever bm25, --candidates run.trec"
        )
    say(f"--top-k {given.top_k} cuts what is retrieved; the candidate lists of {names} have no scores and stay whole")


def _with_workers(given: argparse.Namespace, options: Options, say: Say) -> Options:
    """The options with workers, where they are asked for. Raises HarnessError where they cannot be had."""
    if given.workers is None and given.ray_address is None:
        return options
    from dataclasses import replace

    from ..engine.scale_out import Workers

    return replace(options, workers=Workers(given.workers, options.device, address=given.ray_address, report=say))


def _first_stages(
    given: argparse.Namespace, tasks: Sequence[Task], options: Options, cache: Path, say: Say
) -> Sequence[FirstStage]:
    from dataclasses import replace

    from ..retrievers.retrieve import fused_stage, open_first_stage, refuse_idle_settings, run_file_stage

    names = given.retriever or ([] if given.candidates else ["bm25"])
    languages = [next(iter(subset.languages), "und") for task in tasks for subset in task.subsets]
    refuse_idle_settings(names, given.retriever_set, languages)
    plain = replace(options, settings=tuple(given.retriever_set))
    stages = [open_first_stage(name, plain, cache) for name in dict.fromkeys(names)]
    stages += [run_file_stage(path, cache) for path in dict.fromkeys(given.candidates)]
    for stage in stages:
        if stage.note:
            say(f"{stage.name}: {stage.note}")
    return [fused_stage(stages)] if given.fuse else stages


def _measures(words: Sequence[str]) -> tuple[Measure, ...]:
    from ..types import Measure

    try:
        return tuple(dict.fromkeys(Measure.parse(word) for word in words))
    except ValueError as error:
        raise HarnessError(str(error)) from None
