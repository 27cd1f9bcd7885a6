"""The intervals and ranks of a board are of the very figures that it shows: held against other ways to compute them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from made_boards import made_cards, row_of, table
from made_results import made, saved
from scipy import stats

from harness.boards import Table
from harness.boards.build import Row
from harness.boards.pairs import Pairs
from harness.boards.resampling import RESAMPLES, Part, Sums, resample
from harness.data.task import Cards
from harness.errors import HarnessError
from harness.measures.family import corrected
from harness.measures.significance import paired_randomisation, units_of
from harness.types import Interval


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    return made_cards(tmp_path / "cards")


def values(count: int, mean: float, seed: int, spread: float = 0.15) -> list[float]:
    return np.clip(np.random.default_rng(seed).normal(mean, spread, count), 0, 1).tolist()


def named(prefix: str, column: Sequence[float]) -> dict[str, float]:
    return {f"{prefix}{place}": value for place, value in enumerate(column)}


def resampled_means(groups: Sequence[Sequence[float]], seed: int = 7) -> np.ndarray:
    """The unweighted mean of the groups' means, each group drawn on its own: by the definition, a draw at a time."""
    generator = np.random.default_rng(seed)
    columns = [np.asarray(group) for group in groups]
    draws = [[generator.choice(column, column.size).mean() for column in columns] for _ in range(4000)]
    return np.mean(draws, axis=1)


def sums_of(systems: Mapping[str, Sequence[float]], task: str = "T") -> Sums:
    columns = np.array(list(systems.values())).T
    sums = Sums(columns.shape[1], RESAMPLES)
    part = Part("default", tuple(f"q{place}" for place in range(len(columns))), columns)
    resample(task, [part], {0: sums}, [{0: 1.0}])
    return sums


# --- intervals


def nearly(ours: Interval, low: float, high: float, wider: float) -> None:
    """As the bootstrap's, which covers too little at few values, and up to `wider` times as wide."""
    assert sum(ours) / 2 == pytest.approx((low + high) / 2, abs=0.1 * (high - low))
    assert 0.99 < (ours.high - ours.low) / (high - low) < wider


def test_the_interval_of_one_task_is_that_of_its_mean():
    column = values(50, 0.5, 1)
    ours = sums_of({"a": column}).intervals()[0]
    found = units_of(np.zeros(50), column).flips().interval()
    assert tuple(ours) == pytest.approx(tuple(found), abs=1e-9)
    other = stats.bootstrap((column,), np.mean, method="percentile", rng=np.random.default_rng(99)).confidence_interval
    nearly(ours, other.low, other.high, 1.25)


def test_an_interval_stays_within_what_the_measure_can_be(cards: Cards, tmp_path: Path):
    row = row_of(table(cards, saved(tmp_path, made([1.0] * 11 + [0.7])), tasks=["Birds"]), "org/model")
    (low, high), *_ = (cell.interval for cell in row.cells.values())
    assert low < 0.97
    assert high == 1.0


def test_the_interval_of_a_multilingual_task_is_of_the_mean_of_means(cards: Cards, tmp_path: Path):
    many, few = values(200, 0.2, 1), values(8, 0.8, 2)
    parts = [made(named(subset, column), task="Ferns", subset=subset) for subset, column in (("de", many), ("fr", few))]
    row = row_of(table(cards, saved(tmp_path / "results", *parts), tasks=["Ferns"]), "org/model")
    cell = next(cell for column, cell in row.cells.items() if column.title == "Ferns nDCG@10")
    assert cell.mean == pytest.approx((np.mean(many) + np.mean(few)) / 2)
    low, high = np.quantile(resampled_means([many, few]), [0.025, 0.975])
    nearly(cell.interval, low, high, 1.7)
    pooled = np.quantile(resampled_means([[*many, *few]]), 0.975)
    assert pooled < cell.interval.low, "the pooled queries' interval is of another figure"


def test_one_question_in_two_languages_is_one_draw(cards: Cards, tmp_path: Path):
    column = values(40, 0.5, 3)
    parts = [made(named("q", column), task="Ferns", subset=subset) for subset in ("de", "fr")]
    row = row_of(table(cards, saved(tmp_path / "results", *parts), tasks=["Ferns"]), "org/model")
    cells = {column.title: cell for column, cell in row.cells.items()}
    both, alone = cells["Ferns nDCG@10"].interval, cells["Ferns de nDCG@10"].interval
    assert both.high - both.low == pytest.approx(alone.high - alone.low, abs=1e-9)


