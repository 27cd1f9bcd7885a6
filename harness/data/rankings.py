"""Rankings in the forms that people have them: of a first stage, of a reranker, or of both in one log.

TREC runs; records of `query_id`, `doc_id`, `score` (JSON lines, CSV, TSV, Parquet); responses of Elasticsearch
and OpenSearch; mteb's predictions; pytrec_eval's dictionaries. A log that holds two scores has one for each stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import HarnessError, did_you_mean
from ..files.cache import file_digest, folder_digest
from ..files.packed import ZIP, members, unpacked_name
from ..types import LARGEST_FLOAT32, Run, Subset, Task
from .containers import TABLES, header_of, kind_of, lines_of, read_json, read_rows
from .names import RUN, Field
from .rows import Place, Row, decoded, identifier, shown, there
from .trec import read_run

__all__ = ["Ranking", "digest_of_ranking", "is_trec", "name_of_ranking", "names_of", "read_ranking"]

_FIRST = ("retrieval_score", "retriever_score", "first_stage_score", "initial_score", "bm25_score")
_SECOND = ("rerank_score", "reranker_score", "reranked_score", "cross_encoder_score", "relevance_score")
_ONE = ("score", "_score")
_SCORES = Field((*_ONE, *_FIRST, *_SECOND))
_LISTS = ("results", "documents", "candidates", "docs", "ranking", "hits")
"""What a log calls the documents of a query where they stand in one record."""
_META = "mteb_model_meta"
_NUMBER = (int, float)


class Ranking(NamedTuple):
    """What a file holds: the scores of the stage that searched, and those of a reranker where it has two."""

    first: Run
    second: Run | None


class _Scored(NamedTuple):
    """One document of a query with its scores, by the columns that they stand in."""

    place: Place
    query_id: str
    doc_id: str
    scores: Mapping[str, float | None]


def read_ranking(path: Path, subsets: Iterable[str] = ("default",), split: str = "test") -> Ranking:
    """The rankings of a file, or of a folder of responses. `subsets` and `split` choose among mteb's predictions.

    Raises HarnessError for a file that is none of these forms, a score that is no finite number, a document that
    stands twice for a query, records with different scores, and a response that is not whole.
    """
    if is_trec(path):
        return Ranking(read_run(path), None)
    first: Run = {}
    second: Run = {}
    columns: tuple[set[str], Place] | None = None
    for each in _scored(path, tuple(subsets), split):
        columns = columns or (set(each.scores), each.place)
        if set(each.scores) != columns[0]:
            raise HarnessError(
                f"{each.place} has {_named(each.scores)}, and {columns[1]} has {_named(columns[0])}: scores of several kinds "
                "are no ranking"
            )
        of_query = first.setdefault(each.query_id, {})
        if each.doc_id in of_query:
            raise HarnessError(f'{each.place}: document "{each.doc_id}" stands twice for query "{each.query_id}"')
        earlier, later = _both(each)
        of_query[each.doc_id] = _within(earlier, each)
        if later is not None:
            second.setdefault(each.query_id, {})[each.doc_id] = _within(later, each)
    if not first:
        raise HarnessError(f"{path} is empty: a ranking has at least one document")
    return Ranking(first, second or None)


def is_trec(path: Path) -> bool:
    """Whether the file is read as a TREC run: any text that is not named as another form, and TSV without a header."""
    kind = kind_of(path)
    if path.is_dir() or kind == ZIP or (kind in TABLES and kind != ".tsv"):
        return False
    return kind != ".tsv" or _tsv_header(path) is None


def names_of(task: Task, subset: Subset) -> tuple[str, ...]:
    """What mteb calls a subset, where predictions are looked up."""
    return tuple(dict.fromkeys((task.hf_subset(subset), subset.name, subset.config or "default")))


def name_of_ranking(path: Path) -> str:
    """`prod` for prod.jsonl.gz: what tables call it."""
    name = unpacked_name(path.name)
    return name.rpartition(".")[0] or name


def digest_of_ranking(path: Path, cache: Path) -> str:
    """Over the bytes of the file, or of the responses of a folder."""
    return folder_digest(path, _files_of(path), cache) if path.is_dir() else file_digest(path, cache)


def _files_of(path: Path) -> list[str]:
    """The files of a folder of responses, relative to it, sorted."""
    return sorted(file.relative_to(path).as_posix() for file in path.iterdir() if kind_of(file) == ".json")


def _tsv_header(path: Path) -> list[str] | None:
    place, line = next(lines_of(path), (Place(path, 1), b""))
    names = header_of(decoded(line, place).split("\t"), RUN.values())
    return (
        names
        if {"query_id", "doc_id"} <= {key for key, field in RUN.items() if set(field.names) & set(names)}
        else None
    )


# -- which of the scores is whose


def _both(each: _Scored) -> tuple[float | None, float | None]:
    """The score of the first stage and that of the reranker; the only one that there is belongs to both.

    Beside the named score of one stage, a plain `score` is the other's.
    """
    named = [next((name for name in names if name in each.scores), None) for names in (_FIRST, _SECOND)]
    plain = next((name for name in _ONE if name in each.scores), None)
    if named[0] and named[1]:
        if plain and each.scores[plain] not in (each.scores[named[0]], each.scores[named[1]]):
            raise HarnessError(
                f"{each.place} has {_named(each.scores)}: a log has the scores of two stages; leave {plain} out"
            )
        return each.scores[named[0]], each.scores[named[1]]
    if plain is None:
        return each.scores[named[0] or named[1] or ""], None
    if named[0]:
        return each.scores[named[0]], each.scores[plain]
    return each.scores[plain], each.scores[named[1]] if named[1] else None


def _within(score: float | None, each: _Scored) -> float:
    if score is None or not math.isfinite(score):
        raise HarnessError(f"{each.place}: {shown(score)} is no finite number, as a score must be")
    if not -LARGEST_FLOAT32 <= score <= LARGEST_FLOAT32:
        raise HarnessError(
            f"{each.place}: {score} is beyond single precision (at most 3.4e38), in which scores are ranked"
        )
    return score


# -- where scored documents stand


def _scored(path: Path, subsets: tuple[str, ...], split: str) -> Iterator[_Scored]:
    if path.is_dir():
        for name in _files_of(path):
            yield from _of_response(read_json(path / name), unpacked_name(name).rpartition(".")[0], path / name)
        return
    if path.suffix.lower() == ZIP:
        for member in members(path):
            yield from _scored(member, subsets, split)
        return
    if kind_of(path) == ".json" and (whole := _whole(path)) is not None:
        yield from _of_dictionary(whole, path, subsets, split)
        return
    for row in read_rows([path], [*RUN.values(), _SCORES, Field(_LISTS), Field(("response",))]):
        yield from _of_row(row)


def _whole(path: Path) -> dict[str, Any] | None:
    """The one object of a file; None where it is a list, or objects one a line."""
    first = next((line for _, line in lines_of(path)), b"").lstrip()
    if not first.startswith(b"{"):
        return None
    try:
        value = read_json(path)
    except HarnessError as error:
        if "Extra data" in str(error):
            return None
        raise
    return value if isinstance(value, dict) and not any(name in value for name in RUN["query_id"].names) else None


def _of_dictionary(value: dict[str, Any], path: Path, subsets: tuple[str, ...], split: str) -> Iterator[_Scored]:
    """mteb's predictions, or query_id → its documents, in one of the forms that these have."""
    if "hits" in value or "responses" in value:
        raise HarnessError(
            f"{path} is a search response that does not name its query: give a folder of such files named by query_id, or JSON "
            'lines of {"query_id": …, "response": …}'
        )
    if _META in value or _is_deep(value):
        value = _of_subset(value, path, subsets, split)
    for number, (query_id, found) in enumerate(value.items(), 1):
        place = Place(path, number, "query")
        if isinstance(found, dict) and "hits" in found:
            yield from _of_response(found, query_id, path)
        elif isinstance(found, dict):
            for doc_id, score in found.items():
                yield _Scored(place, query_id, str(doc_id), {"score": _number(score, place)})
        elif isinstance(found, list):
            yield from _of_list(found, query_id, place)
        else:
            raise HarnessError(
                f'{place}: "{query_id}" has {shown(found)}, where its documents are needed, each with its score'
            )


