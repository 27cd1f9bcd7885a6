"""The verb `score`: what it says beside the scores."""

from __future__ import annotations

import json
import re
from pathlib import Path

from conftest import DATA, Cli
from tokenizers import Tokenizer

MODEL = DATA / "models" / "cross-encoder"


def pairs(path: Path, *lengths: int) -> Path:
    rows = [{"query": "what is water", "text": "the river " * length} for length in lengths]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_pair_that_was_cut_is_named_with_what_it_lost(cli: Cli, tmp_path: Path):
    answer = cli("score", MODEL, pairs(tmp_path / "pairs.jsonl", 2, 400), "--set", "max_length=64")
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 2
    (line,) = [line for line in answer.err.splitlines() if "cut" in line]
    found = re.fullmatch(r"pair 2: cut from ([\d,]+) to 64 tokens; ([\d,]+) were not scored", line)
    assert found
    whole, lost = (int(number.replace(",", "")) for number in found.groups())
    assert whole == lost + 64 == tokens_of(2) + 398 * (tokens_of(3) - tokens_of(2))


def tokens_of(words: int) -> int:
    """The ids of such a pair that is not cut."""
    encode = Tokenizer.from_file(str(MODEL / "tokenizer.json")).encode
    return len(encode("what is water", "the river " * words).ids)


def test_nothing_is_said_where_nothing_was_cut(cli: Cli, tmp_path: Path):
    assert "cut" not in cli("score", MODEL, pairs(tmp_path / "pairs.jsonl", 2, 3)).err


def test_of_many_pairs_that_were_cut_some_are_named_and_all_are_counted(cli: Cli, tmp_path: Path):
    answer = cli("score", MODEL, pairs(tmp_path / "pairs.jsonl", *[400] * 9, 1), "--set", "max_length=64")
    lines = [line for line in answer.err.splitlines() if "cut" in line]
    assert len(lines) == 6
    one = tokens_of(1) + 399 * (tokens_of(3) - tokens_of(2)) - 64
    assert lines[-1] == f"9 of 10 pairs were cut, {9 * one:,} tokens in all were not scored"
