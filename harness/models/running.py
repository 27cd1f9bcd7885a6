"""Running a model whose code may be its own: what that adds to its fingerprint, and its errors in one line.

Most code of models' own was written for another transformers, and fails with whatever error it happens
to run into; the line says which file, for which version it was written, and the way out.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..engine.options import Options
from ..engine.plan import is_out_of_memory
from ..errors import HarnessError
from .own_code import code_files
from .source import ModelSource

__all__ = ["code_revision", "explaining", "failing", "failure", "numeric_settings"]


def code_revision(source: ModelSource) -> dict[str, str]:
    """What from_pretrained must be told so that code from another repository is that of the fingerprint."""
    return {"code_revision": source.code[0][1]} if source.code else {}


def numeric_settings(source: ModelSource, options: Options) -> dict[str, object]:
    """How transformers runs a model, as far as it moves scores: `Options.precision`, and whether code of its own runs."""
    if source.code is None:
        return options.precision
    return {**options.precision, "own_code": " ".join(f"{name}@{commit}" for name, commit in source.code) or "its own"}


_OF_ANOTHER_VERSION = (AttributeError, TypeError, NameError, ImportError, NotImplementedError)
"""What code for another transformers runs into."""


@contextmanager
def explaining(source: ModelSource, doing: str) -> Iterator[None]:
    """Turns whatever a model raises in the block into one line; `doing` is `loading` or `its forward pass`.

    Errors of memory pass, as do those that are one line already.
    """
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise HarnessError(failing(source, doing, error)) from error


def failing(source: ModelSource, doing: str, error: Exception) -> str:
    """The one line for an error, wherever it came from."""
    return failure(source, doing, error) or f"{source.name} fails in {doing}: {_said(error)}. {_versions(source)}"


def failure(source: ModelSource, doing: str, error: Exception) -> str | None:
    """The one line for an error in code of the model's own; None where it came from elsewhere."""
    place = _unreadable(source) if isinstance(error, SyntaxError) else _own_place(source, error)
    if place is None and source.code is not None and isinstance(error, _OF_ANOTHER_VERSION):
        # What transformers wants of a class and the class does not have is raised outside of the class.
        place = " or ".join(code_files(source.small))
    if place is None:
        return None
    return (
        f"{source.name}: its own code fails in {doing}, in {place}: {_said(error)}. {_versions(source)}: install that "
        f"version in an environment of its own, or take a revision of the model that fits this one (NAME@REVISION)"
    )


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _own_place(source: ModelSource, error: BaseException | None) -> str | None:
    """File and line of the innermost call in code of the model's own, also in what the error was raised from."""
    below = os.sep + "transformers_modules" + os.sep
    folder = str(source.folder) + os.sep if source.folder else below
    while error is not None:
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if below in frame.filename or frame.filename.startswith(folder):
                return f"{Path(frame.filename).name} line {frame.lineno}"
        error = error.__cause__ or error.__context__
    return None


def _unreadable(source: ModelSource) -> str | None:
    """File and line of the first Python file of the model's that is no Python; what is raised does not always name it."""
    for path in sorted(source.folder.glob("*.py")) if source.folder else ():
        try:
            ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        except (SyntaxError, ValueError) as error:
            return f"{path.name} line {getattr(error, 'lineno', None) or 1}"
    return None


def _versions(source: ModelSource) -> str:
    stated = source.config.get("transformers_version")
    here = importlib.metadata.version("transformers")
    written = (
        f"for transformers {stated} (config.json)" if stated else "for a transformers that config.json does not name"
    )
    return f"It was written {written}, and {here} is installed"