def _is_deep(value: Mapping[str, Any]) -> bool:
    """Whether scores stand four levels down, as in predictions whose model nobody named."""
    inner: Any = value
    for _ in range(3):
        inner = next(iter(inner.values()), None) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or "hits" in inner:
            return False
    return True


def _of_subset(value: Mapping[str, Any], path: Path, subsets: tuple[str, ...], split: str) -> dict[str, Any]:
    there = {name: of for name, of in value.items() if name != _META}
    subset = next((name for name in subsets if name in there), None)
    if subset is None:
        raise HarnessError(
            f'{path} has predictions of {", ".join(there)}, and none of "{subsets[0]}".{did_you_mean(subsets[0], there)}'
        )
    splits = there[subset]
    if not isinstance(splits, dict) or split not in splits:
        raise HarnessError(f'{path} has no predictions of {subset} on the split "{split}"; it has {", ".join(splits)}')
    found = splits[split]
    if not isinstance(found, dict):
        raise HarnessError(f"{path}: the predictions of {subset}, {split}, are a {type(found).__name__}, not rankings")
    return found


def _of_row(row: Row) -> Iterator[_Scored]:
    query_id = identifier(row, RUN["query_id"])
    if isinstance(row.value.get("response"), dict):
        yield from _of_response(row.value["response"], query_id, row.place)
    elif isinstance(row.value.get("hits"), dict):
        yield from _of_response(row.value, query_id, row.place)
    elif found := next((row.value[name] for name in _LISTS if isinstance(row.value.get(name), list)), None):
        yield from _of_list(found, query_id, row.place)
    else:
        yield _of_document(row, query_id)


