"""The verb `compare`, on real runs and on made results: the figures, what is refused, what moved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Cli, write_collection, write_lines
from made_results import made, saved
from scipy import stats

from harness.errors import HarnessError
from harness.measures.significance import holm
from harness.results.result import load_result
from harness.types import Aggregate
from harness.verdicts.compare import System, compare, open_system, rows_of
from harness.verdicts.pairing import differences_between
from harness.verdicts.samples import headlines, means_of_samples, samples_of

WORDS = '''
def rank(query, documents):
    """Shared words, counted from the {side} of the document; ties by length."""
    asked = set(query.split())
    return [sum(word in asked for word in text.split()[{cut}]) + len(text) / 1000 for text in documents]


rank.fingerprint = "{side}"
rank.context = "pair"
'''


@pytest.fixture
def runs(cli: Cli, tmp_path: Path) -> dict[str, Path]:
    """Two real results over the same candidates: one plug-in reads whole texts, the other two words of them."""
    folder = write_collection(tmp_path / "birds", documents=48, queries=11)
    found = {}
    for name, cut in (("whole", ":"), ("end", "1:3")):
        write_lines(tmp_path / f"{name}.py", [WORDS.format(side=name, cut=cut)])
        (result,) = cli("run", folder, "--reranker", tmp_path / f"{name}.py:rank", "--format", "json").results()
        found[name] = Path(result["path"])
    return found


def compared(cli: Cli, *words: object) -> dict:
    answer = cli("compare", *words, "--format", "json")
    assert answer.code == 0, answer.err
    return json.loads(answer.out)["comparisons"][0]


def test_the_figures_agree_with_scipys_on_the_same_values(cli: Cli, runs: dict[str, Path]):
    (row,) = compared(cli, runs["whole"], runs["end"])["rows"]
    first, second = (load_result(runs[name], with_values=True) for name in ("whole", "end"))
    a, b = (np.array(result.values["nDCG@10"]["reranked"]) for result in (first, second))
    assert row["difference"] == pytest.approx((b - a).mean(), abs=1e-12)
    changed = (b - a)[b != a]
    p = stats.permutation_test((changed,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert row["p"] == pytest.approx(p, abs=1e-12)
    assert (row["low"] > 0 or row["high"] < 0) == (row["p"] <= 0.05)
    assert row["low"] <= row["difference"] <= row["high"]
    assert (row["wins"], row["ties"], row["losses"]) == ((b > a).sum(), (b == a).sum(), (b < a).sum())
    assert 0 < row["losses"] < 11


def test_text_shows_the_row_the_moved_queries_and_the_documents(cli: Cli, runs: dict[str, Path]):
    answer = cli("compare", runs["whole"], runs["end"])
    assert answer.code == 0
    for word in (
        "whole.py:rank → end.py:rank",
        "95 % interval",
        "p (corrected)",
        "moved most",
        "relevance 2",
        "place 4 →",
    ):
        assert word in answer.out, answer.out
    moved = compared(cli, runs["whole"], runs["end"], "--queries", 2)["moved"][0]["queries"]
    assert len(moved) == 2
    assert {"amber birch", "birch cedar", "cedar delta", "delta ember"} & {query["text"] for query in moved}
    changes = [abs(query["after"] - query["before"]) for query in moved]
    assert changes == sorted(changes, reverse=True)
    for document in moved[0]["documents"]:
        assert document["before"] != document["after"]
        assert "note" in document["text"]


def test_places_are_those_of_the_two_rankings(cli: Cli, runs: dict[str, Path], tmp_path: Path):
    from harness.results.rankings import read_rankings
    from harness.types import ranked

    query = compared(cli, runs["whole"], runs["end"])["moved"][0]["queries"][0]
    orders = [
        ranked(read_rankings(load_result(path), tmp_path / "cache")["reranked"][query["query_id"]])
        for path in runs.values()
    ]
    for document in query["documents"]:
        assert [document["before"], document["after"]] == [order.index(document["doc_id"]) + 1 for order in orders]


def test_what_is_not_in_the_cache_is_left_out_and_said(cli: Cli, runs: dict[str, Path], tmp_path: Path):
    (tmp_path / "cache").rename(tmp_path / "away")
    answer = cli("compare", runs["whole"], runs["end"])
    assert answer.code == 0
    assert "not in the cache" in answer.err
    assert "moved most" in answer.out


def test_names_folders_and_files_mean_the_same(cli: Cli, runs: dict[str, Path]):
    by_file = compared(cli, runs["whole"], runs["end"])["rows"]
    by_name = compared(cli, "whole.py:rank", "end.py:rank")["rows"]
    by_folder = compared(cli, runs["whole"].parents[2], runs["end"].parents[2])["rows"]
    by_path = compared(cli, f"{Path('whole.py').resolve()}:rank", "end.py:rank")["rows"]
    assert by_file == by_name == by_folder == by_path


def test_a_reranker_is_compared_with_the_first_stage_alone(cli: Cli, runs: dict[str, Path], tmp_path: Path):
    cli("run", tmp_path / "birds")
    (row,) = compared(cli, "bm25", "whole.py:rank")["rows"]
    stored = load_result(runs["whole"]).measures["nDCG@10"]
    assert (row["first"], row["second"]) == pytest.approx((stored["first_stage"], stored["reranked"]))
    assert (row["low"], row["high"], row["p"]) == pytest.approx((stored["low"], stored["high"], stored["p"]))


def test_every_further_system_is_compared_with_the_first(cli: Cli, runs: dict[str, Path]):
    answer = cli("compare", runs["whole"], runs["end"], runs["whole"], "--format", "json")
    first, second = json.loads(answer.out)["comparisons"]
    assert first["second"] == "end.py:rank"
    assert second["rows"][0]["difference"] == 0
    assert second["rows"][0]["ties"] == 11
    assert second["moved"] == []


@pytest.mark.parametrize("words", [["no-such-model"], ["whole.py:rnak"]])
def test_an_unknown_name_is_one_line_with_what_there_is(cli: Cli, runs: dict[str, Path], words):
    answer = cli("compare", "end.py:rank", *words)
    assert answer.code == 3
    assert len(answer.err.splitlines()) == 1
    assert "whole.py:rank" in answer.err


def test_another_depth_is_refused_and_named_and_compared_when_told(cli: Cli, runs: dict[str, Path], tmp_path: Path):
    (deep,) = cli(
        "run", tmp_path / "birds", "--reranker", tmp_path / "end.py:rank", "--top-k", 5, "--format", "json"
    ).results()
    answer = cli("compare", runs["whole"], deep["path"])
    assert answer.code == 3
    assert "depth 100 → 5" in answer.err
    assert "--allow-different" in answer.err
    allowed = compared(cli, runs["whole"], deep["path"], "--allow-different")
    assert allowed["rows"][0]["queries"] == 11
    assert "depth 100 → 5" in allowed["notes"][0]


def test_other_queries_are_refused_and_those_in_both_compared_when_told(cli: Cli, runs, tmp_path: Path):
    (few,) = cli(
        "run", tmp_path / "birds", "--reranker", tmp_path / "end.py:rank", "--limit", 4, "--format", "json"
    ).results()
    assert "--limit none → 4" in cli("compare", runs["whole"], few["path"]).err
    assert compared(cli, runs["whole"], few["path"], "--allow-different")["rows"][0]["queries"] == 4


def test_other_candidates_of_the_same_depth_are_refused_and_other_scores_of_the_same_are_noted(
    cli: Cli, runs: dict[str, Path], tmp_path: Path
):
    paths = {}
    for side, second, score in (("one", 1, 2), ("rescored", 1, 1), ("another", 2, 2)):
        lines = [f"q{q} Q0 d{q:02d} 1 3 x\nq{q} Q0 d{q + second:02d} 2 {score} x" for q in range(11)]
        write_lines(tmp_path / side / "mine.trec", lines)
        words = ["--candidates", tmp_path / side / "mine.trec", "--reranker", tmp_path / "end.py:rank"]
        (result,) = cli("run", tmp_path / "birds", *words, "--results", side, "--format", "json").results()
        paths[side] = result["path"]
    answer = cli("compare", paths["one"], paths["another"])
    assert answer.code == 3
    assert "candidates" in answer.err
    found = compared(cli, paths["one"], paths["rescored"])
    assert found["rows"][0]["difference"] == 0
    assert "the first stage's scores" in found["notes"][0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset_revision": "9" * 40}, "dataset revision aaaaaaaa → 99999999"),
        ({"split": "dev"}, "split test → dev"),
        ({"retriever": "dense"}, "first stage bm25 → dense"),
        ({"top_k": None}, "depth 100 → the whole lists"),
        ({"relevance_level": 2}, "--relevance-level 1 → 2"),
        ({"missing_text": "skip"}, "--missing-text error → skip"),
        ({"scoring_version": 2}, "scoring version 1 → 2"),
        ({"instructions": "none", "collection": "0" * 32}, "--instructions given → none"),
        ({"collection": "0" * 32}, "the data's content eeeeeeee → 00000000"),
    ],
)
def test_whatever_makes_two_numbers_answer_two_questions_is_named(change, said):
    assert differences_between(made([0.5]), made([0.5], **change)) == [said]


def test_only_the_reranker_may_differ():
    assert differences_between(made([0.5]), made([0.1], reranker="other", reranker_settings={"dtype": "int8"})) == []


def test_a_folders_revision_may_differ_where_its_content_does_not():
    one, two = (made([0.5], dataset="birds", dataset_revision=digit * 40) for digit in "ab")
    assert differences_between(one, two) == []


def test_unlike_shares_of_judged_documents_are_said(tmp_path: Path):
    results = [
        replace(result, measures={**result.measures, "Judged@10": {"reranked": judged}})
        for result, judged in ((made([0.5, 0.4]), 0.95), (made([0.4, 0.3], reranker="new/one"), 0.62))
    ]
    (note,) = compare(*systems(tmp_path, results[:1], results[1:])).notes
    assert "Judged@10 0.95 → 0.62" in note
    assert compare(*systems(tmp_path / "same", results[:1], results[:1])).notes == []


def systems(tmp_path: Path, first: list, second: list) -> tuple[System, System]:
    return tuple(
        open_system(str(saved(tmp_path / name, *results)), tmp_path) for name, results in (("a", first), ("b", second))
    )


def test_p_is_corrected_over_all_rows(tmp_path: Path):
    generator = np.random.default_rng(3)
    tasks = [f"Task{i}" for i in range(4)]
    before = [generator.random(20) for _ in tasks]
    first = [made(values, task=task) for task, values in zip(tasks, before, strict=True)]
    second = [
        made(values + generator.normal(shift, 0.2, 20), task=task, reranker="other")
        for task, values, shift in zip(tasks, before, (0.3, 0.1, 0.0, 0.02), strict=True)
    ]
    found = compare(*systems(tmp_path, first, second))
    p_values = [row.p for row in found.rows]
    assert len(p_values) == 5
    corrected = [row.p_corrected for row in found.rows]
    # Four independent tasks and their mean: no harsher than Holm over five, but for the patterns drawn.
    assert corrected == pytest.approx(holm(p_values), abs=0.12)
    assert all(mine <= his + 0.01 for mine, his in zip(corrected, holm(p_values), strict=True))
    assert corrected[1] >= 2 * p_values[1]


@pytest.mark.parametrize("moved", [0, 5, 6])
def test_fewer_than_six_moved_queries_have_no_interval_and_it_is_said(cli: Cli, tmp_path: Path, moved: int):
    saved(tmp_path, made([0.4] * 30, reranker="one"))
    saved(tmp_path, made([0.9] * moved + [0.4] * (30 - moved), reranker="other"))
    words = ["one", "other", "--results", tmp_path]
    (row,) = compared(cli, *words)["rows"]
    assert ((row["low"], row["high"]) == (None, None)) == (row["p"] > 0.05) == (moved < 6)
    shown = " ".join(cli("compare", *words).out.split())
    assert ("too few moved" in shown) == (moved < 6)
    # Where nothing moved at all the row says so itself.
    assert ("too few moved: fewer than 6 queries or clusters differ" in shown) == (moved == 5)
    assert ("+.08 (too few queries moved for an interval)" in shown) == (moved == 5)


def test_two_queries_of_a_small_task_do_not_decide_a_mean(tmp_path: Path):
    """Both won, and the 100 of another task moved not at all: as flips go, that happens every second time."""
    first = [made([0.0] * 2, task="Small"), made([0.5] * 100, task="Large")]
    second = [made([1.0] * 2, task="Small", reranker="other"), made([0.5] * 100, task="Large", reranker="other")]
    mean = compare(*systems(tmp_path, first, second)).rows[-1]
    assert mean.name == "mean of 2 tasks"
    assert (mean.difference, mean.p, mean.low) == (0.5, 0.5, None)


def test_several_comparisons_at_once_are_one_family(cli: Cli, tmp_path: Path):
    """Twenty equal systems: the family is all that is printed, and says so."""
    generator = np.random.default_rng(4)
    quality = generator.random(40)
    names = [f"m{number:02}" for number in range(12)]
    for name in names:
        saved(tmp_path, made(np.clip(quality + generator.normal(0, 0.2, 40), 0, 1), reranker=name))
    alone = compared(cli, "m00", "m01", "--results", tmp_path)["rows"][0]
    answer = cli("compare", *names, "--results", tmp_path, "--format", "json")
    rows = [each["rows"][0] for each in json.loads(answer.out)["comparisons"]]
    assert len(rows) == 11
    assert rows[0]["p"] == alone["p"]
    assert rows[0]["p_corrected"] > alone["p_corrected"]
    nearest = min(rows, key=lambda row: row["p"])
    assert 3 * nearest["p"] < nearest["p_corrected"] <= 11 * nearest["p"] + 0.01
    assert "over all 11 rows shown together" in cli("compare", *names, "--results", tmp_path).out


def test_a_mean_over_subsets_is_unweighted_and_a_shared_query_is_one_draw():
    generator = np.random.default_rng(5)
    one = [made(generator.random(10), subset=name) for name in ("de", "fr")]
    two = [made(generator.random(10), subset=name) for name in ("de", "fr")]
    samples = samples_of(list(zip(one, two, strict=True)), None)
    (mean,) = means_of_samples(samples, [])
    assert mean.name == "Birds, mean of 2"
    pairs = [(s.second - s.first) for s in samples]
    assert (mean.second - mean.first).tolist() == pytest.approx(((pairs[0] + pairs[1]) / 2).tolist())
    assert mean.units.strata.tolist() == [0] * 10


def test_a_mean_of_tasks_of_unlike_size_counts_each_task_once():
    generator = np.random.default_rng(6)
    sizes = {"Small": 5, "Large": 50}
    pairs = [
        (made(generator.random(size), task=task), made(generator.random(size), task=task))
        for task, size in sizes.items()
    ]
    samples = samples_of(pairs, None)
    (mean,) = means_of_samples(samples, [])
    expected = np.mean([s.second.mean() - s.first.mean() for s in samples])
    (row,) = rows_of([mean])
    assert row.difference == pytest.approx(expected)
    assert row.queries == 55
    assert (row.wins, row.losses) == tuple(
        sum(int((sign * (s.second - s.first) > 0).sum()) for s in samples) for sign in (1, -1)
    )
    assert set(mean.units.strata.tolist()) == {0, 1}


def test_a_means_interval_draws_within_each_task():
    """The spread of the mean is that of the tasks' own means, added: not of all queries thrown together."""
    generator = np.random.default_rng(7)
    pairs = [
        (made(np.zeros(60), task=task), made(generator.normal(shift, 0.1, 60), task=task))
        for task, shift in (("Low", -0.4), ("High", 0.4))
    ]
    samples = samples_of(pairs, None)
    (row,) = rows_of(means_of_samples(samples, []))
    own = [stats.sem(s.second - s.first) for s in samples]
    half = 1.96 * np.hypot(*own) / 2
    assert row.high - row.low == pytest.approx(2 * half, rel=0.1)


