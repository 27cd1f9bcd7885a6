"""A pool → a layer: grades that people wrote, that a function gives, or that a model answers with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..data.layers import Judgement, Layer, whole_grade
from ..errors import HarnessError
from .ask import Judge, Unreadable, ask_all
from .pool import Pooled

__all__ = ["by_model", "by_people", "layer_of"]

Say = Callable[[str], None]
Grades = Sequence[int | None]
"""The grade of each pair of a pool; None where it stays unjudged."""


def by_people(pairs: Sequence[Pooled], where: str) -> Grades:
    """What stands under `grade`. Raises HarnessError, naming the pair, for what is no grade, and where there is none at all."""
    grades = [
        None if pair.grade is None else whole_grade(pair.grade, f"{where}: {_named(pair)}") for pair in pairs
    ]  # fmt: skip
    if all(grade is None for grade in grades):
        raise HarnessError(
            f"{where}: no pair has a grade yet: fill in grade, or name a --model and its --url that judges"
        )
    return grades


def by_model(
    pairs: Sequence[Pooled], judge: Judge, cache: Path, say: Say, *, leave: bool
) -> tuple[Grades, dict[str, Any]]:
    """What the model answers, and how it was asked. Raises HarnessError for an answer without a grade unless `leave`."""
    grades, unreadable, asked = ask_all(judge, [(pair.query, pair.document) for pair in pairs], cache, say)
    say(f"{judge.model}: {asked:,} pairs asked, {len(pairs) - asked:,} known already")
    if unreadable:
        said = _told(unreadable, pairs, judge)
        if not leave:
            raise HarnessError(
                f"{said}. Nothing is written; the others are kept. --unreadable leave leaves these pairs unjudged"
            )
        say(f"{said}; they stay unjudged")
    return grades, {**judge.settings, **({"unreadable": len(unreadable)} if unreadable else {})}


def layer_of(
    name: str, pairs: Sequence[Pooled], grades: Grades, judge: dict[str, Any], scale: Sequence[int] | None = None
) -> Layer:
    """The layer of these grades; `scale` says what 0, 1, 2 … become.

    Raises HarnessError for a grade beyond the scale, for a pair with two grades, and where nothing is judged.
    """
    judged: dict[tuple[str, str, str], Judgement] = {}
    for pair, grade in zip(pairs, grades, strict=True):
        if grade is None:
            continue
        if scale is not None and grade >= len(scale):
            raise HarnessError(f"--grades has {len(scale)} grades, and there is a {grade}: name what each becomes")
        score = grade if scale is None else scale[grade]
        one = Judgement(pair.task, pair.subset, pair.collection, pair.query_id, pair.doc_id, score)
        known = judged.setdefault((pair.collection, pair.query_id, pair.doc_id), one)
        if known.score != score:
            raise HarnessError(f"{_named(pair)} has the grades {known.score} and {score}: keep one")
    if not judged:
        raise HarnessError(f'the layer "{name}" would hold no judgement')
    return Layer(name, tuple(judged.values()), {**judge, **({"grades": list(scale)} if scale is not None else {})})


def _told(unreadable: Sequence[Unreadable], pairs: Sequence[Pooled], judge: Judge) -> str:
    first = unreadable[0]
    pair = pairs[first.place]
    return (
        f"{len(unreadable)} of {len(pairs)} answers of {judge.model} give no grade; the first, of query "
        f'"{pair.query_id}" and document "{pair.doc_id}": {first.reason} ("{" ".join(first.answer.split())[:80]}")'
    )


def _named(pair: Pooled) -> str:
    return f'query "{pair.query_id}", document "{pair.doc_id}"'
