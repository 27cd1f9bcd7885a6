"""`harness.run` and `score`: what the verbs of these names do, for a notebook. Nothing here prints.

Every function raises HarnessError for what the user can put right, and nothing else of its own.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from ..engine.progress import shown_by
from ..errors import HarnessError
from .asking import Asking, build_request, decisions_of
from .rerankers import in_memory
from .running import Running, model_options
from .sound import sound
from .tasks import Task, made
from .views import Evaluation, Evaluations
from .wanted import Wanted, open_one_reranker, settings_of, wanted_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..data.layers import Layer
    from ..rerankers.base import Reranker
    from ..verdicts.until import Decision


__all__ = ["Model", "Options", "opened_of", "run", "running_of", "score"]


class Model(TypedDict, total=False):
    """How a model is run, by the names of the command line's options; docs/reference.md says what each means."""

    family: str
    device: str
    dtype: str
    batch_tokens: int
    trust_remote_code: bool
    rehash: bool


class Options(Model, total=False):
    """The other options of the verb `run`, by the names that they have there; docs/reference.md says what each means."""

    results: str | Path
    candidates: str | Path | Sequence[str | Path]
    measures: str | Sequence[str]
    retriever_settings: Mapping[str, object]
    """Those of --retriever-set."""
    fuse: bool
    fuse_by: str
    fuse_weights: Sequence[float]
    limit: int
    languages: Sequence[str]
    language: str
    split: str
    condensed: bool
    """Each measure also of condensed lists, without the documents that have no judgement."""
    relevance_level: int
    qrels_layer: str | Path | Layer
    """A layer of judgements, or the file that `judge` wrote, added where the data set has none."""
    missing_text: str
    instructions: str
    cards: str | Path
    """A folder with cards of your own, --tasks there."""
    save_runs: str | Path
    workers: int
    ray_address: str
    until_decided: bool
    """Stop when it is certain whether a reranker is worse than `baseline`; see `Evaluations.decisions`."""
    baseline: str | Path
    """A folder of results, with `max_drop` and `alpha` as `harness.gate` has them."""
    max_drop: float
    alpha: float


Bars = bool | Callable[..., Any] | None
"""True: tqdm where it is installed. False or None: nothing. Else a class that is used as tqdm's."""


def run(
    tasks: Any,
    reranker: Any = None,
    retriever: str | Sequence[str] | None = None,
    top_k: int | Sequence[int] | None = None,
    *,
    name: str | None = None,
    settings: Mapping[str, object] | None = None,
    progress: Bars = False,
    **more: Unpack[Options],
) -> Evaluations:
    """Evaluate rerankers on tasks, as the verb `run` does; results that exist are read, not computed.

    `tasks`: a name of a task or suite, a folder, a hub data set, a `harness.Task`, or a list of these.
    `reranker`: a name as on the command line, a function `(query, documents) → scores`, an object with
    `predict`, `compute_score` or `rank` (sentence-transformers' CrossEncoder, FlagEmbedding's, the
    rerankers library's), a mapping with a `name` of these kinds and what is its own (`set`, `family`,
    `instruction`, `device`, `dtype`, `label`), or a list of these; None runs the first stage alone. `name`
    is what the tables call it, where one reranker is given. `settings` are those of --set; a list as a
    value, or as `top_k`, gives a result for each. `progress`: True, or a class like tqdm. `more`: see `Options`.
    """
    from ..evaluate import evaluate

    asked = Asking(
        name=name,
        retriever=_words(retriever),
        top_k=top_k,
        settings=settings_of(settings or {}),
        reranker=[_wanted(one) for one in _several(reranker)],
        **_asked(more),
    )
    found: list[Evaluation] = []
    decisions: list[Decision] = []
    notes = _Notes()
    with _quietly(progress):
        for part in _parts(asked, _several(tasks)):
            request = build_request(part, notes)
            outcomes = list(evaluate(request, notes))
            found += [Evaluation(each.result, each.path, each.reused) for each in outcomes]
            decisions += decisions_of(request, [each.path for each in outcomes])
    return Evaluations(found, notes, decisions)


