"""Pools, judges and layers, end to end: what nobody judged is written, graded, kept apart, and added where asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, make_counter, write_collection, write_lines
from rerank_server import Call, Server, serving

from harness.data.layers import read_layer

Start = Callable[[Callable[[Call], None]], Server]


@pytest.fixture
def start() -> Iterator[Start]:
    yield from serving()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the cache, the results and the pool, at depth 5, of one reranked result."""
    from harness.commands.cli import main

    folder = tmp_path_factory.mktemp("judging")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("RERANK_HARNESS_CACHE", str(folder / "cache"))
        counter = make_counter(folder, patch, 'fingerprint = "words 1"')
        assert main(["run", str(write_collection(folder / "birds")), "--reranker", counter.name]) == 0
        assert main(["pool", "results", "--depth", "5"]) == 0
    return folder


@pytest.fixture
def pool(cli: Cli, made: Path, tmp_path: Path) -> list[dict[str, Any]]:
    """The pool as pool wrote it, with what it was made of, in the folder of the test."""
    for name in ("cache", "results"):
        shutil.copytree(made / name, tmp_path / name)
    shutil.copy(made / "pool.jsonl", tmp_path)
    return rows_of("pool.jsonl")


def rows_of(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def said(call: Call, text: str, reason: str = "stop") -> None:
    call.reply(200, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]})


def grading(call: Call) -> None:
    """Grade 2 for a passage that begins with `On`, 1 for one with an even note, else 0."""
    passage = call.body["messages"][0]["content"].partition("Passage: ")[2]
    grade = 2 if passage.startswith("On ") else 1 if int(passage.split("note ")[1].split()[0]) % 2 == 0 else 0
    said(call, f"##final score: {grade}")


def asking(server: Server, *more: object) -> list[object]:
    return ["judge", "pool.jsonl", "--name", "model", "--model", "m1", "--url", f"{server.url}/v1", *more]


# -- the pool


def test_a_pool_holds_the_unjudged_pairs_of_the_top_with_their_texts(cli: Cli, pool, collection_folder: Path, counter):
    judged = {
        tuple(line.split("\t")[:2]) for line in (collection_folder / "qrels" / "test.tsv").read_text().splitlines()[1:]
    }
    texts = {row["_id"]: row for row in rows_of(collection_folder / "corpus.jsonl")}
    found = {(row["query-id"], row["corpus-id"]) for row in pool}
    assert (
        cli(
            "run",
            collection_folder,
            "--save-runs",
            "runs",
            "--reranker",
            counter.name,
        ).code
        == 0
    )
    (run,) = (path for path in Path("runs").rglob("*.trec") if "first-stage" not in path.parts)
    top: dict[str, list[str]] = {}
    for line in run.read_text().splitlines():
        query_id, _, doc_id, *_ = line.split()
        top.setdefault(query_id, []).append(doc_id)
    expected = {(q, d) for q, docs in top.items() for d in docs[:5]} - judged
    assert found == expected
    assert all(
        (row["title"], row["text"]) == (texts[row["corpus-id"]]["title"], texts[row["corpus-id"]]["text"])
        for row in pool
    )
    assert {(row["task"], row["subset"], row["grade"]) for row in pool} == {("birds", "default", None)}


def test_pairs_of_several_results_stand_once_and_judged_ones_where_asked_for(cli: Cli, pool, collection_folder: Path):
    assert cli("run", collection_folder).code == 0
    assert cli("pool", "results", "results", "--depth", 5, "--with-judged", "--output", "all.jsonl").code == 0
    rows = rows_of("all.jsonl")
    pairs = [(row["query-id"], row["corpus-id"]) for row in rows]
    assert len(set(pairs)) == len(pairs) > len(pool)
    assert ("q0", "d00") in pairs
    assert pairs == sorted(pairs)


