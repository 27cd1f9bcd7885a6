"""Progress: a line for each stage on a terminal while it lasts, with a bar where it counts; every 30 seconds a plain line elsewhere.

Always on stderr: stdout belongs to the answer. `shown_by` gives the bar to a notebook's tqdm, or to nobody.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from itertools import pairwise
from typing import Any, NamedTuple, TextIO

__all__ = ["Pace", "Progress", "aside", "shown_by", "stage"]

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


class _Status:
    """The line at the foot of a terminal: what is being done now, and for how long."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._lock = stream, threading.Lock()
        self._titles: list[tuple[str, float]] = []
        self._shown = self._paused = False
        self._ticker: threading.Thread | None = None

    def enter(self, title: str) -> None:
        """Begin a stage; the one around it is shown again when it ends."""
        with self._lock:
            self._titles.append((title, time.monotonic()))
            self._paused = False
            self._draw()
            if self._ticker is None:
                self._ticker = threading.Thread(target=self._tick, daemon=True, name="progress")
                self._ticker.start()

    def leave(self) -> None:
        """End the stage that was entered last."""
        with self._lock:
            self._titles.pop()
            self._paused = False
            self._erase()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Take the line away while something else is written."""
        with self._lock:
            self._erase()
            yield

    def give_way(self) -> None:
        """Leave the place to a bar, until this stage ends or another begins."""
        with self._lock:
            self._erase()
            self._paused = True

    def _tick(self) -> None:
        while True:
            time.sleep(_BAR_EVERY)
            with self._lock:
                if not self._titles:
                    self._ticker = None
                    return
                if not self._paused:
                    self._draw()

    def _draw(self) -> None:
        title, since = self._titles[-1]
        seconds = int(time.monotonic() - since)
        sign = _SIGNS[int(time.monotonic() / _BAR_EVERY) % len(_SIGNS)]
        text = f"{sign} {title}" + (f" {_clock(seconds)}" if seconds else "")
        room = shutil.get_terminal_size().columns - 1
        # A closed terminal is no reason to end a run.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"\r\033[K{text[:room]}")
            self._stream.flush()
        self._shown = True

    def _erase(self) -> None:
        if self._shown or self._paused:
            with contextlib.suppress(OSError, ValueError):
                self._stream.write("\r\033[K")
                self._stream.flush()
        self._shown = False


_SIGNS = "|/-\\"
_status: _Status | None = None


@contextlib.contextmanager
def stage(title: str) -> Iterator[None]:
    """While this lasts, a terminal shows `title` and the seconds it takes; nothing elsewhere, or inside `shown_by`."""
    global _status  # noqa: PLW0603  (a process has one terminal)
    dumb = not sys.stderr.isatty() or os.environ.get("TERM") == "dumb"
    if dumb or _bars.get() is not True or threading.current_thread() is not threading.main_thread():
        yield
        return
    if _status is None:
        _status = _Status(sys.stderr)
    _status.enter(title)
    try:
        yield
    finally:
        _status.leave()


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """Inside, the terminal is free for other lines; a stage that lasts is shown again below them."""
    with _status.aside() if _status is not None else contextlib.nullcontext():
        yield


def _forget() -> None:
    global _status  # noqa: PLW0603  (a process has one terminal, and a fork has none of the threads)
    _status = None


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_forget)


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
        parts = [f"{self.title}: {self.stored + self._done:,} of {self.total:,} {self.unit}"]
        stored = [f"{self.stored:,} from the store"] if self.stored else []
        rate = [f"{self._done / seconds:,.1f} {self.unit}/s"]
        tokens = [f"{self._tokens / seconds:,.0f} tokens/s"] if self._tokens else []
        left = [f"{_clock(left)} left" for left in self._left(now)]
        text = ", ".join([*parts, *stored, *rate, *tokens, *left])
        if self._terminal:
            if _status is not None:
                _status.give_way()
            room = shutil.get_terminal_size().columns - 1
            # What can be spared first; how long it takes is what a reader looks for.
            shorter = ([*parts, *stored, *rate, *left], [*parts, *rate, *left], [*parts, *left])
            text = next((line for line in (text, *map(", ".join, shorter)) if len(line) <= room), "")
            text = text or ", ".join([*parts, *left]).removeprefix(f"{self.title}: ")[:room]
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
