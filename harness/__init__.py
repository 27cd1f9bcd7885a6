"""Rerank Harness: is this reranker better, by how much, and is it to be believed?

One pair of texts, (query, document), flows through five stages, a folder each:

1. `data`                        a card names data; the data is fetched once and mapped into memory
2. `retrievers`                  a first stage hands each query's top k over as candidates
3. `rerankers`, by `engine`      every pair that is not in the store yet is scored
4. `measures`                    runs meet judgements: values per query, means, differences, intervals
5. `results`                     all it takes to believe, compare and repeat a number, as JSON

`evaluate` runs them in order and is the first file to read; `compute` makes one result, `request` says
what is asked for. Below them: `models` what first stages and rerankers share, `files` what lies on disk,
`types`, `text` and `errors` the nouns. Above: `verdicts` what several results say together, `judging`
judgements that are not there, `boards` boards, `interchange` results that travel, `python` what notebooks and the command line call alike, `commands`
the command line, whose `cli` alone prints.

In Python, `run` evaluates (tasks by name, or a `Task` in memory; rerankers by name, or an object) and gives
`Evaluations`; `score` scores pairs; `load_results` gives every result below a folder as one DataFrame,
`load_result` one result with the values of its queries. Nothing prints; what the user can put right is a
`HarnessError`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .errors import HarnessError
    from .interchange.frames import load_result, load_results
    from .python.boards import leaderboard
    from .python.judging import judge, pool
    from .python.run import run, score
    from .python.tasks import Task
    from .python.training import Evaluator
    from .python.verdicts import check, compare, gate
    from .python.views import Evaluation, Evaluations

__all__ = [
    "Evaluation", "Evaluations", "Evaluator", "HarnessError", "Task", "check", "compare", "gate", "judge", "leaderboard",
    "load_result", "load_results", "pool", "run", "score",
]  # fmt: skip

_PLACES = {
    "Evaluation": "python.views",
    "Evaluations": "python.views",
    "Evaluator": "python.training",
    "HarnessError": "errors",
    "Task": "python.tasks",
    "check": "python.verdicts",
    "compare": "python.verdicts",
    "gate": "python.verdicts",
    "judge": "python.judging",
    "leaderboard": "python.boards",
    "load_result": "interchange.frames",
    "load_results": "interchange.frames",
    "pool": "python.judging",
    "run": "python.run",
    "score": "python.run",
}


def __getattr__(name: str) -> Any:
    """The names of `__all__`, imported when they are first asked for: `import harness` itself stays light."""
    if name in _PLACES:
        return getattr(import_module(f".{_PLACES[name]}", __name__), name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
