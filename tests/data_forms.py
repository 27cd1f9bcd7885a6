"""One small collection in every form that people have data in, and the forms that are refused.

`READ` and `REFUSED` are what docs/your-data.md shows as a table (`.ci/forms` makes it), and what
tests/data/test_same_content.py runs: a form that is read gives the same content, whatever it is.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

CORPUS = [
    {"_id": "007", "title": "Amber", "text": 'amber, "birch" & cedar; a naïve café 日本'},
    {"_id": "1e5", "title": "", "text": "delta ember delta"},
    {"_id": "1.0", "title": "Fjord", "text": "fjord amber"},
    {"_id": "d 4", "title": "", "text": "2020"},
    {"_id": "e", "title": "", "text": ""},
]
QUERIES = [{"_id": "q-1", "text": "amber cedar"}, {"_id": "2", "text": "delta, or fjord?"}]
QRELS = [("q-1", "007", 2), ("q-1", "1.0", 1), ("q-1", "1e5", 0), ("2", "1e5", 1), ("2", "gone", -1)]
UNTITLED = [{**row, "title": ""} for row in CORPUS]

Rows = Sequence[Mapping[str, Any]]


class Form(NamedTuple):
    """A form: what the table calls it, what writes it into an empty folder and says what to run, and what is said."""

    name: str
    write: Callable[[Path], object]
    said: str = ""
    """What is printed where the form is read, in part; the whole of an error where it is refused, `DIR` for the folder."""
    titles: bool = True


def shown(message: str, folder: Path) -> str:
    """A message without what differs from run to run."""
    return re.sub(r" at [0-9a-f]{8}\b", " at REVISION", message.replace(str(folder), "DIR"))


def lines(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def judged(*names: str) -> Rows:
    """The qrels as rows with these names."""
    return [dict(zip(names or ("query-id", "corpus-id", "score"), row, strict=True)) for row in QRELS]


def table(rows: Rows, delimiter: str, header: Sequence[str] | None = None) -> str:
    """CSV with its quoting, or lines cut by tabs without any."""
    cells = [[str(value) for value in row.values()] for row in rows]
    cells = ([list(header)] if header else []) + cells
    if delimiter == "\t":
        return "".join("\t".join(row) + "\n" for row in cells)
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(cells)
    return text.getvalue()


def put(folder: Path, **files: str | bytes) -> None:
    """Writes files; `__` in a name is a slash, and the last `_` a dot where there is none."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("DOT", ".").replace("DASH", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def beir(folder: Path, corpus: Rows = CORPUS, qrels: str | None = "") -> None:
    """BEIR's layout; `qrels` None leaves them to the caller."""
    put(folder, corpusDOTjsonl=lines(corpus), queriesDOTjsonl=lines(QUERIES))
    if qrels is not None:
        put(folder, qrels__testDOTtsv=qrels or table(judged(), "\t", ("query-id", "corpus-id", "score")))


