"""known.yaml: what is said of every model is whole, has a source, and is what the code takes; who is not scored is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import processes
import pytest
from conftest import DATA, ROOT
from golden_cases import opened
from saved_rerankers import edited
from small_hub import serving
from tiny_models import bert, write_json

from harness.boards import facts
from harness.engine.options import Options
from harness.errors import HarnessError
from harness.files.yaml_file import read_yaml
from harness.rerankers.known import FACTS, known_models, rule_of, sources_of
from harness.rerankers.resolve import FAMILIES, open_rerankers, template_names
from harness.rerankers.rules import known_rules, lines_of

KEYS = {"family", "settings", "by", "rule", "unscored", "source", *FACTS}
TINY = {
    "sequence-classification": "cross-encoder",
    "bge": "bge-reranker",
    "layerwise": "bge-reranker-layerwise",
    "lightweight": "bge-reranker-lightweight",
    "enct5": "tart",
    "causal": "followir",
    "listwise": "followir",
    "seq2seq": "tart",
}
"""family → a tiny model that it opens."""
OF_NO_FILE = {"saved": "sequence-classification"}
"""Values of `template` that stand in no file."""


@pytest.mark.parametrize("name", known_models())
def test_every_model_has_family_rule_and_a_source_of_each_fact(name: str):
    entry = known_models()[name]
    assert set(entry) <= KEYS
    assert entry["rule"] in ("verified", "inferred")
    assert (entry["family"] == "none") == bool(entry.get("unscored"))
    assert entry["family"] == "none" or entry["family"] in FAMILIES
    assert set(entry["source"]) <= {"rule", "facts", *FACTS}
    assert all(sources_of(entry).values())
    assert set(sources_of(entry)) == {"rule", *(set(FACTS) & set(entry))}
    said = set(entry["source"]) - {"rule", "facts"}
    assert said <= set(entry), "a source of a fact that does not stand there"


def test_a_verified_model_has_a_rule_that_a_case_holds():
    for name, entry in known_models().items():
        rule, rules = rule_of(entry), known_rules()
        held = rules.get(rule, rules.get(entry["family"], {})).get("verified")
        assert entry["family"] == "none" or rule in rules or entry["family"] in rules, name
        assert held or entry["rule"] == "inferred", f"{name}: nothing holds {rule}"


def taken_by(family: str, tmp_path: Path) -> set[str]:
    """The settings that a family has, as its own error lists them."""
    folder = shutil.copytree(DATA / "models" / TINY[family], tmp_path / family)
    if family == "seq2seq":
        edited(folder, "config.json", architectures=["T5ForConditionalGeneration"])
    template = {"causal": "followir", "listwise": "rank-zephyr", "seq2seq": "monot5"}.get(family)
    with pytest.raises(HarnessError) as refused:
        opened(folder, tmp_path, family, **({"template": template} if template else {}), no_such_setting=1)
    found = re.search(r"it has: ([\w, ]+)", str(refused.value))
    assert found, refused.value
    return set(found[1].split(", "))


def test_settings_are_ones_that_the_family_takes_and_templates_exist(tmp_path: Path):
    names, asked = template_names(), {}
    for name, entry in known_models().items():
        settings = entry.get("settings") or {}
        asked.setdefault(entry["family"], set()).update(settings)
        for setting in ("template", "recipe", "variant"):
            if setting in settings:
                value = settings[setting]
                family = names[value][0] if value in names else OF_NO_FILE[value]
                assert family == entry["family"], f"{name}: {value}"
    assert all(settings <= taken_by(family, tmp_path) for family, settings in asked.items() if settings)


def test_a_model_stands_in_one_table_alone():
    others = read_yaml(Path(facts.__file__).with_name("models.yaml"))["models"]
    assert not set(others) & set(known_models())
    assert facts.facts_of("zeroentropy/zerank-1-small", {}).licence == "apache-2.0"
    whole = facts.facts_of("BAAI/bge-reranker-v2-minicpm-layerwise", {})
    assert whole.licence == "apache-2.0"
    assert facts.facts_of("BAAI/bge-reranker-v2-minicpm-layerwise[layer 28]", {}) == whole


def test_a_fact_that_nobody_states_is_not_stated():
    bare = next(entry for entry in known_models().values() if not set(FACTS) & set(entry))
    assert set(sources_of(bare)) == {"rule"}
    assert facts.facts_of("facebook/tart-full-t0-3b", {}) == facts.Facts()
    page = (ROOT / "docs" / "rerankers.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| `facebook/tart-full-t0-3b` .*$", page, re.MULTILINE)
    assert row.count("not stated") == 2


def test_a_known_model_that_no_family_scores_is_refused_by_name(tmp_path: Path):
    name = "ByteDance/ListConRanker"
    shutil.copytree(DATA / "models" / "cross-encoder", tmp_path / "hub" / "models" / name)
    with serving(tmp_path / "hub") as endpoint:
        more = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "no_proxy": "127.0.0.1"}
        refused = processes.run(["run_eval.py", "check", name], os.environ | more)
        chosen = processes.run(["run_eval.py", "check", name, "--family", "sequence-classification"], os.environ | more)
    assert refused.returncode == 2
    assert re.search(f"{name} sees the passages .* --family NAME", refused.stderr)
    assert "sequence-classification" in chosen.stdout


def test_a_model_whose_rule_is_inferred_says_so(tmp_path: Path):
    (plain,) = opened(DATA / "models" / "cross-encoder", tmp_path)
    assert "inferred" not in dict(lines_of(plain))["rule"]
    named = replace(plain, spec=replace(plain.spec, name="upskyy/ko-reranker"))
    assert dict(lines_of(named))["rule"].endswith("; that this model is run by it is inferred")


def test_a_copy_of_a_model_that_no_family_scores_is_told(tmp_path: Path):
    shutil.copytree(DATA / "models" / "cross-encoder", tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    write_json(tmp_path / "mine" / "config.json", config | {"_name_or_path": "Querit/Querit-4B"})
    (reranker,) = open_rerankers(str(tmp_path / "mine"), Options(), tmp_path / "cache")
    assert "a copy of Querit/Querit-4B, which is run by code of its own" in str(reranker.note)


def test_a_recipe_of_a_known_encoder_stands_beside_its_rule(tmp_path: Path):
    bert(tmp_path / "model")
    assert known_models()["facebook/contriever"]["family"] == "bi-encoder"
    (reranker,) = opened(tmp_path / "model", tmp_path / "cache", "bi-encoder", recipe="contriever")
    assert dict(lines_of(reranker))["rule"].startswith("bi-encoder, verified")
