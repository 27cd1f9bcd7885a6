"""mteb's benchmarks as suites: their names, what is taken of each, what is left out, and their means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_results import made

from harness.data.mteb_suites import _registered, benchmark, benchmark_names
from harness.data.mteb_task import memory_of
from harness.data.task import Cards, select_languages
from harness.errors import HarnessError
from harness.results.means import means_of

RETRIEVAL = [{"name": "SciFact", "measure": "nDCG@10", "part": None}]
KOREAN = [{"name": "MIRACLReranking", "measure": "MAP@1000", "part": [["ko"], ["dev"]]}]
THAI = [{"name": "MIRACLReranking", "measure": "MAP@1000", "part": [["th", "sw"], ["dev"]]}]
ENTRIES = [
    {"name": "MTEB(any, v1)", "aliases": ["ANY w/all"], "kinds": {"Retrieval": RETRIEVAL, "Reranking": KOREAN}, "left_out": {"STS": 3}, "size": 5},
    {"name": "Small", "aliases": [], "kinds": {"Retrieval": RETRIEVAL * 1}, "left_out": {}, "size": 1},
    {"name": "Korean", "aliases": [], "kinds": {"Reranking": KOREAN}, "left_out": {}, "size": 1},
    {"name": "Others", "aliases": [], "kinds": {"Reranking": THAI}, "left_out": {}, "size": 1},
    {"name": "Pictures", "aliases": [], "kinds": {}, "left_out": {"Retrieval of text and image": 2}, "size": 2},
    {"name": "Gone", "aliases": [], "kinds": {"Reranking": [{**KOREAN[0], "part": [["xx"], ["dev"]]}]}, "left_out": {}, "size": 1},
]  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache in which these benchmarks are remembered as mteb's."""
    memory = memory_of(tmp_path, "benchmarks", "1")
    memory.parent.mkdir(parents=True)
    memory.write_text(json.dumps(ENTRIES))
    return tmp_path


@pytest.mark.parametrize("word", ["MTEB(any, v1)", "mteb(ANY,v1)", "any W/All"])
def test_a_benchmark_is_found_by_name_or_alias_in_any_case(cache: Path, word):
    tasks = Cards().resolve([word], cache)
    assert [task.name for task in tasks] == ["SciFact", "MIRACLReranking"]
    assert [subset.name for subset in tasks[1].subsets] == ["ko"]
    assert tasks[1].left_out == 17
    (*inner, whole) = Cards().aggregates([word], cache)
    assert [one.name for one in inner] == ["MTEB(any, v1): Retrieval", "MTEB(any, v1): Reranking"]
    assert whole.name == "MTEB(any, v1)"
    assert whole.note == (
        "2 of its 5 tasks are taken (1 Retrieval, 1 Reranking); left out, for they rank no texts: 3 STS"
    )


def test_one_kind_of_a_benchmark_is_a_suite_too(cache: Path):
    assert [task.name for task in Cards().resolve(["mteb(any, v1): reranking"], cache)] == ["MIRACLReranking"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (
            "Pictures",
            "Pictures has no retrieval, reranking or instruction task of texts: 2 Retrieval of text and image",
        ),
        ("Gone", "MIRACLReranking has none of the parts xx that the benchmark takes"),
    ],
)
def test_a_benchmark_of_nothing_of_ours_is_one_line(cache: Path, word, said):
    with pytest.raises(HarnessError, match=said):
        Cards().resolve([word], cache)


@pytest.mark.parametrize(
    ("word", "name"), [("scifact", "SciFact"), ("beir", "BEIR"), ("c-mteb-RERANKING", "C-MTEB-reranking")]
)
def test_cards_and_suites_are_found_in_any_case(cache: Path, word, name):
    assert Cards().resolve([word], cache) == Cards().resolve([name], cache)
    assert Cards().aggregates([word], cache) == Cards().aggregates([name], cache)


def test_a_folder_goes_before_a_card_in_another_case(cache: Path, monkeypatch, collection_folder: Path):
    collection_folder.rename(cache / "scifact")
    monkeypatch.chdir(cache)
    assert [task.folder for task in Cards().resolve(["scifact"], cache)] == [True]


