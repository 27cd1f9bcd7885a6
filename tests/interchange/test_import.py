"""mteb's result files of every version → a table: strictly, as mteb's own classes read them, and fast enough."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from conftest import Cli

from harness.errors import HarnessError
from harness.interchange.mteb_files import MAIN, Unreadable, Wanted, named_values, parse
from harness.interchange.mteb_in import import_results
from harness.results.imported import COLUMNS, read, version_key

MAIN_SCORES = {
    "scifact": ("SciFact", "ndcg_at_10"),
    "opusparcuspc": ("OpusparcusPC", "max_ap"),
    "cmedqav2-reranking": ("CMedQAv2-reranking", "map_at_1000"),
    "mlsumclusteringp2p": ("MLSUMClusteringP2P", "v_measure"),
    "xpqaretrieval": ("XPQARetrieval", "ndcg_at_10"),
    "amazoncounterfactualclassification": ("AmazonCounterfactualClassification", "accuracy"),
}
NDCG = {"ndcg_at_10": 0.5, "map_at_10": 0.25, "nauc_ndcg_at_10_max": math.nan}

OLD = {
    "one language": {"mteb_dataset_name": "SciFact", "mteb_version": "1.0.2", "dataset_revision": "abc",
                     "test": {"evaluation_time": 3.5, **NDCG}},
    "languages": {"mteb_dataset_name": "AmazonCounterfactualClassification", "mteb_version": "1.1.0",
                  "dataset_revision": None,
                  "test": {"de": {"accuracy": 0.7, "f1": 0.6}, "en": {"accuracy": 0.8, "f1": 0.7}, "evaluation_time": 1},
                  "validation": {"de": {"accuracy": 0.6}, "en": {"accuracy": 0.5}, "evaluation_time": 1}},
    "nested scores": {"mteb_dataset_name": "OpusparcusPC", "dataset_revision": "abc",
                      "test.full": {"fr": {"cos_sim": {"ap": 0.9}, "max": {"ap": 0.93, "f1": 0.8}}, "evaluation_time": 2}},
    "small letters": {"mteb_dataset_name": "scifact", "mteb_version": "0.0.2", "test": dict(NDCG)},
    "renamed task": {"mteb_dataset_name": "CMedQAv2", "mteb_version": "1.2.0", "test": {"map": 0.9, "mrr": 0.92}},
    "renamed subset": {"mteb_dataset_name": "XPQARetrieval", "mteb_version": "1.0.2", "test": {"fr": dict(NDCG)}},
    "French alone": {"mteb_dataset_name": "MLSUMClusteringP2P", "mteb_version": "1.1.2.dev0",
                     "test": {"v_measure": 0.4, "v_measures": {"a": [0.4]}}},
}  # fmt: skip


def new(scores: list[dict], **more: object) -> dict:
    """A file of mteb from 1.11 on."""
    record = {"dataset_revision": "abc", "task_name": "SciFact", "mteb_version": "1.18.0", "evaluation_time": 9.5}
    return {**record, "scores": {"test": scores}, **more}


def entry(**scores: object) -> dict:
    return {"hf_subset": "default", "languages": ["eng-Latn"], **scores}


def write(path: Path, record: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record if isinstance(record, str) else json.dumps(record), encoding="utf-8")
    return path


MAIN_ALONE = Wanted(main=True, measures={})


def mains(record: object) -> dict[tuple[str, str, str], float | str]:
    found = parse(json.dumps(record).encode(), MAIN_SCORES)
    return {
        (found.task, e.split, e.subset): dict(named_values(e.scores, MAIN_ALONE))[MAIN] for e in found.entries
    }  # fmt: skip


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """The main score of every task of the mteb that is installed."""
    from harness.interchange.mteb_meta import main_scores

    return main_scores(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", OLD)
def test_files_from_before_1_11_are_read_as_mteb_converts_them(
    name: str, tmp_path: Path, real: dict[str, tuple[str, str]]
):
    from mteb.results import TaskResult

    path = write(tmp_path / "file.json", OLD[name])
    theirs = TaskResult.from_disk(path)
    expected = {
        (theirs.task_name, split, e["hf_subset"]): "absent" if e["main_score"] is None else e["main_score"]
        for split, entries in theirs.scores.items() for e in entries
    }  # fmt: skip
    found = parse(path.read_bytes(), real)
    assert mains(OLD[name]) == expected
    assert {(found.task, e.split, e.subset) for e in found.entries} == set(expected)
    assert {name: real[name] for name in MAIN_SCORES} == MAIN_SCORES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one language", {("SciFact", "test", "default"): 0.5}),
        ("nested scores", {("OpusparcusPC", "test.full", "fr"): 0.93}),
        ("small letters", {("SciFact", "test", "default"): 0.5}),
        ("renamed task", {("CMedQAv2-reranking", "test", "default"): "absent"}),
        ("renamed subset", {("XPQARetrieval", "test", "fra-fra"): 0.5}),
        ("French alone", {("MLSUMClusteringP2P", "test", "fr"): 0.4}),
    ],
)
def test_old_shapes(name: str, expected: dict):
    assert mains(OLD[name]) == expected


def test_a_measure_has_the_name_that_results_have_and_the_value_of_the_file(tmp_path: Path):
    scores = entry(main_score=0.5, ndcg_at_10=0.5, mrr_at_10=0.625, recall_at_100=0.75, map_at_1000=1, f1=0.1)
    write(tmp_path / "org__m" / "r1" / "SciFact.json", new([scores]))
    import_results(tmp_path, tmp_path / "t.parquet", dict)
    found = {row.measure: row.value for row in read(tmp_path / "t.parquet")}
    assert found == {"main_score": 0.5, "nDCG@10": 0.5, "RR@10": 0.625, "R@100": 0.75, "MAP@1000": 1.0}


@pytest.mark.parametrize(
    "sides",
    [
        {"og": {"ndcg_at_5": 0.2}, "changed": {"ndcg_at_5": 0.3}},
        {"individual": {"original": {"ndcg_at_5": 0.2}, "changed": {"ndcg_at_5": 0.3}}},
    ],
    ids=["2.x", "1.x"],
)
def test_the_two_instructions_of_followir_are_kept_apart_and_what_mteb_pools_is_called_pooled(tmp_path: Path, sides):
    scores = entry(main_score=-0.02, ndcg_at_5=0.25, **{"p-MRR": -0.02}, **sides)
    write(
        tmp_path / "m" / "r" / "News21InstructionRetrieval.json", new([scores], task_name="News21InstructionRetrieval")
    )
    import_results(tmp_path, tmp_path / "t.parquet", dict)
    assert {row.measure: row.value for row in read(tmp_path / "t.parquet")} == {
        "main_score": -0.02, "p-MRR": -0.02, "nDCG@5 og": 0.2, "nDCG@5 changed": 0.3, "nDCG@5 pooled": 0.25,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "NaN"), ("-Infinity", "infinite"), ("null", "null"), ('"0.5"', "str, no number"), ("true", "bool, no number"),
        ("[0.5]", "list, no number"), ("1" + "0" * 400, "too large"), ("1e999", "infinite"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_missing_and_reported(tmp_path: Path, text: str, reason: str):
    record = json.dumps(new([entry(main_score="HERE", map_at_100=0.5)])).replace('"HERE"', text)
    write(tmp_path / "m" / "r" / "SciFact.json", record)
    report = import_results(tmp_path, tmp_path / "t.csv", dict)
    assert report.missing == {f"main_score: {reason}": 1}
    assert [(row.measure, row.value) for row in read(tmp_path / "t.csv")] == [("MAP@100", 0.5)]
    assert report.record()["missing"][0]["example"] == "m/r/SciFact.json"


def test_a_percentage_is_not_taken_for_a_fraction(tmp_path: Path):
    write(tmp_path / "m" / "r" / "SciFact.json", new([entry(main_score=50.0, ndcg_at_10=50.0)]))
    report = import_results(tmp_path, tmp_path / "t.csv", dict)
    assert report.missing == {"nDCG@10: outside the measure's range": 1}
    assert [row.measure for row in read(tmp_path / "t.csv")] == ["main_score"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty file"), ("{", "not JSON"), ("[1]", "no object"), ("{}", "neither scores"), ("[" * 100_000, "not JSON"),
        ('{"scores": [], "task_name": "a"}', "scores are not"), ('{"scores": {}, "task_name": "a"}', "holds no scores"),
        ('{"scores": {"test": [{}]}, "task_name": "a"}', "no hf_subset"), ('{"scores": {"test": []}}', "names no task"),
        ('{"scores": {"test": []}, "task_name": 3}', "a name is int"),
        ('{"scores": {"test": []}, "task_name": "\\ud800"}', "not Unicode"),
        ('{"mteb_dataset_name": "a", "test": 3}', "scores are not"), ('{"mteb_dataset_name": "a"}', "scores are not"),
        ('{"mteb_dataset_name": "a", "test": {"de": {"x": 1}, "en": 2}}', "scores are not"),
    ],
)  # fmt: skip
def test_what_is_no_result_says_why(text: str, reason: str):
    with pytest.raises(Unreadable, match=reason):
        parse(text.encode(), MAIN_SCORES)


def test_models_are_named_as_mteb_names_them(tmp_path: Path):
    scores = [entry(main_score=0.5)]
    write(tmp_path / "results" / "org__a" / "r1" / "SciFact.json", new(scores))
    meta = {"name": "org/b", "revision": "r2", "license": "mit", "n_parameters": 7, "training_datasets": ["SciFact"]}
    place = tmp_path / "results" / "whatever" / "r2"
    write(place / "SciFact.json", new(scores, mteb_version=None, dataset_revision="None"))
    write(place / "NFCorpus.json", new(scores, task_name="NFCorpus"))
    write(place / "model_meta.json", meta)
    write(place / "experiments" / "k_1" / "SciFact.json", new([entry(main_score=0.4, mteb_version="2.1.0")]))
    write(place / "experiments" / "k_1" / "model_meta.json", {**meta, "training_datasets": None, "name": "org/b"})
    report = import_results(tmp_path, tmp_path / "t.csv", dict)
    rows = [(r.model, r.revision, r.experiment, r.task, r.task_revision, r.mteb_version, r.licence, r.parameters, r.trained)
            for r in read(tmp_path / "t.csv")]  # fmt: skip
    assert rows == [
        ("org/a", "r1", "", "SciFact", "abc", "1.18.0", "", None, "unknown"),
        ("org/b", "r2", "", "NFCorpus", "abc", "1.18.0", "mit", 7, "no"),
        ("org/b", "r2", "", "SciFact", "", "", "mit", 7, "yes"),
        ("org/b", "r2", "k_1", "SciFact", "abc", "2.1.0", "mit", 7, "unknown"),
    ]
    assert (report.files, report.rows, len(report.models), len(report.tasks)) == (4, 4, 2, 2)
    assert report.notes == {
        "no model_meta.json: model and revision are the folders' names": 1, "says no dataset revision": 1,
    }  # fmt: skip


@pytest.mark.parametrize("meta", ["{", "[]", '{"name": 3}', '{"name": "\\ud800"}', '{"n_parameters": Infinity}'])
def test_a_broken_meta_costs_no_result(tmp_path: Path, meta: str):
    write(tmp_path / "org__a" / "r1" / "SciFact.json", new([entry(main_score=0.5)]))
    write(tmp_path / "org__a" / "r1" / "model_meta.json", meta)
    import_results(tmp_path, tmp_path / "t.parquet", dict)
    (row,) = read(tmp_path / "t.parquet")
    assert (row.model, row.revision, row.parameters) == ("org/a", "r1", None)


def test_two_files_of_one_figure_give_one_and_say_so(tmp_path: Path):
    write(
        tmp_path / "m" / "r" / "CMedQAv2-reranking.json", new([entry(main_score=0.5)], task_name="CMedQAv2-reranking")
    )
    write(tmp_path / "m" / "r" / "CMedQAv2.json", {**OLD["renamed task"], "test": {"map_at_1000": 0.6}})
    write(tmp_path / "m" / "r" / "SciFact.json", new([entry(main_score=0.5), entry(main_score=0.6)]))
    report = import_results(tmp_path, tmp_path / "t.csv", lambda: MAIN_SCORES)
    assert [(row.task, row.value) for row in read(tmp_path / "t.csv")] == [
        ("CMedQAv2-reranking", 0.5),
        ("SciFact", 0.5),
    ]
    assert report.skipped == {"its figures stand in another file of the folder already": 1}
    assert report.notes["a subset stands twice in one folder: the first one is taken"] == 2


def test_only_the_tasks_asked_for_are_read_by_their_former_names_too(tmp_path: Path):
    write(tmp_path / "m" / "r" / "CMedQAv2.json", {**OLD["renamed task"], "test": {"map_at_1000": 0.6}})
    write(tmp_path / "m" / "r" / "SciFact.json", "not looked at")
    report = import_results(tmp_path, tmp_path / "t.csv", lambda: MAIN_SCORES, tasks=["CMedQAv2-reranking"])
    assert (report.files, report.rows, report.skipped) == (1, 2, {})


def test_processes_give_the_same_table(tmp_path: Path):
    for number in range(12):
        scores = [entry(main_score=number / 100, ndcg_at_10=number / 100)]
        write(tmp_path / "in" / f"org__m{number}" / "r" / "SciFact.json", new(scores))
    write(tmp_path / "in" / "org__m3" / "r" / "NFCorpus.json", "{")
    one = import_results(tmp_path / "in", tmp_path / "one.csv.gz", dict)
    two = import_results(tmp_path / "in", tmp_path / "two.csv.gz", dict, workers=2)
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()
    assert one.record() == two.record()


def test_csv_and_parquet_say_the_same_and_pandas_reads_both(tmp_path: Path):
    import pandas as pd

    odd = 'a,"b"\n<script>alert(1)</script>'
    write(tmp_path / "in" / "m" / "r" / "SciFact.json", new([entry(main_score=0.1 + 0.2, ndcg_at_10=1 / 3)]))
    write(tmp_path / "in" / "m" / "r" / "model_meta.json", {"name": odd, "revision": "=1+1", "n_parameters": 2**40})
    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        import_results(tmp_path / "in", tmp_path / name, dict)
    rows = list(read(tmp_path / "t.parquet"))
    assert rows == list(read(tmp_path / "t.csv")) == list(read(tmp_path / "t.csv.gz"))
    assert (rows[0].model, rows[0].revision, rows[0].parameters) == (odd, "=1+1", 2**40)
    assert [row.value for row in rows] == [0.1 + 0.2, 1 / 3]
    frames = pd.read_csv(tmp_path / "t.csv"), pd.read_parquet(tmp_path / "t.parquet")
    assert [list(frame.columns) for frame in frames] == [list(COLUMNS)] * 2
    assert [list(frame.value) for frame in frames] == [[0.1 + 0.2, 1 / 3]] * 2


def test_a_table_is_read_for_some_tasks_and_measures_alone(tmp_path: Path):
    scores = [entry(main_score=0.5, ndcg_at_10=0.5)]
    for task in ("SciFact", "NFCorpus"):
        write(tmp_path / "in" / "m" / "r" / f"{task}.json", new(scores, task_name=task))
    for name in ("t.parquet", "t.csv"):
        import_results(tmp_path / "in", tmp_path / name, dict)
        found = read(tmp_path / name, {"SciFact"}, {"nDCG@10"})
        assert [(row.task, row.measure) for row in found] == [("SciFact", "nDCG@10")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", "model,value\n"), ("t.csv", ",".join(COLUMNS) + "\na,b\n"), ("t.csv.gz", "no gzip"), ("t.parquet", "no"),
        ("t.csv", ",".join(COLUMNS) + "\n" + ",".join(["nan" if c == "value" else "1" for c in COLUMNS]) + "\n"),
        ("t.csv", ",".join(COLUMNS) + "\n" + ",".join(["x" if c == "value" else "1" for c in COLUMNS]) + "\n"),
        ("t.txt", ""), ("absent.csv", None), ("absent.parquet", None),
    ],
)  # fmt: skip
def test_what_is_no_table_is_an_error_of_one_line(tmp_path: Path, name: str, content: str | None):
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(HarnessError, match=name):
        list(read(tmp_path / name))


def test_versions_sort_as_versions():
    assert sorted(["1.12.0", "1.9.0", "1.1.1.dev0", "2.0.0"], key=version_key) == [
        "1.1.1.dev0",
        "1.9.0",
        "1.12.0",
        "2.0.0",
    ]


# -- the verb


def test_the_verb_says_what_it_took_and_what_not(cli: Cli, tmp_path: Path):
    write(tmp_path / "in" / "org__m" / "r" / "SciFact.json", new([entry(main_score=0.5)]))
    write(tmp_path / "in" / "org__m" / "r" / "NFCorpus.json", "{")
    write(tmp_path / "cache" / "mteb" / version_of_mteb() / "main-scores.json", MAIN_SCORES)
    text = cli("import", "in", "--output", "t.csv", "--workers", "1")
    assert text.code == 0
    assert "2 result files → 1 values of 1 models on 1 tasks: t.csv" in text.out
    assert "1  not JSON (JSONDecodeError) (such as org__m/r/NFCorpus.json)" in text.out
    record = json.loads(cli("import", "in", "--output", "t.csv", "--workers", "1", "--format", "json").out)
    assert record["skipped"] == [
        {"reason": "not JSON (JSONDecodeError)", "count": 1, "example": "org__m/r/NFCorpus.json"}
    ]
    assert (record["files"], record["rows"], record["table"]) == (2, 1, "t.csv")
    with (tmp_path / "t.csv").open(newline="") as stream:
        assert len(list(csv.reader(stream))) == 2


def version_of_mteb() -> str:
    from importlib.metadata import version

    return version("mteb")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["absent", "--output", "t.csv"], "absent is not a folder"),
        (["empty", "--output", "t.csv"], "holds no result file"),
        (["in", "--output", "t.txt"], "ends in .parquet"),
        (["in", "--output", "t.csv", "--measures", "Judged@10"], "mteb has no figure that means Judged@10"),
        (["in", "--output", "t.csv", "--measures", "nDGC@10"], "nDGC"),
        (["in", "--output", "t.csv", "--measures", ","], "--measures names no measure"),
        (["in", "--output", "t.csv", "--tasks", "Nowhere"], "of Nowhere"),
        (["in", "--output", "t.csv", "--workers", "0"], "whole number"),
        (["in", "--output", "in/m/t.csv/x.csv"], "cannot write"),
        (["broken", "--output", "t.csv"], "nothing of broken could be imported: not JSON"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_table(cli: Cli, tmp_path: Path, words: list[str], told: str):
    write(tmp_path / "in" / "m" / "r" / "SciFact.json", new([entry(main_score=0.5)]))
    write(tmp_path / "in" / "m" / "t.csv", "a file where a folder is needed")
    write(tmp_path / "broken" / "m" / "r" / "SciFact.json", "{")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "cache" / "mteb" / version_of_mteb() / "main-scores.json", MAIN_SCORES)
    answer = cli("import", *words)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "t.csv").exists()
    assert not list(tmp_path.glob(".*t.csv"))
