"""Packages of the field beside us on the tiny models that the tests build: each case's scores, and token ids where the package shows them.

An entry of `CASES` makes a model in a folder and gives our reranker's scores, the package's, and whether
the token ids are equal (None where the package shows none). Their helpers are those of the tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import golden_cases  # noqa: E402
import rerank_server  # noqa: E402
import saved_rerankers as saved  # noqa: E402
import tiny_followir  # noqa: E402
import tiny_models  # noqa: E402
import tiny_rankllama  # noqa: E402
import tiny_t5  # noqa: E402
import tiny_thinker  # noqa: E402

from benchmarks import list_oracles, stage_oracles  # noqa: E402
from benchmarks.case import Case  # noqa: E402
from harness.engine.options import Options  # noqa: E402
from harness.rerankers.resolve import open_rerankers  # noqa: E402
from harness.rerankers.score import margins_of, score_pairs  # noqa: E402
from harness.types import DocumentText, QueryText  # noqa: E402

CROSS_ENCODER = "sentence-transformers' CrossEncoder"


def cross_encoder(make: Callable[[Path], Path], **settings: object) -> Callable[[Path], tuple[np.ndarray, Any, bool]]:
    """Beside the CrossEncoder of a folder, on pairs that fit and pairs that are cut."""

    def run(folder: Path) -> tuple[np.ndarray, Any, bool]:
        model = make(folder)
        pairs = saved.PAIRS + saved.LONG
        (ours,) = golden_cases.opened(model, folder / "cache", **settings)
        found, oracle = golden_cases.score(ours, pairs), saved.oracle(model)
        return found.published, oracle.predict(pairs, batch_size=2), found.ids == saved.ids_of(oracle, pairs)

    return run


def with_words(name: str) -> Callable[[Path], Path]:
    rendered = {"chat_template": {"add_generation_prompt": True}}
    return lambda folder: saved.logit_scored(folder, saved.TEMPLATES[name], processing_kwargs=rendered)


def classifier_with_chat(folder: Path) -> Path:
    return saved.decoder(folder / "plain", saved.QWEN, kind="ForSequenceClassification")


def chained(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        tiny_models.bert(folder / "plain")
        return saved.save(folder / "plain", folder / "model", "feature-extraction", saved.chains()[name]())

    return make


def qwen3(folder: Path) -> tuple[np.ndarray, Any, bool]:
    """The packed template beside mteb's wrapper, with the wrapper's own sentence."""
    import torch
    from mteb.models.model_implementations.qwen3_reranker import Qwen3RerankerWrapper

    model = saved.decoder(folder / "model", None)
    wrapper = Qwen3RerankerWrapper(str(model), device="cpu", max_length=400, dtype=torch.float32)
    sentence = "Given the user query, retrieval the relevant passages"
    (ours,) = golden_cases.opened(model, folder / "cache", "qwen3-reranker", max_length=400)
    found = golden_cases.score(ours, saved.PAIRS, sentence)
    inputs = [wrapper.process_inputs([wrapper.format_instruction(None, *pair)]) for pair in saved.PAIRS]
    ids = [each["input_ids"][0].tolist() for each in inputs]
    return found.published, [wrapper.compute_logits(each)[0] for each in inputs], found.ids == ids


def followir(template: str) -> Callable[[Path], tuple[np.ndarray, Any, bool]]:
    """A template of FollowIR's and its siblings beside mteb's wrapper, also where the end of the prompt is cut."""

    def run(folder: Path) -> tuple[np.ndarray, Any, bool]:
        model = tiny_followir.write_llama(folder / ("chat" if template.endswith("chat") else "base"))
        (ours,) = golden_cases.opened(model, folder / "cache", template, max_length=256)
        found = golden_cases.score(ours, tiny_followir.PAIRS)
        expected, ids = tiny_followir.mteb_scores(template, model, tiny_followir.PAIRS)
        return found.published, expected, found.ids == ids

    return run


def rank1(folder: Path) -> tuple[np.ndarray, Any, None]:
    """Rank1's rule, one pair at a time over transformers' own generation."""
    model = tiny_thinker.write_thinker(folder / "model")
    settings = {"template": "rank1", "max_new_tokens": tiny_thinker.ROOM}
    (ours,) = golden_cases.opened(model, folder / "cache", "causal", **settings)
    pairs = tiny_thinker.PAIRS[:8]
    found = margins_of(ours, [(QueryText(query), DocumentText("", text)) for query, text in pairs])
    theirs = tiny_thinker.Rank1(model)
    return found, theirs.margins(pairs).plain, None


def rankllama(folder: Path) -> tuple[np.ndarray, Any, bool]:
    """One string that ends in the end of sequence, as Tevatron's collator and model have it."""
    model = tiny_rankllama.write_model(folder / "model")
    (ours,) = golden_cases.opened(model, folder / "cache", template="rankllama", max_length=40)
    found = golden_cases.score(ours, tiny_rankllama.PAIRS)
    ids = [tiny_rankllama.authors_ids(*pair, 40) for pair in tiny_rankllama.PAIRS]
    return found.margins, tiny_rankllama.authors_scores(model, ids).plain, found.ids == ids


