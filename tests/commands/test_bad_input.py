"""Bad input: one line on stderr, exit code 2, no traceback, nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import DATA, Answer, Cli, Counter, write_collection, write_lines

CROSS_ENCODER = DATA / "models" / "cross-encoder"


def one_line(answer: Answer, *words: str) -> None:
    """The answer is one error line that holds every word, with exit code 2."""
    assert answer.code == 2
    lines = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, answer.err
    assert "Traceback" not in answer.err
    for word in words:
        assert word in lines[0], lines[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "SciFcat"], 'Did you mean "SciFact"'),
        (["run", "scifcat"], 'Did you mean "SciFact"'),
        (["run", "NanoBIER"], 'Did you mean "NanoBEIR"'),
        (["run", "./nowhere"], "nowhere"),
        (["run", "SciFact", "--measures", "ndgc@10"], 'Did you mean "nDCG@10"'),
        (["run", "SciFact", "--measures", "nDCG@ten"], "unknown measure"),
        (["run", "SciFact", "--measures", ","], "names nothing"),
        (["export", "results", "--to", "cvs"], 'Did you mean "csv"? '),
        (["check", "SciFact", "--dtyp", "float32"], 'Did you mean "--dtype"'),
        (["run", "SciFact", "--reranker", "nonsense"], "unknown model"),
        (["run", "SciFact", "--reranker", "./no/model"], "no such folder"),
        (["run", "SciFact", "--reranker", "no_file.py:rank"], "no file"),
        (["run", "SciFact", "--reranker", "no_such_module:rank"], "no_such_module"),
        (["run", "SciFact", "--candidates", "no.trec"], "no such file"),
        (["run", "SciFact", "--top-k", "0"], "above 0"),
        (["run", "SciFact", "--limit", "few"], "above 0"),
        (["run", "SciFact", "--fuse"], "two first stages"),
        (["run", "SciFact", "--set", "max_length"], "KEY=VALUE"),
        (["run", "SciFact", "--dtype", "float23"], 'Did you mean "float32"'),
        (["run", "SciFact", "--rerankers", "x"], "--reranker"),
        (["run", "SciFact", "--tasks", "no-folder"], "not a folder"),
        (["run", "XQuADRetrieval", "--languages", "zz"], "no task has the language"),
        (["run"], "TASK"),
        (["rum"], "run"),
        ([], "COMMAND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_is_one_line(cli: Cli, words, said):
    one_line(cli(*words), said)


def broken(folder: Path, name: str, text: str) -> Path:
    write_collection(folder)
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("corpus.jsonl", "", "corpus.jsonl"),
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n{"_id": "b", "te\n', "line 2"),
        ("corpus.jsonl", '{"_id": "a", "text": "x"}\n{"_id": "a", "text": "y"}\n', '"a"'),
        ("corpus.jsonl", '{"_id": "a", "body": "x"}\n', "text"),
        ("queries.jsonl", "", "queries.jsonl"),
        ("queries.jsonl", '{"_id": "q0", "text": [7]}\n', "line 1"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "test.tsv"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq0\td00\tgood\n", "line 2"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq0\td00\n", "line 2"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nnobody\td00\t1\n", "nobody"),
        ("task.yaml", "identical_id: drop\n", 'Did you mean "identical_ids"'),
        ("task.yaml", "measures: [nDCG]\nx: [\n", "task.yaml"),
    ],
)
def test_a_broken_collection_names_file_and_line(cli: Cli, tmp_path: Path, name, text, said):
    one_line(cli("run", broken(tmp_path / "birds", name, text)), said)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "bad.trec"),
        (["q0 Q0 d00 1 0.5"], "line 1"),
        (["q0 Q0 d00 1 0.5 x", "q0 Q0 d01 2 high x"], "line 2"),
        (["q0 Q0 d00 1 nan x"], "line 1"),
        (["q0 Q0 d00 1 2 x", "q0 Q0 d00 2 1 x"], "d00"),
        (["other Q0 d00 1 2 x"], "run of another task"),
        (["q0 Q0 unknown 1 2 x"], "not in the corpus"),
    ],
)
def test_a_broken_run_file_names_file_and_line(cli: Cli, collection_folder: Path, lines, said):
    write_lines(Path("bad.trec"), lines)
    one_line(cli("run", collection_folder, "--candidates", "bad.trec"), said)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return [float('nan')] * len(documents)", "nan for query q0"),
        ("return [float('inf')] * len(documents)", "inf for query q0"),
        ("return [1.0]", "one score a document"),
        ("return None", "shape (0,)"),
        ("return ['high'] * len(documents)", "list"),
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        ("return [{'corpus_id': 0, 'score': 1.0}]", "every document needs a score"),
    ],
)
def test_a_reranker_that_misbehaves_is_named(cli: Cli, collection_folder: Path, body, said):
    Path("rank.py").write_text(f"def rank(query, documents):\n    {body}\n")
    one_line(cli("run", collection_folder, "--reranker", "rank.py:rank"), said, "rank.py:rank")


def test_what_was_scored_before_an_error_is_kept(cli: Cli, collection_folder: Path, counter: Counter):
    source = Path(counter.name.partition(":")[0])
    good = source.read_text()
    source.write_text(good.replace("return [", "assert not any('note 4' in d for _, d in pairs)\n        return ["))
    one_line(cli("run", collection_folder, "--reranker", counter.name, "--batch-tokens", 20), "AssertionError")
    before = counter.pairs()
    counter.reset()
    source.write_text(good)
    assert cli("run", collection_folder, "--reranker", counter.name, "--batch-tokens", 20).code == 0
    again = counter.pairs()
    assert before[:-1]
    kept = set(before) - set(again)
    assert kept, "the batches before the failing one are not scored again"


def test_a_model_whose_head_would_be_new_is_refused_by_name(cli: Cli, collection_folder: Path, tmp_path: Path):
    from safetensors.numpy import load_file, save_file

    model = tmp_path / "headless"
    shutil.copytree(CROSS_ENCODER, model)
    weights = load_file(model / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("classifier")}
    save_file(kept, model / "model.safetensors", metadata={"format": "pt"})
    one_line(cli("run", collection_folder, "--reranker", model), "headless", "classifier.weight", "newly initialised")


class Opens:
    """What a hostile pickle would do when it is read."""

    def __reduce__(self):
        return (open, ("opened-by-pickle", "w"))


def test_pickled_code_in_weights_is_never_run(cli: Cli, collection_folder: Path, tmp_path: Path):
    import torch

    model = tmp_path / "pickled"
    shutil.copytree(CROSS_ENCODER, model)
    (model / "model.safetensors").unlink()
    torch.save({"classifier.weight": Opens()}, model / "pytorch_model.bin")
    one_line(cli("run", collection_folder, "--reranker", model), "pickled")
    assert not Path("opened-by-pickle").exists()


def test_a_model_of_another_kind_is_refused_by_name(cli: Cli, collection_folder: Path, tmp_path: Path):
    model = tmp_path / "base"
    shutil.copytree(CROSS_ENCODER, model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    one_line(cli("run", collection_folder, "--reranker", model), "BertModel", "fits no family", "--family")
    one_line(cli("run", collection_folder, "--retriever", model), "BertModel")


def test_a_reranker_as_first_stage_is_refused(cli: Cli, collection_folder: Path):
    one_line(cli("run", collection_folder, "--retriever", CROSS_ENCODER), "BertForSequenceClassification", "--reranker")


def test_weights_that_are_not_finite_are_refused(cli: Cli, collection_folder: Path, tmp_path: Path):
    import numpy as np
    from safetensors.numpy import load_file, save_file

    model = tmp_path / "nan"
    shutil.copytree(CROSS_ENCODER, model)
    weights = load_file(model / "model.safetensors")
    weights["classifier.bias"] = np.full_like(weights["classifier.bias"], np.nan)
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    one_line(cli("run", collection_folder, "--reranker", model), "classifier.bias", "NaN")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("max_lenght=5", 'Did you mean "max_length"'),
        ("max_length=long", "whole number"),
        ("max_length=9999", "at most 512"),
    ],
)
def test_a_wrong_setting_is_one_line(cli: Cli, collection_folder: Path, setting, said):
    one_line(cli("run", collection_folder, "--reranker", CROSS_ENCODER, "--set", setting), said)


def test_an_unknown_family_lists_the_families(cli: Cli, collection_folder: Path):
    one_line(cli("run", collection_folder, "--reranker", CROSS_ENCODER, "--family", "bert"), "sequence-classification")


def test_a_relevance_level_above_every_judgement_is_one_line(cli: Cli, collection_folder: Path):
    one_line(cli("run", collection_folder, "--relevance-level", 3), "the highest is 2")


def test_a_device_that_is_not_there_is_one_line(cli: Cli, collection_folder: Path):
    one_line(cli("run", collection_folder, "--reranker", CROSS_ENCODER, "--device", "cuda:7"), "cuda:7", "--device cpu")


def test_a_results_folder_that_cannot_be_written_is_one_line(cli: Cli, collection_folder: Path):
    Path("taken").write_text("a file")
    one_line(cli("run", collection_folder, "--results", "taken"), "taken", "--results DIR")
