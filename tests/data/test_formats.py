"""The strict readers and writers, on small real files."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.data.containers import read_jsonl
from harness.data.formats import read_corpus, read_instructions, read_lists, read_queries
from harness.data.judgements import read_qrels
from harness.data.trec import read_run, write_run
from harness.errors import HarnessError
from harness.types import DocumentText, QueryText

HEADER = "query-id\tcorpus-id\tscore\n"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Writes a file, packed where its name ends in .gz."""

    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return make


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, **columns: object) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({key.replace("__", "-"): value for key, value in columns.items()}), tmp_path / name)
        return tmp_path / name

    return make


def refusal(read: Callable[[], object]) -> str:
    """The one line of the error that `read` ends in."""
    with pytest.raises(HarnessError) as caught:
        read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- JSON lines


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.ndjson"])
def test_json_lines_are_read_with_their_line_numbers(file, name):
    path = file(name, '{"a": 1}\n\n{"a": "ü\u2028x"}\r\n')
    assert [(row.place.number, row.value) for row in read_jsonl(path)] == [(1, {"a": 1}), (3, {"a": "ü\u2028x"})]


def test_a_byte_order_mark_is_no_part_of_the_first_row(file):
    assert [row.value for row in read_jsonl(file("rows.jsonl", b'\xef\xbb\xbf{"a": 1}'))] == [{"a": 1}]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ('{"a": 1}\n{"a": \n', "rows.jsonl, line 2 is not JSON"),
        ('{"a": 1} {"b": 2}', "line 1 is not JSON"),
        ('{"a": NaN}', "line 1 is not JSON (NaN is not JSON)"),
        ('{"a": 1}\n[1, 2]', "line 2 holds a JSON list"),
        (b'{"a": 1}\n{"a": "\xff"}', "line 2 is not UTF-8"),
        ('{"text": "half \\ud83d pair"}', "line 1 holds half of a surrogate pair"),
        ("", "rows.jsonl is empty"),
        ("\n \n", "rows.jsonl is empty"),
    ],
)
def test_a_malformed_file_is_refused_by_file_and_line(file, content, part):
    path = file("rows.jsonl", content)
    assert part in refusal(lambda: list(read_jsonl(path)))


def test_a_whole_surrogate_pair_is_text(file):
    assert next(read_jsonl(file("rows.jsonl", '{"text": "\\ud83d\\ude00"}'))).value == {"text": "😀"}


def test_a_cut_gzip_file_is_refused(file, tmp_path):
    whole = file("rows.jsonl.gz", "".join(json.dumps({"a": i * 7919 % 10007}) + "\n" for i in range(2000)))
    whole.write_bytes(whole.read_bytes()[:-200])
    assert "is not a whole gzip file" in refusal(lambda: list(read_jsonl(whole)))
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_text('{"a": 1}\n')
    assert "is not a whole gzip file" in refusal(lambda: list(read_jsonl(plain)))


def test_missing_files_and_unknown_kinds_are_refused(tmp_path, file):
    assert "there is no file" in refusal(lambda: list(read_jsonl(tmp_path / "none.jsonl")))
    assert "there is no file" in refusal(lambda: list(read_corpus([tmp_path / "none.parquet"])))
    assert "cannot read" in refusal(lambda: list(read_run(tmp_path)))
    assert "cannot tell the format" in refusal(lambda: list(read_corpus([file("corpus.xlsx", "id,text\n")])))


# -- corpus


def corpus(*paths: Path) -> list[tuple[str, DocumentText]]:
    return [(doc_id, text) for _, doc_id, text in read_corpus(paths)]


def test_documents_have_a_title_or_none_and_ids_of_either_name(file):
    path = file(
        "corpus.jsonl",
        '{"_id": "a", "title": "T", "text": "x", "metadata": {}}\n{"id": 7, "title": null, "text": ""}\n{"_id": "c", "text": "z"}\n',
    )
    assert corpus(path) == [("a", DocumentText("T", "x")), ("7", DocumentText("", "")), ("c", DocumentText("", "z"))]


