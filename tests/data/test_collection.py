"""Task → Collection, on small folders; the hub's side is in test_hub.py."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import processes
import pytest

from harness.data.collection import Collection, find_prepared, prepare, prepared_fingerprint
from harness.data.listings import folder_revision, folder_splits
from harness.errors import HarnessError
from harness.types import DocumentText, Measure, QueryText, Subset, Task

ROOT = Path(__file__).resolve().parents[2]

CORPUS = [
    {"_id": "d2", "title": "Two", "text": "second"},
    {"_id": "d10", "title": "", "text": "tenth"},
    {"_id": "d1", "text": "first"},
    {"_id": "ü", "title": "Umlaut", "text": "last"},
]
QUERIES = [{"_id": "q1", "text": "one"}, {"_id": "q2", "text": "two"}, {"_id": "unjudged", "text": "three"}]
QRELS = [("q2", "d1", 2), ("q1", "d2", 1), ("q1", "d1", 0)]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def rows(path: Path, objects: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in objects).encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)


def qrels(path: Path, judgements: Sequence[tuple[str, str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, judgement)) for judgement in judgements)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small data set in BEIR's layout."""
    rows(tmp_path / "data" / "corpus.jsonl", CORPUS)
    rows(tmp_path / "data" / "queries.jsonl", QUERIES)
    qrels(tmp_path / "data" / "qrels" / "test.tsv", QRELS)
    return tmp_path / "data"


def task_of(folder: Path, cache: Path, **subset: Any) -> tuple[Task, Subset]:
    part = Subset("default", **{"split": "test", "languages": ("eng-Latn",), **subset})
    revision = folder_revision(folder, cache)
    return Task("Small", str(folder), revision, (part,), (Measure("nDCG", 10),), folder=True), part


def prepared(folder: Path, cache: Path, **subset: Any) -> Collection:
    return prepare(*task_of(folder, cache, **subset), cache)


def refusal(folder: Path, cache: Path, **subset: Any) -> str:
    """The one line that preparing ends in; nothing half-made may be left."""
    with pytest.raises(HarnessError) as caught:
        prepared(folder, cache, **subset)
    assert "\n" not in str(caught.value)
    assert [path for path in (cache / "collections").rglob("*") if path.is_file()] == []
    return str(caught.value)


# -- what a collection holds


def test_a_folder_becomes_a_collection(folder, cache):
    collection = prepared(folder, cache)
    assert collection.size == 4
    assert collection.queries == {"q1": QueryText("one"), "q2": QueryText("two")}
    assert collection.qrels == {"q1": {"d1": 0, "d2": 1}, "q2": {"d1": 2}}
    assert (collection.given, collection.excluded, collection.qrel_diff) == (None, {}, None)
    assert collection.judged_without_text == 0
    assert len(collection.fingerprint) == 32


def test_rows_stand_in_ascending_order_of_doc_id(folder, cache):
    collection = prepared(folder, cache)
    assert collection.doc_ids().to_pylist() == ["d1", "d10", "d2", "ü"]
    assert list(collection.iterate_texts()) == [
        DocumentText("", "first"), DocumentText("", "tenth"), DocumentText("Two", "second"), DocumentText("Umlaut", "last"),
    ]  # fmt: skip
    assert collection.doc_ids_at([3, 0, 0]) == ["ü", "d1", "d1"]
    assert collection.doc_ids_at([]) == []


@pytest.mark.parametrize("row", [4, -1])
def test_a_row_that_is_not_there_is_an_error(folder, cache, row):
    with pytest.raises(IndexError, match="corpus of 4"):
        prepared(folder, cache).doc_ids_at([0, row])


def test_documents_are_given_by_id_and_unknown_ids_left_out(folder, cache):
    collection = prepared(folder, cache)
    assert collection.documents(["ü", "nobody", "d2", "ü"]) == {
        "d2": DocumentText("Two", "second"),
        "ü": DocumentText("Umlaut", "last"),
    }
    assert collection.documents([]) == {}


def test_all_parts_of_a_data_set_are_read(folder, cache):
    rows(folder / "instruction.jsonl", [{"query-id": query, "instruction": f"as {query}"} for query in ("q1", "q2")])
    rows(
        folder / "top_ranked.jsonl.gz",
        [{"query-id": "q1", "corpus-ids": ["d2", "d1"]}, {"query-id": "unjudged", "corpus-ids": []}],
    )
    rows(folder / "excluded.jsonl", [{"query-id": "q2", "corpus-ids": ["d10", "not here"]}])
    collection = prepared(folder, cache)
    assert collection.queries["q1"] == QueryText("one", "as q1")
    assert collection.given == {"q1": ["d2", "d1"]}
    assert collection.excluded == {"q2": {"d10", "not here"}}


