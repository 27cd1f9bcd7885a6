"""Lists that are the scope of the search: each first stage searches inside, and what is refused is never a candidate."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import WORDS, Cli, Counter, write_collection, write_lines

from harness.data.collection import Collection, prepare
from harness.data.task import folder_task
from harness.engine.options import Options
from harness.retrievers import dense, late
from harness.retrievers.bm25 import build, open_index
from harness.retrievers.dense import search_exactly
from harness.retrievers.fusion import fused_stage
from harness.retrievers.retrieve import FirstStage, candidates_of, memory_stage, open_first_stage
from harness.retrievers.scope import scope_of
from harness.retrievers.search import dense_run, late_run
from harness.types import Run, Task, ranked

DOCUMENTS = [f"d{i:02d}" for i in range(24)]
SCOPES = {
    "q0": DOCUMENTS[2:20], "q1": [*DOCUMENTS[::-3]], "q2": DOCUMENTS[1:3], "q3": DOCUMENTS, "q4": DOCUMENTS[5:6],
}  # fmt: skip
"""Each judged query's scope; q5 has none, and so nothing to search."""
EXCLUDED = {"q0": ["d12", "d13"], "q3": ["d03", "d04", "d15", "d16"]}
K = 5


@pytest.fixture
def data(tmp_path: Path) -> tuple[Task, Collection]:
    folder = write_collection(tmp_path / "data")
    lists = [{"query-id": query_id, "corpus-ids": doc_ids} for query_id, doc_ids in SCOPES.items()]
    write_lines(folder / "top_ranked.jsonl", [json.dumps(row) for row in lists])
    refused = [{"query-id": query_id, "corpus-ids": doc_ids} for query_id, doc_ids in EXCLUDED.items()]
    write_lines(folder / "excluded.jsonl", [json.dumps(row) for row in refused])
    (folder / "task.yaml").write_text("candidates: scope\nlanguages: [eng-Latn]\n")
    task = folder_task(folder, tmp_path / "cache")
    assert (task.scoped, task.given_lists) == (True, False)
    return task, prepare(task, task.subsets[0], tmp_path / "cache")


def inside(run: Run, k: int) -> dict[str, list[str]]:
    """The best `k` of a ranking of everything that each query may find."""
    found = {}
    for query_id in [f"q{i}" for i in range(6)]:
        may = set(SCOPES.get(query_id, ())) - set(EXCLUDED.get(query_id, ()))
        found[query_id] = [doc_id for doc_id in ranked(run[query_id]) if doc_id in may][:k]
    return found


def searched(stage: FirstStage, data: tuple[Task, Collection], cache: Path, k: int = K) -> Run:
    task, collection = data
    return candidates_of(stage, collection, task, task.subsets[0], k, cache).run


def everything(stage: FirstStage, data: tuple[Task, Collection]) -> Run:
    """The stage's ranking of the whole corpus, nothing refused."""
    task, collection = data
    return stage.search(collection, replace(task, scoped=False), task.subsets[0], collection.size)


class Words:
    """An encoder without a model: a text is the counts of twelve words, or one vector for each of its words."""

    source, device = SimpleNamespace(name="words"), "cpu"

    def encode(self, texts, role, task_prompt=""):
        return np.array([[text.split().count(word) for word in WORDS] for text in texts], np.float32)

    def query_rows(self, texts):
        return [np.eye(12, dtype=np.float32)[[WORDS.index(w) for w in text.split() if w in WORDS]] for text in texts]

    def document_rows(self, texts):
        return [
            rows * np.float32(1 + 0.01 * len(text)) for text, rows in zip(texts, self.query_rows(texts), strict=True)
        ]

    def in_batches(self, rows):
        import torch

        return [torch.from_numpy(row) for row in rows]


def stage_of(kind: str, cache: Path) -> FirstStage:
    """BM25, and the searches of models with vectors that need none."""
    if kind == "bm25":
        return open_first_stage("bm25", Options(), cache)
    ways = {
        "dense": lambda collection, task, k: dense_run(collection, Words(), k, scope_of(collection, task)),
        "late": lambda collection, task, k: late_run(collection, Words(), k, scope_of(collection, task)),
    }
    return FirstStage(kind, (), lambda collection, task, subset, k: ways[kind](collection, task, k))


@pytest.mark.parametrize("kind", ["bm25", "dense", "late"])
def test_each_first_stage_hands_over_its_best_inside_the_scope(tmp_path: Path, data, monkeypatch, kind):
    monkeypatch.setattr(dense, "DOCUMENTS", 7)
    monkeypatch.setattr(dense, "QUERIES", 4)
    monkeypatch.setattr(late, "_BLOCK", 7)
    stage = stage_of(kind, tmp_path / "cache").for_subset(data[0].subsets[0])
    found, whole = searched(stage, data, tmp_path / "cache"), everything(stage, data)
    assert {query_id: ranked(scores) for query_id, scores in found.items()} == inside(whole, K)
    # A score is as in the whole corpus.
    for query_id, scores in found.items():
        assert scores == {doc_id: whole[query_id][doc_id] for doc_id in scores}
    assert (len(found["q4"]), found["q5"]) == (min(1, len(inside(whole, K)["q4"])), {})


def test_given_rankings_and_joined_ones_stay_inside_too(tmp_path: Path, data):
    everyone = {f"q{i}": {doc_id: float(place) for place, doc_id in enumerate(DOCUMENTS)} for i in range(6)}
    backwards = {
        query_id: {doc_id: -score for doc_id, score in scores.items()} for query_id, scores in everyone.items()
    }
    one, two = memory_stage(everyone, "one"), memory_stage(backwards, "two")
    assert {q: ranked(s) for q, s in searched(one, data, tmp_path / "cache").items()} == inside(everyone, K)
    for by in ("rrf", "sum"):
        for query_id, scores in searched(fused_stage([one, two], by), data, tmp_path / "cache").items():
            assert scores.keys() <= set(SCOPES.get(query_id, ())) - set(EXCLUDED.get(query_id, ()))


