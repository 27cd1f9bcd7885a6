"""Models with code of their own: what they compute is right or refused, and is keyed by all that moves it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import processes
import pytest
from exactness import both
from own_code import SCALES, USES_SCALES, expected, own_classifier
from saved_rerankers import edited
from small_hub import commit_of, serving
from tiny_models import sentence_transformer, write_json

from harness.engine.options import Options
from harness.errors import HarnessError
from harness.models.encoders import Encoder, encoder_spec
from harness.models.running import numeric_settings
from harness.models.source import open_model
from harness.rerankers.resolve import open_rerankers
from harness.rerankers.score import compare_loads, prepare, score_pairs
from harness.types import DocumentText, QueryText

PAIRS = [
    (QueryText("what is water"), DocumentText("", f"the river and the {word}"))
    for word in ("boat", "ice", "wind", "stone")
]


def opened(folder: Path, cache: Path, *, trust: bool = True, dtype: str = "float32"):
    (reranker,) = open_rerankers(
        str(folder), Options(dtype=dtype, trust_remote_code=trust, settings=(("normalize", "false"),)), cache
    )
    return reranker


def scores_of(folder: Path, cache: Path) -> list[float]:
    return score_pairs(opened(folder, cache), PAIRS).tolist()


def check_scaled(folder: Path, cache: Path) -> None:
    """The scores are those of the class with its scales."""
    prepared = prepare(opened(folder, cache).load(), PAIRS)
    rows = [prepared.token_ids(row) for row in range(len(PAIRS))]
    expected(folder, rows, scales=True).check(scores_of(folder, cache))


def test_a_buffer_that_is_computed_and_not_saved_has_its_value(tmp_path: Path):
    folder = own_classifier(tmp_path / "own", computed=SCALES, forward=USES_SCALES)
    check_scaled(folder, tmp_path)


def test_a_tensor_that_is_no_buffer_has_its_value_too(tmp_path: Path):
    plain = "self.scales = 1.0 + torch.arange(config.width) / config.width"
    folder = own_classifier(tmp_path / "own", computed=plain, forward=USES_SCALES)
    check_scaled(folder, tmp_path)


def test_a_saved_kind_of_buffer_that_the_files_lack_has_its_value_where_it_is_let_through(tmp_path: Path):
    computed = 'self.register_buffer("position_ids", torch.arange(config.width))'
    uses = "hidden = hidden * (1.0 + self.position_ids / len(self.position_ids))"
    folder = own_classifier(tmp_path / "own", computed=computed, forward=uses)
    check_scaled(folder, tmp_path)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("torch.empty(config.width)", "unwritten"),
        ("torch.empty(config.width, dtype=torch.long)", "unwritten"),
        ("torch.rand(config.width)", "do not agree"),
    ],
)
def test_a_buffer_that_cannot_be_shown_to_be_right_is_refused(tmp_path: Path, value: str, why: str):
    computed = f'self.register_buffer("scales", {value}, persistent=False)'
    folder = own_classifier(tmp_path / "own", computed=computed, forward=USES_SCALES)
    with pytest.raises(HarnessError, match=rf"scales is computed by OwnForSequenceClassification .*{why}"):
        scores_of(folder, tmp_path)


def test_code_that_looks_at_its_parameters_while_it_builds_is_built_with_them(tmp_path: Path):
    computed = f'{SCALES}; self.known = str(float(self.words.weight.abs().sum())) if self.words.weight.device.type == "cpu" else ""'
    folder = own_classifier(tmp_path / "own", computed=computed, forward=USES_SCALES)
    check_scaled(folder, tmp_path)


def test_scores_that_two_loads_do_not_share_are_refused_before_the_first_batch(tmp_path: Path):
    chance = "self.chance = [float(torch.rand(1, device='cpu'))]"
    folder = own_classifier(tmp_path / "own", computed=chance, forward="hidden = hidden * self.chance[0]")
    with pytest.raises(HarnessError, match="loaded twice"):
        compare_loads(opened(folder, tmp_path), PAIRS)
    with pytest.raises(HarnessError, match="loaded twice"):
        scores_of(folder, tmp_path)


def test_an_instruction_of_ones_own_is_compared_in_two_loads_too(tmp_path: Path):
    chance = "self.chance = [float(torch.rand(1, device='cpu'))]"
    folder = own_classifier(tmp_path / "own", computed=chance, forward="hidden = hidden * self.chance[0]")
    options = Options(trust_remote_code=True, settings=(("instruction", "only rivers"),))
    (reranker,) = open_rerankers(str(folder), options, tmp_path)
    with pytest.raises(HarnessError, match="loaded twice"):
        compare_loads(reranker, PAIRS)


@pytest.mark.parametrize(
    ("system", "family", "settings"),
    [
        ("cross-encoder", None, ()), ("bge-reranker", "bge", ()), ("bge-reranker-layerwise", None, ()),
        ("tart", None, ()), ("followir", "causal", (("template", "followir"),)),
    ],
)  # fmt: skip
def test_two_loads_of_every_family_share_no_weights(tmp_path: Path, system: str, family: str | None, settings):
    folder = Path(__file__).parents[1] / "assets" / "models" / system
    (reranker,) = open_rerankers(str(folder), Options(settings=settings), tmp_path, family)
    loaded = [reranker.load(), (reranker.separate or reranker.loader)()]
    assert loaded[0] is not loaded[1]
    inside = [getattr(model, "shared", model) for model in loaded]
    assert inside[0] is not inside[1]
    assert compare_loads(reranker, PAIRS) == 0.0
    assert reranker.compared


def test_check_tells_that_two_loads_differ(tmp_path: Path, cli):
    chance = "self.chance = [float(torch.rand(1, device='cpu'))]"
    folder = own_classifier(tmp_path / "own", computed=chance, forward="hidden = hidden * self.chance[0]")
    answer = cli("check", folder, "--trust-remote-code")
    assert answer.code == 1
    assert "[FAIL] two loads" in answer.out
    good = cli("check", own_classifier(tmp_path / "good"), "--trust-remote-code")
    assert "[OK]   two loads" in good.out


def test_a_run_with_scores_by_chance_stores_none(tmp_path: Path, cli, collection_folder: Path):
    chance = "self.chance = [float(torch.rand(1, device='cpu'))]"
    folder = own_classifier(tmp_path / "own", computed=chance, forward="hidden = hidden * self.chance[0]")
    answer = cli("run", collection_folder, "--reranker", folder, "--trust-remote-code")
    assert answer.code == 2
    assert "loaded twice" in answer.err.splitlines()[-1]
    assert not list((tmp_path / "results").rglob("*own*/*.json"))


@pytest.mark.parametrize(
    ("broken", "doing", "said"),
    [
        ({"imports": "from transformers.pytorch_utils import find_pruneable_heads_and_indices_of_old"}, "loading", "ImportError"),
        ({"computed": "self.get_extended_head_mask(1)"}, "loading", "AttributeError"),
        ({"post_init": ""}, "loading", "AttributeError"),
        ({"computed": "torch.nn.Linear(config.width)"}, "loading", "TypeError"),
        ({"forward": "self.get_head_mask(None, 1)"}, "its forward pass", "AttributeError"),
        ({"forward": "torch.sum()"}, "its forward pass", "TypeError"),
        ({"forward": "hidden = (hidden"}, "loading", "SyntaxError"),
        ({"forward": "hidden = hidden[..., undefined]"}, "its forward pass", "NameError"),
        ({"forward": "hidden = hidden @ torch.zeros(3, 3)"}, "its forward pass", "RuntimeError"),
    ],
)  # fmt: skip
def test_an_error_in_code_of_the_models_own_is_one_line(tmp_path: Path, cli, broken: dict, doing: str, said: str):
    folder = own_classifier(tmp_path / "own", **broken)
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"query": "what is water", "text": "the river"}) + "\n")
    answer = cli("score", folder, pairs, "--trust-remote-code")
    assert answer.code == 2
    line = answer.err.splitlines()[-1]
    assert line.startswith(f"error: own: its own code fails in {doing}, in modeling_own.py")
    assert said in line
    assert "for transformers 4.38.2 (config.json)" in line
    assert "environment of its own" in line


@pytest.mark.parametrize("names", [["input_ids", "token_type_ids", "attention_mask"], ["input_ids", "attention_mask"]])
def test_code_that_takes_token_types_gets_those_that_the_tokenizer_gives(tmp_path: Path, names: list[str]):
    import torch
    from sentence_transformers import CrossEncoder
    from tokenizers import Tokenizer, processors

    uses = "hidden = hidden if token_type_ids is None else hidden * (1 + token_type_ids[..., None])"
    folder = own_classifier(tmp_path / "own", forward=uses)
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    backend.save(str(folder / "tokenizer.json"))
    edited(folder, "tokenizer_config.json", model_input_names=names)
    found = scores_of(folder, tmp_path)
    oracle = CrossEncoder(str(folder), device="cpu", trust_remote_code=True, local_files_only=True)
    texts = [(query.text, document.text) for query, document in PAIRS]
    both(lambda oracle: oracle.predict(texts, activation_fn=torch.nn.Identity()), oracle).check(found)


def test_code_that_does_not_say_its_version_is_told_so(tmp_path: Path):
    folder = own_classifier(tmp_path / "own", forward="self.get_head_mask(None, 1)", written_for=None)
    with pytest.raises(HarnessError, match=r"a transformers that config\.json does not name"):
        scores_of(folder, tmp_path)


def test_without_trust_the_code_is_not_run(tmp_path: Path):
    folder = own_classifier(tmp_path / "own", imports="raise SystemExit('run')")
    with pytest.raises(HarnessError, match="--trust-remote-code"):
        score_pairs(opened(folder, tmp_path, trust=False), PAIRS)


def test_a_change_of_the_code_changes_the_key(tmp_path: Path):
    plain = own_classifier(tmp_path / "a" / "own")
    turned = own_classifier(tmp_path / "b" / "own", sign="-")
    first, second = (opened(folder, tmp_path) for folder in (plain, turned))
    assert score_pairs(first, PAIRS).tolist() == (-score_pairs(second, PAIRS)).tolist()
    assert first.spec.fingerprint != second.spec.fingerprint


def test_trust_itself_is_in_the_key_where_there_is_code_to_trust(tmp_path: Path):
    folder = own_classifier(tmp_path / "own")
    trusted, not_trusted = (opened(folder, tmp_path, trust=trust) for trust in (True, False))
    assert trusted.spec.fingerprint != not_trusted.spec.fingerprint


def test_trust_is_in_no_key_where_there_is_no_code(tmp_path: Path, model_folder_without_code: Path):
    keys = {opened(model_folder_without_code, tmp_path, trust=trust).spec.fingerprint for trust in (True, False)}
    assert len(keys) == 1


@pytest.fixture
def model_folder_without_code() -> Path:
    return Path(__file__).parents[1] / "assets" / "models" / "cross-encoder"


def test_the_kind_of_device_is_in_the_key_in_half_precision_alone(model_folder_without_code: Path, tmp_path: Path):
    def key(device: str, dtype: str) -> str:
        options = Options(device=device, dtype=dtype)
        return open_rerankers(str(model_folder_without_code), options, tmp_path)[0].spec.fingerprint

    assert key("cpu", "float32") == key("cuda", "float32")
    assert key("cpu", "bfloat16") != key("cuda", "bfloat16")
    assert key("cuda:0", "bfloat16") == key("cuda:1", "bfloat16")


@pytest.mark.parametrize(
    "name",
    [
        "spm.model", "sentencepiece.model", "vocab.bpe", "qwen.tiktoken", "words/lexicon.txt", "modeling_own.py",
        "extra.bin", "head.pt", "1_Pooling/weights.npz",
    ],
)  # fmt: skip
def test_every_file_that_may_move_scores_is_in_the_revision(tmp_path: Path, name: str):
    folder = own_classifier(tmp_path / "own")
    revisions = []
    for content in (b"one", b"two"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        revisions.append(open_model(str(folder), tmp_path / content.decode()).revision)
    assert revisions[0] != revisions[1]


@pytest.mark.parametrize(
    "name",
    [
        "README.md", "LICENSE", "pytorch_model.bin", "onnx/model.onnx", "tf_model.h5", ".git/index",
        "__pycache__/modeling_own.pyc", "optimizer.pt", "checkpoint-500/model.safetensors",
    ],
)  # fmt: skip
def test_what_moves_no_score_is_not_in_the_revision(tmp_path: Path, name: str):
    folder = own_classifier(tmp_path / "own")
    before = open_model(str(folder), tmp_path / "cache").revision
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"another")
    assert open_model(str(folder), tmp_path / "cache").revision == before


def test_files_behind_a_link_to_a_folder_count(tmp_path: Path):
    folder = own_classifier(tmp_path / "own")
    (tmp_path / "elsewhere").mkdir()
    (folder / "words").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    revisions = []
    for content in ("one", "two"):
        (tmp_path / "elsewhere" / "lexicon.txt").write_text(content)
        revisions.append(open_model(str(folder), tmp_path / content).revision)
    assert revisions[0] != revisions[1]


def with_module(folder: Path, kind: str) -> Path:
    """A sentence-transformers model whose last module is of another class."""
    sentence_transformer(folder)
    modules = json.loads((folder / "model" / "modules.json").read_text())
    modules[-1]["type"] = kind
    write_json(folder / "model" / "modules.json", modules)
    return folder / "model"


TURNED = """
import torch

