"""Data whose two sides do not meet: ids in another form, grades beyond counting, columns of another name."""

from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path

import pytest
from conftest import Answer, Cli, write_lines

from harness.data.forms import difference, other_forms
from harness.data.judgements import read_qrels
from harness.errors import HarnessError

E_IN_ONE, E_IN_TWO = unicodedata.normalize("NFC", "é7"), unicodedata.normalize("NFD", "é7")


def folder_of(folder: Path, documents: dict[object, str], queries: dict[object, str], qrels: list[tuple]) -> Path:
    """A BEIR folder: doc_id → text, query_id → text, and (query_id, doc_id, relevance) as JSON lines."""
    write_lines(folder / "corpus.jsonl", [json.dumps({"_id": name, "text": text}) for name, text in documents.items()])
    write_lines(folder / "queries.jsonl", [json.dumps({"_id": name, "text": text}) for name, text in queries.items()])
    rows = [dict(zip(("query-id", "corpus-id", "score"), row, strict=True)) for row in qrels]
    write_lines(folder / "qrels" / "test.jsonl", [json.dumps(row) for row in rows])
    return folder


TEXTS = {"a": "amber", "b": "birch", "c": "cedar"}


def ndcg(answer: Answer, measure: str = "nDCG@10") -> float:
    assert answer.code == 0, answer.err
    (result,) = answer.results()
    return result["measures"][measure]["first_stage"]


def cautions(answer: Answer) -> dict[str, str]:
    (result,) = answer.results()
    stored = json.loads(Path(result["path"]).read_text())
    return {each["code"]: each["what"] for each in stored["diagnostics"]["cautions"]}


# -- ids in two forms

FORMS = [("007", "7"), (7, "007"), ("Doc-A", "doc-a"), (E_IN_ONE, E_IN_TWO), (" 7", "7"), ("7.0", "7"), ("７", "7")]


def said(first: object, second: object) -> list[str]:
    return [f'"{word}"' for word in map(str, (first, second))]


@pytest.mark.parametrize(("there", "asked"), FORMS)
def test_a_judged_document_in_another_form_is_an_error_that_shows_both(cli: Cli, tmp_path, there, asked):
    folder = folder_of(
        tmp_path / "data", {there: "amber", "b": "birch"}, {"q": "amber"}, [("q", asked, 1), ("q", "b", 1)]
    )
    answer = cli("run", folder)
    assert answer.code == 2
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error")]
    assert all(form in line for form in said(there, asked))
    assert "the qrels judge document" in line
    assert "ids are compared character by character" in line


@pytest.mark.parametrize(("there", "asked"), FORMS)
def test_a_judged_query_in_another_form_is_an_error_that_shows_both(cli: Cli, tmp_path, there, asked):
    answer = cli("run", folder_of(tmp_path / "data", TEXTS, {there: "amber"}, [(asked, "a", 1)]))
    assert answer.code == 2
    assert all(form in answer.err for form in said(there, asked))
    assert "the qrels judge query" in answer.err


def test_forms_that_look_alike_are_told_by_their_code_points(cli: Cli, tmp_path):
    answer = cli("run", folder_of(tmp_path / "data", {E_IN_ONE: "amber"}, {"q": "amber"}, [("q", E_IN_TWO, 1)]))
    assert "('\\xe97')" in answer.err
    assert "('e\\u03017')" in answer.err


def test_a_whole_number_and_its_digits_are_one_id(cli: Cli, tmp_path):
    folder = folder_of(tmp_path / "data", {7: "amber", "8": "birch"}, {1: "amber"}, [("1", "7", 1), (1, 8, 0)])
    assert ndcg(cli("run", folder, "--format", "json")) == 1.0


def test_both_forms_may_be_two_documents(cli: Cli, tmp_path):
    folder = folder_of(tmp_path / "data", {"7": "amber", "007": "birch"}, {"q": "amber"}, [("q", "7", 1)])
    assert ndcg(cli("run", folder, "--format", "json")) == 1.0


@pytest.mark.parametrize(
    ("part", "name"), [("excluded", "exclusions name document"), ("top_ranked", "top_ranked names document")]
)
def test_the_documents_of_a_list_in_another_form_are_an_error(cli: Cli, tmp_path, part, name):
    folder = folder_of(tmp_path / "data", {"d1": "amber", "d2": "amber"}, {"q": "amber"}, [("q", "d1", 1)])
    write_lines(folder / f"{part}.jsonl", [json.dumps({"query-id": "q", "corpus-ids": ["D2"]})])
    answer = cli("run", folder)
    assert (answer.code, f'its {name} "D2", and the corpus has "d2"' in answer.err) == (2, True)