def score(
    reranker: Any,
    pairs: Sequence[tuple[str, str]],
    *,
    settings: Mapping[str, object] | None = None,
    **more: Unpack[Model],
) -> NDArray[np.float32]:
    """The published score of each (query, document) pair, float32, shape (n,): what the verb `score` prints.

    `reranker` is what `run` takes for one; `settings` are those of --set; `more`: see `Model`.
    """
    from ..rerankers.score import score_pairs
    from ..types import DocumentText, QueryText

    asked = running_of(more, settings)
    with _quietly(progress=False):
        opened = opened_of(reranker, asked)
        texts = [(QueryText(query), DocumentText("", document)) for query, document in pairs]
        return score_pairs(opened, texts, model_options(asked).batch_tokens)


def running_of(more: Model, settings: Mapping[str, object] | None = None) -> Running:
    """How a model is run. Raises HarnessError for an option that there is none of."""
    return Running(**sound(more, Model.__annotations__), settings=settings_of(settings or {}))


def opened_of(given: Any, asked: Running) -> Reranker:
    """The one reranker that is given by name, as what is in memory, or as a table."""
    return open_one_reranker(_wanted(given), asked, _Notes())


class _Notes(list[str]):
    """What a verb would say on stderr: kept, and logged under the name `harness`, which is silent unless asked."""

    def __call__(self, line: str) -> None:
        self.append(line)
        logging.getLogger("harness").info(line)


def _parts(asked: Asking, tasks: Sequence[Any]) -> Iterator[Asking]:
    """The run in parts: a task that brings scored candidates is one of its own, over them."""
    from ..retrievers.retrieve import memory_stage

    plain: list[Any] = []
    for task in tasks:
        if not isinstance(task, Task):
            plain.append(_named_task(task))
        elif task.run is None:
            plain.append(made(task))
        else:
            stage = memory_stage(task.run, f"{task.name} candidates")
            yield replace(asked, tasks=[made(task)], retriever=[], candidates=[], stages=[stage])
    if plain or not tasks:
        yield replace(asked, tasks=plain)


def _named_task(given: Any) -> str:
    """A task by its name or folder. Raises HarnessError for what is neither."""
    if isinstance(given, str | Path) and str(given):
        return str(given)
    raise HarnessError(
        f"a task is a name, a folder, or harness.Task(corpus, queries, qrels), and several are a list; here is a {type(given).__name__}"
    )


@contextlib.contextmanager
def _quietly(progress: Bars) -> Iterator[None]:
    if progress is True:
        from tqdm.auto import tqdm

        progress = tqdm
    with shown_by(progress if callable(progress) else None):
        yield


def _several(given: Any) -> list[Any]:
    """One thing or several; a (model, tokenizer) pair is one, and so is a mapping or a DataFrame."""
    if given is None:
        return []
    return list(given) if isinstance(given, list | set | frozenset) else [given]


def _words(given: str | Sequence[str] | None) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())


def _asked(more: Options) -> dict[str, Any]:
    """The options as `Asking` takes them. Raises HarnessError for one that there is none of."""
    found = sound(more, Options.__annotations__)
    for folder in ("results", "baseline", "cards", "save_runs"):
        if folder in found:
            found[folder] = Path(found[folder])
    if "retriever_settings" in found:
        found["retriever_set"] = settings_of(found.pop("retriever_settings"), "retriever_settings")
    found["candidates"] = [Path(one) for one in _several(found.get("candidates"))]
    return found


def _wanted(given: Any) -> Wanted:
    """A reranker as `harness.run` takes it: a name, an object, or a table with a name and what is its own."""
    return wanted_of(given, "the reranker", in_memory) if isinstance(given, Mapping) else in_memory(given)
