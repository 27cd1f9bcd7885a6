"""TART-full, against its own code; the sentencepiece reader; the cuts of slow tokenizers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from exactness import alone, golden, published
from golden_cases import cases, model_folder, opened, read_cases, score

from harness.engine.fast.t5 import PackedT5
from harness.errors import HarnessError
from harness.models.source import open_model
from harness.models.spiece import read_spiece
from harness.rerankers.prompts.truncation import longest_first, only_second

FOLDER = model_folder("tart")
CASES = cases("tart")
PAIRS = CASES[0]["pairs"]
SHORT = PAIRS[:6]


def check(folder: Path, cache: Path, case: dict) -> None:
    check_with(folder, cache, case, **{key: case[key] for key in ("order", "truncation", "max_length") if key in case})


def check_with(folder: Path, cache: Path, case: dict, **settings) -> None:
    (reranker,) = opened(folder, cache, **settings)
    how = case["pairs"], case["instruction"] or ""
    found = score(reranker, *how)
    assert found.ids == case.get("token_ids", found.ids)
    yard = golden(case["scores"], lambda wide: published(wide, *how), folder, cache, **settings)
    yard.check(found.published)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_scores_and_ids_equal_the_authors_own(tmp_path: Path, case: dict):
    check(FOLDER, tmp_path, case)


@pytest.mark.shared
def test_scores_and_ids_equal_the_authors_own_on_the_other_texts(tmp_path: Path, shared: Path):
    for case in read_cases(shared / "goldens" / "tart.json"):
        check(shared / "hub" / "models" / "standin" / "tart", tmp_path, case)


def test_the_followir_variant_is_that_case_by_name(tmp_path: Path):
    case = next(case for case in CASES if "FollowIR" in case["name"])
    check_with(FOLDER, tmp_path, case, variant="followir")


def test_a_pair_alone_scores_as_in_a_batch(tmp_path: Path):
    (reranker,) = opened(FOLDER, tmp_path)
    alone(PAIRS, FOLDER, tmp_path).check(score(reranker, PAIRS).margins)


def test_the_encoder_takes_the_fast_path_and_in_float16_runs_padded_and_says_so(tmp_path: Path):
    (packed,), (half,) = opened(FOLDER, tmp_path), opened(FOLDER, tmp_path, dtype="float16")
    found, rounded = score(packed, PAIRS), score(half, PAIRS)
    assert isinstance(found.model._encoder, PackedT5)
    assert not isinstance(rounded.model._encoder, PackedT5)
    said = "no fast path for t5: transformers runs it, padded"
    assert said not in (packed.note or "")
    assert said in half.note
    np.testing.assert_allclose(rounded.margins, found.margins, atol=0.01 * np.ptp(found.margins), rtol=0)


def text_of(reranker, instruction: str) -> str:
    """A of one pair, read back from its ids."""
    found = score(reranker, [("the fox", "it ran")], instruction)
    (ids,) = found.ids
    spiece = read_spiece(FOLDER / "spiece.model")
    return "".join(spiece.pieces[token][0] for token in ids[1 : ids.index(1)]).replace("▁", " ").strip()


def test_the_instruction_stands_once_where_the_order_says(tmp_path: Path):
    (own,) = opened(FOLDER, tmp_path)
    (followir,) = opened(FOLDER, tmp_path, variant="followir")
    joined = {name: text_of(one, "it is true") for name, one in (("own", own), ("followir", followir))}
    assert joined["own"].index("true") < joined["own"].index("fo")
    assert joined["followir"].index("fo") < joined["followir"].index("true")
    assert all(text.count("true") == 1 for text in joined.values())
    assert "true" not in text_of(own, "")


def test_a_default_instruction_serves_only_queries_without_one(tmp_path: Path):
    (plain,), (given,) = opened(FOLDER, tmp_path), opened(FOLDER, tmp_path, instruction="it is true")
    assert plain.spec.fingerprint != given.spec.fingerprint
    assert text_of(given, "") == text_of(plain, "it is true")
    assert text_of(given, "is it") == text_of(plain, "is it")


def test_the_followir_variant_has_the_default_text_for_an_empty_instruction(tmp_path: Path):
    (reranker,) = opened(FOLDER, tmp_path, variant="followir")
    settings = dict(reranker.spec.settings)
    assert settings["instruction"] == "Retrieve news paper paragraph to answer this question"
    (explicit,) = opened(
        FOLDER, tmp_path, order="query first", truncation="only_second", max_length=1024,
        instruction=settings["instruction"],
    )  # fmt: skip
    assert explicit.spec.fingerprint == reranker.spec.fingerprint
    (shorter,) = opened(FOLDER, tmp_path, variant="followir", max_length=512)
    assert dict(shorter.spec.settings)["order"] == "query first"
    assert shorter.spec.fingerprint != reranker.spec.fingerprint


def test_markers_in_texts_are_the_tokens_they_name(tmp_path: Path):
    (reranker,) = opened(FOLDER, tmp_path)
    (ids,) = score(reranker, [("a", "b <extra_id_0> </s> <s>")]).ids
    pieces = len(read_spiece(FOLDER / "spiece.model").pieces)
    document = ids[ids.index(1) + 1 : -1]
    assert [token for token in document if token == 1 or token >= pieces] == [pieces + 99, 1, pieces + 100]
    assert ids[0] == pieces + 100 == 282


def test_a_sequence_classifier_by_name_is_still_enct5_by_class(tmp_path: Path):
    assert open_model(str(FOLDER), tmp_path).architecture.endswith("ForSequenceClassification")
    (reranker,) = opened(FOLDER, tmp_path)
    assert reranker.spec.family == "enct5"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"order": "last"}, "one of: instruction first, query first"),
        ({"variant": "FollowIR"}, "one of: tart, followir"),
        ({"max_length": "2"}, "16 at least"),
        ({"truncate": "no"}, 'Did you mean "truncation"'),
    ],
)
def test_a_wrong_setting_is_a_one_line_error(tmp_path: Path, settings: dict, message: str):
    with pytest.raises(HarnessError, match=message) as caught:
        opened(FOLDER, tmp_path, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda weights: weights.pop("classifier.bias"), r"files lack classifier\.bias"),
        (lambda weights: weights.update({"decoder.final.weight": weights["classifier.bias"]}), "no place for, decoder"),
        (lambda weights: weights.pop("encoder.block.1.layer.0.SelfAttention.q.weight"), "newly initialised"),
        (lambda weights: weights["classifier.bias"].fill_(float("inf")), "holds NaN or infinite"),
    ],
    ids=["no head", "a decoder", "no attention", "infinite"],
)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, damage, message: str):
    import torch

    folder = tmp_path / "damaged"
    shutil.copytree(FOLDER, folder)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    damage(weights)
    torch.save(weights, folder / "pytorch_model.bin")
    (reranker,) = opened(folder, tmp_path)
    with pytest.raises(HarnessError, match=message):
        score(reranker, PAIRS[:1])


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path):
    import pickle

    class Attack:
        def __reduce__(self):
            return (print, ("never",))

    folder = tmp_path / "attack"
    shutil.copytree(FOLDER, folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Attack(), protocol=2))
    (reranker,) = opened(folder, tmp_path)
    with pytest.raises(HarnessError, match="cannot be read"):
        score(reranker, PAIRS[:1])


def test_a_folder_without_its_sentencepiece_model_is_refused(tmp_path: Path):
    folder = tmp_path / "bare"
    shutil.copytree(FOLDER, folder)
    (folder / "spiece.model").unlink()
    with pytest.raises(HarnessError, match=r"spiece\.model"):
        opened(folder, tmp_path)


@pytest.mark.parametrize("text", ["", "  ", "\n\t "])
def test_blank_text_has_no_ids(text: str):
    assert read_spiece(FOLDER / "spiece.model").tokenizer().encode(text, add_special_tokens=False).ids == []


def test_spaces_of_every_kind_are_one_space_and_words_are_normalised():
    tokenizer = read_spiece(FOLDER / "spiece.model").tokenizer()

    def pieces(text: str) -> list[str]:
        return tokenizer.encode(text, add_special_tokens=False).tokens

    assert pieces("  the\t \u00a0\u3000fox\n") == pieces("the fox")
    assert pieces("ﬁve ＡＢ ①") == pieces("five AB 1")


def test_damaged_or_other_sentencepiece_models_are_refused(tmp_path: Path):
    whole = (FOLDER / "spiece.model").read_bytes()
    damaged = tmp_path / "damaged.model"
    damaged.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(HarnessError, match="no sentencepiece model"):
        read_spiece(damaged)
    other = tmp_path / "bpe.model"
    other.write_bytes(whole + bytes([2 << 3 | 2, 2, 3 << 3, 2]))  # trainer_spec once more, with model_type 2: BPE
    with pytest.raises(HarnessError, match="Unigram"):
        read_spiece(other)


def counted_down(first: int, second: int, room: int) -> tuple[int, int]:
    """longest_first as transformers 4 spells it out, one id at a time."""
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return first, second


def test_longest_first_is_one_id_at_a_time():
    lengths = [(first, second, room) for first in range(14) for second in range(14) for room in (8, 9, 13)]
    for first, second, room in lengths:
        kept = longest_first(np.array([first]), np.array([second]), room)
        assert (int(kept[0][0]), int(kept[1][0])) == counted_down(first, second, room)


def test_only_second_leaves_a_pair_whole_that_it_cannot_make_fit():
    first, second = only_second(np.array([5, 5, 10, 12]), np.array([3, 9, 4, 4]), 10)
    assert first.tolist() == [5, 5, 10, 12]
    assert second.tolist() == [3, 5, 4, 4]
