"""The workflows, the hooks and the forms for issues are valid, and what they call exists."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Cli, write_collection

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


ACTION = ROOT / ".github" / "actions" / "gate" / "action.yml"
GITLAB = ROOT / ".gitlab" / "gate.yml"


def run_steps(scripts: list[str], values: dict[str, str], folder: Path) -> list[int]:
    """The exit codes of the steps as a forge's shell runs them, with the harness of this checkout."""
    binary = folder / "bin" / "rerank-harness"
    binary.parent.mkdir()
    binary.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(ROOT / "run_eval.py"))} "$@"\n')
    binary.chmod(0o755)
    usual = {"RERANK_HARNESS_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    env = {**os.environ, **usual, **values, "PATH": f"{binary.parent}:{os.environ['PATH']}"}
    return [
        subprocess.run(["bash", "-e", "-c", script], check=False, cwd=folder, env=env, capture_output=True).returncode
        for script in scripts
    ]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with data, a plug-in, and a baseline that the plug-in does not reach any more."""
    write_collection(tmp_path / "birds", documents=40, queries=12)
    good = "def model(query, documents):\n    return [len(set(query.split()) & set(d.split())) for d in documents]\n"
    (tmp_path / "mine.py").write_text(f"{good}model.fingerprint = 'good'\n")
    script = "rerank-harness run ./birds --reranker mine.py:model --results baseline"
    assert run_steps([script], {}, tmp_path) == [0]
    (tmp_path / "bin" / "rerank-harness").unlink()
    (tmp_path / "bin").rmdir()
    bad = good.replace("[len(", "[-len(")
    (tmp_path / "mine.py").write_text(f"{bad}model.fingerprint = 'bad'\n")
    return tmp_path


def test_the_action_scores_gates_and_reports(repository: Path):
    action = read(ACTION)
    given = {"tasks": "./birds", "reranker": "mine.py:model", "options": "--allow-new --measure nDCG@10"}
    values = {name: given.get(name, entry.get("default", "")) for name, entry in action["inputs"].items()}
    steps = action["runs"]["steps"]
    filled = {
        variable: values[re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", text)[1]]
        for step in steps
        for variable, text in step["env"].items()
    }
    assert run_steps([step["run"] for step in steps], filled, repository) == [0, 1, 0]
    names = {path.name for path in (repository / "gate").iterdir()}
    assert names == {"gate.txt", "gate.json", "gate.xml", "gate.md", "report.html"}


def component(path: Path, given: dict[str, str]) -> dict[str, Any]:
    """The jobs of a GitLab component with its inputs filled in, as GitLab does before it reads them."""
    head, body = path.read_text(encoding="utf-8").split("\n---\n")
    inputs = yaml.safe_load(head)["spec"]["inputs"]
    assert set(given) <= set(inputs)
    values = {name: given.get(name, (entry or {}).get("default")) for name, entry in inputs.items()}
    filled = re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda found: json.dumps(values.pop(found[1])), body)
    assert not values, "every input is used"
    return yaml.safe_load(filled)


def test_the_gitlab_component_scores_gates_and_reports(repository: Path):
    job = component(
        GITLAB, {"tasks": "./birds", "reranker": "mine.py:model", "install": "true", "options": "--allow-new"}
    )["reranker-gate"]
    values = {**job["variables"], "RERANK_HARNESS_CACHE": str(repository / "cache")}
    steps = [*job["before_script"], *job["script"], *job["after_script"]]
    assert run_steps(steps, values, repository) == [0, 0, 1, 0]
    report = job["artifacts"]["reports"]["junit"].replace("$RERANK_OUTPUT", values["RERANK_OUTPUT"])
    assert 'failures="1"' in (repository / report).read_text()
    names = {path.name for path in (repository / values["RERANK_OUTPUT"]).iterdir()}
    assert names == {"gate.txt", "gate.json", "gate.xml", "gate.md", "report.html"}


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
