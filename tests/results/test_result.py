import dataclasses
import json
from pathlib import Path

import pytest
from conftest import DATA

from harness.errors import HarnessError
from harness.results.cautions import cautions_of
from harness.results.result import SCHEMA, Identity, Result, find_previous, load_result, result_files, slug, values_path
from harness.results.tables import result_block
from harness.verdicts.gate import judge_against
from harness.verdicts.report import page

IDENTITY = Identity(
    task="SciFact",
    subset="default",
    split="test",
    dataset="mteb/scifact",
    dataset_revision="d" * 40,
    card="packed",
    retriever="bm25",
    retriever_fingerprint="b" * 32,
    retriever_settings={"k1": 0.9},
    top_k=100,
    reranker="org/model",
    reranker_revision="c" * 40,
    reranker_fingerprint="f" * 32,
    reranker_settings={"max_length": 512},
)

RESULT = Result(
    identity=IDENTITY,
    collection="0" * 32,
    candidates="1" * 32,
    queries=2,
    asked=("nDCG@10",),
    measures={"nDCG@10": {"first_stage": 0.1 + 0.2, "reranked": None}},
    values={"nDCG@10": {"first_stage": [0.25, 0.35]}},
    query_ids=("q1", "q2"),
)


def test_the_path_is_the_one_the_documentation_names():
    path = IDENTITY.path(Path("results"))
    assert str(path) == "results/org__model/cccccccc-ffffffff/bm25-bbbbbbbb-top100/SciFact@dddddddd.json"


def test_a_first_stage_without_reranker_has_its_own_folder():
    alone = dataclasses.replace(IDENTITY, reranker=None, reranker_revision=None, reranker_fingerprint=None)
    assert str(alone.path(Path("r"))) == "r/first-stage/bm25-bbbbbbbb-top100/SciFact@dddddddd.json"


@pytest.mark.parametrize(
    "change",
    [
        {"task": "NFCorpus"},
        {"subset": "zh"},
        {"dataset_revision": "e" * 40},
        {"card": "9" * 32},
        {"card": "split", "split": "train"},
        {"card": "folder", "split": "train"},
        {"retriever": "dense"},
        {"retriever_fingerprint": "a" * 32},
        {"top_k": 200},
        {"top_k": None},
        {"reranker": "org/other"},
        {"reranker_revision": "0" * 40},
        {"reranker_fingerprint": "0" * 32},
        {"limit": 5},
        {"relevance_level": 2},
        {"missing_text": "skip"},
        {"batch_tokens": 2048},
        {"instructions": "none"},
    ],
    ids="-".join,
)
def test_runs_that_could_differ_have_different_paths(change):
    assert dataclasses.replace(IDENTITY, **change).path(Path()) != IDENTITY.path(Path())


def test_a_result_comes_back_as_it_was_saved(tmp_path):
    path = RESULT.save(tmp_path)
    loaded = load_result(path, with_values=True)
    assert loaded == RESULT
    assert loaded.values == RESULT.values
    assert loaded.query_ids == RESULT.query_ids


