"""The engine: a fixed plan of batches, and running it so that a kill costs one batch at most.

The plan is a function of the whole request, never of what happens to be stored: rows, or groups of
rows that begin alike, in order of length, longest first (so that an out-of-memory shows at once),
filled up to a token budget. A planned batch is computed and committed whole. A resumed run replays
the same plan and skips the batches it finds done, so each remaining row is computed in the same
company as in a run that was never interrupted, and the result is the same to the bit.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import HarnessError
from ..files.digest import Digest

__all__ = ["Rows", "compute_in_parts", "fitting", "plan_batches", "plan_digest", "plan_groups", "plan_of", "run_plan"]

Rows = NDArray[np.int64]
_Found = TypeVar("_Found")

_OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "cannot allocate memory", "could not create a primitive",
    "out_of_memory", "out_of_device_memory", "out_of_host_memory", "status_alloc_failed",
)  # fmt: skip
"""What torch says, and the libraries below it: cuBLAS and cuDNN have an allocation of their own that failed, and
oneDNN, which finds no room for a kernel's workspace, does not say why."""


def plan_batches(lengths: Sequence[int] | Rows, budget: int) -> list[Rows]:
    """Batches of row numbers, longest rows first.

    `lengths` is the cost of each row in tokens; a batch's padded size, rows times its longest row,
    stays within `budget` tokens, except that a row longer than the budget is a batch of its own.
    Rows of equal length keep their order, so equal requests have equal plans.
    """
    if budget < 1:
        raise ValueError(f"the token budget of a batch must be 1 at least, not {budget}")
    costs = np.maximum(np.asarray(lengths, np.int64), 1)
    order = np.argsort(-costs, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        size = max(1, int(budget // costs[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches


def plan_groups(lengths: Rows, groups: Rows, shared: Rows, budget: int) -> list[Rows]:
    """Batches of row numbers that keep groups together, for models that compute what a group shares once.

    All three have shape (rows,): the tokens of each row, its group, and how many of its first tokens
    it shares with its whole group. A batch costs the tokens of its rows, shared ones once a group.
    Groups come largest first, as many in a batch as the budget holds; the rows of a group longest
    first. A group beyond the budget has batches of its own, of a row at least, that the shared tokens
    do not count for: these go before, by themselves.
    """
    if budget < 1:
        raise ValueError(f"the token budget of a batch must be 1 at least, not {budget}")
    order = np.lexsort((-lengths, groups))
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []
    costs = [int(shared[part[0]] + (lengths[part] - shared[part]).sum()) for part in parts]
    batches: list[Rows] = []
    filling: list[Rows] = []
    left = budget
    for place in sorted(range(len(parts)), key=lambda place: -costs[place]):
        part = parts[place]
        if costs[place] > budget:
            batches += _split(part, lengths[part] - shared[part], budget)
            continue
        if costs[place] > left:
            batches.append(np.concatenate(filling))
            filling, left = [], budget
        filling.append(part)
        left -= costs[place]
    return [*batches, np.concatenate(filling)] if filling else batches


def _split(rows: Rows, costs: Rows, budget: int) -> list[Rows]:
    found, start = [], 0
    while start < len(rows):
        count = max(1, int(np.searchsorted(np.cumsum(costs[start:]), budget, side="right")))
        found.append(rows[start : start + count])
        start += count
    return found


def plan_of(prepared: Any, budget: int) -> list[Rows]:
    """The plan of a prepared request: the one that its model makes (`plan(budget)`), else by length alone."""
    if hasattr(prepared, "plan"):
        own: list[Rows] = prepared.plan(budget)
        return own
    return plan_batches(prepared.lengths, budget)


def plan_digest(batches: Sequence[Rows]) -> str:
    """32 hex digits over the plan; a part of the key in half precision, where batching moves scores."""
    digest = Digest()
    for batch in batches:
        digest.add(np.ascontiguousarray(batch, "<i8").tobytes())
    return digest.hex()


def run_plan(
    batches: Sequence[Rows],
    missing: NDArray[np.bool_],
    compute: Callable[[Rows], NDArray[Any]],
    commit: Callable[[Rows, NDArray[Any]], None],
) -> None:
    """Compute the missing rows of every batch in the plan's order; commit each batch before the next.

    `compute` takes row numbers and returns one value (or vector) for each, in their order. When it
    runs out of memory the batch is computed in halves, and every later batch in as many parts.
    Raises HarnessError when a single row does not fit.
    """
    parts = 1
    for batch in batches:
        rows = batch[missing[batch]]
        if not len(rows):
            continue
        values, parts = compute_in_parts(rows, parts, compute)
        commit(rows, values)


def compute_in_parts(rows: Rows, parts: int, compute: Callable[[Rows], NDArray[Any]]) -> tuple[NDArray[Any], int]:
    """The values of a batch, computed in `parts` or, when memory runs out, in more; and in how many it was.

    Raises HarnessError when a single row does not fit.
    """

    def whole(parts: int) -> NDArray[Any]:
        return np.concatenate([compute(piece) for piece in np.array_split(rows, min(parts, len(rows)))])

    return fitting(parts, len(rows), whole)


def fitting(parts: int, most: int, compute: Callable[[int], _Found]) -> tuple[_Found, int]:
    """What `compute` gives when it is told in how many parts, twice as many whenever memory runs out; and in how many it was.

    Raises HarnessError where `most`, a text each, are not enough.
    """
    while True:
        try:
            return compute(parts), parts
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if parts >= most:
                raise HarnessError(
                    f"out of memory with a single text in the batch ({str(error) or type(error).__name__}): take a "
                    f"smaller max_length or dtype, or a device with more memory; what was scored is kept"
                ) from error
        # Only here has the error let go of what the batch had computed when it failed.
        _free_cached_memory()
        parts *= 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch, or Python's own, says that memory ran out."""
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in _OUT_OF_MEMORY)


def _free_cached_memory() -> None:
    """Whatever nothing holds any more goes back to the device, in one piece."""
    gc.collect()
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
