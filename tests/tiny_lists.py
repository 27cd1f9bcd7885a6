"""A tiny chat model that ranks lists, and the orders and prompts of mteb's wrapper and of transformers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from tiny_models import byte_tokenizer

from harness.rerankers.prompts.list_prompt import read_list_templates
from harness.types import DocumentText, QueryText

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


QUERY = "how long does [1] dough rest {query}"


DOCUMENTS = [
    DocumentText("", "  Let it\nrest [2] for an hour. "),
    DocumentText("Ovens", "Heat {them} well; naïve bakers do not."),
    DocumentText("", "Snow fell on the station."),
]


SHOWN = [
    "Let it rest [2] for an hour.",
    "Title: Ovens Content: Heat {them} well; naïve bakers do not.",
    DOCUMENTS[2].text,
]


def write_chatty(folder: Path) -> Path:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    size = byte_tokenizer(folder, ("<|im_start|>", "<|im_end|>", "<think>", "</think>"), model_max_length=40000)
    (folder / "chat_template.jinja").write_text(CHAT)
    torch.manual_seed(5)
    config = Qwen2Config(
        vocab_size=size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=40000,
        initializer_range=0.5,
        eos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def guarded(text: str) -> str:
    return re.sub(r"\[(\d+)\]", r"(\1)", text)


def answer_to(prompt: str) -> str:
    """An answer that depends on the prompt, and is now and then no ranking."""
    numbers = re.findall(r"\n\[(\d)\]", prompt)
    turn = sum(map(ord, prompt)) % len(numbers)
    numbers = numbers[turn:] + numbers[:turn]
    return " > ".join(f"[{number}]" for number in (numbers[1:] if turn == 2 else numbers))


def passages(count: int) -> list[str]:
    return [f"passage number {place} of\n many" for place in range(count)]


def lighton_by_mteb(count: int, *, thinks: bool) -> tuple[list[int], list[str], dict[str, int]]:
    """The order, the prompts and the counts of mteb's wrapper of LightOn's models, where `answer_to` answers."""
    from mteb.models.model_implementations import lighton_rerank_models as lighton

    theirs = object.__new__(lighton.LightOnListwiseRerankerWrapper)
    theirs.use_think_block, theirs.window_size, theirs.stride = thinks, 4, 2
    theirs.parse_stats = {"calls": 0, "fallbacks": 0}
    prompts: list[str] = []

    def generate(texts: list[str], images: Any) -> list[str]:
        prompts.extend(texts)
        return [answer_to(text) for text in texts]

    theirs._generate = generate
    (order,) = theirs._sliding_window_rank(["the query [1]"], [passages(count)], show_progress_bar=False)
    return order, prompts, theirs.parse_stats


def answered(model: Any, count: int) -> tuple[np.ndarray, list[str], set[int]]:
    """Our scores of the same, the prompts, and the tokens that an answer may have."""
    prompts: list[str] = []
    rooms: set[int] = set()

    def generate(ids: list[int], room: int) -> tuple[str, bool]:
        prompts.append(model.tokenizer.backend.decode(ids, skip_special_tokens=False))
        rooms.add(room)
        return answer_to(prompts[-1]), False

    model.generate = generate
    scores = model.score_list(QueryText("the query [1]"), [DocumentText("", text) for text in passages(count)])
    return scores, prompts, rooms


def first_by_transformers(folder: Path, template: str) -> tuple[list[int], list[int]]:
    """The ids that FIRST's authors ask with, and the order of the letters by their logits."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    plain = AutoModelForCausalLM.from_pretrained(folder).eval()
    shown = [guarded(text) if template == "first-mistral" else text for text in SHOWN]
    query = guarded(QUERY) if template == "first-mistral" else QUERY
    article, gap, rules = {
        "first": ("a", "\n\n", "Only respond"),
        "first-mistral": ("an", "\n", "Answer concisely and directly and only respond"),
    }[template]
    content = (
        f"I will provide you with 3 passages, each indicated by {article} alphabetical identifier []. Rank the passages "
        f"based on their relevance to the search query: {query}.{gap}"
        + "".join(f"[{letter}] {text}\n" for letter, text in zip("ABC", shown, strict=True))
        + f"Search Query: {query}.\nRank the 3 passages above based on their relevance to the search query. All the passages "
        "should be included and listed using identifiers, in descending order of relevance. The output format should be [] > "
        f"[], e.g., [B] > [A], {rules} with the ranking results, do not say any word or explain."
    )
    messages = [
        {"role": "system", "content": read_list_templates()["rank-zephyr"].system},
        {"role": "user", "content": content},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    ids = tokenizer(text + "[", add_special_tokens=False).input_ids
    with torch.inference_mode():
        logits = plain(torch.tensor([ids])).logits[0, -1]
    letters = torch.tensor([logits[tokenizer.convert_tokens_to_ids(letter)] for letter in "ABC"])
    return ids, letters.argsort(descending=True).tolist()
