"""The pages name what there is: every family, template, recipe and setting; no page names what is gone."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from conftest import ROOT

from harness.rerankers.resolve import FAMILIES, known_models, template_names

PAGES = sorted((ROOT / "docs").glob("*.md"))
PAGE = (ROOT / "docs" / "rerankers.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*FAMILIES, *template_names()])
def test_every_family_and_template_is_on_the_page_of_rerankers(name):
    assert f"`{name}`" in PAGE


def test_known_models_have_a_family_and_settings_that_it_takes():
    names = template_names()
    for model, entry in known_models().items():
        assert entry["family"] in FAMILIES, model
        template = (entry.get("settings") or {}).get("template")
        assert template is None or names[template][0] == entry["family"], model


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_flag_on_the_pages_exists(page):
    known = set(re.findall(r"`(--[a-z][a-z-]+)", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")))
    others = {"--index-url", "--depth", "--write"}  # of pip, git and the scripts beside the pages
    named = set(re.findall(r"(?<![-|\w])(--[a-z][a-z-]+)", page.read_text(encoding="utf-8")))
    assert named - known - others == set()


def test_the_pages_of_reference_are_those_of_the_code():
    done = subprocess.run([sys.executable, ROOT / ".ci" / "reference"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_links_between_pages_lead_somewhere():
    for page in [
        ROOT / "README.md",
        ROOT / "README.zh.md",
        ROOT / "tasks" / "README.md",
        *(ROOT / "docs").glob("*.md"),
    ]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_template_on_the_page_is_one(tmp_path):
    from harness.rerankers.prompts.template import read_template

    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(block)
    assert read_template(str(tmp_path / "mine.yaml")).labels.positive == "true"
