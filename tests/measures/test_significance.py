"""Intervals and paired tests against scipy, against exact arithmetic, and against worked examples."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from scipy import stats

from harness.errors import HarnessError
from harness.measures.significance import Units, detectable_drop, holm, paired_randomisation, units_of


def paired_values(queries: int, shift: float = 0.02, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two systems' values of a measure in [0, 1], correlated as those of one query are."""
    rng = np.random.default_rng(seed)
    first = rng.random(queries)
    return first, np.clip(first + rng.normal(shift, 0.1, queries), 0, 1)


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
    p_values = [paired_randomisation(rng.random(40), rng.random(40)) for _ in range(300)]
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


def units_for(differences: np.ndarray, strata: np.ndarray | None = None) -> Units:
    """Queries of equal weight with these differences."""
    share = np.full(len(differences), 1 / len(differences))
    return Units(np.asarray(differences) * share, share, float(np.abs(differences).mean()), strata)


def test_the_detectable_drop_of_a_worked_example():
    differences = np.tile([0.1, -0.1], 15)
    error = math.sqrt(30 * 0.01 / 29 / 30)
    t = stats.t(29).ppf
    unsure = math.sqrt(1 + t(0.975) ** 2 / 58)
    found = detectable_drop(units_for(differences), 0.025)
    assert found == pytest.approx((t(0.975) + t(0.8) * unsure) * error, rel=1e-5)
    assert detectable_drop(units_for(differences), 0.005, power=0.5) == pytest.approx(t(0.995) * error, rel=1e-5)
    # The noncentral t has the same quantile: the drop in units of its error.
    assert found / error == pytest.approx(stats.nct(29, t(0.975)).ppf(0.8), rel=0.02)


def test_where_only_the_pattern_seen_is_rare_enough_all_signs_must_agree():
    """Seven queries at 0.01: p is 1 / 128 when all seven drop, and 2 / 128 at the next."""
    differences = np.linspace(-1, 1, 7)
    drop, spread = detectable_drop(units_for(differences), 0.01), differences.std(ddof=1)
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


@pytest.mark.parametrize(("queries", "alpha", "least"), [(20, 0.05, 0.0), (60, 0.05 / 3, 0.0), (300, 0.05, 0.04)])
def test_a_drop_of_the_detectable_size_is_found_as_often_as_the_power_says(queries, alpha, least):
    """By the gate's rule, with the test itself."""
    rng = np.random.default_rng(11)
    pool = pool_of_differences(rng)
    drops = [detectable_drop(units_for(rng.choice(pool, queries)), alpha, least=least) for _ in range(40)]
    drop = float(np.median(drops))
    found = 0
    for _ in range(200):
        flips = units_for(rng.choice(pool, queries) - drop).flips()
        found += flips.p_against(-least, above=False) <= alpha
    # Three standard errors of a share of 0.8 in 200 trials, and 0.03 for the approximation.
    assert found / 200 == pytest.approx(0.8, abs=0.115)


def test_a_drop_within_the_tolerance_is_never_said_to_be_found():
    units = units_for(np.tile([0.001, -0.001], 500))
    assert detectable_drop(units) < 0.001
    assert 0.01 < detectable_drop(units, least=0.01) < 0.011


def test_what_the_data_cannot_say_is_none():
    assert detectable_drop(units_for([-0.1])) is None
    assert detectable_drop(units_for([0.0, 0.0])) is None
    assert detectable_drop(units_for(np.linspace(-1, 1, 4))) is None
    assert detectable_drop(units_for(np.linspace(-1, 1, 5))) is not None
    assert detectable_drop(units_for(np.linspace(-1, 1, 6), np.array([0, 0, 0, 0, 0, 1]))) is None
    assert detectable_drop(units_for(np.linspace(-1, 1, 500)), alpha=0.05 / 600) is None


def test_the_freedom_of_several_tasks_is_satterthwaites():
    rng = np.random.default_rng(4)
    one, other = rng.normal(0, 1, 40), rng.normal(0, 1, 60)
    differences, strata = np.append(one - one.mean(), other - other.mean()), np.array([0] * 40 + [1] * 60)
    parts = np.array([40 * one.var(ddof=1), 60 * other.var(ddof=1)]) / 100**2
    freedom = parts.sum() ** 2 / (parts**2 / [39, 59]).sum()
    t = stats.t(freedom).ppf
    expected = (t(0.95) + t(0.8) * math.sqrt(1 + t(0.95) ** 2 / (2 * freedom))) * math.sqrt(parts.sum())
    assert detectable_drop(units_for(differences, strata)) == pytest.approx(expected, rel=1e-5)


# Mistakes.


def test_a_paired_test_refuses_what_does_not_pair():
    with pytest.raises(HarnessError, match="no query"):
        paired_randomisation([], [])
    with pytest.raises(ValueError, match="2 and 3 values"):
        units_of([0.1, 0.2], [0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="value 1 is nan"):
        units_of([0.1, 0.2], [0.1, math.nan])
    with pytest.raises(ValueError, match="shape"):
        paired_randomisation([[0.1, 0.2]], [[0.1, 0.2]])