@pytest.fixture
def changing(tmp_path: Path) -> Path:
    """A query with two instructions, laid out as FollowIR's are."""
    twins = ("q1-og", "q1-changed")
    rows(tmp_path / "twins" / "corpus.jsonl", CORPUS)
    rows(tmp_path / "twins" / "queries.jsonl", [{"_id": query, "text": "one"} for query in twins])
    rows(tmp_path / "twins" / "instruction.jsonl", [{"query-id": query, "instruction": query} for query in twins])
    rows(tmp_path / "twins" / "qrel_diff.jsonl", [{"query-id": "q1", "corpus-ids": ["d2"]}])
    qrels(tmp_path / "twins" / "qrels" / "test.tsv", [("q1-og", "d2", 1), ("q1-changed", "d2", 0)])
    return tmp_path / "twins"


def test_two_instructions_of_a_query_are_two_queries(changing, cache):
    collection = prepared(changing, cache)
    assert collection.qrel_diff == {"q1": ["d2"]}
    assert collection.queries["q1-changed"] == QueryText("one", "q1-changed")
    rows(changing / "qrel_diff.jsonl", [{"query-id": "q1", "corpus-ids": ["d1"]}])
    assert prepared(changing, cache).fingerprint != collection.fingerprint


def test_an_original_without_its_changed_twin_is_refused_before_anything_is_computed(changing, cache):
    qrels(changing / "qrels" / "test.tsv", [("q1-og", "d2", 1)])
    assert 'query "q1-og" has no twin: "q1-changed" is not judged' in refusal(changing, cache)


def test_a_changed_query_without_its_original_is_refused(changing, cache):
    qrels(changing / "qrels" / "test.tsv", [("q1-changed", "d2", 1)])
    assert '"q1-og" is not judged' in refusal(changing, cache)


def test_a_query_whose_instruction_cannot_be_told_is_refused(changing, cache):
    rows(changing / "queries.jsonl", [{"_id": "q2", "text": "two"}])
    rows(changing / "instruction.jsonl", [{"query-id": "q2", "instruction": "so"}])
    qrels(changing / "qrels" / "test.tsv", [("q2", "d2", 1)])
    assert "ends in neither -og nor -changed" in refusal(changing, cache)


def test_judged_documents_without_text_are_counted_and_kept(folder, cache):
    qrels(folder / "qrels" / "test.tsv", [*QRELS, ("q1", "gone", 1), ("q2", "gone", 0)])
    collection = prepared(folder, cache)
    assert collection.judged_without_text == 2
    assert collection.qrels["q1"] == {"d1": 0, "d2": 1, "gone": 1}


def test_a_subset_is_a_folder_of_its_own(tmp_path, cache):
    for language in ("de", "fr"):
        rows(tmp_path / "many" / language / "corpus.jsonl", CORPUS)
        rows(tmp_path / "many" / language / "queries.jsonl", [{"_id": "q1", "text": language}])
        rows(tmp_path / "many" / language / "qrels.jsonl", [{"query-id": "q1", "corpus-id": "d1", "score": 1}])
    assert prepared(tmp_path / "many", cache, config="fr").queries == {"q1": QueryText("fr")}
    assert folder_splits(tmp_path / "many", "fr") == ["test"]


def test_a_corpus_of_many_batches_is_read_as_one(tmp_path, cache):
    ids = [f"{number:05d}" for number in range(40_000)]
    shuffled = random.Random(5).sample(ids, len(ids))
    rows(tmp_path / "big" / "corpus.jsonl", [{"_id": doc_id, "text": f"text of {doc_id}"} for doc_id in shuffled])
    rows(tmp_path / "big" / "queries.jsonl", QUERIES[:1])
    qrels(tmp_path / "big" / "qrels" / "test.tsv", [("q1", "00017", 1)])
    collection = prepared(tmp_path / "big", cache)
    assert collection.doc_ids().num_chunks > 1
    assert collection.doc_ids().to_pylist() == ids
    assert [text.text for text in collection.iterate_texts()] == [f"text of {doc_id}" for doc_id in ids]
    wanted = [39_999, 16_384, 16_383, 5]
    assert collection.doc_ids_at(wanted) == [ids[row] for row in wanted]
    assert collection.documents(ids[::977]) == {doc_id: DocumentText("", f"text of {doc_id}") for doc_id in ids[::977]}


