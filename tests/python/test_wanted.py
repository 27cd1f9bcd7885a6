"""Settings of one reranker, tables of rerankers, sweeps: on the command line, in a file and in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands.test_bad_input import one_line
from conftest import DATA, Cli, Counter, make_counter
from python.test_run import QUERIES, Scorer, shared_words, task

import harness
from harness import HarnessError
from harness.engine.options import Options
from harness.python.running import Running
from harness.python.wanted import Wanted, open_wanted, settings_of, wanted_of

MODEL = DATA / "models" / "cross-encoder"
REMOTE = "remote:tei/my/model"
URL = "http://localhost:8080/a=b:c"


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def opened(names: list[Any], *settings: str, say: Any = lambda _: None) -> list[dict[str, Any]]:
    """The settings of each reranker, with its name."""
    wanted = [each if isinstance(each, Wanted) else Wanted(str(each)) for each in names]
    flags = tuple((key, value) for key, _, value in (flag.partition("=") for flag in settings))
    found = open_wanted(wanted, Running(settings=flags), Options(), Path("cache"), say)
    return [{**dict(each.spec.settings), "called": each.spec.name} for each in found]


def test_a_setting_with_a_name_before_it_is_for_that_one_alone():
    local, remote = opened([MODEL, REMOTE], f"{REMOTE}:url={URL}", "max_length=32")
    assert (local["max_length"], remote["host"]) == (32, "localhost:8080/a=b:c")
    assert "max_length" not in remote


def test_what_is_ones_own_goes_before_what_is_for_all():
    first, second = opened([MODEL, Wanted(str(MODEL), label="b", settings=(("max_length", "40"),))], "max_length=32")
    assert (first["max_length"], second["max_length"]) == (32, 40)
    (found,) = opened([Wanted(str(MODEL), label="b", settings=(("max_length", "40"),))], "b:max_length=48")
    assert found["max_length"] == 48


def test_names_may_hold_slashes_and_equals_signs(tmp_path: Path):
    import shutil

    folder = tmp_path / "lr=3e-5" / "ckpt"
    shutil.copytree(MODEL, folder)
    (found,) = opened([folder], f"{folder}:max_length=24")
    assert found["max_length"] == 24


def test_a_setting_that_some_do_not_have_is_said_and_one_that_none_has_refused():
    said: list[str] = []
    opened([MODEL, REMOTE], f"{REMOTE}:url={URL}", "max_length=32", say=said.append)
    assert said == [
        f"--set max_length is no setting of {REMOTE}: run without it (NAME:max_length=… is for one reranker)"
    ]
    with pytest.raises(HarnessError, match=r"--set max_lenght: no reranker has it; .*Did you mean \"max_length\""):
        opened([MODEL, REMOTE], f"{REMOTE}:url={URL}", "max_lenght=32")
    with pytest.raises(HarnessError, match=rf'{REMOTE}: the family remote has no setting "max_length"'):
        opened([MODEL, REMOTE], f"{REMOTE}:url={URL}", f"{REMOTE}:max_length=32")


def test_a_name_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(HarnessError, match=r'no reranker here is called "remote:tei/my/modle".*Did you mean "remote'):
        opened([REMOTE], f"remote:tei/my/modle:url={URL}")


def test_several_values_are_a_reranker_each_and_equal_ones_are_one():
    found = opened([MODEL], "max_length=32", "max_length=48", "max_length=32")
    assert [each["max_length"] for each in found] == [32, 48]
    grid = opened([MODEL], "max_length=32", "max_length=48", "instruction=a", "instruction=b")
    assert len({(each["max_length"], each["instruction"]) for each in grid}) == 4
    said: list[str] = []
    assert (
        len(opened([MODEL, Wanted(str(MODEL), settings=(("max_length", "32"),))], "max_length=32", say=said.append))
        == 1
    )
    assert "twice" in said[0]


def test_a_sweep_scores_what_it_shares_once(cli: Cli, collection_folder: Path, counter: Counter):
    answer = cli("run", collection_folder, "--reranker", counter.name, "--top-k", "2,6,4", "--format", "json")
    assert [result["top_k"] for result in answer.results()] == [6, 4, 2]
    asked = counter.pairs()
    assert len(set(asked)) == 36
    assert [each["performance"]["pairs_scored"] for each in answer.results()] == [36, 0, 0]
    assert [each["performance"]["pairs_from_store"] for each in answer.results()] == [0, 24, 12]
    alone = cli(
        "run", collection_folder, "--reranker", counter.name, "--top-k", 4, "--format", "json", "--results", "r2"
    )
    assert alone.results()[0]["measures"] == answer.results()[1]["measures"]


def test_tables_in_the_file_give_each_what_is_its_own(cli: Cli, collection_folder: Path, counter: Counter):
    Path("rerank-harness.toml").write_text(f"""
