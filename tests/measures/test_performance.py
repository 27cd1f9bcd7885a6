"""How long a query takes: measured with whole queries scored alone, for a bounded time, whatever is stored."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA, WORDS
from exactness import ours

import harness
from harness.engine.options import Options
from harness.measures import performance

TASK = {f"d{i:02d}": f"{WORDS[i % 12]} note {i}" for i in range(12)}
QUERIES = {f"q{i:02d}": f"{WORDS[i]} note" for i in range(11)}

ENCODER = str(DATA / "models" / "e5-mistral")
MODEL = str(DATA / "models" / "cross-encoder")
RECIPE = {"recipe": "e5-mistral"}


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def task(queries: int = 11) -> harness.Task:
    asked = dict(list(QUERIES.items())[:queries])
    return harness.Task(TASK, asked, {query_id: {"d00": 1} for query_id in asked}, name="Notes")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs were scored at a time to measure; each time takes .02 seconds more."""
    counts: list[int] = []
    scoring = performance.margins_of

    def slow(reranker: Any, pairs: list[Any], *more: Any) -> Any:
        counts.append(len(pairs))
        time.sleep(0.02)
        return scoring(reranker, pairs, *more)

    monkeypatch.setattr(performance, "margins_of", slow)
    return counts


def latency_of(result: harness.Evaluations) -> dict[str, Any]:
    speed = result.only.result.performance
    assert "latency_from_rate_seconds" not in speed
    return speed["latency_seconds"]


def test_a_query_is_timed_alone_and_not_taken_from_the_rate(alone: list[int]):
    latency = latency_of(harness.run(task(), MODEL, top_k=6))
    # The run's batches took far less than .02 s a query.
    assert 0.02 <= latency["p50"] <= latency["p95"]
    assert latency["queries"] == 11
    assert alone == [1, *[6] * 11]


def test_the_sample_is_bounded_in_time_and_has_one_query_at_least(alone: list[int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(performance, "_SECONDS", 1e-3)
    monkeypatch.setattr(performance, "_SHARE", 0.0)
    latency = latency_of(harness.run(task(), MODEL, top_k=6))
    assert latency["queries"] == 1
    assert "p95" not in latency
    assert alone == [1, 6]


def test_latency_moves_no_key_and_a_second_run_measures_nothing(alone: list[int]):
    first = harness.run(task(), MODEL, top_k=6).only
    count = len(alone)
    assert harness.run(task(), MODEL, top_k=6).only.reused
    other = harness.run(task(), MODEL, top_k=6, results="elsewhere").only
    assert len(alone) == count
    assert other.path.relative_to("elsewhere") == first.path.relative_to("results")


def test_code_of_the_user_is_called_once_for_each_pair():
    calls: list[int] = []

    class Mine:
        fingerprint = "1"

        def predict(self, pairs: list[tuple[str, str]]) -> list[float]:
            calls.append(len(pairs))
            return [len(document) for _, document in pairs]

    speed = harness.run(task(), Mine(), top_k=6).only.result.performance
    assert sum(calls) == 66
    assert "latency_seconds" not in speed


def test_an_encoder_is_timed_as_if_no_vector_were_kept(monkeypatch: pytest.MonkeyPatch):
    from harness.models.encoders import Encoder

    computed, kept = [], []
    compute, encode = Encoder.compute, Encoder.encode
    monkeypatch.setattr(
        Encoder, "compute", lambda self, texts, *more: computed.append(len(texts)) or compute(self, texts, *more)
    )
    monkeypatch.setattr(Encoder, "encode", lambda self, texts, *more: kept.append(1) or encode(self, texts, *more))
    latency = latency_of(harness.run(task(4), ENCODER, top_k=6, family="bi-encoder", settings=RECIPE))
    assert latency["queries"] == 4
    assert computed[:2] == [1, 1]
    assert computed[2:] == [1, 6] * 4
    assert len(kept) == 2


def test_vectors_computed_anew_are_those_that_are_kept(tmp_path: Path):
    from harness.files.cache import cache_folder
    from harness.rerankers.resolve import open_rerankers
    from harness.rerankers.score import margins_of
    from harness.types import DocumentText, QueryText

    options = Options(batch_tokens=16, settings=tuple(RECIPE.items()))
    (encoder,) = open_rerankers(ENCODER, options, cache_folder(), "bi-encoder")
    query, documents = QueryText("amber birch"), [DocumentText("", text) for text in TASK.values()]
    kept = margins_of(encoder, [(query, document) for document in documents])
    yard = ours(lambda one: one.load().score_alone(query, documents), Path(ENCODER), tmp_path, "bi-encoder", **RECIPE)
    yard.check(kept)
    yard.check(encoder.load().score_alone(query, documents))
