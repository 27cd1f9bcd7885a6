"""A reranker of the user's own: a function, or any object that scores.

    def rerank(query, documents): return [score, …]          # list context, one query at a time
    .rank(query, documents)                                   # list context; sentence-transformers, rerankers
    .predict(pairs)   .compute_score(pairs)                   # pair context; CrossEncoder, FlagReranker

It is named `module:attribute` or `path/to/file.py:attribute`, or is an entry point of the group
`rerank_harness.rerankers`. A function, or a `.rank`, marked `context = "pair"` is called once a
query too, but its scores count as independent of each other. One that declares `fingerprint` or
`revision` is cached like any model; otherwise the key is a digest of its source file and those beside it
that it imports, and its scores serve to resume the run that made them, never another: what else its code
depends on, no digest can see.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..engine.options import Options
from ..errors import HarnessError, did_you_mean
from ..models.noticing import noticing
from ..models.settings import read_settings
from ..models.source import PACKAGE
from ..results.naming import place_of
from ..text import JOIN_RULE, join_document, join_query
from ..types import LARGEST_FLOAT32, DocumentText, QueryText
from .base import Reranker, RerankerSpec
from .plugin_source import load_file, source_digest

__all__ = ["ENTRY_POINTS", "FAMILY", "entry_point_names", "is_plugin", "open_plugin", "revision_of_file", "wrap"]

FAMILY = "plug-in"
ENTRY_POINTS = "rerank_harness.rerankers"
VERSION = 1
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
"""How Python shows an object that has no text of its own."""
_LIMIT = f"scores are ranked in single precision, whose largest number is {LARGEST_FLOAT32:.2g}"


def entry_point_names() -> list[str]:
    """The names that installed packages offer as rerankers."""
    return sorted(point.name for point in importlib.metadata.entry_points(group=ENTRY_POINTS))


def is_plugin(name: str) -> bool:
    """Whether a `--reranker` word names a plug-in: it has a colon, or is an entry point."""
    return (":" in name and not name.startswith(PACKAGE)) or name in entry_point_names()


def open_plugin(name: str, options: Options) -> Reranker:
    """The reranker that `name` means. Imports the user's code.

    Raises HarnessError where the file, module or attribute does not exist, its code fails, or the
    object cannot score.
    """
    read_settings(FAMILY, options.settings, {})
    weights: list[str] = []
    with noticing(weights):
        target, source = _import(name)
        opened = wrap(target, name, source, options)
    opened.newly_initialised.extend(weights)
    file, _, attribute = name.rpartition(":")
    return replace(opened, place=f"{place_of(Path(file))}:{attribute}") if file.endswith(".py") else opened


def wrap(target: Any, name: str, source: Path | None = None, options: Options | None = None) -> Reranker:
    """A function or object as a Reranker; a class is called without arguments first."""
    read_settings(FAMILY, options.settings if options else (), {})
    if inspect.isclass(target):
        try:
            target = target()
        except Exception as error:
            raise HarnessError(f"{name}: calling the class failed: {_said(error)}") from error
    method = _method(target, name)
    context: Literal["pair", "list"] = "pair" if method in ("predict", "compute_score") else "list"
    marked = getattr(target, "context", context)
    if marked not in ("pair", "list"):
        raise HarnessError(f'{name}: context is "pair" or "list", not "{marked}"')
    declared = _declared(target, "fingerprint", name) or _declared(target, "revision", name)
    revision = declared or _source_digest(target, source)
    settings = {"declared": bool(declared), "join": JOIN_RULE, "method": method, "version": VERSION}
    settings["name"] = _plain_name(name)
    spec = RerankerSpec(
        _plain_name(name), FAMILY, _hex(revision), tuple(sorted(settings.items())), marked, bool(declared)
    )
    model: PairPlugin | ListPlugin
    if method in ("predict", "compute_score"):
        model = PairPlugin(getattr(target, method), spec.name)
    else:
        model = ListPlugin(target if method == "call" else target.rank, spec.name)
    return Reranker(spec, lambda: model, newly_initialised=model.newly_initialised, one_load=True)


def _declared(target: Any, word: str, name: str) -> str:
    """What a plug-in says of its version under `word`, called where it is a method; empty where it says nothing.

    Raises HarnessError for what another process would find otherwise: an address in memory, a value made anew each time.
    """
    try:
        value, again = (_asked(target, word) for _ in range(2))
    except Exception as error:
        raise HarnessError(
            f"{name}: its {word}, read as a property or called without arguments, failed: {_said(error)}"
        ) from error
    if not _lasting(value, target) or str(value) != str(again):
        raise HarnessError(
            f"{name}: its {word} is {value!r:.80}, then {again!r:.80}, which another process would not find again; a "
            f"{word} is a text or a number that changes when the scores do, and only then"
        )
    return str(value) if value else ""


def _asked(target: Any, word: str) -> Any:
    value = getattr(target, word, None)
    return value() if callable(value) else value


def _lasting(value: Any, target: Any) -> bool:
    """Whether a value reads alike in every process: text, numbers, and lists of them, without an address in memory.

    That of `target` is found in any spelling.
    """
    if isinstance(value, list | tuple):
        return all(_lasting(each, target) for each in value)
    if isinstance(value, Mapping):
        return all(_lasting(each, target) for each in [*value.keys(), *value.values()])
    if isinstance(value, np.generic):
        value = value.item()
    text = str(value)
    place = id(target)
    spelled = (str(place), f"{place:x}", str(object.__hash__(target)))
    stable = value is None or isinstance(value, str | bytes | int | float | Path)
    return stable and not _ADDRESS.search(text) and not any(address in text.lower() for address in spelled)


def _plain_name(name: str) -> str:
    """`rank.py:score` for any path to it: a folder's path is no part of what is scored."""
    path, colon, attribute = name.rpartition(":")
    return f"{Path(path).name}:{attribute}" if colon else name