def test_a_pool_without_its_ranking_or_of_nothing_is_one_line(cli: Cli, pool, monkeypatch, tmp_path: Path):
    answer = cli("pool", "results", "--depth", 0)
    assert (answer.code, "--depth 0" in answer.err) == (2, True)
    answer = cli("pool", "results", "--task", "bird")
    assert (answer.code, 'Did you mean "birds"?' in answer.err) == (3, True)
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "other"))
    answer = cli("pool", "results")
    assert (answer.code, "is not in the cache" in answer.err or "are not in the cache" in answer.err) == (3, True)


# -- people


def test_what_people_filled_in_becomes_a_layer_and_a_run_takes_it_only_where_named(
    cli: Cli, pool, collection_folder, counter
):
    write_lines(Path("pool.jsonl"), [json.dumps({**row, "grade": n % 3 if n else None}) for n, row in enumerate(pool)])
    answer = cli("judge", "pool.jsonl", "--name", "people")
    assert answer.code == 0
    layer = read_layer(Path("people.layer.jsonl"))
    assert len(layer.judgements) == len(pool) - 1
    words = ["run", collection_folder, "--reranker", counter.name, "--format", "json"]
    (plain,) = cli(*words).results()
    (layered,) = cli(*words, "--qrels-layer", "people.layer.jsonl").results()
    assert plain["reused"]
    assert layered["path"] != plain["path"]
    assert f".layer-people-{layer.digest[:8]}" in layered["path"]
    assert layered["measures"]["Judged@10"]["reranked"] > plain["measures"]["Judged@10"]["reranked"]
    stored = json.loads(Path(layered["path"]).read_text())
    assert stored["identity"]["qrels_layer"] == f"people {layer.digest}"
    assert stored["diagnostics"]["qrels_layer"] == {
        "name": "people", "digest": layer.digest, "added": len(pool) - 1, "judged_by_both": 0, "differing": 0,
    }  # fmt: skip
    assert "qrels_layer" not in json.loads(Path(plain["path"]).read_text())["identity"]
    assert cli(*words, "--qrels-layer", "people.layer.jsonl").results()[0]["reused"]
    shown = cli(*words[:-2], "--qrels-layer", "people.layer.jsonl")
    assert "birds + people" in shown.out + shown.err
    compared = cli("compare", plain["path"], layered["path"])
    assert "--qrels-layer none → people" in compared.out + compared.err


def test_the_data_set_s_own_judgement_holds_where_both_judge(cli: Cli, pool, collection_folder: Path):
    first = {**pool[0], "query-id": "q0", "corpus-id": "d00", "grade": 0}
    write_lines(Path("pool.jsonl"), [json.dumps(first), json.dumps({**pool[0], "grade": 0})])
    cli("judge", "pool.jsonl", "--name", "people")
    words = ["run", collection_folder, "--format", "json"]
    (plain,) = cli(*words).results()
    (layered,) = cli(*words, "--qrels-layer", "people.layer.jsonl").results()
    assert layered["measures"]["nDCG@10"] == plain["measures"]["nDCG@10"]
    stored = json.loads(Path(layered["path"]).read_text())["diagnostics"]["qrels_layer"]
    assert (stored["judged_by_both"], stored["differing"]) == (1, 1)


@pytest.mark.parametrize("grade", [1.5, -1, "2", "NaN", True, [1]])
def test_a_grade_that_is_none_is_an_error_that_names_the_pair(cli: Cli, pool, grade):
    write_lines(Path("pool.jsonl"), [json.dumps({**pool[0], "grade": grade})])
    answer = cli("judge", "pool.jsonl", "--name", "people")
    assert answer.code == 2
    assert f'query "{pool[0]["query-id"]}", document "{pool[0]["corpus-id"]}": a grade is a whole number' in answer.err
    assert not Path("people.layer.jsonl").exists()


