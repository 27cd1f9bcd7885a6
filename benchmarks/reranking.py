"""How fast pairs are scored: a plain loop, the peers, and the harness, in one run on the same pairs.

    python -m benchmarks.reranking [--format json] [--pairs N] [--rounds R] [--threads T] [--model FOLDER]

Rates are in CPU time, the median of rounds in which the ways take turns, so that a neighbour's load
meets all of them alike. bf16 is measured where the chip multiplies it faster than float32, which is
tried first: elsewhere it costs several times as much and gains nothing. `share` is the model's whole
work over real tokens (every layer, no padding) a CPU second, against the matrix rate that the machine
reached in the same round. After --seconds no further round begins; a median is of those that were.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from benchmarks.machine import fix_threads, load, matrix_rate, matrix_rates, processor, turns

PLAIN = "plain loop, 32"
OURS, OURS_HALF = "rerank-harness", "rerank-harness, bf16"
_RANKED_MORE = 2
"""The rank changes of bf16 are taken over so many times the queries that are timed."""


class Timed(NamedTuple):
    """One way in one round: CPU and wall seconds, and the matrix rates a CPU second around it."""

    cpu: float
    wall: float
    rates: tuple[float, float]
    """Of torch's own kernel, and of the prepacked one."""

    @property
    def rate(self) -> float:
        return max(self.rates)


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
    import transformers

    from benchmarks.forecast import forecast
    from benchmarks.sample import left_out, make_model, take_sample, work
    from benchmarks.ways import FLAG_BATCH
    from harness.models.loading import quiet_transformers

    quiet_transformers()
    before = load()
    larger = take_sample(chosen.pairs * _RANKED_MORE, scratch / "cache")
    sample = larger.first(max(1, len(larger.candidates.run) // _RANKED_MORE))
    folder = Path(chosen.model) if chosen.model else make_model(scratch / "model")
    config = transformers.AutoConfig.from_pretrained(str(folder))
    lengths = _token_lengths(folder, sample)
    predicted = forecast(folder, len(sample.candidates.run), chosen.threads, scratch / "forecast")
    gain = half_gain(config)
    ways, absent = _open_ways(folder, half=gain > 1)
    if gain <= 1:
        _say(left_out_half(gain))
    _say(f"{len(lengths)} pairs of {sample.source}, {len(ways)} ways, {chosen.rounds} rounds")
    rounds, scores = _take_turns(ways, sample, chosen.rounds, config, chosen.seconds)
    whole = work(lengths, config)
    trial = 1 + work(sorted(lengths)[-FLAG_BATCH:], config) / whole
    return {
        "processor": processor(),
        "threads": chosen.threads,
        "load": [before, load()],
        "data": sample.source,
        "pairs": len(lengths),
        "rounds": len(rounds[OURS]),
        "mean_tokens": round(float(np.mean(lengths)), 1),
        "model": str(chosen.model or "all-MiniLM-L6-v2 with a random head"),
        "matrix_gflops": {
            kind: _rates_of(rounds, name)
            for kind, name in (("float32", PLAIN), ("bfloat16", OURS_HALF))
            if name in ways
        },
        "bf16_matrix_rate_over_float32": gain,
        "left_out": left_out(lengths, config) / whole,
        "ways": [
            _row(name, rounds, scores, len(lengths), whole, trial if name == "FlagReranker" else 1.0) for name in ways
        ],
        "absent": absent,
        "forecast": predicted,
        "bf16_ranks": rank_changes(ways[OURS][1](larger), ways[OURS_HALF][1](larger), larger) if gain > 1 else None,
    }


def half_gain(config: Any) -> float:
    """The matrix rate of bfloat16 over that of float32 at the model's shapes: above 1 where half precision pays."""
    half, single = (matrix_rate(kind, config.hidden_size, config.intermediate_size) for kind in ("bfloat16", "float32"))
    return half / single


def left_out_half(gain: float) -> str:
    """What is said where bf16 is not measured."""
    return f"{OURS_HALF}: this chip multiplies bf16 at {gain:.2f} of float32's rate; not measured"


def _open_ways(folder: Path, *, half: bool) -> tuple[dict[str, tuple[str, Any]], list[str]]:
    """name → (dtype, way), and the names of those that cannot be imported."""
    from benchmarks import ways as known

    opened = {
        PLAIN: ("float32", known.plain_loop(folder)),
        "mteb, two stages": ("float32", known.mteb_two_stage(folder)),
        "beir Rerank": ("float32", known.beir_rerank(folder)),
        "CrossEncoder": ("float32", known.sentence_transformers(folder)),
        "FlagReranker": ("float32", known.flag_reranker(folder)),
        OURS: ("float32", known.ours(folder, "float32")),
    }
    if half:
        opened[OURS_HALF] = ("bfloat16", known.ours(folder, "bfloat16"))
    absent = [name for name, (_, way) in opened.items() if way is None]
    return {name: (kind, way) for name, (kind, way) in opened.items() if way is not None}, absent


def _take_turns(
    ways: dict[str, tuple[str, Any]], sample: Any, rounds: int, config: Any, seconds: float
) -> tuple[dict[str, list[Timed]], dict[str, Any]]:
    warm = sample.first(1)
    for _, way in ways.values():
        way(warm)
    found: dict[str, list[Timed]] = {name: [] for name in ways}
    scores = {}
    for number in turns(rounds, seconds):
        for name, (kind, way) in ways.items():
            rates = matrix_rates(kind, config.hidden_size, config.intermediate_size)
            cpu, wall = time.process_time(), time.perf_counter()
            scores[name] = way(sample)
            found[name].append(Timed(time.process_time() - cpu, time.perf_counter() - wall, rates))
            _say(f"round {number + 1}: {name} {found[name][-1].cpu:.1f} s")
    return found, scores


def _row(
    name: str, rounds: dict[str, list[Timed]], scores: dict[str, Any], pairs: int, whole: float, trial: float
) -> dict[str, Any]:
    """One way's figures. `trial`: FlagReranker computes its first batch twice to try its size; over a
    large corpus that is nothing, so here that batch counts as work done."""
    times = rounds[name]
    return {
        "way": name,
        "pairs_per_cpu_second": trial * pairs / median(each.cpu for each in times),
        "pairs_per_second": trial * pairs / median(each.wall for each in times),
        "against_plain": trial * median(p.cpu / t.cpu for p, t in zip(rounds[PLAIN], times, strict=True)),
        "share_of_matrix_rate": trial * median(whole / each.cpu / each.rate for each in times),
        "largest_difference": float(np.abs(scores[name] - scores[PLAIN]).max()),
    }


def _rates_of(rounds: dict[str, list[Timed]], way: str) -> dict[str, float]:
    found = [each.rates for each in rounds[way]]
    return {name: median(rates[place] for rates in found) / 1e9 for place, name in enumerate(("torch", "prepacked"))}


def _token_lengths(folder: Path, sample: Any) -> list[int]:
    from tokenizers import Tokenizer

    from benchmarks.ways import MAX_LENGTH

    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.no_padding()
    backend.enable_truncation(MAX_LENGTH)
    return [len(entry.ids) for entry in backend.encode_batch(sample.texts)]


def rank_changes(exact: Any, half: Any, sample: Any) -> dict[str, Any]:
    """What bf16 does to rankings: share of queries whose ten best changed, and the largest move of nDCG@10."""
    from harness.measures.measure import measure_run
    from harness.types import Measure, ranked

    runs = []
    for scores in (exact, half):
        run: dict[str, dict[str, float]] = {}
        for (query_id, doc_id), score in zip(sample.ids, scores.tolist(), strict=True):
            run.setdefault(query_id, {})[doc_id] = score
        runs.append(run)
    qrels = {query_id: sample.collection.qrels[query_id] for query_id in runs[0]}
    ndcg = Measure("nDCG", 10)
    values = [measure_run(run, qrels, [ndcg])[ndcg].values for run in runs]
    changed = [ranked(runs[0][query])[:10] != ranked(runs[1][query])[:10] for query in runs[0]]
    return {
        "queries": len(changed),
        "candidates": len(next(iter(runs[0].values()))),
        "top_10_changed": float(np.mean(changed)),
        "largest_ndcg_10_move": max(abs(values[0][query] - values[1][query]) for query in qrels),
        "largest_difference": float(np.abs(exact - half).max()),
        "spread_of_scores": float(np.std(exact)),
    }


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    before, after = report["load"]
    rates = ", ".join(
        f"{kind} {each['torch']:.0f}, {each['prepacked']:.0f}" for kind, each in report["matrix_gflops"].items()
    )
    said = report["forecast"]
    lines = [
        f"{report['pairs']} pairs of {report['data']}, mean {report['mean_tokens']} tokens; {report['model']}",
        f"{report['processor']}, {report['threads']} thread(s), load {before} to {after}",
        f"medians of {report['rounds']} rounds in turn; matrix rate of a core by torch's own kernel and by the",
        f"prepacked one, GFLOP/s: {rates}",
        "",
        f"{'way':<22}{'pairs/CPU s':>12}{'pairs/s':>10}{'x plain':>9}{'share':>8}{'largest difference':>20}",
        *map(_line, report["ways"]),
        *(f"{name}: cannot be imported here, left out" for name in report["absent"]),
        "",
        f"share: the model's whole work a CPU second, of the matrix rate. {report['left_out']:.0%} of that work",
        f"(the last layer where it is not scored) {OURS} need not do.",
        *_half_lines(report),
        f"--dry-run said {said['seconds_predicted']:.1f} s and {said['gib_predicted']:.2f} GiB for {said['pairs']} pairs;",
        f"the run took {said['seconds']:.1f} s and {said['gib']:.2f} GiB.",
        *_targets(report),
    ]
    return "\n".join(lines)


def _half_lines(report: dict[str, Any]) -> list[str]:
    ranks = report["bf16_ranks"]
    if ranks is None:
        return [left_out_half(report["bf16_matrix_rate_over_float32"])]
    return [
        f"bf16 over {ranks['queries']} queries of {ranks['candidates']} candidates: the top 10 changed for",
        f"{ranks['top_10_changed']:.0%}, nDCG@10 moved by {ranks['largest_ndcg_10_move']:.4f} at most, scores by",
        f"{ranks['largest_difference']:.1e} (their standard deviation is {ranks['spread_of_scores']:.1e}).",
    ]


def _line(row: dict[str, Any]) -> str:
    speed = f"{row['pairs_per_cpu_second']:>12.2f}{row['pairs_per_second']:>10.2f}{row['against_plain']:>9.2f}"
    return f"{row['way']:<22}{speed}{row['share_of_matrix_rate']:>8.0%}{row['largest_difference']:>20.1e}"


def _targets(report: dict[str, Any]) -> list[str]:
    """Each figure we hold ourselves to, with what was reached."""
    speed = {row["way"]: row["against_plain"] for row in report["ways"]}
    aims = [(OURS, "mteb, two stages", 3), (OURS, "FlagReranker", 2), (OURS_HALF, "mteb, two stages", 4)]
    return [
        f"{name} against {other}: {speed[name] / speed[other]:.2f} times (aim: {aim})"
        for name, other, aim in aims
        if name in speed and other in speed
    ]


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reranking", description=str(__doc__).splitlines()[0])
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("--pairs", type=int, default=80, metavar="N", help="about so many pairs (20 a query)")
    parser.add_argument("--rounds", type=int, default=3, metavar="R")
    parser.add_argument("--seconds", type=float, default=120, metavar="S", help="after so many no further round begins")
    parser.add_argument("--threads", type=int, default=1, metavar="T")
    parser.add_argument("--model", metavar="FOLDER", help="a BERT cross-encoder of your own")
    return parser.parse_args(words)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
