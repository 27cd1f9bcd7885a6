"""Late interaction in its layouts, against the plain formula and sentence-transformers' MultiVectorEncoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import write_collection
from exactness import alone, beside, both
from golden_cases import opened, score
from tiny_models import PUNCTUATION, bert, colbert, pylate, write_json

from harness.engine.plan import plan_of
from harness.errors import HarnessError
from harness.rerankers.base import Reranker
from harness.types import DocumentText, QueryText

QUERIES = ["what is the river", "Where, when? " + "who " * 40, "ice", ""]
DOCUMENTS = ["the river is cold, and long. " + "stone tree " * number for number in range(8)] + [".", "", "Ice; wind!"]
PAIRS = [(query, document) for query in QUERIES for document in DOCUMENTS]
MASK, CLS, SEP = 4, 2, 3

LAYOUTS: dict[str, Callable[[Path], None]] = {
    "colbert": colbert,
    "colbert that sees its masks": lambda folder: colbert(folder, attend_to_mask_tokens=True),
    "colbert with punctuation": lambda folder: colbert(folder, mask_punctuation=False),
    "pylate": pylate,
    "pylate without expansion": lambda folder: pylate(folder, do_query_expansion=False),
    "pylate with two residual maps": lambda folder: pylate(folder, residual=True),
    "pylate with prompts": lambda folder: pylate(folder, prompts={"query": "given a query ", "document": "passage "}),
}


def open_late(folder: Path, cache: Path, **settings) -> Reranker:
    (reranker,) = opened(folder, cache, **settings)
    assert reranker.spec.family == "late-interaction"
    return reranker


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_equal_those_of_sentence_transformers(tmp_path: Path, layout: str):
    encoders = pytest.importorskip("sentence_transformers", minversion="6.0")
    LAYOUTS[layout](tmp_path / "model")
    found = score(open_late(tmp_path / "model", tmp_path), PAIRS)
    oracle = encoders.MultiVectorEncoder(str(tmp_path / "model"), device="cpu")
    expected = oracle.similarity(oracle.encode_query(QUERIES), oracle.encode_document(DOCUMENTS)).numpy().ravel()
    beside(expected, PAIRS, tmp_path / "model", tmp_path).check(found.margins)
    np.testing.assert_array_equal(found.published, found.margins)


def test_a_model_saved_by_sentence_transformers_reads_the_same(tmp_path: Path):
    encoders = pytest.importorskip("sentence_transformers", minversion="6.0")
    pylate(tmp_path / "pylate")
    oracle = encoders.MultiVectorEncoder(str(tmp_path / "pylate"), device="cpu")
    oracle.save(str(tmp_path / "saved"))
    stated = json.loads((tmp_path / "saved" / "config_sentence_transformers.json").read_text())
    assert stated["model_type"] == "MultiVectorEncoder"
    one = score(open_late(tmp_path / "pylate", tmp_path), PAIRS)
    other = score(open_late(tmp_path / "saved", tmp_path), PAIRS)
    assert one.ids == other.ids
    np.testing.assert_array_equal(one.margins, other.margins)


def plain_score(model, linear, query: list[int], seen: list[int], document: list[int], skipped: set[int]) -> float:
    """Σ over query tokens of the best document token, in loops: no batch, no padding."""
    import torch

    def vectors(ids: list[int], mask: list[int]):
        with torch.inference_mode():
            hidden = model(input_ids=torch.tensor([ids]), attention_mask=torch.tensor([mask])).last_hidden_state[0]
        return [row / row.norm() for row in hidden @ linear.T]

    asked = vectors(query, seen)
    there = [
        v for v, number in zip(vectors(document, [1] * len(document)), document, strict=True) if number not in skipped
    ]
    return sum(max(float(q @ d) for d in there) for q in asked)


def test_colbert_by_the_plain_formula_and_to_the_id(tmp_path: Path):
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import BertModel

    folder = tmp_path / "model"
    colbert(folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = BertModel.from_pretrained(folder).eval()
    linear = load_file(folder / "model.safetensors")["linear.weight"]
    skipped = {tokenizer.token_to_id(symbol) for symbol in PUNCTUATION}
    found, rows = score(open_late(folder, tmp_path), PAIRS), []
    for row, (query, document) in enumerate(PAIRS):
        tokenizer.enable_truncation(15)
        asked = tokenizer.encode(query).ids
        asked = [CLS, tokenizer.token_to_id("[unused0]"), *asked[1:]]
        filled = asked + [MASK] * (16 - len(asked))
        tokenizer.enable_truncation(23)
        there = [CLS, tokenizer.token_to_id("[unused1]"), *tokenizer.encode(document).ids[1:]]
        assert found.ids[row] == filled + there
        seen = [1] * len(asked) + [0] * (16 - len(asked))
        rows.append((filled, seen, there, skipped))
    expected = both(lambda model: np.array([plain_score(model, linear, *row) for row in rows]), model, draws=1)
    expected.check(found.margins)


def test_pylate_puts_one_token_in_for_its_prefix(tmp_path: Path):
    from tokenizers import Tokenizer

    pylate(tmp_path / "model")
    tokenizer = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    (ids,) = score(open_late(tmp_path / "model", tmp_path), [("ice", "wind")]).ids
    query = [CLS, tokenizer.token_to_id("[Q] "), *tokenizer.encode("ice", add_special_tokens=False).ids, SEP]
    document = [CLS, tokenizer.token_to_id("[D] "), *tokenizer.encode("wind", add_special_tokens=False).ids, SEP]
    assert ids == query + [MASK] * (16 - len(query)) + document


def test_the_instruction_stands_once_after_the_query(tmp_path: Path):
    colbert(tmp_path / "model")
    reranker = open_late(tmp_path / "model", tmp_path)
    apart = score(reranker, [("what is ice", "the ice")], instruction="only cold water")
    assert apart.ids == score(reranker, [("what is ice only cold water", "the ice")]).ids


def test_lengths_can_be_set_and_what_is_cut_is_counted(tmp_path: Path):
    colbert(tmp_path / "model")
    short, long = open_late(tmp_path / "model", tmp_path), open_late(tmp_path / "model", tmp_path, document_length=100)
    pairs = [("ice", "stone tree " * 20)]
    cut, whole = score(short, pairs), score(long, pairs)
    assert len(cut.ids[0]) == 16 + 24
    assert len(whole.ids[0]) == 16 + 40 + 3
    assert cut.prepared.lost.tolist() == [40 - 21]
    assert whole.prepared.lost.tolist() == [0]
    assert short.spec.fingerprint != long.spec.fingerprint


@pytest.mark.parametrize("layout", ["colbert", "pylate"])
def test_a_pair_alone_scores_as_in_a_batch(tmp_path: Path, layout: str):
    LAYOUTS[layout](tmp_path / "model")
    reranker = open_late(tmp_path / "model", tmp_path)
    alone(PAIRS, tmp_path / "model", tmp_path).check(score(reranker, PAIRS).margins)


def test_the_plan_holds_every_pair_once_and_a_document_in_one_batch(tmp_path: Path):
    colbert(tmp_path / "model")
    pairs = np.array([(query, document) for query in range(4) for document in range(11) if (query + document) % 3])
    ready = open_late(tmp_path / "model", tmp_path).load().prepare(
        [QueryText(text) for text in QUERIES], [DocumentText("", text) for text in DOCUMENTS], pairs
    )  # fmt: skip
    batches = plan_of(ready, 40)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(pairs)))
    documents = [set(pairs[batch, 1].tolist()) for batch in batches]
    assert sum(map(len, documents)) == len(set().union(*documents)) == 11
    assert len(batches) > 3


def test_it_reranks_from_the_command_line_and_scores_nothing_twice(tmp_path: Path, cli):
    colbert(tmp_path / "model")
    write_collection(tmp_path / "birds")
    first = cli("run", "birds", "--reranker", "model", "--top-k", "5", "--format", "json")
    assert first.code == 0, first.err
    again = cli("run", "birds", "--reranker", "model", "--top-k", "8", "--format", "json")
    one, two = first.results()[0], again.results()[0]
    assert one["diagnostics"]["tokens"] > 0
    assert two["diagnostics"]["pairs"] > one["diagnostics"]["pairs"]


def test_a_late_interaction_model_is_no_bi_encoder(tmp_path: Path):
    for make in (colbert, pylate):
        make(tmp_path / make.__name__)
        with pytest.raises(HarnessError, match="late-interaction"):
            opened(tmp_path / make.__name__, tmp_path, "bi-encoder")


def without_projection(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    colbert(folder)
    weights = load_file(folder / "model.safetensors")
    del weights["linear.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def with_tanh(folder: Path) -> None:
    pylate(folder)
    stated = json.loads((folder / "1_Dense" / "config.json").read_text())
    write_json(
        folder / "1_Dense" / "config.json", {**stated, "activation_function": "torch.nn.modules.activation.Tanh"}
    )


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (without_projection, {}, "lack linear.weight"),
        (with_tanh, {}, "activation"),
        (lambda folder: pylate(folder, query_prefix="[X] "), {}, r'no token "\[X\] "'),
        (lambda folder: colbert(folder, query_token_id="[nowhere]"), {}, "no token"),
        (bert, {}, "no late-interaction model"),
        (colbert, {"document_length": 513}, "at most 512"),
        (colbert, {"query_length": 3}, "special tokens"),
        (colbert, {"doc_maxlen": 3}, 'no setting "doc_maxlen"'),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, make, settings: dict, said: str):
    make(tmp_path / "model")
    with pytest.raises(HarnessError, match=said) as error:
        score(opened(tmp_path / "model", tmp_path, "late-interaction", **settings)[0], PAIRS[:1])
    assert "\n" not in str(error.value)
