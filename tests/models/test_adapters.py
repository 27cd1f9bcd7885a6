"""LoRA adapters: merged weights by the formula, base and adapter in the fingerprint, what is refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exactness import Yardstick, both
from golden_cases import opened, score
from tiny_models import byte_tokenizer, wordpiece_tokenizer, write_json

from harness.engine.options import Options
from harness.errors import HarnessError
from harness.models.checkpoint import read_weights
from harness.models.loading import load_weights
from harness.models.source import open_model, snapshot

SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
CONFIG: dict[str, Any] = {
    "peft_type": "LORA", "r": 4, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "bias": "none",
    "task_type": "CAUSAL_LM", "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True,
    "revision": None, "use_dora": False, "lora_dropout": 0.0,
}  # fmt: skip
QUERY, VALUE = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj"


def llama(folder: Path, seed: int = 0):
    """A Llama with a language model's head, saved with a tokenizer; returns the model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    wordpiece_tokenizer(folder)
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=300, **SHAPE, num_key_value_heads=4, initializer_range=0.3, pad_token_id=0)
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return model


def lora(*paths: str, rank: int = 4, out: int = 32, seed: int = 7) -> dict[str, Any]:
    import torch

    torch.manual_seed(seed)
    return {
        f"base_model.model.{path}.lora_{side}.weight": torch.randn(shape)
        for path in paths
        for side, shape in (("A", (rank, 32)), ("B", (out, rank)))
    }


def adapter(folder: Path, base: Path, tensors: dict[str, Any], pickled: bool = False, **config: Any) -> Path:
    """An adapter's folder as the peft library saves it."""
    import torch
    from safetensors.torch import save_file

    write_json(folder / "adapter_config.json", {**CONFIG, "base_model_name_or_path": str(base), **config})
    if pickled:
        torch.save(tensors, folder / "adapter_model.bin")
    else:
        save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def loaded(folder: Path, cache: Path, auto: str = "AutoModelForCausalLM", dtype: str = "float32"):
    return load_weights(auto, open_model(str(folder), cache), Options(dtype=dtype))


def delta(tensors: dict[str, Any], path: str, scale: float):
    return scale * tensors[f"base_model.model.{path}.lora_B.weight"] @ tensors[f"base_model.model.{path}.lora_A.weight"]


def merged(weight: Any, tensors: dict[str, Any], path: str, scale: float) -> Yardstick:
    """A weight of the base model and what an adapter adds to it."""
    return both(lambda: weight.detach() + delta(tensors, path, scale))


@pytest.mark.parametrize("pickled", [False, True])
def test_a_weight_becomes_w_plus_alpha_over_r_times_b_a(tmp_path: Path, pickled: bool):
    before = dict(llama(tmp_path / "base").named_parameters())
    tensors = lora(QUERY, VALUE)
    after = dict(loaded(adapter(tmp_path / "a", tmp_path / "base", tensors, pickled), tmp_path).named_parameters())
    for name, weight in after.items():
        path = name.removesuffix(".weight")
        if path in (QUERY, VALUE):
            merged(before[name], tensors, path, 16 / 4).check(weight)
        else:
            np.testing.assert_array_equal(weight.detach(), before[name].detach())


def test_ranks_scales_and_rank_stabilisation_are_those_of_the_config(tmp_path: Path):
    before = dict(llama(tmp_path / "base").named_parameters())
    tensors = {**lora(QUERY, rank=4), **lora(VALUE, rank=2)}
    config = {"use_rslora": True, "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"layers.1.self_attn.v_proj": 64}}
    model = loaded(adapter(tmp_path / "a", tmp_path / "base", tensors, **config), tmp_path)
    for path, scale in ((QUERY, 16 / math.sqrt(4)), (VALUE, 64 / math.sqrt(2))):
        expected = merged(before[f"{path}.weight"], tensors, path, scale)
        expected.check(model.get_parameter(f"{path}.weight"))


def test_embeddings_and_inputs_first_weights_are_turned(tmp_path: Path):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    wordpiece_tokenizer(tmp_path / "base")
    base = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=4)).eval()
    base.save_pretrained(tmp_path / "base")
    path, wte = "transformer.h.0.attn.c_attn", "transformer.wte"
    tensors = lora(path, out=96)
    tensors |= {f"base_model.model.{wte}.lora_embedding_A": torch.randn(4, 300)}
    tensors |= {f"base_model.model.{wte}.lora_embedding_B": torch.randn(32, 4)}
    model = loaded(adapter(tmp_path / "a", tmp_path / "base", tensors, fan_in_fan_out=True), tmp_path)
    weight = base.get_parameter(f"{path}.weight").detach()
    both(lambda: weight + delta(tensors, path, 4).T).check(model.get_parameter(f"{path}.weight"))
    one, other = (tensors[f"base_model.model.{wte}.lora_embedding_{letter}"] for letter in "BA")
    words = base.get_parameter(f"{wte}.weight").detach()
    both(lambda: words + 4 * (one @ other).T).check(model.get_parameter(f"{wte}.weight"))


