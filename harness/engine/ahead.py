"""What a model needs before it is loaded, begun beside other work: libraries imported, its files read by the system.

Importing torch and transformers takes longer than tokenizing a small data set, and both leave a core free. Nothing is
computed here and no model built: what is begun ahead moves no score. Only one thread may import at a time, as parts of
these libraries import each other in a circle: whoever is about to use them waits with `settled` first.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["begin", "read", "settled"]

_LIBRARIES = ("torch", "transformers")
_running: threading.Thread | None = None


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
        # No daemon: a process that ends in the middle of an import would hang.
        _running = threading.Thread(target=_import, args=[list(classes)], name="ahead", daemon=False)
        _running.start()


def settled() -> None:
    """Wait until what was begun is done."""
    if _running is not None and threading.current_thread() is not _running:
        _running.join()


def _import(classes: Sequence[str]) -> None:
    # What cannot be imported is an error where it is used, and is told there.
    with contextlib.suppress(Exception):
        for name in _LIBRARIES:
            library = importlib.import_module(name)
        for name in classes:
            getattr(library, name, None)  # imports the file that the class stands in