def test_subsets_that_share_some_queries_are_drawn_together_and_keep_the_mean_of_means():
    """Eighteen languages whose ids coincide by chance: the interval is that of independent languages."""
    generator = np.random.default_rng(8)
    pairs = []
    for language in range(18):
        ids = generator.choice(400, generator.integers(20, 60), replace=False)
        before = dict(zip(map(str, ids), generator.random(len(ids)), strict=True))
        after = {q: value + generator.normal(0.3 * (language % 2), 0.2) for q, value in before.items()}
        pairs.append((made(before, subset=f"l{language}"), made(after, subset=f"l{language}")))
    samples = samples_of(pairs, None)
    (mean,) = means_of_samples(samples, [])
    (row,) = rows_of([mean])
    expected = np.mean([s.second.mean() - s.first.mean() for s in samples])
    assert row.difference == pytest.approx(expected)
    assert mean.units.sums.sum() == pytest.approx(expected)
    own = [stats.sem(s.second - s.first) for s in samples]
    half = 1.96 * np.sqrt(np.square(own).sum()) / 18
    assert (row.low, row.high) == pytest.approx((expected - half, expected + half), abs=0.15 * half)
    assert row.detectable is not None


def test_translations_of_a_query_are_one_draw():
    """Twelve copies of one language know no more than one: the interval of the mean is that of the language."""
    generator = np.random.default_rng(9)
    before, after = generator.random(30), generator.random(30)
    pairs = [(made(before, subset=f"l{i}"), made(after, subset=f"l{i}")) for i in range(12)]
    samples = samples_of(pairs, None)
    mean, alone = rows_of(means_of_samples(samples, []))[0], rows_of(samples[:1])[0]
    assert (mean.low, mean.high, mean.p) == pytest.approx((alone.low, alone.high, alone.p))


