"""What runs on a worker: it opens one thing, keeps the last request, and computes batch after batch.

Workers of the same versions alone compute what this process would. What they open may need folders of
this process; a machine that lacks one is sent it first (see `parcels`).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from ..errors import HarnessError
from ..results.environment import checkout_commit, harness_version
from .parcels import Arriving, Parcel, Piece

__all__ = ["About", "Opening", "Worker", "refuse_other_versions", "versions"]

_MUST_AGREE = ("torch", "transformers", "tokenizers")


class Opening:
    """What a worker opens once, as plain data that can be sent to another machine."""

    def open(self) -> Callable[[Any], Callable[[Any], Any]]:
        """Request → batch → answer. Raises HarnessError, as the functions that it gives do, where the user can put it right."""
        raise NotImplementedError

    def parcels(self) -> Sequence[Parcel]:
        """The folders of the process that sends the work without which a machine cannot open it."""
        return ()

    def lacking(self) -> Sequence[Parcel]:
        """Those of them that the machine of this process has not."""
        return ()


class About(NamedTuple):
    """What a worker says of itself first."""

    node: str
    """Ray's own name of its machine: host names may be equal."""
    versions: dict[str, str]


class Worker:
    """The actor."""

    def __init__(self) -> None:
        self._open: Callable[[Any], Callable[[Any], Any]] | None = None
        self._request: Any = None
        self._compute: Callable[[Any], Any] | None = None
        self._arriving = Arriving()

    def about(self) -> About:
        """What has to agree with the process that sends the work."""
        import ray

        return About(ray.get_runtime_context().get_node_id(), versions())

    def lacking(self, opening: Opening) -> list[str]:
        """The keys of the parcels that must be sent before it can be opened."""
        with _sendable():
            return [parcel.key for parcel in opening.lacking()]

    def take(self, piece: Piece) -> None:
        """The next piece of a parcel."""
        with _sendable():
            self._arriving.take(piece)

    def keep(self, key: str) -> None:
        """The parcel's last piece has come."""
        with _sendable():
            self._arriving.keep(key)

    def open(self, opening: Opening) -> None:
        """Once, before any batch."""
        with _sendable():
            self._open = opening.open()

    def compute(self, request: list[Any], batch: Any) -> Any:
        """The answer to a batch of the request, a reference that is read when it is another than before."""
        import ray

        with _sendable():
            if self._compute is None or self._request != request[0]:
                assert self._open is not None
                self._compute = self._open(ray.get(request[0]))
                self._request = request[0]
            return self._compute(batch)


@contextlib.contextmanager
def _sendable() -> Iterator[None]:
    """HarnessErrors as such, whatever their class takes: they cross to the other process by their line."""
    try:
        yield
    except HarnessError as error:
        raise HarnessError(str(error), exit_code=error.exit_code) from None


def versions() -> dict[str, str]:
    """What decides a score and can differ from machine to machine, and the machine's name."""
    ours = " at ".join(filter(None, (harness_version(), checkout_commit())))
    found = {"rerank-harness": ours, "Python": platform.python_version(), "node": platform.node()}
    for package in _MUST_AGREE:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def refuse_other_versions(theirs: dict[str, str]) -> None:
    """Raises HarnessError where a worker's versions are not those of this process."""
    ours = versions()
    for package in ("rerank-harness", *_MUST_AGREE):
        there, here = theirs.get(package, "none"), ours.get(package, "none")
        if there != here:
            raise HarnessError(
                f"the worker on {theirs['node']} has {package} {there}, and this process {here}: scores may differ; "
                f"install the same versions on every machine of the cluster"
            )
