"""Every JSON that the harness writes fits the schema that it prints, and has no field that the schema does not tell."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import ROOT, Cli, Counter
from made_results import made, saved

from harness.commands.fetch import Wanted
from harness.commands.reproduce import Check, _entry, _place
from harness.commands.shared import json_document
from harness.data.task import Cards
from harness.interchange.as_json import KINDS, schema_of
from harness.interchange.mteb_in import Report
from harness.judging.agreement import Agreement
from harness.judging.pool import Pooled
from harness.results.published import Compared, Figure
from harness.types import DocumentText, QueryText

COMMITTED = sorted(path for path in (ROOT / "results").rglob("*@*.json"))
OPEN = ("diagnostics", "environment", "published")
"""What may hold more than the schema names."""


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every object closed that names its fields, so that an unnamed field is found."""
    found = json.loads(json.dumps(schema))

    def close(part: Any) -> None:
        if isinstance(part, dict):
            if "properties" in part and "additionalProperties" not in part:
                part["additionalProperties"] = False
            for each in part.values():
                close(each)
        elif isinstance(part, list):
            for each in part:
                close(each)

    close(found)
    for name in OPEN:
        found["$defs"].get(name, {}).pop("additionalProperties", None)
    return found


VALIDATORS = {kind: jsonschema.Draft202012Validator(closed(schema_of(kind))) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_printed_is_a_json_schema_with_its_number(cli: Cli, kind):
    answer = cli("schema", kind)
    schema = json.loads(answer.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:rerank-harness:{kind}:{2 if kind == 'baseline' else 1}"
    assert schema == schema_of(kind)


def test_an_unknown_kind_is_one_line(cli: Cli):
    answer = cli("schema", "reslut")
    assert answer.code == 2
    assert f'there is no schema of "reslut"; there are {", ".join(KINDS)}. Did you mean "result"' in answer.err


def test_every_committed_result_fits():
    assert COMMITTED
    for path in COMMITTED:
        VALIDATORS["result"].validate(json.loads(path.read_bytes()))
    beside = sorted((ROOT / "results").rglob("*.values.json.gz"), key=lambda path: path.stat().st_size)
    for path in beside[:3]:
        VALIDATORS["values"].validate(json.loads(gzip.decompress(path.read_bytes())))


def test_what_export_and_run_write_fits(cli: Cli, counter: Counter, collection_folder: Path, tmp_path: Path):
    run = cli("run", collection_folder, "--reranker", counter.name, "--format", "json")
    VALIDATORS["run"].validate(json.loads(run.out))
    answer = cli("export", "results", "--to", "json", "--output", "all.json")
    assert answer.code == 0, answer.err
    document = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    VALIDATORS["results"].validate(document)
    (result,) = document["results"]
    assert len(result["queries_values"]["query_ids"]) == result["queries"]
    for path in (tmp_path / "results").rglob("*@*.json"):
        VALIDATORS["result"].validate(json.loads(path.read_bytes()))


def test_the_means_of_a_run_over_parts_fit(cli: Cli, tmp_path: Path):
    from conftest import write_collection

    for language in ("de", "sw"):
        write_collection(tmp_path / "many" / language)
    done = cli("run", tmp_path / "many", "--format", "json")
    document = json.loads(done.out)
    assert document["means"]
    VALIDATORS["run"].validate(document)


def test_what_list_and_a_plan_say_fits(cli: Cli, counter: Counter, collection_folder: Path):
    listed = json.loads(cli("list", "DemoEnglish", "--format", "json").out)
    assert listed["tasks"]
    VALIDATORS["list"].validate(listed)
    planned = cli("run", collection_folder, "--reranker", counter.name, "--dry-run", "--format", "json")
    assert planned.code == 0, planned.err
    VALIDATORS["plan"].validate(json.loads(planned.out))


def test_what_judge_says_fits(cli: Cli, tmp_path: Path):
    pair = Pooled("Birds", "default", "e" * 32, "q1", "d1", QueryText("a"), DocumentText("", "b"), 1)
    (tmp_path / "pool.jsonl").write_text(json.dumps(pair.row()) + "\n")
    answer = cli("judge", "pool.jsonl", "--name", "mine", "--format", "json")
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    VALIDATORS["judge"].validate(document)
    one = Agreement("Birds", "default", 1, None, 0.5, 1, 1, "nDCG@10", {"bm25": (0.5, 0.25)}, None)
    VALIDATORS["judge"].validate(json.loads(json_document({**document, "agreement": [one.record()]})) | {"schema": 1})


def test_what_fetch_import_and_reproduce_say_fits():
    VALIDATORS["fetch"].validate(json.loads(json_document({"wanted": [asdict(Wanted("model", "a/b", "c", "d", ("e",), 1, (), 0))]})))  # fmt: skip
    report = Report()
    report.examples["why"] = "where"
    VALIDATORS["import"].validate(json.loads(json_document({"table": "t.csv", **report.record()})))
    figure = Figure("SciFact", "", "test", "nDCG@10", 0.7, "a/b", "bm25", 100, "B", "paper", "", "")
    check = Check(figure, Cards().resolve(["SciFact"], Path())[0], "a/b", "bm25")
    listed = json_document({"checkable": [_entry(check)]})
    checked = json_document({"figures": [Compared(figure, 0.7, "nDCG@10", "reranked").entry() | _place(figure)]})
    for text in (listed, checked):
        VALIDATORS["reproduce"].validate(json.loads(text))


def test_what_compare_gate_and_a_baseline_say_fits(cli: Cli, collection_folder: Path, tmp_path: Path):
    Path("mine.py").write_text(
        "def one(query, documents):\n    return [len(text) for text in documents]\none.context = 'pair'\n"
        "def two(query, documents):\n    return [-len(text) for text in documents]\n"
    )
    assert cli("run", collection_folder, "--reranker", "mine.py:one", "--reranker", "mine.py:two").code == 0
    compared = json.loads(cli("compare", "mine.py:one", "mine.py:two", "--format", "json").out)
    assert compared["comparisons"][0]["moved"][0]["queries"][0]["documents"]
    VALIDATORS["compare"].validate(compared)
    VALIDATORS["depths"].validate(json.loads(cli("compare", "bm25", "mine.py:one", "--depth", "--format", "json").out))
    assert cli("gate", "--baseline", "baseline", "--current", "results", "--update").code == 0
    gate = json.loads(cli("gate", "--baseline", "baseline", "--current", "results", "--format", "json").out)
    assert gate["rows"][0]["answer"]
    VALIDATORS["gate"].validate(gate)
    faces = list((tmp_path / "baseline").rglob("*@*.json"))
    assert len(faces) == 2
    for path in faces:
        VALIDATORS["baseline"].validate(json.loads(path.read_bytes()))
        beside = path.with_name(path.name.replace(".json", ".values.json.gz"))
        VALIDATORS["values"].validate(json.loads(gzip.decompress(beside.read_bytes())))


def examples() -> list[tuple[str, str]]:
    """(page, JSON) of every block of JSON on the pages."""
    pages = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = [
        (page.name, block)
        for page in pages
        for block in re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    ]
    return [(name, block) for name, block in found if '"schema"' in block]


def test_there_is_an_example_on_the_pages():
    assert examples()


@pytest.mark.parametrize(("page", "text"), examples())
def test_every_example_on_the_pages_fits(page, text):
    document = json.loads(text)
    kind = "result" if "identity" in document else "run" if "means" in document else "results"
    VALIDATORS[kind].validate(document)


@pytest.mark.parametrize(
    ("where", "wrong"),
    [
        (("schema",), 2),
        (("queries",), "55"),
        (("identity", "dataset_revision"), "main"),
        (("measures", "nDCG@10", "difference"), "0.1"),
        (("new",), 1),
    ],
)
def test_what_does_not_fit_is_found(tmp_path: Path, where, wrong):
    saved(tmp_path, made([0.5, 1.0], [0.25, 0.5]))
    (path,) = tmp_path.rglob("*@*.json")
    record = json.loads(path.read_bytes())
    record["measures"]["nDCG@10"] |= dict.fromkeys(("oracle", "difference", "low", "high", "p"))
    VALIDATORS["result"].validate(record)
    inner = record
    for name in where[:-1]:
        inner = inner[name]
    inner[where[-1]] = wrong
    with pytest.raises(jsonschema.ValidationError):
        VALIDATORS["result"].validate(record)