def test_a_layer_on_a_larger_scale_is_refused_and_brought_to_the_data_s(cli: Cli, pool, collection_folder: Path):
    write_lines(Path("pool.jsonl"), [json.dumps({**row, "grade": 3}) for row in pool])
    cli("judge", "pool.jsonl", "--name", "people")
    answer = cli("run", collection_folder, "--qrels-layer", "people.layer.jsonl")
    assert (answer.code, "grades up to 3, and birds's own go up to 2" in answer.err) == (2, True)
    assert cli("judge", "pool.jsonl", "--name", "people", "--grades", "0,0,1,2").code == 0
    assert {one.score for one in read_layer(Path("people.layer.jsonl")).judgements} == {2}
    assert cli("run", collection_folder, "--qrels-layer", "people.layer.jsonl").code == 0
    answer = cli("judge", "pool.jsonl", "--name", "people", "--grades", "0,0,1")
    assert (answer.code, "--grades has 3 grades, and there is a 3" in answer.err) == (2, True)


@pytest.mark.parametrize(
    ("change", "said_of_it"),
    [
        (lambda rows: [{**rows[0], "digest": "0" * 32}, *rows[1:]], "was changed since it was written"),
        (lambda rows: [*rows, {**rows[1], "score": rows[1]["score"] + 1}], "are judged"),
        (lambda rows: rows[1:], "is no layer of judgements"),
        (lambda rows: [*rows[:1], {**rows[1], "score": float("nan")}, *rows[2:]], "NaN is not JSON"),
    ],
)
def test_a_layer_that_was_tampered_with_is_refused(cli: Cli, pool, collection_folder: Path, change, said_of_it):
    write_lines(Path("pool.jsonl"), [json.dumps({**row, "grade": 1}) for row in pool])
    cli("judge", "pool.jsonl", "--name", "people")
    write_lines(Path("people.layer.jsonl"), [json.dumps(row) for row in change(rows_of("people.layer.jsonl"))])
    answer = cli("run", collection_folder, "--qrels-layer", "people.layer.jsonl")
    assert (answer.code, said_of_it in answer.err) == (2, True), answer.err


def test_a_layer_of_other_data_is_refused(cli: Cli, pool, collection_folder: Path):
    write_lines(Path("pool.jsonl"), [json.dumps({**row, "grade": 1}) for row in pool])
    cli("judge", "pool.jsonl", "--name", "people")
    lines = (collection_folder / "corpus.jsonl").read_text().splitlines()
    write_lines(collection_folder / "corpus.jsonl", [*lines, json.dumps({"_id": "new", "text": "amber"})])
    answer = cli("run", collection_folder, "--qrels-layer", "people.layer.jsonl")
    assert (answer.code, "judges another version of its data: make its pool again" in answer.err) == (2, True)


# -- a model


def test_a_model_is_asked_once_about_each_pair_whatever_the_name_of_the_layer(cli: Cli, pool, start: Start):
    server = start(grading)
    answer = cli(*asking(server, "--parallel", 3))
    assert answer.code == 0, answer.err
    distinct = {(row["query"], row["title"], row["text"]) for row in pool}
    assert len(server.calls) == len(distinct)
    assert {call.path for call in server.calls} == {"/v1/chat/completions"}
    assert server.calls[0].body.keys() == {"model", "messages", "temperature", "max_tokens"}
    layer = read_layer(Path("model.layer.jsonl"))
    grades = {(one.query_id, one.doc_id): one.score for one in layer.judgements}
    for row in pool:
        expected = 2 if row["title"] else int(int(row["text"].split("note ")[1]) % 2 == 0)
        assert grades[row["query-id"], row["corpus-id"]] == expected
    assert layer.judge["prompt"] == "umbrela 1"
    assert cli(*asking(server, "--output", "again.jsonl")).code == 0
    assert len(server.calls) == len(distinct)
    assert read_layer(Path("again.jsonl")).digest == layer.digest
    assert cli(*asking(server, "--max-tokens", 99)).code == 0
    assert len(server.calls) == 2 * len(distinct)


