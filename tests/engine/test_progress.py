"""Progress: what the bar says, and when."""

from __future__ import annotations

import io

from harness.engine.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def advance(progress: Progress, clock: Clock, seconds: float, done: int, tokens: int = 0) -> None:
    clock.now += seconds
    progress.advance(done, tokens)


def test_without_a_terminal_a_plain_line_comes_every_thirty_seconds():
    stream, clock = io.StringIO(), Clock()
    progress = Progress("model", total=100, stored=20, stream=stream, clock=clock)
    for _ in range(6):
        advance(progress, clock, 10.0, 5)
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == ["model: 35 of 100 pairs", "model: 50 of 100 pairs"]
    assert lines[-1] == "model: 50 of 100 pairs, 20 from the store, 0.5 pairs/s, 1:40 left"


def test_a_terminal_has_one_bar_that_is_cleared_at_the_end():
    stream, clock = Terminal(), Clock()
    progress = Progress("model", total=10, stored=0, stream=stream, clock=clock)
    advance(progress, clock, 1.0, 1)
    advance(progress, clock, 0.1, 1)  # too soon to be shown
    advance(progress, clock, 0.9, 1)
    progress.finish()
    bars = stream.getvalue().split("\r\033[K")
    assert [bar.split(",")[0] for bar in bars] == ["", "model: 1 of 10 pairs", "model: 3 of 10 pairs", ""]
    assert "\n" not in stream.getvalue()


def test_the_time_left_follows_tokens_because_the_longest_pairs_come_first():
    stream, clock = Terminal(), Clock()
    progress = Progress("model", total=40, stored=0, tokens=10_000, stream=stream, clock=clock)
    advance(progress, clock, 10.0, 4, 4_000)
    advance(progress, clock, 10.0, 4, 4_000)
    assert stream.getvalue().endswith("0.4 pairs/s, 400 tokens/s, 0:05 left")


def test_the_time_left_leaves_the_first_step_out_which_loads_the_model():
    stream, clock = Terminal(), Clock()
    progress = Progress("model", total=30, stored=0, stream=stream, clock=clock)
    advance(progress, clock, 60.0, 10)
    assert stream.getvalue().endswith("2:00 left")
    advance(progress, clock, 1.0, 10)
    assert stream.getvalue().endswith("0:01 left")
    assert progress.pace().rated(whole=False) == (10, 0, 1.0)


def test_a_narrow_terminal_spares_rates_before_the_time_left(monkeypatch):
    for columns, shown in (
        ("100", "org/reranker: 30 of 100 pairs, 20 from the store, 1.0 pairs/s, 400 tokens/s, 1:10 left"),
        ("80", "org/reranker: 30 of 100 pairs, 20 from the store, 1.0 pairs/s, 1:10 left"),
        ("60", "org/reranker: 30 of 100 pairs, 1.0 pairs/s, 1:10 left"),
        ("48", "org/reranker: 30 of 100 pairs, 1:10 left"),
        ("30", "30 of 100 pairs, 1:10 left"),
    ):
        monkeypatch.setenv("COLUMNS", columns)
        stream, clock = Terminal(), Clock()
        progress = Progress("org/reranker", total=100, stored=20, tokens=32_000, stream=stream, clock=clock)
        advance(progress, clock, 10.0, 10, 4_000)
        assert stream.getvalue().rsplit("\r\033[K", 1)[1] == shown
