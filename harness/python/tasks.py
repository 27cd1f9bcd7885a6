"""Data that is in memory, as a task: dicts or DataFrames, written once below the cache and read as strictly as any folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError
from ..files.cache import cache_folder, write_atomically
from ..files.digest import Digest

if TYPE_CHECKING:
    from .. import types
    from ..types import Run

__all__ = ["Task", "made"]

_ID = {
    "corpus": ("doc_id", "_id", "id", "docid", "docno", "corpus-id"),
    "queries": ("query_id", "_id", "id", "qid", "query-id"),
}
_QUERY, _DOCUMENT = _ID["queries"], _ID["corpus"]


class Task:
    """A collection in memory: what `harness.run` takes instead of a task's name.

    `corpus`: doc_id → text, or → {"title", "text"}; or a DataFrame with doc_id, text and perhaps title.
    `queries`: query_id → text, or → {"text", "instruction"}; or a DataFrame of these columns.
    `qrels`: query_id → {doc_id: relevance}; or a DataFrame with query_id, doc_id, relevance.
    `candidates`, where you bring them: query_id → [doc_id, …] (no order: reranked whole, without a
    first stage's figures), or → {doc_id: score}; or a DataFrame with query_id, doc_id and perhaps score.
    `language` chooses BM25's analyzer, as `eng` or `zho`. Columns and keys may have the names that
    pyserini, PyTerrier, beir and mteb give them (`_id`, `qid`, `docno`, `label` …).

    Raises HarnessError for what no reader would take: an id twice, a judgement of an unknown query,
    a column that is missing.
    """

    def __init__(
        self, corpus: Any, queries: Any, qrels: Any, *, candidates: Any = None, name: str = "in-memory",
        language: str = "eng",
    ) -> None:  # fmt: skip
        self.name, self.language = name, language
        self._files = {
            "corpus.jsonl": _lines(_texts(corpus, "corpus", "title")),
            "queries.jsonl": _lines(_texts(queries, "queries", "instruction")),
            "qrels/test.jsonl": _lines(_judgements(qrels)),
        }
        lists = dict(_lists(candidates)) if candidates is not None else {}
        self.run: Run | None = None
        """The candidates, where they have scores."""
        scored = {query_id: dict(found) for query_id, found in lists.items() if isinstance(found, Mapping)}
        if scored:
            self.run = scored
        elif lists:
            rows = ({"query-id": query_id, "corpus-ids": list(found)} for query_id, found in lists.items())
            self._files["top_ranked.jsonl"] = _lines(rows)

    def __repr__(self) -> str:
        counts = [self._files[name].count("\n") for name in ("corpus.jsonl", "queries.jsonl")]
        return f"Task({self.name!r}, {counts[0]:,} documents, {counts[1]:,} queries)"


def made(task: Task) -> types.Task:
    """The task as the stages take it; its data lie below the cache, in a folder named by their content."""
    from ..data.uncarded import folder_task

    cache = cache_folder()
    digest = Digest()
    for name, text in sorted(task._files.items()):
        digest.add(name, text)
    folder = cache / "made" / digest.hex()
    for name, text in task._files.items():
        if not (folder / name).is_file():
            write_atomically(folder / name, text)
    return replace(folder_task(folder, cache, language=task.language), name=task.name)


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _texts(given: Any, part: str, more: str) -> Iterator[dict[str, Any]]:
    """Rows of corpus.jsonl or queries.jsonl; `more` is the text that may stand beside the text."""
    for row in _rows(given, part):
        found = {"_id": _one(row, _ID[part], part), "text": _text(row.get("text", row.get("contents")), part)}
        beside = row.get(more)
        yield found | ({more: _text(beside, part)} if beside is not None else {})


def _rows(given: Any, part: str) -> Iterator[Mapping[str, Any]]:
    """One mapping a row, of a DataFrame, a list of mappings, or a mapping by id."""
    if hasattr(given, "to_dict") and hasattr(given, "columns"):
        for row in given.to_dict("records"):
            yield {str(key): None if _is_missing(value) else value for key, value in row.items()}
    elif isinstance(given, Mapping):
        for key, value in given.items():
            yield {"_id": key} | (dict(value) if isinstance(value, Mapping) else {"text": value})
    elif isinstance(given, Sequence) and not isinstance(given, str):
        yield from given
    else:
        raise HarnessError(
            f"the {part} is a {type(given).__name__}: a dict by id, a list of dicts or a DataFrame is needed"
        )


def _judgements(given: Any) -> Iterator[dict[str, Any]]:
    if isinstance(given, Mapping):
        for query_id, judged in given.items():
            for doc_id, relevance in judged.items():
                yield {"query-id": _id(query_id), "corpus-id": _id(doc_id), "score": _number(relevance)}
        return
    for row in _rows(given, "qrels"):
        relevance = _one(row, ("relevance", "score", "label", "rel"), "qrels", as_id=False)
        yield {
            "query-id": _one(row, _QUERY, "qrels"),
            "corpus-id": _one(row, _DOCUMENT, "qrels"),
            "score": _number(relevance),
        }


def _lists(given: Any) -> Iterator[tuple[str, Sequence[str] | Mapping[str, float]]]:
    """Each query's list, or its scores where it has any."""
    if isinstance(given, Mapping):
        for query_id, found in given.items():
            if isinstance(found, Mapping):
                yield _id(query_id), {_id(doc_id): float(score) for doc_id, score in found.items()}
            else:
                yield _id(query_id), [_id(doc_id) for doc_id in found]
        return
    scores: dict[str, dict[str, float | None]] = {}
    for row in _rows(given, "candidates"):
        score = row.get("score")
        listed = scores.setdefault(_one(row, _QUERY, "candidates"), {})
        listed[_one(row, _DOCUMENT, "candidates")] = None if score is None else float(score)
    for query_id, found in scores.items():
        without = [doc_id for doc_id, score in found.items() if score is None]
        if without and len(without) < len(found):
            raise HarnessError(
                f'the candidates of query "{query_id}": document "{without[0]}" has no score and others have'
            )
        yield query_id, list(found) if without else {doc_id: float(score or 0) for doc_id, score in found.items()}


def _one(row: Mapping[str, Any], names: Sequence[str], part: str, *, as_id: bool = True) -> Any:
    """The value under the first of `names` that the row has."""
    for name in names:
        if row.get(name) is not None:
            return _id(row[name]) if as_id else row[name]
    raise HarnessError(
        f"the {part} needs a column {names[0]} (or {', '.join(names[1:])}); a row has {', '.join(map(str, row))}"
    )


def _id(value: Any) -> str:
    """An id as text; 7 is "7", and 7.0, which pandas makes of 7 beside a gap, is refused."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise HarnessError(f"the id {value!r} is a {type(value).__name__}: an id is a string or a whole number")
    return str(int(value))


def _text(value: Any, part: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise HarnessError(f"a text of the {part} is {value!r}, a {type(value).__name__}: a string is needed")
    return value


def _number(value: Any) -> Any:
    """A judgement as JSON takes it: numpy's whole numbers as Python's."""
    return int(value) if hasattr(value, "__index__") else float(value)


def _is_missing(value: Any) -> bool:
    """Whether it is one of pandas' ways to say that there is nothing."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")
