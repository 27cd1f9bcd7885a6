"""Listwise generation: windows and the parser on their own, then a tiny random model from end to end."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from golden_cases import model_folder, opened
from tiny_listwise import TEMPLATE, write_model

from harness.data.trec import read_run
from harness.errors import HarnessError
from harness.rerankers.prompts.list_prompt import first_words, read_list_templates
from harness.rerankers.prompts.windows import read_permutation, sort_by_windows, window_bounds
from harness.rerankers.resolve import known_models
from harness.types import DocumentText, QueryText

# -- windows


def test_a_hundred_candidates_are_nine_windows_from_the_back_to_the_front():
    assert window_bounds(100, 20, 10) == [(80 - 10 * step, 100 - 10 * step) for step in range(9)]


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 25, 29, 30, 31, 100, 101, 137, 1000])
@pytest.mark.parametrize(("window", "stride"), [(20, 10), (5, 1), (4, 3), (2, 1), (50, 7)])
def test_windows_overlap_and_reach_both_ends(count: int, window: int, stride: int):
    bounds = window_bounds(count, window, stride)
    assert bounds[0][1] == count
    assert bounds[-1][0] == 0
    assert all(0 <= start < stop <= start + window for start, stop in bounds)
    for (start, stop), (next_start, next_stop) in itertools.pairwise(bounds):
        assert next_stop == stop - stride
        assert next_stop > start > next_start


def sorter(worth: Sequence[float]):
    """A perfect ranker of one window; `worth` says how good each document is."""

    def permute(seen: Sequence[int]) -> list[int]:
        return sorted(range(len(seen)), key=lambda place: -worth[seen[place]])

    return permute


@pytest.mark.parametrize("count", [1, 5, 20, 21, 25, 99, 100, 101, 150, 333])
def test_a_perfect_ranker_brings_the_best_of_any_list_to_the_front(count: int):
    worth = random.Random(count).sample(range(1000), count)
    order = sort_by_windows(count, 20, 10, sorter(worth))
    assert sorted(order) == list(range(count))
    best = sorted(range(count), key=lambda document: -worth[document])
    # Ten travel along with the window; the last window then sorts everything it sees.
    assert order[:10] == best[:10]
    if count <= 20:
        assert order == best


def test_a_ranker_that_keeps_the_order_changes_nothing():
    assert sort_by_windows(57, 20, 10, lambda seen: list(range(len(seen)))) == list(range(57))


def test_a_single_document_is_not_asked_for():
    def refuse(seen: Sequence[int]) -> list[int]:
        raise AssertionError(seen)

    assert sort_by_windows(1, 20, 10, refuse) == [0]
    assert sort_by_windows(0, 20, 10, refuse) == []


def test_a_window_sees_the_documents_in_the_order_so_far():
    seen_windows = []

    def backwards(seen: Sequence[int]) -> list[int]:
        seen_windows.append(list(seen))
        return list(range(len(seen)))[::-1]

    assert sort_by_windows(6, 4, 2, backwards) == [4, 5, 1, 0, 3, 2]
    assert seen_windows == [[2, 3, 4, 5], [0, 1, 5, 4]]


# -- the parser


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("[2] > [3] > [1]", [1, 2, 0]),
        ("[2]>[3]>[1]", [1, 2, 0]),
        ("[2] > [2] > [1]", [1, 0, 2]),
        ("[3]", [2, 0, 1]),
        ("[7] > [3] > [0] > [-1]", [2, 0, 1]),
        ("", [0, 1, 2]),
        ("I cannot rank these.", [0, 1, 2]),
        ("The order of the 3 passages is: [2] > [1] > [3].", [1, 0, 2]),
        ("2 > 3 > 1", [1, 2, 0]),
        ("<think>[1] > [2] > [3] seems wrong</think>[3] > [1]", [2, 0, 1]),
        ("[ 2 ] > [1", [1, 0, 2]),
        ("［２］ > ［３］", [1, 2, 0]),
        ("【③】＞【①】", [2, 0, 1]),
        ("[" + "9" * 5000 + "] > [2]", [1, 0, 2]),
        ("[2] > [3] > [1]\n\nPassage [1] is last because of [2].", [1, 2, 0]),
    ],
)
def test_an_order_is_read_from_messy_text(text: str, order: list[int]):
    assert read_permutation(text, 3) == order


def test_any_text_gives_a_permutation():
    chance = random.Random(5)
    signs = "[]>0123456789 ,.\n①②²٣【】</think>abc"
    for _ in range(500):
        text = "".join(chance.choice(signs) for _ in range(chance.randrange(60)))
        count = chance.randrange(25)
        assert sorted(read_permutation(text, count)) == list(range(count))


# -- the prompt


def test_rank_zephyr_asks_in_one_turn():
    messages = read_list_templates()["rank-zephyr"].messages("what is dough", ["first", "second"])
    assert [message["role"] for message in messages] == ["system", "user"]
    assert messages[1]["content"] == (
        "I will provide you with 2 passages, each indicated by a numerical identifier []. Rank the passages based on "
        "their relevance to the search query: what is dough.\n\n[1] first\n[2] second\nSearch Query: what is dough.\n"
        "Rank the 2 passages above based on their relevance to the search query. All the passages should be included "
        "and listed using identifiers, in descending order of relevance. The output format should be [] > [], e.g., "
        "[2] > [1], Only respond with the ranking results, do not say any word or explain."
    )


def test_rankgpt_gives_each_passage_a_turn():
    messages = read_list_templates()["rankgpt"].messages("what is dough", ["first", "second"])
    roles = ["system", "user", "assistant", "user", "assistant", "user", "assistant", "user"]
    assert [message["role"] for message in messages] == roles
    assert messages[3]["content"] == "[1] first"
    assert messages[6]["content"] == "Received passage [2]."


def test_only_identifiers_look_like_identifiers():
    template = read_list_templates()["rank-zephyr"]
    passage = template.passage(DocumentText("", "see [12]\nand  [x]"))
    messages = template.messages("as in [1]", [passage])
    assert "as in (1)" in messages[1]["content"]
    assert "[1] see (12) and [x]\n" in messages[1]["content"]


def test_braces_in_texts_stay_as_they_are():
    messages = read_list_templates()["rank-zephyr"].messages("what is {query}", ["{passage} {0}"])
    assert "what is {query}" in messages[1]["content"]
    assert "[1] {passage} {0}" in messages[1]["content"]


def test_a_title_is_shown_as_the_published_prompts_show_it():
    shown = read_list_templates()["rank-zephyr"].passage(DocumentText("Dough", "Let it rest."))
    assert shown == "Title: Dough Content: Let it rest."


def test_words_are_counted_and_characters_where_words_have_no_spaces():
    assert first_words("one two three", 2) == "one two"
    assert first_words("one two three", 3) == "one two three"
    assert first_words("春天种什么蔬菜", 3) == "春天种"
    assert first_words("การทำขนมปัง", 4) == "การท"
    assert first_words("BM25 春天 rest", 3) == "BM25 春天"


# -- a tiny model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "tiny-chat")


def open_listwise(folder: Path, cache: Path, **settings):
    (reranker,) = opened(folder, cache, "listwise", **settings)
    return reranker


def documents(count: int) -> list[DocumentText]:
    words = ["amber", "birch", "cedar", "delta", "one", "two", "three", "four"]
    return [
        DocumentText("", f"{words[place % 8]} {words[place // 8 % 8]} {words[place * 3 % 7]}") for place in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 120])
def test_the_scores_are_n_to_1_each_once_and_the_same_again(tiny: Path, tmp_path: Path, count: int):
    query = QueryText("amber birch")
    scores = open_listwise(tiny, tmp_path).load().score_list(query, documents(count))
    assert scores.dtype == np.float32
    assert sorted(scores.tolist()) == list(range(1, count + 1))
    again = open_listwise(tiny, tmp_path).load().score_list(query, documents(count))
    np.testing.assert_array_equal(scores, again)


def test_the_model_decides_the_order_and_the_query_is_read(tiny: Path, tmp_path: Path):
    model = open_listwise(tiny, tmp_path).load()
    orders = {
        tuple(model.score_list(QueryText(text), documents(21)).tolist()) for text in ("amber", "three query", "two")
    }
    assert len(orders) > 1
    assert tuple(range(21, 0, -1)) not in orders


@pytest.mark.parametrize("template", ["rank-zephyr", "rankgpt"])
def test_the_prompt_begins_once_and_names_every_passage(tiny: Path, tmp_path: Path, template: str):
    model = open_listwise(tiny, tmp_path, template=template).load()
    ids, room = model.prompt("amber", ["one two"] * 7)
    backend = model.tokenizer.backend
    assert ids.count(1) == 1
    assert ids[0] == 1
    assert ids[-1] == backend.token_to_id("<assistant>")
    for number in range(1, 8):
        assert backend.token_to_id(f"[{number}]") in ids
    assert room == 7 + 6  # [1] > … > [7]


def test_passages_are_cut_until_prompt_and_answer_fit(tiny: Path, tmp_path: Path):
    passages = ["amber birch cedar delta " * 30] * 20
    long, room = open_listwise(tiny, tmp_path).load().prompt("amber", passages)
    assert len(long) + room <= 2048
    short, _ = open_listwise(tiny, tmp_path, max_length=600).load().prompt("amber", passages)
    assert 400 < len(short) <= 600 - room
    few, _ = open_listwise(tiny, tmp_path, passage_length=3).load().prompt("amber", passages)
    assert few.count(model_id(tiny, "amber")) == 20
    assert few.count(model_id(tiny, "delta")) == 0


def model_id(folder: Path, word: str) -> int:
    return json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"][word]


def test_a_query_that_leaves_no_room_is_told(tiny: Path, tmp_path: Path):
    model = open_listwise(tiny, tmp_path, max_length=200).load()
    with pytest.raises(HarnessError, match="do not fit in max_length=200 tokens"):
        model.score_list(QueryText("amber " * 300), documents(5))


def test_the_instruction_follows_the_query(tiny: Path, tmp_path: Path):
    model = open_listwise(tiny, tmp_path).load()
    with_it = model.score_list(QueryText("amber", "rank two"), documents(12))
    joined = model.score_list(QueryText("amber rank two"), documents(12))
    np.testing.assert_array_equal(with_it, joined)


def test_a_run_adds_none_and_drops_none(tiny: Path, collection_folder: Path, cli: Cli, tmp_path: Path):
    settings = ("--family", "listwise", "--set", "window=6", "--set", "stride=3")
    answer = cli("run", collection_folder, "--reranker", tiny, *settings, "--save-runs", tmp_path / "runs")
    assert answer.code == 0, answer.err
    (first,) = (tmp_path / "runs" / "first-stage").rglob("*.trec")
    (final,) = (path for path in (tmp_path / "runs").rglob("*.trec") if path != first)
    before, after = read_run(first), read_run(final)
    assert {query: set(scores) for query, scores in after.items()} == {
        query: set(scores) for query, scores in before.items()
    }
    for scores in after.values():
        assert sorted(scores.values()) == list(range(1, len(scores) + 1))


# -- answers that are no ranking


@pytest.mark.parametrize(
    ("always", "kind"), [("sorry", "malformed"), ("<think>", "empty"), ("[2]", "malformed"), ("<pad>", "malformed")]
)
def test_answers_are_counted_and_the_count_survives_in_the_store(
    always: str, kind: str, collection_folder: Path, cli: Cli, tmp_path: Path
):
    folder = write_model(tmp_path / "model", always=always)
    words = ("run", collection_folder, "--reranker", folder, "--family", "listwise", "--set", "window=4", "--set",
             "stride=2", "--top-k", "6", "--format", "json")  # fmt: skip
    answer = cli(*words)
    assert answer.code == 0, answer.err
    (found,) = answer.results()
    asked = found["diagnostics"]["answers"]["answers"]
    assert asked == 6 * 2
    counts = {"answers": asked, "partial": 0, "malformed": 0, "empty": 0, "cut": asked, kind: asked}
    assert found["diagnostics"]["answers"] == counts
    (said,) = [each["what"] for each in found["diagnostics"]["cautions"] if each["code"] == "RH018"]
    assert (
        said
        == f"100.0% of the 12 rankings that the model wrote are not whole: 12 {kind}; 12 were stopped at max_new_tokens"
    )
    again = cli(*words, "--results", "elsewhere")
    assert again.results()[0]["diagnostics"]["answers"] == counts
    assert again.results()[0]["performance"]["pairs_scored"] == 0


def test_a_thought_that_the_prompt_opens_is_no_answer(tmp_path: Path):
    opening = TEMPLATE.replace("<assistant>{% endif", "<assistant><think>{% endif")
    for template, kind in ((TEMPLATE, "malformed"), (opening, "empty")):
        folder = write_model(tmp_path / kind, template, always="[2]")
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary["<assistant><think>"] = vocabulary.pop("two")
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        model = open_listwise(folder, tmp_path / "cache").load()
        model.score_list(QueryText("amber"), documents(5))
        assert model.tallies[kind] == model.tallies["answers"] == 1


# -- settings


def test_defaults_are_rank_zephyrs_and_stated(tiny: Path, tmp_path: Path):
    reranker = open_listwise(tiny, tmp_path)
    settings = dict(reranker.spec.settings)
    assert reranker.spec.context == "list"
    assert (settings["template"], settings["window"], settings["stride"]) == ("rank-zephyr", 20, 10)
    assert (settings["max_length"], settings["passage_length"]) == (2048, 300)


def test_settings_that_move_scores_move_the_fingerprint(tiny: Path, tmp_path: Path):
    changes = [{}, {"window": 10, "stride": 5}, {"template": "rankgpt"}, {"passage_length": 100}, {"max_new_tokens": 9}]
    assert len({open_listwise(tiny, tmp_path, **change).spec.fingerprint for change in changes}) == len(changes)


def test_the_chat_template_is_a_part_of_the_revision(tmp_path: Path):
    one = write_model(tmp_path / "one")
    before = open_listwise(one, tmp_path / "cache").spec.fingerprint
    (one / "chat_template.jinja").write_text(TEMPLATE + " ")
    assert open_listwise(one, tmp_path / "cache").spec.fingerprint != before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stride": 20}, "must be smaller than window=20"),
        ({"window": "no"}, "a whole number above 0"),
        ({"template": "rankgtp"}, "rank-zephyr, rankgpt"),
        ({"max_length": 9000}, "takes at most 2048 tokens"),
        ({"temperature": 1}, 'no setting "temperature"'),
    ],
)
def test_wrong_settings_are_told_in_one_line(tiny: Path, tmp_path: Path, settings: dict, said: str):
    with pytest.raises(HarnessError, match=said) as caught:
        open_listwise(tiny, tmp_path, **settings)
    assert "\n" not in str(caught.value)


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path):
    with pytest.raises(HarnessError, match="has no chat template"):
        open_listwise(write_model(tmp_path / "plain", template=None), tmp_path / "cache").load()


def test_a_chat_template_that_refuses_is_told(tmp_path: Path):
    folder = write_model(tmp_path / "picky", template="{{ raise_exception('no system message, please') }}")
    with pytest.raises(HarnessError, match="refuses the conversation: no system message, please"):
        open_listwise(folder, tmp_path / "cache").load().score_list(QueryText("amber"), documents(3))


def test_a_model_that_cannot_write_is_refused(tmp_path: Path):
    with pytest.raises(HarnessError, match="cannot write an order"):
        open_listwise(model_folder("cross-encoder"), tmp_path)


def test_known_models_name_templates_that_exist():
    named = {entry["settings"]["template"] for entry in known_models().values() if entry["family"] == "listwise"}
    assert named
    assert named <= set(read_list_templates())
