"""The verb `run`: options → a Request → evaluate → tables or JSON."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..engine.progress import stage
from ..errors import HarnessError
from ..python.asking import Asking, build_request, decisions_of
from ..python.running import Running
from .shared import RESULTS_WRITTEN, VERBOSE, Say, add_options_of, json_document, level, tolerance

if TYPE_CHECKING:
    from ..evaluate import Outcome
    from ..request import Request
    from ..results.result import Result
    from ..verdicts.summary import Means
    from ..verdicts.until import Decision

__all__ = [
    "MODEL",
    "add_model_options",
    "add_options",
    "asking_of",
    "command",
    "running_of",
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


def numbers(text: str) -> tuple[float, ...]:
    """The numbers between commas, for argparse."""
    try:
        return tuple(float(word) for word in words(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is not a list of numbers, as 0.7,0.3') from None


def depths(text: str) -> tuple[int, ...]:
    """The whole numbers above 0 between commas, for argparse."""
    return tuple(above_zero(word) for word in words(text))


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
    "--reranker": {**_SEVERAL, "metavar": "NAME", "help": f"{MODEL}, or run:FILE, a ranking that is there; several may be given; none runs the first stage alone"},
    "--name": {"metavar": "LABEL", "help": "what tables, boards and the results' folder call the reranker, where one is given"},
    "--retriever": {**_SEVERAL, "metavar": "NAME", "help": "first stage: bm25 (the default) or a sentence-transformers model; several may be given"},
    "--candidates": {**_SEVERAL, "type": Path, "metavar": "FILE", "help": "first stage: a ranking that is there, as a TREC run, JSON lines, search responses, mteb's predictions (docs/your-data.md)"},
    "--retriever-set": {**_SEVERAL, "type": setting, "metavar": "KEY=VALUE", "help": "a setting of a first stage: recipe=e5-mistral of a dense one, analyzer=jieba of bm25"},
    "--fuse": {"action": "store_true", "help": "join the first stages into one by reciprocal rank"},
    "--fuse-by": {"choices": ("rrf", "sum"), "default": None, "help": "join them by reciprocal rank, or by the sum of scores that each list's least and greatest made 0 and 1"},
    "--fuse-weights": {"type": numbers, "default": (), "metavar": "LIST", "help": "what each first stage counts, in their order (--retriever, then --candidates), as 0.7,0.3"},
    "--top-k": {"type": depths, "default": (), "metavar": "K", "help": "candidates a query (100) that a first stage retrieves, several as 20,50,100; given lists are always whole"},
    "--limit": {"type": above_zero, "metavar": "N", "help": "only the first N queries of each task"},
    "--languages": {"type": words, "default": (), "metavar": "CODES", "help": "only these of multilingual tasks, as zh,sw"},
    "--language": {"metavar": "CODE", "help": "the language of a folder or a hub data set without a card, as zho"},
    "--split": {"metavar": "NAME", "help": "another split than the card's"},
    "--measures": {"type": words, "default": (), "metavar": "LIST", "help": "instead of the card's, as nDCG@10,MAP@100"},
    "--condensed": {"action": "store_true", "help": "each measure also of condensed lists, without the documents that have no judgement"},
    "--relevance-level": {"type": above_zero, "default": None, "metavar": "N", "help": "judged N or more is relevant for binary measures (the card's, else 1)"},
    "--qrels-layer": {"type": Path, "metavar": "FILE", "help": "add the judgements of a layer that judge wrote, where the data set has none"},
    "--missing-text": {"choices": ("error", "skip"), "default": "error", "help": "candidates without text: an error, or kept below every scored one"},
    "--instructions": {"choices": ("given", "none"), "default": "given", "help": "none takes the queries' instructions away, to show what they are worth"},
    "--results": RESULTS_WRITTEN,
    "--tasks": {"type": Path, "dest": "cards", "metavar": "DIR", "help": "a folder with cards of your own"},
    "--save-runs": {"type": Path, "metavar": "DIR", "help": "write candidates and rankings as TREC runs"},
    "--workers": {"type": above_zero, "metavar": "N", "help": "compute on N workers of Ray, each with a device (a CPU core, or a GPU with --device cuda)"},
    "--ray-address": {"metavar": "ADDRESS", "help": "workers on the Ray cluster there (HOST:6379, auto), not on this machine alone; as many as it has free without --workers"},
    "--offline": {"type": Path, "metavar": "DIR", "help": "ask no network: data and models come from a bundle of fetch"},
    "--until-decided": {"action": "store_true", "help": "score queries in a random order and stop when it is certain whether a reranker is worse than --baseline"},
    "--baseline": {"type": Path, "metavar": "DIR", "help": "of --until-decided: the results to be held against"},
    "--max-drop": {"type": tolerance, "metavar": "X", "help": "of --until-decided: tolerated drop in the measure's own unit (0.01)"},
    "--alpha": {"type": level, "metavar": "P", "help": "of --until-decided: how often a verdict may be wrong (0.05)"},
    "--dry-run": {"action": "store_true", "help": "print the plan and check what can be checked; compute no result"},
    "--format": {"choices": ("text", "json"), "default": "text", "help": "of the answer on stdout"},
}  # fmt: skip

_HOW: dict[str, dict[str, Any]] = {
    "--family": {"metavar": "NAME", "help": "the scoring family, or a template of one, where the model's class does not decide it"},
    "--set": {**_SEVERAL, "type": setting, "dest": "settings", "metavar": "[NAME:]KEY=VALUE", "help": "a setting of every reranker that has it, as max_length=256, or of one, as NAME:max_length=256; given twice, both are run"},
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
    add_options_of(parser, VERBOSE)


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


def running_of(given: argparse.Namespace) -> Running:
    """How models are run, out of the options of any verb that loads one."""
    return Running(**{name.name: vars(given)[name.name] for name in fields(Running)})


def asking_of(given: argparse.Namespace) -> Asking:
    """The whole run, out of the completed options."""
    return Asking(**{name.name: vars(given)[name.name] for name in fields(Asking) if name.name in vars(given)})


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Evaluate what the options ask for; `answer` gets the tables or the one JSON object."""
    from ..evaluate import evaluate, jobs_of
    from ..results.cautions import selected
    from ..results.terminal import width
    from .line.answering import FEW, Answering

    select, ignore = _warnings_wanted(given.config)
    given = completed(given)
    if given.offline:
        from ..files.bundle import use_offline
        from ..files.cache import cache_folder

        use_offline(given.offline, cache_folder())
    with stage(f"loading {', '.join(map(str, given.reranker)) or 'the first stage'}"):
        request = build_request(asking_of(given), say)
    if given.dry_run:
        from .dry_run import dry_run

        answer(dry_run(request, say, as_json=given.format == "json"))
        return 0
    as_json, count = given.format == "json", len(list(jobs_of(request)))
    full = given.verbose or (count <= FEW and not given.quiet)
    shown = Answering(say, answer, full, not as_json, lambda found: selected(found, select, ignore), width(), count)
    try:
        for outcome in evaluate(request, say):
            shown.add(outcome)
    except (HarnessError, KeyboardInterrupt):
        shown.end()
        raise
    means = _means(given, request, shown.results)
    decisions = decisions_of(request, [outcome.path for outcome in shown.outcomes])
    shown.end(means)
    if as_json:
        answer(_as_json(shown.outcomes, means, decisions))
    elif decisions:
        answer("\n".join(decision.line() for decision in decisions))
    return int(any(decision.verdict == "failed" for decision in decisions))


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

    # A mean over parts, drawn until something else was certain, would be nobody's figure.
    if len(results) < 2 or any(result.identity.until for result in results):
        return []
    aggregates = Cards(given.cards).aggregates(given.tasks, request.cache)
    return [(mean, beside_mean(mean)) for mean in means_of(results, request.tasks, aggregates)]


def _as_json(outcomes: Sequence[Outcome], means: Means, decisions: Sequence[Decision]) -> str:
    """The one JSON object: `results`, `means` over them, and where they were asked for, `decisions`."""
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
    decided = {"decisions": [decision.record() for decision in decisions]} if decisions else {}
    return json_document({"results": results, "means": averages, **decided})
