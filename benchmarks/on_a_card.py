"""Everything that is to be known of a card, by one command: `make gpu`, which runs `python -m benchmarks.on_a_card`.

The tests of the fast path and of dense search on it, every family beside its authors' own scores on it, then pairs a second
(`benchmarks.gpu`). Where all of it is right the figures are written into docs/speed.md, under the card's name, in
the place of older ones of the same card. Exit code 1 where something is wrong, and nothing is written; 2 where there is
no card.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SPEED = ROOT / "docs" / "speed.md"
TESTS = ("tests/engine/fast", "tests/retrievers/test_on_a_device.py")
BEGIN, END = "<!-- cards -->", "<!-- end of cards -->"


def main(words: list[str] | None = None) -> int:
    """Test, compare, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.on_a_card", description=str(__doc__).splitlines()[0])
    parser.add_argument("--device", default="cuda", metavar="D", help="cuda, cuda:1 (cuda)")
    parser.add_argument("--shapes", default="", metavar="NAME,…", help="as benchmarks.gpu has them (all)")
    parser.add_argument("--pairs", default="2000", metavar="N", help="pairs a shape (2000)")
    parser.add_argument(
        "--write", type=Path, default=SPEED, metavar="FILE", help="where the figures go (docs/speed.md)"
    )
    given = parser.parse_args(words)
    missing = no_card(given.device)
    if missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    python = [sys.executable, "-m"]
    for what, command in (
        (
            "the tests of the fast path and of dense search",
            ["pytest", "-q", "-p", "no:randomly", "-p", "no:xdist", *TESTS],
        ),
        ("the goldens", ["benchmarks.goldens", "--device", given.device]),
    ):
        print(f"{what}, on {given.device}", flush=True)
        done = subprocess.run(
            [*python, *command], cwd=ROOT, env={**os.environ, "RERANK_HARNESS_CARD": given.device}, check=False
        )
        if done.returncode:
            sys.stderr.write(f"{what} found something wrong on {given.device}: nothing was measured or written\n")
            return 1
    shapes = ["--shapes", given.shapes] if given.shapes else []
    measured = subprocess.run(
        [*python, "benchmarks.gpu", "--format", "json", "--device", given.device, "--pairs", given.pairs, *shapes],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    report = json.loads(measured.stdout)
    given.write.write_text(with_figures(given.write.read_text(encoding="utf-8"), report, versions()), encoding="utf-8")
    print(f"{figures(report, versions())}\nwritten to {given.write}")
    return 0


def no_card(device: str) -> str:
    """Why nothing can be run on the device; empty where it can."""
    import torch

    if not device.startswith("cuda") or torch.cuda.is_available():
        return ""
    build = "torch is a build for CPUs" if torch.version.cuda is None else "torch finds none that it can use"
    return (
        f"no card here ({build}): nothing was run or written. It needs an NVIDIA GPU, its driver, and in .venv a torch "
        f"with CUDA; `rerank-harness doctor` shows what there is"
    )


def versions() -> str:
    """What the figures depend on besides the card."""
    import torch

    return f"torch {torch.__version__}, CUDA {torch.version.cuda or 'none'}"


def figures(report: dict[str, Any], with_versions: str) -> str:
    """The section of one card."""
    how = f"{report['dtype']}, {report['batch_tokens']:,} tokens a batch, {with_versions}"
    lines = [
        f"### {report['device']}",
        "",
        f"{how}; a matrix product reaches {report['matrix_tflops']:.3g} TFLOP/s.",
        "",
        "| shape | pairs a second | tokens a second | share of the matrix rate |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {row['shape']} | {row['pairs_per_second']:,.0f} | {row['tokens_per_second']:,.0f} | "
        f"{row['share_of_matrix_rate']:.0%} |"
        for row in report["shapes"]
    ]
    return "\n".join(lines) + "\n"


def with_figures(page: str, report: dict[str, Any], with_versions: str) -> str:
    """The page with the card's section among those of the others, by name. Raises ValueError where it has no place for it."""
    before, begin, rest = page.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} … {END}")
    sections = {part.splitlines()[0]: part for part in re.split(r"(?m)^### ", inside)[1:]}
    sections[report["device"]] = figures(report, with_versions).removeprefix("### ")
    listed = "\n".join(f"### {sections[name].strip()}\n" for name in sorted(sections))
    return f"{before}{begin}\n\n{listed}\n{end}{after}"


if __name__ == "__main__":
    sys.exit(main())
