"""Gains that are no whole numbers: what nDCG takes, and what no other measure is given."""

from __future__ import annotations

import json
import math

import pytest
from conftest import Answer, Cli, write_lines
from data_forms import beir, lines

from harness.data.collection import prepare
from harness.data.judgements import read_judgements
from harness.data.task import Cards
from harness.errors import HarnessError

GAINS = [("q-1", "007", 0.35), ("q-1", "1.0", 0.9), ("2", "1e5", 0.5)]


def rows(*names: str, grades: dict[str, int] | None = None) -> list[dict[str, object]]:
    found = [dict(zip(names or ("query-id", "corpus-id", "gain"), row, strict=True)) for row in GAINS]
    return [{**row, "score": grades[row["corpus-id"]]} for row in found] if grades else found


def test_a_column_of_gains_is_no_grade_and_is_kept_beside_one(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text(lines(rows()))
    found = read_judgements([path])
    assert found.gains == {"q-1": {"007": 0.35, "1.0": 0.9}, "2": {"1e5": 0.5}}
    assert found.gains_alone
    path.write_text(lines(rows(grades={"007": 1, "1.0": 3, "1e5": 0})))
    found = read_judgements([path])
    assert found.qrels == {"q-1": {"007": 1, "1.0": 3}, "2": {"1e5": 0}}
    assert (found.gains["2"], found.gains_alone) == ({"1e5": 0.5}, False)


def test_gains_that_are_whole_are_grades_as_ever(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text(lines([{"query-id": "q", "corpus-id": "d", "gain": 2.0}]))
    assert read_judgements([path])[:3] == ({"q": {"d": 2}}, None, None)


@pytest.mark.parametrize(
    ("said", "row"),
    [
        ("is below 0: gains are 0 or more", {"gain": -0.5}),
        ("has no gain, and other judgements have", {"score": 1}),
        ('"gain" is "high", where a gain is a finite number', {"gain": "high"}),
        ('"gain" is true', {"gain": True}),
        ("beyond 2,147,483,647", {"gain": 1e12}),
    ],
)
def test_a_gain_that_is_none_is_refused(tmp_path, said, row):
    path = tmp_path / "test.jsonl"
    path.write_text(lines([*rows(), {"query-id": "q-1", "corpus-id": "e", **row}]))
    with pytest.raises(HarnessError, match=said):
        read_judgements([path])


def test_gains_in_files_of_their_own_belong_to_the_judgements(tmp_path):
    qrels, gains = tmp_path / "qrels.tsv", tmp_path / "gains.jsonl"
    write_lines(qrels, ["query-id\tcorpus-id\tscore", "q\ta\t2", "q\tb\t1", "q\tc\t0"])
    gains.write_text(lines([{"query-id": "q", "corpus-id": d, "gain": g} for d, g in (("a", 1), ("b", 0.25))]))
    found = read_judgements([qrels], gains=[gains])
    assert (found.qrels, found.gains) == ({"q": {"a": 2, "b": 1, "c": 0}}, {"q": {"a": 1.0, "b": 0.25, "c": 0.0}})
    gains.write_text(lines([{"query-id": "q", "corpus-id": "a", "gain": 1}]))
    with pytest.raises(HarnessError, match="line 3 has no gain"):
        read_judgements([qrels], gains=[gains])
    gains.write_text(lines([{"query-id": "q", "corpus-id": "x", "gain": 1}]))
    with pytest.raises(HarnessError, match="have a gain and no judgement"):
        read_judgements([qrels], gains=[gains])


def test_a_config_of_gains_is_read_as_one(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    beir(folder)
    (folder / "gains.jsonl").write_text(lines([{"query-id": q, "corpus-id": d, "gain": g} for q, d, g in GAINS]))
    (by_name,) = Cards().resolve([str(folder)], tmp_path / "cache")
    found = prepare(by_name, by_name.subsets[0], tmp_path / "cache")
    assert found.gains == {"q-1": {"007": 0.35, "1.0": 0.9, "1e5": 0.0}, "2": {"1e5": 0.5, "gone": 0.0}}
    assert (found.qrels["q-1"], found.gains_alone) == ({"007": 2, "1.0": 1, "1e5": 0}, False)
    configs = "".join(
        f"- {{config_name: {name}, data_files: [{{split: {split}, path: {path}}}]}}\n"
        for name, split, path in (
            ("corpus", "corpus", "corpus.jsonl"), ("queries", "queries", "queries.jsonl"),
            ("default", "test", "qrels/test.tsv"), ("gains", "test", "gains.jsonl"),
        )
    )  # fmt: skip
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    (by_card,) = Cards().resolve([str(folder)], tmp_path / "cache")
    assert by_card.revision != by_name.revision
    assert prepare(by_card, by_card.subsets[0], tmp_path / "cache").fingerprint == found.fingerprint


def test_ndcg_takes_gains_and_the_others_are_refused_with_the_way_out(cli: Cli, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    beir(folder, qrels=None)
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.jsonl").write_text(lines(rows()))
    refused = cli("run", folder)
    assert refused.code == 2
    assert "cannot be measured by MAP@100: the judgements are gains" in refused.err
    assert "--measures nDCG@10" in refused.err
    (found,) = measures_of(cli("run", folder, "--measures", "nDCG@10", "--format", "json"))
    row = found["nDCG@10"]
    # BM25 ranks 1.0 above 007 for q-1, and 1e5 first for 2.
    assert row["first_stage"] == pytest.approx(_expected(), abs=1e-12)
    assert row["oracle"] == pytest.approx(1.0)
    assert "R@100" not in found
    (folder / "qrels" / "test.jsonl").write_text(lines(rows(grades={"007": 1, "1.0": 0, "1e5": 1})))
    (both,) = measures_of(cli("run", folder, "--measures", "nDCG@10,RR@10", "--format", "json"))
    assert both["nDCG@10"]["first_stage"] == row["first_stage"]
    assert both["RR@10"]["oracle"] == 1.0


def measures_of(done: Answer) -> list[dict[str, dict[str, float]]]:
    assert done.code == 0, done.err
    return [result["measures"] for result in json.loads(done.out)["results"]]


def _expected() -> float:
    best = 0.9 + 0.35 / math.log2(3)
    return ((0.35 + 0.9 / math.log2(3)) / best + 1.0) / 2
