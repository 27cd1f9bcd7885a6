"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data: real data sets, tiny models, goldens; skips where it is absent."""
    folder = Path(os.environ.get("RERANK_HARNESS_SHARED", ROOT.parent / "shared"))
    if not (folder / "hub").is_dir():
        pytest.skip(f"needs the shared test data; {folder} is absent")
    return folder