def test_parquet_shards_are_one_corpus(parquet):
    first = parquet("0.parquet", _id=[1, 2], title=["T", None], text=["x", "y"], embedding=[[0.5], [1.0]])
    second = parquet("1.parquet", id=["three"], text=["z"])
    assert corpus(first, second) == [
        ("1", DocumentText("T", "x")),
        ("2", DocumentText("", "y")),
        ("three", DocumentText("", "z")),
    ]


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ('{"title": "t", "text": "x"}', "line 2 has no \"_id\" or \"id\" (it has 'title', 'text')"),
        ('{"_id": "a"}', 'line 2 has no "text"'),
        ('{"_id": "a", "text": null}', 'line 2: "text" is null, where a string is needed'),
        ('{"_id": "a", "text": ["x"]}', 'line 2: "text" is ["x"]'),
        ('{"_id": "a", "text": "x", "title": ["t"]}', 'line 2: "title" is ["t"]'),
        ('{"_id": "a", "text": true}', 'line 2: "text" is true'),
        ('{"_id": 1.5, "text": "x"}', 'line 2: "_id" is 1.5, where an id is a string or a whole number'),
        ('{"_id": true, "text": "x"}', 'line 2: "_id" is true'),
        ('{"_id": "", "text": "x"}', 'line 2: "_id" is ""'),
    ],
)
def test_a_document_without_what_it_needs_is_refused(file, row, part):
    path = file("corpus.jsonl", '{"_id": "ok", "text": "x"}\n' + row)
    assert part in refusal(lambda: corpus(path))


def test_parquet_errors_name_the_row(parquet, file):
    path = parquet("corpus.parquet", _id=["a", "b"], text=["x", None])
    assert 'corpus.parquet, row 2: "text" is null' in refusal(lambda: corpus(path))
    assert "is not a readable parquet file" in refusal(lambda: corpus(file("bad.parquet", "PAR1 or not")))
    assert "is empty" in refusal(lambda: corpus(parquet("none.parquet", _id=[], text=[])))


# -- queries, instructions, lists


def test_queries_may_have_instructions(file):
    path = file("queries.jsonl", '{"_id": 1, "text": "q"}\n{"_id": "2", "text": "r", "instruction": "only new"}\n')
    assert read_queries([path]) == {"1": QueryText("q"), "2": QueryText("r", "only new")}


def test_a_query_that_stands_twice_is_refused_with_both_places(file):
    first, second = file("a.jsonl", '{"_id": "7", "text": "x"}'), file("b.jsonl", '\n{"_id": 7, "text": "x"}')
    message = refusal(lambda: read_queries([first, second]))
    assert 'query "7" stands twice' in message
    assert "a.jsonl, line 1" in message
    assert "b.jsonl, line 2" in message


def test_instructions_are_read_by_query(file):
    path = file("instruction.jsonl", '{"query-id": "q-og", "instruction": "all"}\n{"query-id": 3, "instruction": ""}')
    assert read_instructions([path]) == {"q-og": "all", "3": ""}
    twice = file("twice.jsonl", '{"query-id": "q", "instruction": "a"}\n{"query-id": "q", "instruction": "b"}')
    assert 'the instruction of query "q" stands twice' in refusal(lambda: read_instructions([twice]))


def test_lists_keep_their_order_and_turn_numbers_into_strings(file, parquet):
    path = file("top_ranked.jsonl", '{"query-id": 1, "corpus-ids": ["d2", 1]}\n{"query-id": 2, "corpus-ids": []}')
    assert read_lists([path]) == {"1": ["d2", "1"], "2": []}
    assert read_lists([parquet("t.parquet", query__id=["1"], corpus__ids=[["b", "a"]])]) == {"1": ["b", "a"]}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ('{"query-id": "q", "corpus-ids": "d"}', '"corpus-ids" is "d", where a list of ids is needed'),
        ('{"query-id": "q"}', '"corpus-ids" is null'),
        ('{"query-id": "q", "corpus-ids": ["d", null]}', 'line 1 has no "corpus-ids"'),
        ('{"query-id": "q", "corpus-ids": ["d", "e", "d"]}', 'names document "d" twice'),
        (
            '{"query-id": "q", "corpus-ids": []}\n{"query-id": "q", "corpus-ids": []}',
            'the list of query "q" stands twice',
        ),
    ],
)
def test_a_list_that_is_none_is_refused(file, content, part):
    path = file("top_ranked.jsonl", content)
    assert part in refusal(lambda: read_lists([path]))


# -- qrels

