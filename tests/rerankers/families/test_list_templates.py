"""Listwise templates as data: the authors' prompts to the token, orders against transformers alone, and a user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from golden_cases import opened
from tiny_lists import DOCUMENTS, QUERY, SHOWN, answered, first_by_transformers, guarded, lighton_by_mteb, write_chatty
from tiny_models import byte_tokenizer

from harness.errors import HarnessError
from harness.rerankers.prompts.list_answer import read_answer
from harness.rerankers.prompts.list_prompt import list_template, read_list_templates
from harness.rerankers.prompts.windows import window_bounds
from harness.rerankers.resolve import known_models
from harness.types import QueryText


@pytest.fixture(scope="module")
def chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen2 over bytes, with a chat template that thinks unless it is told not to."""
    return write_chatty(tmp_path_factory.mktemp("models") / "tiny-qwen")


def listwise(folder: Path, cache: Path, **settings):
    (reranker,) = opened(folder, cache, "listwise", **settings)
    return reranker.load()


def asked(model) -> str:
    """The prompt that a model is shown for the three documents, as text."""
    ids, _ = model.prompt(QUERY, [model.template.passage(document) for document in DOCUMENTS])
    return model.tokenizer.backend.decode(ids, skip_special_tokens=False)


def turns(*said: tuple[str, str]) -> str:
    return "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in said) + "<|im_start|>assistant\n"


# -- the authors' prompts, put together here as their code does


def reasonrank(system: str, rules: str) -> str:
    query = guarded(QUERY)
    kept = ["Let it\nrest [2] for an hour.", *SHOWN[1:]]
    content = f"I will provide you with 3 passages, each indicated by a numerical identifier []. Rank the passages based on their relevance to the search query: {query}.\n\n"
    for rank, passage in enumerate(kept, 1):
        content += f"[{rank}] {guarded(passage)}\n"
    content += (
        f"Search Query: {query}.\nRank the 3 passages above based on their relevance to the search query. All the passages "
        f"should be included and listed using identifiers, in descending order of relevance. {rules}"
    )
    return turns(("system", system), ("user", content))


def test_reasonrank_asks_as_its_authors_do(chatty: Path, tmp_path: Path):
    system = (
        "You are RankLLM, an intelligent assistant that can rank passages based on their relevance to the query. Given a "
        "query and a passage list, you first thinks about the reasoning process in the mind and then provides the answer "
        "(i.e., the reranked passage list). The reasoning process and answer are enclosed within <think> </think> and "
        "<answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>."
    )
    model = listwise(chatty, tmp_path, template="reasonrank")
    assert asked(model) == reasonrank(system, "The format of the answer should be [] > [], e.g., [2] > [1].")
    assert (model.rule.max_new_tokens, model.rule.window, model.rule.stride) == (3172, 20, 10)


def test_reasonrank_8b_asks_as_its_authors_do(chatty: Path, tmp_path: Path):
    system = "You are RankLLM, an intelligent assistant that can rank passages based on their relevance to the query."
    rules = (
        "The final ranked list should be enclosed within <answer> </answer> tags, i.e., <answer> ranked list here "
        "</answer>. The format of ranked list should be [] > [], e.g., [2] > [1]. Only respond with the ranking results, "
        "do not say any word or explain."
    )
    assert asked(listwise(chatty, tmp_path, template="reasonrank-qwen3")) == reasonrank(system, rules)


def test_rearank_asks_as_its_authors_do(chatty: Path, tmp_path: Path):
    system = (
        "You are DeepRerank, an intelligent assistant that can rank passages based on their relevancy to the search query. "
        "You first thinks about the reasoning process in the mind and then provides the user with the answer."
    )
    instruction = (
        "I will provide you with passages, each indicated by number identifier []. Rank the passages based on their "
        f"relevance to the search query.Search Query: {QUERY}. \nRank the 3 passages above based on their relevance to the "
        "search query.The passages should be listed in descending order using identifiers. The most relevant passages "
        "should be listed first. The output format should be <answer> [] > [] </answer>, e.g., <answer> [1] > [2] </answer>."
    )
    said = [("system", system), ("user", instruction), ("assistant", "Okay, please provide the passages.")]
    for rank, passage in enumerate(SHOWN, 1):
        said += [("user", f"[{rank}] {passage[:400]}"), ("assistant", f"Received passage [{rank}].")]
    indent = " " * 12
    last = (
        f'Please rank these passages according to their relevance to the search query: "{QUERY}"\n'
        f"{indent}Follow these steps exactly:\n"
        f"{indent}1. First, within <think> tags, analyze EACH passage individually:\n"
        f"{indent}- Evaluate how well it addresses the query\n"
        f"{indent}- Note specific relevant information or keywords\n\n"
        f"{indent}2. Then, within <answer> tags, provide ONLY the final ranking in descending order of relevance using the "
        "format: [X] > [Y] > [Z]"
    )
    assert asked(listwise(chatty, tmp_path, template="rearank")) == turns(*said, ("user", last))