def test_aggregates_are_averaged_by_their_own_rule():
    pairs = [
        (made([0.1] * 4, task=task), made([value] * 4, task=task))
        for task, value in (("A", 0.2), ("B", 0.4), ("C", 0.9))
    ]
    inner = Aggregate("Forums", ("A", "B"), (("nDCG@10", ("nDCG@10", "nDCG@10")),))
    outer = Aggregate("Suite", ("Forums", "C"), (("nDCG@10", ("nDCG@10", "nDCG@10")),))
    means = means_of_samples(samples_of(pairs, None), [inner, outer])
    assert {mean.name: round(float(mean.second.mean()), 6) for mean in means} == {
        "Forums, mean of 2": 0.3,
        "Suite, mean of 2": 0.6,
    }


def test_the_suites_of_the_cards_have_means_where_all_their_tasks_are_there(cli: Cli, tmp_path: Path):
    names = ["T2Reranking", "MMarcoReranking", "CMedQAv1-reranking", "CMedQAv2-reranking"]
    for side in ("a", "b"):
        saved(tmp_path / side, *(made([0.1, 0.2, 0.3], task=name, measure="MAP@1000", top_k=None) for name in names))
    rows = compared(cli, tmp_path / "a", tmp_path / "b")["rows"]
    assert [row["name"] for row in rows if row["mean_of"]] == ["C-MTEB-reranking, mean of 4"]