def test_saving_twice_writes_the_same_bytes(tmp_path):
    first = RESULT.save(tmp_path / "a")
    second = RESULT.save(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert values_path(first).read_bytes() == values_path(second).read_bytes()


def test_a_value_that_is_not_a_number_is_never_written(tmp_path):
    broken = dataclasses.replace(RESULT, measures={"nDCG@10": {"first_stage": float("nan")}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.save(tmp_path)
    assert not list(tmp_path.rglob("*.json"))


def test_a_file_of_a_later_schema_is_refused_with_the_way_out(tmp_path):
    path = RESULT.save(tmp_path)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "schema": 99}))
    with pytest.raises(HarnessError, match="update rerank-harness"):
        load_result(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', "not json"])
def test_a_file_that_is_no_result_is_named(tmp_path, text):
    path = tmp_path / "SciFact@dddddddd.json"
    path.write_text(text)
    with pytest.raises(HarnessError, match="SciFact@dddddddd"):
        load_result(path)


def test_what_changed_is_said_in_words():
    deeper = dataclasses.replace(
        IDENTITY, top_k=200, reranker_settings={"max_length": 256}, reranker_fingerprint="e" * 32
    )
    assert deeper.changed_from(IDENTITY) == ["depth 100 → 200", "reranker's max_length 512 → 256"]


def test_other_weights_are_said_to_be_other_model_files():
    other = dataclasses.replace(IDENTITY, reranker_revision="a" * 40, reranker_fingerprint="e" * 32)
    assert other.changed_from(IDENTITY) == ["model files cccccccc → aaaaaaaa"]


def test_the_previous_result_is_the_newest_of_the_same_reranker_and_first_stage(tmp_path):
    older = dataclasses.replace(RESULT, identity=dataclasses.replace(IDENTITY, top_k=50))
    dense = dataclasses.replace(RESULT, identity=dataclasses.replace(IDENTITY, retriever="dense"))
    for result in (older, dense):
        result.save(tmp_path)
    wanted = dataclasses.replace(IDENTITY, top_k=200)
    assert find_previous(wanted, tmp_path, before=float("inf")).identity.top_k == 50
    assert find_previous(wanted, tmp_path, before=0.0) is None
    assert find_previous(dataclasses.replace(wanted, reranker="org/new"), tmp_path, before=float("inf")) is None


@pytest.mark.parametrize(
    ("name", "expected"), [("org/model", "org__model"), ("a b:c", "a-b-c"), ("..", "-"), ("模型", "模型")]
)
def test_a_name_becomes_one_part_of_a_path(name, expected):
    assert slug(name) == expected


# -- files of every schema version load for ever


KEPT = DATA / "results"


def test_every_schema_version_has_a_kept_result():
    assert sorted(folder.name for folder in KEPT.iterdir()) == [f"schema-{version}" for version in range(1, SCHEMA + 1)]


@pytest.mark.parametrize("version", range(1, SCHEMA + 1))
def test_a_kept_result_of_that_schema_loads_whole_and_serves_every_verb(version, tmp_path):
    (path,) = result_files(KEPT / f"schema-{version}")
    assert json.loads(path.read_text(encoding="utf-8"))["schema"] == version
    result = load_result(path, with_values=True)
    assert (result.identity.task, result.queries, len(result.query_ids)) == ("DemoEnglish", 5, 5)
    assert result.measures["nDCG@10"]["reranked"] == pytest.approx(0.554357, abs=1e-6)
    assert result.identity.path(KEPT / f"schema-{version}") == path
    assert [caution.code for caution in cautions_of(result)] == ["RH009", "RH041"]
    assert judge_against(KEPT / f"schema-{version}", KEPT / f"schema-{version}").exit_code == 0
    assert "DemoEnglish" in page([result], tmp_path)
    assert "DemoEnglish" in result_block(result, path, reused=True)


# -- two files that do not belong together


def test_values_that_are_missing_are_named(tmp_path):
    path = RESULT.save(tmp_path)
    values_path(path).unlink()
    with pytest.raises(HarnessError, match="is missing") as error:
        load_result(path, with_values=True)
    assert error.value.exit_code == 3
    assert load_result(path).measures == RESULT.measures


@pytest.mark.parametrize("kept", [b"", b"\x1f\x8b\x08", None])
def test_values_that_are_cut_are_one_line(tmp_path, kept):
    path = RESULT.save(tmp_path)
    whole = values_path(path).read_bytes()
    values_path(path).write_bytes(whole[: len(whole) // 2] if kept is None else kept)
    with pytest.raises(HarnessError, match=r"values\.json\.gz cannot be read .* run the task again"):
        load_result(path, with_values=True)


def test_a_figure_that_is_not_the_mean_of_its_values_is_refused(tmp_path):
    path = RESULT.save(tmp_path)
    record = json.loads(path.read_text())
    (measure, stages), *_ = record["measures"].items()
    stage = next(stage for stage in stages if stage in RESULT.values[measure])
    record["measures"][measure][stage] += 1e-6
    path.write_text(json.dumps(record))
    with pytest.raises(HarnessError, match="one of the two files was changed"):
        load_result(path, with_values=True)
