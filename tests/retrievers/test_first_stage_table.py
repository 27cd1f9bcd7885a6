"""The figures of first stages beside their packages: a difference is seen, and what a list lacks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import first_stages

SCORES = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}


@pytest.mark.parametrize(
    ("found", "same", "difference", "short"),
    [
        ({"a": 4.0, "b": 3.0}, 1, 0.0, 0.0),
        ({"a": 4.0, "b": 3.2}, 1, 0.05, 0.0),
        ({"a": 4.0, "c": 2.0}, 0, 0.0, 0.25),
    ],
)
def test_a_list_is_compared_with_every_score_of_the_oracle(found: dict, same: int, difference: float, short: float):
    row = first_stages.compared("late", "an oracle", {"q": found}, lambda _: SCORES, 0.0)
    assert (row.queries, row.same) == (1, same)
    assert (row.difference, row.short) == (pytest.approx(difference), short)
    assert row.good is not (difference > 0 or short > 0)


def test_a_row_of_a_matrix_is_the_scores_of_a_query():
    whole = first_stages.by_products(["a", "b"], ["q1", "q2"], lambda place: np.array([[1, 2], [3, 4]])[place])
    assert whole("q2") == {"a": 3, "b": 4}
