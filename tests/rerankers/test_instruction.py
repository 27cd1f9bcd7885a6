"""`--set instruction=…`: one sentence for queries without one, in its family's place and in the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, write_collection
from golden_cases import model_folder, opened, score
from saved_rerankers import QWEN, decoder, ids_of, logit_scored, oracle

from harness.errors import HarnessError
from harness.rerankers.instruction import NAMED

SENTENCE = "Find the river, not the boat."
PAIRS = [("how warm is water", "water is warm in the north"), ("where do fish live", "in the river")]


def folder_of(case: str, tmp: Path) -> tuple[Path, str | None, dict[str, Any]]:
    """A model's folder, its family and its settings."""
    if case in ("cross-encoder", "bge-reranker", "tart", "followir", "selfrag", "bge-reranker-layerwise"):
        family = {"bge-reranker": "bge", "followir": "followir", "selfrag": "selfrag"}.get(case)
        return model_folder(case), family, {}
    if case == "saved":
        return logit_scored(tmp, QWEN), None, {}
    return decoder(tmp / "tiny", None), case, {}


@pytest.mark.parametrize(
    "case",
    [
        "cross-encoder",
        "bge-reranker",
        "tart",
        "followir",
        "selfrag",
        "bge-reranker-layerwise",
        "saved",
        "qwen3-reranker",
    ],
)
def test_the_sentence_stands_where_a_querys_own_would(tmp_path: Path, case: str):
    folder, family, settings = folder_of(case, tmp_path)
    (plain,) = opened(folder, tmp_path, family, **settings)
    (told,) = opened(folder, tmp_path, family, instruction=SENTENCE, **settings)
    assert score(told, PAIRS).ids == score(plain, PAIRS, SENTENCE).ids != score(plain, PAIRS).ids
    assert score(told, PAIRS, "Another one.").ids == score(plain, PAIRS, "Another one.").ids
    assert told.spec.fingerprint != plain.spec.fingerprint
    assert dict(told.spec.settings)["instruction"] == SENTENCE
    assert (score(told, PAIRS).published == score(plain, PAIRS, SENTENCE).published).all()


def test_a_saved_chat_template_gets_it_as_its_own_library_does(tmp_path: Path):
    folder = logit_scored(tmp_path, QWEN)
    (told,) = opened(folder, tmp_path, instruction=SENTENCE)
    assert score(told, PAIRS).ids == ids_of(oracle(folder), PAIRS, SENTENCE)


def test_mtebs_sentence_has_a_name(tmp_path: Path):
    from mteb.models.model_implementations.qwen3_reranker import Qwen3RerankerWrapper

    assert NAMED["mteb"] in Qwen3RerankerWrapper.format_instruction(None, "a query", "a document")
    folder = decoder(tmp_path / "tiny", None)
    named, written = (
        opened(folder, tmp_path, "qwen3-reranker", instruction=each)[0] for each in ("mteb", NAMED["mteb"])
    )
    assert named.spec.fingerprint == written.spec.fingerprint
    assert score(named, PAIRS).ids == score(written, PAIRS).ids


def test_the_sentence_of_a_card_is_that_of_each_task(tmp_path: Path, cli: Cli):
    folder = write_collection(tmp_path / "birds", documents=12, queries=4)
    bare = write_collection(tmp_path / "bare", documents=12, queries=4)
    (folder / "task.yaml").write_text(json.dumps({"prompt": SENTENCE}))
    decoder(tmp_path / "tiny", None)
    words = ("--reranker", "tiny", "--family", "qwen3-reranker", "--format", "json")
    scores = {}
    for name, text in {"card": "card", "written": SENTENCE, "none": None}.items():
        more = () if text is None else ("--set", f"instruction={text}")
        answer = cli("run", folder, *words, *more)
        assert answer.code == 0, answer.err
        (entry,) = answer.results()
        scores[name] = entry["diagnostics"]["scores"]
    assert scores["card"] == scores["written"] != scores["none"]
    answer = cli("run", bare, *words, "--set", "instruction=card")
    assert answer.code == 2
    assert "has no prompt" in answer.err


def test_what_cannot_be_given_is_told(tmp_path: Path):
    with pytest.raises(HarnessError, match="write the sentence"):
        opened(model_folder("cross-encoder"), tmp_path, instruction="")
    with pytest.raises(HarnessError, match="there is no task here"):
        opened(model_folder("cross-encoder"), tmp_path, instruction="card")[0].load()
    with pytest.raises(HarnessError, match='the family bi-encoder has no setting "instruction"'):
        opened(model_folder("e5-mistral"), tmp_path, "e5-mistral", instruction=SENTENCE)


@pytest.mark.parametrize("asked", [SENTENCE, "card"])
def test_a_worker_opens_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str):
    from harness.rerankers.resolve import open_origin

    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path))
    (told,) = opened(decoder(tmp_path / "tiny", None), tmp_path, "qwen3-reranker", instruction=asked)
    bound = told.for_task(SENTENCE)
    assert bound.origin is not None
    (there,) = open_origin(bound.origin)
    assert there.spec == bound.spec
    assert score(there, PAIRS).ids == score(bound, PAIRS).ids
