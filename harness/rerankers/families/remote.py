"""Rerankers behind the /rerank request that Cohere, Jina, Voyage, Mixedbread, TEI and vLLM share.

    remote:cohere/rerank-v3.5
    remote:vllm/BAAI/bge-reranker-v2-m3 --set url=http://localhost:8000

A query's documents travel in one request, but each is scored on its own, so scores are kept pair by
pair; for the few listwise models (`context=list`) the whole list is the key. Keys are read from the
environment when the first request is made. A provider can change a model without a word, so only
scores of a stated `revision` serve other runs; without one they serve to resume this run.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from ...engine.options import Options
from ...errors import HarnessError, did_you_mean
from ...files.yaml_file import read_yaml
from ...models.settings import Reader, one_of, read_settings, whole_number
from ...text import JOIN_RULE, join_document, join_query
from ...types import DocumentText, QueryText
from ..base import Reranker, RerankerSpec

if TYPE_CHECKING:
    from .transport import Poster

__all__ = [
    "FAMILY",
    "MalformedError",
    "Provider",
    "RemoteList",
    "RemotePairs",
    "RemoteScorer",
    "is_remote",
    "open_remote",
    "read_providers",
]

FAMILY = "remote"
VERSION = 1
_PREFIX = "remote:"
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*\Z")
_READERS: dict[str, Reader] = {
    "concurrency": whole_number,
    "context": one_of("pair", "list"),
    "key_variable": str,
    "max_chars": whole_number,
    "revision": str,
    "timeout": whole_number,
    "tries": whole_number,
    "url": str,
}


class MalformedError(Exception):
    """What an answer lacks of one score for each document."""


@dataclass(frozen=True)
class Provider:
    """How a provider writes the request and the answer; see remote.yaml."""

    url: str | None
    path: str
    key_variable: str | None
    documents: str
    top: str | None
    results: str | None
    score: str
    at_most: int
    sends_model: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)
    listwise: Sequence[str] = ()

    def request(self, model: str, query: str, documents: Sequence[str]) -> dict[str, Any]:
        """The body of the request that asks for the scores of all documents."""
        body = {"query": query, self.documents: list(documents), **self.more}
        if self.sends_model:
            body["model"] = model
        if self.top is not None:
            body[self.top] = len(documents)
        return body

    def scores(self, answer: Any, count: int) -> list[float]:
        """One score a document, in the request's order. Raises MalformedError for an answer of another shape."""
        entries = answer.get(self.results) if self.results and isinstance(answer, dict) else answer
        if not isinstance(entries, list):
            raise MalformedError("the answer holds no list of results")
        found: dict[int, float] = {}
        for entry in entries:
            place, score = (entry.get("index"), entry.get(self.score)) if isinstance(entry, dict) else (None, None)
            if type(place) is not int or not 0 <= place < count or place in found:
                raise MalformedError(
                    f"a result has the index {place!r}; {count} documents were sent, from 0, each once"
                )
            if isinstance(score, bool) or not isinstance(score, int | float):
                raise MalformedError(f"document {place} has the {self.score} {score!r}, which is not a number")
            found[place] = float(score)
        if len(found) != count:
            raise MalformedError(f"{len(found)} of {count} documents were scored")
        return [found[place] for place in range(count)]


def read_providers() -> dict[str, Provider]:
    """The providers by name, from remote.yaml."""
    table = read_yaml(Path(__file__).with_name("remote.yaml"))
    return {name: Provider(**entry) for name, entry in table.items()}


def is_remote(name: str) -> bool:
    """Whether a `--reranker` word names a provider's model."""
    return name.startswith(_PREFIX)


def open_remote(name: str, options: Options) -> Reranker:
    """The reranker that `remote:PROVIDER/MODEL` means. Sends nothing and needs no key yet.

    Settings: url (the address of a server of one's own), key_variable (the environment variable with
    the key), revision (states that scores may be kept under this word), max_chars (documents are
    sent whole without it), context (list for a listwise model), concurrency, timeout (seconds), tries.
    Raises HarnessError for an unknown provider, or an address that is missing or not usable.
    """
    provider_name, _, model = name.removeprefix(_PREFIX).partition("/")
    providers = read_providers()
    if provider_name not in providers or not model:
        raise HarnessError(
            f"{name}: a provider's model is written remote:PROVIDER/MODEL, with a provider of "
            f"{', '.join(providers)}.{did_you_mean(provider_name, providers)}"
        )
    provider = providers[provider_name]
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, _READERS)
    base = _base_address(name, chosen.get("url") or provider.url)
    variable = _key_variable(chosen.get("key_variable") or provider.key_variable)
    usual: Literal["pair", "list"] = "list" if model in provider.listwise else "pair"
    context: Literal["pair", "list"] = chosen.get("context", usual)
    revision, max_chars = chosen.get("revision"), chosen.get("max_chars")
    settings = {
        "host": base.partition("://")[2],
        "join": JOIN_RULE,
        "max_chars": max_chars,
        "model": model,
        "provider": provider_name,
        "revision": revision,
        "version": VERSION,
    }
    spec = RerankerSpec(
        f"{_PREFIX}{provider_name}/{model}",
        FAMILY,
        hashlib.blake2b((revision or "not stated").encode(), digest_size=20).hexdigest(),
        tuple(sorted(settings.items())),
        context,
        declared=revision is not None,
    )

    def load() -> RemoteScorer:
        from .transport import Patience, Poster, Service

        patience = Patience(chosen.get("tries", Patience.tries), chosen.get("timeout", Patience.timeout))
        service = Service(spec.name, base + provider.path, variable)
        poster = Poster(service, _key(spec.name, variable), patience)
        scorer = RemoteList if context == "list" else RemotePairs
        return scorer(provider, model, poster, chosen.get("concurrency", 4), max_chars)

    return Reranker(spec, load, one_load=True)


