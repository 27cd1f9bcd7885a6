"""A crew of workers at one request: who has which batch, who starts, who was lost, who may come.

Two batches at most are under way for each worker. The batches of a worker that was lost go back to the
others, and another takes its place. What comes from the workers is committed as it comes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ..errors import HarnessError
from .actor import About, Opening, refuse_other_versions
from .parcels import Parcel
from .plan import Rows

__all__ = ["Batch", "Commit", "Crew", "Hiring", "Run", "Send", "first_line"]

_AHEAD = 2
"""Batches under way for each worker: one that it computes, and one that it need not wait for."""
_LOSSES = 3
"""So many workers may be lost over one batch, or one after the other before any is ready."""
_LOOK = 1.0
"""Seconds between two looks at what the cluster has free."""

Send = Callable[[Rows], tuple[list[Any], Any]]
Commit = Callable[[list[tuple[Rows, Any]]], None]


@dataclass
class Batch:
    """What is asked of a worker at a time."""

    rows: Rows
    losses: int = 0
    """Workers that were lost over it."""


class _Call(NamedTuple):
    """A call of a worker's method: to compute a batch, or a part of its start, with what comes after it."""

    actor: Any
    batch: Batch | None
    receive: Callable[[Any], None] | None


@dataclass
class Crew:
    """The workers that open one thing, and their calls under way."""

    opening: Opening
    actors: list[Any] = field(default_factory=list)
    starting: list[Any] = field(default_factory=list)
    """Those of them that compute nothing yet."""
    flying: dict[Any, _Call] = field(default_factory=dict)
    """By the reference of each call's answer. Between two requests only workers that start have calls."""
    sent_to: dict[str, list[tuple[Any, About]]] = field(default_factory=dict)
    """Node → the worker of it that receives folders, then those that wait until they are there."""
    lost_early: int = 0
    """Workers lost, one after the other, before they had opened anything."""

    def calls(self, actor: Any) -> list[_Call]:
        return [call for call in self.flying.values() if call.actor == actor]

    @property
    def idle(self) -> bool:
        """Whether none of them computes."""
        return len(self.starting) == len(self.actors)


class Hiring(Protocol):
    """Where workers come from: `scale_out.Workers`."""

    report: Callable[[str], None]

    @property
    def count(self) -> int:
        """How many there are at most."""
        ...

    def actor(self) -> Any:
        """A new one; where the cluster has no room for it, it starts when there is some."""
        ...

    def grown(self, present: int, wanted: int) -> int:
        """How many more the cluster has room for now, of `wanted` more than those `present`."""
        ...


