"""Queries that share something: what a card says, what is found without one, and what it does to every verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, write_lines
from made_results import made, saved

from harness.data.clusters import clusters_of
from harness.data.task import Cards, folder_task
from harness.errors import HarnessError
from harness.measures.significance import INTERVAL_METHOD
from harness.results.result import load_result

WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "jetty", "karst", "loess"]

READER = '''
def rank(query, documents):
    """Some paragraphs are misread as a whole: all questions on them are lost together."""
    asked = query.split()
    return [(-1 if int(asked[0][1:]) % 3 == 0 else 1) * sum(word in text for word in asked) for text in documents]


rank.fingerprint = "reader"
rank.context = "pair"
'''


def paragraphs(folder: Path, questions: int = 5, card: str = "") -> Path:
    """Thirty paragraphs with questions on each, which share it; a field and a prefix of the ids say so too."""
    names = [f"p{place:02} {WORDS[place % 12]} {WORDS[(place * 5 + 1) % 12]}" for place in range(30)]
    asked = [
        {"_id": f"{place:02}_{number}", "text": f"{name} {WORDS[number]}", "page": f"page {place // 2}"}
        for place, name in enumerate(names)
        for number in range(questions)
    ]
    write_lines(
        folder / "corpus.jsonl", [json.dumps({"_id": f"d{i:02}", "text": f"{n} text"}) for i, n in enumerate(names)]
    )
    write_lines(folder / "queries.jsonl", [json.dumps(row) for row in asked])
    judged = [f"{row['_id']}\td{row['_id'][:2]}\t1" for row in asked]
    write_lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *judged])
    if card:
        write_lines(folder / "task.yaml", ["languages: [eng-Latn]", f"clusters: {card}"])
    return folder


def qrels_of(folder: Path) -> dict[str, dict[str, int]]:
    rows = [line.split("\t") for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]]
    found: dict[str, dict[str, int]] = {}
    for query_id, doc_id, relevance in rows:
        found.setdefault(query_id, {})[doc_id] = int(relevance)
    return found


@pytest.mark.parametrize(
    ("card", "count", "stated"),
    [("", 30, False), ("shared relevant", 30, True), ('{prefix: "_"}', 30, True), ("{field: page}", 15, True)],
)
def test_a_card_names_the_clusters_and_without_one_they_are_found(tmp_path: Path, card, count, stated):
    folder = paragraphs(tmp_path / "data", card=card)
    task = folder_task(folder, tmp_path / "cache")
    groups = clusters_of(task, task.subsets[0], qrels_of(folder), tmp_path / "cache")
    assert groups.used
    assert groups.record()["stated"] == stated
    assert groups.sizes == [150 // count] * count


def test_a_card_can_say_that_there_are_none(tmp_path: Path):
    task = folder_task(paragraphs(tmp_path / "data", card="none"), tmp_path / "cache")
    assert clusters_of(task, task.subsets[0], qrels_of(tmp_path / "data"), tmp_path / "cache") is None


def test_a_field_that_no_query_has_is_named(tmp_path: Path):
    task = folder_task(paragraphs(tmp_path / "data", card="{field: chapter}"), tmp_path / "cache")
    with pytest.raises(HarnessError, match='query "00_0" has no such field'):
        clusters_of(task, task.subsets[0], qrels_of(tmp_path / "data"), tmp_path / "cache")


@pytest.mark.parametrize("said", ["shared", "{prefix: 3}", "{prefix: a, field: b}", "[a]", '{field: ""}'])
def test_a_card_that_says_it_wrongly_is_told_how(tmp_path: Path, said):
    with pytest.raises(HarnessError, match='"clusters" is none, shared relevant'):
        folder_task(paragraphs(tmp_path / "data", card=said), tmp_path / "cache")


def test_the_same_groups_have_the_same_names_in_any_order(tmp_path: Path):
    folder = paragraphs(tmp_path / "data")
    task, qrels = folder_task(folder, tmp_path / "cache"), qrels_of(folder)
    back = dict(reversed(qrels.items()))
    one, other = (clusters_of(task, task.subsets[0], each, tmp_path / "cache").of for each in (qrels, back))
    assert one == other


def test_a_chain_of_queries_is_no_cluster(tmp_path: Path):
    """Each shares a document with the next: linked throughout, and drawn one by one."""
    task = folder_task(paragraphs(tmp_path / "data"), tmp_path / "cache")
    chain = {f"q{i}": {f"d{i}": 1, f"d{i + 1}": 1} for i in range(40)}
    groups = clusters_of(task, task.subsets[0], chain, tmp_path / "cache")
    assert groups.record()["largest"] == 40
    assert not groups.used


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("XQuADRetrieval", "shared relevant"),
        ("InstructIR", "prefix:_"),
        ("Core17InstructionRetrieval", "base query"),
        ("mFollowIR", "base query"),
    ],
)
def test_cards_of_suites_that_have_clusters_state_them(name, said):
    assert Cards().task(name).clusters == said


def test_a_run_warns_how_much_wider_the_interval_is_and_keeps_both(cli: Cli, tmp_path: Path):
    folder = paragraphs(tmp_path / "data")
    write_lines(tmp_path / "mine.py", [READER])
    words = ["run", folder, "--reranker", f"{tmp_path}/mine.py:rank", "--results", tmp_path / "results"]
    (found,) = cli(*words, "--format", "json").results()
    row = found["measures"]["nDCG@10"]
    ratio = (row["high"] - row["low"]) / (row["high_by_query"] - row["low_by_query"])
    assert ratio > 1.8
    (told,) = [each["what"] for each in found["diagnostics"]["cautions"] if each["code"] == "RH040"]
    assert told == (
        "150 queries share relevant documents in 30 groups: the interval of nDCG@10 is "
        f"{ratio:.1f} times as wide as if they were independent"
    )
    stored = load_result(Path(found["path"]), with_values=True)
    assert stored.interval_method == found["interval_method"] == INTERVAL_METHOD
    assert len(set(stored.clusters)) == 30
    assert cli(*words, "--format", "json").results()[0]["reused"]


def test_a_run_warns_that_too_few_groups_moved_though_many_queries_did(cli: Cli, tmp_path: Path):
    """Three paragraphs misread are fifteen questions lost: three witnesses, not fifteen."""
    folder = paragraphs(tmp_path / "data")
    write_lines(tmp_path / "mine.py", [READER.replace("% 3", "% 10")])
    words = ["run", folder, "--reranker", f"{tmp_path}/mine.py:rank", "--results", tmp_path / "results"]
    (found,) = cli(*words, "--format", "json").results()
    row = found["measures"]["nDCG@10"]
    assert (row["low"], row["high"], row["p"]) == (None, None, 0.25)
    assert row["high_by_query"] < 0
    (told,) = [each["what"] for each in found["diagnostics"]["cautions"] if each["code"] == "RH040"]
    assert "too few groups moved for an interval of nDCG@10" in told


def test_compare_gate_and_boards_move_the_clusters_that_a_result_knows(cli: Cli, tmp_path: Path):
    from dataclasses import replace

    generator = np.random.default_rng(2)
    before = generator.random(100)
    after = before + np.repeat(generator.normal(-0.03, 0.2, 20), 5)
    clusters = tuple(f"c{place // 5}" for place in range(100))
    sides = {}
    for name, values in (("before", before), ("after", after)):
        sides[name] = saved(tmp_path / name, replace(made(values), clusters=clusters))
        saved(tmp_path / f"alone-{name}", made(values))
    answer = json.loads(cli("compare", sides["before"], sides["after"], "--format", "json").out)["comparisons"][0]
    alone = json.loads(cli("compare", tmp_path / "alone-before", tmp_path / "alone-after", "--format", "json").out)[
        "comparisons"
    ][0]["rows"][0]
    (row,) = answer["rows"]
    assert (row["units"], alone["units"]) == (20, None)
    assert (row["low_by_query"], row["high_by_query"], row["p_by_query"]) == (alone["low"], alone["high"], alone["p"])
    assert (row["high"] - row["low"]) > 1.8 * (alone["high"] - alone["low"])
    text = " ".join(cli("compare", sides["before"], sides["after"]).out.split())
    assert "100 queries in 20 clusters, which move together; if they were independent: [" in text
    gates = [
        json.loads(cli("gate", "--baseline", a, "--current", b, "--format", "json").out)["rows"][0]
        for a, b in (sides.values(), (tmp_path / "alone-before", tmp_path / "alone-after"))
    ]
    assert gates[0]["detectable"] > 1.5 * gates[1]["detectable"]


def test_a_boards_draws_are_clusters(tmp_path: Path):
    from harness.boards.resampling import RESAMPLES, Part, Sums, resample

    generator = np.random.default_rng(3)
    values = np.repeat(generator.random((20, 2)), 5, axis=0)
    query_ids, clusters = tuple(map(str, range(100))), tuple(f"c{place // 5}" for place in range(100))
    widths, p_values = [], []
    for own in ((), clusters):
        sums = Sums(2, RESAMPLES)
        resample("T", [Part("default", query_ids, values, own)], {0: sums}, [{0: 1.0}])
        interval = sums.intervals()[0]
        widths.append(interval.high - interval.low)
        p_values.append(sums.p(0, 1))
    assert 5**0.5 < widths[1] / widths[0] < 1.3 * 5**0.5
    assert p_values[1] > p_values[0]


def test_both_instructions_of_a_base_query_are_one_cluster(tmp_path: Path):
    task = Cards().task("Core17InstructionRetrieval")
    qrels = {f"core-{number}-{side}": {"d": 1} for number in range(12) for side in ("og", "changed")}
    groups = clusters_of(task, task.subsets[0], qrels, tmp_path)
    assert groups.sizes == [2] * 12
    assert groups.of["core-3-og"] == groups.of["core-3-changed"] == "core-3"
