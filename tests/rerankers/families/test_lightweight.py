"""BGE's lightweight reranker: FlagEmbedding's own scores, compression, heads, Gemma 2 itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exactness import alone, both, golden, margins, ours, published
from golden_cases import cases, model_folder, opened, read_cases, score

from harness.errors import HarnessError
from harness.rerankers.score import margins_of
from harness.types import DocumentText, QueryText

FOLDER = model_folder("bge-reranker-lightweight")
CASES = cases("bge-reranker-lightweight")
PAIRS = CASES[0]["pairs"]
SHORT = PAIRS[:6]


def check(folder: Path, cache: Path, case: dict) -> None:
    settings = {key: case[key] for key in ("cutoff_layers", "compress_ratio", "compress_layers")}
    settings |= {"max_length": 512, "rule": "class"}
    (reranker,) = opened(folder, cache, **settings)
    yard = golden(case["scores"], lambda wide: published(wide, case["pairs"]), folder, cache, **settings)
    yard.check(score(reranker, case["pairs"]).published)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_scores_equal_the_authors_own(tmp_path: Path, case: dict):
    check(FOLDER, tmp_path, case)


@pytest.mark.shared
def test_scores_equal_the_authors_own_on_the_other_texts(tmp_path: Path, shared: Path):
    for case in read_cases(shared / "goldens" / "bge-reranker-lightweight.json"):
        check(shared / "hub" / "models" / "standin" / "bge-reranker-lightweight", tmp_path, case)


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_a_pair_alone_scores_as_in_a_batch(tmp_path: Path, ratio: int):
    settings = {"compress_ratio": ratio, "compress_layers": "1,2"}
    (reranker,) = opened(FOLDER, tmp_path, **settings)
    alone(PAIRS, FOLDER, tmp_path, **settings).check(score(reranker, PAIRS).margins)


def test_the_prompt_is_the_models_own(tmp_path: Path):
    (reranker,) = opened(FOLDER, tmp_path)
    found = score(reranker, [("cedar", "They grow tall.")])
    parts = ["A: cedar", "\n", "B: They grow tall.", "\n", "Predict whether passage B contains an answer to query A."]
    tokens = found.model.template.tokenizer.encode_ids(parts).ids.tolist()
    assert found.ids == [[2, *tokens]]


def squeezed(*rows: tuple[list[float], int, int], ratio: int, times: int = 1) -> list[list[float]]:
    """Rows of one-dimensional states with the place of each one's passage, shrunk; in the order given."""
    import torch

    from harness.engine.fast.compress import compress
    from harness.engine.fast.decoder_batch import Passages, batch_of
    from harness.engine.fast.sharing import Sharing

    start, stop = (np.array(bounds) for bounds in list(zip(*rows, strict=True))[1:])
    alone = Sharing(np.arange(len(rows)), np.zeros(len(rows), np.int64))
    lengths = np.array([len(states) for states, _, _ in rows])
    batch = batch_of(alone, lengths, torch.device("cpu"), Passages(start, stop, ratio, (1,)))
    x = torch.tensor([number for row in batch.order for number in rows[row][0]])[:, None]
    for _ in range(times):
        x, batch = compress(x, batch)
    found = {}
    for row, first, length in zip(batch.order, batch.first, batch.lengths, strict=True):
        found[int(row)] = x[first : first + length, 0].tolist()
    return [found[row] for row in range(len(rows))]


def test_compression_means_neighbours_and_the_last_group_its_real_members():
    assert squeezed(([1.0, 2, 10, 20, 30, 40, 50, 7, 8], 2, 7), ratio=2) == [[1, 2, 15, 35, 50, 7, 8]]


def test_compression_of_one_row_does_not_see_another():
    rows = ([1.0, 10, 20, 30, 5], 1, 4), ([1.0, 2, 3, 40, 50, 60, 70, 80, 6], 3, 8)
    assert squeezed(*rows, ratio=4) == [[1, 20, 5], [1, 2, 3, 55, 80, 6]]


def test_rows_that_shrink_past_one_another_keep_their_places():
    rows = ([1.0, 2, 3, 4], 4, 4), ([10.0, 20, 30, 40, 50, 60, 70], 0, 7)
    assert squeezed(*rows, ratio=7) == [[1, 2, 3, 4], [40]]


