"""Self-RAG's full score, against its definition computed token by token, without cache, batch or padding."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exactness import Yardstick, alone, both
from golden_cases import model_folder, opened

from harness.errors import HarnessError
from harness.rerankers.score import margins_of, prepare, score_pairs
from harness.types import DocumentText, QueryText

RELEVANCE = ["[Relevant]", "[Irrelevant]"]
SUPPORT = ["[Fully supported]", "[Partially supported]", "[No support / Contradictory]"]
UTILITY = [f"[Utility:{number}]" for number in range(1, 6)]
NEW_TOKENS = 12

PAIRS = [
    (QueryText(f"what lives in the {place}"), DocumentText("On " + animal, f"the {animal} lives in the {place} " * count))
    for (place, animal), count in zip(
        itertools.product(["river", "stone wall", "old house"], ["heron", "moth", "otter", "wren"]),
        itertools.cycle([1, 7, 2, 15, 4]),
        strict=False,
    )
]  # fmt: skip


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny Self-RAG with a head that often writes reflection tokens, and now and then ends."""
    import torch
    import transformers

    folder = shutil.copytree(model_folder("selfrag"), tmp_path_factory.mktemp("models") / "chatty")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(11)
    ids = [token_id(word) for word in SUPPORT + UTILITY]
    with torch.no_grad():
        head = model.lm_head.weight
        head[ids] = torch.randn(len(ids), head.shape[1]) * 0.75
        head[2] = torch.randn(head.shape[1]) * 0.75
    model.save_pretrained(folder)
    return folder


def token_id(word: str) -> int:
    entries = json.loads((model_folder("selfrag") / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    (found,) = [entry["id"] for entry in entries if entry["content"] == word]
    return found


def open_full(cache: Path, folder: Path, **settings: Any):
    chosen = {"template": "selfrag", "score": "full", "max_new_tokens": NEW_TOKENS, **settings}
    (reranker,) = opened(folder, cache, "causal", **chosen)
    return reranker


def answer(model: Any, prompt: list[int]) -> list[int]:
    """The prompt and the tokens that are written behind it."""
    import torch

    ids = list(prompt)
    while len(ids) - len(prompt) < NEW_TOKENS and ids[-1] != 2:
        with torch.inference_mode():
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids


def parts(steps: list[tuple[int, np.ndarray]]) -> list[float]:
    """rel, sup, use and seq of one answer, by the definition of the paper's appendix and code.

    A step is a token written, with the log-probabilities of all words at its place.
    """

    def probabilities(words: list[str], logs: np.ndarray) -> dict[str, float]:
        found = {word: math.exp(logs[token_id(word)]) for word in words}
        return {word: value / sum(found.values()) for word, value in found.items()}

    rel, sup, use = probabilities(RELEVANCE, steps[0][1])["[Relevant]"], 0.0, 0.0
    for written, logs in reversed(steps):
        if written in map(token_id, SUPPORT):
            p = probabilities(SUPPORT, logs)
            sup = p["[Fully supported]"] + 0.5 * p["[Partially supported]"]
        if written in map(token_id, UTILITY):
            p = probabilities(UTILITY, logs)
            use = -p["[Utility:1]"] - 0.5 * p["[Utility:2]"] + 0.5 * p["[Utility:4]"] + p["[Utility:5]"]
    return [rel, sup, use, math.exp(np.mean([logs[token] for token, logs in steps]))]


@pytest.fixture(scope="module")
def expected(chatty: Path, tmp_path_factory: pytest.TempPathFactory) -> Yardstick:
    """The parts of every pair's score."""
    import torch
    import transformers

    prepared = prepare(open_full(tmp_path_factory.mktemp("cache"), chatty).load(), PAIRS)
    whole = transformers.AutoModelForCausalLM.from_pretrained(chatty).eval()
    prompts = [prepared.token_ids(row) for row in range(len(PAIRS))]
    written = [answer(whole, prompt) for prompt in prompts]

    def compute(model: Any) -> np.ndarray:
        found = []
        for prompt, ids in zip(prompts, written, strict=True):
            with torch.inference_mode():
                logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, len(prompt) - 1 : -1]
            logs = logits.double().log_softmax(-1).numpy()
            found.append(parts(list(zip(ids[len(prompt) :], logs, strict=True))))
        return np.array(found)

    # The cases that make the comparison worth something.
    yard, lengths = both(compute, whole), {len(ids) - len(prompt) for prompt, ids in zip(prompts, written, strict=True)}
    assert {(sup != 0, use != 0) for _, sup, use, _ in yard.plain} >= {(True, True), (False, False)}
    assert len(lengths) > 2, "answers of several lengths"
    assert min(lengths) < NEW_TOKENS == max(lengths)
    return yard


def weighted(expected: Yardstick, *weights: float) -> Yardstick:
    return expected.through(lambda parts: parts @ np.array(weights))


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({}, (1, 1, 0.5, 0)),
        ({"weights": "long"}, (1, 1, 0.5, 0)),
        ({"weights": "short"}, (1, 1, 1, 0)),
        ({"weights": "0.25, 2,-1"}, (0.25, 2, -1, 0)),
        ({"seqscore": "true"}, (1, 1, 0.5, 1)),
    ],
    ids=str,
)
def test_the_full_score_is_its_definition(tmp_path: Path, chatty: Path, expected, settings: dict, weights: tuple):
    scores = margins_of(open_full(tmp_path, chatty, **settings), PAIRS, batch_tokens=100_000)
    assert scores.dtype == np.float32
    weighted(expected, *weights).check(scores)


