"""A reranker of the user's own: every shape of it that is taken, and what it gets to see."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import Cli, Counter

from harness.engine.options import Options
from harness.errors import HarnessError
from harness.rerankers.plugin import as_scores, open_plugin, wrap
from harness.types import DocumentText, QueryText

QUERY = QueryText("red bird", "only small ones")
DOCUMENTS = [DocumentText("Robin", "a red bird"), DocumentText("", "a blue fish")]
PAIRS = np.array([[0, 0], [0, 1]], np.int64)


def pair_scores(target):
    prepared = wrap(target, "plugin").load().prepare([QUERY], DOCUMENTS, PAIRS)
    return prepared.score(np.array([0, 1])).tolist()


def list_scores(target):
    return wrap(target, "plugin").load().score_list(QUERY, DOCUMENTS).tolist()


def test_a_function_sees_the_query_with_its_instruction_and_joined_documents():
    seen = []

    def rank(query, documents):
        seen.append((query, documents))
        return [2, 1]

    assert list_scores(rank) == [2.0, 1.0]
    assert seen == [("red bird only small ones", ["Robin a red bird", "a blue fish"])]
    assert wrap(rank, "plugin").spec.context == "list"


def test_a_function_that_takes_the_instruction_gets_it_apart():
    def rank(query, documents, instruction):
        assert (query, instruction) == ("red bird", "only small ones")
        return [0.5, 0.25]

    assert list_scores(rank) == [0.5, 0.25]


def test_predict_is_pair_context_and_may_return_a_column():
    class Model:
        def predict(self, pairs):
            assert pairs[0] == ("red bird only small ones", "Robin a red bird")
            return np.array([[1.5], [0.5]])

    assert pair_scores(Model()) == [1.5, 0.5]
    assert wrap(Model(), "plugin").spec.context == "pair"


def test_compute_score_may_return_a_list_or_for_one_pair_a_number():
    class Model:
        def compute_score(self, pairs):
            return 3.0 if len(pairs) == 1 else [3.0, 4.0]

    assert pair_scores(Model()) == [3.0, 4.0]
    prepared = wrap(Model(), "plugin").load().prepare([QUERY], DOCUMENTS, PAIRS)
    assert prepared.score(np.array([1])).tolist() == [3.0]


def test_a_torch_tensor_is_taken():
    import torch

    class Model:
        def predict(self, pairs):
            return torch.tensor([1.0, 2.0], requires_grad=True)

    assert pair_scores(Model()) == [1.0, 2.0]


def test_rank_of_sentence_transformers_is_put_back_in_the_documents_order():
    class Model:
        def rank(self, query, documents):
            return [{"corpus_id": 1, "score": 0.9}, {"corpus_id": 0, "score": 0.1}]

    assert list_scores(Model()) == pytest.approx([0.1, 0.9])


def test_results_of_the_rerankers_library_are_put_back_in_the_documents_order():
    def result(doc_id, score):
        return SimpleNamespace(document=SimpleNamespace(doc_id=doc_id), score=score, rank=1)

    class Model:
        def rank(self, query, documents):
            return SimpleNamespace(results=[result(1, 7.0), result(0, 3.0)])

    assert list_scores(Model()) == [3.0, 7.0]


def test_a_class_is_called_first():
    class Model:
        def __init__(self):
            self.base = 10

        def predict(self, pairs):
            return [self.base + place for place in range(len(pairs))]

    assert pair_scores(Model) == [10.0, 11.0]


def test_a_function_marked_pair_counts_as_pair_context():
    def rank(query, documents):
        return [1, 2]

    rank.context = "pair"
    assert wrap(rank, "plugin").spec.context == "pair"


def test_a_wrong_context_is_refused():
    def rank(query, documents):
        return []

    rank.context = "batch"
    with pytest.raises(HarnessError, match='"pair" or "list"'):
        wrap(rank, "plugin")


def test_what_cannot_score_is_refused_with_the_rule():
    with pytest.raises(HarnessError, match="cannot score"):
        wrap(object(), "plugin")


@pytest.mark.parametrize(
    "found",
    [
        [1.0],
        [1.0, 2.0, 3.0],
        [[1.0, 2.0]],
        5.0,
        "ab",
        [{"corpus_id": 0, "score": 1}],
        [{"corpus_id": 5, "score": 1}] * 2,
    ],
)
def test_scores_of_another_shape_are_refused(found):
    with pytest.raises(HarnessError, match="mine"):
        as_scores(found, 2, "mine")


def test_a_declared_fingerprint_decides_the_key_and_the_source_does_not():
    def make(fingerprint):
        def rank(query, documents):
            return [0.0] * len(documents)

        rank.fingerprint = fingerprint
        return wrap(rank, "file.py:rank").spec

    assert make("1").declared
    assert make("1").fingerprint == make("1").fingerprint
    assert make("1").fingerprint != make("2").fingerprint


class Versioned:
    """Scores nothing; says its version by a method, as some libraries do."""

    def __init__(self, version) -> None:
        self.version = version

    def predict(self, pairs):
        return [0.0] * len(pairs)

    def fingerprint(self):
        return self.version()


@pytest.mark.parametrize("word", ["fingerprint", "revision"])
def test_a_fingerprint_that_is_a_method_is_called(word: str):
    def spec(version: str):
        kind = type("Mine", (), {"predict": lambda _, pairs: pairs, word: lambda _: version})
        return wrap(kind(), "plugin").spec

    assert spec("1").declared
    assert spec("1").fingerprint == spec("1").fingerprint != spec("2").fingerprint


@pytest.mark.parametrize(
    "version",
    [object, lambda: iter([1]).__next__, lambda: f"<model at {hex(id(object()) | 1 << 40)}>", np.random.default_rng(0).random,
     lambda: {1, 2}, lambda: 1 / 0, lambda needed: needed],
    ids=["object", "method", "address", "chance", "set", "raises", "argument"],
)  # fmt: skip
def test_a_fingerprint_that_no_other_process_finds_again_is_refused(version):
    with pytest.raises(HarnessError, match=r"plugin: its fingerprint"):
        wrap(Versioned(version), "plugin")


def test_a_fingerprint_that_is_an_object_is_refused():
    rank = SimpleNamespace(predict=lambda pairs: pairs, fingerprint=object())
    with pytest.raises(HarnessError, match="another process would not find again"):
        wrap(rank, "plugin")


@pytest.mark.parametrize("made", [lambda self: iter([self]), lambda _: np.random.default_rng().random(), lambda _: 1 / 0, id],
                         ids=["object", "chance", "raises", "address"])  # fmt: skip
def test_a_property_that_no_other_process_finds_again_is_refused(made):
    kind = type("Mine", (), {"predict": lambda _, pairs: pairs, "fingerprint": property(made)})
    with pytest.raises(HarnessError, match=r"plugin: its fingerprint"):
        wrap(kind(), "plugin")


def test_a_fingerprint_of_any_letters_is_taken():
    assert wrap(SimpleNamespace(predict=lambda pairs: pairs, fingerprint="a\ud800"), "plugin").spec.declared


def test_tokens_that_nobody_counted_are_missing_and_never_a_number(cli: Cli, collection_folder: Path, counter: Counter):
    Path("mine.py").write_text("def rank(query, documents):\n    return [len(text) for text in documents]\n")
    words = ["run", collection_folder, "--reranker", counter.name, "--reranker", "mine.py:rank"]
    for result in cli(*words, "--format", "json").results():
        names = ("tokens", "truncated_pairs", "truncated_share", "lost_tokens", "lost_token_share")
        assert {name: result["diagnostics"][name] for name in names} == dict.fromkeys(names)
        assert result["performance"]["tokens_per_second"] is None
        assert result["performance"]["pairs_scored"] > 0
    assert "truncated" not in cli(*words).out
    assert "tokens" not in cli("check", counter.name).out
    plan = json.loads(cli(*words, "--limit", 3, "--dry-run", "--format", "json").out)["plan"]
    assert [entry["tokens"] for entry in plan] == [None, None]


def test_without_a_declared_fingerprint_the_key_is_the_source_file(tmp_path: Path):
    from harness.engine.options import Options
    from harness.rerankers.plugin import open_plugin

    file = tmp_path / "mine.py"
    file.write_text("def rank(query, documents):\n    return [0.0] * len(documents)\n")
    first = open_plugin(f"{file}:rank", Options()).spec
    file.write_text("def rank(query, documents):\n    return [1.0] * len(documents)\n")
    second = open_plugin(f"{file}:rank", Options()).spec
    assert not first.declared
    assert first.fingerprint != second.fingerprint
    assert first.name == "mine.py:rank"


def test_an_entry_point_of_an_installed_package_is_a_reranker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from harness.engine.options import Options
    from harness.rerankers.plugin import entry_point_names, is_plugin, open_plugin

    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rerank_harness.rerankers]\ntheirs-v1 = theirs_module:score\n")
    (tmp_path / "theirs_module.py").write_text("def score(query, documents):\n    return [len(d) for d in documents]\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "theirs-v1" in entry_point_names()
    assert is_plugin("theirs-v1")
    assert open_plugin("theirs-v1", Options()).load().score_list(QUERY, DOCUMENTS).tolist() == [16.0, 11.0]


@pytest.mark.parametrize("helper", [False, True])
def test_a_file_that_is_no_python_is_named_with_its_line(tmp_path: Path, helper: bool):
    (tmp_path / "shaky.py").write_text("def rank(query, documents)\n    return []\n")
    (tmp_path / "mine.py").write_text("\nfrom shaky import rank\n")
    name = f"{tmp_path / ('mine.py' if helper else 'shaky.py')}:rank"
    with pytest.raises(HarnessError, match=r"SyntaxError: .*\(shaky\.py, line 1\)") as found:
        open_plugin(name, Options())
    assert "\n" not in str(found.value)


def test_an_edit_of_equal_size_within_the_same_second_is_seen(tmp_path: Path):
    """Python's own cache of code compares size and second, so it would run what is no longer there."""
    file, source = tmp_path / "mine.py", "def model(query, documents):\n    return [{}.0] * len(documents)\n"
    found = []
    for value in (1, 2):
        file.write_text(source.format(value))
        os.utime(file, (1_700_000_000, 1_700_000_000))
        opened = open_plugin(f"{file}:model", Options())
        found.append((opened.spec.fingerprint, opened.load().score_list(QUERY, DOCUMENTS).tolist()))
    assert [scores for _, scores in found] == [[1.0, 1.0], [2.0, 2.0]]
    assert found[0][0] != found[1][0]
    assert not (tmp_path / "__pycache__").exists()


