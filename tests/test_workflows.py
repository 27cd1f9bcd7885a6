"""The workflows, the hooks and the forms for issues are valid, and what they call exists."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Cli

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
TOOLS = {"pip", "ruff", "mypy"}


def read(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict), path
    return found


def commands(text: str) -> list[list[str]]:
    """The words of each command of a script of plain commands, one a line."""
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


def check_command(words: list[str], cli: Cli) -> None:
    """Fails where a command of this repository does not exist, or does not take a flag."""
    if words[0] == "make":
        assert set(words[1:]) <= TARGETS, words
    elif words[0] == "rerank-harness":
        answer = cli(words[1], "--help")
        assert answer.code == 0, words
        assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", answer.out)), words
    elif "/" in words[0] and not words[0].startswith(".venv/bin/"):
        assert os.access(ROOT / words[0], os.X_OK), words
    else:
        assert words[0].removeprefix(".venv/bin/") in TOOLS | {"python"}, words
        assert all((ROOT / word).exists() for word in words[1:] if word.startswith(".ci/")), words


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_valid_and_its_commands_exist(path: Path, cli: Cli):
    workflow = read(path)
    assert workflow["name"]
    # YAML 1.1 reads the bare word `on` as true.
    assert workflow.get("on", workflow.get(True))
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "actions/checkout@v4"))
            for words in commands(step.get("run", "")):
                check_command(words, cli)


def test_ci_runs_the_script_that_runs_everywhere():
    (job,) = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]


def test_what_ci_runs_exists(cli: Cli):
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    made = [shlex.split(line) for line in lines if line.startswith("make ")]
    assert made
    for words in made:
        check_command(words, cli)


def test_the_workflow_on_the_page_of_the_gate_is_valid_and_its_commands_exist(cli: Cli):
    page = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "runs-on" in block]
    for job in yaml.safe_load(block)["jobs"].values():
        for step in job["steps"]:
            for words in commands(step.get("run", "")):
                check_command(words, cli)


def test_a_command_that_does_not_exist_is_noticed(cli: Cli):
    for line in ("make tests", "rerank-harness gat", "rerank-harness gate --baselin x", ".ci/walk", "tox"):
        with pytest.raises(AssertionError):
            check_command(line.split(), cli)


def test_the_hooks_are_valid_and_their_commands_exist(cli: Cli):
    hooks = [hook for repository in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    assert {hook["id"] for hook in hooks} >= {"ruff-check", "ruff-format", "mypy"}
    for hook in hooks:
        assert hook["language"] == "system"
        check_command(shlex.split(hook["entry"]), cli)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_for_issues_is_valid(path: Path):
    form = read(path)
    assert form["name"]
    assert form["description"]
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names)
    for field in form["body"]:
        assert field["type"] in ("textarea", "input", "dropdown", "markdown", "checkboxes")
        assert field["attributes"]["label"]
