"""How far each family stands from its authors' own scores: `python -m benchmarks.goldens [--folder DIR --models DIR]`.

Every case of every golden, with the largest difference of its scores, and whether its token ids are
equal where the golden has them. Without options the goldens and tiny models of tests/assets.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.engine.options import Options
from harness.rerankers.resolve import open_rerankers
from harness.rerankers.score import margins_of, prepare
from harness.results.tables import align
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


def compare(system: str, golden: dict[str, Any], models: Path, cache: Path) -> Iterator[tuple[str, float, str]]:
    """(case, largest difference, token ids) of each case."""
    for case in golden["cases"]:
        options = Options(settings=settings_of(system, case))
        opened = open_rerankers(str(models / system), options, cache, FAMILIES.get(system))
        reranker = opened[case["cutoff_layers"].index(case["layer"])] if "layer" in case else opened[0]
        reranker = reranker.for_task(case.get("task") or "")
        instruction = case.get("instruction") or (golden["instruction"] if case.get("with_instruction") else "")
        pairs = [(QueryText(q, instruction), DocumentText(case.get("title") or "", d)) for q, d in golden["pairs"]]
        found = reranker.load().activate(margins_of(reranker, pairs))
        ids = "–"
        if "token_ids" in case:
            prepared = prepare(reranker.load(), pairs)
            same = all(list(prepared.token_ids(row)) == wanted for row, wanted in enumerate(case["token_ids"]))
            ids = "equal" if same else "DIFFER"
        yield case["name"], float(np.abs(found - np.array(case["scores"])).max()), ids


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=DATA / "goldens", help="a folder of goldens")
    parser.add_argument("--models", type=Path, default=DATA / "models", help="a folder of their models")
    given = parser.parse_args()
    rows, worst, differ = [], 0.0, 0
    with tempfile.TemporaryDirectory() as cache:
        for path in sorted(given.folder.glob("*.json")):
            if not (given.models / path.stem).is_dir():
                continue
            for name, difference, ids in compare(path.stem, json.loads(path.read_text()), given.models, Path(cache)):
                rows.append([path.stem, name, f"{difference:.1e}", ids])
                worst, differ = max(worst, difference), differ + (ids == "DIFFER")
    print(align([["system", "case", "largest difference", "token ids"], *rows]))
    print(f"\n{len(rows)} cases, largest difference {worst:.1e} (asked: {ASKED:.0e}), token ids differ in {differ}")
    return 0 if worst <= ASKED and not differ else 1


if __name__ == "__main__":
    sys.exit(main())