def test_the_mean_over_languages_is_the_one_that_the_run_prints(cli: Cli, tmp_path: Path):
    write_lines(tmp_path / "whole.py", [WORDS.format(side="whole", cut=":")])
    words = ["DemoLanguages", "--languages", "de,sw,ja", "--reranker", tmp_path / "whole.py:rank"]
    answer = cli("run", *words, "--format", "json")
    (mean,) = json.loads(answer.out)["means"]
    rows = compared(cli, "results", "results")["rows"]
    assert [row["mean_of"] for row in rows] == [0, 0, 0, 3]
    assert rows[-1]["first"] == pytest.approx(mean["measures"]["nDCG@10"]["reranked"], abs=1e-12)


def test_folders_with_several_rerankers_compare_each_with_itself(tmp_path: Path):
    first = [made([0.1, 0.5], reranker=name) for name in ("x", "y")]
    second = [made([0.2, 0.5], reranker=name) for name in ("x", "y")]
    found = compare(*systems(tmp_path, first, second))
    assert sorted(row.reranker for row in found.rows) == ["x", "y"]


def test_two_results_that_could_be_meant_are_refused_by_path(tmp_path: Path):
    second = [made([0.2, 0.5], reranker_revision=digit * 40) for digit in "12"]
    with pytest.raises(HarnessError, match="more than one result that could be meant") as error:
        compare(*systems(tmp_path, [made([0.1, 0.5])], second))
    assert str(error.value).count(".json") == 2


