"""In CI a skip that is not on the short list fails, and is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.mark.parametrize("processes", [0, 2])
def test_a_skip_that_is_not_on_the_list_fails_by_name_where_none_is_allowed(tmp_path: Path, processes: int):
    (tmp_path / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_pages():\n    pytest.skip('needs Chromium and its driver')\n"
        "def test_oracle():\n    pytest.importorskip('no_such_package')\n"
    )
    words = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:randomly",
        f"-n{processes}",
        f"--rootdir={tmp_path}",
        tmp_path / "test_some.py",
    ]
    codes = []
    for strict in ("1", ""):
        done = subprocess.run(
            [sys.executable, *words], env={**os.environ, "RERANK_HARNESS_NO_SKIPS": strict}, cwd=ROOT, text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        codes.append(done.returncode)
        assert ("test_oracle: Skipped: could not import 'no_such_package'" in done.stdout) == bool(strict), done.stdout
        assert "test_pages:" not in done.stdout
    assert codes == [1, 0]