def test_a_judge_that_was_cut_off_goes_on_where_it_was(cli: Cli, pool, start: Start, monkeypatch):
    from harness.rerankers.services import transport

    monkeypatch.setattr(
        transport.Patience,
        "__init__",
        lambda self: (
            object.__setattr__(self, "tries", 1)
            or object.__setattr__(self, "timeout", 10.0)
            or object.__setattr__(self, "first_wait", 0.0)
        ),
    )
    down = []

    def failing(call: Call) -> None:
        if call.number >= 9 and not down:
            call.reply(503, {"error": "busy"})
        else:
            grading(call)

    server = start(failing)
    answer = cli(*asking(server, "--parallel", 1))
    assert (answer.code, "HTTP 503" in answer.err) == (2, True)
    assert not Path("model.layer.jsonl").exists()
    down.append(False)
    before = len(server.calls)
    assert cli(*asking(server)).code == 0
    distinct = {(row["query"], row["title"], row["text"]) for row in pool}
    assert len(server.calls) - before == len(distinct) - 9


def test_fields_of_the_request_are_added_replaced_and_left_out(cli: Cli, pool, start: Start):
    server = start(grading)
    more = ["--set", "max_tokens=null", "--set", "max_completion_tokens=64", "--set", "reasoning_effort=low"]
    assert cli(*asking(server, *more)).code == 0
    body = server.calls[0].body
    assert (body["max_completion_tokens"], body["reasoning_effort"], "max_tokens" in body) == (64, "low", False)
    asked = len(server.calls)
    assert cli(*asking(server)).code == 0
    assert len(server.calls) == 2 * asked  # other fields, other grades
    answer = cli(*asking(server, "--set", "model=other"))
    assert (answer.code, "--set model=: it is what is asked" in answer.err) == (2, True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "it gives no grade"),
        ("##final score: NaN", '"NaN" is none of the grades 0, 1, 2, 3'),
        ("##final score: 2.5", '"2.5" is none of the grades'),
        ("##final score: -1", '"-1" is none of the grades'),
        ("##final score: 4", '"4" is none of the grades'),
        ("##final score: 1\n##final score: 3", "it gives 2 grades"),
        ("<think>##final score: 2", "its thought never ends"),
        ("", "it is no text"),
        (None, "it is no text"),
        ("I would say three.", "it gives no grade"),
    ],
)
def test_an_answer_without_one_grade_is_an_error_that_names_the_pair_and_never_a_grade(
    cli: Cli, pool, start: Start, text, reason
):
    bad = pool[0]["text"]
    server = start(lambda call: said(call, text) if bad in call.body["messages"][0]["content"] else grading(call))
    answer = cli(*asking(server))
    named = [row for row in pool if row["text"] == bad]
    assert answer.code == 2
    assert f'query "{named[0]["query-id"]}" and document "{named[0]["corpus-id"]}": {reason}' in answer.err
    assert not Path("model.layer.jsonl").exists()
    left = cli(*asking(server, "--unreadable", "leave"))
    assert left.code == 0
    layer = read_layer(Path("model.layer.jsonl"))
    judged = {(one.query_id, one.doc_id) for one in layer.judgements}
    assert judged == {(row["query-id"], row["corpus-id"]) for row in pool if row["text"] != bad}
    assert layer.judge["unreadable"] == len(named)


@pytest.mark.parametrize(
    "text",
    [
        "##final score: 2",
        "## Final Score: **2**",
        "<think>##final score: 0</think>\n##final score: 2\n",
        "##final score: 2\n##final score: 2",
    ],
)
def test_one_grade_is_read_in_each_usual_form(cli: Cli, pool, start: Start, text):
    assert cli(*asking(start(lambda call: said(call, text)))).code == 0
    assert {one.score for one in read_layer(Path("model.layer.jsonl")).judgements} == {2}


