"""Rankings in every form that people have them: the same scores, and one line where there is none."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT
from data_forms import FIRST, NOT_RANKED, RANKED, SECOND

from harness.data.rankings import read_ranking
from harness.errors import HarnessError


@pytest.mark.parametrize(("write", "both"), [form[1:] for form in RANKED], ids=[form[0] for form in RANKED])
def test_every_form_has_the_same_scores(tmp_path, write, both):
    found = read_ranking(write(tmp_path))
    assert found == (FIRST, SECOND if both else None)


@pytest.mark.parametrize("form", NOT_RANKED, ids=lambda form: form.name)
def test_what_is_no_ranking_is_one_line(tmp_path, form):
    path = form.write(tmp_path)
    with pytest.raises(HarnessError) as caught:
        read_ranking(path)
    assert str(caught.value).replace(str(tmp_path), "DIR") == form.said


def test_documents_that_were_not_reranked_have_no_score_of_the_reranker(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"query_id": 7, "doc_id": "a", "score": 2, "rerank_score": 0.5}\n'
        '{"query_id": 7, "doc_id": "b", "score": 1, "rerank_score": null}\n'
    )
    assert read_ranking(path) == ({"7": {"a": 2, "b": 1}}, {"7": {"a": 0.5}})


def test_predictions_are_those_of_the_subset_and_the_split(tmp_path):
    path = tmp_path / "T_predictions.json"
    path.write_text('{"zh": {"dev": {"q": {"d": 1}}}, "de": {"dev": {"q": {"d": 2}}}}')
    assert read_ranking(path, ("de", "default"), "dev").first == {"q": {"d": 2}}
    with pytest.raises(HarnessError, match=re.escape('none of "fr"')):
        read_ranking(path, ("fr", "default"), "dev")


def test_the_page_shows_every_form():
    page = (ROOT / "docs" / "your-data.md").read_text(encoding="utf-8")
    rows = [f"| {name} | read |" for name, _, _ in RANKED] + [
        f"| {form.name} | refused: {form.said} |" for form in NOT_RANKED
    ]
    assert [row for row in rows if row not in page] == []
