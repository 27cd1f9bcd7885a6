"""The engine on several devices and machines: Ray actors compute, this process alone keeps what they find.

The plan is the one that a single process has (see `engine`), fixed from the whole request, and its
batches are computed by the same code; only who computes them differs. Workers never open a store: a
batch's values come back here and are committed whole, in whatever order they come. Two batches at
most are under way for each worker. The batches of a worker that was lost go back to the others, and
another worker takes its place.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import os
import platform
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError, MissingDependency
from ..results.environment import checkout_commit, harness_version
from .plan import Rows

__all__ = ["Opening", "Workers"]

_LOG = logging.getLogger(__name__)
_AHEAD = 2
"""Batches under way for each worker: one that it computes, and one that it need not wait for."""
_LOSSES = 3
"""So many workers may be lost over one batch, or one after the other before any is ready."""
_OBJECT_STORE = 256 * 2**20
"""Bytes of shared memory for requests on one machine; Ray takes the disk for what is more."""
_MUST_AGREE = ("torch", "transformers", "tokenizers")


_Send = Callable[[Rows], tuple[list[Any], Any]]
_Commit = Callable[[list[tuple[Rows, Any]]], None]


class Opening(Protocol):
    """What a worker opens once, as plain data that can be sent to another machine.

    `open()` gives a function that takes a request; what that gives is called with each batch.
    Raises HarnessError, as the functions that it gives do, where the user can put it right.
    """

    def open(self) -> Callable[[Any], Callable[[Any], Any]]:
        """Request → batch → answer."""
        ...


@dataclass
class _Batch:
    rows: Rows
    losses: int = 0


class _Call(NamedTuple):
    """A call of a worker's method: to compute a batch, or a part of its start, with what comes after it."""

    actor: Any
    batch: _Batch | None
    receive: Callable[[Any], None] | None


@dataclass
class _Crew:
    """The workers that open one thing, and their calls under way."""

    opening: Opening
    actors: list[Any] = field(default_factory=list)
    flying: dict[Any, _Call] = field(default_factory=dict)
    """By the reference of each call's answer. Between two requests only workers that start have calls."""
    lost_early: int = 0
    """Workers lost, one after the other, before they had opened anything."""

    def calls(self, actor: Any) -> list[_Call]:
        return [call for call in self.flying.values() if call.actor == actor]


