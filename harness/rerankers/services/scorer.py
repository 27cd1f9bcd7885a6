"""Asking a provider for scores: requests within its limits, several at a time, split where they are too large."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import HarnessError
from ...text import join_document
from ...types import DocumentText, QueryText
from .cost import Bill, Estimate, Prices, estimate, portions
from .providers import MalformedError, Provider, tokens_of

if TYPE_CHECKING:
    from .transport import Poster, RefusedError

__all__ = ["RemoteList", "RemotePairs", "RemoteScorer", "Sending"]

_TOO_LARGE = re.compile(
    r"exceed|too (?:large|long|many|big)|\bmax|at most|limit|(?:larger|longer|more|greater) than|tokens|batch size|payload",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Sending:
    """How texts are sent: cut to so many characters, with an instruction for queries that bring none; and the prices."""

    max_chars: int | None = None
    instruction: str = ""
    prices: Prices = field(default_factory=Prices)

    def document(self, document: DocumentText) -> str:
        """A document as it is sent. Raises HarnessError for a blank one: such are never sent."""
        text = join_document(document)
        if not text.strip():
            raise HarnessError(
                "a blank document is not sent to a provider: leave it out, or say --missing-text skip to keep it below "
                "every scored one"
            )
        cut = text[: self.max_chars]
        return cut if cut.strip() else text.strip()[: self.max_chars]

    def estimate(
        self,
        provider: Provider,
        context: str,
        queries: Sequence[QueryText],
        documents: Sequence[DocumentText],
        pairs: NDArray[np.int64],
        whole: tuple[int, int] | None = None,
    ) -> Estimate:
        """Requests, tokens and money, as `cost.estimate`; a list is one request whatever its tokens."""
        provider = provider if context == "pair" else replace(provider, at_most_tokens=None)
        asked = [f"{query.text} {query.instruction or self.instruction}".strip() for query in queries]
        return estimate(provider, self.prices, asked, [self.document(each) for each in documents], pairs, whole)


class RemoteScorer:
    """A provider's model: asks for scores, several requests at a time."""

    def __init__(
        self, provider: Provider, model: str, poster: Poster, concurrency: int = 4, sending: Sending | None = None
    ) -> None:
        self.provider, self.model, self.poster, self.concurrency = provider, model, poster, concurrency
        self.sending = sending or Sending()
        self.bill = Bill(provider, self.sending.prices)
        self.most = provider.at_most
        """Documents of one request: fewer, once the server has refused so many."""

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the provider gave."""
        return margins

    def ask(self, query: QueryText, documents: Sequence[str], stop: Event) -> NDArray[np.float64]:
        """One score a document, from one request. Raises HarnessError where the answer is not that."""
        instruction = query.instruction or self.sending.instruction
        body = self.provider.request(self.model, query.text, documents, instruction)
        answered = self.poster.post(body, stop)
        try:
            found = np.array(self.provider.scores(answered.value, len(documents)), np.float64)
        except MalformedError as error:
            raise HarnessError(f"remote:…/{self.model}: {error}; every document needs one score") from None
        self.bill.add(answered, f"{query.text} {instruction}".strip(), documents)
        return found

    def _named(self, error: RefusedError) -> HarnessError:
        """The refusal, with the way out where it names a field that need not be sent."""
        named = [name for name in self.provider.more if name.rpartition(".")[2] in error.said]
        return HarnessError(f"{error}. --set leave_out={named[0]} leaves that field out") if named else error


class RemotePairs(RemoteScorer):
    """A model whose score of a document does not depend on the others in the request."""

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> SentPairs:
        return SentPairs(self, queries, documents, pairs)

    def ask_whole(self, query: QueryText, documents: Sequence[str], stop: Event) -> NDArray[np.float64]:
        """As `ask`; a request that the server finds too large is sent again in two halves."""
        from .transport import RefusedError

        try:
            return self.ask(query, documents, stop)
        except RefusedError as error:
            if len(documents) == 1 or not _is_about_size(error):
                raise self._named(error) from None
        self.bill.sent_again()
        half = -(-len(documents) // 2)
        self.most = min(self.most, half)
        return np.concatenate([self.ask_whole(query, part, stop) for part in (documents[:half], documents[half:])])

    def ask_all(self, requests: Sequence[tuple[QueryText, Sequence[str]]]) -> list[NDArray[np.float64]]:
        """The scores of each (query, documents), in order; the first failure ends the others."""
        from .transport import StoppedError

        stop = Event()

        def ask(request: tuple[QueryText, Sequence[str]]) -> NDArray[np.float64]:
            try:
                return self.ask_whole(*request, stop)
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

    def portions(self, query: str, documents: Sequence[str]) -> Iterator[slice]:
        """Consecutive documents that one request takes: by their number, and about by their tokens."""
        sizes = [tokens_of(text) for text in documents]
        yield from portions(tokens_of(query), sizes, self.most, self.provider.at_most_tokens)


def _is_about_size(error: RefusedError) -> bool:
    return error.status == 413 or (error.status in (400, 422) and bool(_TOO_LARGE.search(error.said)))


class SentPairs:
    """The pairs of one request of ours; a batch of them is as many requests as it has queries."""

    def __init__(
        self,
        model: RemotePairs,
        queries: Sequence[QueryText],
        documents: Sequence[DocumentText],
        pairs: NDArray[np.int64],
    ) -> None:
        self._model, self._queries, self._pairs = model, queries, pairs
        self._documents = [model.sending.document(document) for document in documents]
        self.also: Mapping[str, NDArray[np.float32]] = {}
        self.lengths = np.zeros(len(pairs), np.int64)
        # No tokenizer is known: a token is taken for four characters.
        cut = [len(join_document(whole)) - len(sent) for whole, sent in zip(documents, self._documents, strict=True)]
        self.lost = -(-np.array(cut, np.int64)[pairs[:, 1]] // 4)

    def plan(self, budget: int) -> list[NDArray[np.int64]]:
        """Whole queries in order, as many as have `budget` documents in all: half a query is a request more."""
        order = np.argsort(self._pairs[:, 0], kind="stable")
        queries = np.split(order, np.flatnonzero(np.diff(self._pairs[order, 0])) + 1) if len(order) else []
        batches: list[list[NDArray[np.int64]]] = []
        for rows in queries:
            if not batches or sum(map(len, batches[-1])) + len(rows) > budget:
                batches.append([])
            batches[-1].append(rows)
        return [np.concatenate(batch) for batch in batches]

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        groups: dict[int, list[int]] = {}
        for place, query in enumerate(self._pairs[rows, 0].tolist()):
            groups.setdefault(query, []).append(place)
        chosen = self._pairs[rows, 1]
        parts: list[list[int]] = []
        requests: list[tuple[QueryText, list[str]]] = []
        for query, places in groups.items():
            texts = [self._documents[text] for text in chosen[places]]
            for portion in self._model.portions(self._queries[query].text, texts):
                parts.append(places[portion])
                requests.append((self._queries[query], texts[portion]))
        scores = np.empty(len(rows))
        for part, found in zip(parts, self._model.ask_all(requests), strict=True):
            scores[part] = found
        return scores


class RemoteList(RemoteScorer):
    """A model that sees a query's documents together: the whole list goes into one request, in first-stage order."""

    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.float64]:
        """One score a document. Raises HarnessError for a list that does not fit into one request."""
        from .transport import RefusedError

        most = self.provider.at_most
        if len(documents) > most:
            raise HarnessError(
                f"remote:…/{self.model} takes {most} documents a request and a listwise model must "
                f"see them all; {len(documents)} were given: --retriever bm25 --top-k {most}"
            )
        try:
            return self.ask(query, [self.sending.document(document) for document in documents], Event())
        except RefusedError as error:
            raise self._named(error) from None