# -- the fingerprint


def test_the_order_of_rows_in_the_files_does_not_count(folder, cache):
    first = prepared(folder, cache)
    rows(folder / "corpus.jsonl", CORPUS[::-1])
    rows(folder / "queries.jsonl", QUERIES[::-1])
    qrels(folder / "qrels" / "test.tsv", QRELS[::-1])
    second = prepared(folder, cache)
    assert second.folder != first.folder
    assert second.fingerprint == first.fingerprint
    assert second.doc_ids().to_pylist() == first.doc_ids().to_pylist()


def test_the_kind_of_file_does_not_count(folder, cache):
    first = prepared(folder, cache)
    (folder / "corpus.jsonl").unlink()
    rows(folder / "corpus.jsonl.gz", CORPUS)
    (folder / "qrels" / "test.tsv").unlink()
    (folder / "qrels" / "test.txt").write_text("".join(f"{query} 0 {doc} {grade}\n" for query, doc, grade in QRELS))
    assert prepared(folder, cache).fingerprint == first.fingerprint


def change_corpus(**change: str) -> Callable[[Path], None]:
    return lambda folder: rows(folder / "corpus.jsonl", [{**CORPUS[0], **change}, *CORPUS[1:]])


@pytest.mark.parametrize(
    "change",
    [
        change_corpus(text="other"),
        change_corpus(title="Twos", text="econd"),
        change_corpus(_id="d3"),
        lambda folder: rows(folder / "corpus.jsonl", [*CORPUS, {"_id": "d5", "text": ""}]),
        lambda folder: rows(folder / "queries.jsonl", [{**QUERIES[0], "text": "uno"}, *QUERIES[1:]]),
        lambda folder: rows(folder / "queries.jsonl", [{**QUERIES[0], "instruction": "so"}, *QUERIES[1:]]),
        lambda folder: qrels(folder / "qrels" / "test.tsv", [*QRELS[:2], ("q1", "d1", 1)]),
        lambda folder: qrels(folder / "qrels" / "test.tsv", QRELS[:2]),
        lambda folder: rows(folder / "top_ranked.jsonl", [{"query-id": "q1", "corpus-ids": ["d1"]}]),
        lambda folder: rows(folder / "excluded.jsonl", [{"query-id": "q1", "corpus-ids": ["d1"]}]),
    ],
)
def test_whatever_may_move_a_number_changes_the_fingerprint(folder, cache, change):
    first = prepared(folder, cache)
    change(folder)
    assert prepared(folder, cache).fingerprint != first.fingerprint


def test_what_is_not_of_the_split_does_not_change_the_fingerprint(folder, cache):
    first = prepared(folder, cache)
    rows(folder / "queries.jsonl", [*QUERIES[:2], {"_id": "unjudged", "text": "something else"}])
    qrels(folder / "qrels" / "dev.tsv", QRELS[:1])
    assert prepared(folder, cache).fingerprint == first.fingerprint
    assert folder_splits(folder) == ["dev", "test"]


# -- prepared once


def test_a_second_time_nothing_is_read_again(folder, cache):
    task, subset = task_of(folder, cache)
    first = prepare(task, subset, cache)
    for path in folder.rglob("*.*"):
        path.unlink()
    assert dataclasses.replace(prepare(task, subset, cache)) == first


