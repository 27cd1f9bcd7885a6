"""Layers of judgements: what people or a model judged beside a data set's own qrels, in a file with a name and a digest.

    {"layer": "umbrela-gpt", "version": 1, "digest": "…", "pairs": 120, "judge": {…}}
    {"task": "SciFact", "subset": "default", "collection": "…", "query-id": "1", "corpus-id": "4983", "score": 2}
    …

The first line says what the rest is; a row is one judgement. A layer is never a part of a data set: a run takes it
only where it is named (`--qrels-layer`), and its results say so in their identity and in their names. Where the data
set has a judgement of its own, that one holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..files.digest import Digest
from ..types import Qrels
from .collection import Collection
from .containers import read_rows
from .names import Field
from .rows import Row, identifier, string

__all__ = ["Judgement", "Layer", "read_layer", "whole_grade"]

_VERSION = 1


class Judgement(NamedTuple):
    """One grade of one pair, and the data that the pair is of."""

    task: str
    subset: str
    collection: str
    """The collection's fingerprint."""
    query_id: str
    doc_id: str
    score: int


@dataclass(frozen=True)
class Layer:
    """Judgements under one name; `judge` says who judged, and how. Raises HarnessError without a name."""

    name: str
    judgements: tuple[Judgement, ...]
    judge: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.strip() or "\n" in self.name:
            raise HarnessError("a layer of judgements has a name, which results are called after")

    @property
    def digest(self) -> str:
        """32 hex digits over every judgement, whatever their order."""
        digest = Digest().add("layer", str(_VERSION), str(len(self.judgements)))
        for one in sorted(self.judgements):
            digest.add(*map(str, one))
        return digest.hex()

    @property
    def identity(self) -> str:
        """What a result says of it: name and digest."""
        return f"{self.name} {self.digest}"

    def qrels(self, fingerprint: str) -> Qrels:
        """Its judgements of one collection alone."""
        found: Qrels = {}
        for one in self.judgements:
            if one.collection == fingerprint:
                found.setdefault(one.query_id, {})[one.doc_id] = one.score
        return found

    def over(self, collection: Collection, task: str, subset: str) -> tuple[Collection, dict[str, Any]]:
        """The collection with these judgements where it has none of its own, and what a result says of that.

        Raises HarnessError where the layer judges nothing of the data, another version of them, or on another scale.
        """
        own = self.qrels(collection.fingerprint)
        where = f'the layer "{self.name}"'
        if not own:
            others = {one.collection for one in self.judgements if (one.task, one.subset) == (task, subset)}
            why = "judges another version of its data: make its pool again" if others else "has no judgement of it"
            raise HarnessError(f"{task} {subset}: {where} {why}")
        if collection.gains is not None or collection.aspects is not None:
            raise HarnessError(
                f"{task}: its judgements are gains, or of aspects, to which no layer of grades can be added"
            )
        if strangers := [query_id for query_id in own if query_id not in collection.qrels]:
            raise HarnessError(f'{where} judges query "{strangers[0]}", which is not one of {task}\'s judged queries')
        _require_scale(own, collection.qrels, where, task)
        merged = {query_id: {**own.get(query_id, {}), **judged} for query_id, judged in collection.qrels.items()}
        shared = [(own[q][d], grade) for q in own for d, grade in collection.qrels[q].items() if d in own[q]]
        record = {
            "name": self.name,
            "digest": self.digest,
            "added": sum(map(len, own.values())) - len(shared),
            "judged_by_both": len(shared),
            "differing": sum(mine != theirs for mine, theirs in shared),
        }
        return replace(collection, qrels=merged), record

    def save(self, path: Path) -> None:
        """Write the layer, sorted. Raises HarnessError where that is not possible."""
        head = {"layer": self.name, "version": _VERSION, "digest": self.digest, "pairs": len(self.judgements)}
        lines = [{**head, "judge": dict(self.judge)}, *map(_row_of, sorted(self.judgements))]
        try:
            write_atomically(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        except OSError as error:
            raise HarnessError(f"cannot write {path}: {error.strerror or error}") from None


def read_layer(path: Path) -> Layer:
    """The layer in a file. Raises HarnessError for a file that is none, and one that was changed since it was written."""
    head, *rows = read_rows([path], ())
    if "layer" not in head.value or head.value.get("version") != _VERSION:
        raise HarnessError(f"{path} is no layer of judgements: its first line says its name; judge writes such files")
    layer = Layer(
        string(head, Field(("layer",))), _unequal(map(_judgement, rows), path), dict(head.value.get("judge") or {})
    )
    if layer.digest != head.value.get("digest"):
        raise HarnessError(f"{path} was changed since it was written (its digest is another): make it again with judge")
    return layer


def whole_grade(value: object, where: object) -> int:
    """A grade from 0 on. Raises HarnessError, naming the place, for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise HarnessError(f"{where}: a grade is a whole number from 0 on, not {json.dumps(value, default=repr)}")
    return value


def _unequal(judgements: Iterable[Judgement], path: Path) -> tuple[Judgement, ...]:
    found: dict[Sequence[str], Judgement] = {}
    for one in judgements:
        known = found.setdefault((one.collection, one.query_id, one.doc_id), one)
        if known.score != one.score:
            raise HarnessError(
                f'{path}: query "{one.query_id}" and document "{one.doc_id}" are judged {known.score} and {one.score}'
            )
    return tuple(found.values())


def _judgement(row: Row) -> Judgement:
    pair = identifier(row, Field(("query-id",))), identifier(row, Field(("corpus-id",)))
    data = string(row, Field(("task",))), string(row, Field(("subset",))), string(row, Field(("collection",)))
    return Judgement(*data, *pair, whole_grade(row.value.get("score"), row.place))


def _row_of(one: Judgement) -> dict[str, Any]:
    return {
        "task": one.task, "subset": one.subset, "collection": one.collection,
        "query-id": one.query_id, "corpus-id": one.doc_id, "score": one.score,
    }  # fmt: skip


def _require_scale(own: Qrels, qrels: Qrels, where: str, task: str) -> None:
    """A grade above all of the data set's own would be worth more than anything that people found best."""
    highest, known = (max(grade for judged in each.values() for grade in judged.values()) for each in (own, qrels))
    if highest > known:
        raise HarnessError(
            f"{where} has grades up to {highest}, and {task}'s own go up to {known}: bring it to that scale with judge "
            f"--grades, one grade for each of its own, as in --grades 0,0,1,1"
        )
