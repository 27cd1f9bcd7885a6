"""Rerankers that think before they answer, against transformers' own generation and the authors' rule written out here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from golden_cases import opened
from tiny_thinker import PAIRS, ROOM, Rank1, write_thinker

from harness.errors import HarnessError
from harness.rerankers.prompts.template import read_template
from harness.types import DocumentText, QueryText


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_thinker(tmp_path_factory.mktemp("models") / "tiny-rank1")


def margins(folder: Path, cache: Path, pairs=PAIRS, **settings) -> np.ndarray:
    settings = {"template": "rank1", "max_new_tokens": ROOM, **settings}
    (reranker,) = opened(folder, cache, "causal", **settings)
    queries = [QueryText(query) for query, _ in pairs]
    documents = [DocumentText("", text) for _, text in pairs]
    prepared = reranker.load().prepare(queries, documents, np.array([[place, place] for place in range(len(pairs))]))
    return prepared.score(np.arange(len(pairs)))


def test_rank1_scores_as_its_authors_do(thinker: Path, tmp_path: Path):
    theirs = Rank1(thinker)
    expected = theirs.margins(PAIRS)
    assert min(theirs.seen.values()) >= 3, theirs.seen
    expected.check(margins(thinker, tmp_path))


def test_a_thought_that_is_never_closed_is_given_its_ending(tmp_path: Path):
    folder = write_thinker(tmp_path / "endless", alive=(" so", "."))
    theirs = Rank1(folder)
    expected = theirs.margins(PAIRS[:6])
    assert theirs.seen == {"read": 0, "forced": 6}
    expected.check(margins(folder, tmp_path / "cache", PAIRS[:6]))


def test_another_such_model_is_a_template_of_ones_own(thinker: Path, tmp_path: Path):
    own = tmp_path / "mine.yaml"
    packed = read_template("rank1")
    assert packed.writes is not None
    own.write_text(
        "specials: tokenizer\nparts:\n"
        "  - \"Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\\nQuery: {query}"
        '\\nPassage: {document}\\n<think>"\n'
        'rules: {mine: {max_length: 500, cut: document}}\nlabels: {find: first_id, positive: " true", negative: " false"}\n'
        'score: difference\nwrites: {until: "</think>", max_new_tokens: 24, forced: "\\n{written}\\n</think>", among: 2}\n'
    )
    theirs = Rank1(thinker, among=2)
    theirs.margins(PAIRS).check(margins(thinker, tmp_path, template=own))
    assert theirs.seen["forced"] > 0


def test_the_room_to_think_is_a_part_of_the_fingerprint(thinker: Path, tmp_path: Path):
    prints = {
        opened(thinker, tmp_path, "causal", template="rank1", max_new_tokens=room)[0].spec.fingerprint
        for room in (24, 25)
    }
    assert len(prints) == 2


def test_forced_endings_are_counted_in_every_result(collection_folder: Path, cli: Cli, tmp_path: Path):
    folder = write_thinker(tmp_path / "endless", alive=(" so", "."))
    words = ("run", collection_folder, "--reranker", folder, "--family", "rank1", "--set", "max_new_tokens=4", "--top-k",
             "3", "--format", "json")  # fmt: skip
    for results in ("one", "another"):
        answer = cli(*words, "--results", results)
        assert answer.code == 0, answer.err
        (found,) = answer.results()
        assert found["diagnostics"]["pairs"] == 6 * 3
        assert found["diagnostics"]["answers"] == {"answers": 18, "forced": 18}
    assert found["performance"]["pairs_scored"] == 0


@pytest.mark.parametrize(
    ("writes", "said"),
    [
        ('{until: "x", forced: "y {written}"}', "max_new_tokens"),
        ('{until: "x", forced: "y", max_new_tokens: 5}', "must hold {written} once"),
        ('{until: "x", forced: "{written}", max_new_tokens: 5, amongst: 3}', 'unknown key "amongst"'),
        ('{forced: "{written}", max_new_tokens: 5}', "until"),
    ],
)
def test_a_thought_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, writes: str, said: str):
    own = tmp_path / "mine.yaml"
    own.write_text(
        'specials: none\nparts: ["{query} {document}"]\nrules: {mine: {max_length: 9, cut: end}}\n'
        f"labels: {{find: piece, positive: a, negative: b}}\nscore: softmax\nwrites: {writes}\n"
    )
    with pytest.raises(HarnessError, match=said):
        read_template(str(own))


def test_thinking_without_room_or_with_vllm_is_refused(thinker: Path, tmp_path: Path):
    with pytest.raises(HarnessError, match="leaves no room for a prompt"):
        opened(thinker, tmp_path, "causal", template="rank1")
    with pytest.raises(HarnessError, match="leave out backend=vllm"):
        opened(thinker, tmp_path, "causal", template="rank1", max_new_tokens=5, backend="vllm")
