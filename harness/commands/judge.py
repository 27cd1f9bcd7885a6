"""The verb `judge`: a pool, graded by people or by a model, becomes a layer of judgements with a name of its own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError
from .run import setting
from .shared import MEASURE, RESULT, RESULTS, Options, Say, add_options_of, json_document, whole

if TYPE_CHECKING:
    from ..data.layers import Layer
    from ..judging.agreement import Agreement
    from ..judging.judge import Grades
    from ..judging.pool import Pooled

__all__ = ["add_options", "command"]

_OPTIONS: Options = {
    "pool": {"type": Path, "metavar": "POOL", "help": "pairs as pool writes them; people fill in grade"},
    "--name": {"required": True, "help": "what the layer is called"},
    "--output": {"type": Path, "metavar": "FILE", "help": "where the layer goes (NAME.layer.jsonl)"},
    "--model": {"metavar": "NAME", "help": "ask this model instead of reading grade"},
    "--url": {"metavar": "URL", "help": "of --model: an OpenAI-compatible endpoint, as http://127.0.0.1:8000/v1"},
    "--key-variable": {"default": "OPENAI_API_KEY", "metavar": "NAME", "help": "the environment variable that holds its key, where it needs one (OPENAI_API_KEY)"},
    "--prompt": {"type": Path, "metavar": "FILE", "help": "another prompt than UMBRELA's, as YAML"},
    "--max-tokens": {"type": whole, "default": 512, "metavar": "N", "help": "of an answer (512)"},
    "--set": {"action": "append", "default": [], "type": setting, "dest": "fields", "metavar": "FIELD=VALUE", "help": "a field of the request, as JSON; null leaves it out: max_tokens=null, max_completion_tokens=512"},
    "--parallel": {"type": whole, "default": 4, "metavar": "N", "help": "requests at a time (4)"},
    "--unreadable": {"choices": ("error", "leave"), "default": "error", "help": "answers without a grade: an error, or left unjudged"},
    "--grades": {"metavar": "LIST", "help": "what the grades 0, 1, 2 … become, to fit the data set's scale, as 0,0,1,1"},
    "--against": {"action": "append", "default": [], "metavar": "RESULT", "help": f"measure the agreement with people over these systems: {RESULT}"},
    "--results": RESULTS,
    "--measure": {**MEASURE, "default": "nDCG@10", "help": "of the systems' order (nDCG@10)"},
    "--relevance-level": {"type": whole, "metavar": "N", "help": "from which grade on people's judgements are relevant (as in the results)"},
    "--judge-level": {"type": whole, "metavar": "N", "help": "from which grade on the layer's are (the prompt's, 2; with --grades as people's)"},
    "--format": {"choices": ("text", "json"), "default": "text", "help": "of the answer on stdout"},
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `judge` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Write the layer; show its grades and, where asked for, how far it agrees with people."""
    from ..files.cache import cache_folder
    from ..judging.judge import by_people, layer_of
    from ..judging.pool import read_pool
    from ..results.result import slug

    pairs = list(read_pool(given.pool))
    scale = _scale(given.grades)
    judge: dict[str, Any] = {"people": given.pool.name}
    if given.model is None and given.url is None:
        grades = by_people(pairs, str(given.pool))
    else:
        grades, judge = _by_model(given, pairs, say)
    layer = layer_of(given.name, pairs, grades, judge, scale)
    path = given.output or Path(f"{slug(given.name)}.layer.jsonl")
    layer.save(path)
    found = _agreements(given, layer, cache_folder()) if given.against else []
    if given.format == "json":
        answer(json_document(_record(layer, path, found)))
    else:
        answer("\n".join(_lines(layer, path, len(pairs), found)))
    return 0


def _fields(given: Sequence[tuple[str, str]]) -> tuple[tuple[str, Any], ...]:
    """The fields, their values read as JSON, or taken as words. Raises HarnessError for one that is the pair's own."""
    found: dict[str, Any] = {}
    for key, text in given:
        if key in ("model", "messages"):
            raise HarnessError(f"--set {key}=: it is what is asked; --model and --prompt say it")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return tuple(sorted(found.items()))


