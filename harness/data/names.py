"""What the columns of a data set are called: one table of the names that are read, and a card's own.

A field has its usual names, of which the first that is there is read, and other names, which are read
where no usual one is there. Two other names with different values are a mistake to be told, not a choice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import HarnessError, did_you_mean

__all__ = ["CORPUS", "LISTS", "NO_FIELDS", "QRELS", "QUERIES", "RUN", "Field", "Fields", "fields_of", "fields_of_card"]


class Field(NamedTuple):
    """The columns that may hold one thing; `joined` where a card names several, whose texts are put together."""

    usual: tuple[str, ...]
    others: tuple[str, ...] = ()
    joined: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that it may be read from."""
        return self.usual + self.others


Fields = Mapping[str, Field]
"""field → its columns, of one part of a data set."""

NO_FIELDS: Mapping[str, Fields] = {}

_QUERY = Field(("query-id",), ("query_id", "qid", "topic_id", "topic"))
_DOCUMENT = Field(("corpus-id",), ("corpus_id", "doc_id", "docid", "docno", "pid", "document_id"))

CORPUS: Fields = {
    "id": Field(("_id", "id"), ("docid", "doc_id", "docno", "pid", "document_id", "corpus-id", "corpus_id")),
    "title": Field(("title",)),
    "text": Field(("text", "content"), ("contents", "passage", "segment")),
}
QUERIES: Fields = {
    "id": Field(("_id", "id"), ("query-id", "query_id", "qid", "topic_id")),
    "text": Field(("text",), ("query", "question")),
    "instruction": Field(("instruction",)),
}
QRELS: Fields = {
    "query_id": _QUERY,
    "doc_id": _DOCUMENT,
    "relevance": Field(("score",), ("relevance", "label", "rel", "grade", "judgment", "judgement")),
    "gain": Field(("gain",)),
    "aspect": Field(("aspect", "subtopic")),
    "iteration": Field(("iteration", "iter")),
}
LISTS: Fields = {"query_id": _QUERY, "doc_ids": Field(("corpus-ids",)), "instruction": Field(("instruction",))}
RUN: Fields = {
    "query_id": _QUERY,
    "doc_id": Field(_DOCUMENT.names, ("_id", "id")),
    "score": Field(("score",)),
    "rank": Field(("rank",)),
    "tag": Field(("tag", "run", "system", "iteration", "iter")),
}

_PARTS: Mapping[str, Fields] = {"corpus": CORPUS, "queries": QUERIES, "qrels": QRELS}
_PART_OF = {"id": "corpus", "text": "corpus", "title": "corpus"} | dict.fromkeys(
    ("query_id", "doc_id", "relevance", "gain", "aspect"), "qrels"
)
"""Where a field belongs that a card names without a part."""


def fields_of_card(said: Any, where: object) -> str:
    """A card's `fields` as canonical JSON: part → field → its columns. Empty where it says none.

    `{id: sku, text: [name, description], title: brand}` are the corpus's, `query_id`, `doc_id`, `relevance`, `aspect` and
    `gain` the qrels'; `corpus`, `queries` and `qrels` may have fields of their own. Raises HarnessError for others.
    """
    if said is None:
        return ""
    if not isinstance(said, dict) or not said:
        raise HarnessError(
            f'{where}: "fields" says which columns to read, as in {{id: sku, text: [name, description]}}'
        )
    found: dict[str, dict[str, list[str]]] = {}
    for key, value in said.items():
        if key in _PARTS and isinstance(value, dict):
            for field, columns in value.items():
                found.setdefault(key, {})[_known(field, _PARTS[key], where, f" of {key}")] = _columns(
                    columns, field, where
                )
        else:
            field = _known(key, _PART_OF, where, "")
            found.setdefault(_PART_OF[field], {})[field] = _columns(value, field, where)
    return json.dumps(found, sort_keys=True, ensure_ascii=False)


def fields_of(said: str) -> dict[str, Fields]:
    """part → its fields, those of the table with a card's own (as `fields_of_card` writes them) in their place."""
    parts: Mapping[str, Mapping[str, Sequence[str]]] = json.loads(said) if said else {}
    return {
        part: {**table, **{field: Field(tuple(c), joined=len(c) > 1) for field, c in parts.get(part, {}).items()}}
        for part, table in _PARTS.items()
    }


def _known(field: object, known: Iterable[str], where: object, whose: str) -> str:
    names = [name for name in known if name != "iteration"]
    if field not in names:
        near = did_you_mean(str(field), names)
        raise HarnessError(f'{where}: "fields" has no "{field}"{whose}; it has {", ".join(names)}.{near}')
    return str(field)


def _columns(value: Any, field: object, where: object) -> list[str]:
    columns = value if isinstance(value, list) else [value]
    if not columns or not all(isinstance(column, str) and column for column in columns):
        raise HarnessError(f'{where}: "fields" names the column of {field}, as text, not {value!r}')
    if len(columns) > 1 and field != "text":
        raise HarnessError(f'{where}: "fields" gives {field} several columns, and only texts are put together')
    return [str(column) for column in columns]
