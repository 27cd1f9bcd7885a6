"""The interval is the test's inversion: it agrees with p always, covers what it says, and costs little."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from harness.measures.family import Family, corrected
from harness.measures.flips import LEAST_MOVED, SignFlips
from harness.measures.significance import holm, judged, paired_randomisation, units_of


def ndcg_like(rng: np.random.Generator, queries: int, gain: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two systems' nDCG@10: half of the queries tie, many are 0 or 1; the second gains where it can."""
    quality = rng.beta(1.2, 0.9, queries)
    one, two = (rng.beta(0.2 + 6 * quality, 0.2 + 6 * (1 - quality)) for _ in range(2))
    one, two = (np.where(side < 0.1, 0.0, np.where(side > 0.9, 1.0, side)) for side in (one, two))
    two = np.where(rng.random(queries) < 0.4, one, two)
    return one, np.where(rng.random(queries) < gain, 1.0, two)


@pytest.mark.parametrize("units", [5, 9, 40, 1500])
def test_figures_flipped_together_have_the_intervals_of_each(units):
    rng = np.random.default_rng(units)
    figures = 150 if units < 10 else 6
    sums = rng.normal(0.3, 1.0, (units, figures)) / units
    sums[rng.random(sums.shape) < 0.3 * (np.arange(figures) % 3 == 0)] = 0.0
    weights, scales = np.full(units, 1 / units), np.abs(sums).sum(axis=0)
    moved = np.count_nonzero(sums, axis=0)
    each = dict(SignFlips.of_each(sums, weights, scales, moved))
    assert sorted(each) == list(range(figures))
    for place, (column, scale) in enumerate(zip(sums.T, scales, strict=True)):
        own, alone = each[place].interval(), SignFlips.of(column, weights, scale).interval()
        assert (own is None) == (alone is None) == (np.count_nonzero(column) < LEAST_MOVED)
        assert own is None or tuple(own) == pytest.approx(tuple(alone), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_an_end_is_the_order_statistic_of_all_subset_means(seed):
    """Sorted whole, each of the four unseen sums added."""
    rng = np.random.default_rng(seed)
    sums = rng.normal(0.2, 1.0, 30).round(seed) / 30
    flips = SignFlips.of(sums, np.full(30, 1 / 30), 1.0)
    far = flips.farthest
    for unseen in ((0.0,), (-far, 0.0, 0.0, far)):
        rows = [(flips.sums + extra)[flips.weights > 1e-12] for extra in unseen]
        means = np.sort(np.concatenate([row / flips.weights[flips.weights > 1e-12] for row in rows]))
        nothing = [flips.sums[flips.weights <= 1e-12] + extra for extra in unseen]
        allowed = int(0.05 * flips.sums.size * len(unseen) / 2 + 1e-9)
        low = allowed - sum(int((each <= 0).sum()) for each in nothing)
        high = allowed - sum(int((each >= 0).sum()) for each in nothing)
        assert flips._ends([(extra, 0.0) for extra in unseen], 0.05) == (means[low], means[means.size - 1 - high])


@pytest.mark.parametrize("queries", [6, 9, 13, 14, 20, 50, 300])
def test_the_interval_excludes_0_exactly_when_p_is_at_most_5_percent(queries):
    rng = np.random.default_rng(queries)
    seen = set()
    for place in range(60):
        first, second = ndcg_like(rng, queries, gain=place % 4 * 3 / queries)
        found = judged(units_of(first, second))
        if (first != second).sum() < LEAST_MOVED:
            assert (found.low, found.high, found.p > 0.05) == (None, None, True)
            continue
        excluded = found.low > 0 or found.high < 0
        assert excluded == (found.p <= 0.05), found
        assert found.low <= found.difference <= found.high
        seen.add(excluded)
    assert queries < 9 or seen == {True, False}


@pytest.mark.parametrize("queries", [9, 15, 30, 60])
def test_the_interval_covers_the_true_mean_of_differences_as_ndcg_has_them(queries):
    rng = np.random.default_rng(queries)
    for gain in (0.0, 0.15):
        first, second = ndcg_like(rng, 200_000, gain)
        pool, trials = second - first, 400
        held = shown = 0
        while shown < trials:
            found = judged(units_of(np.zeros(queries), rng.choice(pool, queries)))
            if found.low is not None:
                shown += 1
                held += found.low <= pool.mean() <= found.high
        # The rate itself is at least .94 (benchmarks/aa.py); two and a half standard errors of 400 trials.
        assert held / trials >= 0.94 - 0.03


@pytest.mark.parametrize("null", [-0.1, 0.0, 0.07])
def test_p_against_a_null_value_is_counted_over_every_pattern(null):
    """By the definition, in whole numbers: two units more, as far out as the farthest, except against 0."""
    hundredths = [30, -20, 5, 0, 0, 45, 10]
    size = len(hundredths)
    apart = [Fraction(value, 100) - Fraction(str(null)) for value in hundredths]
    mean = Fraction(sum(hundredths), 100 * size)
    far = max(abs(Fraction(value, 100) - mean) for value in hundredths)
    more = [far, far] if null else []
    sums = [
        sum(sign * value for sign, value in zip(signs, [*apart, *more], strict=True))
        for signs in itertools.product((1, -1), repeat=size + len(more))
    ]
    units = units_of(np.zeros(size), np.array(hundredths) / 100)
    plain = [sum(s * v for s, v in zip(signs, apart, strict=True)) for signs in itertools.product((1, -1), repeat=size)]
    above, below = (
        max(sum(sign * value >= sign * sum(apart) for value in column) / len(column) for column in (sums, plain))
        for sign in (1, -1)
    )
    assert units.flips().p_against(null, above=True) == pytest.approx(above, abs=1e-12)
    assert units.flips().p_against(null, above=False) == pytest.approx(below, abs=1e-12)


def test_the_ends_are_where_p_against_them_crosses_the_level():
    rng = np.random.default_rng(2)
    for queries in (13, 40):
        first, second = ndcg_like(rng, queries)
        flips = units_of(first, second).flips()
        low, high = flips.interval()
        assert flips.p_against(low - 1e-6, above=True) <= 0.025 < flips.p_against(low + 1e-6, above=True)
        assert flips.p_against(high + 1e-6, above=False) <= 0.025 < flips.p_against(high - 1e-6, above=False)


def test_a_large_samples_interval_is_students():
    rng = np.random.default_rng(3)
    differences = rng.normal(0.1, 0.3, 1000)
    low, high = units_of(np.zeros(1000), differences).flips().interval()
    theirs = stats.t.interval(0.95, 999, differences.mean(), stats.sem(differences))
    assert (low, high) == pytest.approx(theirs, abs=0.05 * (theirs[1] - theirs[0]))


def test_fewer_than_six_queries_have_no_interval():
    """Their p is 2 / 32 at the least: nothing can be excluded."""
    for queries in (1, 2, 5):
        found = judged(units_of(np.zeros(queries), np.full(queries, 0.5)))
        assert (found.low, found.high) == (None, None)
    assert judged(units_of(np.zeros(6), np.linspace(0.1, 0.5, 6))).low is not None


@pytest.mark.parametrize("moved", range(6))
def test_where_fewer_than_six_moved_there_is_no_interval(moved):
    """What 50 queries show that never moved is not that none ever will."""
    found = judged(units_of(np.ones(50), 1 + (np.arange(50) < moved)))
    assert (found.low, found.high) == (None, None)
    assert found.p == min(1, 2 ** (1 - moved))


@pytest.mark.parametrize("queries", [6, 7, 9, 15, 50])
def test_queries_that_all_moved_alike_leave_room_for_one_that_did_not(queries):
    """The exact binomial bounds (Clopper and Pearson) for as many hits of as many tries, within a tenth."""
    found = judged(units_of(np.zeros(queries), np.ones(queries)))
    assert found.low == pytest.approx(0.025 ** (1 / queries), abs=0.1)
    assert found.low < 1 < found.high


def test_clusters_whose_differences_cancel_did_not_move():
    after = np.tile([0.3, -0.3], 20)
    assert judged(units_of(np.zeros(40), after, np.repeat(np.arange(20), 2).tolist())).low is None
    assert judged(units_of(np.zeros(40), after)).low is not None


def test_clusters_move_together_and_widen_the_interval():
    rng = np.random.default_rng(6)
    shared = np.repeat(rng.normal(0, 0.2, 60), 5)
    differences, clusters = shared + rng.normal(0, 0.1, 300), np.repeat(np.arange(60), 5).tolist()
    alone, together = (
        judged(units_of(np.zeros(300), differences)),
        judged(units_of(np.zeros(300), differences, clusters)),
    )
    assert together.difference == pytest.approx(alone.difference)
    means = differences.reshape(60, 5).mean(axis=1)
    of_means = judged(units_of(np.zeros(60), means))
    assert (together.low, together.high, together.p) == pytest.approx((of_means.low, of_means.high, of_means.p))
    assert 1.8 < (together.high - together.low) / (alone.high - alone.low) < 2.3


def test_within_clusters_of_correlated_queries_the_rates_hold():
    rng = np.random.default_rng(7)
    alarms = alone = 0
    for _ in range(300):
        differences = np.sqrt(0.3) * np.repeat(rng.normal(0, 1, 30), 5) + np.sqrt(0.7) * rng.normal(0, 1, 150)
        clusters = np.repeat(np.arange(30), 5).tolist()
        alarms += paired_randomisation(np.zeros(150), differences, clusters) <= 0.05
        alone += paired_randomisation(np.zeros(150), differences) <= 0.05
    assert alarms / 300 <= 0.05 + 2.5 * 0.0126
    assert alone / 300 > 0.12


def test_ten_thousand_queries_cost_little_time_and_memory():
    rng = np.random.default_rng(0)
    first = rng.random(10_000)
    second = np.clip(first + rng.normal(0.001, 0.1, 10_000), 0, 1)
    units = units_of(first, second)
    judged(units)
    taken = []
    for _ in range(5):
        started = time.process_time()
        judged(units)
        taken.append(time.process_time() - started)
    # 50 ms on a machine of one's own; three times that beside other tests.
    assert min(taken) < 0.15
    tracemalloc.start()
    try:
        judged(units)
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_more_units_than_are_flipped_apart_give_the_same_p_within_chance():
    rng = np.random.default_rng(5)
    differences = rng.normal(0.005, 0.3, 9_000)
    theirs = stats.ttest_1samp(differences, 0).pvalue
    assert paired_randomisation(np.zeros(9_000), differences) == pytest.approx(theirs, abs=0.02)


# Families.


def test_one_figure_alone_needs_no_correction():
    rng = np.random.default_rng(1)
    units = units_of(rng.random(60), rng.random(60))
    assert Family([units]).p_values()[0] == pytest.approx(units.flips().p, abs=0.02)


def test_figures_that_say_the_same_count_as_one():
    rng = np.random.default_rng(1)
    units = units_of(np.zeros(60), rng.normal(0.05, 0.15, 60), [f"q{i}" for i in range(60)], "T")
    (alone,) = Family([units]).p_values()
    assert Family([units] * 20).p_values() == [alone] * 20
    assert holm([alone] * 20)[0] == pytest.approx(20 * alone)


def test_independent_figures_are_corrected_as_holm_does():
    rng = np.random.default_rng(4)
    figures = [
        units_of(np.zeros(60), rng.normal(shift, 0.3, 60), range(60), f"T{shift}") for shift in (0, 0.05, 0.1, 0.15)
    ]
    ours = Family(figures).p_values()
    theirs = holm([units.flips().p for units in figures])
    assert ours == pytest.approx(theirs, abs=0.05)
    assert all(mine <= his + 0.01 for mine, his in zip(ours, theirs, strict=True))


def test_corrected_p_keeps_the_order_of_the_statistics():
    patterns = np.abs(np.random.default_rng(0).normal(size=(3, 999)))
    found = corrected([1.0, 3.0, 2.0], patterns.__getitem__)
    assert found[1] <= found[2] <= found[0]
    assert found[1] == (int((patterns.max(axis=0) >= 3.0).sum()) + 1) / 1000


def test_a_sum_flipped_by_bytes_is_the_sum_flipped_one_by_one():
    rng = np.random.default_rng(9)
    sums = rng.normal(size=21)
    flips = SignFlips.of(sums, np.full(21, 1 / 21), 1.0)
    from harness.measures.flips import PATTERNS, SEED, bit_chunks

    ((_, drawn),) = bit_chunks(21, PATTERNS, SEED)
    by_hand = np.unpackbits(drawn, axis=1, count=21) @ sums
    assert flips.sums[1 : PATTERNS + 1] == pytest.approx(by_hand, abs=1e-12)
