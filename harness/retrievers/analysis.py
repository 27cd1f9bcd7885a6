"""Texts → term ids, on as many cores as there are: the same ids for any number of processes.

A term's number is its place in the order of first appearance, which only one process can know. So the
others turn chunks of texts into terms numbered within the chunk, and this one, chunk after chunk in
the order of the corpus, gives each new term the next number. They are plain child processes with a
pipe each, not `multiprocessing`, which would run the caller's own script again in every child.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
from array import array
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError
from .analyzers import analyzer

__all__ = ["Tokens", "cores", "term_ids"]

_CHUNK = 4096
ALONE = 8 * _CHUNK
"""So many texts are analyzed before it is worth the second that starting processes takes."""
_AHEAD = 4
"""Chunks in flight for each process, so that none waits while a block is sorted here."""


class Tokens(NamedTuple):
    """Some texts' terms, one text after another."""

    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    """How many of `ids` each text has."""


class _Chunk(NamedTuple):
    terms: list[str]
    """In the order of their first appearance; `tokens.ids` are places in it."""
    tokens: Tokens


def cores() -> int:
    """How many this process may use."""
    with contextlib.suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def term_ids(
    texts: Iterable[str], language: str, vocabulary: MutableMapping[str, int], workers: int
) -> Iterator[Tokens]:
    """The terms of all texts, some texts at a time; `vocabulary` gains each new term.

    After the first ALONE texts, `workers` processes analyze the rest. Raises HarnessError where one of
    them ends before its work does.
    """
    rest = iter(texts)
    first = islice(rest, ALONE) if workers > 1 else rest
    for chunk in _chunks(first):
        yield _numbered(_analyzed(chunk, language), vocabulary)
    for chunk_found in _in_processes(_chunks(rest), language, workers):
        yield _numbered(chunk_found, vocabulary)


def _chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(texts, _CHUNK)):
        yield chunk


def _analyzed(texts: Sequence[str], language: str) -> _Chunk:
    analyze = analyzer(language)
    places: defaultdict[str, int] = defaultdict(count().__next__)
    ids, lengths = array("i"), array("i")
    for text in texts:
        before = len(ids)
        ids.extend(map(places.__getitem__, analyze(text)))
        lengths.append(len(ids) - before)
    return _Chunk(list(places), Tokens(np.asarray(ids, np.int32), np.asarray(lengths, np.int32)))


def _numbered(chunk: _Chunk, vocabulary: MutableMapping[str, int]) -> Tokens:
    numbers = np.fromiter((vocabulary.setdefault(term, len(vocabulary)) for term in chunk.terms), np.int32)
    return Tokens(numbers[chunk.tokens.ids] if len(numbers) else chunk.tokens.ids, chunk.tokens.lengths)


def _in_processes(chunks: Iterator[list[str]], language: str, workers: int) -> Iterator[_Chunk]:
    """What `_analyzed` finds in each chunk, in their order; no process starts where there is no chunk."""
    pending: deque[Future[_Chunk]] = deque()
    with contextlib.ExitStack() as stack:
        idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        pool: ThreadPoolExecutor | None = None
        for chunk in chunks:
            if pool is None:
                # The processes end before the threads that wait for them do.
                pool = stack.enter_context(ThreadPoolExecutor(workers))
                for _ in range(workers):
                    idle.put(stack.enter_context(_process(language)))
            pending.append(pool.submit(_asked, idle, chunk))
            if len(pending) > workers * _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


@contextlib.contextmanager
def _process(language: str) -> Iterator[subprocess.Popen[bytes]]:
    here = str(Path(__file__).parents[2])
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", __name__, language]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _asked(idle: queue.SimpleQueue[subprocess.Popen[bytes]], texts: list[str]) -> _Chunk:
    process = idle.get()
    try:
        _send(texts, process.stdin)
        terms, ids, lengths = pickle.load(process.stdout)  # type: ignore[arg-type]  # noqa: S301  # our own child
        return _Chunk(terms, Tokens(ids, lengths))
    except (OSError, EOFError, pickle.UnpicklingError):
        raise HarnessError(
            f"a process that analyzes the corpus for BM25 ended with status {process.wait()} before its work did; what "
            f"it wrote stands above. The same command builds the index again"
        ) from None
    finally:
        idle.put(process)


def _send(found: object, pipe: IO[bytes] | None) -> None:
    assert pipe is not None
    pickle.dump(found, pipe, pickle.HIGHEST_PROTOCOL)
    pipe.flush()


def serve(language: str) -> None:
    """Chunks of texts from standard input, what `_analyzed` finds to standard output, until there are no more."""
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            # Plain values: this module has another name here than in the process that asked.
            terms, (ids, lengths) = _analyzed(pickle.load(sys.stdin.buffer), language)  # noqa: S301  # our own parent
            _send((terms, ids, lengths), sys.stdout.buffer)


if __name__ == "__main__":
    serve(sys.argv[1])