def test_an_adapter_trained_with_a_head_fits_the_model_without_it_and_the_other_way_round(tmp_path: Path):
    llama(tmp_path / "base")
    with_head = adapter(tmp_path / "a", tmp_path / "base", lora(QUERY))
    without = adapter(tmp_path / "b", tmp_path / "base", lora(QUERY.removeprefix("model.")))
    weights = [
        loaded(folder, tmp_path, auto).state_dict()[name]
        for folder in (with_head, without)
        for auto, name in (
            ("AutoModel", f"{QUERY.removeprefix('model.')}.weight"),
            ("AutoModelForCausalLM", f"{QUERY}.weight"),
        )
    ]
    for weight in weights[1:]:
        np.testing.assert_array_equal(weight, weights[0])


def test_half_precision_rounds_the_sum_once(tmp_path: Path):
    import torch

    before = llama(tmp_path / "base").to(torch.bfloat16).state_dict()[f"{QUERY}.weight"]
    tensors = lora(QUERY)
    model = loaded(adapter(tmp_path / "a", tmp_path / "base", tensors), tmp_path, dtype="bfloat16")
    expected = (before.float() + delta(tensors, QUERY, 4)).to(torch.bfloat16)
    assert torch.equal(model.state_dict()[f"{QUERY}.weight"], expected)


def test_a_classifiers_head_comes_from_the_adapter_and_its_pairs_are_scored(tmp_path: Path):
    import torch
    from transformers import LlamaForSequenceClassification

    llama(tmp_path / "base")
    head = torch.randn(1, 32)
    tensors = {**lora(QUERY, VALUE), "base_model.model.score.weight": head}
    adapter(tmp_path / "a", tmp_path / "base", tensors, task_type="SEQ_CLS", modules_to_save=["score"])
    (reranker,) = opened(tmp_path / "a", tmp_path)
    assert reranker.spec.family == "sequence-classification"
    assert dict(reranker.spec.settings)["labels"] == 1

    oracle = LlamaForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=1).eval()
    with torch.no_grad():
        oracle.score.weight.copy_(head)
        for path in (QUERY, VALUE):
            oracle.get_parameter(f"{path}.weight").add_(delta(tensors, path, 4))
    found = score(reranker, [("what is ice", "ice is cold water"), ("who", "the stone house")])

    def logits(oracle: Any) -> np.ndarray:
        with torch.no_grad():
            return np.array([float(oracle(input_ids=torch.tensor([ids])).logits) for ids in found.ids])

    both(logits, oracle).check(found.margins)


def test_base_and_adapter_are_both_in_the_revision(tmp_path: Path):
    llama(tmp_path / "base")
    one = open_model(str(adapter(tmp_path / "a", tmp_path / "base", lora(QUERY))), tmp_path)
    other_adapter = open_model(str(adapter(tmp_path / "b", tmp_path / "base", lora(QUERY, seed=8))), tmp_path)
    llama(tmp_path / "base", seed=1)
    other_base = open_model(str(tmp_path / "a"), tmp_path)
    assert len({one.revision, other_adapter.revision, other_base.revision}) == 3
    assert one.base is not None
    assert one.base.revision[:8] in (one.note or "")
    assert one.architecture == "LlamaForCausalLM"


