"""Pairs joined from kept ids are those of the tokenizer itself, and what is kept of a text is its ids."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from golden_cases import model_folder
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

from harness.errors import HarnessError
from harness.models.ids.flat import FlatIds, chunks
from harness.models.ids.joining import PairJoiner, kept_longest_first
from harness.models.tokenization import Tokenizer, load_tokenizer
from harness.rerankers.prompts.pairs import PairPrompter

ROOT = Path(__file__).parents[2]
SAVED = ("bge-reranker", "bge-reranker-gemma", "bge-reranker-layerwise", "bge-reranker-lightweight", "cross-encoder",
         "e5-mistral", "followir", "mxbai-rerank-v2", "selfrag")  # fmt: skip
WORDS = [
    "the",
    "river",
    "bank",
    "is",
    "wet",
    "and",
    "a",
    "heron",
    "stands",
    "there",
    "12",
    "times",
    ",",
    "naïve",
    "漢字",
    "🙂",
    "</s>",
    "[SEP]",
    "zz",
]
SPECIALS = [("<a>", 0), ("<b>", 1)]
PROCESSORS = {
    "none": None,
    "roberta": processors.RobertaProcessing(("<b>", 1), ("<a>", 0)),
    "document first": processors.TemplateProcessing("<a> $A", "<a>:0 $B:1 <b>:1 $A:0 <b>:2", SPECIALS),
    "types of its own": processors.TemplateProcessing("$A", "<a>:3 $A:1 <b>:2 <a>:0 $B:4", SPECIALS),
    "the query twice": processors.TemplateProcessing("$A", "<a> $A <b> $B:1 <b> $A", SPECIALS),
}  # fmt: skip


def handmade(name: str) -> Tokenizer:
    vocabulary = {word: number for number, word in enumerate(["<a>", "<b>", "?", *WORDS])}
    backend = Backend(models.WordLevel(vocabulary, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["<a>", "<b>"])
    if PROCESSORS[name] is not None:
        backend.post_processor = PROCESSORS[name]
    return Tokenizer(backend, "handmade", 0)


def tokenizer_of(name: str) -> Tokenizer:
    return handmade(name) if name in PROCESSORS else load_tokenizer(model_folder(name), {})


def by_the_tokenizer(tokenizer: Tokenizer, pair: tuple[str, str], room: int, side: str) -> tuple[list[int], list[int]]:
    """The ids and types that `tokenizers` gives a pair which it cuts itself."""
    tokenizer.backend.no_truncation()
    left, right = tokenizer.backend.encode_batch(list(pair), add_special_tokens=False)
    tokenizer.backend.enable_truncation(room, strategy="longest_first", direction=side)
    joined = tokenizer.backend.post_process(left, right, True)
    return joined.ids, joined.type_ids


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", [*SAVED, *PROCESSORS])
def test_a_joined_pair_is_the_tokenizers_own(name, side):
    tokenizer, draw = tokenizer_of(name), random.Random(name)
    for room in (tokenizer.specials_in(pair=True) + 1, 12, 17, 64, 4096):
        texts = [" ".join(draw.choices(WORDS, k=draw.choice([0, 1, 2, 5, 6, 7, 30]))) for _ in range(12)]
        pairs = np.array([(row % 12, draw.randrange(12)) for row in range(20)], np.int64)
        found = PairJoiner(tokenizer, room, side).encode(texts, texts, pairs)
        for row, (query, document) in enumerate(pairs.tolist()):
            ids, types = by_the_tokenizer(tokenizer, (texts[query], texts[document]), room, side)
            assert (found[row].ids.tolist(), found[row].types.tolist()) == (ids, types), (room, texts[query])
            if name == "the query twice":
                continue  # its special tokens are not all that stands around the two sides
            assert found.lengths[row] == len(ids)
            tokenizer.backend.no_truncation()
            whole = sum(len(tokenizer.ids_of_one(texts[place])) for place in (query, document))
            assert found.lost[row] == max(0, whole + found.joiner.specials - room)


@pytest.mark.parametrize("name", [*SAVED, *PROCESSORS])
def test_only_a_tokenizer_of_another_kind_joins_from_the_texts_again(name):
    joiner = PairJoiner(tokenizer_of(name), 64)
    texts = ["the river", "a heron"]
    found = joiner.encode(texts, texts, np.array([[0, 1]], np.int64))
    assert (found.texts is not None) == (name == "the query twice")


def test_the_longer_side_is_cut_first_as_tokenizers_does_it_for_every_small_size():
    tokenizer = handmade("none")
    for room in range(1, 9):
        counts = np.array([(a, b) for a in range(11) for b in range(11)], np.int64)
        kept = np.stack(kept_longest_first(counts[:, 0], counts[:, 1], room), axis=1)
        for (first, second), own in zip(counts.tolist(), kept.tolist(), strict=True):
            ids, _ = by_the_tokenizer(tokenizer, ("the " * first, "river " * second), room, "right")
            the = tokenizer.ids_of_one("the")[0] if first else -1
            tokenizer.backend.no_truncation()
            assert own == [ids.count(the), len(ids) - ids.count(the)], (first, second, room)


@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_a_length_that_special_tokens_alone_fill_is_refused(room):
    with pytest.raises(HarnessError, match=rf"3 special tokens around a pair; max_length={room} leaves no room"):
        PairPrompter(tokenizer_of("cross-encoder"), room)


def test_what_a_tokenizer_cuts_at_is_as_before_once_ids_were_made():
    tokenizer = tokenizer_of("cross-encoder")
    tokenizer.backend.enable_truncation(7, strategy="longest_first", direction="left")
    before = tokenizer.backend.truncation
    assert len(tokenizer.encode_ids(["the river bank is wet and a heron stands there"])[0]) > 7
    assert tokenizer.backend.truncation == before


def test_flat_ids_keep_either_end_of_each_row_and_its_whole_length():
    rows = [[1, 2, 3, 4], [], np.array([5, 6], np.int32)]
    for end, kept in ((False, [[1, 2, 3], [], [5, 6]]), (True, [[2, 3, 4], [], [5, 6]])):
        found = FlatIds.of(rows, 3, end=end)
        assert [row.tolist() for row in found] == kept
        assert (found.whole.tolist(), found.counts.tolist()) == ([4, 0, 2], [3, 0, 2])
    assert len(FlatIds.of([])) == 0


def test_texts_are_tokenized_in_chunks_of_bounded_number_and_characters():
    texts = ["a" * 400_000] * 7 + ["b"] * 3000
    found = list(chunks(texts))
    assert [text for chunk in found for text in chunk] == texts
    assert max(map(len, found)) <= 1_024
    assert max(sum(map(len, chunk)) for chunk in found) < 1_400_000


MEASURE = """
import gc, sys
from pathlib import Path
import numpy as np
from golden_cases import model_folder, opened
from harness.types import DocumentText, QueryText

