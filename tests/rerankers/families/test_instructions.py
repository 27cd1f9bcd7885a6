"""Instructions reach every family: FollowIR-shaped data, the instruction's own tokens in each input once, in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_cases import model_folder, opened

from harness.data.collection import Collection, prepare
from harness.data.task import Cards
from harness.rerankers.base import Reranker
from harness.types import QueryText

FAMILIES = {
    "cross-encoder": "sequence-classification",
    "bge-reranker": "bge",
    "bge-reranker-gemma": "bge-reranker-gemma",
    "bge-reranker-layerwise": None,
    "bge-reranker-lightweight": None,
    "e5-mistral": "e5-mistral",
    "followir": "followir",
    "mxbai-rerank-v2": "mxbai-rerank-v2",
    "selfrag": "selfrag",
}
"""Tiny model → family. TART, T5, late interaction and listwise models have such a test beside their own."""
BEFORE = {"mxbai-rerank-v2": "instruction:"}
"""What the instruction follows where that is not the query."""
LENGTH = {"cross-encoder": 512}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Our own queries with changed instructions, in FollowIR's layout."""
    task = Cards().task("DemoInstructions")
    return prepare(task, task.subsets[0], tmp_path_factory.mktemp("cache"))


def inputs(reranker: Reranker, collection: Collection, *, instructed: bool = True) -> list[list[int]]:
    """The token ids of both sides of two base queries, each with its first given document."""
    queries = list(collection.queries)[:4]
    documents = [collection.given[query_id][0] for query_id in queries]
    texts = collection.documents(documents)
    asked = [collection.queries[query_id] for query_id in queries]
    asked = asked if instructed else [QueryText(query.text) for query in asked]
    rows = np.array([(row, row) for row in range(4)])
    prepared = reranker.load().prepare(asked, [texts[doc_id] for doc_id in documents], rows)
    return [list(prepared.token_ids(row)) for row in range(4)]


def opened_as(system: str, cache: Path) -> Reranker:
    (reranker,) = opened(model_folder(system), cache, FAMILIES[system], max_length=LENGTH.get(system, 1024))
    return reranker


def places(part: list[int], whole: list[int]) -> list[int]:
    return [start for start in range(len(whole)) if whole[start : start + len(part)] == part]


@pytest.mark.parametrize("system", FAMILIES)
def test_the_instruction_stands_once_in_its_place(system: str, pairs: Collection, tmp_path: Path):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_folder(system) / "tokenizer.json"))
    texts = [pairs.queries[query_id] for query_id in list(pairs.queries)[:4]]
    assert all(query.instruction for query in texts)
    lead = "" if tokenizer.encode("a", add_special_tokens=False).tokens[0].startswith("▁") else " "
    for query, ids in zip(texts, inputs(opened_as(system, tmp_path), pairs), strict=True):
        instruction = tokenizer.encode(lead + query.instruction, add_special_tokens=False).ids
        before = tokenizer.encode(BEFORE.get(system, query.text), add_special_tokens=False).ids[-5:]
        (start,) = places(instruction, ids)
        assert ids[start - 5 : start] == before


@pytest.mark.parametrize("system", FAMILIES)
def test_the_two_sides_of_a_query_differ_by_the_instruction_alone(system: str, pairs: Collection, tmp_path: Path):
    reranker = opened_as(system, tmp_path)
    first, second, *_ = list(pairs.queries)
    assert first.rpartition("-")[0] == second.rpartition("-")[0]
    assert pairs.queries[first].text == pairs.queries[second].text
    instructed, bare = inputs(reranker, pairs), inputs(reranker, pairs, instructed=False)
    assert instructed[0] != instructed[1]
    assert all(len(short) < len(long) for short, long in zip(bare, instructed, strict=True))
