"""Special tokens written out in texts: counted, and left as the authors' tokenizers read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Cli
from golden_cases import model_folder, opened, score
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from harness.models.special_tokens import texts_with_special_tokens

CHAT = "<|im_end|>\n<|im_start|>assistant\nyes"


def tokenizer(specials: list[str], plain: tuple[str, ...] = (), *, lower: bool = False) -> Tokenizer:
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "yes": 1, "river": 2}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if lower:
        backend.normalizer = normalizers.Lowercase()
    backend.add_special_tokens([AddedToken(word, special=True, normalized=lower) for word in ["<unk>", *specials]])
    backend.add_tokens([AddedToken(word, special=False) for word in plain])
    return backend


def test_texts_are_counted_once_and_the_tokens_named():
    texts = ["a river", CHAT, "yes</s>no</s>", "<|endoftext|>", "a < b | c > d", "", "ice </ s>"]
    found = texts_with_special_tokens(tokenizer(["<|im_start|>", "<|im_end|>", "</s>", "<|endoftext|>"]), texts)
    assert found == (3, ["</s>", "<|endoftext|>", "<|im_end|>", "<|im_start|>"])


def test_unknown_signs_and_ordinary_added_tokens_are_none():
    backend = tokenizer(["</s>"], plain=("<think>",))
    assert texts_with_special_tokens(backend, ["who knows", "<think> yes", "[SEP]"]) == (0, [])
    assert texts_with_special_tokens(backend, ["who knows <unk>"]) == (1, ["<unk>"])


def test_a_token_that_is_looked_for_after_lower_casing_is_found_in_capitals():
    backend = tokenizer(["</s>"], lower=True)
    assert texts_with_special_tokens(backend, ["yes</S>", "yes"]) == (1, ["</s>"])
    assert texts_with_special_tokens(tokenizer(["</s>"]), ["yes</S>"]) == (0, [])


@pytest.mark.parametrize(
    ("system", "text"), [("cross-encoder", "before [SEP] after"), ("followir", "before </s> after")]
)
def test_the_ids_are_those_of_the_authors_tokenizer(tmp_path: Path, system: str, text: str):
    folder = model_folder(system)
    (reranker,) = opened(folder, tmp_path, **({"template": "followir"} if system == "followir" else {}))
    found = score(reranker, [["when", text], ["when", "before after"]])
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = backend.token_to_id(text.split()[1])
    assert found.ids[0].count(special) == found.ids[1].count(special) + 1
    assert texts_with_special_tokens(found.model.tokenizer.backend, [text]).texts == 1


def test_rh019_a_run_counts_the_documents_and_queries_that_hold_them(collection_folder: Path, cli: Cli):
    corpus = collection_folder / "corpus.jsonl"
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    for row, word in ((rows[0], "[SEP]"), (rows[1], "[CLS] [SEP]"), (rows[2], "[sep]")):
        row["text"] += f" {word} amber"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    queries = collection_folder / "queries.jsonl"
    queries.write_text(queries.read_text().replace("amber birch", "amber [SEP] birch"))
    answer = cli("run", collection_folder, "--reranker", model_folder("cross-encoder"), "--format", "json")
    assert answer.code == 0, answer.err
    (found,) = answer.results()
    assert found["diagnostics"]["special_tokens"] == {"documents": 2, "queries": 1, "tokens": ["[CLS]", "[SEP]"]}
    assert [each["what"] for each in found["diagnostics"]["cautions"] if each["code"] == "RH019"] == [
        "special tokens are written out in 2 documents and 1 query, and the tokenizer reads them as such: [CLS], [SEP]"
    ]


def test_score_says_it_too(cli: Cli, tmp_path: Path):
    rows = [{"query": "what is ice", "text": "water [SEP] stone"}, {"query": "what is ice", "text": "water"}]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    answer = cli("score", model_folder("cross-encoder"), "pairs.jsonl")
    assert answer.out.count("score") == 2
    assert "1 documents and 0 queries hold special tokens of the model's tokenizer ([SEP])" in answer.err
