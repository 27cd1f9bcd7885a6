"""The engine on several devices and machines: Ray actors compute, this process alone keeps what they find.

The plan is the one that a single process has (see `engine`), fixed from the whole request, and its
batches are computed by the same code; only who computes them differs. Workers never open a store: a
batch's values come back here and are committed whole, in whatever order they come. Where it was not said
how many workers there are, machines that join in the middle get some too (see `crew`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError, MissingDependency
from .actor import Opening, Worker
from .crew import Batch, Commit, Crew, Run, first_line
from .plan import Rows

__all__ = ["Workers"]

_LOG = logging.getLogger(__name__)
_OBJECT_STORE = 256 * 2**20
"""Bytes of shared memory for requests on one machine; Ray takes the disk for what is more."""


class Workers:
    """Ray actors with one device each: a CUDA device, or one core of the CPU.

    `count` is how many; None takes as many as the cluster at `address` has free, then and later. Without an address
    a cluster of this machine is started when the first batch is computed, and ends with `close`.
    `report` is told, in one line, when a worker was lost or came, or is sent what it lacks; the default writes to the log.
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
        self._count, self._device, self._address, self.report = count, device, address, report
        self._grows = count is None
        self._crew: Crew | None = None
        self._joined = self._found_room = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def run_plan(
        self,
        batches: Sequence[Rows],
        missing: NDArray[np.bool_],
        opening: Opening,
        request: Any,
        send: Callable[[Rows], Any],
        commit: Commit,
    ) -> None:
        """Compute the missing rows of every batch on the workers; commit batches as they come.

        `request` is sent once to each worker, `send(rows)` with each batch; `commit` gets the rows
        and the answers of the batches that have come since it was called last. Raises what a worker
        or `commit` raises, HarnessError for what stops the workers; batches under way are then given up.
        """
        parts = (batch[missing[batch]] for batch in batches)
        waiting = deque(Batch(rows) for rows in parts if len(rows))
        if not waiting:
            return
        ray = self._ray()
        try:
            # In a list, so that Ray hands over the reference and not, with each batch anew, the request.
            shared = [ray.put(request)]
            Run(self, self._opened(opening), waiting, lambda rows: (shared, send(rows)), commit).finish()
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
        """How many workers there are at most; joins the cluster where that is not said."""
        if self._count is None:
            self._ray()
        assert self._count is not None
        return self._count

    def grown(self, present: int, wanted: int) -> int:
        """How many more the cluster has room for now, of `wanted` more than those `present`."""
        import ray

        free = self._free(ray.available_resources())
        more = max(0, min(free, wanted if self._grows else self.count - present))
        self._count = max(self.count, present + more)
        return more

    def _ray(self) -> Any:
        """The module ray, its cluster joined, and known to have been large enough then."""
        import ray

        if not ray.is_initialized():
            _quiet()
            try:
                ray.init(**self._cluster())
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                where = self._address or "of this machine"
                raise HarnessError(f"the Ray cluster {where} cannot be used: {first_line(error)}") from None
            self._joined = True
        if not self._found_room:
            self._find_room(ray)
            self._found_room = True
        return ray

    def _find_room(self, ray: Any) -> None:
        there = self._free(ray.cluster_resources())
        if self._count is None:
            self._count = self._free(ray.available_resources())
        if not 0 < self._count <= there:
            raise HarnessError(
                f"{self._count or 'one or more'} workers need a {self._kind} each, and the Ray cluster has {there}: "
                f"take --workers {max(there, 1)} or fewer, or another --device"
            )

    @property
    def _kind(self) -> str:
        return "GPU" if self._device == "cuda" else "CPU"

    def _free(self, resources: Mapping[str, float]) -> int:
        return int(resources.get(self._kind, 0))

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

    def _opened(self, opening: Opening) -> Crew:
        if self._crew is None or self._crew.opening != opening:
            self._dismiss()
            self._crew = Crew(opening)
        return self._crew

    def _dismiss(self) -> None:
        if self._crew is None:
            return
        import ray

        for actor in self._crew.actors:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)
        self._crew = None

    def actor(self) -> Any:
        """A new actor; where the cluster has no room for it, it starts when there is some."""
        import ray

        need = {"num_cpus": 1, "num_gpus": 0} if self._device == "cpu" else {"num_cpus": 0, "num_gpus": 1}
        return ray.remote(**need, max_restarts=0)(Worker).remote()


def _quiet() -> None:
    """Ray's own messages, its statistics and its advice, away from the answer."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    # It prints what it hears of lost workers on stdout, which belongs to the answer, and offers no switch.
    worker: Any = sys.modules[ray.init.__module__]
    worker.print_to_stdstream = lambda *_, **__: None