QRELS = {"q1": {"d1": 1, "d2": 0}, "q2": {"d1": 3}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.tsv", HEADER + "q1\td1\t1\nq1\td2\t0\nq2\td1\t3\n"),
        ("test.tsv.gz", HEADER + "q1\td1\t1\nq1\td2\t0\nq2\td1\t3\n"),
        ("test.tsv", HEADER.replace("\n", "\r\n") + "q1\td1\t1\r\nq1\td2\t0.0\r\nq2\td1\t3\r\n"),
        ("test.txt", "# a comment\nq1 0 d1 1\nq1\tQ0\td2   0\n\nq2 0 d1 3\n"),
        ("qrels.123", "q1 0 d1 1\nq1 0 d2 0\nq2 0 d1 3\nq2 0 d1 3\n"),
        (
            "test.jsonl",
            '{"query-id": "q1", "corpus-id": "d1", "score": 1.0}\n{"query-id": "q1", "corpus-id": "d2", "score": 0}\n{"query-id": "q2", "corpus-id": "d1", "score": 3}\n',
        ),
    ],
)
def test_qrels_are_read_in_every_format(file, name, content):
    assert read_qrels([file(name, content)]) == QRELS


def test_qrels_are_read_from_parquet_and_from_several_files(parquet, file):
    first = parquet("0.parquet", query__id=["q1", "q1"], corpus__id=["d1", "d2"], score=[1.0, 0.0])
    assert read_qrels([first, file("1.tsv", HEADER + "q2\td1\t3\n")]) == QRELS


def test_numeric_ids_and_negative_relevance_are_kept(file):
    path = file("test.jsonl", '{"query-id": 1, "corpus-id": 2, "score": -2}')
    assert read_qrels([path]) == {"1": {"2": -2}}
    assert read_qrels([file("test.txt", "1 0 2 -2\n")]) == {"1": {"2": -2}}


def test_ids_with_blanks_survive_in_beirs_format(file):
    assert read_qrels([file("test.tsv", HEADER + "query one\tdocument two\t1\n")]) == {"query one": {"document two": 1}}


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("t.tsv", HEADER + "q\td\t0.5\n", 't.tsv, line 2: "0.5" is no relevance, which is a whole number'),
        ("t.tsv", HEADER + "q\td\tyes\n", '"yes" is no relevance'),
        ("t.tsv", HEADER + "q\td\t1_0\n", '"1_0" is no relevance'),
        ("t.tsv", HEADER + "q\td\tnan\n", '"nan" is no relevance'),
        ("t.tsv", HEADER + "q\td\n", "line 2 has 2 columns: qrels have three columns"),
        ("t.tsv", HEADER + "q d 1\n", "line 2 has 1 columns"),
        ("t.tsv", HEADER + "q\t\t1\n", "line 2 has an empty id"),
        ("t.tsv", "q d\n", "line 1 has 2 columns: qrels have three (query, document, relevance) or TREC's four"),
        ("t.tsv", HEADER, "t.tsv is empty: no query has a judgement"),
        ("t.txt", "", "t.txt is empty"),
        (
            "t.jsonl",
            '{"query-id": "q", "corpus-id": "d", "score": 0.5}',
            '"score" is 0.5, where relevance is a whole number',
        ),
        ("t.jsonl", '{"query-id": "q", "corpus-id": "d", "score": true}', '"score" is true'),
        ("t.jsonl", '{"query-id": "q", "corpus-id": "d", "score": "1"}', '"score" is "1"'),
        ("t.jsonl", '{"query-id": "q", "corpus-id": "d"}', 'line 1 has no "score" (it has'),
        ("t.jsonl", '{"query-id": "q", "score": 1}', 'has no "corpus-id"'),
    ],
)
def test_qrels_that_are_none_are_refused(file, name, content, part):
    path = file(name, content)
    assert part in refusal(lambda: read_qrels([path]))


def test_a_pair_with_two_relevances_is_refused_with_both_places(file):
    path = file("test.tsv", HEADER + "q\td\t1\nq\te\t1\nq\td\t2\n")
    message = refusal(lambda: read_qrels([path]))
    assert 'query "q" and document "d" have relevance 1' in message
    assert "line 2" in message
    assert "2 in" in message
    assert "line 4" in message


# -- runs


def test_a_run_is_split_at_any_white_space_and_its_rank_is_not_read(file):
    content = "q1 Q0 d1 7 1.5 tag\nq1\tQ0\td2\t1\t-2e-3\ttag\n# comment\n\nq2   0  d#1   x  .5   t\n"
    expected = {"q1": {"d1": 1.5, "d2": -0.002}, "q2": {"d#1": 0.5}}
    assert read_run(file("a.trec", content)) == expected
    assert read_run(file("a.trec.gz", content)) == expected