def test_an_answer_that_was_cut_and_one_of_another_form_are_told(cli: Cli, pool, start: Start):
    answer = cli(*asking(start(lambda call: said(call, "##final score: 2", "length"))))
    assert (answer.code, "it was cut at 512 tokens (--max-tokens)" in answer.err) == (2, True)
    answer = cli(*asking(start(lambda call: call.reply(200, {"result": 2}))))
    assert (answer.code, "it is no text" in answer.err) == (2, True)


def test_texts_with_braces_are_asked_about_as_they_stand(start: Start, tmp_path: Path):
    from harness.judging.prompt import read_prompt
    from harness.types import DocumentText, QueryText

    asked = read_prompt().ask(QueryText("{passage} {x}", "only new"), DocumentText("{query}", "a {grades} b"))
    assert "Query: {passage} {x} only new\n" in asked
    assert "Passage: {query} a {grades} b\n" in asked
    assert "0 = the passage has nothing to do with the query" in asked


@pytest.mark.parametrize(
    ("words", "said_of_it"),
    [
        (["--model", "m"], "a model that judges has a --model and a --url"),
        (["--model", "m", "--url", "ftp://x"], "an address as https"),
        (["--grades", "a,b"], "is not a list of whole numbers"),
        ([], "no pair has a grade yet"),
    ],
)
def test_what_a_judge_lacks_is_one_line(cli: Cli, pool, words, said_of_it):
    answer = cli("judge", "pool.jsonl", "--name", "x", *words)
    assert (answer.code, said_of_it in answer.err) == (2, True), answer.err


@pytest.mark.parametrize(
    ("change", "said_of_it"),
    [
        ({"prompt": "Rate {query}."}, "has no {passage}"),
        ({"grade": "score"}, "0 groups, and one is needed"),
        ({"relevant": 7}, "relevant is one of its grades"),
        ({"grades": {"low": "bad"}}, "whole numbers from 0 on"),
        ({"colour": 1}, 'unknown key "colour"'),
    ],
)
def test_a_prompt_with_a_mistake_is_one_line(cli: Cli, pool, start: Start, change, said_of_it):
    import yaml

    from harness.judging.prompt import UMBRELA

    Path("mine.yaml").write_text(yaml.safe_dump({**yaml.safe_load(UMBRELA.read_text()), **change}))
    answer = cli(
        "judge", "pool.jsonl", "--name", "x", "--model", "m", "--url", "http://127.0.0.1:1", "--prompt", "mine.yaml"
    )
    assert (answer.code, said_of_it in answer.err) == (2, True), answer.err


# -- from Python


def test_python_pools_and_judges_as_the_verbs_do(cli: Cli, pool, collection_folder: Path, monkeypatch):
    import harness

    assert harness.pool("results", depth=5) == pool
    layer = harness.judge(pool, "mine", lambda query, document: int("amber" in document))
    assert {one.score for one in layer.judgements} == {0, 1}
    assert harness.judge([{**row, "grade": 1} for row in pool], "mine").digest != layer.digest
    plain = harness.run(str(collection_folder))
    layered = harness.run(str(collection_folder), qrels_layer=layer)
    assert layered.measures["Judged@10"].first_stage > plain.measures["Judged@10"].first_stage
    with pytest.raises(
        harness.HarnessError, match=f'query "{pool[0]["query-id"]}", document "{pool[0]["corpus-id"]}": a grade is'
    ):
        harness.judge(pool, "mine", lambda query, document: float("nan"))
    with pytest.raises(harness.HarnessError, match='the pool, row 1 has no "task"'):
        harness.judge([{"query": "x"}], "mine")


def test_a_layer_has_a_name_of_its_own(cli: Cli, pool):
    write_lines(Path("pool.jsonl"), [json.dumps({**row, "grade": 1}) for row in pool])
    answer = cli("judge", "pool.jsonl", "--name", " ")
    assert (answer.code, "a layer of judgements has a name" in answer.err) == (2, True)
    assert cli("judge", "pool.jsonl", "--name", "people/of ours").code == 0
    assert read_layer(Path("people__of-ours.layer.jsonl")).name == "people/of ours"