def test_the_fingerprint_of_a_prepared_collection_is_known_without_heavy_imports(folder, cache):
    task, subset = task_of(folder, cache)
    assert prepared_fingerprint(task, subset, cache) is None
    collection = prepare(task, subset, cache)
    assert prepared_fingerprint(task, subset, cache) == collection.fingerprint
    assert prepared_fingerprint(task, dataclasses.replace(subset, documents=5), cache) is None
    assert prepared_fingerprint(task, dataclasses.replace(subset, split="dev"), cache) is None
    code = (
        "import sys; from pathlib import Path; from harness.types import *; from harness.data import collection\n"
        f"subset = Subset('default', 'test', ('eng-Latn',)); task = Task('Small', {task.path!r}, {task.revision!r}, (subset,), (), folder=True)\n"
        f"print(collection.prepared_fingerprint(task, subset, Path({str(cache)!r})))\n"
        "print([name for name in ('pyarrow', 'numpy', 'huggingface_hub', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [collection.fingerprint, "[]"]


@pytest.mark.parametrize("field", ["without_text", "unread", "fingerprint", "documents"])
def test_a_collection_that_an_older_version_prepared_is_passed_over_and_prepared_again(folder, cache, field):
    task, subset = task_of(folder, cache)
    fingerprint = prepare(task, subset, cache).fingerprint
    (path,) = (cache / "collections").rglob("manifest.json")
    manifest = json.loads(path.read_text())
    del manifest[field]
    path.write_text(json.dumps(manifest))
    assert find_prepared(fingerprint, cache) is None
    assert prepared_fingerprint(task, subset, cache) is None
    assert prepare(task, subset, cache).fingerprint == fingerprint
    assert find_prepared(fingerprint, cache).fingerprint == fingerprint


@pytest.mark.parametrize("name", ["manifest.json", "corpus.arrow", "judged.json"])
def test_a_half_prepared_collection_is_never_used(folder, cache, name):
    task, subset = task_of(folder, cache)
    whole = prepare(task, subset, cache)
    path = whole.folder / name
    path.write_bytes(path.read_bytes()[:-10])
    assert prepared_fingerprint(task, subset, cache) is None
    assert prepare(task, subset, cache) == whole
    path.unlink()
    assert prepare(task, subset, cache) == whole
    assert prepared_fingerprint(task, subset, cache) == whole.fingerprint


@pytest.mark.parametrize("name", ["corpus.arrow", "judged.json"])
def test_a_collection_that_is_damaged_at_equal_size_is_prepared_again(folder, cache, name):
    task, subset = task_of(folder, cache)
    whole = prepare(task, subset, cache)
    path = whole.folder / name
    sound = path.read_bytes()
    middle = len(sound) // 2
    path.write_bytes(sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :])
    assert prepared_fingerprint(task, subset, cache) is None
    assert find_prepared(whole.fingerprint, cache) is None
    assert prepare(task, subset, cache) == whole
    assert path.read_bytes() == sound


def test_a_collection_of_an_older_version_that_states_no_digests_is_used_by_its_sizes(folder, cache):
    task, subset = task_of(folder, cache)
    whole = prepare(task, subset, cache)
    path = whole.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["digests"]
    path.write_text(json.dumps(manifest))
    assert prepared_fingerprint(task, subset, cache) == whole.fingerprint


def test_nothing_but_the_collection_is_left_in_the_cache(folder, cache):
    collection = prepared(folder, cache)
    assert sorted(path.name for path in collection.folder.iterdir()) == ["corpus.arrow", "judged.json", "manifest.json"]
    assert list(collection.folder.parent.iterdir()) == [collection.folder]
    assert collection.folder.parent.name == "data"


def test_two_processes_at_once_are_harmless(folder, cache):
    task, subset = task_of(folder, cache)
    code = (
        "from pathlib import Path; from harness.types import *; from harness.data.collection import prepare\n"
        f"subset = Subset('default', 'test', ('eng-Latn',)); task = Task('Small', {task.path!r}, {task.revision!r}, (subset,), (), folder=True)\n"
        f"collection = prepare(task, subset, Path({str(cache)!r})); print(collection.fingerprint, collection.size, len(collection.documents(['d1'])))"
    )
    running = [processes.start(["-c", code]) for _ in range(4)]
    said = {process.communicate()[0].strip() for process in running}
    assert said == {f"{prepare(task, subset, cache).fingerprint} 4 1"}
    assert [path.name for path in (cache / "collections" / "data").iterdir() if path.name.startswith(".")] == []


