"""Bets against the tolerance: how often they are wrong however often one looks, and how soon they are right."""

from __future__ import annotations

import numpy as np
import pytest

from harness.measures.betting import Population, log_wealth, verdict_so_far

TOLERANCE, ALPHA = 0.01, 0.1


def task(generator: np.random.Generator, queries: int, drop: float, spread: float = 0.15):
    """(baseline, current) values in [0, 1], the second lower by exactly `drop` on average; half do not move."""
    before = np.round(generator.beta(1.5, 1.0, queries), 2)
    moved = np.where(generator.random(queries) < 0.5, 0.0, generator.normal(0, spread, queries))
    after = np.clip(before + moved, 0, 1)
    if after.mean() < before.mean() - drop:
        before, after = after, before
    return before, after * ((before.mean() - drop) / after.mean())


def first_verdict(before: np.ndarray, after: np.ndarray, order: np.ndarray, rows: int = 1) -> tuple[str | None, int]:
    population = Population.of([[value] for value in before[order]])
    differences = (after - before)[order]
    for seen in range(1, order.size + 1, max(1, order.size // 60)):
        verdict = verdict_so_far(population, differences[:seen], TOLERANCE, ALPHA, rows)
        if verdict:
            return verdict, seen
    return None, order.size


@pytest.mark.parametrize("queries", [40, 200])
def test_a_drop_of_the_tolerance_is_seldom_called_either_way_however_often_one_looks(queries: int):
    generator = np.random.default_rng(3)
    before, after = task(generator, queries, TOLERANCE)
    found = [first_verdict(before, after, generator.permutation(queries))[0] for _ in range(150)]
    allowed = ALPHA + 2 * (ALPHA * (1 - ALPHA) / 150) ** 0.5
    assert found.count("failed") / 150 <= allowed
    assert found.count("passed") / 150 <= allowed


def test_queries_drawn_anew_fail_no_oftener_though_half_of_their_tasks_dropped_by_more():
    generator = np.random.default_rng(4)
    before, after = task(generator, 20_000, TOLERANCE)
    beyond = failed = 0
    for _ in range(150):
        chosen = generator.integers(0, before.size, 150)
        one, other = before[chosen], after[chosen]
        beyond += one.mean() - other.mean() > TOLERANCE
        failed += first_verdict(one, other, np.arange(150))[0] == "failed"
    assert beyond > 50
    assert failed / 150 <= ALPHA + 2 * (ALPHA * (1 - ALPHA) / 150) ** 0.5


def test_wealth_of_a_true_null_does_not_grow_on_average():
    generator = np.random.default_rng(5)
    values = generator.choice([-0.4, -0.1, 0.0, 0.5], 60)
    values -= values.mean()
    floor = np.full(60, values.min())
    last = [np.exp(log_wealth(generator.permutation(values), floor, (0.05, 0.2), whole=60)[30]) for _ in range(2000)]
    assert np.mean(last) == pytest.approx(1.0, abs=4 * np.std(last) / 2000**0.5)


def test_a_drop_of_five_hundredths_is_caught_with_a_quarter_of_a_thousand_queries():
    generator = np.random.default_rng(6)
    found = []
    for _ in range(15):
        before, after = task(generator, 1000, 0.05)
        found.append(first_verdict(before, after, generator.permutation(1000)))
    assert {verdict for verdict, _ in found} == {"failed"}
    assert np.median([seen for _, seen in found]) <= 250


def test_equal_values_pass_when_too_few_are_left_to_make_up_the_tolerance():
    before = np.ones(1000)
    verdict, seen = first_verdict(before, before, np.arange(1000))
    assert verdict == "passed"
    assert 200 <= seen <= 260  # ten queries that lose all would be the tolerance: .9 are seen among the first 206


def test_more_rows_need_more_to_fail_and_no_more_to_pass():
    generator = np.random.default_rng(7)
    before, after = task(generator, 600, 0.08)
    order = generator.permutation(600)
    alone, among = first_verdict(before, after, order), first_verdict(before, after, order, rows=100)
    assert alone[0] == among[0] == "failed"
    assert alone[1] < among[1]
    assert first_verdict(before, before, order) == first_verdict(before, before, order, rows=100)


def test_a_task_that_is_at_the_tolerance_to_the_last_query_is_not_decided():
    before, after = np.ones(50), np.full(50, 0.99)
    assert first_verdict(before, after, np.arange(50)) == (None, 50)


def test_clusters_count_by_their_queries():
    population = Population.of([[1.0, 1.0, 1.0], [0.5]])
    assert population.weights.tolist() == [1.5, 0.5]
    assert population.least.tolist() == [-1.5, -0.25]
    assert population.most.tolist() == [0.0, 0.25]
