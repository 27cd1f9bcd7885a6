"""Every packed card, from a hub through `run`: the data set that it pins, laid out as its suite's are, with few rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from small_hub import serving
from suite_layouts import COUNTS, Runs, cards_of_small_data, lay_out_every_card, packed_cards

from harness.data.trec import read_run

CARDS = packed_cards()


class Done(NamedTuple):
    """One run over all cards: its results by task, and the rankings that it saved."""

    results: dict[str, list[dict[str, Any]]]
    saved: Path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    home = tmp_path_factory.mktemp("cards")
    lay_out_every_card(home / "hub")
    with serving(home / "hub") as endpoint:
        runs = Runs(home, endpoint, cards_of_small_data(home / "cards"))
        answer = runs.json(*CARDS, "--reranker", runs.reranker, "--save-runs", home / "saved")
    by_task: dict[str, list[dict[str, Any]]] = {}
    for result in answer["results"]:
        by_task.setdefault(result["task"], []).append(result)
    return Done(by_task, home / "saved")


@pytest.mark.parametrize("name", CARDS)
def test_a_card_runs_on_data_laid_out_as_its_own(done: Done, name: str):
    card, results = CARDS[name], done.results[name]
    assert [result["subset"] for result in results] == list(card.get("subsets") or ["default"])
    given = card.get("candidates") == "given"
    for result in results:
        assert result["queries"] == COUNTS["queries"]
        assert f"@{card['revision'][:8]}." in result["path"]
        assert (result["retriever"], result["top_k"]) == (("given", None) if given else ("bm25", 100))
        measures = result["measures"]
        assert next(iter(measures)) == card.get("measures", ["nDCG@10"])[0]
        assert all(math.isfinite(value["reranked"]) for value in measures.values())
        if given:
            assert all(value["first_stage"] is None for value in measures.values())
        else:
            # Excluded and identical ids take the best document away from some.
            assert measures["nDCG@10"]["first_stage"] > 0.2


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.get("identical_ids") == "drop"])
def test_a_card_that_drops_identical_ids_drops_them(done: Done, name: str):
    rankings = [read_run(path) for path in done.saved.rglob("*.trec") if path.name.startswith(f"{name}@")]
    assert rankings
    for run in rankings:
        assert len(run) == COUNTS["queries"]
        assert all(query_id.startswith("d") and query_id not in scores for query_id, scores in run.items())
