"""Intervals and paired tests against scipy, against exact arithmetic, and against worked examples."""

from __future__ import annotations

import itertools
import math
import random
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from harness.errors import HarnessError
from harness.measures.significance import (
    SEED,
    bootstrap_mean,
    detectable_drop,
    holm,
    paired_bootstrap,
    paired_randomisation,
)
from harness.types import Interval


def paired_values(queries: int, shift: float = 0.02, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two systems' values of a measure in [0, 1], correlated as those of one query are."""
    rng = np.random.default_rng(seed)
    first = rng.random(queries)
    return first, np.clip(first + rng.normal(shift, 0.1, queries), 0, 1)


# The bootstrap.


@pytest.mark.parametrize("queries", [1, 2, 13, 301, 1500])
@pytest.mark.parametrize("level", [0.95, 0.8])
def test_the_paired_bootstrap_equals_scipys_percentile_interval_draw_for_draw(queries, level):
    first, second = paired_values(queries)
    interval = paired_bootstrap(first, second, resamples=2_000, level=level)
    if queries == 1:
        assert interval == Interval(second[0] - first[0], second[0] - first[0])
        return
    theirs = stats.bootstrap(
        (first, second),
        lambda x, y, axis: np.mean(y - x, axis=axis),
        paired=True,
        n_resamples=2_000,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    assert interval == pytest.approx(tuple(theirs), abs=1e-15)


def test_another_seed_moves_the_interval_by_no_more_than_its_monte_carlo_error():
    first, second = paired_values(400)
    spread = np.std(second - first) / math.sqrt(400)
    # A quantile q of m draws has the standard error sqrt(q (1 - q) / m) / density; at 2.5 % of a
    # normal the density is 0.0584 / spread. Two such ends differ by sqrt(2) of it; six times that
    # happens by chance once in hundreds of millions.
    error = math.sqrt(0.025 * 0.975 / 10_000) / 0.0584 * spread
    one, other = paired_bootstrap(first, second), paired_bootstrap(first, second, seed=SEED + 1)
    assert one != other
    assert one == pytest.approx(other, abs=6 * math.sqrt(2) * error)


def test_the_interval_holds_the_true_mean_as_often_as_its_level_says():
    rng = np.random.default_rng(5)
    trials, queries = 400, 60
    held = sum(
        interval.low <= 0.3 <= interval.high
        for interval in (bootstrap_mean(rng.normal(0.3, 1, queries), resamples=1_000) for _ in range(trials))
    )
    # The percentile bootstrap of 60 normal values covers a little less than its level (about 94 %);
    # 400 trials have a standard error of 1.1 points.
    assert 0.90 <= held / trials <= 0.98


def test_one_query_has_the_interval_of_that_point():
    assert bootstrap_mean([0.37]) == Interval(0.37, 0.37)
    assert paired_bootstrap([0.25], [0.75]) == Interval(0.5, 0.5)


def test_equal_runs_have_the_interval_zero():
    first, _ = paired_values(50)
    assert paired_bootstrap(first, first) == Interval(0.0, 0.0)


def test_the_same_values_give_the_same_interval_and_p():
    first, second = paired_values(200)
    assert paired_bootstrap(first, second) == paired_bootstrap(first.tolist(), second.tolist())
    assert paired_randomisation(first, second) == paired_randomisation(first.tolist(), second.tolist())
    assert bootstrap_mean(second - first) == paired_bootstrap(first, second)


def test_ten_thousand_queries_need_little_memory():
    first, second = paired_values(10_000)
    tracemalloc.start()
    try:
        paired_bootstrap(first, second, resamples=1_000)
        paired_randomisation(first, second, resamples=1_000)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


# The randomisation test.


def exact_p(hundredths: list[int]) -> float:
    """The two-sided sign-flip p by counting, in whole numbers."""
    seen = abs(sum(hundredths))
    sums = [
        abs(sum(s * d for s, d in zip(signs, hundredths, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(hundredths))
    ]
    return sum(far >= seen for far in sums) / len(sums)


def test_a_small_randomisation_test_is_exact_to_the_last_tie():
    rng = random.Random(1)
    for _ in range(150):
        queries = rng.randrange(1, 11)
        first = [rng.randrange(101) for _ in range(queries)]
        second = [min(100, max(0, value + rng.randrange(-6, 8))) for value in first]
        expected = exact_p([b - a for a, b in zip(first, second, strict=True)])
        assert paired_randomisation(np.array(first) / 100, np.array(second) / 100) == expected


def test_differences_that_cancel_on_paper_tie_in_spite_of_rounding():
    assert sum([0.1, 0.2, -0.3]) != 0
    assert paired_randomisation([0, 0, 0], [0.1, 0.2, -0.3]) == 1.0
    assert paired_randomisation([0.3, 0.1 + 0.2], [0.1 + 0.2, 0.3]) == 1.0


def scipy_p(first: np.ndarray, second: np.ndarray, resamples: int, seed: int = 1) -> float:
    return stats.permutation_test(
        (first, second),
        lambda x, y, axis: np.mean(y - x, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=200,
        rng=seed,
    ).pvalue


@pytest.mark.parametrize("queries", [2, 5, 9, 13])
def test_the_exact_randomisation_test_equals_scipys(queries):
    for seed in range(5):
        first, second = paired_values(queries, shift=0.05, seed=seed)
        assert paired_randomisation(first, second) == pytest.approx(scipy_p(first, second, 10_000), abs=1e-15)


@pytest.mark.parametrize(("queries", "shift"), [(14, 0.05), (60, 0.01), (300, 0.01), (300, 0.03)])
def test_the_sampled_randomisation_test_agrees_with_scipys(queries, shift):
    first, second = paired_values(queries, shift=shift)
    ours, theirs = paired_randomisation(first, second), scipy_p(first, second, 10_000)
    # Ours counts both tails: standard error sqrt(p (1 - p) / m). scipy doubles one tail:
    # 2 sqrt(p/2 (1 - p/2) / m). Five standard errors of the difference, and the 2 of the + 1.
    p = max(ours, theirs)
    error = math.sqrt(p * (1 - p) / 10_000 + 4 * p / 2 * (1 - p / 2) / 10_000)
    assert abs(ours - theirs) <= 5 * error + 2 / 10_001


def test_a_sampled_p_is_never_zero():
    first = np.linspace(0, 0.5, 100)
    assert paired_randomisation(first, first + 0.3) == 1 / 10_001
    assert paired_randomisation(first, first + 0.3, resamples=99) == 1 / 100


def test_queries_with_equal_values_change_neither_an_exact_p_nor_its_exactness():
    first, second = paired_values(8)
    unchanged = np.full(500, 0.5)
    padded = paired_randomisation(np.append(first, unchanged), np.append(second, unchanged))
    assert padded == paired_randomisation(first, second)


def test_no_difference_at_all_has_the_p_one():
    assert paired_randomisation([0.5], [0.5]) == 1.0
    assert paired_randomisation(np.ones(1000), np.ones(1000)) == 1.0


def test_one_query_cannot_be_significant():
    assert paired_randomisation([0.0], [1.0]) == 1.0


def test_the_direction_of_the_difference_does_not_matter_to_p():
    first, second = paired_values(12)
    assert paired_randomisation(first, second) == paired_randomisation(second, first)


def test_p_values_are_uniform_when_nothing_differs():
    rng = np.random.default_rng(8)
    p_values = [paired_randomisation(rng.random(40), rng.random(40), resamples=999) for _ in range(300)]
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


# Holm.


def test_holms_adjustment_of_a_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], abs=1e-15)


def test_holms_adjustment_keeps_the_order_and_stays_within_one():
    assert holm([]) == []
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8, 0.5]) == [1.0, 1.0, 1.0]
    assert holm([0.02, 0.02]) == [0.04, 0.04]


def test_holms_adjustment_rejects_what_the_step_down_procedure_rejects():
    rng = random.Random(2)
    for _ in range(200):
        p_values = [rng.random() ** 4 for _ in range(rng.randrange(1, 12))]
        rejected = set()
        for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
            if p_values[index] > 0.05 / (len(p_values) - place):
                break
            rejected.add(index)
        assert {i for i, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(p):
    with pytest.raises(ValueError, match="no p value"):
        holm([0.5, p])


# The power line.


def test_the_detectable_drop_of_a_worked_example():
    differences = np.tile([0.1, -0.1], 15)
    error = math.sqrt(30 * 0.01 / 29 / 30)
    t = stats.t(29).ppf
    unsure = math.sqrt(1 + t(0.975) ** 2 / 58)
    assert detectable_drop(differences) == pytest.approx((t(0.975) + t(0.8) * unsure) * error, rel=1e-5)
    assert detectable_drop(differences, alpha=0.01, power=0.5) == pytest.approx(t(0.995) * error, rel=1e-5)
    # The noncentral t has the same quantile: the drop in units of its error.
    exact = stats.nct(29, t(0.975)).ppf(0.8)
    assert detectable_drop(differences) / error == pytest.approx(exact, rel=0.02)


def test_where_only_the_first_step_of_p_is_small_enough_all_signs_must_agree():
    """Seven queries at 0.02: p is 2 / 128 when all seven drop, and 4 / 128 at the next."""
    differences = np.linspace(-1, 1, 7)
    drop, spread = detectable_drop(differences, alpha=0.02), differences.std(ddof=1)
    assert stats.norm.cdf(drop / spread) ** 7 == pytest.approx(0.8, abs=0.1)
    assert stats.norm.cdf(drop / spread) ** 7 >= 0.8 - 1e-9


@pytest.mark.parametrize("freedom", [5, 8, 20, 300])
@pytest.mark.parametrize("p", [0.5, 0.8, 0.975, 0.9995])
def test_students_quantile_is_scipys(freedom, p):
    from harness.measures.significance import _student

    assert _student(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=6e-3, abs=1e-12)


def pool_of_differences(rng: np.random.Generator) -> np.ndarray:
    """Differences of two runs of one system on nDCG@10: many zeros, and more near them than a normal has."""
    quality = rng.beta(1.2, 0.9, 20_000)
    one, two = (np.round(rng.beta(0.2 + 6 * quality, 0.2 + 6 * (1 - quality)), 1) for _ in range(2))
    differences = np.where(rng.random(20_000) < 0.4, 0.0, two - one)
    return differences - differences.mean()


@pytest.mark.parametrize(
    ("queries", "alpha", "least"), [(10, 0.05, 0.0), (20, 0.05 / 7, 0.0), (60, 0.05 / 3, 0.0), (300, 0.05, 0.04)]
)
def test_a_drop_of_the_detectable_size_is_found_as_often_as_the_power_says(queries, alpha, least):
    """By the gate's rule, with the randomisation test itself."""
    rng = np.random.default_rng(11)
    pool = pool_of_differences(rng)
    # The stated drop of a sample with the pool's own spread.
    sample = np.resize([1.0, -1.0], queries)
    drop = detectable_drop(sample * pool.std() / sample.std(ddof=1), alpha, least=least)
    found = 0
    for _ in range(400):
        drawn = rng.choice(pool, queries) - drop
        found += -drawn.mean() > least and paired_randomisation(np.zeros(queries), drawn, resamples=2_000) <= alpha
    # Three standard errors of a share of 0.8 in 400 trials, and 0.03 for the approximation.
    assert found / 400 == pytest.approx(0.8, abs=0.09)


def test_a_drop_within_the_tolerance_is_never_said_to_be_found():
    differences = np.tile([0.001, -0.001], 500)
    assert detectable_drop(differences) < 0.001
    assert 0.01 < detectable_drop(differences, least=0.01) < 0.011


def test_what_the_data_cannot_say_is_none():
    assert detectable_drop([-0.1]) is None
    assert detectable_drop([0.0, 0.0]) is None
    assert detectable_drop(np.linspace(-1, 1, 5), alpha=0.05) is None
    assert detectable_drop(np.linspace(-1, 1, 6), alpha=0.05) is not None
    assert detectable_drop(np.linspace(-1, 1, 6), alpha=0.05, strata=[0, 0, 0, 0, 0, 1]) is None
    assert detectable_drop(np.linspace(-1, 1, 500), alpha=0.05 / 600) is None


def test_groups_are_drawn_apart_and_add_up():
    rng = np.random.default_rng(4)
    differences, strata = np.append(rng.normal(-3, 1, 40), rng.normal(3, 1, 60)), [0] * 40 + [1] * 60
    parts = np.array([40 * differences[:40].var(ddof=1), 60 * differences[40:].var(ddof=1)]) / 100**2
    freedom = parts.sum() ** 2 / (parts**2 / [39, 59]).sum()
    t = stats.t(freedom).ppf
    expected = (t(0.975) + t(0.8) * math.sqrt(1 + t(0.975) ** 2 / (2 * freedom))) * math.sqrt(parts.sum())
    assert detectable_drop(differences, strata=strata) == pytest.approx(expected, rel=1e-5)


def test_an_interval_within_groups_is_scipys_of_several_samples():
    rng = np.random.default_rng(9)
    small, large = rng.normal(0.2, 0.3, 12), rng.normal(-0.1, 0.1, 80)
    # Weighted so that the plain mean is the mean of the two means.
    values = np.append(small / 12, large / 80) * 92 / 2
    ours = bootstrap_mean(values, strata=[0] * 12 + [1] * 80)
    theirs = stats.bootstrap(
        (small, large), lambda x, y, axis: (x.mean(axis=axis) + y.mean(axis=axis)) / 2,
        n_resamples=10_000, method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert sum(values) / 92 == pytest.approx((small.mean() + large.mean()) / 2)
    # Monte-Carlo error of an end, as above, of both.
    spread = math.hypot(small.std() / math.sqrt(12), large.std() / math.sqrt(80)) / 2
    assert ours == pytest.approx(tuple(theirs), abs=5 * math.sqrt(2 * 0.025 * 0.975 / 10_000) / 0.0584 * spread)


# Mistakes.


@pytest.mark.parametrize("statistic", [paired_bootstrap, paired_randomisation])
def test_a_paired_statistic_refuses_what_does_not_pair(statistic):
    with pytest.raises(HarnessError, match="no query"):
        statistic([], [])
    with pytest.raises(ValueError, match="2 and 3 values"):
        statistic([0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="value 1 is nan"):
        statistic([0.1, 0.2], [0.1, math.nan])
    with pytest.raises(ValueError, match="shape"):
        statistic([[0.1, 0.2]], [[0.1, 0.2]])


@pytest.mark.parametrize("statistic", [bootstrap_mean, detectable_drop])
def test_a_statistic_of_differences_refuses_none_and_what_is_not_finite(statistic):
    with pytest.raises(HarnessError, match="no query"):
        statistic([])
    with pytest.raises(ValueError, match="value 1 is nan"):
        statistic([0.1, math.nan])
    with pytest.raises(ValueError, match="each query has one group"):
        statistic([0.1, 0.2], strata=[0])