class Workers:
    """Ray actors with one device each: a CUDA device, or one core of the CPU.

    `count` is how many; None takes as many as the cluster at `address` has free. Without an address
    a cluster of this machine is started when the first batch is computed, and ends with `close`.
    `report` is told, in one line, when a worker was lost; the default writes to the log.
    Raises HarnessError where Ray is not installed or the device is not one that can be shared out.
    """

    def __init__(
        self,
        count: int | None,
        device: str,
        *,
        address: str | None = None,
        report: Callable[[str], None] = _LOG.warning,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise MissingDependency("--workers", "ray", "pip install 'rerank-harness[ray]'")
        if device not in ("cpu", "cuda"):
            raise HarnessError(
                f"--workers gives each worker a device of its own: take --device cuda or cpu, not {device}"
            )
        self._count, self._device, self._address, self._report = count, device, address, report
        self._crew: _Crew | None = None
        self._joined = self._found_room = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def run_plan(
        self,
        batches: Sequence[Rows],
        missing: NDArray[np.bool_],
        opening: Opening,
        request: Any,
        send: Callable[[Rows], Any],
        commit: _Commit,
    ) -> None:
        """Compute the missing rows of every batch on the workers; commit batches as they come.

        `request` is sent once to each worker, `send(rows)` with each batch; `commit` gets the rows
        and the answers of the batches that have come since it was called last. Raises what a worker
        or `commit` raises, HarnessError for what stops the workers; batches under way are then given up.
        """
        parts = (batch[missing[batch]] for batch in batches)
        waiting = deque(_Batch(rows) for rows in parts if len(rows))
        if not waiting:
            return
        ray = self._ray()
        try:
            # In a list, so that Ray hands over the reference and not, with each batch anew, the request.
            shared = [ray.put(request)]
            _Run(self, self._opened(opening), waiting, lambda rows: (shared, send(rows)), commit).finish()
        except BaseException:
            self._dismiss()
            raise

    def close(self) -> None:
        """Ends the workers, and the cluster where it was started here; a second call does nothing."""
        self._dismiss()
        if self._joined:
            import ray

            ray.shutdown()
            self._joined = self._found_room = False
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    @property
    def count(self) -> int:
        """How many workers there are; joins the cluster where that is not said."""
        if self._count is None:
            self._ray()
        assert self._count is not None
        return self._count

    def _ray(self) -> Any:
        """The module ray, its cluster joined, and known to have been large enough then."""
        import ray

        if not ray.is_initialized():
            _quiet()
            try:
                ray.init(**self._cluster())
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                where = self._address or "of this machine"
                raise HarnessError(f"the Ray cluster {where} cannot be used: {_first_line(error)}") from None
            self._joined = True
        if not self._found_room:
            self._find_room(ray)
            self._found_room = True
        return ray

    def _find_room(self, ray: Any) -> None:
        kind = "GPU" if self._device == "cuda" else "CPU"
        there = int(ray.cluster_resources().get(kind, 0))
        if self._count is None:
            self._count = int(ray.available_resources().get(kind, 0))
        if not 0 < self._count <= there:
            raise HarnessError(
                f"{self._count or 'one or more'} workers need a {kind} each, and the Ray cluster has {there}: "
                f"take --workers {max(there, 1)} or fewer, or another --device"
            )

    def _cluster(self) -> dict[str, Any]:
        """The arguments of ray.init."""
        common = {"log_to_driver": False, "logging_level": "ERROR"}
        if self._address is not None:
            return {"address": self._address, **common}
        # A short path: the sockets in it may have 107 characters. A killed process leaves it behind.
        self._folder = tempfile.TemporaryDirectory(prefix="rh-ray-", dir="/tmp", ignore_cleanup_errors=True)
        return {
            "num_cpus": self._count,
            **({} if self._device == "cuda" else {"num_gpus": 0}),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
            "_temp_dir": self._folder.name,
            **common,
        }

    def _opened(self, opening: Opening) -> _Crew:
        if self._crew is None or self._crew.opening != opening:
            self._dismiss()
            self._crew = _Crew(opening)
        return self._crew

    def _dismiss(self) -> None:
        if self._crew is None:
            return
        import ray

        for actor in self._crew.actors:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)
        self._crew = None

    def _actor(self) -> Any:
        """A new actor; where the cluster has no room for it, it starts when there is some."""
        import ray

        need = {"num_cpus": 1, "num_gpus": 0} if self._device == "cpu" else {"num_cpus": 0, "num_gpus": 1}
        return ray.remote(**need, max_restarts=0)(_Worker).remote()


