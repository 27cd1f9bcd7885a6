"""Data sets of ir_datasets by their ids: read as the files that they come to, downloaded only to be prepared."""

from __future__ import annotations

import pytest
from conftest import write_lines
from data_forms import CORPUS, QRELS, QUERIES, beir

from harness.data.collection import prepare
from harness.data.task import Cards
from harness.errors import HarnessError

ir_datasets = pytest.importorskip("ir_datasets")


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """A data set of two columns, as the package reads such, under the name harness-test/small/test."""
    write_lines(tmp_path / "docs.tsv", [f"{row['_id']}\t{row['text']}" for row in CORPUS])
    write_lines(tmp_path / "queries.tsv", [f"{row['_id']}\t{row['text']}" for row in QUERIES])
    write_lines(tmp_path / "qrels.txt", [f"{q}\t0\t{d}\t{grade}" for q, d, grade in QRELS if " " not in d])
    paths = {name: str(tmp_path / name) for name in ("docs.tsv", "queries.tsv", "qrels.txt")}
    dataset = ir_datasets.create_dataset(
        docs_tsv=paths["docs.tsv"], queries_tsv=paths["queries.tsv"], qrels_trec=paths["qrels.txt"]
    )
    alone = ir_datasets.create_dataset(docs_tsv=paths["docs.tsv"])
    known = {"harness-test/small/test": dataset, "harness-test/small": alone}
    monkeypatch.setattr(ir_datasets.registry, "_registered", {**ir_datasets.registry._registered, **known})
    return "irds:harness-test/small/test"


def test_a_data_set_of_ir_datasets_has_the_content_of_its_files(registered, tmp_path):
    cache = tmp_path / "cache"
    (task,) = Cards().resolve([registered], cache, language="eng")
    found = prepare(task, task.subsets[0], cache)
    folder = tmp_path / "plain"
    folder.mkdir()
    beir(folder, [{**row, "title": ""} for row in CORPUS])
    (plain,) = Cards().resolve([str(folder)], cache)
    assert found.fingerprint == prepare(plain, plain.subsets[0], cache).fingerprint
    assert task.name == "harness-test-small-test"
    assert list(cache.rglob(".irds*")) == []


def test_its_revision_is_the_packages_version_and_the_id(registered, tmp_path):
    first, again = (Cards().resolve([registered], tmp_path)[0] for _ in range(2))
    assert first == again
    assert len(first.revision) == 40


@pytest.mark.parametrize(
    ("word", "more", "said"),
    [
        ("irds:harness-test/small", {}, "irds:harness-test/small has no queries and no qrels; of its parts harness-test/small/test may"),
        ("irds:harness-test/smal/test", {}, 'ir_datasets has no "harness-test/smal/test". Did you mean "harness-test/small/test" or'),
        ("irds:harness-test/small/test", {"split": "dev"}, "names its split itself: leave --split dev out"),
    ],
)  # fmt: skip
def test_what_is_no_data_set_with_judgements_is_one_line(registered, tmp_path, word, more, said):
    with pytest.raises(HarnessError) as caught:
        Cards().resolve([word], tmp_path, **more)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_public_data_set_is_known_without_a_download(tmp_path):
    (task,) = Cards().resolve(["irds:beir/scifact/test"], tmp_path)
    assert (task.path, task.subsets[0].split, task.subsets[0].languages) == ("irds:beir/scifact/test", "test", ("en",))
