"""What `run` and `demo` answer with: each result in full where there are few or where it is asked for, then a summary.

Warnings go to stderr: in full beside a result in full, else a line for each code, so that none is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..shared import Say

if TYPE_CHECKING:
    from ...evaluate import Outcome
    from ...results.cautions import Caution
    from ...results.result import Result
    from ...verdicts.summary import Means

__all__ = ["FEW", "Answering"]

FEW = 2
"""Up to so many results are shown in full without being asked for."""

_A_WHILE = 60.0
"""After so many seconds without a line, and then twice as many each time, a result that was computed is told at once."""


@dataclass
class Answering:
    """Takes results as they come, and answers."""

    say: Say
    answer: Say
    full: bool
    """Whether each result is shown in full, with its warnings."""
    text: bool = True
    """False where the answer is JSON, which somebody else writes: then there are only warnings, in full."""
    wanted: Callable[[list[Caution]], list[Caution]] = lambda found: found
    """Which warnings are shown."""
    width: int = 80
    count: int = 0
    """How many results there will be; 0 where that is not known."""
    outcomes: list[Outcome] = field(default_factory=list)
    _cautions: list[tuple[str, Caution]] = field(default_factory=list)
    _told: float = field(default_factory=time.monotonic)
    _patience: float = _A_WHILE

    @property
    def results(self) -> list[Result]:
        """Those that came until now."""
        return [outcome.result for outcome in self.outcomes]

    def add(self, outcome: Outcome) -> None:
        """Take the next result; shown at once where it is shown in full."""
        from ...results.cautions import cautions_of
        from ...verdicts.pairing import title_of

        self.outcomes.append(outcome)
        found = self.wanted(cautions_of(outcome.result))
        title = title_of(outcome.result)
        if self.full or not self.text:
            self._block(outcome)
            who = outcome.result.reranker or outcome.result.identity.retriever
            for caution in found:
                self.say(f"{title}, {who}: {caution.code} {caution.what} (explain {caution.code})")
        else:
            self._cautions += [(title, caution) for caution in found]
            self._progress(outcome, title)

    def _block(self, outcome: Outcome) -> None:
        from ...results.layout import wrapped
        from ...results.published import beside
        from ...results.tables import result_block
        from ...verdicts.summary import sentences

        if self.text:
            verdict = [wrapped(line, self.width) for line in sentences([outcome.result])]
            self.answer(
                result_block(
                    outcome.result,
                    outcome.path,
                    reused=outcome.reused,
                    verdict=verdict,
                    published=beside(outcome.result),
                    width=self.width,
                )
            )

    def _progress(self, outcome: Outcome, title: str) -> None:
        from ...results.figures import number

        now = time.monotonic()
        if outcome.reused or now - self._told < self._patience:
            return
        self._told, self._patience = now, 2 * self._patience
        name, row = next(iter(outcome.result.measures.items()))
        shown = [number(row[stage], name) for stage in ("first_stage", "reranked") if row.get(stage) is not None]
        of = f" of {self.count}" if self.count else ""
        self.say(f"result {len(self.outcomes)}{of}, {title}: {name} {' → '.join(shown)}")

    def end(self, means: Means = ()) -> None:
        """The summary of what came, and the warnings that were not shown yet."""
        from ...results.layout import wrapped
        from ...verdicts.summary import summary, warning_lines

        if not self.outcomes:
            return
        if self.text and not (self.full and len(self.outcomes) == 1):
            self.answer(summary(self.results, means, self.width))
        if self.text and not self.full:
            self.answer(wrapped(self._where(), self.width))
        lines = warning_lines(self._cautions, self.width)
        for line in lines:
            self.say(line)
        if lines:
            self.say(wrapped("-v shows each warning in full; explain CODE says what one means", self.width))

    def _where(self) -> str:
        """How many results there were already; -v names their files."""
        reused = sum(outcome.reused for outcome in self.outcomes)
        made = len(self.outcomes) - reused
        parts = [f"{made} results written" if made else "", f"{reused} unchanged" if reused else ""]
        return f"{', '.join(part for part in parts if part)}; -v shows each in full, with its file."
