"""`harness.Evaluator`: an evaluation while a reranker trains, kept step by step.

It is an evaluator of sentence-transformers and a callback of transformers at once:

    evaluator = harness.Evaluator("SciFact", limit=100)
    trainer = CrossEncoderTrainer(model=model, ..., evaluator=evaluator, callbacks=[evaluator])

or, with transformers' own Trainer, `evaluator.attach(trainer)`. What it finds goes to wherever the trainer
reports to, by the trainer's own log.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sentence_transformers.base.evaluation import BaseEvaluator
from transformers import TrainerCallback

from ..errors import HarnessError
from ..verdicts.compare import Row, System, compare
from .run import Bars, run
from .views import Evaluations

__all__ = ["Evaluator", "Step"]

ALPHA = 0.05
"""The chance, over all looks together, that training stops for a difference that is none."""


class Step(NamedTuple):
    """One evaluation while training."""

    name: str
    step: int
    """The trainer's global step; -1 where none was said."""
    epoch: float
    results: Evaluations
    metrics: Mapping[str, float]
    verdict: str
    """Against the model before training: better, worse, or not decided; empty without one."""


class Evaluator(BaseEvaluator, TrainerCallback):  # type: ignore[misc]  # both come without types
    """Evaluates the live weights on `tasks` whenever the trainer evaluates.

    `name` begins each row's name, as in `name@step-500`; `limit` takes the first queries of each task and
    `top_k` so many candidates; `results` is where every step's result goes, each under its own name and
    key. `primary` is the metric by which the best step is chosen: `Task_measure`, by default the mean of
    the tasks' headlines. `keep_best` is a folder that holds the model of the best step. With
    `stop_when_decided` training ends as soon as the model is better or worse than before training, beyond
    chance. `options` are those of `harness.run`.

    Raises HarnessError as `harness.run` does.
    """

    def __init__(
        self,
        tasks: Any,
        *,
        name: str = "training",
        primary: str | None = None,
        keep_best: str | Path | None = None,
        stop_when_decided: bool = False,
        write_csv: bool = True,
        progress: Bars = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.name, self.write_csv = name, write_csv
        self.steps: list[Step] = []
        """Every evaluation, in order."""
        self.base: Evaluations | None = None
        """The results before training, where the trainer said when it began."""
        self.keep_best = Path(keep_best) if keep_best else None
        self._tasks, self._options, self._progress = tasks, options, progress
        self._primary, self._stop = primary, stop_when_decided
        self._trainer: Any = None
        self.primary_metric = primary or "mean"
        self.greater_is_better = True

    @property
    def best(self) -> Step | None:
        """The step with the highest primary metric; the first of equals."""
        return max(self.steps, key=lambda step: step.metrics[self.primary_metric], default=None)

    def attach(self, trainer: Any) -> Evaluator:
        """Evaluate whenever `trainer`, one of transformers, does, and log there; returns itself."""
        self._trainer = trainer
        trainer.add_callback(self)
        return self

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """Evaluate `model` and return metric → value: each task's measures, and `mean` of the headlines.

        As sentence-transformers calls it; a row is added to the CSV in `output_path`.
        """
        label = f"step-{steps}" if steps >= 0 else f"epoch-{epoch:g}" if epoch >= 0 else "final"
        step = self._evaluate(model, label, steps, epoch)
        if output_path is not None and self.write_csv:
            self._add_to_csv(Path(output_path), step)
        if hasattr(model, "model_card_data"):
            self.store_metrics_in_model_card_data(model, dict(step.metrics), int(epoch), steps)
        return dict(step.metrics)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Evaluate the model before its first step: what later ones are held against."""
        if state.global_step == 0:
            self.base = self._run(_whole(model, more), "before")

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **more: Any) -> None:
        """Evaluate where nobody has at this step, log it, and stop where that was asked for and is decided."""
        if self._trainer is not None and (not self.steps or self.steps[-1].step != state.global_step):
            step = self._evaluate(_whole(model, more), f"step-{state.global_step}", state.global_step, state.epoch or 0)
            self._trainer.log({f"eval_{name}": value for name, value in step.metrics.items()})
        if self._stop and self.steps and self.steps[-1].verdict in ("better", "worse"):
            control.should_training_stop = True

    def get_config_dict(self) -> dict[str, Any]:
        """What model cards say of the evaluator."""
        return {"tasks": str(self._tasks), **{name: str(value) for name, value in self._options.items()}}

    def _run(self, model: Any, label: str) -> Evaluations:
        return run(self._tasks, model, name=f"{self.name}@{label}", progress=self._progress, **self._options)

    def _evaluate(self, model: Any, label: str, number: int, epoch: float) -> Step:
        results = self._run(model, label)
        metrics = self._metrics(results)
        verdict = self._verdict(results)
        step = Step(f"{self.name}@{label}", number, epoch, results, metrics, verdict)
        self.steps.append(step)
        if self.keep_best is not None and self.best is step:
            _save(model, self.keep_best)
        return step

    def _metrics(self, results: Evaluations) -> dict[str, float]:
        found, headlines = {}, []
        for each in results:
            task = each.name.replace(" ", "_")
            for measure, figures in each.measures.items():
                value = figures.reranked if each.reranker else figures.first_stage
                if value is not None:
                    found[f"{task}_{measure}"] = value
                    if measure == each.headline:
                        headlines.append(value)
        if len(headlines) < len(results):
            raise HarnessError(
                f"{self.name}: a task has no figure of its headline measure, so there is no mean of them"
            )
        found["mean"] = sum(headlines) / len(headlines)
        if self.primary_metric not in found:
            raise HarnessError(f"primary={self._primary}: there is no such metric; there are {', '.join(found)}")
        return found

    def _verdict(self, results: Evaluations) -> str:
        """Whether it is better or worse than before training. The k-th look has alpha / (k (k + 1)), which sums to alpha."""
        if self.base is None:
            return ""
        look = len(self.steps) + 1
        before, now = (
            System(word, [each.entry() for each in found]) for word, found in (("before", self.base), ("now", results))
        )
        rows: list[Row] = compare(before, now).rows
        decided = {row.difference > 0 for row in rows if row.p_corrected <= ALPHA / (look * (look + 1))}
        return "not decided" if len(decided) != 1 else "better" if decided == {True} else "worse"

    def _add_to_csv(self, folder: Path, step: Step) -> None:
        path = folder / f"RerankHarnessEvaluator_{self.name}_results.csv"
        folder.mkdir(parents=True, exist_ok=True)
        new = not path.is_file()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            if new:
                writer.writerow(["epoch", "steps", *step.metrics])
            writer.writerow([step.epoch, step.step, *step.metrics.values()])


def _whole(model: Any, more: Mapping[str, Any]) -> Any:
    """The model as `harness.run` takes it: a transformers model comes with its tokenizer."""
    tokenizer = more.get("processing_class") or more.get("tokenizer")
    return model if type(model).__module__.startswith("sentence_transformers.") else (model, tokenizer)


def _save(model: Any, folder: Path) -> None:
    for part in model if isinstance(model, tuple) else (model,):
        part.save_pretrained(str(folder))