def test_a_cache_that_cannot_be_written_is_one_line(folder, tmp_path):
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file, not a folder")
    with pytest.raises(HarnessError, match=r"cannot write in the cache folder .* RERANK_HARNESS_CACHE"):
        prepared(folder, in_the_way)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_cache_with_the_collection_in_it_serves(folder, cache):
    task, subset = task_of(folder, cache)
    first = prepare(task, subset, cache)
    for path in [cache, *cache.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert prepare(task, subset, cache) == first
    finally:
        for path in [cache, *cache.rglob("*")]:
            path.chmod(0o755)


# -- what is refused


def test_a_judged_query_without_text_is_refused(folder, cache):
    qrels(folder / "qrels" / "test.tsv", [*QRELS, ("q8", "d1", 1), ("q9", "d1", 1)])
    message = refusal(folder, cache)
    assert 'the qrels judge query "q8", "q9", which the queries do not have' in message
    assert "split test" in message


def test_a_judged_query_without_its_instruction_is_refused(folder, cache):
    rows(folder / "instruction.jsonl", [{"query-id": "q1", "instruction": "so"}])
    assert 'query "q2" has no instruction' in refusal(folder, cache)


def test_a_given_document_without_text_is_refused(folder, cache):
    rows(folder / "top_ranked.jsonl", [{"query-id": "q1", "corpus-ids": ["d1", "gone"]}])
    assert 'the list of query "q1" names document "gone", which the corpus does not have' in refusal(folder, cache)


def test_a_document_that_stands_twice_is_refused_with_both_places(folder, cache):
    rows(folder / "corpus.jsonl", [*CORPUS, {"_id": "d10", "text": "again"}])
    message = refusal(folder, cache)
    assert 'document "d10" stands twice' in message
    assert "corpus.jsonl, line 2" in message
    assert "corpus.jsonl, line 5" in message


def test_a_malformed_file_is_refused_by_its_line(folder, cache):
    with (folder / "corpus.jsonl").open("a") as stream:
        stream.write('{"_id": "d4"}\n')
    assert 'corpus.jsonl, line 5 has no "text"' in refusal(folder, cache)


def test_a_missing_split_is_refused_with_those_there_are(folder, cache):
    qrels(folder / "qrels" / "dev.tsv", QRELS)
    assert 'has no split "train"; it has dev, test' in refusal(folder, cache, split="train")


@pytest.mark.parametrize(
    ("counts", "part"), [({"documents": 5}, "has 4 documents"), ({"queries": 3}, "has 2 judged queries")]
)
def test_counts_that_differ_are_refused_with_both_figures(folder, cache, counts, part):
    task, subset = task_of(folder, cache, **counts)
    with pytest.raises(HarnessError) as caught:
        prepare(task, subset, cache)
    assert part in str(caught.value)
    assert f"says {next(iter(counts.values()))}" in str(caught.value)
    assert f"{folder} at {task.revision[:8]}" in str(caught.value)
    assert prepared(folder, cache, documents=4, queries=2).size == 4


def test_a_folder_that_changed_under_its_revision_is_refused(folder, cache):
    task, subset = task_of(folder, cache)
    rows(folder / "queries.jsonl", QUERIES[:2])
    with pytest.raises(HarnessError, match=f"have changed .*not {task.revision[:8]}"):
        prepare(task, subset, cache)


# -- a folder's revision


def test_a_folders_revision_is_that_of_its_data_files(folder, cache):
    first = folder_revision(folder, cache)
    assert len(first) == 40
    (folder / "notes.txt").write_text("no data")
    (folder / "runs").mkdir()
    (folder / "runs" / "bm25.trec").write_text("q Q0 d 1 1 t\n")
    assert folder_revision(folder, cache) == first
    qrels(folder / "qrels" / "dev.tsv", QRELS)
    assert folder_revision(folder, cache) != first


def test_a_folders_card_counts_by_its_configs_alone(folder, cache):
    def card(split: str, prose: str) -> None:
        configs = [
            {"config_name": "default", "data_files": [{"split": split, "path": "qrels/test.tsv"}]},
            {"config_name": "corpus", "data_files": "corpus.jsonl"},
            {"config_name": "queries", "data_files": "queries.jsonl"},
        ]
        (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n{prose}")

    card("validation", "one")
    first = folder_revision(folder, cache)
    assert folder_splits(folder) == ["validation"]
    assert len(prepared(folder, cache, split="validation").queries) == 2
    card("validation", "two")
    assert folder_revision(folder, cache) == first
    card("test", "two")
    assert folder_revision(folder, cache) != first


def test_a_folder_that_is_none_is_one_line(tmp_path, cache):
    with pytest.raises(HarnessError, match="there is no folder"):
        folder_revision(tmp_path / "none", cache)
    with pytest.raises(HarnessError, match="holds no data"):
        folder_revision(tmp_path, cache)


# -- real data


@pytest.mark.shared
def test_dl19_has_judged_passages_without_text(shared, cache):
    collection = prepared(shared / "data" / "trec-dl19", cache, queries=43)
    assert (collection.size, sum(map(len, collection.qrels.values()))) == (10_852, 9_260)
    assert collection.judged_without_text == 5_426


@pytest.mark.shared
def test_noveleval_is_complete(shared, cache):
    collection = prepared(shared / "data" / "noveleval", cache, queries=21, documents=420)
    assert collection.judged_without_text == 0
    assert collection.documents(["0-0"])["0-0"].text
