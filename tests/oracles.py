"""Scores of packages that cannot live beside ours, written by an environment of their own: .ci/setup makes .venv-oracles.

    .venv-oracles/bin/python tests/oracles.py FILE

writes FlagEmbedding's own scores of the tiny models; `test_oracles.py` holds ours against them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).resolve().parent / "assets"
LENGTHS = {"bge-reranker": (512, 64, 24), "bge-reranker-gemma": (512, 64, 32)}
LONG = [("the sky is dark at night", "a line of sight is " * 90), ("a long line that goes on " * 60, "the sky is dark")]


def pairs(system: str) -> list[tuple[str, str]]:
    """The texts that are scored with a model."""
    golden = json.loads((ASSETS / "goldens" / "bge-reranker.json").read_text(encoding="utf-8"))
    return [tuple(pair) for pair in golden["pairs"]] + (LONG if system == "bge-reranker" else [])


def main(words: list[str]) -> int:
    import FlagEmbedding

    found: dict[str, Any] = {}
    classifier = FlagEmbedding.FlagReranker(str(ASSETS / "models" / "bge-reranker"), devices=["cpu"], use_fp16=False)
    found["bge-reranker"] = {
        f"{length} {normalize}": classifier.compute_score(pairs("bge-reranker"), max_length=length, normalize=normalize)
        for length in LENGTHS["bge-reranker"]
        for normalize in (False, True)
    }
    folder = ASSETS / "models" / "bge-reranker-gemma"
    gemma = FlagEmbedding.FlagLLMReranker(str(folder), devices=["cpu"], use_fp16=False)
    found["bge-reranker-gemma"] = {
        str(length): gemma.compute_score(pairs("bge-reranker-gemma"), max_length=length, batch_size=4)
        for length in LENGTHS["bge-reranker-gemma"]
    }
    Path(words[0]).write_text(json.dumps(found, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
