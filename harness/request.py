"""What is asked for: a Request as the user means it, and the Jobs that it comes to, one for each result.

`evaluate` turns one into the other; `compute` does a job. Both know these two, and neither the other's inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .engine.options import Options
from .results.result import Identity
from .retrievers.retrieve import FirstStage
from .types import Measure, Subset, Task

if TYPE_CHECKING:
    from .data.layers import Layer
    from .measures.rounds import Watch
    from .rerankers.base import Reranker

__all__ = ["DEFAULT_DEPTH", "Job", "Request", "Watches"]

DEFAULT_DEPTH = 100


class Watches(Protocol):
    """A watch for each of a request's jobs."""

    def over(self, jobs: Sequence[Job]) -> Sequence[Watch]:
        """In their order. Raises HarnessError for a job that nothing can be said of."""


@dataclass(frozen=True)
class Request:
    """What is to be run, everything resolved. An empty `rerankers` runs first stages alone."""

    tasks: Sequence[Task]
    first_stages: Callable[[], Sequence[FirstStage]]
    """The first stages asked for; called only for a task that does not use its given lists."""
    rerankers: Sequence[Reranker]
    options: Options
    results: Path
    cache: Path
    replace_given: bool = False
    """Whether a first stage was asked for, so that it replaces given lists."""
    top_k: int | Sequence[int] | None = None
    """The depth of what a first stage retrieves, or several; given lists, which have no order, are always whole."""
    limit: int | None = None
    measures: tuple[Measure, ...] = ()
    """Instead of the cards' measures; empty for these."""
    condensed: bool = False
    """Whether each measure is also taken of the rankings without unjudged documents."""
    relevance_level: int | None = None
    """Instead of the cards' levels; None for these."""
    qrels_layer: Layer | None = None
    """Judgements to be added where the data set has none."""
    missing_text: str = "error"
    instructions: str = "given"
    """`none` takes the queries' instructions away, to show what they are worth."""
    save_runs: Path | None = None
    until: Watches | None = None
    """What may stop each job before all its queries are scored."""

    def options_of(self, reranker: Reranker | None) -> Options:
        """How a reranker is run: as all are, or in its own way."""
        return (reranker.options if reranker else None) or self.options


@dataclass(frozen=True)
class Job:
    """One result to be: a task's subset, a first stage, a reranker or none."""

    task: Task
    subset: Subset
    stage: FirstStage
    top_k: int | None
    reranker: Reranker | None
    identity: Identity
    measures: tuple[Measure, ...]
    watch: Watch | None = None
    """What may stop it early: its result is then of a part of the queries, and its identity says so."""
