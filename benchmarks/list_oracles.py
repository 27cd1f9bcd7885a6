"""Rerankers of whole lists and of questions about them beside transformers and mteb: the cases of `oracles.py` for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import golden_cases
import numpy as np
import tiny_e2rank
import tiny_jina
import tiny_kalm
import tiny_lists
import tiny_sorting

from benchmarks.case import Case
from harness.types import QueryText

Found = tuple[np.ndarray, Any, bool | None]


def as_scores(order: list[int]) -> np.ndarray:
    """The scores n to 1 of a list in this order."""
    found = np.zeros(len(order))
    found[order] = np.arange(len(order), 0, -1)
    return found


def jina(folder: Path) -> Found:
    model = tiny_jina.write_model(folder / "model")
    (ours,) = golden_cases.opened(model, folder / "cache")
    documents = tiny_jina.documents(11)
    text = tiny_jina.prompt("which birch", tiny_jina.joined(documents))
    ids, rows, query = tiny_jina.vectors(model, text)
    loaded = ours.load()
    cosines = (rows @ query.T)[:, 0].numpy() / (np.linalg.norm(rows, axis=1) * np.linalg.norm(query))
    return loaded.score_list(QueryText("which birch"), documents), cosines, loaded.ids(text) == ids


def e2rank(folder: Path) -> Found:
    model = tiny_e2rank.write_e2rank(folder / "model")
    (ours,) = golden_cases.opened(model, folder / "cache", "e2rank")
    documents = tiny_e2rank.documents(24)
    texts = [" ".join(document.text.split()) for document in documents]
    found = ours.load().score_list(QueryText("cold river"), documents)
    return found, tiny_e2rank.expected(model, "cold river", texts, 20).plain, None


def kalm(folder: Path) -> Found:
    model = tiny_kalm.write_kalm(folder / "model")
    (ours,) = golden_cases.opened(model, folder / "cache", "kalm")
    found = golden_cases.score(ours, tiny_kalm.PAIRS)
    expected, ids = tiny_kalm.mteb_scores(model, tiny_kalm.PAIRS)
    return found.published, expected.plain, found.ids == ids


def sorting(family: str, write: Callable[[Path], Path]) -> Callable[[Path], Found]:
    """The order by the answers, each of them transformers' own."""

    def run(folder: Path) -> Found:
        model = write(folder / "model")
        settings = {"method": "heapsort", "top": 4} if family == "setwise" else {"method": "bubblesort", "top": 3}
        (ours,) = golden_cases.opened(model, folder / "cache", family, **settings)
        oracle, documents = tiny_sorting.Oracle(model), tiny_sorting.documents(9)
        texts = [document.text for document in documents]
        best = oracle.best_of(texts) if family == "setwise" else oracle.best_by_pairs(texts)
        sort = tiny_sorting.heap_by_definition if family == "setwise" else tiny_sorting.bubbles_by_definition
        order = sort(9, settings["top"], 3 if family == "setwise" else 1, best)
        loaded = ours.load()
        asked = texts[: 4 if family == "setwise" else 2]
        same = loaded.asker.ids(loaded.asker.template.ask(tiny_sorting.QUERY.text, asked)) == oracle.ids(
            getattr(oracle, family)(asked)
        )
        return loaded.score_list(tiny_sorting.QUERY, documents), as_scores(order), same

    return run


def first(template: str) -> Callable[[Path], Found]:
    def run(folder: Path) -> Found:
        model = tiny_lists.write_chatty(folder / "model")
        (reranker,) = golden_cases.opened(model, folder / "cache", "listwise", template=template)
        ours = reranker.load()
        expected, order = tiny_lists.first_by_transformers(model, template)
        ids, _ = ours.prompt(tiny_lists.QUERY, [ours.template.passage(each) for each in tiny_lists.DOCUMENTS])
        return ours.score_list(QueryText(tiny_lists.QUERY), tiny_lists.DOCUMENTS), as_scores(order), ids == expected

    return run


def written(template: str) -> Callable[[Path], Found]:
    """The first answer by transformers' own generation from the prompt that we ask with, and the order read from it."""

    def run(folder: Path) -> Found:
        import torch
        from transformers import AutoModelForCausalLM

        model = tiny_lists.write_chatty(folder / "model")
        (reranker,) = golden_cases.opened(model, folder / "cache", "listwise", template=template, max_new_tokens=12)
        ours = reranker.load()
        ids, room = ours.prompt(tiny_lists.QUERY, [ours.template.passage(each) for each in tiny_lists.DOCUMENTS])
        plain = AutoModelForCausalLM.from_pretrained(model).eval()
        with torch.inference_mode():
            answer = plain.generate(torch.tensor([ids]), max_new_tokens=room, do_sample=False)[0, len(ids) :].tolist()
        same = ours.generate(ids, room)[0] == ours._visible(answer)
        return np.zeros(1), np.zeros(1) if same else np.ones(1), same

    return run


def lighton(template: str) -> Callable[[Path], Found]:
    def run(folder: Path) -> Found:
        model = tiny_lists.write_chatty(folder / "model")
        (reranker,) = golden_cases.opened(model, folder / "cache", "listwise", template=template)
        order, prompts, _ = tiny_lists.lighton_by_mteb(12, thinks=template.endswith("4b"))
        found, asked, _ = tiny_lists.answered(reranker.load(), 12)
        return found, as_scores(order), asked == prompts

    return run


def cases() -> Iterator[Case]:
    """Every case, built when it is asked for."""
    plain = "transformers, by the authors' prompts"
    yield Case("jina-list", "jina-reranker-v3", "transformers' Qwen3, by the authors' formulas", 1e-5, jina)
    yield Case("e2rank", "E2Rank", "transformers' Qwen3, by the authors' prompt", 1e-5, e2rank)
    yield Case("kalm", "KaLM-Reranker", "mteb's KaLMRerankerWrapper", 1e-5, kalm)
    for family in ("pairwise", "setwise"):
        for name, write in (("T5", tiny_sorting.write_t5), ("chat model", tiny_sorting.write_chat)):
            yield Case(family, name, plain, 0, sorting(family, write))
    for template in ("first", "first-mistral"):
        yield Case("listwise", f"template {template}", plain, 0, first(template))
    for template in ("lighton-lw", "lighton-lw-4b"):
        yield Case("listwise", f"template {template}", "mteb's LightOnListwiseRerankerWrapper", 0, lighton(template))
    yield Case("listwise", "an answer", "transformers' greedy generation", 0, written("rank-zephyr"))
