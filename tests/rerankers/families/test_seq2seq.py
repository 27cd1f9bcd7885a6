"""monoT5, mT5 and FLAN-T5 on tiny random checkpoints, against mteb's wrappers (without instructions)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exactness import alone, both
from golden_cases import opened, score
from tiny_t5 import PAIRS, PIECES, mteb_scores, tokenizer_json, write_t5

from harness.engine.fast.t5 import PackedT5Answer
from harness.engine.options import Options
from harness.errors import HarnessError
from harness.rerankers.families.seq2seq import read_templates
from harness.rerankers.resolve import known_models, open_rerankers


@pytest.fixture(scope="module")
def monot5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_t5(tmp_path_factory.mktemp("models") / "tiny-monot5")


@pytest.fixture(scope="module")
def flan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_t5(tmp_path_factory.mktemp("models") / "tiny-flan", tied=False)


@pytest.fixture(scope="module")
def mt5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_t5(tmp_path_factory.mktemp("models") / "tiny-mt5", tied=False, kind="mt5")


def open_t5(folder: Path, cache: Path, template: str, **settings):
    (reranker,) = opened(folder, cache, template=template, **settings)
    return reranker


def check(folder: Path, cache: Path, template: str, expected: list[float]) -> None:
    assert max(expected) - min(expected) > 0.05  # an untrained model, but not a constant one
    found = score(open_t5(folder, cache, template), PAIRS)
    yard = alone(PAIRS, folder, cache, template=template).through(found.model.activate)
    yard.check(expected)
    yard.check(found.published)


def test_monot5_equals_mteb(monot5: Path, tmp_path: Path):
    check(
        monot5,
        tmp_path,
        "monot5",
        mteb_scores("MonoT5Reranker", monot5, PAIRS, token_false="▁false", token_true="▁true"),
    )


def test_flan_t5_equals_mteb(flan: Path, tmp_path: Path):
    check(flan, tmp_path, "flan-t5", mteb_scores("FLANT5Reranker", flan, PAIRS))


def test_mt5_equals_mteb(mt5: Path, tmp_path: Path):
    check(mt5, tmp_path, "mt5", mteb_scores("MonoT5Reranker", mt5, PAIRS, token_false="▁no", token_true="▁yes"))


@pytest.mark.parametrize("tied", [True, False], ids=["a head shared with the embeddings", "a head of its own"])
def test_the_margin_is_the_difference_of_the_whole_models_logits(tmp_path: Path, tied: bool):
    import torch
    from transformers import T5ForConditionalGeneration

    folder = write_t5(tmp_path / "model", tied=tied)
    found = score(open_t5(folder, tmp_path / "cache", "monot5"), PAIRS)
    whole = T5ForConditionalGeneration.from_pretrained(folder).eval()
    assert torch.equal(whole.lm_head.weight, whole.shared.weight) == tied
    labels = [PIECES.index(("▁false", -4.0)), PIECES.index(("▁true", -4.0))]

    def margins(whole: Any) -> np.ndarray:
        start = torch.tensor([[0]])
        with torch.inference_mode():
            rows = [whole(input_ids=torch.tensor([ids]), decoder_input_ids=start).logits[0, -1] for ids in found.ids]
        return np.array([float(logits[labels[1]] - logits[labels[0]]) for logits in rows])

    both(margins, whole).check(found.margins)


@pytest.mark.parametrize("template", ["monot5", "flan-t5"])
def test_a_pair_alone_scores_as_in_a_batch(flan: Path, tmp_path: Path, template: str):
    reranker = open_t5(flan, tmp_path, template)
    alone(PAIRS, flan, tmp_path, template=template).check(score(reranker, PAIRS).margins)


def test_a_t5_takes_the_fast_path_and_in_float16_runs_padded_and_says_so(monot5: Path, tmp_path: Path):
    reranker = open_t5(monot5, tmp_path, "monot5")
    found = score(reranker, PAIRS)
    assert reranker.note is None
    assert isinstance(found.model.packed, PackedT5Answer)
    half = open_t5(monot5, tmp_path, "monot5", dtype="float16")
    rounded = score(half, PAIRS)
    assert half.note == "no fast path for t5: transformers runs it, padded"
    assert rounded.model.packed is None
    np.testing.assert_allclose(rounded.margins, found.margins, atol=0.01 * np.ptp(found.margins), rtol=0)


def shown(found, row: int) -> str:
    """The text that the ids of one pair stand for."""
    return "".join(map(found.model.tokenizer.backend.id_to_token, found.ids[row])).replace("▁", " ").strip()


def test_the_prompt_is_the_authors_and_ends_in_the_end_of_sequence(monot5: Path, tmp_path: Path):
    found = score(open_t5(monot5, tmp_path, "monot5"), [["bread oven", "the city"]])
    assert shown(found, 0) == "Query: bread oven Document: the city Relevant:</s>"


def test_the_instruction_follows_the_query_once(monot5: Path, tmp_path: Path):
    found = score(open_t5(monot5, tmp_path, "monot5"), [["bread", "the city"]], instruction="answer in one minute")
    assert shown(found, 0) == "Query: bread answer in one minute Document: the city Relevant:</s>"


def test_the_published_cut_takes_the_end_of_the_prompt(monot5: Path, tmp_path: Path):
    found = score(open_t5(monot5, tmp_path, "monot5", max_length=20), [["bread", "the city " * 50]])
    whole = score(open_t5(monot5, tmp_path, "monot5", max_length=400), [["bread", "the city " * 50]])
    assert found.ids[0] == [*whole.ids[0][:19], 1]
    assert found.prepared.lost.tolist() == [len(whole.ids[0]) - 20]
    assert whole.prepared.lost.tolist() == [0]


def test_truncation_document_keeps_the_end_of_the_prompt(monot5: Path, tmp_path: Path):
    pairs = [["bread", "the city " * 50], ["bread", "the city"]]
    found = score(open_t5(monot5, tmp_path, "monot5", max_length=20, truncation="document"), pairs)
    whole = score(open_t5(monot5, tmp_path, "monot5", max_length=400), pairs)
    end = whole.ids[1][-3:]  # Relevant : </s>
    assert found.ids[0] == whole.ids[0][:17] + end
    assert found.ids[1] == whole.ids[1]
    assert found.prepared.lost.tolist() == [len(whole.ids[0]) - 20, 0]


def test_truncation_document_is_the_same_where_the_document_ends_the_prompt(flan: Path, tmp_path: Path):
    pairs = [["bread", "the city " * 50]]
    published = score(open_t5(flan, tmp_path, "flan-t5", max_length=24), pairs)
    assert score(open_t5(flan, tmp_path, "flan-t5", max_length=24, truncation="document"), pairs).ids == published.ids


@pytest.mark.parametrize("truncation", ["published", "document"])
def test_no_input_is_longer_than_max_length(monot5: Path, tmp_path: Path, truncation: str):
    pairs = [["query " * 80, "the city"], ["bread", "dough " * 80], ["q", ""]]
    found = score(open_t5(monot5, tmp_path, "monot5", max_length=3, truncation=truncation), pairs)
    assert [len(ids) for ids in found.ids] == [3, 3, 3]
    assert all(ids[-1] == 1 for ids in found.ids)


def test_a_model_with_spiece_model_alone_gets_the_same_ids(monot5: Path, tmp_path: Path):
    folder = write_t5(tmp_path / "model", spiece=True)
    pairs = PAIRS[:3]
    found = score(open_t5(folder, tmp_path / "cache", "monot5"), pairs)
    expected = score(open_t5(monot5, tmp_path / "cache", "monot5"), pairs)
    assert found.ids == expected.ids
    np.testing.assert_array_equal(found.margins, expected.margins)


def test_the_limit_is_the_tokenizers_or_512(monot5: Path, tmp_path: Path):
    def limit(folder: Path) -> object:
        return dict(open_t5(folder, tmp_path / "cache", "monot5").spec.settings)["max_length"]

    assert limit(monot5) == 64
    assert limit(write_t5(tmp_path / "endless", limit=10**30)) == 512


def test_every_template_has_both_places_and_two_labels():
    for name, template in read_templates().items():
        assert template.prompt.count("{query}") == template.prompt.count("{document}") == 1, name
        assert template.negative != template.positive, name


def test_known_models_name_templates_that_exist():
    named = {entry["settings"]["template"] for entry in known_models().values() if entry["family"] == "seq2seq"}
    assert named <= set(read_templates())
    assert {"monot5", "mt5", "flan-t5"} <= named


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "--set template=NAME, one of: monot5"),
        ({"template": "monot6"}, "--set template=monot6"),
        ({"template": "monot5", "truncation": "left"}, "published, document"),
        ({"template": "monot5", "max_length": "0"}, "a whole number above 0"),
        ({"template": "monot5", "length": "5"}, 'no setting "length"'),
    ],
)
def test_wrong_settings_are_told_in_one_line(monot5: Path, tmp_path: Path, settings: dict, said: str):
    with pytest.raises(HarnessError, match=said) as caught:
        opened(monot5, tmp_path, **settings)
    assert "\n" not in str(caught.value)


def test_a_vocabulary_without_the_labels_is_refused(monot5: Path, tmp_path: Path):
    folder = tmp_path / "other"
    folder.mkdir()
    for file in monot5.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "tokenizer.json").write_text(tokenizer_json().replace("▁true", "▁tree"))
    with pytest.raises(HarnessError, match='no piece "▁true"'):
        open_t5(folder, tmp_path / "cache", "monot5").load()


def test_another_architecture_is_refused(tmp_path: Path):
    from golden_cases import model_folder

    with pytest.raises(HarnessError, match="is no T5 reranker"):
        open_rerankers(str(model_folder("cross-encoder")), Options(), tmp_path, "seq2seq")


def test_settings_that_move_scores_move_the_fingerprint(monot5: Path, tmp_path: Path):
    variants = [
        open_t5(monot5, tmp_path, "monot5"),
        open_t5(monot5, tmp_path, "mt5"),
        open_t5(monot5, tmp_path, "monot5", max_length=32),
        open_t5(monot5, tmp_path, "monot5", truncation="document"),
    ]
    assert len({reranker.spec.fingerprint for reranker in variants}) == 4
    same = open_t5(monot5, tmp_path, "monot5", max_length=64, truncation="published")
    assert same.spec.fingerprint == variants[0].spec.fingerprint


@pytest.mark.parametrize("truncation", ["published", "document"])
@pytest.mark.parametrize("template", read_templates())
def test_a_long_document_takes_the_question_away_where_the_authors_cut_the_end_and_is_counted(
    monot5: Path, tmp_path: Path, template: str, truncation: str
):
    pairs = [["how long should dough rest", "the city"], ["how long should dough rest", "the train " * 6_000]]
    found = score(open_t5(monot5, tmp_path, template, max_length=256, truncation=truncation), pairs)
    lost = truncation == "published" and template != "flan-t5"
    assert found.prepared.taken.without_question.tolist() == [False, lost]
    assert not found.prepared.taken.without_document.any()
    # FLAN-T5's prompt ends with the document itself.
    assert (found.ids[0][-2:] == found.ids[1][-2:]) == (truncation == "document" and template != "flan-t5")
    (short,) = [score(open_t5(monot5, tmp_path, template, max_length=24), [["dough rest " * 40, "the city"]])]
    assert short.prepared.taken.without_document.all()