def test_a_mean_is_over_the_parts_that_its_own_benchmark_takes(cache: Path):
    cards = Cards()
    tasks = cards.resolve(["Korean", "Others"], cache)
    figures = {"ko": 0.5, "th": 0.2, "sw": 0.4}
    results = [
        made([value], task="MIRACLReranking", subset=name, measure="MAP@1000", top_k=None)
        for name, value in figures.items()
    ]
    means = {mean.name: mean for mean in means_of(results, tasks, cards.aggregates(["Korean", "Others"], cache))}
    assert means["Korean"].measures["MAP@1000"]["reranked"] == 0.5
    assert means["Others"].measures["MAP@1000"]["reranked"] == pytest.approx(0.3)
    assert means["Korean"].whole
    fewer = select_languages(tasks, ["sw"])
    assert [mean.name for mean in means_of(results, fewer, cards.aggregates(["Others"], cache))] == []


def test_names_are_those_of_benchmarks_with_a_task_of_ours(cache: Path):
    assert set(benchmark_names(cache)) == {"MTEB(any, v1)", "Small", "Korean", "Others", "Gone"}
    assert benchmark("Unheard of", cache) is None


def test_mtebs_own_registry_is_read_whole():
    import mteb

    found = {entry["name"]: entry for entry in _registered()}
    assert set(found) == {one.name for one in mteb.get_benchmarks()}
    for name in ("MTEB(eng, v2)", "R2MED", "BRIGHT-Pro", "CoIR", "MTEB(kor, v1)", "ViDoRe(v2)"):
        entry, theirs = found[name], mteb.get_benchmark(name).tasks
        taken = [task["name"] for tasks in entry["kinds"].values() for task in tasks]
        ours = ("Retrieval", "Reranking", "InstructionRetrieval", "InstructionReranking")
        expected = [t.metadata.name for t in theirs if t.metadata.type in ours and t.metadata.modalities == ["text"]]
        assert sorted(taken) == sorted(expected)
        assert len(taken) + sum(entry["left_out"].values()) == entry["size"] == len(list(theirs))
    (reranking,) = found["MTEB(kor, v1)"]["kinds"]["Reranking"]
    assert reranking == {"name": "MIRACLReranking", "measure": "nDCG@10", "part": [["ko"], ["dev"]]}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("TREC-DL-2021", "irds:msmarco-passage-v2/trec-dl-2021/judged"),
        ("DL23", "--relevance-level 2"),
        ("trec dl 22", "--relevance-level 2"),
        ("MAIR", "folders in BEIR's layout"),
    ],
)
def test_well_known_data_that_are_no_task_say_the_way(cache: Path, monkeypatch, word, said):
    from harness.data import mteb_task

    monkeypatch.setattr(mteb_task, "look_up", lambda *_, **__: None)
    memory_of(cache, "").write_text("[]")
    with pytest.raises(HarnessError, match=said):
        Cards().resolve([word], cache)


@pytest.mark.parametrize("words", [{"tasks": ["mteb(any,v1)"]}, {"suites": ["ANY w/all"]}])
def test_a_board_of_a_benchmark_ranks_within_a_kind_and_never_over_unlike_measures(cache: Path, words):
    from harness.boards.board import board_of
    from harness.boards.columns import views_of

    board = board_of("any", words, Cards(), cache)
    assert board.words == ("MTEB(any, v1)",)
    whole = views_of(board)[0]
    assert (whole.key.name, whole.key.measure) == ("MTEB(any, v1): Retrieval", "nDCG@10")
    assert [column.kind for column in (whole.key, *whole.columns)] == ["mean", "mean", "task", "task"]
    with pytest.raises(HarnessError, match='"Unheard of" is no suite'):
        board_of("x", {"suites": ["Unheard of"]}, Cards(), cache)


def test_two_parts_of_one_task_need_a_board_each(cache: Path):
    from harness.boards.board import board_of

    with pytest.raises(HarnessError, match="take different parts of MIRACLReranking"):
        board_of("x", {"tasks": ["Korean", "Others"]}, Cards(), cache)