def packed(pack: Callable[[bytes], bytes], ending: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        beir(folder)
        for path in [*folder.glob("*.jsonl"), *folder.glob("qrels/*")]:
            path.with_name(path.name + ending).write_bytes(pack(path.read_bytes()))
            path.unlink()

    return write


def zstandard(data: bytes) -> bytes:
    import pyarrow as pa

    return pa.Codec("zstd").compress(data, asbytes=True)


def zipped(*names: tuple[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names:
            archive.writestr(name, content)
    return data.getvalue()


def archive(folder: Path) -> Path:
    beir(folder)
    names = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    inside = [(f"small/{path.relative_to(folder).as_posix()}", path.read_bytes()) for path in names]
    (folder / "small.zip").write_bytes(zipped(*inside, ("__MACOSX/small/._corpus.jsonl", b"\0")))
    for path in names:
        path.unlink()
    return folder / "small.zip"


def upper_case(folder: Path) -> None:
    put(folder, corpusDOTJSONLDOTGZ=gzip.compress(lines(CORPUS).encode()), queriesDOTJsonl=lines(QUERIES))
    put(folder, qrels__testDOTTSV=table(judged(), "\t", ("Query-ID", "Corpus-ID", "Score")))


def shards(folder: Path) -> None:
    beir(folder)
    (folder / "corpus.jsonl").unlink()
    put(folder, corpus__b0DOTjsonl=lines(CORPUS[:2]), corpus__b1DOTjsonl=lines(CORPUS[2:]))


def numbered(folder: Path) -> None:
    beir(folder)
    (folder / "corpus.jsonl").unlink()
    for number, rows in enumerate((CORPUS[:2], CORPUS[2:3], CORPUS[3:])):
        (folder / f"corpus-0000{number}-of-00003.jsonl").write_text(lines(rows))


def by_split(folder: Path) -> None:
    put(
        folder,
        corpusDOTjsonl=lines(CORPUS),
        queries__testDOTjsonl=lines(QUERIES),
        queries__devDOTjsonl=lines(QUERIES[:1]),
    )
    put(folder, qrels__testDOTjsonl=lines(judged()), qrels__devDOTjsonl=lines(judged()[:1]))


def arrays(folder: Path) -> None:
    put(folder, corpusDOTjson=json.dumps(CORPUS), queriesDOTjson=json.dumps(QUERIES, indent=1))
    put(folder, qrels__testDOTjson=json.dumps(judged(), indent=2))


def windows(folder: Path) -> None:
    beir(folder)
    for path in [*folder.glob("*.jsonl"), *folder.glob("qrels/*")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))


def comma(folder: Path) -> None:
    put(
        folder,
        corpusDOTcsv=table(CORPUS, ",", ("id", "title", "text")),
        queriesDOTcsv=table(QUERIES, ",", ("qid", "query")),
    )
    put(folder, qrelsDOTcsv=table(judged(), ",", ("qid", "docid", "label")))


def tabs(folder: Path) -> None:
    put(folder, corpusDOTtsv=table(CORPUS, "\t", ("docid", "title", "text")))
    put(folder, queriesDOTtsv=table(QUERIES, "\t", ("query_id", "text")))
    put(folder, qrelsDOTtsv=table(judged(), "\t", ("query_id", "doc_id", "relevance")))


def ms_marco(folder: Path) -> None:
    put(folder, collectionDOTtsv=table([{"id": row["_id"], "text": row["text"]} for row in CORPUS], "\t"))
    put(
        folder,
        queriesDOTtestDOTtsv=table(QUERIES, "\t"),
        qrelsDOTtestDOTtsv="".join(f"{q}\t0\t{d}\t{g}\n" for q, d, g in QRELS),
    )


def pyserini(folder: Path) -> None:
    put(folder, corpus__docs00DOTjson=lines([{"id": row["_id"], "contents": row["text"]} for row in CORPUS]))
    put(folder, topicsDOTtsv=table(QUERIES, "\t"), qrelsDOTtxt="".join(f"{q}\t0\t{d}\t{g}\n" for q, d, g in QRELS))


def parquet(path: Path, rows: Rows, **kinds: Any) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path, **kinds)


def parquet_of_two_shapes(folder: Path) -> None:
    beir(folder)
    (folder / "corpus.jsonl").unlink()
    parquet(folder / "corpus" / "0.parquet", [{**row, "vector": [0.5]} for row in CORPUS if row["title"]])
    parquet(
        folder / "corpus" / "1.parquet", [{"id": row["_id"], "text": row["text"]} for row in CORPUS if not row["title"]]
    )


def parquets(folder: Path) -> None:
    for part, rows in (("corpus", CORPUS), ("queries", QUERIES), ("qrels/test", judged())):
        parquet(folder / f"{part}.parquet", rows)


def arrow(folder: Path, rows: Rows) -> None:
    """What `datasets.Dataset.save_to_disk` writes, without the package."""
    import pyarrow as pa

    folder.mkdir(parents=True)
    data = pa.Table.from_pylist([dict(row) for row in rows])
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, data.schema) as out,
    ):
        out.write_table(data)
    for name in ("dataset_info.json", "state.json"):
        (folder / name).write_text("{}")


def saved(folder: Path) -> None:
    arrow(folder / "corpus", CORPUS)
    arrow(folder / "queries" / "test", QUERIES)
    arrow(folder / "qrels" / "test", judged())
    (folder / "qrels" / "dataset_dict.json").write_text('{"splits": ["test"]}')


