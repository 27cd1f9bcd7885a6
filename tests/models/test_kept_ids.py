"""What is read from the disk are the ids that the tokenizer gives now, whatever happened to the disk."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli, write_collection
from golden_cases import model_folder
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from benchmarks import tokens
from benchmarks.tokens import Counting
from harness.data.collection import Collection, prepare
from harness.data.task import folder_task
from harness.files.units import units
from harness.models import tokenization
from harness.models.ids import kept
from harness.models.ids.flat import FlatIds
from harness.models.ids.framed import _by_tokenizer, rows_with_specials
from harness.models.ids.kept import KeptIds, key_of, segment_is_whole
from harness.models.tokenization import Tokenizer, ids_of, load_tokenizer, lower_case, rules_of
from harness.models.twice import PROBES
from harness.rerankers.prompts.prompts import Prompter
from harness.rerankers.prompts.template import read_template
from harness.text import join_document
from harness.types import DocumentText, QueryText

SAVED = ("bge-reranker", "bge-reranker-gemma", "cross-encoder", "e5-mistral", "followir", "mxbai-rerank-v2", "selfrag")
WORDS = ["the", "river", "Bank", "12", "naïve", "漢字", "🙂", "</s>", "[SEP]", "\u0301", "zz", ",", "\t", "A:"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path))
    return tmp_path


@pytest.fixture
def backend() -> Counting:
    return opened("cross-encoder")


def opened(name: str) -> Counting:
    return Counting(load_tokenizer(model_folder(name), {}).backend)


def texts_of(seed: int, count: int = 120) -> list[str]:
    draw = random.Random(seed)
    made = [f"{seed} " + " ".join(draw.choices(WORDS, k=draw.choice([1, 2, 7, 30]))) for _ in range(count - 4)]
    return [*made, "", " ", "x" * 3_000, "river " * 2_000]


def segments(cache: Path) -> list[Path]:
    return sorted((cache / "tokens").glob("*.ids"))


def equal(found: FlatIds, expected: FlatIds) -> bool:
    return all(np.array_equal(*map(np.asarray, pair)) for pair in zip(_parts(found), _parts(expected), strict=True))


def _parts(found: FlatIds) -> tuple[Any, ...]:
    return found.ids, found.starts, found.whole


@pytest.mark.parametrize("name", SAVED)
def test_kept_ids_are_the_tokenizers_for_every_text_and_every_cut(name, cache):
    backend, texts = opened(name), texts_of(1)
    ids_of(backend, texts)
    assert backend.count == len(texts)
    for most, end in ((None, False), (5, False), (5, True), (0, False), (512, True)):
        expected = FlatIds.of((entry.ids for entry in backend.backend.encode_batch(texts, add_special_tokens=False)), most, end=end)  # fmt: skip
        assert equal(ids_of(backend, texts, most, end=end), expected)
    assert backend.count == len(texts)


def test_only_texts_that_are_new_are_tokenized(backend, cache):
    first, second = texts_of(1), texts_of(2)
    ids_of(backend, first)
    mixed = [text for pair in zip(first, second, strict=True) for text in pair]
    found = ids_of(backend, mixed)
    assert backend.count == len(first) + len(second) - 4  # four texts are in both
    assert [row.tolist() for row in map(found.__getitem__, range(len(mixed)))] == [
        entry.ids for entry in backend.backend.encode_batch(mixed, add_special_tokens=False)
    ]


def test_few_texts_are_not_kept_and_no_cache_is_made_for_any(backend, cache):
    ids_of(backend, texts_of(1)[:60])
    assert not segments(cache)
    shutil.rmtree(cache)
    ids_of(backend, texts_of(1))
    assert not cache.exists()


def test_ids_above_two_bytes_are_kept_whole(cache):
    held = KeptIds(cache, "0" * 32)
    rows = [np.array([number, 65_535 + number], np.int32) for number in range(3)]
    held.rows(list("abc"), [key_of(letter) for letter in "abc"], lambda _: rows)
    held.close()
    assert [list(row) for row in found_by(cache, list("abc"))] == [row.tolist() for row in rows]


def found_by(cache: Path, texts: list[str], owner: str = "0" * 32) -> list[Any]:
    """What is kept of texts, None where nothing is."""
    return KeptIds(cache, owner).rows(texts, [key_of(text) for text in texts], lambda missing: [[-7]] * len(missing))


def test_two_that_write_at_once_keep_what_both_have(cache):
    """Both have opened the folder before either writes, and share a half of their texts."""
    sides = [[f"{number}" for number in range(start, start + 100)] for start in (0, 50)]
    held = [KeptIds(cache, "0" * 32) for _ in sides]
    for one, texts in zip(held, sides, strict=True):
        one.rows(texts, [key_of(text) for text in texts], lambda missing: [[int(text)] for text in missing])
    for one in held:
        one.close()
    assert [list(row) for row in found_by(cache, [f"{n}" for n in range(150)])] == [[n] for n in range(150)]


def test_two_processes_that_write_and_merge_at_once_lose_nothing(cache):
    children = []
    for side in range(2):
        if not (child := os.fork()):
            for part in range(12):
                texts = [f"{side} {part} {number}" for number in range(10)]
                held = KeptIds(cache, "0" * 32)
                held.rows(texts, [key_of(text) for text in texts], lambda missing: [[len(text)] for text in missing])
                held.close()
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    for text in (f"{side} {part} {number}" for side in range(2) for part in range(12) for number in range(10)):
        assert list(found_by(cache, [text])[0]) in ([len(text)], [-7])
    assert len(segments(cache)) <= 2 * (kept._SMALL_SEGMENTS + 1)
    assert all(map(segment_is_whole, segments(cache)))


def test_a_killed_writer_leaves_what_was_there_and_a_file_that_prune_takes(backend, cache):
    texts = texts_of(1)
    expected = ids_of(backend, texts)
    [whole] = segments(cache)
    torn = whole.with_name(f".{whole.name}.{'a' * 12}.part")
    torn.write_bytes(whole.read_bytes()[:100])
    os.utime(torn, (time.time() - 7_200,) * 2)
    assert equal(ids_of(backend, texts), expected)
    assert backend.count == len(texts)
    assert [(unit.part, unit.left_over) for unit in units(cache)] == [("tokens", True), ("tokens", False)]


@pytest.mark.parametrize("size", [0, 10, 32, 500, -1])
def test_a_segment_that_lost_its_end_is_made_again(size, backend, cache):
    texts = texts_of(1)
    expected = ids_of(backend, texts)
    [path] = segments(cache)
    path.write_bytes(path.read_bytes()[:size])
    assert not segment_is_whole(path)
    assert equal(ids_of(backend, texts), expected)
    assert [segment_is_whole(path) for path in segments(cache)] == [True]
    assert backend.count == 2 * len(texts)


def test_no_byte_that_changes_on_the_disk_changes_an_id(backend, cache):
    texts = [f"river {number}" for number in range(70)]
    expected = ids_of(backend, texts)
    [path] = segments(cache)
    data = path.read_bytes()
    for place in [*range(0, len(data), 37), *range(0, 40, 3)]:
        for other in segments(cache):
            other.unlink()
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        assert not segment_is_whole(path), place
        assert equal(ids_of(backend, texts), expected), place
        assert all(segment_is_whole(other) for other in segments(cache) if other != path), place


def test_a_folder_that_cannot_be_written_keeps_nothing_and_stops_nobody(backend, cache):
    (cache / "tokens").write_text("a file")
    texts = texts_of(1)
    assert equal(ids_of(backend, texts), ids_of(backend, texts))
    assert backend.count == 2 * len(texts)


def _other_normalizer(backend: Any) -> None:
    lower_case(backend)


def _other_split(backend: Any) -> None:
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()


def _one_token_more(backend: Any) -> None:
    backend.add_tokens(["river"])


def _special_tokens_as_text(backend: Any) -> None:
    backend.encode_special_tokens = True


def _strips_accents(backend: Any) -> None:
    backend.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])


def _one_special_more(backend: Any) -> None:
    backend.add_special_tokens([AddedToken("naïve")])


CHANGES = (
    _other_normalizer,
    _other_split,
    _one_token_more,
    _special_tokens_as_text,
    _strips_accents,
    _one_special_more,
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_tokenizer_with_another_rule_never_takes_the_ids_of_the_first(change: Callable[[Any], None], backend, cache):
    texts = texts_of(1)
    ids_of(backend, texts)
    change(backend.backend)
    expected = FlatIds.of(entry.ids for entry in backend.backend.encode_batch(texts, add_special_tokens=False))
    assert equal(ids_of(backend, texts), expected)
    assert backend.count == 2 * len(texts)


def test_another_vocabulary_is_another_key_and_another_limit_the_same(tmp_path):
    folder = shutil.copytree(model_folder("cross-encoder"), tmp_path / "model")
    plain, cut = (load_tokenizer(folder, {}).backend for _ in range(2))
    cut.enable_truncation(12)
    assert rules_of(cut) == rules_of(plain)
    assert cut.truncation["max_length"] == 12
    written = (folder / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(written.replace('"##s"', '"##ß"'), encoding="utf-8")
    assert rules_of(load_tokenizer(folder, {}).backend) not in (None, rules_of(plain))


def test_ids_that_lots_decide_are_not_kept(cache):
    backend = opened("mxbai-rerank-v2")
    backend.model.dropout = 0.5
    assert rules_of(backend) is None
    ids_of(backend, texts_of(1))
    assert not segments(cache)


def test_many_small_segments_become_one(backend, cache):
    every = [texts_of(seed, 70) for seed in range(kept._SMALL_SEGMENTS + 2)]
    for texts in every:
        ids_of(backend, texts)
    assert len(segments(cache)) <= 2
    before = backend.count
    for texts in every:
        found = ids_of(backend, texts)
        assert found[0].tolist() == backend.backend.encode(texts[0], add_special_tokens=False).ids
    assert backend.count == before


def test_texts_beyond_a_segment_go_into_another(backend, cache, monkeypatch):
    monkeypatch.setattr(kept, "_MOST_TEXTS", 1_500)
    texts = [f"river {number}" for number in range(4_000)]
    expected = ids_of(backend, texts)
    assert len(segments(cache)) == 2
    assert equal(ids_of(backend, texts), expected)
    assert backend.count == len(texts)


def rows_of(found: Iterator[tuple[Any, int]]) -> list[tuple[list[int], int]]:
    return [(row.tolist(), lost) for row, lost in found]


@pytest.mark.parametrize("most", [None, 9, 40])
@pytest.mark.parametrize("name", SAVED)
def test_rows_with_special_tokens_are_the_tokenizers_own(name, most, cache):
    backend, texts = opened(name), texts_of(1)
    if most is not None:
        backend.enable_truncation(most)
    expected = rows_of(_by_tokenizer(backend.backend, texts))
    rows_of(rows_with_specials(backend, texts))
    before = backend.count
    assert rows_of(rows_with_specials(backend, texts)) == expected
    assert backend.count - before < len(texts), "only known texts are tokenized again, to see what stands around any"
    assert (backend.truncation or {}).get("max_length") == most


@pytest.mark.parametrize("cut", [{"direction": "left"}, {"stride": 2}])
def test_rows_that_are_cut_in_another_way_are_the_tokenizers_own(cut, backend, cache):
    backend.enable_truncation(12, **cut)
    expected = rows_of(_by_tokenizer(backend.backend, texts_of(1)))
    assert rows_of(rows_with_specials(backend, texts_of(1))) == expected
    assert not segments(cache)


@pytest.mark.parametrize("name", ["bge-reranker-gemma", "mxbai-rerank-v2"])
def test_prompts_of_kept_parts_are_those_of_fresh_ones(name, cache, tmp_path):
    queries = [QueryText(f"which river {number}?") for number in range(70)]
    documents = [DocumentText("a title", text) for text in texts_of(1)]
    pairs = np.array([(number % 70, number % 120) for number in range(240)], np.int64)

    def prompts(counting: Counting) -> list[Any]:
        template = read_template(name)
        rule = replace(next(iter(template.rules.values())), max_length=200)
        prompter = Prompter(Tokenizer(counting, "counting", 0), template, rule, None, 1)
        found = prompter.encode(queries, documents, pairs)
        ids = [found.ids(row).tolist() for row in range(len(pairs))]
        return [ids, found.lengths.tolist(), found.lost.tolist(), found.taken.without_document.tolist(), found.taken.without_question.tolist()]  # fmt: skip

    first, second = opened(name), opened(name)
    expected = prompts(first)
    assert prompts(second) == expected
    assert second.count < 20
    assert first.count >= second.count + 190


@pytest.fixture
def tokenized(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that tokenizers are given for their ids; not the three pairs that two loads are compared by."""
    texts: list[str] = []
    own = tokenization.encodings

    def counted(backend: Any, some: Iterable[str], **how: Any) -> Iterator[Any]:
        held = list(some)
        texts.extend(held if len(held) > PROBES else [])
        return own(backend, held, **how)

    monkeypatch.setattr(tokenization, "encodings", counted)
    return texts