class Normalize(torch.nn.Module):
    def forward(self, features):
        {line}
        return features

    @classmethod
    def load(cls, *_, **__):
        return cls()
"""


def test_a_module_of_the_models_own_is_never_taken_for_the_librarys(tmp_path: Path):
    folder = with_module(tmp_path, "turned.Normalize")
    (folder / "turned.py").write_text(TURNED.format(line="features['sentence_embedding'][:, 1:] = 0"))
    encoder = opened_encoder(folder, tmp_path / "cache")
    vectors = encoder.encode(["the river"], "document")[:]
    assert vectors.any()
    assert not vectors[:, 1:].any()


def opened_encoder(folder: Path, cache: Path, *, trust: bool = True) -> Encoder:
    options = Options(trust_remote_code=trust)
    source = open_model(str(folder), cache, trust=trust)
    return Encoder(source, encoder_spec(source, options), options, cache)


@pytest.mark.parametrize(
    ("kind", "file", "trust", "said"),
    [
        ("turned.Normalize", True, False, "say --trust-remote-code"),
        ("turned.Normalize", False, True, 'installed package "turned"'),
        ("sentence_transformers.models.Nothing", False, True, "fails in loading"),
        ("json.Nothing", False, True, "fails in loading"),
    ],
)
def test_modules_that_name_a_foreign_class_are_one_line(tmp_path: Path, kind: str, file: bool, trust: bool, said: str):
    folder = with_module(tmp_path, kind)
    if file:
        (folder / "turned.py").write_text(TURNED.format(line="pass"))
    with pytest.raises(HarnessError) as raised:
        opened_encoder(folder, tmp_path / "cache", trust=trust).encode(["the river"], "document")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_error_in_a_module_of_the_models_own_is_one_line(tmp_path: Path):
    folder = with_module(tmp_path, "turned.Normalize")
    (folder / "turned.py").write_text(TURNED.format(line="self.get_head_mask()"))
    with pytest.raises(
        HarnessError, match=r"its own code fails in its forward pass, in turned\.py line 6: AttributeError"
    ):
        opened_encoder(folder, tmp_path / "cache").encode(["the river"], "document")


def scored_with_hub(model: str | Path, home: Path, endpoint: str) -> list[float]:
    """The scores that a process prints whose hub is `endpoint`."""
    home.mkdir(exist_ok=True)
    rows = [json.dumps({"query": query.text, "text": document.text}) for query, document in PAIRS]
    (home / "pairs.jsonl").write_text("\n".join(rows))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home / "hf"), "RERANK_HARNESS_CACHE": str(home / "cache")}
    words = ("run_eval.py", "score", model, home / "pairs.jsonl", "--trust-remote-code", "--set", "normalize=false")
    done = processes.run(words, clean | environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["score"] for line in done.stdout.splitlines()]


def test_the_code_of_a_hub_model_is_fetched_with_it(tmp_path: Path):
    own_classifier(tmp_path / "root" / "models" / "them" / "own", sign="-")
    plain = scores_of(own_classifier(tmp_path / "here"), tmp_path / "cache")
    with serving(tmp_path / "root") as endpoint:
        turned = scored_with_hub("them/own", tmp_path / "home", endpoint)
    assert turned == [-score for score in plain]


def test_code_in_another_repository_is_that_of_its_commit_now(tmp_path: Path):
    plain = scores_of(own_classifier(tmp_path / "here"), tmp_path / "cache")
    folder = own_classifier(tmp_path / "own")
    (folder / "modeling_own.py").unlink()
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {name: f"them/code--{place}" for name, place in config["auto_map"].items()}
    write_json(folder / "config.json", config)
    code = tmp_path / "root" / "models" / "them" / "code"
    with serving(tmp_path / "root") as endpoint:
        for sign, factor in (("", 1), ("-", -1)):
            own_classifier(code, sign=sign)
            commit_of.cache_clear()
            found = scored_with_hub(folder, tmp_path / "home", endpoint)
            assert found == [factor * score for score in plain]


def test_other_code_elsewhere_is_another_key(tmp_path: Path):
    source = open_model(str(own_classifier(tmp_path / "own")), tmp_path)
    keys = [
        numeric_settings(replace(source, code=code), Options()) for code in (None, (), (("a/b", "1"),), (("a/b", "2"),))
    ]
    assert len({json.dumps(key) for key in keys}) == 4
