"""What truncation takes is said: pairs without their document, inputs that became one, prompts without their question."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli, write_lines
from golden_cases import model_folder, opened, score
from made_results import made
from saved_rerankers import decoder

from harness.rerankers.inputs import look_at, made_one
from harness.rerankers.prompts.template import read_template, template_names
from harness.results.cautions import cautions_of
from harness.types import DocumentText, QueryText

DOCUMENTS = [
    f"{first} {second} of the river" for first in ("ice", "wind", "stone", "tree") for second in ("warm", "cold")
]
CUT_AT_THE_END = {"followir", "followir-llama2", "followir-llama2-chat", "followir-mistral-instruct"}
"""The packed templates whose authors cut the prompt's end."""


def collection(folder: Path, queries: list[str]) -> Path:
    """A BEIR folder in which every query has the eight documents."""
    write_lines(
        folder / "corpus.jsonl", [json.dumps({"_id": f"d{n}", "text": text}) for n, text in enumerate(DOCUMENTS)]
    )
    write_lines(
        folder / "queries.jsonl", [json.dumps({"_id": f"q{n}", "text": text}) for n, text in enumerate(queries)]
    )
    rows = [f"q{query}\td{number}\t{number % 2}" for query in range(len(queries)) for number in range(8)]
    write_lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *rows])
    lines = [
        f"q{query} Q0 d{number} {number} {9 - number} given" for query in range(len(queries)) for number in range(8)
    ]
    write_lines(folder.parent / "given.trec", lines)
    return folder


def warned(cli: Cli, folder: Path, *words: object) -> dict[str, str]:
    """The warnings of a run over the given lists, code → what was seen."""
    answer = cli("run", folder, "--candidates", "given.trec", "--format", "json", *words)
    assert answer.code == 0, answer.err
    (entry,) = answer.results()
    return {each["code"]: each["what"] for each in entry["diagnostics"]["cautions"]}


def test_a_query_that_fills_the_length_is_told(tmp_path: Path, cli: Cli):
    decoder(tmp_path / "tiny", None)
    long = " ".join(["water"] * 400)
    folder = collection(tmp_path / "rivers", [*(f"query {n} of the north" for n in range(39)), long])
    words = ("--reranker", "tiny", "--family", "qwen3-reranker", "--set", "max_length=400")
    found = warned(cli, folder, *words)
    assert found["RH020"] == (
        "of 320 pairs, 8 pairs keep no token of the document, 8 were cut to the very input of another document of their query"
    )
    assert found["RH021"].startswith("8 of 320 prompts lost a part of their question")
    assert "--set truncation=document" in found["RH021"]
    assert not {"RH020", "RH021"} & set(warned(cli, folder, *words, "--limit", 39))


def test_prompts_that_became_equal_are_counted_also_where_a_word_of_the_document_is_left(tmp_path: Path):
    decoder(tmp_path / "tiny", None)
    (reranker,) = opened(tmp_path / "tiny", tmp_path, "qwen3-reranker")
    pairs = [("what is water", text) for text in ("ice is old", "ice is cold", "wind of the north", "ice is warm")]
    lengths = [len(ids) for ids in score(reranker, pairs).ids]
    (short,) = opened(tmp_path / "tiny", tmp_path, "qwen3-reranker", max_length=min(lengths) - 1)
    found = score(short, pairs)
    seen = look_at(
        found.prepared, [text for _, text in pairs], np.array([[0, n] for n in range(4)]), [np.arange(4)], found.margins
    )
    apart = len({tuple(ids) for ids in found.ids})
    assert apart < 4
    assert seen.made_alike == 4 - apart + 1
    assert (seen.without_document, seen.without_question) == (0, 0)


def test_equal_texts_tie_and_are_not_laid_to_truncation(tmp_path: Path):
    (reranker,) = opened(model_folder("cross-encoder"), tmp_path)
    found = score(reranker, [("bread", "the oven"), ("bread", "the oven"), ("bread", "a train")])
    seen = look_at(
        found.prepared,
        ["the oven", "the oven", "a train"],
        np.array([[0, n] for n in range(3)]),
        [np.arange(3)],
        np.array([1.0, 1.0, 2.0]),
    )
    assert (seen.made_alike, seen.tied_alike, seen.tied_apart) == (0, 2, 0)


@pytest.mark.parametrize("noise", [[0, 2e-7, 1e-7], [1e-7, 0, 1e-7], [0, 0, 3e-7], [0, 0, 0]])
def test_equal_inputs_whose_scores_rounding_put_apart_tie(tmp_path: Path, noise: list[float]):
    (reranker,) = opened(model_folder("cross-encoder"), tmp_path, max_length=16)
    same = [("bread " * 30, f"{'the oven ' * 20}{end}") for end in ("x", "y", "z")]
    found = score(reranker, [*same, ("bread", "a train"), ("bread", "the oven")])
    assert found.ids[0] == found.ids[1] == found.ids[2]
    scores = np.array([*(1 + np.array(noise)), 1 + 1e-7, 2], np.float32)
    made = made_one(found.prepared, [np.arange(5)], scores)
    assert made[:3].tolist() == [min(scores[:3])] * 3
    assert made[3:].tolist() == scores[3:].tolist()
    apart = made_one(found.prepared, [np.arange(1), np.arange(1, 5)], scores)
    assert apart[0] == scores[0]


