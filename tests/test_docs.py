"""The pages name what there is: every family, template, recipe and setting; no page names what is gone."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import ROOT

from harness.rerankers.resolve import FAMILIES, template_names

PAGES = sorted((ROOT / "docs").glob("*.md"))
PAGE = (ROOT / "docs" / "rerankers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*FAMILIES, *template_names()])
def test_every_family_and_template_is_on_the_page_of_rerankers(name):
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_flag_on_the_pages_exists(page):
    known = set(re.findall(r"`(--[a-z][a-z-]+)", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")))
    others = {"--help", "--index-url", "--depth", "--write"}  # of argparse, pip, git and the scripts beside the pages
    named = set(re.findall(r"(?<![-|\w])(--[a-z][a-z-]+)", page.read_text(encoding="utf-8")))
    assert named - known - others == set()


def test_the_pages_of_reference_are_those_of_the_code():
    done = subprocess.run([sys.executable, ROOT / ".ci" / "reference"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


READ = [*(ROOT / name for name in ("README.md", "README.zh.md", "CONTRIBUTING.md", "tasks/README.md")), *PAGES]


@pytest.mark.parametrize("page", READ, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_is_there(page):
    named = re.findall(
        r"`((?:harness|tests|benchmarks|leaderboards|tasks|docs|\.ci)/[\w./-]+)", page.read_text(encoding="utf-8")
    )
    assert [name for name in named if not (ROOT / name).exists() and "NAME" not in name] == []


def test_contributing_says_where_each_kind_of_thing_goes_and_which_test_shows_it():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^### (.+)\n\n(.+)$", text, re.MULTILINE))
    assert list(parts) == [
        "A family", "A template of a known family", "A task card", "A first stage", "An analyzer", "A measure", "A verb",
        "A warning", "A board column",
    ]  # fmt: skip
    for kind, said in parts.items():
        assert "`tests/" in said, f"{kind}: which test shows it?"
        assert re.search("`(harness|tasks)/", said), f"{kind}: where does it go?"


def test_architecture_shows_every_floor_and_the_four_hops():
    from test_house import FLOORS

    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", page, re.DOTALL)
    hops = re.findall(r'(\w+) ==>\|"(\d)"\| (\w+)', diagram)
    assert [hop for _, hop, _ in hops] == ["1", "2", "3", "4"]
    assert [start for start, _, _ in hops[1:]] == [end for _, _, end in hops[:-1]]
    floors = re.findall(r"^\| (`.+`) \|", page.partition("## What may import what")[2], re.MULTILINE)
    assert [name for row in floors for name in re.findall(r"`(\w+)`", row)] == FLOORS


def test_links_between_pages_lead_somewhere():
    for page in READ:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_templates_on_the_page_are_such(tmp_path):
    from harness.rerankers.prompts.list_prompt import list_template
    from harness.rerankers.prompts.template import read_template

    listwise, causal = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(causal)
    assert read_template(str(path)).labels.positive == "true"
    path.write_text(listwise)
    assert list_template(str(path)).identifiers == "alphabetic"
