"""The ways to score the same pairs: a plain loop, the peers' own code, and ours.

Each opens a model folder and returns a function from a Sample to one raw logit a pair, in the order
of `Sample.ids`. Peers run as their users run them. Those that sort pairs by length pad little over the
30,000 pairs of a whole task and much over a sample of a hundred, so their batches are cut here to the
size at which they pad the sample as they would pad the task: 98 to 99 % of the tokens computed are real
for FlagReranker, 86 % for CrossEncoder and beir.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.sample import TOP_K, Sample

Scores = NDArray[np.float32]
Way = Callable[[Sample], Scores]
MAX_LENGTH = 512
FLAG_BATCH = 4
"""Its default is 128."""


def plain_loop(folder: Path) -> Way:
    """32 pairs at a time in retrieval order, padded, as model cards show it."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    model = transformers.AutoModelForSequenceClassification.from_pretrained(str(folder), dtype=torch.float32).eval()

    def score(sample: Sample) -> Scores:
        texts, found = sample.texts, []
        for start in range(0, len(texts), 32):
            part = texts[start : start + 32]
            inputs = tokenizer(part, padding=True, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
            with torch.inference_mode():
                found.append(model(**inputs).logits[:, 0].float().numpy())
        return np.concatenate(found)

    return score


def mteb_two_stage(folder: Path) -> Way:
    """What mteb.evaluate runs for a cross-encoder over a task converted to reranking."""
    import datasets
    import mteb
    from mteb.models.search_wrappers import SearchCrossEncoderWrapper
    from mteb.models.sentence_transformer_wrapper import CrossEncoderWrapper

    datasets.disable_progress_bars()
    model = CrossEncoderWrapper(cross_encoder(folder))
    place = {"task_metadata": mteb.get_task("SciFact").metadata, "hf_split": "test", "hf_subset": "default"}
    settings = {"batch_size": 32, "show_progress_bar": False}

    def score(sample: Sample) -> Scores:
        rows = [{"id": key, "title": text.title, "text": text.text} for key, text in sample.documents.items()]
        asked = [{"id": key, "text": sample.collection.queries[key].text} for key in sample.candidates.run]
        search = SearchCrossEncoderWrapper(model)
        search.index(datasets.Dataset.from_list(rows), **place, encode_kwargs=settings)
        top_ranked = {query_id: list(scores) for query_id, scores in _in_order(sample).items()}
        found = search.search(
            datasets.Dataset.from_list(asked), **place, top_k=TOP_K, encode_kwargs=settings, top_ranked=top_ranked
        )
        return _of(found, sample)

    return score


def beir_rerank(folder: Path) -> Way:
    """beir.reranking.Rerank over a CrossEncoder, which sorts by characters; 32 pairs at a time, not 128."""
    from beir.reranking import Rerank

    model = cross_encoder(folder)

    def score(sample: Sample) -> Scores:
        corpus = {key: text._asdict() for key, text in sample.documents.items()}
        queries = {key: sample.collection.queries[key].text for key in sample.candidates.run}
        return _of(Rerank(model, batch_size=32).rerank(corpus, queries, _in_order(sample), TOP_K), sample)

    return score


def sentence_transformers(folder: Path, batch: int = 32) -> Way:
    """CrossEncoder.predict over all pairs at once, sorted by characters, `batch` at a time."""
    model = cross_encoder(folder)
    return lambda sample: np.asarray(model.predict(sample.texts, batch_size=batch, show_progress_bar=False), np.float32)


def cross_encoder(folder: Path) -> Any:
    """sentence-transformers' CrossEncoder, giving raw logits."""
    import torch
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device="cpu", max_length=MAX_LENGTH, activation_fn=torch.nn.Identity())


def generating(folder: Path, batch: int = 32) -> Way:
    """monoT5 as mteb's MonoT5Reranker asks it, one token generated for each prompt; sorted by characters, `batch` at a time."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    labels = tokenizer.convert_tokens_to_ids(["▁false", "▁true"])

    def score(sample: Sample) -> Scores:
        prompts = [f"Query: {query} Document: {document} Relevant:" for query, document in sample.texts]
        order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
        found = np.empty(len(prompts), np.float32)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            inputs = tokenizer(
                [prompts[row] for row in rows],
                padding=True,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="pt",
            )
            with torch.inference_mode():
                said = model.generate(**inputs, max_new_tokens=1, return_dict_in_generate=True, output_scores=True)
            logits = said.scores[0][:, labels]
            found[rows] = (logits[:, 1] - logits[:, 0]).numpy()
        return found

    return score


def flag_reranker(folder: Path) -> Way | None:
    """FlagEmbedding's FlagReranker, sorted by tokens; None where it cannot be imported."""
    try:
        package = importlib.import_module("FlagEmbedding")
    except ImportError:
        return None
    model = package.FlagReranker(
        str(folder), use_fp16=False, devices=["cpu"], batch_size=FLAG_BATCH, max_length=MAX_LENGTH
    )
    return lambda sample: np.asarray(model.compute_score(sample.texts), np.float32)


def ours(folder: Path, dtype: str, **settings: str) -> Way:
    """Stage 3 of the harness as `run` calls it, with an empty score store; `settings` as after --set."""
    from harness.engine.options import Options
    from harness.engine.store import ScoreStore
    from harness.rerankers.rerank import rerank
    from harness.rerankers.resolve import open_rerankers

    options = Options(dtype=dtype, settings=(("max_length", str(MAX_LENGTH)), *settings.items()))
    cache = TemporaryDirectory()
    (reranker,) = open_rerankers(str(folder), options, Path(cache.name))

    def score(sample: Sample) -> Scores:
        with TemporaryDirectory() as kept, ScoreStore(Path(kept) / "scores.sqlite") as store:
            return _of(rerank(reranker, sample.candidates, sample.collection, store, options).run, sample)

    return score


def _in_order(sample: Sample) -> dict[str, dict[str, float]]:
    """The candidates' run, each query's documents in retrieval order."""
    found: dict[str, dict[str, float]] = {}
    for query_id, doc_id in sample.ids:
        found.setdefault(query_id, {})[doc_id] = sample.candidates.run[query_id][doc_id]
    return found


def _of(run: dict[str, dict[str, float]], sample: Sample) -> Scores:
    return np.array([run[query_id][doc_id] for query_id, doc_id in sample.ids], np.float32)