def test_the_interval_of_a_mean_over_tasks_weighs_tasks_and_not_queries(cards: Cards, tmp_path: Path):
    birds, trees = values(150, 0.3, 4, 0.05), values(12, 0.7, 5, 0.25)
    parts = [made(birds), made(trees, task="Trees")]
    built = table(cards, saved(tmp_path / "results", *parts), tasks=["Birds", "Trees"])
    cell = row_of(built, "org/model").cells[built.key]
    low, high = np.quantile(resampled_means([birds, trees]), [0.025, 0.975])
    nearly(cell.interval, low, high, 1.5)


def test_tasks_of_as_many_queries_are_drawn_apart(cards: Cards, tmp_path: Path):
    column = values(60, 0.5, 6)
    parts = [made(column), made(column, task="Trees")]
    built = table(cards, saved(tmp_path / "results", *parts), tasks=["Birds", "Trees"])
    cells = {column.title: cell for column, cell in row_of(built, "org/model").cells.items()}
    width = {title: cell.interval.high - cell.interval.low for title, cell in cells.items()}
    assert width["mean nDCG@10"] == pytest.approx(width["Birds nDCG@10"] / 2**0.5, rel=0.1)


def test_an_interval_does_not_depend_on_the_other_rows_and_columns(cards: Cards, tmp_path: Path):
    alone = saved(tmp_path / "a", made(values(30, 0.5, 1), values(30, 0.3, 9)))
    more = [made(values(30, 0.4, 2), values(30, 0.3, 9), reranker="other/model"), made([0.4, 0.6], task="Trees")]
    crowd = saved(tmp_path / "b", made(values(30, 0.5, 1), values(30, 0.3, 9)), *more)

    def cell(built: Table):
        row = row_of(built, "org/model")
        return next(cell for column, cell in row.cells.items() if column.title == "Birds nDCG@10")

    one, other = cell(table(cards, alone, tasks=["Birds"])), cell(table(cards, crowd, tasks=["Trees", "Birds"]))
    assert one.interval == pytest.approx(other.interval, abs=1e-12)


# --- tests between rows


@pytest.mark.parametrize("count", [9, 40, 300])
def test_p_is_that_of_the_paired_randomisation_test(count: int):
    one, two = values(count, 0.5, 1), values(count, 0.53, 2)
    p = sums_of({"one": one, "two": two}).p(0, 1)
    ours = paired_randomisation(one, two)
    assert p == ours if count < 13 else p == pytest.approx(ours, abs=0.015)
    differences = np.subtract(two, one)
    other = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=9999, random_state=5, vectorized=False
    ).pvalue
    assert p == pytest.approx(other, abs=0.02)


def test_p_of_a_mean_over_tasks_is_of_that_mean():
    """Many queries of a small gain in one task, few of a large loss in another: pooled, the gain would be found."""
    generator = np.random.default_rng(3)
    gain, loss = generator.normal(0.02, 0.05, 400), generator.normal(-0.02, 0.05, 20)
    loss += -0.02 - loss.mean()
    sums = Sums(2, RESAMPLES)
    for task, column in (("A", gain), ("B", loss)):
        part = Part("default", tuple(map(str, range(column.size))), np.stack([np.zeros(column.size), column], axis=1))
        resample(task, [part], {0: sums}, [{0: 0.5}])
    weighted = np.concatenate([gain / gain.size / 2, loss / loss.size / 2])
    signs = np.random.default_rng(8).choice([-1.0, 1.0], (20_000, weighted.size))
    expected = np.mean(np.abs(signs @ weighted) >= abs(weighted.sum()))
    assert sums.p(0, 1) == pytest.approx(expected, abs=0.02)
    assert sums.p(0, 1) > 0.1
    pooled = np.concatenate([gain, loss])
    assert paired_randomisation(np.zeros(pooled.size), pooled) < 0.001


def ranks(built: Table) -> dict[str, int | None]:
    systems = [row for row in built.rows if row.system.kind == "reranker"]
    return {row.system.name: row.ranks.get(0) for row in systems}


def results_of(folder: Path, systems: Mapping[str, Sequence[float]]) -> Path:
    first = [0.0] * len(next(iter(systems.values())))
    made_results = [
        made(column, first, reranker=name, reranker_fingerprint=f"{number:032x}")
        for number, (name, column) in enumerate(systems.items())
    ]
    return saved(folder, *made_results)