def _base_address(name: str, url: str | None) -> str:
    """The address without a path to the request. Nothing of an unusable one is repeated: it may hold a secret."""
    if url is None:
        raise HarnessError(f"{name} runs on a server of your own: --set url=http://HOST:PORT")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise HarnessError(f"{name}: url is written http://HOST:PORT or https://HOST")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise HarnessError(
            f"{name}: url holds more than an address (a user, a password, a query); a key belongs in an "
            f"environment variable, named with --set key_variable=NAME"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _key_variable(variable: str | None) -> str | None:
    if variable is not None and not _VARIABLE.match(variable):
        # What was typed is not repeated: it may be the key itself.
        raise HarnessError("key_variable is the name of an environment variable, in capitals, such as MY_API_KEY")
    return variable


def _key(name: str, variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise HarnessError(f"{name} needs a key: set the environment variable {variable}")
    if not re.fullmatch(r"[!-~]+", key):
        raise HarnessError(f"{name}: the environment variable {variable} holds characters that no key has")
    return key


class RemoteScorer:
    """A provider's model: asks for scores, several requests at a time."""

    def __init__(
        self, provider: Provider, model: str, poster: Poster, concurrency: int = 4, max_chars: int | None = None
    ) -> None:
        self.provider, self.model, self.poster = provider, model, poster
        self.concurrency, self.max_chars = concurrency, max_chars

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the provider gave."""
        return margins

    def texts(self, documents: Sequence[DocumentText]) -> list[str]:
        """The documents as they are sent."""
        return [join_document(document)[: self.max_chars] for document in documents]

    def ask(self, query: str, documents: Sequence[str], stop: Event) -> NDArray[np.float64]:
        """One score a document, from one request. Raises HarnessError where the answer is not that."""
        answer = self.poster.post(self.provider.request(self.model, query, documents), stop)
        try:
            return np.array(self.provider.scores(answer, len(documents)), np.float64)
        except MalformedError as error:
            raise HarnessError(f"{_PREFIX}…/{self.model}: {error}; every document needs one score") from None

    def ask_all(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[NDArray[np.float64]]:
        """The scores of each (query, documents), in order; the first failure ends the others."""
        from .transport import StoppedError

        stop = Event()

        def ask(request: tuple[str, Sequence[str]]) -> NDArray[np.float64]:
            try:
                return self.ask(*request, stop)
            except BaseException:
                stop.set()
                raise

        with ThreadPoolExecutor(self.concurrency) as pool:
            futures = [pool.submit(ask, request) for request in requests]
            try:
                wait(futures)
            finally:
                stop.set()  # an interrupt ends the waits too
        failures = [error for future in futures if (error := future.exception()) is not None]
        if failures:
            # Those that were stopped say nothing of why.
            raise min(failures, key=lambda error: isinstance(error, StoppedError))
        return [future.result() for future in futures]


class RemotePairs(RemoteScorer):
    """A model whose score of a document does not depend on the others in the request."""

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> SentPairs:
        return SentPairs(self, [join_query(query) for query in queries], documents, pairs)


class SentPairs:
    """The pairs of one request of ours; a batch of them is as many requests as it has queries."""

    def __init__(
        self, model: RemotePairs, queries: Sequence[str], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> None:
        self._model, self._queries, self._pairs = model, queries, pairs
        self._documents = model.texts(documents)
        self.also: Mapping[str, NDArray[np.float32]] = {}
        # Without lengths the plan keeps the order, query by query, and so fills the requests.
        self.lengths = np.zeros(len(pairs), np.int64)
        # No tokenizer is known: a token is taken for four characters.
        cut = [len(join_document(whole)) - len(sent) for whole, sent in zip(documents, self._documents, strict=True)]
        self.lost = -(-np.array(cut, np.int64)[pairs[:, 1]] // 4)

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        groups: dict[int, list[int]] = {}
        for place, query in enumerate(self._pairs[rows, 0].tolist()):
            groups.setdefault(query, []).append(place)
        size = self._model.provider.at_most
        parts = [
            (query, places[start : start + size])
            for query, places in groups.items()
            for start in range(0, len(places), size)
        ]
        chosen = self._pairs[rows, 1]
        requests = [(self._queries[query], [self._documents[text] for text in chosen[part]]) for query, part in parts]
        scores = np.empty(len(rows))
        for (_, part), found in zip(parts, self._model.ask_all(requests), strict=True):
            scores[part] = found
        return scores


class RemoteList(RemoteScorer):
    """A listwise model: the whole list goes into one request, in first-stage order."""

    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.float64]:
        """One score a document. Raises HarnessError for a list that does not fit into one request."""
        if len(documents) > self.provider.at_most:
            raise HarnessError(
                f"{_PREFIX}…/{self.model} takes {self.provider.at_most} documents a request and a listwise model must "
                f"see them all; {len(documents)} were given: --retriever bm25 --top-k "
                f"{self.provider.at_most}"
            )
        return self.ask(join_query(query), self.texts(documents), Event())
