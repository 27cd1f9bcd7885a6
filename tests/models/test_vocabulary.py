"""A tokenizer without a vocabulary is refused; one with any is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from own_code import own_classifier
from tiny_models import sentence_transformer, write_json

from harness.engine.options import Options
from harness.errors import HarnessError
from harness.models.tokenization import load_tokenizer
from harness.rerankers.resolve import open_rerankers
from harness.rerankers.score import score_pairs
from harness.types import DocumentText, QueryText

WITHOUT = {
    "AlbertTokenizer": "albert", "BertTokenizer": "bert", "DebertaV2Tokenizer": "deberta-v2", "GPT2Tokenizer": "gpt2",
    "GemmaTokenizer": "gemma", "LlamaTokenizer": "llama", "MPNetTokenizer": "mpnet", "PreTrainedTokenizerFast": "bert",
    "Qwen2Tokenizer": "qwen2", "RobertaTokenizer": "roberta", "T5Tokenizer": "t5", "XLMRobertaTokenizer": "xlm-roberta",
}  # fmt: skip


def folder_of(folder: Path, kind: str | None, model_type: str) -> Path:
    write_json(folder / "config.json", {"model_type": model_type})
    if kind:
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": kind})
    return folder


@pytest.mark.parametrize("kind", WITHOUT)
@pytest.mark.parametrize("stated", [True, False], ids=["class stated", "class guessed"])
def test_a_tokenizer_without_any_vocabulary_file_is_refused(tmp_path: Path, kind: str, stated: bool):
    folder = folder_of(tmp_path / "model", kind if stated else None, WITHOUT[kind])
    with pytest.raises(HarnessError, match=r"no vocabulary|no tokenizer that can be read"):
        load_tokenizer(folder, {})


def test_the_line_says_which_file_is_wanted(tmp_path: Path):
    folder = folder_of(tmp_path / "model", "DebertaV2Tokenizer", "deberta-v2")
    with pytest.raises(HarnessError, match=r"Put tokenizer\.json or spm\.model into its folder"):
        load_tokenizer(folder, {})


def test_a_vocabulary_without_its_merges_is_refused(tmp_path: Path):
    folder = folder_of(tmp_path / "model", "GPT2Tokenizer", "gpt2")
    pieces = ["<|endoftext|>", *(chr(code) for code in range(33, 127)), "\u0120", "ri", "ve"]
    write_json(folder / "vocab.json", {piece: number for number, piece in enumerate(pieces)})
    with pytest.raises(HarnessError, match="merges"):
        load_tokenizer(folder, {})
    (folder / "merges.txt").write_text("#version: 0.2\nr i\nv e\n")
    assert load_tokenizer(folder, {}).backend.encode("ri", add_special_tokens=False).tokens == ["ri"]


def test_a_vocabulary_file_alone_is_enough(tmp_path: Path):
    folder = folder_of(tmp_path / "model", "BertTokenizer", "bert")
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nriver")
    assert load_tokenizer(folder, {}).ids_of_one("river") == [5]


def test_a_vocabulary_of_marks_alone_is_refused_whatever_the_files_call_them(tmp_path: Path):
    folder = folder_of(tmp_path / "model", None, "bert")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "unk_token": "<unk>"})
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    with pytest.raises(HarnessError, match="no vocabulary"):
        load_tokenizer(folder, {})
    with (folder / "vocab.txt").open("a") as file:
        file.write("river\n")
    with pytest.raises(HarnessError, match=r"the tokenizer cannot read a text: .*UNK"):
        load_tokenizer(folder, {}).ids_of_one("stone")


def test_a_tokenizer_json_of_special_tokens_alone_is_refused(tmp_path: Path):
    from tokenizers import Tokenizer, models

    folder = folder_of(tmp_path / "model", None, "bert")
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[UNK]", "[CLS]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(HarnessError, match="no vocabulary"):
        load_tokenizer(folder, {})


def test_a_model_of_the_library_without_a_vocabulary_is_refused_too(tmp_path: Path):
    sentence_transformer(tmp_path, dense=16)
    folder = tmp_path / "model"
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink(missing_ok=True)
    (reranker,) = open_rerankers(str(folder), Options(), tmp_path / "cache")
    with pytest.raises(HarnessError, match="no vocabulary"):
        score_pairs(reranker, [(QueryText("a river"), DocumentText("", "the water"))])


def test_a_reranker_without_a_vocabulary_scores_nothing(tmp_path: Path, cli):
    folder = own_classifier(tmp_path / "own")
    (folder / "tokenizer.json").unlink()
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"query": "what is water", "text": "the river"}) + "\n")
    answer = cli("score", folder, pairs, "--trust-remote-code")
    assert answer.code == 2
    assert answer.out == ""
    assert "no vocabulary" in answer.err.splitlines()[-1]
