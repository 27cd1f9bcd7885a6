"""`harness.run` from Python: tasks and rerankers in memory, results as DataFrames and tables, nothing printed."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import DATA, ROOT, WORDS, Cli
from exactness import both, same_model

import harness
from harness import HarnessError, Task

CORPUS = {f"d{i:02d}": {"title": "", "text": f"{WORDS[i % 12]} {WORDS[(i + 1) % 12]} note {i}"} for i in range(24)}
QUERIES = {f"q{i}": f"{WORDS[i]} {WORDS[i + 1]}" for i in range(6)}
QRELS = {f"q{i}": {f"d{i:02d}": 2, f"d{i + 12:02d}": 1} for i in range(6)}


def shared_words(query: str, documents: list[str]) -> list[float]:
    return [len(set(query.split()) & set(text.split())) - len(text) / 1000 for text in documents]


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def task(**more: Any) -> Task:
    return Task(CORPUS, QUERIES, QRELS, **more)


def test_a_function_over_data_in_memory(capfd: pytest.CaptureFixture[str]):
    result = harness.run(task(name="Mine"), shared_words, top_k=10)
    figures = result.measures["nDCG@10"]
    assert figures.oracle >= figures.reranked > 0
    assert figures.difference == pytest.approx(figures.reranked - figures.first_stage)
    assert result.only.name == "Mine"
    assert result.only.reranker == "shared_words"
    assert capfd.readouterr() == ("", "")


def test_it_is_the_result_of_the_command_line(cli: Cli, collection_folder: Path, tmp_path: Path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "def score(query, documents):\n    return [len(set(query.split()) & set(text.split())) for text in documents]\n"
    )
    printed = cli("run", collection_folder, "--reranker", f"{plugin}:score", "--format", "json").results()[0]
    result = harness.run(str(collection_folder), f"{plugin}:score", results="other")
    assert {name: vars(row) for name, row in result.measures.items()} == printed["measures"]
    assert result.only.record()["diagnostics"] == printed["diagnostics"]


def test_values_and_rankings_are_data_frames():
    result = harness.run(task(), shared_words, top_k=10)
    values = result.values()
    assert values.index.tolist() == sorted(QUERIES)
    assert values["nDCG@10", "reranked"].mean() == pytest.approx(result.measures["nDCG@10"].reranked)
    rankings = result.rankings()
    assert set(rankings["query_id"]) == set(QUERIES)
    best = rankings[rankings["rank"] == 1].set_index("query_id")
    assert best.loc["q3", "doc_id"] == "d03"
    assert best.loc["q3", "relevance"] == 2
    assert rankings["first_stage_rank"].min() == 1
    assert rankings["relevance"].isna().any()
    assert len(result.frame()) == len(result.measures)


def test_several_tasks_and_rerankers_are_a_sequence_of_results():
    found = harness.run([task(name="A"), task(name="B", language="deu")], [shared_words, Scorer(1.0)])
    assert [each.name for each in found] == ["A", "A", "B", "B"]
    assert len(found[:2]) == 2
    with pytest.raises(HarnessError, match="these are 4 results"):
        _ = found.measures
    assert found._repr_html_().count("<tr>") == 5
    assert "95 % interval" in repr(found)


def test_the_first_stage_alone_needs_no_reranker():
    figures = harness.run(task(), top_k=5).measures["nDCG@10"]
    assert figures.first_stage > 0
    assert figures.reranked is None


@pytest.mark.parametrize("form", ["dict", "frame"])
def test_candidates_with_scores_are_the_first_stage(form: str):
    scores = {query_id: {f"d{i:02d}": float(i) for i in range(12)} for query_id in QUERIES}
    given: Any = scores
    if form == "frame":
        rows = [(query_id, doc_id, score) for query_id, found in scores.items() for doc_id, score in found.items()]
        given = pd.DataFrame(rows, columns=["qid", "docno", "score"])
    result = harness.run(task(candidates=given), shared_words, top_k=12)
    rankings = result.rankings()
    assert set(rankings["doc_id"]) == {f"d{i:02d}" for i in range(12)}
    first = rankings[rankings["first_stage_rank"] == 1]
    assert set(first["doc_id"]) == {"d11"}


def test_candidates_without_scores_have_no_order_and_are_taken_whole():
    given = {query_id: ["d00", "d01", "d02", "d03", "d04", "d05"] for query_id in QUERIES}
    result = harness.run(task(candidates=given), shared_words)
    assert result.measures["nDCG@10"].first_stage is None
    assert len(result.rankings()) == 36
    with pytest.raises(HarnessError, match="no best 3"):
        harness.run(task(candidates=given), shared_words, top_k=3)


def test_data_frames_are_read_with_the_names_that_others_give(tmp_path: Path):
    corpus = pd.DataFrame([(key, text["text"]) for key, text in CORPUS.items()], columns=["docno", "text"])
    queries = pd.DataFrame(list(QUERIES.items()), columns=["qid", "text"])
    rows = [(query_id, doc_id, grade) for query_id, judged in QRELS.items() for doc_id, grade in judged.items()]
    qrels = pd.DataFrame(rows, columns=["qid", "docno", "label"])
    framed = harness.run(Task(corpus, queries, qrels), shared_words, results="framed")
    plain = harness.run(Task({key: text["text"] for key, text in CORPUS.items()}, QUERIES, QRELS), shared_words)
    assert framed.measures == plain.measures
    assert framed.only.result.collection == plain.only.result.collection


def test_instructions_arrive():
    seen = []

    def score(query: str, documents: list[str], instruction: str) -> list[float]:
        seen.append((query, instruction))
        return [0.0] * len(documents)

    queries = {query_id: {"text": text, "instruction": f"about {text}"} for query_id, text in QUERIES.items()}
    harness.run(Task(CORPUS, queries, QRELS), score, top_k=3)
    assert ("amber birch", "about amber birch") in seen


class Scorer:
    """Holds weights, as a model does."""

    def __init__(self, weight: float) -> None:
        import torch

        self.layer = torch.nn.Linear(1, 1, bias=False)
        self.layer.weight.data.fill_(weight)
        self.calls = 0

    def predict(self, pairs: list[tuple[str, str]]) -> Any:
        import torch

        self.calls += 1
        lengths = torch.tensor([[float(len(document))] for _, document in pairs])
        return self.layer(lengths)[:, 0]


def test_a_model_in_memory_is_kept_by_its_weights():
    model = Scorer(1.0)
    first = harness.run(task(), model, top_k=10)
    calls = model.calls
    again = harness.run(task(), Scorer(1.0), top_k=10)
    assert calls > 0
    assert again.only.reused
    trained = Scorer(-1.0)
    other = harness.run(task(), trained, top_k=10)
    assert trained.calls > 0
    assert not other.only.reused
    assert other.only.path != first.only.path
    assert other.measures != first.measures


def test_a_cross_encoder_in_memory_is_what_its_folder_is(tmp_path: Path):
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(DATA / "models" / "cross-encoder"))
    model.train()
    here = harness.run(task(), model, top_k=10, name="here")
    assert model.training
    model.predict([("amber", "birch")])
    again = harness.run(task(), model, top_k=10, name="here")
    assert again.only.reused
    CrossEncoder(str(DATA / "models" / "cross-encoder")).save_pretrained(str(tmp_path / "saved"))
    there = harness.run(task(), str(tmp_path / "saved"), top_k=10)
    pd.testing.assert_frame_equal(here.rankings(), there.rankings())
    assert here.only.result.identity.reranker_fingerprint == there.only.result.identity.reranker_fingerprint
    assert (here.only.reranker, there.only.reranker) == ("here", "saved")
    pairs = [("amber birch", "amber"), ("cedar", "delta fjord")]
    both(lambda model: model.predict(pairs), model).check(harness.score(model, pairs))


def test_a_transformers_model_with_its_tokenizer(tmp_path: Path):
    import transformers

    folder = str(DATA / "models" / "cross-encoder")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    here = harness.run(task(), (model, tokenizer), top_k=10)
    there = harness.run(task(), folder, top_k=10)
    one, other = (result.rankings().sort_values(["query_id", "doc_id"])["score"] for result in (here, there))
    np.testing.assert_array_equal(one.astype(float), other.astype(float))
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    for same in ((tokenizer, model), pipeline):
        assert harness.run(task(), same, top_k=10).only.reused
    for alone in (model, tokenizer, (model, tokenizer, tokenizer)):
        with pytest.raises(HarnessError, match=r"\(model, tokenizer\)"):
            harness.run(task(), alone, top_k=10)
    model.classifier.weight.data.neg_()
    trained = harness.run(task(), (model, tokenizer), top_k=10)
    assert not trained.only.reused
    assert trained.only.path != here.only.path


def test_an_object_of_the_rerankers_library_scores_as_it_does_there():
    from rerankers import Reranker

    model = Reranker(str(DATA / "models" / "cross-encoder"), model_type="cross-encoder", verbose=0)
    result = harness.run(task(), model, top_k=10)
    texts = {doc_id: text["text"] for doc_id, text in CORPUS.items()}
    for query_id, found in result.rankings().groupby("query_id"):
        doc_ids = list(found["doc_id"])
        there = model.rank(QUERIES[query_id], [texts[doc_id] for doc_id in doc_ids], doc_ids=doc_ids)
        scores = {entry.doc_id: entry.score for entry in there.results}
        same_model(found["score"].astype(float), [scores[doc_id] for doc_id in doc_ids])
    assert not harness.run(task(), model, top_k=10).only.result.diagnostics["newly_initialised"]
    assert harness.run(task(), model, top_k=10).only.reused


def test_what_a_model_in_memory_left_on_disk_is_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from sentence_transformers import CrossEncoder

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    harness.run(task(), CrossEncoder(str(DATA / "models" / "cross-encoder")), top_k=10)
    gc.collect()
    assert list((tmp_path / "temporary").glob("rerank-harness-model-*")) == []


def test_a_name_is_for_one_reranker():
    with pytest.raises(HarnessError, match=r"--name mine is for one reranker, and here are 2: .*shared_words"):
        harness.run(task(), [shared_words, Scorer(1.0)], name="mine")


def test_progress_goes_where_it_is_sent(capfd: pytest.CaptureFixture[str]):
    bars = []

    class Bar:
        def __init__(self, **words: Any) -> None:
            self.words, self.done, self.closed = words, 0, False
            bars.append(self)

        def update(self, done: int) -> None:
            self.done += done

        def close(self) -> None:
            self.closed = True

    harness.run(task(), shared_words, top_k=10, progress=Bar)
    (bar,) = bars
    assert bar.words["total"] == bar.done > 0
    assert bar.closed
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (({"d": 7}, QUERIES, QRELS), "a text of the corpus is 7"),
        ((CORPUS, QUERIES, pd.DataFrame({"qid": ["q1"], "relevance": [1]})), "the qrels needs a column doc_id"),
        ((CORPUS, QUERIES, {"q0": {1.5: 1}}), "the id 1.5 is a float"),
        ((3, QUERIES, QRELS), "the corpus is a int"),
        ((CORPUS, QUERIES, {"q9": {"d00": 1}}), "q9"),
    ],
)
def test_bad_data_is_one_line(data, said: str):
    with pytest.raises(HarnessError, match=said) as raised:
        harness.run(Task(*data), shared_words)
    assert "\n" not in str(raised.value)


def test_an_option_that_there_is_none_of_is_one_line():
    with pytest.raises(HarnessError, match=r'no option "limits"\. Did you mean "limit"'):
        harness.run(task(), shared_words, limits=3)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"instructions": "nothing"}, "instructions='nothing' is none of given, none"),
        ({"missing_text": "skips"}, "missing_text='skips' is none of error, skip. Did you mean \"skip\"?"),
        ({"relevance_level": 0}, "relevance_level=0 is not a whole number above 0"),
        ({"limit": True}, "limit=True is not a whole number above 0"),
        ({"limit": 2.5}, "limit=2.5 is not a whole number above 0"),
        ({"trust_remote_code": "no"}, "trust_remote_code='no' is neither True nor False"),
        ({"split": ""}, "split='' is not a word"),
        ({"languages": []}, "languages=[] names nothing"),
        ({"max_drop": -0.1}, "max_drop=-0.1 is not a number from 0 to 1"),
        ({"alpha": float("nan")}, "alpha=nan is no significance level"),
    ],
)
def test_an_option_that_a_flag_would_not_take_is_one_line_and_no_number(option: dict, said: str):
    with pytest.raises(HarnessError, match=re.escape(said)):
        harness.run(task(), shared_words, **option)


def test_options_that_are_none_are_as_if_not_given_and_words_may_have_commas():
    plain = harness.run(task(), shared_words, top_k=3)
    assert harness.run(task(), shared_words, top_k=3, limit=None, split=None, device=None).measures == plain.measures
    chosen = harness.run(task(), shared_words, top_k=np.int64(3), measures="RR@10, nDCG@5", limit=np.int64(2))
    assert list(chosen.measures)[:2] == ["RR@10", "nDCG@5"]


@pytest.mark.parametrize("given", [{"corpus": {}}, ("A", "B"), 3])
def test_what_is_no_task_is_one_line(given: Any):
    with pytest.raises(HarnessError, match=r"a task is a name, a folder, or harness\.Task"):
        harness.run(given)


def test_what_cannot_score_is_one_line():
    with pytest.raises(HarnessError, match="cannot score"):
        harness.run(task(), object())


def test_what_the_command_line_would_say_is_kept_and_logged(caplog: pytest.LogCaptureFixture):
    harness.run(task(), shared_words, top_k=10)
    with caplog.at_level("INFO", logger="harness"):
        again = harness.run(task(), shared_words, top_k=10)
    assert any("scored again" in note for note in again.notes)
    assert caplog.messages == again.notes


def test_importing_the_package_is_light():
    program = (
        "import sys, harness; heavy = {'torch', 'transformers', 'pandas', 'numpy', 'mteb'} & set(sys.modules); "
        "sys.exit(f'{heavy}' if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT).returncode == 0
    assert set(harness.__all__) <= set(dir(harness))
    assert all(getattr(harness, name) for name in harness.__all__)


def test_the_page_from_python_runs(tmp_path: Path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    program = tmp_path / "page.py"
    program.write_text("\n".join(blocks))
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
