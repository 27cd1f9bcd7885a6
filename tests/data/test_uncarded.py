"""What language a data set without a card has: what is stated wins, what is guessed is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Cli, write_collection, write_lines

from harness.data.task import Cards

PACKED = Cards()


def hub_layout(folder: Path, prefixes: Sequence[str], language: str = "") -> Path:
    """A folder with the configs PREFIX-corpus, PREFIX-queries, PREFIX-qrels for each prefix."""
    entries = []
    for prefix in prefixes:
        data = write_collection(folder / prefix)
        rows = (data / "qrels" / "test.tsv").read_text().splitlines()[1:]
        judged = [dict(zip(("query-id", "corpus-id", "score"), row.split("\t"), strict=True)) for row in rows]
        write_lines(data / "qrels.jsonl", [json.dumps({**row, "score": int(row["score"])}) for row in judged])
        entries += [
            f"- config_name: {prefix}-{part}\n  data_files:\n  - split: test\n    path: {prefix}/{part}.jsonl"
            for part in ("corpus", "queries", "qrels")
        ]
    (folder / "README.md").write_text(f"---\n{language}configs:\n" + "\n".join(entries) + "\n---\n")
    return folder


def languages_of(folder: Path, cache: Path, language: str | None = None) -> tuple[dict[str, tuple[str, ...]], str]:
    (task,) = PACKED.resolve([str(folder)], cache, language=language)
    return {subset.name: subset.languages for subset in task.subsets}, task.note


@pytest.mark.parametrize("prefix", ["fin", "bio", "it", "de"])
def test_a_stated_language_goes_before_what_a_parts_name_looks_like(tmp_path, prefix):
    folder = hub_layout(tmp_path / "data", [prefix], "language: en\n")
    assert languages_of(folder, tmp_path / "cache") == ({prefix: ("en",)}, "")
    assert languages_of(folder, tmp_path / "cache", "zho") == ({prefix: ("zho",)}, "")


@pytest.mark.parametrize("prefixes", [["fin"], ["it", "hr"], ["fin", "bio"], ["de"]])
def test_a_short_name_alone_is_no_language_and_what_is_guessed_is_said(tmp_path, prefixes):
    found, said = languages_of(hub_layout(tmp_path / "data", prefixes), tmp_path / "cache")
    assert found == dict.fromkeys(prefixes, ("eng-Latn",))
    assert said == (
        "no language is stated, so it is taken for English; language in its README, or --language CODE, says another"
    )


def test_the_parts_of_a_known_layout_are_languages_and_that_is_said(tmp_path):
    found, said = languages_of(hub_layout(tmp_path / "data", ["sw", "yo", "zh"]), tmp_path / "cache")
    assert found == {"sw": ("sw",), "yo": ("yo",), "zh": ("zh",)}
    assert "taken from its name, as in MIRACL (sw, yo, zh)" in said


def test_parts_that_the_readme_lists_are_its_languages(tmp_path):
    found, said = languages_of(hub_layout(tmp_path / "data", ["hr", "it"], "language: [hr, it]\n"), tmp_path / "cache")
    assert (found, said) == ({"hr": ("hr",), "it": ("it",)}, "")


def test_of_several_languages_none_is_taken_for_a_part_that_is_none_of_them(tmp_path):
    folder = hub_layout(tmp_path / "data", ["fin", "bio"], "language: [en, de]\n")
    found, said = languages_of(folder, tmp_path / "cache")
    assert found == {"fin": (), "bio": ()}
    assert "names several languages (en, de), and which is that of fin, bio cannot be told: --language CODE" in said


def test_a_finance_corpus_in_english_is_searched_as_english(cli: Cli, tmp_path):
    folder = hub_layout(tmp_path / "data", ["fin"], "language: en\n")
    write_lines(
        folder / "fin" / "corpus.jsonl",
        [
            json.dumps({"_id": f"d{i:02d}", "text": word})
            for i, word in enumerate(["the companies' earnings", "earning", "a house", "nations"])
        ],
    )
    write_lines(folder / "fin" / "queries.jsonl", [json.dumps({"_id": "q0", "text": "company earnings"})])
    write_lines(folder / "fin" / "qrels.jsonl", [json.dumps({"query-id": "q0", "corpus-id": "d01", "score": 1})])
    answer = cli("run", folder, "--measures", "R@100", "--format", "json")
    assert answer.code == 0, answer.err
    (result,) = answer.results()
    assert result["measures"]["R@100"]["first_stage"] == 1.0
