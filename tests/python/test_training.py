"""`harness.Evaluator` in the trainers of sentence-transformers and transformers: every step is in the results."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

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
    table = chosen.frame()
    assert list(table["name"]) == ["woods@before", *(step.name for step in chosen.steps)]
    assert list(table["DemoEnglish_nDCG@10"])[1:] == logged
    assert chosen._repr_html_().count("<tr>") == 4
    picture = chosen.picture()
    assert picture._repr_svg_().count("woods, step") == 4
    assert ET.parse(picture.save(tmp_path / "steps.svg")).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert [each.second for each in chosen.comparisons().comparisons] == [step.name for step in chosen.steps]
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


class Sorted:
    """A model whose only weights say which tasks it ranks well; `save_pretrained` writes them."""

    def __init__(self, *good: float) -> None:
        import torch

        self.layer = torch.nn.Linear(len(good), 1, bias=False)
        self.layer.weight.data[:] = torch.tensor([good])

    def predict(self, pairs: list[tuple[str, str]]) -> list[float]:
        good = self.layer.weight[0].tolist()
        return [good[int(query.startswith("cold"))] * document.count("right") for query, document in pairs]

    def save_pretrained(self, folder: str) -> None:
        Path(folder).mkdir(exist_ok=True)
        (Path(folder) / "weights").write_text(str(self.layer.weight[0].tolist()))


def sorting(name: str, queries: int) -> Task:
    """Ten documents a query, one of them right; which a reranker puts first or last."""
    asked = {f"q{i:02d}": f"{name} word{i}" for i in range(queries)}
    texts = {
        f"{q}-{place}": f"{text} {'right' if place == 4 else f'wrong {place}'}"
        for q, text in asked.items()
        for place in range(10)
    }
    lists = {q: [f"{q}-{place}" for place in range(10)] for q in asked}
    return Task(texts, asked, {q: {f"{q}-4": 1} for q in asked}, candidates=lists, name=name)


def test_the_best_step_is_replaced_by_no_step_that_is_worse_beyond_chance_on_a_task(tmp_path: Path):
    chosen = harness.Evaluator([sorting("warm", 30), sorting("cold", 20)], name="two", keep_best="best")
    chosen.base = chosen._run(Sorted(-1.0, 0.0), "before")
    for step, good in enumerate([(-1.0, -1.0), (-1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (1.0, 0.5)]):
        chosen(Sorted(*good), steps=step)
    means = [step.metrics["mean"] for step in chosen.steps]
    # Worse than before training on one task and no better on the other: not kept, though it is the first.
    assert chosen.steps[0].verdict == "worse"
    # The third is better than before, and its mean higher than the second's, but it is worse than that on a task.
    assert chosen.steps[2].verdict == "better"
    assert means[5] == means[4] > means[3] == means[2] > means[1]
    assert [step.kept for step in chosen.steps] == [False, True, False, True, True, False]
    assert chosen.best is chosen.steps[4]
    assert Path("best/weights").read_text() == "[1.0, 1.0]"


def test_a_metric_that_there_is_none_of_is_one_line():
    from sentence_transformers import CrossEncoder

    with pytest.raises(HarnessError, match="primary=Woods_nDCG: there is no such metric; there are Woods_nDCG@10"):
        evaluator(primary="Woods_nDCG")(CrossEncoder(str(MODEL)))