def plugin(folder: Path) -> tuple[np.ndarray, Any, None]:
    """A function of one's own, called by itself."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mine.py"
    path.write_text("def rank(query, documents):\n    return [len(query) / (1 + len(text)) for text in documents]\n")
    (ours,) = open_rerankers(f"{path}:rank", Options(), folder / "cache")
    found = score_pairs(ours, [(QueryText(query), DocumentText("", text)) for query, text in saved.PAIRS])
    return found, [len(query) / (1 + len(text)) for query, text in saved.PAIRS], None


def remote(folder: Path) -> tuple[np.ndarray, Any, None]:
    """A server on this machine that answers as text-embeddings-inference does, with scores that it is known to give."""
    servers = rerank_server.serving()
    server = next(servers)()
    try:
        (ours,) = open_rerankers("remote:tei/m", Options(settings=(("url", server.url),)), folder)
        found = margins_of(ours, [(QueryText(query), DocumentText("", text)) for query, text in saved.PAIRS])
    finally:
        next(servers, None)
    return found, [rerank_server.worth(*pair) for pair in saved.PAIRS], None


def t5(template: str, wrapper: str, *, tied: bool = True, kind: str = "t5", **labels: str) -> Callable[[Path], Any]:
    def run(folder: Path) -> tuple[np.ndarray, Any, None]:
        model = tiny_t5.write_t5(folder / "model", tied=tied, kind=kind)
        (ours,) = golden_cases.opened(model, folder / "cache", template=template)
        found = golden_cases.score(ours, tiny_t5.PAIRS)
        return found.published, tiny_t5.mteb_scores(wrapper, model, tiny_t5.PAIRS, **labels), None

    return run


def vectors(folder: Path) -> tuple[np.ndarray, Any, bool]:
    """A bi-encoder beside the SentenceTransformer that saved it."""
    oracle = tiny_models.sentence_transformer(folder, "mean", prompts={"query": "query: ", "document": "passage: "})
    (ours,) = golden_cases.opened(folder / "model", folder / "cache")
    found = golden_cases.score(ours, saved.PAIRS)
    queries, documents = ([pair[side] for pair in saved.PAIRS] for side in (0, 1))
    one, other = oracle.encode_query(queries), oracle.encode_document(documents)
    sides = [
        [features["input_ids"][0].tolist() for features in (oracle.preprocess([text], prompt=prompt) for text in texts)]
        for texts, prompt in ((queries, "query: "), (documents, "passage: "))
    ]
    return found.published, (one * other).sum(axis=1), found.ids == [a + b for a, b in zip(*sides, strict=True)]


def late(layout: Callable[[Path], None]) -> Callable[[Path], tuple[np.ndarray, Any, None]]:
    def run(folder: Path) -> tuple[np.ndarray, Any, None]:
        from sentence_transformers import MultiVectorEncoder

        layout(folder / "model")
        (ours,) = golden_cases.opened(folder / "model", folder / "cache")
        oracle = MultiVectorEncoder(str(folder / "model"), device="cpu")
        queries, documents = ([pair[side] for pair in saved.PAIRS] for side in (0, 1))
        expected = oracle.similarity(oracle.encode_query(queries), oracle.encode_document(documents))
        return golden_cases.score(ours, saved.PAIRS).published, np.diagonal(expected.numpy()), None

    return run


def cases() -> Iterator[Case]:
    """Every case, built when it is asked for."""
    classes, causal = "sequence-classification", "causal"
    for name in saved.TEMPLATES:
        yield Case(causal, f"LogitScore, chat template {name}", CROSS_ENCODER, 1e-5, cross_encoder(with_words(name)))
    yield Case(
        causal, "LogitScore, no chat template", CROSS_ENCODER, 1e-5,
        cross_encoder(lambda folder: saved.logit_scored(folder, None)),
    )  # fmt: skip
    yield Case(causal, "template qwen3-reranker", "mteb's Qwen3RerankerWrapper", 1e-4, qwen3)
    for template, wrapper in tiny_followir.WRAPPERS.items():
        yield Case(causal, f"template {template}", f"mteb's {wrapper}", 1e-5, followir(template))
    yield Case(causal, "template rank1", "transformers' generation, by rank1.py's rule", 1e-5, rank1)
    yield Case(classes, "template rankllama", "transformers, by Tevatron's collator", 1e-4, rankllama)
    yield Case(classes, "classifier with a chat template", CROSS_ENCODER, 1e-5, cross_encoder(classifier_with_chat))
    for name in saved.chains():
        yield Case(classes, f"modules: {name}", CROSS_ENCODER, 1e-5, cross_encoder(chained(name)))
    mono, labels = "MonoT5Reranker", {"token_false": "▁false", "token_true": "▁true"}
    yield Case("seq2seq", "template monot5", f"mteb's {mono}", 1e-5, t5("monot5", mono, **labels))
    spoken = {"token_false": "▁no", "token_true": "▁yes"}
    yield Case("seq2seq", "template mt5", f"mteb's {mono}", 1e-5, t5("mt5", mono, tied=False, kind="mt5", **spoken))
    yield Case(
        "seq2seq", "template flan-t5", "mteb's FLANT5Reranker", 1e-5, t5("flan-t5", "FLANT5Reranker", tied=False)
    )
    yield Case("bi-encoder", "mean pooling, prompts", "sentence-transformers' SentenceTransformer", 1e-5, vectors)
    for name, layout in (("ColBERT", tiny_models.colbert), ("PyLate", tiny_models.pylate)):
        yield Case(
            "late-interaction", f"layout of {name}", "sentence-transformers' MultiVectorEncoder", 1e-4, late(layout)
        )
    yield Case("remote", "the form of TEI", "a server whose scores are known", 1e-6, remote)
    yield Case("plug-in", "a function", "the function itself", 1e-6, plugin)
    yield from list_oracles.cases()
    yield from stage_oracles.cases()
