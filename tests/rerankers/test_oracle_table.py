"""The table of families beside their oracles: every family stands in it, and a difference is seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import goldens, oracles
from harness.rerankers.resolve import FAMILIES
from harness.rerankers.rules import known_rules


def test_every_family_has_a_case_or_is_said_to_have_none():
    by_case = {rule.split("/")[0] for rule, said in known_rules().items() if said.get("verified")}
    held = by_case | {case.family for case in oracles.cases()}
    without = {rule.split("/")[0] for rule in goldens.unheld()}
    assert set(FAMILIES) <= held | without
    assert {"sequence-classification", "causal", "seq2seq", "bi-encoder", "late-interaction"} <= held


def test_a_rule_that_a_case_holds_is_not_among_those_without():
    verified = {rule for rule, said in known_rules().items() if said.get("verified")}
    assert verified.isdisjoint(goldens.unheld())
    assert {"causal/followir-llama2", "listwise/rank-zephyr", "sequence-classification/rankllama"} <= set(
        goldens.unheld()
    )


@pytest.mark.parametrize("name", ["modules: mean", "LogitScore, chat template zerank", "layout of PyLate"])
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