def plugin_beside(folder: Path, helper: str, plugin: str = "from helper import value\n") -> str:
    """A plug-in that scores every document `value`, which `helper.py` beside it says."""
    folder.mkdir(exist_ok=True)
    (folder / "helper.py").write_text(helper)
    (folder / "mine.py").write_text(f"{plugin}def rank(query, documents):\n    return [value] * len(documents)\n")
    return f"{folder / 'mine.py'}:rank"


def opened(name: str) -> tuple[str, list[float]]:
    """The key, and the scores."""
    found = open_plugin(name, Options())
    return found.spec.fingerprint, found.load().score_list(QUERY, DOCUMENTS).tolist()


def test_what_a_plugin_imports_from_its_folder_is_in_its_key_and_read_anew(tmp_path: Path):
    alone = opened(plugin_beside(tmp_path, "value = 1.0\n", "value = 1.0\n"))
    first = opened(plugin_beside(tmp_path, "value = 1.0\n"))
    second = opened(plugin_beside(tmp_path, "value = 2.0\n"))
    again = opened(plugin_beside(tmp_path, "value = 1.0\n"))
    assert [scores for _, scores in (first, second, again)] == [[1.0, 1.0], [2.0, 2.0], [1.0, 1.0]]
    assert first == again
    assert len({key for key, _ in (alone, first, second)}) == 3


