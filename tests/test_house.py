"""The house itself: which way imports point, what light paths load, and budgets that keep it small."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, Cli

HARNESS = ROOT / "harness"
MODULES = sorted(path for path in HARNESS.rglob("*.py") if "_tasks" not in path.parts)

LAYERS = [
    {"types", "errors", "text", "digest", "options", "progress", "figures", "charts"},
    {
        "cache",
        "rows",
        "yaml_file",
        "formats",
        "layout",
        "environment",
        "engine",
        "scale_out",
        "tokenization",
        "spiece",
        "result",
        "_store_files",
    },
    {"pairing", "rankings", "cautions", "run_lines"},
    {
        "hub",
        "bundle",
        "store",
        "embedding_store",
        "corpus",
        "dataset",
        "collection",
        "mteb_task",
        "significance",
        "measure",
        "p_mrr",
    },
    {"adapters", "fast", "models", "loading", "checkpoint", "task", "uncarded", "verdict", "recipes"},
    {"encoders", "retrievers", "rerankers"},
    {"retrieve", "rerank", "diagnosis"},
    {"compute", "evaluate", "score", "check", "performance", "means", "published", "imported"},
    {"leaderboard", "upkeep", "tables", "config", "demo", "plan", "run_command", "fetch", "reproduce"},
    {"samples", "moved", "compare", "gate", "report", "verdict_text", "verdict_commands", "interchange"},
    {"cli"},
]
"""Each layer may import from itself and from those before it."""

HEAVY = ("torch", "transformers", "mteb", "pandas", "sentence_transformers", "datasets", "pyarrow", "beir")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def top(path: Path) -> str:
    """The module's place in LAYERS: a package counts as one."""
    return path.relative_to(HARNESS).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """The top-level names of our own modules that this one imports, wherever in it, but for types."""
    found = set()
    depth = len(path.relative_to(HARNESS).parts)
    for_types = {
        id(node)
        for block in ast.walk(tree(path))
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and id(node) not in for_types and node.level == depth:
            found |= {(node.module or name.name).split(".")[0] for name in node.names}
    return found


def layer_of(name: str) -> int:
    for number, layer in enumerate(LAYERS):
        if name in layer:
            return number
    raise AssertionError(f"{name} stands in no layer: give it one in LAYERS")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HARNESS)))
def test_imports_point_one_way(path: Path):
    if top(path) == "__init__":
        return
    for name in imports(path) - {"__init__"}:
        assert layer_of(name) <= layer_of(top(path)), f"{path.name} imports {name}, which stands above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HARNESS)))
def test_a_module_keeps_to_its_budget(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400, f"{len(lines)} lines: does it have two reasons to change?"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert length <= 50, f"{node.name} has {length} lines"
            arguments = [a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")]
            assert len(arguments) + len(node.args.kwonlyargs) <= 8, f"{node.name} takes {arguments}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HARNESS)))
def test_a_module_says_what_it_is_for_and_what_it_offers(path: Path):
    assert ast.get_docstring(tree(path)), "a module begins with what it is for"
    names = {n.name for n in tree(path).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    offered = next(
        (
            ast.literal_eval(n.value)
            for n in tree(path).body
            if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
        ),
        None,
    )
    if offered is not None:
        assert not [name for name in offered if name.startswith("_")]
        public = {n for n in names if not n.startswith("_")}
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in public & set(offered):
                assert ast.get_docstring(node), f"{node.name} is public and says nothing"


def test_only_the_command_line_prints():
    for path in MODULES:
        if path.name != "cli.py":
            called = {ast.unparse(n.func) for n in ast.walk(tree(path)) if isinstance(n, ast.Call)}
            assert "print" not in called, path


def loaded(*words: object) -> set[str]:
    """The heavy packages that a command has imported when it ends."""
    program = (
        "import sys\nfrom harness.cli import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as stop:\n    code = stop.code\n"
        f"print('LOADED', *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("LOADED"))
    return set(line.split()[1:])


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["list"], ["--version"]], ids=" ".join)
def test_light_verbs_load_nothing_heavy(words):
    assert loaded(*words) == set()


def test_help_loads_not_even_numpy():
    program = "import sys; from harness.cli import build_parser; build_parser(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT).returncode == 0


def test_a_run_whose_results_exist_loads_nothing_heavy(cli: Cli, collection_folder: Path, tmp_path: Path):
    from conftest import DATA

    words = [
        "run",
        collection_folder,
        "--reranker",
        DATA / "models" / "cross-encoder",
        "--results",
        tmp_path / "results",
    ]
    assert cli(*words).code == 0
    assert loaded(*words) == set()


def test_no_word_of_where_it_was_built_is_in_the_project():
    told = ("/work/", "local_hub", "issue #", "helper-")
    for path in [*MODULES, ROOT / "README.md", ROOT / "Makefile", *(ROOT / "tasks").glob("*.yaml")]:
        text = path.read_text(encoding="utf-8")
        assert not [word for word in told if word in text], path