@pytest.mark.parametrize("part", ["excluded", "top_ranked"])
def test_the_query_of_a_list_in_another_form_is_an_error(cli: Cli, tmp_path, part):
    folder = folder_of(tmp_path / "data", {"d1": "amber", "d2": "amber"}, {"q1": "amber"}, [("q1", "d1", 1)])
    write_lines(folder / f"{part}.jsonl", [json.dumps({"query-id": "Q1", "corpus-ids": ["d2"]})])
    answer = cli("run", folder)
    assert (answer.code, f'its {part} has a list of query "Q1"' in answer.err) == (2, True)


@pytest.mark.parametrize("words", [[], ["--missing-text", "skip"]], ids=["error", "skip"])
@pytest.mark.parametrize(("line", "told"), [
    ("07 Q0 a 1 1.0 x", 'has query "7", and the run has "07"'), ("7 Q0 A 1 1.0 x", 'names document "A", and the corpus has "a"'),
])  # fmt: skip
def test_a_run_file_in_another_form_is_an_error(cli: Cli, tmp_path, words, line, told):
    folder = folder_of(tmp_path / "data", TEXTS, {"7": "amber", "8": "birch"}, [("7", "a", 1), ("8", "b", 1)])
    write_lines(tmp_path / "run.trec", [line, "8 Q0 b 1 1.0 x"])
    answer = cli("run", folder, "--candidates", "run.trec", *words)
    assert (answer.code, told in answer.err) == (2, True)


def test_only_what_is_missing_is_looked_for_in_other_forms():
    assert other_forms([], ["a"]) == []
    assert other_forms(["v1.05"], ["v1.5", "1.05"]) == []
    assert other_forms(["x", "0"], ["y", "00"]) == [("0", "00")]


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (E_IN_ONE, E_IN_TWO, "Unicode form (NFC, NFD)"),
        ("Doc", "doc", "case"),
        ("7", "007", "leading zeros"),
        (" 7", "7", "white space"),
        ("7.0", "7", "a decimal part"),
        ("７", "7", "the style of characters (NFKC)"),
        ("É7", E_IN_TWO, "Unicode form (NFC, NFD) and case"),
    ],
)
def test_by_what_two_forms_differ_is_said(one, other, words):
    assert difference(one, other) == difference(other, one) == words


def test_qrels_that_meet_no_document_are_an_error_with_two_ids_of_each_side(cli: Cli, tmp_path):
    qrels = [("q", "007", 1), ("q", "008", 0), ("q", "9", 0)]
    numbers = {"7": "amber", "8": "birch", "x": "cedar"}
    answer = cli("run", folder_of(tmp_path / "zeros", numbers, {"q": "amber"}, qrels))
    assert answer.code == 2
    assert (
        'the qrels judge document "007", "008", and the corpus has "7", "8": they differ by leading zeros' in answer.err
    )
    strangers = [("q", "n1", 0), ("q", "n2", 0), ("q", "n3", 0)]
    answer = cli("run", folder_of(tmp_path / "strangers", numbers, {"q": "amber"}, strangers))
    assert answer.code == 2
    told = 'none of the documents that the qrels judge (such as "n1", "n2" and 1 more); its own are such as "7", "8"'
    assert told in answer.err


def test_qrels_of_other_queries_are_an_error_with_two_ids_of_each_side(cli: Cli, tmp_path):
    queries = {"q1": "amber", "q2": "birch", "q3": "cedar"}
    answer = cli("run", folder_of(tmp_path / "data", TEXTS, queries, [("a1", "a", 1), ("a2", "a", 1)]))
    assert answer.code == 2
    assert 'judge query "a1", "a2", which the queries do not have (they have "q1", "q2" and 1 more)' in answer.err


# -- judgements


def test_a_pair_that_stands_twice_counts_once_and_with_two_grades_is_refused(cli: Cli, tmp_path):
    folder = folder_of(tmp_path / "data", TEXTS, {"q": "amber"}, [("q", "a", 1), ("q", "a", 1)])
    assert ndcg(cli("run", folder, "--format", "json"), "R@100") == 1.0
    twice = folder_of(tmp_path / "twice", TEXTS, {"q": "amber"}, [("q", "a", 1), ("q", "a", 2)])
    answer = cli("run", twice)
    assert (answer.code, "have relevance 1 in" in answer.err, "and 2 in" in answer.err) == (2, True, True)


def test_queries_whose_relevant_documents_are_gone_count_as_0_and_that_is_said(cli: Cli, tmp_path):
    queries = {f"q{i}": "amber" for i in range(10)}
    qrels = [("q0", "a", 1), *((f"q{i}", f"gone{i}", 1) for i in range(1, 10))]
    answer = cli("run", folder_of(tmp_path / "data", TEXTS, queries, qrels), "--format", "json")
    assert ndcg(answer) == pytest.approx(0.1)
    assert cautions(answer)["RH017"] == (
        "9 judgements are of documents that the corpus lacks; 9 of 10 queries have no relevant document left and count "
        "as 0 (q1, q2, q3 and 6 more); of 9 the corpus has nothing that was judged (q1, q2, q3 and 6 more)"
    )


