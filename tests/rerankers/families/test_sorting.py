"""Pairwise and setwise sorting: the sorts on their own, then a tiny T5 and a tiny chat model beside transformers."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from exactness import both
from golden_cases import model_folder, opened
from tiny_sorting import (
    QUERY,
    WORDS,
    Oracle,
    bubbles_by_definition,
    documents,
    heap_by_definition,
    write_chat,
    write_t5,
)

from harness.errors import HarnessError
from harness.rerankers.prompts.sorts import by_points, sort_by_bubbles, sort_by_heap
from harness.types import DocumentText

# -- the sorts


def perfect(worth: Sequence[float]) -> Callable[[Sequence[int]], int]:
    return lambda seen: max(range(len(seen)), key=lambda place: worth[seen[place]])


def moody(seen: Sequence[int]) -> int:
    """A choice that follows from the documents and their order and from nothing else: no order is behind it."""
    return hashlib.sha256(repr(list(seen)).encode()).digest()[0] % len(seen)


@pytest.mark.parametrize("sort", [sort_by_heap, sort_by_bubbles])
@pytest.mark.parametrize("children", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 20, 41])
def test_a_perfect_judge_puts_the_top_in_order_and_leaves_the_others_in_theirs(sort, children: int, count: int):
    worth = random.Random(count).sample(range(1000), count)
    best = sorted(range(count), key=lambda document: -worth[document])
    for top in (1, 3, count, count + 5):
        order = sort(count, top, children, perfect(worth))
        assert order[:top] == best[:top]
        assert order[top:] == sorted(best[top:])


@pytest.mark.parametrize("children", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 5, 9, 24])
def test_an_inconsistent_judge_leads_where_the_definition_leads(children: int, count: int):
    for top in (1, 4, 10):
        assert sort_by_heap(count, top, children, moody) == heap_by_definition(count, top, children, moody)
        assert sort_by_bubbles(count, top, children, moody) == bubbles_by_definition(count, top, children, moody)


def test_points_are_counted_and_equal_ones_keep_their_order():
    won = {(0, 1): 0.0, (0, 2): 0.5, (0, 3): 0.5, (1, 2): 0.5, (1, 3): 0.0, (2, 3): 0.5}
    assert by_points(4, lambda one, other: won[one, other]) == [3, 1, 2, 0]


# -- tiny models


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_t5(tmp_path_factory.mktemp("models") / "t5")


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chat(tmp_path_factory.mktemp("models") / "chat")


def open_sorter(folder: Path, cache: Path, family: str, **settings):
    (reranker,) = opened(folder, cache, family, **settings)
    return reranker


@pytest.mark.parametrize("kind", ["t5", "chat"])
@pytest.mark.parametrize("family", ["pairwise", "setwise"])
def test_ids_and_answers_are_those_of_transformers(kind: str, family: str, request: pytest.FixtureRequest, tmp_path):
    folder = request.getfixturevalue(kind)
    model, oracle = open_sorter(folder, tmp_path, family).load(), Oracle(folder)
    texts = [document.text for document in documents(12)]
    sets = [texts[start : start + (2 if family == "pairwise" else 4)] for start in range(9)]
    questions = [getattr(oracle, family)(each) for each in sets]
    ids = [model.asker.ids(model.asker.template.ask(QUERY.text, each)) for each in sets]
    assert ids == [oracle.ids(question) for question in questions]
    answers = model.asker.answers(ids)
    assert answers == [oracle.answer(question) for question in questions]
    assert len(set(answers)) > 1


def test_the_likelihood_of_labels_is_that_of_transformers_logits(t5: Path, tmp_path: Path):
    import torch

    model, oracle = open_sorter(t5, tmp_path, "setwise", scoring="likelihood").load(), Oracle(t5)
    question = oracle.setwise([document.text for document in documents(4)])
    labels = [WORDS.index(letter) for letter in "ABCD"]
    found = model.asker.likelihoods([oracle.ids(question)] * 2, model.asker.label_ids()[:4])
    start = torch.tensor([[0, WORDS.index("Passage")]])

    def logits(model: Any) -> np.ndarray:
        with torch.no_grad():
            found = model(input_ids=torch.tensor([oracle.ids(question)]), decoder_input_ids=start).logits
        return found[0, -1, labels].numpy()

    yard = both(logits, oracle.model)
    for row in found:
        yard.check(row)


@pytest.mark.parametrize("kind", ["t5", "chat"])
@pytest.mark.parametrize(("method", "definition"), [("heapsort", heap_by_definition), ("bubblesort", bubbles_by_definition)])  # fmt: skip
def test_setwise_puts_a_list_where_the_models_answers_put_it(
    kind, method, definition, request: pytest.FixtureRequest, tmp_path
):
    folder = request.getfixturevalue(kind)
    oracle, texts = Oracle(folder), [document.text for document in documents(13)]

    scores = open_sorter(folder, tmp_path, "setwise", method=method, top=4).load().score_list(QUERY, documents(13))
    expected = definition(13, 4, 3, oracle.best_of(texts))
    assert np.argsort(-scores).tolist() == expected
    assert sorted(scores.tolist()) == list(range(1, 14))
    assert expected[:4] != [0, 1, 2, 3]


@pytest.mark.parametrize("method", ["allpair", "heapsort", "bubblesort"])
def test_pairwise_puts_a_list_where_the_models_answers_put_it(method: str, chat: Path, tmp_path: Path):
    oracle, texts = Oracle(chat), [document.text for document in documents(9)]

    settings = {} if method == "allpair" else {"top": 3}
    model = open_sorter(chat, tmp_path, "pairwise", method=method, **settings).load()
    scores = model.score_list(QUERY, documents(9))
    if method == "allpair":
        points = [sum(oracle.beats(texts[one], texts[other]) if one < other else 1 - oracle.beats(texts[other], texts[one]) for other in range(9) if other != one)
                  for one in range(9)]  # fmt: skip
        expected = sorted(range(9), key=lambda document: -points[document])
        assert model.tallies["answers"] == 72
        assert len(set(points)) > 1
    else:
        expected = (heap_by_definition if method == "heapsort" else bubbles_by_definition)(
            9, 3, 2 if method == "heapsort" else 1, oracle.best_by_pairs(texts)
        )
    assert np.argsort(-scores).tolist() == expected
    assert expected != list(range(9))


def test_a_question_is_asked_once_however_often_the_sort_comes_back_to_it(chat: Path, tmp_path: Path):
    model = open_sorter(chat, tmp_path, "pairwise", method="bubblesort", top=8).load()
    asked: list[tuple[int, ...]] = []
    own = model.question
    model.question = lambda seen: asked.append(tuple(seen)) or own(seen)
    model.score_list(QUERY, documents(9))
    assert len(asked) == len(set(asked)) == model.tallies["answers"]


def test_texts_are_cut_to_their_first_tokens_and_counted(chat: Path, tmp_path: Path):
    model = open_sorter(chat, tmp_path, "setwise", passage_length=3, query_length=2).load()
    long = [DocumentText("", "amber birch  cedar delta echo"), *documents(3)]
    model.score_list(QUERY, long)
    assert model._query == "which birch"
    assert model._passages[0] == "amber birch  cedar"
    assert model.tallies["queries_shortened"] == 1
    assert model.tallies["passages_shortened"] == 1


@pytest.mark.parametrize("family", ["setwise", "pairwise"])
def test_answers_that_name_no_passage_are_counted_and_change_nothing(
    family: str, collection_folder: Path, cli: Cli, tmp_path: Path
):
    folder = write_chat(tmp_path / "model", words=["grove"])
    answer = cli("run", collection_folder, "--reranker", folder, "--family", family, "--top-k", "5", "--format", "json")
    assert answer.code == 0, answer.err
    (found,) = answer.results()
    counts = found["diagnostics"]["answers"]
    assert counts["malformed"] == counts["answers"] > 0
    assert any(each["code"] == "RH018" for each in found["diagnostics"]["cautions"])


def test_a_template_of_ones_own_asks_in_its_own_words(chat: Path, tmp_path: Path):
    own = tmp_path / "mine.yaml"
    own.write_text(
        'question: "{query} ? {passages} Output:"\npassage: "{label}: {text}"\nbetween: " , "\nlabels: ABC\n'
        'answer: ""\nchat_answer: ""\n'
    )
    model = open_sorter(chat, tmp_path, "setwise", template=own, children=2).load()
    ids = model.asker.ids(model.asker.template.ask("amber", ["birch", "cedar"]))
    text = "<s> <user> amber ? A : birch , B : cedar Output : <assistant>"
    assert ids == [WORDS.index(word) if word in WORDS else 2 for word in text.split()]
    packed = open_sorter(chat, tmp_path, "setwise", children=2).spec.fingerprint
    assert open_sorter(chat, tmp_path, "setwise", template=own, children=2).spec.fingerprint != packed


@pytest.mark.parametrize(
    ("family", "settings", "said"),
    [
        ("setwise", {"children": 23}, "asks about 24 passages at a time, and the template names 23"),
        ("setwise", {"scoring": "likelihood"}, "scoring=likelihood is defined for a T5"),
        ("setwise", {"method": "allpair"}, "heapsort, bubblesort"),
        ("pairwise", {"top": 3}, "method=allpair puts every document in its place"),
        ("pairwise", {"children": 2}, 'no setting "children"'),
        ("pairwise", {"template": "setwise-ielab"}, "packed are: prp"),
        ("setwise", {"template": "setwise-ielb"}, "Did you mean"),
    ],
)
def test_settings_that_do_not_fit_are_told_in_one_line(family: str, settings: dict, said: str, chat, tmp_path: Path):
    with pytest.raises(HarnessError, match=said) as caught:
        open_sorter(chat, tmp_path, family, **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("question: x\n", "is not as a template of the family setwise has it"),
        ('question: "{query}"\npassage: "{label}{text}"\nbetween: ""\nlabels: AB\nanswer: ""\nchat_answer: ""\n', "must have {passages} and {query}"),
        ('question: "{query}{passages}"\npassage: "{label}{text}"\nbetween: ""\nlabels: AA\nanswer: ""\nchat_answer: ""\n', "each once"),
    ],
)  # fmt: skip
def test_a_template_that_lacks_something_is_refused(text: str, said: str, chat: Path, tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(HarnessError, match=said):
        open_sorter(chat, tmp_path, "setwise", template=tmp_path / "mine.yaml")


def test_models_that_cannot_be_asked_are_refused(tmp_path: Path):
    with pytest.raises(HarnessError, match="cannot answer a question"):
        open_sorter(model_folder("cross-encoder"), tmp_path, "setwise")
    with pytest.raises(HarnessError, match="has no chat template"):
        open_sorter(write_chat(tmp_path / "plain", template=None), tmp_path, "pairwise").load()


def test_a_question_that_is_too_long_for_the_model_is_told(chat: Path, tmp_path: Path):
    model = open_sorter(chat, tmp_path, "setwise", passage_length=500).load()
    with pytest.raises(HarnessError, match=r"takes 512 tokens, and a question has \d+: take a smaller passage_length"):
        model.score_list(QUERY, [DocumentText("", "amber birch " * 100)] * 4)