def _scale(grades: str | None) -> list[int] | None:
    """What each grade becomes. Raises HarnessError for what is no list of grades."""
    if grades is None:
        return None
    words = grades.split(",")
    if not all(word.strip().isdigit() for word in words):
        raise HarnessError(f'--grades "{grades}" is not a list of whole numbers, as 0,0,1,1')
    return [int(word) for word in words]


def _by_model(given: argparse.Namespace, pairs: Sequence[Pooled], say: Say) -> tuple[Grades, dict[str, Any]]:
    from ..files.cache import cache_folder
    from ..judging.ask import Judge
    from ..judging.judge import by_model
    from ..judging.prompt import UMBRELA, read_prompt

    if given.model is None or given.url is None:
        raise HarnessError("a model that judges has a --model and a --url: --url http://127.0.0.1:8000/v1 --model NAME")
    if given.parallel < 1 or given.max_tokens < 1:
        raise HarnessError("--parallel and --max-tokens are 1 or more")
    prompt = read_prompt(given.prompt or UMBRELA)
    judge = Judge(
        prompt, given.model, given.url, given.key_variable, given.max_tokens, given.parallel, _fields(given.fields)
    )
    return by_model(pairs, judge, cache_folder(), say, leave=given.unreadable == "leave")


def _agreements(given: argparse.Namespace, layer: Layer, cache: Path) -> list[Agreement]:
    from ..judging.agreement import agreement_on
    from ..judging.prompt import UMBRELA, read_prompt
    from ..types import Measure
    from ..verdicts.compare import open_system

    try:
        measure = Measure.parse(given.measure)
    except ValueError as error:
        raise HarnessError(str(error)) from None
    results = [entry.result for word in given.against for entry in open_system(word, given.results).entries]
    usual = None if given.grades is not None else read_prompt(given.prompt or UMBRELA).relevant
    found = agreement_on(layer, results, cache, measure, (given.relevance_level, given.judge_level or usual))
    if not found:
        raise HarnessError(
            f'nothing is judged both by "{layer.name}" and by people: pool --with-judged writes such pairs', exit_code=3
        )
    return found


def _record(layer: Layer, path: Path, found: Sequence[Agreement]) -> dict[str, Any]:
    return {
        "layer": layer.name,
        "digest": layer.digest,
        "path": str(path),
        "pairs": len(layer.judgements),
        "grades": _counts(layer),
        "judge": dict(layer.judge),
        "agreement": [each.record() for each in found],
    }


def _counts(layer: Layer) -> dict[int, int]:
    scores = [one.score for one in layer.judgements]
    return {grade: scores.count(grade) for grade in sorted(set(scores))}


def _lines(layer: Layer, path: Path, pairs: int, found: Sequence[Agreement]) -> list[str]:
    grades = ", ".join(f"{count:,} of grade {grade}" for grade, count in _counts(layer).items())
    lines = [f'{path}: layer "{layer.name}" {layer.digest[:8]}, {len(layer.judgements):,} of {pairs:,} pairs: {grades}']
    for each in found:
        name = each.task + ("" if each.subset == "default" else f" {each.subset}")
        graded = f"kappa {_figure(each.kappa)} over grades, " if each.kappa is not None else ""
        lines.append(
            f"{name}: {each.pairs:,} pairs judged by both; {graded}kappa {_figure(each.kappa_binary)} over relevant "
            f"(people from {each.relevant_for_people} on, the layer from {each.relevant_for_judge} on)"
        )
        lines += [
            f"  {system}: {each.measure} {a:.4f} by people, {b:.4f} by the layer"
            for system, (a, b) in each.systems.items()
        ]
        lines.append(f"  Kendall's tau of {len(each.systems)} systems: {_figure(each.tau)}")
    lines.append(f"run … --qrels-layer {path} adds it to the data set's own judgements")
    return lines


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
