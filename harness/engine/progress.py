"""Progress of a long stage: one bar on a terminal, a plain line every 30 seconds elsewhere.

Always on stderr: stdout belongs to the answer. `shown_by` gives the bar to a notebook's tqdm, or to nobody.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from itertools import pairwise
from typing import Any, NamedTuple, TextIO

__all__ = ["Pace", "Progress", "shown_by"]

_LINE_EVERY = 30.0
_BAR_EVERY = 0.2


_bars: ContextVar[Callable[..., Any] | bool | None] = ContextVar("bars", default=True)
"""What makes bars: True for our own, None for none, else a class as tqdm."""


@contextlib.contextmanager
def shown_by(bars: Callable[..., Any] | None) -> Iterator[None]:
    """Inside, progress is shown by `bars(total=, initial=, desc=, unit=)` with `update(n)` and `close()`, as tqdm has it.

    None shows nothing.
    """
    token = _bars.set(bars)
    try:
        yield
    finally:
        _bars.reset(token)


class Pace(NamedTuple):
    """What was done, and how long each step took."""

    done: int
    tokens: int
    steps: tuple[float, ...]
    """The seconds of each step."""
    first_done: int
    """Of the first step, which loads the model."""
    first_tokens: int

    def rated(self, *, whole: bool) -> tuple[int, int, float]:
        """(done, tokens, seconds) that a rate is taken over: all, or what came after the first step.

        Zeros where nothing came after it.
        """
        if whole:
            return self.done, self.tokens, sum(self.steps)
        return self.done - self.first_done, self.tokens - self.first_tokens, sum(self.steps[1:])


class Progress:
    """Counts what is done. `total` counts everything, `stored` what was found and need not be done.

    `tokens` is what is to be done, in tokens, where that is known: the longest texts come first, so the
    time left follows the tokens, not the count.
    """

    def __init__(
        self,
        title: str,
        total: int,
        stored: int,
        unit: str = "pairs",
        tokens: int = 0,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title, self.total, self.stored, self.unit = title, total, stored, unit
        self._expected, self._clock = tokens, clock
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._started = self._shown = clock()
        self._done = self._tokens = 0
        bars = _bars.get()
        self._silent = bars is not True
        self._bar = bars(total=total, initial=stored, desc=title, unit=f" {unit}") if callable(bars) else None
        self._ends: list[float] = []
        self._first = (0, 0)

    def advance(self, done: int, tokens: int = 0) -> None:
        """Count `done` more, of `tokens` tokens together."""
        self._done += done
        self._tokens += tokens
        now = self._clock()
        if not self._ends:
            self._first = (done, tokens)
        self._ends.append(now)
        if self._bar is not None:
            self._bar.update(done)
        if not self._silent and now - self._shown >= (_BAR_EVERY if self._terminal else _LINE_EVERY):
            self._shown = now
            self._show(now)

    def pace(self) -> Pace:
        """What was done until now, and how fast."""
        ends = [self._started, *self._ends]
        steps = tuple(end - begin for begin, end in pairwise(ends))
        return Pace(self._done, self._tokens, steps, *self._first)

    def finish(self) -> None:
        """Clear the bar; the tables that follow say what was done."""
        if self._bar is not None:
            self._bar.close()
        if self._terminal and not self._silent:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def _show(self, now: float) -> None:
        seconds = max(now - self._started, 1e-9)
        rate = self._done / seconds
        parts = [f"{self.title}: {self.stored + self._done:,} of {self.total:,} {self.unit}"]
        if self.stored:
            parts.append(f"{self.stored:,} from the store")
        parts.append(f"{rate:,.1f} {self.unit}/s")
        if self._tokens:
            parts.append(f"{self._tokens / seconds:,.0f} tokens/s")
        parts += [f"{_clock(left)} left" for left in self._left(now)]
        text = ", ".join(parts)
        self._stream.write(f"\r\033[K{text}" if self._terminal else f"{text}\n")
        self._stream.flush()

    def _left(self, now: float) -> list[float]:
        """Seconds left, at the rate since the first step, which loads the model; nothing where there is no rate yet."""
        done, first, whole = self._done, self._first[0], self.total - self.stored
        if self._expected:
            done, first, whole = self._tokens, self._first[1], self._expected
        begun = self._ends[0] if done > first else self._started
        rate = (done - first if done > first else done) / max(now - begun, 1e-9)
        return [(whole - done) / rate] if rate else []


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