def _of_list(found: list[Any], query_id: str, place: Place) -> Iterator[_Scored]:
    for number, document in enumerate(found, 1):
        if not isinstance(document, dict):
            raise HarnessError(
                f"{place}, document {number} is {shown(document)}, where an object with an id and a score is needed"
            )
        yield _of_document(Row(place, document), query_id)


def _of_document(row: Row, query_id: str) -> _Scored:
    scores = {name: _number(row.value[name], row.place) for name in _SCORES.usual if name in row.value}
    if not scores:
        raise HarnessError(f'{row.place} has no "score"{there(row)}')
    return _Scored(row.place, query_id, identifier(row, RUN["doc_id"]), scores)


def _number(value: Any, place: Place) -> float | None:
    if isinstance(value, str):
        try:
            return float(value) if "_" not in value and value.isascii() else math.nan
        except ValueError:
            return math.nan
    if value is None or (isinstance(value, _NUMBER) and not isinstance(value, bool)):
        return value
    raise HarnessError(f"{place}: {shown(value)} is no finite number, as a score must be")


def _of_response(response: Any, query_id: str, where: Path | Place) -> Iterator[_Scored]:
    """The hits of a response that is whole: not timed out, and from every shard."""
    hits = response.get("hits") if isinstance(response, dict) else None
    found = hits.get("hits") if isinstance(hits, dict) else None
    if not isinstance(found, list):
        raise HarnessError(
            f'{where}: query "{query_id}" has no hits.hits, which a search response lists its documents in'
        )
    shards = response.get("_shards")
    failed = shards.get("failed") if isinstance(shards, dict) else 0
    if response.get("timed_out") or response.get("terminated_early") or failed:
        why = "timed out" if response.get("timed_out") else f"lacks {failed} shards" if failed else "was ended early"
        raise HarnessError(
            f'{where}: the search of query "{query_id}" {why}, so its documents are not all: search again'
        )
    for number, hit in enumerate(found, 1):
        place = Place(where if isinstance(where, Path) else where.path, number, f'query "{query_id}", hit')
        row = Row(place, hit if isinstance(hit, dict) else {})
        if row.value.get("_score") is None:
            raise HarnessError(
                f'{place} has no "_score": a search with "sort" gives scores where "track_scores" is true'
            )
        yield _Scored(
            place, query_id, identifier(row, Field(("_id",))), {"_score": _number(row.value["_score"], place)}
        )


def _named(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
