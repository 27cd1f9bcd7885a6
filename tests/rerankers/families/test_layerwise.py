"""BGE's layerwise reranker: FlagEmbedding's own scores, several layers in one pass, strict weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from exactness import alone, both, golden, margins, ours, published
from golden_cases import cases, model_folder, opened, read_cases, score

from harness.engine.options import Options
from harness.engine.store import ScoreStore
from harness.errors import HarnessError
from harness.rerankers.base import Reranker
from harness.rerankers.rerank import rerank
from harness.types import Candidates, DocumentText, QueryText

FOLDER = model_folder("bge-reranker-layerwise")
CASES = cases("bge-reranker-layerwise")
PAIRS = CASES[0]["pairs"]
SHORT = PAIRS[:6]


def check(folder: Path, cache: Path, case: dict) -> None:
    settings = {"max_length": case["max_length"], "rule": "class"}
    rerankers = opened(folder, cache, cutoff_layers=case["cutoff_layers"], **settings)
    assert len(rerankers) == len(case["cutoff_layers"])
    layer = case.get("layer", case["cutoff_layers"][0])
    found = score(rerankers[case["cutoff_layers"].index(layer)], case["pairs"])
    how = folder, cache, None
    yard = golden(case["scores"], lambda wide: published(wide, case["pairs"]), *how, cutoff_layers=layer, **settings)
    yard.check(found.published)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_scores_equal_the_authors_own(tmp_path: Path, case: dict):
    check(FOLDER, tmp_path, case)


@pytest.mark.shared
def test_scores_equal_the_authors_own_on_the_other_texts(tmp_path: Path, shared: Path):
    for case in read_cases(shared / "goldens" / "bge-reranker-layerwise.json"):
        check(shared / "hub" / "models" / "standin" / "bge-reranker-layerwise", tmp_path, case)


def test_a_pair_alone_scores_as_in_a_batch(tmp_path: Path):
    (reranker,) = opened(FOLDER, tmp_path)
    alone(PAIRS, FOLDER, tmp_path).check(score(reranker, PAIRS).margins)


def test_the_input_is_bos_query_newline_passage_newline_prompt(tmp_path: Path):
    (reranker,) = opened(FOLDER, tmp_path)
    found = score(reranker, [("cedar trees", "They grow tall.")], instruction="Reasons only.")
    tokenizer = found.model.template.tokenizer
    prompt = (
        "Given a query A and a passage B, determine whether the passage contains an answer to the query "
        "by providing a prediction of either 'Yes' or 'No'."
    )
    parts = ["A: cedar trees Reasons only.", "\n", "B: They grow tall.", "\n", prompt]
    assert found.ids[0] == [1, *tokenizer.encode_ids(parts).ids.tolist()]


def test_the_two_rules_leave_the_passage_different_room(tmp_path: Path):
    (card,), (klass,) = (opened(FOLDER, tmp_path, max_length=64, rule=rule) for rule in ("card", "class"))
    long = [("cedar", "birch and elm " * 100)]
    by_card, by_class = score(card, long), score(klass, long)
    template = by_card.model.template
    frame = len(template.separator) + len(template.closing)
    assert by_card.prepared.lengths[0] == 64 + frame
    # The passage's own first 64 ids are fewer than the class leaves room for.
    assert (
        by_class.prepared.lengths[0]
        == 1 + len(template.tokenizer.ids_of_one("A: cedar")) + 64 + len(template.separator) + frame
    )
    assert by_card.ids[0][-frame:] == by_class.ids[0][-frame:]


def test_a_prompt_of_ones_own_replaces_the_published_one(tmp_path: Path):
    (own,), (published,) = opened(FOLDER, tmp_path, prompt="Same meaning?"), opened(FOLDER, tmp_path)
    assert own.spec.fingerprint != published.spec.fingerprint
    found = score(own, PAIRS[:1])
    assert found.ids[0][-len(found.model.template.closing) :] == found.model.template.tokenizer.ids_of_one(
        "Same meaning?"
    )


def test_layers_are_sorted_named_once_and_the_last_is_the_default(tmp_path: Path):
    rerankers = opened(FOLDER, tmp_path, cutoff_layers="4, 2,4")
    assert [reranker.spec.name for reranker in rerankers] == [f"{FOLDER.name}[layer 2]", f"{FOLDER.name}[layer 4]"]
    (default,) = opened(FOLDER, tmp_path)
    assert default.spec.name == FOLDER.name
    assert default.spec.fingerprint == rerankers[1].spec.fingerprint != rerankers[0].spec.fingerprint


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_layer_has_the_same_key_whatever_else_is_asked_for(tmp_path: Path, dtype: str):
    single = opened(FOLDER, tmp_path, dtype=dtype, cutoff_layers=3)[0]
    among = opened(FOLDER, tmp_path, dtype=dtype, cutoff_layers="2,3,4")[1]
    assert single.spec.fingerprint == among.spec.fingerprint
    if dtype == "bfloat16":
        np.testing.assert_array_equal(score(single, SHORT).margins, score(among, SHORT).margins)
    else:
        yard = ours(lambda reranker: margins(reranker, SHORT), FOLDER, tmp_path, cutoff_layers=3)
        yard.check(score(among, SHORT).margins)


def test_one_pass_hands_over_the_other_layers_under_their_own_keys(tmp_path: Path):
    rerankers = opened(FOLDER, tmp_path, cutoff_layers="2,3,4")
    found = [score(reranker, SHORT) for reranker in rerankers]
    also = found[0].prepared.also
    assert set(also) == {rerankers[1].spec.fingerprint, rerankers[2].spec.fingerprint}
    for place in (1, 2):
        np.testing.assert_array_equal(also[rerankers[place].spec.fingerprint], found[place].margins)
    assert found[0].model.shared.network is found[2].model.shared.network


def test_compute_and_weights_stop_at_the_largest_layer(tmp_path: Path):
    rerankers = opened(FOLDER, tmp_path, cutoff_layers="2,3")
    assert len(score(rerankers[0], PAIRS[:1]).model.shared.network.decoder.layers) == 3


@dataclass
class Texts:
    """The part of a collection that reranking reads."""

    queries: dict[str, QueryText]
    texts: dict[str, DocumentText]

    def documents(self, doc_ids) -> dict[str, DocumentText]:
        return {doc_id: self.texts[doc_id] for doc_id in doc_ids}


def request_of(pairs: list) -> tuple[Texts, Candidates]:
    names = [f"{place:02d}" for place in range(len(pairs))]
    queries = {name: QueryText(query) for name, (query, _) in zip(names, pairs, strict=True)}
    texts = {name: DocumentText("", document) for name, (_, document) in zip(names, pairs, strict=True)}
    run = {query: dict.fromkeys(names[: place + 1], 1.0) for place, query in enumerate(names)}
    return Texts(queries, texts), Candidates(run, "made", "0" * 32)


@dataclass
class Tight:
    """A layer on a device that has memory for one pair at a time."""

    model: Any

    def prepare(self, *request):
        return TightPairs(self.model.prepare(*request))


class TightPairs:
    def __init__(self, prepared) -> None:
        self.prepared, self.lengths, self.lost = prepared, prepared.lengths, prepared.lost

    @property
    def also(self):
        return self.prepared.also

    def score(self, rows):
        found = self.prepared.score(rows)
        if len(rows) > 1:
            raise RuntimeError("CUDA out of memory")
        return found


@pytest.mark.parametrize("tight", [False, True], ids=["roomy", "out of memory"])
def test_what_one_layer_leaves_in_the_store_is_all_that_the_next_needs(tmp_path: Path, tight: bool):
    texts, candidates = request_of(PAIRS[:5])
    options = Options(batch_tokens=1000)
    rerankers = opened(FOLDER, tmp_path, cutoff_layers="2,3,4")
    if tight:
        rerankers[0] = Reranker(rerankers[0].spec, lambda first=rerankers[0]: Tight(first.load()))
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        found = [rerank(reranker, candidates, texts, store, options) for reranker in rerankers]
    assert [done.stored for done in found] == [0, 15, 15]
    asked = [
        (texts.queries[query].text, texts.texts[name].text) for query, names in candidates.run.items() for name in names
    ]
    for layer, done in zip((2, 3, 4), found, strict=True):
        scores = [done.run[query][name] for query, names in candidates.run.items() for name in names]
        yard = ours(lambda reranker: margins(reranker, asked), FOLDER, tmp_path, cutoff_layers=layer)
        yard.check(scores)


def test_a_run_of_several_layers_has_a_result_for_each(cli: Cli, collection_folder: Path):
    several = cli("run", collection_folder, "--reranker", FOLDER, "--set", "cutoff_layers=2,4", "--format", "json")
    one = cli("run", collection_folder, "--reranker", FOLDER, "--set", "cutoff_layers=4", "--format", "json")
    results = several.results()
    assert [result["reranker"] for result in results] == [f"{FOLDER.name}[layer 2]", f"{FOLDER.name}[layer 4]"]
    assert one.results()[0]["reused"]
    assert one.results()[0]["path"] == results[1]["path"] != results[0]["path"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cutoff_layers": 1}, "no head at layer 1: cutoff_layers are from 2 to 4"),
        ({"cutoff_layers": "3,5"}, "no head at layer 5"),
        ({"cutoff_layers": "last"}, "as in 8,16,24"),
        ({"cutoff_layers": ""}, "as in 8,16,24"),
        ({"max_length": 4}, "16 at least"),
        ({"rule": "own"}, "one of: card, class"),
        ({"compress_ratio": 2}, 'no setting "compress_ratio"'),
    ],
)
def test_a_wrong_setting_is_a_one_line_error(tmp_path: Path, settings: dict, message: str):
    with pytest.raises(HarnessError, match=message) as caught:
        opened(FOLDER, tmp_path, **settings)
    assert "\n" not in str(caught.value)


def copied(folder: Path, config: dict | None = None, weights=None) -> Path:
    """The tiny model with a changed config.json, or with `weights` done to its weights."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(FOLDER, folder)
    stated = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**stated, **(config or {})}))
    if weights:
        found = load_file(folder / "model.safetensors")
        weights(found)
        save_file(found, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head_type": "complex"}, "head_type is 'complex'"),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, "rope_scaling"),
        ({"scale_depth": None}, "no number for scale_depth"),
    ],
)
def test_a_minicpm_of_another_build_is_refused(tmp_path: Path, change: dict, message: str):
    with pytest.raises(HarnessError, match=message):
        opened(copied(tmp_path / "other", change), tmp_path)