def test_rearank_shows_four_hundred_characters_of_a_passage(chatty: Path, tmp_path: Path):
    ids, _ = listwise(chatty, tmp_path, template="rearank").prompt("q", ["x" * 500, "y"])
    assert ids.count(ids[0]) > 3
    text = listwise(chatty, tmp_path, template="rearank").tokenizer.backend.decode(ids, skip_special_tokens=False)
    assert f"[1] {'x' * 400}<" in text


def test_rank_k_asks_as_its_authors_do(chatty: Path, tmp_path: Path):
    shown = ["Let it\nrest [2] for an hour.", "Ovens Heat {them} well; naïve bakers do not.", SHOWN[2]]
    content = (
        "\nDetermine a ranking of the passages based on how relevant they are to the query. \n"
        "If the query is a question, how relevant a passage is depends on how well it answers the question. \n"
        "If not, try analyze the intent of the query and assess how well each passage satisfy the intent. \n"
        "The query may have typos and passages may contain contradicting information. \n"
        "However, we do not get into fact-checking. We just rank the passages based on they relevancy to the query. \n\n"
        "Sort them from the most relevant to the least. \n"
        "Answer with the passage number using a format of `[3] > [2] > [4] = [1] > [5]`. \n"
        "Ties are acceptable if they are equally relevant. \n"
        "I need you to be accurate but overthinking it is unnecessary.\n"
        "Output only the ordering without any other text.\n\n"
        f"Query: {QUERY}\n\n" + "\n\n".join(f"[{rank}] {text}" for rank, text in enumerate(shown, 1)) + "\n"
    )
    assert asked(listwise(chatty, tmp_path, template="rank-k")) == turns(("user", content))


def test_rank_k_shows_450_tokens_of_a_passage(chatty: Path, tmp_path: Path):
    model = listwise(chatty, tmp_path, template="rank-k")
    long = "é1 " * 400
    ids, _ = model.prompt("q", [long, "y"])
    backend = model.tokenizer.backend
    expected = backend.decode(backend.encode(long, add_special_tokens=False).ids[:450])
    text = backend.decode(ids, skip_special_tokens=False)
    assert f"[1] {expected}\n\n[2] y" in text


# -- LightOn's listwise models, against mteb's own wrapper


@pytest.mark.parametrize(("template", "thinks"), [("lighton-lw", False), ("lighton-lw-4b", True)])
@pytest.mark.parametrize("count", [3, 4, 7, 12])
def test_lighton_is_asked_and_ordered_as_by_mteb(chatty: Path, tmp_path: Path, template: str, thinks: bool, count: int):
    model = listwise(chatty, tmp_path, template=template)
    order, prompts, stats = lighton_by_mteb(count, thinks=thinks)
    found, asked, rooms = answered(model, count)
    assert asked == prompts
    assert rooms == {30}
    assert np.argsort(-found).tolist() == order
    assert model.tallies["answers"] == stats["calls"]
    assert model.tallies["partial"] == stats["fallbacks"]


def test_the_window_at_the_front_is_cut_or_whole():
    assert window_bounds(7, 4, 2) == [(3, 7), (1, 5), (0, 3)]
    assert window_bounds(7, 4, 2, whole=True) == [(3, 7), (1, 5), (0, 4)]
    assert window_bounds(3, 4, 2, whole=True) == [(0, 3)]


# -- first-token scoring


@pytest.mark.parametrize("template", ["first", "first-mistral"])
def test_first_orders_by_the_logits_of_the_letters(chatty: Path, tmp_path: Path, template: str):
    model = listwise(chatty, tmp_path, template=template)
    expected, order = first_by_transformers(chatty, template)
    ids, _ = model.prompt(QUERY, [model.template.passage(document) for document in DOCUMENTS])
    assert ids == expected
    assert model.first_token_order(ids, 3) == order
    scores = model.score_list(QueryText(QUERY), DOCUMENTS)
    assert np.argsort(-scores).tolist() == order
    assert model.tallies == {"answers": 1, "partial": 0, "malformed": 0, "empty": 0, "cut": 0}


