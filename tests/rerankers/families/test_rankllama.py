"""RankLLaMA's two inputs for a sequence classifier, against transformers called as the authors call it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from exactness import alone
from golden_cases import model_folder, opened, score
from tiny_rankllama import BOS, EOS, PAIRS, TOKENIZER, authors_ids, authors_scores, write_model

from harness.errors import HarnessError
from harness.rerankers.resolve import known_models
from harness.rerankers.score import margins_of, prepare
from harness.types import DocumentText, QueryText


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "rankllama")


def open_llama(folder: Path, cache: Path, template: str = "rankllama", **settings):
    (reranker,) = opened(folder, cache, template=template, **settings)
    return reranker


@pytest.mark.parametrize("max_length", [40, 512])
def test_ids_and_scores_are_the_authors(model: Path, tmp_path: Path, max_length: int):
    found = score(open_llama(model, tmp_path, max_length=max_length), PAIRS)
    expected = [authors_ids(query, document, max_length) for query, document in PAIRS]
    assert found.ids == expected
    authors_scores(model, expected).check(found.margins)
    np.testing.assert_array_equal(found.published, found.margins)


@pytest.mark.parametrize("pad", [None, 0, EOS], ids=["no padding id", "padding 0", "padding is the end"])
def test_the_end_is_scored_whatever_the_padding(model: Path, tmp_path: Path, pad: int | None):
    folder = shutil.copytree(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": pad}))
    found = score(open_llama(folder, tmp_path / "cache"), PAIRS)
    plain = score(open_llama(model, tmp_path / "cache"), PAIRS)
    by_itself = alone(PAIRS, folder, tmp_path / "cache", template="rankllama")
    by_itself.check(plain.margins)
    by_itself.check(found.margins)


def test_two_labels_give_the_difference(tmp_path: Path):
    folder = write_model(tmp_path / "model", labels=2)
    together = score(open_llama(folder, tmp_path / "cache"), PAIRS)
    alone(PAIRS, folder, tmp_path / "cache", template="rankllama").check(together.margins)


def test_the_end_stands_once_where_the_tokenizer_adds_it_too(model: Path, tmp_path: Path):
    folder = shutil.copytree(model, tmp_path / "model")
    said = json.loads((folder / "tokenizer.json").read_text())
    said["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "<s>": {"id": "<s>", "ids": [BOS], "tokens": ["<s>"]},
            "</s>": {"id": "</s>", "ids": [EOS], "tokens": ["</s>"]},
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(said))
    for max_length in (40, 512):
        plain = score(open_llama(model, tmp_path / "cache", max_length=max_length), PAIRS)
        found = score(open_llama(folder, tmp_path / "cache", max_length=max_length), PAIRS)
        assert found.ids == plain.ids
        assert found.prepared.lost.tolist() == plain.prepared.lost.tolist()


def test_title_and_instruction_stand_where_they_should(model: Path, tmp_path: Path):
    loaded = open_llama(model, tmp_path).load()
    prepared = loaded.prepare(
        [QueryText("bread", "Name the hour.")], [DocumentText("Dough", "Let it rest.")], np.array([[0, 0]])
    )
    assert prepared.token_ids(0) == authors_ids("bread Name the hour.", "Dough Let it rest.", 512)


def test_lost_tokens_are_counted(model: Path, tmp_path: Path):
    short = score(open_llama(model, tmp_path, max_length=40), PAIRS).prepared
    whole = score(open_llama(model, tmp_path, max_length=1024), PAIRS).prepared
    assert whole.lost.tolist() == [0, 0, 0, 0]
    assert (short.lengths + short.lost).tolist() == whole.lengths.tolist()


def test_the_cards_pair_is_two_beginnings_and_no_end(model: Path, tmp_path: Path):
    from tokenizers import Tokenizer

    found = score(open_llama(model, tmp_path, "rankllama-pair"), PAIRS)
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    expected = [tokenizer.encode(f"query: {query}", f"document: {document}").ids for query, document in PAIRS]
    assert found.ids == [ids[:512] for ids in expected]
    authors_scores(model, found.ids).check(found.margins)


def test_the_usual_limit_is_tevatrons(model: Path, tmp_path: Path):
    settings = dict(open_llama(model, tmp_path).spec.settings)
    assert (settings["template"], settings["max_length"], settings["truncation"]) == ("rankllama", 512, "right")


def test_each_template_has_its_own_fingerprint(model: Path, tmp_path: Path):
    templates = ("pair", "rankllama", "rankllama-pair")
    prints = {open_llama(model, tmp_path, template, max_length=300).spec.fingerprint for template in templates}
    assert len(prints) == 3
    (plain,) = opened(model, tmp_path, max_length=300)
    assert plain.spec.fingerprint == open_llama(model, tmp_path, "pair", max_length=300).spec.fingerprint


def test_an_unknown_template_is_told(model: Path, tmp_path: Path):
    with pytest.raises(HarnessError, match="pair, saved, rankllama, rankllama-pair"):
        open_llama(model, tmp_path, "rankllamma")


def test_a_model_without_an_end_of_sequence_is_refused(tmp_path: Path):
    with pytest.raises(HarnessError, match="names no eos_token"):
        open_llama(model_folder("cross-encoder"), tmp_path).load()


def test_the_published_adapter_has_the_input_rule():
    entry = known_models()["castorini/rankllama-v1-7b-lora-passage"]
    assert entry["family"] == "sequence-classification"
    assert entry["settings"] == {"template": "rankllama"}


def test_the_candidates_of_a_query_share_their_beginning_and_score_as_the_authors_do(model: Path, tmp_path: Path):
    reranker, long = open_llama(model, tmp_path), "how long should bread dough rest in a cold kitchen"
    pairs = [(QueryText(long), DocumentText("", text)) for _, text in PAIRS]
    prepared = prepare(reranker.load(), pairs)
    assert (prepared.sharing.shared > 10).all()
    rows = [authors_ids(long, text, 512) for _, text in PAIRS]
    expected = authors_scores(model, rows)
    for budget in (40, 10_000):
        expected.check(margins_of(reranker, pairs, budget))
    assert reranker.note is None


@pytest.mark.parametrize("pad_id", [0, 8, EOS])
def test_a_row_that_ends_in_the_padding_id_is_scored_at_its_own_end(model: Path, tmp_path: Path, pad_id: int):
    classifier = open_llama(model, tmp_path).load()
    classifier.tokenizer.pad_id = pad_id
    rows = [[1, 5, 0, 7, 0, 0], [1, 9, 8], [1, 9, 8, 0]]
    found = classifier.logits(rows, [[0] * len(row) for row in rows])[:, 0]
    for row, margin in zip(rows, found, strict=True):
        authors_scores(model, [row], pad=6).check([margin])
    assert type(classifier.model).__name__ == "PackedLastToken"
