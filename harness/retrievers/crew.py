"""Child processes that do parts of one work, and this one, which does all of it where it is alone.

They are plain child processes with a pipe each, not `multiprocessing`, which would run the caller's own
script again in every child.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import HarnessError

__all__ = ["Answer", "Ask", "alone", "in_order", "together"]

_AHEAD = 2
"""Questions under way for each process, so that none waits for the next one to be thought of."""


class Answer(NamedTuple):
    """What a process gave back, and which of them it was."""

    process: int
    value: Any


Ask = Callable[..., "Future[Answer]"]
"""Takes a method's name and its arguments. Each process gets its questions in the order of asking."""


def alone(worker: object) -> Ask:
    """Asks `worker` in this process, at once."""

    def ask(method: str, *arguments: object) -> Future[Answer]:
        done: Future[Answer] = Future()
        done.set_result(Answer(0, getattr(worker, method)(*arguments)))
        return done

    return ask


@contextlib.contextmanager
def together(count: int, worker: type, what: str, *start: object) -> Iterator[Ask]:
    """Asks `count` processes, each with a worker of its own, made of `start`; the first that is idle answers.

    Asking raises HarnessError where one of them ends before its work does, and what the worker raises.
    `what` says, in an error, what they do.
    """
    with contextlib.ExitStack() as stack:
        unclaimed: queue.SimpleQueue[tuple[int, subprocess.Popen[bytes]]] = queue.SimpleQueue()
        mine = threading.local()

        def claim() -> None:
            # A thread for each process and no other: so its questions keep their order.
            mine.number, mine.process = unclaimed.get()

        def ask(method: str, arguments: tuple[object, ...]) -> Answer:
            return Answer(mine.number, _asked(mine.process, what, (method, arguments)))

        # The processes end before the threads that wait for them do.
        pool = stack.enter_context(ThreadPoolExecutor(count, initializer=claim))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        for number in range(count):
            process = stack.enter_context(_process())
            _send((worker, start), process.stdin)
            unclaimed.put((number, process))
        yield lambda method, *arguments: pool.submit(ask, method, arguments)


def in_order(asked: Iterable[Future[Answer]], processes: int) -> Iterator[Answer]:
    """The answers in the order of asking; no more is asked ahead than keeps every process at work."""
    pending: deque[Future[Answer]] = deque()
    for future in asked:
        pending.append(future)
        if len(pending) >= processes * _AHEAD:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


@contextlib.contextmanager
def _process() -> Iterator[subprocess.Popen[bytes]]:
    here = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _asked(process: subprocess.Popen[bytes], what: str, question: tuple[str, tuple[object, ...]]) -> Any:
    try:
        _send(question, process.stdin)
        value, error = pickle.load(process.stdout)  # type: ignore[arg-type]  # noqa: S301  # our own child
    except (OSError, EOFError, pickle.UnpicklingError):
        raise HarnessError(
            f"a process that {what} ended with status {process.wait()} before its work did; what "
            f"it wrote stands above. The same command builds the index again"
        ) from None
    if error is not None:
        raise error
    return value


def _send(found: object, pipe: IO[bytes] | None) -> None:
    assert pipe is not None
    pickle.dump(found, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def serve() -> None:
    """Answers what comes from standard input, until there is no more; the first thing says what the worker is."""
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        worker, start = pickle.load(sys.stdin.buffer)  # noqa: S301  # our own parent
        one = worker(*start)
        while True:
            method, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301  # our own parent
            _send(_answered(one, method, arguments), sys.stdout.buffer)


def _answered(worker: object, method: str, arguments: tuple[object, ...]) -> tuple[Any, Exception | None]:
    """What the method returns, or raises where its caller knows what to do about it."""
    try:
        return getattr(worker, method)(*arguments), None
    except (HarnessError, OSError) as error:
        return None, error


if __name__ == "__main__":
    serve()
