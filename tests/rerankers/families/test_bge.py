"""BGE's sequence classifiers, against FlagEmbedding's own scores and ids."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from exactness import alone, golden, published
from golden_cases import cases, model_folder, opened, read_cases, score

from harness.errors import HarnessError
from harness.rerankers.resolve import known_models

FOLDER = model_folder("bge-reranker")
CASES = cases("bge-reranker")
PAIRS = CASES[0]["pairs"]
SHORT = PAIRS[:6]


def open_bge(cache: Path, folder: Path = FOLDER, **settings):
    (reranker,) = opened(folder, cache, "bge", **settings)
    return reranker


def check(folder: Path, cache: Path, case: dict) -> None:
    settings = {"max_length": case["max_length"], "normalize": case["normalize"]}
    found = score(open_bge(cache, folder, **settings), case["pairs"])
    assert found.ids == case["token_ids"]
    yard = golden(case["scores"], lambda wide: published(wide, case["pairs"]), folder, cache, "bge", **settings)
    yard.check(found.published)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_scores_and_ids_equal_the_authors_own(tmp_path: Path, case: dict):
    check(FOLDER, tmp_path, case)


@pytest.mark.shared
def test_scores_and_ids_equal_the_authors_own_on_the_other_texts(tmp_path: Path, shared: Path):
    for case in read_cases(shared / "goldens" / "bge-reranker.json"):
        check(shared / "hub" / "models" / "standin" / "bge-reranker", tmp_path, case)


def test_a_pair_alone_scores_as_in_a_batch(tmp_path: Path):
    reranker = open_bge(tmp_path)
    alone(PAIRS, FOLDER, tmp_path, "bge").check(score(reranker, PAIRS).margins)


def test_the_query_keeps_three_quarters_and_the_passage_what_is_left(tmp_path: Path):
    (ids,) = score(open_bge(tmp_path, max_length=40), [("x " * 300, "y " * 300)]).ids
    assert len(ids) == 40
    assert ids.index(2) == 31  # <s>, 30 ids of the query, then </s></s>
    assert ids[31:33] == [2, 2]
    assert ids[-1] == 2


def test_a_passage_that_would_lose_every_id_is_not_cut_at_all(tmp_path: Path):
    found = score(open_bge(tmp_path, max_length=16), [("x " * 100, "a " * 5), ("x " * 5, "a " * 50)])
    first, second = found.ids
    assert len(first) > 16
    assert len(second) == 16


def test_lost_tokens_count_what_both_cuts_took(tmp_path: Path):
    short, long = open_bge(tmp_path, max_length=24), open_bge(tmp_path, max_length=1024)
    cut, whole = score(short, PAIRS[:6]), score(long, PAIRS[:6])
    assert not whole.prepared.lost.any()
    assert (cut.prepared.lost == whole.prepared.lengths - cut.prepared.lengths).all()


def test_the_instruction_stands_once_after_the_query(tmp_path: Path):
    reranker = open_bge(tmp_path)
    (instructed,) = score(reranker, [("cedar", "a tree")], instruction="only with a reason").ids
    (joined,) = score(reranker, [("cedar only with a reason", "a tree")]).ids
    (bare,) = score(reranker, [("cedar", "a tree")]).ids
    assert instructed == joined != bare


def test_normalize_moves_what_is_published_and_not_what_is_ranked(tmp_path: Path):
    raw, normalized = score(open_bge(tmp_path), SHORT), score(open_bge(tmp_path, normalize=True), SHORT)
    np.testing.assert_array_equal(raw.margins, normalized.margins)
    np.testing.assert_array_equal(raw.published, raw.margins)
    np.testing.assert_allclose(normalized.published, 1 / (1 + np.exp(-raw.margins.astype(float))), rtol=1e-6)


def with_config(folder: Path, **changes) -> Path:
    shutil.copytree(FOLDER, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


def test_the_default_length_is_the_tables_where_positions_allow_it(tmp_path: Path):
    assert dict(open_bge(tmp_path).spec.settings)["max_length"] == 1024
    small = with_config(tmp_path / "small", max_position_embeddings=514)
    assert dict(open_bge(tmp_path, small).spec.settings)["max_length"] == 512


def test_settings_that_move_scores_have_their_own_fingerprint(tmp_path: Path):
    prints = {open_bge(tmp_path, max_length=length).spec.fingerprint for length in (64, 512, 1024)}
    assert len(prints) == 3
    assert open_bge(tmp_path).spec.fingerprint == open_bge(tmp_path, max_length=1024).spec.fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 2000}, "positions for 1098 tokens"),
        ({"max_length": 8}, "16 at least"),
        ({"normalize": "perhaps"}, "true or false"),
        ({"max_lenght": 64}, 'Did you mean "max_length"'),
    ],
)
def test_a_wrong_setting_is_a_one_line_error(tmp_path: Path, settings: dict, message: str):
    with pytest.raises(HarnessError, match=message) as caught:
        open_bge(tmp_path, **settings)
    assert "\n" not in str(caught.value)


def test_a_classifier_of_several_labels_is_refused(tmp_path: Path):
    with pytest.raises(HarnessError, match="2 labels"):
        open_bge(tmp_path, with_config(tmp_path / "two", id2label={"0": "no", "1": "yes"}))


def test_the_published_models_are_known_by_name():
    known = known_models()
    assert {known[f"BAAI/bge-reranker-{name}"]["family"] for name in ("base", "large", "v2-m3")} == {"bge"}
