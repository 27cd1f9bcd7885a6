import numpy as np
import pytest

from harness.types import Measure, Measurement, cut, ranked


def test_equal_scores_rank_by_document_id_descending():
    assert ranked({"a": 1.0, "c": 1.0, "b": 2.0, "d": 1.0}) == ["b", "d", "c", "a"]


def test_scores_that_differ_only_beyond_single_precision_are_a_tie():
    assert ranked({"a": 1.0 + 1e-9, "b": 1.0}) == ["b", "a"]


def test_document_ids_are_compared_as_bytes_and_not_as_numbers():
    assert ranked({"9": 0.0, "10": 0.0, "é": 0.0}) == ["é", "9", "10"]


def test_cut_keeps_the_documents_that_ranked_puts_first():
    run = {"q": {"a": 1.0, "b": 1.0, "c": 1.0}, "empty": {}}
    assert cut(run, 2) == {"q": {"c": 1.0, "b": 1.0}, "empty": {}}


@pytest.mark.parametrize(
    "text", ["nDCG@10", "MAP", "MAP@1000", "R@100", "RR@10", "P@5", "Success@1", "Judged@10", "p-MRR"]
)
def test_a_measure_prints_as_it_is_written(text):
    assert str(Measure.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ndgc@10", 'Did you mean "nDCG@10"'),
        ("F1@10", "a measure is one of"),
        ("nDCG@0", "unknown measure"),
        ("R", "needs a cutoff"),
        ("p-MRR@10", "has no cutoff"),
        ("", "unknown measure"),
    ],
)
def test_a_measure_that_cannot_be_read_says_the_rule(text, said):
    with pytest.raises(ValueError, match=said):
        Measure.parse(text)


@pytest.mark.parametrize(
    ("text", "name"), [("ndcg@10", "nDCG@10"), ("map", "MAP"), ("r@100", "R@100"), ("P-mrr", "p-MRR")]
)
def test_a_measure_is_known_in_any_case_and_prints_as_papers_write_it(text, name):
    assert str(Measure.parse(text)) == name


def test_the_mean_of_a_measurement_is_exact():
    values = {str(i): 0.1 for i in range(10)}
    assert Measurement(Measure("RR"), values).mean == 0.1


def test_ranked_takes_a_thousand_random_scores_as_a_plain_sort_would():
    random = np.random.default_rng(7)
    scores = {f"d{i}": float(np.float32(random.integers(0, 50))) for i in range(1000)}
    expected = sorted(scores, key=lambda doc_id: (scores[doc_id], doc_id), reverse=True)
    assert ranked(scores) == expected