def test_a_query_that_keeps_a_judged_document_is_told_from_one_that_keeps_none(cli: Cli, tmp_path):
    queries = {f"q{i}": "amber" for i in range(10)}
    qrels = [(f"q{i}", "a", 1) for i in range(8)]
    qrels += [("q8", "gone", 1), ("q8", "b", 0), ("q9", "gone", 1)]
    told = cautions(cli("run", folder_of(tmp_path / "data", TEXTS, queries, qrels), "--format", "json"))["RH017"]
    assert told.endswith("count as 0 (q8, q9); of 1 the corpus has nothing that was judged (q9)")


def test_queries_without_a_relevant_document_are_counted_and_named(cli: Cli, tmp_path):
    queries = {f"q{i}": "amber" for i in range(10)}
    qrels = [("q0", "a", 2), ("q1", "a", 1), *((f"q{i}", "a", 0) for i in range(2, 10))]
    folder = folder_of(tmp_path / "data", TEXTS, queries, qrels)
    assert cautions(cli("run", folder, "--format", "json"))["RH033"] == (
        "8 of 10 queries have no document that is judged relevant and count as 0: q2, q3, q4 and 5 more"
    )
    assert cautions(cli("run", folder, "--relevance-level", 2, "--format", "json"))["RH033"] == (
        "9 of 10 queries have no document judged 2 or above and count as 0: q1, q2, q3 and 6 more"
    )


def test_a_corpus_without_any_relevant_document_is_an_error(cli: Cli, tmp_path):
    qrels = [(f"q{i}", f"gone{i}", 1) for i in range(3)]
    answer = cli("run", folder_of(tmp_path / "data", TEXTS, {f"q{i}": "amber" for i in range(3)}, qrels))
    assert answer.code == 2
    told = 'the corpus has none of the documents that the qrels judge (such as "gone0", "gone1" and 1 more)'
    assert told in answer.err
    assert 'its own are such as "a", "b"' in answer.err


def test_a_corpus_without_the_relevant_documents_alone_is_an_error(cli: Cli, tmp_path):
    answer = cli("run", folder_of(tmp_path / "data", TEXTS, {"q": "amber"}, [("q", "gone", 1), ("q", "a", 0)]))
    assert answer.code == 2
    assert 'the corpus has none of the relevant documents (such as "gone"); its own are such as "a", "b"' in answer.err


@pytest.mark.parametrize("grade", [3, 10**8, 2 * 10**9, 2**31 - 1])
def test_a_large_grade_has_the_gain_that_it_says(cli: Cli, tmp_path, grade):
    folder = folder_of(
        tmp_path / "data",
        {"a": "amber amber", "b": "amber birch"},
        {"q": "amber"},
        [("q", "b", grade), ("q", "a", grade - 1)],
    )
    got, best = (grade - 1) + grade / math.log2(3), grade + (grade - 1) / math.log2(3)
    answer = cli("run", folder, "--format", "json", "--measures", "nDCG@10,nDCG,MAP@100,RR@10")
    assert ndcg(answer) == pytest.approx(got / best, rel=1e-12)
    (result,) = answer.results()
    assert result["measures"]["nDCG@10"]["oracle"] == 1.0
    assert [result["measures"][name]["first_stage"] for name in ("MAP@100", "RR@10", "R@100")] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["test.jsonl", "test.tsv"])
@pytest.mark.parametrize("written", [str(2**31), str(2**32 + 1), str(2**40), str(-(2**40)), "1" + "0" * 4000], ids=len)
def test_a_grade_beyond_what_can_be_counted_is_refused(tmp_path, name, written):
    path = tmp_path / name
    if name.endswith("jsonl"):
        write_lines(path, [f'{{"query-id": "q", "corpus-id": "d", "score": {written}}}'])
    else:
        write_lines(path, ["query-id\tcorpus-id\tscore", f"q\td\t{written}"])
    with pytest.raises(HarnessError, match=r"is beyond 2,147,483,647, the largest grade that is read"):
        read_qrels([path])


@pytest.mark.parametrize("text", ["0.35", "1e-1"])
def test_a_grade_between_whole_numbers_is_refused_with_the_way_out(cli: Cli, tmp_path, text):
    folder = folder_of(tmp_path / "data", TEXTS, {"q": "amber"}, [("q", "a", float(text))])
    answer = cli("run", folder)
    assert answer.code == 2
    assert "where relevance is a whole number: write grades, as 35 for 0.35" in answer.err
    (folder / "qrels" / "test.jsonl").unlink()
    write_lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", f"q\ta\t{text}"])
    assert "which is a whole number: write grades, as 35 for 0.35" in cli("run", folder).err


# -- columns of another name