def _nan(weights: dict) -> None:
    weights["model.norm.weight"][3] = float("nan")


def _whole_numbers(weights: dict) -> None:
    weights["model.layers.0.mlp.up_proj.weight"] = weights["model.layers.0.mlp.up_proj.weight"].char()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda weights: weights.pop("lm_head.1.linear_head.weight"), r"files lack lm_head\.1\.linear_head\.weight"),
        (lambda weights: weights.update(extra=weights["model.norm.weight"].clone()), "no place for, extra"),
        (
            lambda weights: weights.update({"model.norm.weight": weights["model.norm.weight"][:8].clone()}),
            r"shape \(8,\)",
        ),
        (_nan, "model.norm.weight holds NaN"),
        (_whole_numbers, "quantised weights are not read"),
    ],
    ids=["missing", "unknown", "shape", "nan", "quantised"],
)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, damage, message: str):
    (reranker,) = opened(copied(tmp_path / "damaged", weights=damage), tmp_path)
    with pytest.raises(HarnessError, match=message):
        score(reranker, PAIRS[:1])


def test_stored_rotary_frequencies_are_ignored(tmp_path: Path):
    def add(weights: dict) -> None:
        weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = weights["model.norm.weight"].clone()

    (old,), (plain,) = opened(copied(tmp_path / "old", weights=add), tmp_path), opened(FOLDER, tmp_path)
    np.testing.assert_array_equal(score(old, PAIRS[:3]).margins, score(plain, PAIRS[:3]).margins)