def with_qrels(name: str, text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        beir(folder, qrels=None)
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    return write


def with_corpus(name: str, content: str | bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        beir(folder)
        (folder / "corpus.jsonl").unlink()
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def of_a_company(folder: Path) -> None:
    shop = [{"sku": row["_id"], "brand": row["title"], "name": row["text"], "description": ""} for row in CORPUS]
    put(folder, data__productsDOTcsv=table(shop, ",", ("sku", "brand", "name", "description")))
    put(folder, data__askedDOTcsv=table(QUERIES, ",", ("number", "words")))
    put(folder, data__clicksDOTcsv=table(judged(), ",", ("number", "sku", "bought")))
    put(
        folder,
        taskDOTyaml="""files: {corpus: data/products.csv, queries: data/asked.csv, qrels: data/clicks.csv}
fields:
  {id: sku, text: [name, description], title: brand, query_id: number, doc_id: sku, relevance: bought,
   queries: {id: number, text: words}}
languages: [eng]
""",
    )


def hub_card(folder: Path) -> None:
    put(
        folder,
        a__cDOTcsv=table(CORPUS, ",", ("_id", "title", "text")),
        a__qDOTjsonl=lines(QUERIES),
        a__rDOTjsonl=lines(judged()),
    )
    put(
        folder,
        READMEDOTmd="""---
language: en
configs:
- {config_name: corpus, data_files: [{split: corpus, path: a/c.csv}]}
- {config_name: queries, data_files: [{split: queries, path: a/q.jsonl}]}
- {config_name: default, data_files: [{split: test, path: a/r.jsonl}]}
---
""",
    )


def twice(folder: Path) -> None:
    beir(folder, corpus=[*CORPUS, *CORPUS[:2]])
    path = folder / "qrels" / "test.tsv"
    path.write_text(path.read_text() + "q-1\t007\t2\n")


def file(name: str, content: str | bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / name

    return write


def no_titles(folder: Path) -> None:
    beir(
        folder,
        corpus=[{**row, "title": row["title"] or None} for row in CORPUS[:3]]
        + [{"id": row["_id"], "text": row["text"]} for row in CORPUS[3:]],
    )


def numeric_text(folder: Path) -> None:
    beir(folder, corpus=[{**row, "text": 2020 if row["text"] == "2020" else row["text"]} for row in CORPUS])


TREC = "".join(f"{q} 0 {d} {g}\n" for q, d, g in QRELS)
READ = (
    Form("BEIR: corpus.jsonl, queries.jsonl, qrels/test.tsv", beir),
    Form(".gz", packed(gzip.compress, ".gz")),
    Form(".bz2", packed(bz2.compress, ".bz2")),
    Form(".zst", packed(zstandard, ".zst")),
    Form(".xz", packed(lzma.compress, ".xz")),
    Form(
        "corpus.jsonl.zip, and shards in it",
        with_corpus(
            "corpus.jsonl.zip", zipped(("0.jsonl", lines(CORPUS[:2]).encode()), ("1.jsonl", lines(CORPUS[2:]).encode()))
        ),
    ),
    Form("small.zip, with a folder in it, as BEIR's downloads", archive),
    Form("endings and headers in upper case: corpus.JSONL.GZ", upper_case),
    Form("shards: corpus/*.jsonl", shards),
    Form("shards: corpus-00000-of-00003.jsonl", numbered),
    Form(
        "a file for each split: queries/test.jsonl, qrels/test.jsonl",
        by_split,
        said="its split test is taken; --split says another (dev)",
    ),
    Form("JSON arrays: corpus.json, queries.json, qrels/test.json", arrays),
    Form("a byte order mark, lines that end in CRLF", windows),
    Form("CSV with a header", comma),
    Form("TSV with a header", tabs),
    Form("MS MARCO: collection.tsv, queries.test.tsv, qrels.test.tsv", ms_marco, titles=False),
    Form("Pyserini: corpus/*.json of id and contents, topics.tsv, qrels.txt", pyserini, titles=False),
    Form("Parquet", parquets),
    Form("Parquet shards with different columns", parquet_of_two_shapes),
    Form("datasets' save_to_disk: corpus/, queries/test/, qrels/test/", saved),
    Form("a README with configs, as on the hub", hub_card),
    Form("a card with files and fields: a company's CSV", of_a_company),
    Form(
        "qrels: TREC's four columns, a blank in an id between tabs",
        with_qrels("qrels/test.txt", TREC.replace(" ", "\t")),
    ),
    Form("qrels: three columns without a header", with_qrels("qrels/test.tsv", table(judged(), "\t"))),
    Form(
        "qrels: three columns between blanks",
        with_qrels("qrels/test.qrels", TREC.replace(" 0 ", " ", 5).replace("q-1 1e5\n", "q-1 1e5 0\n")),
    ),
    Form(
        "qrels: blanks and empty columns at the ends of lines",
        with_qrels("qrels/test.tsv", table(judged(), "\t", ("qid", "docid", "rel")).replace("\n", " \t\n")),
    ),
    Form(
        "qrels: pytrec_eval's dictionaries, qrels/test.json",
        with_qrels("qrels/test.json", json.dumps({q: {d: g for p, d, g in QRELS if p == q} for q, _, _ in QRELS})),
    ),
    Form(
        "qrels: JSON lines of relevance or label",
        with_qrels(
            "qrels/test.jsonl",
            lines(judged("query_id", "doc_id", "relevance")[:2]) + lines(judged("qid", "docid", "label")[2:]),
        ),
    ),
    Form(
        "documents and judgements twice, alike",
        twice,
        said="RH034: the data holds 2 documents and 1 judgement more than once, each time alike; each counts once",
    ),
    Form("titles that are null or missing", no_titles),
    Form("a text that is a number", numeric_text),
)


def refused(name: str, write: Callable[[Path], object], said: str) -> Form:
    return Form(name, write, said)


def company(fields: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        of_a_company(folder)
        text = (folder / "task.yaml").read_text()
        (folder / "task.yaml").write_text(text[: text.index("fields")] + f"fields: {fields}\n")

    return write


CUT = gzip.compress(lines([{"_id": str(i), "text": str(i * 7919 % 9973)} for i in range(2000)]).encode())[:-300]
REFUSED = (
    refused(
        "a .gz that was cut",
        with_corpus("corpus.jsonl.gz", CUT),
        "DIR/corpus.jsonl.gz is not a whole gzip file (Compressed file ended before the end-of-stream marker was reached): fetch or pack it again",
    ),
    refused(
        "an archive of another kind: small.tar.gz",
        file("small.tar.gz", b"\x1f\x8b"),
        "DIR/small.tar.gz is a file, and data is a folder, or a zip archive of one: unpack it and name the folder",
    ),
    refused(
        "a .zip of several kinds",
        with_corpus("corpus.zip", zipped(("a.jsonl", b"{}"), ("b.csv", b"x"))),
        "DIR/corpus.zip holds files of several kinds (.csv, .jsonl): one part of a data set is one file, or shards of one kind",
    ),
    refused(
        "a shard that is missing",
        lambda folder: (numbered(folder), (folder / "corpus-00001-of-00003.jsonl").unlink()),
        "folder DIR has 2 of the 3 shards that corpus-00000-of-00003.jsonl is one of: number 00001 is missing",
    ),
    refused(
        "two kinds of file for one part",
        lambda folder: (beir(folder), parquet(folder / "corpus.parquet", CORPUS)),
        "folder DIR has both corpus.jsonl and corpus.parquet: keep one, so that it is clear which is read",
    ),
    refused(
        "one id, two texts, in two shards",
        lambda folder: (shards(folder), put(folder, corpus__b2DOTjsonl='{"_id": "007", "text": "other"}\n')),
        'document "007" stands twice, with different texts: DIR/corpus/b0.jsonl, line 1, and DIR/corpus/b2.jsonl, line 1',
    ),
    refused(
        "bytes that are no UTF-8",
        with_corpus("corpus.csv", "id,text\n1,café\n".encode("latin-1")),
        "DIR/corpus.csv, line 2 is not UTF-8: byte 6 of 7",
    ),
    refused(
        "an id that is a number with a point",
        with_corpus("corpus.jsonl", '{"_id": 7.0, "text": "x"}\n'),
        'DIR/corpus.jsonl, line 1: "_id" is 7.0, where an id is a string or a whole number',
    ),
    refused(
        "ids that differ by leading zeros",
        with_corpus("corpus.jsonl", lines([{**CORPUS[0], "_id": 7}, *CORPUS[1:]])),
        'folder DIR at REVISION, split test: the qrels judge document "007", and the corpus has "7": they differ by leading zeros, and ids are compared character by character, so that would be another one; write both alike',
    ),
    refused(
        "a text that is null",
        with_corpus("corpus.jsonl", '{"_id": "1", "text": null}\n'),
        'DIR/corpus.jsonl, line 1: "text" is null, where a string is needed',
    ),
    refused(
        "two columns that may be the id, and differ",
        with_corpus("corpus.jsonl", '{"docid": "1", "pid": "2", "text": "x"}\n'),
        'DIR/corpus.jsonl, line 1 has "docid" and "pid", which differ: which of them is meant cannot be told; name one in a card, as in "fields: {id: sku}"',
    ),
    refused(
        "CSV parted by semicolons",
        with_corpus("corpus.csv", "id;text\n1;x\n"),
        "DIR/corpus.csv, line 1 is one column, 'id;text': .csv is read with commas, .tsv with tabs",
    ),
    refused(
        "CSV with columns of one's own, and no card",
        with_corpus("corpus.csv", "sku,brand,name\n1,x,y\n"),
        'DIR/corpus.csv, line 1: the columns sku, brand, name are not known, and without a header there are id, text. Give them a header that is known, or name them in a card: "fields: {id: sku, text: [name, description]}"',
    ),
    refused(
        "a first line that reads as a header",
        with_corpus("corpus.tsv", "sku\tname\nd1\tamber\n"),
        'DIR/corpus.tsv, line 1 reads as a header (sku, name) whose columns are not known: name them by "fields" of a card, or take the line out',
    ),
    refused(
        "a header again, where files were joined",
        with_corpus("corpus.csv", "id,text\n007,x\nid,text\n1e5,y\n"),
        "DIR/corpus.csv, line 3 is the header again: were files joined? Keep the first one only",
    ),
    refused(
        "TSV with the quotes of CSV",
        with_corpus("corpus.tsv", 'id\ttext\n007\t"a ""b"" c"\n'),
        "DIR/corpus.tsv, line 2 has quotes doubled as in CSV, and .tsv is read without quoting: write it as .csv or .jsonl",
    ),
    refused(
        "a JSON array that was cut",
        with_corpus("corpus.json", json.dumps(CORPUS)[:-30]),
        "DIR/corpus.json is not JSON after item 4 (Expecting value: line 1 column 277 (char 276))",
    ),
    refused(
        "a column that the card names and no row has",
        company(
            "{id: sku, text: [name, desc], query_id: number, doc_id: sku, relevance: bought, queries: {id: number, text: words}}"
        ),
        "DIR/data/products.csv has no column \"desc\", which \"fields\" of the card names; its own are 'sku', 'brand', 'name', 'description'",
    ),
    refused(
        "a field that there is not",
        company("{ident: sku}"),
        'DIR/task.yaml: "fields" has no "ident"; it has id, text, title, query_id, doc_id, relevance, gain, aspect.',
    ),
    refused(
        "qrels that differ on a pair",
        with_qrels("qrels/test.txt", "q-1 0 007 1\nq-1 0 007 2\n"),
        'query "q-1" and document "007" have relevance 1 in DIR/qrels/test.txt, line 1 and 2 in DIR/qrels/test.txt, line 2: a pair has one relevance',
    ),
    refused(
        "a score that is no whole number",
        with_qrels("qrels/test.jsonl", '{"query-id": "q-1", "corpus-id": "007", "score": 0.35}\n'),
        'DIR/qrels/test.jsonl, line 1: "score" is 0.35, where relevance is a whole number: write grades, as 35 for 0.35 (nDCG is the same for any multiple of them), or call the column gain',
    ),
    refused(
        "a grade that is NaN",
        lambda folder: (
            beir(folder, qrels=None),
            parquet(
                folder / "qrels" / "test.parquet", [{"query-id": "q-1", "corpus-id": "007", "score": float("nan")}]
            ),
        ),
        'DIR/qrels/test.parquet, row 1: "score" is NaN, where relevance is a whole number: write grades, as 35 for 0.35 (nDCG is the same for any multiple of them), or call the column gain',
    ),
    refused(
        "qrels that may be of three or of four columns",
        with_qrels("qrels/test.tsv", "q 1\t007\t1\n"),
        "DIR/qrels/test.tsv, line 1 can be read as three columns, an id with a blank among them, or as TREC's four: part all columns by tabs, or give the header query-id, corpus-id, score",
    ),
    refused(
        "qrels whose header lacks the grade",
        with_qrels("qrels/test.tsv", "qid\tdocid\tclicks\nq-1\t007\t1\n"),
        'DIR/qrels/test.tsv, line 1 is a header (qid, docid, clicks) without the relevance: call it score, or name its column in a card: "fields: {relevance: grade}"',
    ),
    refused(
        "qrels of a query that is not there",
        with_qrels("qrels/test.txt", "q-9 0 007 1\n"),
        'folder DIR at REVISION, split test: the qrels judge query "q-9", which the queries do not have (they have "q-1", "2"): every judged query needs its text',
    ),
    refused(
        "a spreadsheet",
        with_corpus("corpus.xlsx", b"PK"),
        'folder DIR has no corpus.jsonl, nor as .jsonl, .ndjson, .json, .parquet, .arrow, .csv, .tsv, packed or in shards: BEIR\'s layout names it so; files of other names are named in a card, as in "files: {corpus: corpus-of-ours.csv}"',
    ),
)


# -- rankings

FIRST = {"q-1": {"007": 2.5, "1.0": 0.5, "1e5": -1.0}, "2": {"1e5": 3.0, "1.0": 0.25}}
SECOND = {"q-1": {"007": 0.25, "1.0": 0.75, "1e5": 0.5}, "2": {"1e5": 0.125, "1.0": 0.5}}
PAIRS = [(query_id, doc_id) for query_id, scores in FIRST.items() for doc_id in scores]


def scored(*names: str) -> Rows:
    """FIRST as rows with these names."""
    names = names or ("query_id", "doc_id", "score")
    return [dict(zip(names, (q, d, FIRST[q][d]), strict=True)) for q, d in PAIRS]


def logged(first: str, second: str) -> Rows:
    return [{"query_id": q, "doc_id": d, first: FIRST[q][d], second: SECOND[q][d]} for q, d in PAIRS]


def response(query_id: str, **more: Any) -> dict[str, Any]:
    hits = [{"_index": "shop", "_id": d, "_score": score, "_source": {}} for d, score in FIRST[query_id].items()]
    return {
        "took": 3,
        "timed_out": False,
        "_shards": {"total": 1, "failed": 0},
        "hits": {"max_score": 3.0, "hits": hits},
        **more,
    }


def responses(folder: Path) -> Path:
    for query_id in FIRST:
        (folder / f"{query_id}.json").write_text(json.dumps(response(query_id)))
    return folder


def predictions(**subsets: Any) -> str:
    return json.dumps({"mteb_model_meta": {"model_name": "m", "revision": "r"}, **subsets})


def as_parquet(folder: Path) -> Path:
    parquet(folder / "run.parquet", scored())
    return folder / "run.parquet"


TREC_RUN = "".join(f"{q} Q0 {d} 1 {FIRST[q][d]} tag\n" for q, d in PAIRS)
BOTH = True
"""A log with the scores of both stages."""
RANKED: tuple[tuple[str, Callable[[Path], Path], bool], ...] = (
    ("a TREC run", file("run.trec", TREC_RUN), not BOTH),
    ("a TREC run, packed", file("run.txt.gz", gzip.compress(TREC_RUN.encode())), not BOTH),
    ("JSON lines of query_id, doc_id, score", file("run.jsonl", lines(scored())), not BOTH),
    (
        "the same packed, in a zip archive",
        file("run.jsonl.zip", zipped(("run.jsonl", lines(scored()).encode()))),
        not BOTH,
    ),
    ("JSON lines with names of BEIR", file("run.jsonl", lines(scored("query-id", "corpus-id", "score"))), not BOTH),
    ("a JSON array", file("run.json", json.dumps(scored())), not BOTH),
    ("CSV with a header", file("run.csv", table(scored(), ",", ("qid", "docid", "score"))), not BOTH),
    ("TSV with a header", file("run.tsv", table(scored(), "\t", ("query_id", "doc_id", "score"))), not BOTH),
    ("Parquet", as_parquet, not BOTH),
    ("a folder of search responses, named by query_id", responses, not BOTH),
    (
        "JSON lines of search responses",
        file("run.jsonl", lines([{"query_id": q, "response": response(q)} for q in FIRST])),
        not BOTH,
    ),
    (
        "JSON lines of responses with the query_id among them",
        file("run.jsonl", lines([{"query_id": q, **response(q)} for q in FIRST])),
        not BOTH,
    ),
    ("query_id → response", file("run.json", json.dumps({q: response(q) for q in FIRST})), not BOTH),
    (
        "mteb's predictions",
        file("Small_predictions.json", predictions(default={"test": FIRST, "dev": {}}, other={"test": {}})),
        not BOTH,
    ),
    ("pytrec_eval's dictionaries", file("run.json", json.dumps(FIRST, indent=1)), not BOTH),
    (
        "a log with retrieval_score and rerank_score",
        file("log.jsonl", lines(logged("retrieval_score", "rerank_score"))),
        BOTH,
    ),
    (
        "a log with score and rerank_score",
        file("log.csv", table(logged("score", "rerank_score"), ",", ("query_id", "doc_id", "score", "rerank_score"))),
        BOTH,
    ),
    ("a log with retrieval_score and score", file("log.jsonl", lines(logged("retrieval_score", "score"))), BOTH),
    (
        "a log with a list for each query",
        file(
            "log.jsonl",
            lines(
                [
                    {
                        "query_id": q,
                        "results": [
                            {"doc_id": d, "bm25_score": FIRST[q][d], "reranker_score": SECOND[q][d]} for d in FIRST[q]
                        ],
                    }
                    for q in FIRST
                ]
            ),
        ),
        BOTH,
    ),
)
NOT_RANKED: tuple[Form, ...] = (
    refused(
        "a document twice",
        file("run.jsonl", lines([scored()[0], scored()[0]])),
        'DIR/run.jsonl, line 2: document "007" stands twice for query "q-1"',
    ),
    refused(
        "a score that is none",
        file("run.csv", "query_id,doc_id,score\nq-1,007,nan\n"),
        "DIR/run.csv, line 2: NaN is no finite number, as a score must be",
    ),
    refused(
        "a score that is null",
        file("run.jsonl", '{"query_id": "q-1", "doc_id": "007", "score": null}\n'),
        "DIR/run.jsonl, line 1: null is no finite number, as a score must be",
    ),
    refused(
        "a score beyond single precision",
        file("run.json", '{"q-1": {"007": 1e39}}'),
        "DIR/run.json, query 1: 1e+39 is beyond single precision (at most 3.4e38), in which scores are ranked",
    ),
    refused(
        "records with different scores",
        file("run.jsonl", lines([scored()[0], logged("score", "rerank_score")[1]])),
        "DIR/run.jsonl, line 2 has rerank_score and score, and DIR/run.jsonl, line 1 has score: scores of several kinds are no ranking",
    ),
    refused(
        "three scores in a log",
        file("run.jsonl", lines([{**logged("retrieval_score", "rerank_score")[0], "score": 9}])),
        "DIR/run.jsonl, line 1 has rerank_score and retrieval_score and score: a log has the scores of two stages; leave score out",
    ),
    refused(
        "a response that timed out",
        file("run.json", json.dumps({"q-1": response("q-1", timed_out=True)})),
        'DIR/run.json: the search of query "q-1" timed out, so its documents are not all: search again',
    ),
    refused(
        "a response without one of its shards",
        file("run.json", json.dumps({"q-1": response("q-1", _shards={"total": 2, "failed": 1})})),
        'DIR/run.json: the search of query "q-1" lacks 1 shards, so its documents are not all: search again',
    ),
    refused(
        "a response that was sorted",
        file("run.json", json.dumps({"q-1": {"hits": {"hits": [{"_id": "007", "_score": None}]}}})),
        'DIR/run.json, query "q-1", hit 1 has no "_score": a search with "sort" gives scores where "track_scores" is true',
    ),
    refused(
        "a response that names no query",
        file("run.json", json.dumps(response("q-1"))),
        'DIR/run.json is a search response that does not name its query: give a folder of such files named by query_id, or JSON lines of {"query_id": …, "response": …}',
    ),
    refused(
        "mteb's predictions of another split",
        file("run.json", predictions(default={"dev": FIRST})),
        'DIR/run.json has no predictions of default on the split "test"; it has dev',
    ),
    refused(
        "mteb's predictions of another subset",
        file("run.json", predictions(zh={"test": FIRST})),
        'DIR/run.json has predictions of zh, and none of "default".',
    ),
    refused(
        "a query twice in one JSON object",
        file("run.json", '{"q-1": {"007": 1}, "q-1": {"1e5": 1}}'),
        'DIR/run.json is not JSON ("q-1" stands twice in one object)',
    ),
    refused(
        "three columns without a header",
        file("run.tsv", "q-1\t007\t1\n"),
        "DIR/run.tsv, line 1 has 3 columns: a TREC run has six, query_id Q0 doc_id rank score tag",
    ),
    refused("nothing", file("run.jsonl", ""), "DIR/run.jsonl is empty: at least one row is needed"),
)