class Run:
    """One request on its way through the crew."""

    def __init__(self, workers: Hiring, crew: Crew, waiting: deque[Batch], send: Send, commit: Commit) -> None:
        self._workers, self._crew = workers, crew
        self._waiting, self._send, self._commit = waiting, send, commit
        self._looked = 0.0

    def finish(self) -> None:
        """Until every batch is committed."""
        import ray

        while len(self._crew.actors) < self._workers.count:
            self._start()
        self._feed()
        while self._waiting or any(call.batch for call in self._crew.flying.values()):
            ray.wait(list(self._crew.flying), num_returns=1, timeout=_LOOK)
            # What has come by now is committed together: the disk's sync costs more than the rows of a batch.
            done, _ = ray.wait(list(self._crew.flying), num_returns=len(self._crew.flying), timeout=0)
            self._receive(done)
            self._grow()
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
        """Another worker: it says what it is, is sent what it lacks, opens what the crew opens, and is then fed."""
        crew, actor = self._crew, self._workers.actor()
        crew.actors.append(actor)
        crew.starting.append(actor)

        def agree(about: About) -> None:
            refuse_other_versions(about.versions)
            self._equip(actor, about)

        self._expect(actor, actor.about.remote(), agree)

    def _expect(self, actor: Any, reference: Any, receive: Callable[[Any], None]) -> None:
        self._crew.flying[reference] = _Call(actor, None, receive)

    def _equip(self, actor: Any, about: About) -> None:
        """Send the folders that the worker's machine lacks, to one worker of it while its others wait."""
        if not self._crew.opening.parcels():
            self._open(actor)
            return
        at_once = self._crew.sent_to.setdefault(about.node, [])
        at_once.append((actor, about))
        if len(at_once) == 1:
            self._expect(actor, actor.lacking.remote(self._crew.opening), lambda keys: self._ship(actor, about, keys))

    def _ship(self, actor: Any, about: About, keys: Sequence[str]) -> None:
        parcels = [parcel for parcel in self._crew.opening.parcels() if parcel.key in keys]
        for parcel in parcels:
            size = parcel.size() / 1e6
            self._workers.report(f"{about.versions['node']} lacks {parcel.folder}: its {size:,.1f} MB are sent there")
        calls = (call for parcel in parcels for call in _calls(actor, parcel))

        def go_on(_: None = None) -> None:
            reference = next(calls, None)
            if reference is None:
                self._open(actor)
                self._release(actor)
            else:
                self._expect(actor, reference, go_on)

        go_on()

    def _release(self, actor: Any) -> None:
        """The worker receives no longer: the next of its machine may."""
        for node, waiting in list(self._crew.sent_to.items()):
            if waiting[0][0] == actor:
                del self._crew.sent_to[node]
                for other, about in waiting[1:]:
                    self._equip(other, about)

    def _open(self, actor: Any) -> None:
        def ready(_: None) -> None:
            self._crew.starting.remove(actor)
            self._crew.lost_early = 0

        self._expect(actor, actor.open.remote(self._crew.opening), ready)

    def _feed(self) -> None:
        """Give every worker that is ready and has little to do the next batches."""
        for actor in self._crew.actors:
            if actor in self._crew.starting:
                continue
            for _ in range(min(_AHEAD - len(self._crew.calls(actor)), len(self._waiting))):
                batch = self._waiting.popleft()
                reference = actor.compute.remote(*self._send(batch.rows))
                self._crew.flying[reference] = _Call(actor, batch, None)

    def _grow(self) -> None:
        """More workers, where the cluster has room for them and none of those that were started is still on its way."""
        crew, now = self._crew, time.monotonic()
        if crew.starting or crew.lost_early or not self._waiting or now < self._looked + _LOOK:
            return
        self._looked = now
        more = self._workers.grown(len(crew.actors), len(self._waiting))
        for _ in range(more):
            self._start()
        if more:
            self._workers.report(f"the cluster has room for {more} more worker{'s' if more > 1 else ''}, which start")

    def _lose(self, call: _Call, error: Exception) -> None:
        """A worker was lost: its batch goes back to the front, and another worker is started, once."""
        crew = self._crew
        if call.batch is not None:
            call.batch.losses += 1
            if call.batch.losses == _LOSSES:
                raise HarnessError(
                    f"{_LOSSES} workers were lost over one batch, of {len(call.batch.rows)} rows: did they run out of "
                    f"memory? Take a smaller --batch-tokens; what was scored is kept. Ray says: {first_line(error)}"
                )
            self._waiting.appendleft(call.batch)
        if call.actor not in crew.actors:
            return
        crew.actors.remove(call.actor)
        if call.actor in crew.starting:
            crew.starting.remove(call.actor)
            self._release(call.actor)
            crew.lost_early += 1
            # A machine that is lost takes all of its workers with it.
            if crew.lost_early >= max(_LOSSES, self._workers.count):
                if not crew.idle:
                    self._workers.report("a worker was lost before it was ready, as others before; the rest go on")
                    return
                raise HarnessError(
                    f"{crew.lost_early} workers were lost before they were ready; is rerank-harness installed on every "
                    f"machine of the cluster? Ray says: {first_line(error)}"
                )
        room = "; none is left until the cluster has room for it" if crew.idle else ""
        self._workers.report(f"a worker was lost; another takes its place and its batches{room}")
        self._start()


def _calls(actor: Any, parcel: Parcel) -> Iterator[Any]:
    """References of the calls that send a parcel, each to be waited for before the next."""
    for piece in parcel.pieces():
        yield actor.take.remote(piece)
    yield actor.keep.remote(parcel.key)


def first_line(error: BaseException) -> str:
    """What Ray says of an error, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
