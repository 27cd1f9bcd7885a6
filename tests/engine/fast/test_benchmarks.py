"""The arithmetic of the benchmarks of the fast path, on shapes small enough for any machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from exactness import LARGEST
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import causal, encoders, gpu, on_a_card, sample


@pytest.mark.parametrize("shape", ["tiny", "tiny encoder"])
def test_the_work_is_what_torch_counts(shape: str):
    stated = gpu.SHAPES[shape]
    config = getattr(transformers, stated.config)(**stated.sizes, attn_implementation="eager")
    model = transformers.AutoModel.from_config(config).eval()
    tokens = 40
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        model(input_ids=torch.full((1, tokens), 7))
    pooler = 0 if stated.decoder else 2 * config.hidden_size**2
    wanted = gpu.flop_of(config, tokens, tokens * tokens, 3 if stated.decoder else 2)
    # The rotary angles are a matrix product too, of a few numbers.
    assert counted.get_total_flops() - pooler == pytest.approx(wanted, rel=1e-3)


def test_a_device_is_measured_and_another_refused(capsys: pytest.CaptureFixture[str]):
    words = ["--device", "cpu", "--shapes", "tiny,tiny encoder", "--pairs", "120", "--format", "json"]
    assert gpu.main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["shape"] for row in report["shapes"]] == ["tiny", "tiny encoder"]
    assert all(row["pairs"] == 120 and row["pairs_per_second"] > 0 for row in report["shapes"])
    assert gpu.table(report).count("\n") == 3
    if not torch.cuda.is_available():
        assert gpu.main([]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_the_work_of_a_shared_beginning_is_counted_once():
    config = transformers.Qwen2Config(**gpu.SHAPES["tiny"].sizes)

    class Nothing:
        def logits(self, rows, sharing):
            return np.zeros((len(rows), 2))

    lengths = np.full(200, 50)
    tokens, flop = gpu.run_decoder(Nothing(), lengths, config, 4096)
    assert tokens == 200 * 150
    own, prefix = 200 * 50, 2 * 100
    seen = own * 100 + own * 50 / 2 + prefix * 100 / 2
    assert flop == pytest.approx(gpu.flop_of(config, own + prefix, seen, 3), rel=1e-6)


def test_the_ways_of_the_causal_benchmark_score_alike(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(causal, "_SIZE", {**causal._SIZE, "hidden_size": 64, "intermediate_size": 96})
    monkeypatch.setattr(causal, "_LAYERS", 2)
    numbers = np.random.default_rng(0)
    passages = [[numbers.integers(1, 100, length) for length in (30, 5, 17, 9, 12)] for _ in range(2)]
    row = causal.share_row(24, passages, causal.open_ways(), 1)
    assert row["shared_tokens"] == 24
    assert row["spread_of_scores"] > 0.1
    assert row["largest_difference"] <= 2 * LARGEST * row["spread_of_scores"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a card")
def test_without_a_card_one_line_says_so_and_nothing_is_written(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    page = tmp_path / "page.md"
    assert on_a_card.main(["--write", str(page)]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("no card here (torch is a build for CPUs): nothing was run or written.")
    assert (told.out, told.err.count("\n"), page.exists()) == ("", 1, False)


def test_the_figures_of_a_card_take_the_place_of_its_older_ones():
    def report(card: str, rate: float) -> dict[str, object]:
        row = {
            "shape": "2B",
            "pairs": 9,
            "pairs_per_second": rate,
            "tokens_per_second": 1e5,
            "share_of_matrix_rate": 0.4,
        }
        return {"device": card, "dtype": "bfloat16", "batch_tokens": 16384, "matrix_tflops": 700.0, "shapes": [row]}

    page = on_a_card.SPEED.read_text(encoding="utf-8")
    for card, rate in (("H100", 100.0), ("A100", 60.0), ("H100", 120.0)):
        page = on_a_card.with_figures(page, report(card, rate), "torch 2.13.0, CUDA 13.0")
    (cards,) = [part.partition(on_a_card.END)[0] for part in page.split(on_a_card.BEGIN)[1:]]
    assert [line for line in cards.splitlines() if line.startswith("### ")] == ["### A100", "### H100"]
    assert [line for line in cards.splitlines() if line.startswith("| 2B")] == [
        "| 2B | 60 | 100,000 | 40% |",
        "| 2B | 120 | 100,000 | 40% |",
    ]
    assert "No card has been measured" not in page
    assert page.endswith(on_a_card.END + "\n")


@pytest.mark.parametrize("kind", ["DebertaV2", encoders.T5_ENCODER, encoders.MONO_T5])
def test_an_encoder_and_its_peer_score_the_same_pairs_alike(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        encoders, "_SIZE", {**encoders._SIZE, "hidden_size": 24, "num_hidden_layers": 1, "initializer_range": 0.3}
    )
    monkeypatch.setattr(encoders, "_T5", {**encoders._T5, "d_model": 24, "num_layers": 1})
    monkeypatch.setattr(sample, "data_folder", lambda: (sample.ROOT / "tasks" / "demo" / "english", "demo"))
    some = sample.take_sample(1, tmp_path / "cache")
    row = encoders._row(kind, some, 1, encoders.make_model(kind, tmp_path / kind))
    assert row["spread_of_scores"] > 0.1
    assert row["largest_difference"] < 1e-4 * row["spread_of_scores"]
    report = {"processor": "any", "load": 0, "data": some.source, "pairs": len(some.ids), "kinds": [row]}
    assert encoders.table(report).count("\n") == 2
