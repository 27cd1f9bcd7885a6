"""Pairs a second on a GPU, for the shapes of published rerankers with random weights.

    python -m benchmarks.gpu [--format json] [--shapes NAME,…] [--pairs N] [--batch-tokens T] [--device D]

bge-reranker-v2-m3 (XLM-R large), a 2B (Gemma, as bge-reranker-v2-gemma) and a 7B (Mistral, as
FollowIR-7B), in bf16, by the engine's plan and the fast path. Passages have lengths as MS MARCO's
and scientific abstracts' have, 200 tokens in the mean; decoders read them behind 100 tokens that
100 candidates share. `share` is the work of what was computed (a shared beginning once) against the
matrix rate that the device reached in the same run. Without a GPU it says so and ends with 2;
`--device cpu --shapes tiny` runs the same code there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any, NamedTuple

import numpy as np

SHARED_TOKENS = 100
CANDIDATES = 100
_MEAN, _SPREAD, _SHORTEST, _LONGEST = 200, 0.6, 8, 1000
_LABELS = (3, 5)


class Shape(NamedTuple):
    """A transformers configuration class and what it is given; `decoder` says which fast path takes it."""

    config: str
    sizes: dict[str, int]
    decoder: bool


SHAPES = {
    "bge-reranker-v2-m3": Shape(
        "XLMRobertaConfig",
        {
            "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
            "vocab_size": 250002, "max_position_embeddings": 8194, "type_vocab_size": 1, "num_labels": 1,
        },
        decoder=False,
    ),
    "2B": Shape(
        "GemmaConfig",
        {
            "hidden_size": 2048, "num_hidden_layers": 18, "num_attention_heads": 8, "num_key_value_heads": 1,
            "head_dim": 256, "intermediate_size": 16384, "vocab_size": 256000,
        },
        decoder=True,
    ),
    "7B": Shape(
        "MistralConfig",
        {
            "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "intermediate_size": 14336, "vocab_size": 32000,
        },
        decoder=True,
    ),
    "tiny": Shape(
        "Qwen2Config",
        {
            "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "intermediate_size": 128, "vocab_size": 1000,
        },
        decoder=True,
    ),
    "tiny encoder": Shape(
        "XLMRobertaConfig",
        {
            "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128,
            "vocab_size": 1000, "max_position_embeddings": 1202, "type_vocab_size": 1, "num_labels": 1,
        },
        decoder=False,
    ),
}  # fmt: skip
MEASURED = ("bge-reranker-v2-m3", "2B", "7B")


def main(words: list[str] | None = None) -> int:
    """Measure and print; 2 where there is no such device."""
    chosen = _arguments(words)
    import torch

    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        sys.stderr.write("no GPU that torch can use is here: nothing was measured\n")
        return 2
    report = measure(chosen)
    print(json.dumps(report, indent=1) if chosen.format == "json" else table(report))
    return 0


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """Everything the benchmark says, as one JSON object."""
    import torch

    on_gpu = chosen.device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name(chosen.device) if on_gpu else chosen.device,
        "dtype": "bfloat16",
        "batch_tokens": chosen.batch_tokens,
        "matrix_tflops": device_rate(chosen.device, 8192 if on_gpu else 512) / 1e12,
        "shapes": [measure_shape(name, chosen) for name in chosen.shapes],
    }


def device_rate(device: str, size: int) -> float:
    """FLOP/s of a square bf16 matrix product, the median of ten."""
    import torch

    one, other = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    times = []
    for _ in range(12):
        started = _now(device)
        one @ other
        times.append(_now(device) - started)
    return 2.0 * size**3 / sorted(times[2:])[5]


def measure_shape(name: str, chosen: argparse.Namespace) -> dict[str, Any]:
    """One shape's pairs a second and the share of the matrix rate that they take."""
    shape = SHAPES[name]
    lengths = passage_lengths(chosen.pairs)
    score, config = open_shape(shape, chosen.device)
    run = run_decoder if shape.decoder else run_encoder
    run(score, lengths[:CANDIDATES], config, chosen.batch_tokens)
    rate = device_rate(chosen.device, 8192 if chosen.device.startswith("cuda") else 512)
    started = _now(chosen.device)
    tokens, flop = run(score, lengths, config, chosen.batch_tokens)
    seconds = _now(chosen.device) - started
    return {
        "shape": name,
        "pairs": len(lengths),
        "pairs_per_second": len(lengths) / seconds,
        "tokens_per_second": tokens / seconds,
        "share_of_matrix_rate": flop / seconds / rate,
    }


def passage_lengths(pairs: int) -> Any:
    """Log-normal token counts, mean 200, between 8 and 1000; the same in every run."""
    numbers = np.random.default_rng(0)
    drawn = numbers.lognormal(np.log(_MEAN) - _SPREAD**2 / 2, _SPREAD, pairs)
    return np.clip(drawn.astype(np.int64), _SHORTEST, _LONGEST)


