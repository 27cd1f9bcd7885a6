"""Weights that are not finite are found, whatever else a tensor holds."""

from __future__ import annotations

import math

import pytest
import torch

from harness.models.loading import all_finite

LARGEST = torch.finfo(torch.float32).max


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    ("values", "finite"),
    [
        ([], True),
        ([0.0, -1.5], True),
        ([math.nan], False),
        ([1.0, math.inf], False),
        ([-math.inf, 2.0], False),
        ([math.inf, -math.inf], False),
        ([math.nan, math.inf], False),
    ],
)
def test_one_number_that_is_not_finite_is_enough(values: list[float], finite: bool, dtype: torch.dtype):
    assert all_finite(torch.tensor(values, dtype=dtype)) is finite
    filled = torch.cat([torch.ones(1_000, dtype=dtype), torch.tensor(values, dtype=dtype)]).requires_grad_()
    assert all_finite(filled) is finite


def test_a_sum_that_overflows_is_no_sign_of_it():
    assert all_finite(torch.full((4,), LARGEST))
    assert not all_finite(torch.tensor([LARGEST, LARGEST, math.nan]))
    assert all_finite(torch.full((70_000,), 60_000.0, dtype=torch.float16))
