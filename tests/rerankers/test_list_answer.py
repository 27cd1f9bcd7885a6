"""What a listwise model writes, in all the ways that models write it, and how well it is said to be written."""

from __future__ import annotations

import random

import pytest

from harness.rerankers.prompts.list_answer import inside_thinking, read_answer

WHOLE = [
    "[2] > [1] > [3]",
    "[2]>[1]>[3].",
    "2 > 1 > 3",
    "2>1>3",
    "[2 > 1 > 3]",
    "[2] = [1] > [3]",
    "[2] -> [1] -> [3]",
    "2 \\> 1 \\> 3",
    "\\[2\\] > \\[1\\] > \\[3\\]",
    "**[2]** > **[1]** > **[3]**",
    "Passage 2 > Passage 1 > Passage 3",
    "Passage [2] > Passage [1] > Passage [3]",
    "[Passage 2] > [Passage 1] > [Passage 3]",
    "[2] (old, of 1999) > [1] (the 3 rivers) > [3]",
    "[2] &gt; [1] &gt; [3]",
    "［２］＞［１］＞［３］",
    "排序为2 > 1 > 3",
    "Passage 5 is about 2024. Ranking: 2 > 1 > 3",
    "Passages [3] and [1] are close. [2] > [1] > [3]",
    "[how many of the 3 rivers flooded in 2024?] 2 > 1 > 3",
    "[Which 3 rivers?]\n[2] > [1] > [3]",
    "Since 5 > 3 and [1] > [3], the ranking is [2] > [1] > [3].",
    "At first: [3] > [1] > [2]. On reflection: [2] > [1] > [3]",
    "[2] > [1] > [3]. The pair [3] > [1] would be close.",
    "[2] > [1] > [3]\n\nPassage [1] is better than passage [3] because of 2024.",
    "1. Passage 2 2. Passage 1 3. Passage 3",
    "1. [2]\n2. [1]\n3. [3]",
    "1) doc 2, 2) doc 1, 3) doc 3",
    "1. 2\n2. 1\n3. 3",
    "1. **Passage 2**: it names 3 rivers.\n2. **Passage 1**: it names 2.\n3. **Passage 3**: none.",
    "1. Passage 1 is about 3 rivers. 2. Passage 2 is old. 3. Passage 3 is new.\n\n[2] > [1] > [3]",
    "2, 1, 3",
    "[2], [1], [3]",
    "[2, 1, 3]",
    '{"ranking": [2, 1, 3]}',
    "Ranking: [2] [1] [3]",
    "[2]\n[1]\n[3]",
    "Here it is:\n\n[2]\n[1]\n[3]",
    "<think>[1] > [2] > [3] seems wrong</think>[2] > [1] > [3]",
    "[1] > [2] > [3] seems wrong</think>\n[2] > [1] > [3]",
    "<think>[3] > [1]</think> [2] > [1] > [3] <think> is it [1] > [2] > [3]",
    "<thinking>[1] > [2] > [3]</thinking>[2] > [1] > [3]",
    "[THINK]1 > 2 > 3[/THINK]2 > 1 > 3",
    "<answer>[2] > [1] > [3]</answer>",
]


@pytest.mark.parametrize("text", WHOLE)
def test_the_last_whole_ranking_is_read(text: str):
    answer = read_answer(text, 3)
    assert (answer.order, answer.kind) == ([1, 0, 2], "complete")


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("Passage 5 is about 2024. Ranking: 2 > 1 > 3", [2, 1, 3, 4, 5]),
        ("Passages [3] and [4] are off topic. [2] > [1] > [5]", [2, 1, 5, 3, 4]),
        ("1. Passage 3 2. Passage 1", [3, 1, 2, 4, 5]),
        ("[4]", [4, 1, 2, 3, 5]),
        ("4", [4, 1, 2, 3, 5]),
        ("First [1] > [2], then better: [3] > [2]", [3, 2, 1, 4, 5]),
        ("I think 5 > 3 matters. [2] > [1]", [2, 1, 3, 4, 5]),
        ("[2] > [1", [2, 1, 3, 4, 5]),
    ],
)
def test_what_a_ranking_leaves_out_follows_and_is_said(text: str, order: list[int]):
    answer = read_answer(text, 5)
    assert ([place + 1 for place in answer.order], answer.kind) == (order, "partial")


@pytest.mark.parametrize(
    "text",
    [
        "I cannot rank these.",
        "I cannot rank these 3 passages.",
        "The answer is 3.",
        "The most relevant are 2 and 3.",
        "[3] is relevant, [1] is not.",
        "Passage 3: rivers. Passage 1: ice.",
        "As of 2024, version 3.2 beats 2.1.",
        "[7] > [8] > [9]",
        "1 < 3 < 2",
        "Most relevant: [2]\nThen: [3]\nLeast relevant: [1]",
    ],
)
def test_prose_is_no_ranking(text: str):
    answer = read_answer(text, 3)
    assert (answer.order, answer.kind) == ([0, 1, 2], "malformed")


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("[2] > [2] > [1] > [3]", [1, 0, 2]),
        ("[7] > [3] > [0] > [-1]", [2, 0, 1]),
        ("[" + "9" * 5000 + "] > [2]", [1, 0, 2]),
    ],
)
def test_a_ranking_that_names_one_twice_or_a_stranger_is_mended_and_said(text: str, order: list[int]):
    answer = read_answer(text, 3)
    assert (answer.order, answer.kind) == (order, "malformed")


@pytest.mark.parametrize("text", ["", " \n", "<think>", "<think> [2] > [1] > [3] it is", "<think>[2] > [1]</think> \n"])
def test_nothing_but_thoughts_is_empty(text: str):
    answer = read_answer(text, 3)
    assert (answer.order, answer.kind) == ([0, 1, 2], "empty")


def test_a_number_that_was_cut_in_half_is_not_read():
    assert read_answer("2 > 3 > 1", 12, cut=True).order[:3] == [1, 2, 0]
    assert read_answer("2 > 12 > 1", 12, cut=True).order[:3] == [1, 11, 0]
    assert read_answer("2 > 12 > 3", 12, cut=True).order[:3] == [1, 11, 0]
    assert read_answer("2 > 12 > 3", 12).order[:3] == [1, 11, 2]
    assert read_answer("[2] > [12] > [3]", 12, cut=True).order[:3] == [1, 11, 2]
    assert read_answer("[2] > [12] > [1", 12, cut=True).kind == "partial"


def test_circled_numbers_are_numbers():
    assert read_answer("⑫ > ⑪", 12).order[:2] == [11, 10]


def test_a_prompt_may_open_the_thought_itself():
    assert inside_thinking("<user> rank <assistant><think>\n")
    assert not inside_thinking("<user> rank <assistant><think>\n\n</think>\n\n")
    assert not inside_thinking("<user> rank <assistant>")


def test_any_text_gives_a_permutation_in_time_that_grows_with_its_length():
    chance = random.Random(5)
    signs = "[]>0123456789 ,.\n①②²٣【】()*:=<think></think>abc"
    for _ in range(1000):
        text = "".join(chance.choice(signs) for _ in range(chance.randrange(80)))
        count = chance.randrange(25)
        assert sorted(read_answer(text, count).order) == list(range(count))
    for piece in ("[1] > ", "1. ", "(", "1 (", "passage ", "[ "):
        assert len(read_answer(piece * 4000, 20).order) == 20