def test_without_a_task_in_common_there_is_nothing_to_compare(tmp_path: Path):
    with pytest.raises(HarnessError, match="no task in common") as error:
        compare(*systems(tmp_path, [made([0.1], task="A")], [made([0.1], task="B")]))
    assert error.value.exit_code == 3


def test_tasks_that_one_side_lacks_are_named(tmp_path: Path):
    found = compare(*systems(tmp_path, [made([0.1], task="A"), made([0.1], task="B")], [made([0.1], task="B")]))
    assert found.notes == ["only org/model has A over bm25 top 100"]


def test_another_measure_can_be_asked_for_and_must_be_there(cli: Cli, runs: dict[str, Path]):
    (row,) = compared(cli, runs["whole"], runs["end"], "--measure", "MAP@100")["rows"]
    assert row["measure"] == "MAP@100"
    answer = cli("compare", runs["whole"], runs["end"], "--measure", "P@3")
    assert answer.code == 3
    assert "P@3 was not measured" in answer.err


def test_p_mrr_brings_its_companions_and_is_shown_times_a_hundred(cli: Cli, tmp_path: Path):
    def instructed(value: float):
        result = made([value] * 3, measure="p-MRR")
        measures = {"p-MRR": {"reranked": value}, "nDCG@5 og": {"reranked": 0.5}, "nDCG@5 changed": {"reranked": 0.4}}
        values = {name: {"reranked": [row["reranked"]] * 3} for name, row in measures.items()}
        from dataclasses import replace

        return replace(result, measures=measures, values=values)

    assert headlines(instructed(0.1), None) == ["p-MRR", "nDCG@5 og", "nDCG@5 changed"]
    one, two = saved(tmp_path / "a", instructed(0.125)), saved(tmp_path / "b", instructed(0.25))
    answer = cli("compare", one, two)
    assert "+12.50" in answer.out
    assert "12.50" in answer.out.split("p-MRR")[1]


