"""The README keeps its promises: order and length, its tree, its real output, its Chinese twin, its example runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Cli

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"

ORDER = [
    "The two commands", "One real output", "Your own data", "Your own model", "Your own gate", "Where things go", "The tree",
    "Words",
]  # fmt: skip


def test_the_readme_is_short_and_goes_from_what_it_is_for_to_its_words():
    text = ENGLISH.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert re.findall(r"^## (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE) == ORDER
    title, blank, *purpose = text.splitlines()[:6]
    assert title.startswith("# ")
    assert not blank
    assert all(purpose[:3])
    assert not purpose[3], "what it is for, in three lines"
    assert text.index("docs/pictures/board.png") < text.index("docs/pictures/report.png") < text.index("## The two")


@pytest.mark.parametrize("name", ["board.png", "report.png", "terminal.png"])
def test_the_pictures_are_there_and_the_makefile_makes_them(name):
    picture = (ROOT / "docs" / "pictures" / name).read_bytes()
    assert picture.startswith(b"\x89PNG\r\n")
    width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
    assert width >= 1000
    assert height >= 500
    assert ".ci/pictures" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f'"{name}"' in (ROOT / ".ci" / "pictures").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [ENGLISH, CHINESE], ids=lambda page: page.name)
def test_the_output_in_the_readme_is_what_the_command_prints(page: Path, cli: Cli):
    text = page.read_text(encoding="utf-8")
    block = text.split("<!-- output -->")[1].split("<!-- /output -->")[0].strip().strip("`").strip("\n")
    (command,) = re.findall(r"`rerank-harness (run \S+ --reranker package:\S+)`", text)
    answer = cli(*command.split(), "--results", ROOT / "results")
    assert answer.code == 0
    assert "unchanged, read from" in answer.out
    printed = [line.rstrip() for line in answer.out.splitlines()]
    assert printed[: len(block.splitlines())] == block.splitlines(), "run .ci/pictures --text"
    assert "…" not in block


def tree(path: Path) -> dict[str, str]:
    """path → comment, from the block between the tree markers."""
    block = path.read_text(encoding="utf-8").split("<!-- tree -->")[1].split("<!-- /tree -->")[0]
    found, parents = {}, []
    for line in block.splitlines():
        if match := re.match(r"( *)(\S+)(?:\s+# (.+))?$", line):
            if line.startswith("```"):
                continue
            depth, name = len(match[1]) // 2, match[2]
            parents = [*parents[:depth], name.rstrip("/")]
            found["/".join(parents)] = match[3] or ""
    return found


def test_the_tree_is_the_one_on_disk():
    made = subprocess.run([sys.executable, ROOT / ".ci" / "tree"], check=True, capture_output=True, text=True).stdout
    block = ENGLISH.read_text(encoding="utf-8").split("<!-- tree -->")[1].split("<!-- /tree -->")[0]
    assert block.strip() == made.strip(), "run .ci/tree --write"


def test_every_folder_of_the_house_is_in_the_tree_with_a_comment():
    shown = tree(ENGLISH)
    folders = [path for path in (ROOT / "harness").iterdir() if (path / "__init__.py").is_file()]
    assert len(folders) > 10
    for folder in folders:
        name = folder.relative_to(ROOT).as_posix()
        assert shown.get(name), f"{name} has no line, or no comment, in the README's tree"
    assert len(shown) <= 25


def headings(text: str) -> list[int]:
    inside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [len(match[1]) for match in re.finditer(r"^(#+) ", inside, re.MULTILINE)]


def code_blocks(text: str) -> list[str]:
    """Code without its comments: those are in the language of the page."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    return [re.sub(r"\s*#.*", "", block).strip() for block in blocks]


def text_of(path: Path) -> str:
    """A page without the tree, which stands on the English page alone."""
    before, _, rest = path.read_text(encoding="utf-8").partition("<!-- tree -->")
    return before + rest.partition("<!-- /tree -->")[2]


@pytest.mark.parametrize("part", [headings, code_blocks])
def test_the_chinese_readme_keeps_step(part):
    assert part(text_of(CHINESE)) == part(text_of(ENGLISH))


def test_both_readmes_name_the_same_flags_and_variables():
    pattern = re.compile(r"`?(--[a-z-]+|[A-Z]{2,}_[A-Z_]+)")
    english, chinese = (set(pattern.findall(text_of(path))) for path in (ENGLISH, CHINESE))
    assert english == chinese


def test_every_flag_in_the_readme_exists(cli: Cli):
    helps = "".join(
        cli(verb, "--help").out for verb in ("run", "score", "check", "cache", "leaderboard", "doctor", "demo")
    )
    flags = set(re.findall(r"`[^`\n]*?(--[a-z-]+)", text_of(ENGLISH)))
    flags -= {"--index-url"}
    assert {flag for flag in flags if flag not in helps} == set()


def test_the_five_line_reranker_of_the_readme_runs(cli: Cli, collection_folder: Path):
    (block,) = [
        block for block in re.findall(r"```python\n(.*?)```", ENGLISH.read_text(), re.DOTALL) if "def rerank" in block
    ]
    Path("mine.py").write_text(block)
    answer = cli("run", collection_folder, "--reranker", "mine.py:rerank", "--format", "json")
    assert answer.results()[0]["reranker"] == "mine.py:rerank"
