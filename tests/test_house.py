"""The house itself: which way imports point, what light paths load, and budgets that keep it small."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, Cli

HARNESS = ROOT / "harness"
MODULES = sorted(path for path in HARNESS.rglob("*.py") if "_tasks" not in path.parts)

FLOORS = [
    "commands", "python", "interchange", "boards", "judging", "verdicts", "evaluate", "compute", "request", "measures", "rerankers",
    "retrievers", "models", "engine", "results", "data", "files", "text", "types", "errors",
]  # fmt: skip
"""From the top down: what stands in a floor's folder or file imports from it and from those behind it here."""

HEAVY = ("torch", "transformers", "mteb", "pandas", "sentence_transformers", "datasets", "pyarrow", "beir")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def dotted(path: Path) -> str:
    """`harness.engine.plan` for harness/engine/plan.py; a package is its folder's name."""
    parts = path.relative_to(HARNESS.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path): path for path in MODULES}


def arrows(path: Path) -> dict[str, int]:
    """Our own modules that this one imports, wherever in it, for types too → the line that says so."""
    found: dict[str, int] = {}
    package = dotted(path).split(".") if path.name == "__init__.py" else dotted(path).split(".")[:-1]
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            for name in node.names:
                whole = ".".join(part for part in [*base, name.name] if part)
                target = whole if whole in NAMES else whole.rpartition(".")[0]
                if target != dotted(path):
                    found.setdefault(target, node.lineno)
    return found


def floor_of(name: str) -> int:
    place = name.split(".")[1]
    assert place in FLOORS, f"{name} stands on no floor: give it a folder of FLOORS"
    return FLOORS.index(place)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HARNESS)))
def test_imports_point_down(path: Path):
    if path == HARNESS / "__init__.py":
        return
    up = [
        f"{path.relative_to(ROOT)}:{line}: {dotted(path)} -> {name} points up"
        for name, line in arrows(path).items()
        if name != "harness" and floor_of(name) < floor_of(dotted(path))
    ]
    assert not up, "\n".join(up)


def test_no_two_files_import_each_other():
    waiting = {name: set(arrows(path)) & set(NAMES) for name, path in NAMES.items()}
    while free := [name for name, needs in waiting.items() if not needs & set(waiting)]:
        for name in free:
            del waiting[name]
    # What is left holds every circle, and what leads to one: a file nobody left imports is no part of a circle.
    while outer := [name for name in waiting if not any(name in needs for needs in waiting.values())]:
        for name in outer:
            del waiting[name]
    round_about = [
        f"{NAMES[name].relative_to(ROOT)}:{arrows(NAMES[name])[other]}: {name} -> {other} closes a circle"
        for name, needs in waiting.items()
        for other in sorted(needs & set(waiting))
    ]
    assert not round_about, "\n".join(round_about)


def test_benchmarks_import_what_there_is():
    """Nothing else would say so: they are run by hand, and much of what they import is imported inside functions."""
    stale = [
        f"{path.name}: {node.module}.{alias.name}"
        for path in sorted((ROOT / "benchmarks").glob("*.py"))
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("harness", "benchmarks", "tests")
        for alias in node.names
        if not offers(ROOT.joinpath(*str(node.module).split(".")), alias.name)
    ]
    assert not stale


def offers(place: Path, name: str) -> bool:
    """Whether the module or package at `place` defines, imports or holds the name."""
    if (place / f"{name}.py").is_file() or (place / name / "__init__.py").is_file():
        return True
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return file.is_file() and re.search(rf"\b{name}\b", file.read_text(encoding="utf-8")) is not None


STREET = {
    "harness", "tasks", "results", "leaderboards", "tests", "benchmarks", "docs", "run_eval.py", "pyproject.toml", "Makefile",
    "README.md", "README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE",
}  # fmt: skip


def test_nothing_else_stands_beside_the_house():
    made = (ROOT / ".gitignore").read_text().split()
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert {name for name in found - STREET if f"{name}/" not in made and f"/{name}/" not in made} == set()


def test_the_house_opens_on_few_things():
    beside = [path.name for path in HARNESS.iterdir() if path.is_file()]
    assert len(beside) <= 10, beside
    for folder in {path.parent for path in MODULES} - {HARNESS}:
        rooms = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(rooms) <= 24, f"{folder.relative_to(ROOT)} holds {len(rooms)} files"


def test_tests_stand_where_what_they_test_stands():
    folders = {path.parent.relative_to(HARNESS) for path in MODULES}
    strays = {
        path.parent.relative_to(ROOT / "tests")
        for path in (ROOT / "tests").rglob("test_*.py")
        if "assets" not in path.parts
    } - folders
    assert not strays, f"tests/ has folders that harness/ has not: {sorted(map(str, strays))}"


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
        "import sys\nfrom harness.commands.cli import main\n"
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
    program = (
        "import sys; from harness.commands.cli import build_parser; build_parser(); sys.exit('numpy' in sys.modules)"
    )
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


FOLDERS = sorted({path.parent for path in MODULES})


def named_in(folder: Path) -> set[str]:
    """The names in backquotes of a folder's own words."""
    said = ast.get_docstring(tree(folder / "__init__.py")) or ""
    return {name.rstrip("/").split(".")[0] for name in re.findall(r"`([\w./]+)`", said)}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.relative_to(ROOT).as_posix())
def test_a_folder_names_what_it_holds(folder: Path):
    if folder.name in ("families", "analyzers", "fast"):
        return  # one file for each member of a kind: the listing says it
    rooms = {path.stem for path in folder.glob("*.py")} | {path.name for path in FOLDERS if path.parent == folder}
    unsaid = rooms - {"__init__"} - named_in(folder)
    assert not unsaid, f"{folder.relative_to(ROOT)}/__init__.py does not say what {sorted(unsaid)} are for"