def test_instructions_taken_away_are_other_data_whose_texts_are_still_found(cli: Cli, tmp_path: Path):
    from harness.data.collection import find_prepared

    write_lines(tmp_path / "end.py", [WORDS.format(side="end", cut="1:3")])
    with_them, without = (
        cli("run", "DemoInstructions", "--reranker", tmp_path / "end.py:rank", *more, "--format", "json").results()[0]
        for more in ([], ["--instructions", "none"])
    )
    assert cli("compare", with_them["path"], without["path"]).code == 3
    bare = find_prepared(load_result(Path(without["path"])).collection, tmp_path / "cache")
    assert bare is not None
    assert not any(query.instruction for query in bare.queries.values())


def test_kept_rankings_come_back_to_the_bit(tmp_path: Path):
    from harness.results.rankings import keep_rankings, read_rankings

    run = {"q 1": {"d/1": float(np.float32(0.1)), "d\t2": float(np.float32(1e-30))}, "q2": {}}
    keep_rankings(made([0.5]), None, run, tmp_path)
    assert read_rankings(made([0.5]), tmp_path) == {"reranked": run}
    assert read_rankings(made([0.5], task="Other"), tmp_path) == {}
    (file,) = (tmp_path / "rankings").iterdir()
    file.write_bytes(file.read_bytes()[:-9])
    assert read_rankings(made([0.5]), tmp_path) == {}


@pytest.mark.parametrize("verb", ["compare", "gate", "report", "explain"])
def test_no_verb_on_results_imports_what_models_need(cli: Cli, runs: dict[str, Path], tmp_path: Path, verb: str):
    words = {
        "compare": ["compare", runs["whole"], runs["end"]],
        "gate": ["gate", "--baseline", tmp_path / "results", "--current", tmp_path / "results"],
        "report": ["report", runs["whole"], "--output", tmp_path / "page.html"],
        "explain": ["explain", "RH001"],
    }[verb]
    program = (
        "import sys\nfrom harness.commands.cli import main\ncode = main(sys.argv[1:])\n"
        "print(*[n for n in ('torch', 'transformers', 'mteb', 'pandas') if n in sys.modules], file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.split() == []


@pytest.mark.parametrize("verb", ["compare", "report"])
def test_texts_are_looked_up_without_reading_the_corpus_through(verb, cli: Cli, runs: dict[str, Path], tmp_path: Path):
    from harness.data.collection import find_prepared

    result = load_result(runs["whole"])
    collection = find_prepared(result.collection, tmp_path / "cache")
    assert collection is not None
    known = collection.documents(["d00", "d47", "d05"])
    assert collection.few_documents(["d47", "nothing", "d00", "d05", "zz", ""]) == known
    assert find_prepared("0" * 32, tmp_path / "cache") is None
