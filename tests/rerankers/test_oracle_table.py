"""The table of families beside their oracles: every family stands in it, and a difference is seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import goldens, oracles
from harness.engine.options import Options
from harness.rerankers.resolve import FAMILIES, open_rerankers
from harness.rerankers.rules import known_rules


def families_of_goldens(cache: Path) -> set[str]:
    """The families that the goldens open: what the table compares without any package."""
    found = set()
    for path in (goldens.DATA / "goldens").glob("*.json"):
        (first, *_) = json.loads(path.read_text(encoding="utf-8"))["cases"]
        options = Options(settings=goldens.settings_of(path.stem, first))
        folder = goldens.DATA / "models" / path.stem
        opened = open_rerankers(str(folder), options, cache, goldens.FAMILIES.get(path.stem))
        found.add(opened[0].spec.family)
    return found


def test_every_family_has_goldens_or_a_case(tmp_path: Path):
    """A word in rules.yaml is none: what holds a family must be run by the table's one command."""
    of_goldens = families_of_goldens(tmp_path)
    held = of_goldens | {case.family for case in oracles.cases()}
    assert set(FAMILIES) <= held
    assert {"bge", "layerwise", "lightweight", "enct5"} <= of_goldens
    assert held - set(FAMILIES) == {"first stage"}


def test_a_rule_that_a_case_holds_is_not_among_those_without():
    verified = {rule for rule, said in known_rules().items() if said.get("verified")}
    assert verified.isdisjoint(goldens.unheld())
    assert {"causal/rank1", "listwise/rank-zephyr", "sequence-classification/rankllama"} <= set(goldens.unheld())


@pytest.mark.parametrize("name", [
        "modules: mean", "LogitScore, chat template zerank", "layout of PyLate", "template followir-llama2",
        "template followir-llama2-chat", "template followir-mistral-instruct", "the form of TEI", "a function",
        "late interaction, ColBERT",
    ])  # fmt: skip
def test_a_tiny_model_beside_a_package_is_a_row(tmp_path: Path, name: str):
    (case,) = (case for case in oracles.cases() if case.name == name)
    row = goldens.beside(case, tmp_path)
    assert row.good
    assert row.cells()[0] == case.family

    def other(folder: Path) -> tuple[np.ndarray, np.ndarray, bool]:
        return np.zeros(2), np.array([0.0, 2 * case.asked]), True

    assert not goldens.beside(case._replace(run=other), tmp_path).good
    assert not row._replace(same=False).good
    assert row._replace(same=False).cells()[-1] == "DIFFER"