def bright(folder: Path, row: dict[str, object]) -> Path:
    write_lines(
        folder / "documents.jsonl", [json.dumps({"id": name, "content": "amber"}) for name in ("x1", "x2", "x3")]
    )
    write_lines(folder / "examples.jsonl", [json.dumps({"id": "q", "query": "amber", **row})])
    configs = "".join(
        f"- config_name: {part}\n  data_files:\n  - split: biology\n    path: {part}.jsonl\n"
        for part in ("documents", "examples")
    )
    (folder / "README.md").write_text(f"---\nlanguage: en\nconfigs:\n{configs}---\n")
    return folder


@pytest.mark.parametrize("name", ["excluded_ids", "negative_ids", "excluded-corpus-ids"])
def test_excluded_documents_are_read_under_each_of_their_names(cli: Cli, tmp_path, name):
    folder = bright(tmp_path / "data", {"gold_ids": ["x1"], name: ["x3", "x2"], "reasoning": "", "gold_answer": ""})
    answer = cli("run", folder, "--format", "json")
    assert ndcg(answer, "R@100") == 1.0
    (result,) = answer.results()
    stored = json.loads(Path(result["path"]).read_text())["diagnostics"]
    assert (stored["candidates"], stored["unread"]) == (1, [])


@pytest.mark.parametrize("name", ["excluded-corpus-ids", "excluded_ids", "corpus-ids"])
def test_a_part_of_exclusions_may_name_its_column_otherwise(cli: Cli, tmp_path, name):
    folder = folder_of(tmp_path / "data", {"d1": "amber", "d2": "amber"}, {"q": "amber"}, [("q", "d1", 1)])
    write_lines(folder / "excluded.jsonl", [json.dumps({"query-id": "q", name: ["d2"]})])
    answer = cli("run", folder, "--format", "json")
    (result,) = answer.results()
    assert json.loads(Path(result["path"]).read_text())["diagnostics"]["candidates"] == 1


def test_gains_are_the_grades_of_the_documents_beside_them(cli: Cli, tmp_path):
    folder = bright(tmp_path / "data", {"gold_ids": ["x1", "x2", "x3"], "gains": [3, 1, 2]})
    gains = [2, 1, 3]  # equal scores stand by descending id: x3, x2, x1
    best = sum(gain / math.log2(rank + 1) for rank, gain in enumerate((3, 2, 1), 1))
    expected = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1)) / best
    assert ndcg(cli("run", folder, "--format", "json")) == pytest.approx(expected)
    answer = cli("run", bright(tmp_path / "short", {"gold_ids": ["x1", "x2"], "gains": [3]}))
    assert (answer.code, "where a grade for each of gold_ids is needed" in answer.err) == (2, True)
    answer = cli("run", bright(tmp_path / "parts", {"gold_ids": ["x1"], "gains": [0.5]}))
    assert (answer.code, '"gains" is 0.5, where relevance is a whole number: write grades' in answer.err) == (2, True)


def test_a_gain_may_stand_for_the_score_and_two_that_differ_are_refused(cli: Cli, tmp_path):
    folder = folder_of(tmp_path / "data", TEXTS, {"q": "amber"}, [("q", "a", 1)])
    qrels = folder / "qrels" / "test.jsonl"
    write_lines(qrels, [json.dumps({"query-id": "q", "corpus-id": "a", "gain": 2})])
    assert ndcg(cli("run", folder, "--format", "json")) == 1.0
    write_lines(qrels, [json.dumps({"query-id": "q", "corpus-id": "a", "gain": 2, "score": 1})])
    assert '"score" and "gain" differ' in cli("run", folder).err


@pytest.mark.parametrize("packed", [False, True], ids=["jsonl", "parquet"])
def test_a_column_that_is_not_read_is_said(cli: Cli, tmp_path, packed):
    folder = folder_of(tmp_path / "data", TEXTS, {"q": "amber"}, [("q", "a", 1)])
    row = {"query-id": "q", "corpus-id": "a", "score": 1, "weight": 0.5}
    query = {"_id": "q", "text": "amber", "hard_negative_ids": ["b"], "topic": "stones"}
    if packed:
        import pyarrow as pa
        from pyarrow import parquet

        for name, content in (("qrels/test", row), ("queries", query)):
            (folder / f"{name}.jsonl").unlink()
            parquet.write_table(pa.Table.from_pylist([content]), folder / f"{name}.parquet")
    else:
        write_lines(folder / "qrels" / "test.jsonl", [json.dumps(row)])
        write_lines(folder / "queries.jsonl", [json.dumps(query)])
    answer = cli("run", folder, "--format", "json")
    assert answer.code == 0, answer.err
    assert cautions(answer)["RH031"] == "columns of the data were not read: qrels: weight; queries: hard_negative_ids"
    assert "RH031" in answer.err
