"""Goldens of the authors' own code, and scoring their pairs through the public door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from conftest import DATA

from harness.engine.options import Options
from harness.rerankers.base import Reranker
from harness.rerankers.resolve import open_rerankers
from harness.types import DocumentText, QueryText


def cases(system: str) -> list[dict[str, Any]]:
    """Every case of the golden that lies beside the tests, with the golden's pairs."""
    return read_cases(DATA / "goldens" / f"{system}.json")


def read_cases(path: Path) -> list[dict[str, Any]]:
    golden = json.loads(path.read_text(encoding="utf-8"))
    return [{"pairs": golden["pairs"], **case} for case in golden["cases"]]


def model_folder(system: str) -> Path:
    return DATA / "models" / system


def opened(folder: Path, cache: Path, family: str | None = None, dtype: str = "float32", **settings) -> list[Reranker]:
    """The rerankers of a folder; settings as they are typed after --set."""
    typed = tuple((key, text_of(value)) for key, value in settings.items())
    return open_rerankers(str(folder), Options(settings=typed, dtype=dtype), cache, family)


def text_of(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


class Scored(NamedTuple):
    """What a reranker makes of pairs of texts."""

    model: Any
    prepared: Any
    margins: np.ndarray

    @property
    def published(self) -> np.ndarray:
        return self.model.activate(self.margins)

    @property
    def ids(self) -> list[list[int]]:
        return [self.prepared.token_ids(row) for row in range(len(self.margins))]


def score(
    reranker: Reranker, pairs: list, instruction: str = "", batch: int | None = None, kind: type = np.float32
) -> Scored:
    """Scores of (query, document) pairs, `batch` at a time (None: all at once); margins are of the type `kind`."""
    model = reranker.load()
    prepared = model.prepare(
        [QueryText(query, instruction) for query, _ in pairs],
        [DocumentText("", document) for _, document in pairs],
        np.array([(row, row) for row in range(len(pairs))]),
    )
    step = batch or len(pairs)
    parts = [prepared.score(np.arange(len(pairs))[start : start + step]) for start in range(0, len(pairs), step)]
    found = Scored(model, prepared, np.concatenate(parts))
    assert np.issubdtype(found.margins.dtype, kind)
    assert [len(ids) for ids in found.ids] == prepared.lengths.tolist()
    assert (prepared.lost >= 0).all()
    return found