def held():
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))) * 1024

count = 5_000
documents = [DocumentText("", f"river water {place} " + "bank of the sea " * 14) for place in range(count)]
queries = [QueryText(f"what is water {place}") for place in range(80)]
pairs = np.stack([np.arange(count) % 80, np.arange(count)], 1)
for name in sys.argv[2:]:
    family = {"bge-reranker": "bge", "bge-reranker-layerwise": "layerwise", "mxbai-rerank-v2": "causal"}.get(name)
    settings = {"template": name} if family == "causal" else {}
    [reranker, *_] = opened(model_folder(name), Path(sys.argv[1]), family, **settings)
    model = reranker.load()
    model.prepare(queries[:8], documents[:2_000], pairs[:8])
    before = held()
    prepared = model.prepare(queries, documents, pairs)
    print(name, (held() - before) / int((prepared.lengths + prepared.lost).sum()))
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
def test_a_request_holds_few_bytes_a_token_of_its_texts(tmp_path):
    """Encodings of tokenizers are a hundred bytes a token and lists of ids thirty-six; ids in one array are four."""
    names = ["cross-encoder", "bge-reranker", "mxbai-rerank-v2", "tart", "bge-reranker-layerwise"]
    command = [sys.executable, "-c", MEASURE, str(tmp_path), *names]
    more = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=more, check=False)
    assert not done.returncode, done.stderr
    found = dict(line.split() for line in done.stdout.splitlines())
    assert sorted(found) == sorted(names)
    for figure in found.values():
        assert float(figure) < 20, done.stdout
