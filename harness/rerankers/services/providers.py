"""How each provider writes a rerank request and its answer: data, in providers.yaml and in files of the user's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from ...errors import HarnessError, did_you_mean
from ...files.yaml_file import read_yaml

__all__ = ["MalformedError", "Provider", "read_providers", "tokens_of"]


class MalformedError(Exception):
    """What an answer lacks of one score for each document."""


@dataclass(frozen=True)
class Provider:
    """A provider's request and answer; what each field means stands at the head of providers.yaml."""

    url: str | None
    path: str
    key_variable: str | None
    score: str
    at_most: int
    at_most_tokens: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    model: str | None = "model"
    query: str = "query"
    documents: str = "documents"
    document: str | None = None
    top: str | None = None
    instruction: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    results: str | None = "results"
    index: str = "index"
    tokens: str | None = None
    units: str | None = None
    documents_per_unit: int | None = None
    list_context: Sequence[str] = ()

    def sees_lists(self, model: str) -> bool:
        """Whether the model's name begins as those that see a query's documents together."""
        return model.rpartition("/")[2].startswith(tuple(self.list_context))

    def request(self, model: str, query: str, documents: Sequence[str], instruction: str = "") -> dict[str, Any]:
        """The body of the request that asks for the scores of all documents."""
        body: dict[str, Any] = {}
        texts = list(documents) if self.document is None else [{self.document: text} for text in documents]
        if instruction and self.instruction is None:
            query = f"{query} {instruction}".strip()
        said = [(self.query, query), (self.documents, texts), *self.more.items()]
        if self.model is not None:
            said.append((self.model, model))
        if self.top is not None:
            said.append((self.top, len(documents)))
        if instruction and self.instruction is not None:
            said.append((self.instruction, instruction))
        for path, value in said:
            _put(body, path, value)
        return body

    def scores(self, answer: Any, count: int) -> list[float]:
        """One score a document, in the request's order. Raises MalformedError for an answer of another shape."""
        entries = answer if self.results is None else _get(answer, self.results)
        if not isinstance(entries, list):
            raise MalformedError("the answer holds no list of results")
        found: dict[int, float] = {}
        for entry in entries:
            place, score = _get(entry, self.index), _get(entry, self.score)
            if type(place) is not int or not 0 <= place < count or place in found:
                raise MalformedError(
                    f"a result has the index {repr(place)[:40]}; {count} documents were sent, from 0, each once"
                )
            if isinstance(score, bool) or not isinstance(score, int | float):
                raise MalformedError(f"document {place} has the {self.score} {repr(score)[:40]}, which is not a number")
            found[place] = _float(score)
        if len(found) != count:
            raise MalformedError(f"{len(found)} of {count} documents were scored")
        return [found[place] for place in range(count)]

    def billed(self, answer: Any, what: str | None) -> float | None:
        """The figure that the answer has at the path `what`; None where it has none."""
        value = None if what is None else _get(answer, what)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            return None
        return _float(value)


def tokens_of(text: str) -> int:
    """About how many tokens a text has where no tokenizer is known: four ASCII characters each, fewer of other scripts."""
    characters = len(text)
    return -(-characters // 4) + (len(text.encode("utf-8", "replace")) - characters) // 2


def read_providers(own: Path | None = None) -> Mapping[str, Provider]:
    """The providers by name: those of providers.yaml, and before them those of a file of the user's.

    Raises HarnessError, naming file, provider and field, for an entry that is not one.
    """
    found = _read(Path(__file__).with_name("providers.yaml"))
    return found if own is None else {**found, **_read(own)}


def _read(path: Path) -> dict[str, Provider]:
    table = read_yaml(path)
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise HarnessError(f"{path}: providers are written NAME: {{url: …, path: …, score: …, at_most: …}}")
    return {str(name): _provider(f"{path}: {name}", entry) for name, entry in table.items()}


_NEEDED = [each.name for each in fields(Provider) if each.default is MISSING and each.default_factory is MISSING]
_TEXTS = frozenset({"path", "score", "query", "documents", "index"})
_TEXTS_OR_NONE = frozenset(
    {"url", "key_variable", "model", "document", "top", "instruction", "results", "tokens", "units"}
)
_COUNTS = frozenset({"at_most", "at_most_tokens", "documents_per_unit"})


def _provider(where: str, entry: Mapping[str, Any]) -> Provider:
    known = [each.name for each in fields(Provider)]
    for name in entry:
        if name not in known:
            raise HarnessError(f'{where} has no field "{name}": {", ".join(known)}.{did_you_mean(str(name), known)}')
    lacking = [name for name in _NEEDED if name not in entry]
    if lacking:
        raise HarnessError(f"{where} lacks {', '.join(lacking)}; null where there is none")
    for name, value in entry.items():
        rule = _broken_rule(name, value)
        if rule:
            raise HarnessError(f"{where}: {name} is {rule}, not {value!r}")
    return Provider(**entry)


def _broken_rule(name: str, value: object) -> str | None:
    if name in _TEXTS and not (isinstance(value, str) and value):
        return "a text"
    if name in _TEXTS_OR_NONE and not (value is None or (isinstance(value, str) and value)):
        return "a text, or null"
    if name in _COUNTS and not (type(value) is int and value > 0) and not (value is None and name != "at_most"):
        return "a whole number above 0"
    if name in ("headers", "more") and not (isinstance(value, dict) and all(isinstance(key, str) for key in value)):
        return "a mapping"
    if name == "headers" and not all(isinstance(text, str) for text in value.values()):  # type: ignore[attr-defined]
        return "a mapping of texts"
    if name == "list_context" and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
        return "a list of names"
    return None


def _put(body: dict[str, Any], path: str, value: object) -> None:
    *outer, last = path.split(".")
    for name in outer:
        body = body.setdefault(name, {})
    body[last] = value


def _get(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _float(number: float) -> float:
    """As a float; a whole number beyond any float is infinite, which is refused where its pair is known."""
    try:
        return float(number)
    except OverflowError:
        return math.copysign(math.inf, number)
