"""The verb `run`: options → a Request → evaluate → tables or JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import HarnessError

if TYPE_CHECKING:
    from .evaluate import Request
    from .options import Options
    from .retrieve import FirstStage
    from .types import Measure

__all__ = ["build_request", "run"]

Say = Callable[[str], None]


def run(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Evaluate what the options ask for; `answer` gets the tables or the one JSON object."""
    from .evaluate import evaluate
    from .tables import result_block, summary_table

    request = build_request(given, say)
    if given.dry_run:
        from .plan import dry_run

        answer(dry_run(request, say, as_json=given.format == "json"))
        return 0
    outcomes = []
    for outcome in evaluate(request, say):
        outcomes.append(outcome)
        if given.format == "text":
            answer(result_block(outcome.result, outcome.path, reused=outcome.reused))
    if given.format == "json":
        entries = [
            {**outcome.result.summary(), "path": str(outcome.path), "reused": outcome.reused} for outcome in outcomes
        ]
        answer(json.dumps({"results": entries}, ensure_ascii=False, allow_nan=False))
    elif len(outcomes) > 1:
        answer(summary_table([outcome.result for outcome in outcomes]))
    return 0


def build_request(given: argparse.Namespace, say: Say) -> Request:
    """Everything resolved: cards, first stages, rerankers, device. Raises HarnessError for what cannot be."""
    from .cache import cache_folder
    from .evaluate import Request
    from .options import Options, resolve_device, resolve_dtype
    from .rerankers.resolve import open_rerankers
    from .task import Cards, select_languages

    cache = cache_folder()
    device = resolve_device(given.device)
    options = Options(
        device=device,
        dtype=resolve_dtype(given.dtype, device),
        batch_tokens=given.batch_tokens,
        trust_remote_code=given.trust_remote_code,
        rehash=given.rehash,
        settings=tuple(given.settings),
    )
    tasks = Cards(given.cards).resolve(given.tasks, cache, given.split)
    if given.languages:
        tasks = select_languages(tasks, given.languages)
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
        first_stages=once(lambda: _first_stages(given, options, cache, say)),
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
        save_runs=given.save_runs,
    )


def _first_stages(given: argparse.Namespace, options: Options, cache: Path, say: Say) -> Sequence[FirstStage]:
    from dataclasses import replace

    from .retrieve import fused_stage, open_first_stage, run_file_stage

    names = given.retriever or ([] if given.candidates else ["bm25"])
    plain = replace(options, settings=())
    stages = [open_first_stage(name, plain, cache) for name in dict.fromkeys(names)]
    stages += [run_file_stage(path, cache) for path in dict.fromkeys(given.candidates)]
    for stage in stages:
        if stage.note:
            say(f"{stage.name}: {stage.note}")
    return [fused_stage(stages)] if given.fuse else stages


def _measures(words: Sequence[str]) -> tuple[Measure, ...]:
    from .types import Measure

    try:
        return tuple(dict.fromkeys(Measure.parse(word) for word in words))
    except ValueError as error:
        raise HarnessError(str(error)) from None
