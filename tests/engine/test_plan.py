import weakref

import numpy as np
import pytest

from harness.engine import plan as engine_plan
from harness.engine.plan import (
    compute_in_parts,
    is_out_of_memory,
    plan_batches,
    plan_digest,
    plan_groups,
    run_plan,
)
from harness.errors import HarnessError


def test_the_plan_holds_every_row_once_longest_first_within_the_budget():
    lengths = np.random.default_rng(1).integers(1, 300, 500)
    plan = plan_batches(lengths, 1024)
    assert sorted(np.concatenate(plan)) == list(range(500))
    assert [lengths[row] for batch in plan for row in batch] == sorted(lengths, reverse=True)
    assert all(len(batch) * lengths[batch].max() <= 1024 for batch in plan)


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own():
    assert [list(batch) for batch in plan_batches([3, 50, 2], 10)] == [[1], [0, 2]]


def test_rows_of_equal_length_keep_their_order():
    assert [list(batch) for batch in plan_batches([5, 5, 5, 5], 10)] == [[0, 1], [2, 3]]


def test_a_plan_of_nothing_is_empty():
    assert plan_batches([], 10) == []


def made_groups(rows: int = 300):
    """(lengths, groups, shared) of rows in no order; a group has from one row to many."""
    numbers = np.random.default_rng(4)
    groups = (numbers.integers(0, 40, rows) ** 2) // 20
    shared = numbers.integers(0, 60, groups.max() + 1)[groups]
    return shared + numbers.integers(1, 80, rows), groups, shared


def test_groups_stay_together_and_a_batch_keeps_to_the_budget():
    lengths, groups, shared = made_groups()
    plan = plan_groups(lengths, groups, shared, 1000)
    assert sorted(np.concatenate(plan)) == list(range(300))
    own = lengths - shared
    for batch in plan:
        inside = np.unique(groups[batch])
        prefixes = sum(shared[groups == group][0] for group in inside)
        parted = [group for group in inside if (groups == group).sum() != (groups[batch] == group).sum()]
        if parted:
            assert list(inside) == parted, "a group that is parted has batches of its own"
            assert own[batch].sum() <= 1000
            assert prefixes + own[groups == parted[0]].sum() > 1000
        else:
            assert prefixes + own[batch].sum() <= 1000
    assert any(len(np.unique(groups[batch])) > 1 for batch in plan)
    assert len({tuple(np.unique(groups[batch])) for batch in plan}) < len(plan), "no group was parted"


def test_the_largest_group_comes_first_and_its_longest_row():
    lengths, groups, shared = made_groups()
    plan = plan_groups(lengths, groups, shared, 10**6)
    (batch,) = plan
    own = lengths - shared
    costs = [shared[groups == group][0] + own[groups == group].sum() for group in groups[batch]]
    assert costs == sorted(costs, reverse=True)
    for group in np.unique(groups):
        rows = batch[groups[batch] == group]
        assert lengths[rows].tolist() == sorted(lengths[rows], reverse=True)


def test_a_row_of_a_group_longer_than_the_budget_is_a_batch_of_its_own():
    plan = plan_groups(np.array([90, 5, 4]), np.array([0, 0, 1]), np.array([3, 3, 0]), 10)
    assert [batch.tolist() for batch in plan] == [[0], [1], [2]]
    assert plan_groups(np.array([], int), np.array([], int), np.array([], int), 10) == []


def test_the_digest_changes_with_the_plan():
    digests = {plan_digest(plan_batches([4, 3, 2, 1], budget)) for budget in (4, 6, 8, 100)}
    assert len(digests) == 4


def test_only_missing_rows_are_computed_and_each_batch_is_committed_before_the_next():
    events = []

    def compute(rows):
        events.append(("compute", rows.tolist()))
        return rows.astype(float)

    run_plan(
        plan_batches([1] * 6, 2),
        np.array([True, False, True, True, False, False]),
        compute,
        lambda rows, values: events.append(("commit", rows.tolist(), values.tolist())),
    )
    assert events == [
        ("compute", [0]),
        ("commit", [0], [0.0]),
        ("compute", [2, 3]),
        ("commit", [2, 3], [2.0, 3.0]),
    ]


def test_out_of_memory_halves_the_batch_and_goes_on():
    sizes, committed = [], {}

    def compute(rows):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return rows * 10

    run_plan(
        plan_batches([1] * 16, 8),
        np.ones(16, bool),
        compute,
        lambda rows, values: committed.update(zip(rows.tolist(), values.tolist(), strict=True)),
    )
    assert committed == {row: row * 10 for row in range(16)}
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "HIP out of memory. Tried to allocate 2.00 GiB",
        "MPS backend out of memory (MPS allocated: 17.9 GB)",
        "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    ],
)
def test_memory_that_runs_out_below_torch_is_known_too(said: str):
    assert is_out_of_memory(RuntimeError(said))
    assert not is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"))


def test_what_a_batch_held_when_memory_ran_out_is_let_go_before_it_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    """A small model with its activations: an error's traceback would hold them, and the halves would not fit either."""
    import torch

    layer = torch.nn.Linear(4, 1)
    held: list[weakref.ref] = []
    freed: list[bool] = []

    def compute(rows):
        activations = layer(torch.ones(len(rows), 4))
        held.append(weakref.ref(activations))
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return np.ones(len(rows))

    monkeypatch.setattr(engine_plan, "_free_cached_memory", lambda: freed.append(held[-1]() is None))
    values, parts = compute_in_parts(np.arange(8), 1, compute)
    assert (values.tolist(), parts, freed) == ([1.0] * 8, 4, [True, True])


def test_out_of_memory_with_one_row_says_what_to_do():
    def compute(rows):
        raise MemoryError

    with pytest.raises(HarnessError, match="smaller max_length"):
        run_plan(plan_batches([1], 8), np.ones(1, bool), compute, lambda *_: None)


def test_another_error_of_the_model_is_not_taken_for_memory():
    def compute(rows):
        raise RuntimeError("index out of range in self")

    with pytest.raises(RuntimeError, match="index out of range"):
        run_plan(plan_batches([1, 1], 8), np.ones(2, bool), compute, lambda *_: None)