def test_systems_that_cannot_be_told_apart_share_a_rank(cards: Cards, tmp_path: Path):
    base = [0.5 + 0.01 * (i % 7) for i in range(60)]
    systems = {
        "best": [value + 0.2 for value in base],
        "nearly": [value + 0.2 - (0.05 if i % 2 else -0.049) for i, value in enumerate(base)],
        "worse": base,
    }
    built = table(cards, results_of(tmp_path, systems), tasks=["Birds"])
    assert ranks(built) == {"best": 1, "nearly": 1, "worse": 3}


@pytest.mark.parametrize("seed", range(6))
def test_pairs_differ_as_their_corrected_p_values_say(seed: int):
    """By the definition: a statistic and its flips for every pair, corrected together, one p at a time."""
    generator = np.random.default_rng(seed)
    tiers = generator.choice([0.0, 0.0, 0.15, 0.4], 24)
    columns = [np.clip(generator.normal(0.4 + tier, 0.2, 40), 0, 1).round(seed % 3 + 1) for tier in tiers]
    sums = sums_of({f"m{place}": column for place, column in enumerate([*columns, columns[0], columns[1]])})
    (values,), pairs = sums.contributions, list(combinations(range(26), 2))
    sizes = [float(np.linalg.norm(values[:, two] - values[:, one])) or np.inf for one, two in pairs]
    seen = [abs((values[:, two] - values[:, one]).sum()) / size for (one, two), size in zip(pairs, sizes, strict=True)]
    flips = [
        np.abs(sums.flipped[:, two] - sums.flipped[:, one]) / size
        for (one, two), size in zip(pairs, sizes, strict=True)
    ]
    together = corrected(seen, flips.__getitem__)
    expected = [max(p, sums.p(*pair)) <= 0.05 for p, pair in zip(together, pairs, strict=True)]
    found = Pairs(sums, range(26), 0.05)
    assert [found.differ(*pair) for pair in pairs] == expected
    assert 20 < sum(expected) < len(pairs) - 20


def test_a_clear_winner_among_a_hundred_and_fifty_has_its_rank_alone(cards: Cards, tmp_path: Path):
    """Holm over all 11,175 pairs could reject nothing with 10,000 resamples: the tests are those that the ranks need."""
    systems = {f"m{number}": values(25, 0.4, number) for number in range(149)} | {"winner": values(25, 0.85, 999, 0.05)}
    found = ranks(table(cards, results_of(tmp_path, systems), tasks=["Birds"], oracle=False))
    assert found["winner"] == 1
    assert list(found.values()).count(1) == 1


def test_ranks_of_a_multilingual_task_are_by_its_own_mean(cards: Cards, tmp_path: Path):
    """Pooled over queries the order would be the other one."""
    parts = []
    for number, (name, in_many, in_few) in enumerate([("a", 0.6, 0.3), ("b", 0.5, 0.8)]):
        for subset, mean, count in (("de", in_many, 300), ("fr", in_few, 30)):
            column = named(subset, values(count, mean, 11, 0.05))
            first = [0.0] * count
            fingerprint = f"{number:032x}"
            parts.append(
                made(column, first, task="Ferns", subset=subset, reranker=name, reranker_fingerprint=fingerprint)
            )
    built = table(cards, saved(tmp_path, *parts), tasks=["Ferns"])
    assert ranks(built) == {"b": 1, "a": 2}


def test_rows_measured_on_different_queries_are_refused(cards: Cards, tmp_path: Path):
    other = made({"q0": 0.5, "q9": 0.5}, reranker="other/model", retriever_settings={})
    with pytest.raises(HarnessError, match="different queries"):
        table(cards, saved(tmp_path, made({"q0": 0.5, "q1": 0.5}), other), tasks=["Birds"])


def test_a_row_without_the_key_figure_has_no_rank_and_stands_last(cards: Cards, tmp_path: Path):
    half = made([0.99, 0.99], [0.1, 0.1], reranker="half/way", reranker_fingerprint="9" * 32)
    whole = [made([0.5, 0.5], [0.1, 0.1]), made([0.5], [0.1], task="Trees")]
    built = table(cards, saved(tmp_path, half, *whole), tasks=["Birds", "Trees"])
    last: Row = built.rows[-1]
    assert (last.system.name, last.ranks.get(0)) == ("half/way", None)
