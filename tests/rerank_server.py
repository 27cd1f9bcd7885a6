"""A rerank server on this machine for tests: answers in a provider's words, or misbehaves as a test asks."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.rerankers.services.providers import read_providers


def worth(query: str, document: str) -> float:
    """What the server thinks of a pair."""
    return len(set(query.split()) & set(document.split())) + len(document) / 1000


class Call:
    """One request as the server got it, and what it may do with it."""

    def __init__(self, handler: BaseHTTPRequestHandler, number: int) -> None:
        self.handler, self.number, self.path = handler, number, handler.path
        self.counted = 1
        self.headers = dict(handler.headers)
        self.body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))

    @property
    def provider(self) -> str:
        field = next(name for name in ("documents", "texts", "input") if name in self.body)
        by_path = {"/v2/rerank": "cohere", "/v1/reranking": "mixedbread", "/rerank": "tei"}
        return by_path.get(self.path) or ("voyage" if "top_k" in self.body else "jina") if field else ""

    @property
    def documents(self) -> list[str]:
        return next(self.body[name] for name in ("documents", "texts", "input") if name in self.body)

    def results(self) -> list[dict[str, Any]]:
        """One entry a document, the best first, as every provider answers."""
        name = "score" if self.provider in ("tei", "mixedbread") else "relevance_score"
        found = [
            {"index": place, name: worth(self.body["query"], document)} for place, document in enumerate(self.documents)
        ]
        return sorted(found, key=lambda entry: -entry[name])

    def answer(self, results: list[dict[str, Any]] | None = None) -> None:
        entries = self.results() if results is None else results
        field = {"tei": None, "voyage": "data", "mixedbread": "data"}.get(self.provider, "results")
        self.reply(200, entries if field is None else {field: entries, "model": "of today"})

    def closed(self) -> None:
        """Count the request as over, once. Before its answer is sent: the client may be quicker than the server."""
        with self.handler.server.lock:
            self.handler.server.open -= self.counted
            self.counted = 0

    def reply(self, status: int, value: object, **headers: str) -> None:
        self.closed()
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.handler.send_response(status)
        for name, text in headers.items():
            self.handler.send_header(name.replace("_", "-"), text)
        self.handler.send_header("Content-Length", str(len(data)))
        self.handler.end_headers()
        self.handler.wfile.write(data)

    def cut(self, sent: bytes = b"") -> None:
        """Break the connection, after a part of the answer or before it."""
        if sent:
            self.handler.send_response(200)
            self.handler.send_header("Content-Length", "1000")
            self.handler.end_headers()
            self.handler.wfile.write(sent)
        self.handler.close_connection = True
        self.handler.connection.close()


class Server(ThreadingHTTPServer):
    """Answers as `behave` says: a function of the call. Keeps every call, and how many were open at once."""

    daemon_threads = True

    def __init__(self, behave: Callable[[Call], None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave, self.calls, self.open, self.most_open = behave, [], 0, 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """A broken connection is what a test asked for."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        with self.server.lock:
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
            call = Call(self, len(self.server.calls))
            self.server.calls.append(call)
        try:
            self.server.behave(call)
        finally:
            call.closed()

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.calls.append(self)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def serving() -> Iterator[Callable[[Callable[[Call], None]], Server]]:
    """Starts servers; stops them when the test ends."""
    servers = []

    def start(behave: Callable[[Call], None] = Call.answer) -> Server:
        server = Server(behave)
        servers.append(server)
        # The usual half second of polling would be waited for at every stop.
        threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01), daemon=True).start()
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def at(body: Any, path: str) -> Any:
    for part in path.split("."):
        body = body[part]
    return body


def texts_of(body: Any, name: str) -> list[str]:
    provider = read_providers()[name]
    found = at(body, provider.documents)
    return found if provider.document is None else [entry[provider.document] for entry in found]


def in_words_of(name: str, **billed: object) -> Callable[[Call], None]:
    """An answer as the provider writes it: each document scored by its length, the last first."""
    provider = read_providers()[name]

    def behave(call: Call) -> None:
        texts = texts_of(call.body, name)
        entries = [{"index": place, provider.score: len(text) / 100} for place, text in enumerate(texts)]
        answer: Any = entries[::-1]
        for part in reversed(provider.results.split(".") if provider.results else []):
            answer = {part: answer}
        if billed:
            answer = {**answer, **billed}
        call.reply(200, answer)

    return behave