def open_shape(shape: Shape, device: str) -> tuple[Any, Any]:
    """The packed model on the device, and its configuration."""
    import torch
    import transformers

    from harness.engine.fast import pack, pack_causal

    config = getattr(transformers, shape.config)(**shape.sizes)
    kind = transformers.AutoModelForCausalLM if shape.decoder else transformers.AutoModelForSequenceClassification
    with torch.device(device):
        model = kind.from_config(config, dtype=torch.bfloat16).eval()
    packed = pack_causal(model, _LABELS) if shape.decoder else pack(model)
    assert packed is not None
    return packed, config


def run_encoder(packed: Any, lengths: Any, config: Any, budget: int) -> tuple[int, float]:
    """Score rows of these lengths with the shared tokens before each; (tokens, FLOP of them)."""
    from harness.engine.plan import plan_batches

    rows = _rows(lengths, config)
    whole = lengths + SHARED_TOKENS
    for batch in plan_batches(whole, budget):
        packed.logits([rows[row] for row in batch])
    return int(whole.sum()), flop_of(config, int(whole.sum()), float((whole.astype(float) ** 2).sum()), 2)


def run_decoder(packed: Any, lengths: Any, config: Any, budget: int) -> tuple[int, float]:
    """The same for a decoder, which computes the shared tokens once a query; tokens are those of whole prompts."""
    from harness.engine.fast.sharing import find_sharing
    from harness.engine.plan import plan_groups

    rows = _rows(lengths, config)
    whole = lengths + SHARED_TOKENS
    sharing = find_sharing(np.arange(len(rows)) // CANDIDATES, lambda row: rows[row])
    for batch in plan_groups(whole, sharing.groups, sharing.shared, budget):
        packed.logits([rows[row] for row in batch], sharing.of(batch))
    own = whole - sharing.shared
    prefixes = sharing.shared[::CANDIDATES]
    computed = int(own.sum() + prefixes.sum())
    # Seen by own tokens: the prefix, and half of the row's own; by prefix tokens half of the prefix.
    seen = float((own * sharing.shared + own * own / 2).sum() + (prefixes * prefixes / 2).sum())
    return int(whole.sum()), flop_of(config, computed, seen, 3)


def flop_of(config: Any, tokens: int, seen: float, matrices: int) -> float:
    """FLOP of all layers: `seen` counts pairs of tokens of which one looks at the other, `matrices` those of an MLP.

    The last layer is counted whole, though it is computed for one token a row.
    """
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    narrow = size * getattr(config, "num_key_value_heads", heads)
    linears = 2 * config.hidden_size * (2 * heads * size + 2 * narrow + matrices * config.intermediate_size)
    return config.num_hidden_layers * (tokens * float(linears) + 4.0 * seen * heads * size)


def _rows(lengths: Any, config: Any) -> list[Any]:
    numbers = np.random.default_rng(1)
    rows = []
    prefix = numbers.integers(6, config.vocab_size, SHARED_TOKENS)
    for row, length in enumerate(lengths):
        if row % CANDIDATES == 0:
            prefix = numbers.integers(6, config.vocab_size, SHARED_TOKENS)
        rows.append(np.concatenate([prefix, numbers.integers(6, config.vocab_size, length)]))
    return rows


def _now(device: str) -> float:
    """Seconds: of the wall once the GPU has done all that it was given; of this process on a CPU."""
    import torch

    if not device.startswith("cuda"):
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    rate = f"{report['matrix_tflops']:.2f} TFLOP/s of a matrix product"
    lines = [
        f"{report['device']}, {report['dtype']}, {rate}, {report['batch_tokens']} tokens a batch",
        f"{'shape':<20}{'pairs':>8}{'pairs/s':>10}{'tokens/s':>12}{'share':>8}",
    ]
    lines += [
        f"{row['shape']:<20}{row['pairs']:>8}{row['pairs_per_second']:>10.1f}{row['tokens_per_second']:>12.0f}"
        f"{row['share_of_matrix_rate']:>8.0%}"
        for row in report["shapes"]
    ]
    return "\n".join(lines)


def _shapes(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SHAPES:
            raise argparse.ArgumentTypeError(f'no shape "{name}"; there are: {", ".join(SHAPES)}')
    return names


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=str(__doc__).splitlines()[0])
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--shapes", type=_shapes, default=list(MEASURED), metavar="NAME,…")
    parser.add_argument("--pairs", type=int, default=2000, metavar="N")
    parser.add_argument("--batch-tokens", type=int, default=16384, metavar="T")
    parser.add_argument("--device", default="cuda", metavar="D")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
