"""A copy of a known encoder or reranker, in a folder or a mirror, is told how the known one is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import DATA, Cli
from tiny_models import bert, sentence_transformer, write_json

from harness.engine.options import Options
from harness.errors import HarnessError
from harness.files.yaml_file import read_yaml
from harness.models import recipes
from harness.models.encoders import encoder_spec
from harness.models.source import open_model
from harness.rerankers.resolve import known_models, open_rerankers

KNOWN = read_yaml(Path(recipes.__file__).with_name("known_encoders.yaml"))["models"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder: CLS, Normalize, no prompts."""
    home = tmp_path_factory.mktemp("copies")
    sentence_transformer(home, "cls")
    return home / "model"


def copied(saved: Path, folder: Path, path: str | None, **stated: object) -> Path:
    shutil.copytree(saved, folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("_name_or_path", None)
    write_json(folder / "config.json", config | ({"_name_or_path": path} if path else {}))
    if stated:
        more = json.loads((folder / "config_sentence_transformers.json").read_text())
        write_json(folder / "config_sentence_transformers.json", more | stated)
    return folder


def note_of(folder: Path, cache: Path, *settings: tuple[str, str]) -> str:
    return encoder_spec(open_model(str(folder), cache), Options(settings=settings)).note or ""


@pytest.mark.parametrize("name", KNOWN)
def test_a_copy_of_every_known_encoder_is_told_of_its_recipe(tmp_path: Path, saved: Path, name: str):
    told = note_of(copied(saved, tmp_path / "mine", name), tmp_path / "cache")
    if KNOWN[name] == "bge-m3":
        assert told == ""  # CLS, normalised, no prompt: what its files state is the recipe
    else:
        assert f"--set recipe={KNOWN[name]} " in told


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        ("mine", "/root/.cache/torch/sentence_transformers/BAAI_bge-small-en-v1.5/"),
        ("mine", "C:\\models\\bge-small-en-v1.5"),
        ("bge-small-en-v1.5", None),
        ("models--BAAI--bge-small-en-v1.5/snapshots/0a1b", None),
    ],
)
def test_whose_copy_it_is_is_seen_by_any_of_its_names(tmp_path: Path, saved: Path, folder: str, path: str | None):
    assert "recipe=bge-en-v1.5" in note_of(copied(saved, tmp_path / folder, path), tmp_path / "cache")


def test_a_chosen_recipe_and_stated_prompts_are_not_told(tmp_path: Path, saved: Path):
    name = "BAAI/bge-small-en-v1.5"
    copy = copied(saved, tmp_path / "mine", name)
    for recipe in ("bge-en-v1.5", "files"):
        assert note_of(copy, tmp_path / "cache", ("recipe", recipe)) == ""
    keys = [
        encoder_spec(open_model(str(copy), tmp_path / "cache"), Options(settings=settings)).fingerprint
        for settings in ((), (("recipe", "files"),), (("recipe", "bge-en-v1.5"),))
    ]
    assert keys[0] == keys[1] != keys[2]
    own = copied(saved, tmp_path / "tuned", name, prompts={"query": "find: ", "document": ""})
    assert note_of(own, tmp_path / "cache") == ""
    assert note_of(copied(saved, tmp_path / "other", "them/another"), tmp_path / "cache") == ""


def test_it_is_told_of_a_first_stage_and_of_a_reranker(tmp_path: Path, saved: Path, cli: Cli, collection_folder: Path):
    copy = copied(saved, tmp_path / "mine", "BAAI/bge-small-en-v1.5")
    answer = cli("run", collection_folder, "--retriever", copy, "--reranker", copy)
    assert answer.code == 0
    told = [line for line in answer.err.splitlines() if "--set recipe=bge-en-v1.5" in line]
    assert len(told) == 2
    assert all("--retriever-set recipe=bge-en-v1.5" in line for line in told)


def test_a_bare_copy_of_a_known_encoder_is_told_which_recipe_is_its_own(tmp_path: Path):
    bert(tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    write_json(tmp_path / "mine" / "config.json", config | {"_name_or_path": "facebook/contriever"})
    with pytest.raises(HarnessError, match=r"a copy of facebook/contriever: recipe=contriever\."):
        encoder_spec(open_model(str(tmp_path / "mine"), tmp_path / "cache"), Options())


def test_a_copy_of_a_known_reranker_is_told_its_family(tmp_path: Path):
    shutil.copytree(DATA / "models" / "bge-reranker", tmp_path / "bge-reranker-base")
    (reranker,) = open_rerankers(str(tmp_path / "bge-reranker-base"), Options(), tmp_path / "cache")
    assert known_models()["BAAI/bge-reranker-base"]["family"] == "bge" != reranker.spec.family
    assert "a copy of BAAI/bge-reranker-base, which is scored with --family bge" in str(reranker.note)
    (chosen,) = open_rerankers(str(tmp_path / "bge-reranker-base"), Options(), tmp_path / "cache", "bge")
    assert "copy" not in str(chosen.note)


@pytest.mark.parametrize("modules", ["{}", '["Transformer"]', '[{"type": 1, "path": ""}]', '[{"type": "x.Y"}]', "[[[["])
def test_modules_of_another_shape_are_one_line(tmp_path: Path, saved: Path, modules: str):
    copy = copied(saved, tmp_path / "mine", None)
    (copy / "modules.json").write_text(modules)
    with pytest.raises(HarnessError, match=r"modules\.json is not (valid|what a model's)"):
        open_model(str(copy), tmp_path / "cache")
