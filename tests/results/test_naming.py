"""What rerankers are called among others: parents of a folder, revisions, settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_results import made, saved

from harness.results.naming import Known, aligned, labelled, labels_of, name_among, place_of
from harness.results.result import load_result, result_files

ONE = Known("checkpoint-1000", "/runs/exp1/checkpoint-1000", "a" * 40, "1" * 32, (("max_length", "512"),))
TWO = Known("checkpoint-1000", "/runs/exp2/checkpoint-1000", "b" * 40, "2" * 32, (("max_length", "512"),))


def nothing(name: str) -> bool:
    return False


def test_folders_of_one_name_have_as_many_parents_as_make_them_unique():
    deep = replace(TWO, place="/other/exp2/checkpoint-1000", revision="c" * 40)
    assert list(labels_of([ONE]).values()) == ["checkpoint-1000"]
    assert list(labels_of([ONE, TWO]).values()) == ["exp1/checkpoint-1000", "exp2/checkpoint-1000"]
    assert list(labels_of([ONE, TWO, deep]).values()) == [
        "exp1/checkpoint-1000", "runs/exp2/checkpoint-1000", "other/exp2/checkpoint-1000",
    ]  # fmt: skip


def test_a_label_of_ones_own_and_a_name_of_the_hub_stay_as_they_are():
    own, hub = replace(ONE, name="mine"), Known("org/checkpoint-1000", "", "d" * 40)
    assert labels_of([own, TWO, hub]) == {own: "mine", TWO: "checkpoint-1000", hub: "org/checkpoint-1000"}


def test_other_weights_of_one_path_have_their_revision():
    again = replace(ONE, revision="c" * 40, fingerprint="3" * 32)
    assert list(labels_of([ONE, again]).values()) == ["checkpoint-1000@aaaaaaaa", "checkpoint-1000@cccccccc"]


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ((("max_length", "256"),), ["checkpoint-1000 (max_length 512)", "checkpoint-1000 (max_length 256)"]),
        ((("max_length", "512"), ("window", "8")), ["checkpoint-1000 (window none)", "checkpoint-1000 (window 8)"]),
        ((("max_length", "512"),), ["checkpoint-1000 (fingerprint 11111111)", "checkpoint-1000 (fingerprint 33333333)"]),
    ],
)  # fmt: skip
def test_settings_that_differ_stand_in_the_name(settings, shown):
    other = replace(ONE, settings=settings, fingerprint="3" * 32)
    assert list(labels_of([ONE, other]).values()) == shown


def test_many_differing_settings_are_cut_and_still_told_apart():
    long = [replace(ONE, settings=tuple((f"s{i}", f"{i}{n}" * 50) for i in range(6)), fingerprint=f"{n}" * 32) for n in (1, 2)]  # fmt: skip
    labels = list(labels_of(long).values())
    assert len(set(labels)) == 2
    assert all(len(label) < 260 for label in labels)


def written(folder: Path, one: Known, **more: object) -> Path:
    return saved(
        folder,
        replace(
            made([0.5, 0.6], reranker=one.name, reranker_revision=one.revision, reranker_fingerprint=one.fingerprint, **more),
            place=one.place,
        ),
    )  # fmt: skip


def test_a_run_takes_the_shortest_name_that_is_nobody_elses(tmp_path: Path):
    assert name_among(ONE, [], tmp_path, nothing) == "checkpoint-1000"
    written(tmp_path, ONE)
    assert name_among(ONE, [], tmp_path, nothing) == "checkpoint-1000"
    assert name_among(TWO, [ONE], tmp_path, nothing) == "exp2/checkpoint-1000"
    assert name_among(replace(ONE, revision="e" * 40), [], tmp_path, nothing) == "checkpoint-1000", "trained on"
    assert name_among(replace(TWO, revision=ONE.revision), [], tmp_path, nothing) == "checkpoint-1000", "a copy"


def test_folders_of_one_run_do_not_take_each_others_names(tmp_path: Path):
    assert [name_among(one, [ONE, TWO], tmp_path, nothing) for one in (ONE, TWO)] == [
        "exp1/checkpoint-1000", "exp2/checkpoint-1000",
    ]  # fmt: skip


def test_a_name_that_means_a_model_of_the_hub_is_not_taken(tmp_path: Path):
    written(tmp_path, ONE)
    assert name_among(TWO, [], tmp_path, "exp2/checkpoint-1000".__eq__) == "runs/exp2/checkpoint-1000"


def test_a_result_keeps_its_place_and_no_label(tmp_path: Path):
    (path,) = result_files(written(tmp_path, ONE))
    result = load_result(path)
    assert (result.place, result.reranker) == (ONE.place, "checkpoint-1000")
    other = replace(made([0.5, 0.6], reranker="checkpoint-1000", reranker_revision="b" * 40), place=TWO.place)
    assert [each.reranker for each in labelled([result, other])] == ["exp1/checkpoint-1000", "exp2/checkpoint-1000"]
    assert "label" not in path.read_text()
    assert '"place"' not in saved(tmp_path / "hub", made([0.5])).joinpath("x").parent.rglob("*.json").__next__().read_text()  # fmt: skip


def test_one_reranker_has_one_name_in_two_folders_of_results():
    old, new = aligned([replace(TWO, revision="9" * 40)], [ONE, TWO])
    assert list(old.values()) == ["checkpoint-1000"]
    assert new == {ONE: "exp1/checkpoint-1000", TWO: "checkpoint-1000"}
    old, new = aligned([replace(TWO, place="/ci/work/checkpoint-1000")], [ONE, TWO])
    assert new == {ONE: "exp1/checkpoint-1000", TWO: "exp2/checkpoint-1000"}, "either could be meant"


def test_a_place_says_nothing_of_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place_of(tmp_path / "runs" / "a") == "~/runs/a"
    assert place_of(Path("/somewhere/a")) == "/somewhere/a"