def test_only_ascii_white_space_separates_columns(file):
    assert read_run(file("a.trec", "q\u00a01 Q0 d\u20031 1 2 t\n")) == {"q\u00a01": {"d\u20031": 2.0}}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("q Q0 d 1 1.0 t\nq Q0 e 1 1.0\n", "line 2 has 5 columns: a TREC run has six"),
        ("q Q0 d 1 1.0 my tag\n", "line 1 has 7 columns"),
        ("q Q0 d 1 high t\n", '"high" is no finite number'),
        ("q Q0 d 1 nan t\n", '"nan" is no finite number'),
        ("q Q0 d 1 -inf t\n", '"-inf" is no finite number'),
        ("q Q0 d 1 1e999 t\n", '"1e999" is no finite number'),
        ("q Q0 d 1 1_0 t\n", '"1_0" is no finite number'),
        ("q Q0 d 1 1 t\nq Q0 d 2 0 t\n", 'line 2: document "d" stands twice for query "q"'),
        ("", "a.trec is empty"),
        ("# nothing\n", "a.trec is empty"),
        (b"q Q0 \xff 1 1 t\n", "line 1 is not UTF-8"),
    ],
)
def test_a_run_that_is_none_is_refused(file, content, part):
    path = file("a.trec", content)
    assert part in refusal(lambda: read_run(path))


def test_a_run_is_written_ranked_with_ties_by_descending_id(tmp_path):
    path = tmp_path / "out" / "a.trec"
    write_run(path, {"q": {"a": 1.0, "c": 2.0, "b": 1.0}}, "my tag")
    assert path.read_text() == "q Q0 c 1 2 my_tag\nq Q0 b 2 1 my_tag\nq Q0 a 3 1 my_tag\n"


@pytest.mark.parametrize("name", ["a.trec", "a.trec.gz"])
def test_scores_survive_the_round_trip_in_single_precision(tmp_path, name):
    generator = np.random.default_rng(3)
    bits = generator.integers(0, 2**32, 5000, np.uint32).view(np.float32)
    scores = {f"d{i}": float(value) for i, value in enumerate(bits) if math.isfinite(value)}
    doubles = {f"d{i}": value for i, value in enumerate(generator.normal(size=5000))}
    write_run(tmp_path / name, {"q": scores, "r": doubles}, "t")
    back = read_run(tmp_path / name)
    assert single(back["q"]) == single(scores)
    assert single(back["r"]) == single(doubles)


def single(scores: dict[str, float]) -> dict[str, np.float32]:
    return {doc_id: np.float32(score) for doc_id, score in scores.items()}


def test_a_packed_run_has_the_same_bytes_every_time(tmp_path):
    run = {"q": {"d": 1.0}}
    write_run(tmp_path / "a.gz", run, "t")
    write_run(tmp_path / "b.gz", run, "t")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize(
    ("run", "part"),
    [
        ({"q": {"d": math.nan}}, 'query "q" and document "d": score nan is not finite'),
        ({"q": {"d": 1e39}}, "score 1e+39 is not finite"),
        ({"q": {"d 1": 1.0}}, 'id "d 1" is empty or has white space'),
        ({"": {"d": 1.0}}, 'id "" is empty'),
    ],
)
def test_what_a_run_file_cannot_hold_is_refused_and_nothing_is_written(tmp_path, run, part):
    assert part in refusal(lambda: write_run(tmp_path / "a.trec", run, "t"))
    assert list(tmp_path.iterdir()) == []


# -- real files


@pytest.mark.shared
def test_trec_evals_own_files_are_read(shared):
    folder = shared / "data" / "trec_eval" / "test"
    assert sum(map(len, read_run(folder / "results.test").values())) == 1500
    plain, commented = (read_qrels([folder / name]) for name in ("qrels.test", "qrels.test.with-comments"))
    assert sum(map(len, plain.values())) == sum(map(len, commented.values()))


@pytest.mark.shared
def test_published_runs_and_qrels_are_read(shared):
    folder = shared / "data" / "trec-dl19"
    run = read_run(folder / "runs" / "repllama.top1000.trec.gz")
    assert (len(run), sum(map(len, run.values()))) == (43, 43_000)
    assert len(read_qrels([folder / "qrels" / "test.tsv"])) == 43
