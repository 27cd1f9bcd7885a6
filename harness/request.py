"""What is asked for: a Request as the user means it, and the Jobs that it comes to, one for each result.

`evaluate` turns one into the other; `compute` does a job. Both know these two, and neither the other's inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .engine.options import Options
from .results.result import Identity, Result
from .retrievers.retrieve import FirstStage
from .types import Measure, Subset, Task

if TYPE_CHECKING:
    from .rerankers.base import Reranker

__all__ = ["DEFAULT_DEPTH", "Job", "Request", "Watch", "Watches"]

DEFAULT_DEPTH = 100


class Watch(Protocol):
    """What looks on while a job's queries are scored in rounds, and says when there is no more to know."""

    @property
    def digest(self) -> str:
        """32 hex digits of all that decides when to stop, beside the scores."""

    def begin(self, now: Result) -> None:
        """Told what is about to be scored, in a result without figures. Raises HarnessError where it cannot be judged."""

    def rounds(self, units: Mapping[str, str]) -> Iterator[list[str]]:
        """The query_ids of each round, units (query_id → unit) whole."""

    def decided(self, values: Mapping[str, Mapping[str, float]]) -> bool:
        """Whether to stop, from the values until now: measure → query_id → value."""

    def record(self) -> dict[str, Any]:
        """What was decided, as a result's diagnostics have it."""


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
    top_k: int | None = None
    """The depth of what a first stage retrieves; given lists, which have no order, are always whole."""
    limit: int | None = None
    measures: tuple[Measure, ...] = ()
    """Instead of the cards' measures; empty for these."""
    relevance_level: int = 1
    missing_text: str = "error"
    instructions: str = "given"
    """`none` takes the queries' instructions away, to show what they are worth."""
    save_runs: Path | None = None
    until: Watches | None = None
    """What may stop each job before all its queries are scored."""


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