def test_an_empty_passage_and_a_second_compression_are_no_surprise():
    assert squeezed(([1.0, 2, 3], 2, 2), ratio=4) == [[1, 2, 3]]
    assert squeezed(([0.0, 1, 2, 3, 4, 5, 9], 1, 6), ratio=2, times=2) == [[0, 2.5, 5, 9]]


@pytest.mark.parametrize("ratio", [1, 3])
def test_pairs_of_one_query_share_their_beginning_and_score_as_they_do_alone(tmp_path: Path, ratio: int):
    settings = {"compress_ratio": ratio, "compress_layers": "1,2"}
    (reranker,) = opened(FOLDER, tmp_path, **settings)
    passages = [text for _, text in PAIRS[:8]] + ["trees " + text for _, text in PAIRS[:3]]
    pairs = [(QueryText(query), DocumentText("", text)) for query in ("what is a tree", "why") for text in passages]
    prepared = reranker.load().prepare(*_distinct(pairs))
    assert (prepared.sharing.shared > 4).all()
    texts = [(query.text, document.text) for query, document in pairs]
    yard = alone(texts, FOLDER, tmp_path, **settings)
    yard.check(margins_of(reranker, pairs, 100_000))
    yard.check(margins_of(reranker, pairs, 100))


def _distinct(pairs: list) -> tuple[list, list, np.ndarray]:
    queries, documents = (list(dict.fromkeys(side)) for side in zip(*pairs, strict=True))
    return queries, documents, np.array([(queries.index(one), documents.index(other)) for one, other in pairs])


def test_the_head_goes_by_position_unless_the_layers_own_is_asked_for(tmp_path: Path):
    by_place = opened(FOLDER, tmp_path, cutoff_layers="3,4")
    assert [dict(reranker.spec.settings)["head"] for reranker in by_place] == [0, 1]
    own = opened(FOLDER, tmp_path, cutoff_layers="3,4", head="layer")
    assert [dict(reranker.spec.settings)["head"] for reranker in own] == [1, 2]
    (alone,) = opened(FOLDER, tmp_path, cutoff_layers=4)
    assert dict(alone.spec.settings)["head"] == 0
    scores = [score(reranker, SHORT).margins for reranker in (by_place[1], own[1], alone)]
    assert min(np.abs(scores[0] - scores[1]).max(), np.abs(scores[0] - scores[2]).max()) > 0.1


def test_all_layers_by_position_are_all_layers_with_their_own_heads(tmp_path: Path):
    place, own = (opened(FOLDER, tmp_path, cutoff_layers="2,3,4", head=head) for head in ("position", "layer"))
    assert [one.spec.fingerprint for one in place] == [one.spec.fingerprint for one in own]


def test_a_borrowed_head_is_told(tmp_path: Path):
    (reranker,) = opened(FOLDER, tmp_path, cutoff_layers=4)
    assert "layer 4 is scored with the head of layer 2" in reranker.note
    (own,) = opened(FOLDER, tmp_path, cutoff_layers=4, head="layer")
    assert own.note is None


def test_compression_above_a_layer_is_no_part_of_its_key(tmp_path: Path):
    plain = opened(FOLDER, tmp_path, cutoff_layers="2,3,4")
    squeezed = opened(FOLDER, tmp_path, cutoff_layers="2,3,4", compress_ratio=2, compress_layers=3)
    same = [one.spec.fingerprint == two.spec.fingerprint for one, two in zip(plain, squeezed, strict=True)]
    assert same == [True, True, False]
    assert (score(plain[1], SHORT).margins == score(squeezed[1], SHORT).margins).all()
    assert (score(plain[2], SHORT).margins != score(squeezed[2], SHORT).margins).any()


