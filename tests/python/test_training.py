"""`harness.Evaluator` in the trainers of sentence-transformers and transformers: every step is in the results."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA, ROOT, WORDS

import harness
from harness import HarnessError, Task

MODEL = DATA / "models" / "cross-encoder"
CORPUS = {f"d{i:02d}": f"{WORDS[i % 12]} {WORDS[(i + 1) % 12]} note {i}" for i in range(24)}
QUERIES = {f"q{i}": f"{WORDS[i]} {WORDS[i + 1]}" for i in range(6)}
QRELS = {f"q{i}": {f"d{i:02d}": 1, f"d{i + 12:02d}": 1} for i in range(6)}
STEPS = 30


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def evaluator(**more: Any) -> harness.Evaluator:
    return harness.Evaluator(Task(CORPUS, QUERIES, QRELS, name="Woods"), name="woods", top_k=8, **more)


def examples() -> list[dict[str, Any]]:
    """Pairs of the English demo data, half of them relevant."""
    folder = ROOT / "tasks" / "demo" / "english"
    texts = {
        part: {row["_id"]: row["text"] for row in map(json.loads, (folder / f"{part}.jsonl").read_text().splitlines())}
        for part in ("queries", "corpus")
    }
    judged = [line.split("\t") for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]][:120]
    others = sorted(texts["corpus"])
    pairs = [(query_id, doc_id, float(int(grade) > 0)) for query_id, doc_id, grade in judged]
    pairs += [(query_id, others[place], 0.0) for place, (query_id, _, _) in enumerate(judged)]
    return [
        {"query": texts["queries"][query_id], "document": texts["corpus"][doc_id][:200], "label": label}
        for query_id, doc_id, label in pairs
    ]


def train(chosen: harness.Evaluator, folder: Path, **more: Any) -> Any:
    """A tiny cross-encoder, 30 steps of sentence-transformers' own trainer; gives the trainer."""
    from datasets import Dataset
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    model = CrossEncoder(str(MODEL))
    settings = {
        "output_dir": str(folder), "max_steps": STEPS, "per_device_train_batch_size": 8, "learning_rate": 1e-2,
        "eval_strategy": "steps", "eval_steps": 10, "save_strategy": "no", "report_to": "none", "use_cpu": True,
        "disable_tqdm": True, "logging_steps": 10, **more,
    }  # fmt: skip
    trainer = CrossEncoderTrainer(
        model=model,
        args=CrossEncoderTrainingArguments(**settings),
        train_dataset=Dataset.from_list(examples()),
        loss=BinaryCrossEntropyLoss(model),
        evaluator=chosen,
        callbacks=[chosen],
    )
    trainer.train()
    return trainer


def test_every_step_of_a_training_is_in_the_results(tmp_path: Path):
    chosen = harness.Evaluator("DemoEnglish", name="woods", limit=6, top_k=6, keep_best="best")
    trainer = train(chosen, tmp_path / "out")
    assert [step.name for step in chosen.steps] == ["woods@step-10", "woods@step-20", "woods@step-30"]
    frame = harness.load_results("results")
    names = {"woods@before", *(step.name for step in chosen.steps)}
    assert set(frame["reranker"].dropna()) == names
    assert frame["reranker_fingerprint"].nunique() == len(names)
    # What the trainer logged, what the CSV holds, and what the results say are one and the same.
    logged = [
        entry["eval_DemoEnglish_nDCG@10"] for entry in trainer.state.log_history if "eval_DemoEnglish_nDCG@10" in entry
    ]
    assert logged == [step.metrics["DemoEnglish_nDCG@10"] for step in chosen.steps]
    headlines = frame[frame["headline"].fillna(value=False)].set_index("reranker")["reranked"]
    assert logged == [headlines[step.name] for step in chosen.steps]
    (path,) = (tmp_path / "out").rglob("RerankHarnessEvaluator_woods_results.csv")
    with path.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["steps"]) for row in rows] == [10, 20, 30]
    assert [float(row["DemoEnglish_nDCG@10"]) for row in rows] == logged
    assert len(set(logged)) > 1  # it learnt, or unlearnt, something
    assert chosen.primary_metric == "mean"
    assert all(step.verdict in ("better", "worse", "not decided") for step in chosen.steps)
    # The best step's model lies where it was asked for, and is found again by its content.
    best = harness.run("DemoEnglish", "best", limit=6, top_k=6, results="again")
    assert best.measures["nDCG@10"].reranked == chosen.best.metrics["DemoEnglish_nDCG@10"]


def test_training_stops_when_it_is_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Six queries can decide at no level that several looks leave; so here every difference does.
    monkeypatch.setattr("harness.python.training.ALPHA", 1e6)
    chosen = evaluator(stop_when_decided=True)
    trainer = train(chosen, tmp_path / "out")
    assert chosen.steps[-1].verdict in ("better", "worse")
    assert trainer.state.global_step == chosen.steps[-1].step
    assert trainer.state.global_step < STEPS


def test_transformers_own_trainer_logs_it_too(tmp_path: Path):
    import transformers
    from datasets import Dataset

    model = transformers.AutoModelForSequenceClassification.from_pretrained(str(MODEL))
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(MODEL))
    rows = examples()
    encoded = tokenizer([row["query"] for row in rows], [row["document"] for row in rows], padding=True)
    data = Dataset.from_dict({**encoded, "labels": [row["label"] for row in rows]})
    settings = {
        "output_dir": str(tmp_path / "out"), "max_steps": 4, "per_device_train_batch_size": 8, "eval_strategy": "steps",
        "eval_steps": 2, "save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True,
    }  # fmt: skip
    trainer = transformers.Trainer(
        model=model, args=transformers.TrainingArguments(**settings), train_dataset=data,
        eval_dataset=data.select(range(8)), processing_class=tokenizer,
    )  # fmt: skip
    chosen = evaluator().attach(trainer)
    trainer.train()
    assert [step.name for step in chosen.steps] == ["woods@step-2", "woods@step-4"]
    logged = [entry["eval_mean"] for entry in trainer.state.log_history if "eval_mean" in entry]
    assert logged == [step.metrics["mean"] for step in chosen.steps]
    assert chosen.base is not None


def test_a_metric_that_there_is_none_of_is_one_line():
    from sentence_transformers import CrossEncoder

    with pytest.raises(HarnessError, match="primary=Woods_nDCG: there is no such metric; there are Woods_nDCG@10"):
        evaluator(primary="Woods_nDCG")(CrossEncoder(str(MODEL)))
