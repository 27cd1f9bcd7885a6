"""How far each family stands from its authors' own scores: `python -m benchmarks.goldens [--folder DIR --models DIR]`.

`--device cuda` computes them on a card, in float32; the packages of today, which run on the CPU, are then left out.

Family, model, whose code is the oracle, the largest difference of scores, and whether the token ids are
equal where the oracle shows them: every case of every golden (what the authors' code gave once), and
the tiny models of the tests beside packages of today (`oracles.py`; left out where a folder is given),
first stages last, their differences as shares of the largest score.
Below it the rules that are inferred. Exit code 1 where a difference is more than is asked.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import oracles
from harness.engine.options import Options
from harness.rerankers.resolve import FAMILIES as KNOWN
from harness.rerankers.resolve import open_rerankers
from harness.rerankers.rules import known_rules
from harness.rerankers.score import margins_of, prepare
from harness.results.layout import align
from harness.types import DocumentText, QueryText

DATA = Path(__file__).resolve().parents[1] / "tests" / "assets"
ASKED = 1e-4

FAMILIES = {
    "bge-reranker": "bge",
    "bge-reranker-gemma": "bge-reranker-gemma",
    "e5-mistral": "e5-mistral",
    "followir": "followir",
    "mxbai-rerank-v2": "mxbai-rerank-v2",
    "selfrag": "selfrag",
    "tart": "tart",
}
"""system → what `--family` is told; the others are decided by their class."""

SETTINGS = (
    "max_length",
    "rule",
    "normalize",
    "cutoff_layers",
    "compress_ratio",
    "compress_layers",
    "order",
    "truncation",
)


def settings_of(system: str, case: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """A golden's case in the words of `--set`."""
    found = {key: case[key] for key in SETTINGS if key in case}
    if system == "cross-encoder":
        found["normalize"] = "sigmoid" in case["name"]
    if system == "tart" and case.get("instruction") is None:
        found.pop("order", None)
    if "layer" in case:
        found["cutoff_layers"] = case["cutoff_layers"]
    return tuple((key, text(value)) for key, value in found.items())


def text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


class Row(NamedTuple):
    """One line of the table."""

    family: str
    name: str
    oracle: str
    difference: float
    asked: float
    same: bool | None
    """Whether the token ids are equal; None where the oracle shows none."""

    @property
    def good(self) -> bool:
        return self.difference <= self.asked and self.same is not False

    def cells(self) -> list[str]:
        ids = {None: "not shown", True: "equal", False: "DIFFER"}[self.same]
        return [self.family, self.name, self.oracle, f"{self.difference:.1e}", f"{self.asked:.0e}", ids]


def compare(system: str, golden: dict[str, Any], models: Path, cache: Path, device: str) -> Iterator[Row]:
    """Each case of a golden."""
    for case in golden["cases"]:
        options = Options(device=device, settings=settings_of(system, case))
        opened = open_rerankers(str(models / system), options, cache, FAMILIES.get(system))
        reranker = opened[case["cutoff_layers"].index(case["layer"])] if "layer" in case else opened[0]
        reranker = reranker.for_task(case.get("task") or "")
        instruction = case.get("instruction") or (golden["instruction"] if case.get("with_instruction") else "")
        pairs = [(QueryText(q, instruction), DocumentText(case.get("title") or "", d)) for q, d in golden["pairs"]]
        found = reranker.load().activate(margins_of(reranker, pairs))
        same = None
        if "token_ids" in case:
            prepared = prepare(reranker.load(), pairs)
            same = all(list(prepared.token_ids(row)) == wanted for row, wanted in enumerate(case["token_ids"]))
        difference = float(np.abs(found - np.array(case["scores"])).max())
        yield Row(reranker.spec.family, f"{system}: {case['name']}", golden["engine"], difference, ASKED, same)


def beside(case: oracles.Case, folder: Path) -> Row:
    """A tiny model beside a package."""
    found, expected, same = case.run(folder)
    difference = float(np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64)).max())
    return Row(case.family, case.name, case.oracle, difference, case.asked, same)


def unheld() -> list[str]:
    """The inferred rules; those without a model of their own, such as a provider's, too."""
    return [rule for rule, said in known_rules().items() if not said.get("verified") and not _held_below(rule)]


def _held_below(family: str) -> bool:
    return any(rule.startswith(f"{family}/") for rule in known_rules())


def rows_of(folder: Path, models: Path, packages: bool, device: str = "cpu") -> Iterator[Row]:
    """Every row, computed as it is asked for."""
    with tempfile.TemporaryDirectory() as home:
        for path in sorted(folder.glob("*.json")):
            if (models / path.stem).is_dir():
                yield from compare(path.stem, json.loads(path.read_text(encoding="utf-8")), models, Path(home), device)
        for number, case in enumerate(oracles.cases() if packages else ()):
            yield beside(case, Path(home) / f"case-{number}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=DATA / "goldens", help="a folder of goldens")
    parser.add_argument("--models", type=Path, default=DATA / "models", help="a folder of their models")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (cpu)")
    given = parser.parse_args()
    order = [*KNOWN, "first stage"]
    rows = list(
        rows_of(given.folder, given.models, given.folder == DATA / "goldens" and given.device == "cpu", given.device)
    )
    rows.sort(key=lambda row: order.index(row.family))
    alone = [[family, "–", "none", "–", "–", "–"] for family in order if family not in {row.family for row in rows}]
    heads = ["family", "model", "oracle", "largest difference", "asked", "token ids"]
    print(align([heads, *(row.cells() for row in rows), *alone]))
    bad = [row for row in rows if not row.good]
    print(
        f"\n{len(rows)} cases, largest difference {max(row.difference for row in rows):.1e}, {len(bad)} beyond what is asked"
    )
    print(f"Read, and never run beside their authors' own code, so inferred: {', '.join(unheld())}.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