def test_the_tokenizer_is_the_adapters_where_it_brings_one(tmp_path: Path):
    llama(tmp_path / "base")
    adapter(tmp_path / "a", tmp_path / "base", lora(QUERY))
    plain = snapshot(open_model(str(tmp_path / "a"), tmp_path))
    assert (plain / "tokenizer.json").resolve() == (tmp_path / "base" / "tokenizer.json").resolve()
    byte_tokenizer(tmp_path / "a")
    own = snapshot(open_model(str(tmp_path / "a"), tmp_path))
    assert (own / "tokenizer.json").resolve() == (tmp_path / "a" / "tokenizer.json").resolve()


def test_whoever_reads_weights_without_merging_is_refused(tmp_path: Path):
    base = llama(tmp_path / "base")
    source = open_model(str(adapter(tmp_path / "a", tmp_path / "base", lora(QUERY))), tmp_path)
    expected = {name: tuple(weight.shape) for name, weight in base.named_parameters()}
    with pytest.raises(HarnessError):
        read_weights(source, expected, dtype="float32", device="cpu")


def test_a_renewed_base_is_read_anew(tmp_path: Path):
    llama(tmp_path / "base")
    folder = adapter(tmp_path / "a", tmp_path / "base", lora(QUERY))
    first = loaded(folder, tmp_path).state_dict()[f"{QUERY}.weight"]
    shutil.rmtree(tmp_path / "base")
    llama(tmp_path / "base", seed=1)
    assert (loaded(folder, tmp_path).state_dict()[f"{QUERY}.weight"] - first).abs().max() > 0.01


@pytest.mark.parametrize(
    ("tensors", "config", "said"),
    [
        (lambda: lora(QUERY), {"use_dora": True}, "use_dora"),
        (lambda: lora(QUERY), {"peft_type": "IA3"}, "IA3"),
        (lambda: lora(QUERY), {"init_lora_weights": "pissa"}, "pissa"),
        (lambda: lora(QUERY), {"a_key_of_tomorrow": 3}, "a_key_of_tomorrow"),
        (lambda: lora("model.layers.9.self_attn.q_proj"), {}, "which the model lacks"),
        (lambda: lora(QUERY, out=31), {}, "another base model"),
        (lambda: dict(list(lora(QUERY).items())[:1]), {}, "only one of lora_A and lora_B"),
        (
            lambda: {**lora(QUERY), "base_model.model.x.lora_magnitude_vector": next(iter(lora(QUERY).values()))},
            {},
            "not plain LoRA",
        ),
        (lambda: lora(QUERY), {"base_model_name_or_path": None}, "names no base model"),
        (lambda: lora(QUERY), {"base_model_name_or_path": "/nowhere/at/all"}, "base model cannot be opened"),
    ],
)
def test_what_is_more_or_less_than_plain_lora_is_one_line(tmp_path: Path, tensors, config: dict, said: str):
    llama(tmp_path / "base")
    folder = adapter(tmp_path / "a", tmp_path / "base", tensors(), **config)
    with pytest.raises(HarnessError, match=said) as error:
        loaded(folder, tmp_path)
    assert "\n" not in str(error.value)


def test_an_adapter_of_an_adapter_and_one_beside_whole_weights_are_refused(tmp_path: Path):
    llama(tmp_path / "base")
    adapter(tmp_path / "a", tmp_path / "base", lora(QUERY))
    with pytest.raises(HarnessError, match="itself an adapter"):
        open_model(str(adapter(tmp_path / "b", tmp_path / "a", lora(QUERY))), tmp_path)
    adapter(tmp_path / "base", tmp_path / "a", lora(QUERY))
    with pytest.raises(HarnessError, match="which one is meant"):
        open_model(str(tmp_path / "base"), tmp_path)


def test_the_head_of_a_classifier_is_read_once(tmp_path: Path):
    import torch

    llama(tmp_path / "base")
    tensors = {**lora(QUERY), "base_model.model.score.weight": torch.randn(1, 32)}
    folder = adapter(tmp_path / "a", tmp_path / "base", tensors, pickled=True, task_type="SEQ_CLS")
    first = open_model(str(folder), tmp_path / "cache")
    (memory,) = (tmp_path / "cache" / "adapters").glob("*.head.json")
    assert json.loads(memory.read_text()) == 1
    assert open_model(str(folder), tmp_path / "cache").config == first.config
