"""Processes of our own programs, each with its environment, that need not import torch anew.

A server imports once what is large and reads no setting of ours, and forks a process for every program
(the standard library's forkserver). The program itself, the harness, transformers and the hub's client
are imported in the process, with the environment that it was given. It has an id of its own, takes
signals and ends with an exit code. Where the server cannot serve, a process is started the usual way.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_LARGE = [
    "torch", "torch._dynamo", "torch._inductor.config", "torch.distributed.tensor", "torch.distributed.fsdp",
    "scipy.optimize", "pandas", "pyarrow.parquet", "httpx", "httpx2", "yaml", "jinja2", "pytrec_eval",
    "regex", "tokenizers", "safetensors.torch", "sentencepiece", "fsspec", "tqdm", "xml.dom.minidom",
]  # fmt: skip
_READ_AT_IMPORT = ("OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
"""What the large packages have read when the server forks: a program with other values gets a process of its own."""


def start(
    words: Sequence[object],
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    *,
    text: bool = True,
    anew: bool = False,
) -> Any:
    """Start `[-W FILTER] PROGRAM WORD…` or `[-W FILTER] -c CODE WORD…`; gives what subprocess.Popen with pipes gives.

    `anew` is for programs that look at what they have imported.
    """
    line, environment = [str(word) for word in words], dict(os.environ if env is None else env)
    served = all(environment.get(name) == os.environ.get(name) for name in _READ_AT_IMPORT)
    if sys.platform == "linux" and served and not anew:
        return _Forked(line, environment, str(cwd), text=text)
    command = [sys.executable, *line]
    return subprocess.Popen(
        command, env=environment, cwd=cwd, text=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(
    words: Sequence[object],
    env: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    *,
    timeout: float = 300,
    anew: bool = False,
) -> subprocess.CompletedProcess[str]:
    """As subprocess.run with captured text."""
    process = start(words, env, cwd, anew=anew)
    out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(list(words), process.returncode, out, err)


@cache
def _server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LARGE)
    return context


class _Forked:
    """The part of subprocess.Popen that tests use."""

    def __init__(self, line: list[str], environment: dict[str, str], cwd: str, *, text: bool) -> None:
        self._text = text
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name, name) for name in ("out", "err")]
        paths = [str(path) for path in self._files]
        for path in self._files:
            path.touch()
        self._process = _server().Process(target=_become, args=(line, environment, cwd, *paths))
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return int(self._process.exitcode)

    def communicate(self, timeout: float | None = None) -> tuple[Any, Any]:
        self.wait(timeout)
        out, err = (path.read_text("utf-8") if self._text else path.read_bytes() for path in self._files)
        return out, err

    def printed(self) -> str:
        """What stands on its standard output so far."""
        return self._files[0].read_text("utf-8")

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _become(line: list[str], environment: dict[str, str], cwd: str, out: str, err: str) -> None:
    """Run the program in this process, just forked; a SystemExit that leaves here gives the exit code."""
    for path, number in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[:0] = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    # The server imported under its own filters; -W holds for what the program does.
    while line[0] == "-W":
        _filter(line[1])
        line = line[2:]
    try:
        if line[0] == "-c":
            sys.argv, sys.path[:0] = ["-c", *line[2:]], [""]
            exec(compile(line[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv, sys.path[:0] = line, [str(Path(cwd, line[0]).parent)]
            runpy.run_path(line[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()


def _filter(text: str) -> None:
    action, _, kind = text.partition("::")
    warnings.filterwarnings(action, category=getattr(__import__("builtins"), kind))  # type: ignore[arg-type]