tasks = ["{collection_folder}"]
top-k = [3, 5]
limit = 2
format = "json"

[[reranker]]
name = "{MODEL}"
label = "ours"
instruction = "Find the birds"
set = {{ max_length = [20, 30] }}

[[reranker]]
name = "{counter.name}"
dtype = "bfloat16"
""")
    found = cli("run").results()
    assert [(each["reranker"], each["top_k"], each["environment"]["dtype"]) for each in found] == [
        ("ours (max_length 20)", 5, "float32"), ("ours (max_length 20)", 3, "float32"),
        ("ours (max_length 30)", 5, "float32"), ("ours (max_length 30)", 3, "float32"),
        ("counting.py:counting", 5, "bfloat16"), ("counting.py:counting", 3, "bfloat16"),
    ]  # fmt: skip
    assert [each["performance"]["pairs_scored"] for each in found][:4] == [10, 0, 10, 0]
    shown = cli("run", "--format", "text").out
    assert "→ 3 rerankers" in shown
    assert "ours (max_length 30) over BM25 top 3 " in " ".join(shown.split())


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('label = "a"', ["line 3", "number 1", "has no name"]),
        ('name = "x"\nmax_length = 3', ['no key "max_length"', "it has name"]),
        ('name = "x"\nlabels = "a"', ['Did you mean "label"']),
        ('name = "x"\nset = 3', ["set is a table"]),
        ('name = "x"\nset = {a = []}', ["empty list"]),
        ('name = "x"\nset = {a = [[1]]}', ["word or a number"]),
        ('name = "x"\ndevice = 1', ["device is a word"]),
    ],
)
def test_a_mistake_in_a_table_is_one_line(cli: Cli, table: str, said: list[str]):
    Path("rerank-harness.toml").write_text(f'tasks = ["x"]\n\n[[reranker]]\n{table}\n')
    one_line(cli("run"), *said)


def test_the_same_in_python():
    found = harness.run(
        task(), [{"name": shared_words, "label": "words"}, {"name": str(MODEL), "set": {"max_length": [20, 30]}}],
        top_k=[2, 4],
    )  # fmt: skip
    assert [(each.reranker, each.result.identity.top_k) for each in found] == [
        ("words", 4), ("words", 2),
        ("cross-encoder (max_length 20)", 4), ("cross-encoder (max_length 20)", 2),
        ("cross-encoder (max_length 30)", 4), ("cross-encoder (max_length 30)", 2),
    ]  # fmt: skip
    assert set(found.frame()["label"]) == {each.reranker for each in found}


def test_settings_of_functions_and_objects_are_refused_as_those_of_code_in_files_are():
    for given in (shared_words, Scorer(1.0)):
        with pytest.raises(HarnessError, match='the family plug-in has no setting "max_length"'):
            harness.run(task(), given, settings={"max_length": 3})
        with pytest.raises(HarnessError, match="no other family than plug-in"):
            harness.run(task(), given, family="causal")
        with pytest.raises(HarnessError, match="has no setting"):
            harness.check(given, settings={"max_length": 3})
    with pytest.raises(HarnessError, match="has no setting"):
        harness.score(shared_words, [("a", "b")], settings={"x": 3})


def test_two_functions_of_one_name_would_be_one_result():
    def one(name: str) -> Any:
        def scorer(query: str, documents: list[str]) -> list[float]:
            return [float(len(text)) for text in documents]

        return scorer

    with pytest.raises(HarnessError, match="nothing tells their results apart: give one a label"):
        harness.run(task(), [one("a"), one("b")])
    found = harness.run(task(), [{"name": one("a"), "label": "a"}, {"name": one("b"), "label": "b"}], top_k=2)
    assert [each.reranker for each in found] == ["a", "b"]
    assert len(QUERIES) * 2 == len(found[0].rankings())


def test_a_depth_is_a_whole_number():
    for wrong in (0, [5, "many"], [True]):
        with pytest.raises(HarnessError, match="top-k is a whole number above 0"):
            harness.run(task(), shared_words, top_k=wrong)


def test_settings_are_words_and_numbers():
    assert settings_of({"a": [1, True], "b": 0.5}) == (("a", "1"), ("a", "true"), ("b", "0.5"))
    for wrong in ({"a": None}, {"a": {"b": 1}}, {"a": []}):
        with pytest.raises(HarnessError, match="settings: a"):
            settings_of(wrong)
    with pytest.raises(HarnessError, match="name is a reranker"):
        wanted_of({"name": 3}, "it")


def test_a_verb_for_one_reranker_takes_its_name_and_no_sweep(cli: Cli, tmp_path: Path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"query": "amber", "text": "birch"}\n')
    plain = cli("score", MODEL, pairs, "--set", "max_length=16")
    assert cli("score", MODEL, pairs, "--set", f"{MODEL}:max_length=16").out == plain.out
    one_line(cli("score", MODEL, pairs, "--set", "max_length=16", "--set", "max_length=8"), "several", "ask for one")


def test_an_undeclared_counter_is_still_scored_again(cli: Cli, collection_folder: Path, tmp_path: Path, monkeypatch):
    undeclared = make_counter(tmp_path, monkeypatch, "")
    found = cli("run", collection_folder, "--reranker", undeclared.name, "--top-k", "2,4", "--format", "json").results()
    assert [each["performance"]["pairs_scored"] for each in found] == [24, 12], "what may change is never shared"


def test_the_plan_of_a_sweep_counts_what_it_shares_once(cli: Cli, collection_folder: Path):
    import json

    words = ("run", collection_folder, "--reranker", MODEL, "--set", "max_length=20", "--set", "max_length=30")
    cli("run", collection_folder, "--top-k", "2,4")
    found = json.loads(cli(*words, "--top-k", "2,4", "--dry-run", "--format", "json").out)["plan"]
    assert [(each["reranker"], each["top_k"], each["pairs"], each["from_store"]) for each in found] == [
        ("cross-encoder (max_length 20)", 4, 24, 0), ("cross-encoder (max_length 20)", 2, 12, 12),
        ("cross-encoder (max_length 30)", 4, 24, 0), ("cross-encoder (max_length 30)", 2, 12, 12),
    ]  # fmt: skip


def test_files_and_objects_of_one_name_are_told_apart_by_their_folders(cli: Cli, collection_folder: Path):
    for place, sign in (("a", ""), ("b", "-")):
        Path(place, "ckpt").mkdir(parents=True)
        Path(place, "mine.py").write_text(
            f"def rank(query, documents):\n    return [{sign}len(text) for text in documents]\n"
        )
    words = ("--reranker", "a/mine.py:rank", "--reranker", "b/mine.py:rank", "--top-k", 4, "--format", "json")
    found = cli("run", collection_folder, *words).results()
    assert [each["reranker"] for each in found] == ["a/mine.py:rank", "b/mine.py:rank"]
    assert sorted(path.name for path in Path("results").iterdir()) == ["a__mine.py-rank", "b__mine.py-rank"]
    assert "a/mine.py:rank" in cli("run", collection_folder, *words[:-2]).out
    assert [each["reranker"] for each in cli("run", collection_folder, *words[2:]).results()] == ["b/mine.py:rank"]
    answer = cli("compare", "a/mine.py:rank", "b/mine.py:rank")
    assert answer.code == 0
    one_line(cli("compare", "mine.py:rank", "bm25"), "could mean 2", "a/mine.py:rank, b/mine.py:rank")

    class Loaded(Scorer):
        def __init__(self, folder: str) -> None:
            super().__init__(1.0)
            self.model_name = folder

    both = harness.run(task(), [Loaded("a/ckpt"), Loaded("b/ckpt")], top_k=4, results="other")
    assert [each.reranker for each in both] == ["a/ckpt", "b/ckpt"]