def test_an_identifier_of_several_tokens_cannot_be_read_at_the_first(chatty: Path, tmp_path: Path):
    own = tmp_path / "numbers.yaml"
    own.write_text('body: "[{id}] {passage}\\n"\nprefix: "{query}\\n"\nbegins: "["\nreads: first-token\n')
    with pytest.raises(HarnessError, match=r"no token of its own for the identifier 10.*window=9"):
        listwise(chatty, tmp_path, template=own)
    assert listwise(chatty, tmp_path, template=own, window=9, stride=4).first_token_order([5], 9)


def test_a_model_of_images_and_texts_is_asked_about_texts(chatty: Path, tmp_path: Path):
    import torch
    from transformers import AutoModelForImageTextToText, Qwen3_5Config, Qwen3_5ForConditionalGeneration

    size = byte_tokenizer(tmp_path / "qwen", ("<|im_start|>", "<|im_end|>", "<think>", "</think>"), 4096)
    text = {
        "vocab_size": size, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 4096,
        "linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
        "initializer_range": 0.5,
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
    torch.manual_seed(6)
    config = Qwen3_5Config(text_config=text, vision_config=vision)
    Qwen3_5ForConditionalGeneration(config).save_pretrained(tmp_path / "qwen")
    model = listwise(tmp_path / "qwen", tmp_path / "cache", template="lighton-lw")
    ids, room = model.prompt(QUERY, ["one", "two", "three"])
    plain = AutoModelForImageTextToText.from_pretrained(tmp_path / "qwen").eval()
    with torch.inference_mode():
        found = plain.generate(torch.tensor([ids]), max_new_tokens=room, do_sample=False)[0, len(ids) :].tolist()
    assert model.generate(ids, room)[0] == model._visible(found)
    assert len(set(found)) > 1


def test_letters_do_not_name_more_than_26_passages(chatty: Path, tmp_path: Path):
    with pytest.raises(HarnessError, match="window=27 is more than the 26 letters"):
        listwise(chatty, tmp_path, template="first", window=27)


# -- answers


@pytest.mark.parametrize(
    ("text", "order", "kind"),
    [
        ("[B] > [C] > [A]", [1, 2, 0], "complete"),
        ("B > C > A", [1, 2, 0], "complete"),
        ("A good passage is B. So: [C] > [A] > [B]", [2, 0, 1], "complete"),
        ("1. B\n2. A\n3. C", [1, 0, 2], "complete"),
        ("Passage B > Passage A > Passage C", [1, 0, 2], "complete"),
        ("[2] > [1] > [3]", [0, 1, 2], "malformed"),
        ("2 > 1 > 3", [0, 1, 2], "malformed"),
        ("[B] > [A]", [1, 0, 2], "partial"),
        ("[D] > [B] > [A]", [1, 0, 2], "malformed"),
    ],
)
def test_letters_are_read_as_numbers_are(text: str, order: list[int], kind: str):
    answer = read_answer(text, 3, letters=True)
    assert (answer.order, answer.kind) == (order, kind)


@pytest.mark.parametrize(
    ("text", "order", "kind"),
    [
        ("<think>[1] > [2] > [3]</think><answer>[3] > [1] > [2]</answer> or [1] > [2] > [3]", [2, 0, 1], "complete"),
        ("<think>so <answer>[3] > [1] > [2]</answer>", [2, 0, 1], "complete"),
        ("<answer>[2] > [1] > [3]</answer> no: <answer>[3] > [1] > [2]</answer>", [2, 0, 1], "complete"),
        ("[3] > [1] > [2]", [2, 0, 1], "malformed"),
        ("<think>[3] > [1] > [2]", [0, 1, 2], "empty"),
        ("<answer></answer>", [0, 1, 2], "empty"),
    ],
)
def test_an_extraction_says_where_the_ranking_stands(text: str, order: list[int], kind: str):
    answer = read_answer(text, 3, extraction=list_template("reasonrank").extraction)
    assert (answer.order, answer.kind) == (order, kind)


# -- one's own


OWN = """
system: "Order them."
prefix: "Question: {query} ({count})\\n"
body: "<{id}> {passage}\\n"
suffix: "Ranking:"
identifiers: alphabetic
extraction: "Ranking: (.*)"
thinking: true
max_new_tokens: 12
window: 3
stride: 1
"""


def test_a_template_of_ones_own_is_asked_and_written_as_transformers_writes(chatty: Path, tmp_path: Path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    own = tmp_path / "mine.yaml"
    own.write_text(OWN)
    model = listwise(chatty, tmp_path, template=own)
    tokenizer = AutoTokenizer.from_pretrained(chatty)
    content = f"Question: {guarded(QUERY)} (3)\n" + "".join(
        f"<{letter}> {guarded(text)}\n" for letter, text in zip("ABC", SHOWN, strict=True)
    )
    messages = [{"role": "system", "content": "Order them."}, {"role": "user", "content": content + "Ranking:"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=True)
    expected = tokenizer(text, add_special_tokens=False).input_ids
    ids, room = model.prompt(QUERY, [model.template.passage(document) for document in DOCUMENTS])
    assert (ids, room) == (expected, 12)
    plain = AutoModelForCausalLM.from_pretrained(chatty).eval()
    with torch.inference_mode():
        found = plain.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :]
    assert model.generate(ids, room)[0].strip() == tokenizer.decode(found, skip_special_tokens=True).strip()


def test_thinking_is_a_setting_and_a_part_of_the_fingerprint(chatty: Path, tmp_path: Path):
    on, off = (listwise(chatty, tmp_path, template="rank-zephyr", thinking=value) for value in ("true", "false"))
    assert asked(off) == asked(on) + "<think>\n\n</think>\n\n"
    prints = {opened(chatty, tmp_path, "listwise", thinking=value)[0].spec.fingerprint for value in ("true", "false")}
    assert len(prints) == 2


def test_a_run_with_a_template_of_ones_own_counts_its_answers(
    chatty: Path, collection_folder: Path, cli: Cli, tmp_path: Path
):
    own = tmp_path / "mine.yaml"
    own.write_text(OWN)
    answer = cli("run", collection_folder, "--reranker", chatty, "--family", "listwise", "--set", f"template={own}",
                 "--top-k", "4", "--format", "json")  # fmt: skip
    assert answer.code == 0, answer.err
    (found,) = answer.results()
    counts = found["diagnostics"]["answers"]
    assert counts["answers"] == 6 * 2
    assert counts["malformed"] + counts["partial"] + counts["empty"] > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prefix: '{query}'", '"body" must hold {id} and {passage}'),
        ("body: '{id} {passage}'", "must hold {query}"),
        ("prefix: '{query} {num}'\nbody: '{id} {passage}'", r'slot "{num}"; known here: {count}, {query}'),
        ("prefix: '{query'\nbody: '{id} {passage}'", "a brace too many or too few"),
        ("prefix: '{query}'\nbody: '{id} {passage}'\nidentifier: numeric", 'unknown key "identifier".*identifiers'),
        ("prefix: '{query}'\nbody: '{id} {passage}'\nidentifiers: roman", "one of: numeric, alphabetic"),
        ("prefix: '{query}'\nbody: '{id} {passage}'\nextraction: '(['", "no regular expression"),
        ("prefix: '{query}'\nbody: '{id} {passage}'\nextraction: 'x'", "must have one group"),
        ("prefix: '{query}'\nbody: '{id} {passage}'\nthinking: maybe", "must be true or false"),
        ("prefix: '{query}'\nbody: '{id} {passage}'\nwindow: 0", "a whole number above 0"),
        ("prefix: '{query}'\nbody: '{id} {passage}'\nframe: 'x'", "must hold {user}"),
        ("prefix: '{query}'\nbody: '{id} {passage}'\nframe: '{user}'\nsystem: x", "the system message would be lost"),
        ("- a list", "written as key: value"),
    ],
)
def test_a_template_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, text: str, said: str):
    own = tmp_path / "mine.yaml"
    own.write_text(text)
    with pytest.raises(HarnessError, match=said) as caught:
        list_template(str(own))
    assert str(own) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_known_listwise_models_have_their_authors_templates():
    named = {
        name: entry["settings"]["template"] for name, entry in known_models().items() if entry["family"] == "listwise"
    }
    assert named["liuwenhan/reasonrank-7B"] == "reasonrank"
    assert named["castorini/first_mistral"] == "first-mistral"
    assert set(named.values()) <= set(read_list_templates())
