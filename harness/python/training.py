"""`harness.Evaluator`: an evaluation while a reranker trains, kept step by step.

It is an evaluator of sentence-transformers and a callback of transformers at once:

    evaluator = harness.Evaluator("SciFact", limit=100)
    trainer = CrossEncoderTrainer(model=model, ..., evaluator=evaluator, callbacks=[evaluator])

or, with transformers' own Trainer, `evaluator.attach(trainer)`. What it finds goes to wherever the trainer
reports to, by the trainer's own log.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from transformers import TrainerCallback

from ..errors import HarnessError
from ..verdicts.charts import Line, curves, standing_alone
from .pictures import Picture
from .run import run
from .tables import frame_of, html_of, text_of
from .verdicts import Comparisons, compare
from .views import Evaluations

if TYPE_CHECKING:
    import pandas as pd

try:
    from sentence_transformers.base.evaluation import BaseEvaluator
except ImportError:  # before 5.4
    try:
        from sentence_transformers.evaluation import SentenceEvaluator as BaseEvaluator
    except ImportError:
        raise HarnessError("harness.Evaluator needs sentence-transformers: pip install sentence-transformers") from None

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
    kept: bool
    """Whether it became the best step."""


class Evaluator(BaseEvaluator, TrainerCallback):  # type: ignore[misc]  # both come without types
    """Evaluates the live weights on `tasks` whenever the trainer evaluates.

    `name` begins each row's name, as in `name@step-500`; `results` is where every step's result goes, each under its
    own name and key; with `limit` only the first queries of each task, with `top_k` so many candidates. `primary`
    is the metric that says how good a step is: `Task_measure`, by default the mean of the tasks' headlines.

    `keep_best` is a folder that holds the model of the best step. A step becomes the best one where it is not worse
    than the model before training, its primary metric is higher than the best one's, and on no task its headline
    is worse than the best one's: worse beyond chance, as `harness.compare` finds it, p corrected over the tasks.
    With `stop_when_decided` training ends as soon as the model is better or worse than before training, beyond
    chance. `options` are those of `harness.run`, and `write_csv`, as evaluators of sentence-transformers take it.

    Raises HarnessError as `harness.run` does.
    """

    def __init__(
        self,
        tasks: Any,
        limit: int | None = None,
        top_k: int | None = None,
        *,
        name: str = "training",
        primary: str | None = None,
        keep_best: str | Path | None = None,
        stop_when_decided: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self.name, self.write_csv = name, options.pop("write_csv", True)
        self.csv_file = f"RerankHarnessEvaluator_{name}_results.csv"
        self.steps: list[Step] = []
        """Every evaluation, in order."""
        self.base: Evaluations | None = None
        """The results before training, where the trainer said when it began."""
        self.keep_best = Path(keep_best) if keep_best else None
        asked = {"limit": limit, "top_k": top_k}
        self._tasks = tasks
        self._options = options | {key: value for key, value in asked.items() if value is not None}
        self._primary, self._stop = primary, stop_when_decided
        self._trainer: Any = None
        self.primary_metric = primary or "mean"
        self.greater_is_better = True

    @property
    def best(self) -> Step | None:
        """The best step, by the rule of `keep_best`; None where none was better than nothing: all worse than before."""
        return next((step for step in reversed(self.steps) if step.kept), None)

    def comparisons(self) -> Comparisons:
        """Every step against the model before training, p corrected over all of them. Raises HarnessError without one."""
        if self.base is None or not self.steps:
            raise HarnessError(f"{self.name}: nothing was evaluated before training and after a step of it")
        return compare(self.base, *(step.results for step in self.steps))

    def picture(self) -> Picture:
        """The primary metric by step, beside the first stage and the best order of its candidates where it is a mean of headlines."""
        if not self.steps:
            raise HarnessError(f"{self.name}: no step was evaluated")
        begun = [] if self.base is None else [(0.0, self._metrics(self.base)[self.primary_metric])]
        points = [*begun, *((float(step.step), step.metrics[self.primary_metric]) for step in self.steps)]
        lines = [Line(self.name, "reranked", points)]
        figures = [each.measures[each.headline] for each in self.steps[0].results]
        first, oracle = (_mean([vars(each)[stage] for each in figures]) for stage in ("first_stage", "oracle"))
        whole = self._primary is None
        if whole and oracle is not None:
            lines.append(Line("oracle", "oracle", [(x, oracle) for x, _ in points]))
        level = first if whole else None
        headlines = {each.headline for each in self.steps[0].results}
        axis = self.primary_metric if len(headlines) > 1 or not whole else headlines.pop()
        return Picture(standing_alone(curves(lines, "step", axis, level, "first stage", scale=lambda step: step)))

    def frame(self) -> pd.DataFrame:
        """A row for each evaluation, that before training first: name, step, epoch, its metrics, verdict, kept."""
        before = [] if self.base is None else [{"name": f"{self.name}@before", "step": 0, **self._metrics(self.base)}]
        steps = [
            {"name": s.name, "step": s.step, "epoch": s.epoch, **s.metrics, "verdict": s.verdict, "kept": s.kept}
            for s in self.steps
        ]
        return frame_of([*before, *steps])

    def _table(self) -> list[dict[str, str]]:
        return [
            {
                "step": str(step.step), "name": step.name, self.primary_metric: f"{step.metrics[self.primary_metric]:.4f}",
                "against before": step.verdict, "best so far": "yes" if step.kept else "",
            }
            for step in self.steps
        ]  # fmt: skip

    def __repr__(self) -> str:
        return text_of(self._table(), f"{self.name}: {len(self.steps)} evaluations")

    def _repr_html_(self) -> str:
        return html_of(self._table())

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
        return run(self._tasks, model, name=f"{self.name}@{label}", **self._options)

    def _evaluate(self, model: Any, label: str, number: int, epoch: float) -> Step:
        results = self._run(model, label)
        step = Step(
            f"{self.name}@{label}", number, epoch, results, self._metrics(results), self._verdict(results), kept=False
        )
        step = step._replace(kept=self._is_best(step))
        self.steps.append(step)
        if step.kept and self.keep_best is not None:
            _save(model, self.keep_best)
        return step

    def _is_best(self, step: Step) -> bool:
        best = self.best
        if step.verdict == "worse" or best is None:
            return step.verdict != "worse"
        higher = step.metrics[self.primary_metric] > best.metrics[self.primary_metric]
        rows = compare(best.results, step.results).rows if higher else []
        return higher and not any(row.difference < 0 and row.p_corrected <= ALPHA for row in rows)

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
        rows = compare(self.base, results).rows
        decided = {row.difference > 0 for row in rows if row.p_corrected <= ALPHA / (look * (look + 1))}
        return "not decided" if len(decided) != 1 else "better" if decided == {True} else "worse"

    def _add_to_csv(self, folder: Path, step: Step) -> None:
        path = folder / self.csv_file
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


def _mean(values: Sequence[float | None]) -> float | None:
    """None where one is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _save(model: Any, folder: Path) -> None:
    for part in model if isinstance(model, tuple) else (model,):
        part.save_pretrained(str(folder))