def test_shared_keys_and_values_equal_repeated_ones(tmp_path: Path):
    """Two key/value heads for four heads score as four, each of the two twice."""

    def halve(weights: dict) -> None:
        for name in [name for name in weights if "k_proj" in name or "v_proj" in name]:
            weights[name] = weights[name][:16].clone()

    def repeat(weights: dict) -> None:
        for name in [name for name in weights if "k_proj" in name or "v_proj" in name]:
            weights[name] = weights[name][:16].unflatten(0, (2, 8)).repeat_interleave(2, 0).flatten(0, 1)

    (grouped,) = opened(copied(tmp_path / "grouped", {"num_key_value_heads": 2}, halve), tmp_path)
    repeated = copied(tmp_path / "repeated", None, repeat)
    ours(lambda reranker: margins(reranker, SHORT), repeated, tmp_path).check(score(grouped, SHORT).margins)


def test_with_scales_of_one_the_network_is_a_llama(tmp_path: Path):
    """transformers' own Llama, on the same weights, gives the hidden states that the heads read."""
    import torch
    from safetensors.torch import load_file
    from transformers import LlamaConfig, LlamaModel

    folder = copied(tmp_path / "llama", {"scale_emb": 1, "scale_depth": 2.0})  # 2 / √4 layers is 1
    stated = json.loads((folder / "config.json").read_text())
    known = (
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_hidden_layers",
        "vocab_size",
        "rms_norm_eps",
    )
    llama = LlamaModel(LlamaConfig(**{key: stated[key] for key in known})).eval()
    weights = load_file(folder / "model.safetensors")
    body = {name.removeprefix("model."): weight for name, weight in weights.items() if name.startswith("model.")}
    llama.load_state_dict(body)
    found = [score(reranker, PAIRS[:4]) for reranker in opened(folder, tmp_path, cutoff_layers="2,3,4")]

    def heads(llama: Any) -> np.ndarray:
        rows = []
        for ids in found[0].ids:
            with torch.inference_mode():
                states = llama(torch.tensor([ids]), output_hidden_states=True).hidden_states
                last = [states[4][0, -1] if layer == 4 else llama.norm(states[layer][0, -1]) for layer in (2, 3, 4)]
                read = [weights[f"lm_head.{place}.linear_head.weight"][0] for place in range(3)]
                rows.append([float(torch.dot(*each)) for each in zip(read, last, strict=True)])
        return np.array(rows)

    both(heads, llama).check(np.stack([each.margins for each in found], 1))


def test_half_precision_has_its_own_key_and_stays_near(tmp_path: Path):
    (half,), (single,) = opened(FOLDER, tmp_path, dtype="bfloat16"), opened(FOLDER, tmp_path)
    assert half.spec.fingerprint != single.spec.fingerprint
    near = score(half, SHORT).margins - score(single, SHORT).margins
    assert 0 < np.abs(near).max() < 0.2