def test_another_reranker_a_deeper_k_and_another_first_stage_tokenize_what_is_new(
    cli: Cli, tmp_path: Path, tokenized: list[str]
):
    data = write_collection(tmp_path / "data", 150, 2)
    texts = {join_document(document) for document in collection_of(data, tmp_path).iterate_texts()}
    other = shutil.copytree(model_folder("cross-encoder"), tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    save_file({name: weight * 2 for name, weight in weights.items()}, other / "model.safetensors", {"format": "pt"})

    def first(count: int, start: int = 0) -> Path:
        path = tmp_path / f"{start}-{count}.trec"
        path.write_text("".join(f"q0 Q0 d{n:02} {n} {200 - n} given\n" for n in range(start, count)))
        return path

    def documents_of(model: Path, *first_stage: object) -> int:
        tokenized.clear()
        words = ("run", data, "--reranker", model, "--limit", 1, "--top-k", 150)
        assert cli(*words, *first_stage).code == 0
        return len(texts.intersection(tokenized))

    model = model_folder("cross-encoder")
    assert documents_of(model, "--candidates", first(100)) == 100
    assert documents_of(model, "--candidates", first(120)) == 20
    assert documents_of(model, "--candidates", first(110, 30)) == 0, "every score is stored, and every id"
    assert documents_of(other, "--candidates", first(120)) == 0


def collection_of(folder: Path, cache: Path) -> Collection:
    task = folder_task(folder, cache / "apart")
    return prepare(task, task.subsets[0], cache / "apart")


@pytest.mark.parametrize("size", [0, 100])
def test_the_benchmark_counts_what_is_tokenized_again(size: int, cache: Path, tmp_path_factory: pytest.TempPathFactory):
    data = write_collection(tmp_path_factory.mktemp("data") / "rivers", 150, 2)
    found = tokens.measure(str(data), size, str(model_folder("cross-encoder")))
    assert found["texts"] == (size or 150)
    assert found["tokens"] > found["texts"]
    assert (found["equal"], found["anew"]) == (True, 0)


def test_the_library_has_no_sign_of_chance_that_is_not_looked_for():
    """A class of models that draws lots by another setting would be kept: this test says so first."""
    from tokenizers import models

    names = {name for kind in (models.BPE, models.Unigram, models.WordPiece, models.WordLevel) for name in dir(kind)}
    assert {name for name in names if not name.startswith("_")} <= {
        "alpha", "nbest_size", "dropout", "get_trainer", "id_to_token", "save", "token_to_id", "tokenize", "byte_fallback",
        "continuing_subword_prefix", "end_of_word_suffix", "from_file", "fuse_unk", "ignore_merges", "read_file", "unk_token",
        "max_input_chars_per_word",
    }  # fmt: skip
    assert isinstance(Backend(models.WordLevel({"a": 0}, unk_token="a")), Backend)