def test_inputs_that_truncation_made_equal_have_one_score_in_a_run(tmp_path: Path, cli: Cli):
    """RH020 says that they do, whatever the batch that each was computed in."""
    data = tmp_path / "data"
    texts = {f"d{place:03d}": f"{'the oven is warm ' * 20}{place}" for place in range(60)} | {
        "e0": "bread",
        "e1": "a train",
    }
    write_lines(data / "corpus.jsonl", [json.dumps({"_id": name, "text": text}) for name, text in texts.items()])
    write_lines(data / "queries.jsonl", [json.dumps({"_id": "q", "text": "bread oven"})])
    write_lines(data / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", "q\te0\t1"])
    run = tmp_path / "first.trec"
    write_lines(run, [f"q Q0 {name} {rank} {1000 - rank} first" for rank, name in enumerate(texts, 1)])
    answer = cli(
        "run", data, "--candidates", run, "--reranker", model_folder("cross-encoder"), "--set", "max_length=20",
        "--batch-tokens", "64", "--save-runs", tmp_path / "out",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    (path,) = (path for path in (tmp_path / "out").rglob("*.trec") if "cross-encoder" in str(path))
    scores = {line.split()[2]: line.split()[4] for line in path.read_text().splitlines()}
    assert len(scores) == len(texts)
    assert len({scores[name] for name in texts if name.startswith("d")}) == 1


def test_ties_of_rounding_are_told_from_ties_of_equal_inputs(tmp_path: Path):
    (reranker,) = opened(model_folder("cross-encoder"), tmp_path)
    found = score(reranker, [("bread", "the oven"), ("bread", "a train"), ("bread", "an hour")])
    rounded = np.array([1.0, 1.0, 2.0])
    seen = look_at(
        found.prepared,
        ["the oven", "a train", "an hour"],
        np.array([[0, n] for n in range(3)]),
        [np.arange(3)],
        rounded,
    )
    assert (seen.tied_alike, seen.tied_apart) == (0, 2)


def taken(reranker: Any, document: str) -> tuple[list[int], bool]:
    """The ids of a pair, and whether its question was cut."""
    found = score(reranker, [("how warm is water", document)])
    return found.ids[0], bool(found.prepared.taken.without_question[0])


@pytest.mark.parametrize("truncation", ["published", "document"])
@pytest.mark.parametrize("name", template_names())
def test_every_packed_template_ends_as_it_should_or_says_that_it_does_not(tmp_path: Path, name: str, truncation: str):
    from harness.models.tokenization import load_tokenizer
    from harness.rerankers.prompts.prompts import Prompter
    from harness.rerankers.prompts.template import Rule

    decoder(tmp_path / "tiny", None)
    template = read_template(name)
    rule = next(iter(template.rules.values()))
    cut, fixed = ("document", "counted") if truncation == "document" else (rule.cut, rule.fixed)
    prompter = Prompter(load_tokenizer(tmp_path / "tiny", {}), template, Rule(400, cut, fixed), None, 1)
    texts = [DocumentText("", "ice is cold"), DocumentText("", " ".join(["stone"] * 12_000))]
    prompts = prompter.encode([QueryText("how warm is water")], texts, np.array([[0, 0], [0, 1]]))
    short, long = prompts.ids(0), prompts.ids(1)
    assert prompts.lost[1] > 10_000
    ends_cut = truncation == "published" and name in CUT_AT_THE_END
    assert (short[-3:] == long[-3:]).all() != ends_cut
    assert prompts.taken.without_question.tolist() == [False, ends_cut]
    assert not prompts.taken.without_document.any()


@pytest.mark.parametrize("max_length", [16, 64])
@pytest.mark.parametrize("system", ["cross-encoder", "bge-reranker", "e5-mistral"])
def test_inputs_that_truncation_made_alike_are_found_whatever_is_looked_at_first(
    tmp_path: Path, system: str, max_length: int
):
    family = {"bge-reranker": "bge", "e5-mistral": "e5-mistral"}.get(system)
    (reranker,) = opened(model_folder(system), tmp_path, family, max_length=max_length)
    texts = [
        f"{first} river {'under the old tree ' * 40}{last}" for first in ("the", "ice", "a") for last in ("x", "y")
    ]
    model = reranker.load()
    pairs = np.array([[0, place] for place in range(len(texts))])
    prepared = model.prepare([QueryText("water " * 30)], [DocumentText("", text) for text in texts], pairs)
    seen = look_at(prepared, texts, pairs, [np.arange(len(texts))], np.arange(len(texts)))
    inputs = [tuple(prepared.token_ids(row)) for row in range(len(texts))]
    assert seen.made_alike == sum(inputs.count(each) > 1 for each in inputs) >= 6


@pytest.mark.parametrize(
    ("dtype", "why"),
    [
        ("bfloat16", "whose scores bfloat16 rounds together"),
        ("float32", "whose scores single precision brings together"),
    ],
)
def test_the_warning_of_ties_says_what_made_them(dtype: str, why: str):
    seen = {"tie_rate": 0.5, "tied_alike": 3, "tied_apart": 4, "dtype": dtype}
    result = replace(made([0.5, 0.7]), diagnostics=seen)
    (caution,) = [each for each in cautions_of(result) if each.code == "RH001"]
    assert caution.what.endswith(f": 3 have the input of another one and 4 have inputs of their own, {why}")
