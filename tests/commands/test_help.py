"""Words that help: options in groups, examples that can be typed, near names for what was mistyped, completion."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Cli
from made_results import made, saved

from harness.commands.cli import VERBS, build_parser
from harness.commands.line.words import COMMAND, WORDS
from harness.engine.options import resolve_device
from harness.errors import HarnessError, did_you_mean, spelt
from harness.types import Measure


def parsers() -> dict[str, argparse.ArgumentParser]:
    (verbs,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(verbs.choices)


EXAMPLES = [example for words in WORDS.values() for example in words.examples]


def test_every_verb_has_its_words():
    assert list(WORDS) == list(VERBS)
    for name, words in WORDS.items():
        assert any(example.split()[0] == name for example in words.examples), name


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_can_be_typed(example: str):
    given = build_parser().parse_args(shlex.split(example))
    assert given.command in VERBS


@pytest.mark.parametrize("verb", list(VERBS))
def test_help_has_groups_and_examples_and_fits(cli: Cli, verb: str):
    answer = cli(verb, "--help")
    assert answer.code == 0
    titles = re.findall(r"(?m)^([a-z].*):$", answer.out)
    assert titles[-2:] == ["the answer", "examples"]
    assert f"  {COMMAND} {verb}" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80
    flags = {flag for action in parsers()[verb]._actions for flag in action.option_strings}
    assert {flag for flag in flags if flag not in answer.out} == set()


@pytest.mark.parametrize("verb", ["run", "compare", "gate", "fetch", "reproduce", "check", "score"])
def test_many_options_all_stand_in_a_named_group(verb: str):
    groups = {group.title: [action.dest for action in group._group_actions] for group in parsers()[verb]._action_groups}
    own = {"score": ["file"], "check": []}.get(verb, [])
    assert groups["options"] == [], f"words.py names a group for {groups['options']}"
    assert [name for name in groups["positional arguments"] if name not in ("model", *own)] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu", "SciFact"], 'no command "rnu"; there are run, demo'),
        (["comapre"], 'Did you mean "compare"'),
        (["run", "SciFact", "--device", "cpuu"], 'unknown device "cpuu"; it is auto, cpu, cuda, cuda:1 (the second one) or mps. Did you mean "cpu"'),
        (["run", "SciFact", "--device", "gpu"], 'Did you mean "cuda"?'),
        (["run", "SciFact", "--device", "cuda:first"], 'unknown device "cuda:first"'),
        (["run", "SciFact", "--measures", "nDGC@10"], 'Did you mean "nDCG@10"?'),
        (["run", "SciFact", "--measures", "Presicion@5"], 'Did you mean "P@5"?'),
        (["run", "SciFact", "--format", "jsno"], '"jsno" is none of text, json. Did you mean "json"?'),
        (["list", "scifcat"], 'Did you mean "SciFact"?'),
    ],
)  # fmt: skip
def test_what_was_mistyped_is_told_with_the_nearest_name(cli: Cli, words: list[str], said: str):
    answer = cli(*words)
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1


def test_what_has_just_failed_is_never_suggested():
    assert did_you_mean("cuda", ["cuda", "cpu"]) == ""
    assert did_you_mean("SciFact", ["SciFact", "SciFact-PL"]) == ' Did you mean "SciFact-PL"?'
    assert did_you_mean("scifact", ["SciFact"]) == ' Did you mean "SciFact"?'


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps", "xpu"])
def test_a_device_that_cannot_be_used_is_not_among_the_others(device: str):
    from harness.models.loading import check_device

    with pytest.raises(HarnessError) as told:
        check_device(device)
    others = re.findall(r"\w+", str(told.value).split("Take --device ")[1].split(";")[0])
    assert device.partition(":")[0] not in others
    assert others[0] == "cpu"


def test_a_name_is_found_in_whatever_case_where_one_fits():
    assert spelt("scifact", ["SciFact", "NQ"]) == "SciFact"
    assert spelt("a", ["A", "a"]) == "a"
    assert spelt("aB", ["Ab", "AB"]) == "aB", "two fit, so none is taken"
    assert resolve_device("CUDA:1") == "cuda:1"
    assert resolve_device("Cpu") == "cpu"


def test_verbs_choices_and_results_are_found_in_whatever_case(cli: Cli, tmp_path: Path):
    saved(tmp_path / "results", made([0.1] * 8, reranker="org/Model-A"), made([0.2] * 8, reranker="org/Model-B"))
    answer = cli("COMPARE", "ORG/model-a", "org/model-b", "--format", "JSON")
    assert answer.code == 0, answer.err
    assert '"first": "org/Model-A"' in answer.out
    assert cli("Explain", "rh001").out.startswith("RH001")
    twice = saved(tmp_path / "results", made([0.1] * 8, reranker="org/model-A"))
    assert '"ORG/model-a"' in cli("compare", "ORG/model-a", "org/Model-B", "--results", twice).err


def test_a_known_model_keeps_its_settings_in_another_spelling():
    from harness.rerankers.resolve import _as_known

    assert _as_known("baai/BGE-reranker-v2-m3@main") == "BAAI/bge-reranker-v2-m3@main"
    assert _as_known("somebody/unknown") == "somebody/unknown"


def test_a_measure_that_is_nobodys_has_no_near_one():
    with pytest.raises(ValueError, match="unknown measure") as told:
        Measure.parse("speed@10")
    assert "Did you mean" not in str(told.value)


@pytest.mark.parametrize(
    ("words", "found", "left_out"),
    [
        (["SCIF"], ["SciFact", "NanoSciFactRetrieval"], ["NFCorpus", "suite "]),
        (["demo"], ["demo", "DemoChinese", "DemoLanguages"], ["SciFact"]),
        (["zho", "demo"], ["DemoChinese"], ["DemoEnglish"]),
        (["mteb/scifact"], ["SciFact"], ["DemoEnglish"]),
        ([], ["SciFact", "demo", "XQuADRetrieval", "suite "], []),
    ],
)
def test_list_finds_by_name_language_data_set_and_suite(cli: Cli, words, found, left_out):
    answer = cli("list", *words)
    assert answer.code == 0
    table = answer.out.rsplit("\n\n", 1)[0]
    for word in found:
        assert re.search(rf"(?m)^{word}", table), word
    for word in left_out:
        assert not re.search(rf"(?m)^{word}", table), word
    assert max(map(len, table.splitlines())) <= 80


def test_list_shows_language_documents_queries_measure_and_size(cli: Cli):
    lines = cli("list", "DemoEnglish").out.splitlines()
    heads = lines[0].split()
    assert heads[:5] == ["task", "language", "documents", "queries", "measure"]
    assert lines[2].split()[:6] == ["DemoEnglish", "eng", "210", "55", "nDCG@10", "5,500"]
    assert cli("list", "mteb/scifact").out.splitlines()[2].split()[:6] == [
        "SciFact",
        "eng",
        "5,183",
        "300",
        "nDCG@10",
        "30,000",
    ]
    entries = json.loads(cli("list", "DemoEnglish", "--format", "json").out)
    assert [task["name"] for task in entries["tasks"]] == ["DemoEnglish"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [("rerank-harness com", ["compare"]), ("rerank-harness run SciF", ["SciFact"]), ("rerank-harness gate --und", ["--undecided"])],
)  # fmt: skip
def test_a_shell_is_told_what_fits(line: str, offered: list[str], tmp_path: Path):
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9",
    }  # fmt: skip
    subprocess.run([sys.executable, "run_eval.py"], cwd=ROOT, env={**os.environ, **asked}, check=True)
    assert [word.strip() for word in answer.read_text().split("\n")] == offered


def test_the_line_for_a_shell_names_the_command(cli: Cli):
    answer = cli("--completion", "bash")
    assert answer.code == 0
    assert re.search(rf"complete .* {COMMAND}\b", answer.out)


def test_one_name_of_the_command_in_all_pages():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "tasks").glob("*.md")]
    assert len(pages) > 15
    for page in pages:
        lines = [
            line for line in page.read_text(encoding="utf-8").splitlines() if re.search(r"run_eval\.py [a-z]", line)
        ]
        assert [line for line in lines if not line.startswith("run_eval.py ")] == [], f"{page.name}: it is {COMMAND}"
