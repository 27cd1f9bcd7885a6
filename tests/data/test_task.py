"""Cards: what they say, what they refuse, and that they say what mteb's metadata says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Cli, write_collection

from harness.data import mteb_task
from harness.data.task import Cards, select_languages
from harness.errors import HarnessError
from harness.interchange.names import measure_of
from harness.types import Aggregate, Measure, Task

PACKED = Cards()
NAMES = [name for name in PACKED.names() if not name.startswith("Demo")]
TASKS = [name for name in NAMES if PACKED.aggregate(name) is None]
WITHOUT_COUNTS = ("XQuADRetrieval",)
KINDS = ["Retrieval", "Reranking", "InstructionRetrieval", "InstructionReranking"]
MEASURES = {
    "map_at_1000": "MAP@1000",
    "ndcg_at_10": "nDCG@10",
    "p-MRR": "p-MRR",
    "recall_at_1": "R@1",
    "robustness_at_10": "robustness@10",
}


@pytest.fixture(scope="module")
def mteb() -> Any:
    """The installed mteb; importing it takes seconds."""
    import mteb

    return mteb


def packed(name: str) -> Task:
    return PACKED.task(name)


# -- the cards against mteb's metadata


def of_card(task: Task) -> dict[str, object]:
    return {
        "path": task.path,
        "revision": task.revision,
        "splits": sorted({subset.split for subset in task.subsets}),
        "languages": {subset.name: sorted(set(subset.languages)) for subset in task.subsets},
        "headline": str(task.headline),
        "identical ids leave": task.drop_identical_ids,
        "counts": {subset.name: (subset.queries, subset.documents) for subset in task.subsets},
        "prompt": task.prompt,
    }


def of_mteb(task: Any) -> dict[str, object]:
    metadata = task.metadata
    spoken = metadata.eval_langs
    languages = spoken if isinstance(spoken, dict) else {"default": spoken}
    prompt = metadata.prompt
    return {
        "path": metadata.dataset["path"],
        "revision": metadata.dataset["revision"],
        "splits": sorted(metadata.eval_splits),
        "languages": {name: sorted(set(codes)) for name, codes in languages.items()},
        "headline": MEASURES.get(metadata.main_score, metadata.main_score),
        "identical ids leave": bool(task.ignore_identical_ids),
        "counts": counts_of(metadata.descriptive_stats, languages),
        "prompt": (prompt.get("query") if isinstance(prompt, dict) else prompt) or "",
    }


def counts_of(statistics: Any, languages: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """(queries, documents) of each subset; older statistics say only how many samples there are in all."""
    (of_split,) = statistics.values()
    found = {}
    for name in languages:
        entry = of_split if name == "default" else of_split["hf_subset_descriptive_stats"][name]
        relevant = entry["relevant_docs_statistics"]
        queries = entry.get("num_queries")
        if queries is None:
            queries = round(relevant["num_relevant_docs"] / relevant["average_relevant_docs_per_query"])
        documents = entry.get("num_documents")
        found[name] = (queries, entry["num_samples"] - queries if documents is None else documents)
    return found


def drift(name: str, card: dict[str, object], theirs: dict[str, object]) -> list[str]:
    said = {key: value for key, value in card.items() if key != "counts" or name not in WITHOUT_COUNTS}
    return [f"{name}, {key}: the card says {said[key]}, mteb {theirs[key]}" for key in said if said[key] != theirs[key]]


@pytest.mark.parametrize("name", TASKS)
def test_a_card_says_what_mteb_says(mteb, name):
    assert drift(name, of_card(packed(name)), of_mteb(mteb.get_task(name))) == []


def test_a_card_that_drifts_is_told_with_both_sides(mteb):
    from dataclasses import replace

    moved = of_card(replace(packed("SciFact"), revision="0" * 40))
    (line,) = drift("SciFact", moved, of_mteb(mteb.get_task("SciFact")))
    assert "the card says 0000" in line
    assert f"mteb {packed('SciFact').revision}" in line


def test_the_aggregate_cards_have_the_members_that_mteb_says(mteb):
    aggregates = [name for name in NAMES if PACKED.aggregate(name) is not None]
    assert aggregates == ["CQADupstackRetrieval"]
    for name in aggregates:
        card = PACKED.aggregate(name)
        theirs = mteb.get_task(name)
        assert sorted(card.members) == sorted(member.metadata.name for member in theirs.metadata.tasks)
        assert card.means[0][0] == MEASURES[theirs.metadata.main_score]


def test_a_reranking_task_brings_its_lists_and_no_other_does(mteb):
    for name in TASKS:
        task = packed(name)
        assert task.given_lists == mteb.get_task(name).metadata.type.endswith("Reranking"), name
        # BRIGHT's list is what may be ranked, which is the corpus without the excluded documents.
        assert not (task.given_lists and name.startswith("Bright"))


def test_where_two_languages_meet_the_documents_one_stands_first():
    subsets = {subset.name: subset.languages for subset in packed("mFollowIRCrossLingual").subsets}
    assert subsets == {
        "eng-fas": ("fas-Arab", "eng-Latn"),
        "eng-rus": ("rus-Cyrl", "eng-Latn"),
        "eng-zho": ("zho-Hans", "eng-Latn"),
    }


@pytest.mark.parametrize(
    ("name", "measures"),
    [
        ("Robust04InstructionRetrieval", ["p-MRR", "MAP@1000", "nDCG@10"]),
        ("Core17InstructionRetrieval", ["p-MRR", "MAP@1000", "nDCG@10"]),
        ("News21InstructionRetrieval", ["p-MRR", "nDCG@5", "nDCG@10"]),
        ("T2Reranking", ["MAP@1000", "nDCG@10", "RR@10"]),
        ("InstructIR", ["robustness@10", "nDCG@10"]),
    ],
)
def test_a_card_reports_its_papers_measures(name, measures):
    assert list(map(str, packed(name).measures)) == measures


def test_every_packed_card_is_in_a_suite_or_an_aggregate_or_stands_alone():
    inside = {member for entry in PACKED.suites() for member in members(entry)}
    alone = set(PACKED.names()) - inside
    assert alone == {"BrightLongRetrieval", "BrightRetrieval", "InstructIR", "XQuADRetrieval"}


def members(name: str) -> set[str]:
    aggregate = PACKED.aggregate(name)
    if aggregate is None:
        return {name}
    return {name, *(inner for member in aggregate.members for inner in members(member))}


# -- suites


def test_beir_is_fifteen_data_sets_with_the_forums_as_one(tmp_path):
    beir = PACKED.aggregate("BEIR")
    assert isinstance(beir, Aggregate)
    assert len(beir.members) == 15
    assert beir.means == (("nDCG@10", ("nDCG@10",) * 15),)
    assert len(PACKED.resolve(["BEIR"], tmp_path)) == 26
    assert [aggregate.name for aggregate in PACKED.aggregates(["BEIR"], tmp_path)] == ["CQADupstackRetrieval", "BEIR"]


def test_followir_has_the_papers_two_means():
    means = dict(PACKED.aggregate("FollowIR").means)
    assert means["p-MRR"] == ("p-MRR",) * 3
    assert means["score"] == ("MAP@1000 og", "nDCG@5 og", "MAP@1000 og")


@pytest.mark.parametrize("suite", sorted(PACKED.suites()))
def test_a_packed_suite_says_its_mean_or_that_there_is_none(suite):
    entry = yaml.safe_load((ROOT / "tasks" / "suites.yaml").read_text())[suite]
    aggregate = PACKED.aggregate(suite)
    assert bool(aggregate.means) == (entry.get("mean") != "none")
    for _, measures in aggregate.means:
        for member, measure in zip(aggregate.members, measures, strict=True):
            inner = PACKED.aggregate(member)
            if inner is None and member not in NAMES:
                continue  # a task of mteb, without a card
            names = [name for name, _ in inner.means] if inner else list(map(str, packed(member).measures))
            assert measure.removesuffix(" og") in names


def cards_in(folder: Path, **files: str) -> Cards:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return Cards(folder)


CARD = "path: org/data\nrevision: " + "ab" * 20 + "\nmeasures: [{}]\n"


def test_a_suite_of_ones_own_may_hold_suites_and_have_a_mean_of_its_own(tmp_path):
    suites = "Mine:\n  tasks: [Inner, One]\nInner:\n  tasks: [One, Two]\n  mean: {early: {One: nDCG@5, Two: MAP@10}}\n"
    cards = cards_in(tmp_path / "c", One=CARD.format("nDCG@5"), Two=CARD.format("MAP@10"), suites=suites)
    assert [task.name for task in cards.resolve(["Mine"], tmp_path)] == ["One", "Two"]
    assert dict(cards.aggregate("Inner").means) == {"early": ("nDCG@5", "MAP@10")}
    assert cards.aggregate("Mine").means == ()


@pytest.mark.parametrize(
    ("suites", "said"),
    [
        ("A:\n  tasks: [B]\nB:\n  tasks: [A]\n", "lists itself: A → B → A"),
        ("A:\n  tasks: []\n", "lists no tasks"),
        ("A:\n  tasks: [One]\n  mean: {x: {Other: nDCG@5}}\n", "needs one measure for each of its tasks"),
        ("A:\n  tasks: [One]\n  average: none\n", 'unknown key "average"'),
    ],
)
def test_a_mistake_in_a_suite_is_told(tmp_path, suites, said):
    with pytest.raises(HarnessError, match=said):
        cards_in(tmp_path / "c", One=CARD.format("nDCG@5"), suites=suites).resolve(["A"], tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tasks: [SciFact]\nmean: weighted\n", '"mean" is unweighted, not "weighted"'),
        ("tasks: [SciFact]\npath: org/data\n", 'unknown key "path"'),
        ("name: Other\ntasks: [SciFact]\n", 'its name is "Other"'),
    ],
)
def test_a_mistake_in_an_aggregate_card_is_told(tmp_path, text, said):
    with pytest.raises(HarnessError, match=said):
        cards_in(tmp_path / "c", Mine=text).resolve(["Mine"], tmp_path)


# -- languages and splits


def test_languages_are_chosen_by_subset_or_by_code():
    (task,) = select_languages([packed("MIRACLRetrieval")], ["zh", "swa"])
    assert [subset.name for subset in task.subsets] == ["sw", "zh"]
    assert task.left_out == 16


def test_a_language_that_no_task_has_is_told():
    with pytest.raises(HarnessError, match='no task has the language "xx"'):
        select_languages([packed("MIRACLRetrieval")], ["xx"])


def test_language_is_refused_where_a_card_says_it(tmp_path):
    with pytest.raises(HarnessError, match="--language says the language of a folder or a hub data set"):
        PACKED.resolve(["SciFact"], tmp_path, language="zho")


def test_a_folder_takes_the_language_that_is_given(tmp_path):
    folder = write_collection(tmp_path / "birds")
    (task,) = PACKED.resolve([str(folder)], tmp_path / "cache", language="zho")
    assert task.subsets[0].languages == ("zho",)
    (task,) = PACKED.resolve([str(folder)], tmp_path / "cache")
    assert task.subsets[0].languages == ("eng-Latn",)


# -- tasks of mteb that have no card


def test_a_task_of_mteb_without_a_card_is_taken_from_its_metadata_and_remembered(tmp_path, mteb):
    (task,) = PACKED.resolve(["AskUbuntuDupQuestions"], tmp_path)
    assert (task.origin, task.given_lists, task.loader) == ("mteb", True, "")
    assert task.headline == Measure("MAP", 1000)
    (again,) = PACKED.resolve(["AskUbuntuDupQuestions"], tmp_path)
    assert again == task


def test_several_splits_of_mteb_are_parts_of_the_task(tmp_path, mteb):
    (task,) = PACKED.resolve(["LEMBPasskeyRetrieval"], tmp_path)
    assert [subset.name for subset in task.subsets][:2] == ["test_256", "test_512"]
    (one,) = PACKED.resolve(["LEMBPasskeyRetrieval"], tmp_path, split="test_512")
    assert [subset.split for subset in one.subsets] == ["test_512"]


def test_an_aggregate_of_mteb_is_its_tasks_and_their_mean(tmp_path, mteb):
    tasks = PACKED.resolve(["CQADupstack-NL"], tmp_path)
    assert len(tasks) == 12
    (aggregate,) = PACKED.aggregates(["CQADupstack-NL"], tmp_path)
    assert aggregate.means == (("nDCG@10", ("nDCG@10",) * 12),)


def test_a_measure_that_is_mtebs_alone_is_said(tmp_path, mteb, monkeypatch):
    """None of today is; one that a later version brings is not taken for a measure of ours."""
    theirs = mteb.get_task("NevIR")
    theirs.metadata = theirs.metadata.model_copy(update={"main_score": "tripled_accuracy"})
    monkeypatch.setattr(mteb_task, "_instance", lambda name: theirs)
    (task,) = PACKED.resolve(["NevIR"], tmp_path)
    assert task.headline == Measure("nDCG", 10)
    assert "tripled_accuracy is not one of ours" in task.note


def test_every_main_score_of_mtebs_ranking_tasks_is_a_measure_of_ours(mteb):
    scores = {task.metadata.main_score for task in mteb.get_tasks(task_types=KINDS, exclude_superseded=False)}
    assert len(scores) > 10
    assert [score for score in scores if measure_of(score) is None] == []


def test_a_task_of_pictures_is_refused(tmp_path, mteb):
    pictures = next(task for task in mteb.get_tasks(task_types=["Retrieval"]) if "image" in task.metadata.modalities)
    with pytest.raises(HarnessError, match="only texts can be reranked"):
        PACKED.resolve([pictures.metadata.name], tmp_path)
    (shown,) = PACKED.resolve([pictures.metadata.name], tmp_path, only_texts=False)
    assert "image" in shown.modalities


def test_another_split_of_a_task_of_several_is_one_subset(tmp_path, mteb):
    (task,) = PACKED.resolve(["LEMBPasskeyRetrieval"], tmp_path, split="test_9")
    assert [(subset.name, subset.split) for subset in task.subsets] == [("default", "test_9")]


def test_an_unknown_name_is_told_with_what_is_near_it(cli: Cli):
    answer = cli("run", "SciFcat")
    assert answer.code == 2
    assert 'unknown task or suite "SciFcat"' in answer.err
    assert '"SciFact"' in answer.err


# -- folders without a card


def test_a_folder_of_languages_is_a_task_of_several_subsets(tmp_path):
    for language in ("de", "sw"):
        folder = write_collection(tmp_path / "many" / language)
        (folder / "qrels" / "test.tsv").rename(folder / "qrels.tsv")
    (task,) = PACKED.resolve([str(tmp_path / "many")], tmp_path / "cache")
    assert [(subset.name, subset.languages, subset.split) for subset in task.subsets] == [
        ("de", ("de",), "test"),
        ("sw", ("sw",), "test"),
    ]


def test_a_folder_with_plain_names_is_one_subset_whatever_lies_beside_them(tmp_path):
    folder = write_collection(tmp_path / "birds")
    write_collection(folder / "old")
    (task,) = PACKED.resolve([str(folder)], tmp_path / "cache")
    assert [subset.name for subset in task.subsets] == ["default"]


def test_a_folder_with_several_splits_and_no_usual_one_asks_for_a_choice(tmp_path):
    folder = write_collection(tmp_path / "birds")
    for name in ("left", "right"):
        (folder / "qrels" / f"{name}.tsv").write_text((folder / "qrels" / "test.tsv").read_text())
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(HarnessError, match="has the splits left, right: choose one with --split"):
        PACKED.resolve([str(folder)], tmp_path / "cache")
    (task,) = PACKED.resolve([str(folder)], tmp_path / "cache", split="right")
    assert task.subsets[0].split == "right"


def test_the_readme_of_a_folder_says_its_language(tmp_path):
    folder = write_collection(tmp_path / "birds")
    (folder / "README.md").write_text("---\nlanguage: no\n---\n")
    (task,) = PACKED.resolve([str(folder)], tmp_path / "cache")
    assert task.subsets[0].languages == ("no",)


def test_lists_and_changed_instructions_are_seen_in_a_folder(tmp_path):
    lists = ROOT / "tasks" / "demo" / "instructions"
    (task,) = PACKED.resolve([str(lists)], tmp_path / "cache")
    assert task.given_lists
    assert task.headline == Measure("p-MRR")
