"""Whatever form a collection is in, its content is the same; what is refused is told in one line."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from data_forms import CORPUS, QRELS, QUERIES, READ, REFUSED, UNTITLED, Form, beir, judged, shown

from harness.data.collection import Collection, prepare
from harness.data.task import Cards
from harness.engine.options import Options
from harness.engine.store import ScoreStore
from harness.errors import HarnessError
from harness.rerankers.plugin import wrap
from harness.rerankers.rerank import rerank
from harness.results.data_cautions import repeated
from harness.retrievers.retrieve import candidates_of, digest_of_run, open_first_stage
from harness.types import DocumentText, Task

PAGE = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")


def task_of(form: Form, folder: Path) -> Task:
    folder.mkdir()
    word = form.write(folder)
    (task,) = Cards().resolve([str(word) if isinstance(word, Path) else str(folder)], folder.parent / "cache")
    return task


def opened(form: Form, folder: Path) -> tuple[Task, Collection]:
    task = task_of(form, folder)
    return task, prepare(task, task.subsets[0], folder.parent / "cache")


def ranked_by_both_stages(task: Task, collection: Collection, cache: Path) -> tuple[str, str]:
    """The digests of BM25's candidates and of their scores by a function of the texts."""
    found = candidates_of(open_first_stage("bm25", Options(), cache), collection, task, task.subsets[0], 10, cache)
    reranker = wrap(lambda query, documents: [len(query) / (1 + len(document)) for document in documents], "lengths")
    with contextlib.closing(ScoreStore(cache / "scores.sqlite")) as store:
        scored = rerank(reranker, found, collection, store, Options())
    return found.digest, digest_of_run(scored.run)


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[bool, tuple[str, ...]]:
    """titles → the fingerprint of the collection as JSON lines, with titles or without, of its candidates and scores."""
    folder = tmp_path_factory.mktemp("same")
    forms = {
        titles: Form("", lambda at, rows=rows: beir(at, rows)) for titles, rows in ((True, CORPUS), (False, UNTITLED))
    }
    found = {}
    for titles, form in forms.items():
        task, collection = opened(form, folder / f"titles-{titles}")
        found[titles] = (collection.fingerprint, *ranked_by_both_stages(task, collection, folder / "cache"))
    return found


@pytest.mark.parametrize("form", READ, ids=lambda form: form.name)
def test_every_form_has_the_same_content_candidates_and_scores(tmp_path, form, expected):
    task, collection = opened(form, tmp_path / "small")
    both = ranked_by_both_stages(task, collection, tmp_path / "cache")
    assert (collection.fingerprint, *both) == expected[form.titles]
    assert (collection.size, len(collection.queries)) == (len(CORPUS), len(QUERIES))
    assert sum(map(len, collection.qrels.values())) == len(QRELS)
    row = CORPUS[0]
    told = f"{task.note}; RH034: {repeated(SimpleNamespace(diagnostics=vars(collection)))}"
    assert form.said in told
    text = DocumentText(row["title"] if form.titles else "", row["text"])
    assert collection.documents([row["_id"]]) == {row["_id"]: text}


def one_by_one(folder: Path) -> None:
    from datasets import Dataset, DatasetDict

    Dataset.from_list(CORPUS).save_to_disk(folder / "corpus", num_shards=2)
    Dataset.from_list(QUERIES).save_to_disk(folder / "queries")
    both = {"test": Dataset.from_list(judged()), "dev": Dataset.from_list(judged()[:1])}
    DatasetDict(both).save_to_disk(folder / "qrels")


def as_one(folder: Path) -> None:
    from datasets import Dataset, DatasetDict

    parts = {"corpus": CORPUS, "queries": QUERIES, "qrels": judged()}
    DatasetDict({name: Dataset.from_list(rows) for name, rows in parts.items()}).save_to_disk(folder)


def with_a_split_each(folder: Path) -> None:
    from datasets import Dataset, DatasetDict

    for part, split, rows in (
        ("corpus", "corpus", CORPUS),
        ("queries", "queries", QUERIES),
        ("qrels", "test", judged()),
    ):
        DatasetDict({split: Dataset.from_list(rows)}).save_to_disk(folder / part)


@pytest.mark.parametrize("write", [one_by_one, as_one, with_a_split_each])
def test_what_datasets_itself_saved_is_read(tmp_path, write, expected):
    from datasets import disable_progress_bars

    disable_progress_bars()
    _, collection = opened(Form("", write), tmp_path / "small")
    assert collection.fingerprint == expected[True][0]


@pytest.mark.parametrize("form", REFUSED, ids=lambda form: form.name)
def test_what_is_refused_is_one_line_with_the_way_out(tmp_path, form):
    folder = tmp_path / "small"
    with pytest.raises(HarnessError) as caught:
        opened(form, folder)
    assert shown(str(caught.value), folder) == form.said


@pytest.mark.parametrize("form", [*READ, *REFUSED], ids=lambda form: form.name)
def test_the_page_shows_what_is_read_and_what_is_printed(form):
    printed = form.said if form in REFUSED else f"read; {form.said}" if form.said else "read"
    said = "refused: " + printed if form in REFUSED else printed
    row = f"| {form.name} | {said} |"
    assert re.sub(r"([<>])", r"\\\1", row) in PAGE
