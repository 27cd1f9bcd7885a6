"""A read-only hub on loopback that serves a folder: datasets/ORG/NAME and models/ORG/NAME, one commit each.

The commit is the text of the repository's file `.revision`, else a digest of its files. It answers what the hub client, our own
code and the datasets library ask: a revision's files, sizes, the tree, and the files themselves.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The endpoint of a hub that serves `root` while the block runs."""
    handler = type("Bound", (_Handler,), {"root": root})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@cache
def commit_of(folder: Path) -> str:
    marker = folder / ".revision"
    if marker.is_file():
        return marker.read_text().strip()
    digest = hashlib.sha1()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the body, a second write, waits 40 ms for an acknowledgement
    root: Path

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b"")

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        api = parts[0] == "api"
        parts = parts[1:] if api else parts
        kind = parts.pop(0) if parts[0] in ("datasets", "models") else "models"
        folder = self.root / kind / "/".join(parts[:2])
        if len(parts) < 2 or not folder.is_dir():
            return self._json({"error": "Repository not found"}, 404, "RepoNotFound")
        commit = commit_of(folder)
        verb, revision, rest = (*parts[2:4], "", "")[0], (*parts[3:4], "main")[0], "/".join(parts[4:])
        if revision not in ("main", commit):
            return self._json({"error": "Invalid rev id"}, 404, "RevisionNotFound")
        files = {
            path.relative_to(folder).as_posix(): path.stat().st_size
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != ".revision"
        }
        if not api:
            return self._file(folder / rest, commit) if rest in files else self._json({}, 404, "EntryNotFound")
        if verb in ("tree", "paths-info"):
            asked = json.loads(body)["paths"] if verb == "paths-info" else files
            below = rest + "/" if rest else ""
            entries = [
                {"type": "file", "oid": "0" * 40, "size": files[name], "path": name}
                for name in asked
                if name in files and name.startswith(below)
            ]
            return self._json(entries, 200 if entries else 404, "EntryNotFound")
        siblings = [{"rfilename": name} for name in files]
        return self._json(
            {"_id": "0", "id": "/".join(parts[:2]), "sha": commit, "private": False, "siblings": siblings}
        )

    def _json(self, value: object, status: int = 200, code: str = "") -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", "X-Error-Code": code})

    def _file(self, path: Path, commit: str) -> None:
        data = path.read_bytes()
        self._send(data, 200, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit})

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