def test_one_pass_hands_over_the_other_layers(tmp_path: Path):
    rerankers = opened(FOLDER, tmp_path, cutoff_layers="2,3,4", compress_ratio=2, compress_layers=2)
    found = [score(reranker, SHORT) for reranker in rerankers]
    for place in (0, 1):
        other = found[2].prepared.also[rerankers[place].spec.fingerprint]
        np.testing.assert_array_equal(other, found[place].margins)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cutoff_layers": "1"}, "no head at layer 1: cutoff_layers are from 2 to 4"),
        ({"compress_layers": "0,2", "compress_ratio": 2}, "compress before layer 0: compress_layers are from 1 to 3"),
        ({"compress_layers": "4", "compress_ratio": 2}, "compress before layer 4"),
        ({"compress_ratio": 2}, "would change nothing: compress_layers begin at 8"),
        ({"compress_ratio": 2, "compress_layers": 3, "cutoff_layers": 3}, "stops at layer 3"),
        ({"compress_ratio": 0}, "a whole number above 0"),
        ({"head": "own"}, "one of: position, layer"),
        ({"softcap": "30"}, "true or false"),
    ],
)
def test_a_wrong_setting_is_a_one_line_error(tmp_path: Path, settings: dict, message: str):
    with pytest.raises(HarnessError, match=message) as caught:
        opened(FOLDER, tmp_path, **settings)
    assert "\n" not in str(caught.value)


def with_config(folder: Path, **changes) -> Path:
    shutil.copytree(FOLDER, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_wise": False}, "layer_wise is False"),
        ({"hidden_activation": "silu"}, "hidden_activation is 'silu'"),
        ({"final_logit_softcapping": "30"}, "a number above 0, or null"),
        ({"head_dim": None}, "no number for head_dim"),
    ],
)
def test_a_gemma_of_another_build_is_refused(tmp_path: Path, change: dict, message: str):
    with pytest.raises(HarnessError, match=message):
        opened(with_config(tmp_path / "other", **change), tmp_path)


def test_logits_are_capped_where_the_config_says_so(tmp_path: Path):
    (capped,) = opened(with_config(tmp_path / "capped", final_logit_softcapping=2.0), tmp_path)
    raw = ours(lambda reranker: margins(reranker, SHORT), FOLDER, tmp_path)
    raw.through(lambda logits: 2 * np.tanh(logits / 2)).check(score(capped, SHORT).margins)


@pytest.mark.parametrize("softcap", [True, False])
@pytest.mark.parametrize("window", [4096, 12])
def test_without_compression_the_network_is_gemma_2(tmp_path: Path, softcap: bool, window: int):
    """transformers' own Gemma 2, on the same weights, gives the hidden states that the heads read."""
    import torch
    from safetensors.torch import load_file
    from transformers import Gemma2Config, Gemma2Model

    # A cap of 5 instead of 50 bites on weights as small as these.
    folder = with_config(tmp_path / "gemma", sliding_window=window, attn_logit_softcapping=5.0)
    stated = json.loads((folder / "config.json").read_text())
    sizes = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "num_hidden_layers")
    known = {key: stated[key] for key in (*sizes, "head_dim", "vocab_size", "query_pre_attn_scalar", "sliding_window")}
    config = Gemma2Config(**known, attn_logit_softcapping=5.0 if softcap else None, attn_implementation="eager")
    gemma = Gemma2Model(config).eval()
    weights = load_file(folder / "model.safetensors")
    body = {name.removeprefix("model."): weight for name, weight in weights.items() if name.startswith("model.")}
    gemma.load_state_dict(body)
    rerankers = opened(folder, tmp_path, cutoff_layers="2,3,4", softcap=softcap)
    found = [score(reranker, PAIRS[:4]) for reranker in rerankers]

    def heads(gemma: Any) -> np.ndarray:
        rows = []
        for ids in found[0].ids:
            with torch.inference_mode():
                states = gemma(torch.tensor([ids]), output_hidden_states=True).hidden_states
                last = [states[4][0, -1] if layer == 4 else gemma.norm(states[layer][0, -1]) for layer in (2, 3, 4)]
                read = [weights[f"lm_head.{place}.linear_head.weight"][0] for place in range(3)]
                rows.append([float(torch.dot(*each)) for each in zip(read, last, strict=True)])
        return np.array(rows)

    both(heads, gemma).check(np.stack([each.margins for each in found], 1))


def test_the_soft_cap_moves_scores_and_keys(tmp_path: Path):
    (plain,), (capped,) = opened(FOLDER, tmp_path), opened(FOLDER, tmp_path, softcap=True)
    assert plain.spec.fingerprint != capped.spec.fingerprint
    assert np.abs(score(plain, SHORT).margins - score(capped, SHORT).margins).max() > 0.01