def test_every_verb_has_a_file_of_its_own():
    from harness.commands.cli import VERBS

    files = [str(vars(verb)["__name__"]) for verb in VERBS.values()]
    assert len(set(files)) == len(VERBS)
    for name, file in zip(VERBS, files, strict=True):
        assert file.rpartition(".")[2].split("_")[0] == name, f"{name} stands in {file}"
        assert f"verb `{name}`" in ast.get_docstring(tree(NAMES[file]))


MODELS_STAND_IN = ("rerankers", "models", "retrievers", "engine", "python", "commands")
"""Folders of tests that compare what models compute."""
NEARNESS = {"approx", "allclose", "isclose", "assert_allclose", "assert_close", "assert_almost_equal"}
NEAR = {
    "arithmetic in float64 of figures that are there": (
        "rerankers/test_plugin.py::test_rank_of_sentence_transformers_is_put_back_in_the_documents_order",
        "rerankers/test_rerank.py::test_equal_texts_of_a_list_keep_their_places_when_they_are_read_back",
        "retrievers/test_first_stage_table.py::test_a_list_is_compared_with_every_score_of_the_oracle",
        "retrievers/test_fusion.py::test_runs_are_joined_as_ranx_joins_them",
        "retrievers/test_fusion.py::test_ranks_are_weighted_by_their_definition",
        "python/test_run.py::test_a_function_over_data_in_memory",
        "python/test_run.py::test_values_and_rankings_are_data_frames",
        "python/test_verdicts.py::test_the_first_stage_is_what_it_is_for_every_result",
        "commands/test_relevance_level.py::test_a_card_of_level_two_gives_the_figures_of_trec_eval_at_two",
        "commands/test_run.py::test_json_is_one_object_with_the_agreed_fields",
        "commands/test_run.py::test_fusion_is_the_sum_of_reciprocal_ranks",
        "commands/test_run.py::test_a_query_without_candidates_counts_as_zero_and_is_reported",
    ),
    "one step of arithmetic in float32, by NumPy": (
        "rerankers/families/test_bge.py::test_normalize_moves_what_is_published_and_not_what_is_ranked",
        "retrievers/test_bm25.py::test_a_term_repeated_in_the_query_counts_each_time",
    ),
    "money, seconds, counts of operations and of tokens": (
        "rerankers/families/test_providers.py::test_a_run_says_what_was_billed_and_what_it_cost",
        "rerankers/families/test_providers.py::test_search_units_are_counted_as_they_are_billed",
        "rerankers/families/test_providers.py::test_a_dry_run_says_what_it_will_cost_and_sends_nothing",
        "rerankers/families/test_remote.py::test_the_forms_of_retry_after",
        "engine/fast/test_benchmarks.py::test_the_work_is_what_torch_counts",
        "engine/fast/test_benchmarks.py::test_the_work_of_a_shared_beginning_is_counted_once",
        "commands/test_dry_run.py::test_without_candidates_the_cost_is_that_of_a_random_sample_at_most",
    ),
    "a figure that others published, to its last digit or the next": (
        "models/test_encoders.py::test_all_minilm_on_scifact_gives_the_published_figure",
        "retrievers/test_bm25.py::test_scifact_has_lucenes_figures",
        "retrievers/test_bm25.py::test_xquad_has_lucenes_figures",
        "retrievers/test_bm25.py::test_cmrc_has_lucenes_figures",
    ),
    "half precision, whose own rounding is the tolerance": (
        "rerankers/families/test_enct5.py::test_the_encoder_takes_the_fast_path_and_in_float16_runs_padded_and_says_so",
        "rerankers/families/test_seq2seq.py::test_a_t5_takes_the_fast_path_and_in_float16_runs_padded_and_says_so",
        "models/test_encoders.py::test_of_a_t5_the_encoder_alone_is_run",
        "rerankers/families/test_causal.py::test_half_precision_rounds_no_score",
        "engine/fast/test_decoder.py::test_the_grouped_kernel_agrees_with_rows_one_by_one",
        "engine/fast/test_packed.py::test_a_linear_in_bfloat16_agrees_with_torchs_own_in_every_shape",
    ),
    "a card beside the CPU, by a share of the largest number": (
        "engine/fast/test_on_a_card.py::test_a_card_answers_as_the_cpu_does",
    ),
}
"""Why a test may compare numbers by a tolerance of its own."""


def compares_nearly(node: ast.AST) -> bool:
    """A call of NEARNESS, or "less than some thousandths"."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2] in NEARNESS
    if not isinstance(node, ast.Compare):
        return False
    bounds = [side.value for side in node.comparators if isinstance(side, ast.Constant)]
    less = any(isinstance(operator, ast.Lt | ast.LtE) for operator in node.ops)
    return less and any(isinstance(bound, float) and 0 < bound <= 0.01 for bound in bounds)


def test_no_chip_decides_how_near_two_scores_must_be():
    """What models compute is compared by tests/exactness.py; every other tolerance has its reason in NEAR."""
    found = {
        f"{path.relative_to(ROOT / 'tests').as_posix()}::{function.name}"
        for folder in MODELS_STAND_IN
        for path in (ROOT / "tests" / folder).rglob("*.py")
        for function in tree(path).body
        if isinstance(function, ast.FunctionDef) and any(map(compares_nearly, ast.walk(function)))
    }
    allowed = {name for names in NEAR.values() for name in names}
    assert not found - allowed, f"hold them by a yardstick of tests/exactness.py: {sorted(found - allowed)}"
    assert not allowed - found, f"no tolerance is left in {sorted(allowed - found)}: take them from NEAR"