def test_the_key_of_a_plugin_that_imports_nothing_of_its_folder_is_that_of_its_file(tmp_path: Path):
    name = plugin_beside(tmp_path, "value = 1.0\n", "import json\nvalue = 1.0\n")
    before = opened(name)
    (tmp_path / "helper.py").write_text("value = 2.0\n")
    assert opened(name) == before


@pytest.mark.parametrize(
    "statement",
    [
        "import parts.deep",
        "from parts import deep",
        "from parts.deep import value",
        "import chained",
        "if 0: import late",
    ],
)
def test_files_are_found_through_packages_and_one_another(tmp_path: Path, statement: str):
    (tmp_path / "parts").mkdir()
    for name in ("parts/__init__.py", "late.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "chained.py").write_text("from parts import deep\n")
    keys = []
    for text in ("value = 1\n", "value = 2\n"):
        for name in ("parts/deep.py", "late.py"):
            (tmp_path / name).write_text(text)
        keys.append(opened(plugin_beside(tmp_path, "", f"{statement}\nvalue = 1.0\n"))[0])
    assert keys[0] != keys[1]


def test_two_plugins_may_have_helpers_of_one_name(tmp_path: Path):
    names = [plugin_beside(tmp_path / folder, f"value = {value}\n") for folder, value in (("a", 1.0), ("b", 2.0))]
    found = [open_plugin(name, Options()).load() for name in names]
    assert [model.score_list(QUERY, DOCUMENTS).tolist() for model in found] == [[1.0, 1.0], [2.0, 2.0]]


@pytest.mark.parametrize("first", ["", "import helper\n"])
def test_what_is_imported_while_scoring_is_the_plugin_s_own(tmp_path: Path, first: str):
    models = []
    for folder, value in (("a", 1.0), ("b", 2.0)):
        name = plugin_beside(tmp_path / folder, f"value = {value}\n", first)
        late = "def rank(query, documents):\n    from helper import value\n    return [value] * len(documents)\n"
        (tmp_path / folder / "mine.py").write_text(first + late)
        models.append(open_plugin(name, Options()).load())
    for _ in range(2):
        found = [model.score_list(QUERY, DOCUMENTS).tolist() for model in models]
        assert found == [[1.0, 1.0], [2.0, 2.0]]


def test_helpers_that_import_one_another_are_loaded_once(tmp_path: Path):
    (tmp_path / "other.py").write_text("import helper\nloaded = []\n")
    name = plugin_beside(
        tmp_path, "import other\nother.loaded.append(1)\n", "import helper, other\nvalue = len(other.loaded)\n"
    )
    assert opened(name)[1] == [1.0, 1.0]


def test_a_helper_whose_name_another_module_has_is_refused(tmp_path: Path):
    name = plugin_beside(tmp_path, "", "import numpy\nvalue = 1.0\n")
    (tmp_path / "numpy.py").write_text("")
    with pytest.raises(HarnessError, match=r"it imports numpy, and .*numpy\.py lies beside it, but another module"):
        open_plugin(name, Options())
    assert sys.modules["numpy"] is np


def test_a_helper_that_the_caller_has_loaded_stays_as_the_caller_has_it(tmp_path: Path, monkeypatch):
    name = plugin_beside(tmp_path, "value = 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    mine = importlib.import_module("helper")
    del sys.modules["helper"]  # or monkeypatch would put it back for the tests that come after
    monkeypatch.setitem(sys.modules, "helper", mine)
    plugin_beside(tmp_path, "value = 2.0\n")
    assert opened(name)[1] == [2.0, 2.0]
    assert sys.modules["helper"] is mine


def test_a_helper_that_failed_to_load_is_read_again(tmp_path: Path):
    with pytest.raises(HarnessError, match="ZeroDivisionError"):
        open_plugin(plugin_beside(tmp_path, "value = 1.0\n", "from helper import value\n1 / 0\n"), Options())
    assert opened(plugin_beside(tmp_path, "value = 2.0\n"))[1] == [2.0, 2.0]


def test_a_module_of_a_package_has_the_package_s_files_in_its_key(tmp_path: Path, monkeypatch):
    (tmp_path / "kit").mkdir()
    for name, text in (("__init__", ""), ("tools", "value = 1.0\n"), ("mine", "from .tools import value\n")):
        (tmp_path / "kit" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "kit" / "mine.py").write_text(
        "from .tools import value\ndef rank(query, documents):\n    return [value] * 2\n"
    )
    first = open_plugin("kit.mine:rank", Options()).spec.fingerprint
    (tmp_path / "kit" / "tools.py").write_text("value = 2.0\n")
    assert open_plugin("kit.mine:rank", Options()).spec.fingerprint != first