def revision_of_file(file: Path) -> str:
    """The revision of code that declares none, which lies in `file`."""
    return _hex(_source_digest(None, file))


def _hex(revision: str) -> str:
    """The declared word as a 40-hex revision, so that it can be a part of a path."""
    return hashlib.blake2b(revision.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def _import(name: str) -> tuple[Any, Path | None]:
    if ":" not in name:
        (point,) = importlib.metadata.entry_points(group=ENTRY_POINTS, name=name)
        name = point.value
    where, _, attribute = name.rpartition(":")
    module = _import_file(Path(where), name) if where.endswith(".py") else _import_module(where, name)
    target = module
    for part in attribute.split("."):
        if not hasattr(target, part):
            raise HarnessError(f'{name}: {where} has no "{part}".{did_you_mean(part, dir(target))}')
        target = getattr(target, part)
    file = getattr(module, "__file__", None)
    return target, Path(file) if file else None


def _import_file(path: Path, name: str) -> Any:
    if not path.is_file():
        raise HarnessError(f"{name}: there is no file {path}; a plug-in is written path/to/file.py:attribute")
    try:
        return load_file(path, f"_plugin_{_hex(str(path.resolve()))[:12]}")
    except HarnessError as error:
        raise HarnessError(f"{name}: {error}") from error
    except Exception as error:
        raise HarnessError(f"{name}: importing {path} failed: {_said(error)}") from error


def _import_module(module: str, name: str) -> Any:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise HarnessError(f"{name}: importing {module} failed: {_said(error)}") from error
    finally:
        sys.path.remove("")


def _method(target: Any, name: str) -> str:
    for method in ("predict", "compute_score", "rank"):
        if callable(getattr(target, method, None)):
            return method
    if callable(target):
        return "call"
    raise HarnessError(
        f"{name} cannot score: it is a {type(target).__name__}, and a reranker is a function "
        f"(query, documents) -> scores or an object with .predict(pairs), .compute_score(pairs) or .rank(query, documents)"
    )


def _source_digest(target: Any, source: Path | None) -> str:
    try:
        file = source or Path(inspect.getfile(target if inspect.isroutine(target) else type(target)))
        return source_digest(file)
    except (TypeError, OSError):
        return "no source file"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _takes_instruction(function: Callable[..., Any]) -> bool:
    try:
        return "instruction" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


class PairPlugin:
    """`.predict(pairs)` or `.compute_score(pairs)`: called with a batch of (query, document) texts."""

    def __init__(self, score: Callable[..., Any], name: str) -> None:
        self._score, self._name = score, name
        self.newly_initialised: list[str] = []
        self._apart = _takes_instruction(score)

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> _PluginPairs:
        return _PluginPairs(self, queries, [join_document(document) for document in documents], pairs)

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the plug-in gave."""
        return margins

    def call(self, queries: Sequence[QueryText], documents: Sequence[str]) -> NDArray[np.float64]:
        more: dict[str, Any] = {}
        if self._apart:
            more["instruction"] = [query.instruction for query in queries]
            texts = [(query.text, document) for query, document in zip(queries, documents, strict=True)]
        else:
            texts = [(join_query(query), document) for query, document in zip(queries, documents, strict=True)]
        try:
            with noticing(self.newly_initialised):
                found = self._score(texts, **more)
        except Exception as error:
            raise HarnessError(f"{self._name} raised {_said(error)}; what was scored before is kept") from error
        return as_scores(found, len(texts), self._name)


class _PluginPairs:
    def __init__(
        self, plugin: PairPlugin, queries: Sequence[QueryText], documents: Sequence[str], pairs: NDArray[np.int64]
    ) -> None:
        self._plugin, self._queries, self._documents, self._pairs = plugin, queries, documents, pairs
        # No tokenizer is known: a token is taken for four characters, which only sizes the batches.
        sizes = np.array([len(document) for document in documents], np.int64)
        self.lengths = np.maximum(1, sizes[pairs[:, 1]] // 4)
        self.lost = np.zeros(len(pairs), np.int64)
        self.also: Mapping[str, NDArray[np.float32]] = {}

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        chosen = self._pairs[rows]
        return self._plugin.call(
            [self._queries[query] for query in chosen[:, 0]], [self._documents[document] for document in chosen[:, 1]]
        )


class ListPlugin:
    """A function or `.rank`: called with one query and its documents, best of the first stage first."""

    def __init__(self, rank: Callable[..., Any], name: str) -> None:
        self._rank, self._name = rank, name
        self.newly_initialised: list[str] = []
        self._apart = _takes_instruction(rank)

    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.float64]:
        """One score a document. Raises HarnessError where the plug-in raises or gives something else."""
        texts = [join_document(document) for document in documents]
        try:
            with noticing(self.newly_initialised):
                if self._apart:
                    found = self._rank(query.text, texts, instruction=query.instruction)
                else:
                    found = self._rank(join_query(query), texts)
        except Exception as error:
            raise HarnessError(f"{self._name} raised {_said(error)}; what was scored before is kept") from error
        return as_scores(found, len(texts), self._name)


def as_scores(found: Any, count: int, name: str) -> NDArray[np.float64]:
    """`count` scores, in the documents' order, out of what a plug-in returned; in double precision, so that nothing is lost yet.

    Taken: a list, an array or tensor of shape (n,) or (n, 1), one number for one pair, the list of
    {"corpus_id", "score"} of sentence-transformers' `rank`, and the results of the rerankers
    library (`.results`, each with `.document.doc_id` or `.doc_id`, and `.score`). Raises
    HarnessError for another shape or number of scores. NaN is found, and its pair named, by the caller.
    """
    entries = getattr(found, "results", found)
    if isinstance(entries, Sequence) and len(entries) and _is_ranked_entry(entries[0]):
        return _from_ranked(entries, count, name)
    if hasattr(found, "detach"):
        found = found.detach().double().cpu().numpy()
    try:
        scores = np.asarray([] if found is None else found, np.float64)
    except OverflowError:
        raise HarnessError(f"{name} returned a whole number that no float can hold: {_LIMIT}") from None
    except (TypeError, ValueError):
        raise HarnessError(f"{name} returned {type(found).__name__}, which is not a list of {count} scores") from None
    if scores.ndim == 0 and count == 1:
        scores = scores.reshape(1)
    if scores.ndim == 2 and scores.shape[1] == 1:
        scores = scores[:, 0]
    if scores.shape != (count,):
        raise HarnessError(
            f"{name} returned scores of shape {scores.shape} for {count} documents; one score a document is needed"
        )
    return scores


def _is_ranked_entry(entry: Any) -> bool:
    return (isinstance(entry, Mapping) and "corpus_id" in entry) or (
        hasattr(entry, "score") and hasattr(entry, "document")
    )


def _from_ranked(entries: Sequence[Any], count: int, name: str) -> NDArray[np.float64]:
    scores = np.full(count, np.nan)
    given = set()
    for entry in entries:
        if isinstance(entry, Mapping):
            place, score = entry["corpus_id"], entry.get("score")
        else:
            place, score = getattr(entry.document, "doc_id", None), entry.score
        if not isinstance(place, int | np.integer) or not 0 <= place < count or place in given or score is None:
            raise HarnessError(
                f"{name} ranked document {place!r} of {count}: places are 0 to {count - 1}, each once, with a score"
            )
        given.add(place)
        try:
            scores[place] = score
        except (TypeError, ValueError, OverflowError):
            raise HarnessError(f"{name} gave document {place} the score {score!r:.60}, which is no number") from None
    if len(given) != count:
        raise HarnessError(f"{name} ranked {len(given)} of {count} documents; every document needs a score (no top_k)")
    return scores