class _Run:
    """One request on its way through the crew."""

    def __init__(self, workers: Workers, crew: _Crew, waiting: deque[_Batch], send: _Send, commit: _Commit) -> None:
        self._workers, self._crew = workers, crew
        self._waiting, self._send, self._commit = waiting, send, commit

    def finish(self) -> None:
        """Until every batch is committed."""
        import ray

        while len(self._crew.actors) < self._workers.count:
            self._start()
        self._feed()
        while self._waiting or any(call.batch for call in self._crew.flying.values()):
            ray.wait(list(self._crew.flying), num_returns=1)
            # What has come by now is committed together: the disk's sync costs more than the rows of a batch.
            done, _ = ray.wait(list(self._crew.flying), num_returns=len(self._crew.flying), timeout=0)
            self._receive(done)
            self._feed()

    def _receive(self, done: Sequence[Any]) -> None:
        """Commit what the calls of these references gave, then raise what one of them raised."""
        import ray

        answers, failure = [], None
        for reference in done:
            call = self._crew.flying.pop(reference)
            try:
                answer = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                failure = error.cause if isinstance(error.cause, HarnessError) else error
            except ray.exceptions.RayError as error:
                self._lose(call, error)
            else:
                if call.batch is not None:
                    answers.append((call.batch.rows, answer))
                elif call.receive is not None:
                    call.receive(answer)
        if answers:
            self._commit(answers)
        if failure is not None:
            raise failure from None

    def _start(self) -> None:
        """Another worker: it says what it is, opens what the crew opens, and is then fed."""
        crew, actor = self._crew, self._workers._actor()
        crew.actors.append(actor)

        def agree(versions: dict[str, str]) -> None:
            _refuse_other_versions(versions)
            crew.flying[actor.open.remote(crew.opening)] = _Call(actor, None, ready)

        def ready(_: None) -> None:
            crew.lost_early = 0

        crew.flying[actor.versions.remote()] = _Call(actor, None, agree)

    def _feed(self) -> None:
        """Give every worker that is ready and has little to do the next batches."""
        for actor in self._crew.actors:
            calls = self._crew.calls(actor)
            if any(call.batch is None for call in calls):
                continue
            for _ in range(min(_AHEAD - len(calls), len(self._waiting))):
                batch = self._waiting.popleft()
                reference = actor.compute.remote(*self._send(batch.rows))
                self._crew.flying[reference] = _Call(actor, batch, None)

    def _lose(self, call: _Call, error: Exception) -> None:
        """A worker was lost: its batch goes back to the front, and another worker is started, once."""
        if call.batch is not None:
            call.batch.losses += 1
            if call.batch.losses == _LOSSES:
                raise HarnessError(
                    f"{_LOSSES} workers were lost over one batch, of {len(call.batch.rows)} rows: did they run out of "
                    f"memory? Take a smaller --batch-tokens; what was scored is kept. Ray says: {_first_line(error)}"
                )
            self._waiting.appendleft(call.batch)
        if call.actor not in self._crew.actors:
            return
        self._crew.actors.remove(call.actor)
        if call.batch is None:
            self._crew.lost_early += 1
            if self._crew.lost_early == _LOSSES:
                raise HarnessError(
                    f"{_LOSSES} workers were lost before they were ready; is rerank-harness installed on every machine "
                    f"of the cluster? Ray says: {_first_line(error)}"
                )
        self._workers._report("a worker was lost; another takes its place and its batches")
        self._start()


class _Worker:
    """Runs on a worker: opens once, keeps the last request, computes batch after batch."""

    def __init__(self) -> None:
        self._open: Callable[[Any], Callable[[Any], Any]] | None = None
        self._request: Any = None
        self._compute: Callable[[Any], Any] | None = None

    def versions(self) -> dict[str, str]:
        """What has to agree with the process that sends the work."""
        return _versions()

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


def _versions() -> dict[str, str]:
    ours = " at ".join(filter(None, (harness_version(), checkout_commit())))
    found = {"rerank-harness": ours, "Python": platform.python_version(), "node": platform.node()}
    for package in _MUST_AGREE:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _refuse_other_versions(theirs: dict[str, str]) -> None:
    ours = _versions()
    for package in ("rerank-harness", *_MUST_AGREE):
        there, here = theirs.get(package, "none"), ours.get(package, "none")
        if there != here:
            raise HarnessError(
                f"the worker on {theirs['node']} has {package} {there}, and this process {here}: scores may differ; "
                f"install the same versions on every machine of the cluster"
            )


def _quiet() -> None:
    """Ray's own messages, its statistics and its advice, away from the answer."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    # It prints what it hears of lost workers on stdout, which belongs to the answer, and offers no switch.
    worker: Any = sys.modules[ray.init.__module__]
    worker.print_to_stdstream = lambda *_, **__: None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
