"""Pairwise and setwise sorting: the sorts on their own, then a tiny T5 and a tiny chat model beside transformers."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from golden_cases import model_folder, opened

from harness.errors import HarnessError
from harness.rerankers.prompts.sorts import by_points, sort_by_bubbles, sort_by_heap
from harness.types import DocumentText, QueryText

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


def heap_by_definition(count: int, top: int, children: int, best: Callable[[Sequence[int]], int]) -> list[int]:
    """Heapsort as textbooks write it, by recursion and on a shrinking list."""
    heap = list(range(count))

    def heapify(root: int) -> None:
        below = [place for place in range(root * children + 1, root * children + children + 1) if place < len(heap)]
        if below:
            winner = [root, *below][best([heap[place] for place in [root, *below]])]
            if winner != root:
                heap[root], heap[winner] = heap[winner], heap[root]
                heapify(winner)

    for root in reversed(range(count)):
        heapify(root)
    first = []
    while heap and len(first) < top:
        first.append(heap[0])
        heap[0] = heap[-1]
        heap.pop()
        if heap and len(first) < top:
            heapify(0)
    return first + [document for document in range(count) if document not in first]


def bubbles_by_definition(count: int, top: int, children: int, best: Callable[[Sequence[int]], int]) -> list[int]:
    order = list(range(count))
    for place in range(min(top, count)):
        stop = count
        while stop - place > 1:
            start = max(stop - children - 1, place)
            winner = start + best(order[start:stop])
            order[start], order[winner] = order[winner], order[start]
            stop -= children
    return order[:top] + [document for document in range(count) if document not in order[:top]]


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

# fmt: off
WORDS = [
    "<pad>", "</s>", "<unk>", "<s>", "<user>", "<assistant>", *"ABCDEFGHIJKLMNOPQRSTUVW", "Passage", "Given", "a", "query", "which", "of", "the", "following", "two",
    "passages", "is", "more", "relevant", "to", "most", "one", "Output", "or", "only", "label", "passage", '"', '":', '",', ":", ",", "?", '"?',
    "amber", "birch", "cedar", "delta", "echo", "fjord", "grove", "heath",
]
# fmt: on
TEMPLATE = (
    "{% for message in messages %}<user> {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def save_tokenizer(folder: Path, form: str, template: str | None) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = form.strip("$A ")
    backend.post_processor = processors.TemplateProcessing(
        single=form, special_tokens=[(special, WORDS.index(special))]
    )
    backend.add_special_tokens(["<pad>", "</s>", "<unk>", "<s>", "<user>", "<assistant>"])
    backend.save(str(folder / "tokenizer.json"))
    said = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)


def silent(words: Sequence[str]) -> list[int]:
    """The words whose row of a head is set to 0, so that one of `words` is mostly written."""
    return [place for place, word in enumerate(WORDS) if word not in words]


def write_t5(folder: Path, words: Sequence[str] = (*"ABCDE", "</s>")) -> Path:
    """A random T5 with a head of its own, as FLAN-T5 has it."""
    import torch
    from safetensors.torch import save_file
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(12)
    said = {
        "vocab_size": len(WORDS), "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
        "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": False,
    }  # fmt: skip
    shapes = T5ForConditionalGeneration(T5Config(**said)).state_dict()
    # Wide enough that what the encoder read decides the answer.
    weights = {name: torch.randn(value.shape) * 0.5 for name, value in shapes.items() if "embed_tokens" not in name}
    weights["lm_head.weight"][silent(words)] = 0.0
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    said |= {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "is_encoder_decoder": True}
    (folder / "config.json").write_text(json.dumps(said))
    save_tokenizer(folder, "$A </s>", None)
    return folder


def write_chat(folder: Path, words: Sequence[str] = tuple("ABCDE"), template: str | None = TEMPLATE) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=512, initializer_range=0.5, bos_token_id=3, eos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[silent(words)] = 0.0
    model.generation_config.update(do_sample=True, temperature=1.7)
    model.save_pretrained(folder)
    save_tokenizer(folder, "<s> $A", template)
    return folder


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_t5(tmp_path_factory.mktemp("models") / "t5")


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chat(tmp_path_factory.mktemp("models") / "chat")


def open_sorter(folder: Path, cache: Path, family: str, **settings):
    (reranker,) = opened(folder, cache, family, **settings)
    return reranker


def documents(count: int) -> list[DocumentText]:
    words = WORDS[-8:]
    return [
        DocumentText("", f"{words[place % 8]} {words[place * 3 // 8 % 8]} {words[place * 5 % 7]}")
        for place in range(count)
    ]


QUERY = QueryText("which birch is echo")


class Oracle:
    """transformers alone: tokenizer, `generate` and logits, with the prompts of ielab/llm-rankers' README and code."""

    def __init__(self, folder: Path) -> None:
        import transformers

        self.tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
        self.t5 = not (folder / "chat_template.jinja").is_file()
        kind = "AutoModelForSeq2SeqLM" if self.t5 else "AutoModelForCausalLM"
        self.model = getattr(transformers, kind).from_pretrained(str(folder)).eval()

    def setwise(self, texts: Sequence[str]) -> str:
        passages = "\n\n".join(f'Passage {letter}: "{text}"' for letter, text in zip("ABCDEF", texts, strict=False))
        return (
            f'Given a query "{QUERY.text}", which of the following passages is the most relevant one to the query?\n\n'
            f"{passages}\n\nOutput only the passage label of the most relevant passage:"
        )

    def pairwise(self, texts: Sequence[str]) -> str:
        return (
            f'Given a query "{QUERY.text}", which of the following two passages is more relevant to the query?\n\n'
            f'Passage A: "{texts[0]}"\n\nPassage B: "{texts[1]}"\n\nOutput Passage A or Passage B:'
        )

    def ids(self, question: str) -> list[int]:
        if self.t5:
            return self.tokenizer(question).input_ids
        turn = [{"role": "user", "content": question}]
        text = self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        return self.tokenizer(text + " Passage:").input_ids

    def answer(self, question: str) -> str:
        import torch

        ids = torch.tensor([self.ids(question)])
        if self.t5:
            start = torch.tensor([[0, WORDS.index("Passage")]])
            found = self.model.generate(ids, decoder_input_ids=start, max_new_tokens=2)[0, 2:]
        else:
            found = self.model.generate(ids, do_sample=False, temperature=None, max_new_tokens=1)[0, ids.shape[1] :]
        return self.tokenizer.decode(found, skip_special_tokens=True).strip()


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
    with torch.no_grad():
        logits = oracle.model(input_ids=torch.tensor([oracle.ids(question)]), decoder_input_ids=start).logits[0, -1]
    np.testing.assert_allclose(found[0], logits[labels].numpy(), atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize("kind", ["t5", "chat"])
@pytest.mark.parametrize(("method", "definition"), [("heapsort", heap_by_definition), ("bubblesort", bubbles_by_definition)])  # fmt: skip
def test_setwise_puts_a_list_where_the_models_answers_put_it(
    kind, method, definition, request: pytest.FixtureRequest, tmp_path
):
    folder = request.getfixturevalue(kind)
    oracle, texts = Oracle(folder), [document.text for document in documents(13)]

    def best(seen: Sequence[int]) -> int:
        answer = oracle.answer(oracle.setwise([texts[document] for document in seen]))
        place = "ABCDE".find(answer[-1:] if kind == "t5" else answer) if answer else -1
        return place if 0 <= place < len(seen) else 0

    scores = open_sorter(folder, tmp_path, "setwise", method=method, top=4).load().score_list(QUERY, documents(13))
    expected = definition(13, 4, 3, best)
    assert np.argsort(-scores).tolist() == expected
    assert sorted(scores.tolist()) == list(range(1, 14))
    assert expected[:4] != [0, 1, 2, 3]


@pytest.mark.parametrize("method", ["allpair", "heapsort", "bubblesort"])
def test_pairwise_puts_a_list_where_the_models_answers_put_it(method: str, chat: Path, tmp_path: Path):
    oracle, texts = Oracle(chat), [document.text for document in documents(9)]

    def beats(one: int, other: int) -> float:
        there = oracle.answer(oracle.pairwise([texts[one], texts[other]]))
        back = oracle.answer(oracle.pairwise([texts[other], texts[one]]))
        return {("A", "B"): 1.0, ("B", "A"): 0.0}.get((there, back), 0.5)

    def best(seen: Sequence[int]) -> int:
        chosen = 0
        for place in range(1, len(seen)):
            chosen = place if beats(seen[place], seen[chosen]) == 1 else chosen
        return chosen

    settings = {} if method == "allpair" else {"top": 3}
    model = open_sorter(chat, tmp_path, "pairwise", method=method, **settings).load()
    scores = model.score_list(QUERY, documents(9))
    if method == "allpair":
        points = [sum(beats(one, other) if one < other else 1 - beats(other, one) for other in range(9) if other != one)
                  for one in range(9)]  # fmt: skip
        expected = sorted(range(9), key=lambda document: -points[document])
        assert model.tallies["answers"] == 72
        assert len(set(points)) > 1
    else:
        expected = (heap_by_definition if method == "heapsort" else bubbles_by_definition)(
            9, 3, 2 if method == "heapsort" else 1, best
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
