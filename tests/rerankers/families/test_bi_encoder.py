"""Bi-encoders as rerankers, against the scores of E5-mistral's own code; the task sentence of a data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DATA, write_collection
from exactness import both, golden, ours
from golden_cases import cases, model_folder, opened, read_cases
from tiny_models import bert, sentence_transformer

from harness.data.collection import Collection, prepare
from harness.data.listings import folder_revision
from harness.engine.options import Options
from harness.engine.store import ScoreStore
from harness.errors import HarnessError
from harness.evaluate import jobs_of
from harness.request import Request
from harness.rerankers.base import Reranker
from harness.rerankers.rerank import rerank
from harness.rerankers.resolve import open_rerankers
from harness.retrievers.retrieve import candidates_of, open_first_stage
from harness.text import join_document
from harness.types import DocumentText, Measure, QueryText, Subset, Task

FOLDER = model_folder("e5-mistral")
CASES = cases("e5-mistral")
PAIRS = CASES[0]["pairs"]
CLAIMS = "Given a claim, find a passage that answers it"
QUESTIONS = "Given a question, find a passage that answers it"


def open_e5(cache: Path, folder: Path = FOLDER, recipe: str = "e5-mistral", **settings) -> Reranker:
    (reranker,) = opened(folder, cache, "bi-encoder", recipe=recipe, **settings)
    return reranker


def prepared(reranker: Reranker, pairs: list, instruction: str = ""):
    queries = [QueryText(query, instruction) for query, _ in pairs]
    documents = [DocumentText("", document) for _, document in pairs]
    return reranker.load().prepare(queries, documents, np.array([(row, row) for row in range(len(pairs))]))


def scores(reranker: Reranker, pairs: list, instruction: str = "") -> np.ndarray:
    return prepared(reranker, pairs, instruction).score(np.arange(len(pairs)))


def alone(reranker: Reranker, pairs: list) -> np.ndarray:
    """The scores of pairs whose texts are encoded one at a time, and kept nowhere."""
    model = reranker.load()
    return np.concatenate([model.score_alone(QueryText(query), [DocumentText("", text)]) for query, text in pairs])


def check(folder: Path, cache: Path, case: dict) -> None:
    settings = {"recipe": "e5-mistral", "max_length": case["max_length"], "task": case["task"]}
    reranker = open_e5(cache, folder, **settings)
    found = scores(reranker, case["pairs"])
    golden(case["scores"], lambda wide: alone(wide, case["pairs"]), folder, cache, "bi-encoder", **settings).check(
        found
    )
    np.testing.assert_array_equal(reranker.load().activate(found), found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_scores_equal_the_authors_own(tmp_path: Path, case: dict):
    check(FOLDER, tmp_path, case)


@pytest.mark.shared
def test_scores_equal_the_authors_own_on_the_other_texts(tmp_path: Path, shared: Path):
    for case in read_cases(shared / "goldens" / "e5-mistral.json"):
        check(shared / "hub" / "models" / "standin" / "e5-mistral", tmp_path, case)


def test_inputs_begin_with_bos_and_end_with_one_eos(tmp_path: Path):
    ready = prepared(open_e5(tmp_path), PAIRS)
    for row in range(len(PAIRS)):
        ids = ready.token_ids(row)
        assert (ids[0], ids[-1], ids.count(1), ids.count(2)) == (1, 2, 2, 2)
        assert len(ids) == ready.lengths[row]


def test_one_pair_at_a_time_scores_as_all_together(tmp_path: Path):
    yard = ours(lambda one: alone(one, PAIRS), FOLDER, tmp_path / "a", "bi-encoder", recipe="e5-mistral")
    yard.check(scores(open_e5(tmp_path / "a"), PAIRS))
    yard.check([scores(open_e5(tmp_path / "b"), [pair])[0] for pair in PAIRS])


def test_the_instruction_stands_once_after_the_query_in_the_querys_place(tmp_path: Path):
    reranker = open_e5(tmp_path)
    apart = prepared(reranker, [["what is ice", "ice is cold water"]], "Only texts on frozen lakes.")
    joined = prepared(reranker, [["what is ice Only texts on frozen lakes.", "ice is cold water"]])
    assert apart.token_ids(0) == joined.token_ids(0)
    bare = prepared(open_e5(tmp_path, recipe="e5-mistral-bare"), [["what is ice", "x"]], "Only texts on frozen lakes.")
    assert len(bare.token_ids(0)) < len(
        prepared(reranker, [["what is ice", "x"]], "Only texts on frozen lakes.").token_ids(0)
    )


def test_truncated_tokens_are_counted(tmp_path: Path):
    long = "ice " * 100
    short, cut = (
        prepared(open_e5(tmp_path), [["ice", long]]),
        prepared(open_e5(tmp_path, max_length=30), [["ice", long]]),
    )
    assert short.lost[0] == 0
    assert cut.lost[0] == short.lengths[0] - cut.lengths[0] > 0


def test_a_sentence_transformer_scores_by_cosine_without_a_recipe(tmp_path: Path):
    oracle = sentence_transformer(tmp_path, prompts={"query": "query : ", "document": ""})
    (reranker,) = open_rerankers(str(tmp_path / "model"), Options(), tmp_path)
    assert reranker.spec.family == "bi-encoder"
    assert reranker.bind is None
    pairs = [["what is ice", "ice is cold"], ["where", "the river over the stone"]]

    def cosines(oracle: Any) -> np.ndarray:
        return (oracle.encode_query([q for q, _ in pairs]) * oracle.encode_document([d for _, d in pairs])).sum(1)

    both(cosines, oracle).check(scores(reranker, pairs))


def test_recipe_length_sentence_and_dtype_are_in_the_fingerprint(tmp_path: Path):
    variants = [
        open_e5(tmp_path), open_e5(tmp_path, recipe="e5-mistral-bare"), open_e5(tmp_path, max_length=64),
        open_e5(tmp_path, task=CLAIMS), open_e5(tmp_path, dtype="bfloat16"), open_e5(tmp_path).for_task(CLAIMS),
        open_e5(tmp_path).for_task(QUESTIONS),
    ]  # fmt: skip
    assert len({reranker.spec.fingerprint for reranker in variants}) == len(variants)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"recipe": "mistral-e5"}, 'unknown recipe "mistral-e5"'),
        ({"pooling": "cls"}, 'no setting "pooling"'),
        ({"max_length": "x"}, "whole number"),
    ],
)
def test_settings_that_are_wrong_are_one_line(tmp_path: Path, settings: dict, said: str):
    with pytest.raises(HarnessError, match=said) as error:
        open_e5(tmp_path, **settings)
    assert "\n" not in str(error.value)


# -- the task sentence of a data set


def birds(tmp_path: Path, prompt: str) -> tuple[Task, Collection]:
    folder = tmp_path / "birds"
    if not folder.exists():
        write_collection(folder)
    subset = Subset("default", "test")
    revision = folder_revision(folder, tmp_path / "cache")
    task = Task("birds", str(folder), revision, (subset,), (Measure.parse("nDCG@10"),), prompt=prompt, folder=True)
    return task, prepare(task, subset, tmp_path / "cache")


def test_the_task_sentence_reaches_a_first_stage_and_its_candidates_key(tmp_path: Path):
    options = Options(settings=(("recipe", "e5-mistral"),))
    stage = open_first_stage(str(FOLDER), options, tmp_path / "cache")
    assert stage.wants_task_prompt
    found = {}
    for prompt in (CLAIMS, QUESTIONS):
        task, collection = birds(tmp_path, prompt)
        found[prompt] = candidates_of(stage, collection, task, task.subsets[0], 5, tmp_path / "cache")
    assert found[CLAIMS].digest != found[QUESTIONS].digest
    task, collection = birds(tmp_path, CLAIMS)
    query, best = collection.queries["q0"].text, found[CLAIMS].run["q0"]
    pairs = [(query, join_document(document)) for document in collection.documents(list(best)).values()]
    yard = ours(lambda one: alone(one, pairs), FOLDER, tmp_path, "bi-encoder", recipe="e5-mistral", task=CLAIMS)
    yard.check([best[name] for name in collection.documents(list(best))])
    bare = open_first_stage(str(FOLDER), Options(settings=(("recipe", "e5-mistral-bare"),)), tmp_path / "cache")
    assert not bare.wants_task_prompt


def test_scores_of_one_task_sentence_are_never_taken_for_anothers(tmp_path: Path):
    _, collection = birds(tmp_path, "")
    bm25 = open_first_stage("bm25", Options(), tmp_path / "cache")
    reranker = open_e5(tmp_path / "cache")
    runs = {}
    with ScoreStore(tmp_path / "scores.sqlite") as store:
        for prompt in (CLAIMS, QUESTIONS, CLAIMS):
            task, collection = birds(tmp_path, prompt)
            candidates = candidates_of(bm25, collection, task, task.subsets[0], 5, tmp_path / "cache")
            found = rerank(reranker.for_task(prompt), candidates, collection, store, Options())
            assert found.stored == (found.pairs if prompt in runs else 0)
            assert runs.setdefault(prompt, found.run) == found.run
    assert runs[CLAIMS] != runs[QUESTIONS]


def test_a_result_says_the_sentence_only_where_it_was_used(tmp_path: Path):
    task, _ = birds(tmp_path, CLAIMS)
    cache = tmp_path / "cache"
    (plain,) = opened(DATA / "models" / "cross-encoder", cache)
    request = Request(
        tasks=[task], first_stages=lambda: [open_first_stage("bm25", Options(), cache)],
        rerankers=[open_e5(cache), open_e5(cache, recipe="e5-mistral-bare"), plain], options=Options(),
        results=tmp_path / "results", cache=cache,
    )  # fmt: skip
    identities = [job.identity for job in jobs_of(request)]
    assert [identity.task_prompt for identity in identities] == [CLAIMS, "", ""]


def test_a_changed_sentence_in_a_card_runs_again_and_says_so(tmp_path: Path, cli):
    write_collection(tmp_path / "birds")
    bert(tmp_path / "e5")
    words = [
        "run",
        "birds",
        "--reranker",
        "e5",
        "--family",
        "bi-encoder",
        "--set",
        "recipe=e5-instruct",
        "--top-k",
        "5",
        "--format",
        "json",
    ]
    first = cli(*words)
    assert first.code == 0, first.err
    (result,) = first.results()
    path = Path(result["path"])
    record = json.loads(path.read_text())
    assert record["identity"]["task_prompt"] == ""
    record["identity"]["task_prompt"] = CLAIMS
    path.write_text(json.dumps(record))
    again = cli(*words)
    assert "task sentence" in again.err
    assert not again.results()[0]["reused"]
    assert cli(*words).results()[0]["reused"]


def test_a_folder_of_other_files_is_not_mistaken_for_the_encoder(tmp_path: Path):
    shutil.copytree(FOLDER, tmp_path / "e5")
    (tmp_path / "e5" / "model.safetensors").unlink()
    with pytest.raises(HarnessError, match="no weights"):
        open_e5(tmp_path, tmp_path / "e5")