def test_what_is_refused_is_nowhere_in_a_run_its_oracle_or_its_files(cli: Cli, data, tmp_path: Path, counter: Counter):
    run = tmp_path / "all.trec"
    lines = [f"q{i} Q0 {d} {n + 1} {100 - n} all" for i in range(6) for n, d in enumerate(DOCUMENTS)]
    run.write_text("\n".join(lines) + "\n")
    words = ["run", data[0].path, "--save-runs", "saved", "--reranker", counter.name]
    for more in ([], ["--candidates", run], ["--candidates", run, "--retriever", "bm25", "--fuse"]):
        assert cli(*words, *more).code == 0
    rankings = list(Path("saved").rglob("*.trec"))
    assert len(rankings) == 6
    for path in rankings:
        for line in path.read_text().splitlines():
            query_id, _, doc_id, *_ = line.split()
            assert doc_id in set(SCOPES[query_id]) - set(EXCLUDED.get(query_id, ()))


@pytest.mark.parametrize("card", ["candidates: given\n", ""])
def test_excluded_documents_leave_lists_that_are_reranked(cli: Cli, data, tmp_path: Path, card):
    (Path(data[0].path) / "task.yaml").write_text(f"{card}languages: [eng-Latn]\n")
    (result,) = cli(
        "run", data[0].path, "--retriever", "bm25", "--top-k", 24, "--save-runs", "s", "--format", "json"
    ).results()
    found = [line.split() for path in Path("s").rglob("*.trec") for line in path.read_text().splitlines()]
    assert found
    assert not any(doc_id in EXCLUDED.get(query_id, ()) for query_id, _, doc_id, *_ in found)
    # One relevant document of q0 and two of q3 are among those that the corpus has and a run may not.
    if card:
        (result,) = cli("run", data[0].path, "--format", "json").results()
        stored = json.loads(Path(result["path"]).read_text())["diagnostics"]
        lists = {query_id: set(doc_ids) - set(EXCLUDED.get(query_id, ())) for query_id, doc_ids in SCOPES.items()}
        assert stored["candidates"] == sum(map(len, lists.values()))


def test_a_scope_of_fourteen_thousand_documents_is_searched_at_the_depth_asked_for(tmp_path: Path):
    numbers = np.random.default_rng(5)
    size, inside_of = 30_000, [np.sort(numbers.permutation(30_000)[:14_158]) for _ in range(3)]
    held = numbers.integers(-3, 4, (size, 8)).astype(np.float32)
    asked = numbers.integers(-3, 4, (3, 8)).astype(np.float32)
    order = np.arange(size)[::-1]
    for query, rows, (best, scores) in zip(
        asked, inside_of, search_exactly(asked, held, 100, order, inside_of), strict=True
    ):
        whole = held @ query
        expected = rows[np.lexsort((order[rows], -whole[rows]))[:100]]
        assert best.tolist() == expected.tolist()
        assert scores.tolist() == whole[expected].tolist()


def test_an_index_finds_no_row_out_of_the_scope(tmp_path: Path):
    build(["cat"] * 5, "eng", tmp_path / "index")
    ((rows, _), (none, _)) = open_index(tmp_path / "index").search(
        ["cat", "cat"], 2, within=[np.array([1, 2, 4]), np.array([], int)]
    )
    assert (rows.tolist(), none.tolist()) == ([1, 2], [])


@pytest.mark.parametrize("column", ["excluded-corpus-ids", "excluded_ids", "corpus-ids", "negative_ids"])
def test_a_config_of_exclusions_goes_with_its_part(cli: Cli, tmp_path: Path, column):
    folder = write_collection(tmp_path / "data")
    (folder / "qrels" / "test.tsv").rename(folder / "qrels.tsv")
    write_lines(folder / "excluded.jsonl", [json.dumps({"query-id": "q0", column: ["d00", "d12"]})])
    names = {"corpus": "corpus.jsonl", "queries": "queries.jsonl", "qrels": "qrels.tsv", "excluded": "excluded.jsonl"}
    configs = [
        {"config_name": f"bio-{part}", "data_files": [{"split": "test", "path": name}]} for part, name in names.items()
    ]
    (folder / "README.md").write_text(f"---\n{json.dumps({'language': 'en', 'configs': configs})}\n---\n")
    assert cli("run", folder, "--top-k", 24, "--save-runs", "saved").code == 0
    (path,) = Path("saved").rglob("*.trec")
    found = {line.split()[2] for line in path.read_text().splitlines() if line.startswith("q0 ")}
    assert found
    assert found.isdisjoint({"d00", "d12"})


def test_lists_of_most_of_the_corpus_are_said_to_look_like_a_scope(cli: Cli, tmp_path: Path, counter: Counter):
    folder = write_collection(tmp_path / "data", documents=300, queries=2)
    lists = [{"query-id": f"q{i}", "corpus-ids": [f"d{n:02d}" for n in range(3, 300)]} for i in range(2)]
    write_lines(folder / "top_ranked.jsonl", [json.dumps(row) for row in lists])
    answer = cli("run", folder, "--reranker", counter.name)
    assert "its lists have up to 297 of 300 documents, and are reranked whole" in answer.err
    (folder / "task.yaml").write_text("candidates: scope\nlanguages: [eng-Latn]\n")
    counter.reset()
    answer = cli("run", folder, "--reranker", counter.name, "--top-k", 40)
    assert "are reranked whole" not in answer.err
    assert len(set(counter.pairs())) <= 2 * 40
