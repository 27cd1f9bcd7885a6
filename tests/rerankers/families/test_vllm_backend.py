"""Causal rerankers on vLLM: the seam against a stand-in with vLLM's signatures (tests/vllm_standin.py)."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vllm_standin
from exactness import both, ours
from golden_cases import model_folder, opened
from models.test_adapters import adapter, llama, lora

from harness.errors import HarnessError, MissingDependency
from harness.rerankers.families.vllm_backend import label_margins, open_engine
from harness.rerankers.score import margins_of, prepare, score_pairs
from harness.types import DocumentText, QueryText

PAIRS = [
    (QueryText("what lives in the river", "only birds"), DocumentText("On herons", "a heron stands in the water " * n))
    for n in (1, 9, 3, 40)
]


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch):
    """A machine that has vLLM installed."""
    monkeypatch.setitem(sys.modules, "vllm", vllm_standin)
    return vllm_standin


def open_vllm(cache: Path, folder: Path, backend: str = "vllm", **settings: Any):
    (reranker,) = opened(folder, cache, "causal", backend=backend, **settings)
    return reranker


@pytest.mark.parametrize(
    ("system", "template"),
    [
        ("followir", "followir"),
        ("selfrag", "selfrag"),
        ("mxbai-rerank-v2", "mxbai-rerank-v2"),
        ("mxbai-rerank-v2", "qwen3-reranker"),
    ],
)
def test_scores_equal_those_of_transformers(tmp_path: Path, vllm, system: str, template: str):
    folder, theirs = model_folder(system), open_vllm(tmp_path, model_folder(system), template=template)
    yard = ours(lambda reranker: margins_of(reranker, PAIRS), folder, tmp_path, "causal", template=template)
    yard.check(margins_of(theirs, PAIRS))
    yard.through(theirs.load().activate).check(score_pairs(theirs, PAIRS))


def test_margins_are_differences_of_logits_row_by_row(tmp_path: Path, vllm):
    import torch
    import transformers

    folder = model_folder("followir")
    engine = open_engine(folder, dtype="float32", longest=50, trust_remote_code=False)
    prompts = [np.array(ids, np.int32) for ids in ([1, 40, 7], [1, 9], [1, 40, 7, 8, 30])]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()

    def logits(model: Any) -> np.ndarray:
        with torch.inference_mode():
            return np.stack([model(input_ids=torch.tensor([ids.tolist()])).logits[0, -1].numpy() for ids in prompts])

    yard = both(logits, model)
    for positive, negative in ((20, 30), (30, 20)):
        margins = label_margins(engine, prompts, positive, negative)
        assert margins.dtype == np.float32
        yard.through(lambda rows, one=positive, other=negative: rows[:, one] - rows[:, other]).check(margins)


def test_an_engine_that_reports_the_whole_vocabulary_is_refused(vllm):
    engine = vllm.LLM(str(model_folder("followir")), dtype="float32", max_model_len=50)
    with pytest.raises(HarnessError, match=r"not of the labels 20 and 30; it must be 0\.10\.2 or newer"):
        label_margins(engine, [np.array([1, 40, 7], np.int32)], 20, 30)


def test_the_longest_prompt_leaves_room_for_the_one_token(tmp_path: Path, vllm):
    small = shutil.copytree(model_folder("followir"), tmp_path / "small")
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 300}))
    reranker = open_vllm(tmp_path, small, template="followir")
    pairs = [(QueryText("Q"), DocumentText("", "D " * 500))]
    assert dict(reranker.spec.settings)["max_length"] == 299
    assert prepare(reranker.load(), pairs).lengths.tolist() == [299]
    assert np.isfinite(margins_of(reranker, pairs)).all()
    with pytest.raises(HarnessError, match="takes at most 299 tokens beside the 1 that it writes; max_length=300 is"):
        open_vllm(tmp_path, small, template="followir", max_length=300)


def test_the_backend_has_its_own_fingerprint(tmp_path: Path):
    folder = model_folder("followir")
    prints = [
        open_vllm(tmp_path, folder, name, template="followir").spec.fingerprint for name in ("vllm", "transformers")
    ]
    (default,) = opened(folder, tmp_path, "causal", template="followir")
    assert prints[0] != prints[1] == default.spec.fingerprint


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_a_machine_without_vllm_is_told_the_command_that_installs_it(tmp_path: Path):
    reranker = open_vllm(tmp_path, model_folder("followir"), template="followir")
    with pytest.raises(MissingDependency, match=r"followir with backend=vllm needs .* pip install 'vllm>=0.10.2'"):
        reranker.load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "vlm"}, "backend is one of: transformers, vllm"),
        ({"template": "bge-reranker-gemma"}, "scores one raw logit, and vLLM gives log-probabilities"),
    ],
)
def test_a_wrong_setting_is_a_one_line_error(tmp_path: Path, settings: dict, message: str):
    with pytest.raises(HarnessError, match=message) as caught:
        open_vllm(tmp_path, model_folder("followir"), **{"template": "followir", **settings})
    assert "\n" not in str(caught.value)


def test_an_adapter_is_refused_because_vllm_would_not_merge_it(tmp_path: Path):
    llama(tmp_path / "base")
    folder = adapter(tmp_path / "adapter", tmp_path / "base", lora("model.layers.0.self_attn.q_proj"))
    with pytest.raises(HarnessError, match="is an adapter, which backend=vllm would leave out"):
        open_vllm(tmp_path, folder, template="followir")
