"""The yardstick itself: what it measures against, what it lets through and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from exactness import DRAWS, LARGEST, MULTIPLE, Yardstick, both, check_unit, same_model
from torch import nn


@pytest.fixture
def model() -> Any:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(16, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 1)).eval()


def logits(model: Any, rows: int = 2) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.linspace(-1, 1, 16 * rows).reshape(rows, 16))[:, 0].numpy()


def test_tensors_made_float64_on_their_way_give_what_a_model_in_float64_gives(model):
    on_its_way, whole = both(lambda: logits(model)), both(logits, model)
    assert on_its_way.exact.dtype == whole.exact.dtype == np.float64
    np.testing.assert_array_equal(on_its_way.exact, whole.exact)
    assert logits(model).dtype == np.float32, "the model stays as it is"
    assert 0 < np.abs(whole.plain - whole.exact).max() < LARGEST


def test_draws_are_the_same_each_time_and_fewer_where_there_are_many_numbers(model):
    few, many = both(logits, model), both(lambda model: logits(model, 100), model)
    assert (len(few.rounded), len(many.rounded)) == (DRAWS, 1)
    np.testing.assert_array_equal(few.rounded, both(logits, model).rounded)
    assert len({each.tobytes() for each in few.rounded}) == DRAWS


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_what_is_wrong_by_more_than_the_multiple_is_refused(model, share: float):
    yard = both(logits, model)
    found = yard.exact + share * MULTIPLE * yard.error
    if share < 1:
        yard.check(found)
    else:
        with pytest.raises(AssertionError, match="wrong by"):
            yard.check(found)


def test_a_plain_way_of_another_model_is_no_yardstick(model):
    exact = both(logits, model).exact
    other = Yardstick(exact * (1 + 2 * LARGEST), exact)
    with pytest.raises(AssertionError, match="another model"):
        other.check(exact)
    with pytest.raises(AssertionError, match="another model"):
        same_model(exact * (1 + 3 * LARGEST), exact)


def test_a_run_that_leaves_out_one_of_the_best_is_refused():
    yard = Yardstick(np.array([[3.0, 2, 1]]), np.array([[3.0, 2, 1]]))
    yard.check_best({"q": {"b": 2.0, "a": 3.0}}, ["q"], ["a", "b", "c"], 2)
    for run in ({"a": 3.0, "c": 1.0}, {"a": 3.0}, {"a": 3.0, "b": 2.1}):
        with pytest.raises(AssertionError):
            yard.check_best({"q": run}, ["q"], ["a", "b", "c"], 2)


def test_a_vector_of_another_length_is_no_unit_vector():
    check_unit(np.array([[0.6, 0.8]], np.float32))
    with pytest.raises(AssertionError):
        check_unit(np.array([[0.6, 0.8001]], np.float32))
