"""What a model needs before it is loaded, begun beside other work: libraries imported, its files read by the system.

Importing torch and transformers takes longer than tokenizing a small data set, and both leave a core free. Nothing is
computed here and no model built: what is begun ahead moves no score. Only one thread may import at a time, as parts of
these libraries import each other in a circle: whoever is about to use them waits with `settled` first.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..results.environment import cores

__all__ = ["begin", "cores_back", "read", "settled"]

_LIBRARIES = ("torch", "transformers")
_running: threading.Thread | None = None
_THREADS = "TOKENIZERS_PARALLELISM"
"""What `tokenizers` looks at before every batch; it is never set for longer than imports take."""
_FEW_CORES = 2
_lent = False
"""Whether one core was left to the thread that imports."""


def read(files: Iterable[Path]) -> None:
    """Ask the system to have files in memory soon; it does so as far as memory is free, beside whatever is done next."""
    advise = getattr(os, "posix_fadvise", None)
    if advise is None:
        return
    for path in files:
        with contextlib.suppress(OSError), path.open("rb") as stream:
            advise(stream.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def begin(classes: Sequence[str]) -> None:
    """Start to import what `classes` of transformers stand in; a second call does nothing more."""
    global _running  # noqa: PLW0603
    if _running is None and not all(name in sys.modules for name in _LIBRARIES):
        _lend_a_core()
        # No daemon: a process that ends in the middle of an import would hang.
        _running = threading.Thread(target=_import, args=[list(classes)], name="ahead", daemon=False)
        _running.start()


def settled() -> None:
    """Wait until what was begun is done."""
    if _running is not None and threading.current_thread() is not _running:
        _running.join()
    cores_back()


def cores_back() -> None:
    """Let all cores tokenize again as soon as what was begun is done; whoever tokenizes much asks now and then."""
    global _lent  # noqa: PLW0603
    if _lent and not (_running is not None and _running.is_alive()):
        os.environ.pop(_THREADS, None)
        _lent = False


def _lend_a_core() -> None:
    """On two cores tokenize with one, or both take turns with the imports, which then end last and alone."""
    global _lent  # noqa: PLW0603
    if cores() <= _FEW_CORES and _THREADS not in os.environ:
        os.environ[_THREADS] = "false"
        _lent = True


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage is looked for: imports leave half a million objects and next to none, and a quarter of their time goes there."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _import(classes: Sequence[str]) -> None:
    # What cannot be imported is an error where it is used, and is told there.
    with contextlib.suppress(Exception), _no_collection():
        for name in _LIBRARIES:
            library = importlib.import_module(name)
        for name in classes:
            getattr(library, name, None)  # imports the file that the class stands in
