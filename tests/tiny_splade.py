"""Tiny sparse encoders of random weights in sentence-transformers' layout, with their oracles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tiny_models import wordpiece_tokenizer


def splade(folder: Path, pooling: str = "max", **more: Any) -> Any:
    """A tiny SPLADE of random weights in sentence-transformers' layout; returns the oracle."""
    import torch
    import transformers
    from sentence_transformers import SparseEncoder as Oracle
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    base = folder.with_name(f"{folder.name}-base")
    wordpiece_tokenizer(base)
    torch.manual_seed(3)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    size = len(transformers.AutoTokenizer.from_pretrained(str(base)))
    config = transformers.BertConfig(vocab_size=size, **shape, initializer_range=0.4)
    transformers.BertForMaskedLM(config).eval().save_pretrained(base)
    body = Transformer(str(base), transformer_task="fill-mask")
    model = Oracle(modules=[body, SpladePooling(pooling)], device="cpu", **more)
    model.save_pretrained(str(folder))
    return Oracle(str(folder), device="cpu")


def inference_free(folder: Path) -> Any:
    """Queries by a table of weights, documents by a SPLADE, behind a Router."""
    from sentence_transformers import SparseEncoder as Oracle
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

    documents = splade(folder.with_name("documents"))
    rng = np.random.default_rng(0)
    import torch

    table = SparseStaticEmbedding(
        tokenizer=documents.tokenizer,
        weight=torch.tensor(rng.uniform(0.1, 2, len(documents.tokenizer)), dtype=torch.float32),
    )
    router = Router.for_query_document(query_modules=[table], document_modules=list(documents.children()))
    Oracle(modules=[router], device="cpu").save_pretrained(str(folder))
    return Oracle(str(folder), device="cpu")


KINDS = {
    "max": splade,
    "sum": lambda folder: splade(folder, "sum"),
    "cosine": lambda folder: splade(folder, similarity_fn_name="cosine"),
    "inference-free": inference_free,
}
