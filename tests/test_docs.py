"""The pages name what there is: every family, template, recipe and setting; no page names what is gone."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT, Cli

from harness.rerankers.resolve import FAMILIES, known_models, template_names

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


def test_every_flag_on_the_pages_exists(cli: Cli):
    helps = "".join(cli(verb, "--help").out for verb in ("run", "score", "check"))
    assert {flag for flag in re.findall(r"(?<![-|])(--[a-z][a-z-]+)", PAGE) if flag not in helps} == set()


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
    from harness.rerankers.template import read_template

    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(block)
    assert read_template(str(tmp_path / "mine.yaml")).labels.positive == "true"
