"""The notebooks of the documentation run, and show what they showed when they were committed."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def shown(cell: Any) -> list[tuple[list[str], str]]:
    """Of each output of a cell: its forms, and its text."""
    return [
        (sorted(output.get("data", {})), output.get("data", {}).get("text/plain", output.get("text", "")))
        for output in cell.outputs
    ]


def told(text: str) -> str:
    """A text without what a machine or a version of torch may move: numbers, the width of columns, verdicts."""
    text = re.sub(r"\b(better|worse|not decided|yes|passed|too few moved)\b", "…", text)
    text = re.sub(r"[-+<]?\d[\d.,e-]*|NaN", "#", text)
    return re.sub(r"[\s\\-]+|…", " ", text).strip()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_is_committed(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("RERANK_HARNESS_CACHE", "PYTHONPATH", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "")  # `executed` sets them: they are as before after the test
    committed = nbformat.read(path, as_version=4)
    ran = runpy.run_path(str(ROOT / ".ci" / "notebook"))["executed"](path, tmp_path)
    before = True
    for old, new in zip(committed.cells, ran.cells, strict=True):
        if old.cell_type != "code":
            continue
        first, second = shown(old), shown(new)
        assert [forms for forms, _ in first] == [forms for forms, _ in second], old.source
        assert [told(text) for _, text in first] == [told(text) for _, text in second], old.source
        # Until something is trained every figure is the same everywhere.
        before = before and "train" not in old.source
        assert not before or first == second


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_its_tables_and_pictures(path: Path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    forms = [form for cell in cells for found, _ in shown(cell) for form in found]
    assert forms.count("image/svg+xml") >= 3
    assert forms.count("text/html") >= 6
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type in ("error", "stream")]


def test_there_is_a_notebook_of_the_whole_story():
    assert "story" in [path.stem for path in NOTEBOOKS]