def test_utility_counts_and_is_not_read_from_the_support_tokens(tmp_path: Path, chatty: Path, expected):
    only_utility = margins_of(open_full(tmp_path, chatty, weights="0,0,1"), PAIRS)
    weighted(expected, 0, 0, 1, 0).check(only_utility)
    assert (only_utility != 0).any()


def test_the_relevance_term_is_the_templates_own_score(tmp_path: Path):
    folder = model_folder("selfrag")
    texts = [(query.text, document.text) for query, document in PAIRS]
    yard = alone(texts, folder, tmp_path, "causal", template="selfrag").through(logistic)
    (full,) = opened(folder, tmp_path, "causal", template="selfrag", score="full", weights="1,0,0", max_new_tokens=3)
    yard.check(score_pairs(full, [(QueryText(query), DocumentText("", text)) for query, text in texts]))


def logistic(margins: Any) -> np.ndarray:
    return 1 / (1 + np.exp(-np.array(margins.tolist())))


@pytest.mark.parametrize("settings", [{}, {"seqscore": "true"}], ids=str)
def test_a_pair_alone_scores_as_in_a_batch(tmp_path: Path, chatty: Path, expected, settings: dict):
    reranker = open_full(tmp_path, chatty, **settings)
    together = margins_of(reranker, PAIRS, batch_tokens=100_000)
    yard = weighted(expected, 1, 1, 0.5, 1 if settings else 0)
    yard.check(together)
    yard.check(np.concatenate([margins_of(reranker, [pair]) for pair in PAIRS]))
    np.testing.assert_array_equal(together, margins_of(reranker, PAIRS, batch_tokens=100_000))


def test_what_is_published_is_the_sum_itself(tmp_path: Path, chatty: Path):
    reranker = open_full(tmp_path, chatty)
    np.testing.assert_array_equal(score_pairs(reranker, PAIRS), margins_of(reranker, PAIRS))


def test_half_precision_rounds_no_score(tmp_path: Path, chatty: Path):
    (reranker,) = opened(
        chatty, tmp_path, "causal", dtype="bfloat16", template="selfrag", score="full", max_new_tokens=4
    )
    as_bits = margins_of(reranker, PAIRS).view(np.uint32) & 0xFFFF
    assert as_bits.any(), "a bfloat16 score would have sixteen zero bits at its end"


def test_the_answer_has_room_behind_the_longest_prompt(tmp_path: Path, chatty: Path):
    small = shutil.copytree(chatty, tmp_path / "small")
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 200}))
    reranker = open_full(tmp_path, small)
    assert dict(reranker.spec.settings)["max_length"] == 200 - NEW_TOKENS
    prepared = prepare(reranker.load(), [(QueryText("Q"), DocumentText("", "D " * 500))])
    assert prepared.lengths.tolist() == [200 - NEW_TOKENS]
    with pytest.raises(HarnessError, match="takes at most 188 tokens beside the 12 that it writes; max_length=189 is"):
        open_full(tmp_path, small, max_length=189)
    with pytest.raises(HarnessError, match="leaves no room for a prompt beside max_new_tokens=200"):
        open_full(tmp_path, small, max_new_tokens=200)


def test_every_setting_of_the_full_score_is_in_the_fingerprint(tmp_path: Path):
    def fingerprint(**settings: Any) -> str:
        (reranker,) = opened(model_folder("selfrag"), tmp_path, "causal", template="selfrag", **settings)
        return reranker.spec.fingerprint

    changes = [{}, {"weights": "short"}, {"weights": "1,1,0.4"}, {"seqscore": "true"}, {"max_new_tokens": 50}]
    prints = [fingerprint(score="full", **change) for change in changes]
    assert len({fingerprint(), *prints}) == len(changes) + 1
    assert fingerprint(score="template") == fingerprint()
    explicit = fingerprint(score="full", weights="1,1,0.5", seqscore="false", max_new_tokens=100)
    assert explicit == prints[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"score": "ful"}, "--set score=ful: score is one of: template, full"),
        ({"weights": "medium"}, "weights is long, short, or three numbers as in 1,1,0.5"),
        ({"weights": "1,2"}, "weights is long, short, or three numbers"),
        ({"weights": "1,2,nan"}, "weights is long, short, or three numbers"),
        ({"seqscore": "1"}, "seqscore is true or false"),
        ({"max_new_tokens": "0"}, "max_new_tokens is a whole number above 0"),
        ({"score": "template"}, "max_new_tokens belongs to Self-RAG's full score: add --set score=full"),
        ({"template": "followir"}, r"score=full is Self-RAG's, .* the template followir has others"),
        ({"backend": "vllm"}, "score=full is computed with transformers: leave out backend=vllm"),
    ],
)
def test_a_wrong_setting_is_a_one_line_error(tmp_path: Path, settings: dict, message: str):
    with pytest.raises(HarnessError, match=message) as caught:
        open_full(tmp_path, model_folder("selfrag"), **settings)
    assert "\n" not in str(caught.value)


def test_a_vocabulary_without_utility_tokens_is_refused_before_anything_is_scored(tmp_path: Path):
    folder = shutil.copytree(model_folder("selfrag"), tmp_path / "mute")
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(text.replace("[Utility:3]", "[Use:3]"), encoding="utf-8")
    with pytest.raises(HarnessError, match=r'mute has no token "\[Utility:3\]"'):
        open_full(tmp_path, folder).load()
